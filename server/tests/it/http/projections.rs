//! Projections over HTTP: as curl would use them.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Answer, Http, encoded};
use super::groups::{get, post, put};
use crate::stores::Running;

/// Longer than anything takes that is waited for.
const SOON_MS: u64 = 10_000;

fn totals(version: u32) -> Value {
    json!({
        "name": "totals", "version": version, "key": "/stream", "sink": "kv",
        "filter": { "categories": ["order"] },
        "fields": { "cents": { "type": "i64", "fold": "add", "from": "/data/cents" } },
    })
}

/// Appends a payment; gives its position.
async fn pay(http: &Http, order: &str, cents: &Value) -> u64 {
    let events = json!([{ "type": "Paid", "data": { "cents": cents } }]);
    let path = format!("/v1/streams/{}/events", encoded(order));
    post(http, &path, &events).await["last_position"].as_u64().unwrap()
}

async fn look_up(http: &Http, key: &str, query: &str) -> Answer {
    let path = format!("/v1/projections/totals/documents/{}?{query}", encoded(key));
    http.get(path).send().await.unwrap()
}

/// The document, once it knows of a position.
async fn document(http: &Http, key: &str, min: u64) -> Value {
    let found = look_up(http, key, &format!("min_position={min}&timeout_ms={SOON_MS}")).await;
    assert_eq!(found.status, StatusCode::OK, "{found:?}");
    found.json()
}

async fn delete(http: &Http, path: &str) -> Answer {
    http.ask(Method::DELETE, path).send().await.unwrap()
}

/// Asks how it is until it is as is wanted.
async fn until(http: &Http, wanted: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let info = get(http, "/v1/projections/totals").await;
            if wanted(&info) {
                return info;
            }
        }
    };
    let soon = std::time::Duration::from_millis(SOON_MS);
    tokio::time::timeout(soon, asking).await.expect("it is so soon")
}

#[test]
fn a_projection_is_made_looked_into_and_steered() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let made = put(&http, "/v1/projections/totals", &totals(1)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        assert_eq!((&made.json()["name"], &made.json()["version"]), (&json!("totals"), &json!(1)));
        let again = put(&http, "/v1/projections/totals", &totals(1)).await;
        assert_eq!(again.status, StatusCode::OK);
        assert_eq!(get(&http, "/v1/projections").await, json!({ "projections": ["totals"] }));
        let last = pay(&http, "order-a/b ä", &json!(250)).await;
        let found = document(&http, "order-a/b ä", last).await;
        assert_eq!((&found["key"], &found["position"]), (&json!("order-a/b ä"), &json!(last)));
        assert_eq!(found["document"], json!({ "cents": 250 }));
        assert!(found["as_of_position"].as_u64() >= Some(last), "{found}");
        assert!(found["lag_events"].is_u64());
        let info = until(&http, |info| info["lag_events"] == 0).await;
        assert_eq!((&info["state"], &info["documents"]), (&json!("running"), &json!(1)));
        for digest in ["events_digest", "documents_digest"] {
            assert_eq!(info[digest].as_str().unwrap().len(), 64, "{info}");
        }
        let missing = look_up(&http, "order-2", "").await;
        assert_eq!(missing.problem(), (404, "not_found".to_owned()));
        let path = |of: &str| format!("/v1/projections/totals/{of}");
        put(&http, "/v1/projections/totals", &totals(2)).await;
        until(&http, |info| info["builds"][1]["lag_events"] == 0).await;
        let switched = post(&http, &path("switch"), &json!({ "version": 2 })).await;
        assert_eq!(switched["version"], 2);
        assert_eq!(delete(&http, "/v1/projections/totals?version=1").await.status, 204);
        let paused = post(&http, &path("pause"), &json!({})).await;
        assert_eq!(paused["state"], "paused");
        let resumed = post(&http, &path("resume"), &json!({})).await;
        assert_eq!(resumed["state"], "running");
        let before = resumed["builds"][0]["generation"].as_u64();
        post(&http, &path("rebuild"), &json!({})).await;
        let rebuilt = until(&http, |info| info["builds"][0]["generation"].as_u64() > before).await;
        assert_eq!(rebuilt["documents_digest"], info["documents_digest"]);
        assert_eq!(delete(&http, "/v1/projections/totals").await.status, StatusCode::NO_CONTENT);
        assert_eq!(get(&http, "/v1/projections").await, json!({ "projections": [] }));
        assert_eq!(delete(&http, "/v1/projections/totals").await.problem().0, 404);
    });
}

#[test]
fn who_asks_for_more_than_is_known_is_told_how_far_it_is() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        put(&http, "/v1/projections/totals", &totals(1)).await;
        let first = pay(&http, "order-1", &json!(250)).await;
        document(&http, "order-1", first).await;
        post(&http, "/v1/projections/totals/pause", &json!({})).await;
        let last = pay(&http, "order-1", &json!(50)).await;
        let late = look_up(&http, "order-1", &format!("min_position={last}&timeout_ms=10")).await;
        assert_eq!(late.problem(), (503, "not_caught_up".to_owned()));
        assert_eq!(late.header("retry-after"), Some("1"));
        let problem = late.json();
        assert_eq!(problem["code"], "NX3006");
        assert_eq!((&problem["wanted"], &problem["waited_ms"]), (&json!(last), &json!(10)));
        let at = problem["at"].as_u64().unwrap();
        assert!((first..last).contains(&at), "{problem}");
        let page = http.get("/errors/NX3006").send().await.unwrap();
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(look_up(&http, "order-1", "").await.json()["document"]["cents"], 250);
        for query in ["min_position=x", "min_position=-1", "timeout_ms=60001", "timeout_ms=1s"] {
            let refused = look_up(&http, "order-1", query).await;
            assert_eq!(refused.problem(), (400, "invalid".to_owned()), "{query}");
        }
        let long = look_up(&http, &"x".repeat(600), "").await;
        assert_eq!(long.problem(), (400, "invalid".to_owned()));
    });
}

