//! Imported CSV; the first line of an input is the templates.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexus_rows::fuzzing::csv(bytes));
