//! Building a frame of events, straight into the memory that the disk will write.

use nexus_protocol::limits::FRAME_BODY_BYTES_MAX;
use nexus_protocol::record::{PreparedRecord, place};
use nexus_protocol::{Position, RecordedEvent, Revision, Timestamp};

use super::body::BATCH_HEADER_BYTES;
use super::chain::ChainInput;
use super::header::{COUNT_MAX, FrameKind, HEADER_BYTES, ReplicatedHeader};
use super::{EntryId, Proposal};
use crate::io::{AlignedBuffer, align_up};

const _: () = assert!(BATCH_HEADER_BYTES.is_multiple_of(8), "records stay aligned");

/// What the builder needs of one append.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchParts<'a> {
    /// Its records, one after the other, without placement.
    pub(crate) buffer: &'a [u8],
    /// Where each record stands in `buffer`.
    pub(crate) records: &'a [PreparedRecord],
    /// Its encoded extensions.
    pub(crate) extensions: &'a [u8],
}

impl BatchParts<'_> {
    /// Bytes it takes in a frame, its share of the offset table included.
    pub(crate) fn framed_bytes(&self) -> usize {
        BATCH_HEADER_BYTES
            + self.extensions.len().next_multiple_of(8)
            + self.buffer.len()
            + 4 * self.records.len()
    }
}

/// A frame of events that is being filled.
#[derive(Debug)]
pub(crate) struct FrameBuilder {
    buffer: AlignedBuffer,
    at: usize,
    offsets: Vec<u32>,
    first_position: u64,
    recorded_at: Timestamp,
    chain_input: ChainInput,
}

impl FrameBuilder {
    /// A frame whose batches take `framed_bytes` at most, from `first_position` on.
    pub(crate) fn new(framed_bytes: usize, first_position: u64, recorded_at: Timestamp) -> Self {
        Self {
            buffer: AlignedBuffer::zeroed(align_up(HEADER_BYTES + framed_bytes)),
            at: HEADER_BYTES,
            offsets: Vec::new(),
            first_position,
            recorded_at,
            chain_input: ChainInput::default(),
        }
    }

    /// Position of the next event.
    pub(crate) fn next_position(&self) -> u64 {
        self.first_position + self.offsets.len() as u64
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Adds an append whose record `i` gets revision `revision_of(i)`.
    pub(crate) fn add(
        &mut self,
        parts: BatchParts<'_>,
        mut revision_of: impl FnMut(usize) -> Revision,
    ) {
        assert!(!parts.records.is_empty(), "an append without events is not written");
        let records_at = self.put_batch_header(parts);
        let memory = self.buffer.as_mut_slice();
        let mut next_start = 0;
        memory[records_at..records_at + parts.buffer.len()].copy_from_slice(parts.buffer);
        for (index, prepared) in parts.records.iter().enumerate() {
            assert_eq!(prepared.start, next_start, "records stand one after the other");
            next_start += prepared.length;
            let start = records_at + prepared.start;
            let position = Position::new(self.first_position + self.offsets.len() as u64);
            let revision = revision_of(index);
            let record = &mut memory[start..start + prepared.length];
            place(record, prepared, position, revision, self.recorded_at);
            self.chain_input.record(&prepared.digest, revision);
            let offset = u32::try_from(start - HEADER_BYTES).expect("a frame is below 4 GiB");
            self.offsets.push(offset);
        }
        assert_eq!(next_start, parts.buffer.len(), "and nothing else stands there");
        self.at = records_at + parts.buffer.len();
        let table_end = self.at + 4 * self.offsets.len();
        assert!(table_end <= self.buffer.as_slice().len(), "room was asked for all of it");
    }

    fn put_batch_header(&mut self, parts: BatchParts<'_>) -> usize {
        let u32_of = |n: usize| u32::try_from(n).expect("an append is below 4 GiB").to_le_bytes();
        let extensions_at = self.at + BATCH_HEADER_BYTES;
        let records_at = extensions_at + parts.extensions.len().next_multiple_of(8);
        let length = records_at + parts.buffer.len() - self.at;
        assert!(self.at.is_multiple_of(8) && length.is_multiple_of(8), "batches are aligned");
        let header = &mut self.buffer.as_mut_slice()[self.at..records_at];
        header[..4].copy_from_slice(&u32_of(length));
        header[4..8].copy_from_slice(&u32_of(parts.records.len()));
        header[8..12].copy_from_slice(&u32_of(parts.extensions.len()));
        header[BATCH_HEADER_BYTES..][..parts.extensions.len()].copy_from_slice(parts.extensions);
        let count =
            u32::try_from(parts.records.len()).expect("an append has at most 65,536 events");
        self.chain_input.batch(count, parts.extensions);
        records_at
    }

    /// An event that was added, if `position` is in this frame: a repeat may come within one frame.
    pub(crate) fn record(&self, position: u64) -> Option<RecordedEvent> {
        let index = usize::try_from(position.checked_sub(self.first_position)?).ok()?;
        let start = HEADER_BYTES + *self.offsets.get(index)? as usize;
        let bytes = self.buffer.as_slice().get(start..self.at)?;
        let length = nexus_protocol::record::record_length(bytes).ok()?;
        RecordedEvent::decode(bytes.get(..length)?.to_vec().into()).ok()
    }

    /// The frame, to be proposed.
    pub(crate) fn finish(mut self, starts_segment: bool) -> Proposal {
        assert!(!self.is_empty(), "an empty frame is not proposed");
        let table = self.at;
        let end = table + 4 * self.offsets.len();
        debug_assert!(self.offsets.is_sorted_by(|a, b| a < b), "records are in order");
        let memory = self.buffer.as_mut_slice();
        for (slot, offset) in memory[table..end].chunks_exact_mut(4).zip(&self.offsets) {
            slot.copy_from_slice(&offset.to_le_bytes());
        }
        let body = &memory[HEADER_BYTES..end];
        // Who reads the frame refuses more.
        assert!(body.len() <= FRAME_BODY_BYTES_MAX, "a frame keeps to its limit (I8)");
        assert!(self.offsets.len() <= COUNT_MAX, "and to its number of events (I8)");
        let header = ReplicatedHeader {
            kind: FrameKind::Events,
            starts_segment,
            raw_length: u32::try_from(body.len()).expect("a frame is below 4 GiB"),
            body_crc: crc32fast::hash(body),
            first_position: self.first_position,
            count: u32::try_from(self.offsets.len()).expect("a frame is below 4 Gi events"),
            entry: EntryId::default(),
            recorded_at: self.recorded_at,
        };
        Proposal { header, buffer: self.buffer, chain_input: self.chain_input }
    }
}
