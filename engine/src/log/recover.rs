//! Recovery: what of the open segments is the log, what is a torn tail, and what is damage.
//!
//! Frames are followed from the end of what is sealed, each as the successor of the one before. At
//! the first that is not, at X, every later frame header that can be found, and node-state, is asked
//! for its `durable_end`. If any is beyond X, acknowledged bytes are damaged: nothing is cut and
//! nothing may be written. Otherwise nothing from X on was acknowledged, even where later frames are
//! whole, since unsynced writes reach the disk in any order: it is a torn tail, and is cut.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nexus_protocol::{Corruption, CorruptionKind, LogId, RecordedEvent};

use super::cut::{Cuttable, Extent, cut};
use super::follow::{Follow, Scanned, add_to_table, durable_end_behind, resync, scan};
use super::{Prepared, WriterStart};
use crate::error::{LogError, corruption};
use crate::frame::{ChainDigest, LogOffset};
use crate::io::{ALIGNMENT, Disk, DiskFile, DiskResult, FileKind, OpenMode};
use crate::manifest::{MANIFEST_FILE, Manifest, Sealed, SegmentEntry};
use crate::node_state::{Cut, NodeStateFile};
use crate::segment::window::{Window, write_again};
use crate::segment::{
    Content, FrameTable, HEADER_BLOCK_BYTES, SEGMENTS_DIR, Segment, SegmentFiles, SegmentHeader,
};

/// How a log may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// For writing: a torn tail is cut, damage is refused.
    Write,
    /// For reading: nothing is changed, damage is refused.
    Read,
    /// For reading what is left: damage is read around.
    Damaged,
}

/// An open segment and its file.
#[derive(Clone, Debug)]
pub(crate) struct OpenSegment {
    pub(crate) entry: SegmentEntry,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Why nothing of it can be read, where damage is read around; `file` is the manifest then.
    fenced: Option<Box<Corruption>>,
}

/// What recovery found in the open segments.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) start: WriterStart,
    /// Segments that were left but not sealed yet, then the active one.
    pub(crate) left: Vec<(Arc<Segment>, Sealed)>,
    pub(crate) prepared: Vec<Prepared>,
    /// Bytes of a torn tail that were cut.
    pub(crate) cut_bytes: u64,
    /// Where damage is read around: why what came after the last frame is lost.
    pub(crate) lost_end: Option<Box<Corruption>>,
}

/// Opens the segments that are not sealed. Damaged ones are fenced where damage is read around.
pub(crate) fn open_segments(
    disk: &dyn Disk,
    dir: &Path,
    log_id: LogId,
    entries: &[SegmentEntry],
    mode: Recovery,
) -> Result<Vec<OpenSegment>, LogError> {
    let open_mode = if mode == Recovery::Write { OpenMode::ReadWrite } else { OpenMode::Read };
    let open = |entry: &SegmentEntry| {
        let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
        let file = open_file(disk, &path, open_mode, FileKind::Log)?;
        SegmentHeader::check(&*file, entry, log_id)?;
        Ok(OpenSegment { entry: *entry, file, fenced: None })
    };
    let mut opened = Vec::with_capacity(entries.len());
    for entry in entries {
        opened.push(match open(entry) {
            Err(error @ (LogError::Corrupt(_) | LogError::Disk(_)))
                if mode == Recovery::Damaged =>
            {
                let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
                let corruption = Box::new(error.into_corruption(&path, 0));
                tracing::warn!(%corruption, "a segment is fenced");
                let file = disk.open(&dir.join(MANIFEST_FILE), OpenMode::Read, FileKind::Plain)?;
                OpenSegment { entry: *entry, file, fenced: Some(corruption) }
            }
            other => other?,
        });
    }
    Ok(opened)
}

/// Opens a file that must be there: a missing one is damage.
pub(crate) fn open_file(
    disk: &dyn Disk,
    path: &Path,
    mode: OpenMode,
    kind: FileKind,
) -> Result<Arc<dyn DiskFile>, LogError> {
    disk.open(path, mode, kind).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => LogError::corrupt(path, 0, CorruptionKind::Missing),
        _ => error.into(),
    })
}

