//! `nexus projection dry-run`, over a server and on a directory: what documents a definition makes, what cannot be folded, and
//! the cases of the permits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::nexus::{Folder, PERMITS, lines, permits};
use crate::places::{at_both, parsed};

const ORDERS: &str = r#"
name = "orders"
key = "/stream"
delete = ["OrderErased"]

[filter]
categories = ["order"]

[fields.state]
type = "keyword"
fold = "set"
from = "/type"

[fields.total_cents]
type = "i64"
rules = [
    { fold = "add", from = "/data/cents", on = ["LineAdded"] },
    { fold = "subtract", from = "/data/cents", on = ["LineRemoved"] },
]

[fields.total]
type = "f64"
compute = { divide = [{ field = "total_cents" }, { value = 100 }] }
"#;

#[test]
fn documents_are_shown_that_a_definition_makes() {
    let folder = Folder::new();
    let file = folder.file("orders.toml", ORDERS);
    let dry_run = ["projection", "dry-run", &file];
    at_both(
        |_| {},
        |ask| {
            let append = |stream: &str, event_type: &str, data: &str| {
                ask(&["append", stream, "--type", event_type, "--data", data]).done();
            };
            append("order-1", "LineAdded", r#"{"cents":1000}"#);
            append("order-2", "LineAdded", r#"{"cents":300}"#);
            append("order-1", "LineRemoved", r#"{"cents":250}"#);
            append("order-3", "OrderErased", "{}");
            append("order-2", "OrderErased", "{}");
            append("other-1", "LineAdded", r#"{"cents":1}"#);
            let mut report = parsed(ask, &dry_run);
            let document = json!({ "state": "LineRemoved", "total_cents": 750, "total": 7.5 });
            let wanted = json!({
                "documents": [{ "key": "order-1", "document": document, "events": 2 }],
                "events": 5, "without_key": 0, "failed": 0, "failures": [],
            });
            let digests = ["events_digest", "documents_digest"].map(|it| report[it].take());
            assert!(digests.iter().all(|it| it.as_str().unwrap().len() == 64), "{digests:?}");
            report.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            assert_eq!(report, wanted);
            let again = parsed(ask, &dry_run);
            assert_eq!(
                [&again["events_digest"], &again["documents_digest"]],
                [&digests[0], &digests[1]]
            );
            let first = parsed(ask, &[&dry_run[..], &["--limit", "2"]].concat());
            assert_eq!(first["documents"].as_array().unwrap().len(), 2);
            let table = ask(&dry_run).done();
            assert!(table.contains("1 documents of 5 events"), "{table}");
            // What is no number stops nothing, and is named.
            ask(&["append", "order-1", "--type", "LineAdded", "--data", r#"{"cents":"many"}"#])
                .done();
            let failed = ask(&dry_run);
            failed.fails(
                1,
                &["position 6 of \"order-1\"", "\"many\" is no i64", "1 events could not"],
            );
            let failed = ask(&[&dry_run[..], &["--output", "ndjson"]].concat());
            let said = lines(&failed.stdout);
            assert_eq!(said[0]["document"]["total_cents"], json!(750), "{said:?}");
            assert_eq!(said[1]["failures"][0]["key"], json!("order-1"), "{said:?}");
        },
    );
}

#[test]
fn what_is_no_definition_is_refused() {
    let folder = Folder::new();
    folder.done(&["append", "a", "--type", "A", "--data", "1"]);
    let run = |name: &str, text: &str| {
        let file = folder.file(name, text);
        folder.run(&["projection", "dry-run", &file])
    };
    run("a.json", "{").fails(2, &["a.json", "EOF"]);
    run("a.toml", "name = 7\nkey = \"/stream\"\n[fields]").fails(2, &["a.toml: definition"]);
    let field =
        r#"{"name": "a", "key": "/stream", "fields": {"f": {"type": "u64", "fold": "sum"}}}"#;
    run("a.json", field)
        .fails(2, &["a.json: fields.f", "unknown variant `sum`", "`count_distinct`"]);
    let none = folder.path("none.json");
    let none = none.to_str().unwrap();
    folder.run(&["projection", "dry-run", none]).fails(1, &["none.json cannot be read"]);
}

/// The cases, as the guide has them.
const CASES: &str = include_str!("../../../docs/guides/read-models/cases.json");

#[test]
fn the_cases_of_the_permits_are_what_their_readme_says() {
    let Some(file) = permits() else { return };
    let folder = Folder::new();
    folder.done(&[&["import", file.to_str().unwrap()], PERMITS].concat());
    let cases = folder.file("cases.json", CASES);
    let dry_run = ["projection", "dry-run", &cases, "--limit", "10000", "--output", "json"];
    let report: Value = serde_json::from_str(&folder.done(&dry_run)).unwrap();
    assert_eq!((&report["events"], &report["failed"]), (&json!(8577), &json!(0)));
    let documents = report["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 1434);
    let mut channels: BTreeMap<&str, usize> = BTreeMap::new();
    for it in documents {
        *channels.entry(it["document"]["channel"].as_str().unwrap()).or_default() += 1;
    }
    let wanted = [("Desk", 109), ("Intern", 1), ("Internet", 1250), ("Post", 53), ("e-mail", 21)];
    assert_eq!(channels, BTreeMap::from(wanted));
    let events = documents.iter().map(|it| it["document"]["events"].as_u64().unwrap());
    assert_eq!(events.sum::<u64>(), 8577);
    let case = documents.iter().find(|it| it["key"] == "permit-case-5141").unwrap();
    assert_eq!(case["document"]["events"], 12);
    for it in documents {
        let document = &it["document"];
        let (first, last) = (document["started"].as_str(), document["last_change"].as_str());
        assert!(first.unwrap() <= last.unwrap(), "{document}");
        assert!(document["duration_s"].as_i64().unwrap() >= 0, "{document}");
        assert!(document["status"].is_string() && document["first_activity"].is_string());
    }
}
