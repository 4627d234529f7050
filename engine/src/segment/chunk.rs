//! A piece of the log in memory: records of consecutive or selected positions over shared bytes.

use bytes::Bytes;
use nexus_protocol::RecordedEvent;
use nexus_protocol::record::record_length;

/// Which positions a chunk has.
#[derive(Clone, Debug)]
enum Positions {
    /// All from this one on.
    Dense(u64),
    /// These, ascending.
    Sparse(Vec<u64>),
}

/// Records over shared bytes. Each is checked when it is taken out (I5), not before, unless all were
/// checked together.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    positions: Positions,
    offsets: Vec<u32>,
    /// Whether a checksum over all of the bytes held.
    covered: bool,
}

/// The offset of a record that was left out.
pub(crate) const LEFT_OUT: u32 = u32::MAX;

/// A record of a chunk is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Where in the chunk's bytes it starts.
    pub(crate) offset: usize,
}

impl Chunk {
    /// Records of all positions from `first` on, at these offsets of `bytes`, or
    /// [`LEFT_OUT`].
    pub(crate) fn dense(bytes: Bytes, first: u64, offsets: Vec<u32>) -> Self {
        Self { bytes, positions: Positions::Dense(first), offsets, covered: false }
    }

    /// Records of these ascending positions, at these offsets of `bytes`.
    pub(crate) fn sparse(bytes: Bytes, positions: Vec<u64>, offsets: Vec<u32>) -> Self {
        assert_eq!(positions.len(), offsets.len(), "a record has a position and an offset");
        debug_assert!(positions.is_sorted_by(|a, b| a < b), "the reader of a block checked it");
        Self { bytes, positions: Positions::Sparse(positions), offsets, covered: false }
    }

    /// The same, where a checksum over all of the bytes held: records are not checked again one by
    /// one, which for a scan is a sixth of its time.
    pub(crate) fn covered(mut self) -> Self {
        self.covered = true;
        self
    }

    /// Whether record `index` was left out: one of a system stream, which nobody asked for.
    pub(crate) fn leaves_out(&self, index: usize) -> bool {
        self.offsets[index] == LEFT_OUT
    }

    /// Number of its records.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Position of record `index`.
    pub(crate) fn position(&self, index: usize) -> u64 {
        match &self.positions {
            Positions::Dense(first) => first + index as u64,
            Positions::Sparse(positions) => positions[index],
        }
    }

    /// Index of the record at `position`, if the chunk has it.
    pub(crate) fn find(&self, position: u64) -> Option<usize> {
        match &self.positions {
            Positions::Dense(first) => usize::try_from(position.checked_sub(*first)?)
                .ok()
                .filter(|index| *index < self.offsets.len()),
            Positions::Sparse(positions) => positions.binary_search(&position).ok(),
        }
    }

    /// Record `index`, checked, and checked to stand where it says.
    pub(crate) fn record(&self, index: usize) -> Result<RecordedEvent, BadRecord> {
        assert!(!self.leaves_out(index), "who asks knows what was left out");
        let start = self.offsets[index] as usize;
        let bad = BadRecord { offset: start };
        let rest = self.bytes.get(start..).ok_or(bad)?;
        let length = record_length(rest).ok().filter(|n| *n <= rest.len()).ok_or(bad)?;
        let bytes = self.bytes.slice(start..start + length);
        let record = match self.covered {
            true => RecordedEvent::decode_covered(bytes),
            false => RecordedEvent::decode(bytes),
        };
        let record = record.map_err(|_| bad)?;
        if record.position().get() == self.position(index) { Ok(record) } else { Err(bad) }
    }
}
