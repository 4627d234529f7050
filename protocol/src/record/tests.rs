//! Round trips, damage, and hostile bytes.

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    CausationId, CorrelationId, EventData, EventId, Position, Revision, SchemaId, Timestamp,
    TraceContext,
};

fn encode(stream: &str, event: &EventData) -> Vec<u8> {
    let mut tags: Vec<&str> = event.tags.iter().map(String::as_str).collect();
    tags.sort_unstable();
    tags.dedup();
    let id = event.id.unwrap_or(EventId::from_uuid(Uuid::from_u128(7)));
    let mut out = Vec::new();
    let recipe = Recipe { stream, id, event, tags: &tags };
    let prepared = PreparedRecord::encode(&recipe, &mut out);
    place(&mut out, &prepared, Position::new(41), Revision::new(3), Timestamp::from_micros(-5));
    out
}

fn full() -> EventData {
    let mut event = EventData::json("OrderPlaced", &serde_json::json!({"a": [1, 2, 3]})).unwrap();
    event.tags = vec!["order:1".into(), "customer:ä".into(), "order:1".into()];
    event.metadata = Bytes::from_static(b"meta");
    event.occurred_at = Some(Timestamp::from_micros(-1));
    event.not_before = Some(Timestamp::from_micros(-2));
    event.correlation_id = Some(CorrelationId::from_bytes([1; 16]));
    event.causation_id = Some(CausationId::from_bytes([2; 16]));
    event.trace = Some(TraceContext { trace_id: [3; 16], span_id: [4; 8], flags: 1 });
    event.schema = SchemaId::new(9);
    event
}

#[test]
fn a_record_gives_back_what_it_was_made_from() {
    let event = full();
    let decoded = RecordedEvent::decode(encode("order-ü", &event).into()).unwrap();
    assert_eq!(decoded.stream(), "order-ü");
    assert_eq!(decoded.category(), "order");
    assert_eq!(decoded.event_type(), "OrderPlaced");
    assert_eq!(decoded.content_type(), "application/json");
    assert_eq!(decoded.tags().collect::<Vec<_>>(), ["customer:ä", "order:1"]);
    assert_eq!(decoded.data(), &event.data[..]);
    assert_eq!(decoded.data_bytes(), event.data);
    assert_eq!(decoded.metadata(), b"meta");
    assert_eq!(decoded.occurred_at(), event.occurred_at);
    assert_eq!(decoded.not_before(), event.not_before);
    assert_eq!(decoded.correlation_id(), event.correlation_id);
    assert_eq!(decoded.causation_id(), event.causation_id);
    assert_eq!(decoded.trace(), event.trace);
    assert_eq!(decoded.schema(), event.schema);
    assert_eq!(decoded.position(), Position::new(41));
    assert_eq!(decoded.revision(), Revision::new(3));
    assert_eq!(decoded.recorded_at(), Timestamp::from_micros(-5));
    assert!(!decoded.altered() && decoded.part() == 0 && !decoded.is_system());
}

#[test]
fn every_flipped_bit_is_seen() {
    let bytes = encode("order-1", &full());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(RecordedEvent::decode(damaged.into()).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_is_seen() {
    let bytes = encode("order-1", &full());
    for length in 0..bytes.len() {
        assert!(RecordedEvent::decode(bytes[..length].to_vec().into()).is_err(), "{length}");
    }
}

/// Puts a right checksum on bytes that are wrong, as an attacker would.
fn forge(mut bytes: Vec<u8>) -> Bytes {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..4]);
    hasher.update(&bytes[8..]);
    let crc = hasher.finalize().to_le_bytes();
    bytes[4..8].copy_from_slice(&crc);
    bytes.into()
}

#[test]
fn forged_sizes_versions_and_names_are_refused() {
    let bytes = encode("order-ü", &full());
    for at in 24..FIXED_BYTES - 4 {
        // Smaller changes of a size may be taken up by the padding: then the record is well-formed.
        for flip in [8, 0x80] {
            let mut forged = bytes.clone();
            forged[at] ^= flip;
            assert!(RecordedEvent::decode(forge(forged)).is_err(), "byte {at}");
        }
    }
}

#[test]
fn extensions_with_the_refuse_bit_are_refused() {
    let check =
        |bytes: &[u8], ok| assert_eq!(check_extensions(bytes, &[3]).is_ok(), ok, "{bytes:?}");
    check(&[], true);
    check(&[1, 0, 2, 0, 9, 9], true);
    check(&[3, 0x80, 0, 0], true);
    check(&[4, 0x80, 0, 0], false);
    check(&[1, 0, 2, 0, 9], false);
    check(&[1, 0, 2], false);
}

