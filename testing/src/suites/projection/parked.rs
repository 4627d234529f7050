//! Events that cannot be folded: parked with what is behind them, and decided about.

use std::collections::BTreeMap;

use bytes::Bytes;
use nexus_protocol::group::{ParkedEntry, ParkedList, ParkedPick};
use nexus_protocol::limits::DELIVERIES_MAX;
use nexus_protocol::projection::ProjectionChange;
use nexus_protocol::{AppendError, Position};
use serde_json::{Value, json};

use super::ask::{Store, digests, event};
use super::definitions::totals;
use super::scan::dry_run;

const NAME: &str = "totals";

async fn pay(store: &Store, order: &str, cents: impl Into<Value>) -> Position {
    store.append(order, event("Paid", &json!({ "cents": cents.into() }))).await
}

async fn cents(store: &Store, order: &str, min: Position) -> Option<Value> {
    store.document(NAME, order, min).await.map(|document| document["cents"].clone())
}

fn whole() -> ParkedList {
    ParkedList { limit: 10, ..ParkedList::default() }
}

async fn entries(store: &Store) -> Vec<ParkedEntry> {
    store.client.parked_of_projection(NAME, &whole()).await.unwrap().entries
}

fn of_key(key: &str) -> ParkedPick {
    ParkedPick::Key(key.to_owned())
}

pub(super) async fn a_poison_event_holds_up_its_key_alone(store: Store) {
    store.make(&totals(1)).await;
    pay(&store, "order-1", 250).await;
    let wrong = pay(&store, "order-1", "much").await;
    pay(&store, "order-1", 50).await;
    pay(&store, "order-1", 60).await;
    let other = pay(&store, "order-2", json!([])).await;
    let last = pay(&store, "order-3", 7).await;
    assert_eq!(cents(&store, "order-3", last).await, Some(json!(7)), "others go on");
    assert_eq!(cents(&store, "order-1", last).await, Some(json!(250)), "what is behind waits");
    assert_eq!(cents(&store, "order-2", last).await, None);
    assert_eq!(store.client.projection(NAME).await.unwrap().parked, 2);

    let client = &store.client;
    let page = client.parked_of_projection(NAME, &whole()).await.unwrap();
    let positions: Vec<_> = page.entries.iter().map(|entry| entry.position).collect();
    assert_eq!((positions, page.next), (vec![wrong, other], None));
    let entry = &page.entries[0];
    assert_eq!(entry.event, Some(("order-1".to_owned(), "Paid".to_owned())));
    assert_eq!((entry.attempts, entry.waiting_behind, entry.released), (1, 2, false));
    assert!(entry.failure.as_ref().is_some_and(|it| it.message.contains("cents")), "{entry:?}");
    let list = ParkedList { key: Some("order-2".into()), ..whole() };
    let page = client.parked_of_projection(NAME, &list).await.unwrap();
    assert_eq!(page.entries.iter().map(|it| it.position).collect::<Vec<_>>(), [other]);
    let list = ParkedList { limit: 1, ..whole() };
    let page = client.parked_of_projection(NAME, &list).await.unwrap();
    assert_eq!((page.entries[0].position, page.next), (wrong, Some(wrong)));
    let list = ParkedList { after: page.next, ..list };
    let page = client.parked_of_projection(NAME, &list).await.unwrap();
    assert_eq!((page.entries[0].position, page.next), (other, None));

    // Again, and it fails again.
    let replayed = client.replay_parked_of_projection(NAME, of_key("order-1")).await.unwrap();
    assert_eq!(replayed, 1);
    store.once(NAME, |info| info.parked == 2 && info.lag_events == 0).await;
    let again = entries(&store).await;
    let again = again.iter().find(|it| it.position == wrong).unwrap();
    assert_eq!(again.waiting_behind, 2);
    let skipped = client.skip_parked_of_projection(NAME, of_key("order-1")).await.unwrap();
    assert_eq!(skipped, 1);
    store.once(NAME, |info| info.parked == 1 && info.lag_events == 0).await;
    let last = pay(&store, "order-1", 40).await;
    assert_eq!(cents(&store, "order-1", last).await, Some(json!(400)));
    assert_eq!(cents(&store, "order-2", last).await, None);
}

