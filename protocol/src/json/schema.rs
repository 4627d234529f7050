//! JSON Schemas of what is written as one text or number.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{ExpectedJson, UpcasterHashJson};
use crate::filter::{Filter, FilterItem};
use crate::ids::{CausationId, CorrelationId, EventId, SchemaId};
use crate::schema::AsSchema;
use crate::time::Timestamp;

macro_rules! schema {
    ($($type:ident: $schema:tt),+ $(,)?) => {
        $(impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })+
    };
}

schema! {
    Timestamp: {"type": "string", "format": "date-time"},
    EventId: {"type": "string", "format": "uuid"},
    CorrelationId: {"type": "string", "format": "uuid"},
    CausationId: {"type": "string", "format": "uuid"},
    SchemaId: {"type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32},
    UpcasterHashJson: {"type": "string", "pattern": "^[0-9a-fA-F]{1,16}$"},
    AsSchema: {"anyOf": [
        {"enum": ["raw", "latest"]},
        {"type": "integer", "minimum": 1, "maximum": 4_294_967_295_u32}
    ]},
    ExpectedJson: {"anyOf": [
        {"enum": ["any", "no_stream", "exists"]},
        {"type": "integer", "minimum": 0}
    ]},
}

impl JsonSchema for Filter {
    fn schema_name() -> Cow<'static, str> {
        "Filter".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<FilterItem>();
        json_schema!({ "anyOf": [item, {
            "type": "object",
            "properties": { "any": { "type": "array", "items": item, "minItems": 1 } },
            "required": ["any"],
            "additionalProperties": false,
        }] })
    }
}
