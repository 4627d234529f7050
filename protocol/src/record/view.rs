//! Reading records: one checked view over shared bytes, nothing copied.

use bytes::Bytes;
use crc32fast::Hasher;
use serde::de::DeserializeOwned;

use super::{
    CAUSATION_ID, CORRELATION_ID, FIXED_BYTES, FLAGS_KNOWN, OCCURRED_AT, PLACEMENT_BYTES,
    RECORD_BYTES_MIN, TRACE, TRACE_BYTES, VERSION, extensions as typed,
};
use crate::ids::{CausationId, CorrelationId, EventId, Position, Revision, SchemaId};
use crate::limits::RECORD_BYTES_MAX;
use crate::names;
use crate::time::Timestamp;
use crate::trace::TraceContext;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The checksum does not hold: the bytes were damaged.
    #[error("record checksum does not hold")]
    Checksum,
    /// A field contradicts another.
    #[error("record has an impossible {0}")]
    Malformed(&'static str),
    /// Written by a later version.
    #[error("record has version {0}: a newer Nexus wrote it")]
    Version(u8),
    /// Carries an extension that may not be passed over.
    #[error("record has extension {0:#06x}, which this Nexus does not know and may not ignore")]
    UnknownExtension(u16),
}

/// The length that the first bytes of a record state, if it can be one.
///
/// # Errors
/// Too short, too long, or not a multiple of 8.
pub fn record_length(bytes: &[u8]) -> Result<usize, RecordError> {
    let field = bytes.first_chunk::<4>().ok_or(RecordError::Malformed("length"))?;
    let length = u32::from_le_bytes(*field) as usize;
    if (RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&length) && length.is_multiple_of(8) {
        Ok(length)
    } else {
        Err(RecordError::Malformed("length"))
    }
}

/// An event as the log holds it. A view over the record's shared bytes: cloning it copies nothing
/// of the payload, and holding it holds the block of memory it was read into.
#[derive(Clone)]
pub struct RecordedEvent {
    bytes: Bytes,
    position: Position,
    revision: Revision,
    part: u32,
    flags: u16,
    altered: bool,
    has_more: bool,
    tag_count: u8,
    tag_sizes: u32,
    stream: u32,
    event_type: u32,
    content_type: u32,
    tags: u32,
    extensions: u32,
    metadata: u32,
    data: u32,
    end: u32,
}

