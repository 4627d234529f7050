//! [`Pool`]: a few threads that run many builds, each for a short while in its turn.
//!
//! Whoever is woken stands behind all others that were: so one that folds a million events takes its turns among a
//! thousand that fold one each. The threads are started with the first build.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::build::Build;

/// Threads, at most: documents are folded beside all else that a node does.
const THREADS_MAX: usize = 8;

/// What runs builds.
#[derive(Debug, Default)]
pub(super) struct Pool {
    turns: Arc<Turns>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Who has a turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<Arc<Build>>,
    /// When somebody is to have a turn without being woken, the first of these first.
    ticks: BinaryHeap<Reverse<(Instant, u64)>>,
    ticking: BTreeMap<u64, Arc<Build>>,
    tick: u64,
    is_stopped: bool,
}

impl Turns {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives somebody a turn, behind all others.
    pub(super) fn push(&self, build: Arc<Build>) {
        let mut queue = self.queue();
        // Nobody has turns any more. What is let go of may be the last of its kind, and is so outside the lock.
        if queue.is_stopped {
            drop(queue);
            return drop(build);
        }
        queue.ready.push_back(build);
        drop(queue);
        self.changed.notify_one();
    }

    /// Gives somebody a turn at a time.
    pub(super) fn push_at(&self, at: Instant, build: Arc<Build>) {
        let mut queue = self.queue();
        if queue.is_stopped {
            drop(queue);
            return drop(build);
        }
        queue.tick += 1;
        let tick = queue.tick;
        queue.ticks.push(Reverse((at, tick)));
        queue.ticking.insert(tick, build);
        drop(queue);
        self.changed.notify_one();
    }

    /// Whose turn it is; `None`: nobody's any more.
    fn next(&self) -> Option<Arc<Build>> {
        let mut queue = self.queue();
        loop {
            if queue.is_stopped {
                return None;
            }
            let now = Instant::now();
            while let Some(Reverse((_, tick))) =
                queue.ticks.peek().filter(|Reverse((at, _))| *at <= now).copied()
            {
                queue.ticks.pop();
                if let Some(build) = queue.ticking.remove(&tick)
                    && build.is_to_be_queued()
                {
                    queue.ready.push_back(build);
                }
            }
            if let Some(build) = queue.ready.pop_front() {
                // Others look after those, and after the next tick, however long this turn takes.
                if !queue.ready.is_empty() || !queue.ticks.is_empty() {
                    self.changed.notify_one();
                }
                return Some(build);
            }
            queue = match queue.ticks.peek() {
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(Reverse((at, _))) => {
                    let wait = at.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(queue, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Pool {
    /// Where its builds have their turns.
    pub(super) fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// Starts its threads, where they are not yet. Without any thread nothing is folded.
    pub(super) fn start(&self) -> std::io::Result<()> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if !threads.is_empty() || self.turns.queue().is_stopped {
            return Ok(());
        }
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        for _ in 0..count {
            let turns = Arc::clone(&self.turns);
            let thread = std::thread::Builder::new().name("nexus-projections".to_owned());
            threads.push(thread.spawn(move || {
                while let Some(build) = turns.next() {
                    build.turn();
                }
            })?);
        }
        Ok(())
    }

    /// Ends the threads, each after the turn that it is at.
    pub(super) fn stop(&self) {
        let ready = {
            let mut queue = self.turns.queue();
            queue.is_stopped = true;
            let ready = std::mem::take(&mut queue.ready);
            (ready, std::mem::take(&mut queue.ticking))
        };
        drop(ready);
        self.turns.changed.notify_all();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let own = std::thread::current().id();
        for thread in threads.drain(..) {
            // The last of a node may be let go by a thread of its own.
            if thread.thread().id() != own {
                drop(thread.join());
            }
        }
    }
}
