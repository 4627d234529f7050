//! What is set aside, and comes back.

use nexus_protocol::{Position, Timestamp};

use super::key::{Head, Key};
use super::{Change, Group};
use crate::parked::{self, Entry, Failure, Standing};

impl Group {
    /// Lets what is parked at these positions be delivered again, each with as many tries as at first. What failed
    /// before it under the same key goes first. Gives how many entries were released.
    pub fn replay(&mut self, positions: impl IntoIterator<Item = Position>) -> usize {
        let mut count = 0;
        for position in positions {
            let Some(key) = self.state.parked.get(position.get()).map(|entry| entry.key) else {
                continue;
            };
            for at in self.state.parked.held_up_to(position.get()) {
                self.set(at, |entry| {
                    entry.standing = Standing::Released;
                    entry.not_before = None;
                    entry.tried_before = entry.attempts;
                });
                count += 1;
            }
            self.load_chain(key);
        }
        count
    }

    /// Gives up what is parked at these positions: it is done with, also where it is with a consumer just now.
    /// Where the group was sent back and has not come to one again, that is delivered as all from there on are.
    /// Gives how many there were.
    pub fn discard(&mut self, positions: impl IntoIterator<Item = Position>) -> usize {
        let mut count = 0;
        for position in positions {
            let position = position.get();
            let Some(key) = self.state.parked.get(position).map(|entry| entry.key) else {
                continue;
            };
            if self.keys.get(&key).is_some_and(|it| it.parked && it.first() == position) {
                self.take_back(key);
                self.keys.remove(&key);
            }
            self.unpark(position);
            self.load_chain(key);
            count += 1;
        }
        count
    }

    /// Sets aside the first event of a key, and all that is behind it.
    pub(super) fn park(&mut self, key: u64, failure: Failure, now: Timestamp) {
        self.take_back(key);
        let Some(of_key) = self.keys.remove(&key) else { return };
        let (first, attempts) = (of_key.first(), self.attempts(of_key.first()).saturating_add(1));
        if of_key.parked {
            return self.set(first, |entry| {
                entry.standing = Standing::Failed;
                (entry.attempts, entry.tried_before, entry.not_before) = (attempts, attempts, None);
                (entry.failure, entry.last_failed) = (Some(failure), now);
            });
        }
        let entry = Entry {
            key,
            standing: Standing::Failed,
            attempts,
            tried_before: attempts,
            not_before: None,
            failure: Some(failure),
            first_failed: now,
            last_failed: now,
        };
        for position in of_key.into_positions() {
            if position == first {
                self.change(Change::Parked(parked::Change::Set(first, entry.clone())));
                self.close(first);
            } else {
                self.park_behind(position, key, now);
            }
        }
    }

    /// Sets aside an event whose key has something parked.
    pub(super) fn park_behind(&mut self, position: u64, key: u64, now: Timestamp) {
        let entry = Entry {
            key,
            standing: Standing::Behind,
            attempts: self.attempts(position),
            tried_before: 0,
            not_before: self.not_before.get(&position).copied(),
            failure: None,
            first_failed: now,
            last_failed: now,
        };
        self.change(Change::Parked(parked::Change::Set(position, entry)));
        self.close(position);
    }

    /// What is parked at a position is so no longer.
    pub(super) fn unpark(&mut self, position: u64) {
        self.change(Change::Parked(parked::Change::Removed(position)));
        // Where the group was sent back before it, the ledger that is written down may end before it: nothing
        // would say any more that it is done.
        if position < self.state.ledger.next() {
            self.unwritten.pass(position);
        }
    }

    fn set(&mut self, position: u64, edit: impl FnOnce(&mut Entry)) {
        let Some(mut entry) = self.state.parked.get(position).cloned() else { return };
        edit(&mut entry);
        self.change(Change::Parked(parked::Change::Set(position, entry)));
    }

    /// How often the event had been tried when its tries began anew.
    pub(super) fn tried_before(&self, position: u64) -> u32 {
        self.state.parked.get(position).map_or(0, |entry| entry.tried_before)
    }

    /// An event was tried once more, and is not parked for it.
    pub(super) fn tried(&mut self, position: u64, attempts: u32, failure: Failure, now: Timestamp) {
        if self.state.parked.get(position).is_none() {
            return self.change(Change::Attempted(position, attempts));
        }
        self.set(position, |entry| {
            entry.attempts = attempts;
            (entry.failure, entry.last_failed) = (Some(failure), now);
        });
    }

    /// Puts the first of what is parked under a key on its way, where nothing holds it. One that the log has not
    /// been read up to waits: others of its key may stand before it.
    pub(super) fn load_chain(&mut self, key: u64) {
        let Some((first, entry)) = self.state.parked.first_of(key) else { return };
        let is_held = entry.standing == Standing::Failed || first >= self.fed;
        if is_held || self.keys.contains_key(&key) {
            return;
        }
        let lane = self.lane_of(key);
        let mut of_key = Key::new(first, lane, true);
        if let Some(until) = entry.not_before {
            of_key.head = Head::Waiting { until };
            self.timers.insert((until, key));
            self.keys.insert(key, of_key);
        } else {
            self.keys.insert(key, of_key);
            self.make_ready(key);
        }
    }

    /// The same under every key that has something parked in a range.
    pub(super) fn load_chains_within(&mut self, range: std::ops::Range<u64>) {
        let keys: Vec<_> = self.state.parked.within(range).map(|(_, entry)| entry.key).collect();
        keys.into_iter().for_each(|key| self.load_chain(key));
    }
}