impl RecordedEvent {
    /// Checks the record that `bytes` holds, exactly, and opens it.
    ///
    /// # Errors
    /// Says why the bytes are not a record; nothing of them was used (I5).
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let length = record_length(&bytes)?;
        if length != bytes.len() {
            return Err(RecordError::Malformed("length"));
        }
        let stored = u32_at(&bytes, 4)?;
        let mut hasher = Hasher::new();
        hasher.update(bytes.get(..4).unwrap_or_default());
        hasher.update(bytes.get(8..).unwrap_or_default());
        if hasher.finalize() != stored {
            return Err(RecordError::Checksum);
        }
        Self::open(bytes)
    }

    /// Opens the record that `bytes` holds, exactly, where another checksum covered those bytes and
    /// was found to hold just before: the record's own is not computed again.
    ///
    /// # Errors
    /// Says why the bytes are not a record.
    pub fn decode_covered(bytes: Bytes) -> Result<Self, RecordError> {
        if record_length(&bytes)? != bytes.len() {
            return Err(RecordError::Malformed("length"));
        }
        Self::open(bytes)
    }

    /// Checks a draft: a record without its place, on its way to a log. Its checksum covers what
    /// stands before the placement, which is zero.
    ///
    /// # Errors
    /// Says why the bytes are not a draft.
    pub fn decode_draft(bytes: Bytes) -> Result<Self, RecordError> {
        let length = record_length(&bytes)?;
        let placement = length - PLACEMENT_BYTES;
        if length != bytes.len() {
            return Err(RecordError::Malformed("length"));
        }
        if bytes.get(placement..).is_none_or(|b| b.iter().any(|byte| *byte != 0)) {
            return Err(RecordError::Malformed("placement of a draft"));
        }
        let mut hasher = Hasher::new();
        hasher.update(bytes.get(..4).unwrap_or_default());
        hasher.update(bytes.get(8..placement).unwrap_or_default());
        if hasher.finalize() != u32_at(&bytes, 4)? {
            return Err(RecordError::Checksum);
        }
        Self::open(bytes)
    }

    /// The same event as one that a server changed.
    #[must_use]
    pub fn as_altered(mut self) -> Self {
        self.altered = true;
        self
    }

    /// The same event as a part of the stored one, behind which others come or not.
    #[must_use]
    pub fn as_part(mut self, part: u32, has_more: bool) -> Self {
        self.part = part;
        self.has_more = has_more;
        self
    }

    /// Finds the fields of a record whose checksum held.
    fn open(bytes: Bytes) -> Result<Self, RecordError> {
        let version = *bytes.get(33).ok_or(RecordError::Malformed("length"))?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let flags = u16_at(&bytes, 24)?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(RecordError::Malformed("flags"));
        }
        let tag_count = *bytes.get(32).ok_or(RecordError::Malformed("length"))?;
        let tag_sizes = FIXED_BYTES + optional_bytes(flags);
        let stream = tag_sizes + 2 * usize::from(tag_count);
        let event_type = stream + usize::from(u16_at(&bytes, 26)?);
        let content_type = event_type + usize::from(u16_at(&bytes, 28)?);
        let tags = content_type + usize::from(u16_at(&bytes, 30)?);
        let mut extensions = tags;
        for index in 0..usize::from(tag_count) {
            extensions += usize::from(u16_at(&bytes, tag_sizes + 2 * index)?);
        }
        let metadata = extensions + usize::from(u16_at(&bytes, 34)?);
        let data = metadata + u32_at(&bytes, 36)? as usize;
        let end = data + u32_at(&bytes, 40)? as usize;
        if end.next_multiple_of(8) + PLACEMENT_BYTES != bytes.len() {
            return Err(RecordError::Malformed("sum of its sizes"));
        }
        check_text(&bytes, stream, extensions)?;
        if extensions < metadata {
            typed::check_of_record(bytes.get(extensions..metadata).unwrap_or_default())?;
        }
        let placement = bytes.len() - PLACEMENT_BYTES;
        let offset = |at: usize| u32::try_from(at).map_err(|_| RecordError::Malformed("length"));
        Ok(Self {
            position: Position::new(u64_at(&bytes, placement)?),
            revision: Revision::new(u64_at(&bytes, placement + 8)?),
            part: 0,
            flags,
            altered: false,
            has_more: false,
            tag_count,
            tag_sizes: offset(tag_sizes)?,
            stream: offset(stream)?,
            event_type: offset(event_type)?,
            content_type: offset(content_type)?,
            tags: offset(tags)?,
            extensions: offset(extensions)?,
            metadata: offset(metadata)?,
            data: offset(data)?,
            end: offset(end)?,
            bytes,
        })
    }

    /// Place in the log.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Place in the stream.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Which part of a stored event this is, where a transform made several of one; 0 otherwise.
    pub fn part(&self) -> u32 {
        self.part
    }

    /// Whether further parts of the same stored event come behind this one.
    pub fn has_more_parts(&self) -> bool {
        self.has_more
    }

    /// Whether the server changed what it hands out (masked, transformed): then the content is not
    /// what the log's chain covers.
    pub fn altered(&self) -> bool {
        self.altered
    }

    /// When the leader took it in: never decreasing along the log.
    pub fn recorded_at(&self) -> Timestamp {
        let at = self.bytes.len() - 8;
        Timestamp::from_micros(self.fixed::<8>(at).map_or(0, i64::from_le_bytes))
    }

    /// Its identity.
    pub fn id(&self) -> EventId {
        EventId::from_bytes(self.fixed::<16>(8).unwrap_or_default())
    }

    /// The stream it is in.
    pub fn stream(&self) -> &str {
        self.text(self.stream, self.event_type)
    }

    /// The category of its stream.
    pub fn category(&self) -> &str {
        names::category(self.stream())
    }

    /// Whether its stream is the system's.
    pub fn is_system(&self) -> bool {
        self.slice(self.stream, self.event_type).first() == Some(&b'$')
    }

    /// What happened.
    pub fn event_type(&self) -> &str {
        self.text(self.event_type, self.content_type)
    }

    /// Media type of the data; empty where it is unknown.
    pub fn content_type(&self) -> &str {
        self.text(self.content_type, self.tags)
    }

    /// Its tags, sorted bytewise.
    pub fn tags(&self) -> Tags<'_> {
        Tags { event: self, index: 0, at: self.tags }
    }

    /// Whether it carries this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags().any(|own| own == tag)
    }

    /// The schema its data follows.
    pub fn schema(&self) -> SchemaId {
        SchemaId::new(self.fixed::<4>(44).map_or(0, u32::from_le_bytes))
    }

    /// When it happened, by the client's clock.
    pub fn occurred_at(&self) -> Option<Timestamp> {
        self.optional::<8>(OCCURRED_AT).map(|b| Timestamp::from_micros(i64::from_le_bytes(b)))
    }

    /// Consumer groups do not deliver it before this time; `None`: at once.
    pub fn not_before(&self) -> Option<Timestamp> {
        typed::not_before(self.extensions())
    }

    /// What it belongs to.
    pub fn correlation_id(&self) -> Option<CorrelationId> {
        self.optional(CORRELATION_ID).map(CorrelationId::from_bytes)
    }

    /// What caused it.
    pub fn causation_id(&self) -> Option<CausationId> {
        self.optional(CAUSATION_ID).map(CausationId::from_bytes)
    }

    /// The trace it is part of.
    pub fn trace(&self) -> Option<TraceContext> {
        let bytes: [u8; TRACE_BYTES] = self.optional(TRACE)?;
        Some(TraceContext {
            trace_id: *bytes.first_chunk()?,
            span_id: *bytes.get(16..)?.first_chunk()?,
            flags: *bytes.get(24)?,
        })
    }

    /// What belongs to the transport of the facts.
    pub fn metadata(&self) -> &[u8] {
        self.slice(self.metadata, self.data)
    }

    /// The facts.
    pub fn data(&self) -> &[u8] {
        self.slice(self.data, self.end)
    }

    /// What belongs to the transport of the facts, as shared bytes, without a copy.
    pub fn metadata_bytes(&self) -> Bytes {
        self.bytes.slice(self.metadata as usize..self.data as usize)
    }

    /// The facts as shared bytes, without a copy.
    pub fn data_bytes(&self) -> Bytes {
        self.bytes.slice(self.data as usize..self.end as usize)
    }

    /// The facts, read as JSON.
    ///
    /// # Errors
    /// When they are not JSON of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.data())
    }

    /// The canonical bytes: what a checksum holds for, and what travels.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Encoded extensions; empty for none.
    pub fn extensions(&self) -> &[u8] {
        self.slice(self.extensions, self.metadata)
    }

    /// The part that the chain of the log covers.
    pub fn content(&self) -> &[u8] {
        self.bytes.get(8..self.bytes.len() - PLACEMENT_BYTES).unwrap_or_default()
    }

    fn slice(&self, from: u32, to: u32) -> &[u8] {
        self.bytes.get(from as usize..to as usize).unwrap_or_default()
    }

    fn text(&self, from: u32, to: u32) -> &str {
        str::from_utf8(self.slice(from, to)).expect("names are checked when a record is decoded")
    }

    fn fixed<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    fn optional<const N: usize>(&self, flag: u16) -> Option<[u8; N]> {
        if self.flags & flag == 0 {
            return None;
        }
        self.fixed(FIXED_BYTES + optional_bytes(self.flags & (flag - 1)))
    }
}

