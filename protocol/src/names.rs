//! Names that outsiders choose: streams, types, tags, namespaces. Checked once, here.
//!
//! Names are compared bytewise and never normalised: two spellings that look alike are two names.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{
    CONTENT_TYPE_BYTES_MAX, EVENT_TYPE_BYTES_MAX, NAMESPACE_NAME_BYTES_MAX, STREAM_NAME_BYTES_MAX,
    SYSTEM_STREAM_NAME_BYTES_MAX, TAG_BYTES_MAX,
};
use crate::snapshot::{SNAPSHOT_PREFIX, SNAPSHOT_TAKEN};
use crate::timer::{TIMER_ARMED, TIMER_DISARMED, TIMER_PREFIX};

/// Characters of a name that an error shows.
const NAME_CHARACTERS_SHOWN: usize = 64;

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} {problem}")]
pub struct InvalidName {
    /// Which kind of name: `stream name`, `event type`, `tag`, …
    pub what: Cow<'static, str>,
    /// The name; only its first 64 characters and `…` where it has more.
    pub name: String,
    /// What is wrong with it and what would be right.
    pub problem: NameProblem,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// Nothing there.
    #[error("is empty: give it at least one character")]
    Empty,
    /// Too many bytes.
    #[error("has {bytes} bytes: at most {max} are allowed")]
    TooLong {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        max: usize,
    },
    /// A control character.
    #[error("has a control character at byte {at}: take it out")]
    Control {
        /// Offset in bytes.
        at: usize,
    },
    /// A leading `-`, which would leave the category empty.
    #[error("starts with `-`: the part before the first `-` is the category and cannot be empty")]
    EmptyCategory,
    /// A tag without key or value.
    #[error("is not `key:value` with a key and a value that are not empty")]
    NotKeyValue,
    /// A namespace with other characters.
    #[error("is not made of a-z, 0-9, and `-`, with a letter or digit first")]
    NotNamespace,
    /// A group with other characters.
    #[error("is not made of letters a-z, digits, `-`, `_`, and `.`, with a letter or digit first")]
    NotGroup,
}

/// Checks length and control characters.
pub(crate) fn check(what: &'static str, name: &str, bytes_max: usize) -> Result<(), InvalidName> {
    let problem = if name.is_empty() {
        NameProblem::Empty
    } else if name.len() > bytes_max {
        NameProblem::TooLong { bytes: name.len(), max: bytes_max }
    } else if name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        // Nearly every name, a byte at a time: this is asked for every name of every event.
        return Ok(());
    } else if let Some((at, _)) = name.char_indices().find(|(_, c)| c.is_control()) {
        NameProblem::Control { at }
    } else {
        return Ok(());
    };
    Err(invalid(what, name, problem))
}

pub(crate) fn invalid(what: &'static str, name: &str, problem: NameProblem) -> InvalidName {
    let mut shown: String = name.chars().take(NAME_CHARACTERS_SHOWN).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    InvalidName { what: what.into(), name: shown, problem }
}

/// Checks the name of a stream, a user's or the system's.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_stream_name(name: &str) -> Result<(), InvalidName> {
    let bytes_max =
        if is_system(name) { SYSTEM_STREAM_NAME_BYTES_MAX } else { STREAM_NAME_BYTES_MAX };
    check("stream name", name, bytes_max)?;
    if name.starts_with('-') {
        return Err(invalid("stream name", name, NameProblem::EmptyCategory));
    }
    Ok(())
}

/// Checks an event type.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_event_type(name: &str) -> Result<(), InvalidName> {
    check("event type", name, EVENT_TYPE_BYTES_MAX)
}

/// Checks a content type; empty is legal and means unknown.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_content_type(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() { Ok(()) } else { check("content type", name, CONTENT_TYPE_BYTES_MAX) }
}

/// Checks a tag: `key:value`, split at the first `:`.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_tag(tag: &str) -> Result<(), InvalidName> {
    check("tag", tag, TAG_BYTES_MAX)?;
    match tag.split_once(':') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok(()),
        _ => Err(invalid("tag", tag, NameProblem::NotKeyValue)),
    }
}

/// Whether a stream is the system's.
pub fn is_system(stream: &str) -> bool {
    stream.starts_with('$')
}

