//! `nexus timer`, over a server and on a directory: what the guide shows, and what is refused.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::nexus::{Folder, finish, lines};
use crate::places::{Ask, at_both, parsed};
use crate::serve::Serving;

fn check(run: impl Fn(Ask<'_>)) {
    let prepare = |folder: &Folder| {
        folder.done(&["append", "order-1", "--type", "OrderPlaced", "--data", "{}"]);
    };
    at_both(prepare, run);
}

const LATER: &str = "2096-12-01T12:00:00Z";
const PAST: &str = "2016-12-01T12:00:00Z";

/// Arms a timer that is to append `PaymentTimedOut` to `order-1`.
fn set(ask: Ask<'_>, id: &str, due_at: &str) -> Value {
    let what = ["--stream", "order-1", "--type", "PaymentTimedOut", "--tag", "a:b"];
    let data = ["--event-data", "{\"after_min\": 30}", "--due-at", due_at];
    parsed(ask, &[&["timer", "set", id], &what[..], &data].concat())
}

/// A timer, once it stands so. On a directory it fires while a command has it open.
fn once(ask: Ask<'_>, id: &str, state: &str) -> Value {
    for _ in 0..TRIES {
        let shown = parsed(ask, &["timer", "show", id]);
        if shown["state"] == state {
            return shown;
        }
    }
    panic!("{id} is not {state}");
}

/// How often is asked whether a timer has come so far.
const TRIES: u32 = 500;

#[test]
fn a_timer_is_armed_shown_listed_and_disarmed() {
    check(|ask| {
        let armed = set(ask, "order-1/payment", LATER);
        assert_eq!((&armed["id"], &armed["state"]), (&json!("order-1/payment"), &json!("armed")));
        assert_eq!(armed["due_at"], "2096-12-01T12:00:00.000000Z");
        assert_eq!((&armed["stream"], &armed["generation"]), (&json!("order-1"), &json!(0)));
        let event = &armed["event"];
        assert_eq!((&event["type"], &event["tags"]), (&json!("PaymentTimedOut"), &json!(["a:b"])));
        assert_eq!(event["data"], json!({"after_min": 30}));
        assert!(armed["position"].is_u64() && armed["armed_at"].is_string(), "{armed}");
        assert_eq!((&armed["fired_at"], &armed["failure"]), (&Value::Null, &Value::Null));
        assert_eq!(parsed(ask, &["timer", "show", "order-1/payment"]), armed);
        assert_eq!(set(ask, "order-1/payment", "2096-12-02T12:00:00Z")["generation"], 1, "anew");
        set(ask, "order-2/payment", LATER);
        let first = parsed(ask, &["timer", "list", "--limit", "1"]);
        assert_eq!(first["timers"][0]["id"], "order-1/payment");
        assert_eq!(first["next"], "order-1/payment");
        let table = ask(&["timer", "list", "--limit", "1"]);
        assert!(table.stderr.contains("--after \"order-1/payment\""), "{}", table.stderr);
        let second = parsed(ask, &["timer", "list", "--after", "order-1/payment"]);
        assert_eq!(second["timers"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&second["timers"][0]["id"], &second["next"]),
            (&json!("order-2/payment"), &Value::Null)
        );
        let disarmed = parsed(ask, &["timer", "disarm", "order-1/payment"]);
        assert_eq!(disarmed, json!({"id": "order-1/payment", "disarmed": true}));
        let none = "there is no timer \"order-1/payment\"";
        ask(&["timer", "disarm", "order-1/payment"]).fails(1, &[none, "NX1004"]);
        ask(&["timer", "show", "order-1/payment"]).fails(1, &[none]);
        assert_eq!(parsed(ask, &["timer", "list"])["timers"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn a_timer_of_the_past_fires_at_once() {
    check(|ask| {
        set(ask, "late", PAST);
        let shown = once(ask, "late", "fired");
        assert!(shown["fired_at"].is_string(), "{shown}");
        let came = lines(&ask(&["tail", "--type", "PaymentTimedOut", "--output", "ndjson"]).done());
        assert_eq!((came.len(), &came[0]["stream"]), (1, &json!("order-1")));
        assert_eq!(
            (&came[0]["data"], &came[0]["tags"]),
            (&json!({"after_min": 30}), &json!(["a:b"]))
        );
        ask(&["timer", "disarm", "late"]).fails(1, &["there is no timer \"late\"", "over"]);
        assert_eq!(parsed(ask, &["timer", "list"])["timers"], json!([]));
    });
}

/// Over a server alone: it goes on trying between the commands.
#[test]
fn a_timer_that_fails_says_why_until_it_is_given_up() {
    let folder = Folder::new();
    let serving = Serving::dev(&folder);
    let ask: Ask<'_> = &|args| finish(serving.command().args(args), b"");
    ask(&["append", "order-1", "--type", "OrderPlaced", "--data", "{}"]).done();
    ask(&["stream", "tombstone", "order-1"]).done();
    let ids = ["order-1/payment", "b", "c", "d"];
    // The first is set last: when it has failed, so have all of them, whose tries are as far apart.
    for id in ids.iter().rev() {
        set(ask, id, PAST);
    }
    let stream = ["tail", "--follow", "$timer-order-1/payment", "--output", "ndjson"];
    let mut tail = serving
        .command()
        .args(stream)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("$TimerFailed")), "it is tried 5 times");
    tail.kill().unwrap();
    tail.wait().unwrap();
    for id in ids {
        once(ask, id, "failed");
    }
    let failed = parsed(ask, &["timer", "list", "--state", "failed"]);
    let timer = &failed["timers"][3];
    assert_eq!((&timer["id"], &timer["state"]), (&json!("order-1/payment"), &json!("failed")));
    assert_eq!(timer["failure"]["attempts"], 5);
    assert!(timer["failure"]["error"]["message"].as_str().unwrap().contains("order-1"), "{timer}");
    assert!(timer["failure"]["first_failed_at"].is_string(), "{timer}");
    let shown = ask(&["timer", "show", "order-1/payment"]).done();
    assert!(shown.contains("deleted"), "{shown}");
    assert_eq!(parsed(ask, &["timer", "list"])["timers"], json!([]), "none is armed");
    ask(&["timer", "disarm", "order-1/payment"]).done();
    failed_timers_are_parked(ask);
    assert_eq!(parsed(ask, &["timer", "list", "--state", "failed"])["timers"], json!([]));
}

/// About timers that are parked.
fn parked<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["parked"], args, &["--source", "timers"]].concat()
}

/// `b`, `c`, and `d` have failed.
fn failed_timers_are_parked(ask: Ask<'_>) {
    let page = parsed(ask, &parked(&["list", "--limit", "2"]));
    assert_eq!((&page["parked"][1]["id"], &page["next"]), (&json!("c"), &json!("c")));
    let entry = &page["parked"][0];
    assert_eq!((&entry["id"], &entry["source"]), (&json!("b"), &json!("timers")));
    assert_eq!((&entry["stream"], &entry["attempts"]), (&json!("order-1"), &json!(5)));
    assert!(ask(&parked(&["show", "d"])).done().contains("deleted"));
    assert_eq!(parsed(ask, &parked(&["skip", "b"])), json!({ "count": 1 }));
    ask(&["timer", "show", "b"]).fails(1, &["there is no timer \"b\""]);
    // Each has as many tries as at first, and is not parked meanwhile.
    let edited = parsed(ask, &parked(&["edit", "c", "--json", "{\"n\": 2}"]));
    assert!(edited["position"].is_u64());
    let shown = parsed(ask, &["timer", "show", "c"]);
    assert_eq!((&shown["state"], &shown["event"]["data"]), (&json!("armed"), &json!({"n": 2})));
    assert_eq!(parsed(ask, &parked(&["replay", "--all"])), json!({ "count": 1 }));
    assert_eq!(parsed(ask, &["timer", "show", "d"])["state"], "armed");
    assert_eq!(parsed(ask, &parked(&["purge", "--all"])), json!({ "count": 0 }));
    ask(&parked(&["skip", "d"])).fails(1, &["timer \"d\" is armed, and not parked"]);
    ask(&parked(&["show", "b"])).fails(1, &["there is no timer \"b\""]);
    ask(&parked(&["replay", "--lane", "1"])).fails(2, &["neither lanes nor keys"]);
    ask(&parked(&["replay", "--all", "--rate", "5"])).fails(2, &["no rate"]);
    ask(&["parked", "list", "--source", "saga:x"]).fails(2, &["group:NAME", "or timers"]);
}

#[test]
fn a_timer_that_cannot_be_is_refused() {
    let long = "x".repeat(257);
    let with = |id, due_at, stream, event_type, more: &[&'static str]| {
        let timer = ["timer", "set", id, "--due-at", due_at, "--stream", stream];
        [&timer[..], &["--type", event_type], more].concat()
    };
    let cases: Vec<(Vec<&str>, i32, &[&str])> = vec![
        (with("t", "tomorrow", "a", "T", &[]), 2, &["\"tomorrow\" is not a time", "RFC 3339"]),
        (with("t", "2026-12-01T12:00:00", "a", "T", &[]), 2, &["with an offset"]),
        (with("t", "2196-12-01T12:00:00Z", "a", "T", &[]), 2, &["at most 36525 days ahead"]),
        (with(&long, LATER, "a", "T", &[]), 2, &["has 257 bytes: at most 256"]),
        (with("", LATER, "a", "T", &[]), 2, &["timer \"\" is empty"]),
        (with("a\u{1}", LATER, "a", "T", &[]), 2, &["control character"]),
        (with("t", LATER, "", "T", &[]), 2, &["stream name \"\" is empty"]),
        (with("t", LATER, "$a", "T", &[]), 2, &["cannot append to \"$a\""]),
        (with("t", LATER, "a", "$T", &[]), 2, &["event of type \"$T\""]),
        (with("t", LATER, "a", "T", &["--event-data", "{"]), 2, &["--event-data is not JSON"]),
        (with("t", LATER, "a", "T", &["--tag", "x"]), 2, &["tag \"x\" is not `key:value`"]),
        (vec!["timer", "set", "t", "--stream", "a", "--type", "T"], 2, &["--due-at"]),
        (vec!["timer", "show", &long], 2, &["has 257 bytes"]),
        (vec!["timer", "show", "t"], 1, &["there is no timer \"t\"", "NX1004"]),
        (vec!["timer", "disarm", "t"], 1, &["there is no timer \"t\"", "NX1004"]),
        (vec!["timer", "list", "--state", "fired"], 2, &["armed, failed"]),
        (vec!["timer", "list", "--limit", "0"], 2, &["1..=1000"]),
        (vec!["timer", "list", "--limit", "1001"], 2, &["1..=1000"]),
    ];
    check(|ask| {
        for (args, code, parts) in &cases {
            ask(args).fails(*code, parts);
        }
        assert_eq!(parsed(ask, &["timer", "list"])["timers"], json!([]), "nothing was armed");
    });
}