pub(super) async fn what_is_decided_holds_when_all_is_folded_again(store: Store) {
    let definition = store.make(&totals(1)).await;
    pay(&store, "order-1", 250).await;
    let edited = pay(&store, "order-1", "much").await;
    pay(&store, "order-1", 50).await;
    let skipped = pay(&store, "order-2", "much").await;
    pay(&store, "order-2", 9).await;
    let alone = pay(&store, "order-4", "nothing").await;
    let last = pay(&store, "order-3", 7).await;
    cents(&store, "order-3", last).await.unwrap();

    let client = &store.client;
    let data = Bytes::from(json!({ "cents": 100 }).to_string());
    let taken = client.edit_parked_of_projection(NAME, edited, data.clone()).await.unwrap();
    assert_eq!(taken, edited);
    let picked = ParkedPick::Positions(vec![skipped]);
    assert_eq!(client.skip_parked_of_projection(NAME, picked).await.unwrap(), 1);
    assert_eq!(client.skip_parked_of_projection(NAME, ParkedPick::All).await.unwrap(), 1);
    store.once(NAME, |info| info.parked == 0 && info.lag_events == 0).await;
    assert_eq!(entries(&store).await, []);

    let decided = BTreeMap::from([(edited, Some(data)), (skipped, None), (alone, None)]);
    let last = pay(&store, "order-3", 1).await;
    let check = async || {
        let dry = dry_run(&store, &definition, &decided).await;
        for (key, wanted) in [
            ("order-1", Some(json!(400))),
            ("order-2", Some(json!(9))),
            ("order-3", Some(json!(8))),
            ("order-4", None),
        ] {
            assert_eq!(cents(&store, key, last).await, wanted, "{key}");
            assert_eq!(dry.documents.get(key).map(|it| it["cents"].clone()), wanted, "{key}");
        }
        let info = store.settled(NAME).await;
        assert_eq!(info.documents_digest, dry.documents_digest);
        assert_eq!(info.events, 8, "what is skipped was taken all the same");
        info
    };
    let before = check().await;
    let old = before.builds[0].generation;
    store.change(NAME, ProjectionChange::Rebuild).await;
    store.once(NAME, |it| it.builds.len() == 1 && it.builds[0].generation > old).await;
    assert_eq!(digests(&check().await), digests(&before));
}

pub(super) async fn decisions_that_cannot_be_are_refused(store: Store) {
    let mut definition = totals(1);
    definition["key"] = "/data/order".into();
    store.make(&definition).await;
    let of = |order: Value, cents: Value| event("Paid", &json!({ "order": order, "cents": cents }));
    let wrong = store.append("order-1", of(json!("a"), json!("much"))).await;
    let no_key = store.append("order-1", of(json!(""), json!(1))).await;
    let last = store.append("order-1", of(json!("b"), json!(1))).await;
    assert_eq!(cents(&store, "b", last).await, Some(json!(1)));
    let positions: Vec<_> = entries(&store).await.iter().map(|it| it.position).collect();
    assert_eq!(positions, [wrong, no_key]);

    let client = &store.client;
    let edit = async |at: Position, data: &str| {
        let data = Bytes::copy_from_slice(data.as_bytes());
        client.edit_parked_of_projection(NAME, at, data).await.unwrap_err()
    };
    let refused = edit(wrong, "much").await;
    assert!(matches!(refused, AppendError::Invalid(_)), "no JSON: {refused:?}");
    for at in [wrong, no_key] {
        let refused = edit(at, r#"{"order": "c", "cents": 1}"#).await;
        assert!(refused.to_string().contains("keep its key"), "{refused}");
    }
    for at in [last, Position::new(1_000)] {
        let refused = edit(at, r#"{"order": "b", "cents": 1}"#).await;
        assert!(matches!(refused, AppendError::NotFound { .. }), "{at}: {refused:?}");
    }
    let many = ParkedPick::Positions(vec![Position::ZERO; DELIVERIES_MAX + 1]);
    let many = client.skip_parked_of_projection(NAME, many).await;
    assert!(matches!(many, Err(AppendError::TooLarge(_))), "{many:?}");
    let none = client.skip_parked_of_projection(NAME, of_key("b")).await.unwrap();
    assert_eq!(none, 0, "nothing of it is parked");
    let none = client.replay_parked_of_projection("none", ParkedPick::All).await;
    assert!(matches!(none, Err(AppendError::NotFound { .. })), "{none:?}");
    let both = ParkedPick::Positions(vec![wrong, no_key]);
    assert_eq!(client.skip_parked_of_projection(NAME, both).await.unwrap(), 2);
    assert_eq!(store.once(NAME, |info| info.parked == 0).await.documents, 1);
}
