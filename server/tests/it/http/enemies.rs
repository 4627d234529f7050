//! Whoever does not keep to HTTP, or to its limits, gets a clear answer or none, holds nothing for long,
//! and harms nobody else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use hyper::{Method, StatusCode};
use nexus_engine::io::SimDisk;
use nexus_engine::io::sim::Fault;
use nexus_node::Engine;
use nexus_server::Options;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{Http, Lines, Messages, encoded, full};
use super::session::line;
use crate::stores::{Running, resident_bytes};

const NDJSON: &str = "application/x-ndjson";
/// Far longer than any limit of these tests: what takes so long was never going to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Limits that are waited for; whoever keeps to HTTP is faster, also on a busy machine.
const SOON: Duration = Duration::from_secs(1);

fn hasty(options: Options) -> Options {
    let mut options = options.dev(true);
    options.http.head_time = SOON;
    options.http.handshake_time = SOON;
    options.http.body_time = SOON;
    options
}

/// Says something, and gives all that comes back until the server closes.
fn say(running: &Running, bytes: &[u8]) -> tokio::task::JoinHandle<Vec<u8>> {
    let (address, bytes) = (running.http_address(), bytes.to_vec());
    tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may have had enough before all was said.
        let _ = stream.write_all(&bytes).await;
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = ended.expect("the server gives it up");
        answer
    })
}

/// Says all of these side by side, and gives what came back to each.
async fn say_all(running: &Running, all: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let said: Vec<_> = all.iter().map(|bytes| say(running, bytes)).collect();
    let mut answers = Vec::new();
    for one in said {
        answers.push(one.await.unwrap());
    }
    answers
}

fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[test]
fn a_body_that_stalls_is_told_so_and_not_that_it_may_have_happened() {
    let running = Running::with(Engine::in_memory(), |options| {
        let mut options = hasty(options);
        // The times are the same, as they might be set.
        options.http.request_time = SOON;
        options
    });
    running.runtime.block_on(async {
        let stalled = "POST /v1/streams/a/events HTTP/1.1\r\nhost: localhost\r\n\
                       content-type: application/json\r\ncontent-length: 100\r\nconnection: close\r\n\
                       \r\n[{";
        let answer = say(&running, stalled.as_bytes()).await.unwrap();
        assert_eq!(status(&answer), Some(408), "{}", String::from_utf8_lossy(&answer));
        is_well(&running.http()).await;
    });
}

/// The server does for others what it did before.
async fn is_well(http: &Http) {
    let stream = "well";
    let before = http.append(stream, &json!({ "type": "T" })).await;
    let page = http.get(format!("/v1/events?from_position={before}")).send().await.unwrap();
    assert_eq!(page.json()["events"].as_array().unwrap().len(), 1);
}

#[test]
fn a_body_over_the_limit_is_refused_whether_its_length_is_said_or_not() {
    let running = Running::with(Engine::in_memory(), |options| {
        let mut options = options.dev(true);
        options.http.body_bytes_max = 10_000;
        options
    });
    running.runtime.block_on(async {
        // What is said is refused before it comes.
        let head = "POST /v1/append HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10001\r\n\
                    connection: close\r\n\r\n";
        assert_eq!(status(&say(&running, head.as_bytes()).await.unwrap()), Some(413));
        for http in [running.http(), running.http().http2()] {
            for path in ["/v1/append", "/v1/streams/a/events"] {
                let (mut send, body) = Channel::<Bytes>::new(1);
                let ask = http.ask(Method::POST, path).body("application/json", body.boxed());
                let answer = tokio::spawn(ask.send());
                for _ in 0..11 {
                    // The server need not take all of it.
                    let _ = send.send_data(Bytes::from(vec![b' '; 1000])).await;
                }
                drop(send);
                let answer = answer.await.unwrap().unwrap();
                assert_eq!(answer.problem(), (413, "too_large".to_owned()));
                assert_eq!(answer.json()["max"], 10_000);
            }
            // A line has the same limit, and a body of lines has none.
            let small =
                line(&json!({ "appends": [{ "stream": "a", "events": [{ "type": "T" }] }] }));
            let mut lines = small.repeat(500);
            lines.extend(vec![b' '; 10_001]);
            let ask = http.ask(Method::POST, "/v1/append").body(NDJSON, full(lines));
            let answer = ask.send().await.unwrap();
            let answers: Vec<_> = answer.body.split(|byte| *byte == b'\n').collect();
            assert_eq!(
                answers.len(),
                502,
                "500 answers, the problem, and nothing after its line end"
            );
            let last: Value = serde_json::from_slice(answers[500]).unwrap();
            assert_eq!(last["name"], "too_large");
            is_well(&http).await;
        }
    });
}

