//! Chunks of a segment that holds frames as they were committed.

use std::cell::RefCell;

use bytes::Bytes;
use nexus_protocol::{Corruption, CorruptionKind};

use super::chunk::Chunk;
use super::{FrameTable, Segment};
use crate::frame::{BodyView, FrameError, FrameHeader, FrameKind, HEADER_BYTES};
use crate::io::{self, ALIGNMENT, AlignedBuffer, align_up};

/// Above this, a single read of one frame takes only the records it needs, in bytes.
const WHOLE_FRAME_BYTES: u64 = 128 * 1024;
/// Records that such a read takes along.
const RECORDS_ALONG: usize = 64;

/// How much a reader wants besides the position it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// What comes with it.
    One,
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

/// The chunk that holds `position`, from the file.
pub(crate) fn load(segment: &Segment, position: u64, want: Want) -> Result<Chunk, Box<Corruption>> {
    let (start, end) = {
        let table = segment.frames().expect("the caller knows the layout");
        let Some(frame) = table.find(position) else {
            return Err(Box::new(segment.damage(0, CorruptionKind::Malformed("frame table"))));
        };
        let (first, last) = frames_of(&table, frame, want);
        (table.slots[first].offset_bytes, table.end_of(last))
    };
    if want == Want::One && end - start > WHOLE_FRAME_BYTES {
        return load_part(segment, start, position);
    }
    let bytes = read(segment, start, end)?;
    walk(&bytes, start, segment).map_err(Box::new)
}

