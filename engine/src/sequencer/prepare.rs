//! The appender's share of an append: checked, encoded, hashed, in its own thread. What is left to
//! the sequencer is the decision and 24 bytes a record.

use std::collections::HashSet;

use nexus_protocol::limits::{
    APPEND_BYTES_MAX, APPEND_EVENTS_MAX, APPEND_STREAMS_MAX, IDEMPOTENCY_KEY_BYTES_MAX,
    QUERY_ITEM_TYPES_MAX, QUERY_ITEMS_MAX, TAGS_MAX,
};
use nexus_protocol::record::{PreparedRecord, Recipe};
use nexus_protocol::{
    Append, AppendError, EventData, EventId, ExpectedRevision, Filter, Invalid, Position, Query,
    Revision, SchemaId, StreamName, TooLarge, names,
};

use crate::frame::{BatchParts, EXTENSION_IDEMPOTENCY_KEY, EXTENSION_POLICY_REVISION};
use crate::index::keys::{EventKeys, StreamKey, stream_key};
use crate::index::stream::Effect;

/// One stream of an append.
#[derive(Debug)]
pub(crate) struct PreparedStream {
    pub(crate) name: StreamName,
    pub(crate) key: StreamKey,
    pub(crate) expected: ExpectedRevision,
    /// Its events, as indexes of [`PreparedAppend::events`].
    pub(crate) events: std::ops::Range<usize>,
}

/// One event of an append.
#[derive(Debug)]
pub(crate) struct PreparedEvent {
    pub(crate) id: EventId,
    pub(crate) keys: EventKeys,
    pub(crate) effect: Option<Effect>,
    /// Whether the client said which schema it follows.
    pub(crate) names_schema: bool,
}

/// An append, ready to be decided.
#[derive(Debug)]
pub(crate) struct PreparedAppend {
    pub(crate) streams: Vec<PreparedStream>,
    pub(crate) events: Vec<PreparedEvent>,
    pub(crate) records: Vec<PreparedRecord>,
    /// The records, one after the other.
    pub(crate) buffer: Vec<u8>,
    pub(crate) extensions: Vec<u8>,
    /// Query and `after` of the boundary.
    pub(crate) boundary: Option<(Filter, Option<Position>)>,
    pub(crate) absence: Option<Filter>,
    /// Bytes that its conditions take in memory: queries, and the names of all streams.
    pub(crate) condition_bytes: usize,
    /// Whether it is only answered if it happened before, and never written.
    pub(crate) is_only_repeat: bool,
}

/// What preparing needs besides the append.
pub(crate) struct Context<'a> {
    /// Largest data of one event, in bytes.
    pub(crate) data_bytes_max: usize,
    /// Makes an id for event number `n` of an append that has none.
    pub(crate) make_id: &'a dyn Fn(u64) -> EventId,
    /// See [`PreparedAppend::is_only_repeat`].
    pub(crate) is_only_repeat: bool,
    /// The revision of the policies that admitted it, to be kept with the batch.
    pub(crate) policy_revision: Option<Revision>,
}

