//! The first block of a segment's file: whose it is, so that a swapped or foreign file is seen.

use nexus_protocol::{CorruptionKind, Lineage, LogId};

use crate::error::LogError;
use crate::fields::{FieldError, FieldReader, FieldWriter, newer_version};
use crate::io::{self, ALIGNMENT, AlignedBuffer, DiskFile};
use crate::manifest::{SegmentEntry, SegmentLayout};

const MAGIC: [u8; 8] = *b"NXSEGMNT";
const VERSION: u32 = 1;

/// What the block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: LogId,
    pub(crate) number: u64,
    pub(crate) generation: u32,
    pub(crate) layout: SegmentLayout,
    pub(crate) lineage: Lineage,
    pub(crate) capacity_bytes: u64,
    pub(crate) salt: u64,
}

impl SegmentHeader {
    /// The header that belongs to an entry of the manifest.
    pub(crate) fn of(entry: &SegmentEntry, log_id: LogId) -> Self {
        Self {
            log_id,
            number: entry.number,
            generation: entry.generation,
            layout: entry.layout,
            lineage: entry.lineage,
            capacity_bytes: entry.capacity_bytes,
            salt: entry.salt,
        }
    }

    /// The block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::default();
        let layout = u16::from(self.layout == SegmentLayout::Blocks);
        let alignment = u32::try_from(ALIGNMENT).expect("the alignment is small");
        out.bytes(&MAGIC).u32(VERSION).u16(layout).u16(0).bytes(self.log_id.as_bytes());
        out.u64(self.number).u32(self.generation).u32(self.lineage.get());
        out.u64(self.capacity_bytes).u64(self.salt).u32(alignment);
        let block = out.sealed(ALIGNMENT);
        debug_assert_eq!(Self::decode(&block), Ok(*self), "a header reads back");
        block
    }

    /// Reads the block.
    pub(crate) fn decode(block: &[u8]) -> Result<Self, FieldError> {
        let mut fields = FieldReader::checked(block)?;
        if fields.array::<8>()? != MAGIC || fields.u32()? != VERSION {
            return Err(FieldError::Malformed("version"));
        }
        let layout = match fields.u16()? {
            0 => SegmentLayout::Frames,
            1 => SegmentLayout::Blocks,
            _ => return Err(FieldError::Malformed("layout")),
        };
        fields.u16()?;
        let log_id = LogId::from_bytes(fields.array()?);
        let (number, generation) = (fields.u64()?, fields.u32()?);
        let lineage = Lineage::new(fields.u32()?);
        let (capacity_bytes, salt, alignment) = (fields.u64()?, fields.u64()?, fields.u32()?);
        if alignment as usize != ALIGNMENT {
            return Err(FieldError::Malformed("alignment"));
        }
        Ok(Self { log_id, number, generation, layout, lineage, capacity_bytes, salt })
    }

    /// Reads the block of a file and compares it with what the manifest says.
    pub(crate) fn check(
        file: &dyn DiskFile,
        entry: &SegmentEntry,
        log_id: LogId,
    ) -> Result<(), LogError> {
        let mut block = AlignedBuffer::zeroed(ALIGNMENT);
        let got = io::read_full_at(file, block.as_mut_slice(), 0)?;
        let damaged = |kind| Err(LogError::corrupt(file.path(), 0, kind));
        if got < ALIGNMENT {
            return damaged(CorruptionKind::Truncated);
        }
        if let Some(version) = newer_version(block.as_slice(), &MAGIC, VERSION) {
            let what = format!("segment header of version {version} in {}", file.path().display());
            return Err(LogError::NewerFormat { version, what });
        }
        match Self::decode(block.as_slice()) {
            Ok(header) if header == Self::of(entry, log_id) => Ok(()),
            Ok(header) if header.log_id != log_id => {
                damaged(CorruptionKind::Foreign("another log".into()))
            }
            Ok(_) => damaged(CorruptionKind::Foreign("another place of this log".into())),
            Err(FieldError::Checksum) => damaged(CorruptionKind::Checksum("segment header".into())),
            Err(FieldError::Malformed(what)) => damaged(CorruptionKind::Malformed(what.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let header = SegmentHeader {
            log_id: LogId::from_bytes([5; 16]),
            number: 3,
            generation: 1,
            layout: SegmentLayout::Blocks,
            lineage: Lineage::new(2),
            capacity_bytes: 1 << 20,
            salt: 99,
        };
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        assert!(SegmentHeader::decode(&[0; ALIGNMENT]).is_err());
    }
}
