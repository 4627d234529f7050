//! An ordered group of real cases, shared by three consumers of which one fails every 50th event: by HTTP, as the guide's
//! `curl` commands ask, and by the Rust client. `groups.rs` has the same by commands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use nexus_client::Client;
use nexus_protocol::Filter;
use nexus_protocol::group::{
    Delivery, Failure, GroupConfig, GroupInfo, Nack, ParkedList, ParkedPick,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::nexus::{Folder, PERMITS, permits};
use crate::serve::Serving;

/// So many rows of the file are enough.
const ROWS: usize = 3_000;
/// Every so manieth event of one consumer fails.
const FAILS: u64 = 50;
/// Nothing takes so long.
const SOON: Duration = Duration::from_secs(60);

/// A server with the first permits, where the file is there.
fn serving(folder: &Folder) -> Option<Serving> {
    let text = std::fs::read_to_string(permits()?).unwrap();
    let rows: Vec<&str> = text.lines().take(ROWS + 1).collect();
    let file = folder.file("permits.csv", rows.join("\n") + "\n");
    folder.done(&[&["import", &file], PERMITS].concat());
    Some(Serving::dev(folder))
}

/// What came to all consumers: a position and its stream, in the order in which they came to each.
#[derive(Debug, Default)]
struct Came(Mutex<BTreeMap<&'static str, Vec<(u64, String)>>>);

impl Came {
    fn to(&self, consumer: &'static str, position: u64, stream: &str) {
        let mut came = self.0.lock().unwrap();
        came.entry(consumer).or_default().push((position, stream.to_owned()));
    }

    /// Each event came, those that failed twice, and those of a case in their order.
    fn check(self, failed: usize) {
        let mut times: BTreeMap<u64, usize> = BTreeMap::new();
        for came in self.0.into_inner().unwrap().values() {
            for (position, _) in came {
                *times.entry(*position).or_default() += 1;
            }
        }
        assert_eq!(times.len(), ROWS, "each came");
        assert_eq!(times.values().filter(|times| **times == 2).count(), failed);
        assert!(times.values().all(|times| *times <= 2));
    }

    /// What has come so far to one consumer in one run is in the order of the log, case by case; the next run begins anew.
    fn check_order(&self, from: &BTreeMap<&'static str, usize>) {
        for (consumer, came) in &*self.0.lock().unwrap() {
            let mut last: BTreeMap<&str, u64> = BTreeMap::new();
            for (position, stream) in came.iter().skip(from.get(consumer).copied().unwrap_or(0)) {
                let before = last.insert(stream, *position);
                assert!(before.is_none_or(|before| before < *position), "{stream}: {position}");
            }
        }
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap().iter().map(|(name, came)| (*name, came.len())).collect()
    }
}

/// What `curl` sends: a method, a path, and JSON.
struct Http {
    agent: ureq::Agent,
    base: String,
}

impl Http {
    fn of(serving: &Serving) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(SOON)).build();
        let base = format!("http://{}", serving.ready["http"].as_str().unwrap());
        Self { agent: config.into(), base }
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.agent.get(format!("{}{path}", self.base)).call();
        parsed(answer.unwrap())
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let ask = self.agent.post(format!("{}{path}", self.base));
        parsed(ask.content_type("application/json").send(body.to_string()).unwrap())
    }

    fn put(&self, path: &str, body: &Value) -> Value {
        let ask = self.agent.put(format!("{}{path}", self.base));
        parsed(ask.content_type("application/json").send(body.to_string()).unwrap())
    }
}

fn parsed(mut answer: ureq::http::Response<ureq::Body>) -> Value {
    serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
}

/// One of three: takes, answers, and goes when nothing is left to do.
fn consume(http: &Http, name: &'static str, fails: bool, came: &Came, together: &Barrier) {
    let (began, mut count, mut first) = (Instant::now(), 0_u64, true);
    loop {
        assert!(began.elapsed() < SOON, "{name} is not done");
        // All three are there before most of it is handed out.
        let max = if first { 1 } else { 20 };
        let ask = json!({ "consumer": name, "max": max, "wait_ms": 200 });
        let given = http.post("/v1/groups/cases/receive", &ask);
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for delivery in given["deliveries"].as_array().unwrap() {
            let event = &delivery["event"];
            came.to(name, event["position"].as_u64().unwrap(), event["stream"].as_str().unwrap());
            count += 1;
            let answers =
                if fails && name == "c" && count % FAILS == 0 { &mut failed } else { &mut done };
            answers.push(delivery["token"].clone());
        }
        if std::mem::take(&mut first) {
            together.wait();
        }
        let (done, failed) = (
            json!({ "tokens": done }),
            json!({ "tokens": failed,
            "action": "retry", "error": { "class": "test", "message": "every 50th fails" } }),
        );
        for (answers, path) in [(done, "ack"), (failed, "nack")] {
            let tokens = answers["tokens"].as_array().unwrap().len();
            if tokens > 0 {
                let answered = http.post(&format!("/v1/groups/cases/{path}"), &answers);
                assert_eq!(answered, json!({ "done": tokens, "refused": [] }));
            }
        }
        let idle = given["deliveries"].as_array().unwrap().is_empty();
        let info = http.get("/v1/groups/cases");
        // What is replayed, and what waits behind it, is parked until it is delivered.
        if idle && info["lag_events"] == 0 && (fails || info["parked"] == 0) {
            return;
        }
    }
}

