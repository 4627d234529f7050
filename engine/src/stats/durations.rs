//! [`DurationHistogram`]: how long something took, counted in fixed buckets.
//!
//! It stands on paths where each microsecond counts: recording is two relaxed additions and a search
//! among constants, without a lock and without memory. It knows no library of metrics; who publishes it
//! takes a [`Durations`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, inclusive, in microseconds. What took longer than the last counts in
/// one more bucket. They reach from an append in memory to a queue that stays full.
pub const DURATION_BOUNDS_US: [u64; 20] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

const BUCKETS: usize = DURATION_BOUNDS_US.len() + 1;

const _: () = {
    let mut at = 1;
    while at < DURATION_BOUNDS_US.len() {
        assert!(DURATION_BOUNDS_US[at - 1] < DURATION_BOUNDS_US[at], "bounds ascend");
        at += 1;
    }
};

/// Counts of durations, which any thread may add to at any time.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    counts: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl DurationHistogram {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = DURATION_BOUNDS_US.partition_point(|bound| bound * 1000 < ns);
        // Relaxed: each is a number of its own, and nothing is read because of it.
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// What was counted so far. What is recorded meanwhile may be in it in part.
    pub fn snapshot(&self) -> Durations {
        let counts = std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed));
        Durations { counts, sum_ns: self.sum_ns.load(Ordering::Relaxed) }
    }
}

/// Durations as they were counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many fell into each bucket of [`DURATION_BOUNDS_US`], not cumulative; the last has those above
    /// all bounds.
    pub counts: [u64; BUCKETS],
    /// What all of them come to, in nanoseconds.
    pub sum_ns: u64,
}

impl Durations {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What all of them come to.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_it_fits() {
        let histogram = DurationHistogram::default();
        for (took_ns, bucket) in [
            (0, 0),
            (5_000, 0),
            (5_001, 1),
            (1_000_000, 7),
            (1_000_001, 8),
            (10_000_000_000, 19),
            (10_000_000_001, 20),
        ] {
            let before = histogram.snapshot();
            histogram.record(Duration::from_nanos(took_ns));
            let after = histogram.snapshot();
            assert_eq!(after.counts[bucket], before.counts[bucket] + 1, "{took_ns} ns");
            assert_eq!(after.count(), before.count() + 1);
            assert_eq!(after.sum() - before.sum(), Duration::from_nanos(took_ns));
        }
        assert_eq!(histogram.snapshot().count(), 7);
    }
}
