//! Repeats are recognised by the ids of their events, as the design states it.

use nexus_protocol::{
    Append, AppendError, Appended, CausationId, Clause, CorrelationId, EventData, EventStore,
    ExpectedRevision, QueryItem, Read, Revision, SchemaId, Timestamp, TraceContext,
};
use uuid::Uuid;

use super::ask::{
    append, conflict, event, fill, new_id, number, numbers, position, read, refused, revision,
};

/// Appends twice, with others in between; the second answer is the first again.
async fn repeated(store: &impl EventStore, wanted: Append) -> Appended {
    let first = append(store, wanted.clone()).await;
    assert!(!first.replayed);
    fill(store, "in-between", 100, 3).await;
    let head = store.head().await.unwrap();
    let again = append(store, wanted).await;
    assert_eq!(again, Appended { replayed: true, ..first.clone() });
    assert_eq!(store.head().await.unwrap(), head, "a replay writes nothing");
    first
}

fn is_reused(error: &AppendError, at: u64) -> bool {
    matches!(error, AppendError::IdReused { position, .. } if position.get() == at)
}

pub(super) async fn any_repeats_are_replayed<S: EventStore>(store: S) {
    repeated(&store, Append::to("a-1").event(event(0))).await;
    repeated(&store, Append::to("a-1").events([event(1), event(2)])).await;
    repeated(&store, Append::to("a-1").exists().event(event(3))).await;
    assert_eq!(numbers(&store, Read::stream("a-1")).await, [0, 1, 2, 3]);
}

pub(super) async fn repeats_with_a_revision_are_replayed_however_old<S: EventStore>(store: S) {
    let first = Append::to("a-1").no_stream().events([event(0), event(1)]);
    repeated(&store, first.clone()).await;
    let second = Append::to("a-1").at(revision(1)).event(event(2));
    repeated(&store, second.clone()).await;
    fill(&store, "a-1", 3, 40).await;
    for again in [first, second] {
        assert!(append(&store, again).await.replayed);
    }
    assert_eq!(numbers(&store, Read::stream("a-1")).await, (0..43).collect::<Vec<_>>());
}

pub(super) async fn a_replay_comes_before_the_conditions<S: EventStore>(store: S) {
    let unique = QueryItem::tags(["name:anna"]);
    let wanted = Append::to("a-1")
        .no_stream()
        .event(event(0).tag("name:anna"))
        .stream("b-1")
        .no_stream()
        .boundary(unique.clone(), None)
        .absent(unique);
    append(&store, wanted.clone()).await;
    // Everything that was asked for has ceased to hold.
    append(&store, Append::to("b-1").event(event(1).tag("name:anna"))).await;
    fill(&store, "a-1", 2, 2).await;
    let again = append(&store, wanted).await;
    assert_eq!((again.replayed, again.first()), (true, Some(position(0))));
}

pub(super) async fn several_streams_are_replayed_together<S: EventStore>(store: S) {
    fill(&store, "c-1", 0, 2).await;
    let all = Append::to("a-1")
        .no_stream()
        .events([event(0), event(1)])
        .stream("b-1")
        .event(event(2))
        .stream("c-1")
        .at(revision(1))
        .event(event(3))
        .stream("d-1")
        .no_stream();
    let first = repeated(&store, all).await;
    assert_eq!(first.streams.len(), 3);
}

pub(super) async fn a_partial_repeat_conflicts<S: EventStore>(store: S) {
    let (old, other) = (event(0), event(1));
    append(&store, Append::to("a-1").no_stream().event(old.clone())).await;
    append(&store, Append::to("b-1").event(other.clone())).await;
    let partial = [
        (Append::to("a-1").events([old.clone(), event(9)]), 2),
        (Append::to("a-1").events([event(9), old.clone()]), 2),
        (Append::to("a-1").no_stream().events([old.clone(), event(9)]), 2),
        (Append::to("a-1").event(old.clone()).stream("c-1").event(event(9)), 2),
        // One stream by its revisions, the other by the window: all must agree.
        (Append::to("a-1").no_stream().event(old.clone()).stream("b-1").event(event(9)), 2),
        (Append::to("c-1").no_stream().event(event(9)).stream("b-1").event(other), 2),
        (Append::to("a-1").events([event(7), old, event(8)]), 3),
    ];
    for (append, given) in partial {
        let found = conflict(&store, append).await;
        assert_eq!(found.clause, Clause::Ids { stored: 1, given });
        assert_eq!(found.positions.len(), 1);
    }
    assert_eq!(numbers(&store, Read::all()).await, [0, 1]);
}

