//! The log: a chain of segments, written at its end, read everywhere.
//!
//! [`Log`] is what readers, the writer, and maintenance share; [`Writer`] is the one that appends.
//! The seams of replication are here: frames are appended with the entry id they are given, the
//! tail can be truncated, and what is durable and what is committed are two watermarks. The log
//! knows nothing of conditions, streams, or Raft.

pub(crate) mod cut;
pub(crate) mod follow;
pub(crate) mod maintain;
mod prepare;
pub(crate) mod recover;
mod tail;
mod times;
mod writer;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use nexus_protocol::{Corruption, CorruptionKind, Lineage, LogId, Position, ReadError};

pub(crate) use prepare::{Catalog, Prepared, STRIDE_BYTES, create as create_segment, new_entry};
pub(crate) use tail::Tail;
pub(crate) use times::TimePlace;
pub(crate) use writer::{Writer, WriterStart};

use crate::commit::{Signal, Signals};
use crate::io::Disk;
use crate::manifest::Sealed;
use crate::segment::frames::Want;
use crate::segment::{Chunk, Content, Segment, blocks, frames};
use crate::stats::DurationHistogram;
use crate::watermark::Watermark;

/// Segments in order of their positions.
pub(crate) type SegmentList = Arc<Vec<Arc<Segment>>>;

/// What readers, the writer, and maintenance share of one namespace's log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    /// The namespace's folder.
    pub(crate) dir: PathBuf,
    pub(crate) log_id: LogId,
    /// The lineage that is written; a new one starts only with a new opening.
    pub(crate) lineage: Lineage,
    segments: RwLock<SegmentList>,
    pub(crate) tail: Tail,
    /// Every position below it is durable here.
    durable: AtomicU64,
    /// Every position below it is committed: what readers see.
    pub(crate) committed: Arc<Watermark>,
    /// How long frames took to become durable, of all logs of the directory.
    pub(crate) syncs: Arc<DurationHistogram>,
    /// A write or sync failed (I7). Raised before `committed` closes.
    poisoned: AtomicBool,
    /// Somebody deletes the namespace: nothing is read or written any more.
    ended: AtomicBool,
    /// Manifest and node-state: what maintenance changes.
    pub(crate) catalog: Mutex<Catalog>,
    /// Whether the file may hold an older manifest than the catalog: a save failed on the way.
    manifest_unsaved: AtomicBool,
    /// Held while one of several threads does what only one may do at a time.
    turns: Turns,
    /// Segments that are ready to be written.
    pub(crate) prepared: Mutex<Vec<Prepared>>,
    /// Segments that the writer went on from, in order, with what they will be sealed with.
    pub(crate) left: Mutex<Vec<(Arc<Segment>, Sealed)>>,
    /// Numbers of sealed segments that are damaged, as work on them found: left as they are.
    left_alone: Mutex<BTreeSet<u64>>,
    /// Space runs low, or a segment was left: there is something to prepare or seal.
    needs_space: AtomicBool,
    /// Wakes the thread that prepares space.
    space: Arc<Signal>,
    /// Where damage is read around: why what came after the last event is lost.
    pub(crate) lost_end: Option<Box<Corruption>>,
}

/// What maintenance does in turns, since a caller of `maintain` may meet the engine's own threads.
#[derive(Debug, Default)]
struct Turns {
    /// Extending a file with zeros.
    extend: Mutex<()>,
    /// Sealing segments.
    seal: Mutex<()>,
    /// Writing index files, and rewriting segments.
    rewrite: Mutex<()>,
}

/// A position cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct ReadFault {
    pub(crate) corruption: Box<Corruption>,
    /// The next position that may be readable.
    pub(crate) resume_at: Option<u64>,
}

impl Log {
    /// The segments there are now.
    pub(crate) fn segments(&self) -> SegmentList {
        Arc::clone(&self.segments.read().expect("no panic while segments are added"))
    }

    /// A segment was begun.
    fn add_segment(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write().expect("no panic while segments are added");
        assert!(segments.last().is_none_or(|last| last.entry.number < segment.entry.number));
        Arc::make_mut(&mut segments).push(segment);
    }

