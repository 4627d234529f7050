//! Answers in two steps, with whatever may come in between, and both outcomes.

use std::collections::BTreeMap;

use nexus_delivery::group::{Held, Record};
use nexus_protocol::group::{DeliveryToken, Refused};

use super::{CONSUMERS, Model, Promises};

impl Model {
    /// A consumer appends something together with its acknowledgement.
    pub(crate) fn append_and_ack(&mut self) {
        let mut consumer = *self.random.pick(&CONSUMERS).unwrap();
        if !self.random.one_in(4) {
            // Rather one that has something.
            let has = |it: &&str| self.with.values().any(|lent| lent.owner == *it);
            consumer = CONSUMERS.iter().copied().find(has).unwrap_or(consumer);
        }
        let its = self.with.iter().filter(|(_, lent)| lent.owner == consumer).map(|it| *it.0);
        let its: Vec<_> = its.collect();
        let tokens: Vec<_> = its.into_iter().filter(|_| !self.random.one_in(3)).collect();
        if self.random.one_in(4) {
            return self.refused_together(consumer, tokens);
        }
        let Ok(held) = self.group.hold(consumer, &tokens, self.now) else {
            panic!("all of it stands");
        };
        assert_eq!(held.tokens().collect::<Vec<_>>(), tokens);
        self.counts.held += tokens.len() as u64;
        // Who has nothing is heard of only where it is a consumer.
        if let Some(heard) = self.heard.get_mut(consumer) {
            *heard = self.now;
        }
        for token in &tokens {
            let lent = self.with.remove(token).unwrap();
            self.on_hold.insert(*token, Some(lent));
        }
        self.check();
        let record = self.record();
        self.unsynced.extend(record.map(|record| (record, self.promises.clone())));
        let record = self.group.record_of(&held);
        let mut promises = self.promises.clone();
        for token in &tokens {
            promises.done.insert(token.position.get());
            promises.forget(token.position.get());
        }
        for _ in 0..self.random.below(5) {
            self.step_between();
            self.check();
        }
        self.settle(held, (record, promises));
    }

    /// All of it is refused, and nothing is changed.
    fn refused_together(&mut self, consumer: &str, mut tokens: Vec<DeliveryToken>) {
        let bad = self.random.pick(&self.past).cloned();
        let Some((bad, _)) = bad.filter(|(token, _)| !tokens.contains(token)) else { return };
        let at = self.random.below(tokens.len() as u64 + 1);
        tokens.insert(usize::try_from(at).unwrap(), bad);
        let twice = tokens.first().copied().filter(|token| *token != bad);
        tokens.extend(twice);
        let refused = self.group.hold(consumer, &tokens, self.now).unwrap_err();
        let mut expected: BTreeMap<_, _> =
            twice.map(|it| (it, Some(Refused::AlreadyAcked))).into_iter().collect();
        expected.insert(bad, None);
        assert_eq!(refused.len(), expected.len());
        for (token, why) in refused {
            let expected = expected.get(&token).copied().unwrap();
            assert!(expected.is_none_or(|expected| expected == why), "{token:?}: {why}");
        }
    }

    /// What others do meanwhile: no record is taken.
    fn step_between(&mut self) {
        match self.random.below(24) {
            0..=2 => self.append(),
            3..=5 => {
                let count = self.random.below(8);
                self.feed(count);
            }
            6..=10 => self.receive(),
            11..=15 => self.answer(),
            16 | 17 => self.pass_time(),
            18 | 19 => self.leave(),
            20 => self.replay_or_discard(),
            21 if self.random.one_in(3) => self.seek(),
            22 => self.edit(),
            23 if self.random.one_in(3) => self.pause(),
            _ => {}
        }
    }

    /// It comes out as one or the other; or nobody is there any more who would hear of it.
    fn settle(&mut self, held: Held, (record, promises): (Record, Promises)) {
        let is_lost = self.random.one_in(8);
        let is_taken = self.random.one_in(2);
        if is_taken {
            // It is durable together with all before it.
            self.taken.extend(held.tokens().map(|token| token.position.get()));
            self.unsynced.push((record, promises));
            self.sync(self.unsynced.len());
        }
        if is_lost {
            drop(held);
            return self.crash();
        }
        let next = self.group.stats().next.get();
        // Whatever stands no more was decided in between: it was given up, or is read again.
        let tokens: Vec<_> = held.tokens().collect();
        for token in &tokens {
            if !self.on_hold.contains_key(token) && token.position.get() >= self.promises.begins {
                self.taken.remove(&token.position.get());
            }
        }
        self.group.settle(held, is_taken, self.now);
        for token in tokens {
            let Some(lent) = self.on_hold.remove(&token) else { continue };
            let position = token.position.get();
            if is_taken {
                self.counts.acked += 1;
                match position < next {
                    true => drop(self.promises.done.insert(position)),
                    false => drop(self.taken.remove(&position)),
                }
                self.forget(position);
            } else if let Some(lent) = lent {
                self.with.insert(token, lent);
                continue;
            }
            self.past.push((token, "a".to_owned()));
        }
        assert!(self.on_hold.is_empty());
    }
}
