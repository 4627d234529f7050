//! The positions of one key (a stream, a type, a tag) in the tail of the log, in memory.
//!
//! One writer appends, any number of readers look, and neither ever waits for the other. It is not
//! a set (positions strictly ascend) and not durable; it does not know what is committed.
//!
//! The rule for readers: **load a watermark first, then ask only about what is below it.** The
//! writer pushes before the watermark covers the position, and truncates (Raft) only at or above
//! it. Therefore, for a reader who loaded `w`:
//! - every posting below `w` is in the list, counted, and never moves or changes again;
//! - postings at or above `w` may be missing, may vanish, and may be overwritten while they are
//!   read, so that above `w` even the order may look broken. A question about a position below `w`
//!   (`partition_point_above(w - 1)`, `ascending_from(w)`) only ever learns that they are not below
//!   it, whichever of their values it meets. The loom models hold the list to that.
//!
//! Invariants: a slot is written before the length that counts it is published (release, acquire);
//! slots are never moved or freed while the list lives, so a stale length is always in bounds.
//!
//! Why so: most keys have one to three postings and there are millions of them: those live in the
//! list itself, in 48 bytes without an allocation. Longer lists go through buckets that grow with
//! them (less than 24 bytes a posting from the hundredth on) up to [`CHUNK_SLOTS`], then through
//! chunks of that size, so that a push never has to clear or copy megabytes on the commit path. The
//! bucket of an index follows from the index, so `push` and `get` take constant time and nothing
//! else is remembered.

#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, not(loom)))]
mod tests;

mod cursor;

pub(crate) use cursor::{Ascending, Descending};

use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Indexes below this are in the list itself.
const INLINE_END: usize = if cfg!(loom) { 1 } else { 3 };
/// From [`INLINE_END`] up to this: in its first allocation.
const SMALL_END: usize = if cfg!(loom) { 2 } else { 8 };
/// From [`SMALL_END`] up to this: in its second.
const LARGE_END: usize = if cfg!(loom) { 4 } else { 32 };
/// From [`LARGE_END`] up to this: in steps that double. From here on: in chunks of this size.
const CHUNK_SLOTS: usize = if cfg!(loom) { 8 } else { 512 };
/// How many doubling steps there are: one for each power of two.
const STEPS: usize = (CHUNK_SLOTS.ilog2() - LARGE_END.ilog2()) as usize;
/// How many levels the directory of chunks has; level n holds 2^n chunks.
const LEVELS: usize = if cfg!(loom) { 2 } else { 30 };
/// No list is longer than this: 2^39 postings, four tebibytes.
const POSTINGS_MAX: usize = CHUNK_SLOTS << LEVELS;

const _: () = assert!(INLINE_END < SMALL_END && SMALL_END < LARGE_END && LARGE_END < CHUNK_SLOTS);
const _: () = assert!(LARGE_END.is_power_of_two() && CHUNK_SLOTS.is_power_of_two());
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<PostingList>() == 48 && size_of::<Small>() == 56);

/// An append-only, ascending list of positions; see the module's documentation.
pub(crate) struct PostingList {
    /// How many postings there are; they are in the slots below it.
    len: AtomicUsize,
    inline: [AtomicU64; INLINE_END],
    small: OnceLock<Box<Small>>,
}

/// The slots from [`INLINE_END`] on, and the way to those from [`SMALL_END`] on.
struct Small {
    slots: [AtomicU64; SMALL_END - INLINE_END],
    large: OnceLock<Box<Large>>,
}

/// The slots from [`SMALL_END`] on, and the way to all further ones.
struct Large {
    slots: [AtomicU64; LARGE_END - SMALL_END],
    /// Step n holds the indexes from `LARGE_END << n` up to twice that.
    steps: [OnceLock<Box<[AtomicU64]>>; STEPS],
    directory: OnceLock<Box<Directory>>,
}

/// The chunks. Chunk 0 would be what the list, `Small`, and `Large` hold, so numbers start at 1,
/// and level n has the numbers from 2^n up to twice that.
struct Directory {
    levels: [OnceLock<Level>; LEVELS],
}

