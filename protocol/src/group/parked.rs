//! What could not be processed, and is set aside: what queues call dead letters.

use super::Failure;
use crate::error::Invalid;
use crate::ids::Position;
use crate::limits::PARKED_KEY_BYTES_MAX;
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
    /// Of this key only: as in [`ParkedPick::Key`].
    pub key: Option<String>,
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
    /// Those of a key, of 1 to [`PARKED_KEY_BYTES_MAX`] bytes: of the stream of this name, or, where the group keeps order
    /// by a tag or a correlation id, of this value of it. Whatever has none there is kept by its stream, and named by
    /// that. Unordered events have no keys.
    Key(String),
    /// These. Of a key, what failed before one of these goes with it when it is replayed.
    Positions(Vec<Position>),
}

impl ParkedPick {
    /// Refuses what names nothing.
    ///
    /// # Errors
    /// When it is a key that none can have.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Key(key) => check_key(key),
            Self::All | Self::Lane(_) | Self::Positions(_) => Ok(()),
        }
    }
}

impl ParkedList {
    /// Refuses what names nothing.
    ///
    /// # Errors
    /// When it is a key that none can have.
    pub fn check(&self) -> Result<(), Invalid> {
        self.key.as_deref().map_or(Ok(()), check_key)
    }
}

fn check_key(key: &str) -> Result<(), Invalid> {
    if (1..=PARKED_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    let why = format!(
        "a key has from 1 to {PARKED_KEY_BYTES_MAX} bytes: name a stream, or a value of the tag or the correlation id that \
         the group keeps order by"
    );
    Err(Invalid::Request(why))
}
