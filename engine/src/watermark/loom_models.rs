//! Models of publishers, waiters, and `close`. A lost wake-up shows as a deadlock.
//!
//! The publisher is the first thread: where it comes second, its own load of the value hides the
//! waiter's from loom, which remembers only the last access, and little is explored.

use std::task::{Poll, Wake, Waker};

use loom::model::Builder;

use super::{Closed, Wait, WaiterSlot, Watermark};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, thread};

/// Two threads are explored whole (`None`), three with a bound on forced switches.
fn explore(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// A waker that remembers that it was called.
struct Flag(AtomicBool);

impl Flag {
    fn pair() -> (std::sync::Arc<Self>, Waker) {
        let flag = std::sync::Arc::new(Self(AtomicBool::new(false)));
        (std::sync::Arc::clone(&flag), Waker::from(flag))
    }

    fn raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Wake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `body` in another thread with the same watermark.
fn spawn(
    watermark: &Arc<Watermark>,
    body: impl FnOnce(&Watermark) + 'static,
) -> thread::JoinHandle<()> {
    let watermark = Arc::clone(watermark);
    thread::spawn(move || body(&watermark))
}

#[test]
fn loom_waiter_is_woken_by_the_publish_that_reaches_it() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let waiter = spawn(&watermark, |watermark| {
            assert_eq!(watermark.wait_beyond(1, None), Wait::Reached(2));
        });
        watermark.publish(1);
        watermark.publish(2);
        waiter.join().expect("woken");
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_waiters_with_several_goals_are_all_woken() {
    explore(Some(3), || {
        let watermark = Arc::new(Watermark::new(0));
        let far = spawn(&watermark, |watermark| {
            assert_eq!(watermark.wait_beyond(1, None), Wait::Reached(2));
        });
        let near = spawn(&watermark, |watermark| {
            assert!(matches!(watermark.wait_beyond(0, None), Wait::Reached(1..=2)));
        });
        watermark.publish(1);
        watermark.publish(2);
        far.join().expect("woken");
        near.join().expect("woken");
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_wait_for_what_was_published_before_close_is_reached() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let waiter = spawn(&watermark, |watermark| {
            assert_eq!(watermark.wait_beyond(0, None), Wait::Reached(1));
            assert_eq!(watermark.wait_beyond(1, None), Wait::Closed);
        });
        watermark.publish(1);
        watermark.close();
        waiter.join().expect("woken");
        assert!(watermark.is_closed());
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_poll_for_what_was_published_before_close_is_reached() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let poller = spawn(&watermark, |watermark| {
            let (_, waker) = Flag::pair();
            let outcome = WaiterSlot::new(watermark).poll_beyond(0, &waker);
            assert_ne!(outcome, Poll::Ready(Err(Closed)), "durable, and reported as unknown");
        });
        watermark.publish(1);
        watermark.close();
        poller.join().expect("the poller ends well");
        assert_eq!(watermark.waiting(), 0);
    });
}

/// Shutdown: who closes has only waited for the thread that published.
#[test]
fn loom_close_after_the_publisher_ended_hides_nothing() {
    explore(Some(3), || {
        let watermark = Arc::new(Watermark::new(0));
        let publisher = spawn(&watermark, |watermark| watermark.publish(1));
        let poller = spawn(&watermark, |watermark| {
            let (_, waker) = Flag::pair();
            let outcome = WaiterSlot::new(watermark).poll_beyond(0, &waker);
            assert_ne!(outcome, Poll::Ready(Err(Closed)), "durable, and reported as unknown");
        });
        publisher.join().expect("the publisher ends well");
        watermark.close();
        poller.join().expect("the poller ends well");
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_close_by_another_thread_wakes_everybody() {
    explore(Some(3), || {
        let watermark = Arc::new(Watermark::new(0));
        let waiter = spawn(&watermark, |watermark| {
            assert_eq!(watermark.wait_beyond(1, None), Wait::Closed);
        });
        let closer = spawn(&watermark, Watermark::close);
        watermark.publish(1);
        closer.join().expect("the closer ends well");
        waiter.join().expect("woken");
        assert_eq!(watermark.wait_beyond(0, None), Wait::Reached(1));
        assert_eq!(watermark.waiting(), 0);
    });
}

/// A task polls once for the position 0 while `end` runs. Returns what it was told and whether it
/// was woken.
fn poll_during(end: impl FnOnce(&Watermark)) -> (Poll<Result<u64, Closed>>, bool) {
    let watermark = Arc::new(Watermark::new(0));
    let (flag, waker) = Flag::pair();
    let poller = {
        let watermark = Arc::clone(&watermark);
        thread::spawn(move || {
            let mut slot = WaiterSlot::new(watermark);
            let first = slot.poll_beyond(0, &waker);
            (slot, waker, first)
        })
    };
    end(&watermark);
    let (mut slot, waker, first) = poller.join().expect("the poller ends well");
    let again = slot.poll_beyond(0, &waker);
    assert!(first.is_pending() || first == again);
    assert_eq!(watermark.waiting(), 0);
    (again, first.is_ready() || flag.raised())
}

#[test]
fn loom_pending_poll_is_woken_by_publish() {
    explore(None, || {
        let outcome = poll_during(|watermark| watermark.publish(1));
        assert_eq!(outcome, (Poll::Ready(Ok(1)), true), "lost wake-up");
    });
}

#[test]
fn loom_pending_poll_is_woken_by_close() {
    explore(None, || {
        let outcome = poll_during(Watermark::close);
        assert_eq!(outcome, (Poll::Ready(Err(Closed)), true), "lost wake-up");
    });
}

#[test]
fn loom_only_the_latest_registration_counts() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let (flag, late) = Flag::pair();
        let poller = spawn(&watermark, move |watermark| {
            let (_, early) = Flag::pair();
            let mut slot = WaiterSlot::new(watermark);
            let _ = slot.poll_beyond(0, &early);
            let second = slot.poll_beyond(1, &late);
            assert!(watermark.waiting() <= 1, "the first was not replaced");
            if second.is_ready() {
                late.wake();
            } else {
                // Not dropped, so that only the publisher can end the registration.
                std::mem::forget(slot);
            }
        });
        watermark.publish(1);
        watermark.publish(2);
        poller.join().expect("the poller ends well");
        assert!(flag.raised(), "lost wake-up");
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_dropped_slot_leaves_nothing_behind() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let leaver = spawn(&watermark, |watermark| {
            let (_, waker) = Flag::pair();
            for seen in [0, 7] {
                let _ = WaiterSlot::new(watermark).poll_beyond(seen, &waker);
            }
        });
        watermark.publish(1);
        leaver.join().expect("the leaver ends well");
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_one_who_leaves_does_not_hide_one_who_stays() {
    explore(Some(3), || {
        let watermark = Arc::new(Watermark::new(0));
        let stayer = spawn(&watermark, |watermark| {
            assert_eq!(watermark.wait_beyond(1, None), Wait::Reached(2));
        });
        let leaver = spawn(&watermark, |watermark| {
            let (_, waker) = Flag::pair();
            let _ = WaiterSlot::new(watermark).poll_beyond(0, &waker);
        });
        watermark.publish(2);
        leaver.join().expect("the leaver ends well");
        stayer.join().expect("woken");
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_what_was_written_before_the_publish_is_visible() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let written = Arc::new(AtomicBool::new(false));
        let reader = {
            let (watermark, written) = (Arc::clone(&watermark), Arc::clone(&written));
            thread::spawn(move || {
                assert!(watermark.get() == 0 || written.load(Ordering::Relaxed), "I1");
            })
        };
        written.store(true, Ordering::Relaxed);
        watermark.publish(1);
        reader.join().expect("the reader ends well");
    });
}
