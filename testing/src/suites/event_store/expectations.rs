//! What a writer expects of a stream, against what the stream is.

use nexus_protocol::{
    Append, AppendError, Clause, EventStore, ExpectedRevision, Read, Revision, StreamState,
};

use super::ask::{
    append, conflict, event, fill, numbers, position, refused, revision, stream_conflict,
};

async fn soft_deleted(store: &impl EventStore, stream: &str, count: u64) {
    fill(store, stream, 0, count).await;
    store.delete_stream(stream, ExpectedRevision::Any).await.unwrap();
}

pub(super) async fn any_holds_always<S: EventStore>(store: S) {
    append(&store, Append::to("s-1").event(event(0))).await;
    append(&store, Append::to("s-1").event(event(1))).await;
    store.delete_stream("s-1", ExpectedRevision::Any).await.unwrap();
    let appended = append(&store, Append::to("s-1").event(event(2))).await;
    assert_eq!(appended.streams[0].first_revision, revision(2));
}

pub(super) async fn no_stream_holds_without_visible_events<S: EventStore>(store: S) {
    append(&store, Append::to("s-1").no_stream().event(event(0))).await;
    let found = conflict(&store, Append::to("s-1").no_stream().event(event(1))).await;
    let wanted = Clause::Stream {
        stream: "s-1".to_owned(),
        expected: ExpectedRevision::NoStream,
        found: StreamState::At(Revision::ZERO),
    };
    assert_eq!(found.clause, wanted);
    assert_eq!(found.positions, [position(0)]);
    soft_deleted(&store, "s-2", 3).await;
    let appended = append(&store, Append::to("s-2").no_stream().event(event(3))).await;
    assert_eq!(appended.streams[0].first_revision, revision(3));
}

pub(super) async fn exists_needs_a_stream_that_is_not_deleted<S: EventStore>(store: S) {
    stream_conflict(&store, Append::to("s-1").exists().event(event(0)), "s-1").await;
    fill(&store, "s-1", 0, 1).await;
    append(&store, Append::to("s-1").exists().event(event(1))).await;
    soft_deleted(&store, "s-2", 1).await;
    stream_conflict(&store, Append::to("s-2").exists().event(event(1)), "s-2").await;
}

pub(super) async fn exact_needs_the_newest_revision<S: EventStore>(store: S) {
    stream_conflict(&store, Append::to("s-1").at(Revision::ZERO).event(event(0)), "s-1").await;
    fill(&store, "s-1", 0, 3).await;
    for wrong in [0, 1, 3, 4, u64::MAX - 1, u64::MAX] {
        let wrong = revision(wrong);
        let found = conflict(&store, Append::to("s-1").at(wrong).event(event(9))).await;
        let wanted = Clause::Stream {
            stream: "s-1".to_owned(),
            expected: ExpectedRevision::Exact(wrong),
            found: StreamState::At(revision(2)),
        };
        assert_eq!((found.clause, found.positions), (wanted, vec![position(2)]));
    }
    append(&store, Append::to("s-1").at(revision(2)).event(event(3))).await;
    assert_eq!(numbers(&store, Read::stream("s-1")).await, [0, 1, 2, 3]);
}

pub(super) async fn exact_holds_on_a_soft_deleted_stream<S: EventStore>(store: S) {
    soft_deleted(&store, "s-1", 3).await;
    stream_conflict(&store, Append::to("s-1").at(revision(3)).event(event(3)), "s-1").await;
    let appended = append(&store, Append::to("s-1").at(revision(2)).event(event(3))).await;
    assert_eq!(appended.streams[0].first_revision, revision(3));
    assert_eq!(numbers(&store, Read::stream("s-1")).await, [3]);
}

pub(super) async fn a_tombstoned_stream_takes_nothing<S: EventStore>(store: S) {
    let first = Append::to("s-1").no_stream().event(event(0));
    append(&store, first.clone()).await;
    store.tombstone_stream("s-1", ExpectedRevision::Any).await.unwrap();
    let refusals = [
        first,
        Append::to("s-1").event(event(1)),
        Append::to("s-1").no_stream().event(event(1)),
        Append::to("s-1").exists().event(event(1)),
        Append::to("s-1").at(Revision::ZERO).event(event(1)),
        Append::to("s-2").event(event(1)).stream("s-1").at(Revision::ZERO),
        Append::to("s-1").exists(),
    ];
    for wanted in refusals {
        match refused(&store, wanted).await {
            AppendError::Deleted { stream } => assert_eq!(stream, "s-1"),
            other => panic!("{other}"),
        }
    }
    assert!(numbers(&store, Read::all()).await.is_empty());
}

pub(super) async fn answers_say_where_the_events_went<S: EventStore>(store: S) {
    fill(&store, "s-1", 0, 2).await;
    let appended = append(
        &store,
        Append::to("s-2")
            .events([event(0), event(1)])
            .stream("s-3")
            .no_stream()
            .stream("s-1")
            .at(revision(1))
            .event(event(2)),
    )
    .await;
    assert!(!appended.replayed);
    assert_eq!(appended.positions, Some((position(2), position(4))));
    let streams: Vec<_> = appended
        .streams
        .iter()
        .map(|s| (s.stream.as_str(), s.first_revision.get(), s.last_revision.get()))
        .collect();
    assert_eq!(streams, [("s-2", 0, 1), ("s-1", 2, 2)]);
}
