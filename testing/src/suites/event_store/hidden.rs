//! Hidden events are hidden everywhere: in reads, filters, look-ups by id, subscriptions, boundaries,
//! and absence, and in reads of the past.

use nexus_protocol::{
    Append, AppendError, AsOf, EventData, EventStore, ExpectedRevision, Filter, FilterItem,
    QueryItem, Read, ReadError, StreamChange, StreamState, Subscribe,
};

use super::ask::{
    append, caught_up, conflict, event, fill, numbers, position, refused, revision, try_read,
};

/// Five events in `a-1` and one in `b-1` in between, each with two tags of its own number.
async fn six(store: &impl EventStore) -> Vec<EventData> {
    let mut given = Vec::new();
    for number in 0..6 {
        let stream = if number == 3 { "b-1" } else { "a-1" };
        let event = event(number).tag(format!("n:{number}")).tag("k:v");
        given.push(event.clone());
        append(store, Append::to(stream).event(event)).await;
    }
    given
}

fn truncated(before: u64) -> StreamChange {
    StreamChange { truncate_before: Some(revision(before)), ..StreamChange::default() }
}

fn counted(max: u64) -> StreamChange {
    StreamChange { max_count: Some(Some(max)), ..StreamChange::default() }
}

/// Everything that can be asked shows `visible`, and nothing else. Up to 5 a number is a position and
/// has tags.
async fn check<S: EventStore>(store: &S, given: &[EventData], visible: &[u64]) {
    let past = AsOf::Position(position(5));
    let of_a = Filter::any([FilterItem { streams: vec!["a-1".into()], ..FilterItem::default() }]);
    let visible_of_a: Vec<u64> = visible.iter().copied().filter(|n| *n != 3).collect();
    let visible_then: Vec<u64> = visible.iter().copied().filter(|n| *n <= 5).collect();
    let reads = [
        (Read::all(), visible),
        (Read::all().as_of(past), &visible_then),
        (Read::all().filter(Filter::tag("k:v")), &visible_then),
        (Read::all().filter(Filter::event_type("Happened")), visible),
        (Read::all().filter(Filter::category("a")), &visible_of_a),
        (Read::all().filter(Filter::stream_prefix("a-")), &visible_of_a),
        (Read::all().filter(of_a.clone()), &visible_of_a),
    ];
    for (wanted, visible) in reads {
        assert_eq!(numbers(store, wanted.clone()).await, visible, "{wanted:?}");
        let mut backwards = numbers(store, wanted.clone().backwards()).await;
        backwards.reverse();
        assert_eq!(backwards, visible, "{wanted:?}");
    }
    for wanted in [Read::stream("a-1"), Read::stream("a-1").as_of(AsOf::Revision(revision(99)))] {
        match try_read(store, wanted.clone()).await {
            Ok(_) => assert_eq!(numbers(store, wanted).await, visible_of_a),
            Err(error) => {
                let tombstoned = StreamState::Tombstoned;
                assert!(matches!(error, ReadError::Deleted { .. }), "{error}");
                assert_eq!(store.stream_info("a-1").await.unwrap().state, tombstoned);
            }
        }
    }
    for (event, number) in given.iter().zip(0_u64..) {
        let is_visible = visible.contains(&number);
        let found = store.event_by_id(event.id.unwrap()).await.unwrap();
        assert_eq!(found.is_some(), is_visible, "event {number} by its id");
        let query = || QueryItem::tags([format!("n:{number}")]);
        let checks = [Append::new().absent(query()), Append::new().boundary(query(), None)];
        for check in checks {
            if is_visible {
                assert_eq!(conflict(store, check).await.positions, [position(number)]);
            } else {
                append(store, check).await;
            }
        }
    }
    let subscriptions = [
        (Subscribe::all(), visible),
        (Subscribe::all().filter(Filter::tag("k:v")), &visible_then),
        (Subscribe::all().filter(of_a), &visible_of_a),
    ];
    for (subscribe, visible) in subscriptions {
        let mut subscription = store.subscribe(subscribe);
        assert_eq!(caught_up::<S>(&mut subscription).await.0, visible);
    }
}

pub(super) async fn a_soft_delete_hides_everywhere<S: EventStore>(store: S) {
    let given = six(&store).await;
    check(&store, &given, &[0, 1, 2, 3, 4, 5]).await;
    store.delete_stream("a-1", ExpectedRevision::Any).await.unwrap();
    assert_eq!(store.stream_info("a-1").await.unwrap().state, StreamState::Deleted(revision(4)));
    check(&store, &given, &[3]).await;
    assert!(numbers(&store, Read::stream("a-1")).await.is_empty());
    assert!(numbers(&store, Read::stream("a-1").from_revision(revision(2))).await.is_empty());
}

pub(super) async fn truncation_hides_everywhere<S: EventStore>(store: S) {
    let given = six(&store).await;
    store.set_stream("a-1", truncated(2)).await.unwrap();
    check(&store, &given, &[2, 3, 4, 5]).await;
    let early = Read::stream("a-1").from_revision(revision(0));
    assert_eq!(numbers(&store, early.clone().limit(1)).await, [2]);
    assert!(numbers(&store, early.backwards()).await.is_empty());
    // Revisions stay.
    append(&store, Append::to("a-1").at(revision(4)).event(event(6))).await;
}