impl PreparedAppend {
    /// Checks and encodes an append.
    ///
    /// # Errors
    /// `Invalid` and `TooLarge`: whatever can be said without looking at the log.
    pub(crate) fn new(append: &Append, context: &Context<'_>) -> Result<Self, AppendError> {
        check_shape(append)?;
        let total: usize = append.event_count();
        let mut prepared = Self {
            streams: Vec::with_capacity(append.streams.len()),
            events: Vec::with_capacity(total),
            records: Vec::with_capacity(total),
            buffer: Vec::new(),
            extensions: extensions(append, context.policy_revision)?,
            boundary: None,
            absence: None,
            condition_bytes: condition_bytes(append),
            is_only_repeat: context.is_only_repeat,
        };
        let bytes_max = encoded_bytes(append)?;
        prepared.buffer.reserve(bytes_max);
        for stream in &append.streams {
            let name = StreamName::new(&stream.stream)?;
            let first = prepared.events.len();
            for event in &stream.events {
                prepared.add(&name, event, context)?;
            }
            prepared.streams.push(PreparedStream {
                key: stream_key(name.as_str()),
                name,
                expected: stream.expected,
                events: first..prepared.events.len(),
            });
        }
        assert_eq!(prepared.events.len(), total, "every event was prepared");
        assert_eq!(prepared.records.len(), total, "and encoded");
        assert!(prepared.buffer.len() <= bytes_max, "records are no larger than was said (I8)");
        prepared.check_unique()?;
        if let Some(boundary) = &append.boundary {
            prepared.boundary = Some((query(&boundary.query)?, boundary.after));
        }
        if let Some(absence) = &append.absence {
            prepared.absence = Some(query(&absence.query)?);
        }
        Ok(prepared)
    }

    fn add(
        &mut self,
        stream: &StreamName,
        event: &EventData,
        context: &Context<'_>,
    ) -> Result<(), AppendError> {
        event.check(context.data_bytes_max)?;
        let id = match event.id {
            Some(id) => id,
            None => (context.make_id)(self.events.len() as u64),
        };
        let mut tags: Vec<&str> = event.tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
        assert!(tags.len() <= TAGS_MAX, "the event was checked");
        let recipe = Recipe { stream: stream.as_str(), id, event, tags: &tags };
        self.records.push(PreparedRecord::encode(&recipe, &mut self.buffer));
        let keys = EventKeys::new(stream.as_str(), &event.event_type, tags.iter().copied(), id);
        let names_schema = event.schema != SchemaId::NONE;
        let effect = if names::is_system(stream.as_str()) {
            Effect::of(stream.as_str(), &event.event_type, &event.data, &event.metadata)
        } else {
            None
        };
        self.events.push(PreparedEvent { id, keys, effect, names_schema });
        Ok(())
    }

    fn check_unique(&self) -> Result<(), AppendError> {
        if self.streams.len() > 1 {
            let mut seen = HashSet::with_capacity(self.streams.len());
            if let Some(twice) = self.streams.iter().find(|stream| !seen.insert(stream.key)) {
                return Err(Invalid::StreamTwice(twice.name.as_str().to_owned()).into());
            }
        }
        if self.events.len() > 1 {
            let hasher = foldhash::fast::RandomState::default();
            let mut seen = HashSet::with_capacity_and_hasher(self.events.len(), hasher);
            if let Some(twice) = self.events.iter().find(|event| !seen.insert(event.id)) {
                return Err(Invalid::IdTwice(twice.id).into());
            }
        }
        Ok(())
    }

    /// What the frame needs of it.
    pub(crate) fn parts(&self) -> BatchParts<'_> {
        BatchParts { buffer: &self.buffer, records: &self.records, extensions: &self.extensions }
    }
}

fn check_shape(append: &Append) -> Result<(), AppendError> {
    let sizes = [
        ("streams of one append", append.streams.len(), APPEND_STREAMS_MAX),
        ("events of one append", append.event_count(), APPEND_EVENTS_MAX),
    ];
    for (what, size, max) in sizes {
        if size > max {
            return Err(AppendError::TooLarge(TooLarge { what: what.into(), size, max }));
        }
    }
    let conditional = append.boundary.is_some()
        || append.absence.is_some()
        || append.streams.iter().any(|s| s.expected != ExpectedRevision::Any);
    if append.event_count() == 0 && !conditional {
        return Err(Invalid::NothingToDo.into());
    }
    Ok(())
}

