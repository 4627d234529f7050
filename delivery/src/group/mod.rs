//! [`Group`]: consumers that share the work of a log, as a machine without a clock, a disk, or a thread.
//!
//! It is told of events that match, of what consumers say, and of the time; it says who gets what, and what has to
//! be written down ([`Group::record`]) before anybody is told of it. Whoever runs it reads the log from
//! [`Group::reads_from`] and offers each event in order, and writes its records one after the other. After a crash
//! [`Group::restore`] goes on from what was written down.
//!
//! What holds, whatever happens:
//! - every event that was offered is acknowledged, skipped, parked, or still to be delivered: exactly one of them;
//! - of a key, one event is with a consumer at a time, and none before all that stand before it in the log are
//!   acknowledged or skipped;
//! - all deliveries of a lane that are not answered are with one consumer;
//! - an answer counts only while its delivery stands: not when it is late, nor from another consumer, nor twice, nor
//!   from before the group was opened last.

mod ahead;
mod answers;
mod codec;
mod consumers;
mod deliver;
mod feed;
mod held;
mod key;
mod lane_by;
mod ledger;
mod members;
mod park;
mod pending;
mod rules;
mod run;
mod state;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use indexmap::IndexMap;
use nexus_protocol::group::{
    DeliveryToken, ERROR_BYTES_MAX, GroupConfig, GroupMode, InvalidGroup, PauseInfo,
};
use nexus_protocol::{Position, Timestamp};

use self::ahead::Ahead;
pub use self::codec::{DecodeError, PART_BYTES_MIN, POSITIONS_MAX};
#[cfg(test)]
pub(crate) use self::deliver::LATE_MAX;
pub use self::held::Held;
use self::key::{Head, IDLE, Key};
pub use self::lane_by::{key_of, keys_named};
pub use self::ledger::Progress;
use self::ledger::Unwritten;
use self::members::{MemberId, Members};
use self::pending::Pending;
use self::rules::Rules;
pub use self::rules::{Ruled, RuledEvents};
pub use self::state::{Change, Record, State, Tried};
pub use self::view::{LaneView, Stats};
pub use nexus_protocol::limits::{MEMBERS_MAX, OPEN_MAX};

/// A consumer that was not heard of for so long is no member any more.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(10);
/// So many events are read ahead in any case: of up to 512 bytes each, as many as are kept until they are delivered.
const READ_AHEAD: usize = 16_384;
/// Who has paused a group that has parked as much as it may.
const BY_ITSELF: &str = "nexus";

/// An event that matches, as the group needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Where it stands in the log.
    pub position: Position,
    /// What its order is kept by, as a digest: that of [`key_of`]. Keys that share one are ordered among each other,
    /// too.
    pub key: u64,
    /// It is not to be delivered before.
    pub not_before: Option<Timestamp>,
}

/// An event for a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To answer with.
    pub token: DeliveryToken,
    /// The event to hand out: that of the token, or what it was edited to.
    pub event: Position,
    /// From 1: how often it was tried, with this time.
    pub attempt: u32,
    /// The lane it belongs to.
    pub lane: u32,
    /// It has to be answered before.
    pub deadline: Timestamp,
}

/// A group has as many consumers as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a group has {MEMBERS_MAX} consumers at most: let one go, or give it more work")]
pub struct TooManyConsumers;

/// Consumers that share the work of a log.
#[derive(Debug)]
pub struct Group {
    config: GroupConfig,
    state: State,
    unwritten: Unwritten,
    pending: Pending,
    rules: Rules,
    /// Keys with something that is not done, or that was parked and is on its way.
    /// In one piece beside a table of indexes: a table of keys would be half empty, which a million of them feel.
    keys: IndexMap<u64, Key>,
    /// When something happens to a key by itself: at most one entry for each.
    timers: BTreeSet<(Timestamp, u64)>,
    /// Of events that have to wait and are not the first of their key.
    not_before: HashMap<u64, Timestamp>,
    members: Members,
    /// By position: which delivery was answered in two steps and is not settled, and its key.
    held: BTreeMap<u64, (u64, u64)>,
    ready: usize,
    in_flight: usize,
    deliveries: u64,
    ahead: Ahead,
    /// All positions below were offered or passed since the group was opened or sought.
    fed: u64,
}

impl Group {
    /// Goes on from what was written down; of a new group that is [`State::starting_at`]. It is opened for one more
    /// time by that, which its next record says: nothing is to be delivered before that one is durable, or a token of
    /// this opening may be taken for one of the next.
    ///
    /// # Errors
    /// When the configuration is none.
    pub fn restore(config: GroupConfig, mut state: State) -> Result<Self, InvalidGroup> {
        config.check()?;
        let is_ordered = config.mode != GroupMode::Unordered;
        state.generation = state.generation.saturating_add(1);
        let mut group = Self {
            unwritten: Unwritten::nothing_of(&state.ledger),
            fed: state.ledger.floor(),
            members: Members::new(if is_ordered { config.lanes } else { 1 }, is_ordered),
            config,
            state,
            pending: Pending::opening(),
            rules: Rules::default(),
            keys: IndexMap::new(),
            timers: BTreeSet::new(),
            not_before: HashMap::new(),
            held: BTreeMap::new(),
            ready: 0,
            in_flight: 0,
            deliveries: 0,
            ahead: Ahead::nothing(),
        };
        let fed = group.fed;
        group.load_chains_within(0..fed);
        Ok(group)
    }

