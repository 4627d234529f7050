//! From the append of an event to the answer of a search that finds its document, while others are appended at a pace.
//!
//! Searches that ask for each event would be the load, and not the events: so fifty a second are asked for, each by what
//! only its document has, and behind its position. All is timed by one clock, in this process.

use std::time::{Duration, Instant};

use nexus_client::Client;
use nexus_protocol::projection::ProjectionChange;
use nexus_protocol::search::SearchRequest;
use nexus_protocol::{Append, Position};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::Latencies;
use super::super::server::subject::Subject;
use super::purchases::{Purchase, one_each};
use super::{failed, name_of};
use crate::exit::Failure;

/// Events a second.
const PACE_PER_S: u64 = 5_000;
/// One of so many is asked for.
const ASKED_EVERY: u64 = 100;
/// Streams of the events.
const STREAMS: u64 = 1_000;
/// What falls due within one tick is appended at once: timers are no finer.
const TICK: Duration = Duration::from_millis(1);
/// What is not found after so long never is.
const TIMEOUT_MS: u64 = 20_000;

/// Where an append has put its only event.
pub(super) async fn append(client: &Client, append: Append) -> Result<Position, Failure> {
    let appended = client.append(append).await?;
    let last = appended.positions.map(|(_, last)| last);
    last.ok_or_else(|| failed("an event has no position"))
}

/// A projection that documents of purchases are searched in.
struct Path {
    client: Client,
    asking: Client,
    name: String,
}

/// One event, and how long it took until it was found.
async fn found(
    (client, asking): (Client, Client),
    (projection, stream): (String, String),
    purchase: Purchase,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let position = append(&client, Append::to(stream).event(purchase.event())).await?;
    let request = SearchRequest {
        query: Some(json!({"term": {"order_id": purchase.order_id}})),
        min_position: Some(position),
        timeout_ms: Some(TIMEOUT_MS),
        ..SearchRequest::default()
    };
    let answer = asking.search(&projection, &request).await?;
    let elapsed = begun.elapsed();
    match answer.hits.as_slice() {
        [hit] if hit.key == purchase.order_id => Ok(elapsed),
        hits => Err(failed(format!("{} documents were found of one purchase", hits.len()))),
    }
}

impl Path {
    /// Makes the projection.
    fn new(subject: &Subject) -> Result<Self, Failure> {
        let name = name_of(subject, "searchable");
        let mut clients = subject.clients(2)?;
        let (Some(client), Some(asking)) = (clients.pop(), clients.pop()) else {
            return Err(failed("two clients were asked for"));
        };
        let definition = one_each(&name, &name);
        subject.runtime.block_on(client.set_projection(&name, &definition))?;
        Ok(Self { client, asking, name })
    }

    /// Appends purchases `first` to `last` at the pace; gives how long each took that was asked for, and how many events a
    /// second were acknowledged.
    async fn run(&self, first: u64, last: u64) -> Result<(Latencies, f64), Failure> {
        let (mut appends, mut asked) = (JoinSet::new(), JoinSet::new());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let a_tick = PACE_PER_S / 1_000;
        let begun = Instant::now();
        for number in first..last {
            if number % a_tick == 0 {
                ticks.tick().await;
            }
            let (purchase, stream) =
                (Purchase::numbered(number), format!("{}-{}", self.name, number % STREAMS));
            if number % ASKED_EVERY == 0 {
                let clients = (self.client.clone(), self.asking.clone());
                asked.spawn(found(clients, (self.name.clone(), stream), purchase));
            } else {
                let event = purchase.event();
                appends.spawn(self.client.append(Append::to(stream).event(event)));
            }
            while let Some(appended) = appends.try_join_next() {
                appended.map_err(failed)??;
            }
        }
        while let Some(appended) = appends.join_next().await {
            appended.map_err(failed)??;
        }
        let per_s = (last - first) as f64 / begun.elapsed().as_secs_f64().max(1e-9);
        let mut latencies = Latencies::default();
        while let Some(elapsed) = asked.join_next().await {
            latencies.add(elapsed.map_err(failed)??);
        }
        Ok((latencies, per_s))
    }
}

impl Bench {
    /// Median and tail.
    pub(super) fn searchable(&mut self) -> Result<Vec<Scenario>, Failure> {
        let (warm_s, seconds) = if self.effort.quick { (0, 1) } else { (3, 20) };
        self.with_server("searchable", |subject| {
            let path = Path::new(subject)?;
            let (warm, all) = (PACE_PER_S * warm_s, PACE_PER_S * (warm_s + seconds));
            let (latencies, per_s) = subject.runtime.block_on(async {
                path.run(0, warm).await?;
                path.run(warm, all).await
            })?;
            let gone = ProjectionChange::Delete { version: None };
            subject.runtime.block_on(path.client.change_projection(&path.name, gone))?;
            subject.close(vec![path.client, path.asking]);
            let scenario = |name, unit, target, value| {
                let goal = Scenario::new(name, unit, Better::Lower, target);
                let mut scenario = goal.measured(value).latencies(&latencies);
                scenario.events_per_s = Some(per_s);
                scenario
            };
            let half = scenario("searchable", "us p50", 500_000.0, latencies.us(0.5));
            let tail = scenario("searchable/p99", "us p99", 1_200_000.0, latencies.us(0.99));
            let half = half.note(format!(
                "single appends of {PACE_PER_S} events/s for {seconds} s, a document each; one of {ASKED_EVERY} is searched \
                 for behind its position, {} in all; from the call of its append to the answer of the search, both over QUIC",
                latencies.count()
            ));
            Ok(vec![half, tail.note("of the same searches")])
        })
    }
}
