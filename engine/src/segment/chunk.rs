//! A piece of the log in memory: records of consecutive positions over shared bytes.

use bytes::Bytes;
use nexus_protocol::RecordedEvent;
use nexus_protocol::record::record_length;

/// Records over shared bytes. Each is checked when it is taken out (I5), not before.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    first: u64,
    offsets: Vec<u32>,
}

/// A record of a chunk is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord;

impl Chunk {
    /// Records of all positions from `first` on, at these offsets of `bytes`.
    pub(crate) fn new(bytes: Bytes, first: u64, offsets: Vec<u32>) -> Self {
        Self { bytes, first, offsets }
    }

    /// Number of its records.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Position of record `index`.
    pub(crate) fn position(&self, index: usize) -> u64 {
        self.first + index as u64
    }

    /// Index of the record at `position`, if the chunk has it.
    pub(crate) fn find(&self, position: u64) -> Option<usize> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        (index < self.offsets.len()).then_some(index)
    }

    /// Record `index`, checked, and checked to stand where it says.
    pub(crate) fn record(&self, index: usize) -> Result<RecordedEvent, BadRecord> {
        assert!(index < self.offsets.len(), "the caller found the index in this chunk");
        let start = self.offsets[index] as usize;
        let rest = self.bytes.get(start..).ok_or(BadRecord)?;
        let length = record_length(rest).ok().filter(|n| *n <= rest.len()).ok_or(BadRecord)?;
        let record = RecordedEvent::decode(self.bytes.slice(start..start + length));
        let record = record.map_err(|_| BadRecord)?;
        if record.position().get() == self.position(index) { Ok(record) } else { Err(BadRecord) }
    }
}