#[test]
fn who_is_slow_to_say_something_is_given_up() {
    let running = Running::with(Engine::in_memory(), |options| {
        let mut options = hasty(options);
        options.connections_max = 40;
        options
    });
    running.runtime.block_on(async {
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let settings = format!("{preface}\0\0\0\x04\0\0\0\0\0");
        let slow = [
            "",
            "G",
            "GET /healthz HTT",
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ",
            "P",
            "PRI * HTTP/2.0\r\n",
            preface,
            settings.as_str(),
        ];
        // More of them than there are places: once they are given up, others get in.
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(TcpStream::connect(running.http_address()).await.unwrap());
        }
        for mut stream in silent {
            let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
            let _ = closed.expect("who says nothing is given up");
        }
        let slow = slow.map(|bytes| bytes.as_bytes().to_vec());
        for (answer, bytes) in say_all(&running, &slow).await.iter().zip(&slow) {
            assert!(!answer.starts_with(b"HTTP/1.1 2"), "{bytes:?}");
        }
        is_well(&running.http()).await;
        is_well(&running.http().http2()).await;
        // A body that does not come is another matter: the client is told.
        let slow = ["/v1/append", "/v1/streams/a/events"].map(|path| {
            let head =
                format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n");
            format!("{head}connection: close\r\n\r\n{{\"app").into_bytes()
        });
        for answer in say_all(&running, &slow).await {
            assert_eq!(status(&answer), Some(408), "{}", String::from_utf8_lossy(&answer));
        }
        let (mut send, body) = Channel::<Bytes>::new(1);
        let ask = running.http().ask(Method::POST, "/v1/append").body(NDJSON, body.boxed());
        send.send_data(Bytes::from_static(b"{\"app")).await.unwrap();
        let mut lines = Lines::new(ask.open().await.unwrap().into_body());
        let last: Value = serde_json::from_slice(&lines.next().await.unwrap().unwrap()).unwrap();
        assert_eq!((&last["name"], &last["status"]), (&json!("too_slow"), &json!(408)));
        is_well(&running.http()).await;
    });
}

#[test]
fn who_is_slow_to_agree_on_tls_is_given_up() {
    let running = Running::with(Engine::in_memory(), |options| hasty(options).dev(false));
    running.runtime.block_on(async {
        let slow = [&b""[..], b"\x16", b"\x16\x03\x01\x02\0\x01"].map(<[u8]>::to_vec);
        for answer in say_all(&running, &slow).await {
            assert!(!answer.starts_with(b"HTTP"));
        }
        let http = running.http().tls(running.certificate());
        assert_eq!(http.get("/healthz").send().await.unwrap().status, StatusCode::OK);
    });
}

#[test]
fn bytes_that_are_no_http_are_answered_with_a_refusal_or_not_at_all() {
    let running = Running::with(Engine::in_memory(), hasty);
    running.runtime.block_on(async {
        let long = vec![b'a'; 200_000];
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let many = "x: y\r\n".repeat(500);
        let many = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
        let wide = "y".repeat(40_000);
        let wide = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {wide}\r\n\r\n");
        let table: [(Vec<u8>, &[u16]); 12] = [
            (vec![0; 64], &[400]),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc".to_vec(), &[400]),
            (b"GET\r\n\r\n".to_vec(), &[400]),
            (b"GET / HTTP/9.9\r\n\r\n".to_vec(), &[400]),
            (b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(), &[400]),
            (b"GET / HTTP/1.1\r\nhost: localhost\r\nx\xff\xfe\r\n\r\n".to_vec(), &[400]),
            (
                b"POST /v1/append HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n"
                    .to_vec(),
                &[400],
            ),
            (
                b"POST /v1/append HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\
                  connection: close\r\n\r\nzz\r\n"
                    .to_vec(),
                &[400],
            ),
            (long.clone(), &[400, 414, 431]),
            (many.into_bytes(), &[431]),
            (wide.into_bytes(), &[431]),
            ([preface.clone(), long].concat(), &[]),
        ];
        let (said, statuses): (Vec<_>, Vec<_>) = table.into_iter().unzip();
        for ((answer, bytes), statuses) in
            say_all(&running, &said).await.iter().zip(&said).zip(statuses)
        {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
            match status(answer) {
                None => {}
                Some(status) => assert!(statuses.contains(&status), "{shown}: {status}"),
            }
        }
        is_well(&running.http()).await;
        let http = running.http().http2();
        let wide = http.get("/healthz").header("x", &"y".repeat(40_000)).send().await;
        assert!(
            wide.is_err() || wide.unwrap().status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        );
        is_well(&http).await;
    });
}

