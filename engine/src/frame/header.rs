//! The header of a frame.

use nexus_protocol::Timestamp;
use nexus_protocol::limits::{APPEND_EVENTS_MAX, FRAME_BODY_BYTES_MAX, FRAME_BYTES_TARGET};

use super::{EntryId, LogOffset};
use crate::manifest::FORMAT_VERSION;

/// Bytes of a frame's header: a multiple of 8, so that records stay aligned.
pub(crate) const HEADER_BYTES: usize = 104;
/// First bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"NXFR";
const VERSION: u8 = 1;
const STARTS_SEGMENT: u16 = 1;
/// Most events of a frame: one append at its limit, behind a frame that was all but full.
pub(crate) const COUNT_MAX: usize = APPEND_EVENTS_MAX + FRAME_BYTES_TARGET / 72;

const _: () = assert!(HEADER_BYTES.is_multiple_of(8));
const _: () = assert!(COUNT_MAX < u32::MAX as usize);
const _: () = assert!(HEADER_BYTES <= crate::io::ALIGNMENT, "one block is enough to read it");
const _: () = assert!(FRAME_BODY_BYTES_MAX + HEADER_BYTES < u32::MAX as usize);
const _: () = assert!(FRAME_BYTES_TARGET <= FRAME_BODY_BYTES_MAX);
const _: () = assert!(VERSION as u32 <= FORMAT_VERSION, "a newer frame makes a newer format");

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Batches of events.
    Events,
    /// Nothing: what a new leader commits first.
    Blank,
    /// The nodes of the log, as the replication layer encodes them.
    Membership,
}

/// The part that is the same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicatedHeader {
    pub(crate) kind: FrameKind,
    /// The leader starts a segment with this frame, so that every node does.
    pub(crate) starts_segment: bool,
    /// Bytes of the body.
    pub(crate) raw_length: u32,
    /// CRC-32 of the body.
    pub(crate) body_crc: u32,
    /// Position of the first event, or of the next one where there is none.
    pub(crate) first_position: u64,
    /// Number of events.
    pub(crate) count: u32,
    pub(crate) entry: EntryId,
    /// One value for all its events.
    pub(crate) recorded_at: Timestamp,
}

impl ReplicatedHeader {
    /// The position that follows this frame.
    pub(crate) fn next_position(&self) -> u64 {
        self.first_position + u64::from(self.count)
    }

    /// The fields that the chain covers: all but lengths and checksums.
    pub(crate) fn chained_bytes(&self) -> [u8; 40] {
        let mut out = [0; 40];
        out[0] = VERSION;
        out[1] = self.kind.number();
        out[2..4].copy_from_slice(&self.flags().to_le_bytes());
        out[4..8].copy_from_slice(&self.count.to_le_bytes());
        out[8..16].copy_from_slice(&self.first_position.to_le_bytes());
        out[16..24].copy_from_slice(&self.entry.term.to_le_bytes());
        out[24..32].copy_from_slice(&self.entry.index.to_le_bytes());
        out[32..40].copy_from_slice(&self.recorded_at.as_micros().to_le_bytes());
        out
    }

    fn flags(&self) -> u16 {
        if self.starts_segment { STARTS_SEGMENT } else { 0 }
    }
}

impl FrameKind {
    /// Its number in files.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Events => 1,
            Self::Blank => 2,
            Self::Membership => 3,
        }
    }

    /// The kind of a number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Events),
            2 => Some(Self::Blank),
            3 => Some(Self::Membership),
            _ => None,
        }
    }
}

/// The part that each node stamps by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalHeader {
    /// Salt of the segment: a frame of an earlier use of these blocks is not taken for one of ours.
    pub(crate) salt: u64,
    /// Bytes of header and body.
    pub(crate) stored_length: u32,
    /// Everything before this was durable here when the frame was written.
    pub(crate) durable_end: LogOffset,
    /// First bytes of the chain digest of the frame before.
    pub(crate) previous_digest: u64,
}

/// Both parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) replicated: ReplicatedHeader,
    pub(crate) local: LocalHeader,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// Zeros: nothing was written here.
    #[error("nothing was written here")]
    Blank,
    /// Not a frame, or a damaged one.
    #[error("frame header checksum does not hold")]
    Header,
    /// The header holds, and the body does not.
    #[error("frame body checksum does not hold")]
    Body,
    /// A field contradicts another.
    #[error("frame has an impossible {0}")]
    Malformed(&'static str),
    /// Its checksums hold, and it has what this version does not know.
    #[error("frame has a {0}, which this Nexus does not know")]
    Unknown(Unknown),
}

/// What a frame has that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("frame of version {0}")]
    Version(u8),
    #[error("frame of kind {0}")]
    Kind(u8),
    #[error("frame with flags {0:#06x}")]
    Flags(u16),
    #[error("batch with extension {0:#06x}")]
    BatchExtension(u16),
    #[error("record of version {0}")]
    RecordVersion(u8),
    #[error("record with extension {0:#06x}")]
    RecordExtension(u16),
}

