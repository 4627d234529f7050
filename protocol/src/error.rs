//! Errors of the store's operations: the same embedded and remote. Each says whether and how a
//! caller may try again.

use std::borrow::Cow;
use std::time::Duration;

use crate::append::{ExpectedRevision, StreamState};
use crate::ids::{EventId, Lineage, Position};
use crate::names::InvalidName;
use crate::policy::Denial;
use crate::schema::{Incompatibility, SchemaProblem};

/// Whether and how to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request fails again.
    Never,
    /// With the same event ids: it may have happened, and is then answered as a replay.
    SameIds,
    /// After reading again what the decision was based on.
    AfterReload,
    /// The same request, after at least this long.
    After(Duration),
}

/// A request that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A name is not one.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// One stream is named twice in an append.
    #[error("stream {0:?} is named twice: put all its events under one name")]
    StreamTwice(String),
    /// One id is used twice in an append.
    #[error("event id {0} is used twice in one append")]
    IdTwice(EventId),
    /// A query without items, or an item that asks for nothing.
    #[error("a query needs at least one item, and each item at least one type or tag")]
    EmptyQuery,
    /// An append without events and without a condition.
    #[error("an append needs an event or a condition")]
    NothingToDo,
    /// A filter or request field that makes no sense.
    #[error("{0}")]
    Request(String),
}

/// Something is over its limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {size} is over the limit of {max}; leave something out, or split it")]
pub struct TooLarge {
    /// What was counted, with its unit.
    pub what: Cow<'static, str>,
    /// How much there is.
    pub size: usize,
    /// How much there may be.
    pub max: usize,
}

/// Where a log stood when it failed.
fn after(at: Option<Position>) -> String {
    at.map_or_else(|| "at its beginning".to_owned(), |at| format!("after position {at}"))
}

/// Which clause of an append failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clause {
    /// A stream is not what was expected.
    Stream {
        /// The stream.
        stream: String,
        /// What was expected.
        expected: ExpectedRevision,
        /// What it is.
        found: StreamState,
    },
    /// Events match the boundary.
    Boundary,
    /// Events match the absence clause.
    Absent,
    /// Some ids of the append are stored already, and some are not.
    Ids {
        /// How many are stored.
        stored: usize,
        /// How many the append has.
        given: usize,
    },
}

/// What stands in the way of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The clause that failed.
    pub clause: Clause,
    /// Up to 16 positions in its way, the newest first.
    pub positions: Vec<Position>,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.clause {
            Clause::Stream { stream, expected, found } => {
                write!(f, "stream {stream:?}: expected {expected}, found {found}")
            }
            Clause::Boundary => f.write_str("new events inside the boundary"),
            Clause::Absent => f.write_str("an event that had to be absent"),
            Clause::Ids { stored, given } => {
                write!(f, "the store: {stored} of {given} event ids are stored already")
            }
        }?;
        if let Some(position) = self.positions.first() {
            write!(f, " (position {position})")?;
        }
        Ok(())
    }
}

/// Bytes on disk are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged at byte {offset_bytes}: {kind}")]
pub struct Corruption {
    /// The path of the file.
    pub file: String,
    /// Where in it, in bytes.
    pub offset_bytes: u64,
    /// What is wrong.
    pub kind: CorruptionKind,
}

/// What is wrong with bytes on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptionKind {
    /// A checksum does not hold.
    #[error("{0} checksum does not hold")]
    Checksum(Cow<'static, str>),
    /// A field contradicts another.
    #[error("impossible {0}")]
    Malformed(Cow<'static, str>),
    /// A file that must be there is not.
    #[error("the file is missing")]
    Missing,
    /// The file is shorter than what it holds.
    #[error("the file ends too early")]
    Truncated,
    /// A file of another log or another place.
    #[error("the file belongs to {0}")]
    Foreign(Cow<'static, str>),
    /// The chain of digests is broken.
    #[error("the chain of digests is broken")]
    Chain,
    /// Acknowledged events are missing.
    #[error(
        "acknowledged events up to byte {durable_end} of segment {segment} are missing or damaged"
    )]
    Acknowledged {
        /// Segment number that was durable.
        segment: u64,
        /// End in bytes that was durable.
        durable_end: u64,
    },
    /// The medium answered an error.
    #[error("the disk cannot read it: {0}")]
    Unreadable(String),
}

