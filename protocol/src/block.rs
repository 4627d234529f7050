//! [`Block`]: records that were compressed together, as a rewritten segment holds them on disk and as a
//! catch-up carries them to the client. `docs/format.md` ("Rewritten segments") specifies the bytes.
//!
//! Decoding trusts nothing: lengths are bounded before memory is taken for them (I8), and nothing is
//! unpacked before the checksum over the stored bytes held (I5). That checksum stands for those of the
//! single records, as it does for a reader on the log's own machine; where each record stands, that it is
//! whole, and that positions ascend is checked record by record all the same.
//!
//! What is not here: compressing, and which blocks there are. That is the engine's.

use std::cell::RefCell;
use std::io::Cursor;

use bytes::Bytes;
use zstd::bulk::Decompressor;

use crate::error::CorruptionKind;
use crate::ids::Position;
use crate::limits::{BLOCK_BYTES_MAX, RECORD_BYTES_MAX};
use crate::record::{RECORD_BYTES_MIN, RecordedEvent, record_length};

/// Bytes of a block that are not records: where each record starts.
pub const OFFSET_BYTES: usize = 4;

const _: () = assert!(RECORD_BYTES_MAX + OFFSET_BYTES < u32::MAX as usize);

/// How a run of bytes is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Bytes before compression.
    pub raw_length: u32,
    /// Bytes as they are stored.
    pub stored_length: u32,
    /// CRC-32 of the stored bytes.
    pub crc: u32,
    /// Compression did not make it smaller: it is stored as it is.
    pub plain: bool,
}

impl Stored {
    /// Whether the lengths can be: a run of at most `raw_max` bytes that did not grow.
    pub fn is_possible(&self, raw_max: usize) -> bool {
        let (raw, stored) = (self.raw_length, self.stored_length);
        raw > 0
            && raw as usize <= raw_max
            && stored > 0
            && if self.plain { stored == raw } else { stored < raw }
    }

    /// Whether a block of `count` records can have these lengths: one that is small, or holds one record.
    pub fn can_hold(&self, count: u32) -> bool {
        let raw_max = if count == 1 { RECORD_BYTES_MAX + OFFSET_BYTES } else { BLOCK_BYTES_MAX };
        let raw_min = u64::from(count) * (RECORD_BYTES_MIN + OFFSET_BYTES) as u64;
        count > 0 && self.is_possible(raw_max) && u64::from(self.raw_length) >= raw_min
    }

    /// Checks that these are the stored bytes.
    ///
    /// # Errors
    /// Another length, or the checksum does not hold.
    pub fn check(&self, bytes: &[u8]) -> Result<(), CorruptionKind> {
        if bytes.len() != self.stored_length as usize {
            return Err(CorruptionKind::Truncated);
        }
        if crc32fast::hash(bytes) != self.crc {
            return Err(CorruptionKind::Checksum("block".into()));
        }
        Ok(())
    }
}

thread_local! {
    static DECODER: RefCell<Decompressor<'static>> = RefCell::default();
}

