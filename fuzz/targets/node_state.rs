//! The two slots of node-state.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexus_engine::fuzzing::node_state(bytes));
