//! Reads over HTTP: pages, lines, waiting, and what is refused.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use nexus_node::Engine;
use serde_json::{Value, json};

use super::client::{Http, encoded};
use crate::stores::Running;

/// Twenty-five events: every third in `b`, the others in `a`; the data is the position.
async fn filled(http: &Http) {
    for number in 0..25 {
        let stream = if number % 3 == 0 { "b" } else { "a" };
        let event =
            json!({ "type": "Happened", "data": number, "tags": [format!("n:{}", number % 2)] });
        assert_eq!(http.append(stream, &event).await, number);
    }
}

fn numbers(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|it| it["data"].as_u64().unwrap()).collect()
}

/// Reads page by page, and gives all numbers and how many pages there were.
async fn paged(http: &Http, path: &str, next: &str) -> (Vec<u64>, usize) {
    let (mut found, mut pages, mut from) = (Vec::new(), 0, String::new());
    loop {
        let page = http.get(format!("{path}{from}")).send().await.unwrap();
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let page = page.json();
        found.extend(numbers(&page));
        pages += 1;
        let token = match &page["next"] {
            Value::Null => return (found, pages),
            Value::String(token) => token.clone(),
            other => other.to_string(),
        };
        from = format!("&{next}={}", encoded(&token));
    }
}

#[test]
fn pages_lead_to_the_next() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        filled(&http).await;
        let all: Vec<u64> = (0..25).collect();
        let back: Vec<u64> = all.iter().rev().copied().collect();
        let of_a: Vec<u64> = all.iter().copied().filter(|n| n % 3 != 0).collect();
        let of_a_back: Vec<u64> = of_a.iter().rev().copied().collect();
        let even: Vec<u64> = all.iter().copied().filter(|n| n % 2 == 0).collect();
        let even_of_b: Vec<u64> = all.iter().copied().filter(|n| n % 6 == 0).collect();
        let early: Vec<u64> = (0..=12).rev().collect();
        let table = [
            ("/v1/events?limit=7", "from_position", &all, 4),
            ("/v1/events?limit=25", "from_position", &all, 1),
            ("/v1/events?limit=5", "from_position", &all, 5),
            ("/v1/events?limit=7&direction=backwards", "from_position", &back, 4),
            ("/v1/events?limit=4&tag=n:0", "from_position", &even, 4),
            ("/v1/events?limit=2&tag=n%3A0&stream_prefix=b", "from_position", &even_of_b, 3),
            ("/v1/events?limit=9&category=a&type=Happened&type=Other", "from_position", &of_a, 2),
            (
                "/v1/events?limit=5&direction=backwards&as_of=position:12",
                "from_position",
                &early,
                3,
            ),
            ("/v1/streams/a/events?limit=4", "from", &of_a, 4),
            ("/v1/streams/a/events?limit=5&direction=backwards", "from", &of_a_back, 4),
        ];
        for (path, next, wanted, pages) in table {
            assert_eq!(paged(&http, path, next).await, (wanted.clone(), pages), "{path}");
        }
        let page = http.get("/v1/streams/a/events?from_position=12").send().await.unwrap();
        assert_eq!(page.header("etag"), Some("\"15\""));
        assert_eq!(page.json()["head_revision"], 15);
        assert_eq!(numbers(&page.json())[0], 13);
        // The list of streams, too.
        for number in 0..5 {
            http.append(&format!("list-{number}"), &json!({ "type": "T" })).await;
        }
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/streams?prefix=list-&limit=2{after}");
            let page = http.get(path).send().await.unwrap().json();
            let streams = page["streams"].as_array().unwrap();
            names.extend(streams.iter().map(|it| it["stream"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={}", encoded(next));
        }
        assert_eq!(names, ["list-0", "list-1", "list-2", "list-3", "list-4"]);
    });
}

#[test]
fn lines_hold_all_of_a_read() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let filler = "x".repeat(20_000);
        for number in 0..40 {
            http.append("a", &json!({ "type": "Filled", "data": [number, filler] })).await;
        }
        for (query, wanted) in [
            ("", (0..40).collect::<Vec<u64>>()),
            ("?limit=3", vec![0, 1, 2]),
            ("?limit=0", vec![]),
            ("?from_position=1-38", vec![38, 39]),
            ("?direction=backwards&limit=30", (10..40).rev().collect()),
        ] {
            let ask = http.get(format!("/v1/events{query}"));
            let answer = ask.header("accept", "application/x-ndjson").send().await.unwrap();
            assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
            let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let lines = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
            let found: Vec<_> = lines.map(|line| line["data"][0].as_u64().unwrap()).collect();
            assert_eq!(found, wanted, "{query}");
        }
    });
}