pub(super) async fn max_count_hides_everywhere<S: EventStore>(store: S) {
    let given = six(&store).await;
    store.set_stream("a-1", counted(5)).await.unwrap();
    check(&store, &given, &[0, 1, 2, 3, 4, 5]).await;
    store.set_stream("a-1", counted(2)).await.unwrap();
    check(&store, &given, &[3, 4, 5]).await;
    append(&store, Append::to("a-1").event(event(6))).await;
    assert_eq!(numbers(&store, Read::stream("a-1")).await, [5, 6]);
    assert_eq!(store.stream_info("a-1").await.unwrap().floor, revision(4));
    append(&store, Append::to("a-1").events([event(7), event(8), event(9)])).await;
    assert_eq!(numbers(&store, Read::all()).await, [3, 8, 9]);
}

pub(super) async fn a_tombstone_hides_everywhere<S: EventStore>(store: S) {
    let given = six(&store).await;
    store.tombstone_stream("a-1", ExpectedRevision::Exact(revision(4))).await.unwrap();
    check(&store, &given, &[3]).await;
    for wanted in [Read::stream("a-1"), Read::stream("a-1").backwards()] {
        let error = try_read(&store, wanted).await.unwrap_err();
        assert!(matches!(error, ReadError::Deleted { stream } if stream == "a-1"));
    }
    // A stream that never was can be given up as well.
    store.tombstone_stream("c-1", ExpectedRevision::NoStream).await.unwrap();
    let error = refused(&store, Append::to("c-1").event(event(0))).await;
    assert!(matches!(error, AppendError::Deleted { .. }));
}

pub(super) async fn a_stream_revives_with_further_revisions<S: EventStore>(store: S) {
    let given = six(&store).await;
    store.delete_stream("a-1", ExpectedRevision::Any).await.unwrap();
    let appended = append(&store, Append::to("a-1").no_stream().event(event(6))).await;
    assert_eq!(appended.streams[0].first_revision, revision(5));
    check(&store, &given, &[3, 6]).await;
    let info = store.stream_info("a-1").await.unwrap();
    assert_eq!((info.state, info.floor), (StreamState::At(revision(5)), revision(5)));
    store.delete_stream("a-1", ExpectedRevision::Exact(revision(5))).await.unwrap();
    check(&store, &given, &[3]).await;
    append(&store, Append::to("a-1").at(revision(5)).event(event(7))).await;
    check(&store, &given, &[3, 7]).await;
}

pub(super) async fn a_laxer_setting_brings_nothing_back<S: EventStore>(store: S) {
    let given = six(&store).await;
    store.set_stream("a-1", counted(2)).await.unwrap();
    let lifted = StreamChange { max_count: Some(None), ..StreamChange::default() };
    store.set_stream("a-1", lifted).await.unwrap();
    check(&store, &given, &[3, 4, 5]).await;
    fill(&store, "a-1", 6, 2).await;
    check(&store, &given, &[3, 4, 5, 6, 7]).await;
    store.set_stream("a-1", counted(3)).await.unwrap();
    store.set_stream("a-1", counted(100)).await.unwrap();
    store.set_stream("a-1", truncated(1)).await.unwrap();
    check(&store, &given, &[3, 5, 6, 7]).await;
}

pub(super) async fn truncation_stays_within_what_is_there<S: EventStore>(store: S) {
    let given = six(&store).await;
    // It would hide events that are yet to come.
    for (stream, before) in [("a-1", 6), ("a-1", u64::MAX), ("missing", 1)] {
        let error = store.set_stream(stream, truncated(before)).await.unwrap_err();
        assert!(matches!(error, AppendError::Invalid(_)), "{stream}, {before}: {error}");
    }
    store.set_stream("missing", truncated(0)).await.unwrap();
    store.set_stream("a-1", truncated(5)).await.unwrap();
    check(&store, &given, &[3]).await;
    let info = store.stream_info("a-1").await.unwrap();
    assert_eq!((info.state, info.event_count()), (StreamState::At(revision(4)), 0));
    assert_eq!(info.last_position, None, "its newest event is hidden");
    append(&store, Append::to("a-1").at(revision(4)).events([event(6), event(7), event(8)])).await;
    check(&store, &given, &[3, 6, 7, 8]).await;
}

pub(super) async fn deletes_are_conditional<S: EventStore>(store: S) {
    six(&store).await;
    let stale = [
        ExpectedRevision::NoStream,
        ExpectedRevision::Exact(revision(3)),
        ExpectedRevision::Exact(revision(5)),
    ];
    for expected in stale {
        let error = store.delete_stream("a-1", expected).await.unwrap_err();
        assert!(matches!(error, AppendError::Conflict(_)), "{error}");
        let error = store.tombstone_stream("a-1", expected).await.unwrap_err();
        assert!(matches!(error, AppendError::Conflict(_)), "{error}");
    }
    assert_eq!(numbers(&store, Read::stream("a-1")).await.len(), 5);
    store.delete_stream("a-1", ExpectedRevision::Exact(revision(4))).await.unwrap();
    for stream in ["a-1", "missing"] {
        let error = store.delete_stream(stream, ExpectedRevision::Any).await.unwrap_err();
        assert!(matches!(error, AppendError::Conflict(_)), "{error}");
    }
    for refused in ["$meta-a-1", "$snapshot-a-1"] {
        let error = store.delete_stream(refused, ExpectedRevision::Any).await.unwrap_err();
        assert!(matches!(error, AppendError::Denied { .. }), "{error}");
        let error = store.tombstone_stream(refused, ExpectedRevision::Any).await.unwrap_err();
        assert!(matches!(error, AppendError::Denied { .. }), "{error}");
    }
    store.tombstone_stream("a-1", ExpectedRevision::Any).await.unwrap();
    let error = store.delete_stream("a-1", ExpectedRevision::Any).await.unwrap_err();
    assert!(matches!(error, AppendError::Deleted { .. }), "{error}");
}
