//! Schemas in JSON Schema.

mod compile;
mod evolve;
mod generator;
mod hostile;
mod oracle;
mod payloads;
mod validate;

use nexus_schemas::json::JsonSchema;
use nexus_schemas::{Referenced, SchemaError};
use serde_json::Value;

/// Compiles what should be a schema.
fn schema(value: &Value) -> JsonSchema {
    JsonSchema::compile(&value.to_string(), &[]).unwrap_or_else(|why| panic!("{value}: {why}"))
}

/// Compiles what should be a schema, with what it refers to.
fn schema_with(value: &Value, references: &[(&str, Value)]) -> Result<JsonSchema, SchemaError> {
    let texts: Vec<_> = references.iter().map(|(name, it)| (*name, it.to_string())).collect();
    let references: Vec<_> =
        texts.iter().map(|(name, text)| Referenced { name, text: text.as_str() }).collect();
    JsonSchema::compile(&value.to_string(), &references)
}

/// Why something is no schema.
fn refused(value: &Value) -> SchemaError {
    match JsonSchema::compile(&value.to_string(), &[]) {
        Ok(_) => panic!("{value} is taken"),
        Err(why) => why,
    }
}

fn follows(schema: &JsonSchema, value: &Value) -> bool {
    schema.validate("application/json", value.to_string().as_bytes()).is_ok()
}
