//! A past state as text: `position:N`, `revision:N`, `recorded:TIME`.

#![no_main]

use nexus_protocol::AsOf;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match text.parse::<AsOf>() {
        Ok(as_of) => assert_eq!(as_of.to_string().parse(), Ok(as_of), "it parses as it prints"),
        Err(error) => assert!(error.to_string().len() < 1024 + 8 * text.len()),
    }
});
