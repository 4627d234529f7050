//! What is written is read, and anything else is refused.

use std::collections::BTreeMap;

use nexus_protocol::group::{Failure, GroupConfig, PauseInfo};
use nexus_protocol::{Position, Timestamp};

use super::super::ledger::Progress;
use super::super::state::{Change, Tried};
use super::super::{Group, OPEN_MAX, Record, State};
use super::{DecodeError, POSITIONS_MAX};
use crate::parked::{self, ALL_TEXT_BYTES_MAX, Entry, PARKED_MAX};

/// As large as an event of the log may be, and smaller.
const PART: usize = 1 << 20;

fn entry(released: bool, message: &str) -> Entry {
    let chain = vec!["größer".to_owned(), String::new()];
    let failure = Failure { class: "bad".to_owned(), message: message.to_owned(), chain };
    Entry {
        key: u64::MAX,
        released,
        attempts: 300,
        tried_before: 2,
        not_before: released.then(|| Timestamp::from_micros(-7)),
        failure,
        first_failed: Timestamp::from_micros(i64::MIN),
        last_failed: Timestamp::from_micros(i64::MAX),
        edited: released.then_some(u64::MAX),
        rounds: if released { u32::MAX } else { 0 },
    }
}

fn tried(attempts: u32, until: Option<i64>) -> Tried {
    let until = until.map(Timestamp::from_micros);
    Tried { attempts, first_failed: Timestamp::from_micros(1 << 50), until }
}

fn changes() -> Vec<Change> {
    let pause = PauseInfo {
        by: "operator".to_owned(),
        reason: "the database is away".to_owned(),
        position: Some(Position::new(7)),
        at: Timestamp::from_micros(3),
    };
    let set = |position, entry| Change::Parked(parked::Change::Set(position, Box::new(entry)));
    vec![
        Change::Sought(u64::MAX),
        Change::Opened(u64::MAX),
        Change::Refiltered(90_000),
        Change::Paused(None),
        Change::Paused(Some(PauseInfo { position: None, ..pause.clone() })),
        Change::Paused(Some(pause)),
        Change::Attempted(128, tried(1, None)),
        Change::Attempted(150_000, tried(u32::MAX, Some(i64::MIN))),
        set(3, entry(false, "it is poison")),
        set(4, entry(true, "")),
        Change::Parked(parked::Change::Removed(0)),
        Change::Behind { key: 1, positions: vec![] },
        Change::Behind { key: u64::MAX, positions: (10..20).chain([30, u64::MAX - 1]).collect() },
        Change::Progress(Progress {
            next: 200_000,
            opened: (100..1_000).chain([150_000, 150_002]).collect(),
            closed: vec![1, 2, 3, 9],
        }),
    ]
}

#[test]
fn records_and_states_are_read_as_they_were_written() {
    let record = Record { changes: changes() };
    let [bytes] = &*record.encode(PART) else { panic!("one part") };
    assert_eq!(Record::decode(&[bytes]), Ok(record));
    let mut state = State::default();
    state.apply(&Record { changes: changes().split_off(1) });
    assert!(state.parked().waiting() == 12 && state.tried.len() == 2 && state.pause.is_some());
    let [bytes_of_state] = &*state.encode(PART) else { panic!("one part") };
    assert_eq!(State::decode(&[bytes_of_state]), Ok(state));
    let stretch = Progress { next: 1 << 40, opened: vec![], closed: (7..2_000_000).collect() };
    let stretch = Record { changes: vec![Change::Progress(stretch)] };
    assert!(stretch.encode(PART)[0].len() < 18, "a stretch is a few bytes");
    // Cut anywhere it is no state, and a record only where one of its changes ends.
    let ends = (2..bytes.len()).filter(|end| Record::decode(&[&bytes[..*end]]).is_ok());
    assert_eq!(ends.count(), changes().len());
    let is_state = |end: usize| State::decode(&[&bytes_of_state[..end]]).is_ok();
    assert!(!(0..bytes_of_state.len()).any(is_state));
}

