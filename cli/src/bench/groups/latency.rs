//! From the append of an event to the answered acknowledgement of its delivery, at a fixed pace; alone, and beside
//! a backlog that others drain.
//!
//! Writer and consumers are tasks of this process, so that one clock times both.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nexus_client::Client;
use nexus_protocol::group::{Delivery, GroupMode};
use nexus_protocol::{Append, EventId};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::{Latencies, median};
use super::super::server::subject::Subject;
use super::consume::{CONSUMERS, Takes, group_of};
use crate::exit::Failure;

/// Events a second of the scenario that asks for latency.
const PACE_PER_S: u64 = 5_000;
/// Events a second of the critical group.
const CRITICAL_PER_S: u64 = 1_000;
/// What the others have to do meanwhile.
const OTHERS: u64 = 200_000;
/// Consumers of the critical group, and of the other.
const EACH: usize = 4;
/// Streams of the events.
const STREAMS: u64 = 1_000;
/// What falls due within one tick is appended at once: timers are no finer.
const TICK: Duration = Duration::from_millis(1);
/// How soon a consumer sees that all is done.
const WAIT: Duration = Duration::from_millis(200);
/// What is not delivered after so long never is.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(60);

/// When each event was appended, and what became of it.
#[derive(Debug, Default)]
struct Way {
    begun: Mutex<Vec<Instant>>,
    acked: AtomicU64,
    latencies: Mutex<Latencies>,
}

impl Way {
    /// The id of the next event, whose way begins now.
    fn begin(&self) -> EventId {
        let mut begun = self.begun.lock().expect("no panic while it is held");
        let mut id = *Uuid::new_v4().as_bytes();
        id[8..].copy_from_slice(&(begun.len() as u64).to_be_bytes());
        begun.push(Instant::now());
        EventId::from_bytes(id)
    }

    fn end(&self, taken: &[Delivery]) {
        let now = Instant::now();
        let begun = self.begun.lock().expect("no panic while it is held");
        let mut latencies = self.latencies.lock().expect("no panic while it is held");
        for delivery in taken {
            let id = delivery.event.id();
            let number = id.as_bytes()[8..].try_into().map(u64::from_be_bytes).unwrap_or(u64::MAX);
            if let Some(begun) = begun.get(usize::try_from(number).unwrap_or(usize::MAX)) {
                latencies.add(now.duration_since(*begun));
            }
        }
        self.acked.fetch_add(taken.len() as u64, Ordering::AcqRel);
    }
}

/// A group, and who appends to it and consumes of it.
struct Path {
    category: String,
    client: Client,
    clients: Vec<Client>,
}

impl Path {
    fn new(
        subject: &Subject,
        name: &str,
        mode: GroupMode,
        consumers: usize,
    ) -> Result<Self, Failure> {
        let category = subject.named(name).replace('-', "");
        let client = subject.clients(1)?.pop().expect("one was asked for");
        let config = group_of(mode, &category);
        subject.runtime.block_on(client.set_group(&category, &config))?;
        Ok(Self { category, client, clients: subject.clients(consumers)? })
    }

    /// Appends so many events at a pace, and waits until all are acknowledged.
    async fn run(&self, bench: &Bench, events: u64, per_s: u64) -> Result<Latencies, Failure> {
        let way = Arc::<Way>::default();
        let mut tasks = JoinSet::new();
        for takes in Takes::several(&self.clients, &self.category) {
            let way = Arc::clone(&way);
            tasks.spawn(async move {
                while way.acked.load(Ordering::Acquire) < events {
                    let taken = takes.take(WAIT).await?;
                    if !taken.is_empty() {
                        takes.ack(&taken).await?;
                        way.end(&taken);
                    }
                }
                Ok::<_, Failure>(())
            });
        }
        let mut appends = JoinSet::new();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let a_tick = per_s * u64::try_from(TICK.as_micros()).unwrap_or(1) / 1_000_000;
        for number in 0..events {
            if number % a_tick.max(1) == 0 {
                ticks.tick().await;
            }
            let event = bench.orders.event(number).id(way.begin());
            let stream = format!("{}-{}", self.category, number % STREAMS);
            appends.spawn(self.client.append(Append::to(stream).event(event)));
        }
        let all = async {
            while let Some(appended) = appends.join_next().await {
                appended.expect("an append does not panic")?;
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("a consumer does not panic")?;
            }
            Ok::<_, Failure>(())
        };
        let late = |_| Failure::failed(format!("not all were done within {DELIVERY_TIME_MAX:?}"));
        tokio::time::timeout(DELIVERY_TIME_MAX, all).await.map_err(late)??;
        let latencies = way.latencies.lock().expect("no panic while it is held");
        Ok(latencies.clone())
    }
}