/// A record that has these extensions.
fn extended(extensions: &[u8]) -> Result<RecordedEvent, RecordError> {
    let bare = encode("a-1", &EventData::new("T", "", Bytes::new()));
    let names_end = FIXED_BYTES + "a-1".len() + "T".len();
    let mut bytes = [&bare[..names_end], extensions].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(&bare[bare.len() - PLACEMENT_BYTES..]);
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    let size = u16::try_from(extensions.len()).unwrap().to_le_bytes();
    bytes[34..36].copy_from_slice(&size);
    RecordedEvent::decode(forge(bytes))
}

/// One extension.
fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    [&kind.to_le_bytes()[..], &length.to_le_bytes()[..], value].concat()
}

#[test]
fn the_time_to_deliver_at_is_an_extension_that_others_stand_beside() {
    let time = extension(1, &7_i64.to_le_bytes());
    let other = extension(9, b"later");
    let at = Some(Timestamp::from_micros(7));
    for (extensions, expected) in [
        (Vec::new(), None),
        (other.clone(), None),
        (time.clone(), at),
        (extension(1 | REFUSE_IF_UNKNOWN, &7_i64.to_le_bytes()), at),
        ([time.clone(), other.clone()].concat(), at),
        ([other.clone(), time.clone()].concat(), at),
    ] {
        let event = extended(&extensions).unwrap();
        assert_eq!((event.not_before(), event.extensions()), (expected, &extensions[..]));
    }
    let mut event = EventData::new("T", "", Bytes::new());
    event.not_before = at;
    let event = RecordedEvent::decode(encode("a-1", &event).into()).unwrap();
    assert_eq!(event.extensions(), time, "as docs/format.md says");
    let malformed = |what| RecordError::Malformed(what);
    for (extensions, error) in [
        (extension(1, &[]), malformed("time to deliver it at")),
        (extension(1, &[0; 7]), malformed("time to deliver it at")),
        (extension(1, &[0; 9]), malformed("time to deliver it at")),
        ([time.clone(), time.clone()].concat(), malformed("time to deliver it at")),
        ([time.clone(), other, time.clone()].concat(), malformed("time to deliver it at")),
        (time[..11].to_vec(), malformed("extension length")),
        ([&time[..], &[9, 0, 0]].concat(), malformed("extension header")),
        (
            [time, extension(9 | REFUSE_IF_UNKNOWN, &[])].concat(),
            RecordError::UnknownExtension(0x8009),
        ),
    ] {
        assert_eq!(extended(&extensions).unwrap_err(), error, "{extensions:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_extensions_never_panic(bytes in proptest::collection::vec(0_u8..10, 0..60)) {
        if let Ok(event) = extended(&bytes) {
            let _ = event.not_before();
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if bytes.len() >= RECORD_BYTES_MIN {
            let mut forged = bytes.clone();
            let length = u32::try_from(forged.len() / 8 * 8).unwrap();
            forged.truncate(length as usize);
            forged[..4].copy_from_slice(&length.to_le_bytes());
            forged[33] = VERSION;
            if let Ok(event) = RecordedEvent::decode(forge(forged)) {
                let _ = (event.stream().len(), event.tags().count(), event.trace(), event.not_before());
            }
        }
        let _ = RecordedEvent::decode(bytes.into());
    }

    #[test]
    fn any_event_round_trips(
        stream in "[a-z]{1,9}-[a-z0-9ü]{1,9}",
        event_type in "[A-Zé][a-z]{1,20}",
        tags in proptest::collection::vec("[a-z]{1,4}:[a-z0-9ñ]{1,6}", 0..8),
        data in proptest::collection::vec(any::<u8>(), 0..600),
        occurred in proptest::option::of(any::<i64>()),
        not_before in proptest::option::of(any::<i64>()),
    ) {
        let mut event = EventData::new(event_type, "x/y", data.into());
        event.tags = tags;
        event.occurred_at = occurred.map(Timestamp::from_micros);
        event.not_before = not_before.map(Timestamp::from_micros);
        let decoded = RecordedEvent::decode(encode(&stream, &event).into()).unwrap();
        prop_assert_eq!(decoded.stream(), &stream);
        prop_assert_eq!(decoded.event_type(), &event.event_type);
        prop_assert_eq!(decoded.data(), &event.data[..]);
        prop_assert_eq!(decoded.occurred_at(), event.occurred_at);
        prop_assert_eq!(decoded.not_before(), event.not_before);
        let mut tags = event.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        prop_assert_eq!(decoded.tags().collect::<Vec<_>>(), tags);
    }
}

#[test]
fn a_record_without_a_stream_is_not_the_systems() {
    let event = EventData::new("$metadata-set", "", Bytes::new());
    let decoded = RecordedEvent::decode(encode("", &event).into()).unwrap();
    assert_eq!((decoded.stream(), decoded.is_system()), ("", false));
    let decoded = RecordedEvent::decode(encode("$meta-a", &event).into()).unwrap();
    assert!(decoded.is_system());
}
