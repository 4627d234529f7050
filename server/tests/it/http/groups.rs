//! Groups over HTTP: as curl would use them.

use std::time::Duration;

use hyper::{Method, StatusCode};
use nexus_engine::Engine;
use nexus_node::{Node, Principal};
use nexus_protocol::Timestamp;
use nexus_protocol::group::GroupConfig;
use serde_json::{Value, json};

use super::client::{Answer, Http};
use crate::stores::Running;

pub(super) async fn put(http: &Http, path: &str, body: &Value) -> Answer {
    http.ask(Method::PUT, path).json(body).send().await.unwrap()
}

pub(super) async fn post(http: &Http, path: &str, body: &Value) -> Value {
    let answer = http.post(path, body).send().await.unwrap();
    assert!(answer.status.is_success(), "{path} {body}: {answer:?}");
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

pub(super) async fn get(http: &Http, path: &str) -> Value {
    let answer = http.get(path).send().await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
    answer.json()
}

pub(super) async fn append(http: &Http, stream: &str, numbers: std::ops::Range<u64>) {
    let events: Vec<_> = numbers.map(|n| json!({ "type": "Sent", "data": { "n": n } })).collect();
    post(http, &format!("/v1/streams/{stream}/events"), &json!(events)).await;
}

/// Tokens and numbers of deliveries.
pub(super) fn given(answer: &Value) -> (Vec<String>, Vec<u64>) {
    let all = answer["deliveries"].as_array().unwrap();
    let token = |it: &Value| it["token"].as_str().unwrap().to_owned();
    let number = |it: &Value| it["event"]["data"]["n"].as_u64().unwrap();
    (all.iter().map(token).collect(), all.iter().map(number).collect())
}

async fn receive(http: &Http, consumer: &str, max: usize) -> (Vec<String>, Vec<u64>) {
    let body = json!({ "consumer": consumer, "max": max });
    given(&post(http, "/v1/groups/mail/receive", &body).await)
}

#[test]
fn a_delayed_event_is_read_at_once_and_received_in_its_time() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let config = json!({ "filter": { "categories": ["mail"] }, "ack_deadline_ms": 30_000 });
        put(&http, "/v1/groups/mail", &config).await;
        append(&http, "other-1", 0..1).await;
        let read = get(&http, "/v1/streams/other-1/events").await;
        let now: Timestamp = read["events"][0]["recorded_at"].as_str().unwrap().parse().unwrap();
        let near = now.saturating_add(Duration::from_millis(300)).to_string();
        let far = "9999-12-31T23:59:59.000000Z".to_owned();
        for (number, stream, at) in [(8, "mail-8", &near), (9, "mail-9", &far)] {
            let event = json!({ "type": "Sent", "data": { "n": number }, "not_before": at });
            post(&http, &format!("/v1/streams/{stream}/events"), &json!([event])).await;
            let read = get(&http, &format!("/v1/streams/{stream}/events")).await;
            assert_eq!(read["events"][0]["not_before"], json!(at), "it is read at once");
        }
        append(&http, "mail-1", 0..1).await;
        let mut numbers = Vec::new();
        while numbers.len() < 2 {
            let body = json!({ "consumer": "a", "max": 10, "wait_ms": 20_000 });
            let answer = post(&http, "/v1/groups/mail/receive", &body).await;
            for delivery in answer["deliveries"].as_array().unwrap() {
                let number = delivery["event"]["data"]["n"].as_u64().unwrap();
                let deadline: Timestamp = delivery["deadline"].as_str().unwrap().parse().unwrap();
                let at = deadline.saturating_sub(Duration::from_secs(30)).to_string();
                assert!(number != 8 || at >= near, "{delivery}");
                assert_eq!(delivery["event"].get("not_before").is_some(), number == 8);
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 8]);
        assert_eq!(get(&http, "/v1/groups/mail").await["lag_events"], 3);
    });
}

