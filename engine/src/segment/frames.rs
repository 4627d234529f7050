//! Chunks of a segment that holds frames as they were committed.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use nexus_protocol::{Corruption, CorruptionKind};

use super::chunk::{Chunk, LEFT_OUT};
use super::{FrameSlot, FrameTable, HEADER_BLOCK_BYTES, Segment};
use crate::frame::{BodyView, FrameError, FrameHeader, FrameKind, HEADER_BYTES};
use crate::io::{self, ALIGNMENT, AlignedBuffer, DiskFile, align_up};

/// Above this, a single read of one frame takes only the records it needs, in bytes.
const WHOLE_FRAME_BYTES: u64 = 16 * 1024;
/// Records that such a read takes along.
const RECORDS_ALONG: usize = 15;

const _: () = assert!(RECORDS_ALONG > 0, "the record that was asked for is one of them");

/// How much a reader wants besides the position it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// What comes with it.
    One,
    /// It with so many before and after it, where that many are in its frame.
    Run {
        /// Records before it.
        before: u32,
        /// Records after it.
        after: u32,
    },
    /// What follows it, up to about so many bytes.
    Following {
        /// How many.
        bytes: u64,
        /// Whether records of system streams are wanted: where they are apart they are left out.
        system: bool,
    },
    /// What comes before it, up to about so many bytes.
    Preceding {
        /// How many.
        bytes: u64,
        /// Whether records of system streams are wanted: where they are apart they are left out.
        system: bool,
    },
}

/// The chunk that holds `position`, from the file. What does not check is read again past the page
/// cache, where the segment is still written past it.
/// Frames from position `bound` on are not taken along: they may still be written.
///
/// What is wrong with a neighbour is no reason to go without `position`: where a read of several
/// fails, or ends before it, its frame is read by itself, and of a large frame its record.
pub(crate) fn load(
    segment: &Segment,
    position: u64,
    want: Want,
    bound: u64,
) -> Result<Chunk, Box<Corruption>> {
    let mut want = want;
    loop {
        let loaded = load_once(segment, position, want, bound);
        if loaded.as_ref().is_ok_and(|chunk| chunk.find(position).is_some()) {
            return loaded;
        }
        match narrower(segment, position, want) {
            Some(narrower) => {
                assert_ne!(narrower, want, "what is tried again is less");
                want = narrower;
            }
            None => return loaded,
        }
    }
}

/// What to read where a read of `want` did not give `position`; `None`: there is no less.
fn narrower(segment: &Segment, position: u64, want: Want) -> Option<Want> {
    const ALONE: Want = Want::Run { before: 0, after: 0 };
    match want {
        Want::Following { .. } | Want::Preceding { .. } => Some(Want::One),
        ALONE => None,
        Want::One | Want::Run { .. } => {
            let table = segment.frames()?;
            table.find(position).filter(|frame| is_large(&table, *frame)).map(|_| ALONE)
        }
    }
}

/// Whether records of a frame are read by themselves.
pub(crate) fn is_large(table: &FrameTable, frame: usize) -> bool {
    table.end_of(frame) - table.slots[frame].offset_bytes > WHOLE_FRAME_BYTES
}

/// The next position of a large frame that may be readable, where `damage` is in the way of
/// `position`; `None`: none in this frame.
///
/// Other records are read by themselves. But what the disk cannot read of the offset table is in the
/// way of all that the same block of it says where they are.
pub(crate) fn next_inside(
    slot: &FrameSlot,
    position: u64,
    damage: Option<&Corruption>,
) -> Option<u64> {
    assert!(position >= slot.first_position, "the position is one of the frame");
    let count = u64::from(slot.count);
    let table_end = slot.offset_bytes + u64::from(slot.stored_bytes);
    let table = table_end.saturating_sub(4 * count);
    let in_table = damage.filter(|it| {
        matches!(it.kind, CorruptionKind::Unreadable(_))
            && (table..table_end).contains(&it.offset_bytes)
    });
    let behind = in_table.map_or(0, |damage| {
        let block_end = (damage.offset_bytes + 1).next_multiple_of(ALIGNMENT as u64);
        slot.first_position + (block_end - table).div_ceil(4)
    });
    let next = behind.max(position + 1);
    assert!(next > position, "going on leads on");
    (next < slot.first_position + count).then_some(next)
}

