//! [`LaneBy`]: what the order of an ordered group is kept by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::TAG_BYTES_MAX;

/// What the order of an ordered group is kept by: events that have the same are delivered one after the other. Written
/// as `stream`, `correlation`, or `tag:KEY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LaneBy {
    /// The stream.
    Stream,
    /// The correlation id; of an event without one, the stream.
    Correlation,
    /// The value of the first tag with this key; of an event without one, the stream.
    Tag(String),
}

/// What order can not be kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("order is kept by `stream`, by `correlation`, or by `tag:KEY`, as in tag:customer")]
pub struct InvalidLaneBy;

impl FromStr for LaneBy {
    type Err = InvalidLaneBy;

    fn from_str(text: &str) -> Result<Self, InvalidLaneBy> {
        match text.split_once(':') {
            None if text == "stream" => Ok(Self::Stream),
            None if text == "correlation" => Ok(Self::Correlation),
            // A tag has a value of a byte at least behind its colon.
            Some(("tag", key))
                if !key.is_empty() && !key.contains(':') && key.len() <= TAG_BYTES_MAX - 2 =>
            {
                Ok(Self::Tag(key.to_owned()))
            }
            _ => Err(InvalidLaneBy),
        }
    }
}

impl fmt::Display for LaneBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream => f.write_str("stream"),
            Self::Correlation => f.write_str("correlation"),
            Self::Tag(key) => write!(f, "tag:{key}"),
        }
    }
}

impl TryFrom<String> for LaneBy {
    type Error = InvalidLaneBy;

    fn try_from(text: String) -> Result<Self, InvalidLaneBy> {
        text.parse()
    }
}

impl From<LaneBy> for String {
    fn from(by: LaneBy) -> Self {
        by.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_order_is_kept_by_is_read_as_it_is_written() {
        for text in ["stream", "correlation", "tag:customer", "tag:größe"] {
            assert_eq!(text.parse::<LaneBy>().unwrap().to_string(), text);
        }
        let long = format!("tag:{}", "x".repeat(TAG_BYTES_MAX - 1));
        for text in ["", "Stream", "tag", "tag:", "tag:a:b", "stream:1", "category", &*long] {
            assert_eq!(text.parse::<LaneBy>(), Err(InvalidLaneBy), "{text}");
        }
    }
}
