//! Cursors over a posting list: up from a position, and down from one.
//!
//! They hold the list (a reference or an `Arc`) and an index, and no lock: the writer goes on. The
//! rule of the list holds for them too. A cursor that lives across watermarks takes with
//! [`Ascending::next_below`], which never steps over a posting that may still be truncated; the
//! [`Iterator`] of [`Ascending`] does, so it is for lists that only its caller writes, or for a
//! caller that drops the cursor at the first posting it must not see.

use std::ops::Deref;

use super::PostingList;

/// Postings in ascending order. It sees what is pushed while it lives.
pub(crate) struct Ascending<L> {
    list: L,
    /// The index of the next posting.
    next: usize,
}

impl<L: Deref<Target = PostingList>> Ascending<L> {
    /// Starts with the first posting at or above `position`.
    pub(crate) fn new(list: L, position: u64) -> Self {
        let next = position.checked_sub(1).map_or(0, |below| list.partition_point_above(below));
        Self { list, next }
    }

    /// Goes on with the first posting at or above `position`, which is not above the reader's
    /// watermark; never goes back. Costs the logarithm of the distance, which is what intersecting
    /// lists needs.
    pub(crate) fn seek(&mut self, position: u64) {
        let len = self.list.len();
        let (mut low, mut stride) = (self.next, 1);
        while low < len {
            let probe = len.min(low + stride) - 1;
            if self.list.value(probe) >= position {
                self.next = self.list.first_index(low, probe, |value| value >= position);
                return;
            }
            low = probe + 1;
            stride *= 2;
        }
        self.next = low;
    }

    /// The next posting if it is below `bound`, a watermark; stays on it.
    pub(crate) fn peek_below(&self, bound: u64) -> Option<u64> {
        self.list.get(self.next).filter(|position| *position < bound)
    }

    /// The next posting if it is below `bound`, a watermark; else stays where it is.
    pub(crate) fn next_below(&mut self, bound: u64) -> Option<u64> {
        let position = self.peek_below(bound)?;
        self.next += 1;
        Some(position)
    }
}

impl<L: Deref<Target = PostingList>> Iterator for Ascending<L> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let position = self.list.get(self.next)?;
        self.next += 1;
        Some(position)
    }
}

/// Postings in descending order, down to the first of the list.
pub(crate) struct Descending<L> {
    list: L,
    /// How many are left: the next one is the last of them.
    left: usize,
}

impl<L: Deref<Target = PostingList>> Descending<L> {
    /// Starts with the last posting at or below `position`, which is below the reader's watermark:
    /// then all that follow are too, and none of them can change.
    pub(crate) fn new(list: L, position: u64) -> Self {
        let left = list.partition_point_above(position);
        Self { list, left }
    }

    /// Goes on with the last posting at or below `position`; never goes back up.
    pub(crate) fn seek(&mut self, position: u64) {
        self.left = self.list.count_at_or_below(position, self.left);
    }

    /// The next posting; stays on it.
    pub(crate) fn peek(&self) -> Option<u64> {
        self.left.checked_sub(1).map(|index| self.list.value(index))
    }
}

impl<L: Deref<Target = PostingList>> Iterator for Descending<L> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let position = self.peek()?;
        self.left -= 1;
        Some(position)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
