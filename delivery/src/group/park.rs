//! What is set aside, and comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use nexus_protocol::group::{Failure, PauseInfo};
use nexus_protocol::{Position, Timestamp};

use super::key::{Head, Key};
use super::rules::{Rules, Verdict};
use super::{BY_ITSELF, Group, Tried, later};
use crate::parked::{Entry, PARKED_MAX, Standing};

impl Group {
    /// Lets what is parked at these positions be delivered again, each with as many tries as at first. What failed
    /// before it under the same key goes first, and what was released before and waits for its time does so no longer.
    /// Each is delivered so much later than the one before. Gives how many entries there were.
    pub fn replay(
        &mut self,
        positions: impl IntoIterator<Item = Position>,
        every: Duration,
        now: Timestamp,
    ) -> usize {
        let parked = &self.state.parked;
        let picked: BTreeSet<_> = positions.into_iter().map(Position::get).collect();
        let picked = picked.into_iter().filter_map(|at| Some((at, parked.get(at)?.key())));
        let picked: Vec<_> = picked.collect();
        let waiting = picked.iter().flat_map(|(at, _)| parked.waiting_up_to(*at, now));
        let waiting: BTreeSet<_> = waiting.collect();
        let mut at = now;
        for position in &waiting {
            self.set(*position, |entry| {
                (entry.released, entry.rounds) = (true, 0);
                entry.tried_before = entry.attempts;
                entry.not_before = (at > now).then_some(at);
            });
            at = later(at, every);
        }
        picked.into_iter().for_each(|(_, key)| self.reload_chain(key));
        waiting.len()
    }

    /// Has another event delivered in place of the one that failed and is parked at a position, from its next
    /// delivery on, and releases that as [`Self::replay`] does. `false`: nothing that failed is parked there.
    pub fn edit(&mut self, position: Position, by: Position, now: Timestamp) -> bool {
        let is_there = self.state.parked.entry(position.get()).is_some();
        if is_there {
            self.set(position.get(), |entry| entry.edited = Some(by.get()));
            self.replay([position], Duration::ZERO, now);
        }
        is_there
    }

    /// Gives up what is parked at these positions: it is done with, also where it is with a consumer just now.
    /// Where the group was sent back and has not come to one again, that is delivered as all from there on are.
    /// Gives how many there were.
    pub fn discard(&mut self, positions: impl IntoIterator<Item = Position>) -> usize {
        let mut count = 0;
        for position in positions {
            let position = position.get();
            let Some(aside) = self.state.parked.get(position) else { continue };
            let key = aside.key();
            if self.keys.get(&key).is_some_and(|it| it.parked && it.first() == position) {
                self.take_back(key);
                self.keys.swap_remove(&key);
            }
            self.held.remove(&position);
            self.unpark(position);
            self.load_chain(key);
            count += 1;
        }
        count
    }

    /// Sets aside the first event of a key, and all that is behind it; or does what a rule says.
    pub(super) fn park(&mut self, key: u64, failure: Failure, now: Timestamp) {
        self.take_back(key);
        let Some(position) = self.keys.get(&key).map(Key::first) else { return };
        let rounds = self.state.parked.entry(position).map_or(0, |entry| entry.rounds);
        if self.is_full(position) && !Rules::skips(&self.config, &failure.class, rounds) {
            return self.stop_full(key, now);
        }
        let tried = (position, &*failure.class, rounds);
        let released = match self.rules.judge(&self.config, tried, now) {
            Verdict::Skip => return self.done(key, now),
            Verdict::Retry(at) => Some(at),
            Verdict::Leave => None,
        };
        let Some(of_key) = self.keys.swap_remove(&key) else { return };
        let attempts = self.attempts(position).saturating_add(1);
        let is_new = self.state.parked.entry(position).is_none();
        let entry = self.entry(position, key, attempts, failure, now);
        self.park_as(
            position,
            Entry {
                released: released.is_some(),
                tried_before: attempts,
                not_before: released,
                rounds: rounds + u32::from(released.is_some()),
                ..entry
            },
        );
        self.close(position);
        for behind in of_key.into_rest() {
            self.park_behind(behind, key, now);
        }
        self.load_chain(key);
        if is_new && self.state.parked.failed() >= PARKED_MAX {
            self.pause_full(now);
        }
    }

    /// What is kept of an event that failed just now, and has tries left.
    fn entry(
        &self,
        position: u64,
        key: u64,
        attempts: u32,
        failure: Failure,
        now: Timestamp,
    ) -> Entry {
        let before = self.state.parked.entry(position);
        let tried = self.state.tried.get(&position).filter(|tried| tried.attempts > 0);
        let first = before.map(|entry| entry.first_failed);
        Entry {
            key,
            released: true,
            attempts,
            tried_before: before.map_or(0, |entry| entry.tried_before),
            not_before: None,
            failure: self.state.parked.fit(failure),
            first_failed: first.or(tried.map(|tried| tried.first_failed)).unwrap_or(now),
            last_failed: now,
            edited: before.and_then(|entry| entry.edited),
            rounds: before.map_or(0, |entry| entry.rounds),
        }
    }

