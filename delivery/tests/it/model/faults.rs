//! What befalls a group: crashes, operators, retention, and the checks that follow every step.

use nexus_delivery::group::{Change, Group, Record, State};
use nexus_protocol::Position;

use super::Model;

impl Model {
    /// Writes down what there is to write, and makes some of it durable.
    pub(crate) fn write(&mut self) {
        let record = self.group.record();
        self.unsynced.extend(record.map(|record| (record, self.promises.clone())));
        let synced = self.random.below(self.unsynced.len() as u64 + 1);
        for (record, promises) in self.unsynced.drain(..usize::try_from(synced).unwrap()) {
            self.durable_promises = promises;
            let floor = self.durable.floor();
            let read = Record::decode(&record.encode()).unwrap();
            self.durable.apply(&read);
            let sought = record.changes.iter().any(|it| matches!(it, Change::Sought(_)));
            assert!(sought || self.durable.floor() >= floor, "what is durable goes on only");
        }
    }

    /// Makes all of it durable: what is written down says then what is.
    pub(crate) fn write_all(&mut self) {
        let record = self.group.record();
        let unsynced = std::mem::take(&mut self.unsynced);
        let records = unsynced.into_iter().map(|(record, _)| record).chain(record);
        records.for_each(|record| self.durable.apply(&record));
        let live = self.group.state();
        assert_eq!(self.durable.parked(), live.parked());
        assert_eq!(self.durable.open().collect::<Vec<_>>(), live.open().collect::<Vec<_>>());
        assert_eq!(self.group.record(), None);
    }

    /// All that is not durable is lost, and all that is not written down.
    pub(crate) fn crash(&mut self) {
        self.counts.crashes += 1;
        self.unsynced.clear();
        let deliveries = self.counts.delivered + self.counts.crashes * 1_000_000;
        let state = State::decode(&self.durable.encode()).unwrap();
        assert_eq!(state, self.durable);
        self.group = Group::restore(self.config, state, deliveries).unwrap();
        self.past.extend(
            std::mem::take(&mut self.with).into_iter().map(|(token, (who, _))| (token, who)),
        );
        self.heard.clear();
        self.promises = self.durable_promises.clone();
        self.not_until.clear();
        assert_eq!(self.group.stats().paused, self.promises.paused);
        // Retention may have taken away what was still to be done.
        let open: Vec<_> = self.group.state().open().map(Position::get).collect();
        if self.random.one_in(2)
            && let Some(at) = self.random.pick(&open)
        {
            self.log[usize::try_from(*at).unwrap()].gone = true;
        }
        self.floor = self.group.stats().floor.get();
    }

    /// Releases all that is held under the key of a position, up to it.
    pub(crate) fn replay(&mut self, position: u64) -> usize {
        let key = self.key(position);
        let held: Vec<_> = self
            .promises
            .held
            .iter()
            .filter(|at| **at <= position && self.key(**at) == key)
            .copied()
            .collect();
        for at in &held {
            self.not_until.remove(at);
            self.promises.held.remove(at);
            self.promises.tries.remove(at);
        }
        let released = self.group.replay([Position::new(position)]);
        assert_eq!(released, held.len());
        released
    }

    pub(crate) fn replay_or_discard(&mut self) {
        let parked: Vec<_> = self.group.state().parked().iter().map(|(at, _)| at).collect();
        self.counts.parked = self.counts.parked.max(parked.len() as u64);
        let Some(position) = self.random.pick(&parked).copied() else { return };
        let floor = self.group.stats().floor;
        if self.random.one_in(6) {
            assert_eq!(self.group.discard([Position::new(position)]), 1);
            assert_eq!(self.group.discard([Position::new(position)]), 0);
            if position < self.group.stats().next.get() {
                self.promises.done.insert(position);
            }
            self.forget(position);
            let its: Vec<_> =
                self.with.keys().filter(|it| it.position.get() == position).copied().collect();
            for token in its {
                let (owner, _) = self.with.remove(&token).unwrap();
                self.past.push((token, owner));
            }
        } else {
            let released = self.replay(position);
            self.counts.replayed += released as u64;
            assert_eq!(self.group.replay([Position::new(position)]), 0, "it is released once");
        }
        assert!(self.group.stats().floor == floor, "the floor does not move for that");
    }

    pub(crate) fn seek(&mut self) {
        self.counts.sought += 1;
        let to = self.random.below(self.log.len() as u64 + 1);
        self.group.seek(Position::new(to));
        self.past.extend(
            std::mem::take(&mut self.with).into_iter().map(|(token, (who, _))| (token, who)),
        );
        let parked = self.group.state().parked();
        self.promises.done.retain(|at| *at < to);
        // What stood before is given up, but for what is parked.
        self.promises.done.extend((0..to).filter(|at| parked.get(*at).is_none()));
        self.promises.attempts.retain(|at, _| parked.get(*at).is_some());
        self.promises.tries.retain(|at, _| parked.get(*at).is_some());
        self.not_until.clear();
        (self.promises.begins, self.floor) = (to, 0);
    }

    /// Everybody takes what there is, and acknowledges it: nothing that is ready is left lying.
    pub(crate) fn work(&mut self) {
        self.pause(false);
        let acked = |model: &mut Self| {
            for (token, (owner, _)) in model.with.clone() {
                model.group.ack(&owner, token, model.now).unwrap();
                model.answered(token, None);
            }
        };
        loop {
            acked(self);
            let consumers = self.group.consumers();
            let members: Vec<_> = consumers.iter().map(|(name, ..)| (*name).to_owned()).collect();
            for consumer in &members {
                self.heard.insert(consumer.clone(), self.now);
                for delivery in self.group.receive(consumer, 10, self.now).unwrap() {
                    self.delivered(consumer, delivery);
                }
            }
            if self.with.is_empty() {
                assert!(
                    members.is_empty() || self.group.stats().ready == 0,
                    "nobody gets what is there"
                );
                return;
            }
        }
    }

    /// What holds after each step.
    pub(crate) fn check(&mut self) {
        let stats = self.group.stats();
        let state = self.group.state();
        assert_eq!(stats.in_flight, self.with.len());
        assert!(stats.floor.get() >= self.floor, "the floor goes back");
        self.floor = stats.floor.get();
        for at in self.to_do() {
            if self.log[usize::try_from(at).unwrap()].gone {
                continue;
            }
            let open = state.is_open(Position::new(at));
            let parked = state.parked().get(at).is_some();
            let unseen = at >= stats.next.get();
            assert_eq!(u8::from(open) + u8::from(parked) + u8::from(unseen && !parked), 1, "{at}");
        }
        for at in state.open().map(Position::get) {
            assert!(!self.promises.done.contains(&at), "{at} is done and open");
        }
        for (at, _) in state.parked().iter() {
            assert!(!self.promises.done.contains(&at), "{at} is done and parked");
        }
    }
}