#[test]
fn a_group_is_made_consumed_and_watched() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        append(&http, "mail-1", 0..4).await;
        append(&http, "mail-2", 4..6).await;
        append(&http, "other-1", 0..3).await;
        let config = json!({ "filter": { "categories": ["mail"] }, "lanes": 8, "max_attempts": 2,
            "backoff": { "initial_ms": 1, "max_ms": 1 } });
        let made = put(&http, "/v1/groups/mail", &config).await;
        assert_eq!(made.status, StatusCode::CREATED);
        assert_eq!((&made.json()["lanes"], &made.json()["mode"]), (&json!(8), &json!("ordered")));
        assert_eq!(put(&http, "/v1/groups/mail", &config).await.status, StatusCode::OK);
        // One of each stream: the next comes when it is answered.
        let (tokens, numbers) = receive(&http, "a", 10).await;
        assert!(numbers == [0, 4] || numbers == [4, 0], "{numbers:?}");
        let shown = get(&http, "/v1/groups/mail").await;
        assert_eq!((&shown["in_flight"], &shown["lag_events"]), (&json!(2), &json!(6)));
        assert_eq!(shown["members"], json!([{ "consumer": "a", "lanes": 8, "in_flight": 2 }]));
        assert_eq!(shown["state"], "running");
        let lanes = get(&http, "/v1/groups/mail/lanes").await;
        assert_eq!(lanes["lanes"].as_array().unwrap().len(), 2);
        let acked = post(&http, "/v1/groups/mail/ack", &json!({ "tokens": tokens })).await;
        assert_eq!(acked, json!({ "done": 2, "refused": [] }));
        let again = post(&http, "/v1/groups/mail/ack", &json!({ "tokens": tokens[..1] })).await;
        assert_eq!(again["refused"][0], json!({ "token": tokens[0], "name": "already_acked" }));
        // What fails is tried again, and parked with why.
        let (tokens, numbers) = receive(&http, "a", 1).await;
        let failed = numbers[0];
        let nack = json!({ "tokens": tokens, "action": "retry", "delay_ms": 0, "error": "bad" });
        post(&http, "/v1/groups/mail/nack", &nack).await;
        let mut other = Vec::new();
        loop {
            let (tokens, numbers) = receive(&http, "a", 10).await;
            for (token, number) in tokens.iter().zip(&numbers) {
                let body = json!({ "tokens": [token], "action": "park",
                    "error": { "class": "db", "message": "worse", "chain": ["down"] } });
                match *number == failed {
                    true => drop(post(&http, "/v1/groups/mail/nack", &body).await),
                    false => drop(
                        post(&http, "/v1/groups/mail/ack", &json!({ "tokens": [token] })).await,
                    ),
                }
                other.push(*number);
            }
            let shown = get(&http, "/v1/groups/mail").await;
            if shown["lag_events"] == 0
                || shown["parked"].as_u64().unwrap() > 0 && numbers.is_empty()
            {
                break;
            }
        }
        let parked = get(&http, "/v1/parked?source=group:mail").await;
        let entry = &parked["parked"][0];
        assert_eq!(parked["parked"].as_array().unwrap().len(), 1, "{parked}");
        assert_eq!(entry["error"], json!({ "class": "db", "message": "worse", "chain": ["down"] }));
        assert_eq!((&entry["attempts"], &entry["type"]), (&json!(2), &json!("Sent")));
        let waiting = entry["waiting_behind"].as_u64().unwrap();
        let all = get(&http, "/v1/parked?source=group:mail&waiting=true").await;
        assert_eq!(all["parked"].as_array().unwrap().len() as u64, 1 + waiting);
        let ids = json!({ "source": "group:mail", "ids": [entry["id"]] });
        assert_eq!(post(&http, "/v1/parked/replay", &ids).await, json!({ "count": 1 }));
        loop {
            let (tokens, numbers) = receive(&http, "a", 10).await;
            if tokens.is_empty() {
                break;
            }
            other.extend(numbers);
            post(&http, "/v1/groups/mail/ack", &json!({ "tokens": tokens })).await;
        }
        other.sort_unstable();
        other.dedup();
        assert_eq!(other, [1, 2, 3, 5], "all of it came");
        let shown = get(&http, "/v1/groups/mail").await;
        assert_eq!((&shown["lag_events"], &shown["parked"]), (&json!(0), &json!(0)));
        let groups = get(&http, "/v1/groups").await;
        assert_eq!((&groups["groups"][0]["name"], &groups["next"]), (&json!("mail"), &Value::Null));
    });
}

