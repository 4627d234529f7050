//! How values are written.

use nexus_protocol::Timestamp;
use nexus_protocol::group::{Failure, PauseInfo};

use super::super::ledger::Progress;
use super::super::state::{Change, State, Tried};
use crate::parked::{self, Entry};

/// Writes values, each against the one of its kind before.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) out: Vec<u8>,
    position: u64,
    time: i64,
}

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.out.push(number.to_le_bytes()[0]);
    }

    fn difference(&mut self, difference: i64) {
        self.number((difference << 1 ^ difference >> 63).cast_unsigned());
    }

    fn position(&mut self, position: u64) {
        self.difference(position.wrapping_sub(self.position).cast_signed());
        self.position = position;
    }

    fn time(&mut self, time: Timestamp) {
        self.difference(time.as_micros().wrapping_sub(self.time));
        self.time = time.as_micros();
    }

    fn flag(&mut self, flag: bool) {
        self.out.push(u8::from(flag));
    }

    fn key(&mut self, key: u64) {
        self.out.extend_from_slice(&key.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn maybe<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    /// Positions in ascending order.
    fn runs(&mut self, positions: impl IntoIterator<Item = u64>) {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for position in positions {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == position => *count += 1,
                _ => runs.push((position, 1)),
            }
        }
        self.number(runs.len() as u64);
        let mut behind = 0;
        for (first, count) in runs {
            self.number(first - behind);
            self.number(count);
            behind = first + count;
        }
    }

    fn failure(&mut self, failure: &Failure) {
        let Failure { class, message, chain } = failure;
        self.text(class);
        self.text(message);
        self.number(chain.len() as u64);
        chain.iter().for_each(|cause| self.text(cause));
    }

    fn entry(&mut self, entry: &Entry) {
        self.key(entry.key);
        self.flag(entry.released);
        self.number(entry.attempts.into());
        self.number(entry.tried_before.into());
        self.time(entry.first_failed);
        self.time(entry.last_failed);
        self.maybe(entry.not_before, Self::time);
        self.failure(&entry.failure);
        self.maybe(entry.edited, Self::position);
        self.number(entry.rounds.into());
    }

    fn tried(&mut self, tried: Tried) {
        self.number(tried.attempts.into());
        self.time(tried.first_failed);
        self.maybe(tried.until, Self::time);
    }

    fn pause(&mut self, pause: &PauseInfo) {
        let PauseInfo { by, reason, position, at } = pause;
        self.text(by);
        self.text(reason);
        self.maybe(*position, |writer, position| writer.position(position.get()));
        self.time(*at);
    }

    pub(super) fn change(&mut self, change: &Change) {
        match change {
            Change::Sought(next) => {
                self.out.push(1);
                self.position(*next);
            }
            Change::Paused(pause) => {
                self.out.push(2);
                self.maybe(pause.as_ref(), Self::pause);
            }
            Change::Attempted(position, tried) => {
                self.out.push(3);
                self.position(*position);
                self.tried(*tried);
            }
            Change::Parked(parked::Change::Set(position, entry)) => {
                self.out.push(4);
                self.position(*position);
                self.entry(entry);
            }
            Change::Parked(parked::Change::Removed(position)) => {
                self.out.push(5);
                self.position(*position);
            }
            Change::Progress(Progress { next, opened, closed }) => {
                self.out.push(6);
                self.position(*next);
                self.runs(opened.iter().copied());
                let mut closed = closed.clone();
                closed.sort_unstable();
                closed.dedup();
                self.runs(closed);
            }
            Change::Opened(generation) => {
                self.out.push(7);
                self.number(*generation);
            }
            Change::Behind { key, positions } => {
                self.out.push(8);
                self.key(*key);
                self.runs(positions.iter().copied());
            }
            Change::Refiltered(next) => {
                self.out.push(9);
                self.position(*next);
            }
        }
    }

    pub(super) fn state(&mut self, state: &State) {
        let State { ledger, tried, parked, pause, generation, refiltered } = state;
        self.number(*generation);
        self.maybe(pause.as_ref(), Self::pause);
        self.position(ledger.next());
        self.position(*refiltered);
        self.runs(ledger.open_within(0..u64::MAX));
        self.number(tried.len() as u64);
        for (position, tried) in tried {
            self.position(*position);
            self.tried(*tried);
        }
        self.number(parked.entries().len() as u64);
        for (position, entry) in parked.entries() {
            self.position(position);
            self.entry(entry);
        }
        let behind = parked.behind();
        self.number(behind.len() as u64);
        for (key, positions) in behind {
            self.key(key);
            self.runs(positions);
        }
    }
}
