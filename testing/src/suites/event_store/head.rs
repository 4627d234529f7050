//! The end of the log, what is known of a stream, and its settings.

use nexus_protocol::{
    Append, AppendError, EventStore, Lineage, Revision, StreamChange, StreamLimits, StreamState,
};

use super::ask::{append, event, fill, position, refused, revision};

pub(super) async fn an_empty_log_has_no_head<S: EventStore>(store: S) {
    let head = store.head().await.unwrap();
    assert_eq!(head.position, None);
    assert_eq!(head.lineage, Lineage::FIRST);
}

pub(super) async fn the_head_is_the_last_position<S: EventStore>(store: S) {
    for number in 0..5 {
        let appended = append(&store, Append::to(format!("s-{number}")).event(event(0))).await;
        assert_eq!(appended.last(), Some(position(number)));
        assert_eq!(store.head().await.unwrap().position, Some(position(number)));
    }
}

pub(super) async fn stream_info_says_what_is_known<S: EventStore>(store: S) {
    let missing = store.stream_info("s-1").await.unwrap();
    assert_eq!(missing.stream.as_str(), "s-1");
    assert_eq!((missing.state, missing.last_position), (StreamState::Missing, None));
    assert_eq!((missing.floor, missing.meta_revision), (Revision::ZERO, None));
    assert_eq!((missing.limits, missing.event_count()), (StreamLimits::default(), 0));
    fill(&store, "other", 0, 1).await;
    fill(&store, "s-1", 0, 3).await;
    let info = store.stream_info("s-1").await.unwrap();
    assert_eq!(info.state, StreamState::At(revision(2)));
    assert_eq!((info.last_position, info.event_count()), (Some(position(3)), 3));
    let change = StreamChange { truncate_before: Some(revision(2)), ..StreamChange::default() };
    store.set_stream("s-1", change).await.unwrap();
    let info = store.stream_info("s-1").await.unwrap();
    assert_eq!((info.floor, info.event_count()), (revision(2), 1));
    assert_eq!(info.meta_revision, Some(Revision::ZERO));
    store.delete_stream("s-1", nexus_protocol::ExpectedRevision::Any).await.unwrap();
    let info = store.stream_info("s-1").await.unwrap();
    assert_eq!(info.state, StreamState::Deleted(revision(2)));
    assert_eq!((info.last_position, info.event_count()), (None, 0));
    assert_eq!(info.meta_revision, Some(revision(1)));
    store.tombstone_stream("s-1", nexus_protocol::ExpectedRevision::Any).await.unwrap();
    let info = store.stream_info("s-1").await.unwrap();
    assert_eq!((info.state, info.last_position), (StreamState::Tombstoned, None));
    for name in ["", "-x", "a\nb"] {
        assert!(store.stream_info(name).await.is_err(), "{name:?} is no name");
    }
}

pub(super) async fn settings_change_one_by_one<S: EventStore>(store: S) {
    fill(&store, "s-1", 0, 4).await;
    let nothing = StreamChange::default();
    let info = store
        .set_stream("s-1", StreamChange { max_count: Some(Some(9)), ..nothing })
        .await
        .unwrap();
    assert_eq!(info.limits.max_count, Some(9));
    let info = store
        .set_stream("s-1", StreamChange { max_age_s: Some(Some(3600)), ..nothing })
        .await
        .unwrap();
    let wanted = StreamLimits { max_count: Some(9), max_age_s: Some(3600), truncate_before: None };
    assert_eq!(info.limits, wanted);
    let change =
        StreamChange { max_count: Some(None), truncate_before: Some(revision(2)), ..nothing };
    let info = store.set_stream("s-1", change).await.unwrap();
    let wanted =
        StreamLimits { max_count: None, max_age_s: Some(3600), truncate_before: Some(revision(2)) };
    assert_eq!((info.limits, info.floor), (wanted, revision(2)));
    let change = StreamChange { truncate_before: Some(revision(1)), ..nothing };
    let info = store.set_stream("s-1", change).await.unwrap();
    assert_eq!(info.limits.truncate_before, Some(revision(2)), "it can only rise");
    assert_eq!(store.stream_info("s-1").await.unwrap(), info);
    // A stream may have settings before it has events.
    let change = StreamChange { max_count: Some(Some(1)), ..nothing };
    let info = store.set_stream("s-2", change).await.unwrap();
    assert_eq!((info.state, info.limits.max_count), (StreamState::Missing, Some(1)));
    append(&store, Append::to("s-2").no_stream().event(event(0))).await;
}

pub(super) async fn settings_that_cannot_be<S: EventStore>(store: S) {
    fill(&store, "s-1", 0, 1).await;
    let zero = StreamChange { max_count: Some(Some(0)), ..StreamChange::default() };
    let error = store.set_stream("s-1", zero).await.unwrap_err();
    assert!(matches!(error, AppendError::Invalid(_)), "{error}");
    let error = store.set_stream("$meta-s-1", StreamChange::default()).await.unwrap_err();
    assert!(matches!(error, AppendError::Denied { .. }), "{error}");
    store.tombstone_stream("s-1", nexus_protocol::ExpectedRevision::Any).await.unwrap();
    let error = store.set_stream("s-1", StreamChange::default()).await.unwrap_err();
    assert!(matches!(error, AppendError::Deleted { .. }), "{error}");
    let error = refused(&store, Append::to("s-1").event(event(1))).await;
    assert!(matches!(error, AppendError::Deleted { .. }), "{error}");
}