#[test]
fn an_answer_is_bounded_and_the_rest_comes_with_the_next() {
    const EVENTS: usize = 7;
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let large = "x".repeat(900 * 1024);
        for number in 0..EVENTS {
            let event = json!([{ "type": "Sent", "data": { "n": number, "large": large } }]);
            post(&http, &format!("/v1/streams/mail-{number}/events"), &event).await;
        }
        put(&http, "/v1/groups/mail", &json!({ "mode": "unordered" })).await;
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let body = json!({ "consumer": "a", "max": EVENTS, "wait_ms": 60_000 });
            let answer = http.post("/v1/groups/mail/receive", &body).send().await.unwrap();
            assert!(answer.body.len() < 5 * 1024 * 1024, "{}", answer.body.len());
            let answer: Value = answer.json();
            let deliveries = answer["deliveries"].as_array().unwrap();
            assert!(deliveries.iter().all(|it| it["attempt"] == 1), "nobody was late");
            numbers.extend(given(&answer).1);
        }
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..EVENTS as u64), "{numbers:?}");
    });
}

#[test]
fn a_group_is_paused_sought_and_deleted() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        append(&http, "mail-1", 0..3).await;
        let config = json!({ "mode": "unordered", "start": "end" });
        put(&http, "/v1/groups/mail", &config).await;
        assert_eq!(receive(&http, "a", 10).await.1, [] as [u64; 0]);
        let pause = json!({ "reason": "the mail server is down" });
        let paused = post(&http, "/v1/groups/mail/pause", &pause).await;
        assert_eq!(paused["pause"]["reason"], "the mail server is down");
        assert_eq!(paused["state"], "paused");
        let sought = post(&http, "/v1/groups/mail/seek", &json!({ "position": 1 })).await;
        assert_eq!(sought, json!({ "position": 1 }));
        assert_eq!(receive(&http, "a", 10).await.1, [] as [u64; 0]);
        post(&http, "/v1/groups/mail/resume", &json!({})).await;
        let (tokens, numbers) = receive(&http, "a", 10).await;
        assert_eq!(numbers, [1, 2]);
        let stop = json!({ "tokens": tokens[..1], "action": "stop", "error": "no schema" });
        post(&http, "/v1/groups/mail/nack", &stop).await;
        let shown = get(&http, "/v1/groups/mail").await;
        assert_eq!((&shown["pause"]["by"], &shown["pause"]["position"]), (&json!("a"), &json!(1)));
        let leave = json!({ "consumer": "a" });
        post(&http, "/v1/groups/mail/leave", &leave).await;
        post(&http, "/v1/groups/mail/resume", &json!({})).await;
        assert_eq!(receive(&http, "b", 10).await.1, [1, 2], "what it had is another's");
        for beginning in [json!("beginning"), json!({ "time": "2001-01-01T00:00:00Z" })] {
            let sought = post(&http, "/v1/groups/mail/seek", &beginning).await;
            assert_eq!(sought, json!({ "position": 0 }));
        }
        assert_eq!(receive(&http, "b", 10).await.1, [0, 1, 2]);
        let gone = http.ask(Method::DELETE, "/v1/groups/mail").send().await.unwrap();
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        let missing = http.get("/v1/groups/mail").send().await.unwrap();
        assert_eq!(missing.problem(), (404, "not_found".to_owned()));
        assert_eq!(get(&http, "/v1/groups").await["groups"], json!([]));
    });
}

#[test]
fn an_acknowledgement_appends_in_the_same_step() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        append(&http, "mail-1", 0..2).await;
        let config = json!({ "mode": "unordered", "filter": { "categories": ["mail"] } });
        put(&http, "/v1/groups/mail", &config).await;
        let (tokens, _) = receive(&http, "a", 2).await;
        let out = |expected: &str| {
            json!({ "appends": [{ "stream": "out", "expected": expected,
                "events": [{ "type": "Done", "data": 1 }] }] })
        };
        let body = json!({ "tokens": tokens[..1], "append": out("exists") });
        let refused = http.post("/v1/groups/mail/ack", &body).send().await.unwrap();
        assert_eq!(refused.problem(), (412, "conflict".to_owned()));
        let body = json!({ "tokens": tokens[..1], "append": out("no_stream") });
        let answer = post(&http, "/v1/groups/mail/ack", &body).await;
        assert_eq!((&answer["done"], &answer["appended"]["replayed"]), (&json!(1), &json!(false)));
        // The answer was lost, and it is asked again: nothing is appended a second time.
        let answer = post(&http, "/v1/groups/mail/ack", &body).await;
        assert_eq!(answer["refused"][0]["name"], "already_acked");
        assert_eq!(answer["appended"], Value::Null);
        let system = json!({ "tokens": tokens[1..], "append": { "appends": [{ "stream": "$group-mail",
            "events": [{ "type": "Done", "data": 1 }] }] } });
        let refused = http.post("/v1/groups/mail/ack", &system).send().await.unwrap();
        assert_eq!(refused.problem(), (403, "denied".to_owned()));
        let shown = get(&http, "/v1/groups/mail").await;
        assert_eq!((&shown["in_flight"], &shown["lag_events"]), (&json!(1), &json!(1)));
    });
}

