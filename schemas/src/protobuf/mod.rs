//! Schemas in Protobuf.
//!
//! A file is read with the files that it imports, which are handed in: nothing is looked for on a disk. What is known of
//! its messages is then kept as `shape`: payloads are walked along it without being built, and two of them are held
//! against each other by what they look like on the wire.

mod compare;
mod compile;
mod payload;
mod scan;
mod shape;
mod wire;

use nexus_protocol::schema::DataProblem;

use self::shape::Shape;
use crate::words::{bounded, check_media_type, check_sizes};
use crate::{Difference, Referenced, SchemaError};

/// Media types of a payload in Protobuf's binary form.
const MEDIA_TYPES: [&str; 3] =
    ["application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf"];

/// A schema in Protobuf.
#[derive(Debug)]
pub struct ProtobufSchema {
    canonical: Vec<u8>,
    shape: Shape,
}

impl ProtobufSchema {
    /// See [`Compiled::new`](crate::Compiled::new). References are called as in `import`; Google's own files are known. A
    /// payload is the first message that the file declares.
    ///
    /// # Errors
    /// As there.
    pub fn compile(text: &str, references: &[Referenced<'_>]) -> Result<Self, SchemaError> {
        check_sizes(text, references)?;
        let (canonical, shape) = compile::compile(text, references)?;
        Ok(Self { canonical, shape })
    }

    /// See [`Compiled::canonical`](crate::Compiled::canonical): the file as a descriptor, without a name, comments, and
    /// where things stand. What is declared keeps its order: the first message is the payload's.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// See [`Compiled::validate`](crate::Compiled::validate). Writers know their schema, so a field that it does not have
    /// is refused.
    ///
    /// # Errors
    /// As there. As what follows a wrong byte has no meaning, it is one thing.
    pub fn validate(&self, content_type: &str, data: &[u8]) -> Result<(), Vec<DataProblem>> {
        let checked = check_media_type(content_type, "Protobuf", &MEDIA_TYPES);
        let checked = checked.and_then(|()| payload::check(&self.shape, data));
        checked.map_err(|problem| bounded(vec![problem]))
    }

    /// See [`Compiled::differences`](crate::Compiled::differences): this is the writer's.
    pub fn differences(&self, reader: &Self) -> Vec<Difference> {
        compare::differences(&self.shape, &reader.shape)
    }
}
