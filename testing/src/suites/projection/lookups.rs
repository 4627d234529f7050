//! Lookups: what is found by its key, and how much the answer knows of.

use std::pin::Pin;

use nexus_protocol::limits::LOOKUP_WAIT_MS_MAX;
use nexus_protocol::projection::{Lookup, ProjectionChange};
use nexus_protocol::{Position, ReadError};
use serde_json::json;

use super::ask::{Store, event};
use super::definitions::totals;
use super::things::{self, THINGS, Things};
use crate::Random;
use crate::executor::join;

async fn pay(store: &Store, cents: i64) -> Position {
    store.append("order-1", event("Paid", &json!({ "cents": cents }))).await
}

async fn cents(store: &Store, min: Option<Position>) -> i64 {
    let found = store.look("totals", "order-1", min).await.unwrap();
    found.document["cents"].as_i64().unwrap()
}

pub(super) async fn own_appends_are_seen(store: Store) {
    store.make(&totals(1)).await;
    for round in 1..=5 {
        let mine = pay(&store, 10).await;
        assert_eq!(cents(&store, Some(mine)).await, 10 * round);
        let found = store.look("totals", "order-1", Some(mine)).await.unwrap();
        assert_eq!(found.position, mine);
        // Also where it takes nothing of it.
        let others = store.append("others", event("Other", &json!(1))).await;
        let found = store.look("totals", "order-1", Some(others)).await.unwrap();
        assert!(found.as_of_position >= Some(others) && found.position == mine, "{found:?}");
    }
}

pub(super) async fn what_is_not_known_yet_is_waited_for_and_no_longer_than_was_said(store: Store) {
    store.make(&totals(1)).await;
    let first = pay(&store, 250).await;
    assert_eq!(cents(&store, Some(first)).await, 250);
    store.change("totals", ProjectionChange::Pause).await;
    let last = pay(&store, 50).await;
    for timeout_ms in [0, 20] {
        let (key, min_position) = ("order-1".to_owned(), Some(last));
        let lookup = Lookup { key, min_position, timeout_ms: Some(timeout_ms) };
        let error = store.client.lookup("totals", &lookup).await.unwrap_err();
        let ReadError::NotCaughtUp { wanted, at, waited_ms } = error else { panic!("{error:?}") };
        assert_eq!((wanted, waited_ms), (last, timeout_ms));
        assert!(at >= Some(first) && at < Some(last), "{at:?}");
    }
    assert_eq!(cents(&store, None).await, 250, "it answers from what it has");
    let (waiting, resumer) = (&store, &store);
    let waits = Box::pin(async move {
        assert_eq!(cents(waiting, Some(last)).await, 300, "whoever waits is told once it knows");
    }) as Pin<Box<dyn Future<Output = ()> + '_>>;
    let resumes = Box::pin(resumer.change("totals", ProjectionChange::Resume));
    join([waits, resumes]).await;
    let timeout_ms = Some(LOOKUP_WAIT_MS_MAX + 1);
    let too_long = Lookup { key: "order-1".into(), timeout_ms, min_position: None };
    let refused = store.client.lookup("totals", &too_long).await;
    assert!(matches!(refused, Err(ReadError::Invalid(_))), "{refused:?}");
    let too_long = Lookup { key: "k".repeat(100_000), ..Lookup::default() };
    let refused = store.client.lookup("totals", &too_long).await;
    assert!(matches!(refused, Err(ReadError::Invalid(_))), "{refused:?}");
}

pub(super) async fn documents_are_those_of_a_scan(store: Store) {
    let random = &mut Random::new(11);
    let mut last = Things::made(&store, random).await.last;
    for _ in 0..3 {
        let scan = things::scan(&store).await;
        for number in 0..50 {
            let key = format!("thing-{number}");
            let found = store.document(THINGS, &key, last).await;
            assert_eq!(found.as_ref(), scan.get(&key), "{key}");
        }
        last = things::append_some(&store, random, 40).await;
    }
}