    /// Takes over a new configuration. What is with consumers stays there, also where less may be now; deadlines and
    /// pauses that run go on as they are.
    ///
    /// # Errors
    /// When it is none, or changes what is fixed: nothing is changed then.
    pub fn reconfigure(&mut self, config: GroupConfig) -> Result<(), InvalidGroup> {
        self.config.check_update(&config)?;
        self.rules.replaced(&self.config, &config);
        self.config = config;
        // A lane that had as much as it might is not looked at until something of it is answered.
        self.members.list_all();
        // What was not found may be by new bounds.
        self.ahead = Ahead::nothing();
        Ok(())
    }

    /// What has to be written down now, before anybody is told of it; `None`: nothing. To be asked for after 250,000
    /// answers at the latest: then its parts come to less than 29 MiB.
    pub fn record(&mut self) -> Option<Record> {
        let progress = self.unwritten.take(&self.state.ledger);
        let mut changes = self.pending.take(&self.state);
        changes.extend(progress.map(Change::Progress));
        (!changes.is_empty()).then_some(Record { changes })
    }

    /// What rules have done since this was asked last: to be written down together with [`Self::record`], after which
    /// it is to be asked.
    pub fn ruled(&mut self) -> Vec<RuledEvents> {
        self.rules.take(&self.config)
    }

    /// Delivers nothing any more, until [`Self::resume`]. What is with consumers may be answered. Where it is paused
    /// already nothing changes: the first reason stays. Texts are cut to [`ERROR_BYTES_MAX`].
    pub fn pause(&mut self, mut info: PauseInfo) {
        if self.state.pause.is_some() {
            return;
        }
        for text in [&mut info.by, &mut info.reason] {
            text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        }
        self.state.pause = Some(info);
        self.pending.paused = true;
    }

    /// Delivers again.
    pub fn resume(&mut self) {
        if self.state.pause.take().is_some() {
            self.pending.paused = true;
        }
    }

    /// Goes on from this position, whatever was done. What failed and is parked stays so; what came behind it, and
    /// stands there or later, is read again as all is. What is with consumers is theirs no longer.
    pub fn seek(&mut self, position: Position) {
        self.keys.clear();
        self.timers.clear();
        self.not_before.clear();
        self.members.clear();
        (self.ready, self.in_flight) = (0, 0);
        self.state.seek(position.get());
        self.pending.sought(position.get());
        self.unwritten = Unwritten::nothing_of(&self.state.ledger);
        self.fed = position.get();
        self.ahead = Ahead::nothing();
        // Of what was held, what is read again is read again whatever its answer comes to.
        let parked = &self.state.parked;
        self.held.retain(|position, _| parked.get(*position).is_some());
        self.load_chains_within(0..self.fed);
    }

    fn lane_of(&self, key: u64) -> u32 {
        match self.config.mode {
            GroupMode::Ordered | GroupMode::Broadcast => {
                u32::try_from(key % u64::from(self.config.lanes)).unwrap_or_default()
            }
            GroupMode::Unordered => 0,
        }
    }

    /// How often the event at a position was tried.
    fn attempts(&self, position: u64) -> u32 {
        match self.state.parked.entry(position) {
            Some(entry) => entry.attempts,
            None => self.state.tried.get(&position).map_or(0, |tried| tried.attempts),
        }
    }

    /// A position is done with, or parked.
    fn close(&mut self, position: u64) {
        if self.state.ledger.close(position) {
            self.unwritten.close(position);
        }
        self.state.forget_tries(position);
        self.not_before.remove(&position);
    }

    /// Makes the first event of a key deliverable, at once or when its time has come.
    fn arm(&mut self, key: u64, now: Timestamp) {
        let Some(of_key) = self.keys.get(&key) else { return };
        match self.not_before.remove(&of_key.first()) {
            Some(until) if until > now => self.wait(key, until),
            _ => self.make_ready(key),
        }
    }

    /// Has the first event of a key wait.
    fn wait(&mut self, key: u64, until: Timestamp) {
        let Some(of_key) = self.keys.get_mut(&key) else { return };
        of_key.set_head(Head::Waiting { until });
        self.timers.insert((until, key));
    }

    fn make_ready(&mut self, key: u64) {
        let lane = self.lane_of(key);
        let Some(of_key) = self.keys.get_mut(&key) else { return };
        of_key.set_head(Head::Ready);
        self.ready += 1;
        self.members.ready(lane, key);
    }

    /// Takes the first event of a key back from its consumer, if it is with one.
    fn take_back(&mut self, key: u64) {
        let lane = self.lane_of(key);
        let Some(of_key) = self.keys.get_mut(&key) else { return };
        if let Some(at) = of_key.timer() {
            self.timers.remove(&(at, key));
        }
        let head = of_key.head();
        of_key.set_head(IDLE);
        match head {
            Head::InFlight(lease) | Head::Held(lease) => self.returned(lane, lease.member),
            Head::Ready => self.ready -= 1,
            Head::Waiting { .. } => {}
        }
    }

    /// Something of a lane is no longer with its consumer.
    fn returned(&mut self, lane: u32, member: MemberId) {
        if member != MemberId::NOBODY {
            self.in_flight -= 1;
            self.members.returned(lane, member);
        }
    }
}

/// A time so much later; the last that can be named where it is beyond.
fn later(now: Timestamp, time: Duration) -> Timestamp {
    now.saturating_add(time)
}
