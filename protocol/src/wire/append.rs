//! Appends on the wire: what must hold in the head, the events as records in the payload.
//!
//! An event travels as the record that will be stored, but for its last 24 bytes, which the log
//! decides: they are zero, and the checksum covers what stands before them. So what a client handed
//! in is what reaches the disk, checked at each step, and is encoded once.

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use super::packet::{PacketKind, encode_packet};
use super::request::{ExpectedHead, QueryHead};
use super::{AppendFailure, PROTOCOL_NOT_BEFORE, PROTOCOL_OLDEST, WireError, packet};
use crate::append::{Absence, Append, Appended, Boundary, StreamAppend, StreamAppended};
use crate::error::{AppendError, TooLarge};
use crate::event::EventData;
use crate::ids::{EventId, Position, Revision, SchemaId};
use crate::limits::{
    APPEND_BYTES_MAX, APPEND_EVENTS_MAX, APPEND_STREAMS_MAX, DATA_BYTES_MAX,
    IDEMPOTENCY_KEY_BYTES_MAX, PACKET_HEAD_BYTES_MAX, QUERY_ITEM_TYPES_MAX, QUERY_ITEMS_MAX,
    TAGS_MAX,
};
use crate::names;
use crate::record::{Recipe, RecordedEvent, encode_draft, record_length};

/// All of an append but its events.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct AppendHead {
    /// Name, what it must be, and how many of the records are its.
    streams: Vec<(String, ExpectedHead, u32)>,
    boundary: Option<(QueryHead, Option<u64>)>,
    absence: Option<QueryHead>,
    idempotency_key: Option<String>,
}

/// The answer to an append: [`Appended`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct AppendedHead {
    positions: Option<(u64, u64)>,
    streams: Vec<(String, u64, u64)>,
    replayed: bool,
}

impl From<&Appended> for AppendedHead {
    fn from(appended: &Appended) -> Self {
        let stream = |s: &StreamAppended| {
            (s.stream.as_str().to_owned(), s.first_revision.get(), s.last_revision.get())
        };
        Self {
            positions: appended.positions.map(|(first, last)| (first.get(), last.get())),
            streams: appended.streams.iter().map(stream).collect(),
            replayed: appended.replayed,
        }
    }
}

impl TryFrom<AppendedHead> for Appended {
    type Error = WireError;

    fn try_from(head: AppendedHead) -> Result<Self, WireError> {
        let stream = |(name, first, last): (String, u64, u64)| {
            Ok(StreamAppended {
                stream: names::StreamName::new(&name).map_err(WireError::malformed)?,
                first_revision: Revision::new(first),
                last_revision: Revision::new(last),
            })
        };
        Ok(Self {
            positions: head.positions.map(|(f, l)| (Position::new(f), Position::new(l))),
            streams: head.streams.into_iter().map(stream).collect::<Result<_, WireError>>()?,
            replayed: head.replayed,
        })
    }
}

/// How one append of a session ended. A packet of the kind `Appended` has a list of them, in the
/// order of the appends.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum AppendAnswer {
    /// It happened.
    Appended(AppendedHead),
    /// It did not, or nobody knows.
    Failed(AppendFailure),
}

impl From<&Result<Appended, AppendError>> for AppendAnswer {
    fn from(answer: &Result<Appended, AppendError>) -> Self {
        match answer {
            Ok(appended) => Self::Appended(appended.into()),
            Err(error) => Self::Failed(error.into()),
        }
    }
}

impl TryFrom<AppendAnswer> for Result<Appended, AppendError> {
    type Error = WireError;

    fn try_from(answer: AppendAnswer) -> Result<Self, WireError> {
        match answer {
            AppendAnswer::Appended(head) => Ok(Ok(head.try_into()?)),
            AppendAnswer::Failed(failure) => Ok(Err(failure.into())),
        }
    }
}

/// The first version of the protocol whose servers keep all that an append says. Earlier ones would take it, and drop
/// when its events may be delivered.
pub fn append_since(append: &Append) -> u16 {
    let mut events = append.streams.iter().flat_map(|stream| &stream.events);
    match events.any(|event| event.not_before.is_some()) {
        true => PROTOCOL_NOT_BEFORE,
        false => PROTOCOL_OLDEST,
    }
}

/// Encodes an append as a packet. Events without an id get none: their place in the record is zero,
/// and the server makes one.
///
/// # Errors
/// As [`AppendError`] says: whatever can be said without a server. Sizes that a server is configured
/// with are left to it.
pub fn encode_append(append: &Append) -> Result<Bytes, AppendError> {
    let (head, records) = parts_of(append)?;
    Ok(encode_packet(PacketKind::Append, &head, &records))
}

/// The head of an append, and its records.
pub(super) fn parts_of(append: &Append) -> Result<(AppendHead, Vec<u8>), AppendError> {
    check_sizes(append)?;
    let mut records = Vec::new();
    for stream in &append.streams {
        names::check_stream_name(&stream.stream)?;
        for event in &stream.events {
            event.check(DATA_BYTES_MAX)?;
            let mut tags: Vec<&str> = event.tags.iter().map(String::as_str).collect();
            tags.sort_unstable();
            tags.dedup();
            let id = event.id.unwrap_or(EventId::from_bytes([0; 16]));
            let recipe = Recipe { stream: &stream.stream, id, event, tags: &tags };
            encode_draft(&recipe, &mut records);
            if records.len() > APPEND_BYTES_MAX {
                let what = "an append, in bytes of its records".into();
                let size = records.len();
                return Err(AppendError::TooLarge(TooLarge { what, size, max: APPEND_BYTES_MAX }));
            }
        }
    }
    Ok((head_of(append), records))
}