impl Bench {
    /// At a pace that is no load.
    pub(super) fn append_to_acked(&mut self) -> Result<Vec<Scenario>, Failure> {
        let seconds = if self.effort.quick { 1 } else { 8 };
        self.with_server("groups-latency", |subject| {
            let path = Path::new(subject, "paced", GroupMode::Unordered, CONSUMERS)?;
            let latencies = subject.runtime.block_on(async {
                path.run(self, PACE_PER_S / 2, PACE_PER_S).await?;
                path.run(self, PACE_PER_S * seconds, PACE_PER_S).await
            })?;
            let goal = Scenario::new("groups-latency", "us p50", Better::Lower, 3_000.0);
            let mut scenario = goal.measured(latencies.us(0.5)).latencies(&latencies);
            scenario.events_per_s = Some(PACE_PER_S as f64);
            Ok(vec![scenario.note(format!(
                "single appends, {} at a time each {} ms; {CONSUMERS} consumers; from the call of the append to the \
                 answer of the acknowledgement, so that each has waited for two syncs",
                PACE_PER_S / 1_000,
                TICK.as_millis()
            ))])
        })
    }

    /// A critical group, while another has much to do and while it has not.
    pub(super) fn critical(&mut self) -> Result<Vec<Scenario>, Failure> {
        let (others, rounds) = if self.effort.quick { (OTHERS / 20, 1) } else { (OTHERS, 5) };
        let events = if self.effort.quick { 200 } else { 1_500 };
        self.with_server("groups-critical", |subject| {
            let critical = Path::new(subject, "critical", GroupMode::Ordered, EACH)?;
            let bulk = Path::new(subject, "others", GroupMode::Unordered, EACH)?;
            let (mut ratios, mut beside) = (Vec::new(), Latencies::default());
            let run = || critical.run(self, events, CRITICAL_PER_S);
            subject.runtime.block_on(run())?;
            for _ in 0..rounds {
                let alone = subject.runtime.block_on(run())?;
                self.backlog(subject, &bulk.category, STREAMS, others)?;
                let with = subject.runtime.block_on(async {
                    let mut draining = JoinSet::new();
                    for takes in Takes::several(&bulk.clients, &bulk.category) {
                        draining.spawn(async move {
                            loop {
                                let taken = takes.take(WAIT).await?;
                                if taken.is_empty() {
                                    return Ok::<_, Failure>(());
                                }
                                takes.ack(&taken).await?;
                            }
                        });
                    }
                    let with = run().await?;
                    while let Some(done) = draining.join_next().await {
                        done.expect("a consumer does not panic")?;
                    }
                    Ok::<_, Failure>(with)
                })?;
                ratios.push(with.us(0.99) / alone.us(0.99).max(1.0));
                beside.add_all(&with);
            }
            let goal = Scenario::new("groups-critical", "x p99", Better::Lower, 2.0);
            let scenario = goal.measured(median(ratios.clone())).latencies(&beside).ratios(ratios);
            Ok(vec![scenario.note(format!(
                "{CRITICAL_PER_S} events/s to an ordered group of {EACH} consumers, from the append to the answered \
                 acknowledgement, with and without {others} events that {EACH} consumers of another group drain as \
                 fast as they can; latencies are those with"
            ))])
        })
    }
}
