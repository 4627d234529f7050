//! From a recorded time to the position where it begins, also around damage.
//!
//! Recorded times never decrease along the log, so it is a binary search: over segments, then over
//! frames, whose times are known without reading them, or over the positions of a rewritten segment,
//! which are read. What cannot be read has no time, and is no reason to answer nothing: then the
//! answer is a range, and its ends are such that a reader meets the damage and is told, instead of
//! passing it in silence.

use std::sync::Arc;

use nexus_protocol::Timestamp;

use super::{Log, ReadFault};
use crate::segment::frames::Want;
use crate::segment::{Content, FrameTable, Segment};

/// Where the first position recorded at or after a time stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimePlace {
    /// Not before this one: everything before is older.
    pub(crate) earliest: u64,
    /// Not behind this one. Equal but for damage: what stands between the two cannot be read.
    pub(crate) latest: u64,
}

impl Log {
    /// The first position recorded at or after `time`; the end where there is none below `end`.
    pub(crate) fn position_at_time(&self, time: Timestamp, end: u64) -> TimePlace {
        let segments = self.segments();
        // Around damage the first time of a segment may be unknown: it is passed over.
        let begun = |it: &Arc<Segment>| it.first_recorded_at().is_some_and(|first| first < time);
        let Some(index) = segments.iter().rposition(begun) else {
            let first = segments.first().map_or(0, |segment| segment.first_position).min(end);
            return TimePlace { earliest: first, latest: first };
        };
        let segment = &segments[index];
        let behind = segments.get(index + 1..).unwrap_or_default();
        let next = behind.first().map_or(end, |next| next.first_position).min(end);
        let known = behind.iter().find(|next| next.first_recorded_at().is_some());
        let latest = known.map_or(end, |known| known.first_position).min(end);
        // The segment may hold nothing below `end` yet: what is in flight has a time too.
        let low = segment.first_position.min(next);
        assert!(low <= next && next <= latest, "segments stand in order of positions");
        if segment.entry.sealed.is_some_and(|sealed| sealed.last_recorded_at < time) {
            return TimePlace { earliest: next, latest };
        }
        match &segment.content {
            Content::Frames(_) => {
                let table = segment.frames().expect("a segment of frames has their table");
                place_in(&table, time, low, latest)
            }
            Content::Blocks(_) => self.search(time, low, next, latest),
            Content::Fenced(_) => TimePlace { earliest: low, latest },
        }
    }

    /// As above, among the positions `low..high`, which are read.
    fn search(&self, time: Timestamp, mut low: u64, mut high: u64, mut latest: u64) -> TimePlace {
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_readable(middle, high) {
                Some((position, recorded_at)) if recorded_at < time => low = position + 1,
                found => {
                    latest = found.map_or(latest, |(position, _)| position);
                    high = middle;
                }
            }
        }
        assert!(low <= latest, "what is older stands before what is not");
        TimePlace { earliest: low, latest }
    }

    /// The first of these positions that can be read, and its time.
    fn first_readable(&self, mut position: u64, end: u64) -> Option<(u64, Timestamp)> {
        while position < end {
            match self.recorded_at(position) {
                Ok(recorded_at) => return Some((position, recorded_at)),
                Err(fault) => position = fault.resume_at.filter(|next| *next > position)?,
            }
        }
        None
    }

    fn recorded_at(&self, position: u64) -> Result<Timestamp, ReadFault> {
        let chunk = self.chunk(position, Want::One)?;
        let index = chunk.find(position).expect("a chunk holds what was asked for");
        let record = chunk.record(index).map_err(|_| self.bad_record(position))?;
        Ok(record.recorded_at())
    }
}

/// As [`Log::position_at_time`], among frames: around damage there may be holes between them.
fn place_in(table: &FrameTable, time: Timestamp, low: u64, latest: u64) -> TimePlace {
    let index = table.slots.partition_point(|slot| slot.recorded_at < time);
    let older = index.checked_sub(1).and_then(|index| table.slots.get(index));
    let earliest = older.map_or(low, |it| it.first_position + u64::from(it.count)).min(latest);
    let latest = table.slots.get(index).map_or(latest, |slot| slot.first_position.min(latest));
    assert!(low <= latest, "a segment's frames stand behind its beginning");
    TimePlace { earliest: earliest.min(latest), latest }
}