/// Chunks of one level, allocated one after the other.
type Level = Box<[OnceLock<Box<Chunk>>]>;

/// Slots of a long list.
type Chunk = [AtomicU64; CHUNK_SLOTS];

impl PostingList {
    /// An empty list; allocates nothing.
    pub(crate) fn new() -> Self {
        Self { len: AtomicUsize::new(0), inline: empty_slots(), small: OnceLock::new() }
    }

    /// Appends a position. One writer at a time: the caller owns the index.
    ///
    /// # Panics
    /// Unless it is above the last posting.
    pub(crate) fn push(&self, position: u64) {
        let len = self.len.load(Ordering::Relaxed);
        if let Some(before) = len.checked_sub(1) {
            let last = self.value(before);
            assert!(last < position, "posting {position} pushed after {last}");
        }
        let slot = match self.slot(len) {
            Some(slot) => slot,
            None => self.grow(len),
        };
        slot.store(position, Ordering::Relaxed);
        self.len.store(len + 1, Ordering::Release);
    }

    /// Forgets all but the first `len` postings; their slots are kept and used again. Only the
    /// writer does this, and only for postings that no watermark has covered.
    ///
    /// # Panics
    /// If there are fewer than `len`.
    pub(crate) fn truncate(&self, len: usize) {
        let before = self.len.load(Ordering::Relaxed);
        assert!(len <= before, "{before} postings cannot be truncated to {len}");
        // Release: a reader who gets its length from here must see the slots below it.
        self.len.store(len, Ordering::Release);
    }

    /// How many postings there are; a reader may count some that it must not see yet.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The posting at `index`; a reader discards it unless it is below its watermark.
    pub(crate) fn get(&self, index: usize) -> Option<u64> {
        (index < self.len()).then(|| self.value(index))
    }

    /// The newest posting, committed or not: for the writer. Readers ask
    /// [`last_at_or_below`](Self::last_at_or_below).
    pub(crate) fn last(&self) -> Option<u64> {
        self.len().checked_sub(1).map(|index| self.value(index))
    }

    /// How many postings are at or below `position`, which is the index of the first above it.
    /// Cheapest near the end, where most questions are.
    pub(crate) fn partition_point_above(&self, position: u64) -> usize {
        self.count_at_or_below(position, self.len())
    }

    /// The last posting at or below `position`, with its index.
    pub(crate) fn last_at_or_below(&self, position: u64) -> Option<(usize, u64)> {
        let index = self.partition_point_above(position).checked_sub(1)?;
        Some((index, self.value(index)))
    }

    /// The postings at or above `position`, going up. [`Ascending::new`] takes an `Arc` as well.
    pub(crate) fn ascending_from(&self, position: u64) -> Ascending<&Self> {
        Ascending::new(self, position)
    }

    /// The postings at or below `position`, going down. [`Descending::new`] takes an `Arc` as well.
    pub(crate) fn descending_from(&self, position: u64) -> Descending<&Self> {
        Descending::new(self, position)
    }

    /// What the list occupies, itself included. Slots freed by `truncate` still count.
    pub(crate) fn memory_bytes(&self) -> usize {
        let mut bytes = size_of::<Self>();
        let Some(small) = self.small.get() else { return bytes };
        bytes += size_of::<Small>();
        let Some(large) = small.large.get() else { return bytes };
        bytes += size_of::<Large>();
        bytes +=
            large.steps.iter().filter_map(OnceLock::get).map(|s| size_of_val(&**s)).sum::<usize>();
        let Some(directory) = large.directory.get() else { return bytes };
        bytes += size_of::<Directory>();
        for level in directory.levels.iter().map_while(OnceLock::get) {
            let chunks = level.partition_point(|chunk| chunk.get().is_some());
            bytes += size_of_val(&**level) + chunks * size_of::<Chunk>();
        }
        bytes
    }

