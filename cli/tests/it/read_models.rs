//! `nexus projection`, `nexus lookup`, and what projections park, over a server and on a directory.

use serde_json::{Value, json};

use crate::nexus::Folder;
use crate::places::{Ask, at_both, parsed};

fn definition(version: u32) -> String {
    let definition = json!({
        "name": "orders", "version": version, "key": "/stream", "sink": "kv",
        "filter": { "categories": ["order"] },
        "fields": { "cents": { "type": "i64", "fold": "add", "from": "/data/cents" } },
    });
    definition.to_string()
}

/// Appends a payment; gives its position.
fn pay(ask: Ask<'_>, order: &str, cents: &Value) -> String {
    let data = json!({ "cents": cents }).to_string();
    let appended = parsed(ask, &["append", order, "--type", "Paid", "--data", &data]);
    appended["last_position"].to_string()
}

/// The document, once it knows of a position.
fn document(ask: Ask<'_>, key: &str, min: &str) -> Value {
    parsed(ask, &["lookup", "orders", key, "--min-position", min, "--timeout", "10s"])
}

fn status(ask: Ask<'_>) -> Value {
    parsed(ask, &["projection", "status", "orders"])
}

#[test]
fn a_projection_is_made_watched_steered_and_deleted() {
    let folder = Folder::new();
    let [one, two] = [1, 2].map(|it| folder.file(&format!("{it}.json"), definition(it)));
    at_both(
        |_| {},
        |ask| {
            let made = parsed(ask, &["projection", "create", &one, "--wait"]);
            assert_eq!((&made["name"], &made["version"]), (&json!("orders"), &json!(1)));
            let again = ask(&["projection", "create", &one]);
            assert!(again.stderr.contains("version 1 of projection orders was there"));
            again.done();
            let position = pay(ask, "order-1", &json!(250));
            let found = document(ask, "order-1", &position);
            assert_eq!(found["key"], "order-1");
            assert_eq!(found["document"], json!({ "cents": 250 }));
            assert_eq!(found["position"].to_string(), position);
            let table = ask(&["lookup", "orders", "order-1"]).done();
            assert!(table.contains("\"cents\": 250") && table.contains("lag (events)"), "{table}");
            let listed = parsed(ask, &["projection", "list"]);
            assert_eq!(listed["projections"][0]["name"], "orders");
            let table = ask(&["projection", "list"]).done();
            assert!(table.contains("PROJECTION") && table.contains("running"), "{table}");

            let made = ask(&["projection", "create", &two, "--wait"]);
            let says = "version 1 answers; `nexus projection switch orders 2`";
            assert!(made.stderr.contains(says), "{made:?}");
            let made = made.done();
            assert!(made.contains("GENERATION") && made.contains("documents digest"), "{made}");
            let switched = parsed(ask, &["projection", "switch", "orders", "2"]);
            assert_eq!(switched["version"], 2);
            let deleted = parsed(ask, &["projection", "delete", "orders", "--version", "1"]);
            assert_eq!(deleted, json!({ "projection": "orders", "version": 1, "deleted": true }));
            let before = status(ask);
            let rebuilt = parsed(ask, &["projection", "rebuild", "orders", "--wait"]);
            let generation = |info: &Value| info["builds"][0]["generation"].as_u64();
            assert!(generation(&rebuilt) > generation(&before), "{rebuilt}");
            assert_eq!(rebuilt["documents_digest"], before["documents_digest"]);
            assert_eq!((&rebuilt["state"], &rebuilt["documents"]), (&json!("running"), &json!(1)));

            assert_eq!(parsed(ask, &["projection", "pause", "orders"])["state"], "paused");
            let position = pay(ask, "order-1", &json!(50));
            ask(&["lookup", "orders", "order-1", "--min-position", &position, "--timeout", "50ms"])
                .fails(1, &["NX3006", &format!("position {position} within 50 ms")]);
            let waits = ["projection", "rebuild", "orders", "--wait"];
            ask(&waits).fails(1, &["is paused", "nexus projection resume orders"]);
            assert_ne!(parsed(ask, &["projection", "resume", "orders"])["state"], "paused");
            assert_eq!(document(ask, "order-1", &position)["document"]["cents"], 300);

            ask(&["projection", "delete", "orders"]).done();
            ask(&["projection", "status", "orders"]).fails(1, &["orders", "NX1004"]);
            ask(&["lookup", "orders", "order-1"]).fails(1, &["orders", "NX1004"]);
            let none = ask(&["projection", "list"]);
            assert!(none.stderr.contains("no projections"), "{none:?}");
        },
    );
}

