//! Appends over HTTP: what is answered, what is expected, and what is refused.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Answer, Http, encoded, full};
use crate::stores::Running;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const ID: &str = "0190a0f8-0000-7000-8000-000000000001";

fn happened(number: u64) -> Value {
    json!({ "type": "Happened", "data": number })
}

async fn post(http: &Http, stream: &str, header: (&str, &str), events: &Value) -> Answer {
    let path = format!("/v1/streams/{}/events", encoded(stream));
    http.post(path, events).header(header.0, header.1).send().await.unwrap()
}

async fn events_of(http: &Http, stream: &str) -> Vec<Value> {
    let path = format!("/v1/streams/{}/events?limit=1000", encoded(stream));
    let json = http.get(path).send().await.unwrap().json();
    json["events"].as_array().unwrap_or(&Vec::new()).clone()
}

#[test]
fn an_append_is_answered_with_where_it_went_and_its_repeat_the_same() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let none = ("x-nothing", "1");
        let placed = json!([{ "id": ID, "type": "OrderPlaced", "data": { "total": 1.50 } }]);
        let first = post(&http, "order-1", none, &placed).await;
        assert_eq!((first.status, first.header("etag")), (StatusCode::CREATED, Some("\"0\"")));
        let mut wanted = json!({
            "stream": "order-1", "first_revision": 0, "last_revision": 0, "first_position": 0,
            "last_position": 0, "replayed": false,
        });
        assert_eq!(first.json(), wanted);
        let again = post(&http, "order-1", none, &placed).await;
        wanted["replayed"] = json!(true);
        assert_eq!((again.status, again.json()), (StatusCode::OK, wanted));
        let other = json!([{ "id": ID, "type": "OrderPaid" }]);
        let reused = post(&http, "order-1", none, &other).await;
        assert_eq!(reused.problem(), (409, "id_reused".to_owned()));
        assert_eq!((&reused.json()["id"], &reused.json()["position"]), (&json!(ID), &json!(0)));
        // Events without ids are recognised by a key.
        let key = ("idempotency-key", "key-1");
        let two = json!([happened(1), happened(2)]);
        let first = post(&http, "order-1", key, &two).await;
        assert_eq!(
            (first.status, &first.json()["last_revision"]),
            (StatusCode::CREATED, &json!(2))
        );
        let again = post(&http, "order-1", key, &two).await;
        assert_eq!((again.status, &again.json()["replayed"]), (StatusCode::OK, &json!(true)));
        let reused = post(&http, "order-1", key, &json!([happened(3)])).await;
        assert_eq!(reused.problem(), (409, "id_reused".to_owned()));
        let append = json!({ "appends": [{ "stream": "b", "events": [happened(1)] }] });
        for (status, replayed) in [(201, false), (200, true)] {
            let ask = http.post("/v1/append", &append).header("idempotency-key", "key-2");
            let answer = ask.send().await.unwrap();
            assert_eq!(
                (answer.status.as_u16(), &answer.json()["replayed"]),
                (status, &json!(replayed))
            );
        }
        assert_eq!(events_of(&http, "order-1").await.len(), 3);
        // Nothing is written where there is nothing to write, and the condition is looked at.
        let check = post(&http, "order-2", ("if-none-match", "*"), &json!([])).await;
        assert_eq!((check.status, check.header("etag")), (StatusCode::OK, None));
        assert_eq!(check.json()["first_position"], Value::Null);
        let nothing = post(&http, "order-2", none, &json!([])).await;
        assert_eq!(nothing.problem(), (400, "invalid".to_owned()));
        assert_eq!(nothing.json()["reason"], "nothing_to_do");
    });
}

