//! How many deliveries a second are acknowledged, from a backlog.
//!
//! Each turn has a new group over the whole backlog, which it drains: so all turns do the same work, and it is known how
//! much that is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nexus_cli::measuring::{BATCH, BATCHES_AHEAD, CONSUMERS, Failure, Turn};
use tokio::task::JoinSet;

use super::{Figure, Measures, Side, check};
use crate::Run;
use crate::stores::{Consumes, Store};
use crate::tally::Tally;

const PLACE: &str = "backlog";
/// What is not acknowledged after so long never is.
const TURN_TIME_MAX: Duration = Duration::from_secs(300);

pub(super) struct Deliveries;

impl Measures for Deliveries {
    fn figure(&self) -> Figure {
        Figure::Rate
    }

    fn side<'r, S: Store + 'r>(&self, run: &'r Run, store: S) -> Result<Side<'r>, Failure> {
        let events = run.amounts.backlog;
        run.runtime.block_on(async {
            store.make(PLACE).await?;
            store.fill(PLACE, events, &run.orders).await
        })?;
        let mut turns = 0;
        let turn = move || {
            turns += 1;
            run.runtime.block_on(drain(&store, &format!("group-{turns}"), events))
        };
        let note = format!(
            "{events} events a turn to a new unordered group of {CONSUMERS} consumers, batches of {BATCH}, \
             {BATCHES_AHEAD} of each under way; each was delivered and acknowledged once by the store's own count; \
             latencies from asking for a batch to its answered acknowledgement"
        );
        Ok(Side::new(run, S::NAME, note, turn))
    }
}

async fn drain<S: Store>(store: &S, group: &str, events: u64) -> Result<Turn, Failure> {
    let tally = Arc::new(Tally::new(events));
    // A group may read ahead as soon as it is there.
    let begun = Instant::now();
    let consumers = store.group(PLACE, group, CONSUMERS).await?;
    let mut tasks = JoinSet::new();
    for consumer in consumers {
        let consumer = Arc::new(consumer);
        for _ in 0..BATCHES_AHEAD {
            tasks.spawn(consume(Arc::clone(&consumer), Arc::clone(&tally)));
        }
    }
    until_done(&tally, &mut tasks, TURN_TIME_MAX).await?;
    let (last, latencies) = tally.settled()?;
    check(store, PLACE, group, events).await?;
    store.end(PLACE, group).await?;
    Ok(Turn { events, elapsed: last - begun, latencies })
}

async fn consume<C: Consumes>(consumer: Arc<C>, tally: Arc<Tally>) -> Result<(), Failure> {
    loop {
        let since = Instant::now();
        let taken = consumer.take().await?;
        if !taken.numbers.is_empty() {
            let acked = consumer.ack(taken.tokens).await?;
            tally.add(&taken.numbers, acked, |_| since);
        }
    }
}

/// Waits until all is acknowledged, and ends the tasks of consumers, which have nothing left to do. One that ended with
/// an error says so at once.
///
/// # Errors
/// What was wrong.
pub(super) async fn until_done(
    tally: &Tally,
    tasks: &mut JoinSet<Result<(), Failure>>,
    time_max: Duration,
) -> Result<(), Failure> {
    let wrong = async {
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a task does not panic")?;
        }
        std::future::pending().await
    };
    let waited = tokio::select! {
        () = tally.done() => Ok(()),
        wrong = wrong => wrong,
        () = tokio::time::sleep(time_max) => {
            // Says what is missing.
            Err(tally.settled().err().unwrap_or_else(|| Failure::failed("it took too long")))
        }
    };
    tasks.shutdown().await;
    waited
}