/// Recovers the open segments: what follows `follow`, the end of what is sealed.
pub(crate) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    node_state: &mut NodeStateFile,
    open: &[OpenSegment],
    mut follow: Follow,
    mode: Recovery,
    on_event: &mut dyn FnMut(&[RecordedEvent]),
) -> Result<Recovered, LogError> {
    let cut = finish_cut(node_state, open, mode)?;
    let behind = |it: &&OpenSegment| cut.is_none_or(|at| it.entry.number <= at.segment);
    let open = &open[..open.iter().take_while(behind).count()];
    let mut left: Vec<(Arc<Segment>, Sealed)> = Vec::new();
    let mut active: Option<WriterStart> = None;
    let mut used = 0;
    for segment in open {
        let before = follow;
        let scanned = match &segment.fenced {
            Some(corruption) => Some(fenced(dir, segment, &follow, corruption.clone())),
            None => {
                let mut window = window_of(segment, cut, mode)?;
                scan_segment(disk, dir, segment, &mut window, &mut follow, mode, on_event)?
            }
        };
        let Some(start) = scanned else {
            if mode == Recovery::Damaged {
                continue;
            }
            break;
        };
        if let Some(previous) = active.replace(start) {
            left.push(leave(previous, before));
        }
        used += 1;
    }
    let Some(start) = active else {
        // A segment is only sealed, and a log only made, once the next frame is durable.
        let durable_end = HEADER_BLOCK_BYTES;
        let kind = CorruptionKind::Acknowledged { segment: open[0].entry.number, durable_end };
        let corruption = corruption(open[0].file.path(), HEADER_BLOCK_BYTES, kind);
        if mode == Recovery::Damaged {
            let lost_end = Some(Box::new(corruption.clone()));
            let start = fenced(dir, &open[0], &follow, Box::new(corruption));
            return Ok(Recovered { start, left, prepared: Vec::new(), cut_bytes: 0, lost_end });
        }
        return Err(LogError::Corrupt(Box::new(corruption)));
    };
    let end = LogOffset { segment: start.active.entry.number, offset_bytes: start.offset_bytes };
    if mode == Recovery::Damaged {
        let lost_end = lost_end(node_state, cut, open, end)?;
        return Ok(Recovered { start, left, prepared: Vec::new(), cut_bytes: 0, lost_end });
    }
    let rest = &open[used - 1..];
    refuse_damage(node_state, cut, rest, end, mode)?;
    let cut_bytes = if mode == Recovery::Write { cut_tail(node_state, rest, end)? } else { 0 };
    if mode == Recovery::Write {
        let vouched = follow.vouched.max(node_state.state().durable_end);
        assert_eq!(left.len() + 1, used, "each segment with a frame has an end");
        for segment in left.iter().map(|(segment, _)| segment).chain([&start.active]) {
            make_durable(segment, vouched)?;
        }
        disk.sync_dir(&dir.join(SEGMENTS_DIR))?;
        disk.sync_dir(dir)?;
    }
    let prepared =
        open[used..].iter().map(|open| prepared(disk, open)).collect::<DiskResult<Vec<_>>>()?;
    Ok(Recovered { start, left, prepared, cut_bytes, lost_end: None })
}

/// Makes what was read of a segment durable: it becomes visible now, so it must be durable now (I1).
///
/// What a killed process wrote and did not sync is whole in the page cache only. So is what a sync
/// failed to write, and that the cache takes for clean: no later sync writes it. What no later frame
/// and no node-state vouches for is therefore written again, the same bytes over themselves.
fn make_durable(segment: &Segment, vouched: LogOffset) -> Result<(), LogError> {
    let from = match segment.entry.number.cmp(&vouched.segment) {
        std::cmp::Ordering::Less => u64::MAX,
        std::cmp::Ordering::Equal => vouched.offset_bytes,
        std::cmp::Ordering::Greater => HEADER_BLOCK_BYTES,
    };
    if from < u64::MAX && !crate::planted::is("unvouched-frames-not-written-again") {
        write_again(segment, from)?;
    }
    let file = segment.log_file().expect("an open segment is written");
    Ok(file.sync()?)
}

/// What is wrong with a node-state whose cut the log went on behind.
pub(crate) const STALE_CUT: &str =
    "cut: the log went on behind it, so that node-state is older than the log";

/// A cut that a crash interrupted is finished before anything is read, where anything may be written.
/// A reader finishes none, and sees nothing behind it: where that is, is answered.
fn finish_cut(
    node_state: &mut NodeStateFile,
    open: &[OpenSegment],
    mode: Recovery,
) -> Result<Option<LogOffset>, LogError> {
    let Some(recorded) = node_state.state().cut else { return Ok(None) };
    if went_on_behind(recorded, open, mode)? {
        if !node_state.may_be_reset() {
            return Err(node_state.contradicted(STALE_CUT));
        }
        if mode == Recovery::Write {
            node_state.update(|state| state.cut = None)?;
        }
        return Ok(None);
    }
    if mode != Recovery::Write {
        return Ok(Some(recorded.at));
    }
    // The zeros that are read may be those of a sync that failed, and on the disk the frames.
    cut(node_state, &cuttable(open), recorded, Extent::Whole)?;
    Ok(None)
}