/// Why the store takes no appends now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The disk is full; appends resume by themselves when there is room.
    #[error("the disk is full: free some space, appends then go on by themselves")]
    DiskFull,
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
    /// It was opened for reading only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The wall clock jumped forward.
    #[error(
        "the wall clock jumped forward by {jump_s} s: set it right, or accept the new time by \
         opening the store again"
    )]
    ClockJump {
        /// By how many seconds.
        jump_s: u64,
    },
    /// No space could be prepared for another reason.
    #[error("the log cannot grow: {0}")]
    CannotGrow(String),
    /// The server could not be reached, and has not got the append.
    #[error("the server cannot be reached: {0}")]
    NotReachable(String),
}

/// Why an append was not acknowledged. [`AppendError::retry`] says what a caller may do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The request cannot be right.
    #[error("append is invalid: {0}")]
    Invalid(Box<Invalid>),
    /// Something is over its limit.
    #[error("append is too large: {0}")]
    TooLarge(TooLarge),
    /// The server does not know who asks.
    #[error("append is refused: {reason}")]
    Unauthenticated {
        /// What is missing, and what to do.
        reason: String,
    },
    /// The caller may not do this.
    #[error("append is not allowed: {reason}")]
    Denied {
        /// Why not, and what is allowed.
        reason: String,
        /// Which decision that was, where policies decided.
        denial: Option<Box<Denial>>,
    },
    /// What the append is for is not there.
    #[error("append is refused: there is no {what}")]
    NotFound {
        /// What is not there.
        what: String,
    },
    /// A stream is deleted for good.
    #[error("stream {stream:?} is deleted for good: use another name")]
    Deleted {
        /// Which one.
        stream: String,
    },
    /// Something stands in the way: names the clause, and up to 16 positions.
    #[error("append conflicts with {0}")]
    Conflict(Box<Conflict>),
    /// An id is stored already, with other content.
    #[error("event id {id} stands at position {position} with other content: make a new id")]
    IdReused {
        /// The id.
        id: EventId,
        /// Where it stands.
        position: Position,
    },
    /// What the condition asks about is no longer kept.
    #[error("the condition asks about events that are no longer kept: {what}")]
    BelowRetention {
        /// Which part of it.
        what: String,
    },
    /// The caller appends more than it may.
    #[error("append is refused: more than this principal may append in that time")]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// The queue stayed full.
    #[error("the store is overloaded: the queue stayed full for {waited_ms} ms")]
    Overloaded {
        /// How long it waited.
        waited_ms: u64,
        /// When to try again.
        retry_after: Duration,
    },
    /// Timed out, or link lost: it may be stored. Retry with the same event ids.
    #[error("outcome of the append is unknown: retry with the same event ids")]
    Unknown,
    /// An earlier sync failed (I7). The store must be opened again and recover; never retry here.
    #[error("log is poisoned by a failed write or sync {}: open it again", after(*.at))]
    Poisoned {
        /// The last position that is known to be durable.
        at: Option<Position>,
    },
    /// No appends now.
    #[error("append is refused: {0}")]
    Unavailable(Unavailable),
    /// What the decision needed is damaged.
    #[error("append cannot be decided: {0}")]
    Corruption(Box<Corruption>),
    /// Events do not follow their schemas: what is wrong,
    /// [`SCHEMA_PROBLEMS_MAX`](crate::limits::SCHEMA_PROBLEMS_MAX) things at most.
    #[error("data does not follow its schema: {}{}", first(.0), more(.0))]
    SchemaInvalid(Vec<SchemaProblem>),
    /// A schema does not go together with the versions before it: why,
    /// [`SCHEMA_PROBLEMS_MAX`](crate::limits::SCHEMA_PROBLEMS_MAX) reasons at most.
    #[error("schema is incompatible: {}{}", first(.0), more(.0))]
    Incompatible(Vec<Incompatibility>),
}

fn first<T: std::fmt::Display>(all: &[T]) -> String {
    all.first().map(T::to_string).unwrap_or_default()
}

fn more<T>(all: &[T]) -> String {
    match all.len() {
        0 | 1 => String::new(),
        more => format!(", and {} more", more - 1),
    }
}

