//! One file of the log.
//!
//! A segment begins with a header block that says whose it is; frames follow, each at a multiple of
//! [`ALIGNMENT`]. What is read of it comes as [`Chunk`]s; what is derived from it (where each frame
//! stands) lives here in memory. Writing is the log's business.

pub(crate) mod blocks;
pub(crate) mod chunk;
pub(crate) mod frames;
mod header;
pub(crate) mod window;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

use nexus_protocol::{Corruption, Timestamp};

pub(crate) use chunk::Chunk;
pub(crate) use header::SegmentHeader;

use crate::error::LogError;
use crate::frame::{FrameHeader, FrameKind};
use crate::io::{Disk, DiskFile, DiskResult, FileKind, OpenMode};
use crate::manifest::{Sealed, SegmentEntry, SegmentLayout};

/// Bytes before the first frame.
pub(crate) const HEADER_BLOCK_BYTES: u64 = crate::io::ALIGNMENT as u64;

/// Where a frame of events stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameSlot {
    pub(crate) first_position: u64,
    pub(crate) offset_bytes: u64,
    /// Bytes of header and body.
    pub(crate) stored_bytes: u32,
    /// Events in it.
    pub(crate) count: u32,
    pub(crate) recorded_at: Timestamp,
}

impl FrameSlot {
    /// That of the frame at an offset; `None`: it has no events.
    pub(crate) fn of(offset_bytes: u64, header: &FrameHeader) -> Option<Self> {
        let replicated = &header.replicated;
        (replicated.kind == FrameKind::Events).then_some(Self {
            first_position: replicated.first_position,
            offset_bytes,
            stored_bytes: header.local.stored_length,
            count: replicated.count,
            recorded_at: replicated.recorded_at,
        })
    }
}

/// Where the frames of a segment stand, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrameTable {
    pub(crate) slots: Vec<FrameSlot>,
    /// End of the last frame.
    pub(crate) end_bytes: u64,
    /// Position after the last event.
    pub(crate) next_position: u64,
}

impl FrameTable {
    /// That of a sealed segment, before a frame was added.
    pub(crate) fn of_sealed(sealed: &Sealed) -> Self {
        let (end_bytes, next_position) = (HEADER_BLOCK_BYTES, sealed.first_position);
        Self { slots: Vec::new(), end_bytes, next_position }
    }

    /// Index of the frame that holds `position`.
    pub(crate) fn find(&self, position: u64) -> Option<usize> {
        if position >= self.next_position {
            return None;
        }
        self.slots.partition_point(|slot| slot.first_position <= position).checked_sub(1)
    }

    /// Where the frame of slot `index` ends. Around damage the next one may stand further on.
    pub(crate) fn end_of(&self, index: usize) -> u64 {
        assert!(index < self.slots.len(), "the slot of a frame that is there");
        let slot = &self.slots[index];
        let end = slot.offset_bytes + u64::from(slot.stored_bytes);
        let next = self.slots.get(index + 1).map_or(self.end_bytes, |slot| slot.offset_bytes);
        end.next_multiple_of(crate::io::ALIGNMENT as u64).min(next)
    }
}

/// How a segment's content is found.
#[derive(Debug)]
pub(crate) enum Content {
    /// Frames as they were committed.
    Frames(RwLock<FrameTable>),
    /// Compressed blocks.
    Blocks(blocks::BlockTable),
    /// Damaged: nothing of it is served.
    Fenced(Box<Corruption>),
}

/// The open file of a segment.
///
/// The log handle may bypass the page cache; readers go through it all the same, since a range that
/// is durable was written once and is never written again, and what is read is checked: bytes that
/// do not check are read once more past the cache before they are called damage
/// (`docs/decisions/2026-11-23-reads-of-the-active-segment.md`).
#[derive(Clone, Debug)]
pub(crate) struct SegmentFiles {
    pub(crate) read: Arc<dyn DiskFile>,
    pub(crate) log: Option<Arc<dyn DiskFile>>,
}

impl SegmentFiles {
    /// Of a segment that is sealed.
    pub(crate) fn sealed(read: Arc<dyn DiskFile>) -> Self {
        Self { read, log: None }
    }

    /// Of a segment that is written through `log`.
    pub(crate) fn open(disk: &dyn Disk, log: Arc<dyn DiskFile>) -> DiskResult<Self> {
        let read = disk.open(log.path(), OpenMode::Read, FileKind::Plain)?;
        Ok(Self { read, log: Some(log) })
    }
}