#[test]
fn what_is_parked_is_delivered_with_other_data() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        append(&http, "mail-1", 0..2).await;
        put(&http, "/v1/groups/mail", &json!({})).await;
        let (tokens, _) = receive(&http, "a", 1).await;
        let nack = json!({ "tokens": tokens, "action": "park", "error": "n is wrong" });
        post(&http, "/v1/groups/mail/nack", &nack).await;
        let edit = json!({ "source": "group:mail", "data": { "n": 70 } });
        let missing = http.post("/v1/parked/1/edit", &edit).send().await.unwrap();
        assert_eq!(missing.problem(), (404, "not_found".to_owned()), "it merely waits");
        let edited = post(&http, "/v1/parked/0/edit", &edit).await;
        let answer = post(&http, "/v1/groups/mail/receive", &json!({ "consumer": "a" })).await;
        let event = &answer["deliveries"][0]["event"];
        assert_eq!((&event["data"]["n"], &event["stream"]), (&json!(70), &json!("mail-1")));
        assert_eq!((&event["position"], &event["revision"]), (&json!(0), &json!(0)));
        assert!(edited["position"].as_u64().unwrap() > 1);
        let (tokens, _) = given(&answer);
        post(&http, "/v1/groups/mail/ack", &json!({ "tokens": tokens })).await;
        assert_eq!(receive(&http, "a", 10).await.1, [1], "and what was behind it follows");
        // The log says what it said.
        let events = get(&http, "/v1/streams/mail-1/events").await;
        assert_eq!(events["events"][0]["data"]["n"], 0);
        let skip = json!({ "source": "group:mail", "all": true });
        assert_eq!(post(&http, "/v1/parked/skip", &skip).await, json!({ "count": 0 }));
        assert_eq!(post(&http, "/v1/parked/purge", &skip).await, json!({ "count": 0 }));
    });
}

#[test]
fn rules_for_what_is_parked_are_set_and_replays_have_a_rate() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        append(&http, "mail-1", 0..1).await;
        append(&http, "mail-2", 1..2).await;
        let rules = json!([{ "class": "smtp", "retry_after_ms": [3_600_000], "then": "skip" },
            { "class": null, "retry_after_ms": [], "then": "alert" }]);
        let any = json!({ "parked_rules": [{ "class": "*", "then": "skip" }] });
        put(&http, "/v1/groups/mail", &any).await;
        let shown = get(&http, "/v1/groups/mail").await;
        assert_eq!(shown["parked_rules"][0]["class"], Value::Null);
        let config = json!({ "parked_rules": rules, "parked_rate_per_s": 10 });
        put(&http, "/v1/groups/mail", &config).await;
        let shown = get(&http, "/v1/groups/mail").await;
        assert_eq!((&shown["parked_rules"], &shown["parked_rate_per_s"]), (&rules, &json!(10)));
        let (tokens, _) = receive(&http, "a", 2).await;
        let error = json!({ "class": "smtp", "message": "refused" });
        let nack = json!({ "tokens": tokens, "action": "park", "error": error });
        post(&http, "/v1/groups/mail/nack", &nack).await;
        let parked = get(&http, "/v1/parked?source=group:mail").await;
        let entry = &parked["parked"][0];
        assert_eq!((&entry["released"], &entry["rounds"]), (&json!(true), &json!(1)));
        assert!(entry["not_before"].is_string());
        let replay = json!({ "source": "group:mail", "all": true, "rate_per_s": 1 });
        assert_eq!(post(&http, "/v1/parked/replay", &replay).await, json!({ "count": 2 }));
        let parked = get(&http, "/v1/parked?source=group:mail").await["parked"].clone();
        assert_eq!((&parked[0]["not_before"], &parked[0]["rounds"]), (&Value::Null, &json!(0)));
        assert!(parked[1]["not_before"].is_string(), "the other in a second");
        let metrics = http.get("/metrics").send().await.unwrap().body;
        let metrics = String::from_utf8_lossy(&metrics);
        let count = "nexus_group_ruled_retries_total{namespace=\"default\",group=\"mail\"} 2";
        assert!(metrics.contains(count), "{metrics}");
        let skip = json!({ "source": "group:mail", "all": true, "rate_per_s": 1 });
        let refused = http.post("/v1/parked/skip", &skip).send().await.unwrap();
        assert_eq!(refused.problem(), (400, "invalid".to_owned()));
        let never = json!({ "parked_rules": [{ "then": "explode" }] });
        let refused = put(&http, "/v1/groups/mail", &never).await;
        assert_eq!(refused.problem(), (400, "invalid".to_owned()));
    });
}

