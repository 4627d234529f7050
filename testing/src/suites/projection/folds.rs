//! What events are folded into: by each operator, and the same as by a dry run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ask::{Store, event};
use super::scan::{Decided, dry_run};
use super::things::{self, Things};
use crate::Random;

/// Every operator, and what is computed.
fn all_operators() -> Value {
    let of = |kind: &str, fold: &str| json!({ "type": kind, "fold": fold, "from": "/data/n" });
    let by =
        |fold: &str| json!({ "type": "keyword", "fold": fold, "from": "/data/k", "by": "/data/n" });
    json!({
        "name": "all", "key": "/data/key", "delete": ["Ended"],
        "fields": {
            "set": { "type": "keyword", "fold": "set", "from": "/data/k" },
            "first": { "type": "keyword", "fold": "first", "from": "/data/k" },
            "last": { "type": "keyword", "fold": "last", "from": "/data/k" },
            "first_by": by("first"), "last_by": by("last"),
            "flag": { "type": "bool", "rules": [
                { "fold": "set", "value": true, "on": ["A"] }, { "fold": "unset", "on": ["B"] },
            ] },
            "sum": { "type": "i64", "rules": [
                { "fold": "add", "from": "/data/n", "on": ["A"] },
                { "fold": "subtract", "from": "/data/n", "on": ["B"] },
            ] },
            "min": of("i64", "min"), "max": of("f64", "max"),
            "list": { "type": "keyword", "fold": "append", "from": "/data/k", "max": 2 },
            "merged": { "type": "json", "fold": "merge", "from": "/data/o" },
            "count": { "type": "u64", "fold": "count" },
            "numbers": of("u64", "count"), "distinct": of("u64", "count_distinct"),
            "twice": { "type": "i64", "compute": { "multiply": [{ "field": "sum" }, { "value": 2 }] } },
            "called": { "type": "text", "compute": { "concat": [{ "value": "it is " }, { "field": "last" }] } },
            "quotient": { "type": "f64", "compute": { "divide": [{ "field": "sum" }, { "field": "distinct" }] } },
        },
    })
}

pub(super) async fn every_operator_folds_as_it_says(store: Store) {
    let all = [
        ("A", json!({ "key": "x", "k": "k1", "n": 7, "o": { "a": 1, "b": { "c": 2 } } })),
        ("B", json!({ "key": "x", "k": "k2", "n": 3, "o": { "b": { "d": 3 }, "a": null } })),
        ("A", json!({ "key": "x", "n": "9" })),
        ("A", json!({ "key": "x", "k": "k3", "n": 3 })),
        ("C", json!({ "key": "x", "k": null })),
        ("A", json!({ "key": "gone", "k": "k1" })),
        ("Ended", json!({ "key": "gone" })),
        ("A", json!({ "key": "new", "k": "k1", "n": 5 })),
        ("Ended", json!({ "key": "new" })),
        ("B", json!({ "key": "new", "n": 1 })),
        ("A", json!({ "no": "key" })),
    ];
    let definition = store.make(&all_operators()).await;
    let events = all.iter().map(|(event_type, data)| event(event_type, data)).collect();
    let last = store.append_all("all", events).await;
    let wanted = json!({
        "first": "k1", "last": "k3", "first_by": "k2", "last_by": "k1", "flag": true, "sum": 16,
        "min": 3, "max": 9.0, "list": ["k2", "k3"], "merged": { "b": { "c": 2, "d": 3 } },
        "count": 5, "numbers": 4, "distinct": 3, "twice": 32, "called": "it is k3", "quotient": 16.0 / 3.0,
    });
    let found = store.document("all", "x", last).await.map(Value::Object);
    assert_eq!(found, Some(wanted));
    assert_eq!(store.document("all", "gone", last).await, None);
    let wanted = json!({ "sum": -1, "min": 1, "max": 1.0, "count": 1, "numbers": 1, "distinct": 1,
                         "twice": -2, "quotient": -1.0 });
    assert_eq!(store.document("all", "new", last).await.map(Value::Object), Some(wanted));

    let dry = dry_run(&store, &definition, &Decided::new()).await;
    let mut found = BTreeMap::new();
    for key in ["x", "gone", "new"] {
        found.extend(store.document("all", key, last).await.map(|it| (key.to_owned(), it)));
    }
    assert_eq!(found, dry.documents);
    let info = store.settled("all").await;
    assert_eq!(
        (info.events_digest, info.documents_digest),
        (dry.events_digest, dry.documents_digest)
    );
    assert_eq!((info.events, info.documents), (dry.events, 2));
}

pub(super) async fn documents_are_those_of_a_dry_run(store: Store) {
    let mut last = Things::made(&store, &mut Random::new(1)).await.last;
    let definition = store.with_sink(&things::definition());
    for seed in 2..5 {
        let dry = dry_run(&store, &definition, &Decided::new()).await;
        assert!(dry.documents.len() > 10, "{}", dry.documents.len());
        for (key, document) in &dry.documents {
            let found = store.document(things::THINGS, key, last).await;
            assert_eq!(found.as_ref(), Some(document), "{key}");
        }
        let info = store.settled(things::THINGS).await;
        assert_eq!(info.events_digest, dry.events_digest);
        assert_eq!(info.documents_digest, dry.documents_digest);
        assert_eq!((info.events, info.documents), (dry.events, dry.documents.len() as u64));
        last = things::append_some(&store, &mut Random::new(seed), 40).await;
    }
}
