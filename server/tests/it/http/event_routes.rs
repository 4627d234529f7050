//! Routes of events over HTTP.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Answer, Http};
use crate::stores::Running;

async fn put(http: &Http, name: &str, body: &Value) -> Answer {
    http.ask(Method::PUT, format!("/v1/routes/{name}")).json(body).send().await.unwrap()
}

async fn get(http: &Http, path: &str) -> Value {
    let answer = http.get(path.to_owned()).send().await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
    answer.json()
}

/// The route of orders above 100.
fn large(to: &str) -> Value {
    json!({ "filter": { "categories": ["order"] }, "to": to,
        "where": [{ "path": "/data/total", "op": "gt", "value": 100 }] })
}

#[test]
fn a_route_is_made_tried_watched_and_deleted() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        for total in [5, 500] {
            let event = json!({ "type": "Placed", "data": { "total": total } });
            http.append("order-1", &event).await;
        }
        // Tried before it is there: nothing is written.
        let tried = http.post("/v1/routes/large/dry-run?limit=1", &large("stream:big"));
        let tried = tried.send().await.unwrap().json();
        assert_eq!((&tried["matched"], &tried["looked_at"]), (&json!(1), &json!(2)));
        assert_eq!(tried["events"][0]["data"]["total"], 500);
        let mut body = large("stream:big");
        body["start"] = json!("beginning");
        assert_eq!(put(&http, "large", &body).await.status, StatusCode::CREATED);
        assert_eq!(put(&http, "large", &body).await.status, StatusCode::OK);
        let page = get(&http, "/v1/events?category=big&wait_ms=30000").await;
        let link = &page["events"][0];
        assert_eq!((&link["type"], &link["stream"]), (&json!("$Link"), &json!("big")));
        assert_eq!(
            (&link["data"]["stream"], &link["data"]["revision"]),
            (&json!("order-1"), &json!(1))
        );
        let shown = get(&http, "/v1/routes/large").await;
        assert_eq!((&shown["state"], &shown["to"]), (&json!("running"), &json!("stream:big")));
        assert_eq!(get(&http, "/v1/routes").await["routes"][0]["name"], "large");
        let deleted = http.ask(Method::DELETE, "/v1/routes/large").send().await.unwrap();
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        assert_eq!(get(&http, "/v1/routes").await["routes"], json!([]));
    });
}

#[test]
fn what_is_no_route_is_refused_and_says_what_would_be_right() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let of = |path: &str, op: &str| {
            json!({ "to": "stream:big", "filter": { "categories": ["order"] },
                "where": [{ "path": path, "op": op, "value": 1 }] })
        };
        let mut early = large("group:mail");
        early["start"] = json!("beginning");
        for (body, status, says) in [
            (of("data", "eq"), 400, "begin it with `/`"),
            (of("/data", "like"), 400, "is none of eq"),
            (large("big"), 400, "stream:NAME"),
            (large("stream:$big"), 400, "system"),
            (
                json!({ "to": "stream:order-9", "filter": { "categories": ["order"] } }),
                400,
                "takes what",
            ),
            (early, 400, "leave `start` out"),
            (large("group:mail"), 404, "mail"),
        ] {
            let answer = put(&http, "r", &body).await;
            assert_eq!(answer.status.as_u16(), status, "{body}: {answer:?}");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(says), "{body}: {detail}");
        }
        assert_eq!(get(&http, "/v1/routes").await["routes"], json!([]));
    });
}

#[test]
fn a_read_of_links_gives_what_they_lead_to_and_goes_on_behind_the_links() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        for total in [500, 5, 600, 700] {
            let event = json!({ "type": "Placed", "data": { "total": total } });
            http.append("order-1", &event).await;
        }
        let mut body = large("stream:big");
        body["start"] = json!("beginning");
        put(&http, "large", &body).await;
        let links = "/v1/events?category=big&wait_ms=30000";
        http.until(links, |page| page["events"].as_array().unwrap().len() == 3).await;
        let of_links = "/v1/streams/big/events";
        let totals = |page: &Value| -> Vec<Value> {
            let events = page["events"].as_array().unwrap();
            events.iter().map(|event| event["data"]["total"].clone()).collect()
        };
        let page = get(&http, &format!("{of_links}?resolve_links=true&limit=2")).await;
        assert_eq!(totals(&page), [500, 600], "{page}");
        assert_eq!(
            (&page["events"][1]["stream"], &page["events"][1]["revision"]),
            (&json!("order-1"), &json!(2))
        );
        // Places are those of the links.
        assert_eq!((&page["next"], &page["head_revision"]), (&json!(2), &json!(2)));
        let rest = get(&http, &format!("{of_links}?resolve_links=true&from=2")).await;
        assert_eq!((totals(&rest), &rest["next"]), (vec![json!(700)], &Value::Null));
        let back = format!("{of_links}?resolve_links=true&direction=backwards&limit=2");
        let back = get(&http, &back).await;
        assert_eq!((totals(&back), &back["next"]), (vec![json!(700), json!(600)], &json!(0)));
        let lines = http.get(format!("{of_links}?resolve_links=true"));
        let lines = lines.header("accept", "application/x-ndjson").send().await.unwrap();
        let text = String::from_utf8(lines.body.to_vec()).unwrap();
        let lines: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        assert_eq!(
            lines.iter().map(|it| &it["data"]["total"]).collect::<Vec<_>>(),
            [500, 600, 700]
        );
        let as_they_are = get(&http, &format!("{of_links}?resolve_links=false")).await;
        assert_eq!(as_they_are["events"][0]["type"], "$Link");
        // What is gone is given as the link that led there.
        let patch = http.ask(Method::PATCH, "/v1/streams/order-1");
        patch.json(&json!({ "truncate_before": 2 })).send().await.unwrap();
        let left = get(&http, &format!("{of_links}?resolve_links=true")).await;
        assert_eq!(left["events"][0]["type"], "$Link");
        assert_eq!(totals(&left)[1..], [600, 700]);
        let followed = http.get(format!("{of_links}?resolve_links=true"));
        let followed = followed.header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(followed.status, StatusCode::BAD_REQUEST);
        let bad = http.get(format!("{of_links}?resolve_links=yes")).send().await.unwrap();
        assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    });
}