/// First and last of the frames that a read of `frame` takes along.
fn frames_of(table: &FrameTable, frame: usize, want: Want) -> (usize, usize) {
    let (mut first, mut last) = (frame, frame);
    match want {
        Want::One => {}
        Want::Following { bytes, .. } => {
            let limit = table.slots[first].offset_bytes + bytes;
            while last + 1 < table.slots.len() && table.end_of(last + 1) <= limit {
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

thread_local! {
    /// The buffer of this thread's last chunk: taken again once no event holds on to it, so that a
    /// scan does not ask for zeroed memory for each chunk.
    static SPARE: RefCell<Option<SpareBuffer>> = const { RefCell::new(None) };
}

/// Shared memory that can be got back when nobody else holds it.
type SpareBuffer = std::sync::Arc<AlignedBuffer>;

/// Bytes of an [`AlignedBuffer`] that more than one [`Bytes`] may own.
struct Owner(SpareBuffer);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Bytes `start..end` of the file; both are multiples of the alignment.
fn read(segment: &Segment, start: u64, end: u64) -> Result<Bytes, Box<Corruption>> {
    let length = align_up(usize::try_from(end - start).unwrap_or(usize::MAX));
    let spare = SPARE.with_borrow_mut(Option::take);
    let mut buffer = match spare.and_then(|shared| std::sync::Arc::try_unwrap(shared).ok()) {
        Some(buffer) if buffer.as_slice().len() >= length => buffer,
        _ => AlignedBuffer::zeroed(length),
    };
    let target = &mut buffer.as_mut_slice()[..length];
    let got = io::read_full_at(&*segment.file(), target, start)
        .map_err(|error| segment.unreadable(start, error))?;
    let shared = std::sync::Arc::new(buffer);
    SPARE.with_borrow_mut(|spare| *spare = Some(std::sync::Arc::clone(&shared)));
    Ok(Bytes::from_owner(Owner(shared)).slice(..got))
}

/// All records of the frames in `bytes`, which start at `start` of the file.
fn walk(bytes: &Bytes, start: u64, segment: &Segment) -> Result<Chunk, Corruption> {
    let damaged = |at: usize, error: FrameError| segment.damage(start + at as u64, kind_of(error));
    let (mut at, mut first, mut next, mut offsets) = (0, None, None, Vec::new());
    while at < bytes.len() {
        let header = FrameHeader::decode(&bytes[at..]).map_err(|error| damaged(at, error))?;
        let body_end = at + header.local.stored_length as usize;
        if body_end > bytes.len() || header.local.salt != segment.entry.salt {
            return Err(damaged(at, FrameError::Malformed("length")));
        }
        if header.replicated.kind == FrameKind::Events {
            let frame_first = header.replicated.first_position;
            if next.is_some_and(|next| next != frame_first) {
                return Err(damaged(at, FrameError::Malformed("position")));
            }
            first.get_or_insert(frame_first);
            next = Some(header.replicated.next_position());
            let body_at = at + HEADER_BYTES;
            let table = body_end - 4 * header.replicated.count as usize;
            for entry in bytes[table..body_end].chunks_exact(4) {
                let offset = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
                offsets.push(offset.saturating_add(u32::try_from(body_at).unwrap_or(u32::MAX)));
            }
        }
        at = align_up(body_end);
    }
    Ok(Chunk::dense(bytes.clone(), first.unwrap_or(0), offsets))
}

/// Some records of one large frame: its offset table is read first, then what is asked for.
fn load_part(segment: &Segment, start: u64, position: u64) -> Result<Chunk, Box<Corruption>> {
    let damaged = |error: FrameError| Box::new(segment.damage(start, kind_of(error)));
    let head = read(segment, start, start + ALIGNMENT as u64)?;
    let header = FrameHeader::decode(&head).map_err(damaged)?;
    let (first, count) = (header.replicated.first_position, header.replicated.count as usize);
    let index = position.checked_sub(first).and_then(|i| usize::try_from(i).ok());
    let index =
        index.filter(|i| *i < count).ok_or_else(|| damaged(FrameError::Malformed("position")))?;
    let last = (index + RECORDS_ALONG).min(count);
    let table = start + header.local.stored_length as u64 - 4 * count as u64;
    let (from, to) = (table + 4 * index as u64, table + 4 * last as u64);
    let align_down = |offset: u64| offset & !(ALIGNMENT as u64 - 1);
    let entries = read(segment, align_down(from), align_up_u64(to))?;
    let skip = usize::try_from(from - align_down(from)).unwrap_or(0);
    let entries = entries
        .get(skip..skip + 4 * (last - index))
        .ok_or_else(|| damaged(FrameError::Malformed("offset table")))?;
    let offsets: Vec<u64> = entries
        .chunks_exact(4)
        .map(|e| {
            u64::from(u32::from_le_bytes([e[0], e[1], e[2], e[3]])) + start + HEADER_BYTES as u64
        })
        .collect();
    if !offsets.is_sorted() || offsets.last().is_none_or(|offset| *offset >= table) {
        return Err(damaged(FrameError::Malformed("offset table")));
    }
    load_records(segment, first + index as u64, &offsets, table)
}

/// Records at these offsets of the file, as many as fit a read of moderate size; the first at least.
fn load_records(
    segment: &Segment,
    first: u64,
    offsets: &[u64],
    table: u64,
) -> Result<Chunk, Box<Corruption>> {
    let start = offsets[0] & !(ALIGNMENT as u64 - 1);
    let within = offsets.partition_point(|offset| *offset < start + WHOLE_FRAME_BYTES);
    let taken = within.clamp(1, offsets.len());
    let end = offsets.get(taken).copied().unwrap_or(table);
    let bytes = read(segment, start, align_up_u64(end))?;
    let relative = offsets[..taken]
        .iter()
        .map(|offset| u32::try_from(offset - start).unwrap_or(u32::MAX))
        .collect();
    Ok(Chunk::dense(bytes, first, relative))
}

fn align_up_u64(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT as u64)
}

/// What a bad frame means to a user.
pub(crate) fn kind_of(error: FrameError) -> CorruptionKind {
    match error {
        FrameError::Blank => CorruptionKind::Truncated,
        FrameError::Header => CorruptionKind::Checksum("frame header"),
        FrameError::Body => CorruptionKind::Checksum("frame body"),
        FrameError::Malformed(what) => CorruptionKind::Malformed(what),
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