fn load_once(
    segment: &Segment,
    position: u64,
    want: Want,
    bound: u64,
) -> Result<Chunk, Box<Corruption>> {
    let cached = Source { segment, file: segment.file(), past_cache: false, bound };
    match (load_through(&cached, position, want), segment.log_file()) {
        (Err(_), Some(file)) => {
            load_through(&Source { segment, file, past_cache: true, bound }, position, want)
        }
        (loaded, _) => loaded,
    }
}

/// The chunk that holds `position`, past the page cache: asked for when a record of the usual chunk
/// did not check. `None`: the segment is not written past it.
pub(crate) fn load_past_cache(
    segment: &Segment,
    position: u64,
) -> Option<Result<Chunk, Box<Corruption>>> {
    let file = segment.log_file()?;
    Some(load_through(&Source { segment, file, past_cache: true, bound: 0 }, position, Want::One))
}

/// A segment, read through one of its files.
struct Source<'a> {
    segment: &'a Segment,
    file: &'a Arc<dyn DiskFile>,
    /// Whether it is the log handle, which takes whole blocks only.
    past_cache: bool,
    /// Frames from this position on are not taken along.
    bound: u64,
}

fn load_through(source: &Source<'_>, position: u64, want: Want) -> Result<Chunk, Box<Corruption>> {
    let segment = source.segment;
    let (start, end) = {
        let table = segment.frames().expect("the caller knows the layout");
        let Some(frame) = table.find(position) else {
            return Err(Box::new(
                segment.damage(0, CorruptionKind::Malformed("frame table".into())),
            ));
        };
        let along = match want {
            Want::One => Some((0, RECORDS_ALONG)),
            Want::Run { before, after } => Some((before as usize, after as usize)),
            Want::Following { .. } | Want::Preceding { .. } => None,
        };
        if let Some(along) = along
            && is_large(&table, frame)
        {
            let slot = table.slots[frame];
            drop(table);
            return load_part(source, slot, position, along);
        }
        let (first, last) = frames_of(&table, frame, want, source.bound);
        assert!(first <= frame && frame <= last, "what is read holds what was asked for");
        (table.slots[first].offset_bytes, table.end_of(last))
    };
    if start < HEADER_BLOCK_BYTES || start >= end {
        return Err(Box::new(
            segment.damage(start, CorruptionKind::Malformed("frame table".into())),
        ));
    }
    let bytes = read(source, start, end)?;
    walk(&bytes, start, segment).map_err(Box::new)
}

/// First and last of the frames that a read of `frame` takes along.
fn frames_of(table: &FrameTable, frame: usize, want: Want, bound: u64) -> (usize, usize) {
    let (mut first, mut last) = (frame, frame);
    match want {
        Want::One | Want::Run { .. } => {}
        Want::Following { bytes, .. } => {
            let limit = table.slots[first].offset_bytes + bytes;
            while let Some(slot) = table.slots.get(last + 1)
                && slot.first_position < bound
                && table.end_of(last + 1) <= limit
            {
                last += 1;
            }
        }
        Want::Preceding { bytes, .. } => {
            let limit = table.end_of(last).saturating_sub(bytes);
            while first > 0 && table.slots[first - 1].offset_bytes >= limit {
                first -= 1;
            }
        }
    }
    (first, last)
}

/// Larger buffers are given back, in bytes.
const SPARE_BYTES_MAX: usize = 1 << 20;

thread_local! {
    /// The buffer of this thread's last chunk: taken again once no event holds on to it, so that a
    /// scan does not ask for zeroed memory for each chunk.
    static SPARE: RefCell<Option<SpareBuffer>> = const { RefCell::new(None) };
}

/// Shared memory that can be got back when nobody else holds it.
type SpareBuffer = Arc<AlignedBuffer>;

