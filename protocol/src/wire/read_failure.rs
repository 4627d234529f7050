//! Errors of reads on the wire.

use std::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};

use super::failure::{CorruptionHead, InvalidHead, ms_of};
use super::policy::DenialHead;
use super::{PROTOCOL_PROJECTIONS, PROTOCOL_SCHEMAS};
use crate::error::{Invalid, ReadError};
use crate::ids::{Lineage, Position};

/// An error as a peer is told it that speaks a version: what that version has no word for is left out.
pub fn read_in_version(error: ReadError, version: u16) -> ReadError {
    match error {
        ReadError::Denied { reason, .. } if version < PROTOCOL_SCHEMAS => {
            ReadError::Denied { reason, denial: None }
        }
        ReadError::NotCaughtUp { .. } if version < PROTOCOL_PROJECTIONS => {
            ReadError::Unavailable { reason: error.to_string() }
        }
        error => error,
    }
}

/// [`ReadError`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ReadFailure(ReadFailureHead);

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
enum ReadFailureHead {
    Invalid(InvalidHead),
    Unauthenticated { reason: String },
    Denied { reason: String },
    NotFound { what: String },
    Deleted { stream: String },
    LineageChanged { given: u32, current: u32 },
    RateLimited { retry_after_ms: u64 },
    Corruption { position: u64, resume_at: Option<u64>, corruption: CorruptionHead },
    Poisoned { at: Option<u64> },
    Unavailable { reason: String },
    Closed,
    NotConverted { position: u64, why: String },
    DeniedBy { reason: String, denial: DenialHead },
    NotCaughtUp { wanted: u64, at: Option<u64>, waited_ms: u64 },
}

impl From<&ReadError> for ReadFailure {
    fn from(error: &ReadError) -> Self {
        use ReadFailureHead as Head;
        Self(match error {
            ReadError::Invalid(invalid) => Head::Invalid((&**invalid).into()),
            ReadError::Unauthenticated { reason } => {
                Head::Unauthenticated { reason: reason.clone() }
            }
            ReadError::Denied { reason, denial } => match denial {
                None => Head::Denied { reason: reason.clone() },
                Some(denial) => {
                    Head::DeniedBy { reason: reason.clone(), denial: (&**denial).into() }
                }
            },
            ReadError::NotFound { what } => Head::NotFound { what: what.clone() },
            ReadError::Deleted { stream } => Head::Deleted { stream: stream.clone() },
            ReadError::LineageChanged { given, current } => {
                Head::LineageChanged { given: given.get(), current: current.get() }
            }
            ReadError::RateLimited { retry_after } => {
                Head::RateLimited { retry_after_ms: ms_of(*retry_after) }
            }
            ReadError::Corruption { position, resume_at, corruption } => Head::Corruption {
                position: position.get(),
                resume_at: resume_at.map(Position::get),
                corruption: (&**corruption).into(),
            },
            ReadError::Poisoned { at } => Head::Poisoned { at: at.map(Position::get) },
            ReadError::Unavailable { reason } => Head::Unavailable { reason: reason.clone() },
            ReadError::Closed => Head::Closed,
            ReadError::NotConverted { position, why } => {
                Head::NotConverted { position: position.get(), why: why.clone() }
            }
            ReadError::NotCaughtUp { wanted, at, waited_ms } => Head::NotCaughtUp {
                wanted: wanted.get(),
                at: at.map(Position::get),
                waited_ms: *waited_ms,
            },
        })
    }
}

impl From<ReadFailure> for ReadError {
    fn from(failure: ReadFailure) -> Self {
        use ReadFailureHead as Head;
        match failure.0 {
            Head::Invalid(invalid) => Invalid::from(invalid).into(),
            Head::Unauthenticated { reason } => Self::Unauthenticated { reason },
            Head::Denied { reason } => Self::Denied { reason, denial: None },
            Head::DeniedBy { reason, denial } => {
                Self::Denied { reason, denial: Some(Box::new(denial.into())) }
            }
            Head::NotFound { what } => Self::NotFound { what },
            Head::Deleted { stream } => Self::Deleted { stream },
            Head::LineageChanged { given, current } => {
                Self::LineageChanged { given: Lineage::new(given), current: Lineage::new(current) }
            }
            Head::RateLimited { retry_after_ms } => {
                Self::RateLimited { retry_after: Duration::from_millis(retry_after_ms) }
            }
            Head::Corruption { position, resume_at, corruption } => Self::Corruption {
                position: Position::new(position),
                resume_at: resume_at.map(Position::new),
                corruption: corruption.into(),
            },
            Head::Poisoned { at } => Self::Poisoned { at: at.map(Position::new) },
            Head::Unavailable { reason } => Self::Unavailable { reason },
            Head::Closed => Self::Closed,
            Head::NotConverted { position, why } => {
                Self::NotConverted { position: Position::new(position), why }
            }
            Head::NotCaughtUp { wanted, at, waited_ms } => Self::NotCaughtUp {
                wanted: Position::new(wanted),
                at: at.map(Position::new),
                waited_ms,
            },
        }
    }
}