#[test]
fn what_cannot_be_is_refused_and_says_what_would_be_right() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        append(&http, "mail-1", 0..1).await;
        put(&http, "/v1/groups/mail", &json!({})).await;
        let (tokens, _) = receive(&http, "a", 1).await;
        let flip = |at: usize| {
            let mut token = tokens[0].clone().into_bytes();
            token[at] = if token[at] == b'0' { b'1' } else { b'0' };
            String::from_utf8(token).unwrap()
        };
        for (name, wrong) in [("unknown", flip(3)), ("expired", flip(50))] {
            let body = json!({ "tokens": [wrong] });
            let answer = post(&http, "/v1/groups/mail/ack", &body).await;
            assert_eq!(answer["refused"][0]["name"], name, "{answer}");
        }
        for (method, path, body, status, says) in [
            (Method::PUT, "/v1/groups/-mail", json!({}), 400, "letter or digit first"),
            (Method::PUT, "/v1/groups/m", json!({ "mode": "fifo" }), 400, "`ordered`"),
            (
                Method::PUT,
                "/v1/groups/m",
                json!({ "mode": "broadcast", "only_routes": true }),
                400,
                "share events",
            ),
            (Method::PUT, "/v1/groups/mail@a", json!({}), 400, "letter or digit first"),
            (Method::GET, "/v1/groups/mail@a", json!({}), 404, "create it first"),
            (
                Method::PUT,
                "/v1/groups/m",
                json!({ "branches": [{ "name": "r" }] }),
                400,
                "set as routes",
            ),
            (Method::PUT, "/v1/groups/m", json!({ "lanes": 0 }), 400, "lanes"),
            (
                Method::PUT,
                "/v1/groups/m",
                json!({ "filter": { "type": ["A"] } }),
                400,
                "unknown field",
            ),
            (Method::PUT, "/v1/groups/m", json!({ "start": { "position": 99 } }), 400, "at most"),
            (Method::PUT, "/v1/groups/mail", json!({ "lanes": 3 }), 400, "fixed when it is made"),
            (Method::PUT, "/v1/groups/m", json!({ "ack_deadline_ms": 43_200_001 }), 400, "12 h"),
            (
                Method::POST,
                "/v1/groups/none/receive",
                json!({ "consumer": "a" }),
                404,
                "create it first",
            ),
            (Method::POST, "/v1/groups/none/ack", json!({ "tokens": [] }), 404, "create it first"),
            (Method::POST, "/v1/groups/mail/receive", json!({ "consumer": "" }), 400, "is empty"),
            (
                Method::POST,
                "/v1/groups/mail/receive",
                json!({ "consumer": "a", "max": 0 }),
                400,
                "1 to 1000",
            ),
            (
                Method::POST,
                "/v1/groups/mail/receive",
                json!({ "consumer": "a", "wait_ms": 60_001 }),
                400,
                "60000",
            ),
            (Method::POST, "/v1/groups/mail/ack", json!({ "tokens": ["x"] }), 400, "no token"),
            (
                Method::POST,
                "/v1/groups/mail/nack",
                json!({ "tokens": [], "action": "drop" }),
                400,
                "`park`",
            ),
            (
                Method::POST,
                "/v1/groups/mail/nack",
                json!({ "tokens": [], "action": "park", "delay_ms": 1 }),
                400,
                "`retry` only",
            ),
            (
                Method::POST,
                "/v1/parked/replay",
                json!({ "source": "mail", "all": true }),
                400,
                "group:NAME",
            ),
            (
                Method::POST,
                "/v1/parked/replay",
                json!({ "source": "group:mail" }),
                400,
                "one of them only",
            ),
            (Method::GET, "/v1/parked", Value::Null, 400, "`source` is missing"),
        ] {
            let ask = http.ask(method, path);
            let ask = if body.is_null() { ask } else { ask.json(&body) };
            let answer = ask.send().await.unwrap();
            assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(says), "{path} {body}: {detail}");
        }
        assert_eq!(
            get(&http, "/v1/groups/mail").await["in_flight"],
            1,
            "nothing of it did anything"
        );
        // Deleted while somebody waits for it.
        let waiting = http.clone();
        let waiting = tokio::spawn(async move {
            let body = json!({ "consumer": "b", "wait_ms": 20_000 });
            waiting.post("/v1/groups/mail/receive", &body).send().await.unwrap()
        });
        let has_two = |group: &Value| group["members"].as_array().unwrap().len() == 2;
        http.until("/v1/groups/mail", has_two).await;
        http.ask(Method::DELETE, "/v1/groups/mail").send().await.unwrap();
        assert_eq!(waiting.await.unwrap().problem(), (404, "not_found".to_owned()));
    });
}

