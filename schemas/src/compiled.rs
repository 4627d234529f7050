//! [`Compiled`]: a schema of any format, ready for payloads.

use nexus_protocol::schema::{DataProblem, SchemaFormat};

use crate::avro::AvroSchema;
use crate::json::JsonSchema;
use crate::protobuf::ProtobufSchema;
use crate::{Difference, SchemaError};

/// A schema that another speaks of, directly or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referenced<'a> {
    /// As the schema that speaks of it calls it.
    pub name: &'a str,
    /// Its text, of the same format.
    pub text: &'a str,
}

/// A schema that was read and found to be one. Payloads are checked against it from any number of threads.
#[derive(Debug)]
pub enum Compiled {
    /// In JSON Schema.
    Json(Box<JsonSchema>),
    /// In Avro.
    Avro(Box<AvroSchema>),
    /// In Protobuf.
    Protobuf(Box<ProtobufSchema>),
}

impl Compiled {
    /// Reads a schema with all that it speaks of.
    ///
    /// # Errors
    /// When it is none, speaks of something else, or is too large.
    pub fn new(
        format: SchemaFormat,
        text: &str,
        references: &[Referenced<'_>],
    ) -> Result<Self, SchemaError> {
        Ok(match format {
            SchemaFormat::Json => Self::Json(Box::new(JsonSchema::compile(text, references)?)),
            SchemaFormat::Avro => Self::Avro(Box::new(AvroSchema::compile(text, references)?)),
            SchemaFormat::Protobuf => {
                Self::Protobuf(Box::new(ProtobufSchema::compile(text, references)?))
            }
        })
    }

    /// Its format.
    pub fn format(&self) -> SchemaFormat {
        match self {
            Self::Json(_) => SchemaFormat::Json,
            Self::Avro(_) => SchemaFormat::Avro,
            Self::Protobuf(_) => SchemaFormat::Protobuf,
        }
    }

    /// Its content as bytes that are the same for the same schema, however it is spaced or ordered.
    pub fn canonical(&self) -> &[u8] {
        match self {
            Self::Json(schema) => schema.canonical(),
            Self::Avro(schema) => schema.canonical(),
            Self::Protobuf(schema) => schema.canonical(),
        }
    }

    /// Whether a payload of a media type follows it. The payload is never changed.
    ///
    /// # Errors
    /// What is wrong with it, [`SCHEMA_PROBLEMS_MAX`](nexus_protocol::limits::SCHEMA_PROBLEMS_MAX) things at most, each within
    /// [bounds](DataProblem::bounded).
    pub fn validate(&self, content_type: &str, data: &[u8]) -> Result<(), Vec<DataProblem>> {
        match self {
            Self::Json(schema) => schema.validate(content_type, data),
            Self::Avro(schema) => schema.validate(content_type, data),
            Self::Protobuf(schema) => schema.validate(content_type, data),
        }
    }

    /// Why a reader who has `reader` does not read all that [follows](Self::validate) this one; nothing: it reads all of
    /// it. At most [`SCHEMA_PROBLEMS_MAX`](nexus_protocol::limits::SCHEMA_PROBLEMS_MAX) reasons.
    ///
    /// What is said to be readable is. What is not may be readable still, where that could not be seen.
    pub fn differences(&self, reader: &Self) -> Vec<Difference> {
        match (self, reader) {
            (Self::Json(writer), Self::Json(reader)) => writer.differences(reader),
            (Self::Avro(writer), Self::Avro(reader)) => writer.differences(reader),
            (Self::Protobuf(writer), Self::Protobuf(reader)) => writer.differences(reader),
            (writer, reader) => vec![Difference {
                pointer: String::new(),
                rule: "format".into(),
                writer: Some(writer.format().as_str().into()),
                reader: Some(reader.format().as_str().into()),
            }],
        }
    }
}
