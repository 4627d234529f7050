//! Stable codes of errors: what programs, scripts, and searches of the documentation go by.
//!
//! A code is never renumbered, and never used again for something else. Each has a page,
//! `docs/errors/NXnnnn.md`. The thousands say what kind of thing went wrong: 1 the request, 2 what
//! is stored already, 3 the store as it is now, 4 bytes on disk. The status is HTTP's.

use std::fmt;

use crate::error::{AppendError, ReadError};

/// The code of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode {
    /// Its number: 1001 of `NX1001`.
    pub number: u16,
    /// Its name, as answers spell it.
    pub name: &'static str,
    /// The HTTP status that it travels with.
    pub status: u16,
}

impl ErrorCode {
    /// The request cannot be right.
    pub const INVALID: Self = Self::new("NX1001", "invalid", 400);
    /// Something in the request is over its limit.
    pub const TOO_LARGE: Self = Self::new("NX1002", "too_large", 413);
    /// The caller may not do this.
    pub const DENIED: Self = Self::new("NX1003", "denied", 403);
    /// What is asked for is not there.
    pub const NOT_FOUND: Self = Self::new("NX1004", "not_found", 404);
    /// Nobody knows who asks.
    pub const UNAUTHENTICATED: Self = Self::new("NX1005", "unauthenticated", 401);
    /// What is asked for cannot be done with what is named.
    pub const METHOD_NOT_ALLOWED: Self = Self::new("NX1006", "method_not_allowed", 405);
    /// The request is of a media type that is not taken here.
    pub const UNSUPPORTED_MEDIA: Self = Self::new("NX1007", "unsupported_media", 415);
    /// The request did not arrive in time.
    pub const TOO_SLOW: Self = Self::new("NX1008", "too_slow", 408);
    /// Data does not follow its schema.
    pub const SCHEMA_INVALID: Self = Self::new("NX1009", "schema_invalid", 422);
    /// Something stands in the way of an append.
    pub const CONFLICT: Self = Self::new("NX2001", "conflict", 412);
    /// An event id is stored already, with other content.
    pub const ID_REUSED: Self = Self::new("NX2002", "id_reused", 409);
    /// The stream is deleted for good.
    pub const STREAM_DELETED: Self = Self::new("NX2003", "stream_deleted", 410);
    /// What the condition of an append asks about is no longer kept.
    pub const BELOW_RETENTION: Self = Self::new("NX2004", "below_retention", 410);
    /// A token belongs to an earlier history of the log.
    pub const LINEAGE_CHANGED: Self = Self::new("NX2005", "lineage_changed", 410);
    /// A schema does not go together with the versions before it, or an event cannot be shown in another version.
    pub const INCOMPATIBLE: Self = Self::new("NX2006", "incompatible", 409);
    /// The queue of appends stayed full.
    pub const OVERLOADED: Self = Self::new("NX3001", "overloaded", 503);
    /// The store takes no appends, or no reads, now.
    pub const UNAVAILABLE: Self = Self::new("NX3002", "unavailable", 503);
    /// A write or sync failed: the log takes nothing until it is opened anew.
    pub const POISONED: Self = Self::new("NX3003", "poisoned", 503);
    /// The append may be stored, or may not be.
    pub const OUTCOME_UNKNOWN: Self = Self::new("NX3004", "outcome_unknown", 504);
    /// The caller asks for more than it may have in that time.
    pub const RATE_LIMITED: Self = Self::new("NX3005", "rate_limited", 429);
    /// A projection has not come as far as it was asked to in time.
    pub const NOT_CAUGHT_UP: Self = Self::new("NX3006", "not_caught_up", 503);
    /// Bytes on disk are not what was written.
    pub const CORRUPTION: Self = Self::new("NX4001", "corruption", 500);

    /// Every code, in order.
    pub const ALL: [Self; 22] = [
        Self::INVALID,
        Self::TOO_LARGE,
        Self::DENIED,
        Self::NOT_FOUND,
        Self::UNAUTHENTICATED,
        Self::METHOD_NOT_ALLOWED,
        Self::UNSUPPORTED_MEDIA,
        Self::TOO_SLOW,
        Self::SCHEMA_INVALID,
        Self::CONFLICT,
        Self::ID_REUSED,
        Self::STREAM_DELETED,
        Self::BELOW_RETENTION,
        Self::LINEAGE_CHANGED,
        Self::INCOMPATIBLE,
        Self::OVERLOADED,
        Self::UNAVAILABLE,
        Self::POISONED,
        Self::OUTCOME_UNKNOWN,
        Self::RATE_LIMITED,
        Self::NOT_CAUGHT_UP,
        Self::CORRUPTION,
    ];

