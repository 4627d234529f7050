//! Groups that broadcast: each consumer has a group of its own, an ordered one, which is made when that consumer asks
//! first.
//!
//! The group itself keeps what they have in common: what kind they are, where a new one begins, and whether they are
//! paused. It delivers nothing. Whatever is done to it is done to those of its consumers too, and one of these alone is
//! named as `GROUP@CONSUMER`.

use nexus_delivery::coordinator::{self, Ask, Request, Snapshot};
use nexus_engine::Namespace;
use nexus_protocol::group::{
    GroupConfig, GroupInfo, GroupMode, GroupStart, GroupState, LaneInfo, MemberInfo,
    check_consumer, own_group, own_group_parts,
};
use nexus_protocol::{AppendError, Invalid};

use super::Access;
use super::groups::first_position;
use crate::groups::{GROUPS_MAX, Groups, Known};
use crate::parking::block_on;

const ROUTES: &str =
    "routes lead to groups that share events: a group that broadcasts takes what its filter says";

/// What the group of one consumer is.
fn own_config(config: &GroupConfig) -> GroupConfig {
    GroupConfig { mode: GroupMode::Ordered, ..config.clone() }
}

/// Refuses what no group that broadcasts can be.
pub(super) fn check(config: &GroupConfig) -> Result<(), AppendError> {
    let leads = config.only_routes || !config.branches.is_empty();
    match config.mode == GroupMode::Broadcast && leads {
        true => Err(Invalid::Request(ROUTES.to_owned()).into()),
        false => Ok(()),
    }
}

/// Whether it is the group of one consumer.
fn is_own(group: &str) -> bool {
    own_group_parts(group).is_some()
}

impl Access {
    /// The group that has the deliveries of a consumer.
    ///
    /// # Errors
    /// When there is no such group, or it broadcasts and no consumer is named.
    pub(super) async fn group_of(
        &self,
        group: &str,
        consumer: Option<&str>,
    ) -> Result<String, AppendError> {
        if !self.broadcasts(group).await? {
            return Ok(group.to_owned());
        }
        let unnamed = || {
            let why = format!(
                "group {group:?} broadcasts: say whose deliveries these are, with `consumer`"
            );
            AppendError::from(Invalid::Request(why))
        };
        Ok(own_group(group, consumer.ok_or_else(unnamed)?))
    }

