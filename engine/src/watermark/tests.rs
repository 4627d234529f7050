//! Watermarks: no wake-up is lost, and none falls.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering as StdOrdering};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use super::{Closed, Wait, WaiterSlot, Watermark};
use crate::sync::{Arc, thread};

/// A waker that counts its calls.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Counter {
    fn pair() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    fn calls(&self) -> usize {
        self.0.load(StdOrdering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, StdOrdering::SeqCst);
    }
}

#[test]
fn starts_where_recovery_ended() {
    let watermark = Watermark::new(7);
    assert_eq!(watermark.get(), 7);
    assert_eq!(watermark.wait_beyond(6, None), Wait::Reached(7));
    assert_eq!(watermark.wait_beyond(7, Some(Duration::ZERO)), Wait::TimedOut);
    assert_eq!(watermark.waiting(), 0);
}

#[test]
#[should_panic(expected = "watermark would fall from 7 to 6")]
fn publish_refuses_to_fall() {
    Watermark::new(7).publish(6);
}

#[test]
fn publish_of_the_same_value_wakes_nobody() {
    let watermark = Watermark::new(7);
    let (counter, waker) = Counter::pair();
    let mut slot = WaiterSlot::new(&watermark);
    assert!(slot.poll_beyond(7, &waker).is_pending());
    watermark.publish(7);
    assert_eq!((counter.calls(), watermark.waiting()), (0, 1));
}

#[test]
fn wait_that_times_out_leaves_no_registration() {
    let watermark = Watermark::new(0);
    assert_eq!(watermark.wait_beyond(0, Some(Duration::from_millis(2))), Wait::TimedOut);
    assert_eq!(watermark.waiting(), 0);
}

#[test]
fn publish_wakes_only_those_it_reaches() {
    let watermark = Watermark::new(0);
    let (counter, waker) = Counter::pair();
    let mut slots: Vec<_> = (0..5_000).map(|_| WaiterSlot::new(&watermark)).collect();
    for (seen, slot) in (0..).zip(&mut slots) {
        assert!(slot.poll_beyond(seen, &waker).is_pending());
    }
    watermark.publish(1_000);
    assert_eq!((counter.calls(), watermark.waiting()), (1_000, 4_000));
    assert_eq!(slots[999].poll_beyond(999, &waker), Poll::Ready(Ok(1_000)));
    drop(slots);
    assert_eq!((counter.calls(), watermark.waiting()), (1_000, 0));
}

#[test]
fn registering_again_replaces() {
    let watermark = Watermark::new(0);
    let (first, first_waker) = Counter::pair();
    let (second, second_waker) = Counter::pair();
    let mut slot = WaiterSlot::new(&watermark);
    assert!(slot.poll_beyond(0, &first_waker).is_pending());
    assert!(slot.poll_beyond(0, &second_waker).is_pending());
    assert!(slot.poll_beyond(4, &second_waker).is_pending());
    assert_eq!(watermark.waiting(), 1);
    watermark.publish(4);
    assert_eq!((first.calls(), second.calls()), (0, 0));
    watermark.publish(5);
    assert_eq!((first.calls(), second.calls()), (0, 1));
    assert_eq!(slot.watermark().waiting(), 0);
}

#[test]
fn close_ends_every_wait_but_not_what_was_reached() {
    let watermark = Watermark::new(3);
    let (counter, waker) = Counter::pair();
    let mut slot = WaiterSlot::new(&watermark);
    assert!(slot.poll_beyond(u64::MAX, &waker).is_pending());
    assert!(!watermark.is_closed());
    watermark.close();
    watermark.close();
    assert!(watermark.is_closed());
    assert_eq!((counter.calls(), watermark.waiting()), (1, 0));
    assert_eq!(slot.poll_beyond(3, &waker), Poll::Ready(Err(Closed)));
    assert_eq!(slot.poll_beyond(2, &waker), Poll::Ready(Ok(3)));
    assert_eq!(watermark.wait_beyond(3, None), Wait::Closed);
    assert_eq!(watermark.wait_beyond(2, None), Wait::Reached(3));
}

/// A task that owns its own slot, as a future does: gone when its last waker is.
struct Task {
    _slot: StdMutex<WaiterSlot<Arc<Watermark>>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn waker_that_owns_a_slot_may_be_dropped_by_the_watermark() {
    type End = fn(&Watermark, &mut WaiterSlot<Arc<Watermark>>);
    let ends: [End; 3] = [
        |_, slot| assert!(slot.poll_beyond(0, Waker::noop()).is_pending()),
        |watermark, _| watermark.publish(1),
        |watermark, _| watermark.close(),
    ];
    for end in ends {
        let watermark = Arc::new(Watermark::new(0));
        let mut inner = WaiterSlot::new(Arc::clone(&watermark));
        assert!(inner.poll_beyond(9, Waker::noop()).is_pending());
        let task = Waker::from(Arc::new(Task { _slot: StdMutex::new(inner) }));
        let mut slot = WaiterSlot::new(Arc::clone(&watermark));
        assert!(slot.poll_beyond(0, &task).is_pending());
        drop(task);
        end(&watermark, &mut slot);
        drop(slot);
        assert_eq!(watermark.waiting(), 0);
    }
}

#[test]
fn many_blocked_threads_see_every_step() {
    const STEPS: u64 = 2_000;
    let watermark = Arc::new(Watermark::new(0));
    let waiters: Vec<_> = (0..32_u64)
        .map(|id| {
            let watermark = Arc::clone(&watermark);
            thread::spawn(move || {
                let mut seen = 0;
                loop {
                    match watermark.wait_beyond(seen + id % 4, None) {
                        Wait::Reached(now) => {
                            assert!(now > seen + id % 4);
                            seen = now;
                        }
                        Wait::Closed => return seen,
                        Wait::TimedOut => unreachable!("there is no timeout"),
                    }
                }
            })
        })
        .collect();
    for to in 1..=STEPS {
        watermark.publish(to);
        if to % 16 == 0 {
            thread::yield_now();
        }
    }
    watermark.close();
    for waiter in waiters {
        assert!(waiter.join().unwrap() + 4 > STEPS);
    }
    assert_eq!(watermark.waiting(), 0);
}