/// The types of events that a client may append to a stream of the system: none to most.
pub fn client_types(stream: &str) -> &'static [&'static str] {
    if stream.starts_with(SNAPSHOT_PREFIX) {
        &[SNAPSHOT_TAKEN]
    } else if stream.starts_with(TIMER_PREFIX) {
        &[TIMER_ARMED, TIMER_DISARMED]
    } else {
        &[]
    }
}

/// Whether a client may append an event of this type to this stream, where it may append at all: any but those that begin
/// with `$` to a stream of users, and what [`client_types`] names to one of the system.
pub fn client_may_append(stream: &str, event_type: &str) -> bool {
    if is_system(stream) {
        client_types(stream).contains(&event_type)
    } else {
        !event_type.starts_with('$')
    }
}

/// The category of a stream: the part before the first `-`, the whole name where there is none.
pub fn category(stream: &str) -> &str {
    stream.split_once('-').map_or(stream, |(category, _)| category)
}

/// The name of a stream, checked. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// A checked name.
    ///
    /// # Errors
    /// Empty, over-long, with control characters, or with an empty category.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check_stream_name(name).map(|()| Self(name.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `-`, the whole name where there is none.
    pub fn category(&self) -> &str {
        category(&self.0)
    }

    /// Whether it is the system's.
    pub fn is_system(&self) -> bool {
        is_system(&self.0)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StreamName {
    type Error = InvalidName;
    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(&name)
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl std::str::FromStr for StreamName {
    type Err = InvalidName;
    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

/// The name of a namespace: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceName(Arc<str>);

impl NamespaceName {
    /// The namespace that an engine stands for when none is named.
    pub const DEFAULT: &'static str = "default";
    /// The namespace that holds what is the node's own, such as tokens. No user can name it.
    pub const SYSTEM: &'static str = "$system";

    /// A checked name.
    ///
    /// # Errors
    /// Other characters, or too long.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check("namespace", name, NAMESPACE_NAME_BYTES_MAX)?;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let mut bytes = name.bytes();
        if bytes.next().is_some_and(allowed) && bytes.all(|b| allowed(b) || b == b'-') {
            Ok(Self(name.into()))
        } else {
            Err(invalid("namespace", name, NameProblem::NotNamespace))
        }
    }

    /// The namespace of the node's own.
    pub fn system() -> Self {
        Self(Self::SYSTEM.into())
    }

    /// Whether a log may stand in a folder of this name: a user's, or the node's own.
    pub fn is_folder(name: &str) -> bool {
        name == Self::SYSTEM || Self::new(name).is_ok()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_are_checked() {
        let ok = ["a", "order-1", "a b", "über-größe", "$meta-order-1", &"x".repeat(512)];
        ok.iter().for_each(|name| assert!(check_stream_name(name).is_ok(), "{name}"));
        assert!(check_stream_name(&format!("$meta-{}", "x".repeat(512))).is_ok());
        let bad = ["", "-x", "a\nb", "a\u{0}", "a\u{7f}", &"x".repeat(513), &"é".repeat(257)];
        bad.iter().for_each(|name| assert!(check_stream_name(name).is_err(), "{name}"));
    }

    #[test]
    fn tags_need_key_and_value() {
        ["a:b", "a:b:c", "k: "].iter().for_each(|tag| assert!(check_tag(tag).is_ok(), "{tag}"));
        ["", "a", ":b", "a:", ":"].iter().for_each(|tag| assert!(check_tag(tag).is_err(), "{tag}"));
        assert!(check_tag(&format!("k:{}", "v".repeat(255))).is_err());
    }

    #[test]
    fn namespaces_are_plain() {
        for name in ["default", "a", "0-a", &"a".repeat(63)] {
            assert!(NamespaceName::new(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "A", "a.b", "../x", "$system", &"a".repeat(64)] {
            assert!(NamespaceName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn category_is_the_part_before_the_first_dash() {
        for (stream, expected) in
            [("order-1-2", "order"), ("order", "order"), ("$meta-a-b", "$meta")]
        {
            assert_eq!(category(stream), expected);
        }
    }

    #[test]
    fn errors_name_what_and_what_to_do() {
        let error = check_stream_name("").unwrap_err().to_string();
        assert_eq!(error, "stream name \"\" is empty: give it at least one character");
    }
}
