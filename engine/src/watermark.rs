//! A watermark: everything below it is durable (or committed), and those who wait for more.
//!
//! It is a count, that is, the next position: 0 says that nothing is. It only grows. One thread at
//! a time publishes it (whoever holds the commit path); any number read it, block on it, or poll it.
//! It is not a queue and carries no values: who is woken reads the log.
//!
//! Invariants:
//! - I1, I2: who reads `n` sees every write made before `publish(n)` (release, acquire);
//! - no wake-up is lost: a waiter's goal is either seen by the publisher who reaches it, or the
//!   waiter sees the value itself and does not wait;
//! - who waits for what was published before `close` is told that it was reached, not that the
//!   watermark closed: an append that became durable is never reported as unknown;
//! - a registration ends with the publish that reaches it, with `close`, or with its slot.
//!
//! Why so: publishing is on the commit path. Waiters are kept by goal, and the lowest goal stands
//! beside the value, so a publish that nobody waits for is one store, one fence, and one load, and
//! one that wakes some touches only those. Publisher and waiter each write their own word and then
//! read the other's, with a sequentially consistent fence between, so at least one sees the other.
//! A blocked thread is a waiter whose waker unparks it: one mechanism, and one set of models.

#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sync::{Condvar, Mutex, lock, wait_while};

/// The lowest goal when there is none. A waiter beyond `u64::MAX` has it too: it waits for `close`.
const NO_GOAL: u64 = u64::MAX;

/// The next position that is not yet durable (or committed); see the module's documentation.
pub(crate) struct Watermark {
    /// Everything below it holds.
    value: AtomicU64,
    /// The lowest goal among the waiters, or [`NO_GOAL`]; written under the lock of `waiters`.
    lowest_goal: AtomicU64,
    /// Raised once, under the lock of `waiters`.
    closed: AtomicBool,
    waiters: Mutex<Waiters>,
}

/// Those who wait, lowest goal first, then in order of arrival.
struct Waiters {
    by_goal: BTreeMap<Registration, Waker>,
    next_ticket: u64,
}

/// The key of one waiter: what it waits for, and which one it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Registration {
    /// Woken when the watermark is at least this.
    goal: u64,
    /// Tells apart those who share a goal; never used twice.
    ticket: u64,
}

/// The watermark will not grow any more: the log was closed or poisoned (I7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("watermark is closed")]
pub(crate) struct Closed;

/// How a blocking wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The watermark, which is beyond what the waiter had seen.
    Reached(u64),
    /// The time is over; nothing new.
    TimedOut,
    /// Nothing new, and there will be nothing.
    Closed,
}

impl Watermark {
    /// A watermark below which everything up to `start` already holds.
    pub(crate) fn new(start: u64) -> Self {
        Self {
            value: AtomicU64::new(start),
            lowest_goal: AtomicU64::new(NO_GOAL),
            closed: AtomicBool::new(false),
            waiters: Mutex::new(Waiters { by_goal: BTreeMap::new(), next_ticket: 0 }),
        }
    }

    /// Where it stands: all positions below it hold, and what was written for them is visible.
    pub(crate) fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Raises it to `to` and wakes those whose goal that reaches. Publishers take turns: the caller
    /// owns the commit path.
    ///
    /// # Panics
    /// If it would fall.
    #[cfg_attr(not(test), expect(dead_code, reason = "models use it"))]
    pub(crate) fn publish(&self, to: u64) {
        self.raise(to).into_iter().for_each(Waker::wake);
    }

    /// The same, but the caller wakes: a waker is foreign code, and the commit path holds its lock.
    #[must_use = "those who wait are to be woken"]
    pub(crate) fn raise(&self, to: u64) -> Vec<Waker> {
        let from = self.value.load(Ordering::Relaxed);
        assert!(from <= to, "watermark would fall from {from} to {to}");
        self.value.store(to, Ordering::Release);
        // Pairs with the fence in `WaiterSlot::register`.
        fence(Ordering::SeqCst);
        if self.lowest_goal.load(Ordering::Relaxed) <= to {
            self.take_reached(to)
        } else {
            Vec::new()
        }
    }

    /// Wakes everybody, now and from now on: no wait blocks any more. What was published stays
    /// readable, and waits for it still succeed.
    pub(crate) fn close(&self) {
        self.shut().into_iter().for_each(Waker::wake);
    }