#[test]
fn parts_are_as_small_as_they_are_to_be_and_none_may_be_missing() {
    let text = "x".repeat(3_000);
    let set = |position| parked::Change::Set(position, Box::new(entry(true, &text)));
    let changes: Vec<_> = (0..5).map(|position| Change::Parked(set(position))).collect();
    let record = Record { changes };
    let mut state = State::default();
    state.apply(&record);
    for size in [super::PART_BYTES_MIN, 1025, 4_000, 100_000] {
        let parts = record.encode(size);
        assert!(parts.iter().all(|part| part.len() <= size), "{size}");
        assert!(parts.len() > 1 || size == 100_000);
        assert_eq!(Record::decode(&parts).as_ref(), Ok(&record));
        let of_state = state.encode(size);
        assert_eq!(State::decode(&of_state).as_ref(), Ok(&state));
        for end in 0..parts.len() {
            assert_eq!(Record::decode(&parts[..end]), Err(DecodeError::End), "{end}");
            assert!(State::decode(&of_state[..end.min(of_state.len() - 1)]).is_err());
        }
        let twice: Vec<_> = parts.iter().chain(&parts).collect();
        assert_eq!(Record::decode(&twice), Err(DecodeError::End));
    }
    let empty = Record::default().encode(PART);
    assert_eq!((&*empty, Record::decode(&empty)), (&[vec![1, 1]][..], Ok(Record::default())));
}