impl AppendError {
    /// Whether it was refused for what it says, whatever the store is like: others beside it may go through.
    pub fn is_of_this_append(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_)
                | Self::TooLarge(_)
                | Self::Deleted { .. }
                | Self::IdReused { .. }
                | Self::SchemaInvalid(_)
        )
    }

    /// Whether and how the append may be tried again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Conflict(_) | Self::BelowRetention { .. } => Retry::AfterReload,
            Self::Overloaded { retry_after, .. } | Self::RateLimited { retry_after } => {
                Retry::After(*retry_after)
            }
            Self::Unknown | Self::Poisoned { .. } => Retry::SameIds,
            Self::Unavailable(Unavailable::DiskFull | Unavailable::NotReachable(_)) => {
                Retry::After(Duration::from_secs(1))
            }
            _ => Retry::Never,
        }
    }
}

impl From<Invalid> for AppendError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(Box::new(invalid))
    }
}

impl From<InvalidName> for AppendError {
    fn from(name: InvalidName) -> Self {
        Invalid::Name(name).into()
    }
}

impl From<crate::event::EventProblem> for AppendError {
    fn from(problem: crate::event::EventProblem) -> Self {
        match problem {
            crate::event::EventProblem::Invalid(invalid) => invalid.into(),
            crate::event::EventProblem::TooLarge(size) => Self::TooLarge(size),
        }
    }
}

/// Why a read or subscription cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The request cannot be right.
    #[error("read is invalid: {0}")]
    Invalid(Box<Invalid>),
    /// The server does not know who asks.
    #[error("read is refused: {reason}")]
    Unauthenticated {
        /// What is missing, and what to do.
        reason: String,
    },
    /// The caller may not do this.
    #[error("read is not allowed: {reason}")]
    Denied {
        /// Why not, and what is allowed.
        reason: String,
        /// Which decision that was, where policies decided.
        denial: Option<Box<Denial>>,
    },
    /// What is asked for is not there.
    #[error("read is refused: there is no {what}")]
    NotFound {
        /// What is not there.
        what: String,
    },
    /// The stream is deleted for good.
    #[error("stream {stream:?} is deleted for good")]
    Deleted {
        /// Which one.
        stream: String,
    },
    /// The token is of an older lineage, above the position it ended at.
    #[error("lineage {given} ended before this position: the log goes on as lineage {current}")]
    LineageChanged {
        /// The token's.
        given: Lineage,
        /// The log's.
        current: Lineage,
    },
    /// The bytes are damaged.
    #[error("position {position}: {corruption}")]
    Corruption {
        /// The first position that cannot be read.
        position: Position,
        /// The first position after the damage that can be, if known.
        resume_at: Option<Position>,
        /// What is damaged.
        corruption: Box<Corruption>,
    },
    /// The event cannot be shown in the version of its schema that was asked for. It is there, and can be read as it is
    /// stored.
    #[error("position {position} cannot be shown so: {why}")]
    NotConverted {
        /// Where it stands.
        position: Position,
        /// Why, and what to do.
        why: String,
    },
    /// A write or sync failed (I7): all that was committed has been delivered, and nothing more comes
    /// until the store is opened again.
    #[error("log is poisoned by a failed write or sync {}: open it again", after(*.at))]
    Poisoned {
        /// The last position that is known to be committed.
        at: Option<Position>,
    },
    /// The caller reads more than it may.
    #[error("read is refused: more than this principal may read in that time")]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// A projection has not come as far as it was asked to within the time that the caller gave it.
    #[error(
        "the projection has come {}, and not to position {wanted} within {waited_ms} ms: ask again, or for less",
        come_to(*.at)
    )]
    NotCaughtUp {
        /// What the answer was to know of.
        wanted: Position,
        /// How far it has come.
        at: Option<Position>,
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// The server cannot be reached, or broke off.
    #[error("the server cannot be reached: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// A projection is asked again after so long: it folds thousands of events meanwhile.
const NOT_CAUGHT_UP_AFTER: Duration = Duration::from_millis(100);

/// How far something has come.
fn come_to(at: Option<Position>) -> String {
    at.map_or_else(|| "nowhere yet".to_owned(), |at| format!("to position {at}"))
}

impl From<Invalid> for ReadError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(Box::new(invalid))
    }
}

impl From<InvalidName> for ReadError {
    fn from(name: InvalidName) -> Self {
        Invalid::Name(name).into()
    }
}

impl ReadError {
    /// Whether and how the read may be tried again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::RateLimited { retry_after } => Retry::After(*retry_after),
            // It was waited for already.
            Self::NotCaughtUp { .. } => Retry::After(NOT_CAUGHT_UP_AFTER),
            Self::Unavailable { .. } => Retry::After(Duration::from_secs(1)),
            _ => Retry::Never,
        }
    }
}
