//! Answers in two steps: for whoever appends events in answer to others, in one go with the acknowledgement.

use std::collections::BTreeSet;

use nexus_protocol::Timestamp;
use nexus_protocol::group::{DeliveryToken, Refused};

use super::key::{Head, Lease};
use super::{Change, Group, MemberId, Progress, Record};
use crate::parked;

/// Deliveries that are answered, and wait for whether that counts: to be given back by [`Group::settle`].
#[derive(Debug)]
#[must_use = "what is held is delivered to nobody until it is settled"]
pub struct Held {
    generation: u64,
    /// With whether it is parked.
    deliveries: Vec<(DeliveryToken, bool)>,
}

impl Held {
    /// The deliveries.
    pub fn tokens(&self) -> impl Iterator<Item = DeliveryToken> + '_ {
        self.deliveries.iter().map(|(token, _)| *token)
    }
}

impl Group {
    /// Events are processed, if something else is written down, which is to carry the acknowledgement: all of these
    /// deliveries, or none. Until it is settled nobody gets what is held, its time does not run out, and a second
    /// answer to it is refused as [`Refused::Expired`].
    ///
    /// To be called one after the other, for one answer at a time: this; [`Group::record`], which is to be written
    /// first, if there is one; [`Group::record_of`], which is written together with what the consumer appends;
    /// [`Group::settle`]. Between the second and the last no other record is to be taken. A group that is opened
    /// again in between knows from what was written down how it came out.
    ///
    /// # Errors
    /// Each delivery that does not stand any more, and why. A token that comes twice is refused the second time as
    /// [`Refused::AlreadyAcked`].
    pub fn hold(
        &mut self,
        consumer: &str,
        tokens: &[DeliveryToken],
        now: Timestamp,
    ) -> Result<Held, Vec<(DeliveryToken, Refused)>> {
        let mut seen = BTreeSet::new();
        let check = |token: &DeliveryToken| match self.check(consumer, *token) {
            Ok(()) if seen.insert(token.position) => None,
            Ok(()) => Some((*token, Refused::AlreadyAcked)),
            Err(refused) => Some((*token, refused)),
        };
        let refused: Vec<_> = tokens.iter().filter_map(check).collect();
        if !refused.is_empty() {
            return Err(refused);
        }
        self.heard(consumer, now);
        let mut held = Held { generation: self.state.generation, deliveries: Vec::new() };
        for token in tokens {
            let Some(of_key) = self.keys.get_mut(&token.key) else { continue };
            let Head::InFlight(lease) = of_key.head() else { continue };
            of_key.set_head(Head::Held(lease));
            held.deliveries.push((*token, of_key.parked));
            let position = token.position.get();
            // A record of its own closes only what is known: what is open, and of what was parked, where the group was
            // sent back before it, that it was looked at.
            self.unwritten.pass(position);
            self.timers.remove(&(lease.deadline, token.key));
            self.held.insert(position, (token.delivery, token.key));
        }
        Ok(held)
    }

    /// What has to be written down for what is held to be done, and nothing else. It fits to what is written down once
    /// the record is that was taken after [`Group::hold`].
    pub fn record_of(&self, held: &Held) -> Record {
        let mut closed = Vec::new();
        let mut changes = Vec::new();
        for (token, is_parked) in &held.deliveries {
            let position = token.position.get();
            if !self.is_held(held, *token) {
                continue;
            }
            match is_parked {
                true => changes.push(Change::Parked(parked::Change::Removed(position))),
                false => closed.push(position),
            }
        }
        if !closed.is_empty() {
            closed.sort_unstable();
            changes.push(Change::Progress(Progress { next: 0, opened: Vec::new(), closed }));
        }
        Record { changes }
    }

    /// Whether what was held is done. Where it is not, it is with its consumer again, which has as long to answer as it
    /// had: where that is over it ends with the next [`Group::tick`]. Of a consumer that is gone it is delivered again,
    /// and does not count as tried. What was discarded in between stays so. Of a group that was sent elsewhere in
    /// between, what failed and was parked is done or parked; all else is done, or read again, by where it stands.
    pub fn settle(&mut self, held: Held, taken: bool, now: Timestamp) {
        for (token, _) in &held.deliveries {
            if !self.is_held(&held, *token) {
                continue;
            }
            let position = token.position.get();
            self.held.remove(&position);
            let is_it = |lease: Lease| lease.delivery == token.delivery;
            let of_key = self.keys.get_mut(&token.key).filter(|it| it.first() == position);
            let lease = of_key.and_then(|of_key| match of_key.head() {
                Head::Held(lease) if is_it(lease) => Some(lease),
                _ => None,
            });
            match lease {
                Some(_) if taken => self.done(token.key, now),
                Some(lease) => self.give_back(token.key, lease),
                None => {
                    // The group was sent elsewhere, and it is parked.
                    if taken {
                        self.unpark(position);
                    }
                    self.load_chain(token.key);
                }
            }
        }
    }

    /// Whether it waits for being settled still.
    fn is_held(&self, held: &Held, token: DeliveryToken) -> bool {
        let delivery = self.held.get(&token.position.get()).map(|(delivery, _)| *delivery);
        held.generation == self.state.generation && delivery == Some(token.delivery)
    }

    /// What was held is with its consumer again.
    fn give_back(&mut self, key: u64, lease: Lease) {
        if lease.member == MemberId::NOBODY {
            return self.make_ready(key);
        }
        if let Some(of_key) = self.keys.get_mut(&key) {
            of_key.set_head(Head::InFlight(lease));
            self.timers.insert((lease.deadline, key));
        }
    }
}
