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
//! - an answer counts only while its delivery stands: not when it is late, nor from another consumer, nor twice.

mod answers;
mod codec;
mod config;
mod consumers;
mod key;
mod lane_by;
mod ledger;
mod members;
mod park;
mod state;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use nexus_protocol::{Position, Timestamp};

pub use self::answers::{Nack, Refused};
pub use self::codec::{DecodeError, POSITIONS_MAX};
pub use self::config::{
    ACK_DEADLINE_MAX, ACK_DEADLINE_MIN, ATTEMPTS_MAX, BACKOFF_MAX, Backoff, Config, IN_FLIGHT_MAX,
    InvalidConfig, LANES_MAX, Mode,
};
use self::key::{Head, Key};
pub use self::lane_by::{InvalidLaneBy, LaneBy};
pub use self::ledger::Progress;
use self::ledger::Unwritten;
pub use self::members::MEMBERS_MAX;
use self::members::Members;
pub use self::state::{Change, Record, State};

/// A consumer that was not heard of for so long is no member any more.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(10);
/// So many keys that have something to deliver are enough: no more is read until some of it is delivered.
const READY_MAX: usize = 16_384;
/// So many events are read ahead in any case,
const READ_AHEAD: usize = 65_536;
/// and so many more each time that somebody asks for more than there is for them, as where a lane is stuck,
const READ_MORE: u32 = 4_096;
/// up to so many that are not done, each of which costs some 35 bytes. Beyond it nothing more is read.
const OPEN_MAX: usize = 2_000_000;

/// An event that matches, as the group needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Where it stands in the log.
    pub position: Position,
    /// What its order is kept by, as a digest: that of [`LaneBy::key_of`]. Keys that share one are ordered among each other, too.
    pub key: u64,
    /// It is not to be delivered before.
    pub not_before: Option<Timestamp>,
}

/// A delivery, as its consumer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The event.
    pub position: Position,
    /// Its key.
    pub key: u64,
    /// Which delivery of the group it is: no two have the same number, until the group is opened again.
    pub delivery: u64,
}

/// An event for a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To answer with.
    pub token: Token,
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

/// How a group is, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// All below is done, or parked.
    pub floor: Position,
    /// All below was looked at.
    pub next: Position,
    /// Events that were looked at and are not done.
    pub open: usize,
    /// Keys with an event that could be delivered now.
    pub ready: usize,
    /// Deliveries that are not answered.
    pub in_flight: usize,
    /// Events that are parked.
    pub parked: usize,
    /// Whether it delivers nothing.
    pub paused: bool,
}

/// Consumers that share the work of a log.
#[derive(Debug)]
pub struct Group {
    config: Config,
    state: State,
    unwritten: Unwritten,
    changes: Vec<Change>,
    /// Keys with something that is not done, or that was parked and is on its way.
    keys: HashMap<u64, Key>,
    /// When something happens to a key by itself: at most one entry for each.
    timers: BTreeSet<(Timestamp, u64)>,
    /// Of events that have to wait and are not the first of their key.
    not_before: HashMap<u64, Timestamp>,
    members: Members,
    ready: usize,
    in_flight: usize,
    deliveries: u64,
    /// Events that are still to be offered since a consumer asked for more than there was for it.
    asked_for: u32,
    /// All positions below were offered or passed since the group was opened or sought.
    fed: u64,
}

impl Group {
    /// Goes on from what was written down; of a new group that is [`State::starting_at`]. Deliveries are numbered
    /// from `deliveries` on: whoever opens it again says a number beyond all before.
    ///
    /// # Errors
    /// When the configuration is none.
    pub fn restore(config: Config, state: State, deliveries: u64) -> Result<Self, InvalidConfig> {
        config.check()?;
        let lanes = match config.mode {
            Mode::Ordered => config.lanes,
            Mode::Unordered => 1,
        };
        let mut group = Self {
            unwritten: Unwritten::nothing_of(&state.ledger),
            fed: state.ledger.floor(),
            members: Members::new(lanes, config.mode == Mode::Ordered),
            config,
            state,
            changes: Vec::new(),
            keys: HashMap::new(),
            timers: BTreeSet::new(),
            not_before: HashMap::new(),
            ready: 0,
            in_flight: 0,
            deliveries,
            asked_for: 0,
        };
        let fed = group.fed;
        group.load_chains_within(0..fed);
        Ok(group)
    }

    /// Where the log is to be read from: the next event to offer stands here or behind.
    pub fn reads_from(&self) -> Position {
        Position::new(self.fed)
    }

