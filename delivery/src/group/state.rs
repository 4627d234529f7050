//! [`State`]: what of a group outlives a crash, and [`Record`], by which it changes.
//!
//! Leases, deliveries, and members are not in it: after a crash whatever was delivered and not answered is delivered
//! again.

use std::collections::BTreeMap;

use nexus_protocol::group::PauseInfo;
use nexus_protocol::{Position, Timestamp};

use super::ledger::{Ledger, Progress};
use crate::parked::{self, Parked};

/// What of a group is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(crate) ledger: Ledger,
    /// Of what is not done, or came behind what is parked: what was tried before.
    pub(crate) tried: BTreeMap<u64, Tried>,
    pub(crate) parked: Parked,
    pub(crate) pause: Option<PauseInfo>,
    pub(crate) generation: u64,
    /// What is open below was taken by a filter that is not that of today.
    pub(crate) refiltered: u64,
}

/// What was tried with an event that is not done, and did not fail so often that it is parked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// How often it was tried. 0: never, and it is here for its `until`.
    pub attempts: u32,
    /// When it failed first; without meaning where it was never tried.
    pub first_failed: Timestamp,
    /// It is not to be delivered before.
    pub until: Option<Timestamp>,
}

/// A change of what is written down. Changes are applied in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The group goes on from there, whatever it had done. What failed and is parked stays so; what came behind such
    /// a one from there on is forgotten, since it is read again.
    Sought(u64),
    /// It delivers nothing, and why; `None`: it goes on.
    Paused(Option<PauseInfo>),
    /// What was tried with the event at a position.
    Attempted(u64, Tried),
    /// Of what failed and is parked.
    Parked(parked::Change),
    /// Of what is not done: which positions are.
    Progress(Progress),
    /// It was opened for the so many-th time: tokens of other openings count no more.
    Opened(u64),
    /// All below was looked at with other filters than what comes.
    Refiltered(u64),
    /// Events came behind one of their key that is parked.
    Behind {
        /// The key.
        key: u64,
        /// Where they stand, ascending.
        positions: Vec<u64>,
    },
}

/// What has to be written down, at once or not at all, before what it says is told to anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// In their order.
    pub changes: Vec<Change>,
}

impl State {
    /// That of a new group, which begins at this position.
    pub fn starting_at(position: Position) -> Self {
        Self { ledger: Ledger::starting_at(position.get()), ..Self::default() }
    }

    /// All positions below are done, or parked: where the log is read from after a crash.
    pub fn floor(&self) -> Position {
        Position::new(self.ledger.floor())
    }

    /// Whether an event was looked at and is neither done nor parked.
    pub fn is_open(&self, position: Position) -> bool {
        self.ledger.is_open(position.get())
    }

    /// All events that are so, in order.
    pub fn open(&self) -> impl Iterator<Item = Position> + '_ {
        self.ledger.open_within(0..u64::MAX).map(Position::new)
    }

    /// What was tried with an event that is not parked for a failure; `None`: nothing.
    pub fn tried(&self, position: Position) -> Option<&Tried> {
        self.tried.get(&position.get())
    }

    /// What is parked.
    pub fn parked(&self) -> &Parked {
        &self.parked
    }

    /// Who has paused the group, and why; `None`: it delivers.
    pub fn pause(&self) -> Option<&PauseInfo> {
        self.pause.as_ref()
    }

    /// How often it was opened.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes over what was written down.
    pub fn apply(&mut self, record: &Record) {
        record.changes.iter().for_each(|change| self.change(change));
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Sought(next) => self.seek(*next),
            Change::Paused(pause) => self.pause.clone_from(pause),
            Change::Attempted(position, tried) => {
                self.tried.insert(*position, *tried);
            }
            Change::Parked(parked::Change::Set(position, entry)) => {
                self.park(*position, (**entry).clone());
            }
            Change::Parked(parked::Change::Removed(position)) => self.unpark(*position),
            Change::Behind { key, positions } => {
                positions.iter().for_each(|position| self.parked.put_behind(*position, *key));
            }
            Change::Progress(progress) => {
                let from = self.ledger.next();
                let looked_at = from..progress.next.max(from);
                self.ledger.apply(progress);
                // What lies there and is not said to be open is done.
                let done = self.tried.range(looked_at).map(|(position, _)| *position);
                let done = done.filter(|position| !self.ledger.is_open(*position));
                for position in done.chain(progress.closed.iter().copied()).collect::<Vec<_>>() {
                    self.forget_tries(position);
                }
            }
            Change::Opened(generation) => self.generation = *generation,
            Change::Refiltered(next) => self.refiltered = *next,
        }
    }

    /// An event failed, and is parked.
    pub(crate) fn park(&mut self, position: u64, entry: parked::Entry) {
        self.tried.remove(&position);
        self.parked.set(position, entry);
    }

    /// What is parked at a position is so no longer.
    pub(crate) fn unpark(&mut self, position: u64) {
        self.tried.remove(&position);
        self.parked.remove(position);
    }

    /// A position is done, or parked: what is parked behind another keeps what was tried.
    pub(crate) fn forget_tries(&mut self, position: u64) {
        if !self.parked.is_behind(position) {
            self.tried.remove(&position);
        }
    }

    pub(crate) fn seek(&mut self, next: u64) {
        self.ledger = Ledger::starting_at(next);
        self.refiltered = 0;
        self.parked.forget_behind(next);
        self.tried.retain(|position, _| self.parked.is_behind(*position));
    }
}
