//! `nexus group` and `nexus parked`, over a server and on a directory: what the guide shows, with real cases.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use crate::nexus::{Folder, PERMITS, finish, lines, permits};
use crate::serve::Serving;

fn done(command: &mut Command, args: &[&str]) -> String {
    finish(command.args(args), b"").done()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What three consumers printed that ran at the same time until nothing came any more.
fn consume(serving: &Serving, fails: &str) -> Vec<Value> {
    let consumer = |name: &'static str| {
        let mut command = serving.command();
        command.args(["group", "consume", "cases", "--consumer", name, "--until-idle", "2s"]);
        // One of the three fails.
        if name == "c" && fails != "0" {
            command.args(["--fail-every", fails]);
        }
        command.args(["--output", "ndjson"]);
        std::thread::spawn(move || lines(&finish(&mut command, b"").done()))
    };
    let running = ["a", "b", "c"].map(consumer);
    let came = running.map(|it| it.join().unwrap());
    came.iter().for_each(|came| check_order(came));
    came.into_iter().flatten().collect()
}

/// What comes to a consumer of one case is in the order of the log.
fn check_order(came: &[Value]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for delivery in came {
        let event = &delivery["event"];
        let position = event["position"].as_u64().unwrap();
        let before = last.insert(event["stream"].as_str().unwrap(), position);
        assert!(before.is_none_or(|before| before < position), "{before:?} before {delivery}");
    }
}

#[test]
fn real_cases_are_shared_by_three_of_which_one_fails() {
    let Some(file) = permits() else { return };
    let folder = Folder::new();
    let imported = folder.command().arg("import").arg(&file).args(PERMITS).output().unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let serving = Serving::dev(&folder);
    let ask = |args: &[&str]| done(&mut serving.command(), args);
    let json = |args: &[&str]| parsed(&ask(&[args, &["--output", "json"]].concat()));
    ask(&[
        "group",
        "create",
        "cases",
        "--category",
        "permit",
        "--max-attempts",
        "1",
        "--lanes",
        "16",
    ]);
    assert_eq!(json(&["group", "lag", "cases"])["lag_events"], 8_577);
    let mut all = consume(&serving, "50");
    let lag = json(&["group", "lag", "cases"]);
    let parked = json(&["parked", "list", "--source", "group:cases"]);
    let entries = parked["parked"].as_array().unwrap();
    assert!(!entries.is_empty(), "one of them failed: {lag}");
    assert_eq!(lag["lag_events"], 0, "what is parked holds up nobody else");
    // What failed, and what waits behind it, is all that did not come.
    let waiting: u64 = entries.iter().map(|it| it["waiting_behind"].as_u64().unwrap()).sum();
    assert_eq!(lag["parked"], entries.len() as u64 + waiting);
    let of_lanes = lag["lag_by_lane"].as_array().unwrap();
    let in_lanes: u64 = of_lanes.iter().map(|it| it["parked"].as_u64().unwrap()).sum();
    assert_eq!(lag["parked"], in_lanes, "the lanes say where it is");
    let id = entries[0]["id"].as_str().unwrap().to_owned();
    let shown = json(&["parked", "show", &id, "--source", "group:cases"]);
    assert_eq!(shown["error"]["message"], "failed on purpose, by --fail-every");
    assert_eq!(shown["attempts"], 1);
    let replayed = json(&["parked", "replay", "--all", "--source", "group:cases"]);
    assert_eq!(replayed["count"], entries.len());
    all.extend(consume(&serving, "0"));
    let shown = json(&["group", "show", "cases"]);
    assert_eq!((&shown["lag_events"], &shown["parked"]), (&json!(0), &json!(0)), "{shown}");
    // Equal counts in the end: each event came, and those that failed came twice.
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    let mut cases = BTreeSet::new();
    for delivery in &all {
        let event = &delivery["event"];
        *times.entry(event["position"].as_u64().unwrap()).or_default() += 1;
        cases.insert(event["stream"].as_str().unwrap());
    }
    assert_eq!((times.len(), cases.len()), (8_577, 1_434));
    assert_eq!(times.values().filter(|times| **times == 2).count(), entries.len());
}

