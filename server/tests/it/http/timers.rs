//! Timers over HTTP, and by the native client of the same server.

use hyper::{Method, StatusCode};
use nexus_protocol::timer::{Timer, TimerList, TimerState};
use nexus_protocol::{AppendError, EventData, ReadError};
use serde_json::{Value, json};

use super::client::{Answer, Http};
use crate::stores::Running;

const FAR: &str = "2099-01-01T00:00:00.000000Z";

async fn put(http: &Http, id: &str, body: &Value) -> Answer {
    http.ask(Method::PUT, format!("/v1/timers/{id}")).json(body).send().await.unwrap()
}

async fn get(http: &Http, path: &str) -> Answer {
    http.get(path.to_owned()).send().await.unwrap()
}

fn timer(due_at: &str, stream: &str) -> Value {
    json!({ "due_at": due_at, "stream": stream, "event": { "type": "Due", "data": { "n": 1 } } })
}

/// Follows a stream until it has an event: no time is waited for.
async fn first_event(http: &Http, stream: &str) -> Value {
    loop {
        let page = get(http, &format!("/v1/events?category={stream}&wait_ms=10000")).await.json();
        if let Some(event) = page["events"].as_array().unwrap().first() {
            return event.clone();
        }
    }
}

#[test]
fn a_timer_is_armed_seen_and_disarmed() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        assert_eq!(get(&http, "/v1/timers").await.json()["timers"], json!([]));
        let armed = put(&http, "a%2F1", &timer(FAR, "order-1")).await;
        assert_eq!(armed.status, StatusCode::CREATED, "{armed:?}");
        assert_eq!(
            (&armed.json()["state"], &armed.json()["generation"]),
            (&json!("armed"), &json!(0))
        );
        // The same again is no other timer.
        assert_eq!(put(&http, "a%2F1", &timer(FAR, "order-1")).await.status, StatusCode::OK);
        let anew = put(&http, "a%2F1", &timer(FAR, "order-2")).await;
        assert_eq!((anew.status, &anew.json()["generation"]), (StatusCode::CREATED, &json!(1)));
        let shown = get(&http, "/v1/timers/a%2F1").await.json();
        assert_eq!((&shown["id"], &shown["due_at"]), (&json!("a/1"), &json!(FAR)));
        assert_eq!(
            (&shown["stream"], &shown["event"]["data"]),
            (&json!("order-2"), &json!({"n": 1}))
        );
        put(&http, "b", &timer(FAR, "order-1")).await;
        let page = get(&http, "/v1/timers?limit=1").await.json();
        assert_eq!((&page["timers"][0]["id"], &page["next"]), (&json!("a/1"), &json!("a/1")));
        let page = get(&http, "/v1/timers?after=a%2F1").await.json();
        assert_eq!((&page["timers"][0]["id"], &page["next"]), (&json!("b"), &Value::Null));
        for status in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
            let disarm = http.ask(Method::DELETE, "/v1/timers/a%2F1").send().await.unwrap();
            assert_eq!(disarm.status, status);
        }
        assert_eq!(get(&http, "/v1/timers/a%2F1").await.status, StatusCode::NOT_FOUND);
        for bad in [
            json!({ "due_at": FAR, "stream": "$a", "event": { "type": "T" } }),
            json!({ "due_at": FAR, "stream": "a", "event": { "type": "T" }, "every": 1 }),
            json!({ "due_at": "9000-01-01T00:00:00Z", "stream": "a", "event": { "type": "T" } }),
        ] {
            assert_eq!(put(&http, "c", &bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
        }
    });
}

#[test]
fn what_is_past_fires_at_once_also_from_an_append() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        put(&http, "past", &timer("2001-01-01T00:00:00Z", "mail")).await;
        let event = first_event(&http, "mail").await;
        assert_eq!(event["type"], json!("Due"));
        let shown = get(&http, "/v1/timers/past").await.json();
        assert_eq!((&shown["state"], shown["fired_at"].is_string()), (&json!("fired"), true));
        let armed = json!({ "type": "$TimerArmed", "data": timer("2001-01-01T00:00:00Z", "step") });
        let append = json!({ "appends": [
            { "stream": "order-1", "expected": "no_stream", "events": [{ "type": "Placed" }] },
            { "stream": "$timer-step", "events": [armed] },
        ] });
        let appended = http.post("/v1/append", &append).send().await.unwrap();
        assert_eq!(appended.status, StatusCode::CREATED, "{appended:?}");
        assert_eq!(first_event(&http, "step").await["type"], json!("Due"));
        let fired = json!([{ "type": "$TimerFired", "data": {} }]);
        let refused = http.post("/v1/streams/$timer-x/events", &fired).send().await.unwrap();
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    });
}

