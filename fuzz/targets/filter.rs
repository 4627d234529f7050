//! Filters as JSON.

#![no_main]

use nexus_protocol::Filter;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(filter) = serde_json::from_slice::<Filter>(bytes) else { return };
    let text = serde_json::to_string(&filter).expect("a filter has a JSON form");
    let again: Filter = serde_json::from_str(&text).expect("what is written is read");
    assert_eq!(again, filter);
    assert_eq!(again.is_all(), filter.alternatives().is_empty());
    assert_eq!(again.check().is_ok(), filter.check().is_ok());
    assert!(filter.alternatives().iter().all(|item| !item.is_empty()));
});
