//! [`Holder`]: whose events are parked, a group's or a projection's.

use std::fmt;

use nexus_protocol::Position;
use nexus_protocol::group::{ParkedList, ParkedPage, ParkedPick};

use crate::exit::Failure;
use crate::store::Remote;

/// What begins the source of a group.
const GROUP: &str = "group:";
/// The same of a projection.
const PROJECTION: &str = "projection:";

/// Whose events are parked.
#[derive(Clone, Debug)]
pub(super) enum Holder {
    /// Those of the group of this name.
    Group(String),
    /// Those of the projection of this name.
    Projection(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "{GROUP}{name}"),
            Self::Projection(name) => write!(f, "{PROJECTION}{name}"),
        }
    }
}

fn no_lanes<T>() -> Result<T, Failure> {
    Err(Failure::usage("projections have no lanes: name a --key"))
}

impl Holder {
    /// What a source names, if it is one of these.
    pub(super) fn of(source: &str) -> Option<Self> {
        let of = |prefix| source.strip_prefix(prefix).filter(|name| !name.is_empty());
        let group = of(GROUP).map(|name| Self::Group(name.to_owned()));
        group.or_else(|| of(PROJECTION).map(|name| Self::Projection(name.to_owned())))
    }

    /// Whether its entries have lanes.
    pub(super) fn has_lanes(&self) -> bool {
        matches!(self, Self::Group(_))
    }

    /// Lists some entries.
    pub(super) fn parked(&self, remote: &Remote, list: &ParkedList) -> Result<ParkedPage, Failure> {
        let client = &remote.client;
        Ok(match self {
            Self::Group(name) => remote.wait(client.parked(name, list))?,
            Self::Projection(_) if list.lane.is_some() => no_lanes()?,
            Self::Projection(name) => remote.wait(client.parked_of_projection(name, list))?,
        })
    }

    /// Lets entries have another try.
    pub(super) fn replay(
        &self,
        remote: &Remote,
        pick: ParkedPick,
        rate: Option<u32>,
    ) -> Result<u64, Failure> {
        let client = &remote.client;
        Ok(match (self, rate) {
            (Self::Group(name), None) => remote.wait(client.replay_parked(name, pick))?,
            (Self::Group(name), Some(rate)) => {
                remote.wait(client.replay_parked_slowly(name, pick, rate))?
            }
            (Self::Projection(_), Some(_)) => {
                return Err(Failure::usage("projections have no rate: leave out --rate"));
            }
            (Self::Projection(_), None) if matches!(pick, ParkedPick::Lane(_)) => no_lanes()?,
            (Self::Projection(name), None) => {
                remote.wait(client.replay_parked_of_projection(name, pick))?
            }
        })
    }

    /// Gives entries up.
    pub(super) fn skip(&self, remote: &Remote, pick: ParkedPick) -> Result<u64, Failure> {
        let client = &remote.client;
        Ok(match self {
            Self::Group(name) => remote.wait(client.skip_parked(name, pick))?,
            Self::Projection(_) if matches!(pick, ParkedPick::Lane(_)) => no_lanes()?,
            Self::Projection(name) => remote.wait(client.skip_parked_of_projection(name, pick))?,
        })
    }

    /// Gives an entry other data.
    pub(super) fn edit(
        &self,
        remote: &Remote,
        at: Position,
        data: Vec<u8>,
    ) -> Result<Position, Failure> {
        let (client, data) = (&remote.client, data.into());
        Ok(match self {
            Self::Group(name) => remote.wait(client.edit_parked(name, at, data))?,
            Self::Projection(name) => {
                remote.wait(client.edit_parked_of_projection(name, at, data))?
            }
        })
    }
}
