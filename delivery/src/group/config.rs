//! [`Config`]: what kind of group it is, and its bounds.

use std::time::Duration;

/// Lanes of a group: they cost little, and how many consumers can share an ordered group is bounded by them.
pub const LANES_MAX: u32 = 65_536;
/// The longest time in which a delivery has to be answered, which is that of SQS.
pub const ACK_DEADLINE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// The shortest.
pub const ACK_DEADLINE_MIN: Duration = Duration::from_millis(100);
/// Deliveries of a group that may be unanswered at a time.
pub const IN_FLIGHT_MAX: u32 = 1_000_000;
/// The most attempts that may be asked for.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// The longest pause between attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How events are shared among the consumers of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Events of one key one after the other, by one consumer at a time; keys beside each other.
    Ordered,
    /// Each event to whoever is free, in whatever order.
    Unordered,
}

/// The pause before an event is delivered again: doubled with each attempt, up to a bound, and shortened by up to
/// a half, differently for each event, so that events that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first attempt.
    pub initial: Duration,
    /// At most, at least `initial`.
    pub max: Duration,
}

/// What kind of group it is, and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How events are shared.
    pub mode: Mode,
    /// Buckets of keys, from 1 to [`LANES_MAX`]: each belongs to one consumer at a time. Fixed when the group is
    /// made. Without meaning where events are unordered.
    pub lanes: u32,
    /// A delivery that is not answered in this time is made again.
    pub ack_deadline: Duration,
    /// After so many attempts that failed an event is parked.
    pub max_attempts: u32,
    /// The pause between attempts.
    pub backoff: Backoff,
    /// Deliveries that may be unanswered at a time, of the whole group.
    pub max_in_flight: u32,
    /// The same, of each lane.
    pub max_in_flight_per_lane: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Ordered,
            lanes: 256,
            ack_deadline: Duration::from_secs(30),
            max_attempts: 5,
            backoff: Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(60) },
            max_in_flight: 10_000,
            max_in_flight_per_lane: 1_000,
        }
    }
}

/// What a group cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// The number of lanes.
    #[error("a group has from 1 to {LANES_MAX} lanes")]
    Lanes,
    /// The time for an answer.
    #[error(
        "a delivery is to be answered within {} ms to {} h",
        ACK_DEADLINE_MIN.as_millis(),
        ACK_DEADLINE_MAX.as_secs() / 3600
    )]
    AckDeadline,
    /// The number of attempts.
    #[error("an event is tried from 1 to {ATTEMPTS_MAX} times")]
    Attempts,
    /// The pauses.
    #[error("the pause between attempts begins above 0, and is at most {} h", BACKOFF_MAX.as_secs() / 3600)]
    Backoff,
    /// The number of deliveries.
    #[error("from 1 to {IN_FLIGHT_MAX} deliveries may be unanswered, of the group and of a lane")]
    InFlight,
}

impl Config {
    /// Refuses what no group can be.
    ///
    /// # Errors
    /// What is out of its bounds.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let Backoff { initial, max } = self.backoff;
        let in_flight = 1..=IN_FLIGHT_MAX;
        if !(1..=LANES_MAX).contains(&self.lanes) {
            Err(InvalidConfig::Lanes)
        } else if !(ACK_DEADLINE_MIN..=ACK_DEADLINE_MAX).contains(&self.ack_deadline) {
            Err(InvalidConfig::AckDeadline)
        } else if !(1..=ATTEMPTS_MAX).contains(&self.max_attempts) {
            Err(InvalidConfig::Attempts)
        } else if initial.is_zero() || initial > max || max > BACKOFF_MAX {
            Err(InvalidConfig::Backoff)
        } else if !in_flight.contains(&self.max_in_flight)
            || !in_flight.contains(&self.max_in_flight_per_lane)
        {
            Err(InvalidConfig::InFlight)
        } else {
            Ok(())
        }
    }
}

impl Backoff {
    /// The pause after so many attempts, for one of many that may have failed together.
    pub(crate) fn pause(&self, attempts: u32, one: u64) -> Duration {
        let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let whole = self.initial.saturating_mul(doubled).min(self.max);
        // A multiplication by an odd number spreads neighbours; its upper bits are as good as chance here.
        let mixed = one.wrapping_mul(31).wrapping_add(attempts.into());
        let spread = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        let part = u32::try_from(spread).unwrap_or(0);
        whole - whole / 2 * part / (1 << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_group_can_be_is_refused() {
        let good = Config::default();
        assert_eq!(good.check(), Ok(()));
        let pauses = |initial_ms, max_ms| Backoff {
            initial: Duration::from_millis(initial_ms),
            max: Duration::from_millis(max_ms),
        };
        for (config, why) in [
            (Config { lanes: 0, ..good }, InvalidConfig::Lanes),
            (Config { lanes: LANES_MAX + 1, ..good }, InvalidConfig::Lanes),
            (Config { ack_deadline: Duration::ZERO, ..good }, InvalidConfig::AckDeadline),
            (
                Config { ack_deadline: ACK_DEADLINE_MAX + Duration::from_millis(1), ..good },
                InvalidConfig::AckDeadline,
            ),
            (Config { max_attempts: 0, ..good }, InvalidConfig::Attempts),
            (Config { backoff: pauses(0, 1), ..good }, InvalidConfig::Backoff),
            (Config { backoff: pauses(2, 1), ..good }, InvalidConfig::Backoff),
            (Config { max_in_flight: 0, ..good }, InvalidConfig::InFlight),
            (Config { max_in_flight_per_lane: IN_FLIGHT_MAX + 1, ..good }, InvalidConfig::InFlight),
        ] {
            assert_eq!(config.check(), Err(why), "{config:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_their_bound_and_differ() {
        let backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(60) };
        for (attempts, whole) in
            [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (64, 60), (u32::MAX, 60)]
        {
            let whole = Duration::from_secs(whole);
            let pauses: Vec<_> = (0..100).map(|one| backoff.pause(attempts, one)).collect();
            assert!(pauses.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{pauses:?}");
            let different: std::collections::BTreeSet<_> = pauses.iter().collect();
            assert!(different.len() > 90, "{attempts}: {}", different.len());
        }
    }
}
