//! What consumers say of their deliveries.

use std::time::Duration;

use nexus_protocol::Timestamp;

use super::key::Head;
use super::{ACK_DEADLINE_MAX, BACKOFF_MAX, Group, Token, later};
use crate::parked::Failure;

/// What is to become of an event that was not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nack {
    /// It is delivered again, after this time or the back-off of the group; after too many attempts it is parked.
    Retry(Option<Duration>),
    /// It is parked at once.
    Park,
    /// It is done with.
    Skip,
    /// The whole group delivers nothing more until somebody lets it go on. The event does not count as tried.
    Stop,
}

/// Why an answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There never was such a delivery.
    #[error("there is no such delivery")]
    Unknown,
    /// It came too late: the event is, or will be, delivered anew.
    #[error("the delivery has ended: its event is delivered anew, or parked")]
    Expired,
    /// Another consumer has the event.
    #[error("another consumer has this event")]
    OtherOwner,
    /// The event is done.
    #[error("the event is acknowledged already")]
    AlreadyAcked,
}

impl Refused {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::OtherOwner => "other_owner",
            Self::AlreadyAcked => "already_acked",
        }
    }
}

impl Group {
    /// An event is processed. It counts once [`Group::record`] is written down.
    ///
    /// # Errors
    /// When the delivery does not stand any more.
    pub fn ack(&mut self, consumer: &str, token: Token, now: Timestamp) -> Result<(), Refused> {
        self.check(consumer, token)?;
        self.heard(consumer, now);
        self.done(token.key, now);
        Ok(())
    }

    /// An event is not processed, and why.
    ///
    /// # Errors
    /// When the delivery does not stand any more.
    pub fn nack(
        &mut self,
        consumer: &str,
        token: Token,
        (nack, failure): (Nack, Failure),
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.check(consumer, token)?;
        self.heard(consumer, now);
        let failure = failure.bounded();
        match nack {
            Nack::Retry(delay) => self.failed(token.key, failure, delay, now),
            Nack::Park => self.park(token.key, failure, now),
            Nack::Skip => self.done(token.key, now),
            Nack::Stop => {
                self.take_back(token.key);
                self.make_ready(token.key);
                self.pause(true);
            }
        }
        Ok(())
    }

    /// A delivery is to be answered within this time from now, at most [`ACK_DEADLINE_MAX`].
    ///
    /// # Errors
    /// When the delivery does not stand any more.
    pub fn extend(
        &mut self,
        consumer: &str,
        token: Token,
        by: Duration,
        now: Timestamp,
    ) -> Result<Timestamp, Refused> {
        self.check(consumer, token)?;
        self.heard(consumer, now);
        let until = later(now, by.min(ACK_DEADLINE_MAX));
        if let Some(of_key) = self.keys.get_mut(&token.key)
            && let Head::InFlight { deadline, .. } = &mut of_key.head
        {
            self.timers.remove(&(*deadline, token.key));
            *deadline = until;
            self.timers.insert((until, token.key));
        }
        Ok(until)
    }

    /// Refuses an answer to what is not with this consumer.
    fn check(&self, consumer: &str, token: Token) -> Result<(), Refused> {
        let position = token.position.get();
        let of_key = self.keys.get(&token.key).filter(|it| it.first() == position);
        if let Some(of_key) = of_key {
            let Head::InFlight { member, delivery, .. } = of_key.head else {
                return Err(Refused::Expired);
            };
            return match self.members.by_name(consumer) == Some(member) {
                true if delivery == token.delivery => Ok(()),
                true => Err(Refused::Expired),
                false => Err(Refused::OtherOwner),
            };
        }
        let ledger = &self.state.ledger;
        if position >= ledger.next() {
            Err(Refused::Unknown)
        } else if ledger.is_open(position) || self.state.parked.get(position).is_some() {
            Err(Refused::Expired)
        } else {
            Err(Refused::AlreadyAcked)
        }
    }

    /// The first event of a key is done with, and what is behind it has its turn.
    pub(super) fn done(&mut self, key: u64, now: Timestamp) {
        self.take_back(key);
        let Some(of_key) = self.keys.get_mut(&key) else { return };
        let position = of_key.first();
        if of_key.parked {
            self.keys.remove(&key);
            self.unpark(position);
            self.load_chain(key);
        } else if of_key.advance() {
            self.close(position);
            self.arm(key, now);
        } else {
            self.keys.remove(&key);
            self.close(position);
        }
    }

    /// The first event of a key was tried once more, and is delivered again or parked.
    pub(super) fn failed(
        &mut self,
        key: u64,
        failure: Failure,
        delay: Option<Duration>,
        now: Timestamp,
    ) {
        let Some(position) = self.keys.get(&key).map(super::Key::first) else { return };
        let (attempts, tried_before) =
            (self.attempts(position).saturating_add(1), self.tried_before(position));
        let tries = attempts.saturating_sub(tried_before);
        if tries >= self.config.max_attempts {
            return self.park(key, failure, now);
        }
        self.take_back(key);
        self.tried(position, attempts, failure, now);
        let pause = delay.unwrap_or_else(|| self.config.backoff.pause(tries, position));
        if pause.is_zero() {
            return self.make_ready(key);
        }
        let until = later(now, pause.min(BACKOFF_MAX));
        if let Some(of_key) = self.keys.get_mut(&key) {
            of_key.head = Head::Waiting { until };
            self.timers.insert((until, key));
        }
    }
}
