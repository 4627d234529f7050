//! Texts of transforms and documents: none ends the process, or takes for ever, and what comes out is bounded.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use nexus_protocol::limits::{LIFTED_BYTES_MAX, PARTS_MAX};
use nexus_schemas::{Chain, Step, Transform, UpcastError};
use serde_json::value::RawValue;

/// A text and a document stand at its sides.
const BETWEEN: u8 = 0;

fuzz_target!(|data: &[u8]| {
    let mut pieces = data.splitn(2, |byte| *byte == BETWEEN);
    let (text, document) = (pieces.next().unwrap_or_default(), pieces.next().unwrap_or_default());
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(up) = Transform::parse(text) else { return };
    // What is shown says the same, and is no longer than what was read.
    let shown = up.to_string();
    assert!(shown.len() <= text.len());
    assert_eq!(Transform::parse(&shown).as_ref(), Ok(&up));
    drop(up.to_json());
    let down = up.inverse();
    assert_eq!(down.is_none(), up.no_way_back().is_some());
    let up = Arc::new(up);
    check([Arc::clone(&up)], document);
    // There, back, and there again: what is nested by one is nested deeper by the next.
    if let Some(down) = down {
        check([Arc::clone(&up), Arc::new(down), up], document);
    }
});

fn check(transforms: impl IntoIterator<Item = Arc<Transform>>, document: &[u8]) {
    let chain = Chain::new(transforms.into_iter().map(Step::Transform));
    match chain.apply("A", document) {
        Ok(parts) => {
            assert!(parts.len() <= PARTS_MAX);
            assert!(parts.iter().map(|it| it.data.len()).sum::<usize>() <= LIFTED_BYTES_MAX);
            // A chain that does nothing does not look at what it is given.
            let is_json = |data| serde_json::from_slice::<&RawValue>(data).is_ok();
            assert!(chain.is_empty() || parts.iter().all(|it| is_json(&it.data)));
        }
        Err(UpcastError::NotJson { .. }) => {}
        Err(UpcastError::TooManyParts { parts, max }) => assert!(parts > max),
        Err(UpcastError::TooLarge { bytes, max }) => assert!(bytes > max),
        Err(why) => panic!("{why}"),
    }
}