#[test]
fn json_of_any_depth_is_refused_or_kept_and_never_too_much() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let deep = 200_000;
        let nested = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
        for body in [nested.clone(), format!("[{{\"x\":{nested}}}]"), "[".repeat(deep)] {
            let ask = http.ask(Method::POST, "/v1/streams/a/events");
            let answer = ask.body("application/json", full(body)).send().await.unwrap();
            assert_eq!(answer.problem(), (400, "invalid".to_owned()));
        }
        for field in ["data", "metadata"] {
            // Data is not looked into: it is kept as it is, or refused.
            let body = format!("[{{\"type\":\"T\",\"{field}\":{nested}}}]");
            let ask = http.ask(Method::POST, "/v1/streams/a/events");
            let answer = ask.body("application/json", full(body)).send().await.unwrap();
            assert!(answer.status == StatusCode::CREATED || answer.status.is_client_error());
        }
        let page = http.get("/v1/streams/a/events").send().await.unwrap();
        assert_eq!(page.status, StatusCode::OK);
        assert!(String::from_utf8_lossy(&page.body).contains(&nested));
        let filter = encoded(&"{\"any\":[".repeat(1000));
        let answer = http.get(format!("/v1/events?filter={filter}")).send().await.unwrap();
        assert_eq!(answer.problem(), (400, "invalid".to_owned()));
        is_well(&http).await;
    });
}

#[test]
fn a_thousand_idle_subscribers_cost_little_and_hold_up_nobody() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        http.append("a", &json!({ "type": "First" })).await;
        let before = resident_bytes();
        // A few hundred share a connection in HTTP/2; others have one of their own.
        let shared: Vec<_> = (0..4).map(|_| running.http().http2()).collect();
        let mut idle = Vec::new();
        for number in 0..1000 {
            let from = if number % 5 == 0 { running.http() } else { shared[number % 4].clone() };
            let ask = from.get("/v1/events?start=end").header("accept", "text/event-stream");
            let mut messages = Messages::new(ask.open().await.unwrap());
            assert_eq!(messages.expect().await.event, "caught_up");
            idle.push(messages);
        }
        let each = resident_bytes().saturating_sub(before) / idle.len();
        assert!(each < 128 * 1024, "{each} bytes for each subscriber and its client");
        for _ in 0..20 {
            is_well(&http).await;
        }
        for messages in &mut idle {
            for revision in 0..20 {
                assert_eq!(messages.expect().await.json()["revision"], revision);
            }
        }
        println!("count: sse_idle_subscribers {}", idle.len());
        println!("count: sse_idle_bytes_each {each}");
    });
}

#[test]
fn a_reader_that_never_reads_holds_up_nobody_not_even_the_end() {
    let running = Running::in_memory();
    let stuck = running.runtime.block_on(async {
        let http = running.http();
        let filler = "x".repeat(200_000);
        for _ in 0..20 {
            http.append("big", &json!({ "type": "Filled", "data": filler })).await;
        }
        let mut stuck = Vec::new();
        for accept in ["text/event-stream", "application/x-ndjson"] {
            for _ in 0..10 {
                let mut stream = TcpStream::connect(running.http_address()).await.unwrap();
                let head = format!(
                    "GET /v1/events HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                stuck.push(stream);
            }
        }
        let before = resident_bytes();
        for _ in 0..50 {
            http.append("big", &json!({ "type": "Filled", "data": filler })).await;
        }
        // Ten megabytes were appended, for twenty readers that take nothing.
        let more = resident_bytes().saturating_sub(before);
        assert!(more < 96 * 1024 * 1024, "{more} bytes");
        let ask = http.get("/v1/events").header("accept", "text/event-stream");
        let mut messages = Messages::new(ask.open().await.unwrap());
        for position in 0..70 {
            let message = messages.expect().await;
            assert_eq!(message.id, Some(format!("1-{position}")));
        }
        is_well(&http).await;
        // Lines that nobody reads are an answer that is owed, for which a server that ends waits a while.
        stuck.truncate(10);
        stuck
    });
    let began = std::time::Instant::now();
    drop(running);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    drop(stuck);
}

#[test]
fn a_server_whose_log_takes_no_appends_is_alive_and_not_ready() {
    let disk = SimDisk::builder().build();
    let engine = Engine::options().disk(Arc::new(disk.clone())).open("/data").unwrap();
    let running = Running::over(engine);
    running.runtime.block_on(async {
        let http = running.http();
        let event = json!([{ "type": "Counted" }]);
        let append = || http.post("/v1/streams/a/events", &event);
        assert_eq!(append().send().await.unwrap().status.as_u16(), 201);
        assert_eq!(http.get("/readyz").send().await.unwrap().status.as_u16(), 200);
        disk.schedule(Fault::sync(1));
        // The fault strikes at the next sync, which is that of an append if none of maintenance comes before.
        while append().send().await.unwrap().status.as_u16() == 201 {}
        assert_eq!(append().send().await.unwrap().problem(), (503, "poisoned".to_owned()));
        assert_eq!(
            http.get("/readyz").send().await.unwrap().problem(),
            (503, "poisoned".to_owned())
        );
        assert_eq!(http.get("/healthz").send().await.unwrap().status.as_u16(), 200);
        assert_eq!(http.get("/v1/streams/a/events").send().await.unwrap().status.as_u16(), 200);
    });
}
