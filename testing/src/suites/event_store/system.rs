//! System streams: what clients may not do, and when their events are seen.

use bytes::Bytes;
use nexus_protocol::{
    Append, AppendError, EventData, EventStore, ExpectedRevision, Filter, FilterItem, FoldIdentity,
    META_DELETED, META_SET, Read, Revision, SNAPSHOT_TAKEN, SnapshotMetadata, StreamChange,
    Subscribe, SubscriptionItem,
};

use super::ask::{append, caught_up, event, fill, item, new_id, positions, read, refused, typed};

pub(super) async fn system_streams_are_refused<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 1).await;
    for stream in ["$", "$meta-a-1", "$schemas", "$group-g", "$anything-1", "$$"] {
        for event_type in ["Happened", META_SET, META_DELETED, SNAPSHOT_TAKEN] {
            let error = refused(&store, Append::to(stream).event(typed(event_type, 1))).await;
            assert!(matches!(error, AppendError::Denied { .. }), "{stream}: {error}");
            let second = Append::to("a-1").event(event(1)).stream(stream);
            let error = refused(&store, second.event(typed(event_type, 1))).await;
            assert!(matches!(error, AppendError::Denied { .. }), "{stream}: {error}");
        }
    }
    assert_eq!(positions(&store, Read::all().system()).await, [0]);
}

pub(super) async fn reserved_types_are_refused<S: EventStore>(store: S) {
    for event_type in [SNAPSHOT_TAKEN, META_SET, "$Anything", "$"] {
        let error = refused(&store, Append::to("a-1").event(typed(event_type, 1))).await;
        assert!(matches!(error, AppendError::Denied { .. }), "{event_type}: {error}");
    }
}

pub(super) async fn system_events_are_left_out_unless_named<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 1).await;
    let change = StreamChange { max_count: Some(Some(5)), ..StreamChange::default() };
    store.set_stream("a-1", change).await.unwrap();
    fill(&store, "a-1", 2, 1).await;
    store.delete_stream("b-1", ExpectedRevision::Any).await.unwrap_err();
    fill(&store, "b-1", 3, 1).await;
    store.delete_stream("b-1", ExpectedRevision::Any).await.unwrap();
    let of = |change: fn(&mut FilterItem)| {
        let mut item = FilterItem::default();
        change(&mut item);
        Read::all().filter(Filter::any([item]))
    };
    let table: [(Read, &[u64]); 9] = [
        (Read::all(), &[0, 2]),
        (Read::all().system(), &[0, 1, 2, 4]),
        (Read::all().system().backwards(), &[4, 2, 1, 0]),
        (Read::stream("$meta-a-1"), &[1]),
        (Read::all().filter(Filter::category("$meta")), &[1, 4]),
        (Read::all().filter(Filter::stream_prefix("$meta-b")), &[4]),
        (of(|item| item.streams = vec!["$meta-a-1".to_owned()]), &[1]),
        (Read::all().filter(Filter::event_type(META_SET)), &[]),
        (Read::all().filter(Filter::event_type(META_SET)).system(), &[1]),
    ];
    for (wanted, found) in table {
        assert_eq!(positions(&store, wanted.clone()).await, found, "{wanted:?}");
    }
    let all = read(&store, Read::all().system()).await;
    assert!(all.iter().all(|event| event.is_system() == event.stream().starts_with('$')));
    let mut subscription = store.subscribe(Subscribe::all());
    let (found, position) = caught_up::<S>(&mut subscription).await;
    assert_eq!((found, position.map(|p| p.get())), (vec![0, 2], Some(4)));
    let mut subscription = store.subscribe(Subscribe::all().system());
    let mut found = Vec::new();
    while found.len() < 4 {
        if let SubscriptionItem::Event(event) = item::<S>(&mut subscription).await {
            found.push(event.position().get());
        }
    }
    assert_eq!(found, [0, 1, 2, 4]);
}

pub(super) async fn reserved_streams_take_their_types<S: EventStore>(store: S) {
    let metadata = SnapshotMetadata { revision: Revision::ZERO, fold: FoldIdentity::default() };
    let taken = EventData::new(SNAPSHOT_TAKEN, "text/plain", Bytes::from_static(b"state"))
        .id(new_id())
        .metadata(serde_json::to_vec(&metadata).unwrap());
    append(&store, Append::to("$snapshot-a-1").event(taken.clone())).await;
    assert_eq!(store.list_snapshots("a-1").await.unwrap().len(), 1);
    let error = refused(&store, Append::to("$snapshot-a-1").event(typed("Happened", 1))).await;
    assert!(matches!(error, AppendError::Denied { .. }), "{error}");
    let error = refused(&store, Append::to("$snapshot-a-1").event(typed(META_SET, 1))).await;
    assert!(matches!(error, AppendError::Denied { .. }), "{error}");
    let unsaid = EventData { id: Some(new_id()), metadata: Bytes::new(), ..taken };
    let error = refused(&store, Append::to("$snapshot-a-1").event(unsaid)).await;
    assert!(matches!(error, AppendError::Invalid(_)), "{error}");
    for stream in ["$saga-1", "$timer-1", "$outbox-1"] {
        let error = refused(&store, Append::to(stream).event(typed("Happened", 1))).await;
        assert!(matches!(error, AppendError::Denied { .. }), "{stream}: {error}");
    }
}

pub(super) async fn one_alternative_opens_the_system_for_no_other<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 1).await;
    let change = StreamChange { max_count: Some(Some(5)), ..StreamChange::default() };
    for stream in ["a-1", "b-1"] {
        store.set_stream(stream, change).await.unwrap();
    }
    fill(&store, "a-1", 3, 1).await;
    let named = FilterItem { streams: vec!["$meta-a-1".to_owned()], ..FilterItem::default() };
    let typed = FilterItem {
        types: vec![META_SET.to_owned(), "Happened".to_owned()],
        ..FilterItem::default()
    };
    let prefix = FilterItem { stream_prefix: vec!["$meta-b".to_owned()], ..FilterItem::default() };
    let table: [(Vec<FilterItem>, &[u64]); 3] = [
        (vec![named.clone(), typed.clone()], &[0, 1, 3]),
        (vec![typed.clone(), named.clone()], &[0, 1, 3]),
        (vec![typed, prefix], &[0, 2, 3]),
    ];
    for (items, wanted) in table {
        let filter = Filter::any(items);
        let read = Read::all().filter(filter.clone());
        assert_eq!(positions(&store, read.clone()).await, wanted, "{filter:?}");
        assert_eq!(positions(&store, read.clone().system()).await, [0, 1, 2, 3], "{filter:?}");
        let mut backwards = positions(&store, read.backwards()).await;
        backwards.reverse();
        assert_eq!(backwards, wanted, "{filter:?}");
        let mut subscription = store.subscribe(Subscribe::all().filter(filter.clone()));
        let mut found = Vec::new();
        loop {
            match item::<S>(&mut subscription).await {
                SubscriptionItem::Event(event) => found.push(event.position().get()),
                SubscriptionItem::CaughtUp { .. } => break,
                _ => {}
            }
        }
        assert_eq!(found, wanted, "{filter:?}");
    }
}
