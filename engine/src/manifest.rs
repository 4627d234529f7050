//! The manifest: which segments a namespace has, and its identity. Not derived, so never rebuilt.
//!
//! `docs/format.md` ("Manifest") specifies the bytes. It is replaced as a whole by write, sync,
//! rename, sync of the folder, off the commit path: when a segment is prepared, sealed, or
//! rewritten. A missing or damaged one is an error that names it.

use std::path::Path;

use nexus_protocol::limits::MANIFEST_BYTES_MAX;
use nexus_protocol::{CorruptionKind, Lineage, LogId, Position, Timestamp};

use crate::error::LogError;
use crate::fields::{FieldError, FieldReader, FieldWriter};
use crate::frame::{ChainDigest, EntryId};
use crate::io::{self, Disk};

/// Name of the file in a namespace's folder.
pub(crate) const MANIFEST_FILE: &str = "manifest";
/// Version of the data directory that this engine writes.
pub(crate) const FORMAT_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"NXMANIFS";
/// Bytes of a segment's entry.
const ENTRY_BYTES: usize = 192;

/// How the file of a segment is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentLayout {
    /// Frames as they were committed.
    Frames,
    /// Rewritten into compressed blocks.
    Blocks,
}

/// What is known of a segment that is full: it never changes again (I4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Position of its first event, and the one after its last.
    pub(crate) first_position: u64,
    pub(crate) next_position: u64,
    /// End of its last frame, in bytes; of a rewritten one, length of the file.
    pub(crate) end_bytes: u64,
    /// Digest before its first frame and after its last.
    pub(crate) first_digest: ChainDigest,
    pub(crate) last_digest: ChainDigest,
    /// Its last frame's.
    pub(crate) last_entry: EntryId,
    pub(crate) first_recorded_at: Timestamp,
    pub(crate) last_recorded_at: Timestamp,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    pub(crate) number: u64,
    /// 0 as it was committed; one more for each rewriting.
    pub(crate) generation: u32,
    pub(crate) layout: SegmentLayout,
    pub(crate) lineage: Lineage,
    /// Size that its file may grow to, in bytes.
    pub(crate) capacity_bytes: u64,
    pub(crate) salt: u64,
    /// `None` while it is written, or prepared to be.
    pub(crate) sealed: Option<Sealed>,
}

impl SegmentEntry {
    /// Name of its file in the folder `segments`.
    pub(crate) fn file_name(&self) -> String {
        match self.generation {
            0 => format!("{:010}.seg", self.number),
            generation => format!("{:010}.g{generation}.seg", self.number),
        }
    }
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) log_id: LogId,
    pub(crate) namespace: String,
    /// Each lineage with the position it began at, in order.
    pub(crate) lineages: Vec<(Lineage, Position)>,
    /// In order of their numbers: sealed ones, then those that are written or prepared.
    pub(crate) segments: Vec<SegmentEntry>,
    /// Events below this position were removed by retention.
    pub(crate) floor: Position,
    /// Digest after the last frame that was removed.
    pub(crate) floor_digest: ChainDigest,
}

