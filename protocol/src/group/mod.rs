//! The words of consumer groups: what a group is, what it delivers, and what consumers answer.

mod answer;
mod config;
mod effect;
mod info;
mod lane_by;
mod parked;
mod rule;
mod token;

pub use answer::{Answered, Failure, Nack, NackAction, Refused, RefusedToken};
pub use config::{
    ACK_DEADLINE_MAX, ACK_DEADLINE_MIN, BACKOFF_MAX, Backoff, GroupConfig, GroupMode, GroupStart,
    InvalidGroup,
};
pub use effect::effect_id;
pub use info::{GroupInfo, GroupState, LaneInfo, MemberInfo, PauseInfo};
pub use lane_by::{InvalidLaneBy, LaneBy};
pub use parked::{ParkedEntry, ParkedList, ParkedPage, ParkedPick};
pub use rule::{ParkedRule, RULE_RETRY_MAX, RuleEnd};
pub use token::{DeliveryToken, InvalidToken};

pub use crate::limits::{
    ATTEMPTS_MAX, ERROR_BYTES_MAX, GROUP_NAME_BYTES_MAX, IN_FLIGHT_MAX, LANES_MAX,
};
use crate::names::{InvalidName, NameProblem};
use crate::record::RecordedEvent;
use crate::time::Timestamp;

/// How the streams are called in which groups keep what they have done: this, and the name of the group.
pub const GROUP_PREFIX: &str = "$group-";

/// How the streams are called that hold what was decided about parked events: this, and the name of the group.
pub const PARKED_PREFIX: &str = "$parked-";

/// An event for a consumer, as it is to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// To answer with.
    pub token: DeliveryToken,
    /// From 1: how often it was tried, with this time.
    pub attempt: u32,
    /// The lane it belongs to.
    pub lane: u32,
    /// It has to be answered before.
    pub deadline: Timestamp,
    /// The event.
    pub event: RecordedEvent,
    /// The further parts that the transforms of its schema made of it; mostly none. They are answered with it.
    pub parts: Vec<RecordedEvent>,
}

impl Delivery {
    /// The event, and its further parts.
    pub fn events(&self) -> impl Iterator<Item = &RecordedEvent> {
        std::iter::once(&self.event).chain(&self.parts)
    }
}

/// Checks the name of a group: letters, digits, `-`, `_`, and `.`, with a letter or digit first.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_group_name(name: &str) -> Result<(), InvalidName> {
    crate::names::check("group name", name, GROUP_NAME_BYTES_MAX)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let allowed = |byte: u8| plain(byte) || matches!(byte, b'-' | b'_' | b'.');
    if name.bytes().next().is_some_and(plain) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(crate::names::invalid("group name", name, NameProblem::NotGroup))
}

/// Checks what a group is named by: its name, or that of the own group of a consumer, `GROUP@CONSUMER`.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_group(name: &str) -> Result<(), InvalidName> {
    match own_group_parts(name) {
        Some((group, consumer)) => check_group_name(group).and_then(|()| check_consumer(consumer)),
        None => check_group_name(name),
    }
}

/// What the own group of a consumer is named by, of a group that broadcasts.
pub fn own_group(group: &str, consumer: &str) -> String {
    format!("{group}@{consumer}")
}

/// Of which group and which consumer it is the own group; `None`: it is none.
pub fn own_group_parts(name: &str) -> Option<(&str, &str)> {
    name.split_once('@')
}

/// Checks the name of a consumer: anything without control characters.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_consumer(name: &str) -> Result<(), InvalidName> {
    crate::names::check("consumer", name, GROUP_NAME_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_are_plain() {
        for name in ["orders", "a", "Mail-2.x_y", &"a".repeat(128)] {
            assert!(check_group_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "$a", "a/b", "ä", "a b", &"a".repeat(129)] {
            assert!(check_group_name(name).is_err(), "{name}");
        }
        assert!(check_group("mail").is_ok() && check_group("mail@host@7").is_ok());
        assert_eq!(own_group_parts(&own_group("mail", "host@7")), Some(("mail", "host@7")));
        for name in ["", "@", "mail@", "@host", "ma/il@host", "mail@a\n"] {
            assert!(check_group(name).is_err(), "{name}");
        }
        assert!(check_consumer("host 7 / größe").is_ok());
        assert!(check_consumer("a\n").is_err());
    }
}
