//! What befalls a group: crashes, operators, retention, and the checks that follow every step.

use std::time::Duration;

use nexus_delivery::group::{Change, Group, PART_BYTES_MIN, Record, RuledEvents, State};
use nexus_protocol::Position;

use super::{Lent, Model, Promises, later};

impl Model {
    /// Writes down what there is to write, and makes some of it durable.
    pub(crate) fn write(&mut self) {
        let record = self.record();
        self.unsynced.extend(record.map(|record| (record, self.promises.clone())));
        let synced = self.random.below(self.unsynced.len() as u64 + 1);
        self.sync(usize::try_from(synced).unwrap());
    }

    /// What there is to write down; what rules have done is told with it.
    pub(crate) fn record(&mut self) -> Option<Record> {
        let record = self.group.record();
        let told = self.group.ruled();
        let told = told.iter().flat_map(|RuledEvents { what, positions, .. }| {
            positions.iter().map(|position| (what.name(), position.get()))
        });
        let mut told: Vec<_> = told.collect();
        let mut expected = std::mem::take(&mut self.ruled);
        assert!(record.is_some() || told.is_empty(), "what rules do is written down");
        self.counts.ruled += told.len() as u64;
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected);
        record
    }

    /// Makes so many records durable.
    pub(crate) fn sync(&mut self, count: usize) {
        for (record, promises) in self.unsynced.drain(..count).collect::<Vec<_>>() {
            self.durable_promises = promises;
            let floor = self.durable.floor();
            let parts = record.encode(PART_BYTES_MIN);
            assert!(parts.iter().all(|part| part.len() <= PART_BYTES_MIN));
            self.counts.in_parts += u64::from(parts.len() > 1);
            let read = Record::decode(&parts).unwrap();
            assert_eq!(read, record);
            self.durable.apply(&read);
            let sought = record.changes.iter().any(|it| matches!(it, Change::Sought(_)));
            assert!(sought || self.durable.floor() >= floor, "what is durable goes on only");
        }
    }

    /// Makes all of it durable: what is written down says then what is.
    pub(crate) fn write_all(&mut self) {
        let record = self.record();
        self.unsynced.extend(record.map(|record| (record, self.promises.clone())));
        self.sync(self.unsynced.len());
        let (live, durable) = (self.group.state(), &self.durable);
        assert_eq!(durable.parked(), live.parked());
        assert_eq!(durable.open().collect::<Vec<_>>(), live.open().collect::<Vec<_>>());
        assert_eq!(durable.pause(), live.pause());
        assert_eq!(durable.generation(), live.generation());
        let parked = live.parked().iter().map(|(at, _)| Position::new(at));
        for at in live.open().chain(parked) {
            assert_eq!(durable.tried(at), live.tried(at), "{at}");
        }
        assert_eq!(self.group.record(), None);
    }

    /// What a group says first of all: that it was opened. Nothing is delivered before that is durable.
    pub(crate) fn opened(&mut self) {
        let record = self.group.record().unwrap();
        let generation = self.durable.generation() + 1;
        assert_eq!(record.changes, [Change::Opened(generation)]);
        self.durable.apply(&record);
    }

    /// All that is not durable is lost, and all that is not written down.
    pub(crate) fn crash(&mut self) {
        self.counts.crashes += 1;
        self.unsynced.clear();
        self.ruled.clear();
        let parts = self.durable.encode(PART_BYTES_MIN);
        assert!(parts.iter().all(|part| part.len() <= PART_BYTES_MIN));
        self.counts.in_parts += u64::from(parts.len() > 1);
        let state = State::decode(&parts).unwrap();
        assert_eq!(state, self.durable);
        self.group = Group::restore(self.config.clone(), state).unwrap();
        self.opened();
        let on_hold = std::mem::take(&mut self.on_hold);
        let on_hold = on_hold.into_iter().filter_map(|(token, lent)| Some((token, lent?)));
        let with = std::mem::take(&mut self.with).into_iter().chain(on_hold);
        self.past.extend(with.map(|(token, lent)| (token, lent.owner)));
        self.heard.clear();
        self.promises = self.durable_promises.clone();
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
    pub(crate) fn replay(&mut self, position: u64, every: Duration) -> usize {
        let released = self.released(position, every);
        assert_eq!(self.group.replay([Position::new(position)], every, self.now), released);
        released
    }

    /// What was held goes on with all its tries; what waits for its time does so no longer.
    fn released(&mut self, position: u64, every: Duration) -> usize {
        let key = self.key(position);
        let parked = self.group.state().parked();
        let waits = |at: &u64| {
            let until = parked.entry(*at).and_then(|entry| entry.not_before);
            self.promises.held.contains(at) || until.is_some_and(|until| until > self.now)
        };
        let up_to = parked.iter().map(|(at, _)| at).filter(|at| *at <= position);
        let its: Vec<_> = up_to.filter(|at| self.key(*at) == key).filter(waits).collect();
        let mut until = self.now;
        for at in &its {
            self.promises.not_until.insert(*at, until);
            self.promises.held.remove(at);
            self.promises.tries.remove(at);
            self.promises.rounds.remove(at);
            until = later(until, every);
        }
        its.len()
    }

    /// Has something else delivered in place of what is parked.
    pub(crate) fn edit(&mut self) {
        let parked: Vec<_> = self.group.state().parked().iter().map(|(at, _)| at).collect();
        let Some(position) = self.random.pick(&parked).copied() else { return };
        let by = self.random.below(self.log.len() as u64);
        let failed = self.group.state().parked().entry(position).is_some();
        if failed {
            self.counts.edited += 1;
            self.promises.edited.insert(position, by);
            self.released(position, Duration::ZERO);
        }
        let (position, by) = (Position::new(position), Position::new(by));
        assert_eq!(self.group.edit(position, by, self.now), failed);
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
                let Lent { owner, .. } = self.with.remove(&token).unwrap();
                self.past.push((token, owner));
            }
            self.on_hold.retain(|token, _| token.position.get() != position);
        } else {
            let every = Duration::from_millis(self.random.below(3) * 7);
            let released = self.replay(position, every);
            self.counts.replayed += released as u64;
            if every.is_zero() || released <= 1 {
                assert_eq!(self.replay(position, every), 0, "it is released once");
            }
        }
        assert!(self.group.stats().floor == floor, "the floor does not move for that");
    }

    pub(crate) fn seek(&mut self) {
        self.counts.sought += 1;
        let to = self.random.below(self.log.len() as u64 + 1);
        self.group.seek(Position::new(to));
        let with = std::mem::take(&mut self.with);
        self.past.extend(with.into_iter().map(|(token, lent)| (token, lent.owner)));
        let parked = self.group.state().parked();
        self.promises.done.retain(|at| *at < to);
        // What stood before is given up, but for what is parked.
        self.promises.done.extend((0..to).filter(|at| parked.get(*at).is_none()));
        let Promises { attempts, tries, first_failed, not_until, rounds, edited, .. } =
            &mut self.promises;
        let is_parked = |at: &u64| parked.get(*at).is_some();
        attempts.retain(|at, _| is_parked(at));
        tries.retain(|at, _| is_parked(at));
        first_failed.retain(|at, _| is_parked(at));
        not_until.retain(|at, _| is_parked(at));
        rounds.retain(|at, _| is_parked(at));
        assert!(edited.keys().all(is_parked), "what failed stays parked");
        self.on_hold.retain(|token, _| is_parked(&token.position.get()));
        self.on_hold.values_mut().for_each(|lent| *lent = None);
        self.taken.retain(|at| *at < to);
        (self.promises.begins, self.floor) = (to, 0);
        // All is read again, with the filter of today.
        let (_, filter) = self.promises.filters.pop_last().expect("one from 0 on");
        self.promises.filters = [(0, filter)].into();
    }

    /// Everybody takes what there is, and acknowledges it: nothing that is ready is left lying.
    pub(crate) fn work(&mut self) {
        self.resume();
        let acked = |model: &mut Self| {
            for (token, lent) in model.with.clone() {
                model.group.ack(&lent.owner, token, model.now).unwrap();
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
}
