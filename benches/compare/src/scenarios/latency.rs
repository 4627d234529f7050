//! From the call of an append to the answered acknowledgement of its delivery, at a fixed pace.
//!
//! Writer and consumers are tasks of this process, so that one clock times both. The writer does not wait for answers: a
//! store that falls behind is seen in its latencies, and where it falls behind for good, at half of the pace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nexus_cli::measuring::{BATCHES_AHEAD, CONSUMERS, Failure, Orders, Turn};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::deliveries::until_done;
use super::{Figure, Measures, Side, check};
use crate::Run;
use crate::stores::{Consumes, Store, Writes};
use crate::tally::Tally;

/// Events a second that are asked for.
const PACE_PER_S: u64 = 5_000;
/// No store is asked for less.
const PACE_PER_S_MIN: u64 = 300;
/// What is due within one tick is appended at once: timers are no finer.
const TICK: Duration = Duration::from_millis(1);
/// What is not acknowledged after so long never is.
const TURN_TIME_MAX: Duration = Duration::from_secs(120);
/// A pace is kept where so many hundredths of it were done by the end.
const KEPT_PERCENT: u64 = 85;

pub(super) struct Latency;

impl Measures for Latency {
    fn figure(&self) -> Figure {
        Figure::Latency
    }

    fn side<'r, S: Store + 'r>(&self, run: &'r Run, store: S) -> Result<Side<'r>, Failure> {
        let mut turns = 0;
        let mut at = move |per_s| {
            turns += 1;
            let name = format!("paced{turns}");
            let events = u64::max(per_s * run.amounts.paced_ms / 1_000, 20);
            run.runtime.block_on(paced(&store, &run.orders, &name, Pace { events, per_s }))
        };
        // The first time everything is new.
        at(PACE_PER_S)?;
        let mut per_s = PACE_PER_S;
        // Once more before it is asked for less: the machine may have been busy.
        while per_s / 2 >= PACE_PER_S_MIN
            && !(is_kept(&at(per_s)?, per_s) || is_kept(&at(per_s)?, per_s))
        {
            per_s /= 2;
        }
        let slower = match per_s {
            PACE_PER_S => String::new(),
            _ => format!(", since it fell behind at {}", 2 * per_s),
        };
        let note = format!(
            "{per_s} events/s{slower}; one client appends, one event a request, without waiting for answers; \
             {CONSUMERS} consumers; from the call of the append to the answer of the acknowledgement"
        );
        Ok(Side::new(run, S::NAME, note, move || at(per_s)).paced(per_s))
    }
}

fn is_kept(turn: &Turn, per_s: u64) -> bool {
    turn.per_s() * 100.0 >= (per_s * KEPT_PERCENT) as f64
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    events: u64,
    per_s: u64,
}

/// When each append was called.
type Begun = Arc<Mutex<Vec<Instant>>>;

async fn paced<S: Store>(
    store: &S,
    orders: &Orders,
    name: &str,
    pace: Pace,
) -> Result<Turn, Failure> {
    let tally = Arc::new(Tally::new(pace.events));
    let begun = Begun::default();
    store.make(name).await?;
    let mut tasks = JoinSet::new();
    for consumer in store.group(name, name, CONSUMERS).await? {
        let consumer = Arc::new(consumer);
        for _ in 0..BATCHES_AHEAD {
            let (tally, begun) = (Arc::clone(&tally), Arc::clone(&begun));
            tasks.spawn(consume(Arc::clone(&consumer), tally, begun));
        }
    }
    let writer = store.writers(name, 1).await?.pop();
    let writer = Arc::new(writer.ok_or_else(|| Failure::failed("there is no writer"))?);
    let first = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0;
    while number < pace.events {
        ticks.tick().await;
        let passed_us = u64::try_from(first.elapsed().as_micros()).unwrap_or(u64::MAX);
        let due = passed_us.saturating_mul(pace.per_s) / 1_000_000;
        while number < due.min(pace.events) {
            let (writer, data) = (Arc::clone(&writer), orders.numbered(number));
            begun.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            tasks.spawn(async move { writer.append(number, data).await });
            number += 1;
        }
    }
    until_done(&tally, &mut tasks, TURN_TIME_MAX).await?;
    let (last, latencies) = tally.settled()?;
    check(store, name, name, pace.events).await?;
    store.end(name, name).await?;
    Ok(Turn { events: pace.events, elapsed: last - first, latencies })
}

async fn consume<C: Consumes>(
    consumer: Arc<C>,
    tally: Arc<Tally>,
    begun: Begun,
) -> Result<(), Failure> {
    loop {
        let taken = consumer.take().await?;
        if !taken.numbers.is_empty() {
            let acked = consumer.ack(taken.tokens).await?;
            let begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
            let since = |number| {
                let index = usize::try_from(number).unwrap_or(usize::MAX);
                begun.get(index).copied().unwrap_or_else(Instant::now)
            };
            tally.add(&taken.numbers, acked, since);
        }
    }
}
