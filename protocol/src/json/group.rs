//! A group as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;
use crate::filter::Filter;
use crate::group::{
    Backoff, GroupConfig, GroupInfo, GroupMode, GroupStart, LaneBy, LaneInfo, ParkedRule, RuleEnd,
};
use crate::ids::Position;
use crate::json::BranchJson;
use crate::time::Timestamp;

/// Where a new group begins: `"beginning"`, `"end"`, `{"position": N}`, or `{"time": T}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", rename = "GroupStart")]
pub enum GroupStartJson {
    /// With the first event of the log.
    Beginning,
    /// With what is appended from now on.
    End,
    /// With the event at this position.
    Position(u64),
    /// With what was recorded from this time on.
    Time(Timestamp),
}

impl From<GroupStartJson> for GroupStart {
    fn from(json: GroupStartJson) -> Self {
        match json {
            GroupStartJson::Beginning => Self::Beginning,
            GroupStartJson::End => Self::End,
            GroupStartJson::Position(position) => Self::Position(Position::new(position)),
            GroupStartJson::Time(time) => Self::Time(time),
        }
    }
}

impl From<GroupStart> for GroupStartJson {
    fn from(start: GroupStart) -> Self {
        match start {
            GroupStart::Beginning => Self::Beginning,
            GroupStart::End => Self::End,
            GroupStart::Position(position) => Self::Position(position.get()),
            GroupStart::Time(time) => Self::Time(time),
        }
    }
}

/// The pause before an event is delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Backoff")]
pub struct BackoffJson {
    /// After the first attempt, in milliseconds.
    pub initial_ms: u64,
    /// At most, in milliseconds.
    pub max_ms: u64,
}

/// What becomes by itself of an event that would be parked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "ParkedRule")]
pub struct ParkedRuleJson {
    /// The class of its last failure; null, or `*`: any, and none.
    #[serde(default)]
    pub class: Option<String>,
    /// It is tried again after so long, in milliseconds; when that fails, after the next of these.
    #[serde(default)]
    pub retry_after_ms: Vec<u64>,
    /// What becomes of it after the last: `leave`, `skip`, or `alert`.
    pub then: String,
}

impl From<&ParkedRule> for ParkedRuleJson {
    fn from(rule: &ParkedRule) -> Self {
        Self {
            class: rule.class.clone(),
            retry_after_ms: rule.retry_after.iter().copied().map(millis).collect(),
            then: rule.then.to_string(),
        }
    }
}

impl TryFrom<ParkedRuleJson> for ParkedRule {
    type Error = Invalid;

    fn try_from(json: ParkedRuleJson) -> Result<Self, Invalid> {
        let retry_after = json.retry_after_ms.into_iter().map(Duration::from_millis).collect();
        let then = json.then.parse::<RuleEnd>()?;
        let class = json.class.filter(|class| class != ParkedRule::ANY);
        Ok(Self { class, retry_after, then })
    }
}

