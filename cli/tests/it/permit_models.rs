//! The cases of the permits as read models: by one command, searched, and the same after kills.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::nexus::{Folder, PERMITS, bare, finish, permits};
use crate::serve::Serving;

/// The cases, as the guide has them.
const CASES: &str = include_str!("../../../docs/guides/read-models/cases.json");
const EVENTS: u64 = 8_577;

fn on(serving: &Serving, args: &[&str]) -> Command {
    let mut command = bare();
    command.args(["--server", &serving.url()]).args(args);
    command
}

fn json_of(serving: &Serving, args: &[&str]) -> Value {
    let args = [args, &["--output", "json"]].concat();
    serde_json::from_str(&finish(&mut on(serving, &args), b"").done()).unwrap()
}

/// As curl asks.
fn search(serving: &Serving, asked: &Value) -> Value {
    let http = serving.ready["http"].as_str().unwrap();
    let url = format!("http://{http}/v1/projections/cases/search");
    let answer = ureq::post(&url).content_type("application/json").send(asked.to_string());
    let text = answer.unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The same definition, whose documents are kept by key alone.
fn by_key() -> String {
    let mut definition: Value = serde_json::from_str(CASES).unwrap();
    definition["name"] = "by_key".into();
    definition["sink"] = "kv".into();
    definition.to_string()
}

fn digests(info: &Value) -> [Value; 3] {
    ["events_digest", "documents_digest", "events"].map(|it| info[it].clone())
}

#[test]
fn the_known_answers_are_found_and_kills_change_nothing() {
    let Some(file) = permits() else { return };
    let folder = Folder::new();
    let (cases, by_key) = (folder.file("cases.json", CASES), folder.file("by_key.json", by_key()));
    let mut serving = Serving::dev(&folder);
    for definition in [&cases, &by_key] {
        finish(&mut on(&serving, &["projection", "create", definition]), b"").done();
    }
    // The server is killed in the middle of the import, while both are folded.
    for part in 1..=3 {
        let mut import = on(&serving, &["import", file.to_str().unwrap(), "--progress", "none"]);
        import.args(PERMITS).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut importing = import.spawn().unwrap();
        while importing.try_wait().unwrap().is_none()
            && json_of(&serving, &["stats"])["events"].as_u64().unwrap() < part * EVENTS / 4
        {
        }
        serving.child.kill().unwrap();
        serving.wait();
        importing.kill().unwrap();
        importing.wait().unwrap();
        serving = Serving::dev(&folder);
    }
    let import = [&["import", file.to_str().unwrap()], PERMITS].concat();
    finish(&mut on(&serving, &import), b"").done();
    assert_eq!(json_of(&serving, &["stats"])["events"], json!(EVENTS));
    let head = json_of(&serving, &["stats"])["head_position"].as_u64().unwrap();

    let by_channel = json!({ "limit": 0, "min_position": head, "timeout_ms": 60_000,
        "aggs": { "channels": { "terms": { "field": "channel" } }, "duration": { "stats": { "field": "duration_s" } } } });
    let found = search(&serving, &by_channel);
    assert_eq!(
        (&found["total"], found["as_of_position"].as_u64() >= Some(head)),
        (&json!(1_434), true)
    );
    let buckets = found["aggs"]["channels"]["buckets"].as_array().unwrap();
    let told: Vec<_> = buckets
        .iter()
        .map(|it| (it["key"].as_str().unwrap(), it["doc_count"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        told,
        [("Internet", 1_250), ("Desk", 109), ("Post", 53), ("e-mail", 21), ("Intern", 1)]
    );
    let internet = json!({ "query": "channel:Internet", "sort": [{ "duration_s": "desc" }], "limit": 3, "fields": ["duration_s"] });
    let found = search(&serving, &internet);
    assert_eq!(found["total"], json!(1_250));
    let hits = found["hits"].as_array().unwrap();
    let durations: Vec<_> =
        hits.iter().map(|it| it["document"]["duration_s"].as_i64().unwrap()).collect();
    assert!(durations.is_sorted_by(|a, b| a >= b) && durations[0] > 0, "{durations:?}");
    let mid = json!({ "query": { "bool": { "must": [{ "match": { "responsible": "resource21" } }],
        "filter": [{ "range": { "events": { "gte": 5 } } }] } }, "highlight": ["responsible"] });
    let found = search(&serving, &mid);
    assert!(found["total"].as_u64().unwrap() > 0, "{found}");
    assert_eq!(found["hits"][0]["highlight"]["responsible"], json!(["<b>Resource21</b>"]));

    // What was folded between kills is what is folded at once.
    let dry_run = json_of(&serving, &["projection", "dry-run", &cases, "--limit", "10000"]);
    for name in ["cases", "by_key"] {
        finish(
            &mut on(
                &serving,
                &["lookup", name, "permit-none", "--min-position", &head.to_string()],
            ),
            b"",
        );
        let folded = json_of(&serving, &["projection", "status", name]);
        assert_eq!(digests(&folded)[..2], digests(&dry_run)[..2], "{name}");
        assert_eq!((&folded["documents"], &folded["parked"]), (&json!(1_434), &json!(0)));
        finish(&mut on(&serving, &["projection", "rebuild", name, "--wait"]), b"").done();
        let rebuilt = json_of(&serving, &["projection", "status", name]);
        assert_eq!(digests(&rebuilt), digests(&folded), "{name}");
        assert!(
            rebuilt["builds"][0]["generation"].as_u64()
                > folded["builds"][0]["generation"].as_u64()
        );
    }
    let looked_up = json_of(&serving, &["lookup", "by_key", "permit-case-5141"]);
    assert_eq!(looked_up["document"]["events"], json!(12));
    let table = finish(&mut on(&serving, &["search", "cases", "_x:1"]), b"");
    table.fails(2, &["there is no field"]);
    let all = finish(
        &mut on(&serving, &["search", "cases", "channel:Desk", "--all", "--output", "ndjson"]),
        b"",
    )
    .done();
    assert_eq!(all.lines().count(), 109);
    drop(serving);
    assert_eq!(folder.json(&["verify"])["ok"], json!(true));
}