impl Manifest {
    /// The lineage that is written.
    pub(crate) fn lineage(&self) -> Lineage {
        self.lineages.last().map_or(Lineage::FIRST, |(lineage, _)| *lineage)
    }

    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::default();
        let u32_of = |n: usize| u32::try_from(n).expect("counts of a manifest are small");
        out.bytes(&MAGIC).u32(FORMAT_VERSION).u32(0);
        out.bytes(self.log_id.as_bytes());
        out.u64(self.floor.get()).bytes(self.floor_digest.as_bytes());
        out.u32(u32_of(self.lineages.len())).u32(u32_of(self.segments.len()));
        out.u32(u32_of(self.namespace.len())).bytes(self.namespace.as_bytes());
        for (lineage, first) in &self.lineages {
            out.u32(lineage.get()).u64(first.get());
        }
        for segment in &self.segments {
            encode_entry(segment, &mut out);
        }
        let length = out.len() + 4;
        let fixed = 8 + 8 + 16 + 40 + 12 + self.namespace.len() + 4;
        let lists = self.lineages.len() * 12 + self.segments.len() * ENTRY_BYTES;
        assert_eq!(length, fixed + lists, "entries have one size");
        out.sealed(length)
    }

    /// Reads it back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        // The version stands before the checksum is looked at: a later format may be sealed in
        // another way, and must be told from damage.
        if bytes.get(..8) != Some(&MAGIC) {
            return Err(FieldError::Malformed("first bytes").into());
        }
        let version = bytes.get(8..).and_then(|b| b.first_chunk()).map(|b| u32::from_le_bytes(*b));
        let mut fields = match (FieldReader::checked(bytes), version) {
            (Err(_), Some(version)) if version > FORMAT_VERSION && version < 1 << 16 => {
                return Err(ManifestError::Newer(version));
            }
            (checked, _) => checked?,
        };
        fields.slice(8)?;
        let version = fields.u32()?;
        if version != FORMAT_VERSION {
            return Err(ManifestError::Newer(version));
        }
        fields.u32()?;
        let log_id = LogId::from_bytes(fields.array()?);
        let floor = Position::new(fields.u64()?);
        let floor_digest = ChainDigest::from_bytes(fields.array()?);
        let (lineages, segments) = (fields.u32()? as usize, fields.u32()? as usize);
        let name_length = fields.u32()? as usize;
        let namespace = str::from_utf8(fields.slice(name_length)?)
            .map_err(|_| FieldError::Malformed("namespace"))?
            .to_owned();
        if fields.remaining() != lineages.saturating_mul(12) + segments.saturating_mul(ENTRY_BYTES)
        {
            return Err(FieldError::Malformed("length").into());
        }
        let lineages = (0..lineages)
            .map(|_| Ok((Lineage::new(fields.u32()?), Position::new(fields.u64()?))))
            .collect::<Result<Vec<_>, FieldError>>()?;
        let segments = (0..segments)
            .map(|_| decode_entry(&mut fields))
            .collect::<Result<Vec<_>, FieldError>>()?;
        let manifest = Self { log_id, namespace, lineages, segments, floor, floor_digest };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), FieldError> {
        let malformed = |what| Err(FieldError::Malformed(what));
        if self.lineages.is_empty() || !self.lineages.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) {
            return malformed("list of lineages");
        }
        if !self.segments.is_sorted_by(|a, b| a.number < b.number) {
            return malformed("order of segments");
        }
        let sealed = self.segments.iter().take_while(|s| s.sealed.is_some()).count();
        if self.segments.iter().skip(sealed).any(|s| s.sealed.is_some()) {
            return malformed("sealed segment after an open one");
        }
        let joined = self.segments.windows(2).all(|pair| match (pair[0].sealed, pair[1].sealed) {
            (Some(a), Some(b)) => {
                a.next_position == b.first_position && a.last_digest == b.first_digest
            }
            _ => true,
        });
        if joined { Ok(()) } else { malformed("join of two segments") }
    }

    /// Reads the manifest of a namespace's folder.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Self, LogError> {
        let path = dir.join(MANIFEST_FILE);
        let bytes = match io::read_file(disk, &path, MANIFEST_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(LogError::corrupt(&path, 0, CorruptionKind::Missing));
            }
            Err(error) => return Err(error.into()),
        };
        Self::decode(&bytes).map_err(|error| match error {
            ManifestError::Newer(version) => {
                LogError::NewerFormat { version, what: format!("format {version}") }
            }
            ManifestError::Fields(FieldError::Checksum) => {
                LogError::corrupt(&path, 0, CorruptionKind::Checksum("manifest".into()))
            }
            ManifestError::Fields(FieldError::Malformed(what)) => {
                LogError::corrupt(&path, 0, CorruptionKind::Malformed(what.into()))
            }
        })
    }

    /// Replaces the manifest of a namespace's folder, durably.
    pub(crate) fn save(&self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        assert!(!self.segments.is_empty(), "a log has a segment that is written");
        assert_eq!(self.check(), Ok(()), "what is written can be read");
        debug_assert_eq!(Self::decode(&self.encode()).as_ref(), Ok(self), "a manifest reads back");
        io::replace_file(disk, &dir.join(MANIFEST_FILE), &self.encode())?;
        Ok(())
    }
}

/// Why bytes are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManifestError {
    /// A later version wrote it.
    Newer(u32),
    /// It is damaged.
    Fields(FieldError),
}

impl From<FieldError> for ManifestError {
    fn from(error: FieldError) -> Self {
        Self::Fields(error)
    }
}

