//! What was put into a block comes out of it; what an enemy says of one is refused. Is not: a test of
//! which blocks there are; the engine has those.

use proptest::prelude::*;

use super::*;
use crate::event::EventData;
use crate::ids::{EventId, Revision};
use crate::record::{PreparedRecord, Recipe, place};
use crate::time::Timestamp;

/// The record of an event at this position.
fn record(stream: &str, position: u64, data: &[u8]) -> Vec<u8> {
    let event = EventData::new("Happened", "text/plain", data.to_vec().into());
    let id = EventId::from_bytes([u8::try_from(position % 251).unwrap(); 16]);
    let recipe = Recipe { stream, id, event: &event, tags: &[] };
    let mut bytes = Vec::new();
    let prepared = PreparedRecord::encode(&recipe, &mut bytes);
    let time = Timestamp::from_micros(7);
    place(&mut bytes, &prepared, Position::new(position), Revision::new(position), time);
    bytes
}

/// The raw bytes of a block of these records.
fn raw_of(records: &[Vec<u8>]) -> Vec<u8> {
    let starts = records.iter().scan(0, |at, record| {
        let start = *at;
        *at += u32::try_from(record.len()).unwrap();
        Some(start.to_le_bytes())
    });
    let starts: Vec<[u8; 4]> = starts.collect();
    [records.concat(), starts.concat()].concat()
}

/// How these raw bytes are stored, and as what.
fn stored(raw: &[u8], compress: bool) -> (Stored, Bytes) {
    let packed = zstd::bulk::compress(raw, 1).unwrap();
    let plain = !compress || packed.len() >= raw.len();
    let bytes = if plain { raw.to_vec() } else { packed };
    let length = |n: usize| u32::try_from(n).unwrap();
    let (raw_length, stored_length) = (length(raw.len()), length(bytes.len()));
    let crc = crc32fast::hash(&bytes);
    (Stored { raw_length, stored_length, crc, plain }, bytes.into())
}

/// A block that says this of itself and has these raw bytes.
fn block(positions: (u64, u64), count: u32, raw: &[u8]) -> Result<Block, CorruptionKind> {
    let (stored, bytes) = stored(raw, true);
    let (first, last) = positions;
    Block::new(BlockEntry { first, last, count, stored }, bytes)
}

/// Events of `a-1` at all positions from `first` on, each with these data.
pub(crate) fn block_of(first: u64, count: u32, data: &[u8]) -> Block {
    let last = first + u64::from(count) - 1;
    let records: Vec<_> = (first..=last).map(|at| record("a-1", at, data)).collect();
    block((first, last), count, &raw_of(&records)).unwrap()
}

/// The same, not compressed.
pub(crate) fn plain_block_of(first: u64, count: u32, data: &[u8]) -> Block {
    let last = first + u64::from(count) - 1;
    let records: Vec<_> = (first..=last).map(|at| record("a-1", at, data)).collect();
    let (stored, bytes) = stored(&raw_of(&records), false);
    Block::new(BlockEntry { first, last, count, stored }, bytes).unwrap()
}

fn events(block: Result<Block, CorruptionKind>) -> Result<Vec<RecordedEvent>, CorruptionKind> {
    block?.events()?.collect()
}

/// Positions that ascend, and data of each.
fn contents() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let one = (1_u64..5, 0_usize..400, any::<u8>(), any::<bool>());
    proptest::collection::vec(one, 1..60).prop_map(|steps| {
        let mut position = 100;
        let content = steps.into_iter().map(|(step, length, byte, noise)| {
            position += step;
            let low = |n: usize| n.to_le_bytes()[0];
            let noisy = |n| byte.wrapping_mul(low(n)).wrapping_add(low(n / 3));
            let byte_at = |n| if noise { noisy(n) } else { byte };
            (position, (0..length).map(byte_at).collect())
        });
        content.collect()
    })
}

