//! Routes on the wire.

use rkyv::{Archive, Deserialize, Serialize};

use super::WireError;
use super::group::GroupStartHead;
use super::request::{FilterItemHead, filter_head, filter_of};
use crate::ids::Position;
use crate::record::{RecordedEvent, record_length};
use crate::route::{
    Branch, Condition, DryRun, Operator, RouteConfig, RouteInfo, RouteState, RouteTarget,
};

/// What is asked of a route.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum RouteAsk {
    /// To be made, or to take other events from now on.
    Set(RouteConfigHead),
    /// The names of all routes of the namespace.
    Names,
    /// How it is.
    Info,
    /// To end for good.
    Delete,
    /// What it would take; of a route that is not made yet with its configuration.
    DryRun {
        /// Which events; `None`: as the route that is there.
        config: Option<RouteConfigHead>,
        /// So many events are shown, at most.
        limit: u32,
    },
}

/// A comparison: [`Condition`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct ConditionHead {
    path: String,
    op: String,
    /// As JSON.
    value: String,
}

fn condition_heads(conditions: &[Condition]) -> Vec<ConditionHead> {
    let head = |condition: &Condition| ConditionHead {
        path: condition.path().to_owned(),
        op: condition.op().to_string(),
        value: condition.value().to_string(),
    };
    conditions.iter().map(head).collect()
}

fn conditions_of(heads: Vec<ConditionHead>) -> Result<Vec<Condition>, WireError> {
    let one = |head: ConditionHead| {
        let op: Operator = head.op.parse().map_err(WireError::malformed)?;
        let value = serde_json::from_str(&head.value).map_err(WireError::malformed)?;
        Condition::new(head.path, op, value).map_err(WireError::malformed)
    };
    heads.into_iter().map(one).collect()
}

/// A route that leads to a group: [`Branch`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct BranchHead {
    name: String,
    filter: Vec<FilterItemHead>,
    conditions: Vec<ConditionHead>,
}

impl From<&Branch> for BranchHead {
    fn from(branch: &Branch) -> Self {
        Self {
            name: branch.name.clone(),
            filter: filter_head(&branch.filter),
            conditions: condition_heads(&branch.conditions),
        }
    }
}

impl TryFrom<BranchHead> for Branch {
    type Error = WireError;

    fn try_from(head: BranchHead) -> Result<Self, WireError> {
        let conditions = conditions_of(head.conditions)?;
        Ok(Self { name: head.name, filter: filter_of(head.filter), conditions })
    }
}

/// Which events a route takes, and where to: [`RouteConfig`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct RouteConfigHead {
    filter: Vec<FilterItemHead>,
    conditions: Vec<ConditionHead>,
    /// As it is written.
    to: String,
    start: GroupStartHead,
}

impl From<&RouteConfig> for RouteConfigHead {
    fn from(config: &RouteConfig) -> Self {
        Self {
            filter: filter_head(&config.filter),
            conditions: condition_heads(&config.conditions),
            to: config.to.to_string(),
            start: config.start.into(),
        }
    }
}

impl TryFrom<RouteConfigHead> for RouteConfig {
    type Error = WireError;

    fn try_from(head: RouteConfigHead) -> Result<Self, WireError> {
        Ok(Self {
            filter: filter_of(head.filter),
            conditions: conditions_of(head.conditions)?,
            to: head.to.parse::<RouteTarget>().map_err(WireError::malformed)?,
            start: head.start.into(),
        })
    }
}

/// How a route is: [`RouteInfo`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct RouteHead {
    name: String,
    config: RouteConfigHead,
    failed: bool,
    error: Option<String>,
    position: Option<u64>,
    head_position: Option<u64>,
    lag_events: u64,
    links: u64,
}

impl From<&RouteInfo> for RouteHead {
    fn from(info: &RouteInfo) -> Self {
        Self {
            name: info.name.clone(),
            config: (&info.config).into(),
            failed: info.state == RouteState::Failed,
            error: info.error.clone(),
            position: info.position.map(Position::get),
            head_position: info.head_position.map(Position::get),
            lag_events: info.lag_events,
            links: info.links,
        }
    }
}

impl TryFrom<RouteHead> for RouteInfo {
    type Error = WireError;

    fn try_from(head: RouteHead) -> Result<Self, WireError> {
        Ok(Self {
            name: head.name,
            config: head.config.try_into()?,
            state: if head.failed { RouteState::Failed } else { RouteState::Running },
            error: head.error,
            position: head.position.map(Position::new),
            head_position: head.head_position.map(Position::new),
            lag_events: head.lag_events,
            links: head.links,
        })
    }
}

/// What a dry run found, but for the events: [`DryRun`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DryRunHead {
    matched: u64,
    looked_at: u64,
    from_position: Option<u64>,
}

impl From<&DryRun> for DryRunHead {
    fn from(run: &DryRun) -> Self {
        Self {
            matched: run.matched,
            looked_at: run.looked_at,
            from_position: run.from_position.map(Position::get),
        }
    }
}

impl DryRunHead {
    /// The records of the events that are shown, one behind the other.
    pub fn payload_of(run: &DryRun) -> Vec<u8> {
        run.events.iter().flat_map(|event| event.as_bytes().iter().copied()).collect()
    }

    /// With the events from the payload.
    ///
    /// # Errors
    /// A payload that is no records.
    pub fn with_events(self, mut payload: bytes::Bytes) -> Result<DryRun, WireError> {
        let mut events = Vec::new();
        while !payload.is_empty() {
            let length = record_length(&payload).map_err(WireError::malformed)?;
            if length == 0 || length > payload.len() {
                return Err(WireError::malformed("a record that is longer than its packet"));
            }
            let record = payload.split_to(length);
            events.push(RecordedEvent::decode(record).map_err(WireError::malformed)?);
        }
        Ok(DryRun {
            matched: self.matched,
            looked_at: self.looked_at,
            from_position: self.from_position.map(Position::new),
            events,
        })
    }
}
