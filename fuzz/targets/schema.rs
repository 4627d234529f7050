//! Texts of schemas and payloads: none ends the process, or takes for ever, and what is said to be compatible is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nexus_protocol::schema::SchemaFormat;
use nexus_schemas::{Compiled, Referenced};

/// Pieces of an input stand between these.
const BETWEEN: u8 = 0;

fuzz_target!(|data: &[u8]| {
    let Some((format, rest)) = data.split_first() else { return };
    let all = SchemaFormat::ALL;
    let format = all[usize::from(*format) % all.len()];
    let mut pieces = rest.splitn(4, |byte| *byte == BETWEEN);
    let mut next = || pieces.next().unwrap_or_default();
    let (old, new, other, payload) = (next(), next(), next(), next());
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (Some(old), Some(new), Some(other)) = (text(old), text(new), text(other)) else { return };
    let references = [Referenced { name: "other", text: other }];
    let Ok(old) = Compiled::new(format, old, &references) else { return };
    let media_type = match format {
        SchemaFormat::Json => "application/json",
        SchemaFormat::Avro => "application/avro",
        SchemaFormat::Protobuf => "application/protobuf",
    };
    let valid = old.validate(media_type, payload);
    let Ok(new) = Compiled::new(format, new, &references) else { return };
    let differences = old.differences(&new);
    drop(new.differences(&old));
    // What is read by the newer version is what the older one allows.
    if let (Compiled::Json(new), Ok(()), true) = (&new, valid, differences.is_empty()) {
        let value = serde_json::from_slice(payload).expect("a valid payload is JSON");
        assert!(new.reads(&value), "it was said to be compatible");
    }
});
