//! `nexus schema`, over a server and on a directory: what the guide shows, what is refused, and the permits.

use serde_json::{Value, json};

use crate::nexus::{Folder, PERMITS, permits};
use crate::places::{Ask, at_both, parsed};

fn check(run: impl Fn(&Folder, Ask<'_>)) {
    let folder = Folder::new();
    at_both(|_| {}, |ask| run(&folder, ask));
}

fn order(properties: &Value, required: &[&str]) -> String {
    json!({ "type": "object", "properties": properties, "required": required }).to_string()
}

/// Three versions of a schema: the second reads the first, the third reads neither.
fn files(folder: &Folder) -> (String, String, String) {
    let total = json!({ "total_cents": { "type": "integer" } });
    let both = json!({ "total_cents": { "type": "integer" }, "coupon": { "type": "string" } });
    (
        folder.file("first.json", order(&total, &["total_cents"])),
        folder.file("second.json", order(&both, &["total_cents"])),
        folder.file("harsh.json", order(&both, &["total_cents", "coupon"])),
    )
}

const SUBJECT: [&str; 2] = ["--subject", "OrderPlaced"];

fn append(data: &str) -> [&str; 6] {
    ["append", "order-1", "--type", "OrderPlaced", "--data", data]
}

#[test]
fn a_schema_is_registered_listed_shown_and_kept_to() {
    check(|folder, ask| {
        let (first, second, _) = files(folder);
        let made = parsed(ask, &[&["schema", "register", &first], &SUBJECT[..]].concat());
        assert_eq!((&made["version"], &made["state"]), (&json!(1), &json!("active")));
        ask(&append("{\"total_cents\":250}")).done();
        ask(&append("{\"total_cents\":\"x\"}")).fails(1, &["NX1009", "/total_cents", "type"]);
        ask(&append("{\"total_cents\":1,\"coupon\":\"a\"}")).fails(1, &["additionalProperties"]);
        let draft = ["schema", "register", &second, "--draft", "--owner", "shop"];
        let made = parsed(ask, &[&draft[..], &SUBJECT[..]].concat());
        assert_eq!((&made["version"], &made["state"]), (&json!(2), &json!("draft")));
        let promoted = parsed(ask, &["schema", "promote", "OrderPlaced"]);
        assert_eq!((&promoted["version"], &promoted["state"]), (&json!(2), &json!("active")));
        ask(&append("{\"total_cents\":1,\"coupon\":\"a\"}")).done();
        let listed = parsed(ask, &["schema", "list"]);
        assert_eq!(listed["schemas"][0]["subject"], "OrderPlaced");
        assert_eq!(listed["schemas"][0]["versions"].as_array().unwrap().len(), 2);
        let table = ask(&["schema", "list"]).done();
        assert!(table.contains("OrderPlaced") && table.contains("2 (active, id "), "{table}");
        let text = ask(&["schema", "show", "OrderPlaced", "--version", "1", "--text"]).done();
        assert_eq!(text, std::fs::read_to_string(&first).unwrap());
        let shown = ask(&["schema", "show", "OrderPlaced"]).done();
        assert!(shown.contains("shop") && shown.contains("coupon"), "{shown}");
        let diff = parsed(ask, &["schema", "diff", "OrderPlaced", "--from", "1"]);
        assert_eq!(diff["changes"][0]["pointer"], "/properties/coupon", "{diff}");
        assert_eq!((&diff["backward"], &diff["forward"]), (&json!([]), &json!([])), "{diff}");
        let table = ask(&["schema", "diff", "OrderPlaced", "--from", "1"]).done();
        assert!(table.contains("version 2 reads version 1: yes"), "{table}");
        let set = ["schema", "set", "OrderPlaced", "--compatibility", "FULL"];
        let set = parsed(ask, &set);
        assert_eq!(set["effective"]["compatibility"], "FULL", "{set}");
        ask(&["schema", "set", "--validation", "off"]).done();
        ask(&append("7")).done();
        ask(&["schema", "set", "--validation", "inherit"]).done();
        ask(&append("7")).fails(1, &["NX1009"]);
    });
}

#[test]
fn a_check_says_whether_a_schema_would_do_in_its_exit_code() {
    check(|folder, ask| {
        let (first, second, harsh) = files(folder);
        let with = |verb: &[&str], file: &str| -> Vec<String> {
            let words = verb.iter().chain([&file]).chain(&SUBJECT);
            words.map(|it| (*it).to_owned()).collect()
        };
        let ask = |words: Vec<String>, more: &[&str]| {
            let words: Vec<&str> =
                words.iter().map(String::as_str).chain(more.iter().copied()).collect();
            ask(&words)
        };
        ask(with(&["schema", "register"], &first), &[]).done();
        ask(with(&["schema", "check"], &second), &[]).done();
        let refused = ask(with(&["schema", "check"], &harsh), &["--output", "json"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        let said: Value = serde_json::from_str(&refused.stdout).unwrap();
        assert_eq!(
            (&said["compatible"], &said["incompatibilities"][0]["rule"]),
            (&json!(false), &json!("required"))
        );
        let refused = ask(with(&["schema", "register"], &harsh), &[]);
        refused.fails(3, &["NX2006", "required", "schema set"]);
        let words = |data: &str| append(data).map(str::to_owned).to_vec();
        for number in 0..5 {
            ask(words(&format!("{{\"total_cents\":{number}}}")), &[]).done();
        }
        let log = ["--against-log", "--output", "json"];
        let fine = ask(with(&["schema", "check"], &second), &log).done();
        let fine: Value = serde_json::from_str(&fine).unwrap();
        assert_eq!((&fine["checked"], &fine["failed"]), (&json!(5), &json!(0)), "{fine}");
        let all = ["--against-log", "--all", "--output", "json"];
        let refused = ask(with(&["schema", "check"], &harsh), &all);
        assert_eq!(refused.code, 1, "{refused:?}");
        let said: Value = serde_json::from_str(&refused.stdout).unwrap();
        assert_eq!((&said["checked"], &said["failed"]), (&json!(5), &json!(5)), "{said}");
        assert_eq!(said["failures"][0]["rule"], "required", "{said}");
        assert!(said["failures"][0]["position"].is_u64(), "{said}");
        let sample = ["--against-log", "--sample", "2", "--output", "json"];
        let two = ask(with(&["schema", "check"], &second), &sample).done();
        assert_eq!(serde_json::from_str::<Value>(&two).unwrap()["checked"], 2);
    });
}

#[test]
fn what_cannot_be_is_refused() {
    check(|folder, ask| {
        let bad = folder.file("bad.json", "{\"type\":\"objekt\"}");
        ask(&["schema", "register", &bad, "--subject", "A"]).fails(2, &["schema", "/type"]);
        let none = folder.path("none.json").to_str().unwrap().to_owned();
        ask(&["schema", "register", &none, "--subject", "A"])
            .fails(1, &["none.json", "cannot be read"]);
        let large = folder.file("large.json", vec![b' '; 5 << 20]);
        ask(&["schema", "register", &large, "--subject", "A"]).fails(2, &["too large"]);
        let binary = folder.file("binary.json", [0xff; 8]);
        ask(&["schema", "check", &binary, "--subject", "A"]).fails(1, &["cannot be read"]);
        ask(&["schema", "show", "Other"]).fails(1, &["there is no subject \"Other\""]);
        ask(&["schema", "show", "Other", "--version", "zero"]).fails(2, &["1, 2, … or latest"]);
        ask(&["schema", "promote", "Other", "--version", "1"]).fails(1, &["there is no"]);
        ask(&["schema", "set", "A", "--compatibility", "SOME"]).fails(2, &["BACKWARD_TRANSITIVE"]);
        ask(&["schema", "infer", "--type", "Other"]).fails(1, &["no such events"]);
        ask(&["schema", "infer"]).fails(2, &["--type"]);
        let words = ["schema", "register", &bad, "--subject", "A", "--reference", "x"];
        ask(&words).fails(2, &["NAME=SUBJECT:VERSION"]);
    });
}

#[test]
fn files_say_their_language_and_schemas_speak_of_each_other() {
    check(|folder, ask| {
        let record = r#"{"type":"record","name":"Paid","fields":[{"name":"cents","type":"long"}]}"#;
        let avro = folder.file("paid.avsc", record);
        let made = parsed(ask, &["schema", "register", &avro, "--subject", "Paid"]);
        assert_eq!(made["format"], "avro");
        let proto = folder.file("sent.proto", "syntax = \"proto3\"; message Sent { int64 n = 1; }");
        let made = parsed(ask, &["schema", "register", &proto, "--subject", "Sent"]);
        assert_eq!(made["format"], "protobuf");
        ask(&["schema", "register", &avro, "--subject", "Sent"]).fails(3, &["NX2006", "format"]);
        let money = folder.file("money.json", r#"{"type":"object","required":["cents"]}"#);
        ask(&["schema", "register", &money, "--subject", "Money"]).done();
        let order = folder.file(
            "order.json",
            r#"{"type":"object","properties":{"total":{"$ref":"https://example.com/money"}}}"#,
        );
        let order = ["schema", "register", &order, "--subject", "Order"];
        ask(&order).fails(2, &["https://example.com/money", "references"]);
        let reference = ["--reference", "https://example.com/money=Money:1"];
        ask(&[&order[..], &reference].concat()).done();
        let append = |data| ["append", "order-1", "--type", "Order", "--data", data];
        ask(&append("{\"total\":{\"cents\":1}}")).done();
        ask(&append("{\"total\":{}}")).fails(1, &["/total", "required"]);
        for state in ["deprecated", "retired"] {
            let to = ["schema", "promote", "Order", "--version", "1", "--to", state];
            assert_eq!(parsed(ask, &to)["state"], state);
        }
        ask(&append("{\"total\":{\"cents\":1}}")).fails(1, &["no active version"]);
    });
}

#[test]
fn a_check_looks_at_the_events_that_are_bound_to_no_closer_subject() {
    check(|folder, ask| {
        for (event_type, data) in [("OrderPaid", "{\"a\":1}"), ("OrderPlaced", "{\"b\":1}")] {
            ask(&["append", "order-1", "--type", event_type, "--data", data]).done();
        }
        let schema = |name: &str| {
            let properties = json!({ name: { "type": "integer" } });
            folder.file(&format!("{name}.json"), order(&properties, &[name]))
        };
        let (of_all, of_placed) = (schema("a"), schema("b"));
        ask(&["schema", "set", "order", "--type", "Order*"]).done();
        let check =
            ["schema", "check", &of_all, "--subject", "order", "--against-log", "--output", "json"];
        let both: Value = serde_json::from_str(&ask(&check).stdout).unwrap();
        assert_eq!((&both["checked"], &both["failed"]), (&json!(2), &json!(1)));
        ask(&["schema", "register", &of_placed, "--subject", "OrderPlaced"]).done();
        let one: Value = serde_json::from_str(&ask(&check).done()).unwrap();
        assert_eq!((&one["checked"], &one["failed"]), (&json!(1), &json!(0)));
    });
}

#[test]
fn the_permits_get_a_schema_by_inference_and_all_of_them_follow_it() {
    let Some(file) = permits() else { return };
    let folder = Folder::new();
    let file = file.to_str().unwrap();
    folder.done(&[&["import", file], PERMITS].concat());
    let inferred = folder.done(&["schema", "infer", "--category", "permit"]);
    let schema: Value = serde_json::from_str(&inferred).unwrap();
    assert_eq!(schema["properties"]["org:group"]["type"], "string", "{schema}");
    let schema = folder.file("permit.json", &inferred);
    let bound = ["schema", "set", "permit", "--category", "permit"];
    folder.done(&bound);
    let all = ["schema", "check", &schema, "--subject", "permit", "--against-log", "--all"];
    let checked = folder.json(&all);
    assert_eq!((&checked["checked"], &checked["failed"]), (&json!(8577), &json!(0)));
    folder.done(&["schema", "register", &schema, "--subject", "permit"]);
    // One of them that says what no permit does.
    let wrong = ["append", "permit-case-1", "--type", "Seen", "--data", "{\"org:group\": 7}"];
    folder.run(&wrong).fails(1, &["NX1009"]);
    // All of them again, in a store that is held to the schema from the beginning.
    let second = Folder::new();
    second.done(&bound);
    let schema = second.file("permit.json", &inferred);
    second.done(&["schema", "register", &schema, "--subject", "permit"]);
    second.done(&[&["import", file], PERMITS].concat());
    assert_eq!(second.json(&["stats"])["events"], 8577);
    let first = second.json(&["read", "--category", "permit", "--limit", "1"]);
    assert_eq!(first["events"][0]["schema"]["id"], 2, "{first}");
}

/// A schema with a property under another name, and under `parent` where there is one.
fn moved(schema: &Value, from: &str, to: &str, parent: Option<&str>) -> Value {
    let mut moved = schema.clone();
    let property = moved["properties"].as_object_mut().unwrap().remove(from).unwrap();
    let required = moved["required"].as_array_mut().unwrap();
    let was_required = required.iter().position(|it| it == from);
    was_required.map(|at| required.remove(at));
    match parent {
        None => {
            moved["properties"][to] = property;
            if was_required.is_some() {
                moved["required"].as_array_mut().unwrap().push(json!(to));
            }
        }
        Some(parent) => {
            moved["properties"][parent] =
                json!({ "type": "object", "properties": { to: property }, "required": [to] });
        }
    }
    moved
}

#[test]
fn the_permits_evolve_by_two_versions_and_are_read_as_each() {
    let Some(file) = permits() else { return };
    let folder = Folder::new();
    let import = [&["import", file.to_str().unwrap()], PERMITS].concat();
    folder.done(&import);
    let inferred = folder.done(&["schema", "infer", "--category", "permit"]);
    // They are there before anything is said of them: the schema is made of them.
    let store = folder;
    store.done(&["schema", "set", "permit", "--category", "permit"]);
    let first = store.file("v1.json", &inferred);
    store.done(&["schema", "register", &first, "--subject", "permit"]);

    let first: Value = serde_json::from_str(&inferred).unwrap();
    let second = moved(&first, "org:group", "group", None);
    let third = moved(&second, "org:resource", "resource", Some("who"));
    let ups = [
        json!([{"op": "rename", "path": "/org:group", "to": "group"}]),
        json!([{"op": "move", "from": "/org:resource", "to": "/who/resource"}]),
    ];
    for (number, (schema, up)) in (2..).zip([second, third].iter().zip(&ups)) {
        let schema = store.file(&format!("v{number}.json"), schema.to_string());
        let up = store.file(&format!("v{number}.up.json"), up.to_string());
        let of = ["--candidate", &schema, "--up", &up, "--all"];
        let tried = store.json(&[&["schema", "migrate", "permit", "--dry-run"], &of[..]].concat());
        assert_eq!((&tried["checked"], &tried["failed"]), (&json!(8577), &json!(0)), "{tried}");
        if number == 2 {
            // Without its operations the version does not read the old.
            let plain = store.run(&["schema", "register", &schema, "--subject", "permit"]);
            plain.fails(3, &["NX2006"]);
        }
        let register = ["schema", "register", &schema, "--subject", "permit", "--up", &up];
        assert_eq!(store.json(&register)["version"], number);
    }
    let read = |version: &str| {
        let words = ["read", "--category", "permit", "--as-schema", version, "--output", "ndjson"];
        let text = store.done(&words);
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let versions = [read("1"), read("2"), read("latest")];
    for (index, ((v1, v2), v3)) in
        versions[0].iter().zip(&versions[1]).zip(&versions[2]).enumerate()
    {
        for (number, event) in (1..).zip([v1, v2, v3]) {
            assert_eq!(event["schema"]["version"], number, "{index}: {event}");
            assert_eq!(event["position"], v1["position"]);
        }
        let (old, new) = (&v1["data"], &v3["data"]);
        assert_eq!(old["org:group"], v2["data"]["group"], "{index}");
        assert_eq!(
            (&new["group"], &new["who"]["resource"]),
            (&old["org:group"], &old["org:resource"])
        );
        assert!(new.get("org:resource").is_none() && v2["data"].get("org:group").is_none());
    }
    assert!(versions.iter().all(|it| it.len() == 8577));
    let tried = store.json(&["schema", "migrate", "permit", "--dry-run", "--all"]);
    let of_first = &tried["versions"][0];
    assert_eq!((&tried["to"], &of_first["events"]), (&json!(3), &json!(8577)), "{tried}");
    assert_eq!((&of_first["failed"], &of_first["without_way_back"]), (&json!(0), &json!(0)));
}

#[test]
fn events_are_shown_in_a_version_over_a_server_and_on_a_directory() {
    check(|folder, ask| {
        let items = folder.file("v1.json", order(&json!({ "items": {} }), &["items"]));
        let item = folder.file("v2.json", order(&json!({ "item": {} }), &["item"]));
        let up = folder.file("up.json", r#"[{"op":"fan_out","path":"/items","as":"/item"}]"#);
        ask(&[&["schema", "register", &items], &SUBJECT[..]].concat()).done();
        ask(&append("{\"items\":[1.50,2]}")).done();
        ask(&append("{\"items\":[]}")).done();
        ask(&[&["schema", "register", &item, "--up", &up], &SUBJECT[..]].concat()).done();
        let shown = parsed(ask, &["schema", "show", "OrderPlaced"]);
        assert_eq!(shown["up"][0]["op"], "fan_out", "{shown}");
        for words in [
            &["read", "order-1", "--as-schema", "latest"][..],
            &["read", "--as-schema", "2", "--limit", "2"],
            &["tail", "order-1", "--as-schema", "latest"],
        ] {
            let events = ask(&[words, &["--output", "ndjson"]].concat()).done();
            let events: Vec<Value> =
                events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let of = |it: &Value| (it["part"].clone(), it["schema"]["version"].clone());
            let expected = [(json!(0), json!(2)), (json!(1), json!(2))];
            assert_eq!(events.iter().map(of).collect::<Vec<_>>(), expected, "{words:?}");
            assert_eq!(events[0]["data"].to_string(), r#"{"item":1.5}"#);
        }
        let raw = parsed(ask, &["read", "order-1", "--limit", "1"]);
        let subject = json!("OrderPlaced");
        assert_eq!((&raw["events"][0]["schema"]["subject"], &raw["next"]), (&subject, &json!(1)));
        ask(&["read", "order-1", "--as-schema", "3"])
            .fails(1, &["NX2006", "has 2 versions", "raw"]);
        ask(&["read", "order-1", "--as-schema", "new"]).fails(2, &["raw, latest, or a version"]);
        ask(&["read", "order-1", "--as-schema", "1", "--resolve-links"]).fails(2, &["--as-schema"]);
        ask(&["group", "create", "mail"]).done();
        let consume = ["group", "consume", "mail", "--consumer", "a", "--limit", "1"];
        let consume = [&consume[..], &["--as-schema", "latest", "--output", "ndjson"]].concat();
        let delivery = ask(&consume).done();
        let delivery: Value = serde_json::from_str(delivery.lines().next().unwrap()).unwrap();
        assert_eq!(delivery["parts"][0]["data"], json!({ "item": 2 }), "{delivery}");

        // What its operations make of an event does not follow the version: found before it is registered.
        let wrong = folder.file("wrong.json", r#"[{"op":"drop","path":"/item"}]"#);
        let migrate = ["schema", "migrate", "OrderPlaced", "--dry-run", "--candidate", &item];
        let refused = ask(&[&migrate[..], &["--up", &wrong, "--output", "json"]].concat());
        assert_eq!(refused.code, 1, "{refused:?}");
        let said: Value = serde_json::from_str(&refused.stdout).unwrap();
        assert_eq!(
            (&said["failed"], &said["failures"][0]["rule"]),
            (&json!(1), &json!("required"))
        );
        let table = ask(&["schema", "migrate", "OrderPlaced", "--dry-run"]).done();
        assert!(table.contains("WITHOUT WAY BACK"), "{table}");
        ask(&["schema", "migrate", "OrderPlaced"]).fails(2, &["--dry-run"]);
        ask(&["schema", "migrate", "Nothing", "--dry-run"]).fails(1, &["no subject"]);
        let first = ["schema", "register", &item, "--subject", "New", "--up", &up];
        ask(&first).fails(2, &["no version before"]);
    });
}
