//! Definitions: what makes a projection, what makes another version of it, and what makes none.

use nexus_protocol::limits::DEFINITION_BYTES_MAX;
use nexus_protocol::projection::{ProjectionChange, ProjectionState};
use nexus_protocol::{AppendError, ReadError};
use serde_json::{Value, json};

use super::ask::{Store, event};

/// What was paid, by stream.
pub(super) fn totals(version: u32) -> Value {
    json!({
        "name": "totals", "version": version, "key": "/stream",
        "filter": { "categories": ["order"] },
        "fields": {
            "cents": { "type": "i64", "fold": "add", "from": "/data/cents" },
            "version": { "type": "u64", "fold": "set", "value": version },
        },
    })
}

pub(super) async fn a_projection_is_made_seen_and_deleted(store: Store) {
    let client = &store.client;
    assert_eq!(client.projections().await.unwrap(), [] as [&str; 0]);
    let first = store.append("order-1", event("Paid", &json!({ "cents": 250 }))).await;
    let definition = store.make(&totals(1)).await;
    assert!(!client.set_projection("totals", &definition).await.unwrap(), "it is there");
    let mut another = store.with_sink(&totals(1));
    another["name"] = "also".into();
    assert!(client.set_projection("also", &another).await.unwrap());
    assert_eq!(client.projections().await.unwrap(), ["also", "totals"]);

    let found = store.look("totals", "order-1", Some(first)).await.unwrap();
    assert_eq!((found.key.as_str(), found.position), ("order-1", first));
    assert_eq!(Value::Object(found.document), json!({ "cents": 250, "version": 1 }));
    let info = store.settled("totals").await;
    assert_eq!((info.name.as_str(), info.version), ("totals", 1));
    assert_eq!((info.state, info.documents, info.events), (ProjectionState::Running, 1, 1));
    assert_eq!((info.parked, info.error.as_deref()), (0, None));
    assert_eq!(info.definition["fields"]["cents"]["fold"], "add");
    assert_eq!(info.definition["sink"], store.sink.name());
    assert_eq!((info.builds.len(), info.builds[0].active), (1, true));

    store.change("totals", ProjectionChange::Delete { version: None }).await;
    assert_eq!(client.projections().await.unwrap(), ["also"]);
    let gone = client.projection("totals").await;
    assert!(matches!(gone, Err(AppendError::NotFound { .. })), "{gone:?}");
    let gone = store.look("totals", "order-1", None).await;
    assert!(matches!(gone, Err(ReadError::NotFound { .. })), "{gone:?}");
    // Made again it is folded again, by whatever it says now.
    store.make(&totals(2)).await;
    let again = store.document("totals", "order-1", first).await.unwrap();
    assert_eq!(Value::Object(again), json!({ "cents": 250, "version": 2 }));
}

pub(super) async fn what_is_no_definition_is_refused_with_the_place(store: Store) {
    let with = |pointer: &str, value: Value| {
        let mut definition = store.with_sink(&totals(1));
        *definition.pointer_mut(pointer).unwrap() = value;
        definition
    };
    for (definition, says) in [
        (json!(7), "no object"),
        (json!({ "name": "totals" }), "fields"),
        (with("/fields", json!({})), "fields"),
        (with("/fields/cents/fold", json!("sum")), "fields.cents"),
        (with("/fields/cents/type", json!("money")), "fields.cents"),
        (with("/fields/cents/from", json!("cents")), "fields.cents"),
        (with("/fields/version", json!({ "type": "u64", "compute": "none" })), "none"),
        (with("/fields/version", json!({ "type": "u64", "fold": "unset" })), "fields.version"),
        (with("/key", json!("stream")), "key"),
        (with("/sink", json!("paper")), "paper"),
        (with("/version", json!(0)), "version"),
        (with("/name", json!("others")), "others"),
    ] {
        let refused = store.client.set_projection("totals", &definition).await.unwrap_err();
        let AppendError::Invalid(why) = &refused else { panic!("{definition}: {refused:?}") };
        assert!(why.to_string().contains(says), "{definition}: {why}");
    }
    let long = with("/fields/version/value", json!("x".repeat(DEFINITION_BYTES_MAX)));
    let refused = store.client.set_projection("totals", &long).await.unwrap_err();
    assert!(matches!(refused, AppendError::TooLarge(_)), "{refused:?}");
    assert_eq!(store.client.projections().await.unwrap(), [] as [&str; 0]);
}

pub(super) async fn another_definition_is_another_version(store: Store) {
    let first = store.make(&totals(1)).await;
    let mut amended = Vec::new();
    for (pointer, value) in [
        ("/fields/cents/fold", json!("max")),
        ("/filter/categories/0", json!("invoice")),
        ("/key", json!("/data/order")),
        ("/sink", json!(store.sink.other().name())),
    ] {
        let mut other = first.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        amended.push(other);
    }
    for conflicting in &amended {
        let refused = store.client.set_projection("totals", conflicting).await.unwrap_err();
        let AppendError::Invalid(why) = &refused else { panic!("{conflicting}: {refused:?}") };
        assert!(why.to_string().contains("give it version 2"), "{conflicting}: {why}");
    }
    assert_eq!(store.client.projection("totals").await.unwrap().builds.len(), 1);
    let mut second = amended.remove(0);
    second["version"] = 2.into();
    assert!(store.client.set_projection("totals", &second).await.unwrap());
    assert!(!store.client.set_projection("totals", &second).await.unwrap());
    assert!(!store.client.set_projection("totals", &first).await.unwrap(), "both are there");
    let info = store.settled("totals").await;
    assert_eq!(
        (info.version, info.definition["fields"]["cents"]["fold"].as_str()),
        (1, Some("add"))
    );
    assert_eq!(info.builds.len(), 2);
}

pub(super) async fn what_is_not_there_is_not_found(store: Store) {
    let client = &store.client;
    let none = client.projection("none").await.unwrap_err();
    assert!(matches!(none, AppendError::NotFound { .. }), "{none:?}");
    let none = store.look("none", "a", None).await.unwrap_err();
    assert!(matches!(none, ReadError::NotFound { .. }), "{none:?}");
    let none = store.search("none", &nexus_protocol::search::SearchRequest::default()).await;
    assert!(matches!(none, Err(ReadError::NotFound { .. })), "{none:?}");
    for change in [
        ProjectionChange::Pause,
        ProjectionChange::Resume,
        ProjectionChange::Rebuild,
        ProjectionChange::Switch { version: 1 },
        ProjectionChange::Delete { version: None },
    ] {
        let none = client.change_projection("none", change).await.unwrap_err();
        assert!(matches!(none, AppendError::NotFound { .. }), "{change:?}: {none:?}");
    }
    let last = store.append("order-1", event("Paid", &json!({ "cents": 1 }))).await;
    store.make(&totals(1)).await;
    assert_eq!(store.document("totals", "order-2", last).await, None);
    for change in
        [ProjectionChange::Switch { version: 2 }, ProjectionChange::Delete { version: Some(2) }]
    {
        let none = client.change_projection("totals", change).await.unwrap_err();
        assert!(matches!(none, AppendError::NotFound { .. }), "{change:?}: {none:?}");
    }
}
