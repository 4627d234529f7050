//! Models of publishers, waiters, and `close`. A lost wake-up shows as a deadlock.

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
        let publisher = spawn(&watermark, |watermark| {
            watermark.publish(1);
            watermark.publish(2);
        });
        assert_eq!(watermark.wait_beyond(1, None), Wait::Reached(2));
        publisher.join().expect("the publisher ends well");
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
fn loom_published_before_close_is_reached() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let publisher = spawn(&watermark, |watermark| {
            watermark.publish(1);
            watermark.close();
        });
        assert_eq!(watermark.wait_beyond(0, None), Wait::Reached(1));
        assert_eq!(watermark.wait_beyond(1, None), Wait::Closed);
        publisher.join().expect("the publisher ends well");
        assert!(watermark.is_closed());
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_close_by_another_thread_wakes_everybody() {
    explore(Some(3), || {
        let watermark = Arc::new(Watermark::new(0));
        let closer = spawn(&watermark, Watermark::close);
        let publisher = spawn(&watermark, |watermark| watermark.publish(1));
        assert_eq!(watermark.wait_beyond(1, None), Wait::Closed);
        closer.join().expect("the closer ends well");
        publisher.join().expect("the publisher ends well");
        assert_eq!(watermark.wait_beyond(0, None), Wait::Reached(1));
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_pending_poll_is_woken() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let publisher = spawn(&watermark, |watermark| watermark.publish(1));
        let (flag, waker) = Flag::pair();
        let mut slot = WaiterSlot::new(Arc::clone(&watermark));
        let first = slot.poll_beyond(0, &waker);
        publisher.join().expect("the publisher ends well");
        match first {
            Poll::Pending => assert!(flag.raised(), "lost wake-up"),
            Poll::Ready(outcome) => assert_eq!(outcome, Ok(1)),
        }
        assert_eq!(slot.poll_beyond(0, &waker), Poll::Ready(Ok(1)));
        drop(slot);
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_only_the_latest_registration_counts() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let publisher = spawn(&watermark, |watermark| {
            watermark.publish(1);
            watermark.publish(2);
        });
        let (_, early) = Flag::pair();
        let (flag, late) = Flag::pair();
        let mut slot = WaiterSlot::new(Arc::clone(&watermark));
        let _ = slot.poll_beyond(0, &early);
        let second = slot.poll_beyond(1, &late);
        assert!(watermark.waiting() <= 2, "at most one, and one that is being woken");
        publisher.join().expect("the publisher ends well");
        assert!(second.is_ready() || flag.raised(), "lost wake-up");
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_dropped_slot_leaves_nothing_behind() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let publisher = spawn(&watermark, |watermark| watermark.publish(1));
        let (_, waker) = Flag::pair();
        for seen in [0, 7] {
            let mut slot = WaiterSlot::new(Arc::clone(&watermark));
            let _ = slot.poll_beyond(seen, &waker);
        }
        publisher.join().expect("the publisher ends well");
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_one_who_leaves_does_not_hide_one_who_stays() {
    explore(Some(3), || {
        let watermark = Arc::new(Watermark::new(0));
        let publisher = spawn(&watermark, |watermark| watermark.publish(2));
        let leaver = spawn(&watermark, |watermark| {
            let (_, waker) = Flag::pair();
            let _ = WaiterSlot::new(watermark).poll_beyond(0, &waker);
        });
        assert_eq!(watermark.wait_beyond(1, None), Wait::Reached(2));
        leaver.join().expect("the leaver ends well");
        publisher.join().expect("the publisher ends well");
        assert_eq!(watermark.waiting(), 0);
    });
}

#[test]
fn loom_closed_before_the_poll_is_told() {
    explore(None, || {
        let watermark = Arc::new(Watermark::new(0));
        let closer = spawn(&watermark, Watermark::close);
        let (flag, waker) = Flag::pair();
        let mut slot = WaiterSlot::new(Arc::clone(&watermark));
        let first = slot.poll_beyond(0, &waker);
        closer.join().expect("the closer ends well");
        assert!(first == Poll::Ready(Err(Closed)) || flag.raised(), "lost wake-up");
        assert_eq!(slot.poll_beyond(0, &waker), Poll::Ready(Err(Closed)));
        assert_eq!(watermark.waiting(), 0);
    });
}
