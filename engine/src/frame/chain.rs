//! The chain: one digest that stands for a frame and everything before it.
//!
//! `BLAKE3(previous ‖ replicated header without lengths and checksums ‖ for each batch its count and
//! extensions, and for each of its records the BLAKE3 of its content and its revision)`. It covers
//! what was said, not how it is stored: rewriting a segment keeps it, and keeping 40 bytes for a
//! removed record keeps it too.

use std::fmt;

use nexus_protocol::Revision;
use nexus_protocol::record::ContentDigest;

use super::header::ReplicatedHeader;

/// The digest of a frame and all before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ChainDigest([u8; 32]);

impl ChainDigest {
    /// What the first frame of a log follows.
    pub const START: Self = Self([0; 32]);

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The part of it that the next frame's header repeats.
    pub(crate) fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The digest of the frame that follows this one.
    pub(crate) fn extend(&self, header: &ReplicatedHeader, input: &ChainInput) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&header.chained_bytes());
        hasher.update(&input.bytes);
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for ChainDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ChainDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the chain covers of a frame's body, gathered while it is built or read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChainInput {
    bytes: Vec<u8>,
}

impl ChainInput {
    /// With room for so many records.
    pub(crate) fn with_capacity(records: usize) -> Self {
        Self { bytes: Vec::with_capacity(48 * records) }
    }

    /// A batch begins.
    pub(crate) fn batch(&mut self, count: u32, extensions: &[u8]) {
        self.bytes.extend_from_slice(&count.to_le_bytes());
        let length = u32::try_from(extensions.len()).expect("extensions are bounded");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(extensions);
    }

    /// A record of it.
    pub(crate) fn record(&mut self, digest: &ContentDigest, revision: Revision) {
        self.bytes.extend_from_slice(&record_link(digest, revision));
    }

    /// The body of a frame without events.
    pub(crate) fn opaque(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(body);
    }
}

/// What the chain covers of one record.
pub(crate) fn record_link(digest: &ContentDigest, revision: Revision) -> [u8; 40] {
    let mut out = [0; 40];
    out[..32].copy_from_slice(digest);
    out[32..].copy_from_slice(&revision.get().to_le_bytes());
    out
}
