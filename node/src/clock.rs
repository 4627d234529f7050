//! The wall clock, and [`Clock`], which follows it.

use std::time::{Duration, Instant, SystemTime};

use nexus_protocol::Timestamp;

/// Whoever waits for a time of the wall clock looks at it so often at least: it may be set, and the machine may sleep.
pub(crate) const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

/// What the wall clock says.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Time that never goes back, nor stands still where the wall clock is set back; where that goes ahead, as when it is set
/// right or the machine has slept, it follows. Deadlines count from it, and it says when an event that waits for a time
/// has waited enough.
pub(crate) struct Clock {
    seen: Instant,
    at: Timestamp,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { seen: Instant::now(), at: wall_clock() }
    }

    pub(crate) fn now(&mut self) -> Timestamp {
        self.step(Instant::now(), wall_clock())
    }

    fn step(&mut self, seen: Instant, wall: Timestamp) -> Timestamp {
        let passed = seen.saturating_duration_since(self.seen);
        (self.seen, self.at) = (seen, self.at.saturating_add(passed).max(wall));
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_wall_clock_ahead_and_never_back() {
        let began = Instant::now();
        let mut clock = Clock { seen: began, at: Timestamp::from_micros(1_000_000) };
        for (passed_us, wall_us, expected_us) in [
            (10, 1_000_010, 1_000_010),
            // Set back by a second: time goes on.
            (20, 20, 1_000_020),
            (30, 30, 1_000_030),
            // Set right, or asleep for an hour.
            (40, 3_601_000_040, 3_601_000_040),
            (50, 3_601_000_050, 3_601_000_050),
        ] {
            let now = clock
                .step(began + Duration::from_micros(passed_us), Timestamp::from_micros(wall_us));
            assert_eq!(now.as_micros(), expected_us);
        }
    }
}