#[test]
fn what_is_expected_of_a_stream_stands_in_headers() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let table = [
            (("if-match", "*"), 412),
            (("if-match", "\"0\""), 412),
            (("if-none-match", "*"), 201),
            (("if-none-match", "*"), 412),
            (("if-match", "\"0\""), 201),
            (("if-match", "\"0\""), 412),
            (("if-match", "*"), 201),
            (("if-match", "0"), 400),
            (("if-match", "W/\"2\""), 400),
            (("if-match", "\"-1\""), 400),
            (("if-match", "\"1\", \"2\""), 400),
            (("if-match", ""), 400),
            (("if-none-match", "\"2\""), 400),
        ];
        for (header, status) in table {
            let answer = post(&http, "a", header, &json!([happened(0)])).await;
            assert_eq!(answer.status, status, "{header:?}: {answer:?}");
        }
        let stale = post(&http, "a", ("if-match", "\"0\""), &json!([happened(0)])).await;
        let body = stale.json();
        for (name, wanted) in [
            ("clause", json!("stream")),
            ("stream", json!("a")),
            ("expected", json!(0)),
            ("current_revision", json!(2)),
            ("current_state", json!("active")),
            ("positions", json!([2])),
            ("status", json!(412)),
            ("code", json!("NX2001")),
            ("type", json!("/errors/NX2001")),
        ] {
            assert_eq!(body[name], wanted, "{name}: {body}");
        }
        let missing = post(&http, "b", ("if-match", "*"), &json!([happened(0)])).await.json();
        assert_eq!(
            (&missing["expected"], &missing["current_state"]),
            (&json!("exists"), &json!("missing"))
        );
        assert_eq!(missing["current_revision"], Value::Null);
        let both = http.post("/v1/streams/a/events", &json!([happened(0)]));
        let both = both.header("if-match", "*").header("if-none-match", "*").send().await.unwrap();
        assert_eq!(both.problem(), (400, "invalid".to_owned()));
        for name in ["if-match", "idempotency-key"] {
            let twice = http.post("/v1/streams/a/events", &json!([happened(0)]));
            let twice = twice.also(name, "\"1\"").also(name, "\"2\"").send().await.unwrap();
            assert_eq!(twice.problem(), (400, "invalid".to_owned()), "{name}");
        }
        let red = json!({ "type": "Painted", "tags": ["colour:red"] });
        http.append("wall", &red).await;
        let query = json!([{ "tags": ["colour:red"] }]);
        for (name, clause) in [
            ("boundary", json!({ "query": query, "after": 2 })),
            ("absent", json!({ "query": query })),
        ] {
            let append =
                json!({ "appends": [{ "stream": "a", "events": [happened(0)] }], name: clause });
            let answer = http.post("/v1/append", &append).send().await.unwrap();
            assert_eq!(answer.problem(), (412, "conflict".to_owned()));
            assert_eq!(
                (&answer.json()["clause"], &answer.json()["positions"]),
                (&json!(name), &json!([3]))
            );
        }
        assert_eq!(events_of(&http, "a").await.len(), 3);
    });
}

#[test]
fn what_cannot_be_right_is_refused_and_nothing_is_stored() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let events = "/v1/streams/a/events";
        let table: [(&str, &[u8], &str); 20] = [
            (events, b"", "EOF"),
            (events, b"[", "EOF"),
            (events, b"[] []", "trailing"),
            (events, b"{\"type\":\"T\"}", "expected a sequence"),
            (events, b"[{}]", "missing field `type`"),
            (events, b"[{\"type\":7}]", "invalid type"),
            (events, b"[{\"type\":\"T\",\"typ\":1}]", "unknown field `typ`"),
            (events, b"[{\"type\":\"T\",\"type\":\"U\"}]", "duplicate field"),
            (events, b"[{\"type\":\"T\",\"data\":1,\"data_base64\":\"\"}]", "given twice"),
            (events, b"[{\"type\":\"T\",\"data_base64\":\"*\"}]", "not base64"),
            (events, b"[{\"type\":\"T\",\"id\":\"x\"}]", "id"),
            (events, b"[{\"type\":\"T\",\"occurred_at\":\"soon\"}]", "RFC 3339"),
            (events, b"[{\"type\":\"T\",\"not_before\":\"soon\"}]", "RFC 3339"),
            (events, b"[{\"type\":\"T\",\"traceparent\":\"00\"}]", "trace context"),
            (events, b"[{\"type\":\"\"}]", "is empty"),
            (events, b"[{\"type\":\"T\",\"tags\":[\"k\"]}]", "key:value"),
            (events, b"[{\"type\":\"\xff\"}]", "invalid unicode"),
            ("/v1/append", b"{\"append\":[]}", "unknown field"),
            ("/v1/append", b"{\"appends\":[{\"stream\":\"a\",\"expected\":-1}]}", "a revision"),
            ("/v1/append", b"{\"boundary\":{\"query\":[]}}", "at least one item"),
        ];
        for (path, body, part) in table {
            let ask = http.ask(Method::POST, path).body(JSON, full(body.to_vec()));
            let answer = ask.send().await.unwrap();
            let shown = String::from_utf8_lossy(body);
            assert_eq!(answer.problem(), (400, "invalid".to_owned()), "{shown}");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(part), "{shown}: {detail}");
        }
        for (name, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
            let ask = http.post(events, &json!([happened(0)])).header(name, value);
            let answer = ask.send().await.unwrap();
            assert_eq!(answer.problem(), (415, "unsupported_media".to_owned()), "{name}");
        }
        let head = http.get("/v1/head").send().await.unwrap().json();
        assert_eq!(head["position"], Value::Null, "nothing was stored");
        let kind = "Application/JSON; charset=utf-8";
        let ask = http.ask(Method::POST, events).body(kind, full("[{\"type\":\"T\"}]"));
        assert_eq!(ask.send().await.unwrap().status, StatusCode::CREATED);
    });
}

