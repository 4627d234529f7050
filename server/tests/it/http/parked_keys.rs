//! What is parked, named by its key.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::client::Http;
use super::groups::{post, put};
use crate::stores::Running;

/// The streams of what is parked, with what merely waits.
async fn parked(http: &Http, query: &str) -> Vec<String> {
    let path = format!("/v1/parked?source=group:mail&waiting=true{query}");
    let answer = http.get(path).send().await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let listed = answer.json();
    let stream = |entry: &Value| entry["stream"].as_str().unwrap().to_owned();
    listed["parked"].as_array().unwrap().iter().map(stream).collect()
}

#[test]
fn what_is_parked_is_listed_replayed_and_purged_by_its_key() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let config = json!({ "max_attempts": 1 });
        put(&http, "/v1/groups/mail", &config).await;
        for (stream, count) in [("order 17/a", 2), ("order-2", 1)] {
            for number in 0..count {
                http.append(stream, &json!({ "type": "Sent", "data": number })).await;
            }
        }
        let receive = json!({ "consumer": "a", "max": 10 });
        let taken = post(&http, "/v1/groups/mail/receive", &receive).await;
        let token = |it: &Value| it["token"].clone();
        let tokens: Vec<_> = taken["deliveries"].as_array().unwrap().iter().map(token).collect();
        assert_eq!(tokens.len(), 2, "one of each key");
        let nack = json!({ "tokens": tokens, "action": "retry", "error": "no" });
        post(&http, "/v1/groups/mail/nack", &nack).await;
        assert_eq!(parked(&http, "").await.len(), 3);
        assert_eq!(parked(&http, "&key=order%2017/a").await, ["order 17/a", "order 17/a"]);
        assert_eq!(parked(&http, "&key=order-2").await, ["order-2"]);
        assert!(parked(&http, "&key=order-3").await.is_empty());
        let purge = json!({ "source": "group:mail", "key": "order-2" });
        assert_eq!(post(&http, "/v1/parked/purge", &purge).await, json!({ "count": 1 }));
        assert!(parked(&http, "&key=order-2").await.is_empty());
        let replay = json!({ "source": "group:mail", "key": "order 17/a" });
        assert_eq!(post(&http, "/v1/parked/replay", &replay).await, json!({ "count": 1 }));
        let again = post(&http, "/v1/groups/mail/receive", &receive).await;
        assert_eq!(again["deliveries"][0]["event"]["stream"], "order 17/a");
        assert_eq!(again["deliveries"].as_array().unwrap().len(), 1);
        for (body, says) in [
            (json!({ "source": "group:mail", "key": "a", "all": true }), "one of them only"),
            (json!({ "source": "group:mail", "key": "a", "lane": 1 }), "one of them only"),
            (json!({ "source": "group:mail", "key": "" }), "from 1 to 576"),
            (json!({ "source": "timers", "key": "a" }), "no keys"),
            (json!({ "source": "group:mail", "key": 7 }), "not what is taken"),
        ] {
            for path in ["/v1/parked/replay", "/v1/parked/skip", "/v1/parked/purge"] {
                let refused = http.post(path, &body).send().await.unwrap();
                assert_eq!(refused.problem(), (400, "invalid".to_owned()), "{path} {body}");
                let detail = refused.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains(says), "{path} {body}: {detail}");
            }
        }
        let refused = http.get("/v1/parked?source=timers&key=a").send().await.unwrap();
        assert_eq!(refused.problem(), (400, "invalid".to_owned()));
    });
}