    /// Whether one more entry would be too many.
    fn is_full(&self, position: u64) -> bool {
        let parked = &self.state.parked;
        parked.failed() >= PARKED_MAX && parked.entry(position).is_none()
    }

    /// The first event of a key, which was taken back, would be parked and cannot: it stays as if it had not been
    /// tried, and nothing more is delivered, until somebody has looked.
    pub(super) fn stop_full(&mut self, key: u64, now: Timestamp) {
        self.make_ready(key);
        self.pause_full(now);
    }

    fn pause_full(&mut self, now: Timestamp) {
        let reason = format!(
            "{PARKED_MAX} events are parked, and no more can be: find out why they fail, replay or discard some, and \
             resume the group"
        );
        self.pause(PauseInfo { by: BY_ITSELF.to_owned(), reason, position: None, at: now });
    }

    /// Sets aside an event whose key has something parked. When it may be delivered is written down with what was
    /// tried: it is not read again after a crash.
    pub(super) fn park_behind(&mut self, position: u64, key: u64, now: Timestamp) {
        self.state.parked.put_behind(position, key);
        self.pending.parked(position);
        if let Some(until) = self.not_before.get(&position).copied() {
            let before = Tried { attempts: 0, first_failed: now, until: None };
            let tried = self.state.tried.entry(position).or_insert(before);
            if tried.until != Some(until) {
                tried.until = Some(until);
                self.pending.tried(position);
            }
        }
        self.close(position);
    }

    /// What is parked at a position is so no longer.
    pub(super) fn unpark(&mut self, position: u64) {
        self.state.unpark(position);
        self.pending.parked(position);
        // Where the group was sent back before it, the ledger that is written down may end before it: nothing
        // would say any more that it is done.
        if position < self.state.ledger.next() {
            self.unwritten.pass(position);
        }
    }

    fn park_as(&mut self, position: u64, entry: Entry) {
        self.state.park(position, entry);
        self.pending.parked(position);
    }

    fn set(&mut self, position: u64, edit: impl FnOnce(&mut Entry)) {
        let Some(mut entry) = self.state.parked.entry(position).cloned() else { return };
        edit(&mut entry);
        self.park_as(position, entry);
    }

    /// How often the event had been tried when its tries began anew.
    pub(super) fn tried_before(&self, position: u64) -> u32 {
        self.state.parked.entry(position).map_or(0, |entry| entry.tried_before)
    }

    /// An event was tried once more, and is not held for it: it is delivered again, not before a time. `false`: it
    /// would be one more entry than there may be, and nothing is changed.
    pub(super) fn tried(
        &mut self,
        position: u64,
        attempts: u32,
        failure: Failure,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        let Some(aside) = self.state.parked.get(position) else {
            let before = self.state.tried.get(&position).filter(|tried| tried.attempts > 0);
            let first_failed = before.map_or(now, |tried| tried.first_failed);
            self.state.tried.insert(position, Tried { attempts, first_failed, until });
            self.pending.tried(position);
            return true;
        };
        if self.is_full(position) {
            return false;
        }
        let entry = self.entry(position, aside.key(), attempts, failure, now);
        self.park_as(position, Entry { not_before: until, ..entry });
        true
    }

    /// Puts the first of what is parked under a key on its way, where nothing holds it. One that the log has not
    /// been read up to waits: others of its key may stand before it. So does one whose answer is not settled.
    pub(super) fn load_chain(&mut self, key: u64) {
        let Some((first, aside)) = self.state.parked.first_of(key) else { return };
        let is_held = aside.standing() == Standing::Failed || first >= self.fed;
        if is_held || self.keys.contains_key(&key) || self.held.contains_key(&first) {
            return;
        }
        let until = match aside.entry() {
            Some(entry) => entry.not_before,
            None => self.state.tried.get(&first).and_then(|tried| tried.until),
        };
        self.keys.insert(key, Key::new(first, true));
        match until {
            Some(until) => self.wait(key, until),
            None => self.make_ready(key),
        }
    }

    /// The same, where what is on its way may not have to wait any more, or for another time.
    fn reload_chain(&mut self, key: u64) {
        let waits = |it: &Key| it.parked && matches!(it.head(), Head::Waiting { .. });
        if self.keys.get(&key).is_some_and(waits) {
            self.take_back(key);
            self.keys.swap_remove(&key);
        }
        self.load_chain(key);
    }

    /// The same under every key that has something parked in a range.
    pub(super) fn load_chains_within(&mut self, range: std::ops::Range<u64>) {
        if self.state.parked.is_empty() {
            return;
        }
        let keys: Vec<_> = self.state.parked.within(range).map(|(_, aside)| aside.key()).collect();
        keys.into_iter().for_each(|key| self.load_chain(key));
    }
}
