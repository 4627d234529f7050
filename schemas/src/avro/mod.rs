//! Schemas in Avro.
//!
//! A text is read into a `graph` of types here, and not by the library that readers use: that one says nothing of where
//! a text is wrong, and a short text can keep it busy for years (it unfolds defaults, and types by their names, again at
//! each use). What is taken here is taken there: tests hold the two together. So it is with payloads, which are looked at
//! without being built, and with what one schema reads of another.

mod check;
mod compare;
mod default;
mod graph;
mod parse;
mod payload;
mod text;

use nexus_protocol::schema::DataProblem;

use self::graph::Graph;
use crate::words::{bounded, check_media_type, check_sizes};
use crate::{Difference, Referenced, SchemaError};

/// Media types of a payload in Avro's binary form.
const MEDIA_TYPES: [&str; 4] =
    ["application/avro", "avro/binary", "application/vnd.apache.avro", "application/x-avro"];

/// A schema in Avro.
#[derive(Debug)]
pub struct AvroSchema {
    canonical: Vec<u8>,
    graph: Graph,
}

impl AvroSchema {
    /// See [`Compiled::new`](crate::Compiled::new). A reference is called by the full name of the type that it declares;
    /// what is declared inside it is known, too.
    ///
    /// # Errors
    /// As there.
    pub fn compile(text: &str, references: &[Referenced<'_>]) -> Result<Self, SchemaError> {
        check_sizes(text, references)?;
        let (graph, canonical) = parse::parse(text, references)?;
        Ok(Self { canonical, graph })
    }

    /// See [`Compiled::canonical`](crate::Compiled::canonical): the text with sorted keys, and all that it says. Avro's own
    /// canonical form leaves out defaults and aliases, by which readers go.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// See [`Compiled::validate`](crate::Compiled::validate). A payload is one datum in binary form, without a header.
    ///
    /// # Errors
    /// As there. As what follows a wrong byte has no meaning, it is one thing.
    pub fn validate(&self, content_type: &str, data: &[u8]) -> Result<(), Vec<DataProblem>> {
        let checked = check_media_type(content_type, "Avro", &MEDIA_TYPES);
        let checked = checked.and_then(|()| payload::check(&self.graph, data));
        checked.map_err(|problem| bounded(vec![problem]))
    }

    /// See [`Compiled::differences`](crate::Compiled::differences): this is the writer's.
    pub fn differences(&self, reader: &Self) -> Vec<Difference> {
        compare::differences(&self.graph, &reader.graph)
    }
}