#[test]
fn real_cases_are_shared_by_three_over_http() {
    let folder = Folder::new();
    let Some(serving) = serving(&folder) else { return };
    let http = Http::of(&serving);
    let group = json!({ "filter": { "categories": ["permit"] }, "lane_by": "stream", "lanes": 16,
        "max_attempts": 1 });
    assert_eq!(http.put("/v1/groups/cases", &group)["lag_events"], ROWS);
    let came = Came::default();
    let three = |fails: bool| {
        let (together, before) = (Barrier::new(3), came.counts());
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let (came, together) = (&came, &together);
                let http = &http;
                scope.spawn(move || consume(http, name, fails, came, together));
            }
        });
        came.check_order(&before);
    };
    three(true);
    let info = http.get("/v1/groups/cases");
    assert_eq!(info["lag_events"], 0, "what is parked holds up nobody else");
    let parked = http.get("/v1/parked?source=group:cases&limit=1000");
    let entries = parked["parked"].as_array().unwrap();
    assert!(!entries.is_empty(), "one of them failed");
    assert_eq!(entries[0]["error"]["message"], "every 50th fails");
    assert_eq!((&entries[0]["attempts"], &parked["next"]), (&json!(1), &Value::Null));
    // What failed, and what waits behind it, is all that did not come; and the lanes say where it is.
    let waiting: u64 = entries.iter().map(|it| it["waiting_behind"].as_u64().unwrap()).sum();
    assert_eq!(info["parked"], entries.len() as u64 + waiting);
    let lanes = http.get("/v1/groups/cases/lanes");
    let in_lanes = lanes["lanes"].as_array().unwrap().iter().map(|it| it["parked"].as_u64());
    assert_eq!(info["parked"], in_lanes.map(Option::unwrap_or_default).sum::<u64>());
    let all = json!({ "source": "group:cases", "all": true });
    assert_eq!(http.post("/v1/parked/replay", &all)["count"], entries.len());
    three(false);
    let info = http.get("/v1/groups/cases");
    assert_eq!((&info["lag_events"], &info["parked"]), (&json!(0), &json!(0)), "{info}");
    came.check(entries.len());
}

/// Waits until a group has nothing to do, but for what is parked where that is to stay.
async fn done(client: &Client, parked_stays: bool) -> GroupInfo {
    loop {
        let info = client.group("cases").await.unwrap();
        let left = info.lag_events + info.in_flight + info.ready;
        if left == 0 && (parked_stays || info.parked == 0) {
            return info;
        }
        tokio::task::yield_now().await;
    }
}

/// Three consumers until nothing is left to do.
async fn three(client: &Client, came: &Came, fails: bool) -> GroupInfo {
    let before = came.counts();
    let (stop, stopped) = watch::channel(false);
    let count = AtomicU64::new(0);
    let one = |name: &'static str| {
        let (count, mut stopped) = (&count, stopped.clone());
        let handler = move |delivery: Delivery| {
            came.to(name, delivery.event.position().get(), delivery.event.stream());
            let is_one = name == "c" && (count.fetch_add(1, Ordering::Relaxed) + 1) % FAILS == 0;
            std::future::ready(match fails && is_one {
                true => Err(Nack::retry(Failure::new("every 50th fails"))),
                false => Ok(()),
            })
        };
        let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
        Box::pin(client.consumer("cases", name).run_until(handler, stop))
    };
    let all = async {
        let info = done(client, fails).await;
        stop.send_replace(true);
        info
    };
    let running = async { tokio::join!(one("a"), one("b"), one("c"), all) };
    let (a, b, c, info) = tokio::time::timeout(SOON, running).await.expect("it is done soon");
    for ended in [a, b, c] {
        ended.unwrap();
    }
    came.check_order(&before);
    info
}

#[test]
fn real_cases_are_shared_by_three_of_the_rust_client() {
    let folder = Folder::new();
    let Some(serving) = serving(&folder) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = nexus_client::connect(&serving.url()).await.unwrap();
        let filter = Filter::category("permit");
        let config = GroupConfig { filter, lanes: 16, max_attempts: 1, ..GroupConfig::default() };
        client.set_group("cases", &config).await.unwrap();
        assert_eq!(client.group("cases").await.unwrap().lag_events, ROWS as u64);
        let came = Came::default();
        let info = three(&client, &came, true).await;
        let list = ParkedList { limit: 1_000, ..ParkedList::default() };
        let parked = client.parked("cases", &list).await.unwrap();
        assert!(!parked.entries.is_empty() && parked.next.is_none(), "one of them failed");
        let failure = parked.entries[0].failure.as_ref().unwrap();
        assert_eq!((&*failure.message, parked.entries[0].attempts), ("every 50th fails", 1));
        let waiting: u64 = parked.entries.iter().map(|entry| entry.waiting_behind).sum();
        assert_eq!(info.parked, parked.entries.len() as u64 + waiting);
        let (_, lanes) = client.group_lanes("cases").await.unwrap();
        assert_eq!(lanes.iter().map(|lane| lane.parked).sum::<u64>(), info.parked);
        let replayed = client.replay_parked("cases", ParkedPick::All).await.unwrap();
        assert_eq!(replayed, parked.entries.len() as u64);
        let info = three(&client, &came, false).await;
        assert_eq!((info.lag_events, info.parked), (0, 0));
        came.check(parked.entries.len());
        client.close().await.unwrap();
    });
}
