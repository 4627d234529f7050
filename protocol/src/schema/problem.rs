//! What is wrong with a payload, and between two versions.

use std::borrow::Cow;

use serde_json::Value;

use crate::ids::SchemaId;

/// A name as a step of a JSON pointer (RFC 6901), without the `/` before it.
pub fn pointer_step(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) {
        return name.replace('~', "~0").replace('/', "~1").into();
    }
    name.into()
}

/// What is wrong with one payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataProblem {
    /// Where in the payload: a JSON pointer; empty: the payload as a whole.
    pub pointer: String,
    /// Which rule it breaks: in JSON Schema the keyword.
    pub rule: Cow<'static, str>,
    /// What is wrong, in words.
    pub message: String,
}

/// What is wrong with one event of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaProblem {
    /// Which event, from 0, counted through all streams of the append.
    pub event: usize,
    /// The version that it should follow; [`SchemaId::NONE`]: there is none.
    pub schema: SchemaId,
    /// What is wrong.
    pub problem: DataProblem,
}

impl std::fmt::Display for SchemaProblem {
    /// Which event and which rule. Pointer and message may show what stands in the payload, and this is what is logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "event {} breaks the rule {:?}", self.event, self.problem.rule)?;
        match self.schema {
            SchemaId::NONE => Ok(()),
            schema => write!(f, " of schema {}", schema.get()),
        }
    }
}

impl SchemaProblem {
    /// All of it, for whoever handed in the event, and for no log.
    pub fn in_full(&self) -> String {
        let DataProblem { pointer, message, .. } = &self.problem;
        let at = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
        format!("{self}{at}: {message}")
    }
}

/// Longest pointer that is told, in bytes.
const POINTER_BYTES_MAX: usize = 1_024;
/// Longest message that is told, in bytes.
const MESSAGE_BYTES_MAX: usize = 512;

impl DataProblem {
    /// The same within bounds: a payload may be made so that places and words are long.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for (text, max) in
            [(&mut self.pointer, POINTER_BYTES_MAX), (&mut self.message, MESSAGE_BYTES_MAX)]
        {
            if text.len() > max {
                text.truncate(text.floor_char_boundary(max));
                text.push('…');
            }
        }
        self
    }
}

/// Why one version does not read what follows another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatibility {
    /// Where in the schemas: a JSON pointer in JSON Schema and Avro, a name with its number in Protobuf; empty: the whole.
    pub pointer: String,
    /// Which rule stands in the way.
    pub rule: Cow<'static, str>,
    /// What the older of the two says there; `None`: nothing.
    pub old: Option<Value>,
    /// What the newer of the two says there; `None`: nothing.
    pub new: Option<Value>,
    /// Which version it does not go together with: one before it, or, of a version that comes late, one after it.
    pub version: u32,
}

impl std::fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pointer, rule, version, .. } = self;
        let at = if pointer.is_empty() { "as a whole" } else { pointer };
        write!(f, "{rule} at {at}, against version {version}")
    }
}