fn full() -> EventData {
    let mut full = event(5).tag("k:1").tag("k:2").metadata(&b"about"[..]);
    full.schema = SchemaId::new(3);
    full.occurred_at(Timestamp::from_micros(-7)).not_before(Timestamp::from_micros(9))
}

pub(super) async fn an_id_with_other_content_is_refused<S: EventStore>(store: S) {
    let full = full();
    append(&store, Append::to("a-1").no_stream().event(full.clone())).await;
    let changes: [fn(&mut EventData); 12] = [
        |event| event.event_type = "Other".to_owned(),
        |event| event.content_type = "text/plain".to_owned(),
        |event| event.tags.clear(),
        |event| event.tags = vec!["k:1".to_owned()],
        |event| event.tags = vec!["k:1".to_owned(), "k:3".to_owned()],
        |event| event.schema = SchemaId::new(4),
        |event| event.occurred_at = None,
        |event| event.occurred_at = Some(Timestamp::from_micros(-6)),
        |event| event.not_before = None,
        |event| event.not_before = Some(Timestamp::from_micros(8)),
        |event| event.metadata = "abouT".into(),
        |event| event.data = "6".into(),
    ];
    for change in changes {
        let mut other = full.clone();
        change(&mut other);
        for append in [Append::to("a-1"), Append::to("a-1").exists(), Append::to("a-1").no_stream()]
        {
            let error = refused(&store, append.event(other.clone())).await;
            assert!(is_reused(&error, 0), "{error}: {other:?}");
        }
    }
    let error = refused(&store, Append::to("b-1").event(full.clone())).await;
    assert!(is_reused(&error, 0), "another stream is other content: {error}");
    append(&store, Append::to("a-1").event(full)).await;
}

pub(super) async fn transport_fields_may_differ<S: EventStore>(store: S) {
    let full = full();
    append(&store, Append::to("a-1").event(full.clone())).await;
    let mut again = full.clone();
    again.correlation_id = Some(CorrelationId::from_uuid(Uuid::new_v4()));
    again.causation_id = Some(CausationId::from_uuid(Uuid::new_v4()));
    again.trace = Some(TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 1 });
    // Tags are a set.
    again.tags = ["k:2", "k:1", "k:2"].map(str::to_owned).to_vec();
    assert!(append(&store, Append::to("a-1").event(again)).await.replayed);
    let stored = &read(&store, Read::all()).await[0];
    assert_eq!((stored.correlation_id(), stored.trace()), (None, None), "the first stands");
}

pub(super) async fn a_revision_rule_looks_at_its_revisions_only<S: EventStore>(store: S) {
    let (old, newer) = (event(0), event(1));
    append(&store, Append::to("a-1").no_stream().event(old.clone())).await;
    append(&store, Append::to("a-1").at(Revision::ZERO).event(newer.clone())).await;
    // The id stands in the stream, but not where this append would have put it.
    conflict(&store, Append::to("a-1").at(Revision::ZERO).event(old.clone())).await;
    conflict(&store, Append::to("a-1").no_stream().event(newer)).await;
    let appended = append(&store, Append::to("a-1").at(revision(1)).event(old.clone())).await;
    assert!(!appended.replayed);
    assert!(append(&store, Append::to("a-1").at(revision(1)).event(old.clone())).await.replayed);
    let elsewhere = append(&store, Append::to("b-1").no_stream().event(old)).await;
    assert!(!elsewhere.replayed);
}

