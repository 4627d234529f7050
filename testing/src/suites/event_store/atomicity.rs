//! An append is applied whole or not at all, whatever it has in it.

use nexus_protocol::{
    Append, AppendError, EventStore, Invalid, Read, Retry, Revision, StreamState, Subscribe,
};

use super::ask::{
    append, event, fill, new_id, next_events, numbers, positions, read, refused, revision,
    stream_conflict,
};
use crate::executor::join;

pub(super) async fn several_streams_are_written_together<S: EventStore>(store: S) {
    let appended = append(
        &store,
        Append::to("a-1")
            .no_stream()
            .events([event(0), event(1)])
            .stream("b-1")
            .event(event(2))
            .stream("c-1")
            .no_stream()
            .events([event(3), event(4)]),
    )
    .await;
    assert_eq!(appended.streams.len(), 3);
    let all = read(&store, Read::all()).await;
    let found: Vec<_> =
        all.iter().map(|e| (e.position().get(), e.stream(), e.revision().get())).collect();
    let wanted = [(0, "a-1", 0), (1, "a-1", 1), (2, "b-1", 0), (3, "c-1", 0), (4, "c-1", 1)];
    assert_eq!(found, wanted);
    assert!(all.iter().all(|event| event.recorded_at() == all[0].recorded_at()));
}

pub(super) async fn one_failed_stream_keeps_all_unwritten<S: EventStore>(store: S) {
    fill(&store, "b-1", 0, 1).await;
    let append = Append::to("a-1").event(event(1)).stream("b-1").no_stream().event(event(2));
    let error = refused(&store, append).await;
    assert_eq!(error.retry(), Retry::AfterReload);
    assert_eq!(positions(&store, Read::all()).await, [0]);
    assert_eq!(store.stream_info("a-1").await.unwrap().state, StreamState::Missing);
}

pub(super) async fn checked_streams_are_not_written<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 2).await;
    let write = |wanted: u64| Append::to("b-1").event(event(9)).stream("a-1").at(revision(wanted));
    stream_conflict(&store, write(0), "a-1").await;
    let appended = append(&store, write(1)).await;
    assert_eq!(appended.streams.len(), 1, "only streams that got events are named");
    assert_eq!(numbers(&store, Read::stream("a-1")).await, [0, 1]);
    assert_eq!(numbers(&store, Read::stream("b-1")).await, [9]);
}

pub(super) async fn an_append_without_events_checks<S: EventStore>(store: S) {
    let appended = append(&store, Append::to("a-1").no_stream()).await;
    assert_eq!((appended.positions, appended.replayed), (None, false));
    assert!(appended.streams.is_empty());
    fill(&store, "a-1", 0, 1).await;
    stream_conflict(&store, Append::to("a-1").no_stream(), "a-1").await;
    append(&store, Append::to("a-1").at(Revision::ZERO).stream("b-1").no_stream()).await;
    stream_conflict(&store, Append::to("a-1").exists().stream("b-1").exists(), "b-1").await;
    assert_eq!(positions(&store, Read::all().system()).await, [0]);
}

pub(super) async fn an_append_needs_something_to_do<S: EventStore>(store: S) {
    for nothing in [Append::new(), Append::to("a-1"), Append::to("a-1").stream("b-1")] {
        let error = refused(&store, nothing).await;
        assert!(matches!(&error, AppendError::Invalid(why) if **why == Invalid::NothingToDo));
        assert_eq!(error.retry(), Retry::Never);
    }
}

pub(super) async fn streams_and_ids_are_named_once<S: EventStore>(store: S) {
    let twice = Append::to("a-1").event(event(0)).stream("b-1").stream("a-1").event(event(1));
    match refused(&store, twice).await {
        AppendError::Invalid(why) => assert_eq!(*why, Invalid::StreamTwice("a-1".to_owned())),
        other => panic!("{other}"),
    }
    let id = new_id();
    let twice = Append::to("a-1").event(event(0).id(id)).stream("b-1").event(event(1).id(id));
    match refused(&store, twice).await {
        AppendError::Invalid(why) => assert_eq!(*why, Invalid::IdTwice(id)),
        other => panic!("{other}"),
    }
    assert!(positions(&store, Read::all()).await.is_empty());
}

pub(super) async fn appends_in_flight_see_each_other<S: EventStore>(store: S) {
    let first = Append::to("a-1").no_stream().event(event(0));
    let follow = (1..20).map(|n| Append::to("a-1").at(revision(n - 1)).event(event(n)));
    let stale = Append::to("a-1").at(revision(3)).event(event(99));
    let all: Vec<Append> = std::iter::once(first).chain(follow).chain([stale]).collect();
    let answers = join(all.into_iter().map(|append| Box::pin(store.append(append)))).await;
    let (last, succeeded) = answers.split_last().unwrap();
    assert!(matches!(last, Err(AppendError::Conflict(_))), "{last:?}");
    for (answer, wanted) in succeeded.iter().zip(0..) {
        let answer = answer.as_ref().unwrap();
        assert_eq!(answer.streams[0].first_revision, revision(wanted));
    }
    assert_eq!(numbers(&store, Read::stream("a-1")).await, (0..20).collect::<Vec<_>>());
}

pub(super) async fn a_dropped_append_is_stored_all_the_same<S: EventStore>(store: S) {
    drop(store.append(Append::to("a-1").event(event(0))));
    append(&store, Append::to("b-1").event(event(1))).await;
    let mut subscription = store.subscribe(Subscribe::all());
    let mut found = next_events::<S>(&mut subscription, 2).await;
    found.sort_unstable();
    assert_eq!(found, [0, 1]);
}
