//! Events in another version of their schemas, over every door that speaks JSON.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Answer, Http};
use super::follow::follow;
use crate::sockets::Socket;
use crate::stores::Running;

async fn send(http: &Http, method: Method, path: &str, body: &Value) -> Answer {
    http.ask(method, path.to_owned()).json(body).send().await.unwrap()
}

async fn get(http: &Http, path: &str) -> Answer {
    http.get(path.to_owned()).send().await.unwrap()
}

async fn register(http: &Http, property: &str, up: Value) -> Value {
    let schema = json!({ "type": "object", "properties": { property: {} } });
    let mut body = json!({ "format": "json", "schema": schema });
    if !up.is_null() {
        body["up"] = up;
    }
    let made = send(http, Method::POST, "/v1/schemas/order/versions", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.json()
}

/// Two versions, and three events of the first: of two items, of none, and of one.
async fn orders(http: &Http) -> Value {
    register(http, "items", Value::Null).await;
    let items = [json!([1, 2]), json!([]), json!([3])];
    let events = items.map(|it| json!({ "type": "order", "data": { "items": it } }));
    send(http, Method::POST, "/v1/streams/order-1/events", &json!(events)).await;
    register(http, "item", json!([{"op": "fan_out", "path": "/items", "as": "/item"}])).await
}

/// Revision, part, item, and version of events.
fn shown(events: &Value) -> Vec<(u64, Option<u64>, u64, u64)> {
    let of = |it: &Value| {
        let number = |pointer| it.pointer(pointer).and_then(Value::as_u64);
        assert_eq!(it["schema"]["subject"], "order", "{it}");
        let item = number("/data/item").unwrap();
        (number("/revision").unwrap(), number("/part"), item, number("/schema/version").unwrap())
    };
    events.as_array().unwrap().iter().map(of).collect()
}

const SHOWN: [(u64, Option<u64>, u64, u64); 3] =
    [(0, Some(0), 1, 2), (0, Some(1), 2, 2), (2, None, 3, 2)];

#[test]
fn pages_and_lines_show_events_in_a_version_and_tear_none_apart() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let second = orders(&http).await;
        assert_eq!(second["up"], json!([{"op": "fan_out", "path": "/items", "as": "/item"}]));
        for path in ["/v1/streams/order-1/events?as_schema=latest", "/v1/events?as_schema=2"] {
            let page = get(&http, path).await.json();
            assert_eq!(shown(&page["events"]), SHOWN, "{page}");
        }
        // The first page has all of the first event, and the next goes on behind it.
        let path = "/v1/streams/order-1/events?as_schema=latest&limit=1";
        let page = get(&http, path).await.json();
        assert_eq!(shown(&page["events"]), SHOWN[..2], "{page}");
        let next = page["next"].as_u64().unwrap();
        let page = get(&http, &format!("{path}&from={next}")).await.json();
        assert_eq!(shown(&page["events"]), SHOWN[2..], "{page}");
        let lines = http.get("/v1/streams/order-1/events?as_schema=latest".to_owned());
        let lines = lines.header("accept", "application/x-ndjson").send().await.unwrap();
        let lines: Vec<Value> = String::from_utf8(lines.body.to_vec())
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(shown(&json!(lines)), SHOWN);
        let raw = get(&http, "/v1/streams/order-1/events").await.json();
        let first = &raw["events"][0];
        assert_eq!(first["data"], json!({ "items": [1, 2] }));
        assert_eq!(first["schema"], json!({ "id": 1, "subject": "order", "version": 1 }));
        assert_eq!(first.get("part"), None);

        // An event can be sent back as it came: what its schema is called is no matter.
        let again = json!([{ "type": "order", "data": first["data"], "schema": first["schema"] }]);
        let sent = send(&http, Method::POST, "/v1/streams/order-2/events", &again).await;
        assert_eq!(sent.status, StatusCode::CREATED, "{sent:?}");
    });
}

