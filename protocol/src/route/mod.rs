//! The words of routes: which events, where to, and how one is.
//!
//! A route leads the events that its filter and its conditions take to a stream, as *links*, or to a group, of which it
//! is a branch then: nothing is written for it.

mod condition;
mod link;

pub use self::condition::{Condition, Operator, all_hold, check_conditions};
pub use self::link::{LINK, Link, hops_of};

use std::fmt;
use std::str::FromStr;

use crate::error::Invalid;
use crate::filter::{Filter, FilterItem};
use crate::group::{GroupStart, check_group_name};
use crate::ids::Position;
use crate::limits::ROUTE_NAME_BYTES_MAX;
use crate::names::{self, InvalidName, NameProblem};
use crate::record::RecordedEvent;

/// How the streams are called in which routes to streams keep where they are: this, and the name of the route.
pub const ROUTE_PREFIX: &str = "$route-";

/// Where a route leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// A stream, which gets a link to each event.
    Stream(String),
    /// A group, which gets the events themselves.
    Group(String),
}

/// Which events a route takes, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Which events; of these the ones that fulfil all conditions.
    pub filter: Filter,
    /// What they have to fulfil.
    pub conditions: Vec<Condition>,
    /// Where to.
    pub to: RouteTarget,
    /// Where a route to a stream begins when it is made. One to a group begins where the group is.
    pub start: GroupStart,
}

/// A route that leads to a group, as that one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The route's name.
    pub name: String,
    /// Which events; of these the ones that fulfil all conditions.
    pub filter: Filter,
    /// What they have to fulfil.
    pub conditions: Vec<Condition>,
}

/// Whether a route leads anything on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// It does.
    Running,
    /// Its target takes nothing: it goes on when it is set anew.
    Failed,
}

/// How a route is.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteInfo {
    /// Its name.
    pub name: String,
    /// Which events, and where to.
    pub config: RouteConfig,
    /// Whether it leads anything on.
    pub state: RouteState,
    /// Where it has failed: why.
    pub error: Option<String>,
    /// The first position that it has not led on; `None`: it leads to a group, which knows.
    pub position: Option<Position>,
    /// The newest event of the log; `None`: there is none.
    pub head_position: Option<Position>,
    /// Positions that it has not looked at; of a route to a group, the events that the group has not done.
    pub lag_events: u64,
    /// Links that it has written since it was made.
    pub links: u64,
}

/// What a dry run of a route found.
#[derive(Clone, Debug, PartialEq)]
pub struct DryRun {
    /// How many of the events that were looked at it would take.
    pub matched: u64,
    /// How many were looked at: the newest that its filter selects, up to a bound.
    pub looked_at: u64,
    /// The oldest that was looked at.
    pub from_position: Option<Position>,
    /// The newest that match, by descending position.
    pub events: Vec<RecordedEvent>,
}

impl RouteState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(stream) => write!(f, "stream:{stream}"),
            Self::Group(group) => write!(f, "group:{group}"),
        }
    }
}

impl FromStr for RouteTarget {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some(stream) = text.strip_prefix("stream:") {
            Ok(Self::Stream(stream.to_owned()))
        } else if let Some(group) = text.strip_prefix("group:") {
            Ok(Self::Group(group.to_owned()))
        } else {
            let why = "a route leads to `stream:NAME` or to `group:NAME`";
            Err(Invalid::Request(why.to_owned()))
        }
    }
}

/// Checks the name of a route: made as those of groups.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_route_name(name: &str) -> Result<(), InvalidName> {
    names::check("route name", name, ROUTE_NAME_BYTES_MAX)?;
    check_group_name(name).map_err(|_| names::invalid("route name", name, NameProblem::NotGroup))
}

impl RouteConfig {
    /// Refuses what no route can be.
    ///
    /// # Errors
    /// What is out of its bounds, a target that is none, and what would feed itself.
    pub fn check(&self) -> Result<(), Invalid> {
        self.filter.check()?;
        if self.filter.names_system() {
            let why = "a route leads events of users on: its filter names streams of the system";
            return Err(Invalid::Request(why.to_owned()));
        }
        check_conditions(&self.conditions)?;
        match &self.to {
            RouteTarget::Group(_) if self.start != GroupStart::End => {
                let why = "a route to a group begins where the group is: leave `start` out, or seek the group";
                Err(Invalid::Request(why.to_owned()))
            }
            RouteTarget::Group(group) => Ok(check_group_name(group)?),
            RouteTarget::Stream(stream) if names::is_system(stream) => Err(Invalid::Request(
                format!("a route leads to a user's stream, and {stream:?} is one of the system's"),
            )),
            RouteTarget::Stream(stream) => {
                names::check_stream_name(stream)?;
                if self.conditions.is_empty() && self.feeds(stream) {
                    let why = format!(
                        "the filter takes what the route writes into {stream:?}: name the streams, categories, or \
                         types that it is for"
                    );
                    return Err(Invalid::Request(why));
                }
                Ok(())
            }
        }
    }

    /// Whether the filter takes a link in this stream. Links have the tags of what they lead to.
    fn feeds(&self, stream: &str) -> bool {
        let takes = |item: &FilterItem| {
            let one =
                |list: &[String], value: &str| list.is_empty() || list.iter().any(|it| it == value);
            one(&item.types, LINK)
                && one(&item.streams, stream)
                && one(&item.categories, names::category(stream))
                && (item.stream_prefix.is_empty()
                    || item.stream_prefix.iter().any(|it| stream.starts_with(it.as_str())))
        };
        self.filter.is_all() || self.filter.alternatives().iter().any(takes)
    }

    /// Whether the route takes an event. One of the system's it takes where the filter names its stream.
    pub fn takes(&self, event: &RecordedEvent) -> bool {
        self.filter.selects(event, false) && all_hold(&self.conditions, event)
    }
}

impl Branch {
    /// Whether the group gets an event by it.
    pub fn takes(&self, event: &RecordedEvent) -> bool {
        self.filter.selects(event, false) && all_hold(&self.conditions, event)
    }
}
