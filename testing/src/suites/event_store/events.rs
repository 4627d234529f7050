//! What is stored of an event comes back as it was given.

use bytes::Bytes;
use nexus_protocol::limits::{METADATA_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX};
use nexus_protocol::{
    Append, CausationId, CorrelationId, EventData, EventStore, Read, RecordedEvent, Revision,
    SchemaId, Timestamp, TraceContext,
};
use uuid::Uuid;

use super::ask::{append, event, fill, new_id, position, read, revision};

fn assert_same(stored: &RecordedEvent, given: &EventData) {
    assert_eq!(Some(stored.id()), given.id);
    assert_eq!(stored.event_type(), given.event_type);
    assert_eq!(stored.content_type(), given.content_type);
    assert_eq!(stored.data(), given.data);
    assert_eq!(stored.metadata(), given.metadata);
    assert_eq!(stored.tags().collect::<Vec<_>>(), given.tags);
    assert_eq!(stored.schema(), given.schema);
    assert_eq!(stored.occurred_at(), given.occurred_at);
    assert_eq!(stored.not_before(), given.not_before);
    assert_eq!(stored.correlation_id(), given.correlation_id);
    assert_eq!(stored.causation_id(), given.causation_id);
    assert_eq!(stored.trace(), given.trace);
    assert_eq!((stored.part(), stored.altered()), (0, false));
}

pub(super) async fn every_field_comes_back<S: EventStore>(store: S) {
    let bare = EventData::new("Happened", "", Bytes::new()).id(new_id());
    let full = EventData {
        id: Some(new_id()),
        event_type: "Über Geschehenes".to_owned(),
        content_type: "application/octet-stream".to_owned(),
        data: Bytes::from_static(&[0, 255, 10, 13]),
        metadata: Bytes::from_static(b"{}"),
        tags: vec!["a:b:c".to_owned(), "größe:ß".to_owned()],
        schema: SchemaId::new(u32::MAX),
        found_schema: SchemaId::NONE,
        occurred_at: Some(Timestamp::MIN),
        not_before: Some(Timestamp::MAX),
        correlation_id: Some(CorrelationId::from_uuid(Uuid::new_v4())),
        causation_id: Some(CausationId::from_uuid(Uuid::nil())),
        trace: Some(TraceContext { trace_id: [7; 16], span_id: [9; 8], flags: 255 }),
    };
    let late = EventData { occurred_at: Some(Timestamp::MAX), ..event(1) };
    let given = [bare, full, late];
    append(&store, Append::to("größe-1").events(given.clone())).await;
    for wanted in [Read::all(), Read::stream("größe-1")] {
        let stored = read(&store, wanted).await;
        assert_eq!(stored.len(), given.len());
        for (stored, given) in stored.iter().zip(&given) {
            assert_same(stored, given);
            assert_eq!((stored.stream(), stored.category()), ("größe-1", "größe"));
        }
    }
}

pub(super) async fn tags_are_sorted_and_unique<S: EventStore>(store: S) {
    let tags = ["b:2", "a:9", "b:10", "a:9", "A:1", "b:2"];
    let tagged = tags.iter().fold(event(0), |event, tag| event.tag(*tag));
    append(&store, Append::to("a-1").event(tagged)).await;
    let stored = &read(&store, Read::all()).await[0];
    assert_eq!(stored.tags().collect::<Vec<_>>(), ["A:1", "a:9", "b:10", "b:2"]);
}

pub(super) async fn an_event_is_found_by_its_id<S: EventStore>(store: S) {
    assert!(store.event_by_id(new_id()).await.unwrap().is_none());
    let wanted: Vec<EventData> = (0..20).map(event).collect();
    for (event, n) in wanted.iter().zip(0_u64..) {
        append(&store, Append::to(format!("a-{}", n % 3)).event(event.clone())).await;
    }
    for (event, n) in wanted.iter().zip(0..) {
        let found = store.event_by_id(event.id.unwrap()).await.unwrap().unwrap();
        assert_same(&found, event);
        assert_eq!(found.position(), position(n));
    }
    assert!(store.event_by_id(new_id()).await.unwrap().is_none());
}

pub(super) async fn of_two_events_with_one_id_the_newest_is_found<S: EventStore>(store: S) {
    let (first, other) = (event(0), event(1));
    let id = first.id.unwrap();
    append(&store, Append::to("a-1").no_stream().event(first.clone())).await;
    append(&store, Append::to("a-1").at(Revision::ZERO).event(other)).await;
    append(&store, Append::to("a-1").at(revision(1)).event(first)).await;
    assert_eq!(store.event_by_id(id).await.unwrap().unwrap().position(), position(2));
}

pub(super) async fn recorded_times_never_fall<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 30).await;
    append(&store, Append::to("a-1").events([event(30), event(31)])).await;
    let all = read(&store, Read::all()).await;
    assert!(all.is_sorted_by_key(RecordedEvent::recorded_at));
    assert_eq!(all[30].recorded_at(), all[31].recorded_at());
}

pub(super) async fn large_events_come_back<S: EventStore>(store: S) {
    let tag = |n: usize| format!("{n:02}:{}", "v".repeat(TAG_BYTES_MAX - 3));
    let data = |length: usize| -> Bytes { (0..=255).cycle().take(length).collect() };
    let mut large = Vec::new();
    for length in [0, 1, 4095, 4096, 70_000, nexus_protocol::limits::DATA_BYTES_DEFAULT] {
        let mut event = event(0).metadata(data(METADATA_BYTES_MAX));
        event.data = data(length);
        event.tags = (0..TAGS_MAX).map(tag).collect();
        large.push(event);
    }
    append(&store, Append::to("a-1").events(large.clone())).await;
    fill(&store, "a-1", 0, 3).await;
    let stored = read(&store, Read::stream("a-1").limit(6)).await;
    stored.iter().zip(&large).for_each(|(stored, given)| assert_same(stored, given));
}