    /// Whether more events are wanted now.
    pub fn wants_more(&self) -> bool {
        // What is read again after a crash is in memory already, and is not bounded a second time.
        let is_read_again = self.fed < self.state.ledger.next();
        let open = self.state.ledger.open();
        let is_little = self.ready < READY_MAX && open < READ_AHEAD + self.in_flight;
        let is_asked_for = self.asked_for > 0 && open < OPEN_MAX;
        !self.state.paused && (is_read_again || is_little || is_asked_for)
    }

    /// How it is, in numbers.
    pub fn stats(&self) -> Stats {
        Stats {
            floor: self.state.floor(),
            next: Position::new(self.state.ledger.next()),
            open: self.state.ledger.open(),
            ready: self.ready,
            in_flight: self.in_flight,
            parked: self.state.parked.len(),
            paused: self.state.paused,
        }
    }

    /// What is written down, once all records are.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What has to be written down now, before anybody is told of it; `None`: nothing.
    pub fn record(&mut self) -> Option<Record> {
        let progress = self.unwritten.take(&self.state.ledger);
        let mut changes = std::mem::take(&mut self.changes);
        changes.extend(progress.map(Change::Progress));
        (!changes.is_empty()).then_some(Record { changes })
    }

    /// Takes in the next event of the log that matches. One that is done already is passed over. All before it that was
    /// not offered is passed, as by [`Self::pass`].
    pub fn offer(&mut self, offered: Offered, now: Timestamp) {
        let position = offered.position.get();
        if position < self.fed {
            return;
        }
        self.pass(offered.position);
        self.asked_for = self.asked_for.saturating_sub(1);
        let key = match self.config.mode {
            Mode::Ordered => offered.key,
            Mode::Unordered => position,
        };
        if position < self.state.ledger.next() {
            if !self.state.ledger.is_open(position) {
                return self.looked_at(position + 1);
            }
        } else if self.state.parked.get(position).is_some() {
            // It was parked before the group was sent back.
            return self.looked_at(position + 1);
        } else {
            self.state.ledger.add(position);
        }
        self.looked_at(position + 1);
        if let Some(until) = offered.not_before.filter(|until| *until > now) {
            self.not_before.insert(position, until);
        }
        if self.state.parked.holds_key(key) {
            self.park_behind(position, key, now);
            // It may stand before all others, where the group was sent back.
            return self.load_chain(key);
        }
        if let Some(before) = self.keys.get_mut(&key) {
            return before.push(position);
        }
        let lane = self.lane_of(key);
        self.keys.insert(key, Key::new(position, lane, false));
        self.arm(key, now);
    }

    /// Learns that no event below this position is still to be offered. What was to be done there and was not
    /// offered is gone from the log.
    pub fn pass(&mut self, next: Position) {
        let next = next.get();
        if next <= self.fed {
            return;
        }
        let gone: Vec<_> = self.state.ledger.open_within(self.fed..next).collect();
        gone.into_iter().for_each(|position| self.close(position));
        // Tried before a crash that forgot that they were looked at.
        let tried = self.state.attempts.range(self.fed..next).map(|(position, _)| *position);
        for position in tried.collect::<Vec<_>>() {
            self.state.attempts.remove(&position);
        }
        self.looked_at(next);
    }

    /// All below is looked at: what is parked there has all before it in its chain.
    fn looked_at(&mut self, next: u64) {
        let from = std::mem::replace(&mut self.fed, next);
        self.state.ledger.pass(next);
        self.load_chains_within(from..next);
    }