    /// The same, of a consumer that asks for deliveries: where it has no group of its own yet, that is made.
    ///
    /// # Errors
    /// When there is no such group, or are as many as may be; as an append's.
    pub(super) async fn joined(&self, group: &str, consumer: &str) -> Result<String, AppendError> {
        check_consumer(consumer)?;
        let own = self.group_of(group, Some(consumer)).await?;
        let groups = self.node.running_groups();
        if own == group || groups.known(&self.namespace, &own).is_some() {
            return Ok(own);
        }
        let shared = self.groups_ask(group, false, Request::Look).await?;
        let config = own_config(&shared.config);
        let store = self.namespace.for_system();
        if !coordinator::is_there(&store, &own).await? {
            check_count(&self.namespace)?;
            let begins = match config.start {
                GroupStart::End => first_position(&self.namespace, GroupStart::End)?,
                _ => shared.stats.floor,
            };
            match coordinator::create(&store, &own, &config, begins).await {
                // Another request of the same consumer made it.
                Ok(_) | Err(AppendError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        // Whoever changed what they have in common may not have come to this one.
        let look = self.groups_ask(&own, false, Request::Look).await?;
        if look.config != config {
            self.groups_ask(&own, config, Request::Configure).await?;
        }
        if look.pause.is_some() != shared.pause.is_some() {
            self.groups_ask(&own, shared.pause, Request::Pause).await?;
        }
        groups.know(&self.namespace, &own, Known::Shared);
        Ok(own)
    }

    /// Whether each event goes to each consumer.
    async fn broadcasts(&self, group: &str) -> Result<bool, AppendError> {
        if is_own(group) {
            return Ok(false);
        }
        let groups = self.node.running_groups();
        if let Some(known) = groups.known(&self.namespace, group) {
            return Ok(known == Known::Broadcast);
        }
        let config = self.groups_ask(group, false, Request::Look).await?.config;
        let known = match config.mode {
            GroupMode::Broadcast => Known::Broadcast,
            GroupMode::Ordered | GroupMode::Unordered => Known::Shared,
        };
        groups.know(&self.namespace, group, known);
        Ok(known == Known::Broadcast)
    }

    /// Refuses what is done with the events of one consumer only.
    ///
    /// # Errors
    /// When the group broadcasts, or is not there.
    pub(super) fn check_one_queue(&self, group: &str) -> Result<(), AppendError> {
        if !block_on(self.broadcasts(group))? {
            return Ok(());
        }
        let why = format!(
            "group {group:?} broadcasts, and each consumer has what it parked itself: name one, as in \
             \"{group}@CONSUMER\""
        );
        Err(Invalid::Request(why).into())
    }

    /// Refuses routes to a group that broadcasts.
    ///
    /// # Errors
    /// When it does, or is not there.
    pub(super) fn check_takes_routes(&self, group: &str) -> Result<(), AppendError> {
        match block_on(self.broadcasts(group))? {
            true => Err(Invalid::Request(ROUTES.to_owned()).into()),
            false => Ok(()),
        }
    }

    /// Asks a group something, and those of its consumers where it broadcasts.
    pub(super) fn ask_all<Q: Clone + Send, T: Send>(
        &self,
        group: &str,
        what: &Q,
        request: fn(Ask<Q, T>) -> Request,
    ) -> Result<T, AppendError> {
        let broadcasts = block_on(self.broadcasts(group))?;
        let answer = self.ask_group(group, what.clone(), request)?;
        if broadcasts {
            for own in Groups::own_of(&self.namespace, group)? {
                match self.ask_group(&own, what.clone(), request) {
                    // It was deleted meanwhile.
                    Ok(_) | Err(AppendError::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(answer)
    }

    /// Changes what a group is, and what those of its consumers are.
    pub(super) fn configure_all(
        &self,
        group: &str,
        config: &GroupConfig,
    ) -> Result<(), AppendError> {
        self.ask_group(group, config.clone(), Request::Configure)?;
        if config.mode != GroupMode::Broadcast {
            return Ok(());
        }
        for own in Groups::own_of(&self.namespace, group)? {
            match self.ask_group(&own, own_config(config), Request::Configure) {
                Ok(()) | Err(AppendError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends a group for good, and those of its consumers. After a crash in between, making it again ends what is left.
    pub(super) fn delete_all(&self, group: &str) -> Result<(), AppendError> {
        let done = self.ask_group(group, (), Request::Delete);
        if matches!(done, Ok(()) | Err(AppendError::NotFound { .. })) {
            self.delete_own(group)?;
        }
        self.node.running_groups().unknow(&self.namespace, group);
        done
    }

    /// Ends the groups of the consumers of a group.
    pub(super) fn delete_own(&self, group: &str) -> Result<(), AppendError> {
        if is_own(group) {
            return Ok(());
        }
        for own in Groups::own_of(&self.namespace, group)? {
            match self.ask_group(&own, (), Request::Delete) {
                Ok(()) | Err(AppendError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How a group that broadcasts is: behind as far as the slowest of its consumers, and with what they have together.
    pub(super) fn look_at_all(
        &self,
        namespace: &Namespace,
        group: &str,
        snapshot: Snapshot,
        with_lanes: bool,
    ) -> Result<(GroupInfo, Vec<LaneInfo>), AppendError> {
        let mut all = idle(group, snapshot, namespace);
        let mut lanes = Vec::new();
        let (mut floor, mut stalled) = (None, false);
        for own in Groups::own_of(namespace, group)? {
            let (of_one, its_lanes) = match self.look(namespace, &own, with_lanes) {
                Ok(looked) => looked,
                Err(AppendError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            floor = Some(floor.unwrap_or(of_one.floor_position).min(of_one.floor_position));
            stalled |= of_one.state == GroupState::Stalled;
            all.lag_events = all.lag_events.max(of_one.lag_events);
            all.lag_seconds = all.lag_seconds.max(of_one.lag_seconds);
            all.in_flight += of_one.in_flight;
            all.ready += of_one.ready;
            all.parked += of_one.parked;
            all.oldest_unacked_ms = all.oldest_unacked_ms.max(of_one.oldest_unacked_ms);
            all.delivered += of_one.delivered;
            all.redelivered += of_one.redelivered;
            let consumer = own_group_parts(&own).map_or(&*own, |(_, consumer)| consumer);
            let in_flight = u32::try_from(of_one.in_flight).unwrap_or(u32::MAX);
            let consumer = consumer.to_owned();
            all.members.push(MemberInfo { consumer, lanes: all.config.lanes, in_flight });
            lanes.extend(its_lanes);
        }
        all.floor_position = floor.unwrap_or(all.floor_position);
        if stalled && all.state == GroupState::Running {
            all.state = GroupState::Stalled;
        }
        Ok((all, lanes))
    }
}

/// How a group that broadcasts is without consumers: nothing of it is to be done.
fn idle(group: &str, snapshot: Snapshot, namespace: &Namespace) -> GroupInfo {
    let state = if snapshot.stats.paused { GroupState::Paused } else { GroupState::Running };
    GroupInfo {
        name: group.to_owned(),
        config: snapshot.config,
        state,
        pause: snapshot.pause,
        floor_position: snapshot.stats.floor,
        head_position: namespace.head().position,
        lag_events: 0,
        lag_seconds: 0.0,
        in_flight: 0,
        ready: 0,
        parked: 0,
        oldest_unacked_ms: None,
        delivered: 0,
        redelivered: 0,
        members: Vec::new(),
    }
}

/// Refuses one group more than may be, those of consumers counted.
///
/// # Errors
/// When there are [`GROUPS_MAX`] already.
pub(super) fn check_count(namespace: &Namespace) -> Result<(), AppendError> {
    if Groups::all(namespace)?.len() < GROUPS_MAX {
        return Ok(());
    }
    let why = format!(
        "there are {GROUPS_MAX} groups already, those of consumers of groups that broadcast included: delete one first"
    );
    Err(Invalid::Request(why).into())
}
