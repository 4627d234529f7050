//! What is done off the commit path: space ahead of the tail, sealing, index files, node-state.
//!
//! Each step may fail (a full disk, say) and is tried again later: nothing acknowledged depends on
//! it. Runs on a thread of its own, or where a test calls it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nexus_protocol::{CorruptionKind, RecordedEvent};

use super::Log;
use super::follow::{Follow, Scanned, add_to_table, resync, scan};
use super::prepare::{AHEAD_BYTES, NEXT_BEGUN_AT, STRIDE_BYTES};
use crate::error::LogError;
use crate::frame::{FrameError, LogOffset, digest};
use crate::index::file::{self, IndexBuilder};
use crate::io::{ALIGNMENT, DiskFile, DiskOperation, FileKind, OpenMode};
use crate::manifest::{Sealed, SegmentEntry, SegmentLayout};
use crate::segment::frames::kind_of;
use crate::segment::window::Window;
use crate::segment::{
    Content, FrameTable, HEADER_BLOCK_BYTES, SEGMENTS_DIR, Segment, SegmentFiles, blocks,
};

impl Log {
    /// Keeps zeros ahead of the tail, and a segment ready for when the active one is full.
    ///
    /// The next segment is filled with zeros as the active one fills with frames: at the pace of the
    /// log, so that there is no rush that appends would have to wait behind, and before it is
    /// written to, since a file that grows makes the syncs of its frames dearer.
    pub(crate) fn keep_space_ready(&self) -> Result<(), LogError> {
        loop {
            let segments = self.segments();
            let active = segments.last().expect("a log has an active segment");
            let end = active.frames().map_or(HEADER_BLOCK_BYTES, |table| table.end_bytes);
            let capacity = active.entry.capacity_bytes;
            let ready = active.ready_bytes.load(Ordering::Acquire);
            if ready < capacity.min(end + AHEAD_BYTES) {
                let file = active.log_file().expect("the active segment is written");
                let target = (ready + STRIDE_BYTES).min(capacity);
                self.extend_ready(&**file, &active.ready_bytes, target)?;
                continue;
            }
            if end + AHEAD_BYTES >= capacity || end >= capacity / NEXT_BEGUN_AT {
                self.prepare_segment(ALIGNMENT as u64)?;
            }
            let next = self.prepared.lock().expect("no panic while segments are prepared");
            let Some(next) = next.first().cloned() else { return Ok(()) };
            let ready = next.ready_bytes.load(Ordering::Acquire);
            if ready >= next.wanted_bytes(end, capacity) {
                return Ok(());
            }
            let target = (ready + STRIDE_BYTES).min(next.entry.capacity_bytes);
            self.extend_ready(&**next.file(), &next.ready_bytes, target)?;
        }
    }

    /// Seals segments that the writer went on from, once what follows them is durable.
    pub(crate) fn seal_left(&self) -> Result<(), LogError> {
        let _one = self.turns.seal.lock().expect("no panic while a segment is sealed");
        loop {
            let next = {
                let left = self.left.lock().expect("no panic while a segment is sealed");
                left.first().cloned()
            };
            let Some((segment, sealed)) = next else { return Ok(()) };
            // The frame that follows must be durable and committed: then Raft never takes the
            // segment's last frame back, and recovery may demand a frame after a sealed segment.
            let follows = sealed.next_position;
            if self.durable() <= follows || self.committed.get() <= follows {
                return Ok(());
            }
            self.seal(&segment, sealed)?;
            self.left.lock().expect("no panic while a segment is sealed").remove(0);
        }
    }

    fn seal(&self, segment: &Arc<Segment>, sealed: Sealed) -> Result<(), LogError> {
        assert!(segment.entry.sealed.is_none(), "a segment is sealed once (I4)");
        assert!(sealed.next_position < self.durable(), "what follows it is durable");
        let table = segment.frames().expect("segments are sealed as frames").clone();
        let entry = SegmentEntry { sealed: Some(sealed), ..segment.entry };
        self.change_entry(entry)?;
        let file = self.disk.open(&segment.path, OpenMode::Read, FileKind::Plain)?;
        let content = Content::Frames(table.into());
        let ready = Arc::clone(&segment.ready_bytes);
        let first = segment.first_position;
        let shared =
            Segment::new(&self.dir, entry, first, SegmentFiles::sealed(file), ready, content);
        self.replace_segment(Arc::new(shared));
        Ok(())
    }

    /// Changes what the manifest says of a segment, durably.
    fn change_entry(&self, entry: SegmentEntry) -> Result<(), LogError> {
        let mut catalog = self.catalog.lock().expect("no panic while the catalog is changed");
        catalog.change(self, |manifest| {
            let slot = manifest.segments.iter_mut().find(|s| s.number == entry.number);
            *slot.expect("the segment is in the manifest") = entry;
        })
    }

