//! Projections that are paused, folded again, and switched.

use nexus_protocol::projection::{ProjectionChange, ProjectionState};
use nexus_protocol::{AppendError, Position, ReadError};
use serde_json::json;

use super::ask::{Sink, Store, asking, digests, event};
use super::definitions::totals;
use super::scan::{Decided, dry_run};
use super::things::{self, THINGS, Things};
use crate::Random;

async fn pay(store: &Store, cents: i64) -> Position {
    store.append("order-1", event("Paid", &json!({ "cents": cents }))).await
}

pub(super) async fn what_is_paused_stands_still(store: Store) {
    store.make(&totals(1)).await;
    let first = pay(&store, 1).await;
    store.document("totals", "order-1", first).await.unwrap();
    store.change("totals", ProjectionChange::Pause).await;
    store.change("totals", ProjectionChange::Pause).await;
    let paused = store.client.projection("totals").await.unwrap();
    assert_eq!(paused.state, ProjectionState::Paused);
    let last = pay(&store, 2).await;
    let still = store.client.projection("totals").await.unwrap();
    assert_eq!((still.state, digests(&still)), (ProjectionState::Paused, digests(&paused)));
    assert!(still.lag_events > 0);
    let found = store.look("totals", "order-1", None).await.unwrap();
    assert_eq!((&found.document["cents"], found.position), (&json!(1), first));
    assert!(found.lag_events > 0);
    store.change("totals", ProjectionChange::Resume).await;
    let found = store.document("totals", "order-1", last).await.unwrap();
    assert_eq!(found["cents"], 3);
    let info = store.settled("totals").await;
    assert_eq!((info.state, info.events), (ProjectionState::Running, 2));
}

pub(super) async fn a_rebuild_has_the_same_digests(store: Store) {
    let random = &mut Random::new(21);
    Things::made(&store, random).await;
    let definition = store.with_sink(&things::definition());
    for _ in 0..2 {
        let before = store.settled(THINGS).await;
        store.change(THINGS, ProjectionChange::Rebuild).await;
        // What comes meanwhile is in both.
        let last = things::append_some(&store, random, 20).await;
        let scan = things::scan(&store).await;
        for (key, document) in scan.iter().take(5) {
            assert_eq!(store.document(THINGS, key, last).await.as_ref(), Some(document), "{key}");
        }
        let old = before.builds[0].generation;
        let after = store.once(THINGS, |it| it.builds.len() == 1 && it.builds[0].generation > old);
        after.await;
        let after = store.settled(THINGS).await;
        let dry = dry_run(&store, &definition, &Decided::new()).await;
        assert_eq!(after.state, ProjectionState::Running);
        assert_eq!(
            (&after.events_digest, &after.documents_digest),
            (&dry.events_digest, &dry.documents_digest)
        );
        for (key, document) in &scan {
            assert_eq!(store.document(THINGS, key, last).await.as_ref(), Some(document), "{key}");
        }
    }
}

pub(super) async fn versions_are_folded_beside_each_other_and_one_answers(store: Store) {
    store.make(&totals(1)).await;
    let last = pay(&store, 250).await;
    store.make(&totals(2)).await;
    let version =
        async || store.document("totals", "order-1", last).await.unwrap()["version"].clone();
    assert_eq!(version().await, 1);
    let info = store.settled("totals").await;
    assert_eq!(info.builds.iter().map(|it| it.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(info.builds[0].events_digest, info.builds[1].events_digest);
    assert_ne!(info.builds[0].documents_digest, info.builds[1].documents_digest);
    let active = ProjectionChange::Delete { version: Some(1) };
    let refused = store.client.change_projection("totals", active).await.unwrap_err();
    assert!(matches!(refused, AppendError::Invalid(_)), "{refused:?}");
    assert!(refused.to_string().contains("switch to another one first"), "{refused}");
    for wanted in [2, 1, 2] {
        store.change("totals", ProjectionChange::Switch { version: wanted }).await;
        store.change("totals", ProjectionChange::Switch { version: wanted }).await;
        assert_eq!(version().await, wanted);
        assert_eq!(store.client.projection("totals").await.unwrap().version, wanted);
    }
    store.change("totals", active).await;
    let info = store.client.projection("totals").await.unwrap();
    assert_eq!((info.version, info.builds.len()), (2, 1));
    let gone = ProjectionChange::Switch { version: 1 };
    let gone = store.client.change_projection("totals", gone).await;
    assert!(matches!(gone, Err(AppendError::NotFound { .. })), "{gone:?}");
}

pub(super) async fn a_version_may_have_another_sink(store: Store) {
    let last = Things::made(&store, &mut Random::new(22)).await.last;
    let mut other = things::definition();
    (other["version"], other["sink"]) = (2.into(), store.sink.other().name().into());
    assert!(store.client.set_projection(THINGS, &other).await.unwrap());
    let info = store.settled(THINGS).await;
    let digest = |at: usize| (&info.builds[at].events_digest, &info.builds[at].documents_digest);
    assert_eq!(digest(0), digest(1));
    for (version, sink) in [(2, store.sink.other()), (1, store.sink)] {
        store.change(THINGS, ProjectionChange::Switch { version }).await;
        for (key, document) in things::scan(&store).await.iter().take(5) {
            assert_eq!(store.document(THINGS, key, last).await.as_ref(), Some(document), "{key}");
        }
        match (sink, store.search(THINGS, &asking(json!("*"), last)).await) {
            (Sink::Search, found) => assert_eq!(found.unwrap().total, info.documents),
            (Sink::Kv, Err(ReadError::Invalid(why))) => {
                assert!(why.to_string().contains("by key alone"), "{why}");
            }
            (Sink::Kv, other) => panic!("{other:?}"),
        }
    }
}
