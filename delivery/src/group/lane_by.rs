//! What the order of an event is kept by, as a number.

use nexus_protocol::group::LaneBy;
use nexus_protocol::{CorrelationId, RecordedEvent};

/// The key of an event: the first 8 bytes of the BLAKE3 of what it is kept by, behind a byte for its kind. It stands
/// in what is written down, so it never changes.
pub fn key_of(by: &LaneBy, event: &RecordedEvent) -> u64 {
    let by_stream = || digest(b's', event.stream().as_bytes());
    match by {
        LaneBy::Stream => by_stream(),
        LaneBy::Correlation => {
            event.correlation_id().map_or_else(by_stream, |id| digest(b'c', id.as_bytes()))
        }
        LaneBy::Tag(key) => {
            let value = |tag: &str| {
                let (of, value) = tag.split_once(':')?;
                (of == key).then(|| digest(b't', value.as_bytes()))
            };
            event.tags().find_map(value).unwrap_or_else(by_stream)
        }
    }
}

/// The keys that a text names: that of the tag's value or of the correlation id, and that of the stream, which is the
/// key of whatever has no such.
pub fn keys_named(by: &LaneBy, text: &str) -> Vec<u64> {
    let stream = digest(b's', text.as_bytes());
    let other = match by {
        LaneBy::Stream => None,
        LaneBy::Correlation => {
            text.parse().ok().map(|id: CorrelationId| digest(b'c', id.as_bytes()))
        }
        LaneBy::Tag(_) => Some(digest(b't', text.as_bytes())),
    };
    other.into_iter().chain([stream]).collect()
}

fn digest(kind: u8, text: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]).update(text);
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
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
        let recipe = Recipe { stream, id, event: &event, tags };
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
        let stream = key_of(&LaneBy::Stream, &plain);
        assert_eq!(stream, 0xC32C_587D_EF6B_A77E);
        assert_eq!(key_of(&LaneBy::Stream, &rich), stream);
        assert_ne!(key_of(&LaneBy::Stream, &other), stream);
        // What an event does not have leaves it in the order of its stream.
        assert_eq!(key_of(&LaneBy::Correlation, &plain), stream);
        assert_eq!(key_of(&tag("customer"), &plain), stream);
        let correlation = key_of(&LaneBy::Correlation, &rich);
        assert_eq!(correlation, key_of(&LaneBy::Correlation, &other));
        let customer = key_of(&tag("customer"), &rich);
        assert_eq!(customer, key_of(&tag("customer"), &other), "the first of several counts");
        assert_eq!(customer, key_of(&tag("region"), &rich), "a group keeps to one key of tags");
        assert!(stream != correlation && correlation != customer && stream != customer);
        assert_eq!(key_of(&tag("custom"), &rich), stream, "no part of a key is the key");
    }

    #[test]
    fn a_key_is_named_by_what_order_is_kept_by_or_by_the_stream() {
        let plain = event("order-1", &[], None);
        let rich = event("order-1", &["customer:7"], Some([3; 16]));
        let id = CorrelationId::from_bytes([3; 16]).to_string();
        for (by, text) in [
            (LaneBy::Stream, "order-1"),
            (LaneBy::Correlation, &*id),
            (LaneBy::Tag("customer".to_owned()), "7"),
        ] {
            assert!(keys_named(&by, text).contains(&key_of(&by, &rich)), "{by:?}");
            assert!(keys_named(&by, "order-1").contains(&key_of(&by, &plain)), "{by:?}");
            assert!(!keys_named(&by, "order-2").contains(&key_of(&by, &plain)), "{by:?}");
        }
        let tag = LaneBy::Tag("customer".to_owned());
        assert!(!keys_named(&tag, "order-1").contains(&key_of(&tag, &rich)), "its tag is its key");
    }
}