    /// Among the first `len` postings, how many are at or below `position`: goes back from the end
    /// in growing strides, then halves what is left.
    fn count_at_or_below(&self, position: u64, len: usize) -> usize {
        let (mut low, mut high, mut stride) = (0, len, 1);
        while low < high {
            let probe = high.saturating_sub(stride).max(low);
            if self.value(probe) <= position {
                low = probe + 1;
                break;
            }
            high = probe;
            stride *= 4;
        }
        self.first_index(low, high, |value| value > position)
    }

    /// The first index from `low` to `high` whose value is `beyond`; `high` if there is none.
    fn first_index(&self, mut low: usize, mut high: usize, beyond: impl Fn(u64) -> bool) -> usize {
        while low < high {
            let middle = low + (high - low) / 2;
            if beyond(self.value(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// The value in a slot that some length which this thread has seen counted.
    fn value(&self, index: usize) -> u64 {
        let slot = self.slot(index).expect("a slot exists before a length counts it");
        slot.load(Ordering::Relaxed)
    }

    /// The slot of an index, if there is one yet.
    #[inline]
    fn slot(&self, index: usize) -> Option<&AtomicU64> {
        if index < INLINE_END {
            return Some(&self.inline[index]);
        }
        let small = self.small.get()?;
        if index < SMALL_END {
            return Some(&small.slots[index - INLINE_END]);
        }
        let large = small.large.get()?;
        if index < LARGE_END {
            return Some(&large.slots[index - SMALL_END]);
        }
        if index < CHUNK_SLOTS {
            let (step, within) = split_at_power(index / LARGE_END);
            return large.steps[step].get()?.get(within * LARGE_END + index % LARGE_END);
        }
        let (level, within) = split_at_power(index / CHUNK_SLOTS);
        let chunk = large.directory.get()?.levels[level].get()?[within].get()?;
        Some(&chunk[index % CHUNK_SLOTS])
    }

    /// The slot of an index, after allocating what it needs.
    #[cold]
    fn grow(&self, index: usize) -> &AtomicU64 {
        assert!(index < POSTINGS_MAX, "more than {POSTINGS_MAX} postings in one list");
        let small = self
            .small
            .get_or_init(|| Box::new(Small { slots: empty_slots(), large: OnceLock::new() }));
        if index >= SMALL_END {
            let large = small.large.get_or_init(|| Box::new(Large::new()));
            if index >= CHUNK_SLOTS {
                large.grow_chunk(index / CHUNK_SLOTS);
            } else if index >= LARGE_END {
                let (step, _) = split_at_power(index / LARGE_END);
                large.steps[step].get_or_init(|| empty_bucket(LARGE_END << step));
            }
        }
        self.slot(index).expect("allocated above")
    }
}

impl Default for PostingList {
    fn default() -> Self {
        Self::new()
    }
}

impl Large {
    /// Slots, and nothing behind them.
    fn new() -> Self {
        Self {
            slots: empty_slots(),
            steps: std::array::from_fn(|_| OnceLock::new()),
            directory: OnceLock::new(),
        }
    }

    /// Allocates a chunk, and its level of the directory.
    fn grow_chunk(&self, number: usize) {
        let directory = self.directory.get_or_init(|| {
            Box::new(Directory { levels: std::array::from_fn(|_| OnceLock::new()) })
        });
        let (level, within) = split_at_power(number);
        let chunks = directory.levels[level]
            .get_or_init(|| std::iter::repeat_with(OnceLock::new).take(1 << level).collect());
        chunks[within].get_or_init(|| Box::new(empty_slots()));
    }
}

/// Splits a number into its highest power of two (as an exponent) and the rest.
fn split_at_power(number: usize) -> (usize, usize) {
    let power = number.ilog2();
    (power as usize, number - (1 << power))
}

/// Slots that no length counts yet.
fn empty_slots<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

/// A bucket of slots that no length counts yet.
fn empty_bucket(slots: usize) -> Box<[AtomicU64]> {
    std::iter::repeat_with(|| AtomicU64::new(0)).take(slots).collect()
}