/// Bytes that conditions take in memory while the append waits: an append that only checks has no
/// others, and is bounded all the same (I8).
fn condition_bytes(append: &Append) -> usize {
    let streams = append.streams.iter().map(|it| size_of::<PreparedStream>() + it.stream.len());
    let queries = [
        append.boundary.as_ref().map(|boundary| &boundary.query),
        append.absence.as_ref().map(|absence| &absence.query),
    ];
    let items = queries.into_iter().flatten().flat_map(|query| &query.items);
    let texts = items.flat_map(|item| item.types.iter().chain(&item.tags));
    streams.sum::<usize>() + texts.map(|text| size_of::<String>() + text.len()).sum::<usize>()
}

/// Bytes of all records, before they are encoded.
fn encoded_bytes(append: &Append) -> Result<usize, AppendError> {
    let mut size = 0_usize;
    for stream in &append.streams {
        for event in &stream.events {
            let tags: usize = event.tags.iter().map(|tag| tag.len() + 2).sum();
            let names = stream.stream.len() + event.event_type.len() + event.content_type.len();
            // Fixed fields, optional fields, extensions, and padding at their largest.
            size += 172 + names + tags + event.metadata.len() + event.data.len();
        }
    }
    if size > APPEND_BYTES_MAX {
        let what = "an append, in bytes of its records";
        return Err(AppendError::TooLarge(TooLarge {
            what: what.into(),
            size,
            max: APPEND_BYTES_MAX,
        }));
    }
    Ok(size)
}

fn extensions(append: &Append, policy: Option<Revision>) -> Result<Vec<u8>, AppendError> {
    let mut out = Vec::new();
    if let Some(key) = &append.idempotency_key {
        add_key(&mut out, key)?;
    }
    if let Some(revision) = policy {
        let value = revision.get().to_le_bytes();
        out.extend_from_slice(&EXTENSION_POLICY_REVISION.to_le_bytes());
        out.extend_from_slice(&8_u16.to_le_bytes());
        out.extend_from_slice(&value);
    }
    Ok(out)
}

fn add_key(out: &mut Vec<u8>, key: &str) -> Result<(), AppendError> {
    let length =
        u16::try_from(key.len()).ok().filter(|n| usize::from(*n) <= IDEMPOTENCY_KEY_BYTES_MAX);
    let Some(length) = length else {
        let what = "an idempotency key, in bytes";
        let size = key.len();
        return Err(AppendError::TooLarge(TooLarge {
            what: what.into(),
            size,
            max: IDEMPOTENCY_KEY_BYTES_MAX,
        }));
    };
    out.extend_from_slice(&EXTENSION_IDEMPOTENCY_KEY.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(key.as_bytes());
    Ok(())
}

fn query(query: &Query) -> Result<Filter, AppendError> {
    let empty = |item: &nexus_protocol::QueryItem| item.types.is_empty() && item.tags.is_empty();
    if query.items.is_empty() || query.items.iter().any(empty) {
        return Err(Invalid::EmptyQuery.into());
    }
    if query.items.len() > QUERY_ITEMS_MAX {
        let (what, size) = ("items of one query", query.items.len());
        return Err(AppendError::TooLarge(TooLarge {
            what: what.into(),
            size,
            max: QUERY_ITEMS_MAX,
        }));
    }
    for item in &query.items {
        let sizes = [
            ("types of one query item", item.types.len(), QUERY_ITEM_TYPES_MAX),
            ("tags of one query item", item.tags.len(), TAGS_MAX),
        ];
        for (what, size, max) in sizes {
            if size > max {
                return Err(AppendError::TooLarge(TooLarge { what: what.into(), size, max }));
            }
        }
        item.types.iter().try_for_each(|name| names::check_event_type(name))?;
        if let Some(name) = item.types.iter().find(|name| name.starts_with('$')) {
            // The store's own events stand in no way, so that such a condition would always hold.
            return Err(Invalid::Request(format!(
                "a boundary or absence cannot ask for the event type {name:?}: what begins with $ is \
                 the store's own, and stands in the way of no append; state what its stream must be"
            ))
            .into());
        }
        item.tags.iter().try_for_each(|tag| names::check_tag(tag))?;
    }
    Ok(Filter::from(query))
}
