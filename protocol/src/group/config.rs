//! [`GroupConfig`]: what kind of group it is, and its bounds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{LaneBy, ParkedRule};
use crate::error::Invalid;
use crate::filter::Filter;
use crate::ids::Position;
use crate::limits::{
    ACK_DEADLINE_MS_MAX, ACK_DEADLINE_MS_MIN, ATTEMPTS_MAX, BACKOFF_MS_MAX, BRANCHES_MAX,
    FILTER_ALTERNATIVES_MAX, IN_FLIGHT_MAX, LANES_MAX, PARKED_RATE_MAX,
};
use crate::record::RecordedEvent;
use crate::route::{Branch, check_conditions};
use crate::time::Timestamp;

/// The longest time in which a delivery has to be answered.
pub const ACK_DEADLINE_MAX: Duration = Duration::from_millis(ACK_DEADLINE_MS_MAX);
/// The shortest.
pub const ACK_DEADLINE_MIN: Duration = Duration::from_millis(ACK_DEADLINE_MS_MIN);
/// The longest pause between attempts.
pub const BACKOFF_MAX: Duration = Duration::from_millis(BACKOFF_MS_MAX);

/// How events are shared among the consumers of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupMode {
    /// Events of one key one after the other, by one consumer at a time; keys beside each other.
    Ordered,
    /// Each event to whoever is free, in whatever order.
    Unordered,
    /// Each event to each consumer, which has lanes, attempts, and parked events of its own.
    Broadcast,
}

/// Where a new group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStart {
    /// With the first event of the log.
    Beginning,
    /// With what is appended from now on.
    End,
    /// With the event at this position.
    Position(Position),
    /// With what was recorded from this time on.
    Time(Timestamp),
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// How events are shared.
    pub mode: GroupMode,
    /// What order is kept by. Without meaning where events are unordered. Fixed when the group is made.
    pub lane_by: LaneBy,
    /// Which events, besides those that routes lead to it.
    pub filter: Filter,
    /// Only events that routes lead to it: the filter takes none then, and has to be that of everything.
    pub only_routes: bool,
    /// The routes that lead to it. They are set as routes, never with the rest.
    pub branches: Vec<Branch>,
    /// Where it begins when it is made.
    pub start: GroupStart,
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
    /// What becomes by itself of events that would be parked: the first rule that fits counts. None by default: all of
    /// it is left to somebody.
    pub parked_rules: Vec<ParkedRule>,
    /// How many events a second each step of a rule releases at most, from 1 to [`PARKED_RATE_MAX`]; what comes beyond
    /// waits longer. `None`: as many as failed together. It is counted anew when the group is opened.
    pub parked_rate: Option<u32>,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            mode: GroupMode::Ordered,
            lane_by: LaneBy::Stream,
            filter: Filter::all(),
            only_routes: false,
            branches: Vec::new(),
            start: GroupStart::Beginning,
            lanes: 256,
            ack_deadline: Duration::from_secs(30),
            max_attempts: 5,
            backoff: Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(60) },
            max_in_flight: 10_000,
            max_in_flight_per_lane: 1_000,
            parked_rules: Vec::new(),
            parked_rate: None,
        }
    }
}

/// What a group cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGroup {
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
    /// What cannot be changed.
    #[error(
        "{0} of a group is fixed when it is made: make another group, or delete this one first"
    )]
    Fixed(&'static str),
    /// What events it gets, twice.
    #[error(
        "a group that gets only what routes lead to it has no filter of its own: leave one out"
    )]
    OnlyRoutes,
    /// The routes that lead to it.
    #[error("at most {BRANCHES_MAX} routes lead to one group: use more than one filter in a route")]
    Branches,
    /// What it reads altogether.
    #[error(
        "its filter and those of its routes have more than {FILTER_ALTERNATIVES_MAX} alternatives together"
    )]
    Alternatives,
    /// The filter.
    #[error("its filter: {0}")]
    Filter(Box<Invalid>),
    /// What becomes of what is parked.
    #[error("{0}")]
    Rules(Box<Invalid>),
    /// How fast that is.
    #[error("what is parked is released at a rate from 1 to {PARKED_RATE_MAX} events a second")]
    Rate,
}

impl From<InvalidGroup> for Invalid {
    fn from(invalid: InvalidGroup) -> Self {
        Self::Request(invalid.to_string())
    }
}

impl GroupConfig {
    /// Refuses what no group can be.
    ///
    /// # Errors
    /// What is out of its bounds.
    pub fn check(&self) -> Result<(), InvalidGroup> {
        let Backoff { initial, max } = self.backoff;
        let in_flight = 1..=IN_FLIGHT_MAX;
        if !(1..=LANES_MAX).contains(&self.lanes) {
            Err(InvalidGroup::Lanes)
        } else if !(ACK_DEADLINE_MIN..=ACK_DEADLINE_MAX).contains(&self.ack_deadline) {
            Err(InvalidGroup::AckDeadline)
        } else if !(1..=ATTEMPTS_MAX).contains(&self.max_attempts) {
            Err(InvalidGroup::Attempts)
        } else if initial.is_zero() || initial > max || max > BACKOFF_MAX {
            Err(InvalidGroup::Backoff)
        } else if !in_flight.contains(&self.max_in_flight)
            || !in_flight.contains(&self.max_in_flight_per_lane)
        {
            Err(InvalidGroup::InFlight)
        } else if self.only_routes && !self.filter.is_all() {
            Err(InvalidGroup::OnlyRoutes)
        } else if self.branches.len() > BRANCHES_MAX {
            Err(InvalidGroup::Branches)
        } else if self.parked_rate.is_some_and(|rate| !(1..=PARKED_RATE_MAX).contains(&rate)) {
            Err(InvalidGroup::Rate)
        } else {
            let of_rules = |invalid| InvalidGroup::Rules(Box::new(invalid));
            ParkedRule::check_all(&self.parked_rules).map_err(of_rules)?;
            let invalid = |invalid| InvalidGroup::Filter(Box::new(invalid));
            self.filter.check().map_err(invalid)?;
            for branch in &self.branches {
                branch.filter.check().map_err(invalid)?;
                check_conditions(&branch.conditions).map_err(invalid)?;
            }
            let reads = self.reads();
            let alternatives = reads.as_ref().map_or(0, |filter| filter.alternatives().len());
            if alternatives > FILTER_ALTERNATIVES_MAX {
                return Err(InvalidGroup::Alternatives);
            }
            Ok(())
        }
    }

