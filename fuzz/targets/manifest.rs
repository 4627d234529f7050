//! The manifest.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexus_engine::fuzzing::manifest(bytes));
