//! Server-sent events: what is there, then what comes; and going on after a cut.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::StatusCode;
use nexus_node::{Engine, Node, Principal, Role};
use nexus_protocol::{EventStore as _, Subscribe, SubscriptionItem};
use nexus_testing::executor::{block_on, next};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::client::{Http, Message, Messages};
use super::store::{HttpStore, Style};
use crate::stores::Running;

const EVENT_STREAM: &str = "text/event-stream";

fn happened(number: u64) -> Value {
    json!({ "type": "Happened", "data": number })
}

pub(super) async fn follow(http: &Http, path: &str, last: Option<&str>) -> Messages {
    let mut ask = http.get(path).header("accept", EVENT_STREAM);
    if let Some(last) = last {
        ask = ask.header("last-event-id", last);
    }
    Messages::new(ask.open().await.unwrap())
}

fn id(message: &Message) -> &str {
    message.id.as_deref().expect("every message has an id")
}

/// The numbers of the events up to the next that has caught up, and its id.
async fn caught_up(messages: &mut Messages) -> (Vec<u64>, String) {
    let mut found = Vec::new();
    loop {
        let message = messages.expect().await;
        match message.event.as_str() {
            "" => found.push(message.json()["data"].as_u64().unwrap()),
            "caught_up" => return (found, id(&message).to_owned()),
            "checkpoint" => {}
            other => panic!("{other}: {}", message.data),
        }
    }
}

#[test]
fn what_is_there_comes_first_and_every_message_has_an_id() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        for http in [running.http(), running.http().http2()] {
            let stream = if http.get("/v1/head").send().await.unwrap().json()["position"].is_null()
            {
                "a"
            } else {
                "b"
            };
            let path = format!("/v1/streams/{stream}/events");
            let first = http.append(stream, &happened(0)).await;
            http.append(stream, &happened(1)).await;
            let mut messages = follow(&http, &path, None).await;
            let event = messages.expect().await;
            assert_eq!((id(&event), event.event.as_str()), (&*format!("1-{first}"), ""));
            assert_eq!(
                (&event.json()["stream"], &event.json()["data"]),
                (&json!(stream), &json!(0))
            );
            assert_eq!(caught_up(&mut messages).await, (vec![1], format!("1-{}", first + 1)));
            http.append(stream, &happened(2)).await;
            assert_eq!(messages.expect().await.json()["revision"], 2);
        }
    });
}

#[test]
fn a_stream_of_events_begins_where_it_is_asked_to() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        // On an empty log: what comes is all there is, also for who was cut off before it came.
        let mut empty = follow(&http, "/v1/events?start=end", None).await;
        let (_, nothing) = caught_up(&mut empty).await;
        assert_eq!(nothing, "1-none");
        drop(empty);
        for number in 0..10 {
            http.append(if number % 2 == 0 { "a" } else { "b" }, &happened(number)).await;
        }
        let table: [(&str, Option<&str>, &[u64]); 14] = [
            ("/v1/events?start=end", Some("1-none"), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            ("/v1/events", None, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            ("/v1/events?start=beginning&category=b", None, &[1, 3, 5, 7, 9]),
            ("/v1/events?start=end", None, &[]),
            ("/v1/events?start=end", Some("1-7"), &[8, 9]),
            ("/v1/events?from_position=7", None, &[7, 8, 9]),
            ("/v1/events?from_position=1-7", Some("1-8"), &[9]),
            ("/v1/streams/a/events?from=3", None, &[6, 8]),
            ("/v1/streams/a/events?from=99", None, &[]),
            ("/v1/streams/a/events?from_position=7", None, &[8]),
            ("/v1/streams/a/events?start=end", None, &[]),
            ("/v1/streams/a/events", Some("5"), &[6, 8]),
            ("/v1/streams/none/events", None, &[]),
            ("/v1/streams/a/events?from=4", Some("1-none"), &[8]),
        ];
        for (path, last, wanted) in table {
            let mut messages = follow(&http, path, last).await;
            let (found, at) = caught_up(&mut messages).await;
            assert_eq!((found.as_slice(), at.as_str()), (wanted, "1-9"), "{path} {last:?}");
        }
        // Who waits for a revision, and is cut off before it is there, still waits for it.
        let path = "/v1/streams/a/events?from=6";
        let (_, last) = caught_up(&mut follow(&http, path, None).await).await;
        for number in 10..13 {
            http.append("a", &happened(number)).await;
        }
        let mut messages = follow(&http, path, Some(&last)).await;
        assert_eq!(caught_up(&mut messages).await.0, [11, 12]);
        for (path, last, status, name) in [
            ("/v1/events?limit=1", None, 400, "invalid"),
            ("/v1/events?wait_ms=1", None, 400, "invalid"),
            ("/v1/events?direction=backwards", None, 400, "invalid"),
            ("/v1/events?as_of=position:1", None, 400, "invalid"),
            ("/v1/events?from_time=2026-01-01T00:00:00Z", None, 400, "invalid"),
            ("/v1/events?start=middle", None, 400, "invalid"),
            ("/v1/events?start=end&from_position=1", None, 400, "invalid"),
            ("/v1/events?checkpoint_every=x", None, 400, "invalid"),
            ("/v1/events", Some("x"), 400, "invalid"),
            ("/v1/events", Some("2-1"), 410, "lineage_changed"),
            ("/v1/streams/-a/events", None, 400, "invalid"),
        ] {
            let mut ask = http.get(path).header("accept", EVENT_STREAM);
            if let Some(last) = last {
                ask = ask.header("last-event-id", last);
            }
            let answer = ask.send().await.unwrap();
            assert_eq!(answer.problem(), (status, name.to_owned()), "{path} {last:?}");
        }
    });
}

