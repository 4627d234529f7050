//! [`Parking`]: threads that wait until they are woken, and [`block_on`].

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// Parks a thread until it is woken. Something that blocks while it is at work, as an append does, parks the thread
/// too, and takes the token of whoever wakes it meanwhile: so that is kept beside it.
pub(crate) struct Parking(Arc<Unpark>);

struct Unpark {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Parking {
    /// Of this thread.
    pub(crate) fn new() -> Self {
        let thread = std::thread::current();
        Self(Arc::new(Unpark { thread, is_woken: AtomicBool::new(false) }))
    }

    /// Wakes it.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Waits until it is woken, or was since the last time, or until the time is over. It may be back early.
    pub(crate) fn park(&self, time: Option<Duration>) {
        if self.0.is_woken.swap(false, Ordering::SeqCst) {
            return;
        }
        match time {
            None => std::thread::park(),
            Some(time) => std::thread::park_timeout(time),
        }
        self.0.is_woken.store(false, Ordering::SeqCst);
    }
}

/// Blocks until a future is ready.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let parking = Parking::new();
    let waker = parking.waker();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        parking.park(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_woken_while_something_else_blocked_does_not_wait() {
        let parking = Parking::new();
        parking.waker().wake();
        // What blocks takes the token: without the flag the next one would wait for ever.
        std::thread::park();
        parking.park(None);
        // Once is enough.
        assert!(!parking.0.is_woken.load(Ordering::SeqCst));
    }
}
