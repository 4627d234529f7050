//! Groups behind a server, and which timers there are.

use bytes::Bytes;
use nexus_protocol::group::{
    GroupConfig, GroupInfo, GroupStart, LaneInfo, ParkedList, ParkedPage, ParkedPick,
};
use nexus_protocol::timer::{TimerList, TimerState};
use nexus_protocol::wire::{Answer, GroupAsk, Operation, PROTOCOL_LANES_LAG, WireError};
use nexus_protocol::{AppendError, Invalid, Position, Unavailable};

use crate::ask::{protocol, unread};
use crate::remote::Remote;

fn another() -> AppendError {
    unread(protocol("another answer"))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn malformed(why: WireError) -> AppendError {
    unread(protocol(&why.to_string()))
}

impl Remote {
    pub(crate) async fn timer_ids(
        &self,
        list: TimerList,
    ) -> Result<(Vec<String>, bool), AppendError> {
        let TimerList { state, after, limit } = list;
        let failed = match state {
            TimerState::Armed => false,
            TimerState::Failed => true,
            TimerState::Fired => {
                let why = "timers that have fired are not listed: read their streams, `$timer-ID`";
                return Err(Invalid::Request(why.to_owned()).into());
            }
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        match self.ask_twice(Operation::Timers { failed, after, limit }).await?.0 {
            Answer::Timers { ids, more } => Ok((ids, more)),
            _ => Err(another()),
        }
    }

    async fn change_it(&self, group: &str, ask: GroupAsk) -> Result<(), AppendError> {
        match self.change_group(group, ask, Bytes::new()).await? {
            Answer::Done => Ok(()),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn set_group(
        &self,
        name: &str,
        config: &GroupConfig,
    ) -> Result<bool, AppendError> {
        match self.change_group(name, GroupAsk::Set(config.into()), Bytes::new()).await? {
            Answer::GroupSet { made } => Ok(made),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn groups(&self) -> Result<Vec<String>, AppendError> {
        match self.ask_group("", GroupAsk::Names).await? {
            Answer::Groups(names) => Ok(names),
            _ => Err(another()),
        }
    }

    pub(crate) async fn group(&self, name: &str) -> Result<GroupInfo, AppendError> {
        match self.ask_group(name, GroupAsk::Info).await? {
            Answer::Group(head) => (*head).try_into().map_err(malformed),
            _ => Err(another()),
        }
    }

    pub(crate) async fn group_lanes(
        &self,
        name: &str,
    ) -> Result<(GroupInfo, Vec<LaneInfo>), AppendError> {
        let asked = match self.ask_group(name, GroupAsk::LanesAndLag).await {
            // An older server is not asked so much.
            Err(AppendError::Unavailable(Unavailable::NotReachable(_)))
                if self.version() < PROTOCOL_LANES_LAG =>
            {
                self.ask_group(name, GroupAsk::Lanes).await
            }
            asked => asked,
        };
        match asked? {
            Answer::GroupLag(head) => (*head).try_into().map_err(malformed),
            Answer::GroupLanes(head) => (*head).try_into().map_err(malformed),
            _ => Err(another()),
        }
    }

    pub(crate) async fn delete_group(&self, name: &str) -> Result<(), AppendError> {
        self.change_it(name, GroupAsk::Delete).await
    }

    pub(crate) async fn pause_group(&self, name: &str, reason: &str) -> Result<(), AppendError> {
        self.change_it(name, GroupAsk::Pause { reason: reason.to_owned() }).await
    }

    pub(crate) async fn resume_group(&self, name: &str) -> Result<(), AppendError> {
        self.change_it(name, GroupAsk::Resume).await
    }

    pub(crate) async fn seek_group(
        &self,
        name: &str,
        to: GroupStart,
    ) -> Result<Position, AppendError> {
        match self.change_group(name, GroupAsk::Seek(to.into()), Bytes::new()).await? {
            Answer::Position(position) => Ok(Position::new(position)),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn parked(
        &self,
        group: &str,
        list: &ParkedList,
    ) -> Result<ParkedPage, AppendError> {
        match self.ask_group(group, GroupAsk::parked(list)).await? {
            Answer::Parked(page) => Ok(page.into()),
            _ => Err(another()),
        }
    }

    pub(crate) async fn replay_parked(
        &self,
        group: &str,
        pick: ParkedPick,
        rate_per_s: Option<u32>,
    ) -> Result<u64, AppendError> {
        self.decide(group, GroupAsk::Replay { pick: (&pick).into(), rate_per_s }).await
    }

    pub(crate) async fn skip_parked(
        &self,
        group: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        self.decide(group, GroupAsk::Skip((&pick).into())).await
    }

    async fn decide(&self, group: &str, ask: GroupAsk) -> Result<u64, AppendError> {
        match self.change_group(group, ask, Bytes::new()).await? {
            Answer::Count(count) => Ok(count),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn edit_parked(
        &self,
        group: &str,
        at: Position,
        data: Bytes,
    ) -> Result<Position, AppendError> {
        match self.change_group(group, GroupAsk::Edit { position: at.get() }, data).await? {
            Answer::Position(position) => Ok(Position::new(position)),
            _ => Err(AppendError::Unknown),
        }
    }
}