proptest! {
    #[test]
    fn the_events_of_a_block_are_those_that_were_put_in(content in contents(), packed: bool) {
        let records: Vec<_> = content.iter().map(|(at, data)| record("a-1", *at, data)).collect();
        let (stored, bytes) = stored(&raw_of(&records), packed);
        let (first, last) = (content[0].0, content[content.len() - 1].0);
        let count = u32::try_from(content.len()).unwrap();
        let block = Block::new(BlockEntry { first, last, count, stored }, bytes).unwrap();
        prop_assert_eq!(block.last().get(), last);
        let events: Result<Vec<_>, _> = block.events().unwrap().collect();
        let found: Vec<_> = events.unwrap().iter().map(|it| it.as_bytes().to_vec()).collect();
        prop_assert_eq!(found, records);
    }

    #[test]
    fn hostile_bytes_give_ordered_events_or_none(
        content in contents(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        in_raw: bool,
        count_off in -1_i64..2,
    ) {
        let records: Vec<_> = content.iter().map(|(at, data)| record("a-1", *at, data)).collect();
        let (first, last) = (content[0].0, content[content.len() - 1].0);
        let mut raw = raw_of(&records);
        let change = |bytes: &mut [u8]| for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        };
        if in_raw {
            change(&mut raw);
        }
        let (mut stored, bytes) = stored(&raw, true);
        let mut bytes = bytes.to_vec();
        if !in_raw {
            change(&mut bytes);
            stored.crc = crc32fast::hash(&bytes);
        }
        let count = u32::try_from(content.len() as i64 + count_off).unwrap();
        let block = Block::new(BlockEntry { first, last, count, stored }, bytes.into());
        let Ok(found) = block.and_then(|block| block.events()) else { return Ok(()) };
        let mut before = None;
        let mut given = 0;
        for event in found {
            let Ok(event) = event else { return Ok(()) };
            let position = event.position().get();
            prop_assert!(before < Some(position) && (first..=last).contains(&position));
            (before, given) = (Some(position), given + 1);
        }
        prop_assert_eq!((given, before), (count, Some(last)), "all of it, or an error");
    }
}

#[test]
fn a_byte_that_changed_is_seen_before_anything_is_unpacked() {
    let records: Vec<_> = (5..40).map(|at| record("a-1", at, b"some text that repeats")).collect();
    let (stored, bytes) = stored(&raw_of(&records), true);
    assert!(!stored.plain, "this shrinks");
    let entry = BlockEntry { first: 5, last: 39, count: 35, stored };
    assert!(Block::new(entry, bytes.clone()).is_ok());
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        let refused = Block::new(entry, changed.into()).unwrap_err();
        assert_eq!(refused, CorruptionKind::Checksum("block".into()));
    }
    assert_eq!(Block::new(entry, bytes.slice(1..)).unwrap_err(), CorruptionKind::Truncated);
}

#[test]
fn what_a_block_says_of_itself_must_be_so() {
    let records: Vec<_> = [5, 6, 9].map(|at| record("a-1", at, b"x")).into();
    let raw = raw_of(&records);
    assert_eq!(events(block((5, 9), 3, &raw)).unwrap().len(), 3);
    for (positions, count) in [((4, 9), 3), ((5, 10), 3), ((5, 8), 3), ((5, 9), 2), ((5, 9), 4)] {
        assert!(events(block(positions, count, &raw)).is_err(), "{positions:?} {count}");
    }
    for (positions, count) in [((9, 5), 3), ((5, 6), 3), ((5, 9), 0), ((0, u64::MAX), 900)] {
        assert!(block(positions, count, &raw).is_err(), "{positions:?} {count} cannot be");
    }
    let swapped = raw_of(&[records[1].clone(), records[0].clone(), records[2].clone()]);
    assert!(events(block((6, 9), 3, &swapped)).is_err(), "positions ascend");
    let mut shifted = raw.clone();
    let table = raw.len() - 12;
    shifted[table + 4] ^= 8;
    assert!(events(block((5, 9), 3, &shifted)).is_err(), "records stand one after the other");
    let system = raw_of(&[record("$meta-a", 5, b"x"), record("a-1", 6, b"x")]);
    assert!(events(block((5, 6), 2, &system)).is_err(), "no event of the system");
}

#[test]
fn lengths_are_bounded_before_memory_is_taken() {
    let possible = |raw_length, stored_length, count| {
        let stored = Stored { raw_length, stored_length, crc: 0, plain: false };
        stored.can_hold(count)
    };
    let most = |bytes: usize| u32::try_from(bytes).unwrap();
    let (largest, block) = (most(RECORD_BYTES_MAX + OFFSET_BYTES), most(BLOCK_BYTES_MAX));
    assert!(possible(largest, 100, 1) && possible(block, 100, 2));
    assert!(!possible(largest + 1, 100, 1) && !possible(block + 1, 100, 2));
    assert!(!possible(largest, 100, 0) && !possible(200, 100, 3) && !possible(200, 200, 1));
    assert!(!possible(100, 0, 1), "nothing is not a block");
}
