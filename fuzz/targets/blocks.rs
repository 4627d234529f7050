//! Rewritten segments: footer, table, blocks, frame directory, and their readers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexus_engine::fuzzing::blocks(bytes));