/// Passes connections on, and cuts each when so many bytes came back through it, more each time.
async fn cutting(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes_max: usize = 600;
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(to).await.unwrap();
            tokio::spawn(pass(near, far, bytes_max));
            bytes_max += 377;
        }
    });
    address
}

async fn pass(near: TcpStream, far: TcpStream, bytes_max: usize) {
    let ((mut from_near, mut to_near), (from_far, mut to_far)) =
        (near.into_split(), far.into_split());
    let there = async { tokio::io::copy(&mut from_near, &mut to_far).await };
    let back = async {
        let mut passed = from_far.take(bytes_max as u64);
        tokio::io::copy(&mut passed, &mut to_near).await
    };
    tokio::select! {
        _ = there => {}
        _ = back => {}
    }
}

#[test]
fn a_stream_that_is_cut_goes_on_without_a_gap_or_a_repeat() {
    let running = Running::in_memory();
    let http = running.http();
    running.runtime.block_on(async {
        for number in 0..100 {
            http.append("a", &happened(number)).await;
        }
    });
    let through = running.runtime.block_on(cutting(running.http_address()));
    let store = HttpStore::new(Http::new(through), running.runtime.handle().clone(), Style::Pages);
    let writer = running.runtime.spawn(async move {
        for number in 100..300 {
            http.append("a", &happened(number)).await;
        }
    });
    let mut subscription = store.subscribe(Subscribe::all());
    let (mut seen, mut times_caught_up) = (0, 0);
    block_on(async {
        while seen < 300 {
            match next(&mut subscription).await.unwrap().unwrap() {
                SubscriptionItem::Event(event) => {
                    assert_eq!(event.position().get(), seen, "no gap, and no repeat");
                    assert_eq!(event.json::<u64>().unwrap(), seen);
                    seen += 1;
                }
                SubscriptionItem::CaughtUp { .. } => times_caught_up += 1,
                _ => {}
            }
        }
    });
    running.runtime.block_on(writer).unwrap();
    println!("count: sse_cut_events {seen}, caught up {times_caught_up} times");
}

#[test]
fn a_stream_ends_with_the_token_it_was_opened_with() {
    let engine = Engine::in_memory();
    let node = Node::over(engine.clone()).unwrap();
    let local = Principal::local();
    let made = |name, role| node.create_token(&local, name, role, None).unwrap();
    let (admin, reader) = (made("root", Role::Admin), made("reader", Role::Reader));
    let running = Running::with(engine, |mut options| {
        options.http.keep_alive = Duration::from_millis(20);
        options
    });
    running.runtime.block_on(async {
        let http = running.http().tls(running.certificate());
        let (admin, reading) = (http.clone().token(&admin.token), http.token(&reader.token));
        let mut messages = follow(&reading, "/v1/events", None).await;
        caught_up(&mut messages).await;
        let revoke = format!("/v1/tokens/{}", reader.info.id);
        let revoked = admin.ask(hyper::Method::DELETE, revoke.as_str()).send().await.unwrap();
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
        // Nothing is appended: a quiet stream is looked after as well.
        let last = messages.expect().await;
        assert_eq!(last.event, "error");
        assert_eq!(last.json()["name"], "unauthenticated");
        assert_eq!(messages.next().await.unwrap(), None);
        let again = reading.get("/v1/events").send().await.unwrap();
        assert_eq!(again.problem(), (401, "unauthenticated".to_owned()));
        let gone = admin.ask(hyper::Method::DELETE, revoke).send().await.unwrap();
        assert_eq!(gone.problem(), (404, "not_found".to_owned()));
    });
}

#[test]
fn a_stream_says_that_the_server_goes() {
    let running = Running::in_memory();
    let handle = running.runtime.handle().clone();
    // What outlives the server is read on a runtime of its own.
    let clients = tokio::runtime::Runtime::new().unwrap();
    let http = running.http();
    let mut messages = clients.block_on(async {
        http.append("a", &happened(0)).await;
        let mut messages = follow(&http, "/v1/events", None).await;
        caught_up(&mut messages).await;
        messages
    });
    let ended = clients.spawn(async move {
        let last = messages.expect().await;
        (last, messages.next().await)
    });
    drop((running, handle));
    let (last, end) = clients.block_on(ended).unwrap();
    assert_eq!((last.event.as_str(), &last.json()["name"]), ("error", &json!("unavailable")));
    assert!(last.id.is_none(), "what went wrong is no place to go on after");
    assert_eq!(end.unwrap(), None);
}