/// Bytes of an [`AlignedBuffer`] that more than one [`Bytes`] may own.
struct Owner(SpareBuffer);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Bytes `start..end` of the file; both are multiples of the alignment.
fn read(source: &Source<'_>, start: u64, end: u64) -> Result<Bytes, Box<Corruption>> {
    assert!(io::is_aligned(start), "the log handle reads whole blocks");
    let length = align_up(usize::try_from(end - start).unwrap_or(usize::MAX));
    let spare = SPARE.with_borrow_mut(Option::take);
    let mut buffer = match spare.and_then(|shared| Arc::try_unwrap(shared).ok()) {
        Some(buffer) if buffer.as_slice().len() >= length => buffer,
        _ => AlignedBuffer::zeroed(length),
    };
    let target = &mut buffer.as_mut_slice()[..length];
    let got = io::read_full_at(&**source.file, target, start)
        .map_err(|error| source.segment.unreadable(start, error))?;
    let shared = Arc::new(buffer);
    if length <= SPARE_BYTES_MAX {
        SPARE.with_borrow_mut(|spare| *spare = Some(Arc::clone(&shared)));
    }
    Ok(Bytes::from_owner(Owner(shared)).slice(..got))
}

/// All records of the frames in `bytes`, which start at `start` of the file. Frames before a damaged
/// one are given without it: whoever goes on from there meets the damage.
fn walk(bytes: &Bytes, start: u64, segment: &Segment) -> Result<Chunk, Corruption> {
    let damaged = |at: usize, error: FrameError| segment.damage(start + at as u64, kind_of(error));
    let (mut at, mut first, mut next, mut offsets) = (0, None, None, Vec::new());
    while at < bytes.len() {
        let header = match frame_at(bytes, at, next, segment) {
            Ok(header) => header,
            Err(_) if first.is_some() => break,
            Err(error) => return Err(damaged(at, error)),
        };
        let body_end = at + header.local.stored_length as usize;
        if header.replicated.kind == FrameKind::Events {
            first.get_or_insert(header.replicated.first_position);
            next = Some(header.replicated.next_position());
            let body_at = at + HEADER_BYTES;
            let table = body_end - 4 * header.replicated.count as usize;
            assert!(body_at <= table, "a header that was decoded has room for its table");
            for entry in bytes[table..body_end].chunks_exact(4) {
                let offset = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
                // An impossible one leads to where nothing is, and is never taken for left out.
                let offset = offset.saturating_add(u32::try_from(body_at).unwrap_or(u32::MAX));
                offsets.push(offset.min(LEFT_OUT - 1));
            }
        }
        at = align_up(body_end);
    }
    Ok(Chunk::dense(bytes.clone(), first.unwrap_or(0), offsets))
}

/// Exactly the bytes `from..to` of the file; a log file is read in whole blocks around them.
fn read_part(source: &Source<'_>, from: u64, to: u64) -> Result<Bytes, Box<Corruption>> {
    let length = usize::try_from(to - from).unwrap_or(usize::MAX);
    let truncated = || Box::new(source.segment.damage(from, CorruptionKind::Truncated));
    if source.past_cache {
        let start = from & !(ALIGNMENT as u64 - 1);
        let bytes = read(source, start, to.next_multiple_of(ALIGNMENT as u64));
        // What was asked for is what is named, not the block around it.
        let bytes = bytes.map_err(|it| Box::new(Corruption { offset_bytes: from, ..*it }))?;
        let skip = usize::try_from(from - start).unwrap_or(usize::MAX);
        let part = bytes.get(skip..).and_then(|rest| rest.get(..length)).ok_or_else(truncated)?;
        return Ok(bytes.slice_ref(part));
    }
    let mut buffer = vec![0; length];
    let got = io::read_full_at(&**source.file, &mut buffer, from)
        .map_err(|error| source.segment.unreadable(from, error))?;
    if got < length { Err(truncated()) } else { Ok(buffer.into()) }
}

/// The header of the frame at `at` of `bytes`, if it is whole, of this segment, and the next one.
fn frame_at(
    bytes: &Bytes,
    at: usize,
    next: Option<u64>,
    segment: &Segment,
) -> Result<FrameHeader, FrameError> {
    let header = FrameHeader::decode(&bytes[at..])?;
    let body_end = at + header.local.stored_length as usize;
    if body_end > bytes.len() || header.local.salt != segment.entry.salt {
        return Err(FrameError::Malformed("length"));
    }
    let events = header.replicated.kind == FrameKind::Events;
    if events && next.is_some_and(|next| next != header.replicated.first_position) {
        return Err(FrameError::Malformed("position"));
    }
    Ok(header)
}

