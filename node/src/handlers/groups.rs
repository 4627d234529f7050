//! To make, see, and change groups.

use std::time::Duration;

use nexus_delivery::coordinator::{self, Ask, PickDone, Request, Snapshot};
use nexus_engine::Namespace;
use nexus_protocol::group::{
    GroupConfig, GroupInfo, GroupMode, GroupStart, GroupState, InvalidGroup, LaneInfo,
    PARKED_PREFIX, ParkedList, ParkedPage, ParkedPick, PauseInfo, check_group, check_group_name,
};
use nexus_protocol::json::GroupConfigJson;
pub use nexus_protocol::limits::PARKED_PAGE_MAX;
use nexus_protocol::limits::PARKED_RATE_MAX;
use nexus_protocol::record::Instead;
use nexus_protocol::{
    Append, AppendError, CausationId, EventData, Invalid, Position, Read, ReadError, RecordedEvent,
    Timestamp,
};
use serde_json::json;

use super::{Access, broadcast};
use crate::audit::Audited;
use crate::groups::{GROUPS_MAX, Groups};
use crate::guard::About;
use crate::parking::block_on;
use crate::telemetry::{Coded, Operation};

/// The type of events that hold the data of edited ones.
const EDITED: &str = "$ParkedEdited";
const BRANCHES_ARE_ROUTES: &str =
    "the routes that lead to a group are set as routes: leave `branches` out";
/// Events that are looked at to say how far behind a group is.
const COUNTED_MAX: u32 = 10_000;
/// Lanes of which it is looked up how long they are behind: each costs a read.
const LAGS_MAX: usize = 10_000;
/// Bytes of the reason for a pause that are kept.
const REASON_BYTES_MAX: usize = 1_024;

impl Access {
    /// Makes a group, or changes one that is there; `true`: it was made. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage groups; `Invalid` of a name that is none, of a configuration that no group can
    /// have or this one not any more, and where there are [`GROUPS_MAX`] groups already; as an append's.
    pub fn set_group(&self, name: &str, config: &GroupConfig) -> Result<bool, AppendError> {
        let details = serde_json::to_value(GroupConfigJson::from(config)).unwrap_or_default();
        self.change_group(Operation::SetGroup, name, Some(details), |namespace| {
            config.check().map_err(Invalid::from)?;
            check_group_name(name)?;
            broadcast::check(config)?;
            let groups = self.node.running_groups();
            let _changing = block_on(groups.changing(namespace, name));
            let store = namespace.for_system();
            if block_on(coordinator::is_there(&store, name))? {
                return self.configure_all(name, config).map(|()| false);
            }
            if !config.branches.is_empty() {
                return Err(Invalid::Request(BRANCHES_ARE_ROUTES.to_owned()).into());
            }
            let _making = block_on(groups.changing(namespace, ""));
            if Groups::all(namespace)?.len() >= GROUPS_MAX {
                let why = format!(
                    "there are {GROUPS_MAX} groups already, those of consumers of groups that broadcast included: \
                     delete one first"
                );
                return Err(Invalid::Request(why).into());
            }
            let begins = first_position(namespace, config.start)?;
            let made = block_on(coordinator::create(&store, name, config, begins));
            groups.unknow(namespace, name);
            made
        })
    }

    /// The names of all groups, sorted.
    ///
    /// # Errors
    /// When the principal may not inspect.
    pub fn groups(&self) -> Result<Vec<String>, AppendError> {
        self.observe(Operation::Groups, About::default(), Groups::names)
    }

    /// How a group is. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such group.
    pub fn group(&self, name: &str) -> Result<GroupInfo, AppendError> {
        self.observe(Operation::Group, About::group(name), |namespace| {
            self.look(namespace, name, false).map(|(info, _)| info)
        })
    }

    /// How a group is, with the lanes that have something to do. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such group.
    pub fn group_lanes(&self, name: &str) -> Result<(GroupInfo, Vec<LaneInfo>), AppendError> {
        self.observe(Operation::Group, About::group(name), |namespace| {
            self.look(namespace, name, true)
        })
    }

    pub(super) fn look(
        &self,
        namespace: &Namespace,
        name: &str,
        with_lanes: bool,
    ) -> Result<(GroupInfo, Vec<LaneInfo>), AppendError> {
        let mut snapshot = self.ask_group(name, with_lanes, Request::Look)?;
        if snapshot.config.mode == GroupMode::Broadcast {
            return self.look_at_all(namespace, name, snapshot, with_lanes);
        }
        let (mut lanes, now) = (std::mem::take(&mut snapshot.lanes), snapshot.now);
        for lane in lanes.iter_mut().filter(|lane| lane.open > 0).take(LAGS_MAX) {
            // One that is damaged hides the others from nobody who looks.
            let first = event_at(namespace, lane.first).ok().flatten();
            lane.lag = first.map(|event| now.since(event.recorded_at()));
        }
        info(namespace, name, snapshot).map(|info| (info, lanes))
    }

