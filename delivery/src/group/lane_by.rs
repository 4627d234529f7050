//! [`LaneBy`]: what the order of an ordered group is kept by.

use std::fmt;
use std::str::FromStr;

use nexus_protocol::RecordedEvent;
use nexus_protocol::limits::TAG_BYTES_MAX;

/// What the order of an ordered group is kept by: events that have the same are delivered one after the other. Written
/// as `stream`, `correlation`, or `tag:KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl LaneBy {
    /// The key of an event: the first 8 bytes of the BLAKE3 of what it is kept by, behind a byte for its kind. It stands
    /// in what is written down, so it never changes.
    pub fn key_of(&self, event: &RecordedEvent) -> u64 {
        let by_stream = || digest(b's', event.stream().as_bytes());
        match self {
            Self::Stream => by_stream(),
            Self::Correlation => {
                event.correlation_id().map_or_else(by_stream, |id| digest(b'c', id.as_bytes()))
            }
            Self::Tag(key) => {
                let value = |tag: &str| {
                    let (of, value) = tag.split_once(':')?;
                    (of == key).then(|| digest(b't', value.as_bytes()))
                };
                event.tags().find_map(value).unwrap_or_else(by_stream)
            }
        }
    }
}

fn digest(kind: u8, text: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]).update(text);
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

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

#[cfg(test)]
mod tests {
    use nexus_protocol::record::{PreparedRecord, Recipe, place};
    use nexus_protocol::{CorrelationId, EventData, EventId, Position, Revision, Timestamp};

    use super::*;

    fn event(stream: &str, tags: &[&str], correlation: Option<[u8; 16]>) -> RecordedEvent {
        let mut event = EventData::json("A", &1).unwrap();
        event.correlation_id = correlation.map(CorrelationId::from_bytes);
        let id = EventId::from_bytes([1; 16]);
        let recipe = Recipe { stream, id, event: &event, tags, extensions: &[] };
        let mut bytes = Vec::new();
        let prepared = PreparedRecord::encode(&recipe, &mut bytes);
        place(&mut bytes, &prepared, Position::ZERO, Revision::ZERO, Timestamp::from_micros(1));
        RecordedEvent::decode(bytes.into()).unwrap()
    }

    #[test]
    fn keys_are_what_order_is_kept_by_and_never_change() {
        let plain = event("order-1", &[], None);
        let rich = event("order-1", &["customer:7", "customer:8", "region:7"], Some([3; 16]));
        let other = event("order-2", &["customer:7"], Some([3; 16]));
        let tag = |key: &str| LaneBy::Tag(key.to_owned());
        let stream = LaneBy::Stream.key_of(&plain);
        assert_eq!(stream, 0xC32C_587D_EF6B_A77E);
        assert_eq!(LaneBy::Stream.key_of(&rich), stream);
        assert_ne!(LaneBy::Stream.key_of(&other), stream);
        // What an event does not have leaves it in the order of its stream.
        assert_eq!(LaneBy::Correlation.key_of(&plain), stream);
        assert_eq!(tag("customer").key_of(&plain), stream);
        let correlation = LaneBy::Correlation.key_of(&rich);
        assert_eq!(correlation, LaneBy::Correlation.key_of(&other));
        let customer = tag("customer").key_of(&rich);
        assert_eq!(customer, tag("customer").key_of(&other), "the first of several counts");
        assert_eq!(customer, tag("region").key_of(&rich), "a group keeps to one key of tags");
        assert!(stream != correlation && correlation != customer && stream != customer);
        assert_eq!(tag("custom").key_of(&rich), stream, "no part of a key is the key");
    }

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
