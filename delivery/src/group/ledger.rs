//! [`Ledger`]: which positions of the log are done with, and which are not.
//!
//! All below `next` was looked at. Of that, what is not in `open` is done, or was never for this group: so
//! positions that do not match cost nothing, and what is stuck costs what it is, however much was done behind it.

use std::collections::BTreeSet;

/// Which positions are done with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    next: u64,
    open: BTreeSet<u64>,
}

/// What became of positions since the last time that was written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All positions below were looked at.
    pub next: u64,
    /// Of those that were not below before: not done. Ascending.
    pub opened: Vec<u64>,
    /// Of those that were not done before: done.
    pub closed: Vec<u64>,
}

impl Ledger {
    /// Nothing below `next` is to be done.
    pub(crate) fn starting_at(next: u64) -> Self {
        Self { next, open: BTreeSet::new() }
    }

    /// All positions below are done.
    pub(crate) fn floor(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next)
    }

    /// All positions below were looked at.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many positions are not done.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn is_open(&self, position: u64) -> bool {
        self.open.contains(&position)
    }

    /// Those that are not done in a range.
    pub(crate) fn open_within(
        &self,
        range: std::ops::Range<u64>,
    ) -> impl Iterator<Item = u64> + '_ {
        self.open.range(range).copied()
    }

    /// All positions up to `next` were looked at, and none of them is for this group.
    pub(crate) fn pass(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// A position that was not looked at before is to be done.
    pub(crate) fn add(&mut self, position: u64) {
        debug_assert!(position >= self.next, "positions are looked at in order");
        self.open.insert(position);
        self.pass(position + 1);
    }

    /// A position is done; `false`: it was before.
    pub(crate) fn close(&mut self, position: u64) -> bool {
        self.open.remove(&position)
    }

    /// Takes over what was written down.
    pub(crate) fn apply(&mut self, progress: &Progress) {
        for position in &progress.closed {
            self.open.remove(position);
        }
        self.open.extend(&progress.opened);
        self.next = self.next.max(progress.next);
    }
}

/// So many positions may have to be looked at again after a crash, although nothing there is for the group.
pub(crate) const LOOKED_AT_MAX: u64 = 65_536;

/// What of a ledger is not written down yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unwritten {
    /// Where the ledger that is written down ends.
    written_next: u64,
    /// Positions below that were closed since.
    closed: Vec<u64>,
    /// One after the highest position that was ever closed.
    closed_next: u64,
    /// Where all was looked at is to be written down too, whether or not anything there is done.
    all: bool,
}

impl Unwritten {
    /// Nothing: this one is written down.
    pub(crate) fn nothing_of(ledger: &Ledger) -> Self {
        Self { written_next: ledger.next(), closed: Vec::new(), closed_next: 0, all: false }
    }

    /// What was looked at so far is to be looked at again by nobody.
    pub(crate) fn all(&mut self) {
        self.all = true;
    }

    /// A position was closed.
    pub(crate) fn close(&mut self, position: u64) {
        if position < self.written_next {
            self.closed.push(position);
        }
        self.pass(position);
    }

    /// A position that was looked at is not open, which somebody has to know.
    pub(crate) fn pass(&mut self, position: u64) {
        self.closed_next = self.closed_next.max(position + 1);
    }

    /// What is to be written down; `None`: nothing. Where nothing was done, positions that were merely looked at are
    /// not, up to [`LOOKED_AT_MAX`] of them: they are looked at again. Records stand in the log themselves, and a group
    /// that wrote down that it had looked at its own record would never come to an end.
    pub(crate) fn take(&mut self, ledger: &Ledger) -> Option<Progress> {
        let all = std::mem::take(&mut self.all);
        let known = self.closed_next.max(self.written_next);
        // Up to the next that is open nothing is: all of it is done.
        let next = ledger.open_within(known..u64::MAX).next().unwrap_or(ledger.next());
        let next = if all { ledger.next() } else { next.max(known) };
        let is_done = self.closed_next > self.written_next || !self.closed.is_empty();
        let is_done = is_done || all && next > self.written_next;
        if !is_done && next - self.written_next < LOOKED_AT_MAX {
            return None;
        }
        let opened = ledger.open_within(self.written_next..next).collect();
        self.written_next = next;
        let mut closed = std::mem::take(&mut self.closed);
        closed.sort_unstable();
        Some(Progress { next, opened, closed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_says_what_is_done_and_no_more_than_that() {
        let mut ledger = Ledger::starting_at(10);
        let mut written = ledger.clone();
        let mut unwritten = Unwritten::nothing_of(&ledger);
        assert_eq!(unwritten.take(&ledger), None);
        for position in [10, 12, 13, 20] {
            ledger.add(position);
        }
        // Nothing is done, and nothing has to be remembered of that.
        assert_eq!(unwritten.take(&ledger), None);
        assert!(ledger.close(13) && !ledger.close(13));
        unwritten.close(13);
        let progress = unwritten.take(&ledger).unwrap();
        assert_eq!(progress, Progress { next: 20, opened: vec![10, 12], closed: vec![] });
        written.apply(&progress);
        assert_eq!((written.floor(), written.next(), written.open()), (10, 20, 2));
        for position in [10, 20] {
            ledger.close(position);
            unwritten.close(position);
        }
        ledger.pass(30);
        let progress = unwritten.take(&ledger).unwrap();
        assert_eq!(progress, Progress { next: 30, opened: vec![], closed: vec![10] });
        written.apply(&progress);
        assert_eq!(written, ledger);
        assert_eq!(written.floor(), 12);
        // To have looked at more is written down once it is much.
        ledger.pass(29 + LOOKED_AT_MAX);
        assert_eq!(unwritten.take(&ledger), None);
        ledger.pass(30 + LOOKED_AT_MAX);
        assert_eq!(unwritten.take(&ledger).unwrap().next, 30 + LOOKED_AT_MAX);
        assert_eq!(unwritten.take(&ledger), None);
    }
}
