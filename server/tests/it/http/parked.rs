//! What fails again and again, and what is not answered, over HTTP: parked and decided about lane by lane, while all else
//! goes on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::Http;
use super::groups::{append, get, given, post, put};
use crate::stores::Running;

/// Longer than anything takes that is waited for.
const SOON_MS: u64 = 20_000;

/// What comes next, waited for where there is nothing yet: tokens and numbers.
async fn receive(http: &Http, consumer: &str) -> (Vec<String>, Vec<u64>) {
    let body = json!({ "consumer": consumer, "max": 100, "wait_ms": SOON_MS });
    let answer = post(http, "/v1/groups/mail/receive", &body).await;
    let came = given(&answer);
    assert!(!came.0.is_empty(), "it comes soon");
    came
}

/// The same until so many came.
async fn receive_all(http: &Http, consumer: &str, count: usize) -> (Vec<String>, Vec<u64>) {
    let (mut tokens, mut numbers) = (Vec::new(), Vec::new());
    while tokens.len() < count {
        let (more, their) = receive(http, consumer).await;
        tokens.extend(more);
        numbers.extend(their);
    }
    numbers.sort_unstable();
    (tokens, numbers)
}

async fn ack(http: &Http, tokens: &[String]) -> Value {
    post(http, "/v1/groups/mail/ack", &json!({ "tokens": tokens })).await
}

/// What is parked, of all of it or with this part of a query: ids, and the numbers of their streams.
async fn parked(http: &Http, query: &str) -> Vec<(String, u64)> {
    let listed = get(http, &format!("/v1/parked?source=group:mail{query}")).await;
    assert_eq!(listed["next"], Value::Null);
    listed["parked"].as_array().unwrap().iter().map(entry).collect()
}

fn entry(entry: &Value) -> (String, u64) {
    let stream = entry["stream"].as_str().unwrap();
    let number = stream.strip_prefix("mail-").unwrap().parse().unwrap();
    (entry["id"].as_str().unwrap().to_owned(), number)
}

/// A group that has parked the only event of each of eight keys: which, by lane.
async fn all_parked(http: &Http) -> BTreeMap<u64, Vec<(String, u64)>> {
    let config = json!({ "filter": { "categories": ["mail"] }, "lanes": 2 });
    put(http, "/v1/groups/mail", &config).await;
    for number in 0..8 {
        append(http, &format!("mail-{number}"), number..number + 1).await;
    }
    let (tokens, _) = receive_all(http, "a", 8).await;
    let nack = json!({ "tokens": tokens, "action": "park", "error": "nobody is there" });
    assert_eq!(post(http, "/v1/groups/mail/nack", &nack).await["done"], 8);
    let mut lanes = BTreeMap::<_, Vec<_>>::new();
    let listed = get(http, "/v1/parked?source=group:mail").await;
    for one in listed["parked"].as_array().unwrap() {
        lanes.entry(one["lane"].as_u64().unwrap()).or_default().push(entry(one));
    }
    assert!(lanes.keys().eq(&[0, 1]), "keys fall into both lanes: {lanes:?}");
    lanes
}

