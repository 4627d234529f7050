//! Live delivery: how long after its acknowledgement an event is at those who subscribed.
//!
//! Writer and subscribers are tasks of this process, so that one clock times both. An event that is
//! delivered before its writer knows that it is stored has waited for nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nexus_client::{Client, Subscription};
use nexus_protocol::{Append, Start, Subscribe, SubscriptionItem};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::Latencies;
use super::super::workload::Writer;
use super::reads::next;
use super::subject::Subject;
use crate::exit::Failure;

/// Connections that many subscribers share.
const CONNECTIONS: usize = 10;
/// Events a second of the scenario that asks for latency.
const PACE_PER_S: u64 = 100;
/// Events that are not delivered to all yet, where the writer goes as fast as it can.
const AHEAD: u64 = 16;
/// What is not delivered after so long never is.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(60);

/// How much is appended while somebody watches.
#[derive(Clone, Copy, Debug)]
struct Amount {
    subscribers: usize,
    /// One after the other, each delivered before the next.
    single: u64,
    /// At a fixed pace.
    paced: u64,
    /// As fast as it goes.
    fast: u64,
}

impl Amount {
    const FULL: Self = Self { subscribers: 1000, single: 4000, paced: 500, fast: 500 };
    const QUICK: Self = Self { subscribers: 20, single: 100, paced: 20, fast: 50 };
}

/// What arrived where and when.
#[derive(Debug, Default)]
struct Arrivals {
    /// Of each subscriber, in the order of events.
    times: Vec<Mutex<Vec<Instant>>>,
    /// Of all subscribers together.
    total: AtomicU64,
    /// Told whenever all may have what one has.
    moved: Notify,
    failed: Mutex<Option<Failure>>,
}

impl Arrivals {
    /// Notes an event, or why a subscriber gets no more.
    fn note(&self, subscriber: usize, item: Result<SubscriptionItem, Failure>) -> bool {
        match item {
            Ok(SubscriptionItem::Event(_)) => {
                let now = Instant::now();
                self.times[subscriber].lock().expect("no panic while it is held").push(now);
                let total = self.total.fetch_add(1, Ordering::AcqRel) + 1;
                if total.is_multiple_of(self.times.len() as u64) {
                    self.moved.notify_one();
                }
                true
            }
            Ok(_) => true,
            Err(failure) => {
                *self.failed.lock().expect("no panic while it is held") = Some(failure);
                self.moved.notify_one();
                false
            }
        }
    }

    /// Waits until so many events are at every subscriber, or rather until there are as many
    /// deliveries as that makes.
    async fn wait_for(&self, events: u64) -> Result<(), Failure> {
        let deliveries = events * self.times.len() as u64;
        let all = async {
            while self.total.load(Ordering::Acquire) < deliveries {
                self.moved.notified().await;
                if let Some(failure) = self.failed.lock().expect("no panic while held").take() {
                    return Err(failure);
                }
            }
            Ok(())
        };
        let late =
            || Failure::failed(format!("events were not delivered within {DELIVERY_TIME_MAX:?}"));
        tokio::time::timeout(DELIVERY_TIME_MAX, all).await.map_err(|_| late())?
    }

    /// From the acknowledgement of each event, the first of which was number `first`, to its
    /// delivery, of all subscribers.
    fn latencies(&self, first: u64, acknowledged: &[Instant]) -> Latencies {
        let mut latencies = Latencies::default();
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for times in &self.times {
            let times = times.lock().expect("no panic while it is held");
            for (acknowledged, delivered) in acknowledged.iter().zip(times.iter().skip(first)) {
                latencies.add(delivered.saturating_duration_since(*acknowledged));
            }
        }
        latencies
    }
}

