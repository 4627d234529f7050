//! Errors on the wire: the same typed errors on both sides.

use std::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};

use super::PROTOCOL_SCHEMAS;
use super::policy::DenialHead;
use super::read_failure::ReadFailure;
use super::request::{ExpectedHead, StateHead};
use super::schema::{IncompatibilityHead, SchemaProblemHead};
use crate::error::{
    AppendError, Clause, Conflict, Corruption, CorruptionKind, Invalid, TooLarge, Unavailable,
};
use crate::ids::{EventId, Position};
use crate::names::{InvalidName, NameProblem};
use crate::schema::SchemaProblem;

/// Why a stream ends without what it was opened for.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Failure {
    /// An append failed, or what is done by one.
    Append(AppendFailure),
    /// A read failed.
    Read(ReadFailure),
    /// The versions of the two sides do not meet.
    Version {
        /// The oldest version that the server speaks.
        oldest: u16,
        /// The newest.
        newest: u16,
    },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum NameProblemHead {
    Empty,
    TooLong { bytes: u64, max: u64 },
    Control { at: u64 },
    EmptyCategory,
    NotKeyValue,
    NotNamespace,
    NotGroup,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum InvalidHead {
    Name { what: String, name: String, problem: NameProblemHead },
    StreamTwice(String),
    IdTwice([u8; 16]),
    EmptyQuery,
    NothingToDo,
    Request(String),
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl From<&Invalid> for InvalidHead {
    fn from(invalid: &Invalid) -> Self {
        match invalid {
            Invalid::Name(InvalidName { what, name, problem }) => Self::Name {
                what: what.clone().into_owned(),
                name: name.clone(),
                problem: match *problem {
                    NameProblem::Empty => NameProblemHead::Empty,
                    NameProblem::TooLong { bytes, max } => {
                        NameProblemHead::TooLong { bytes: bytes as u64, max: max as u64 }
                    }
                    NameProblem::Control { at } => NameProblemHead::Control { at: at as u64 },
                    NameProblem::EmptyCategory => NameProblemHead::EmptyCategory,
                    NameProblem::NotKeyValue => NameProblemHead::NotKeyValue,
                    NameProblem::NotNamespace => NameProblemHead::NotNamespace,
                    NameProblem::NotGroup => NameProblemHead::NotGroup,
                },
            },
            Invalid::StreamTwice(stream) => Self::StreamTwice(stream.clone()),
            Invalid::IdTwice(id) => Self::IdTwice(*id.as_bytes()),
            Invalid::EmptyQuery => Self::EmptyQuery,
            Invalid::NothingToDo => Self::NothingToDo,
            Invalid::Request(why) => Self::Request(why.clone()),
        }
    }
}

impl From<InvalidHead> for Invalid {
    fn from(head: InvalidHead) -> Self {
        match head {
            InvalidHead::Name { what, name, problem } => Self::Name(InvalidName {
                what: what.into(),
                name,
                problem: match problem {
                    NameProblemHead::Empty => NameProblem::Empty,
                    NameProblemHead::TooLong { bytes, max } => {
                        NameProblem::TooLong { bytes: usize_of(bytes), max: usize_of(max) }
                    }
                    NameProblemHead::Control { at } => NameProblem::Control { at: usize_of(at) },
                    NameProblemHead::EmptyCategory => NameProblem::EmptyCategory,
                    NameProblemHead::NotKeyValue => NameProblem::NotKeyValue,
                    NameProblemHead::NotNamespace => NameProblem::NotNamespace,
                    NameProblemHead::NotGroup => NameProblem::NotGroup,
                },
            }),
            InvalidHead::StreamTwice(stream) => Self::StreamTwice(stream),
            InvalidHead::IdTwice(id) => Self::IdTwice(EventId::from_bytes(id)),
            InvalidHead::EmptyQuery => Self::EmptyQuery,
            InvalidHead::NothingToDo => Self::NothingToDo,
            InvalidHead::Request(why) => Self::Request(why),
        }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
enum CorruptionKindHead {
    Checksum(String),
    Malformed(String),
    Missing,
    Truncated,
    Foreign(String),
    Chain,
    Acknowledged { segment: u64, durable_end: u64 },
    Unreadable(String),
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct CorruptionHead {
    file: String,
    offset_bytes: u64,
    kind: CorruptionKindHead,
}

impl From<&Corruption> for CorruptionHead {
    fn from(corruption: &Corruption) -> Self {
        Self {
            file: corruption.file.clone(),
            offset_bytes: corruption.offset_bytes,
            kind: match &corruption.kind {
                CorruptionKind::Checksum(what) => {
                    CorruptionKindHead::Checksum(what.clone().into_owned())
                }
                CorruptionKind::Malformed(what) => {
                    CorruptionKindHead::Malformed(what.clone().into_owned())
                }
                CorruptionKind::Missing => CorruptionKindHead::Missing,
                CorruptionKind::Truncated => CorruptionKindHead::Truncated,
                CorruptionKind::Foreign(what) => {
                    CorruptionKindHead::Foreign(what.clone().into_owned())
                }
                CorruptionKind::Chain => CorruptionKindHead::Chain,
                &CorruptionKind::Acknowledged { segment, durable_end } => {
                    CorruptionKindHead::Acknowledged { segment, durable_end }
                }
                CorruptionKind::Unreadable(why) => CorruptionKindHead::Unreadable(why.clone()),
            },
        }
    }
}

impl From<CorruptionHead> for Box<Corruption> {
    fn from(head: CorruptionHead) -> Self {
        Self::new(Corruption {
            file: head.file,
            offset_bytes: head.offset_bytes,
            kind: match head.kind {
                CorruptionKindHead::Checksum(what) => CorruptionKind::Checksum(what.into()),
                CorruptionKindHead::Malformed(what) => CorruptionKind::Malformed(what.into()),
                CorruptionKindHead::Missing => CorruptionKind::Missing,
                CorruptionKindHead::Truncated => CorruptionKind::Truncated,
                CorruptionKindHead::Foreign(what) => CorruptionKind::Foreign(what.into()),
                CorruptionKindHead::Chain => CorruptionKind::Chain,
                CorruptionKindHead::Acknowledged { segment, durable_end } => {
                    CorruptionKind::Acknowledged { segment, durable_end }
                }
                CorruptionKindHead::Unreadable(why) => CorruptionKind::Unreadable(why),
            },
        })
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
enum ClauseHead {
    Stream { stream: String, expected: ExpectedHead, found: StateHead },
    Boundary,
    Absent,
    Ids { stored: u64, given: u64 },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
enum UnavailableHead {
    DiskFull,
    Closed,
    ReadOnly,
    ClockJump { jump_s: u64 },
    CannotGrow(String),
    NotReachable(String),
}

impl From<&Unavailable> for UnavailableHead {
    fn from(unavailable: &Unavailable) -> Self {
        match unavailable {
            Unavailable::DiskFull => Self::DiskFull,
            Unavailable::Closed => Self::Closed,
            Unavailable::ReadOnly => Self::ReadOnly,
            &Unavailable::ClockJump { jump_s } => Self::ClockJump { jump_s },
            Unavailable::CannotGrow(why) => Self::CannotGrow(why.clone()),
            Unavailable::NotReachable(why) => Self::NotReachable(why.clone()),
        }
    }
}

impl From<UnavailableHead> for Unavailable {
    fn from(head: UnavailableHead) -> Self {
        match head {
            UnavailableHead::DiskFull => Self::DiskFull,
            UnavailableHead::Closed => Self::Closed,
            UnavailableHead::ReadOnly => Self::ReadOnly,
            UnavailableHead::ClockJump { jump_s } => Self::ClockJump { jump_s },
            UnavailableHead::CannotGrow(why) => Self::CannotGrow(why),
            UnavailableHead::NotReachable(why) => Self::NotReachable(why),
        }
    }
}

/// [`AppendError`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct AppendFailure(AppendFailureHead);

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
enum AppendFailureHead {
    Invalid(InvalidHead),
    TooLarge {
        what: String,
        size: u64,
        max: u64,
    },
    Unauthenticated {
        reason: String,
    },
    Denied {
        reason: String,
    },
    NotFound {
        what: String,
    },
    Deleted {
        stream: String,
    },
    Conflict {
        clause: ClauseHead,
        positions: Vec<u64>,
    },
    IdReused {
        id: [u8; 16],
        position: u64,
    },
    BelowRetention {
        what: String,
    },
    RateLimited {
        retry_after_ms: u64,
    },
    Overloaded {
        waited_ms: u64,
        retry_after_ms: u64,
    },
    Unknown,
    Poisoned {
        at: Option<u64>,
    },
    Unavailable(UnavailableHead),
    Corruption(CorruptionHead),
    /// From [`PROTOCOL_SCHEMAS`] on.
    SchemaInvalid(Vec<SchemaProblemHead>),
    /// From [`PROTOCOL_SCHEMAS`] on.
    Incompatible(Vec<IncompatibilityHead>),
    DeniedBy {
        reason: String,
        denial: DenialHead,
    },
}

pub(super) fn ms_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn conflict_head(conflict: &Conflict) -> AppendFailureHead {
    AppendFailureHead::Conflict {
        clause: match &conflict.clause {
            Clause::Stream { stream, expected, found } => ClauseHead::Stream {
                stream: stream.clone(),
                expected: (*expected).into(),
                found: (*found).into(),
            },
            Clause::Boundary => ClauseHead::Boundary,
            Clause::Absent => ClauseHead::Absent,
            &Clause::Ids { stored, given } => {
                ClauseHead::Ids { stored: stored as u64, given: given as u64 }
            }
        },
        positions: conflict.positions.iter().map(|position| position.get()).collect(),
    }
}

fn conflict_of(clause: ClauseHead, positions: Vec<u64>) -> Box<Conflict> {
    Box::new(Conflict {
        clause: match clause {
            ClauseHead::Stream { stream, expected, found } => {
                Clause::Stream { stream, expected: expected.into(), found: found.into() }
            }
            ClauseHead::Boundary => Clause::Boundary,
            ClauseHead::Absent => Clause::Absent,
            ClauseHead::Ids { stored, given } => {
                Clause::Ids { stored: usize_of(stored), given: usize_of(given) }
            }
        },
        positions: positions.into_iter().map(Position::new).collect(),
    })
}

impl From<&AppendError> for AppendFailure {
    fn from(error: &AppendError) -> Self {
        use AppendFailureHead as Head;
        Self(match error {
            AppendError::Invalid(invalid) => Head::Invalid((&**invalid).into()),
            AppendError::TooLarge(TooLarge { what, size, max }) => Head::TooLarge {
                what: what.clone().into_owned(),
                size: *size as u64,
                max: *max as u64,
            },
            AppendError::Unauthenticated { reason } => {
                Head::Unauthenticated { reason: reason.clone() }
            }
            AppendError::Denied { reason, denial } => match denial {
                None => Head::Denied { reason: reason.clone() },
                Some(denial) => {
                    Head::DeniedBy { reason: reason.clone(), denial: (&**denial).into() }
                }
            },
            AppendError::NotFound { what } => Head::NotFound { what: what.clone() },
            AppendError::Deleted { stream } => Head::Deleted { stream: stream.clone() },
            AppendError::Conflict(conflict) => conflict_head(conflict),
            AppendError::IdReused { id, position } => {
                Head::IdReused { id: *id.as_bytes(), position: position.get() }
            }
            AppendError::BelowRetention { what } => Head::BelowRetention { what: what.clone() },
            AppendError::RateLimited { retry_after } => {
                Head::RateLimited { retry_after_ms: ms_of(*retry_after) }
            }
            AppendError::Overloaded { waited_ms, retry_after } => {
                Head::Overloaded { waited_ms: *waited_ms, retry_after_ms: ms_of(*retry_after) }
            }
            AppendError::Unknown => Head::Unknown,
            AppendError::Poisoned { at } => Head::Poisoned { at: at.map(Position::get) },
            AppendError::Unavailable(why) => Head::Unavailable(why.into()),
            AppendError::Corruption(corruption) => Head::Corruption((&**corruption).into()),
            AppendError::SchemaInvalid(problems) => {
                Head::SchemaInvalid(problems.iter().map(Into::into).collect())
            }
            AppendError::Incompatible(found) => {
                Head::Incompatible(found.iter().map(Into::into).collect())
            }
        })
    }
}

impl From<AppendFailure> for AppendError {
    fn from(failure: AppendFailure) -> Self {
        use AppendFailureHead as Head;
        match failure.0 {
            Head::Invalid(invalid) => Invalid::from(invalid).into(),
            Head::TooLarge { what, size, max } => Self::TooLarge(TooLarge {
                what: what.into(),
                size: usize_of(size),
                max: usize_of(max),
            }),
            Head::Unauthenticated { reason } => Self::Unauthenticated { reason },
            Head::Denied { reason } => Self::Denied { reason, denial: None },
            Head::DeniedBy { reason, denial } => {
                Self::Denied { reason, denial: Some(Box::new(denial.into())) }
            }
            Head::NotFound { what } => Self::NotFound { what },
            Head::Deleted { stream } => Self::Deleted { stream },
            Head::Conflict { clause, positions } => Self::Conflict(conflict_of(clause, positions)),
            Head::IdReused { id, position } => {
                Self::IdReused { id: EventId::from_bytes(id), position: Position::new(position) }
            }
            Head::BelowRetention { what } => Self::BelowRetention { what },
            Head::RateLimited { retry_after_ms } => {
                Self::RateLimited { retry_after: Duration::from_millis(retry_after_ms) }
            }
            Head::Overloaded { waited_ms, retry_after_ms } => {
                Self::Overloaded { waited_ms, retry_after: Duration::from_millis(retry_after_ms) }
            }
            Head::Unknown => Self::Unknown,
            Head::Poisoned { at } => Self::Poisoned { at: at.map(Position::new) },
            Head::Unavailable(why) => Self::Unavailable(why.into()),
            Head::Corruption(corruption) => Self::Corruption(corruption.into()),
            Head::SchemaInvalid(problems) => {
                Self::SchemaInvalid(problems.into_iter().map(Into::into).collect())
            }
            Head::Incompatible(found) => {
                Self::Incompatible(found.into_iter().map(Into::into).collect())
            }
        }
    }
}

/// An error as a peer is told it that speaks a version: what that version has no word for is said in words.
pub fn in_version(error: AppendError, version: u16) -> AppendError {
    match error {
        AppendError::SchemaInvalid(_) | AppendError::Incompatible(_)
            if version < PROTOCOL_SCHEMAS =>
        {
            let full = match &error {
                AppendError::SchemaInvalid(problems) => {
                    problems.first().map(SchemaProblem::in_full)
                }
                _ => None,
            };
            Invalid::Request(full.unwrap_or_else(|| error.to_string())).into()
        }
        AppendError::Denied { reason, .. } if version < PROTOCOL_SCHEMAS => {
            AppendError::Denied { reason, denial: None }
        }
        error => error,
    }
}