#[test]
fn what_is_parked_is_listed_replayed_and_purged_by_lane() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let lanes = all_parked(&http).await;
        let (first, second) = (&lanes[&0], &lanes[&1]);
        assert_eq!(parked(&http, "&lane=0").await, *first);
        assert_eq!(parked(&http, "&lane=1").await, *second);
        assert_eq!(parked(&http, "&lane=2").await, []);
        let refused = http.get("/v1/parked?source=group:mail&lane=x").send().await.unwrap();
        assert_eq!(refused.problem(), (400, "invalid".to_owned()));
        let lane = |number: u64| json!({ "source": "group:mail", "lane": number });
        // Given up: one lane whole, and of the other one by its id.
        let purged = post(&http, "/v1/parked/purge", &lane(1)).await;
        assert_eq!(purged, json!({ "count": second.len() }));
        assert_eq!(parked(&http, "&lane=1").await, []);
        let by_id = json!({ "source": "group:mail", "ids": [first[0].0] });
        assert_eq!(post(&http, "/v1/parked/purge", &by_id).await, json!({ "count": 1 }));
        assert_eq!(parked(&http, "").await, first[1..]);
        let again = post(&http, "/v1/parked/purge", &lane(1)).await;
        assert_eq!(again, json!({ "count": 0 }), "each is given up once");
        // What is left comes again, what is appended now comes, and nothing else.
        let replayed = post(&http, "/v1/parked/replay", &lane(0)).await;
        assert_eq!(replayed, json!({ "count": first.len() - 1 }));
        append(&http, "mail-9", 9..10).await;
        let (tokens, numbers) = receive_all(&http, "a", first.len()).await;
        let mut expected: Vec<_> = first[1..].iter().map(|it| it.1).chain([9]).collect();
        expected.sort_unstable();
        assert_eq!(numbers, expected);
        assert_eq!(ack(&http, &tokens).await["done"], first.len());
        let shown = get(&http, "/v1/groups/mail").await;
        assert_eq!((&shown["parked"], &shown["lag_events"]), (&json!(0), &json!(0)), "{shown}");
        assert_eq!((&shown["ready"], &shown["in_flight"]), (&json!(0), &json!(0)), "{shown}");
    });
}

#[test]
fn poison_is_parked_after_its_tries_and_holds_up_its_own_key_only() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let config = json!({ "filter": { "categories": ["mail"] }, "max_attempts": 3,
            "backoff": { "initial_ms": 1, "max_ms": 1 } });
        put(&http, "/v1/groups/mail", &config).await;
        append(&http, "mail-1", 0..2).await;
        append(&http, "mail-2", 10..13).await;
        // Number 0 fails whenever it comes; everything else is done.
        let mut came = Vec::new();
        while came.len() < 6 {
            let (tokens, numbers) = receive(&http, "a").await;
            for (token, number) in tokens.iter().zip(&numbers) {
                let nack = json!({ "tokens": [token], "action": "retry", "error": "it is poison" });
                let done = match number {
                    0 => post(&http, "/v1/groups/mail/nack", &nack).await,
                    _ => ack(&http, std::slice::from_ref(token)).await,
                };
                assert_eq!(done["done"], 1);
            }
            came.extend(numbers);
        }
        let of = |wanted: fn(&u64) -> bool| -> Vec<u64> {
            came.iter().copied().filter(wanted).collect()
        };
        assert_eq!(of(|number| *number < 10), [0, 0, 0], "what is behind it has not come");
        assert_eq!(of(|number| *number >= 10), [10, 11, 12], "and the other key goes on");
        let listed = get(&http, "/v1/parked?source=group:mail").await;
        let entry = &listed["parked"][0];
        assert_eq!(listed["parked"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!((&entry["attempts"], &entry["waiting_behind"]), (&json!(3), &json!(1)));
        assert_eq!(entry["error"]["message"], "it is poison");
        let shown = get(&http, "/v1/groups/mail").await;
        assert_eq!((&shown["parked"], &shown["lag_events"]), (&json!(2), &json!(0)), "{shown}");
        // What comes later under that key waits too, and under others does not.
        append(&http, "mail-1", 2..3).await;
        append(&http, "mail-3", 20..21).await;
        let (tokens, numbers) = receive(&http, "a").await;
        assert_eq!(numbers, [20]);
        ack(&http, &tokens).await;
        assert_eq!(parked(&http, "&waiting=true").await.len(), 3);
        // Somebody gives it up: what waited follows in order, for the first time.
        let purge = json!({ "source": "group:mail", "all": true });
        assert_eq!(post(&http, "/v1/parked/purge", &purge).await, json!({ "count": 1 }));
        for expected in 1..3 {
            let body = json!({ "consumer": "a", "max": 100, "wait_ms": SOON_MS });
            let answer = post(&http, "/v1/groups/mail/receive", &body).await;
            let (tokens, numbers) = given(&answer);
            assert_eq!((numbers, &answer["deliveries"][0]["attempt"]), (vec![expected], &json!(1)));
            ack(&http, &tokens).await;
        }
        assert_eq!(parked(&http, "&waiting=true").await, []);
    });
}

