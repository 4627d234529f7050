//! What requests and answers hold in memory is counted, once, and given back: also where a client does
//! all it can to keep it.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use hyper::Method;
use nexus_node::Engine;
use serde_json::{Value, json};

use super::client::{Http, full};
use super::session::line;
use crate::stores::Running;

const MIB: usize = 1024 * 1024;

/// A server with so much memory for requests.
fn with_memory(bytes_max: usize) -> Running {
    Running::with(Engine::in_memory(), |options| {
        let mut options = options.dev(true);
        options.request_bytes_max = bytes_max;
        options
    })
}

fn large_append(stream: &str, bytes: usize) -> Value {
    let event = json!({ "type": "Filled", "data": "x".repeat(bytes) });
    json!({ "appends": [{ "stream": stream, "events": [event] }] })
}

/// Sends a body in pieces, without saying how long it is.
async fn in_pieces(http: &Http, path: &str, body: &[u8], piece: usize) -> u16 {
    let (mut send, receive) = Channel::<Bytes>::new(1);
    let ask = http.ask(Method::POST, path).body("application/json", receive.boxed());
    let answer = tokio::spawn(ask.send());
    for piece in body.chunks(piece) {
        if send.send_data(Bytes::copy_from_slice(piece)).await.is_err() {
            break;
        }
    }
    drop(send);
    answer.await.unwrap().unwrap().status.as_u16()
}

#[test]
fn a_long_body_is_counted_once_however_it_comes() {
    // Twice the body, and not the square of its pieces.
    let running = with_memory(40 * MIB);
    running.runtime.block_on(async {
        let events: Vec<_> = (0..20)
            .map(|number| json!({ "type": "Filled", "data": format!("{number}{}", "x".repeat(900_000)) }))
            .collect();
        let body = json!(events).to_string();
        assert!(body.len() > 17 * MIB);
        for (http, stream) in [(running.http(), "a"), (running.http().http2(), "b")] {
            let path = format!("/v1/streams/{stream}/events");
            assert_eq!(in_pieces(&http, &path, body.as_bytes(), 16 * 1024).await, 201);
            // All of it was given back.
            assert_eq!(in_pieces(&http, &path, body.as_bytes(), MIB).await, 201);
        }
    });
}

#[test]
fn a_line_that_takes_nearly_all_memory_does_not_wait_for_itself() {
    let running = with_memory(2 * MIB);
    running.runtime.block_on(async {
        let http = running.http();
        let many: Vec<u8> = (0..6).flat_map(|_| line(&large_append("a", 700_000))).collect();
        let answer = http.ask(Method::POST, "/v1/append");
        let answer = answer.body("application/x-ndjson", full(many)).send().await.unwrap();
        let answers: Vec<Value> = answer
            .body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(answers.len(), 6);
        assert!(answers.iter().all(|answer| answer["replayed"] == false), "{answers:?}");
        let stats = http.get("/v1/stats").send().await.unwrap().json();
        assert_eq!(stats["events"], 6);
    });
}

#[test]
fn long_answers_that_nobody_takes_are_bounded() {
    let running = with_memory(8 * MIB);
    running.runtime.block_on(async {
        let http = running.http();
        http.post("/v1/append", &large_append("a", 900_000)).send().await.unwrap();
        let page = http.get("/v1/streams/a/events").send().await.unwrap().json();
        let event = format!("/v1/events/{}", page["events"][0]["id"].as_str().unwrap());
        let snapshot = "/v1/streams/a/snapshots/0";
        let kept = http.ask(Method::PUT, snapshot).json(&json!({ "state": "x".repeat(900_000) }));
        assert_eq!(kept.send().await.unwrap().status.as_u16(), 201);
        for path in [&*event, snapshot] {
            let mut untaken = Vec::new();
            let mut refused = 0;
            // One connection, whose window takes a few.
            let http = running.http().http2();
            http.get("/v1/head").send().await.unwrap();
            for _ in 0..30 {
                let answer = http.get(path).open().await.unwrap();
                match answer.status().as_u16() {
                    200 => untaken.push(answer),
                    503 => refused += 1,
                    other => panic!("{path}: {other}"),
                }
            }
            assert!(refused > 0, "{path}: there is no memory for all");
            drop(untaken);
        }
    });
}

#[test]
fn pages_that_nobody_takes_are_bounded_and_given_back() {
    let running = with_memory(8 * MIB);
    running.runtime.block_on(async {
        let http = running.http();
        for _ in 0..4 {
            let answer = http.post("/v1/append", &large_append("a", 900_000)).send().await.unwrap();
            assert_eq!(answer.status.as_u16(), 201);
        }
        // Each page has 3.6 MB, is asked for, and not read: more than fits the windows of HTTP/2.
        let mut untaken = Vec::new();
        let mut refused = 0;
        for _ in 0..6 {
            let ask = running.http().http2().get("/v1/streams/a/events");
            let answer = ask.open().await.unwrap();
            match answer.status().as_u16() {
                200 => untaken.push(answer),
                503 => refused += 1,
                other => panic!("{other}"),
            }
        }
        assert!(refused > 0, "there is memory for two");
        // Others are served, and what nobody waits for any more is free again.
        assert_eq!(http.get("/v1/head").send().await.unwrap().status.as_u16(), 200);
        drop(untaken);
        loop {
            let answer = http.get("/v1/streams/a/events").send().await.unwrap();
            match answer.status.as_u16() {
                503 => tokio::task::yield_now().await,
                status => {
                    assert_eq!(status, 200);
                    assert_eq!(answer.json()["events"].as_array().unwrap().len(), 4);
                    break;
                }
            }
        }
    });
}
