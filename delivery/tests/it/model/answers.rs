//! What consumers say, and what is promised by it.

use std::time::Duration;

use nexus_protocol::group::{
    Backoff, DeliveryToken, Failure, Nack, NackAction, PauseInfo, Refused,
};

use super::{CONSUMERS, Lent, Model, later};

impl Model {
    pub(crate) fn answer(&mut self) {
        let now = self.now;
        let stale = self.random.one_in(8);
        let of_other = self.random.one_in(12);
        let current: Vec<_> =
            self.lent().map(|(token, lent)| (*token, lent.owner.clone())).collect();
        let from = if stale { &self.past } else { &current };
        let Some((token, owner)) = self.random.pick(from).cloned() else { return };
        let consumer = if of_other { *self.random.pick(&CONSUMERS).unwrap() } else { &*owner };
        let stands = self.with.get(&token).is_some_and(|lent| lent.owner == consumer);
        let position = token.position.get();
        let action = match self.random.below(12) {
            0..=6 => None,
            7 => Some(NackAction::Retry(Some(Duration::from_millis(self.random.below(50))))),
            8 | 9 => Some(NackAction::Retry(None)),
            10 => Some(NackAction::Park),
            _ if self.random.one_in(4) => Some(NackAction::Stop),
            _ => Some(NackAction::Skip),
        };
        if self.random.one_in(10) {
            let by = Duration::from_millis(self.random.below(500));
            let extended = self.group.extend(consumer, token, by, now);
            assert_eq!(extended.is_ok(), stands);
            if let Ok(until) = extended {
                self.heard.insert(consumer.to_owned(), now);
                self.with.get_mut(&token).unwrap().until = until;
            }
            return;
        }
        let failure = self.failure();
        let answered = match action {
            None => self.group.ack(consumer, token, now),
            Some(action) => {
                let nack = Nack { action, failure: failure.clone() };
                self.group.nack(consumer, token, nack, now)
            }
        };
        assert_eq!(answered.is_ok(), stands, "{token:?} of {owner} by {consumer}: {answered:?}");
        let Err(refused) = answered else {
            self.heard.insert(consumer.to_owned(), now);
            return self.answered(token, action.map(|action| (action, &*failure.class)));
        };
        self.counts.refused += 1;
        let is_other =
            |at: &DeliveryToken| at.position == token.position && at.generation == token.generation;
        let with_other = self.with.iter().any(|(at, it)| is_other(at) && it.owner != consumer);
        assert!(!self.on_hold.contains_key(&token) || refused == Refused::Expired);
        match refused {
            Refused::OtherOwner => assert!(with_other),
            Refused::AlreadyAcked => {
                let gone = self.log[usize::try_from(position).unwrap()].gone;
                let done = self.promises.done.contains(&position);
                // A filter of before a crash may have taken it.
                assert!(gone || done || !self.promises.takes(position));
            }
            Refused::Expired => assert!(!self.promises.done.contains(&position)),
            Refused::Unknown => assert!(position >= self.group.stats().next.get()),
        }
    }

    /// Some failures are long, so that what is written down is more than a part.
    fn failure(&mut self) -> Failure {
        let long = if self.random.one_in(4) { "x".repeat(700) } else { String::new() };
        let chain = vec![format!("worse{long}")];
        let class = *self.random.pick(&["boom", "boom", "bad"]).unwrap();
        Failure { class: class.to_owned(), message: "bad".to_owned(), chain }
    }

    pub(crate) fn answered(&mut self, token: DeliveryToken, action: Option<(NackAction, &str)>) {
        let Lent { owner, .. } = self.with.remove(&token).unwrap();
        self.past.push((token, owner.clone()));
        let position = token.position.get();
        match action {
            None | Some((NackAction::Skip, _)) => {
                self.counts.acked += 1;
                self.promises.done.insert(position);
                self.forget(position);
            }
            Some((NackAction::Retry(delay), class)) => {
                if self.tried(position) {
                    return self.set_aside(position, class);
                }
                let tries = self.promises.tries[&position];
                let Backoff { initial, max } = self.config.backoff;
                let pause = delay.unwrap_or((initial * (1 << (tries - 1))).min(max) / 2);
                self.promises.not_until.insert(position, later(self.now, pause));
            }
            Some((NackAction::Park, class)) => {
                self.tried(position);
                self.set_aside(position, class);
            }
            Some((NackAction::Stop, _)) => {
                let reason = "bad".to_owned();
                let position = Some(token.position);
                let info = PauseInfo { by: owner, reason, position, at: self.now };
                self.promises.pause.get_or_insert(info);
            }
        }
    }
}
