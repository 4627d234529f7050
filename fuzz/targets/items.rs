//! What a read or a subscription delivers, blocks above all: the payload of a packet of items.

#![no_main]

use bytes::Bytes;
use nexus_protocol::limits::PACKET_PAYLOAD_BYTES_MAX;
use nexus_protocol::record::RECORD_BYTES_MIN;
use nexus_protocol::wire::decode_items;
use nexus_protocol::{RecordedEvent, SubscriptionItem};

const ITEM_BYTES: usize = 8;
const BLOCK: u8 = 5;
/// Of a block: where its stored length, its checksum, and its bytes stand.
const LENGTH_AT: usize = 24;
const CRC_AT: usize = 28;
const BYTES_AT: usize = 32;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check(bytes.to_vec().into());
    check(mended(bytes).into());
});

/// No more comes out than was allowed to go in, and what comes out can be looked at.
fn check(payload: Bytes) {
    let Ok(items) = decode_items(&payload) else { return };
    let events = items.iter().filter_map(|item| match item {
        SubscriptionItem::Event(event) => Some(event),
        _ => None,
    });
    let bytes: usize = events.clone().map(|event| event.as_bytes().len()).sum();
    assert!(bytes <= payload.len() + PACKET_PAYLOAD_BYTES_MAX, "blocks are bounded");
    for event in events {
        assert!(event.as_bytes().len() >= RECORD_BYTES_MIN);
        let names = event.stream().len() + event.event_type().len() + event.tags().count();
        assert!(names + event.data().len() + event.metadata().len() <= event.as_bytes().len());
        // In a block another checksum stands for the record's own.
        drop(RecordedEvent::decode(event.as_bytes().clone()));
    }
}

/// The same, with checksums of blocks that hold.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let u32_at = |bytes: &[u8], at: usize| {
        let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
        field.map_or(usize::MAX, |field| u32::from_le_bytes(*field) as usize)
    };
    let mut at = 0;
    while let Some(kind) = out.get(at + 4).copied() {
        let length = u32_at(&out, at);
        let start = at + ITEM_BYTES;
        let stored = u32_at(&out, start + LENGTH_AT);
        let end = (start + BYTES_AT).saturating_add(stored);
        if kind == BLOCK
            && let Some(block) = out.get(start + BYTES_AT..end)
        {
            let crc = crc32fast::hash(block).to_le_bytes();
            out[start + CRC_AT..start + BYTES_AT].copy_from_slice(&crc);
        }
        at = start.saturating_add(length).min(out.len());
    }
    out
}
