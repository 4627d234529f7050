//! Frames round trip, and no damage to one goes unseen.

use bytes::Bytes;
use nexus_protocol::record::{PreparedRecord, Recipe};
use nexus_protocol::{EventData, EventId, Revision, Timestamp};

use super::*;

fn batch(events: usize) -> (Vec<u8>, Vec<PreparedRecord>) {
    let (mut buffer, mut records) = (Vec::new(), Vec::new());
    for n in 0..events {
        let event = EventData::new("Tested", "", vec![7; n * 3].into());
        let id = EventId::from_bytes([u8::try_from(n).unwrap(); 16]);
        let recipe = Recipe { stream: "s-1", id, event: &event, tags: &["a:b"] };
        records.push(PreparedRecord::encode(&recipe, &mut buffer));
    }
    (buffer, records)
}

fn frame() -> (FrameHeader, Vec<u8>, ChainDigest) {
    let mut builder = FrameBuilder::new(100_000, 10, Timestamp::from_micros(5));
    for events in [1, 5] {
        let (buffer, records) = batch(events);
        let extensions = [1, 0, 3, 0, b'k', b'e', b'y'];
        let parts = BatchParts { buffer: &buffer, records: &records, extensions: &extensions };
        builder.add(parts, |index| Revision::new(index as u64));
    }
    assert_eq!(builder.record(12).unwrap().position().get(), 12);
    assert!(builder.record(16).is_none() && builder.record(9).is_none());
    let proposal = builder.finish(true);
    let header = FrameHeader {
        replicated: proposal.header,
        local: LocalHeader {
            salt: 3,
            stored_length: u32::try_from(HEADER_BYTES).unwrap() + proposal.header.raw_length,
            durable_end: LogOffset { segment: 1, offset_bytes: 4096 },
            previous_digest: 9,
        },
    };
    let chain = ChainDigest::START.extend(&proposal.header, &proposal.chain_input);
    let mut bytes = header.encode().to_vec();
    let end = HEADER_BYTES + proposal.header.raw_length as usize;
    bytes.extend_from_slice(&proposal.buffer.as_slice()[HEADER_BYTES..end]);
    (header, bytes, chain)
}

#[test]
fn a_frame_gives_back_what_it_was_built_from() {
    let (header, bytes, chain) = frame();
    let decoded = FrameHeader::decode(&bytes).unwrap();
    assert_eq!(decoded, header);
    let body = Bytes::from(bytes).slice(HEADER_BYTES..);
    decoded.check_body(&body).unwrap();
    let mut positions = Vec::new();
    let input = digest(&decoded, &body, |record| positions.push(record.position().get())).unwrap();
    assert_eq!(positions, [10, 11, 12, 13, 14, 15]);
    assert_eq!(ChainDigest::START.extend(&decoded.replicated, &input), chain);
    assert_eq!(decoded.replicated.next_position(), 16);
}

#[test]
fn every_flipped_bit_of_a_frame_is_seen() {
    let (_, bytes, _) = frame();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let seen = FrameHeader::decode(&damaged)
            .and_then(|header| header.check_body(&damaged[HEADER_BYTES..]))
            .is_err();
        assert!(seen, "bit {bit}");
    }
}

#[test]
fn the_chain_depends_on_all_that_was_said_and_on_nothing_local() {
    let (mut header, bytes, chain) = frame();
    let body = Bytes::from(bytes).slice(HEADER_BYTES..);
    let input = digest(&header, &body, |_| ()).unwrap();
    header.local.salt = 99;
    header.replicated.body_crc = 1;
    assert_eq!(ChainDigest::START.extend(&header.replicated, &input), chain);
    let mut other = header.replicated;
    other.entry.term = 2;
    assert_ne!(ChainDigest::START.extend(&other, &input), chain);
    assert_ne!(ChainDigest::from_bytes([1; 32]).extend(&header.replicated, &input), chain);
}

#[test]
fn zeros_are_told_from_damage() {
    assert_eq!(FrameHeader::decode(&[0; 200]), Err(FrameError::Blank));
    assert_eq!(FrameHeader::decode(&[1; 200]), Err(FrameError::Header));
    assert_eq!(FrameHeader::decode(&[0; 20]), Err(FrameError::Header));
}

/// Makes both checksums and the lengths hold again.
fn mended(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(bytes.len() - HEADER_BYTES).unwrap();
    let crc = crc32fast::hash(&bytes[HEADER_BYTES..]);
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes[64..68].copy_from_slice(&(length + 104).to_le_bytes());
    let crc = crc32fast::hash(&bytes[..96]);
    bytes[96..100].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_batch_without_events_is_refused() {
    let (_, bytes, _) = frame();
    assert!(FrameHeader::decode(&mended(bytes.clone())).is_ok());
    let table = bytes.len() - 4 * 6;
    let empty = [[16, 0, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
    let with_empty = mended([&bytes[..table], &empty, &bytes[table..]].concat());
    let header = FrameHeader::decode(&with_empty).unwrap();
    let body = Bytes::from(with_empty).slice(HEADER_BYTES..);
    header.check_body(&body).unwrap();
    let walked = digest(&header, &body, |_| ());
    assert_eq!(walked.unwrap_err(), FrameError::Malformed("batch count"));
}

#[test]
fn a_blank_frame_has_no_body() {
    let (header, _, _) = frame();
    let replicated = ReplicatedHeader { kind: FrameKind::Blank, count: 0, ..header.replicated };
    let blank = FrameHeader { replicated, ..header }.encode().to_vec();
    assert!(FrameHeader::decode(&mended(blank.clone())).is_ok());
    let with_body = mended([blank, vec![0; 8]].concat());
    assert_eq!(FrameHeader::decode(&with_body), Err(FrameError::Malformed("length")));
}
