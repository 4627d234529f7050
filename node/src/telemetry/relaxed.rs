//! Counts that any thread adds to. Each is a number of its own: nothing else is read because of one, so
//! no order is asked for.

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

pub(crate) fn take(count: &AtomicU64, less: u64) {
    let before = count.fetch_sub(less, Ordering::Relaxed);
    debug_assert!(before >= less, "what is given back was taken before");
}

pub(crate) fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
