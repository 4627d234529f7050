//! Definitions of projections, events, and the bytes of documents: none ends the process, what is folded is bounded, and what is
//! kept is read as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nexus_delivery::projection::{Definition, DefinitionFile, Document};
use nexus_protocol::record::{PreparedRecord, Recipe, place};
use nexus_protocol::{
    EventData, EventId, JSON, Looked, Position, RecordedEvent, Revision, Timestamp,
};

/// A definition, the data of an event, and the bytes of a document stand at its sides.
const BETWEEN: u8 = 0;

fuzz_target!(|input: &[u8]| {
    let mut pieces = input.splitn(3, |byte| *byte == BETWEEN);
    let mut next = || pieces.next().unwrap_or_default();
    let (text, data, kept) = (next(), next(), next());
    let Ok(json) = serde_json::from_slice(text) else { return };
    let Ok(definition) = DefinitionFile::from_json(json).and_then(Definition::new) else { return };
    if let Ok(document) = definition.decode(kept) {
        check(&definition, &document);
    }
    let mut document = None;
    for (number, event_type) in (0..).zip(["A", "B", "A"]) {
        let event = recorded(event_type, data, number);
        let looked = Looked::new(&event);
        drop(definition.key(&looked));
        let before = document.clone();
        if definition.fold(&mut document, &looked).is_err() {
            assert_eq!(document, before);
        }
        if let Some(document) = &document {
            check(&definition, document);
        }
    }
});

fn check(definition: &Definition, document: &Document) {
    drop(definition.shown(document));
    let again = definition.decode(&document.encode()).expect("what is kept is read");
    assert_eq!(again.encode(), document.encode());
}

fn recorded(event_type: &str, data: &[u8], number: u64) -> RecordedEvent {
    let event = EventData::new(event_type, JSON, data.to_vec().into());
    let id = EventId::from_bytes([7; 16]);
    let mut bytes = Vec::new();
    let recipe = Recipe { stream: "s-1", id, event: &event, tags: &[] };
    let prepared = PreparedRecord::encode(&recipe, &mut bytes);
    let (position, revision) = (Position::new(number), Revision::new(number));
    place(&mut bytes, &prepared, position, revision, Timestamp::from_micros(1));
    RecordedEvent::decode(bytes.into()).expect("just encoded")
}
