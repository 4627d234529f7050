//! Schemas in JSON Schema: 2020-12, 2019-09, 7, 6, and 4, as `$schema` says, 2020-12 where it says nothing.
//!
//! A schema is an outsider's text. What it refers to is handed in with it and never fetched; what it costs to compile and
//! to check a payload against is bounded before it is compiled; patterns are matched in linear time.
//!
//! Writers are checked against the closed schema (`closed.rs` says what is closed): a property that it does not name is not taken, unless it says
//! `"additionalProperties": true`. Readers are taken as they are written. `format`,
//! `contentEncoding`, and `contentMediaType` are notes for people and are not checked, in no draft.

mod apart;
mod bounds;
mod closed;
mod documents;
mod evaluate;
mod facts;
mod graph;
mod infer;
mod keywords;
mod pattern;
mod payload;
mod places;
mod same;
mod subsume;
mod validate;

pub use self::infer::Inference;

use std::sync::OnceLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Keyword, ValidationError, Validator};
use nexus_protocol::schema::DataProblem;
use serde_json::Value;

use self::bounds::Cost;
use self::documents::{Documents, in_reference};
use self::evaluate::Evaluation;
use self::graph::Graph;
use self::places::Places;
use crate::words::{bounded, check_sizes, cut};
use crate::{Difference, Referenced, SchemaError};

/// What it may take to see that no value follows two branches of a `oneOf`; beyond, they are not closed.
const APART_STEPS_MAX: u32 = 50_000;

/// The value that a payload is, if it says that it is JSON and is.
///
/// # Errors
/// What is wrong with it: its media type, or what stands there, names that stand twice in an object included.
pub fn read(content_type: &str, data: &[u8]) -> Result<Value, DataProblem> {
    validate::read(content_type, data)
}

/// A schema in JSON Schema.
pub struct JsonSchema {
    canonical: Vec<u8>,
    /// As it is written.
    written: Documents,
    /// As writers are held to it.
    closed: Documents,
    cost: Cost,
    writers: Validator,
    readers: OnceLock<Option<Validator>>,
}

impl std::fmt::Debug for JsonSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.canonical);
        f.debug_struct("JsonSchema").field("canonical", &text).finish_non_exhaustive()
    }
}

