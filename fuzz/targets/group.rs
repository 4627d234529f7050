//! Records and states of a consumer group, as they stand in the log.

#![no_main]

use nexus_delivery::group::{Group, PART_BYTES_MIN, Record, State};
use nexus_protocol::group::GroupConfig;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first byte says where they are cut: most of what is tried is one part, and some is two.
    let Some((cut, rest)) = bytes.split_first() else { return };
    let parts: Vec<&[u8]> = match rest.split_at_checked(usize::from(*cut)) {
        Some((first, second)) if *cut > 0 => vec![first, second],
        _ => vec![rest],
    };
    let record = Record::decode(&parts);
    if let Ok(record) = &record {
        for size in [PART_BYTES_MIN, 1 << 20] {
            let parts = record.encode(size);
            assert!(parts.iter().all(|part| part.len() <= size));
            assert_eq!(Record::decode(&parts).as_ref(), Ok(record));
        }
    }
    let mut state = match State::decode(&parts) {
        Ok(state) => {
            assert_eq!(State::decode(&state.encode(PART_BYTES_MIN)).as_ref(), Ok(&state));
            state
        }
        Err(_) => State::default(),
    };
    // Whatever stands in a record, it leaves a state that can be written down, and that a group can go on from. It may be
    // more than is ever read.
    if let Ok(record) = record {
        state.apply(&record);
        let read = State::decode(&state.encode(1 << 20));
        assert!(read.is_err() || read.as_ref() == Ok(&state));
    }
    let generation = state.generation();
    let mut group = Group::restore(GroupConfig::default(), state).unwrap();
    assert!(group.record().is_some(), "it was opened");
    assert!(group.state().generation() >= generation);
    let stats = group.stats();
    assert!(stats.floor <= stats.next, "{stats:?}");
    let parked = group.state().parked();
    assert_eq!(parked.len(), parked.iter().count());
    let in_lanes: u64 = group.lanes().iter().map(|lane| lane.parked).sum();
    assert_eq!(in_lanes, parked.len() as u64);
});
