//! Records and states of a consumer group, as they stand in the log.

#![no_main]

use nexus_delivery::group::{Config, Group, Record, State};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let record = Record::decode(bytes);
    if let Ok(record) = &record {
        assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record));
    }
    let mut state = match State::decode(bytes) {
        Ok(state) => {
            assert_eq!(State::decode(&state.encode()).as_ref(), Ok(&state));
            state
        }
        Err(_) => State::default(),
    };
    // Whatever stands in a record, it leaves a state that a group can go on from.
    if let Ok(record) = record {
        state.apply(&record);
    }
    let group = Group::restore(Config::default(), state, 0).unwrap();
    let stats = group.stats();
    assert!(stats.floor <= stats.next, "{stats:?}");
});
