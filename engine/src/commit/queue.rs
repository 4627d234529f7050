//! Appends that wait for the sequencer, in the order they came; bounded (I8).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Waker;
use std::time::Duration;

use nexus_protocol::limits::{QUEUE_APPENDS_MAX, QUEUE_BYTES_MAX};

use super::completion::Completion;
use crate::sequencer::PreparedAppend;

/// An append that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) append: PreparedAppend,
    pub(crate) completion: Arc<Completion>,
}

impl Waiting {
    /// Bytes it takes in a frame.
    pub(crate) fn framed_bytes(&self) -> usize {
        if self.append.events.is_empty() { 0 } else { self.append.parts().framed_bytes() }
    }

    /// Bytes it takes in the queue: its conditions wait too.
    fn queued_bytes(&self) -> usize {
        self.framed_bytes() + self.append.condition_bytes
    }
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    /// Bytes that they will take in frames.
    framed_bytes: usize,
    /// Bytes that they take here.
    queued_bytes: usize,
    closed: bool,
    /// Futures that wait for a place.
    wakers: Vec<Waker>,
}

/// The queue of one namespace.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    space: Condvar,
    appends_max: usize,
}

/// So many appends, or so many of their bytes, are worth a frame beside others in flight.
const WORTH_APPENDS: usize = 16;
const WORTH_BYTES: usize = 64 * 1024;

/// Why an append is not in the queue.
#[derive(Debug)]
pub(crate) enum NotQueued {
    /// There is no place now.
    Full(Box<Waiting>),
    /// There will never be one.
    Closed,
}

impl Queue {
    pub(crate) fn new(appends_max: usize) -> Self {
        let appends_max = appends_max.clamp(1, QUEUE_APPENDS_MAX);
        Self { inner: Mutex::default(), space: Condvar::new(), appends_max }
    }

    /// Puts an append at the end.
    pub(crate) fn push(&self, waiting: Waiting) -> Result<(), NotQueued> {
        let mut inner = self.inner.lock().expect("no panic while the queue is changed");
        if inner.closed {
            return Err(NotQueued::Closed);
        }
        let queued = inner.queued_bytes + waiting.queued_bytes();
        let has_place = inner.waiting.len() < self.appends_max
            && (inner.waiting.is_empty() || queued <= QUEUE_BYTES_MAX);
        if !has_place {
            return Err(NotQueued::Full(Box::new(waiting)));
        }
        inner.framed_bytes += waiting.framed_bytes();
        inner.queued_bytes = queued;
        inner.waiting.push_back(waiting);
        assert!(inner.waiting.len() <= self.appends_max, "the queue is bounded (I8)");
        Ok(())
    }

    /// Takes the oldest appends whose frame has at most `framed_bytes`, one at least; and the futures
    /// that wait for a place, for the caller to wake when it holds no lock.
    pub(crate) fn take(&self, framed_bytes: usize) -> (Vec<Waiting>, Vec<Waker>) {
        let mut inner = self.inner.lock().expect("no panic while the queue is changed");
        let (mut taken, mut bytes, mut queued) = (Vec::new(), 0, 0);
        while let Some(first) = inner.waiting.front() {
            let size = first.framed_bytes();
            if !taken.is_empty() && bytes + size > framed_bytes {
                break;
            }
            bytes += size;
            queued += first.queued_bytes();
            taken.extend(inner.waiting.pop_front());
        }
        inner.framed_bytes -= bytes;
        inner.queued_bytes -= queued;
        let none = (inner.framed_bytes, inner.queued_bytes) == (0, 0);
        assert!(!inner.waiting.is_empty() || none, "an empty queue holds no bytes");
        assert!(inner.framed_bytes <= inner.queued_bytes, "frames hold no conditions");
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        if !taken.is_empty() {
            self.space.notify_all();
        }
        (taken, wakers)
    }

    /// How many appends wait.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().expect("no panic while the queue is looked at").waiting.len()
    }

    /// Whether so much waits that it should be written before anything else is done: a full frame of
    /// `framed_bytes` always is.
    pub(crate) fn is_worth_a_frame(&self, framed_bytes: usize) -> bool {
        let inner = self.inner.lock().expect("no panic while the queue is looked at");
        inner.waiting.len() >= WORTH_APPENDS || inner.framed_bytes >= WORTH_BYTES.min(framed_bytes)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().expect("no panic while the queue is looked at").waiting.is_empty()
    }

    /// Takes nothing any more; what waits is still taken out.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock().expect("no panic while the queue is closed");
        inner.closed = true;
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        self.space.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until something was taken out, or for so long.
    pub(crate) fn wait_for_space(&self, at_most: Duration) {
        let inner = self.inner.lock().expect("no panic while the queue is waited for");
        if inner.waiting.len() >= self.appends_max || inner.queued_bytes > 0 {
            drop(self.space.wait_timeout(inner, at_most));
        }
    }

    /// Wakes `waker` when something is taken out.
    pub(crate) fn wake_on_space(&self, waker: &Waker) {
        // Foreign code: cloned, and dropped, without the lock.
        let waker = waker.clone();
        let mut inner = self.inner.lock().expect("no panic while the queue is waited for");
        if !inner.wakers.iter().any(|known| known.will_wake(&waker)) {
            inner.wakers.push(waker);
        }
    }

    /// The futures that wait for a place, for the caller to wake when it holds no lock.
    pub(crate) fn take_wakers(&self) -> Vec<Waker> {
        let mut inner = self.inner.lock().expect("no panic while wakers are taken out");
        std::mem::take(&mut inner.wakers)
    }

    /// Wakes all futures that wait for a place: so that they look at their deadlines.
    pub(crate) fn nudge(&self) {
        self.take_wakers().into_iter().for_each(Waker::wake);
    }
}
