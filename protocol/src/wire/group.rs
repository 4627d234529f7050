//! Groups on the wire: what is asked of one in a few words, and how it is.
//!
//! What may be long stands in a box, so that the messages of earlier versions stay as long as they were.

use std::collections::BTreeMap;
use std::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};

use super::parked::{ParkedListHead, ParkedPickHead};
use super::request::{FilterItemHead, filter_head, filter_of};
use super::route::BranchHead;
use super::{PROTOCOL_GROUPS, PROTOCOL_LANES_LAG, PROTOCOL_PARKED_KEYS, WireError};
use crate::group::{
    Backoff, GroupConfig, GroupInfo, GroupMode, GroupStart, GroupState, LaneInfo, MemberInfo,
    ParkedList, ParkedRule, PauseInfo, RuleEnd,
};
use crate::ids::Position;
use crate::time::Timestamp;

/// What is asked of a group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum GroupAsk {
    /// To be made, or to be another kind from now on.
    Set(GroupConfigHead),
    /// The names of all groups of the namespace.
    Names,
    /// How it is.
    Info,
    /// The same, with the lanes that have something to do.
    Lanes,
    /// To end for good.
    Delete,
    /// To deliver nothing for a while.
    Pause {
        /// Why.
        reason: String,
    },
    /// To go on.
    Resume,
    /// To go on from there.
    Seek(GroupStartHead),
    /// What is parked.
    Parked(ParkedListHead),
    /// To deliver again what is parked.
    Replay {
        /// Which.
        pick: ParkedPickHead,
        /// So many a second, at most.
        rate_per_s: Option<u32>,
    },
    /// To be done with what is parked.
    Skip(ParkedPickHead),
    /// To let a consumer go that says good-bye.
    Leave {
        /// Which.
        consumer: String,
    },
    /// To deliver again, with the payload as its data, what is parked at a position.
    Edit {
        /// Where it stands in the log.
        position: u64,
    },
    /// How it is, with the lanes that have something to do, and how long each is behind. From [`PROTOCOL_LANES_LAG`] on.
    LanesAndLag,
    /// What is parked of a key. From [`PROTOCOL_PARKED_KEYS`] on.
    ParkedOfKey {
        /// The key.
        key: String,
        /// Which of it.
        list: ParkedListHead,
    },
}

impl GroupAsk {
    /// To list what is parked.
    pub fn parked(list: &ParkedList) -> Self {
        match list.key.clone() {
            Some(key) => Self::ParkedOfKey { key, list: list.into() },
            None => Self::Parked(list.into()),
        }
    }

    /// The first version of the protocol that has it.
    pub fn since(&self) -> u16 {
        match self {
            Self::LanesAndLag => PROTOCOL_LANES_LAG,
            Self::ParkedOfKey { .. }
            | Self::Replay { pick: ParkedPickHead::Key(_), .. }
            | Self::Skip(ParkedPickHead::Key(_)) => PROTOCOL_PARKED_KEYS,
            _ => PROTOCOL_GROUPS,
        }
    }
}

/// Where a group begins: [`GroupStart`].
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub enum GroupStartHead {
    /// With the first event.
    Beginning,
    /// With what comes.
    End,
    /// At a position.
    Position(u64),
    /// At a time, in microseconds since 1970.
    Time(i64),
}

impl From<GroupStart> for GroupStartHead {
    fn from(start: GroupStart) -> Self {
        match start {
            GroupStart::Beginning => Self::Beginning,
            GroupStart::End => Self::End,
            GroupStart::Position(position) => Self::Position(position.get()),
            GroupStart::Time(time) => Self::Time(time.as_micros()),
        }
    }
}

