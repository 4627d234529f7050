//! Index files: header and archive, and what they add to the index.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexus_engine::fuzzing::index_file(bytes));