#[test]
fn what_is_no_record_is_refused_and_takes_no_memory() {
    for (bytes, why) in [
        (&[][..], DecodeError::End),
        (&[1], DecodeError::End),
        (&[2], DecodeError::Version(2)),
        (&[1, 0, 1, 1], DecodeError::End),
        (&[1, 2], DecodeError::Value("part")),
        (&[1, 1, 10], DecodeError::Value("change")),
        (&[1, 1, 2, 2], DecodeError::Value("flag")),
        (&[1, 1, 3, 1], DecodeError::End),
        (
            &[1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            DecodeError::Value("number"),
        ),
        // A run of 2^63 positions.
        (
            &[1, 1, 6, 0, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
            DecodeError::Value("run of positions"),
        ),
        // A run of 4,000,000, open and behind.
        (&[1, 1, 6, 0, 1, 0, 0x80, 0x92, 0xf4, 1], DecodeError::Value("run of positions")),
        (
            &[1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x80, 0x92, 0xf4, 1],
            DecodeError::Value("run of positions"),
        ),
        // Open, and not looked at.
        (&[1, 1, 6, 2, 1, 1, 1, 0], DecodeError::Value("open position")),
    ] {
        assert_eq!(Record::decode(&[bytes]), Err(why), "{bytes:?}");
    }
    assert_eq!(Record::decode(&[] as &[&[u8]]), Err(DecodeError::End));
    // Together runs are bounded, too: here four of 2,000,000.
    let positions: Vec<_> = (0..2_000_000).collect();
    let behind = |key| Change::Behind { key, positions: positions.clone() };
    let record = Record { changes: (1..=4).map(behind).collect() };
    let why = DecodeError::Value("run of positions");
    assert_eq!(Record::decode(&record.encode(PART)), Err(why));
    // So are changes, of which one is two bytes.
    let changes = vec![Change::Sought(0); 3 * 2_500_000 + 1];
    let why = DecodeError::Value("number of changes");
    assert_eq!(Record::decode(&Record { changes }.encode(PART)), Err(why));
}

#[test]
fn what_is_not_quite_a_record_is_refused_or_is_another() {
    let changes = changes().split_off(1);
    let mut state = State::default();
    state.apply(&Record { changes: changes.clone() });
    let of_record = Record { changes }.encode(PART).remove(0);
    let of_state = state.encode(PART).remove(0);
    let mut random = 1_u64;
    let mut below = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % bound
    };
    let mut read = 0;
    for _ in 0..5_000 {
        let (mut record, mut state) = (of_record.clone(), of_state.clone());
        for bytes in [&mut record, &mut state] {
            for _ in 0..1 + below(3) {
                let at = 2 + below(bytes.len() - 2);
                bytes[at] ^= 1 << below(8);
            }
        }
        let mut into = State::default();
        if let Ok(record) = Record::decode(&[record]) {
            assert_eq!(Record::decode(&record.encode(PART)).as_ref(), Ok(&record));
            into.apply(&record);
            read += 1;
        }
        if let Ok(state) = State::decode(&[state]) {
            assert_eq!(State::decode(&state.encode(PART)).as_ref(), Ok(&state));
            assert!(Group::restore(GroupConfig::default(), state).is_ok());
            read += 1;
        }
        let mut group = Group::restore(GroupConfig::default(), into).unwrap();
        assert!(group.record().is_some() && group.stats().floor <= group.stats().next);
    }
    assert!(read > 100, "{read}");
}

/// The largest that there is: as much open as may be, of a log of which a hundredth matches; as much parked as may be,
/// with all text that is kept, all of it new.
#[test]
fn the_largest_record_is_below_29_mib() {
    let open = OPEN_MAX as u64;
    assert!(open < POSITIONS_MAX);
    let start = 1_u64 << 35;
    let at = |index: u64| start + index * 100 + index % 7;
    let text = "x".repeat(ALL_TEXT_BYTES_MAX / PARKED_MAX + 1);
    let failure = Failure::new(text);
    let now =
        |index: u64| Timestamp::from_micros(1_800_000_000_000_000 + index.cast_signed() * 977);
    let set = |index: u64| {
        let entry = Entry {
            key: index,
            released: false,
            attempts: 5,
            tried_before: 5,
            not_before: Some(now(index + 90_000)),
            failure: failure.clone(),
            first_failed: now(index),
            last_failed: now(index + 40_000),
            rounds: 3,
            edited: Some(at(index) + 50),
        };
        Change::Parked(parked::Change::Set(at(index) + 1, Box::new(entry)))
    };
    let mut changes: Vec<_> = (0..PARKED_MAX as u64).map(|index| set(index * 17)).collect();
    // Half of it came behind, under a thousand keys.
    let mut behind: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for index in 0..open / 2 {
        behind.entry(index % 1_000).or_default().push(at(index * 2));
    }
    changes.extend(behind.into_iter().map(|(key, positions)| Change::Behind { key, positions }));
    let opened = (0..open / 2).map(|index| at(index * 2 + 1)).collect();
    // And what else a million answers were is done.
    let closed = (0..900_000).map(|index| at(index) - (1 << 34)).collect();
    changes.push(Change::Progress(Progress { next: at(open), opened, closed }));
    let record = Record { changes };
    let parts = record.encode(PART);
    let bytes: usize = parts.iter().map(Vec::len).sum();
    println!("what was read and parked: {bytes} bytes");
    assert!(bytes < 29 << 20, "{bytes}");
    assert_eq!(Record::decode(&parts).as_ref(), Ok(&record));
    // All of it open, and half of that tried and waiting for a retry.
    let opened: Vec<_> = (0..open).map(at).collect();
    let progress = Progress { next: at(open), opened, closed: Vec::new() };
    let tried = |index: u64| {
        let until = Some(now(index * 3));
        Change::Attempted(at(index * 2), Tried { attempts: 2, first_failed: now(index), until })
    };
    let changes = (0..open / 2).map(tried).chain([Change::Progress(progress)]).collect();
    let record = Record { changes };
    let parts = record.encode(PART);
    let bytes: usize = parts.iter().map(Vec::len).sum();
    println!("what was read and tried: {bytes} bytes");
    assert!(bytes < 29 << 20, "{bytes}");
    assert_eq!(Record::decode(&parts).as_ref(), Ok(&record));
}
