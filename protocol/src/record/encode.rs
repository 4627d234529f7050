//! Making records: content first, placement last.

use crc32fast::Hasher;

use super::{
    CAUSATION_ID, CORRELATION_ID, FIXED_BYTES, OCCURRED_AT, PLACEMENT_BYTES, TRACE, TRACE_BYTES,
    VERSION, extensions,
};
use crate::event::EventData;
use crate::ids::{EventId, Position, Revision};
use crate::time::Timestamp;

/// BLAKE3 of a record's content: what the chain of the log is made of.
pub type ContentDigest = [u8; 32];

/// What [`PreparedRecord::encode`] makes a record from: an event that was checked, with its stream,
/// its id, and its tags sorted bytewise without repeats.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// The stream.
    pub stream: &'a str,
    /// The identity.
    pub id: EventId,
    /// The event; its own `tags` are not looked at.
    pub event: &'a EventData,
    /// Its tags.
    pub tags: &'a [&'a str],
}

/// A record but for its placement: where it stands in the buffer it was encoded into.
#[derive(Clone, Copy, Debug)]
pub struct PreparedRecord {
    /// Offset of its first byte in the buffer.
    pub start: usize,
    /// Bytes of the whole record, placement included: a multiple of 8.
    pub length: usize,
    /// CRC-32 of length field and content, to be continued over the placement.
    crc: u32,
    /// BLAKE3 of the content.
    pub digest: ContentDigest,
}

impl PreparedRecord {
    /// Appends the record to `out`, whose length must be a multiple of 8, as a draft.
    ///
    /// # Panics
    /// When the event was not checked and a size does not fit its field.
    pub fn encode(recipe: &Recipe<'_>, out: &mut Vec<u8>) -> Self {
        let (start, crc) = encode_draft(recipe, out);
        let content = &out[start + 8..out.len() - PLACEMENT_BYTES];
        let digest = *blake3::hash(content).as_bytes();
        Self { start, length: out.len() - start, crc, digest }
    }
}

/// Appends a draft to `out`, whose length must be a multiple of 8: a record with zeros for its
/// placement, and the checksum of what stands before it. That is how an event travels to a server.
/// Answers where it starts, and the checksum.
///
/// # Panics
/// When the event was not checked and a size does not fit its field.
pub fn encode_draft(recipe: &Recipe<'_>, out: &mut Vec<u8>) -> (usize, u32) {
    assert!(out.len().is_multiple_of(8), "records start at multiples of 8");
    let start = out.len();
    put_fixed(recipe, out);
    put_optional(recipe.event, out);
    for tag in recipe.tags {
        out.extend_from_slice(&u16_of(tag.len()).to_le_bytes());
    }
    out.extend_from_slice(recipe.stream.as_bytes());
    out.extend_from_slice(recipe.event.event_type.as_bytes());
    out.extend_from_slice(recipe.event.content_type.as_bytes());
    recipe.tags.iter().for_each(|tag| out.extend_from_slice(tag.as_bytes()));
    extensions::put(recipe.event, out);
    out.extend_from_slice(&recipe.event.metadata);
    out.extend_from_slice(&recipe.event.data);
    out.resize(out.len().next_multiple_of(8), 0);
    let content_end = out.len();
    out.resize(content_end + PLACEMENT_BYTES, 0);
    let length = out.len() - start;
    let length_field = u32_of(length).to_le_bytes();
    out[start..start + 4].copy_from_slice(&length_field);
    let mut hasher = Hasher::new();
    hasher.update(&length_field);
    hasher.update(&out[start + 8..content_end]);
    let crc = hasher.finalize();
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    (start, crc)
}

/// Gives a record its place: writes position, revision, and recorded time at the end of `record`
/// (the bytes that [`PreparedRecord::encode`] made), and the checksum at its start.
///
/// # Panics
/// When `record` is not as long as `prepared` says.
pub fn place(
    record: &mut [u8],
    prepared: &PreparedRecord,
    position: Position,
    revision: Revision,
    recorded_at: Timestamp,
) {
    assert_eq!(record.len(), prepared.length, "the record's own bytes");
    let content_end = record.len() - PLACEMENT_BYTES;
    let mut placement = [0; PLACEMENT_BYTES];
    placement[..8].copy_from_slice(&position.get().to_le_bytes());
    placement[8..16].copy_from_slice(&revision.get().to_le_bytes());
    placement[16..].copy_from_slice(&recorded_at.as_micros().to_le_bytes());
    record[content_end..].copy_from_slice(&placement);
    let mut hasher = Hasher::new_with_initial(prepared.crc);
    hasher.update(&placement);
    record[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// A record at its place, alone in its bytes.
///
/// # Panics
/// As [`encode_draft`].
pub(super) fn encode_at(
    recipe: &Recipe<'_>,
    position: Position,
    revision: Revision,
    recorded_at: Timestamp,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (start, crc) = encode_draft(recipe, &mut bytes);
    let prepared =
        PreparedRecord { start, length: bytes.len(), crc, digest: ContentDigest::default() };
    place(&mut bytes, &prepared, position, revision, recorded_at);
    bytes
}

fn put_fixed(recipe: &Recipe<'_>, out: &mut Vec<u8>) {
    let event = recipe.event;
    let mut flags = 0;
    for (present, flag) in [
        (event.occurred_at.is_some(), OCCURRED_AT),
        (event.correlation_id.is_some(), CORRELATION_ID),
        (event.causation_id.is_some(), CAUSATION_ID),
        (event.trace.is_some(), TRACE),
    ] {
        if present {
            flags |= flag;
        }
    }
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(recipe.id.as_bytes());
    out.extend_from_slice(&u16::to_le_bytes(flags));
    out.extend_from_slice(&u16_of(recipe.stream.len()).to_le_bytes());
    out.extend_from_slice(&u16_of(event.event_type.len()).to_le_bytes());
    out.extend_from_slice(&u16_of(event.content_type.len()).to_le_bytes());
    out.push(u8::try_from(recipe.tags.len()).expect("a checked event has at most 32 tags"));
    out.push(VERSION);
    out.extend_from_slice(&u16_of(extensions::bytes_of(event)).to_le_bytes());
    out.extend_from_slice(&u32_of(event.metadata.len()).to_le_bytes());
    out.extend_from_slice(&u32_of(event.data.len()).to_le_bytes());
    out.extend_from_slice(&event.stored_schema().get().to_le_bytes());
    assert_eq!(out.len() - start, FIXED_BYTES);
}

fn put_optional(event: &EventData, out: &mut Vec<u8>) {
    if let Some(at) = event.occurred_at {
        out.extend_from_slice(&at.as_micros().to_le_bytes());
    }
    if let Some(id) = event.correlation_id {
        out.extend_from_slice(id.as_bytes());
    }
    if let Some(id) = event.causation_id {
        out.extend_from_slice(id.as_bytes());
    }
    if let Some(trace) = event.trace {
        let mut bytes = [0; TRACE_BYTES];
        bytes[..16].copy_from_slice(&trace.trace_id);
        bytes[16..24].copy_from_slice(&trace.span_id);
        bytes[24] = trace.flags;
        out.extend_from_slice(&bytes);
    }
}

fn u16_of(length: usize) -> u16 {
    u16::try_from(length).expect("names and extensions of a checked event fit 16 bits")
}

fn u32_of(length: usize) -> u32 {
    u32::try_from(length).expect("data and metadata of a checked event fit 32 bits")
}