/// Subscribers of one stream, and who appends to it.
struct Audience {
    client: Client,
    writer: Writer,
    stream: String,
    /// Events that subscribers were to get so far.
    appended: u64,
    arrivals: Arc<Arrivals>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Audience {
    /// Subscribes so many; all have caught up when it is back.
    async fn gather(
        bench: &Bench,
        subject: &Subject,
        clients: &[Client],
        client: Client,
        subscribers: usize,
    ) -> Result<Self, Failure> {
        let stream = subject.named(&format!("live-{subscribers}"));
        let mut writers = Writer::several(&bench.orders, &stream, 1);
        let writer = writers.pop().expect("one was asked for");
        let times = (0..subscribers).map(|_| Mutex::default()).collect();
        let arrivals = Arc::new(Arrivals { times, ..Arrivals::default() });
        let tasks = Vec::with_capacity(subscribers);
        let mut this = Self { client, writer, stream, appended: 0, arrivals, tasks };
        // The stream is there before anybody subscribes.
        this.append().await?;
        for (subscriber, client) in clients.iter().cycle().take(subscribers).enumerate() {
            let watched = Subscribe::stream(this.stream.clone()).start(Start::End);
            let mut subscription = client.subscribe(watched);
            while !matches!(next(&mut subscription).await?, SubscriptionItem::CaughtUp { .. }) {}
            let arrivals = Arc::clone(&this.arrivals);
            this.tasks.push(tokio::spawn(watch(subscription, arrivals, subscriber)));
        }
        Ok(this)
    }

    /// Appends one event; when it was acknowledged.
    async fn append(&mut self) -> Result<Instant, Failure> {
        let mut append = self.writer.next(1);
        let events = append.streams.pop().map(|to| to.events).unwrap_or_default();
        self.client.append(Append::to(self.stream.clone()).events(events)).await?;
        Ok(Instant::now())
    }

    /// Appends so many events, of which at most `ahead` are under way to somebody; with a pace not
    /// faster than that. Gives the latencies, and how long all took.
    async fn deliver(
        &mut self,
        events: u64,
        ahead: u64,
        pace_per_s: Option<u64>,
    ) -> Result<(Latencies, Duration), Failure> {
        let first = self.appended;
        let mut acknowledged = Vec::with_capacity(usize::try_from(events).unwrap_or(0));
        let mut pace = pace_per_s.map(|pace| {
            let mut pace =
                tokio::time::interval(Duration::from_secs(1) / u32::try_from(pace).unwrap_or(1));
            pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
            pace
        });
        let begun = Instant::now();
        for _ in 0..events {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            acknowledged.push(self.append().await?);
            self.appended += 1;
            self.arrivals.wait_for(self.appended.saturating_sub(ahead)).await?;
        }
        self.arrivals.wait_for(self.appended).await?;
        let elapsed = begun.elapsed();
        Ok((self.arrivals.latencies(first, &acknowledged), elapsed))
    }
}

async fn watch(mut subscription: Subscription, arrivals: Arc<Arrivals>, subscriber: usize) {
    while arrivals.note(subscriber, next(&mut subscription).await) {}
}

impl Bench {
    /// One subscriber, then a thousand.
    pub(super) fn live(&mut self) -> Result<Vec<Scenario>, Failure> {
        let amount = if self.effort.quick { Amount::QUICK } else { Amount::FULL };
        let mut scenarios = vec![self.live_one(amount)?];
        scenarios.extend(self.live_many(amount)?);
        Ok(scenarios)
    }

    fn live_one(&self, amount: Amount) -> Result<Scenario, Failure> {
        self.with_server("live", |subject| {
            let clients = subject.clients(1)?;
            let client = subject.clients(1)?.pop().expect("one was asked for");
            let delivered = subject.runtime.block_on(async {
                let mut audience = Audience::gather(self, subject, &clients, client, 1).await?;
                audience.deliver(amount.single / 10, 0, None).await?;
                audience.deliver(amount.single, 0, None).await
            });
            let (latencies, elapsed) = delivered?;
            let goal = Scenario::new("live", "us p50", Better::Lower, 1_000.0);
            let mut scenario = goal.measured(latencies.us(0.5)).latencies(&latencies);
            scenario.events_per_s = Some(amount.single as f64 / elapsed.as_secs_f64());
            Ok(scenario.note(format!(
                "{} events, one after the other, writer and subscriber on two connections; from the \
                 acknowledgement at the writer to the delivery, none where that came first",
                amount.single
            )))
        })
    }

    fn live_many(&self, amount: Amount) -> Result<Vec<Scenario>, Failure> {
        let count = amount.subscribers;
        let (paced, fast, grown_kib) = self.with_server("live-many", |subject| {
            let client = subject.clients(1)?.pop().expect("one was asked for");
            let resident = || subject.process.as_ref().and_then(|process| process.resident_kib());
            let before = resident();
            let clients = subject.clients(CONNECTIONS)?;
            let (paced, fast) = subject.runtime.block_on(async {
                let mut audience = Audience::gather(self, subject, &clients, client, count).await?;
                audience.deliver(amount.paced / 10, u64::MAX, Some(PACE_PER_S)).await?;
                let paced = audience.deliver(amount.paced, u64::MAX, Some(PACE_PER_S)).await?;
                let fast = audience.deliver(amount.fast, AHEAD, None).await?;
                Ok::<_, Failure>((paced, fast))
            })?;
            let grown = before.and_then(|before| Some(resident()?.saturating_sub(before)));
            Ok((paced, fast, grown))
        })?;
        let on = format!("{count} subscribers of one stream on {CONNECTIONS} connections");
        let goal = Scenario::new("live/1000", "us p50", Better::Lower, 15_000.0);
        let (latencies, elapsed) = paced;
        let mut at_pace = goal.measured(latencies.us(0.5)).latencies(&latencies);
        at_pace.events_per_s = Some((amount.paced * count as u64) as f64 / elapsed.as_secs_f64());
        let at_pace = at_pace.note(format!(
            "{on}, {} events, {PACE_PER_S} a second; from the acknowledgement at the writer to the \
             delivery; events/s are deliveries",
            amount.paced
        ));
        let goal = Scenario::new("live/1000-rate", "deliveries/s", Better::Higher, 100_000.0);
        let (latencies, elapsed) = fast;
        let per_s = (amount.fast * count as u64) as f64 / elapsed.as_secs_f64();
        let mut at_rate = goal.measured(per_s).latencies(&latencies);
        at_rate.events_per_s = Some(per_s);
        let at_rate = at_rate.note(format!(
            "{on}, {} events, {AHEAD} at most on their way to somebody",
            amount.fast
        ));
        let goal = Scenario::new("live/1000-memory", "KiB a subscriber", Better::Lower, 64.0);
        let memory = match grown_kib {
            Some(grown) => goal.measured(grown as f64 / count as f64).note(format!(
                "VmRSS of the server after all deliveries, less before these connections; {on}"
            )),
            None => goal.note("the server is no child of this process, which is told of no other"),
        };
        Ok(vec![at_pace, at_rate, memory])
    }
}
