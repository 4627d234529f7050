//! Frames as they were committed: header, body, every record, and the digest.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexus_engine::fuzzing::frame(bytes));