    /// Writes the index file of one sealed segment that lacks one; answers whether there was one.
    pub(crate) fn write_index_file(&self) -> Result<bool, LogError> {
        let _one = self.turns.rewrite.lock().expect("no panic while an index file is written");
        for segment in self.segments().iter() {
            if !self.may_work_on(segment) {
                continue;
            }
            let path = file::path(&self.dir, segment.entry.number);
            if self.disk.metadata(&path)?.is_none() {
                let entry = &segment.entry;
                let read = index_segment(&self.dir, entry, segment.file());
                let (builder, frames) = self.or_leave_alone(entry, read)?;
                file::save(&*self.disk, &self.dir, self.log_id, entry, &builder.finish(&frames))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Rewrites one sealed segment into compressed blocks, if one is left to rewrite. The newest
    /// `kept_bytes` of sealed segments stay as they are.
    pub(crate) fn rewrite_one(&self, kept_bytes: u64) -> Result<bool, LogError> {
        let _one = self.turns.rewrite.lock().expect("no panic while a segment is rewritten");
        let segments = self.segments();
        let mut newer_bytes = 0;
        let is_old = |segment: &&Arc<Segment>| {
            newer_bytes += segment.entry.sealed.map_or(0, |sealed| sealed.end_bytes);
            newer_bytes > kept_bytes
        };
        let old = segments.iter().rev().filter(is_old);
        let Some(segment) = old.filter(|segment| self.may_work_on(segment)).last() else {
            return Ok(false);
        };
        // A file of an attempt that failed is removed: the manifest on disk must not name it.
        self.catalog.lock().expect("no panic while the catalog is changed").ensure_saved(self)?;
        let rewritten = blocks::rewrite(&*self.disk, &self.dir, self.log_id, segment);
        let generation = segment.entry.generation + 1;
        let name = SegmentEntry { generation, ..segment.entry }.file_name();
        let path = self.dir.join(SEGMENTS_DIR).join(name);
        if rewritten.is_err() {
            // Space that a file which nothing names took is given back at once.
            drop(self.disk.remove(&path));
        }
        let entry = self.or_leave_alone(&segment.entry, rewritten)?;
        let file = self.disk.open(&path, OpenMode::Read, FileKind::Plain)?;
        let sealed = entry.sealed.as_ref().expect("a rewritten segment stays sealed");
        let before = segment.entry.sealed.as_ref().expect("only sealed segments are rewritten");
        assert_eq!(sealed.last_digest, before.last_digest, "the chain stays what it was (I4)");
        assert_eq!(sealed.next_position, before.next_position, "and so do positions (I4)");
        let table = blocks::BlockTable::load(&*file, sealed)?;
        self.change_entry(entry)?;
        let first = segment.first_position;
        let content = Content::Blocks(table);
        let shared = Segment::new(
            &self.dir,
            entry,
            first,
            SegmentFiles::sealed(file),
            Arc::default(),
            content,
        );
        self.replace_segment(Arc::new(shared));
        // Readers that hold the old file go on with it: its name goes, its blocks stay for them.
        self.disk.remove(&segment.path)?;
        Ok(true)
    }

    /// Whether a segment is sealed, made of frames, and not known to be damaged.
    fn may_work_on(&self, segment: &Segment) -> bool {
        let left_alone = self.left_alone.lock().expect("no panic while a segment is noted");
        segment.entry.sealed.is_some()
            && matches!(segment.content, Content::Frames(_))
            && !left_alone.contains(&segment.entry.number)
    }

    /// A segment in which damage was found is not tried again, so that the work on others goes on.
    /// What can be read of it is still served.
    fn or_leave_alone<T>(
        &self,
        entry: &SegmentEntry,
        outcome: Result<T, LogError>,
    ) -> Result<T, LogError> {
        let damaged = match &outcome {
            Ok(_) => false,
            Err(LogError::Disk(error)) => error.operation == DiskOperation::Read,
            Err(LogError::Corrupt(_) | LogError::NewerFormat { .. }) => true,
        };
        if damaged {
            let mut left_alone = self.left_alone.lock().expect("no panic while a segment is noted");
            left_alone.insert(entry.number);
        }
        outcome
    }

    /// Says in node-state how far the log is durable: what a crash cannot take back.
    pub(crate) fn note_durable_end(&self, end: LogOffset) -> Result<(), LogError> {
        let mut catalog = self.catalog.lock().expect("no panic while the catalog is changed");
        catalog.node_state.update(|state| state.durable_end = state.durable_end.max(end))
    }
}

/// Reads a sealed segment for its index.
pub(crate) fn index_segment(
    dir: &Path,
    entry: &SegmentEntry,
    file: &Arc<dyn DiskFile>,
) -> Result<(IndexBuilder, FrameTable), LogError> {
    let sealed = entry.sealed.as_ref().expect("the caller passes sealed segments");
    let mut builder = IndexBuilder::new(sealed.first_position);
    if entry.layout == SegmentLayout::Blocks {
        blocks::for_each_event(&**file, dir, entry, &mut |event| builder.add(event))?;
        return Ok((builder, FrameTable::default()));
    }
    let mut table = FrameTable::of_sealed(sealed);
    let mut window = Window::new(Arc::clone(file))?;
    scan_sealed(&mut window, dir, entry, &mut |scanned| {
        add_to_table(&mut table, &scanned);
        scanned.events.iter().for_each(|event| builder.add(event));
    })?;
    Ok((builder, table))
}

/// Reads what can be read of a sealed segment; answers where its frames stand.
pub(crate) fn read_around_damage(
    entry: &SegmentEntry,
    file: &Arc<dyn DiskFile>,
    on_event: &mut dyn FnMut(&RecordedEvent),
) -> Result<FrameTable, LogError> {
    let sealed = entry.sealed.as_ref().expect("the caller passes sealed segments");
    let mut table = FrameTable::of_sealed(sealed);
    if entry.layout == SegmentLayout::Blocks {
        blocks::for_each_readable(&**file, entry, on_event)?;
        return Ok(table);
    }
    let mut window = Window::around_damage(Arc::clone(file))?;
    let mut on_frame = |scanned: Scanned<'_>| {
        add_to_table(&mut table, &scanned);
        scanned.events.iter().for_each(&mut *on_event);
    };
    let (mut end, _, _) = follow_sealed(&mut window, entry, &mut on_frame)?;
    while end < sealed.end_bytes {
        let at = end + ALIGNMENT as u64;
        let Some((at, header, body)) = resync(&mut window, entry.salt, at, table.next_position)?
        else {
            break;
        };
        let mut events = Vec::new();
        if digest(&header, &body, |event| events.push(event.clone())).is_ok() {
            let scanned =
                Scanned { offset_bytes: at, header: &header, body: &body, events: &events };
            add_to_table(&mut table, &scanned);
            events.iter().for_each(&mut *on_event);
        }
        assert!(at > end, "what is behind damage is behind it");
        end = at + header.padded_bytes() - ALIGNMENT as u64;
    }
    // What is missing at the end is damage, and not behind the end.
    (table.end_bytes, table.next_position) = (sealed.end_bytes, sealed.next_position);
    Ok(table)
}

/// Reads all frames of a sealed segment. Each must follow the one before, and together they must
/// lead where the manifest says.
pub(crate) fn scan_sealed(
    window: &mut Window,
    dir: &Path,
    entry: &SegmentEntry,
    on_frame: &mut dyn FnMut(Scanned<'_>),
) -> Result<(), LogError> {
    let sealed = entry.sealed.as_ref().expect("the caller passes sealed segments");
    let (end, why, follow) = follow_sealed(window, entry, on_frame)?;
    let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
    if end != sealed.end_bytes || follow.next_position != sealed.next_position {
        Err(LogError::corrupt(&path, end, kind_of(why)))
    } else if follow.chain != sealed.last_digest {
        Err(LogError::corrupt(&path, end, CorruptionKind::Chain))
    } else {
        Ok(())
    }
}

/// Follows the frames of a sealed segment as far as they follow each other.
fn follow_sealed(
    window: &mut Window,
    entry: &SegmentEntry,
    on_frame: &mut dyn FnMut(Scanned<'_>),
) -> Result<(u64, FrameError, Follow), LogError> {
    let sealed = entry.sealed.as_ref().expect("the caller passes sealed segments");
    let mut follow = Follow {
        chain: sealed.first_digest,
        next_position: sealed.first_position,
        ..Follow::START
    };
    // The entry before the segment's first is not in the manifest: the first frame is taken at its
    // word, and the digest at the end says whether all was right.
    follow.last_entry.index = first_index(window)?.saturating_sub(1);
    let (end, why) = scan(window, entry.salt, HEADER_BLOCK_BYTES, &mut follow, on_frame)?;
    Ok((end, why, follow))
}

fn first_index(window: &mut Window) -> Result<u64, LogError> {
    Ok(match window.frame(HEADER_BLOCK_BYTES)? {
        Ok((header, _)) => header.replicated.entry.index,
        Err(_) => 0,
    })
}
