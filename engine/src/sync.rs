//! The primitives of the lock-free parts: std's, or loom's when their models run.
//!
//! A module that shares memory without a lock takes its atomics, locks, and threads from here, so
//! that the code which ships is the code that the models explore (`--cfg loom`). Everything else in
//! the engine takes them from std: loom's work only inside a model.
//!
//! Not here: timeouts under loom. Its [`Condvar`] has no clock, so a bounded wait is modelled as one
//! without end; what happens after a timeout is modelled as the drop of the waiter.
//!
//! Locks do not poison. Each guards a structure that no panic can leave half-changed, because no
//! foreign code (a waker, a closure of the caller) runs while it is held.

use std::sync::PoisonError;
use std::time::Duration;

#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, RwLock};

#[cfg(all(test, not(loom)))]
pub(crate) use std::{sync::Arc, thread};

#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(all(test, loom))]
pub(crate) use loom::{sync::Arc, thread};
#[cfg(loom)]
pub(crate) use once::OnceLock;

/// Atomics, their orderings, and the fence.
pub(crate) mod atomic {
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    #[cfg(not(loom))]
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
}

/// Locks, whether or not a thread panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocks while `blocked` holds, for at most `timeout`. The caller looks again at what it waited for.
#[cfg(not(loom))]
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Option<Duration>,
    blocked: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    match timeout {
        None => condvar.wait_while(guard, blocked).unwrap_or_else(PoisonError::into_inner),
        Some(timeout) => {
            condvar
                .wait_timeout_while(guard, timeout, blocked)
                .unwrap_or_else(PoisonError::into_inner)
                .0
        }
    }
}

/// Blocks while `blocked` holds. Time stands still in a model: `timeout` is never reached.
#[cfg(loom)]
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    _timeout: Option<Duration>,
    mut blocked: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    while blocked(&mut guard) {
        guard = condvar.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
    guard
}

/// What loom lacks: a cell that is written once.
#[cfg(loom)]
mod once {
    use super::atomic::{AtomicBool, Ordering};

    /// Has the part of [`std::sync::OnceLock`] that the engine uses. Loom decides, by the flag, who
    /// sees the value and what is visible with it; std's cell only keeps it, since it never
    /// switches between loom's threads by itself.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        ready: AtomicBool,
        value: std::sync::OnceLock<T>,
    }

    impl<T> OnceLock<T> {
        /// An empty cell.
        pub(crate) fn new() -> Self {
            Self { ready: AtomicBool::new(false), value: std::sync::OnceLock::new() }
        }

        /// The value, if this thread can see that it was written.
        pub(crate) fn get(&self) -> Option<&T> {
            if self.ready.load(Ordering::Acquire) { self.value.get() } else { None }
        }

        /// The value; writes it first if nobody has. `make` must not touch loom's primitives other
        /// than to create them.
        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            if !self.ready.load(Ordering::Acquire) {
                self.value.get_or_init(make);
                self.ready.store(true, Ordering::Release);
            }
            self.value.get().expect("written above, or before the flag was raised")
        }
    }
}
