//! JSON, as texts of schemas are written.

use nexus_protocol::limits::SCHEMA_DEPTH_MAX;
use serde_json::Value;

use crate::SchemaError;
use nexus_protocol::schema::pointer_step;

/// Reads a text that is nested no deeper than [`SCHEMA_DEPTH_MAX`]. Pointers have `above` before them.
pub(super) fn read(text: &str, above: &str) -> Result<Value, SchemaError> {
    let value: Value = serde_json::from_str(text).map_err(|why| {
        let pointer = format!("{above}line {}, column {}", why.line(), why.column());
        let message = why.to_string();
        // The parser of JSON has no other way to tell that it is too deep for itself.
        if message.starts_with("recursion limit") {
            SchemaError::Refused { pointer, why: too_deep() }
        } else {
            SchemaError::Malformed { pointer, why: format!("it is not JSON: {message}") }
        }
    })?;
    if let Some(below) = too_deep_at(&value, SCHEMA_DEPTH_MAX) {
        return Err(SchemaError::Refused { pointer: format!("{above}{below}"), why: too_deep() });
    }
    Ok(value)
}

fn too_deep() -> String {
    format!("it is nested deeper than {SCHEMA_DEPTH_MAX} levels")
}

/// A pointer to what is deeper than so many levels.
fn too_deep_at(value: &Value, levels: usize) -> Option<String> {
    let below = |key: &str, inner: &Value| {
        let Some(levels) = levels.checked_sub(1) else { return Some(String::new()) };
        let pointer = too_deep_at(inner, levels)?;
        Some(format!("/{}{pointer}", pointer_step(key)))
    };
    match value {
        Value::Array(values) => {
            values.iter().enumerate().find_map(|(index, inner)| below(&index.to_string(), inner))
        }
        Value::Object(values) => values.iter().find_map(|(key, inner)| below(key, inner)),
        _ => None,
    }
}

/// Writes JSON with the keys of every object in order, and no spaces.
pub(super) fn write_sorted(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_sorted(value, out);
            }
            out.push(b']');
        }
        Value::Object(values) => {
            let mut sorted: Vec<_> = values.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
                out.push(b':');
                write_sorted(value, out);
            }
            out.push(b'}');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}
