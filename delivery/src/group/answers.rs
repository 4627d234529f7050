//! What consumers say of their deliveries.

use std::time::Duration;

use nexus_protocol::Timestamp;
use nexus_protocol::group::{
    ACK_DEADLINE_MAX, BACKOFF_MAX, DeliveryToken, Failure, Nack, NackAction, PauseInfo, Refused,
};

use super::key::{Head, Lease};
use super::{Group, later};

impl Group {
    /// An event is processed. It counts once [`Group::record`] is written down.
    ///
    /// # Errors
    /// When the delivery does not stand any more.
    pub fn ack(
        &mut self,
        consumer: &str,
        token: DeliveryToken,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.check(consumer, token)?;
        self.heard(consumer, now);
        self.done(token.key, now);
        Ok(())
    }

    /// An event is not processed: what is to become of it, and why. It counts once [`Group::record`] is written
    /// down. Where as much is parked as may be
    /// ([`PARKED_MAX`](crate::parked::PARKED_MAX)), what is to be parked is not: it does not count as tried, and the
    /// group pauses.
    ///
    /// # Errors
    /// When the delivery does not stand any more.
    pub fn nack(
        &mut self,
        consumer: &str,
        token: DeliveryToken,
        nack: Nack,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.check(consumer, token)?;
        self.heard(consumer, now);
        let Nack { action, failure } = nack;
        match action {
            NackAction::Retry(delay) => self.failed(token.key, failure, delay, now),
            NackAction::Park => self.park(token.key, failure, now),
            NackAction::Skip => self.done(token.key, now),
            NackAction::Stop => {
                self.take_back(token.key);
                self.make_ready(token.key);
                let (by, reason) = (consumer.to_owned(), failure.message);
                self.pause(PauseInfo { by, reason, position: Some(token.position), at: now });
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
        token: DeliveryToken,
        by: Duration,
        now: Timestamp,
    ) -> Result<Timestamp, Refused> {
        self.check(consumer, token)?;
        self.heard(consumer, now);
        let until = later(now, by.min(ACK_DEADLINE_MAX));
        if let Some(of_key) = self.keys.get_mut(&token.key)
            && let Head::InFlight(lease) = of_key.head()
        {
            of_key.set_head(Head::InFlight(Lease { deadline: until, ..lease }));
            self.timers.remove(&(lease.deadline, token.key));
            self.timers.insert((until, token.key));
        }
        Ok(until)
    }

    /// Refuses an answer to what is not with this consumer. What is held was answered, and whether that counts is not
    /// known: a second answer comes too late, whoever gives it.
    pub(super) fn check(&self, consumer: &str, token: DeliveryToken) -> Result<(), Refused> {
        let position = token.position.get();
        let is_ours = token.generation == self.state.generation;
        let of_key = self.keys.get(&token.key).filter(|it| is_ours && it.first() == position);
        if let Some(of_key) = of_key {
            let Head::InFlight(Lease { member, delivery, .. }) = of_key.head() else {
                return Err(Refused::Expired);
            };
            return match self.members.by_name(consumer) == Some(member) {
                true if delivery == token.delivery => Ok(()),
                true => Err(Refused::Expired),
                // Whoever does not say who it is had it before.
                false if consumer.is_empty() => Err(Refused::Expired),
                false => Err(Refused::OtherOwner),
            };
        }
        let ledger = &self.state.ledger;
        if position >= ledger.next() {
            // One from an opening before may have been: that the event was looked at is not always remembered.
            let is_older = (1..self.state.generation).contains(&token.generation);
            Err(if is_older { Refused::Expired } else { Refused::Unknown })
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
            self.keys.swap_remove(&key);
            self.unpark(position);
            self.load_chain(key);
        } else if of_key.advance() {
            self.close(position);
            self.arm(key, now);
        } else {
            self.keys.swap_remove(&key);
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
        let pause = delay.unwrap_or_else(|| self.config.backoff.pause(tries, position));
        let until = (!pause.is_zero()).then(|| later(now, pause.min(BACKOFF_MAX)));
        self.take_back(key);
        if !self.tried(position, attempts, failure, until, now) {
            return self.stop_full(key, now);
        }
        match until {
            Some(until) => self.wait(key, until),
            None => self.make_ready(key),
        }
    }
}
