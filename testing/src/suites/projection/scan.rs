//! The oracles: a scan of the log that knows no definition, and a dry run of one.

use std::collections::BTreeMap;

use bytes::Bytes;
use nexus_delivery::projection::{
    Definition, DefinitionFile, Document, DocumentsDigest, EventsDigest,
};
use nexus_protocol::record::Instead;
use nexus_protocol::{EventStore, Looked, Position, Read, RecordedEvent};
use serde_json::{Map, Value};

use super::ask::Store;
use crate::executor::next;

/// Documents by key.
pub(super) type Documents = BTreeMap<String, Map<String, Value>>;

/// What somebody decided about events: to fold them with other data, or not at all.
pub(super) type Decided = BTreeMap<Position, Option<Bytes>>;

/// What a definition makes of a log.
pub(super) struct DryRun {
    pub(super) documents: Documents,
    pub(super) events: u64,
    pub(super) events_digest: String,
    pub(super) documents_digest: String,
}

/// The events of a read.
pub(super) async fn read(store: &Store, wanted: Read) -> Vec<RecordedEvent> {
    let mut events = EventStore::read(&store.client, wanted);
    let mut found = Vec::new();
    while let Some(event) = next(&mut events).await {
        found.push(event.unwrap());
    }
    found
}

/// Folds all that a definition takes, one event after the other, and keeps nothing.
///
/// # Panics
/// Where an event cannot be folded.
pub(super) async fn dry_run(store: &Store, definition: &Value, decided: &Decided) -> DryRun {
    let definition =
        Definition::new(DefinitionFile::from_json(definition.clone()).unwrap()).unwrap();
    let mut folded: BTreeMap<String, Option<Document>> = BTreeMap::new();
    let (mut events, mut events_digest) = (0, EventsDigest::default());
    for event in read(store, Read::all().filter(definition.filter().clone())).await {
        events += 1;
        events_digest = events_digest.with(&event);
        let event = match decided.get(&event.position()) {
            Some(None) => continue,
            Some(Some(data)) => with_data(&event, data),
            None => event,
        };
        let looked = Looked::new(&event);
        let Some(key) = definition.key(&looked).unwrap() else { continue };
        definition.fold(folded.entry(key).or_default(), &looked).unwrap();
    }
    let mut digest = DocumentsDigest::default();
    let mut documents = Documents::new();
    for (key, document) in folded {
        let Some(document) = document else { continue };
        digest.put(&key, &document.encode());
        documents.insert(key, definition.shown(&document));
    }
    let (events_digest, documents_digest) = (events_digest.to_string(), digest.to_string());
    DryRun { documents, events, events_digest, documents_digest }
}

fn with_data(event: &RecordedEvent, data: &Bytes) -> RecordedEvent {
    let instead = Instead {
        event_type: event.event_type(),
        content_type: event.content_type(),
        data: data.clone(),
        schema: event.schema(),
    };
    event.with(instead).unwrap()
}