impl From<GroupStartHead> for GroupStart {
    fn from(head: GroupStartHead) -> Self {
        match head {
            GroupStartHead::Beginning => Self::Beginning,
            GroupStartHead::End => Self::End,
            GroupStartHead::Position(position) => Self::Position(Position::new(position)),
            GroupStartHead::Time(time) => Self::Time(Timestamp::from_micros(time)),
        }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum ModeHead {
    Ordered,
    Unordered,
    Broadcast,
}

/// What kind of group it is: [`GroupConfig`]. Times are in whole milliseconds.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct GroupConfigHead {
    mode: ModeHead,
    /// As it is written.
    lane_by: String,
    filter: Vec<FilterItemHead>,
    start: GroupStartHead,
    lanes: u32,
    ack_deadline_ms: u64,
    max_attempts: u32,
    backoff_initial_ms: u64,
    backoff_max_ms: u64,
    max_in_flight: u32,
    max_in_flight_per_lane: u32,
    only_routes: bool,
    branches: Vec<BranchHead>,
    parked_rules: Vec<RuleHead>,
    parked_rate: Option<u32>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum EndHead {
    Leave,
    Skip,
    Alert,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct RuleHead {
    class: Option<String>,
    retry_after_ms: Vec<u64>,
    then: EndHead,
}

impl From<&ParkedRule> for RuleHead {
    fn from(rule: &ParkedRule) -> Self {
        Self {
            class: rule.class.clone(),
            retry_after_ms: rule.retry_after.iter().copied().map(ms_of).collect(),
            then: match rule.then {
                RuleEnd::Leave => EndHead::Leave,
                RuleEnd::Skip => EndHead::Skip,
                RuleEnd::Alert => EndHead::Alert,
            },
        }
    }
}

impl From<RuleHead> for ParkedRule {
    fn from(head: RuleHead) -> Self {
        Self {
            class: head.class,
            retry_after: head.retry_after_ms.into_iter().map(Duration::from_millis).collect(),
            then: match head.then {
                EndHead::Leave => RuleEnd::Leave,
                EndHead::Skip => RuleEnd::Skip,
                EndHead::Alert => RuleEnd::Alert,
            },
        }
    }
}

pub(super) fn ms_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&GroupConfig> for GroupConfigHead {
    fn from(config: &GroupConfig) -> Self {
        Self {
            mode: match config.mode {
                GroupMode::Ordered => ModeHead::Ordered,
                GroupMode::Unordered => ModeHead::Unordered,
                GroupMode::Broadcast => ModeHead::Broadcast,
            },
            lane_by: config.lane_by.to_string(),
            filter: filter_head(&config.filter),
            start: config.start.into(),
            lanes: config.lanes,
            ack_deadline_ms: ms_of(config.ack_deadline),
            max_attempts: config.max_attempts,
            backoff_initial_ms: ms_of(config.backoff.initial),
            backoff_max_ms: ms_of(config.backoff.max),
            max_in_flight: config.max_in_flight,
            max_in_flight_per_lane: config.max_in_flight_per_lane,
            only_routes: config.only_routes,
            branches: config.branches.iter().map(Into::into).collect(),
            parked_rules: config.parked_rules.iter().map(Into::into).collect(),
            parked_rate: config.parked_rate,
        }
    }
}

impl TryFrom<GroupConfigHead> for GroupConfig {
    type Error = WireError;

    fn try_from(head: GroupConfigHead) -> Result<Self, WireError> {
        Ok(Self {
            mode: match head.mode {
                ModeHead::Ordered => GroupMode::Ordered,
                ModeHead::Unordered => GroupMode::Unordered,
                ModeHead::Broadcast => GroupMode::Broadcast,
            },
            lane_by: head.lane_by.parse().map_err(WireError::malformed)?,
            filter: filter_of(head.filter),
            start: head.start.into(),
            lanes: head.lanes,
            ack_deadline: Duration::from_millis(head.ack_deadline_ms),
            max_attempts: head.max_attempts,
            backoff: Backoff {
                initial: Duration::from_millis(head.backoff_initial_ms),
                max: Duration::from_millis(head.backoff_max_ms),
            },
            max_in_flight: head.max_in_flight,
            max_in_flight_per_lane: head.max_in_flight_per_lane,
            only_routes: head.only_routes,
            branches: head.branches.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            parked_rules: head.parked_rules.into_iter().map(Into::into).collect(),
            parked_rate: head.parked_rate,
        })
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum RunsHead {
    Running,
    Paused,
    Stalled,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct PauseHead {
    by: String,
    reason: String,
    position: Option<u64>,
    at: i64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct MemberHead {
    consumer: String,
    lanes: u32,
    in_flight: u32,
}

/// How a group is: [`GroupInfo`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct GroupHead {
    name: String,
    config: GroupConfigHead,
    state: RunsHead,
    pause: Option<PauseHead>,
    floor_position: u64,
    head_position: Option<u64>,
    lag_events: u64,
    lag_seconds: f64,
    in_flight: u64,
    ready: u64,
    parked: u64,
    oldest_unacked_ms: Option<u64>,
    delivered: u64,
    redelivered: u64,
    members: Vec<MemberHead>,
}

impl From<&GroupInfo> for GroupHead {
    fn from(info: &GroupInfo) -> Self {
        let member = |member: &MemberInfo| MemberHead {
            consumer: member.consumer.clone(),
            lanes: member.lanes,
            in_flight: member.in_flight,
        };
        Self {
            name: info.name.clone(),
            config: (&info.config).into(),
            state: match info.state {
                GroupState::Running => RunsHead::Running,
                GroupState::Paused => RunsHead::Paused,
                GroupState::Stalled => RunsHead::Stalled,
            },
            pause: info.pause.as_ref().map(|pause| PauseHead {
                by: pause.by.clone(),
                reason: pause.reason.clone(),
                position: pause.position.map(Position::get),
                at: pause.at.as_micros(),
            }),
            floor_position: info.floor_position.get(),
            head_position: info.head_position.map(Position::get),
            lag_events: info.lag_events,
            lag_seconds: info.lag_seconds,
            in_flight: info.in_flight,
            ready: info.ready,
            parked: info.parked,
            oldest_unacked_ms: info.oldest_unacked_ms,
            delivered: info.delivered,
            redelivered: info.redelivered,
            members: info.members.iter().map(member).collect(),
        }
    }
}

impl TryFrom<GroupHead> for GroupInfo {
    type Error = WireError;

    fn try_from(head: GroupHead) -> Result<Self, WireError> {
        let member = |member: MemberHead| MemberInfo {
            consumer: member.consumer,
            lanes: member.lanes,
            in_flight: member.in_flight,
        };
        Ok(Self {
            name: head.name,
            config: head.config.try_into()?,
            state: match head.state {
                RunsHead::Running => GroupState::Running,
                RunsHead::Paused => GroupState::Paused,
                RunsHead::Stalled => GroupState::Stalled,
            },
            pause: head.pause.map(|pause| PauseInfo {
                by: pause.by,
                reason: pause.reason,
                position: pause.position.map(Position::new),
                at: Timestamp::from_micros(pause.at),
            }),
            floor_position: Position::new(head.floor_position),
            head_position: head.head_position.map(Position::new),
            lag_events: head.lag_events,
            lag_seconds: head.lag_seconds,
            in_flight: head.in_flight,
            ready: head.ready,
            parked: head.parked,
            oldest_unacked_ms: head.oldest_unacked_ms,
            delivered: head.delivered,
            redelivered: head.redelivered,
            members: head.members.into_iter().map(member).collect(),
        })
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct LaneHead {
    lane: u32,
    /// Which of the owners.
    owner: Option<u32>,
    open: u64,
    in_flight: u64,
    first: u64,
    parked: u64,
}

/// How a group is, with its lanes: [`GroupInfo`], and a list of [`LaneInfo`]. Each owner is named once: there are many
/// more lanes than consumers.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct GroupLanesHead {
    info: GroupHead,
    owners: Vec<String>,
    lanes: Vec<LaneHead>,
}

impl GroupLanesHead {
    /// Of a group with these lanes.
    pub fn new(info: &GroupInfo, lanes: &[LaneInfo]) -> Self {
        let mut known = BTreeMap::new();
        let mut owners = Vec::new();
        let mut number_of = |owner: &str| {
            *known.entry(owner.to_owned()).or_insert_with(|| {
                owners.push(owner.to_owned());
                u32::try_from(owners.len() - 1).expect("a group has few consumers")
            })
        };
        let lanes = lanes.iter().map(|lane| LaneHead {
            lane: lane.lane,
            owner: lane.owner.as_deref().map(&mut number_of),
            open: lane.open,
            in_flight: lane.in_flight,
            first: lane.first.get(),
            parked: lane.parked,
        });
        let lanes = lanes.collect();
        Self { info: info.into(), owners, lanes }
    }
}

impl TryFrom<GroupLanesHead> for (GroupInfo, Vec<LaneInfo>) {
    type Error = WireError;

    fn try_from(head: GroupLanesHead) -> Result<Self, WireError> {
        let GroupLanesHead { info, owners, lanes } = head;
        let owner = |number: u32| {
            let owner = owners.get(number as usize).cloned();
            owner.ok_or_else(|| WireError::malformed("a lane of an owner who is not named"))
        };
        let lane = |lane: LaneHead| {
            Ok(LaneInfo {
                lane: lane.lane,
                owner: lane.owner.map(owner).transpose()?,
                open: lane.open,
                in_flight: lane.in_flight,
                first: Position::new(lane.first),
                parked: lane.parked,
                lag: None,
            })
        };
        let lanes = lanes.into_iter().map(lane).collect::<Result<_, WireError>>()?;
        Ok((info.try_into()?, lanes))
    }
}

/// [`GroupLanesHead`], with how long each lane is behind.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct GroupLagHead {
    lanes: GroupLanesHead,
    /// Of each lane, in their order, in milliseconds; [`NO_LAG`]: nothing of it is to be done.
    lag_ms: Vec<u64>,
}

const NO_LAG: u64 = u64::MAX;

impl GroupLagHead {
    /// Of a group with these lanes.
    pub fn new(info: &GroupInfo, lanes: &[LaneInfo]) -> Self {
        let lag_ms = lanes
            .iter()
            .map(|lane| lane.lag.map_or(NO_LAG, |lag| ms_of(lag).min(NO_LAG - 1)))
            .collect();
        Self { lanes: GroupLanesHead::new(info, lanes), lag_ms }
    }
}

impl TryFrom<GroupLagHead> for (GroupInfo, Vec<LaneInfo>) {
    type Error = WireError;

    fn try_from(head: GroupLagHead) -> Result<Self, WireError> {
        let (info, mut lanes) = head.lanes.try_into()?;
        if lanes.len() != head.lag_ms.len() {
            let (lags, lanes) = (head.lag_ms.len(), lanes.len());
            return Err(WireError::malformed(format!("{lags} times of {lanes} lanes")));
        }
        for (lane, ms) in lanes.iter_mut().zip(head.lag_ms) {
            lane.lag = (ms != NO_LAG).then(|| Duration::from_millis(ms));
        }
        Ok((info, lanes))
    }
}
