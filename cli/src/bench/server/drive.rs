//! [`drive`]: many who each do one thing after the other, at the same time, for so long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Barrier;

use super::super::rounds::Turn;
use super::super::workload::together;
use crate::exit::Failure;

/// Somebody who does one thing after the other.
pub trait Worker: Send + 'static {
    /// Makes the next thing ready: that counts for the throughput, and for no latency. What was made
    /// ready and not done is done first the next time.
    fn prepare(&mut self) {}

    /// Does it, and says how many events that was.
    fn work(&mut self) -> impl Future<Output = Result<u64, Failure>> + Send;
}

/// All work for so long; they begin together.
///
/// # Errors
/// The first error of any of them; then there are no workers any more.
pub fn drive<W: Worker>(
    runtime: &Runtime,
    workers: &mut Vec<W>,
    duration: Duration,
) -> Result<Turn, Failure> {
    let barrier = Arc::new(Barrier::new(workers.len()));
    let tasks: Vec<_> = std::mem::take(workers)
        .into_iter()
        .map(|worker| runtime.spawn(run(worker, duration, Arc::clone(&barrier))))
        .collect();
    let ended = runtime.block_on(async {
        let mut ended = Vec::with_capacity(tasks.len());
        for task in tasks {
            ended.push(task.await.expect("a worker does not panic"));
        }
        ended
    });
    let mut turns = Vec::with_capacity(ended.len());
    for done in ended {
        let (worker, turn, begun, end) = done?;
        workers.push(worker);
        turns.push(Ok((turn, begun, end)));
    }
    together(turns)
}

async fn run<W: Worker>(
    mut worker: W,
    duration: Duration,
    barrier: Arc<Barrier>,
) -> Result<(W, Turn, Instant, Instant), Failure> {
    barrier.wait().await;
    let begun = Instant::now();
    let until = begun + duration;
    let mut turn = Turn::default();
    loop {
        worker.prepare();
        let since = Instant::now();
        if since >= until && turn.events > 0 {
            return Ok((worker, turn, begun, since));
        }
        turn.events += worker.work().await?;
        turn.latencies.add(since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counts {
        made: u64,
        done: u64,
    }

    impl Worker for Counts {
        fn prepare(&mut self) {
            self.made = self.done + 1;
        }

        async fn work(&mut self) -> Result<u64, Failure> {
            assert_eq!(self.made, self.done + 1, "made ready before it is done");
            self.done = self.made;
            tokio::task::yield_now().await;
            Ok(10)
        }
    }

    #[test]
    fn all_work_and_come_back() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut workers = vec![Counts { made: 0, done: 0 }, Counts { made: 0, done: 0 }];
        let turn = drive(&runtime, &mut workers, Duration::from_millis(2)).unwrap();
        let done: u64 = workers.iter().map(|worker| worker.done).sum();
        assert_eq!((turn.events, turn.latencies.count()), (done * 10, done));
        assert!(workers.len() == 2 && workers.iter().all(|worker| worker.done > 0));
    }
}