/// Who takes so much, and never answers; whoever comes then has time to answer.
async fn taken_and_never_answered(http: &Http, config: &Value) -> Vec<String> {
    let mut config = config.clone();
    config["filter"] = json!({ "categories": ["mail"] });
    config["backoff"] = json!({ "initial_ms": 1, "max_ms": 1 });
    config["ack_deadline_ms"] = json!(100);
    put(http, "/v1/groups/mail", &config).await;
    for number in 0..8 {
        append(http, &format!("mail-{number}"), number..number + 1).await;
    }
    let body = json!({ "consumer": "a", "max": 100 });
    let (tokens, numbers) = given(&post(http, "/v1/groups/mail/receive", &body).await);
    assert_eq!(numbers.len(), 8);
    config["ack_deadline_ms"] = json!(60_000);
    put(http, "/v1/groups/mail", &config).await;
    tokens
}

#[test]
fn what_is_never_answered_goes_to_another_once_its_time_is_over() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let late = taken_and_never_answered(&http, &json!({ "mode": "unordered" })).await;
        let mut tokens = Vec::new();
        while tokens.len() < 8 {
            let body = json!({ "consumer": "b", "max": 100, "wait_ms": SOON_MS });
            let answer = post(&http, "/v1/groups/mail/receive", &body).await;
            let all = answer["deliveries"].as_array().unwrap();
            assert!(!all.is_empty() && all.iter().all(|it| it["attempt"] == 2), "{answer}");
            tokens.extend(given(&answer).0);
        }
        // Who was late cannot answer any more for what another has.
        let names = |answer: &Value| -> Vec<Value> {
            assert_eq!(answer["done"], 0);
            answer["refused"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect()
        };
        assert_eq!(names(&ack(&http, &late).await), vec!["expired"; 8]);
        let named = json!({ "consumer": "a", "tokens": tokens });
        let stolen = post(&http, "/v1/groups/mail/ack", &named).await;
        assert_eq!(names(&stolen), vec!["other_owner"; 8]);
        assert_eq!(ack(&http, &tokens).await, json!({ "done": 8, "refused": [] }));
        for twice in [&tokens, &late] {
            assert_eq!(names(&ack(&http, twice).await), vec!["already_acked"; 8]);
        }
        let shown = get(&http, "/v1/groups/mail").await;
        assert_eq!((&shown["lag_events"], &shown["parked"]), (&json!(0), &json!(0)), "{shown}");
    });
}

#[test]
fn in_order_a_lane_moves_once_the_time_of_what_was_taken_of_it_is_over() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        taken_and_never_answered(&http, &json!({ "lanes": 2 })).await;
        // Of two lanes one is to be of who comes, and has to be drained.
        let (mut tokens, numbers) = receive(&http, "b").await;
        let lanes = get(&http, "/v1/groups/mail/lanes").await;
        let its = lanes["lanes"].as_array().unwrap().iter().filter(|it| it["owner"] == "b");
        assert!(its.count() >= 1 && !numbers.is_empty(), "{lanes}");
        assert_eq!(ack(&http, &tokens).await["done"], tokens.len());
        // The other one follows when the first consumer says that it is gone.
        post(&http, "/v1/groups/mail/leave", &json!({ "consumer": "a" })).await;
        let (rest, other) = receive_all(&http, "b", 8 - tokens.len()).await;
        let mut all = [numbers, other].concat();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
        assert_eq!(ack(&http, &rest).await["done"], rest.len());
        tokens.extend(rest);
        let again = ack(&http, &tokens).await;
        let refused = again["refused"].as_array().unwrap();
        assert!(refused.len() == 8 && refused.iter().all(|it| it["name"] == "already_acked"));
    });
}
