//! A frame: one commit of whole batches, one Raft entry, one log index. Its bytes, and nothing else.
//!
//! `docs/format.md` ("Frame") specifies it. A header of 104 bytes (a replicated part, the same on
//! every node, and a node-local part), then the body: batches of records, then the offset of each
//! record. Header and body have checksums of their own, so that a damaged length is never trusted.
//! A frame is valid only as the successor of the one before it: that check is the log's, not ours.

mod body;
mod build;
mod chain;
mod header;

#[cfg(any(test, fuzzing))]
pub(crate) use body::BatchView;
pub(crate) use body::{BodyView, EXTENSION_IDEMPOTENCY_KEY, EXTENSION_POLICY_REVISION, digest};
pub(crate) use build::{BatchParts, FrameBuilder};
pub use chain::ChainDigest;
pub(crate) use chain::ChainInput;
pub(crate) use header::{
    COUNT_MAX, FrameError, FrameHeader, FrameKind, HEADER_BYTES, LocalHeader, ReplicatedHeader,
    Unknown,
};

use serde::{Deserialize, Serialize};

/// Identity of a frame in the replicated log. The engine stores it and never interprets it, but for
/// its order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId {
    /// Raft's term.
    pub term: u64,
    /// Raft's index: one more for each frame.
    pub index: u64,
}

/// A place in the log's files, compared as a pair.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogOffset {
    /// Number of the segment.
    pub segment: u64,
    /// Offset in its file, in bytes.
    pub offset_bytes: u64,
}

/// A frame as the sequencer hands it over: all but the entry id, which the replicator gives, and
/// the node-local part, which the log stamps.
#[derive(Debug)]
pub struct Proposal {
    pub(crate) header: ReplicatedHeader,
    /// Header space, body, and padding, aligned for the disk.
    pub(crate) buffer: crate::io::AlignedBuffer,
    /// What the chain covers of the body.
    pub(crate) chain_input: ChainInput,
}

impl Proposal {
    /// Bytes on disk, padding included.
    pub(crate) fn padded_bytes(&self) -> usize {
        let padded = crate::io::align_up(HEADER_BYTES + self.header.raw_length as usize);
        assert!(padded <= self.buffer.as_slice().len(), "the padding is there to be written");
        padded
    }

    /// A frame without events: Raft's blank entry, or a membership.
    pub(crate) fn without_events(
        kind: FrameKind,
        body: &[u8],
        first_position: u64,
        recorded_at: nexus_protocol::Timestamp,
        starts_segment: bool,
    ) -> Self {
        assert!(kind != FrameKind::Events, "events come from the builder");
        assert!(body.len() <= nexus_protocol::limits::FRAME_BODY_BYTES_MAX, "it can be read again");
        let length = HEADER_BYTES + body.len();
        let mut buffer = crate::io::AlignedBuffer::zeroed(crate::io::align_up(length));
        buffer.as_mut_slice()[HEADER_BYTES..length].copy_from_slice(body);
        let mut chain_input = ChainInput::default();
        chain_input.opaque(body);
        let header = ReplicatedHeader {
            kind,
            starts_segment,
            raw_length: u32::try_from(body.len()).expect("a membership is small"),
            body_crc: crc32fast::hash(body),
            first_position,
            count: 0,
            entry: EntryId::default(),
            recorded_at,
        };
        Self { header, buffer, chain_input }
    }
}

#[cfg(test)]
mod tests;