#[test]
fn a_client_arms_lists_and_disarms() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        let event = EventData::json("Due", &1).unwrap();
        let timer = Timer::new(FAR.parse().unwrap(), "order-1", event);
        let list = TimerList { state: TimerState::Armed, after: None, limit: 2 };
        for id in ["a", "b", "c"] {
            client.set_timer(id, &timer).await.unwrap();
        }
        let page = client.timers(&list).await.unwrap();
        let ids: Vec<_> = page.timers.iter().map(|it| &*it.id).collect();
        assert_eq!((ids, page.next.as_deref()), (vec!["a", "b"], Some("b")));
        assert_eq!(client.timer("c").await.unwrap().timer, timer);
        client.disarm_timer("a").await.unwrap();
        assert!(matches!(client.disarm_timer("a").await, Err(AppendError::NotFound { .. })));
        assert!(matches!(client.timer("a").await, Err(ReadError::NotFound { .. })));
        let page = client.timers(&list).await.unwrap();
        assert_eq!((page.timers.len(), page.next), (2, None));
    });
}

#[test]
fn timers_that_failed_are_parked() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        http.post("/v1/streams/gone/events", &json!([{ "type": "A" }])).send().await.unwrap();
        http.ask(Method::DELETE, "/v1/streams/gone?tombstone=true").send().await.unwrap();
        for id in ["a", "b", "c"] {
            put(&http, id, &timer("2001-01-01T00:00:00Z", "gone")).await;
        }
        let source = "/v1/parked?source=timers";
        let failed = "/v1/events?category=%24timer&type=%24TimerFailed&system=true&wait_ms=10000";
        let mut parked = Value::Null;
        // Each is tried 5 times, with pauses.
        while parked["parked"].as_array().is_none_or(|all| all.len() < 3) {
            let events = get(&http, failed).await.json();
            let count = events["events"].as_array().unwrap().len();
            if count > 0 {
                parked = get(&http, source).await.json();
            }
        }
        let entry = &parked["parked"][0];
        assert_eq!((&entry["id"], &entry["attempts"]), (&json!("a"), &json!(5)));
        assert_eq!((&entry["source"], &entry["stream"]), (&json!("timers"), &json!("gone")));
        let metrics = get(&http, "/metrics").await;
        let sample = "nexus_parked{namespace=\"default\",source=\"timers\"} 3";
        assert!(String::from_utf8_lossy(&metrics.body).contains(sample));
        let pick = |ids: Value| json!({ "source": "timers", "ids": ids });
        let skipped = http.post("/v1/parked/skip", &pick(json!(["a", "none"]))).send().await;
        assert_eq!(skipped.unwrap().json(), json!({ "count": 1 }));
        let edit = json!({ "source": "timers", "data": { "n": 2 } });
        let edited = http.post("/v1/parked/b/edit", &edit).send().await.unwrap().json();
        assert!(edited["position"].is_u64(), "{edited}");
        let shown = get(&http, "/v1/timers/b").await.json();
        assert_eq!((&shown["state"], &shown["event"]["data"]["n"]), (&json!("armed"), &json!(2)));
        let all = json!({ "source": "timers", "all": true });
        let replayed = http.post("/v1/parked/replay", &all).send().await.unwrap();
        assert_eq!(replayed.json(), json!({ "count": 1 }));
        assert_eq!(get(&http, source).await.json()["parked"], json!([]));
        let refused = http.post("/v1/parked/b/edit", &edit).send().await.unwrap();
        assert_eq!(refused.problem(), (404, "not_found".to_owned()), "it is armed");
        for bad in [
            json!({ "source": "timers" }),
            json!({ "source": "timers", "all": true, "rate_per_s": 1 }),
            json!({ "source": "timers", "lane": 1 }),
            json!({ "source": "timer", "all": true }),
        ] {
            let refused = http.post("/v1/parked/replay", &bad).send().await.unwrap();
            assert_eq!(refused.problem(), (400, "invalid".to_owned()), "{bad}");
        }
    });
}
