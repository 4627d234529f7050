//! Templates of an import, such as `order-{id}`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexus_rows::fuzzing::template(bytes));
