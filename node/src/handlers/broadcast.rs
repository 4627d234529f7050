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
use nexus_protocol::limits::BROADCAST_CONSUMERS_MAX;
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
    /// When there is no such group, or it broadcasts and no consumer is named, or it is the own one of another.
    pub(super) async fn group_of(
        &self,
        group: &str,
        consumer: Option<&str>,
    ) -> Result<String, AppendError> {
        let whose = |why| AppendError::from(Invalid::Request(why));
        if let Some((_, own)) = own_group_parts(group) {
            return match consumer.is_none_or(|consumer| consumer == own) {
                true => Ok(group.to_owned()),
                false => Err(whose(format!("group {group:?} is that of consumer {own:?} alone"))),
            };
        }
        if !self.broadcasts(group).await? {
            return Ok(group.to_owned());
        }
        let unnamed = || {
            whose(format!(
                "group {group:?} broadcasts: say whose deliveries these are, with `consumer`"
            ))
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
        let _changing = groups.changing(&self.namespace, group).await;
        let since = groups.changes();
        let shared = self.groups_ask(group, false, Request::Look).await?;
        if shared.config.mode != GroupMode::Broadcast {
            // It is another one of this name.
            groups.unknow(&self.namespace, group);
            return Ok(group.to_owned());
        }
        let config = own_config(&shared.config);
        let store = self.namespace.for_system();
        // Until it is open, and counts.
        let mut making = None;
        if !coordinator::is_there(&store, &own).await? {
            making = Some(groups.changing(&self.namespace, "").await);
            self.check_consumers(group)?;
            let begins = match config.start {
                GroupStart::End => first_position(&self.namespace, GroupStart::End)?,
                _ => shared.stats.floor,
            };
            coordinator::create(&store, &own, &config, begins).await?;
        }
        // Where a change of what they have in common was broken off, it did not come to this one.
        let look = self.groups_ask(&own, false, Request::Look).await?;
        drop(making);
        if look.config != config {
            self.groups_ask(&own, config, Request::Configure).await?;
        }
        // Never the other way: this one may be paused alone.
        if shared.pause.is_some() && look.pause.is_none() {
            self.groups_ask(&own, shared.pause, Request::Pause).await?;
        }
        groups.know(&self.namespace, &own, Known::Shared, since);
        Ok(own)
    }

    /// Refuses one consumer more than a group that broadcasts may have.
    fn check_consumers(&self, group: &str) -> Result<(), AppendError> {
        let groups = self.node.running_groups();
        let (all, own) = ("", own_group(group, ""));
        for (prefix, max) in [(all, GROUPS_MAX), (&*own, BROADCAST_CONSUMERS_MAX)] {
            if groups.count_open(&self.namespace, prefix) >= max {
                let why = format!(
                    "group {group:?} broadcasts, and there are {max} {} already: delete those that will not come \
                     back, as `GROUP@CONSUMER`",
                    if prefix.is_empty() { "groups in the namespace" } else { "consumers of it" }
                );
                return Err(Invalid::Request(why).into());
            }
        }
        Ok(())
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
        let since = groups.changes();
        let broadcasts = self.asked_whether(group).await?;
        let known = if broadcasts { Known::Broadcast } else { Known::Shared };
        groups.know(&self.namespace, group, known, since);
        Ok(broadcasts)
    }

    async fn asked_whether(&self, group: &str) -> Result<bool, AppendError> {
        let config = self.groups_ask(group, false, Request::Look).await?.config;
        Ok(config.mode == GroupMode::Broadcast)
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

    /// Asks a group something; where it broadcasts, those of its consumers first: what is broken off in between is not
    /// done, and is asked for again. One of them that fails keeps it from none of the others.
    pub(super) fn ask_all<Q: Clone + Send, T: Send>(
        &self,
        group: &str,
        what: &Q,
        request: fn(Ask<Q, T>) -> Request,
    ) -> Result<T, AppendError> {
        let groups = self.node.running_groups();
        let _changing = block_on(groups.changing(&self.namespace, group));
        if !is_own(group) && block_on(self.asked_whether(group))? {
            self.ask_own(group, what, request)?;
        }
        self.ask_group(group, what.clone(), request)
    }

    /// Asks those of all its consumers.
    fn ask_own<Q: Clone + Send, T: Send>(
        &self,
        group: &str,
        what: &Q,
        request: fn(Ask<Q, T>) -> Request,
    ) -> Result<(), AppendError> {
        let mut failed = None;
        for own in Groups::own_of(&self.namespace, group)? {
            match self.ask_group(&own, what.clone(), request) {
                Ok(_) | Err(AppendError::NotFound { .. }) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Changes what a group is; to be called while nothing else changes groups. Its own first, so that what it cannot be is
    /// refused before it comes to those of its consumers.
    pub(super) fn configure_all(
        &self,
        group: &str,
        config: &GroupConfig,
    ) -> Result<(), AppendError> {
        self.ask_group(group, config.clone(), Request::Configure)?;
        match config.mode {
            GroupMode::Broadcast => self.ask_own(group, &own_config(config), Request::Configure),
            GroupMode::Ordered | GroupMode::Unordered => Ok(()),
        }
    }

    /// Ends a group for good; of one that broadcasts, those of its consumers first.
    pub(super) fn delete_all(&self, group: &str) -> Result<(), AppendError> {
        let done = self.ask_all(group, &(), Request::Delete);
        self.node.running_groups().unknow(&self.namespace, group);
        done
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
