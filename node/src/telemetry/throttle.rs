//! [`Throttle`]: so many lines in a second, and the rest is counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Lets so many through in each second.
#[derive(Debug)]
pub(super) struct Throttle {
    max_per_s: u32,
    /// The second, and how many came in it: one word, so that both change at once.
    window: AtomicU64,
    /// Held back and not yet told.
    untold: AtomicU64,
}

/// What is done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is written; so many before it were not, and nobody was told yet.
    Write {
        /// How many.
        held_back: u64,
    },
    /// It is not.
    HoldBack,
}

impl Throttle {
    pub(super) fn new(max_per_s: u32) -> Self {
        Self { max_per_s, window: AtomicU64::new(0), untold: AtomicU64::new(0) }
    }

    /// Judges a line that comes in second `now_s`, which may be that of any clock that only grows.
    pub(super) fn admit(&self, now_s: u32) -> Admission {
        let next = |window: u64| {
            let (second, came) = (window >> 32, window & u64::from(u32::MAX));
            // A thread that looked at the clock earlier counts in the second that others are in.
            let came = if second < u64::from(now_s) { 0 } else { came };
            let second = second.max(now_s.into());
            (came < self.max_per_s.into()).then_some(second << 32 | (came + 1))
        };
        if self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_err() {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return Admission::HoldBack;
        }
        Admission::Write { held_back: self.untold.swap(0, Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_held_back_and_told_with_the_next_line() {
        let throttle = Throttle::new(2);
        let none = Admission::Write { held_back: 0 };
        assert_eq!([throttle.admit(0), throttle.admit(0)], [none, none]);
        assert_eq!([throttle.admit(0), throttle.admit(0)], [Admission::HoldBack; 2]);
        assert_eq!(throttle.admit(7), Admission::Write { held_back: 2 });
        // A clock that was read earlier opens no second of its own.
        assert_eq!(throttle.admit(6), none);
        assert_eq!(throttle.admit(6), Admission::HoldBack);
        assert_eq!(throttle.admit(8), Admission::Write { held_back: 1 });
    }

    #[test]
    fn threads_share_one_allowance() {
        let throttle = Throttle::new(100);
        let written: usize = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let lines = (0..100).map(|_| throttle.admit(1));
                        lines.filter(|it| *it != Admission::HoldBack).count()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).sum()
        });
        assert_eq!(written, 100);
        assert_eq!(throttle.admit(2), Admission::Write { held_back: 300 });
    }
}