#[test]
fn any_name_of_a_stream_stands_in_a_path() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let names =
            ["a/b", "größe ß", "50%", "%41", "a?b#c&d=e+f", "日本-1", "..", "a//", "\u{1f600}"];
        for (name, number) in names.iter().zip(0..) {
            assert_eq!(http.append(name, &happened(number)).await, number);
            let events = events_of(&http, name).await;
            assert_eq!((events.len(), &events[0]["stream"]), (1, &json!(name)));
            let shown = http.get(format!("/v1/streams/{}", encoded(name))).send().await.unwrap();
            assert_eq!(shown.json()["stream"], *name);
            let by_name = json!({ "streams": [name] }).to_string();
            let found = http.get(format!("/v1/events?filter={}", encoded(&by_name)));
            assert_eq!(found.send().await.unwrap().json()["events"].as_array().unwrap().len(), 1);
        }
        let list = http.get("/v1/streams").send().await.unwrap().json();
        assert_eq!(list["streams"].as_array().unwrap().len(), names.len());
        for path in [
            "/v1/streams/%zz/events",
            "/v1/streams/%/events",
            "/v1/streams/%ff/events",
            "/v1/streams/a%0Ab/events",
            "/v1/streams/-a/events",
            "/v1/streams/a/events?type=%ff",
            "/v1/streams/a/events?type=%g0",
            "/v1/events?type%=a",
        ] {
            for accept in ["application/json", "application/x-ndjson", "text/event-stream"] {
                let answer = http.get(path).header("accept", accept).send().await.unwrap();
                assert_eq!(answer.problem(), (400, "invalid".to_owned()), "{path} {accept}");
            }
        }
    });
}

#[test]
fn lines_to_one_stream_are_one_append() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let path = "/v1/streams/a/events";
        let lines = "{\"type\":\"A\"}\r\n\n{\"type\":\"B\",\"data\":[1]}";
        let answer = http.ask(Method::POST, path).body(NDJSON, full(lines)).send().await.unwrap();
        assert_eq!(
            (answer.status, &answer.json()["last_revision"]),
            (StatusCode::CREATED, &json!(1))
        );
        let events = events_of(&http, "a").await;
        assert_eq!((&events[0]["type"], &events[1]["data"]), (&json!("A"), &json!([1])));
        assert_eq!(events[0]["recorded_at"], events[1]["recorded_at"]);
        let bad = "{\"type\":\"C\"}\n{\"type\":\n{\"type\":\"D\"}\n";
        let answer = http.ask(Method::POST, path).body(NDJSON, full(bad)).send().await.unwrap();
        assert_eq!(answer.problem(), (400, "invalid".to_owned()));
        assert!(answer.json()["detail"].as_str().unwrap().starts_with("line 2: "));
        assert_eq!(events_of(&http, "a").await.len(), 2, "all of them, or none");
    });
}

#[test]
fn a_condition_that_means_nothing_here_is_refused() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let append = json!({ "appends": [{ "stream": "a", "events": [{ "type": "T" }] }] });
        for (name, value) in [("if-none-match", "*"), ("if-match", "\"1\"")] {
            let answer = http.post("/v1/append", &append).header(name, value).send().await.unwrap();
            assert_eq!(answer.problem(), (400, "invalid".to_owned()), "{name}");
        }
        let change = http.ask(Method::PATCH, "/v1/streams/a").json(&json!({ "max_count": 1 }));
        let answer = change.header("idempotency-key", "k").send().await.unwrap();
        assert_eq!(answer.problem(), (400, "invalid".to_owned()));
        let head = http.get("/v1/head").header("if-none-match", "\"1\"").send().await.unwrap();
        assert_eq!(head.json()["position"], Value::Null, "nothing was appended");
    });
}