/// What kind of group it is. What is missing is as in a group of which nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename = "GroupConfig")]
pub struct GroupConfigJson {
    /// How events are shared: `ordered` (by default), `unordered`, or `broadcast`.
    pub mode: Option<String>,
    /// What order is kept by: `stream` (by default), `correlation`, or `tag:KEY`.
    pub lane_by: Option<String>,
    /// Buckets of keys, each of which belongs to one consumer at a time; 256 by default.
    pub lanes: Option<u32>,
    /// Which events; all of them by default.
    pub filter: Option<Filter>,
    /// Only events that routes lead to it, none by the filter; false by default.
    pub only_routes: Option<bool>,
    /// The routes that lead to it. They are set as routes: given here, they have to be those that are there.
    pub branches: Option<Vec<BranchJson>>,
    /// Where it begins when it is made; at the beginning by default.
    pub start: Option<GroupStartJson>,
    /// A delivery that is not answered in this time is made again; 30,000 by default.
    pub ack_deadline_ms: Option<u64>,
    /// After so many attempts that failed an event is parked; 5 by default.
    pub max_attempts: Option<u32>,
    /// The pause between attempts; from 500 ms to 60 s by default.
    pub backoff: Option<BackoffJson>,
    /// Deliveries that may be unanswered at a time; 10,000 by default.
    pub max_in_flight: Option<u32>,
    /// The same, of each lane; 1,000 by default.
    pub max_in_flight_per_lane: Option<u32>,
    /// What becomes by itself of events that would be parked: the first that fits counts; none by default.
    pub parked_rules: Option<Vec<ParkedRuleJson>>,
    /// How many events a second each step of a rule releases at most; by default as many as failed together.
    pub parked_rate_per_s: Option<u32>,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<&GroupConfig> for GroupConfigJson {
    fn from(config: &GroupConfig) -> Self {
        Self {
            mode: Some(config.mode.to_string()),
            lane_by: Some(config.lane_by.to_string()),
            lanes: Some(config.lanes),
            filter: Some(config.filter.clone()),
            only_routes: Some(config.only_routes),
            branches: Some(config.branches.iter().map(Into::into).collect()),
            start: Some(config.start.into()),
            ack_deadline_ms: Some(millis(config.ack_deadline)),
            max_attempts: Some(config.max_attempts),
            backoff: Some(BackoffJson {
                initial_ms: millis(config.backoff.initial),
                max_ms: millis(config.backoff.max),
            }),
            max_in_flight: Some(config.max_in_flight),
            max_in_flight_per_lane: Some(config.max_in_flight_per_lane),
            parked_rules: Some(config.parked_rules.iter().map(Into::into).collect()),
            parked_rate_per_s: config.parked_rate,
        }
    }
}

impl TryFrom<GroupConfigJson> for GroupConfig {
    type Error = Invalid;

    fn try_from(json: GroupConfigJson) -> Result<Self, Invalid> {
        let mut config = Self::default();
        if let Some(mode) = json.mode {
            config.mode = mode.parse::<GroupMode>()?;
        }
        if let Some(by) = json.lane_by {
            config.lane_by =
                by.parse::<LaneBy>().map_err(|why| Invalid::Request(why.to_string()))?;
        }
        if let Some(BackoffJson { initial_ms, max_ms }) = json.backoff {
            let (initial, max) = (Duration::from_millis(initial_ms), Duration::from_millis(max_ms));
            config.backoff = Backoff { initial, max };
        }
        config.lanes = json.lanes.unwrap_or(config.lanes);
        config.filter = json.filter.unwrap_or(config.filter);
        config.only_routes = json.only_routes.unwrap_or(config.only_routes);
        let branches = json.branches.unwrap_or_default().into_iter().map(TryInto::try_into);
        config.branches = branches.collect::<Result<_, _>>()?;
        config.start = json.start.map_or(config.start, Into::into);
        config.ack_deadline =
            json.ack_deadline_ms.map_or(config.ack_deadline, Duration::from_millis);
        config.max_attempts = json.max_attempts.unwrap_or(config.max_attempts);
        config.max_in_flight = json.max_in_flight.unwrap_or(config.max_in_flight);
        config.max_in_flight_per_lane =
            json.max_in_flight_per_lane.unwrap_or(config.max_in_flight_per_lane);
        let rules = json.parked_rules.unwrap_or_default().into_iter().map(TryInto::try_into);
        config.parked_rules = rules.collect::<Result<_, _>>()?;
        config.parked_rate = json.parked_rate_per_s;
        config.check()?;
        Ok(config)
    }
}

/// A consumer of a group.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Member")]
pub struct MemberJson<'a> {
    /// Its name.
    pub consumer: &'a str,
    /// How many lanes are its own, or will be.
    pub lanes: u32,
    /// Deliveries that it has not answered.
    pub in_flight: u32,
}

/// Who has paused a group, and why.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Pause")]
pub struct PauseJson<'a> {
    /// Who: a principal, or a consumer that said `stop`.
    pub by: &'a str,
    /// Why, as that one said.
    pub reason: &'a str,
    /// The event that a consumer stopped at.
    pub position: Option<u64>,
    /// When.
    pub at: Timestamp,
}