    /// The same, but the caller wakes.
    #[must_use = "those who wait are to be woken"]
    pub(crate) fn shut(&self) -> Vec<Waker> {
        let mut waiters = lock(&self.waiters);
        self.closed.store(true, Ordering::Release);
        let woken = std::mem::take(&mut waiters.by_goal);
        self.note_lowest_goal(&waiters);
        drop(waiters);
        woken.into_values().collect()
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Blocks until the watermark is beyond `seen`, that is, until the position `seen` holds; at
    /// most for `timeout`, which may be zero.
    pub(crate) fn wait_beyond(&self, seen: u64, timeout: Option<Duration>) -> Wait {
        if self.outcome(seen).is_none() {
            let parker = std::sync::Arc::new(Parker::new());
            let waker = Waker::from(std::sync::Arc::clone(&parker));
            let mut slot = WaiterSlot::new(self);
            if slot.poll_beyond(seen, &waker).is_pending() {
                parker.park(timeout);
            }
        }
        match self.outcome(seen) {
            Some(Ok(value)) => Wait::Reached(value),
            Some(Err(Closed)) => Wait::Closed,
            None => {
                assert!(timeout.is_some(), "woken before the goal {seen} + 1 was reached");
                Wait::TimedOut
            }
        }
    }

    /// What a waiter who has seen `seen` is to be told now, if anything. `closed` is read first:
    /// whoever sees it raised sees also what was published before.
    fn outcome(&self, seen: u64) -> Option<Result<u64, Closed>> {
        let closed = self.is_closed();
        let value = self.get();
        if value > seen {
            Some(Ok(value))
        } else if closed {
            Some(Err(Closed))
        } else {
            None
        }
    }

    /// Takes out those whose goal is at most `to`, to be woken outside of any lock.
    #[cold]
    fn take_reached(&self, to: u64) -> Vec<Waker> {
        let mut woken = Vec::new();
        let mut waiters = lock(&self.waiters);
        while let Some(first) = waiters.by_goal.first_entry() {
            if first.key().goal > to {
                break;
            }
            woken.push(first.remove());
        }
        self.note_lowest_goal(&waiters);
        woken
    }

    /// Tells publishers from where on they must look at the waiters.
    fn note_lowest_goal(&self, waiters: &Waiters) {
        let lowest = waiters.by_goal.first_key_value().map_or(NO_GOAL, |(first, _)| first.goal);
        self.lowest_goal.store(lowest, Ordering::Relaxed);
    }

    /// How many are registered.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        lock(&self.waiters).by_goal.len()
    }
}

/// One subscriber's place among the waiters: it holds at most one registration, and none once it
/// is dropped. `W` is a reference or an `Arc`.
pub(crate) struct WaiterSlot<W: Deref<Target = Watermark>> {
    watermark: W,
    registration: Option<Registration>,
}

impl<W: Deref<Target = Watermark>> WaiterSlot<W> {
    /// A place that waits for nothing yet; it costs nothing until it does.
    pub(crate) fn new(watermark: W) -> Self {
        Self { watermark, registration: None }
    }

    /// The watermark it waits on.
    #[cfg_attr(not(test), expect(dead_code, reason = "models look at it"))]
    pub(crate) fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    /// The watermark if it is beyond `seen`, or else a promise to wake `waker`, once, when it is or
    /// when it closes. It replaces what this slot registered before.
    pub(crate) fn poll_beyond(&mut self, seen: u64, waker: &Waker) -> Poll<Result<u64, Closed>> {
        match self.watermark.outcome(seen) {
            Some(outcome) => Poll::Ready(outcome),
            None => self.register(seen, waker),
        }
    }

    /// Registers, then looks again: the publisher may have passed in between.
    fn register(&mut self, seen: u64, waker: &Waker) -> Poll<Result<u64, Closed>> {
        // A waker is foreign code, and dropping its last clone may drop this very kind of slot:
        // wakers are cloned before the lock is taken and dropped after it is given back.
        let waker = waker.clone();
        let mut waiters = lock(&self.watermark.waiters);
        let replaced = self.registration.take().and_then(|old| waiters.by_goal.remove(&old));
        let registration =
            Registration { goal: seen.saturating_add(1), ticket: waiters.next_ticket };
        waiters.next_ticket += 1;
        waiters.by_goal.insert(registration, waker);
        self.watermark.note_lowest_goal(&waiters);
        // Pairs with the fence in `Watermark::publish`.
        fence(Ordering::SeqCst);
        let outcome = self.watermark.outcome(seen);
        let withdrawn = if outcome.is_some() {
            let withdrawn = waiters.by_goal.remove(&registration);
            self.watermark.note_lowest_goal(&waiters);
            withdrawn
        } else {
            self.registration = Some(registration);
            None
        };
        drop(waiters);
        drop((replaced, withdrawn));
        outcome.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<W: Deref<Target = Watermark>> Drop for WaiterSlot<W> {
    fn drop(&mut self) {
        let Some(registration) = self.registration else { return };
        // Whoever reached the goal has removed the registration or is about to: thousands who are
        // woken together do not queue for the lock again.
        if registration.goal <= self.watermark.get() {
            return;
        }
        let withdrawn = {
            let mut waiters = lock(&self.watermark.waiters);
            let withdrawn = waiters.by_goal.remove(&registration);
            self.watermark.note_lowest_goal(&waiters);
            withdrawn
        };
        drop(withdrawn);
    }
}

/// Blocks one thread for one wait. Not `thread::park`: its token may belong to an executor that
/// runs on the same thread, and would be lost to it.
struct Parker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Parker {
    /// Not yet woken.
    fn new() -> Self {
        Self { woken: Mutex::new(false), changed: Condvar::new() }
    }

    /// Blocks until woken, or until the time is over.
    fn park(&self, timeout: Option<Duration>) {
        drop(wait_while(&self.changed, lock(&self.woken), timeout, |woken| !*woken));
    }
}

impl Wake for Parker {
    fn wake(self: std::sync::Arc<Self>) {
        *lock(&self.woken) = true;
        self.changed.notify_one();
    }
}
