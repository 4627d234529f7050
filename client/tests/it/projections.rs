//! Projections by the client, the same over a store in memory and behind a server.

use nexus_client::Client;
use nexus_protocol::group::{ParkedList, ParkedPick};
use nexus_protocol::limits::{DEFINITION_BYTES_MAX, DELIVERIES_MAX, LOOKUP_WAIT_MS_MAX};
use nexus_protocol::projection::{
    FoundDocument, Lookup, ProjectionChange, ProjectionInfo, ProjectionState,
};
use nexus_protocol::search::SearchRequest;
use nexus_protocol::{Append, AppendError, EventData, Position, ReadError};
use serde_json::{Value, json};

use crate::groups::{Running, of_each};

/// Longer than anything takes that is waited for.
const SOON_MS: u64 = 10_000;

/// What was paid, by stream.
fn totals(version: u32) -> Value {
    json!({
        "name": "totals", "version": version, "key": "/stream", "sink": "kv",
        "filter": { "categories": ["order"] },
        "fields": {
            "cents": { "type": "i64", "fold": "add", "from": "/data/cents" },
            "version": { "type": "u64", "fold": "set", "value": version },
        },
    })
}

async fn pay(client: &Client, order: &str, cents: &Value) -> Position {
    let paid = EventData::json("Paid", &json!({ "cents": cents })).unwrap();
    client.append(Append::to(order).event(paid)).await.unwrap().last().unwrap()
}

async fn found(
    client: &Client,
    key: &str,
    min: Option<Position>,
) -> Result<FoundDocument, ReadError> {
    let lookup = Lookup { key: key.into(), min_position: min, timeout_ms: Some(SOON_MS) };
    client.lookup("totals", &lookup).await
}

/// What a document says was paid.
async fn cents(client: &Client, key: &str, min: Option<Position>) -> Value {
    found(client, key, min).await.unwrap().document["cents"].clone()
}

/// Asks how it is until it is as is wanted.
async fn until(client: &Client, wanted: impl Fn(&ProjectionInfo) -> bool) -> ProjectionInfo {
    let asking = async {
        loop {
            let info = client.projection("totals").await.unwrap();
            if wanted(&info) {
                return info;
            }
            tokio::task::yield_now().await;
        }
    };
    let soon = std::time::Duration::from_millis(SOON_MS);
    tokio::time::timeout(soon, asking).await.expect("it is so soon")
}

async fn change(client: &Client, change: ProjectionChange) {
    client.change_projection("totals", change).await.unwrap();
}