    /// From its printed form, so that the source and its page are found by one search.
    const fn new(code: &str, name: &'static str, status: u16) -> Self {
        let [b'N', b'X', digits @ ..] = code.as_bytes() else {
            panic!("a code is NX and four digits");
        };
        assert!(digits.len() == 4, "a code is NX and four digits");
        let (mut number, mut at) = (0, 0);
        while at < digits.len() {
            assert!(digits[at].is_ascii_digit(), "a code is NX and four digits");
            number = number * 10 + (digits[at] - b'0') as u16;
            at += 1;
        }
        Self { number, name, status }
    }
}

impl fmt::Display for ErrorCode {
    /// Prints `NX1001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NX{:04}", self.number)
    }
}

impl AppendError {
    /// Its stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::INVALID,
            Self::TooLarge(_) => ErrorCode::TOO_LARGE,
            Self::Unauthenticated { .. } => ErrorCode::UNAUTHENTICATED,
            Self::Denied { .. } => ErrorCode::DENIED,
            Self::NotFound { .. } => ErrorCode::NOT_FOUND,
            Self::RateLimited { .. } => ErrorCode::RATE_LIMITED,
            Self::Deleted { .. } => ErrorCode::STREAM_DELETED,
            Self::Conflict(_) => ErrorCode::CONFLICT,
            Self::IdReused { .. } => ErrorCode::ID_REUSED,
            Self::BelowRetention { .. } => ErrorCode::BELOW_RETENTION,
            Self::Overloaded { .. } => ErrorCode::OVERLOADED,
            Self::Unknown => ErrorCode::OUTCOME_UNKNOWN,
            Self::Poisoned { .. } => ErrorCode::POISONED,
            Self::Unavailable(_) => ErrorCode::UNAVAILABLE,
            Self::Corruption(_) => ErrorCode::CORRUPTION,
            Self::SchemaInvalid(_) => ErrorCode::SCHEMA_INVALID,
            Self::Incompatible(_) => ErrorCode::INCOMPATIBLE,
        }
    }
}

impl ReadError {
    /// Its stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::INVALID,
            Self::Unauthenticated { .. } => ErrorCode::UNAUTHENTICATED,
            Self::Denied { .. } => ErrorCode::DENIED,
            Self::NotFound { .. } => ErrorCode::NOT_FOUND,
            Self::RateLimited { .. } => ErrorCode::RATE_LIMITED,
            Self::Deleted { .. } => ErrorCode::STREAM_DELETED,
            Self::LineageChanged { .. } => ErrorCode::LINEAGE_CHANGED,
            Self::NotConverted { .. } => ErrorCode::INCOMPATIBLE,
            Self::Corruption { .. } => ErrorCode::CORRUPTION,
            Self::Poisoned { .. } => ErrorCode::POISONED,
            Self::NotCaughtUp { .. } => ErrorCode::NOT_CAUGHT_UP,
            Self::Unavailable { .. } | Self::Closed => ErrorCode::UNAVAILABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Unavailable;

    #[test]
    fn codes_are_ascending_so_that_no_two_are_the_same() {
        assert!(ErrorCode::ALL.is_sorted_by(|a, b| a.number < b.number));
        let names: std::collections::BTreeSet<_> = ErrorCode::ALL.map(|code| code.name).into();
        assert_eq!(names.len(), ErrorCode::ALL.len());
    }

    /// Fixed for good: a line may be added here, and none changed.
    #[test]
    fn codes_are_never_renumbered() {
        let printed = ErrorCode::ALL.map(|code| format!("{code} {} {}", code.name, code.status));
        let fixed = [
            "NX1001 invalid 400",
            "NX1002 too_large 413",
            "NX1003 denied 403",
            "NX1004 not_found 404",
            "NX1005 unauthenticated 401",
            "NX1006 method_not_allowed 405",
            "NX1007 unsupported_media 415",
            "NX1008 too_slow 408",
            "NX1009 schema_invalid 422",
            "NX2001 conflict 412",
            "NX2002 id_reused 409",
            "NX2003 stream_deleted 410",
            "NX2004 below_retention 410",
            "NX2005 lineage_changed 410",
            "NX2006 incompatible 409",
            "NX3001 overloaded 503",
            "NX3002 unavailable 503",
            "NX3003 poisoned 503",
            "NX3004 outcome_unknown 504",
            "NX3005 rate_limited 429",
            "NX3006 not_caught_up 503",
            "NX4001 corruption 500",
        ];
        assert_eq!(printed.as_slice(), fixed);
    }

    #[test]
    fn errors_have_codes() {
        assert_eq!(AppendError::Unknown.code(), ErrorCode::OUTCOME_UNKNOWN);
        let closed = AppendError::Unavailable(Unavailable::Closed);
        assert_eq!(closed.code(), ReadError::Closed.code());
    }
}