/// Appends what `bytes`, stored as `stored`, were made from to `out`, once their checksum held.
///
/// # Errors
/// They are not what was stored, or no compressed bytes of the length that `stored` says; `out` is as it
/// was.
pub fn unpack(stored: &Stored, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CorruptionKind> {
    stored.check(bytes)?;
    unpack_checked(stored, bytes, out)
}

/// The same, of bytes whose checksum held just before.
fn unpack_checked(stored: &Stored, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CorruptionKind> {
    if stored.plain {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let (start, raw_length) = (out.len(), stored.raw_length as usize);
    out.reserve(raw_length);
    let mut target = Cursor::new(&mut *out);
    target.set_position(start as u64);
    // It can write no more than the capacity, which follows from lengths that were bounded, and takes no
    // memory besides: what it looks back at is what it wrote.
    let unpacked =
        DECODER.with_borrow_mut(|decoder| decoder.decompress_to_buffer(bytes, &mut target));
    match unpacked {
        Ok(length) if length == raw_length && out.len() == start + length => Ok(()),
        _ => {
            out.truncate(start);
            Err(malformed("compressed block"))
        }
    }
}

/// What is said of a block where it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Position of its first record.
    pub first: u64,
    /// Position of its last.
    pub last: u64,
    /// Number of its records. Positions between the first and the last that it does not have are the
    /// system's.
    pub count: u32,
    /// How its bytes are stored.
    pub stored: Stored,
}

impl BlockEntry {
    /// Whether all it says can be.
    pub fn is_possible(&self) -> bool {
        self.stored.can_hold(self.count)
            && self.first <= self.last
            && self.last - self.first >= u64::from(self.count) - 1
    }
}

/// A block of events of users' streams, with the bytes it is stored as.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    entry: BlockEntry,
    bytes: Bytes,
}

impl Block {
    /// The block that is listed so and stored as these bytes.
    ///
    /// # Errors
    /// It cannot be, or its checksum does not hold.
    pub fn new(entry: BlockEntry, bytes: Bytes) -> Result<Self, CorruptionKind> {
        if !entry.is_possible() {
            return Err(malformed("length of a block"));
        }
        entry.stored.check(&bytes)?;
        Ok(Self { entry, bytes })
    }

    /// What is said of it.
    pub fn entry(&self) -> &BlockEntry {
        &self.entry
    }

    /// The bytes as they are stored.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many events it has.
    pub fn count(&self) -> u32 {
        self.entry.count
    }

    /// Bytes of its events once they are unpacked.
    pub fn raw_bytes(&self) -> usize {
        self.entry.stored.raw_length as usize
    }

    /// Position of its last event.
    pub fn last(&self) -> Position {
        Position::new(self.entry.last)
    }

    /// Unpacks it: its events share one piece of memory.
    ///
    /// # Errors
    /// It is not the compressed bytes it says it is.
    pub fn events(&self) -> Result<BlockEvents, CorruptionKind> {
        let mut records = match self.entry.stored.plain {
            true => self.bytes.clone(),
            false => {
                let mut raw = Vec::with_capacity(self.raw_bytes());
                unpack_checked(&self.entry.stored, &self.bytes, &mut raw)?;
                Bytes::from(raw)
            }
        };
        assert_eq!(records.len(), self.raw_bytes(), "it is as long as it says");
        let table = records.len() - OFFSET_BYTES * self.entry.count as usize;
        let offsets = records.split_off(table);
        Ok(BlockEvents {
            records,
            offsets,
            entry: self.entry,
            index: 0,
            at: 0,
            next: self.entry.first,
        })
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// The events of a block, in order, each checked as it is taken. It ends with the first that is wrong.
#[derive(Debug)]
pub struct BlockEvents {
    records: Bytes,
    /// Where each record starts.
    offsets: Bytes,
    entry: BlockEntry,
    /// The next record, and where it must start.
    index: u32,
    at: usize,
    /// The lowest position that it can have.
    next: u64,
}

impl BlockEvents {
    fn take(&mut self) -> Result<RecordedEvent, CorruptionKind> {
        let offset = self.offsets.get(OFFSET_BYTES * self.index as usize..);
        let offset = offset.and_then(|rest| rest.first_chunk().copied()).map(u32::from_le_bytes);
        if offset.map(|offset| offset as usize) != Some(self.at) {
            return Err(malformed("offset table of a block"));
        }
        let rest = self.records.get(self.at..).unwrap_or_default();
        let length = record_length(rest).ok().filter(|length| *length <= rest.len());
        let end = self.at + length.ok_or_else(|| malformed("record in a block"))?;
        let event = RecordedEvent::decode_covered(self.records.slice(self.at..end))
            .map_err(|why| CorruptionKind::Malformed(why.to_string().into()))?;
        let position = event.position().get();
        let (is_first, is_last) = (self.index == 0, self.index + 1 == self.entry.count);
        let stands = (self.next..=self.entry.last).contains(&position)
            && (!is_first || position == self.entry.first)
            && (!is_last || (position == self.entry.last && end == self.records.len()));
        if !stands {
            return Err(malformed("positions of a block"));
        }
        if event.is_system() {
            return Err(malformed("event of the system in a block of users' events"));
        }
        (self.index, self.at, self.next) = (self.index + 1, end, position.saturating_add(1));
        Ok(event)
    }
}

impl Iterator for BlockEvents {
    type Item = Result<RecordedEvent, CorruptionKind>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.entry.count {
            return None;
        }
        let event = self.take();
        if event.is_err() {
            self.index = self.entry.count;
        }
        Some(event)
    }
}

fn malformed(what: &'static str) -> CorruptionKind {
    CorruptionKind::Malformed(what.into())
}

#[cfg(test)]
pub(crate) mod tests;