#[tokio::test]
async fn a_projection_is_made_looked_into_and_deleted() {
    of_each(async |client| {
        assert_eq!(client.projections().await.unwrap(), [] as [&str; 0]);
        let first = pay(&client, "order-1", &json!(250)).await;
        assert!(client.set_projection("totals", &totals(1)).await.unwrap());
        assert!(!client.set_projection("totals", &totals(1)).await.unwrap(), "it is there");
        assert_eq!(client.projections().await.unwrap(), ["totals"]);
        let one = found(&client, "order-1", Some(first)).await.unwrap();
        assert_eq!((one.key.as_str(), one.position), ("order-1", first));
        assert_eq!(Value::Object(one.document), json!({ "cents": 250, "version": 1 }));
        assert!(one.as_of_position >= Some(first));
        let last = pay(&client, "order-1", &json!(50)).await;
        assert_eq!(
            cents(&client, "order-1", Some(last)).await,
            300,
            "it knows of what was written"
        );
        let info = until(&client, |info| info.lag_events == 0).await;
        assert_eq!((info.name.as_str(), info.version), ("totals", 1));
        assert_eq!((info.state, info.documents, info.events), (ProjectionState::Running, 1, 2));
        assert_eq!((info.parked, info.error.as_deref()), (0, None));
        assert_eq!(info.definition["fields"]["cents"]["fold"], "add");
        assert_eq!((info.builds.len(), info.builds[0].active), (1, true));
        change(&client, ProjectionChange::Delete { version: None }).await;
        assert_eq!(client.projections().await.unwrap(), [] as [&str; 0]);
        let gone = client.projection("totals").await;
        assert!(matches!(gone, Err(AppendError::NotFound { .. })), "{gone:?}");
        let gone = found(&client, "order-1", None).await;
        assert!(matches!(gone, Err(ReadError::NotFound { .. })), "{gone:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_known_yet_is_waited_for_and_no_longer_than_was_said() {
    of_each(async |client| {
        client.set_projection("totals", &totals(1)).await.unwrap();
        let first = pay(&client, "order-1", &json!(250)).await;
        assert_eq!(cents(&client, "order-1", Some(first)).await, 250);
        change(&client, ProjectionChange::Pause).await;
        assert_eq!(client.projection("totals").await.unwrap().state, ProjectionState::Paused);
        let last = pay(&client, "order-1", &json!(50)).await;
        for timeout_ms in [0, 20] {
            let (key, min_position) = ("order-1".to_owned(), Some(last));
            let lookup = Lookup { key, min_position, timeout_ms: Some(timeout_ms) };
            let error = client.lookup("totals", &lookup).await.unwrap_err();
            let ReadError::NotCaughtUp { wanted, at, waited_ms } = error else {
                panic!("{error:?}")
            };
            assert_eq!((wanted, waited_ms), (last, timeout_ms));
            assert!(at >= Some(first) && at < Some(last), "{at:?}");
        }
        assert_eq!(cents(&client, "order-1", None).await, 250, "it answers from what it has");
        let waits = cents(&client, "order-1", Some(last));
        let resumes = change(&client, ProjectionChange::Resume);
        let (knows, ()) = tokio::join!(waits, resumes);
        assert_eq!(knows, 300, "whoever waits is told once it knows");
        let too_long = Lookup {
            key: "order-1".into(),
            timeout_ms: Some(LOOKUP_WAIT_MS_MAX + 1),
            min_position: None,
        };
        let refused = client.lookup("totals", &too_long).await;
        assert!(matches!(refused, Err(ReadError::Invalid(_))), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn versions_are_folded_beside_each_other_and_one_answers() {
    of_each(async |client| {
        client.set_projection("totals", &totals(1)).await.unwrap();
        let last = pay(&client, "order-1", &json!(250)).await;
        assert!(client.set_projection("totals", &totals(2)).await.unwrap());
        let version = async || found(&client, "order-1", Some(last)).await.unwrap().document;
        assert_eq!(version().await["version"], 1);
        let builds = until(&client, |info| info.builds.iter().all(|it| it.lag_events == 0)).await;
        assert_eq!(builds.builds.iter().map(|it| it.version).collect::<Vec<_>>(), [1, 2]);
        let missing = ProjectionChange::Switch { version: 3 };
        let missing = client.change_projection("totals", missing).await;
        assert!(matches!(missing, Err(AppendError::NotFound { .. })), "{missing:?}");
        let active = ProjectionChange::Delete { version: Some(1) };
        let refused = client.change_projection("totals", active).await;
        assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
        change(&client, ProjectionChange::Switch { version: 2 }).await;
        assert_eq!(version().await["version"], 2);
        change(&client, active).await;
        let info = client.projection("totals").await.unwrap();
        assert_eq!((info.version, info.builds.len()), (2, 1));
        // The same again, from the first event.
        let before = &info.builds[0];
        change(&client, ProjectionChange::Rebuild).await;
        let after = until(&client, |info| info.builds[0].generation > before.generation).await;
        assert_eq!(after.documents_digest, before.documents_digest);
        assert_eq!(version().await["version"], 2);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_folded_is_parked_and_decided_about() {
    of_each(async |client| {
        client.set_projection("totals", &totals(1)).await.unwrap();
        pay(&client, "order-1", &json!(250)).await;
        let wrong = pay(&client, "order-1", &json!("much")).await;
        pay(&client, "order-1", &json!(50)).await;
        let other = pay(&client, "order-2", &json!([])).await;
        let last = pay(&client, "order-3", &json!(7)).await;
        assert_eq!(cents(&client, "order-3", Some(last)).await, 7, "others go on");
        assert_eq!(cents(&client, "order-1", Some(last)).await, 250, "what is behind waits");
        let parked = async |key| found(&client, key, Some(last)).await.unwrap().parked;
        assert!(parked("order-1").await && !parked("order-3").await, "which is told");
        let list = ParkedList { limit: 10, ..ParkedList::default() };
        let all = client.parked_of_projection("totals", &list).await.unwrap();
        let positions: Vec<_> = all.entries.iter().map(|entry| entry.position).collect();
        assert_eq!((positions, all.next), (vec![wrong, other], None));
        let entry = &all.entries[0];
        assert_eq!(entry.event, Some(("order-1".to_owned(), "Paid".to_owned())));
        assert!(entry.failure.as_ref().is_some_and(|it| it.message.contains("cents")), "{entry:?}");
        let of_key = ParkedList { key: Some("order-2".into()), ..list.clone() };
        let of_key = client.parked_of_projection("totals", &of_key).await.unwrap();
        assert_eq!(of_key.entries.len(), 1);
        assert_eq!(of_key.entries[0].position, other);
        let first = client
            .parked_of_projection("totals", &ParkedList { limit: 1, ..list.clone() })
            .await
            .unwrap();
        assert_eq!(first.next, Some(wrong));
        assert_eq!(client.projection("totals").await.unwrap().parked, 2);
        // Again, and it fails again.
        let key = ParkedPick::Key("order-1".into());
        assert_eq!(client.replay_parked_of_projection("totals", key).await.unwrap(), 1);
        until(&client, |info| info.parked == 2 && info.lag_events == 0).await;
        let skipped = ParkedPick::Positions(vec![other]);
        assert_eq!(client.skip_parked_of_projection("totals", skipped).await.unwrap(), 1);
        let edit = async |at, data: &'static str| {
            client.edit_parked_of_projection("totals", at, data.into()).await
        };
        let refused = edit(wrong, "much").await;
        assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
        let refused = edit(last, r#"{"cents": 1}"#).await;
        assert!(matches!(refused, Err(AppendError::NotFound { .. })), "{refused:?}");
        assert_eq!(edit(wrong, r#"{"cents": 100}"#).await.unwrap(), wrong);
        until(&client, |info| info.parked == 0 && info.lag_events == 0).await;
        assert_eq!(cents(&client, "order-1", None).await, 400);
        let all = client.parked_of_projection("totals", &list).await.unwrap();
        assert_eq!(all.entries, []);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_definition_is_refused_with_the_place() {
    of_each(async |client| {
        let with = |pointer: &str, value: Value| {
            let mut definition = totals(1);
            *definition.pointer_mut(pointer).unwrap() = value;
            definition
        };
        client.set_projection("totals", &totals(1)).await.unwrap();
        for (definition, says) in [
            (json!(7), "no object"),
            (with("/fields/cents/fold", json!("sum")), "fields.cents"),
            (with("/name", json!("others")), "others"),
            (with("/fields/version/value", json!(3)), "version 1"),
        ] {
            let refused = client.set_projection("totals", &definition).await.unwrap_err();
            let AppendError::Invalid(why) = &refused else { panic!("{refused:?}") };
            assert!(why.to_string().contains(says), "{why}");
        }
        let long = with("/fields/version/value", json!("x".repeat(DEFINITION_BYTES_MAX)));
        let refused = client.set_projection("totals", &long).await.unwrap_err();
        assert!(matches!(refused, AppendError::TooLarge(_)), "{refused:?}");
        let missing = client.change_projection("others", ProjectionChange::Pause).await;
        assert!(matches!(missing, Err(AppendError::NotFound { .. })), "{missing:?}");
        let many = vec![Position::ZERO; DELIVERIES_MAX + 1];
        let many = client.skip_parked_of_projection("totals", ParkedPick::Positions(many)).await;
        assert!(matches!(many, Err(AppendError::TooLarge(_))), "{many:?}");
    })
    .await;
}

#[tokio::test]
async fn documents_are_there_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::in_directory(dir.path());
    let client = running.client().await;
    client.set_projection("totals", &totals(1)).await.unwrap();
    let last = pay(&client, "order-1", &json!(250)).await;
    assert_eq!(cents(&client, "order-1", Some(last)).await, 250);
    let running = running.restart(dir.path()).await;
    assert_eq!(cents(&client, "order-1", Some(last)).await, 250, "the client goes on");
    let last = pay(&client, "order-1", &json!(50)).await;
    assert_eq!(cents(&client, "order-1", Some(last)).await, 300);
    client.close().await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_search_says_what_it_may_not_know_of() {
    of_each(async |client| {
        let mut definition = totals(1);
        definition["sink"] = "search".into();
        client.set_projection("totals", &definition).await.unwrap();
        pay(&client, "order-1", &json!(250)).await;
        let search = async |last, fields: Option<&[&str]>| {
            let fields = fields.map(|all| all.iter().map(|it| (*it).to_owned()).collect());
            let min_position = Some(last);
            let timeout_ms = Some(SOON_MS);
            let asked = SearchRequest { fields, min_position, timeout_ms, ..Default::default() };
            client.search("totals", &asked).await.unwrap()
        };
        let last = pay(&client, "order-2", &json!(1)).await;
        let found = search(last, None).await;
        assert_eq!((found.total, found.parked), (2, 0));
        assert_eq!(found.fields, ["cents", "version"]);
        pay(&client, "order-1", &json!("much")).await;
        let last = pay(&client, "order-3", &json!([])).await;
        let found = search(last, Some(&["version"])).await;
        assert_eq!((found.total, found.parked), (2, 2));
        assert_eq!(found.fields, ["version"]);
    })
    .await;
}