fn encode_entry(segment: &SegmentEntry, out: &mut FieldWriter) {
    let start = out.len();
    let layout = match segment.layout {
        SegmentLayout::Frames => 0,
        SegmentLayout::Blocks => 1,
    };
    out.u64(segment.number).u32(segment.generation).u16(layout);
    out.u16(u16::from(segment.sealed.is_some())).u32(segment.lineage.get()).u32(0);
    out.u64(segment.capacity_bytes).u64(segment.salt);
    let sealed = segment.sealed.unwrap_or(Sealed {
        first_position: 0,
        next_position: 0,
        end_bytes: 0,
        first_digest: ChainDigest::START,
        last_digest: ChainDigest::START,
        last_entry: EntryId::default(),
        first_recorded_at: Timestamp::default(),
        last_recorded_at: Timestamp::default(),
    });
    out.u64(sealed.first_position).u64(sealed.next_position).u64(sealed.end_bytes);
    out.bytes(sealed.first_digest.as_bytes()).bytes(sealed.last_digest.as_bytes());
    out.u64(sealed.last_entry.term).u64(sealed.last_entry.index);
    out.bytes(&sealed.first_recorded_at.as_micros().to_le_bytes());
    out.bytes(&sealed.last_recorded_at.as_micros().to_le_bytes());
    out.bytes(&[0; 32]);
    assert_eq!(out.len() - start, ENTRY_BYTES, "entries have one size");
}

fn decode_entry(fields: &mut FieldReader<'_>) -> Result<SegmentEntry, FieldError> {
    let (number, generation, layout) = (fields.u64()?, fields.u32()?, fields.u16()?);
    let layout = match layout {
        0 => SegmentLayout::Frames,
        1 => SegmentLayout::Blocks,
        _ => return Err(FieldError::Malformed("layout of a segment")),
    };
    let is_sealed = fields.u16()?;
    let lineage = Lineage::new(fields.u32()?);
    fields.u32()?;
    let (capacity_bytes, salt) = (fields.u64()?, fields.u64()?);
    let sealed = Sealed {
        first_position: fields.u64()?,
        next_position: fields.u64()?,
        end_bytes: fields.u64()?,
        first_digest: ChainDigest::from_bytes(fields.array()?),
        last_digest: ChainDigest::from_bytes(fields.array()?),
        last_entry: EntryId { term: fields.u64()?, index: fields.u64()? },
        first_recorded_at: Timestamp::from_micros(fields.u64()?.cast_signed()),
        last_recorded_at: Timestamp::from_micros(fields.u64()?.cast_signed()),
    };
    fields.slice(32)?;
    let sealed = match is_sealed {
        0 => None,
        1 if sealed.first_position <= sealed.next_position => Some(sealed),
        _ => return Err(FieldError::Malformed("state of a segment")),
    };
    Ok(SegmentEntry { number, generation, layout, lineage, capacity_bytes, salt, sealed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, sealed: Option<Sealed>) -> SegmentEntry {
        SegmentEntry {
            number,
            generation: 0,
            layout: SegmentLayout::Frames,
            lineage: Lineage::FIRST,
            capacity_bytes: 65_536,
            salt: 7 + number,
            sealed,
        }
    }

    fn manifest() -> Manifest {
        let sealed = Sealed {
            first_position: 0,
            next_position: 12,
            end_bytes: 61_440,
            first_digest: ChainDigest::START,
            last_digest: ChainDigest::from_bytes([4; 32]),
            last_entry: EntryId { term: 1, index: 8 },
            first_recorded_at: Timestamp::from_micros(5),
            last_recorded_at: Timestamp::from_micros(9),
        };
        Manifest {
            log_id: LogId::from_bytes([9; 16]),
            namespace: "default".to_owned(),
            lineages: vec![(Lineage::FIRST, Position::ZERO)],
            segments: vec![entry(1, Some(sealed)), entry(2, None), entry(3, None)],
            floor: Position::ZERO,
            floor_digest: ChainDigest::START,
        }
    }

    #[test]
    fn a_manifest_reads_back_and_every_flipped_bit_is_seen() {
        let manifest = manifest();
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = manifest().encode();
        bytes[8] = 2;
        assert_eq!(Manifest::decode(&bytes), Err(ManifestError::Newer(2)));
    }

    #[test]
    fn segments_that_do_not_join_are_refused() {
        let mut broken = manifest();
        let sealed = broken.segments[0].sealed.unwrap();
        broken.segments[1].sealed =
            Some(Sealed { first_position: 13, next_position: 14, ..sealed });
        assert!(Manifest::decode(&broken.encode()).is_err());
        broken.segments.swap(0, 1);
        assert!(Manifest::decode(&broken.encode()).is_err());
    }
}