    /// Gives a consumer what there is for it, at most so much. That it asks tells that it is there.
    ///
    /// # Errors
    /// When it is none, and there are [`MEMBERS_MAX`] already.
    pub fn receive(
        &mut self,
        consumer: &str,
        max: usize,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, TooManyConsumers> {
        let joined = self.members.join(consumer, later(now, HEARTBEAT_MAX));
        let id = joined.ok_or(TooManyConsumers)?;
        let mut out = Vec::new();
        let deadline = later(now, self.config.ack_deadline);
        let share = self.members.share_of(self.config.max_in_flight);
        while !self.state.paused
            && out.len() < max
            && self.in_flight < self.config.max_in_flight as usize
            && self.members.in_flight_of(id) < share
        {
            let Some(key) = self.members.next_for(id, self.config.max_in_flight_per_lane) else {
                self.asked_for = READ_MORE;
                break;
            };
            let Some(of_key) = self.keys.get_mut(&key).filter(|it| it.head == Head::Ready) else {
                continue;
            };
            self.deliveries += 1;
            let delivery = self.deliveries;
            of_key.head = Head::InFlight { member: id, delivery, deadline };
            let (position, lane) = (of_key.first(), of_key.lane);
            self.timers.insert((deadline, key));
            self.ready -= 1;
            self.in_flight += 1;
            self.members.given(lane, id);
            let token = Token { position: Position::new(position), key, delivery };
            let attempt = self.attempts(position).saturating_add(1);
            out.push(Delivery { token, attempt, lane, deadline });
        }
        Ok(out)
    }

    /// When something happens by itself next: [`Self::tick`] is to be called then.
    pub fn next_tick(&self) -> Option<Timestamp> {
        let idle = self.members.iter().filter(|(_, member)| member.in_flight == 0);
        let expires = idle.map(|(_, member)| member.expires);
        expires.chain(self.timers.first().map(|(at, _)| *at)).min()
    }

    /// Learns the time: deliveries that are late are made again, and who was not heard of is let go.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.timers.first().copied()
            && at <= now
        {
            match self.keys.get(&key).map(|it| it.head) {
                Some(Head::InFlight { .. }) => {
                    let late = crate::parked::Failure {
                        message: "no answer came in time".to_owned(),
                        chain: Vec::new(),
                    };
                    self.failed(key, late, Some(Duration::ZERO), now);
                }
                _ => {
                    self.timers.pop_first();
                    self.make_ready(key);
                }
            }
        }
        // Whoever has something to answer is there as long as it may: its deliveries have ends of their own.
        let is_gone = |member: &members::Member| member.expires <= now && member.in_flight == 0;
        let gone = self.members.iter().filter(|(_, member)| is_gone(member));
        let gone: Vec<_> = gone.map(|(id, _)| id).collect();
        gone.into_iter().for_each(|id| self.members.leave(id));
    }

    /// Delivers nothing any more, or goes on. What is with consumers may be answered.
    pub fn pause(&mut self, paused: bool) {
        if self.state.paused != paused {
            self.change(Change::Paused(paused));
        }
    }

    /// Goes on from this position, whatever was done. What is parked stays so, and what is with consumers is
    /// theirs no longer.
    pub fn seek(&mut self, position: Position) {
        self.keys.clear();
        self.timers.clear();
        self.not_before.clear();
        self.members.clear();
        (self.ready, self.in_flight) = (0, 0);
        self.change(Change::Sought(position.get()));
        self.unwritten = Unwritten::nothing_of(&self.state.ledger);
        self.fed = position.get();
        self.load_chains_within(0..self.fed);
    }

    /// Makes a change that is to be written down.
    fn change(&mut self, change: Change) {
        self.state.change(&change);
        self.changes.push(change);
    }

    fn lane_of(&self, key: u64) -> u32 {
        match self.config.mode {
            Mode::Ordered => u32::try_from(key % u64::from(self.config.lanes)).unwrap_or_default(),
            Mode::Unordered => 0,
        }
    }

    /// How often the event at a position was tried.
    fn attempts(&self, position: u64) -> u32 {
        match self.state.parked.get(position) {
            Some(entry) => entry.attempts,
            None => self.state.attempts.get(&position).copied().unwrap_or(0),
        }
    }

    /// A position is done with.
    fn close(&mut self, position: u64) {
        if self.state.ledger.close(position) {
            self.unwritten.close(position);
        }
        self.state.attempts.remove(&position);
        self.not_before.remove(&position);
    }

    /// Makes the first event of a key deliverable, at once or when its time has come.
    fn arm(&mut self, key: u64, now: Timestamp) {
        let Some(of_key) = self.keys.get_mut(&key) else { return };
        match self.not_before.remove(&of_key.first()) {
            Some(until) if until > now => {
                of_key.head = Head::Waiting { until };
                self.timers.insert((until, key));
            }
            _ => self.make_ready(key),
        }
    }

    fn make_ready(&mut self, key: u64) {
        let Some(of_key) = self.keys.get_mut(&key) else { return };
        of_key.head = Head::Ready;
        self.ready += 1;
        self.members.ready(of_key.lane, key);
    }

    /// Takes the first event of a key back from its consumer, if it is with one.
    fn take_back(&mut self, key: u64) {
        let Some(of_key) = self.keys.get_mut(&key) else { return };
        if let Some(at) = of_key.timer() {
            self.timers.remove(&(at, key));
        }
        match of_key.head {
            Head::InFlight { member, .. } => {
                self.in_flight -= 1;
                let lane = of_key.lane;
                // It is none of the states that are counted, until its caller says which.
                of_key.head = Head::Waiting { until: Timestamp::from_micros(i64::MAX) };
                self.members.returned(lane, member);
            }
            Head::Ready => {
                self.ready -= 1;
                of_key.head = Head::Waiting { until: Timestamp::from_micros(i64::MAX) };
            }
            Head::Waiting { .. } => {}
        }
    }
}

/// A time so much later; the last that can be named where it is beyond.
fn later(now: Timestamp, time: Duration) -> Timestamp {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_add(micros))
}