#[test]
fn groups_go_on_after_a_restart_and_roles_say_who_may() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Engine::open(directory.path()).unwrap();
    let running = Running::over(open());
    let tokens = running.runtime.block_on(async {
        let http = running.http();
        append(&http, "mail-1", 0..3).await;
        put(&http, "/v1/groups/mail", &json!({ "mode": "unordered" })).await;
        let (tokens, numbers) = receive(&http, "a", 2).await;
        assert_eq!(numbers, [0, 1]);
        post(&http, "/v1/groups/mail/ack", &json!({ "tokens": tokens[..1] })).await;
        tokens
    });
    running.end_within(std::time::Duration::from_secs(5));
    let running = Running::over(open());
    running.runtime.block_on(async {
        let http = running.http();
        let answer = post(&http, "/v1/groups/mail/ack", &json!({ "tokens": tokens })).await;
        let names: Vec<_> =
            answer["refused"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
        assert_eq!(names[0], "already_acked");
        assert_eq!(names[1], "expired");
        assert_eq!(receive(&http, "a", 10).await.1, [1, 2]);
    });
    running.end_within(std::time::Duration::from_secs(5));

    let node = Node::over(Engine::in_memory()).unwrap();
    let access = node.access(Principal::local(), "default").unwrap();
    access.set_group("mail", &GroupConfig::default()).unwrap();
    let mut tokens = std::collections::BTreeMap::new();
    for role in ["writer", "reader", "operator", "monitor"] {
        let made =
            node.create_token(&Principal::local(), role, role.parse().unwrap(), None).unwrap();
        tokens.insert(role, made.token);
    }
    let running = Running::of_node(node, |options| options);
    running.runtime.block_on(async {
        let receive = json!({ "consumer": "a" });
        let of_group = json!({ "source": "group:mail", "all": true });
        let of_timers = json!({ "source": "timers", "all": true });
        for (role, path, body, status) in [
            ("writer", "/v1/groups/mail/receive", &receive, 200),
            ("writer", "/v1/groups/mail/pause", &json!({}), 403),
            ("reader", "/v1/groups/mail/receive", &receive, 403),
            ("operator", "/v1/groups/mail/receive", &receive, 200),
            ("operator", "/v1/groups/mail/pause", &json!({}), 200),
            ("monitor", "/v1/groups/mail/receive", &receive, 403),
            // What is decided about a timer is an append.
            ("writer", "/v1/parked/replay", &of_timers, 200),
            ("writer", "/v1/parked/replay", &of_group, 403),
            ("operator", "/v1/parked/skip", &of_timers, 403),
            ("operator", "/v1/parked/skip", &of_group, 200),
            ("reader", "/v1/parked/replay", &of_timers, 403),
            ("reader", "/v1/parked/skip", &of_group, 403),
        ] {
            let http = running.http().tls(running.certificate()).token(&tokens[role]);
            let answer = http.post(path, body).send().await.unwrap();
            assert_eq!(answer.status, status, "{role} {path}: {answer:?}");
        }
    });
}
