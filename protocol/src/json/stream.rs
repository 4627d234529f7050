//! A stream as JSON.

use serde::{Deserialize, Deserializer, Serialize};

use crate::append::StreamState;
use crate::ids::{Position, Revision};
use crate::stream::{StreamChange, StreamInfo};

/// What is known of a stream.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Stream")]
pub struct StreamInfoJson<'a> {
    /// Its name.
    pub stream: &'a str,
    /// `missing`, `active`, `deleted`, or `tombstoned`.
    pub state: &'static str,
    /// Revision of its newest event.
    pub head_revision: Option<u64>,
    /// First visible revision.
    pub first_revision: u64,
    /// How many events are visible.
    pub events: u64,
    /// Position of its newest visible event.
    pub last_position: Option<u64>,
    /// Only the newest so many events are visible.
    pub max_count: Option<u64>,
    /// Events recorded longer ago than so many seconds are hidden.
    pub max_age_s: Option<u64>,
    /// Events below this revision are hidden.
    pub truncate_before: Option<u64>,
    /// Revision of the newest event of its `$meta-` stream; null: its limits were never set, and it was
    /// never deleted.
    pub meta_revision: Option<u64>,
}

/// What a stream is, in one word: `missing`, `active`, `deleted`, or `tombstoned`.
pub fn state_word(state: StreamState) -> &'static str {
    match state {
        StreamState::Missing => "missing",
        StreamState::At(_) => "active",
        StreamState::Deleted(_) => "deleted",
        StreamState::Tombstoned => "tombstoned",
    }
}

impl<'a> From<&'a StreamInfo> for StreamInfoJson<'a> {
    fn from(info: &'a StreamInfo) -> Self {
        Self {
            stream: info.stream.as_str(),
            state: state_word(info.state),
            head_revision: info.state.head().map(Revision::get),
            first_revision: info.floor.get(),
            events: info.event_count(),
            last_position: info.last_position.map(Position::get),
            max_count: info.limits.max_count,
            max_age_s: info.limits.max_age_s,
            truncate_before: info.limits.truncate_before.map(Revision::get),
            meta_revision: info.meta_revision.map(Revision::get),
        }
    }
}

/// A change of a stream's limits: `null` lifts those that can be, and what is missing stays.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "StreamChange")]
pub struct StreamChangeJson {
    /// Only the newest so many events are visible; at least 1.
    #[serde(default, deserialize_with = "given")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<u64>"))]
    pub max_count: Option<Option<u64>>,
    /// Events recorded longer ago than so many seconds are hidden, within a minute.
    #[serde(default, deserialize_with = "given")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<u64>"))]
    pub max_age_s: Option<Option<u64>>,
    /// Events below this revision are hidden; it can only rise.
    #[serde(default, deserialize_with = "a_number")]
    #[cfg_attr(feature = "json-schema", schemars(with = "u64"))]
    pub truncate_before: Option<u64>,
}

/// What can only rise cannot be lifted: `null` is none.
fn a_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    u64::deserialize(from).map(Some)
}

/// A field that is there says something, also where it is `null`.
pub(super) fn given<'de, T, D>(from: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(from).map(Some)
}

impl From<StreamChangeJson> for StreamChange {
    fn from(change: StreamChangeJson) -> Self {
        Self {
            max_count: change.max_count,
            max_age_s: change.max_age_s,
            truncate_before: change.truncate_before.map(Revision::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_lifts_a_limit_and_nothing_leaves_it() {
        let text = r#"{"max_count":null,"truncate_before":4}"#;
        let change: StreamChangeJson = serde_json::from_str(text).unwrap();
        let expected = StreamChange {
            max_count: Some(None),
            max_age_s: None,
            truncate_before: Some(Revision::new(4)),
        };
        assert_eq!(StreamChange::from(change), expected);
        for bad in [r#"{"max_age":1}"#, r#"{"truncate_before":null}"#] {
            assert!(serde_json::from_str::<StreamChangeJson>(bad).is_err(), "{bad}");
        }
    }
}