/// How a group is.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Group")]
pub struct GroupInfoJson<'a> {
    /// Its name.
    pub name: &'a str,
    /// What kind it is.
    #[serde(flatten)]
    pub config: GroupConfigJson,
    /// `running`; `paused`; or `stalled`: there is work for consumers that are there, and for a minute nothing of it
    /// was done.
    pub state: &'static str,
    /// Where it is paused: by whom.
    pub pause: Option<PauseJson<'a>>,
    /// All events below are done, or parked.
    pub floor_position: u64,
    /// The newest event of the log.
    pub head_position: Option<u64>,
    /// Events for it that are not done. Of what was not looked at yet 10,000 are counted; beyond those it is positions,
    /// matching or not.
    pub lag_events: u64,
    /// How long ago the first event that is not done was recorded.
    pub lag_seconds: f64,
    /// Deliveries that are not answered.
    pub in_flight: u64,
    /// Events that could be delivered now.
    pub ready: u64,
    /// Events that are parked.
    pub parked: u64,
    /// How long ago the oldest delivery that is not answered was made.
    pub oldest_unacked_ms: Option<u64>,
    /// Deliveries since the store was opened.
    pub delivered: u64,
    /// Those of them that were not the first of their event.
    pub redelivered: u64,
    /// Its consumers.
    pub members: Vec<MemberJson<'a>>,
}

impl<'a> From<&'a GroupInfo> for GroupInfoJson<'a> {
    fn from(info: &'a GroupInfo) -> Self {
        let members = info.members.iter().map(|member| MemberJson {
            consumer: &member.consumer,
            lanes: member.lanes,
            in_flight: member.in_flight,
        });
        Self {
            name: &info.name,
            config: (&info.config).into(),
            state: info.state.as_str(),
            pause: info.pause.as_ref().map(|pause| PauseJson {
                by: &pause.by,
                reason: &pause.reason,
                position: pause.position.map(Position::get),
                at: pause.at,
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
            members: members.collect(),
        }
    }
}

/// A lane of a group that has something to do.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Lane")]
pub struct LaneJson<'a> {
    /// Its number.
    pub lane: u32,
    /// Whose it is.
    pub owner: Option<&'a str>,
    /// Events of it that were looked at and are not done.
    pub lag_events: u64,
    /// How long ago the first event of it that is not done was recorded; null: all are done, or that event cannot be
    /// read, or 10,000 lanes before it have something.
    pub lag_seconds: Option<f64>,
    /// Deliveries that are not answered.
    pub in_flight: u64,
    /// The first event of it that is not done; where all are, the first that is parked.
    pub first_position: u64,
    /// Events of it that are parked.
    pub parked: u64,
}

impl<'a> From<&'a LaneInfo> for LaneJson<'a> {
    fn from(lane: &'a LaneInfo) -> Self {
        Self {
            lane: lane.lane,
            owner: lane.owner.as_deref(),
            lag_events: lane.open,
            lag_seconds: lane.lag.map(|lag| lag.as_secs_f64()),
            in_flight: lane.in_flight,
            first_position: lane.first.get(),
            parked: lane.parked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_it_is_written_and_what_is_missing_stays() {
        let text = r#"{"mode":"unordered","filter":{"categories":["order"]},"start":{"position":7},
            "backoff":{"initial_ms":10,"max_ms":20},"max_attempts":3}"#;
        let json: GroupConfigJson = serde_json::from_str(text).unwrap();
        let config = GroupConfig::try_from(json).unwrap();
        assert_eq!(config.mode, GroupMode::Unordered);
        assert_eq!(config.start, GroupStart::Position(Position::new(7)));
        assert_eq!(config.backoff.max, Duration::from_millis(20));
        assert_eq!(config.lanes, GroupConfig::default().lanes);
        let whole = serde_json::to_string(&GroupConfigJson::from(&config)).unwrap();
        let again: GroupConfigJson = serde_json::from_str(&whole).unwrap();
        assert_eq!(GroupConfig::try_from(again), Ok(config));
        for (text, part) in [
            (r#"{"mod":"ordered"}"#, "unknown field `mod`"),
            (r#"{"start":"soon"}"#, "unknown variant `soon`"),
        ] {
            let error = serde_json::from_str::<GroupConfigJson>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        for (text, part) in [
            (r#"{"mode":"fifo"}"#, "`ordered`"),
            (r#"{"lane_by":"tag"}"#, "tag:customer"),
            (r#"{"lanes":0}"#, "lanes"),
            (r#"{"ack_deadline_ms":43200001}"#, "12 h"),
        ] {
            let json: GroupConfigJson = serde_json::from_str(text).unwrap();
            let error = GroupConfig::try_from(json).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
