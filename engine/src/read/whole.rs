//! Blocks that a reader is handed whole, as they are stored, instead of their events.
//!
//! Only where nothing is lost or shown by it: the reader wants every event of users' streams from where it
//! stands, the block lies within what it may be given, and no event of it may be hidden from the reader.
//! Where that is not certain, or the block does not hold, there is none, and the reader is given events:
//! that way tells of damage too.

use std::ops::Range;
use std::sync::Arc;

use nexus_protocol::{Block, Direction};

use super::{Reader, Source};
use crate::index::Index;
use crate::index::stream::StreamEntry;
use crate::log::Log;
use crate::segment::blocks::{BlockTable, stored};
use crate::segment::{Content, Segment};

/// Of a segment in which more streams than this may hide events, no block is looked at.
const HIDING_STREAMS_MAX: usize = 64;

/// What a block that is handed out may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within {
    /// It begins before this position.
    pub(crate) begins_before: u64,
    /// It ends before this one.
    pub(crate) ends_before: u64,
    /// It has so many events at most.
    pub(crate) events_max: u64,
}

impl Within {
    pub(crate) const ANYTHING: Self =
        Self { begins_before: u64::MAX, ends_before: u64::MAX, events_max: u64::MAX };
}

/// Finds the blocks of one reader, in the order of its positions.
#[derive(Debug)]
pub(crate) struct WholeBlocks {
    looked: Option<Looked>,
    /// None that can be handed out begins below this position.
    none_below: u64,
}

/// A rewritten segment, and what was found out about it.
#[derive(Debug)]
struct Looked {
    segment: Arc<Segment>,
    /// Streams of which it may hold a hidden event.
    hiding: Vec<Arc<StreamEntry>>,
}

impl Reader {
    /// The next events as a block, as it is stored: where all of them are wanted and visible, and it is
    /// within bounds. `None` says nothing of what comes: the next event is asked for.
    pub(crate) fn next_block(&mut self, within: Within) -> Option<Block> {
        let wants_all = matches!(self.source, Source::Scan)
            && self.direction == Direction::Forwards
            && self.filter.is_all()
            && !self.system;
        let at = self.next.filter(|at| wants_all && *at < self.end)?;
        let within = Within {
            ends_before: within.ends_before.min(self.end),
            events_max: within.events_max.min(self.left),
            ..within
        };
        let (log, index) = (&self.cursor.log, &self.index);
        let (block, segment) = self.whole.next(log, index, at, within, self.bound)?;
        let (first, last, count) = (block.entry().first, block.last().get(), block.count());
        assert!(at <= first && last < self.end, "a block is of what is still to be read");
        assert!(u64::from(count) <= self.left, "and no more than is wanted");
        self.cursor.read_of(Some(segment));
        self.left -= u64::from(count);
        self.next = last.checked_add(1);
        Some(block)
    }
}

impl WholeBlocks {
    pub(crate) fn new() -> Self {
        Self { looked: None, none_below: 0 }
    }

    /// The block that holds the next events of users' streams from position `at` on, if it can be handed
    /// out; with it, the first position of its segment. `bound` is what the reader may see, and never
    /// changes.
    pub(crate) fn next(
        &mut self,
        log: &Log,
        index: &Index,
        at: u64,
        within: Within,
        bound: u64,
    ) -> Option<(Block, u64)> {
        if at < self.none_below || !self.looks_at(log, index, at, bound) {
            return None;
        }
        let Self { looked: Some(looked), none_below } = self else {
            unreachable!("it was just looked at");
        };
        let table = looked.table();
        let Some(block) = table.users_from(at) else {
            *none_below = table.next_position();
            return None;
        };
        let entry = block.entry();
        if entry.first < at {
            // It has begun: the rest of it comes as events.
            *none_below = entry.last + 1;
            return None;
        }
        let fits = entry.first < within.begins_before
            && entry.last < within.ends_before
            && u64::from(entry.count) <= within.events_max;
        if !fits {
            return None;
        }
        assert!(entry.last < bound, "nothing is read that is not committed (I2)");
        let may_hide =
            |stream: &Arc<StreamEntry>| stream.may_hide_between(entry.first, entry.last, bound);
        let hides = looked.hiding.iter().any(may_hide);
        let found = if hides { None } else { stored(&**looked.segment.file(), block) };
        let segment_first = looked.segment.first_position;
        *none_below = entry.last + 1;
        found.map(|block| (block, segment_first))
    }

    /// Whether the segment of `at` may have blocks to hand out; what is found out about it is kept.
    fn looks_at(&mut self, log: &Log, index: &Index, at: u64, bound: u64) -> bool {
        if self.looked.as_ref().is_some_and(|looked| looked.positions().contains(&at)) {
            return true;
        }
        self.looked = None;
        let segments = log.segments();
        let after = segments.partition_point(|segment| segment.first_position <= at);
        // What is not rewritten yet stays what it is for this reader, and the last one is written.
        self.none_below = segments.get(after).map_or(u64::MAX, |next| next.first_position);
        let segment = after.checked_sub(1).and_then(|index| segments.get(index));
        let Some(segment) = segment.filter(|segment| segment.is_compressed()) else { return false };
        let mut looked = Looked { segment: Arc::clone(segment), hiding: Vec::new() };
        let positions = looked.positions();
        if !positions.contains(&at) {
            return false;
        }
        looked.hiding = index.hiding_between(positions.start, positions.end - 1, bound);
        if looked.hiding.len() > HIDING_STREAMS_MAX {
            return false;
        }
        self.none_below = at;
        self.looked = Some(looked);
        true
    }
}

impl Looked {
    fn table(&self) -> &BlockTable {
        match &self.segment.content {
            Content::Blocks(table) => table,
            _ => unreachable!("only rewritten segments are kept"),
        }
    }

    fn positions(&self) -> Range<u64> {
        self.segment.first_position..self.table().next_position()
    }
}
