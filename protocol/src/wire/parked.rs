//! What is parked, on the wire.

use rkyv::{Archive, Deserialize, Serialize};

use super::WireError;
use crate::group::{Failure, ParkedEntry, ParkedList, ParkedPage, ParkedPick};
use crate::ids::Position;
use crate::limits::DELIVERIES_MAX;
use crate::time::Timestamp;

/// Which entries to list: [`ParkedList`], but for its key, which travels beside it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ParkedListHead {
    lane: Option<u32>,
    waiting: bool,
    after: Option<u64>,
    limit: u32,
}

impl From<&ParkedList> for ParkedListHead {
    fn from(list: &ParkedList) -> Self {
        Self {
            lane: list.lane,
            waiting: list.waiting,
            after: list.after.map(Position::get),
            limit: u32::try_from(list.limit).unwrap_or(u32::MAX),
        }
    }
}

impl From<ParkedListHead> for ParkedList {
    fn from(head: ParkedListHead) -> Self {
        Self {
            lane: head.lane,
            key: None,
            waiting: head.waiting,
            after: head.after.map(Position::new),
            limit: head.limit as usize,
        }
    }
}

/// Which entries something is to be done with: [`ParkedPick`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum ParkedPickHead {
    /// All of them.
    All,
    /// Those of a lane.
    Lane(u32),
    /// Those at these positions, at most [`DELIVERIES_MAX`].
    Positions(Vec<u64>),
    /// Those of a key. From [`PROTOCOL_PARKED_KEYS`](super::PROTOCOL_PARKED_KEYS) on.
    Key(String),
}

impl From<&ParkedPick> for ParkedPickHead {
    fn from(pick: &ParkedPick) -> Self {
        match pick {
            ParkedPick::All => Self::All,
            &ParkedPick::Lane(lane) => Self::Lane(lane),
            ParkedPick::Positions(positions) => {
                Self::Positions(positions.iter().map(|position| position.get()).collect())
            }
            ParkedPick::Key(key) => Self::Key(key.clone()),
        }
    }
}

impl TryFrom<ParkedPickHead> for ParkedPick {
    type Error = WireError;

    fn try_from(head: ParkedPickHead) -> Result<Self, WireError> {
        Ok(match head {
            ParkedPickHead::All => Self::All,
            ParkedPickHead::Lane(lane) => Self::Lane(lane),
            ParkedPickHead::Positions(positions) if positions.len() > DELIVERIES_MAX => {
                let count = positions.len();
                return Err(WireError::malformed(format!(
                    "{count} positions: at most {DELIVERIES_MAX} are named at a time"
                )));
            }
            ParkedPickHead::Positions(positions) => {
                Self::Positions(positions.into_iter().map(Position::new).collect())
            }
            ParkedPickHead::Key(key) => Self::Key(key),
        })
    }
}

/// [`Failure`](crate::group::Failure).
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct WhyHead {
    class: String,
    message: String,
    chain: Vec<String>,
}

impl From<&Failure> for WhyHead {
    fn from(failure: &Failure) -> Self {
        let Failure { class, message, chain } = failure.clone();
        Self { class, message, chain }
    }
}

impl From<WhyHead> for Failure {
    fn from(head: WhyHead) -> Self {
        let WhyHead { class, message, chain } = head;
        Self { class, message, chain }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct EntryHead {
    position: u64,
    lane: u32,
    event: Option<(String, String)>,
    attempts: u32,
    failure: Option<WhyHead>,
    released: bool,
    rounds: u32,
    not_before: Option<i64>,
    first_failed: Option<i64>,
    last_failed: Option<i64>,
    waiting_behind: u64,
}

/// Some of what is parked: [`ParkedPage`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ParkedPageHead {
    entries: Vec<EntryHead>,
    next: Option<u64>,
}

impl From<&ParkedPage> for ParkedPageHead {
    fn from(page: &ParkedPage) -> Self {
        let entry = |entry: &ParkedEntry| EntryHead {
            position: entry.position.get(),
            lane: entry.lane,
            event: entry.event.clone(),
            attempts: entry.attempts,
            failure: entry.failure.as_ref().map(WhyHead::from),
            released: entry.released,
            rounds: entry.rounds,
            not_before: entry.not_before.map(Timestamp::as_micros),
            first_failed: entry.first_failed.map(Timestamp::as_micros),
            last_failed: entry.last_failed.map(Timestamp::as_micros),
            waiting_behind: entry.waiting_behind,
        };
        Self {
            entries: page.entries.iter().map(entry).collect(),
            next: page.next.map(Position::get),
        }
    }
}

impl From<ParkedPageHead> for ParkedPage {
    fn from(head: ParkedPageHead) -> Self {
        let entry = |head: EntryHead| ParkedEntry {
            position: Position::new(head.position),
            lane: head.lane,
            event: head.event,
            attempts: head.attempts,
            failure: head.failure.map(Failure::from),
            released: head.released,
            rounds: head.rounds,
            not_before: head.not_before.map(Timestamp::from_micros),
            first_failed: head.first_failed.map(Timestamp::from_micros),
            last_failed: head.last_failed.map(Timestamp::from_micros),
            waiting_behind: head.waiting_behind,
        };
        Self {
            entries: head.entries.into_iter().map(entry).collect(),
            next: head.next.map(Position::new),
        }
    }
}