fn head_of(append: &Append) -> AppendHead {
    let events = |stream: &StreamAppend| {
        u32::try_from(stream.events.len()).expect("the number of events was checked")
    };
    AppendHead {
        streams: append
            .streams
            .iter()
            .map(|stream| (stream.stream.clone(), stream.expected.into(), events(stream)))
            .collect(),
        boundary: append
            .boundary
            .as_ref()
            .map(|boundary| (QueryHead::from(&boundary.query), boundary.after.map(Position::get))),
        absence: append.absence.as_ref().map(|absence| QueryHead::from(&absence.query)),
        idempotency_key: append.idempotency_key.clone(),
    }
}

/// What would make a packet that no server takes.
fn check_sizes(append: &Append) -> Result<(), AppendError> {
    let queries = [
        append.boundary.as_ref().map(|boundary| &boundary.query),
        append.absence.as_ref().map(|absence| &absence.query),
    ];
    let items = || queries.iter().flatten().flat_map(|query| &query.items);
    let longest = |list: fn(&crate::append::QueryItem) -> usize| items().map(list).max();
    let key = append.idempotency_key.as_ref().map_or(0, String::len);
    let counts = [
        ("streams of one append", append.streams.len(), APPEND_STREAMS_MAX),
        ("events of one append", append.event_count(), APPEND_EVENTS_MAX),
        ("an idempotency key, in bytes", key, IDEMPOTENCY_KEY_BYTES_MAX),
        (
            "items of a query",
            queries.iter().flatten().map(|query| query.items.len()).max().unwrap_or(0),
            QUERY_ITEMS_MAX,
        ),
        ("types of a query item", longest(|i| i.types.len()).unwrap_or(0), QUERY_ITEM_TYPES_MAX),
        ("tags of a query item", longest(|i| i.tags.len()).unwrap_or(0), TAGS_MAX),
    ];
    for (what, size, max) in counts {
        if size > max {
            return Err(AppendError::TooLarge(TooLarge { what: what.into(), size, max }));
        }
    }
    for item in items() {
        item.types.iter().try_for_each(|name| names::check_event_type(name))?;
        item.tags.iter().try_for_each(|tag| names::check_tag(tag))?;
    }
    Ok(())
}

/// Largest head that [`encode_append`] makes: names of all streams, and both queries, at their
/// limits, each string with what the archive adds to it.
pub(super) const LARGEST_HEAD: usize = APPEND_STREAMS_MAX
    * (names_bytes(crate::limits::SYSTEM_STREAM_NAME_BYTES_MAX) + 32)
    + 2 * QUERY_ITEMS_MAX
        * (QUERY_ITEM_TYPES_MAX * names_bytes(crate::limits::EVENT_TYPE_BYTES_MAX)
            + TAGS_MAX * names_bytes(crate::limits::TAG_BYTES_MAX)
            + 32)
    + 4096;

const fn names_bytes(longest: usize) -> usize {
    longest + 16
}

const _: () = assert!(LARGEST_HEAD <= PACKET_HEAD_BYTES_MAX, "every legal append fits a packet");

/// Reads an append from a packet's head and payload. Names and sizes are checked when it is
/// appended, like those of any other.
///
/// # Errors
/// When it is not one: a record whose checksum does not hold, or of another stream than its place
/// says, a number of events that does not add up.
pub fn decode_append(head: &[u8], payload: &Bytes) -> Result<Append, WireError> {
    append_of(packet::decode_head(head)?, payload)
}

/// The same, of a head that was read.
pub(super) fn append_of(head: AppendHead, payload: &Bytes) -> Result<Append, WireError> {
    if head.streams.len() > APPEND_STREAMS_MAX {
        return Err(WireError::malformed(format!("{} streams", head.streams.len())));
    }
    let mut at = 0;
    let mut streams = Vec::with_capacity(head.streams.len());
    for (stream, expected, count) in head.streams {
        if count as usize > APPEND_EVENTS_MAX {
            return Err(WireError::malformed(format!("{count} events of one stream")));
        }
        let mut events = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let rest = payload.get(at..).unwrap_or_default();
            let length = record_length(rest).map_err(WireError::malformed)?;
            if rest.len() < length {
                return Err(WireError::malformed("the payload ends within a record"));
            }
            let record = RecordedEvent::decode_draft(payload.slice(at..at + length))
                .map_err(WireError::malformed)?;
            if record.stream() != stream {
                return Err(WireError::malformed("a record of another stream"));
            }
            events.push(event_of(&record));
            at += length;
        }
        streams.push(StreamAppend { stream, expected: expected.into(), events });
    }
    if at != payload.len() {
        return Err(WireError::malformed("bytes behind the last record"));
    }
    Ok(Append {
        streams,
        boundary: head.boundary.map(|(query, after)| Boundary {
            query: query.into(),
            after: after.map(Position::new),
        }),
        absence: head.absence.map(|query| Absence { query: query.into() }),
        idempotency_key: head.idempotency_key,
        policy_revision: None,
    })
}

/// The event that a record is of; its data and metadata share the packet's memory.
fn event_of(record: &RecordedEvent) -> EventData {
    EventData {
        id: Some(record.id()).filter(|id| *id.as_bytes() != [0; 16]),
        event_type: record.event_type().to_owned(),
        content_type: record.content_type().to_owned(),
        data: record.data_bytes(),
        metadata: record.metadata_bytes(),
        tags: record.tags().map(str::to_owned).collect(),
        schema: record.schema(),
        found_schema: SchemaId::NONE,
        occurred_at: record.occurred_at(),
        not_before: record.not_before(),
        correlation_id: record.correlation_id(),
        causation_id: record.causation_id(),
        trace: record.trace(),
    }
}