/// Whether the log went on after a cut was done: the record of it is older than the log, and to obey
/// it would be to zero what was acknowledged since. A log that went on for one frame only does not
/// show it; such a frame has nothing that vouches for it. Nor does one of which it is not known what was
/// durable when the cut was decided: frames that are cut may have been.
fn went_on_behind(cut: Cut, open: &[OpenSegment], mode: Recovery) -> Result<bool, LogError> {
    let Some(first) = open.iter().position(|it| it.entry.number == cut.at.segment) else {
        // Nothing of a sealed segment is ever cut.
        return Ok(true);
    };
    for segment in open[first..].iter().filter(|it| it.fenced.is_none()) {
        // Nothing is left out: what is behind the cut is what is asked.
        let mut window = window_of(segment, None, mode)?;
        if went_on_in(&mut window, &segment.entry, cut)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same, as one segment says.
pub(crate) fn went_on_in(
    window: &mut Window,
    segment: &SegmentEntry,
    cut: Cut,
) -> Result<bool, LogError> {
    match (cut.start_in(segment.number), cut.until) {
        (Some(from), Some(until)) => Ok(durable_end_behind(window, segment.salt, from)? > until),
        _ => Ok(false),
    }
}

/// The bytes of a segment that are not to be cut.
fn window_of(segment: &OpenSegment, cut: Option<LogOffset>, mode: Recovery) -> DiskResult<Window> {
    let file = Arc::clone(&segment.file);
    let mut window = match mode {
        Recovery::Damaged => Window::around_damage(file)?,
        Recovery::Write | Recovery::Read => Window::new(file)?,
    };
    if let Some(at) = cut.filter(|at| at.segment == segment.entry.number) {
        window.end_at(at.offset_bytes);
    }
    Ok(window)
}

fn cuttable(open: &[OpenSegment]) -> Vec<Cuttable> {
    open.iter().map(|s| (s.entry.number, Arc::clone(&s.file))).collect()
}

/// Follows one segment. `None`: it has no frame that follows.
fn scan_segment(
    disk: &dyn Disk,
    dir: &Path,
    open: &OpenSegment,
    window: &mut Window,
    follow: &mut Follow,
    mode: Recovery,
    on_event: &mut dyn FnMut(&[RecordedEvent]),
) -> Result<Option<WriterStart>, LogError> {
    let before = *follow;
    let mut table = FrameTable {
        slots: Vec::new(),
        end_bytes: HEADER_BLOCK_BYTES,
        next_position: before.next_position,
    };
    let salt = open.entry.salt;
    let mut add = |scanned: Scanned<'_>| {
        add_to_table(&mut table, &scanned);
        on_event(scanned.events);
    };
    let (mut end, _) = scan(window, salt, HEADER_BLOCK_BYTES, follow, &mut add)?;
    let mut tried = None;
    loop {
        if mode != Recovery::Damaged {
            break;
        }
        // A frame at the end may be whole, and only follow what is lost.
        let from = if tried == Some(end) { end + ALIGNMENT as u64 } else { end };
        let Some((at, header, _)) = resync(window, salt, from, follow.next_position)? else {
            break;
        };
        // What the frame follows is lost: it is taken at its word.
        follow.next_position = header.replicated.first_position;
        follow.last_entry.index = header.replicated.entry.index.saturating_sub(1);
        follow.chain = follow_prefix(header.local.previous_digest);
        (end, _) = scan(window, salt, at, follow, &mut add)?;
        tried = Some(at);
    }
    if table.end_bytes == HEADER_BLOCK_BYTES {
        return Ok(None);
    }
    let first_position = table.slots.first().map_or(before.next_position, |s| s.first_position);
    let first_position =
        if mode == Recovery::Damaged { first_position } else { before.next_position };
    let ready = open.file.len_bytes()?;
    let segment = Segment::new(
        dir,
        open.entry,
        first_position,
        SegmentFiles::open(disk, Arc::clone(&open.file))?,
        Arc::new(AtomicU64::new(ready - ready % ALIGNMENT as u64)),
        Content::Frames(table.into()),
    );
    let start = WriterStart {
        active: Arc::new(segment),
        active_first_digest: before.chain,
        offset_bytes: end,
        chain: follow.chain,
        next_position: follow.next_position,
        last_entry: follow.last_entry,
        recorded_at: follow.recorded_at,
    };
    Ok(Some(start))
}

/// A segment of which nothing can be read, as if it began and ended where the log stands.
fn fenced(
    dir: &Path,
    open: &OpenSegment,
    follow: &Follow,
    corruption: Box<Corruption>,
) -> WriterStart {
    // Nothing of it is read.
    let (file, ready) = (SegmentFiles::sealed(Arc::clone(&open.file)), Arc::default());
    let content = Content::Fenced(corruption);
    let segment = Segment::new(dir, open.entry, follow.next_position, file, ready, content);
    WriterStart {
        active: Arc::new(segment),
        active_first_digest: follow.chain,
        offset_bytes: HEADER_BLOCK_BYTES,
        chain: follow.chain,
        next_position: follow.next_position,
        last_entry: follow.last_entry,
        recorded_at: follow.recorded_at,
    }
}

/// A digest of which only what the next frame repeats is known.
fn follow_prefix(prefix: u64) -> ChainDigest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&prefix.to_le_bytes());
    ChainDigest::from_bytes(bytes)
}