/// A segment that readers share.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) entry: SegmentEntry,
    pub(crate) path: PathBuf,
    /// Position of its first event.
    pub(crate) first_position: u64,
    /// Blocks below this hold zeros or frames: frames are only written there.
    pub(crate) ready_bytes: Arc<AtomicU64>,
    files: SegmentFiles,
    pub(crate) content: Content,
}

impl Segment {
    /// A segment that is open.
    pub(crate) fn new(
        dir: &Path,
        entry: SegmentEntry,
        first_position: u64,
        files: SegmentFiles,
        ready_bytes: Arc<AtomicU64>,
        content: Content,
    ) -> Self {
        let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
        assert!(
            matches!(content, Content::Fenced(_))
                || matches!(content, Content::Blocks(_)) == (entry.layout == SegmentLayout::Blocks),
            "content and layout agree"
        );
        assert!(
            entry.sealed.is_none_or(|sealed| sealed.first_position == first_position),
            "a sealed segment begins where the manifest says (I4)"
        );
        Self { entry, path, first_position, ready_bytes, files, content }
    }

    /// The file as it is read: through the page cache.
    pub(crate) fn file(&self) -> &Arc<dyn DiskFile> {
        &self.files.read
    }

    /// Its open file.
    pub(crate) fn files(&self) -> &SegmentFiles {
        &self.files
    }

    /// The file as it is written, of a segment that is not sealed.
    pub(crate) fn log_file(&self) -> Option<&Arc<dyn DiskFile>> {
        self.files.log.as_ref()
    }

    /// The table of frames, of a segment that has one.
    pub(crate) fn frames(&self) -> Option<std::sync::RwLockReadGuard<'_, FrameTable>> {
        match &self.content {
            Content::Frames(table) => Some(table.read().expect("no panic while frames are added")),
            _ => None,
        }
    }

    /// Whether it was rewritten into blocks.
    pub(crate) fn is_compressed(&self) -> bool {
        matches!(self.content, Content::Blocks(_))
    }

    /// Whether nothing of it is served.
    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self.content, Content::Fenced(_))
    }

    /// A frame was written.
    pub(crate) fn add_frame(&self, slot: Option<FrameSlot>, end_bytes: u64, next_position: u64) {
        let Content::Frames(table) = &self.content else {
            unreachable!("only segments of frames are written");
        };
        let mut table = table.write().expect("no panic while frames are added");
        assert!(end_bytes > table.end_bytes && next_position >= table.next_position);
        assert!(crate::io::is_aligned(end_bytes), "frames fill whole blocks");
        if let Some(slot) = &slot {
            assert_eq!(slot.offset_bytes, table.end_bytes, "frames stand one after the other");
            assert_eq!(slot.first_position, table.next_position, "positions are dense (I3)");
            assert!(next_position > slot.first_position, "a frame of events has one");
        }
        table.slots.extend(slot);
        table.end_bytes = end_bytes;
        table.next_position = next_position;
    }

    /// Frames from `offset_bytes` on were cut.
    pub(crate) fn truncate_frames(&self, offset_bytes: u64, next_position: u64) {
        let Content::Frames(table) = &self.content else {
            unreachable!("only segments of frames are cut");
        };
        assert!(self.entry.sealed.is_none(), "a sealed segment never changes (I4)");
        assert!(offset_bytes >= HEADER_BLOCK_BYTES, "the header of a segment stays");
        let mut table = table.write().expect("no panic while frames are cut");
        table.slots.retain(|slot| slot.offset_bytes < offset_bytes);
        table.end_bytes = table.end_bytes.min(offset_bytes);
        table.next_position = table.next_position.min(next_position);
        assert!(table.slots.last().is_none_or(|slot| slot.first_position < table.next_position));
    }

    /// Time of the first event recorded in it, if it has one.
    pub(crate) fn first_recorded_at(&self) -> Option<Timestamp> {
        match (&self.entry.sealed, &self.content) {
            (Some(sealed), _) => Some(sealed.first_recorded_at),
            (None, Content::Frames(table)) => {
                let table = table.read().expect("no panic while frames are added");
                table.slots.first().map(|slot| slot.recorded_at)
            }
            _ => None,
        }
    }

    /// Damage at a place of this file.
    pub(crate) fn damage(
        &self,
        offset_bytes: u64,
        kind: nexus_protocol::CorruptionKind,
    ) -> Corruption {
        crate::error::corruption(&self.path, offset_bytes, kind)
    }

    /// An error of reading it, as damage.
    pub(crate) fn unreadable(&self, offset_bytes: u64, error: impl Into<LogError>) -> Corruption {
        error.into().into_corruption(&self.path, offset_bytes)
    }
}

/// Folder of the segments in a namespace's folder.
pub(crate) const SEGMENTS_DIR: &str = "segments";
