//! Many appends in one request: a line for each, answered in their order.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Http, Lines, full};
use super::session::line;
use crate::stores::Running;

const NDJSON: &str = "application/x-ndjson";

fn append(stream: &str, number: u64) -> Value {
    let event = json!({ "type": "Happened", "data": number });
    json!({ "appends": [{ "stream": stream, "events": [event] }] })
}

/// Sends lines, and gives the lines that come back.
async fn bulk(http: &Http, lines: Vec<u8>) -> Vec<Value> {
    let ask = http.ask(Method::POST, "/v1/append").body(NDJSON, full(lines));
    let answer = ask.send().await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some(NDJSON)));
    let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

async fn count(http: &Http) -> u64 {
    http.get("/v1/stats").send().await.unwrap().json()["events"].as_u64().unwrap()
}

#[test]
fn each_line_is_answered_in_its_place() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        for http in [running.http(), running.http().http2()] {
            let before = count(&http).await;
            let mut lines = Vec::new();
            for number in 0..2000 {
                let mut append = append("a", number);
                if number == 1000 {
                    append["appends"][0]["expected"] = json!(u64::MAX);
                }
                lines.extend_from_slice(&line(&append));
            }
            let answers = bulk(&http, lines).await;
            assert_eq!(answers.len(), 2000);
            let mut position = before;
            for (answer, number) in answers.iter().zip(0..) {
                if number == 1000 {
                    assert_eq!(answer["name"], "conflict", "a line stands for itself");
                } else {
                    assert_eq!(answer["first_position"], json!(position), "{number}: {answer}");
                    position += 1;
                }
            }
        }
        let http = running.http();
        let keyed = http.ask(Method::POST, "/v1/append").body(NDJSON, full(line(&append("a", 1))));
        let keyed = keyed.header("idempotency-key", "k").send().await.unwrap();
        assert_eq!(keyed.problem(), (400, "invalid".to_owned()));
        assert_eq!(bulk(&http, b"\n\n".to_vec()).await, [] as [Value; 0]);
    });
}

#[test]
fn a_line_that_is_none_ends_it_and_what_was_before_stays() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        for bad in
            ["{\"appends\":", "7", "{\"appends\":[{\"stream\":\"a\",\"event\":[]}]}", "\u{fffd}"]
        {
            let before = count(&http).await;
            let mut lines = Vec::new();
            (0..5).for_each(|number| lines.extend_from_slice(&line(&append("a", number))));
            lines.extend_from_slice(bad.as_bytes());
            lines.push(b'\n');
            lines.extend_from_slice(&line(&append("a", 6)));
            let answers = bulk(&http, lines).await;
            assert_eq!(answers.len(), 6, "{answers:?}");
            assert!(answers[..5].iter().all(|answer| answer["replayed"] == json!(false)));
            assert_eq!((&answers[5]["name"], &answers[5]["line"]), (&json!("invalid"), &json!(6)));
            assert_eq!(count(&http).await, before + 5, "later lines are not looked at");
        }
    });
}

#[test]
fn answers_come_while_lines_still_arrive() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        for http in [running.http(), running.http().http2()] {
            let (mut send, body) = Channel::<Bytes>::new(1);
            let ask = http.ask(Method::POST, "/v1/append").body(NDJSON, body.boxed());
            let mut lines = Lines::new(ask.open().await.unwrap().into_body());
            for number in 0..20 {
                let whole = line(&append("a", number));
                // In pieces, too: a line is what ends with a line end.
                send.send_data(whole.slice(..10)).await.unwrap();
                send.send_data(whole.slice(10..)).await.unwrap();
                let answer = lines.next().await.unwrap().unwrap();
                let answer: Value = serde_json::from_slice(&answer).unwrap();
                assert_eq!(answer["replayed"], json!(false), "{answer}");
            }
            drop(send);
            assert_eq!(lines.next().await.unwrap(), None);
        }
    });
}

#[test]
fn a_client_that_goes_half_way_has_what_was_answered() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let (mut send, body) = Channel::<Bytes>::new(1);
        let ask = http.ask(Method::POST, "/v1/append").body(NDJSON, body.boxed());
        let mut lines = Lines::new(ask.open().await.unwrap().into_body());
        for number in 0..50 {
            send.send_data(line(&append("a", number))).await.unwrap();
        }
        let half = line(&append("half", 50));
        send.send_data(half.slice(..half.len() / 2)).await.unwrap();
        let mut answered = 0;
        while answered < 25 {
            lines.next().await.unwrap().unwrap();
            answered += 1;
        }
        // Gone, with the connection: half a line is no append, and half an answer no loss.
        drop((lines, send));
        let other = running.http();
        let last = other.append("b", &json!({ "type": "Happened" })).await;
        assert!(last >= answered);
        let page = other.get("/v1/streams/a/events?limit=1000").send().await.unwrap().json();
        let events = page["events"].as_array().unwrap();
        assert!((25..=50).contains(&events.len()));
        assert!(events.iter().zip(0..).all(|(event, number)| event["data"] == json!(number)));
        let half = other.get("/v1/streams/half/events").send().await.unwrap();
        assert_eq!(half.problem(), (404, "not_found".to_owned()));
    });
}