#[test]
fn a_group_is_worked_with_on_a_directory_by_commands_alone() {
    let folder = Folder::new();
    let ask = |args: &[&str]| done(&mut folder.command(), args);
    for number in 0..3 {
        let data = format!("{{\"n\": {number}}}");
        ask(&["append", "mail-1", "--type", "Sent", "--data", &data]);
    }
    let created = ask(&["group", "create", "mail", "--max-attempts", "1"]);
    assert!(created.contains("ordered"), "{created}");
    let listed = parsed(&ask(&["group", "list", "--output", "json"]));
    assert_eq!(listed["groups"][0]["name"], "mail");
    // A command gets each event, and the second one fails.
    let script = "grep -q '\"n\": *1' && { echo 'no such address' >&2; exit 7; } || exit 0";
    let consume =
        ["group", "consume", "mail", "--consumer", "a", "--until-idle", "1s", "--exec", script];
    ask(&consume);
    let parked = parsed(&ask(&["parked", "list", "--source", "group:mail", "--output", "json"]));
    let entry = &parked["parked"][0];
    assert_eq!(entry["error"]["chain"], json!(["no such address"]));
    assert_eq!((&entry["error"]["class"], &entry["waiting_behind"]), (&json!("exec"), &json!(1)));
    let id = entry["id"].as_str().unwrap();
    // By its key it is the same; of another there is nothing, and nothing is done with it.
    let of_key = |key: &'static str| {
        let list = ["parked", "list", "--source", "group:mail", "--key", key, "--output", "json"];
        parsed(&ask(&list))
    };
    assert_eq!(of_key("mail-1")["parked"], parked["parked"]);
    assert_eq!(of_key("mail-2")["parked"], json!([]));
    let skip = ["parked", "skip", "--key", "mail-2", "--source", "group:mail", "--output", "json"];
    assert_eq!(parsed(&ask(&skip)), json!({ "count": 0 }));
    let replay =
        ["parked", "replay", "--key", "mail-1", "--source", "group:mail", "--output", "json"];
    assert_eq!(parsed(&ask(&replay)), json!({ "count": 1 }));
    ask(&consume);
    let table = ask(&["parked", "list", "--source", "group:mail"]);
    assert!(table.contains("the command ended with exit status: 7"), "{table}");
    ask(&["parked", "edit", id, "--json", "{\"n\": 10}", "--source", "group:mail"]);
    let came = ask(&[&consume[..7], &["--output", "ndjson"]].concat());
    let numbers: Vec<_> = lines(&came).iter().map(|it| it["event"]["data"]["n"].clone()).collect();
    assert_eq!(numbers, [10, 2], "the edited one first, and then what waited");
    let paused = ask(&["group", "pause", "mail", "--reason", "no mail server"]);
    assert!(paused.contains("no mail server"), "{paused}");
    ask(&["group", "resume", "mail"]);
    ask(&["group", "seek", "mail", "--to", "beginning"]);
    let lag = parsed(&ask(&["group", "lag", "mail", "--output", "json"]));
    assert_eq!((&lag["lag_events"], &lag["state"]), (&json!(3), &json!("running")));
    let listed = ask(&["group", "list"]);
    let cells: Vec<_> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells, ["mail", "ordered", "running", "3", "0", "0", "0"], "{listed}");
    ask(&["group", "seek", "mail", "--time", "9999-01-01T00:00:00Z"]);
    let lag = parsed(&ask(&["group", "lag", "mail", "--output", "json"]));
    assert_eq!(lag["lag_events"], 0, "all was recorded before");
    ask(&["group", "seek", "mail", "--time", "2000-01-01T00:00:00Z"]);
    let limited = ask(&[&consume[..5], &["--limit", "1", "--output", "ndjson"]].concat());
    assert_eq!(lines(&limited).len(), 1);
    ask(&["group", "delete", "mail"]);
    for (args, code, says) in [
        (&["group", "show", "mail"][..], 1, "create it first"),
        (&["group", "create", "mail", "--lanes", "0"], 2, "lanes"),
        (&["group", "create", "mail", "--mode", "fifo"], 2, "`ordered`"),
        (&["group", "create", "mail", "--ack-deadline", "13h"], 2, "12 h"),
        (&["group", "create", "-mail"], 2, "unexpected argument"),
        (&["group", "seek", "mail"], 2, "--position"),
        (&["parked", "list", "--source", "mail"], 2, "group:NAME"),
        (&["parked", "replay", "--source", "group:mail"], 2, "--all"),
        (&["parked", "replay", "--all", "--key", "a", "--source", "group:mail"], 2, "--key"),
        (&["parked", "skip", "--key", "", "--source", "group:mail"], 2, "from 1 to 576"),
        (&["parked", "replay", "--key", "a", "--source", "timers"], 2, "neither lanes nor keys"),
        (&["parked", "list", "--key", "a", "--source", "timers"], 2, "neither lanes nor keys"),
        (&["parked", "edit", "1", "--json", "{", "--source", "group:mail"], 2, "not JSON"),
    ] {
        folder.refused(code, args, &[says]);
    }
}

#[test]
fn a_command_may_take_longer_than_an_answer_has_time() {
    let folder = Folder::new();
    let ask = |args: &[&str]| done(&mut folder.command(), args);
    for data in ["1", "2"] {
        ask(&["append", "mail-1", "--type", "Sent", "--data", data]);
    }
    ask(&["group", "create", "mail", "--ack-deadline", "100ms"]);
    // The command's work, several times that long.
    let consume = ["group", "consume", "mail", "--consumer", "a", "--limit", "2"];
    let came = ask(&[&consume[..], &["--exec", "sleep 0.4", "--output", "ndjson"]].concat());
    let attempts: Vec<_> = lines(&came).iter().map(|it| it["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 1]);
    let shown = parsed(&ask(&["group", "show", "mail", "--output", "json"]));
    assert_eq!((&shown["lag_events"], &shown["in_flight"]), (&json!(0), &json!(0)));
}