/// Some records of one large frame: the part of its offset table that says where they are is read
/// first, then they are. Each is checked by itself, and says itself which it is.
fn load_part(
    source: &Source<'_>,
    slot: FrameSlot,
    position: u64,
    (before, after): (usize, usize),
) -> Result<Chunk, Box<Corruption>> {
    let (start, first) = (slot.offset_bytes, slot.first_position);
    let damaged = |error: FrameError| Box::new(source.segment.damage(start, kind_of(error)));
    let count = slot.count as usize;
    let index = position.checked_sub(first).and_then(|i| usize::try_from(i).ok());
    let index =
        index.filter(|i| *i < count).ok_or_else(|| damaged(FrameError::Malformed("position")))?;
    let (at, index, last) =
        (index.min(before), index.saturating_sub(before), (index + 1 + after).min(count));
    if start < HEADER_BLOCK_BYTES {
        return Err(damaged(FrameError::Malformed("place")));
    }
    let table = u64::from(slot.stored_bytes).checked_sub(4 * count as u64);
    let table = table.filter(|table| *table >= HEADER_BYTES as u64);
    let table = start + table.ok_or_else(|| damaged(FrameError::Malformed("length")))?;
    // One entry more than is taken says where the last record taken ends.
    let ends = (last + 1).min(count);
    let entries = read_part(source, table + 4 * index as u64, table + 4 * ends as u64)?;
    let mut offsets: Vec<u64> = entries
        .chunks_exact(4)
        .map(|e| u64::from(u32::from_le_bytes([e[0], e[1], e[2], e[3]])))
        .map(|offset| offset + start + HEADER_BYTES as u64)
        .collect();
    if ends == last {
        offsets.push(table);
    }
    if !offsets.is_sorted() || offsets.last().is_none_or(|end| *end > table) {
        return Err(damaged(FrameError::Malformed("offset table")));
    }
    // What was asked for is among what is taken, however large the records before it are.
    let needed_to = offsets[at + 1];
    let skip = offsets[..at].partition_point(|from| needed_to - from > WHOLE_FRAME_BYTES);
    load_records(source, first + (index + skip) as u64, &offsets[skip..])
}

/// Records at these offsets of the file, the last of which is an end: as many as fit a read of
/// moderate size, the first at least.
fn load_records(
    source: &Source<'_>,
    first: u64,
    offsets: &[u64],
) -> Result<Chunk, Box<Corruption>> {
    assert!(offsets.len() > 1, "a record, and where it ends");
    let start = offsets[0];
    let within = offsets.partition_point(|offset| *offset <= start + WHOLE_FRAME_BYTES);
    let taken = within.saturating_sub(1).clamp(1, offsets.len() - 1);
    let bytes = read_part(source, start, offsets[taken])?;
    let relative = offsets[..taken]
        .iter()
        .map(|offset| u32::try_from(offset - start).unwrap_or(u32::MAX))
        .collect();
    Ok(Chunk::dense(bytes, first, relative))
}

/// What a bad frame means to a user.
pub(crate) fn kind_of(error: FrameError) -> CorruptionKind {
    match error {
        FrameError::Blank => CorruptionKind::Truncated,
        FrameError::Header => CorruptionKind::Checksum("frame header".into()),
        FrameError::Body => CorruptionKind::Checksum("frame body".into()),
        FrameError::Malformed(what) => CorruptionKind::Malformed(what.into()),
        FrameError::Unknown(_) => CorruptionKind::Malformed("frame: a newer Nexus wrote it".into()),
    }
}

/// The records of one frame in memory.
pub(crate) fn of_frame(frame: &Bytes) -> Option<Chunk> {
    let header = FrameHeader::decode(frame).ok()?;
    let body = frame.get(HEADER_BYTES..header.local.stored_length as usize)?;
    let view = BodyView::new(&header, frame.slice_ref(body)).ok()?;
    let offsets = (0..header.replicated.count as usize)
        .map(|index| {
            view.record_range(index).ok().and_then(|r| u32::try_from(r.start + HEADER_BYTES).ok())
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Chunk::dense(frame.clone(), header.replicated.first_position, offsets))
}