impl std::fmt::Debug for RecordedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedEvent")
            .field("position", &self.position.get())
            .field("stream", &self.stream())
            .field("revision", &self.revision.get())
            .field("event_type", &self.event_type())
            .field("id", &self.id())
            .field("data_bytes", &self.data().len())
            .finish_non_exhaustive()
    }
}

impl PartialEq for RecordedEvent {
    fn eq(&self, other: &Self) -> bool {
        let parts = |it: &Self| (it.part, it.has_more, it.altered);
        self.bytes == other.bytes && parts(self) == parts(other)
    }
}

/// The tags of an event, in bytewise order.
#[derive(Clone, Debug)]
pub struct Tags<'a> {
    event: &'a RecordedEvent,
    index: u8,
    at: u32,
}

impl<'a> Iterator for Tags<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.index == self.event.tag_count {
            return None;
        }
        let field = self.event.tag_sizes as usize + 2 * usize::from(self.index);
        let size = u16::from_le_bytes(self.event.fixed(field)?);
        let from = self.at;
        self.at += u32::from(size);
        self.index += 1;
        Some(self.event.text(from, self.at))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.event.tag_count - self.index);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Tags<'_> {}

/// Bytes of the optional fields that `flags` says are there.
const fn optional_bytes(flags: u16) -> usize {
    let mut bytes = 0;
    if flags & OCCURRED_AT != 0 {
        bytes += 8;
    }
    if flags & CORRELATION_ID != 0 {
        bytes += 16;
    }
    if flags & CAUSATION_ID != 0 {
        bytes += 16;
    }
    if flags & TRACE != 0 {
        bytes += TRACE_BYTES;
    }
    bytes
}

/// All names of a record in one pass: valid UTF-8 as a whole, so that ASCII, the usual case, costs
/// one scan; then each boundary between two names must not split a character, which `str` checks
/// where a name is not ASCII.
fn check_text(bytes: &[u8], from: usize, to: usize) -> Result<(), RecordError> {
    let names = bytes.get(from..to).ok_or(RecordError::Malformed("sum of its sizes"))?;
    if names.is_ascii() {
        return Ok(());
    }
    let text = str::from_utf8(names).map_err(|_| RecordError::Malformed("name"))?;
    let tag_count = usize::from(bytes.get(32).copied().unwrap_or_default());
    let sizes_at = from - 2 * tag_count;
    let mut sizes = vec![u16_at(bytes, 26)?, u16_at(bytes, 28)?, u16_at(bytes, 30)?];
    for index in 0..tag_count {
        sizes.push(u16_at(bytes, sizes_at + 2 * index)?);
    }
    let mut at = 0;
    for size in sizes {
        at += usize::from(size);
        if !text.is_char_boundary(at) {
            return Err(RecordError::Malformed("name"));
        }
    }
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, RecordError> {
    let field = bytes.get(at..).and_then(|b| b.first_chunk());
    field.map(|b| u16::from_le_bytes(*b)).ok_or(RecordError::Malformed("length"))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, RecordError> {
    let field = bytes.get(at..).and_then(|b| b.first_chunk());
    field.map(|b| u32::from_le_bytes(*b)).ok_or(RecordError::Malformed("length"))
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, RecordError> {
    let field = bytes.get(at..).and_then(|b| b.first_chunk());
    field.map(|b| u64::from_le_bytes(*b)).ok_or(RecordError::Malformed("length"))
}