impl Unknown {
    /// The format that it is of, at least.
    pub(crate) fn format_version(self) -> u32 {
        match self {
            Self::Version(version) | Self::RecordVersion(version) => u32::from(version),
            _ => FORMAT_VERSION + 1,
        }
    }
}

impl FrameHeader {
    /// The header's bytes, checksum included.
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let (replicated, local) = (&self.replicated, &self.local);
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[5] = replicated.kind.number();
        out[6..8].copy_from_slice(&replicated.flags().to_le_bytes());
        out[8..12].copy_from_slice(&replicated.raw_length.to_le_bytes());
        out[12..16].copy_from_slice(&replicated.body_crc.to_le_bytes());
        out[16..24].copy_from_slice(&replicated.first_position.to_le_bytes());
        out[24..28].copy_from_slice(&replicated.count.to_le_bytes());
        out[32..40].copy_from_slice(&replicated.entry.term.to_le_bytes());
        out[40..48].copy_from_slice(&replicated.entry.index.to_le_bytes());
        out[48..56].copy_from_slice(&replicated.recorded_at.as_micros().to_le_bytes());
        out[56..64].copy_from_slice(&local.salt.to_le_bytes());
        out[64..68].copy_from_slice(&local.stored_length.to_le_bytes());
        out[72..80].copy_from_slice(&local.durable_end.segment.to_le_bytes());
        out[80..88].copy_from_slice(&local.durable_end.offset_bytes.to_le_bytes());
        out[88..96].copy_from_slice(&local.previous_digest.to_le_bytes());
        let crc = crc32fast::hash(&out[..96]);
        out[96..100].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header and checks it alone.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(FrameError::Header)?;
        if bytes[..4] != MAGIC {
            let blank = bytes.iter().all(|b| *b == 0);
            return Err(if blank { FrameError::Blank } else { FrameError::Header });
        }
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if crc32fast::hash(&bytes[..96]) != u32_at(96) {
            return Err(FrameError::Header);
        }
        if bytes[4] > VERSION {
            return Err(FrameError::Unknown(Unknown::Version(bytes[4])));
        }
        if bytes[4] < VERSION || bytes[100..] != [0; 4] {
            return Err(FrameError::Malformed("version"));
        }
        let flags = u16::from_le_bytes([bytes[6], bytes[7]]);
        if flags & !STARTS_SEGMENT != 0 {
            return Err(FrameError::Unknown(Unknown::Flags(flags)));
        }
        let kind = FrameKind::from_number(bytes[5]);
        let kind = kind.ok_or(FrameError::Unknown(Unknown::Kind(bytes[5])))?;
        let header = Self {
            replicated: ReplicatedHeader {
                kind,
                starts_segment: flags & STARTS_SEGMENT != 0,
                raw_length: u32_at(8),
                body_crc: u32_at(12),
                first_position: u64_at(16),
                count: u32_at(24),
                entry: EntryId { term: u64_at(32), index: u64_at(40) },
                recorded_at: Timestamp::from_micros(u64_at(48).cast_signed()),
            },
            local: LocalHeader {
                salt: u64_at(56),
                stored_length: u32_at(64),
                durable_end: LogOffset { segment: u64_at(72), offset_bytes: u64_at(80) },
                previous_digest: u64_at(88),
            },
        };
        header.check()?;
        Ok(header)
    }

    /// The salt in a header, whatever its version: checked by its caller.
    pub(crate) fn salt_of(bytes: &[u8]) -> Option<u64> {
        let salt = bytes.get(56..)?.first_chunk()?;
        Some(u64::from_le_bytes(*salt))
    }

    fn check(&self) -> Result<(), FrameError> {
        let (replicated, local) = (&self.replicated, &self.local);
        let body = replicated.raw_length as usize;
        if body > FRAME_BODY_BYTES_MAX || local.stored_length as usize != HEADER_BYTES + body {
            return Err(FrameError::Malformed("length"));
        }
        let table = 4 * u64::from(replicated.count);
        if replicated.count as usize > COUNT_MAX || table > u64::from(replicated.raw_length) {
            return Err(FrameError::Malformed("count"));
        }
        if (replicated.kind == FrameKind::Events) != (replicated.count > 0) {
            return Err(FrameError::Malformed("kind"));
        }
        if replicated.kind == FrameKind::Blank && replicated.raw_length > 0 {
            return Err(FrameError::Malformed("length"));
        }
        if replicated.first_position.checked_add(u64::from(replicated.count)).is_none() {
            return Err(FrameError::Malformed("position"));
        }
        Ok(())
    }

    /// Bytes on disk, padding included.
    pub(crate) fn padded_bytes(&self) -> u64 {
        crate::io::align_up(self.local.stored_length as usize) as u64
    }

    /// Checks the body against the header.
    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), FrameError> {
        let fits = body.len() == self.replicated.raw_length as usize;
        let holds = crc32fast::hash(body) == self.replicated.body_crc;
        if fits && (holds || crate::planted::is("body-checksum-off")) {
            Ok(())
        } else {
            Err(FrameError::Body)
        }
    }
}
