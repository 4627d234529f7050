//! How a group is.

use std::time::Duration;

use super::GroupConfig;
use crate::ids::Position;
use crate::time::Timestamp;

/// Whether a group delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// It does.
    Running,
    /// It delivers nothing until somebody lets it go on.
    Paused,
    /// It has work for consumers that are there, and for a while nothing of it was done.
    Stalled,
}

/// Who has paused a group, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseInfo {
    /// Who: a principal, or a consumer that said `stop`.
    pub by: String,
    /// Why, as that one said.
    pub reason: String,
    /// The event that a consumer stopped at.
    pub position: Option<Position>,
    /// When.
    pub at: Timestamp,
}

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its name.
    pub consumer: String,
    /// How many lanes are its own, or will be.
    pub lanes: u32,
    /// Deliveries that it has not answered.
    pub in_flight: u32,
}

/// A lane that has something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneInfo {
    /// Its number.
    pub lane: u32,
    /// Whose it is.
    pub owner: Option<String>,
    /// Events of it that were looked at and are not done.
    pub open: u64,
    /// Deliveries that are not answered.
    pub in_flight: u64,
    /// The first event of it that is not done; where all are, the first that is parked.
    pub first: Position,
    /// Events of it that are parked.
    pub parked: u64,
    /// How long ago the first event that is not done was recorded. `None`: all are done; or that event cannot be read, or
    /// 10,000 lanes before it have something, or the server is older and does not tell.
    pub lag: Option<Duration>,
}

/// How a group is.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupInfo {
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub config: GroupConfig,
    /// Whether it delivers.
    pub state: GroupState,
    /// Where it is paused: by whom.
    pub pause: Option<PauseInfo>,
    /// All events below are done, or parked.
    pub floor_position: Position,
    /// The newest event of the log; `None`: there is none.
    pub head_position: Option<Position>,
    /// Events for it that are not done. Of what was not looked at yet 10,000 are counted; beyond those it is positions,
    /// matching or not.
    pub lag_events: u64,
    /// How long ago the first event that is not done was recorded, in seconds; 0 where all is done.
    pub lag_seconds: f64,
    /// Deliveries that are not answered.
    pub in_flight: u64,
    /// Events that could be delivered now.
    pub ready: u64,
    /// Events that are parked.
    pub parked: u64,
    /// How long ago the oldest delivery that is not answered was made, in milliseconds.
    pub oldest_unacked_ms: Option<u64>,
    /// Deliveries since it was opened, and of these the ones that were not the first of their event.
    pub delivered: u64,
    /// See `delivered`.
    pub redelivered: u64,
    /// Its consumers.
    pub members: Vec<MemberInfo>,
}

impl GroupState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stalled => "stalled",
        }
    }
}
