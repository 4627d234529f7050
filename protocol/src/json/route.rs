//! A route as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventJson, GroupStartJson};
use crate::error::Invalid;
use crate::filter::Filter;
use crate::group::GroupStart;
use crate::ids::Position;
use crate::limits::CONDITIONS_MAX;
use crate::route::{
    Branch, Condition, DryRun, Operator, RouteConfig, RouteInfo, RouteState, RouteTarget,
};

/// A comparison of one value of an event with another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Condition")]
pub struct ConditionJson {
    /// Where the value stands in the JSON form of an event: a JSON pointer, as `/data/amount` or `/type`.
    pub path: String,
    /// `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `in` (one of a list), `exists` (`true` or `false`), or `prefix`.
    pub op: String,
    /// What it is compared with; left out, `true` with `exists`, and `null` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "also_null")]
    pub value: Option<Value>,
}

/// A field that is there is a value, also where the value is `null`.
fn also_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl From<&Condition> for ConditionJson {
    fn from(condition: &Condition) -> Self {
        Self {
            path: condition.path().to_owned(),
            op: condition.op().to_string(),
            value: Some(condition.value().clone()),
        }
    }
}

impl TryFrom<ConditionJson> for Condition {
    type Error = Invalid;

    fn try_from(json: ConditionJson) -> Result<Self, Invalid> {
        let op: Operator = json.op.parse()?;
        let default = if op == Operator::Exists { Value::Bool(true) } else { Value::Null };
        Self::new(json.path, op, json.value.unwrap_or(default))
    }
}

fn conditions_of(json: Option<Vec<ConditionJson>>) -> Result<Vec<Condition>, Invalid> {
    let all = json.unwrap_or_default();
    // One more than allowed is enough to be refused for: the rest is not looked at.
    all.into_iter().take(CONDITIONS_MAX + 1).map(TryInto::try_into).collect()
}

/// A route that leads to a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Branch")]
pub struct BranchJson {
    /// The route's name.
    pub name: String,
    /// Which events; all of them by default.
    #[serde(default)]
    pub filter: Filter,
    /// What they have to fulfil; nothing by default.
    #[serde(default, rename = "where")]
    pub conditions: Option<Vec<ConditionJson>>,
}

impl From<&Branch> for BranchJson {
    fn from(branch: &Branch) -> Self {
        Self {
            name: branch.name.clone(),
            filter: branch.filter.clone(),
            conditions: Some(branch.conditions.iter().map(Into::into).collect()),
        }
    }
}

impl TryFrom<BranchJson> for Branch {
    type Error = Invalid;

    fn try_from(json: BranchJson) -> Result<Self, Invalid> {
        let conditions = conditions_of(json.conditions)?;
        Ok(Self { name: json.name, filter: json.filter, conditions })
    }
}

/// Which events a route takes, and where to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "RouteConfig")]
pub struct RouteConfigJson {
    /// Which events; all of them by default.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// What they have to fulfil, all of it; nothing by default.
    #[serde(default, rename = "where")]
    pub conditions: Option<Vec<ConditionJson>>,
    /// Where to: `stream:NAME`, which gets links, or `group:NAME`, which gets the events themselves.
    pub to: String,
    /// Where a route to a stream begins when it is made; at the end by default. One to a group begins where the group is.
    #[serde(default)]
    pub start: Option<GroupStartJson>,
}

impl From<&RouteConfig> for RouteConfigJson {
    fn from(config: &RouteConfig) -> Self {
        Self {
            filter: Some(config.filter.clone()),
            conditions: Some(config.conditions.iter().map(Into::into).collect()),
            to: config.to.to_string(),
            start: Some(config.start.into()),
        }
    }
}

impl TryFrom<RouteConfigJson> for RouteConfig {
    type Error = Invalid;

    fn try_from(json: RouteConfigJson) -> Result<Self, Invalid> {
        let to: RouteTarget = json.to.parse()?;
        let config = Self {
            filter: json.filter.unwrap_or_default(),
            conditions: conditions_of(json.conditions)?,
            to,
            start: json.start.map_or(GroupStart::End, Into::into),
        };
        config.check()?;
        Ok(config)
    }
}

/// How a route is.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Route")]
pub struct RouteInfoJson<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which events, and where to.
    #[serde(flatten)]
    pub config: RouteConfigJson,
    /// `running`, or `failed`: its target takes nothing, until the route is set anew.
    pub state: &'static str,
    /// Where it has failed: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// The first position that it has not led on; of a route to a group the group knows.
    pub position: Option<u64>,
    /// The newest event of the log.
    pub head_position: Option<u64>,
    /// Positions that it has not looked at; of a route to a group, the events that the group has not done.
    pub lag_events: u64,
    /// Links that it has written since it was made.
    pub links: u64,
}

impl<'a> From<&'a RouteInfo> for RouteInfoJson<'a> {
    fn from(info: &'a RouteInfo) -> Self {
        Self {
            name: &info.name,
            config: (&info.config).into(),
            state: info.state.as_str(),
            error: info.error.as_deref().filter(|_| info.state == RouteState::Failed),
            position: info.position.map(Position::get),
            head_position: info.head_position.map(Position::get),
            lag_events: info.lag_events,
            links: info.links,
        }
    }
}

/// What a dry run of a route found.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "DryRun")]
pub struct DryRunJson<'a> {
    /// How many of the events that were looked at it would take.
    pub matched: u64,
    /// How many were looked at: the newest that its filter selects, up to a bound.
    pub looked_at: u64,
    /// The oldest that was looked at.
    pub from_position: Option<u64>,
    /// The newest that match, the newest first.
    pub events: Vec<EventJson<'a>>,
}

impl<'a> From<&'a DryRun> for DryRunJson<'a> {
    fn from(run: &'a DryRun) -> Self {
        Self {
            matched: run.matched,
            looked_at: run.looked_at,
            from_position: run.from_position.map(Position::get),
            events: run.events.iter().map(Into::into).collect(),
        }
    }
}
