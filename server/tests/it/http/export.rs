//! All that a search finds, as lines and as a table.

use http_body_util::BodyExt as _;
use hyper::StatusCode;
use nexus_protocol::search::SearchHit;
use serde_json::{Value, json};

use super::client::{Answer, Http};
use super::groups::{post, put};
use crate::stores::Running;

const LINES: &str = "application/x-ndjson";
const TABLE: &str = "text/csv";
const PATH: &str = "/v1/projections/notes/search";

async fn define(http: &Http, fields: &[&str]) {
    let field = |name: &&str| {
        let field = json!({ "type": "text", "fold": "set", "from": format!("/data/{name}") });
        ((*name).to_owned(), field)
    };
    let fields: serde_json::Map<_, _> = fields.iter().map(field).collect();
    let definition = json!({ "name": "notes", "key": "/data/id", "fields": fields });
    assert_eq!(put(http, "/v1/projections/notes", &definition).await.status, StatusCode::CREATED);
}

/// Appends notes of these numbers; gives the last position.
async fn note(http: &Http, numbers: std::ops::Range<usize>, text: &str) -> u64 {
    let mut last = 0;
    for number in numbers.clone().step_by(20) {
        let some = number..(number + 20).min(numbers.end);
        let events: Vec<_> = some
            .map(
                |it| json!({ "type": "Noted", "data": { "id": format!("{it:05}"), "text": text } }),
            )
            .collect();
        let appended = post(http, "/v1/streams/notes/events", &json!(events)).await;
        last = appended["last_position"].as_u64().unwrap();
    }
    last
}

async fn ask(http: &Http, accept: &str, asked: &Value) -> Answer {
    http.post(PATH, asked).header("accept", accept).send().await.unwrap()
}

fn hits(body: &[u8]) -> Vec<SearchHit> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn every_page_is_sent_as_lines_and_as_a_table() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        define(&http, &["text", "more"]).await;
        // More than one page, and no whole number of them.
        let last = note(&http, 0..555, "say \"hi\", all").await;
        let asked = json!({ "min_position": last, "timeout_ms": 30_000, "limit": 0 });
        let lines = ask(&http, LINES, &asked).await;
        assert_eq!(lines.header("content-type"), Some(LINES));
        let keys: Vec<_> = hits(&lines.body).into_iter().map(|hit| hit.key).collect();
        let wanted: Vec<_> = (0..555).map(|it| format!("{it:05}")).collect();
        assert_eq!(keys, wanted);
        let table = ask(&http, TABLE, &asked).await;
        assert_eq!(table.header("content-type"), Some(TABLE));
        let rows: String =
            wanted.iter().map(|key| format!("{key},,\"say \"\"hi\"\", all\"\r\n")).collect();
        let text = String::from_utf8(table.body.to_vec()).unwrap();
        assert_eq!(text, format!("key,more,text\r\n{rows}"));
        // What is asked for is what is sent, also where nothing is found.
        let none = json!({ "query": "text:nothing", "fields": ["text"] });
        assert_eq!(ask(&http, LINES, &none).await.body, "");
        assert_eq!(ask(&http, TABLE, &none).await.body, "key,text\r\n");
        let some = json!({ "query": "all", "filter": { "match": { "text": "hi" } }, "fields": [],
                           "sort": ["_score"], "highlight": ["text"] });
        let found = hits(&ask(&http, LINES, &some).await.body);
        assert_eq!(found.len(), 555);
        assert!(found.iter().all(|hit| hit.highlight.contains_key("text")));
        // One page is what is answered without that.
        assert_eq!(post(&http, PATH, &json!({})).await["hits"].as_array().unwrap().len(), 10);
    });
}

#[test]
fn what_is_no_export_has_a_status_of_its_own() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        define(&http, &["text"]).await;
        for (accept, asked, says) in [
            (LINES, json!({ "aggs": {} }), "no documents"),
            (TABLE, json!({ "aggs": {} }), "no documents"),
            (TABLE, json!({ "highlight": ["text"] }), "leave `highlight` out"),
            (LINES, json!({ "query": "(" }), "is no query"),
            (TABLE, json!({ "fields": ["other"] }), "there is no field"),
            (TABLE, json!({ "search_after": [] }), "search_after"),
        ] {
            let refused = ask(&http, accept, &asked).await;
            assert_eq!(refused.problem(), (400, "invalid".to_owned()), "{asked}");
            assert!(refused.json()["detail"].as_str().unwrap().contains(says), "{refused:?}");
        }
    });
}

/// What goes wrong in the middle is told in the last line, and breaks a table off. Whoever stops reading is not sent more.
#[test]
fn nobody_takes_a_part_for_the_whole() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        for accept in [LINES, TABLE] {
            define(&http, &["text"]).await;
            // More than sockets hold, and pages that wait.
            let last = note(&http, 0..1_200, &"x".repeat(40_000)).await;
            let asked = |it: &Value| http.post(PATH, it).header("accept", accept);
            let given_up = asked(&json!({})).open().await.unwrap();
            drop(given_up);
            let whole = json!({ "min_position": last, "timeout_ms": 60_000 });
            let answer = asked(&whole).open().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let gone = http.ask(hyper::Method::DELETE, "/v1/projections/notes").send();
            assert_eq!(gone.await.unwrap().status, StatusCode::NO_CONTENT);
            let body = answer.into_body().collect().await;
            match accept {
                LINES => {
                    let body = body.unwrap().to_bytes();
                    let mut lines: Vec<_> = body.split(|byte| *byte == b'\n').collect();
                    assert_eq!(lines.pop(), Some(&b""[..]), "the last line is whole");
                    let problem: Value = serde_json::from_slice(lines.pop().unwrap()).unwrap();
                    assert_eq!(problem["name"], "not_found", "{problem}");
                    assert!((100..1_200).contains(&lines.len()), "{}", lines.len());
                }
                _ => assert!(body.is_err(), "it is broken off"),
            }
        }
    });
}