#[test]
fn who_waits_is_woken_by_what_comes() {
    let running = Running::with(Engine::in_memory(), |options| {
        let mut options = options.dev(true);
        options.http.request_time = Duration::from_secs(120);
        options
    });
    running.runtime.block_on(async {
        let http = running.http();
        let nothing = http.get("/v1/events?wait_ms=1").send().await.unwrap().json();
        assert_eq!((numbers(&nothing), nothing["next"].as_str()), (vec![], Some("1-0")));
        let mut next = nothing["next"].as_str().unwrap().to_owned();
        let began = Instant::now();
        for number in 0..10 {
            let path = format!("/v1/events?wait_ms=60000&tag=k:v&from_position={next}");
            let waiting = tokio::spawn(http.get(path).send());
            // What does not match wakes nobody.
            http.append("a", &json!({ "type": "Happened" })).await;
            let event = json!({ "type": "Happened", "data": number, "tags": ["k:v"] });
            http.append("a", &event).await;
            let page = waiting.await.unwrap().unwrap().json();
            assert_eq!(numbers(&page), [number]);
            next = page["next"].as_str().unwrap().to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        // What is there already is not waited for, and a wait is bounded.
        let there = http.get("/v1/events?wait_ms=60000&limit=3").send().await.unwrap().json();
        assert_eq!(
            (there["events"].as_array().unwrap().len(), there["next"].as_str()),
            (3, Some("1-3"))
        );
        for bad in ["wait_ms=60001", "wait_ms=-1", "wait_ms=1&direction=backwards"] {
            let answer = http.get(format!("/v1/events?{bad}")).send().await.unwrap();
            assert_eq!(answer.problem(), (400, "invalid".to_owned()), "{bad}");
        }
    });
}

#[test]
fn what_is_not_asked_right_is_refused() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        filled(&http).await;
        let deep = encoded(&format!("{{\"any\":{}", "[{\"any\":".repeat(3000)));
        let deep = format!("/v1/events?filter={deep}");
        let deep = &deep[..deep.len().min(30_000)];
        let table = [
            ("/v1/events?limt=1", 400, "invalid"),
            ("/v1/events?limit=0", 400, "invalid"),
            ("/v1/events?limit=1001", 400, "invalid"),
            ("/v1/events?limit=-1", 400, "invalid"),
            ("/v1/events?limit=x", 400, "invalid"),
            ("/v1/events?limit=1&limit=1", 400, "invalid"),
            ("/v1/events?from=1", 400, "invalid"),
            ("/v1/events?from_position=x", 400, "invalid"),
            ("/v1/events?from_position=1-", 400, "invalid"),
            ("/v1/events?from_position=9-1", 410, "lineage_changed"),
            ("/v1/events?from_time=2026-01-01", 400, "invalid"),
            ("/v1/events?from_position=1&from_time=2026-01-01T00:00:00Z", 400, "invalid"),
            ("/v1/events?direction=up", 400, "invalid"),
            ("/v1/events?as_of=revision:1", 400, "invalid"),
            ("/v1/events?as_of=7", 400, "invalid"),
            ("/v1/events?system=yes", 400, "invalid"),
            ("/v1/events?filter={}&type=A", 400, "invalid"),
            ("/v1/events?filter=%7B%22typ%22:[]%7D", 400, "invalid"),
            ("/v1/events?start=end", 400, "invalid"),
            ("/v1/events?checkpoint_every=1", 400, "invalid"),
            (deep, 400, "invalid"),
            ("/v1/events?namespace=none", 404, "not_found"),
            ("/v1/events?namespace=$system", 404, "not_found"),
            ("/v1/events/7", 400, "invalid"),
            ("/v1/events/00000000-0000-0000-0000-000000000000", 404, "not_found"),
            ("/v1/streams/none", 404, "not_found"),
            ("/v1/streams/none/events", 404, "not_found"),
            ("/v1/streams/a/events?from=x", 400, "invalid"),
            ("/v1/streams/a/events?from=1&from_position=1", 400, "invalid"),
            ("/v1/streams/a/events?wait_ms=1", 400, "invalid"),
            ("/v1/streams/a/snapshots/latest", 404, "not_found"),
            ("/v1/streams/a/snapshots/newest", 400, "invalid"),
            ("/v1/streams/a/snapshots/3?as_of=position:1", 400, "invalid"),
            ("/v1/streams/a/snapshots/latest?as_of=recorded:2026-01-01T00:00:00Z", 400, "invalid"),
            ("/v1/streams?limit=1001", 400, "invalid"),
            ("/v1/nothing", 404, "not_found"),
            ("/v1/streams//events", 400, "invalid"),
            ("/healthz?x=1", 400, "invalid"),
        ];
        for (path, status, name) in table {
            let answer = http.get(path).send().await.unwrap();
            assert_eq!(answer.problem(), (status, name.to_owned()), "{path:.80}");
        }
        let wrong = http.ask(Method::DELETE, "/v1/events").send().await.unwrap();
        assert_eq!(wrong.problem(), (405, "method_not_allowed".to_owned()));
        assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
    });
}

#[test]
fn a_head_is_an_answer_without_its_body() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        for http in [running.http(), running.http().http2()] {
            http.append("a", &json!({ "type": "T" })).await;
            for path in ["/v1/head", "/v1/streams/a/events", "/healthz", "/", "/v1/streams/none"] {
                let whole = http.get(path).send().await.unwrap();
                let head = http.ask(Method::HEAD, path).send().await.unwrap();
                assert_eq!((head.status, head.body.len()), (whole.status, 0), "{path}");
                assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
                assert_eq!(head.header("etag"), whole.header("etag"), "{path}");
            }
            let options = http.ask(Method::OPTIONS, "/v1/streams/a").send().await.unwrap();
            assert_eq!(options.status, StatusCode::METHOD_NOT_ALLOWED);
            let mut allowed: Vec<_> = options.header("allow").unwrap().split(',').collect();
            allowed.sort_unstable();
            assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PATCH"]);
        }
    });
}