#[test]
fn what_is_parked_is_decided_about_by_key() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        put(&http, "/v1/projections/totals", &totals(1)).await;
        let wrong = pay(&http, "order-1", &json!("much")).await;
        let other = pay(&http, "order-2", &json!([])).await;
        let last = pay(&http, "order-3", &json!(7)).await;
        assert_eq!(document(&http, "order-3", last).await["parked"], false);
        let none = look_up(&http, "order-1", "").await.json();
        assert!(none["detail"].as_str().unwrap().contains("parked"), "{none}");
        const SOURCE: &str = "projection:totals";
        let parked = async |query: &str| {
            let listed = get(&http, &format!("/v1/parked?source={SOURCE}{query}")).await;
            let ids = listed["parked"].as_array().unwrap().iter().map(|it| {
                assert_eq!(it["source"], SOURCE, "{it}");
                it["id"].as_str().unwrap().to_owned()
            });
            ids.collect::<Vec<_>>()
        };
        let (wrong, other) = (wrong.to_string(), other.to_string());
        assert_eq!(parked("").await, [wrong.clone(), other.clone()]);
        assert_eq!(parked("&key=order-2").await, std::slice::from_ref(&other));
        assert_eq!(parked(&format!("&after={wrong}")).await, std::slice::from_ref(&other));
        for query in ["&lane=1", "&lane=x", "&after=x"] {
            let path = format!("/v1/parked?source={SOURCE}{query}");
            let refused = http.get(path).send().await.unwrap();
            assert_eq!(refused.problem(), (400, "invalid".to_owned()), "{query}");
        }
        for (path, body) in [
            ("replay", json!({ "source": SOURCE, "all": true, "rate_per_s": 5 })),
            ("replay", json!({ "source": SOURCE, "lane": 1 })),
            ("skip", json!({ "source": SOURCE, "lane": 1 })),
            ("purge", json!({ "source": SOURCE })),
            ("purge", json!({ "source": "projection", "all": true })),
        ] {
            let path = format!("/v1/parked/{path}");
            let refused = http.post(path, &body).send().await.unwrap();
            assert_eq!(refused.problem(), (400, "invalid".to_owned()), "{body}");
        }
        let missing = json!({ "source": "projection:none", "all": true });
        let missing = http.post("/v1/parked/replay", &missing).send().await.unwrap();
        assert_eq!(missing.problem(), (404, "not_found".to_owned()));
        let pick = json!({ "source": SOURCE, "key": "order-1" });
        assert_eq!(post(&http, "/v1/parked/replay", &pick).await, json!({ "count": 1 }));
        let pick = json!({ "source": SOURCE, "ids": [other] });
        assert_eq!(post(&http, "/v1/parked/skip", &pick).await, json!({ "count": 1 }));
        let edit = json!({ "source": SOURCE, "data": { "cents": 100 } });
        let edited = post(&http, &format!("/v1/parked/{wrong}/edit"), &edit).await;
        assert_eq!(edited["position"].to_string(), wrong);
        until(&http, |info| info["parked"] == 0 && info["lag_events"] == 0).await;
        assert_eq!(parked("").await, [""; 0]);
        assert_eq!(document(&http, "order-1", last).await["document"]["cents"], 100);
        // What is behind an event that is parked is not in a document, however far the answer has come.
        pay(&http, "order-1", &json!("more")).await;
        let last = pay(&http, "order-1", &json!(1)).await;
        let found = document(&http, "order-1", last).await;
        assert_eq!((&found["document"]["cents"], &found["parked"]), (&json!(100), &json!(true)));
    });
}

#[test]
fn what_is_no_definition_is_refused() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let with = |pointer: &str, value: Value| {
            let mut definition = totals(1);
            *definition.pointer_mut(pointer).unwrap() = value;
            definition
        };
        for (body, status) in [
            (json!([]), 400),
            (with("/name", json!("others")), 400),
            (with("/fields", json!({ "a": { "type": "x" } })), 400),
            (with("/key", json!({ "path": 7 })), 400),
            (with("/fields/cents/from", json!("/data/".to_owned() + &"x".repeat(300_000))), 413),
        ] {
            let refused = put(&http, "/v1/projections/totals", &body).await;
            assert_eq!(refused.status.as_u16(), status, "{refused:?}");
        }
        assert_eq!(get(&http, "/v1/projections").await, json!({ "projections": [] }));
        let made = put(&http, "/v1/projections/totals", &totals(1)).await;
        assert_eq!(made.status, StatusCode::CREATED);
        for (body, status) in [
            (json!({}), 400),
            (json!({ "version": 0 }), 404),
            (json!({ "version": "1" }), 400),
            (json!({ "version": 1, "now": true }), 400),
        ] {
            let refused = http.post("/v1/projections/totals/switch", &body).send().await.unwrap();
            assert_eq!(refused.status.as_u16(), status, "{refused:?}");
        }
        let refused = delete(&http, "/v1/projections/totals?version=1").await;
        assert_eq!(refused.problem(), (400, "invalid".to_owned()), "it answers");
    });
}