    /// A segment was rewritten, or sealed: readers that hold the old one go on with it.
    pub(crate) fn replace_segment(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write().expect("no panic while segments are added");
        let number = segment.entry.number;
        if let Ok(index) = segments.binary_search_by_key(&number, |s| s.entry.number) {
            let before = &segments[index];
            assert_eq!(before.first_position, segment.first_position, "positions stay (I4)");
            Arc::make_mut(&mut segments)[index] = segment;
        }
    }

    /// Segments after `number` were cut away.
    pub(crate) fn remove_segments_after(&self, number: u64) {
        let mut segments = self.segments.write().expect("no panic while segments are cut");
        Arc::make_mut(&mut segments).retain(|segment| segment.entry.number <= number);
        assert!(!segments.is_empty(), "a log has a segment that is written");
    }

    /// The log on this disk, as recovery found it.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the whole")]
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        catalog: Catalog,
        segments: SegmentList,
        durable: u64,
        prepared: Vec<Prepared>,
        left: Vec<(Arc<Segment>, Sealed)>,
        signals: &Signals,
    ) -> Self {
        assert!(segments.is_sorted_by(|a, b| a.entry.number < b.entry.number));
        let active = segments.last().expect("a log has a segment that is written");
        assert!(active.first_position <= durable, "the log ends in its last segment");
        Self {
            disk,
            dir,
            log_id: catalog.manifest.log_id,
            lineage: catalog.manifest.lineage(),
            segments: segments.into(),
            tail: Tail::default(),
            durable: AtomicU64::new(durable),
            committed: Arc::new(Watermark::new(durable)),
            syncs: Arc::clone(&signals.syncs),
            poisoned: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            catalog: Mutex::new(catalog),
            manifest_unsaved: AtomicBool::new(false),
            turns: Turns::default(),
            prepared: Mutex::new(prepared),
            needs_space: AtomicBool::new(false),
            space: Arc::clone(&signals.space),
            left: Mutex::new(left),
            left_alone: Mutex::default(),
            lost_end: None,
        }
    }

    /// Every position below it is durable here. Nobody waits for it: what readers wait for is what
    /// is committed.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Frames became durable, or were cut.
    pub(crate) fn set_durable(&self, next_position: u64) {
        self.durable.store(next_position, Ordering::Release);
    }

    /// A write or sync failed: nothing more becomes committed, and who waits for it is to be told.
    #[must_use = "those who wait are to be woken"]
    pub(crate) fn poison(&self) -> Vec<std::task::Waker> {
        self.poisoned.store(true, Ordering::Release);
        self.committed.shut()
    }

    /// Whether a write or sync failed: nothing is appended any more.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Ends it for one who deletes the namespace; `false`: another does already.
    pub(crate) fn claim(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    /// Whether the namespace is deleted, or about to be.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Refuses to read a namespace that was deleted.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) fn refuse_ended(&self) -> Result<(), ReadError> {
        if self.is_ended() { Err(ReadError::Closed) } else { Ok(()) }
    }

    /// Why there is nothing more to wait for, once `committed` is closed.
    pub(crate) fn end_of_waiting(&self) -> ReadError {
        if self.is_poisoned() && !self.is_ended() {
            let at = self.committed.get().checked_sub(1).map(Position::new);
            ReadError::Poisoned { at }
        } else {
            ReadError::Closed
        }
    }

    /// Asks for space, or for a segment to be sealed. Cheap when it was asked for already.
    pub(crate) fn ask_for_space(&self) {
        if !self.needs_space.swap(true, Ordering::AcqRel) {
            self.space.raise();
        }
    }

    /// Whether space was asked for since the last time.
    pub(crate) fn take_needs_space(&self) -> bool {
        self.needs_space.swap(false, Ordering::AcqRel)
    }

    /// The records around `position`, which is below a watermark.
    pub(crate) fn chunk(&self, position: u64, want: Want) -> Result<Arc<Chunk>, ReadFault> {
        if let Some(chunk) = self.tail.chunk(position) {
            return Ok(chunk);
        }
        let segments = self.segments();
        let index = segments.partition_point(|segment| segment.first_position <= position);
        let segment = index.checked_sub(1).and_then(|index| segments.get(index));
        let Some(segment) = segment else {
            return Err(ReadFault {
                corruption: Box::new(crate::error::corruption(
                    &self.dir,
                    0,
                    CorruptionKind::Malformed("list of segments".into()),
                )),
                resume_at: segments.first().map(|segment| segment.first_position),
            });
        };
        let next_segment = segments.get(index).map(|segment| segment.first_position);
        let loaded = match &segment.content {
            Content::Frames(_) => frames::load(segment, position, want, self.committed.get()),
            Content::Blocks(table) => blocks::load(segment, table, position, want),
            Content::Fenced(corruption) => Err(corruption.clone()),
        };
        match loaded {
            Ok(chunk) if chunk.find(position).is_some() => Ok(Arc::new(chunk)),
            Ok(_) => Err(self.fault(segment, position, next_segment, None)),
            Err(corruption) => Err(self.fault(segment, position, next_segment, Some(corruption))),
        }
    }

    /// First position of the segment that `position` stands in.
    pub(crate) fn segment_of(&self, position: u64) -> Option<u64> {
        let segments = self.segments();
        let index = segments.partition_point(|segment| segment.first_position <= position);
        index.checked_sub(1).and_then(|index| segments.get(index)).map(|it| it.first_position)
    }

    /// The records around `position`, past the page cache. `None`: there is no other way to read it.
    pub(crate) fn chunk_past_cache(&self, position: u64) -> Option<Arc<Chunk>> {
        let segments = self.segments();
        let index = segments.partition_point(|segment| segment.first_position <= position);
        let segment = segments.get(index.checked_sub(1)?)?;
        let chunk = frames::load_past_cache(segment, position)?.ok()?;
        chunk.find(position).map(|_| Arc::new(chunk))
    }

    /// What to say of a position that a segment does not give, and where to go on.
    fn fault(
        &self,
        segment: &Segment,
        position: u64,
        next_segment: Option<u64>,
        corruption: Option<Box<Corruption>>,
    ) -> ReadFault {
        if let Content::Blocks(table) = &segment.content {
            let (offset, next) = table.place_of(position);
            let missing =
                || Box::new(segment.damage(offset, CorruptionKind::Checksum("block".into())));
            let corruption = corruption.unwrap_or_else(missing);
            return ReadFault { corruption, resume_at: next.or(next_segment) };
        }
        let next_frame = segment.frames().and_then(|table| {
            let frame = table.find(position).filter(|frame| frames::is_large(&table, *frame));
            let inside = |slot| frames::next_inside(slot, position, corruption.as_deref());
            if let Some(next) = frame.and_then(|frame| table.slots.get(frame)).and_then(inside) {
                return Some(next);
            }
            let after = table.slots.partition_point(|slot| slot.first_position <= position);
            table.slots.get(after).map(|slot| slot.first_position)
        });
        let offset = segment
            .frames()
            .and_then(|table| table.find(position).map(|index| table.slots[index].offset_bytes));
        let missing = || {
            let kind = CorruptionKind::Checksum("frame".into());
            Box::new(segment.damage(offset.unwrap_or(0), kind))
        };
        ReadFault {
            corruption: corruption.unwrap_or_else(missing),
            resume_at: next_frame.or(next_segment),
        }
    }

    /// What to say of a record whose checksum does not hold.
    pub(crate) fn bad_record(&self, position: u64) -> ReadFault {
        let segments = self.segments();
        let index = segments.partition_point(|segment| segment.first_position <= position);
        match index.checked_sub(1).and_then(|index| segments.get(index)) {
            Some(segment) => {
                let next = segments.get(index).map(|segment| segment.first_position);
                let mut fault = self.fault(segment, position, next, None);
                // Other records of the frame may be whole: the reader goes on with the next one.
                fault.resume_at = Some(position + 1);
                fault.corruption.kind = CorruptionKind::Checksum("record".into());
                fault
            }
            None => ReadFault {
                corruption: Box::new(crate::error::corruption(
                    &self.dir,
                    0,
                    CorruptionKind::Checksum("record".into()),
                )),
                resume_at: Some(position + 1),
            },
        }
    }
}

impl std::fmt::Debug for Watermark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watermark").field(&self.get()).finish()
    }
}
