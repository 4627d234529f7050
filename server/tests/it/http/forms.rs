//! JSON forms from the other side: what the server reads is written here, and what it writes is read.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use nexus_protocol::json::{ExpectedJson, UpcasterHashJson};
use nexus_protocol::record::{PreparedRecord, Recipe, place};
use nexus_protocol::{
    Append, AppendError, Appended, Clause, Conflict, Corruption, CorruptionKind, EventData,
    EventJson, FoldIdentity, Invalid, Lineage, Position, Query, ReadError, RecordedEvent, Revision,
    Snapshot, StreamAppended, StreamChange, StreamInfo, StreamLimits, StreamName, StreamState,
    TooLarge, Unavailable,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Bytes in one of the two fields that they may travel in; none where there are none.
fn put_bytes(to: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    // A value that would be written otherwise is not the same bytes.
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if value.to_string().as_bytes() == bytes => to.insert(name.to_owned(), value),
        _ => to.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

fn bytes_of(json: Option<&RawValue>, base64: Option<&str>) -> Bytes {
    let json = json.map(|raw| Bytes::copy_from_slice(raw.get().as_bytes()));
    json.or_else(|| Some(STANDARD.decode(base64?).unwrap().into())).unwrap_or_default()
}

/// An event as the server takes it.
pub(crate) fn new_event(event: &EventData) -> Value {
    let mut json = json!({
        "type": event.event_type, "content_type": event.content_type, "tags": event.tags,
        "schema": event.schema,
    });
    let fields = json.as_object_mut().unwrap();
    put_bytes(fields, "data", &event.data);
    put_bytes(fields, "metadata", &event.metadata);
    let options = [
        ("id", event.id.map(|it| json!(it))),
        ("occurred_at", event.occurred_at.map(|it| json!(it))),
        ("not_before", event.not_before.map(|it| json!(it))),
        ("correlation_id", event.correlation_id.map(|it| json!(it))),
        ("causation_id", event.causation_id.map(|it| json!(it))),
        ("traceparent", event.trace.map(|it| json!(it.to_string()))),
    ];
    for (name, value) in options {
        fields.extend(value.map(|value| (name.to_owned(), value)));
    }
    json
}

fn query(query: &Query) -> Value {
    query.items.iter().map(|item| json!({ "types": item.types, "tags": item.tags })).collect()
}

/// An append as the server takes it.
pub(crate) fn append(append: &Append) -> Value {
    let streams = append.streams.iter().map(|to| {
        let events: Vec<_> = to.events.iter().map(new_event).collect();
        json!({ "stream": to.stream, "expected": ExpectedJson(to.expected), "events": events })
    });
    let mut json = json!({ "appends": streams.collect::<Vec<_>>() });
    if let Some(boundary) = &append.boundary {
        json["boundary"] = json!({ "query": query(&boundary.query), "after": boundary.after });
    }
    if let Some(absence) = &append.absence {
        json["absent"] = json!({ "query": query(&absence.query) });
    }
    if let Some(key) = &append.idempotency_key {
        json["idempotency_key"] = json!(key);
    }
    json
}

fn number(json: &Value, name: &str) -> Option<u64> {
    json[name].as_u64()
}

fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_default().to_owned()
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(json: &Value, name: &str) -> T {
    json[name].as_str().unwrap_or_else(|| panic!("{name}: {json}")).parse().unwrap()
}

/// What an append did.
pub(crate) fn appended(json: &Value) -> Appended {
    let first = number(json, "first_position").map(Position::new);
    let streams = json["streams"].as_array().unwrap().iter().map(|to| StreamAppended {
        stream: parsed_name(&text(to, "stream")),
        first_revision: Revision::new(number(to, "first_revision").unwrap()),
        last_revision: Revision::new(number(to, "last_revision").unwrap()),
    });
    Appended {
        positions: first.zip(number(json, "last_position").map(Position::new)),
        streams: streams.collect(),
        replayed: json["replayed"].as_bool().unwrap(),
    }
}

fn parsed_name(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

/// The record that the server has of an event.
pub(crate) fn recorded(line: &[u8]) -> Result<RecordedEvent, serde_json::Error> {
    let json: EventJson<'_> = serde_json::from_slice(line)?;
    let event = json.to_event_data().unwrap();
    let tags: Vec<&str> = json.tags.iter().map(|tag| &**tag).collect();
    let recipe = Recipe { stream: &json.stream, id: json.id.unwrap(), event: &event, tags: &tags };
    let mut bytes = Vec::new();
    let prepared = PreparedRecord::encode(&recipe, &mut bytes);
    let (position, revision) = (Position::new(json.position), Revision::new(json.revision));
    place(&mut bytes, &prepared, position, revision, json.recorded_at.unwrap());
    Ok(RecordedEvent::decode(Bytes::from(bytes)).unwrap())
}

/// A state by its word, and the newest revision, if there is one.
fn state(word: &str, revision: Option<u64>) -> StreamState {
    match (word, revision.map(Revision::new)) {
        ("missing", None) => StreamState::Missing,
        ("active", Some(revision)) => StreamState::At(revision),
        ("deleted", Some(revision)) => StreamState::Deleted(revision),
        ("tombstoned", None) => StreamState::Tombstoned,
        other => panic!("no state: {other:?}"),
    }
}

/// What is known of a stream.
pub(crate) fn stream_info(json: &Value) -> StreamInfo {
    let info = StreamInfo {
        stream: parsed_name(&text(json, "stream")),
        state: state(&text(json, "state"), number(json, "head_revision")),
        floor: Revision::new(number(json, "first_revision").unwrap()),
        last_position: number(json, "last_position").map(Position::new),
        limits: StreamLimits {
            max_count: number(json, "max_count"),
            max_age_s: number(json, "max_age_s"),
            truncate_before: number(json, "truncate_before").map(Revision::new),
        },
        meta_revision: number(json, "meta_revision").map(Revision::new),
    };
    assert_eq!(number(json, "events"), Some(info.event_count()));
    info
}

/// What is known of a stream that the server has none of.
pub(crate) fn missing(stream: &str) -> StreamInfo {
    StreamInfo {
        stream: parsed_name(stream),
        state: StreamState::Missing,
        floor: Revision::ZERO,
        last_position: None,
        limits: StreamLimits::default(),
        meta_revision: None,
    }
}

/// A change of a stream as the server takes it.
pub(crate) fn change(change: &StreamChange) -> Value {
    let mut json = json!({});
    if let Some(max_count) = change.max_count {
        json["max_count"] = json!(max_count);
    }
    if let Some(max_age_s) = change.max_age_s {
        json["max_age_s"] = json!(max_age_s);
    }
    if let Some(revision) = change.truncate_before {
        json["truncate_before"] = json!(revision);
    }
    json
}

/// A snapshot as the server takes it.
pub(crate) fn new_snapshot(snapshot: &Snapshot) -> Value {
    let mut json = json!({
        "fold_version": snapshot.fold.fold_version,
        "upcaster_hash": UpcasterHashJson(snapshot.fold.upcaster_hash),
        "content_type": snapshot.content_type,
    });
    put_bytes(json.as_object_mut().unwrap(), "state", &snapshot.state);
    json
}

/// Which fold made a snapshot.
pub(crate) fn fold(json: &Value) -> FoldIdentity {
    let version = number(json, "fold_version").unwrap();
    FoldIdentity {
        fold_version: u32::try_from(version).unwrap(),
        upcaster_hash: parsed::<UpcasterHashJson>(json, "upcaster_hash").0,
    }
}

/// A snapshot with its state, whose bytes are those that the server sent.
pub(crate) fn snapshot(body: &[u8]) -> Snapshot {
    let json: Value = serde_json::from_slice(body).unwrap();
    let raw: std::collections::HashMap<String, &RawValue> = serde_json::from_slice(body).unwrap();
    Snapshot {
        stream: parsed_name(&text(&json, "stream")),
        revision: Revision::new(number(&json, "revision").unwrap()),
        fold: fold(&json),
        content_type: text(&json, "content_type"),
        state: bytes_of(raw.get("state").copied(), json["state_base64"].as_str()),
    }
}

fn invalid(problem: &Value) -> Invalid {
    match problem["reason"].as_str().unwrap_or_default() {
        "stream_twice" => Invalid::StreamTwice(text(problem, "stream")),
        "id_twice" => Invalid::IdTwice(parsed(problem, "id")),
        "empty_query" => Invalid::EmptyQuery,
        "nothing_to_do" => Invalid::NothingToDo,
        _ => Invalid::Request(text(problem, "detail")),
    }
}

fn conflict(problem: &Value) -> Conflict {
    let size = |name| usize::try_from(number(problem, name).unwrap()).unwrap();
    let clause = match problem["clause"].as_str().unwrap() {
        "boundary" => Clause::Boundary,
        "absent" => Clause::Absent,
        "ids" => Clause::Ids { stored: size("stored"), given: size("given") },
        "stream" => Clause::Stream {
            stream: text(problem, "stream"),
            expected: serde_json::from_value::<ExpectedJson>(problem["expected"].clone())
                .unwrap()
                .0,
            found: state(&text(problem, "current_state"), number(problem, "current_revision")),
        },
        other => panic!("no clause: {other}"),
    };
    let positions = problem["positions"].as_array().unwrap();
    let positions = positions.iter().map(|it| Position::new(it.as_u64().unwrap())).collect();
    Conflict { clause, positions }
}

/// Why an append was not taken.
pub(crate) fn append_error(problem: &Value) -> AppendError {
    let (detail, size) = (text(problem, "detail"), |name| number(problem, name).unwrap_or(0));
    match problem["name"].as_str().unwrap() {
        "invalid" => invalid(problem).into(),
        "too_large" => AppendError::TooLarge(TooLarge {
            what: Cow::Owned(text(problem, "what")),
            size: usize::try_from(size("size")).unwrap(),
            max: usize::try_from(size("max")).unwrap(),
        }),
        "unauthenticated" => AppendError::Unauthenticated { reason: detail },
        "denied" => AppendError::Denied { reason: detail, denial: None },
        "not_found" => AppendError::NotFound { what: detail },
        "stream_deleted" => AppendError::Deleted { stream: text(problem, "stream") },
        "conflict" => AppendError::Conflict(Box::new(conflict(problem))),
        "id_reused" => AppendError::IdReused {
            id: parsed(problem, "id"),
            position: Position::new(size("position")),
        },
        "outcome_unknown" => AppendError::Unknown,
        "overloaded" => {
            AppendError::Overloaded { waited_ms: 0, retry_after: Duration::from_secs(1) }
        }
        "unavailable" => AppendError::Unavailable(Unavailable::NotReachable(detail)),
        other => panic!("no such problem of an append: {other}: {problem}"),
    }
}

/// Why a read does not go on.
pub(crate) fn read_error(problem: &Value) -> ReadError {
    let (detail, at) = (text(problem, "detail"), |name| number(problem, name));
    let lineage = |name| Lineage::new(u32::try_from(at(name).unwrap()).unwrap());
    match problem["name"].as_str().unwrap() {
        "invalid" => invalid(problem).into(),
        "unauthenticated" => ReadError::Unauthenticated { reason: detail },
        "denied" => ReadError::Denied { reason: detail, denial: None },
        "not_found" => ReadError::NotFound { what: detail },
        "stream_deleted" => ReadError::Deleted { stream: text(problem, "stream") },
        "lineage_changed" => {
            ReadError::LineageChanged { given: lineage("given"), current: lineage("current") }
        }
        "corruption" => ReadError::Corruption {
            position: Position::new(at("position").unwrap()),
            resume_at: at("resume_at").map(Position::new),
            // Files of the server are its own affair, and are not named to clients as such.
            corruption: Box::new(Corruption {
                file: String::new(),
                offset_bytes: 0,
                kind: CorruptionKind::Unreadable(detail),
            }),
        },
        "unavailable" => ReadError::Unavailable { reason: detail },
        other => panic!("no such problem of a read: {other}: {problem}"),
    }
}