#[test]
fn what_cannot_be_shown_is_said_so() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        orders(&http).await;
        for (query, status, name, part) in [
            ("as_schema=newest", StatusCode::BAD_REQUEST, "invalid", "raw, latest, or a version"),
            ("as_schema=0", StatusCode::BAD_REQUEST, "invalid", "raw, latest, or a version"),
            ("as_schema=3", StatusCode::CONFLICT, "incompatible", "has 2 versions"),
        ] {
            let refused = get(&http, &format!("/v1/streams/order-1/events?{query}")).await;
            assert_eq!(refused.status, status, "{refused:?}");
            let problem = refused.json();
            assert_eq!(problem["name"], name);
            assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
        }
        let newest = json!([{ "type": "order", "data": { "item": 4 } }]);
        send(&http, Method::POST, "/v1/streams/order-1/events", &newest).await;
        // A page that ends before it is whole, and says where the next one begins.
        let page = get(&http, "/v1/streams/order-1/events?as_schema=1&limit=3").await.json();
        assert_eq!(
            (&page["next"], page["events"].as_array().unwrap().len()),
            (&json!(3), 3),
            "{page}"
        );
        let refused = get(&http, "/v1/streams/order-1/events?as_schema=1").await.json();
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("fan_out") && detail.contains("position"), "{refused}");
        let lines = http.get("/v1/streams/order-1/events?as_schema=1".to_owned());
        let lines = lines.header("accept", "application/x-ndjson").send().await.unwrap();
        let text = String::from_utf8(lines.body.to_vec()).unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((text.lines().count(), &last["name"]), (4, &json!("incompatible")), "{text}");

        let wrong = json!({ "format": "json", "schema": {}, "up": [{"op": "move", "from": "/a"}] });
        let refused = send(&http, Method::POST, "/v1/schemas/order/versions", &wrong).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("/up/0"), "{refused:?}");
    });
}

#[test]
fn server_sent_events_give_an_id_with_the_last_part() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        orders(&http).await;
        let mut messages = follow(&http, "/v1/events?as_schema=latest", None).await;
        let (mut events, mut ids) = (Vec::new(), Vec::new());
        while events.len() < 3 {
            let message = messages.expect().await;
            if message.event.is_empty() {
                ids.push(message.id.clone());
                events.push(message.json());
            }
        }
        assert_eq!(shown(&json!(events)), SHOWN);
        // Without one of its own, a message has that of the message before, or none.
        assert_eq!((ids[0] == ids[1], ids[1] == ids[2]), (false, false), "{ids:?}");
        let resumed = ids[1].clone().unwrap();
        let mut messages = follow(&http, "/v1/events?as_schema=latest", Some(&resumed)).await;
        let event = loop {
            let message = messages.expect().await;
            if message.event.is_empty() {
                break message.json();
            }
        };
        assert_eq!(shown(&json!([event])), SHOWN[2..]);
    });
}

#[test]
fn a_socket_gives_a_token_with_the_last_part() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        orders(&http).await;
        let mut socket = Socket::open(&running).await;
        let channel = json!({"kind": "stream", "stream": "order-1", "as_schema": "latest"});
        // Two events that are stored: the second has no parts, and costs nothing.
        socket.say(json!({"op": "open", "id": 1, "channel": channel, "credit": 2})).await;
        let mut frames = Vec::new();
        for _ in 0..3 {
            frames.push(socket.hear_of("event").await);
        }
        let events: Vec<_> = frames.iter().map(|it| it["event"].clone()).collect();
        assert_eq!(shown(&json!(events)), SHOWN);
        let tokens: Vec<_> = frames.iter().map(|it| it.get("token").is_some()).collect();
        assert_eq!(tokens, [false, true, true]);
        let group = json!({ "start": "beginning" });
        let made = send(&http, Method::PUT, "/v1/groups/mail", &group).await;
        assert!(made.status.is_success(), "{made:?}");
        let channel =
            json!({"kind": "group", "group": "mail", "consumer": "a", "as_schema": "latest"});
        socket.say(json!({"op": "open", "id": 2, "channel": channel, "credit": 1})).await;
        let frame = loop {
            let frame = socket.hear_of("event").await;
            if frame["id"] == 2 {
                break frame;
            }
        };
        let all = json!([frame["event"], frame["parts"][0]]);
        assert_eq!(shown(&all), SHOWN[..2], "{frame}");
    });
}

#[test]
fn a_group_delivers_an_event_with_its_parts() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        orders(&http).await;
        send(&http, Method::PUT, "/v1/groups/mail", &json!({ "start": "beginning" })).await;
        let receive = json!({ "consumer": "a", "max": 10, "wait_ms": 10_000, "as_schema": 2 });
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let got = send(&http, Method::POST, "/v1/groups/mail/receive", &receive).await;
            assert_eq!(got.status, StatusCode::OK, "{got:?}");
            for delivery in got.json()["deliveries"].as_array().unwrap() {
                seen.push(delivery["event"].clone());
                seen.extend(delivery["parts"].as_array().cloned().unwrap_or_default());
                let ack = json!({ "consumer": "a", "tokens": [delivery["token"]] });
                send(&http, Method::POST, "/v1/groups/mail/ack", &ack).await;
            }
        }
        assert_eq!(shown(&json!(seen)), SHOWN);
        let wrong = json!({ "consumer": "a", "as_schema": "old" });
        let refused = send(&http, Method::POST, "/v1/groups/mail/receive", &wrong).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    });
}