    /// Deletes a group, and what it has parked. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage groups, or there is no such group; as an append's.
    pub fn delete_group(&self, name: &str) -> Result<(), AppendError> {
        self.change_group(Operation::DeleteGroup, name, None, |_| self.delete_all(name))
    }

    /// Lets a group deliver nothing until it is resumed. What is with consumers may be answered. Blocks until that is
    /// durable.
    ///
    /// # Errors
    /// When the principal may not manage groups, or there is no such group; as an append's.
    pub fn pause_group(&self, name: &str, reason: &str) -> Result<(), AppendError> {
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
        let details = Some(json!({ "reason": reason }));
        self.change_group(Operation::PauseGroup, name, details, |_| {
            let at = self.ask_group(name, false, Request::Look)?.now;
            let (by, reason) = (self.principal().id.clone(), reason.to_owned());
            let pause = PauseInfo { by, reason, position: None, at };
            self.ask_all(name, &Some(pause), Request::Pause)
        })
    }

    /// Lets a group go on. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage groups, or there is no such group; as an append's.
    pub fn resume_group(&self, name: &str) -> Result<(), AppendError> {
        self.change_group(Operation::ResumeGroup, name, None, |_| {
            self.ask_all(name, &None, Request::Pause)
        })
    }

    /// Lets a group go on from another place, whatever it has done. What is parked stays so. Blocks until that is
    /// durable.
    ///
    /// # Errors
    /// When the principal may not manage groups, or there is no such group; as an append's.
    pub fn seek_group(&self, name: &str, to: GroupStart) -> Result<Position, AppendError> {
        let details = Some(json!({ "to": nexus_protocol::json::GroupStartJson::from(to) }));
        self.change_group(Operation::SeekGroup, name, details, |namespace| {
            let position = first_position(namespace, to)?;
            self.ask_all(name, &position, Request::Seek).map(|()| position)
        })
    }

    /// What a group has parked, at most [`PARKED_PAGE_MAX`] entries. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such group.
    pub fn parked(&self, group: &str, list: &ParkedList) -> Result<ParkedPage, AppendError> {
        self.observe(Operation::Parked, About::group(group), |namespace| {
            self.check_one_queue(group)?;
            list.check()?;
            let limit = list.limit.min(PARKED_PAGE_MAX);
            let list = ParkedList { limit, ..list.clone() };
            let listed = self.ask_group(group, list, Request::Parked)?;
            let mut entries = listed.entries;
            for entry in &mut entries {
                let event = event_at(namespace, entry.position)?;
                entry.event = event.map(|it| (it.stream().to_owned(), it.event_type().to_owned()));
            }
            let last = entries.last().map(|entry| entry.position);
            Ok(ParkedPage { next: last.filter(|_| listed.more), entries })
        })
    }

    /// Lets what is parked be delivered again, each with as many tries as at first, and at once what waits for its time;
    /// so many a second at most. Gives how many entries there were. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage groups, or there is no such group, or the rate is not from 1 to
    /// [`PARKED_RATE_MAX`]; as an append's.
    pub fn replay_parked(
        &self,
        group: &str,
        pick: ParkedPick,
        rate_per_s: Option<u32>,
    ) -> Result<u64, AppendError> {
        let every = match rate_per_s {
            None => Duration::ZERO,
            Some(rate) if (1..=PARKED_RATE_MAX).contains(&rate) => Duration::from_secs(1) / rate,
            Some(_) => return Err(Invalid::from(InvalidGroup::Rate).into()),
        };
        let request = |Ask { what, reply }| Request::Replay(Ask { what: (what, every), reply });
        self.decide(Operation::ReplayParked, group, (pick, rate_per_s), request)
    }

    /// Gives up what is parked: it is done with. Gives how many entries there were. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage groups, or there is no such group; as an append's.
    pub fn skip_parked(&self, group: &str, pick: ParkedPick) -> Result<u64, AppendError> {
        self.decide(Operation::SkipParked, group, (pick, None), Request::Discard)
    }

