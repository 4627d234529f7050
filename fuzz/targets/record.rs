//! Records: the view over one, what it is encoded to again, and its JSON form.

#![no_main]

use bytes::Bytes;
use nexus_protocol::record::{PLACEMENT_BYTES, PreparedRecord, Recipe, place, record_length};
use nexus_protocol::{EventData, EventJson, RecordedEvent, SchemaId, names};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&mended(bytes));
});

/// The same with a length and a checksum that hold: otherwise hardly an input gets past them.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut record = bytes.get(..bytes.len() / 8 * 8).unwrap_or_default().to_vec();
    if record.len() < 8 {
        return record;
    }
    let length = u32::try_from(record.len()).expect("inputs are small");
    record[..4].copy_from_slice(&length.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..4]);
    hasher.update(&record[8..]);
    record[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
    record
}

fn check(bytes: &[u8]) {
    let length = record_length(bytes);
    let Ok(event) = RecordedEvent::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(length, Ok(bytes.len()), "a record is as long as it says");
    assert_eq!(event.as_bytes(), bytes);
    assert_eq!(event.is_system(), names::is_system(event.stream()));
    assert!(event.stream().starts_with(event.category()));
    assert_eq!(event.tags().len(), event.tags().count());
    assert!(event.tags().all(|tag| event.has_tag(tag)));
    assert_eq!(event.data_bytes(), event.data());
    assert_eq!(event.content(), &bytes[8..bytes.len() - PLACEMENT_BYTES]);
    assert!(!format!("{event:?}").is_empty());
    check_encoding(bytes, &event);
    check_json(&event);
}

fn event_data(event: &RecordedEvent) -> EventData {
    EventData {
        id: Some(event.id()),
        event_type: event.event_type().to_owned(),
        content_type: event.content_type().to_owned(),
        data: event.data_bytes(),
        metadata: Bytes::copy_from_slice(event.metadata()),
        tags: event.tags().map(str::to_owned).collect(),
        schema: event.schema(),
        found_schema: SchemaId::NONE,
        occurred_at: event.occurred_at(),
        not_before: event.not_before(),
        correlation_id: event.correlation_id(),
        causation_id: event.causation_id(),
        trace: event.trace(),
    }
}

/// What decodes encodes to the same bytes, but for those that have no meaning; what it says in extensions that nobody
/// knows is lost.
fn check_encoding(bytes: &[u8], event: &RecordedEvent) {
    let data = event_data(event);
    let tags: Vec<&str> = event.tags().collect();
    let recipe = Recipe {
        stream: event.stream(),
        id: event.id(),
        event: &data,
        tags: &tags,
    };
    let mut again = Vec::new();
    let prepared = PreparedRecord::encode(&recipe, &mut again);
    let (position, revision) = (event.position(), event.revision());
    place(&mut again, &prepared, position, revision, event.recorded_at());
    let other = RecordedEvent::decode(Bytes::from(again.clone())).expect("it was just encoded");
    assert_eq!(event_data(&other), data);
    if other.extensions() != event.extensions() {
        return;
    }
    assert_eq!(again.len(), bytes.len());
    let padding = bytes.len() - PLACEMENT_BYTES - 8..bytes.len() - PLACEMENT_BYTES;
    let meaningless = event.trace().is_some() || bytes[padding.clone()] != again[padding];
    assert!(again == bytes || meaningless, "what decodes encodes to the same bytes");
}

/// What is exported is imported as the same event.
fn check_json(event: &RecordedEvent) {
    let line = serde_json::to_string(&EventJson::from(event)).expect("an event has a JSON form");
    assert!(!line.contains(['\n', '\r']), "a line is one line");
    let parsed: EventJson = serde_json::from_str(&line).expect("what is exported is read");
    assert_eq!(parsed.stream, event.stream());
    assert_eq!(parsed.to_event_data(), Ok(event_data(event)), "{line}");
}