/// The segment that `previous` ends, as it will be sealed; `end` is where its last frame led.
fn leave(previous: WriterStart, end: Follow) -> (Arc<Segment>, Sealed) {
    let sealed = Sealed {
        first_position: previous.active.first_position,
        next_position: end.next_position,
        end_bytes: previous.offset_bytes,
        first_digest: previous.active_first_digest,
        last_digest: end.chain,
        last_entry: end.last_entry,
        first_recorded_at: previous.active.first_recorded_at().unwrap_or(end.recorded_at),
        last_recorded_at: end.recorded_at,
    };
    (previous.active, sealed)
}

/// Refuses a log of which anything says that more of it was durable, or that holds frames of a newer
/// Nexus, which are not this one's to cut. `rest` is the active segment and those after it.
fn refuse_damage(
    node_state: &NodeStateFile,
    cut: Option<LogOffset>,
    rest: &[OpenSegment],
    end: LogOffset,
    mode: Recovery,
) -> Result<(), LogError> {
    let mut durable = node_state.state().durable_end;
    if !crate::planted::is("cut-in-the-middle") {
        for segment in rest {
            let from = if segment.entry.number == end.segment {
                end.offset_bytes
            } else {
                HEADER_BLOCK_BYTES
            };
            let mut window = window_of(segment, cut, mode)?;
            durable = durable.max(durable_end_behind(&mut window, segment.entry.salt, from)?);
        }
    }
    if durable <= end {
        return Ok(());
    }
    let kind = CorruptionKind::Acknowledged {
        segment: durable.segment,
        durable_end: durable.offset_bytes,
    };
    let active = rest.first().expect("the active segment is one of them");
    Err(LogError::corrupt(active.file.path(), end.offset_bytes, kind))
}

/// Why more than what ends at `end` was there once, where that is so or cannot be known: a file or a
/// next frame that cannot be read, or anything that says that more was durable.
fn lost_end(
    node_state: &NodeStateFile,
    cut: Option<LogOffset>,
    open: &[OpenSegment],
    end: LogOffset,
) -> Result<Option<Box<Corruption>>, LogError> {
    let before = open.iter().take_while(|it| it.entry.number < end.segment).count();
    let rest = &open[before..];
    if let Some(corruption) = rest.iter().find_map(|it| it.fenced.clone()) {
        return Ok(Some(corruption));
    }
    if let Some(active) = rest.first().filter(|it| it.entry.number == end.segment) {
        let mut window = window_of(active, cut, Recovery::Damaged)?;
        if let Some(corruption) = window.unreadable_in_frame(end.offset_bytes)? {
            return Ok(Some(Box::new(corruption)));
        }
    }
    match refuse_damage(node_state, cut, rest, end, Recovery::Damaged) {
        Ok(()) => Ok(None),
        Err(LogError::Corrupt(corruption)) => Ok(Some(corruption)),
        Err(error) => Err(error),
    }
}

/// Cuts whatever was written after `end`.
fn cut_tail(
    node_state: &mut NodeStateFile,
    rest: &[OpenSegment],
    end: LogOffset,
) -> Result<u64, LogError> {
    let mut anything = false;
    for segment in rest {
        let from =
            if segment.entry.number == end.segment { end.offset_bytes } else { HEADER_BLOCK_BYTES };
        anything |= Window::new(Arc::clone(&segment.file))?.written_end(from)?.is_some();
    }
    if !anything {
        return Ok(0);
    }
    cut(node_state, &cuttable(rest), Cut::of_torn_tail(end), Extent::Written)
}

fn prepared(disk: &dyn Disk, open: &OpenSegment) -> DiskResult<Prepared> {
    let ready = open.file.len_bytes()?;
    Ok(Prepared {
        entry: open.entry,
        files: SegmentFiles::open(disk, Arc::clone(&open.file))?,
        ready_bytes: Arc::new(AtomicU64::new(ready - ready % ALIGNMENT as u64)),
    })
}

/// Splits a manifest into what is sealed and what is open.
pub(crate) fn split(manifest: &Manifest) -> (&[SegmentEntry], &[SegmentEntry]) {
    let sealed = manifest.segments.iter().take_while(|s| s.sealed.is_some()).count();
    manifest.segments.split_at(sealed)
}
