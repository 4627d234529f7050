//! [`State`]: what of a group outlives a crash, and [`Record`], by which it changes.
//!
//! Leases, deliveries, and members are not in it: after a crash whatever was delivered and not answered is delivered
//! again.

use std::collections::BTreeMap;

use nexus_protocol::Position;

use super::ledger::{Ledger, Progress};
use crate::parked::{self, Parked};

/// What of a group is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(crate) ledger: Ledger,
    /// How often positions that are not done were tried.
    pub(crate) attempts: BTreeMap<u64, u32>,
    pub(crate) parked: Parked,
    pub(crate) paused: bool,
}

/// A change of what is written down. Changes are applied in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The group goes on from there, whatever it had done.
    Sought(u64),
    /// It delivers nothing, or goes on.
    Paused(bool),
    /// The event at a position was tried so often.
    Attempted(u64, u32),
    /// Of what is parked.
    Parked(parked::Change),
    /// Of which positions are done.
    Progress(Progress),
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

    /// What is parked.
    pub fn parked(&self) -> &Parked {
        &self.parked
    }

    /// Takes over what was written down.
    pub fn apply(&mut self, record: &Record) {
        record.changes.iter().for_each(|change| self.change(change));
    }

    pub(crate) fn change(&mut self, change: &Change) {
        match change {
            Change::Sought(next) => {
                self.ledger = Ledger::starting_at(*next);
                self.attempts.clear();
            }
            Change::Paused(paused) => self.paused = *paused,
            Change::Attempted(position, attempts) => {
                self.attempts.insert(*position, *attempts);
            }
            Change::Parked(change) => {
                if let parked::Change::Set(position, _) = change {
                    self.attempts.remove(position);
                }
                self.parked.apply(change);
            }
            Change::Progress(progress) => {
                let from = self.ledger.next();
                let looked_at = from..progress.next.max(from);
                self.ledger.apply(progress);
                // What lies there and is not said to be open is done.
                let done = self.attempts.range(looked_at).map(|(position, _)| *position);
                let done = done.filter(|position| !self.ledger.is_open(*position));
                for position in done.chain(progress.closed.iter().copied()).collect::<Vec<_>>() {
                    self.attempts.remove(&position);
                }
            }
        }
    }
}