pub(super) async fn no_stream_starts_after_the_last_delete<S: EventStore>(store: S) {
    let first = Append::to("a-1").no_stream().events([event(0), event(1)]);
    append(&store, first.clone()).await;
    store.delete_stream("a-1", ExpectedRevision::Any).await.unwrap();
    // What is hidden is no replay.
    let second = append(&store, first.clone()).await;
    assert!(!second.replayed);
    assert_eq!(second.streams[0].first_revision, revision(2));
    fill(&store, "a-1", 4, 2).await;
    let again = append(&store, first).await;
    assert_eq!(again, Appended { replayed: true, ..second });
    let any = Append::to("b-1").event(event(7));
    append(&store, any.clone()).await;
    store.delete_stream("b-1", ExpectedRevision::Any).await.unwrap();
    assert!(!append(&store, any.clone()).await.replayed, "ids of hidden events are hidden");
    assert!(append(&store, any).await.replayed);
    assert_eq!(numbers(&store, Read::stream("b-1")).await, [7]);
}

pub(super) async fn an_append_without_events_is_no_replay<S: EventStore>(store: S) {
    let check = Append::to("a-1").no_stream();
    for _ in 0..2 {
        assert!(!append(&store, check.clone()).await.replayed);
    }
    fill(&store, "a-1", 0, 1).await;
    conflict(&store, check).await;
}

pub(super) async fn boundary_appends_are_replayed<S: EventStore>(store: S) {
    let red = || QueryItem::tags(["colour:red"]);
    let wanted = Append::to("a-1").event(event(0).tag("colour:red")).boundary(red(), None);
    repeated(&store, wanted.clone()).await;
    // With the same ids and one more it is another append.
    let more = wanted.clone().event(event(1).tag("colour:red"));
    conflict(&store, more).await;
    // A stranger's event in the boundary does not unmake what happened.
    append(&store, Append::to("b-1").event(event(2).tag("colour:red"))).await;
    assert!(append(&store, wanted).await.replayed);
    let absent = Append::to("c-1").event(event(3).tag("colour:blue"));
    repeated(&store, absent.absent(QueryItem::tags(["colour:blue"]))).await;
}

pub(super) async fn keys_make_ids<S: EventStore>(store: S) {
    let without = |n| EventData { id: None, ..event(n) };
    let wanted = |key: &str| {
        let append = Append::to("a-1").events([without(0), without(1)]);
        append.stream("b-1").event(without(2)).idempotency_key(key)
    };
    repeated(&store, wanted("k-1")).await;
    assert!(!append(&store, wanted("k-2")).await.replayed);
    let stored = read(&store, Read::all().filter(nexus_protocol::Filter::category("a"))).await;
    let ids: std::collections::HashSet<_> = stored.iter().map(|event| event.id()).collect();
    assert_eq!((stored.len(), ids.len()), (4, 4));
    assert!(ids.iter().all(|id| id.as_uuid().get_version_num() == 5));
    let error = refused(&store, Append::to("a-1").event(without(9)).idempotency_key("k-1")).await;
    assert!(is_reused(&error, 0), "{error}");
    // Ids that are given stand.
    let given = event(3);
    let id = given.id;
    append(&store, Append::to("d-1").event(given).idempotency_key("k-3")).await;
    assert_eq!(Some(read(&store, Read::stream("d-1")).await[0].id()), id);
}

pub(super) async fn calls_without_ids_are_not_recognised<S: EventStore>(store: S) {
    let wanted = Append::to("a-1").event(EventData { id: None, ..event(0) });
    for _ in 0..2 {
        assert!(!append(&store, wanted.clone()).await.replayed);
    }
    let stored = read(&store, Read::stream("a-1")).await;
    assert_eq!(stored.iter().map(number).collect::<Vec<_>>(), [0, 0]);
    assert_ne!(stored[0].id(), stored[1].id());
    assert!(stored.iter().all(|event| event.id().as_uuid().get_version_num() == 7));
    assert_ne!(stored[0].id(), new_id());
}