impl JsonSchema {
    /// See [`Compiled::new`](crate::Compiled::new).
    ///
    /// # Errors
    /// As there.
    pub fn compile(text: &str, references: &[Referenced<'_>]) -> Result<Self, SchemaError> {
        check_sizes(text, references)?;
        let written = Documents::read(text, references)?;
        check_meta(&written)?;
        let (cost, closed) = {
            let registry = written.registry()?;
            let places = Places::find(&written, &registry)?;
            let (cost, parts) = bounds::check(&places)?;
            pattern::check(&places)?;
            let graph = Graph::of(places);
            let evaluation = Evaluation::new(APART_STEPS_MAX);
            let apart = |place| apart::are_branches_apart(&evaluation, &graph, place);
            (cost, closed::close(&written, &graph.places, &parts, apart))
        };
        let writers = validator_of(&closed)?;
        let canonical = written.all.first().map(|it| canonical_of(&it.value)).unwrap_or_default();
        Ok(Self { canonical, written, closed, cost, writers, readers: OnceLock::new() })
    }

    /// See [`Compiled::canonical`](crate::Compiled::canonical): the schema as it is written, compact, with its keys in
    /// order.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// See [`Compiled::validate`](crate::Compiled::validate).
    ///
    /// # Errors
    /// As there.
    pub fn validate(&self, content_type: &str, data: &[u8]) -> Result<(), Vec<DataProblem>> {
        validate::validate(&self.writers, &self.cost, content_type, data).map_err(bounded)
    }

    /// Whether a reader who takes the schema as it is written takes a payload. It takes all that
    /// [follows](JsonSchema::validate) the schema, and properties that it does not name besides.
    pub fn reads(&self, value: &Value) -> bool {
        let readers = self.readers.get_or_init(|| validator_of(&self.written).ok());
        validate::check_depth(&self.cost, value).is_ok()
            && readers.as_ref().is_some_and(|it| it.is_valid(value))
    }

    /// See [`Compiled::differences`](crate::Compiled::differences): this is the writer's.
    pub fn differences(&self, reader: &Self) -> Vec<Difference> {
        // What follows the closed schema follows it as it is written.
        if self.written.says_the_same(&reader.written) {
            return Vec::new();
        }
        self.compare(reader).unwrap_or_else(|_| {
            let rule = "schema".into();
            vec![Difference { pointer: String::new(), rule, writer: None, reader: None }]
        })
    }

    fn compare(&self, reader: &Self) -> Result<Vec<Difference>, SchemaError> {
        let registries = (self.closed.registry()?, reader.written.registry()?);
        let writer = Graph::read(&self.closed, &registries.0)?;
        let reader = Graph::read(&reader.written, &registries.1)?;
        Ok(subsume::differences(&writer, &reader))
    }
}

/// Checks each text against what its draft says of schemas.
fn check_meta(documents: &Documents) -> Result<(), SchemaError> {
    for document in &documents.all {
        let checked = match document.draft {
            Draft::Draft4 => jsonschema::draft4::meta::validate(&document.value),
            Draft::Draft6 => jsonschema::draft6::meta::validate(&document.value),
            Draft::Draft7 => jsonschema::draft7::meta::validate(&document.value),
            Draft::Draft201909 => jsonschema::draft201909::meta::validate(&document.value),
            _ => jsonschema::draft202012::meta::validate(&document.value),
        };
        checked.map_err(|why| {
            let pointer = why.instance_path().as_str().to_owned();
            let why = cut(&why.to_string(), 300);
            in_reference(&document.name, SchemaError::Malformed { pointer, why })
        })?;
    }
    Ok(())
}

fn validator_of(documents: &Documents) -> Result<Validator, SchemaError> {
    let registry = documents.registry()?;
    let Some(document) = documents.all.first() else {
        return Err(SchemaError::Malformed { pointer: String::new(), why: "it is empty".into() });
    };
    let options = NOTES.iter().fold(jsonschema::options(), |options, keyword| {
        options.with_keyword(*keyword, |_, _, _| Ok(Box::new(Note)))
    });
    options
        .with_draft(document.draft)
        .with_base_uri(documents.base())
        .with_registry(&registry)
        .offline()
        .should_validate_formats(false)
        .with_pattern_options(pattern::options())
        .build(&document.value)
        .map_err(|why| not_built(documents, &why))
}

/// Keywords that drafts 6 and 7 let a validator check, and newer drafts do not.
const NOTES: [&str; 2] = ["contentEncoding", "contentMediaType"];

/// A keyword that every value follows.
struct Note;

impl Keyword<'_> for Note {
    fn validate(&self, _: &Value) -> Result<(), ValidationError<'static>> {
        Ok(())
    }

    fn is_valid(&self, _: &Value) -> bool {
        true
    }
}

fn not_built(documents: &Documents, why: &ValidationError<'_>) -> SchemaError {
    let pointer = why.schema_path().as_str().to_owned();
    match why.kind() {
        ValidationErrorKind::Referencing(why) => documents.not_resolved(why, pointer),
        _ => SchemaError::Malformed { pointer, why: cut(&why.to_string(), 300) },
    }
}

/// Compact, with keys in order: maps keep them so.
fn canonical_of(value: &Value) -> Vec<u8> {
    sorted(value).to_string().into_bytes()
}

/// With keys in order, also where another crate of the build lets maps keep the order in which they were filled.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut all: Vec<_> = map.iter().map(|(name, it)| (name.clone(), sorted(it))).collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(all.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