    fn decide(
        &self,
        operation: Operation,
        group: &str,
        (pick, rate_per_s): (ParkedPick, Option<u32>),
        request: impl FnOnce(Ask<ParkedPick, PickDone>) -> Request + Send,
    ) -> Result<u64, AppendError> {
        let mut details = match &pick {
            ParkedPick::All => json!({ "all": true }),
            ParkedPick::Lane(lane) => json!({ "lane": lane }),
            // What no key can be is refused below, and not kept.
            ParkedPick::Key(_) if pick.check().is_err() => json!({ "key": null }),
            ParkedPick::Key(key) => json!({ "key": key }),
            ParkedPick::Positions(positions) => {
                let some: Vec<_> = positions.iter().take(16).map(|it| it.get()).collect();
                json!({ "count": positions.len(), "ids": some })
            }
        };
        if let Some(rate) = rate_per_s {
            details["rate_per_s"] = rate.into();
        }
        self.change_group(operation, group, Some(details), |_| {
            pick.check()?;
            self.check_one_queue(group)?;
            self.ask_group(group, pick, request).map(|done| done.count)
        })
    }

    /// Lets what is parked at a position be delivered again with other data. The event in the log stays as it is: the
    /// new data are an event of a stream of the system's, and whoever gets the delivery sees the old event with
    /// them. Gives where that stands. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage groups, or there is no such group, or nothing that failed is parked there; as
    /// an append's.
    pub fn edit_parked(
        &self,
        group: &str,
        position: Position,
        data: bytes::Bytes,
    ) -> Result<Position, AppendError> {
        let details = Some(json!({ "id": position.get(), "bytes": data.len() }));
        self.change_group(Operation::EditParked, group, details, |namespace| {
            let nothing = || {
                let what = format!("entry {position} of group {group:?}, or nothing of it failed");
                AppendError::NotFound { what }
            };
            self.check_one_queue(group)?;
            let list = ParkedList { after: before(position), limit: 1, ..ParkedList::default() };
            let listed = self.ask_group(group, list, Request::Parked)?.entries;
            if listed.first().is_none_or(|entry| entry.position != position) {
                return Err(nothing());
            }
            let event = event_at(namespace, position)?.ok_or_else(nothing)?;
            let mut edited = EventData::new(EDITED, event.content_type(), data);
            edited.causation_id = Some(CausationId::from_bytes(*event.id().as_bytes()));
            namespace.of_client(
                "",
                Append::to(event.stream()).event(EventData {
                    event_type: event.event_type().to_owned(),
                    ..edited.clone()
                }),
            )?;
            let schemas = self.node.schemas();
            let (registry, wide) = (schemas.registry(namespace)?, schemas.wide()?);
            let (media_type, data) = (edited.content_type.as_str(), &edited.data);
            let follows = registry.check_edited(&event, media_type, data, &wide);
            follows.map_err(AppendError::SchemaInvalid)?;
            let append = Append::to(format!("{PARKED_PREFIX}{group}")).event(edited);
            let appended = namespace.for_system().append(append).wait()?;
            let by = appended.first().ok_or(AppendError::Unknown)?;
            match self.ask_group(group, (position, by), Request::Edit)? {
                true => Ok(by),
                false => Err(nothing()),
            }
        })
    }

    /// Whether the principal may do something. Only to decide what is asked for next: a refusal of that is logged, this is
    /// not.
    pub fn may(&self, operation: Operation) -> bool {
        let about = About { is_quiet: true, ..About::beforehand() };
        self.node.guard(self.scope.asker(), Some(&self.namespace), operation, &about).is_ok()
    }

    /// Whether the principal may do something: asked before anything of a request is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_do(&self, operation: Operation) -> Result<(), AppendError> {
        self.guard(operation, About::beforehand(), self.origin).map(|_| ())
    }

    /// Whether the principal may manage groups: asked before anything of a request is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_manage_groups(&self) -> Result<(), AppendError> {
        self.guard(Operation::SetGroup, About::beforehand(), self.origin).map(|_| ())
    }

    /// Asks a group something, and blocks until it has answered.
    pub(super) fn ask_group<Q: Send, T: Send>(
        &self,
        name: &str,
        what: Q,
        request: impl FnOnce(Ask<Q, T>) -> Request + Send,
    ) -> Result<T, AppendError> {
        block_on(self.node.running_groups().ask(&self.namespace, name, what, request))
    }

    /// Changes a group for somebody who may, and puts on record what became of it.
    fn change_group<T>(
        &self,
        operation: Operation,
        name: &str,
        details: Option<serde_json::Value>,
        work: impl FnOnce(&Namespace) -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        self.observe(operation, About::group(name), |namespace| {
            check_group(name)?;
            let audited = Audited::new(operation, self.principal());
            let audited = audited.in_namespace(self.namespace()).about(name);
            let audited = match details {
                Some(details) => audited.with(details),
                None => audited,
            };
            let done = work(namespace);
            let failed = done.as_ref().err().map(|error| error as &dyn Coded);
            self.node.put_on_record(self.principal(), audited, failed);
            done
        })
    }
}