#[test]
fn a_directory_answers_with_all_that_is_there() {
    let folder = Folder::new();
    let file = folder.file("orders.json", definition(1));
    let ask = |args: &[&str]| folder.run(args);
    ask(&["projection", "create", &file]).done();
    for cents in 1..=20 {
        pay(&ask, "order-1", &json!(cents));
    }
    let found = parsed(&ask, &["lookup", "orders", "order-1"]);
    assert_eq!((&found["document"]["cents"], &found["lag_events"]), (&json!(210), &json!(0)));
    ask(&["lookup", "orders", "order-2"]).fails(1, &["order-2", "NX1004"]);
}

#[test]
fn what_a_projection_parks_is_decided_about() {
    let folder = Folder::new();
    let file = folder.file("orders.json", definition(1));
    at_both(
        |_| {},
        |ask| {
            ask(&["projection", "create", &file, "--wait"]).done();
            let wrong = pay(ask, "order-1", &json!("much"));
            let other = pay(ask, "order-2", &json!([]));
            let last = pay(ask, "order-3", &json!(7));
            document(ask, "order-3", &last);
            let of = ["--source", "projection:orders"];
            let list = [&["parked", "list"], &of[..]].concat();
            let listed = parsed(ask, &list);
            let ids: Vec<_> = listed["parked"].as_array().unwrap().iter().collect();
            assert_eq!(
                (ids.len(), &ids[0]["id"], &ids[1]["id"]),
                (2, &json!(wrong), &json!(other))
            );
            assert_eq!(ids[0]["source"], "projection:orders");
            let table = ask(&list).done();
            assert!(table.contains("order-2") && !table.contains("LANE"), "{table}");
            let shown = ask(&[&["parked", "show", &wrong], &of[..]].concat()).done();
            assert!(shown.contains("order-1") && !shown.contains("lane"), "{shown}");
            for args in
                [&["list", "--lane", "1"][..], &["replay", "--lane", "1"], &["skip", "--lane", "1"]]
            {
                ask(&[&["parked"], args, &of[..]].concat()).fails(2, &["no lanes", "--key"]);
            }
            let rate = ["parked", "replay", "--all", "--rate", "5"];
            ask(&[&rate[..], &of[..]].concat()).fails(2, &["no rate"]);
            ask(&["parked", "list", "--source", "projection:"]).fails(2, &["projection:NAME"]);
            let replay = ["parked", "replay", "--key", "order-1"];
            assert_eq!(parsed(ask, &[&replay[..], &of[..]].concat()), json!({ "count": 1 }));
            let skip = ["parked", "skip", &other];
            assert_eq!(parsed(ask, &[&skip[..], &of[..]].concat()), json!({ "count": 1 }));
            let edit = ["parked", "edit", &wrong, "--json", r#"{"cents": 100}"#];
            let edited = parsed(ask, &[&edit[..], &of[..]].concat());
            assert_eq!(edited["position"].to_string(), wrong);
            let last = pay(ask, "order-1", &json!(1));
            assert_eq!(document(ask, "order-1", &last)["document"]["cents"], 101);
            assert_eq!(status(ask)["parked"], 0);
        },
    );
}

#[test]
fn what_is_no_definition_is_refused_before_it_is_sent() {
    let folder = Folder::new();
    folder.done(&["append", "a", "--type", "A", "--data", "1"]);
    let field = r#"{"name": "a", "key": "/stream", "sink": "kv", "fields": {"f": {"type": "x"}}}"#;
    let file = folder.file("a.json", field);
    folder.refused(2, &["projection", "create", &file], &["a.json: fields.f"]);
    let toml = "name = \"a\"\nkey = \"/stream\"\nsink = \"kv\"\n\
                [fields.count]\ntype = \"u64\"\nfold = \"count\"\n";
    let file = folder.file("a.toml", toml);
    assert_eq!(folder.json(&["projection", "create", &file, "--wait"])["documents"], 1);
    folder.refused(1, &["projection", "switch", "a", "7"], &["version 7"]);
}

#[test]
fn events_are_lifted_in_a_dry_run_as_they_are_in_a_projection() {
    let folder = Folder::new();
    let schema = |field: &str| {
        json!({ "type": "object", "properties": { field: { "type": "integer" } } }).to_string()
    };
    let [one, two] =
        [("1.json", "from"), ("2.json", "to")].map(|(name, it)| folder.file(name, schema(it)));
    let up = folder
        .file("up.json", json!([{ "op": "rename", "path": "/from", "to": "to" }]).to_string());
    let moves = json!({
        "name": "moves", "key": "/stream", "sink": "kv", "as_schema": { "Moved": 2 },
        "fields": { "all": { "type": "u64", "fold": "append", "from": "/data/to" } },
    });
    let moves = folder.file("moves.json", moves.to_string());
    at_both(
        |_| {},
        |ask| {
            ask(&["projection", "create", &moves]).fails(2, &["no version 2 of subject \"Moved\""]);
            ask(&["schema", "register", &one, "--subject", "Moved"]).done();
            ask(&["append", "a", "--type", "Moved", "--data", "{\"from\":7}"]).done();
            ask(&["schema", "register", &two, "--subject", "Moved", "--up", &up]).done();
            ask(&["append", "a", "--type", "Moved", "--data", "{\"to\":8}"]).done();
            let tried = parsed(ask, &["projection", "dry-run", &moves]);
            assert_eq!(tried["documents"][0]["document"], json!({ "all": [7, 8] }));
            let made = parsed(ask, &["projection", "create", &moves, "--wait"]);
            assert_eq!(made["documents_digest"], tried["documents_digest"]);
            assert_eq!(made["events_digest"], tried["events_digest"]);
        },
    );
}

#[test]
fn events_themselves_are_searched_once_somebody_asks_for_it() {
    at_both(
        |_| {},
        |ask| {
            ask(&[
                "append",
                "order-1",
                "--type",
                "Paid",
                "--tag",
                "by:card",
                "--data",
                "{\"cents\":250,\"note\":\"Élan vital\"}",
            ])
            .done();
            ask(&["search", "events", "*"]).fails(1, &["events"]);
            parsed(ask, &["projection", "create", "@events", "--wait"]);
            let position = pay(ask, "order-2", &json!(300));
            for (query, stream) in [
                ("type:Paid AND data.cents:250", "order-1"),
                ("data.note:elan", "order-1"),
                ("tags:\"by:card\"", "order-1"),
                ("data.cents:[251 TO 400]", "order-2"),
                ("stream:order-2", "order-2"),
            ] {
                let found = parsed(ask, &["search", "events", query, "--min-position", &position]);
                assert_eq!(found["total"], 1, "{query}: {found}");
                assert_eq!(found["hits"][0]["document"]["stream"], stream, "{query}");
            }
        },
    );
}

#[test]
fn all_that_is_found_is_a_table_for_spreadsheets() {
    let folder = Folder::new();
    let field = |kind: &str, name: &str| json!({ "type": kind, "fold": "set", "from": format!("/data/{name}") });
    let fields = json!({ "who": field("keyword", "who"), "cents": field("i64", "cents") });
    let definition = json!({ "name": "notes", "key": "/stream", "fields": fields }).to_string();
    let file = folder.file("notes.json", definition);
    at_both(
        |_| {},
        |ask| {
            ask(&["projection", "create", &file, "--wait"]).done();
            let mut last = String::new();
            for (number, who) in
                ["Ada", "=1+1", "a, \"b\"", "-"].iter().cycle().take(30).enumerate()
            {
                let data = json!({ "who": who, "cents": -7 }).to_string();
                let stream = format!("note-{number:02}");
                let appended =
                    parsed(ask, &["append", &stream, "--type", "Noted", "--data", &data]);
                last = appended["last_position"].to_string();
            }
            // Ten a page.
            let all = ["search", "notes", "--all", "--limit", "10", "--min-position", &last];
            let table = ask(&[&all[..], &["--csv"]].concat()).done();
            let rows: Vec<_> = table.split_terminator("\r\n").collect();
            assert_eq!(rows.len(), 31, "{table}");
            assert_eq!(rows[..3], ["key,cents,who", "note-00,-7,Ada", "note-01,-7,'=1+1"]);
            assert_eq!(rows[3..5], ["note-02,-7,\"a, \"\"b\"\"\"", "note-03,-7,'-"]);
            let lines = ask(&[&all[..], &["--output", "ndjson"]].concat()).done();
            assert_eq!(lines.lines().count(), 30);
            let first: Value = serde_json::from_str(lines.lines().nth(1).unwrap()).unwrap();
            assert_eq!(first["document"], json!({ "who": "=1+1", "cents": -7 }));
            // Of one page, and of some fields in their order.
            let page =
                ["search", "notes", "who:Ada", "--csv", "--field", "who", "--field", "cents"];
            let page = ask(&[&page[..], &["--limit", "2", "--sort", "who"]].concat()).done();
            assert_eq!(page, "key,who,cents\r\nnote-00,Ada,-7\r\nnote-04,Ada,-7\r\n");
            ask(&["search", "notes", "--csv", "--output", "json"]).fails(2, &["--csv"]);
            ask(&["search", "notes", "--csv", "--highlight", "who"]).fails(2, &["--highlight"]);
            ask(&["search", "notes", "--csv", "--field", "none"]).fails(2, &["there is no field"]);
            // What waits is said beside the table.
            ask(&["append", "note-00", "--type", "Noted", "--data", "{\"cents\": \"many\"}"])
                .done();
            let looked = ["lookup", "notes", "note-00", "--timeout", "10s", "--min-position"];
            let last = (last.parse::<u64>().unwrap() + 1).to_string();
            let looked = ask(&[&looked[..], &[&last]].concat()).done();
            assert!(looked.contains("parked"), "{looked}");
            let found = ask(&["search", "notes", "--all", "--csv"]);
            assert!(found.stderr.contains("1 keys are parked"), "{}", found.stderr);
            found.done();
        },
    );
}