    /// What of the log is read for the group, of which it [takes](Self::takes) what it should; `None`: nothing, since
    /// no route leads to it yet.
    pub fn reads(&self) -> Option<Filter> {
        let own = (!self.only_routes).then_some(&self.filter);
        let filters: Vec<_> =
            own.into_iter().chain(self.branches.iter().map(|it| &it.filter)).collect();
        if filters.iter().any(|filter| filter.is_all()) {
            return Some(Filter::all());
        }
        let all: Vec<_> =
            filters.into_iter().flat_map(|filter| filter.alternatives().iter().cloned()).collect();
        (!all.is_empty()).then(|| Filter::any(all))
    }

    /// Whether an event is for the group: by its own filter, or by a route that leads to it.
    pub fn takes(&self, event: &RecordedEvent) -> bool {
        (!self.only_routes && self.filter.selects(event, false))
            || self.branches.iter().any(|branch| branch.takes(event))
    }

    /// Refuses to become what a group that is there cannot become: how it shares events, and what order is kept
    /// by, stand in what it has done. Where it began has no meaning any more.
    ///
    /// # Errors
    /// What is fixed, or out of its bounds.
    pub fn check_update(&self, to: &Self) -> Result<(), InvalidGroup> {
        to.check()?;
        if self.mode != to.mode {
            Err(InvalidGroup::Fixed("the mode"))
        } else if self.mode != GroupMode::Unordered && self.lane_by != to.lane_by {
            Err(InvalidGroup::Fixed("what order is kept by"))
        } else if self.mode != GroupMode::Unordered && self.lanes != to.lanes {
            Err(InvalidGroup::Fixed("the number of lanes"))
        } else {
            Ok(())
        }
    }
}

impl GroupMode {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Unordered => "unordered",
            Self::Broadcast => "broadcast",
        }
    }
}

impl fmt::Display for GroupMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for GroupMode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let all = [Self::Ordered, Self::Unordered, Self::Broadcast];
        let detail = "the mode of a group is `ordered`, `unordered`, or `broadcast`";
        let found = all.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| Invalid::Request(detail.to_owned()))
    }
}

impl Backoff {
    /// The pause after so many attempts, for one of many that may have failed together.
    #[must_use]
    pub fn pause(&self, attempts: u32, one: u64) -> Duration {
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
        let good = GroupConfig::default();
        assert_eq!(good.check(), Ok(()));
        let pauses = |initial_ms, max_ms| Backoff {
            initial: Duration::from_millis(initial_ms),
            max: Duration::from_millis(max_ms),
        };
        for (config, why) in [
            (GroupConfig { lanes: 0, ..good.clone() }, InvalidGroup::Lanes),
            (GroupConfig { lanes: LANES_MAX + 1, ..good.clone() }, InvalidGroup::Lanes),
            (
                GroupConfig { ack_deadline: Duration::ZERO, ..good.clone() },
                InvalidGroup::AckDeadline,
            ),
            (
                GroupConfig {
                    ack_deadline: ACK_DEADLINE_MAX + Duration::from_millis(1),
                    ..good.clone()
                },
                InvalidGroup::AckDeadline,
            ),
            (GroupConfig { max_attempts: 0, ..good.clone() }, InvalidGroup::Attempts),
            (GroupConfig { backoff: pauses(0, 1), ..good.clone() }, InvalidGroup::Backoff),
            (GroupConfig { backoff: pauses(2, 1), ..good.clone() }, InvalidGroup::Backoff),
            (GroupConfig { max_in_flight: 0, ..good.clone() }, InvalidGroup::InFlight),
            (
                GroupConfig { max_in_flight_per_lane: IN_FLIGHT_MAX + 1, ..good.clone() },
                InvalidGroup::InFlight,
            ),
            (GroupConfig { parked_rate: Some(0), ..good.clone() }, InvalidGroup::Rate),
        ] {
            assert_eq!(config.check(), Err(why), "{config:?}");
        }
    }

    #[test]
    fn what_a_group_has_done_stands_by_its_lanes() {
        let group = GroupConfig::default();
        let more = GroupConfig { max_attempts: 9, filter: Filter::category("a"), ..group.clone() };
        assert_eq!(group.check_update(&more), Ok(()));
        for (to, what) in [
            (GroupConfig { lanes: 7, ..group.clone() }, "the number of lanes"),
            (
                GroupConfig { lane_by: LaneBy::Correlation, ..group.clone() },
                "what order is kept by",
            ),
            (GroupConfig { mode: GroupMode::Unordered, ..group.clone() }, "the mode"),
        ] {
            assert_eq!(group.check_update(&to), Err(InvalidGroup::Fixed(what)));
        }
        let unordered = GroupConfig { mode: GroupMode::Unordered, ..group };
        assert_eq!(unordered.check_update(&GroupConfig { lanes: 7, ..unordered.clone() }), Ok(()));
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