/// What stands right before a position.
fn before(position: Position) -> Option<Position> {
    position.get().checked_sub(1).map(Position::new)
}

/// An event with the data of another.
pub(super) fn with_data_of(event: &RecordedEvent, edited: &RecordedEvent) -> RecordedEvent {
    let made = event.with(Instead {
        event_type: event.event_type(),
        content_type: edited.content_type(),
        data: edited.data_bytes(),
        schema: event.schema(),
    });
    made.unwrap_or_else(|_| event.clone())
}

pub(super) fn from_read(error: ReadError) -> AppendError {
    coordinator::unread(error)
}

/// The first position that a group which begins there looks at.
pub(super) fn first_position(
    namespace: &Namespace,
    start: GroupStart,
) -> Result<Position, AppendError> {
    let end = Position::new(namespace.head().position.map_or(0, |head| head.get() + 1));
    Ok(match start {
        GroupStart::Beginning => Position::ZERO,
        GroupStart::End => end,
        GroupStart::Position(position) if position > end => {
            let why = format!("the log ends before position {position}: name at most {end}");
            return Err(Invalid::Request(why).into());
        }
        GroupStart::Position(position) => position,
        GroupStart::Time(time) => {
            let mut first =
                namespace.read(Read::all().system().from_time(time).limit(1)).into_iter();
            match first.next() {
                Some(event) => event.map_err(from_read)?.position(),
                None => end,
            }
        }
    })
}

/// The event at a position, if the log has it still.
pub(super) fn event_at(
    namespace: &Namespace,
    position: Position,
) -> Result<Option<RecordedEvent>, AppendError> {
    namespace.event_at(position).map_err(from_read)
}

/// How many events there are for a group beyond what it has looked at: counted, up to a bound; beyond that positions
/// are, matching or not.
fn beyond(
    events: impl Iterator<Item = Result<RecordedEvent, ReadError>>,
    is_for_it: impl Fn(&Result<RecordedEvent, ReadError>) -> bool,
    next: Position,
    head: Option<Position>,
) -> Result<u64, AppendError> {
    let (mut count, mut looked_at, mut last) = (0, 0, next);
    for event in events.take(COUNTED_MAX as usize) {
        count += u64::from(is_for_it(&event));
        looked_at += 1;
        last = event.map_err(from_read)?.position();
    }
    let is_all = looked_at < u64::from(COUNTED_MAX);
    let rest = head.map_or(0, |head| head.get().saturating_sub(last.get()));
    Ok(if is_all { count } else { count + rest })
}

fn info(namespace: &Namespace, name: &str, snapshot: Snapshot) -> Result<GroupInfo, AppendError> {
    let Snapshot { stats, counts, now, .. } = snapshot;
    let head = namespace.head().position;
    let config = &snapshot.config;
    // What is for the group, of what is read for it: a route's conditions are looked at here, too.
    let read = |from| {
        let filter = config.reads();
        let events = filter.map(|it| namespace.read(Read::all().from_position(from).filter(it)));
        events.into_iter().flatten()
    };
    let is_for_it = |event: &Result<_, _>| event.as_ref().map_or(true, |it| config.takes(it));
    // Where something is not done, the first of it stands at the floor, whichever filter took it.
    let open = if stats.open > 0 { event_at(namespace, stats.floor)? } else { None };
    let first = match open {
        Some(open) => Some(open),
        None => {
            let first = read(stats.next).take(COUNTED_MAX as usize).find(is_for_it);
            first.transpose().map_err(from_read)?
        }
    };
    let recorded = first.map(|event| event.recorded_at());
    let beyond = beyond(read(stats.next), is_for_it, stats.next, head)?;
    let state = match (stats.paused, snapshot.stalled) {
        (true, _) => GroupState::Paused,
        (false, true) => GroupState::Stalled,
        (false, false) => GroupState::Running,
    };
    let age = |time: Timestamp| now.since(time);
    Ok(GroupInfo {
        name: name.to_owned(),
        config: snapshot.config,
        state,
        pause: snapshot.pause,
        floor_position: stats.floor,
        head_position: head,
        lag_events: stats.open as u64 + beyond,
        lag_seconds: recorded.map_or(0.0, |time| age(time).as_secs_f64()),
        in_flight: stats.in_flight as u64,
        ready: stats.ready as u64,
        parked: stats.parked as u64,
        oldest_unacked_ms: snapshot
            .oldest_in_flight
            .map(|time| u64::try_from(age(time).as_millis()).unwrap_or(u64::MAX)),
        delivered: counts.delivered,
        redelivered: counts.redelivered,
        members: snapshot.members,
    })
}
