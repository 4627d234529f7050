//! Typed numbers and identities. Numbers are newtypes without arithmetic across kinds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);
            /// The largest that can be named.
            pub const MAX: Self = Self(u64::MAX);

            /// The one with this number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Its number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after it; the largest stays.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The one before it, if any.
            pub const fn previous(self) -> Option<Self> {
                match self.0.checked_sub(1) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number!(
    /// Place of an event in the log: dense, from 0, in commit order. A gap is corruption.
    Position
);
number!(
    /// Place of an event in its stream: dense, from 0; it survives truncation and soft delete.
    Revision
);

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// From a UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// As a UUID.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }

            /// From its 16 bytes in network order.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes in network order.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }
    };
}

identity!(
    /// Identity of an event, made by the client (version 7 advised): what idempotency goes by.
    EventId
);
identity!(
    /// Identity of a log, made at its creation and never changed.
    LogId
);
identity!(
    /// What a group of events belongs to, across streams: one request, one process.
    CorrelationId
);
identity!(
    /// The event or command that caused this one.
    CausationId
);

impl LogId {
    /// The id of event `ordinal` of an append that has an idempotency key and no ids of its own:
    /// UUIDv5(log id, principal ‖ 0 ‖ key ‖ 0 ‖ ordinal as u64, little-endian).
    pub fn keyed_event_id(self, principal: &str, key: &str, ordinal: u64) -> EventId {
        let mut name = Vec::with_capacity(principal.len() + key.len() + 10);
        name.extend_from_slice(principal.as_bytes());
        name.push(0);
        name.extend_from_slice(key.as_bytes());
        name.push(0);
        name.extend_from_slice(&ordinal.to_le_bytes());
        EventId(Uuid::new_v5(&self.0, &name))
    }
}

/// Identity of a log's history. A restore to an earlier point, a repair that gives up events, and a
/// forced recovery start a new one. From 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(u32);

impl Lineage {
    /// The lineage of a new log.
    pub const FIRST: Self = Self(1);

    /// The lineage with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The one that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of a registered schema, given by the log; 0 stands for none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SchemaId(u32);

impl SchemaId {
    /// No schema.
    pub const NONE: Self = Self(0);

    /// The schema with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_ids_depend_on_log_principal_key_and_ordinal() {
        let log = LogId::from_bytes([1; 16]);
        let id = log.keyed_event_id("anna", "k", 0);
        assert_eq!(id, log.keyed_event_id("anna", "k", 0));
        assert_eq!(id.as_uuid().get_version_num(), 5);
        for other in [
            log.keyed_event_id("anna", "k", 1),
            log.keyed_event_id("anna", "l", 0),
            log.keyed_event_id("ann", "ak", 0),
            LogId::from_bytes([2; 16]).keyed_event_id("anna", "k", 0),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn numbers_stop_at_their_ends() {
        assert_eq!(Position::MAX.next(), Position::MAX);
        assert_eq!(Position::ZERO.previous(), None);
        assert_eq!(Revision::new(4).next().previous(), Some(Revision::new(4)));
    }
}
