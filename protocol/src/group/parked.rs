//! What could not be processed, and is set aside: what queues call dead letters.

use super::Failure;
use crate::ids::Position;
use crate::time::Timestamp;

/// An event that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEntry {
    /// Where it stands in the log; its id, too.
    pub position: Position,
    /// Its lane.
    pub lane: u32,
    /// Its stream and type; `None`: the log has it no more.
    pub event: Option<(String, String)>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed last; `None`: it did not, and waits behind one of its key that did.
    pub failure: Option<Failure>,
    /// Whether it was released, by somebody or by a rule, and waits for its turn.
    pub released: bool,
    /// How many tries again a rule has given it since somebody released it last.
    pub rounds: u32,
    /// It is not to be delivered before.
    pub not_before: Option<Timestamp>,
    /// When it failed first; `None`: it did not.
    pub first_failed: Option<Timestamp>,
    /// When it failed last.
    pub last_failed: Option<Timestamp>,
    /// How many wait behind it.
    pub waiting_behind: u64,
}

/// Which entries to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedList {
    /// Of this lane only.
    pub lane: Option<u32>,
    /// Also those that merely wait behind another.
    pub waiting: bool,
    /// After this position.
    pub after: Option<Position>,
    /// How many at most.
    pub limit: usize,
}

/// Some entries, by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedPage {
    /// The entries.
    pub entries: Vec<ParkedEntry>,
    /// What the next page is after; `None`: this is the last.
    pub next: Option<Position>,
}

/// Which entries something is to be done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParkedPick {
    /// All of them.
    All,
    /// Those of a lane.
    Lane(u32),
    /// These. Of a key, what failed before one of these goes with it when it is replayed.
    Positions(Vec<Position>),
}
