//! What is wrong with a schema, and what is different between two.

use std::borrow::Cow;

use nexus_protocol::TooLarge;
use nexus_protocol::schema::Incompatibility;
use serde_json::Value;

/// Why a text is no schema that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is not what its format asks for.
    #[error("schema is malformed{}: {why}", at(.pointer))]
    Malformed {
        /// Where: a JSON pointer, or `line 3, column 5`; empty: it is not known, or it is the whole.
        pointer: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// It is what its format asks for, and Nexus does not take it.
    #[error("schema is refused{}: {why}", at(.pointer))]
    Refused {
        /// Where, as above.
        pointer: String,
        /// Why, and what to write instead.
        why: String,
    },
    /// It speaks of something that was not handed in with it.
    #[error("schema refers to {name:?}, which is none of its references: name it there")]
    NoReference {
        /// What it speaks of.
        name: String,
    },
    /// Something is over its limit.
    #[error("schema is too large: {0}")]
    TooLarge(#[from] TooLarge),
}

fn at(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!(" at {pointer}") }
}

/// Why a reader's schema does not read what follows a writer's.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where: a JSON pointer into the reader's schema in JSON Schema and Avro, a name with its number in Protobuf; empty: the
    /// whole.
    pub pointer: String,
    /// Which rule stands in the way.
    pub rule: Cow<'static, str>,
    /// What the writer's schema says there; `None`: nothing.
    pub writer: Option<Value>,
    /// What the reader's schema says there; `None`: nothing.
    pub reader: Option<Value>,
}

impl Difference {
    /// As it is told of two versions of a subject. *Backward*, it is the older one that writes, and the newer one that
    /// reads; otherwise it is the other way round. `version` is the one that a third was held against.
    pub fn told(self, is_backward: bool, version: u32) -> Incompatibility {
        let Self { pointer, rule, writer, reader } = self;
        let (old, new) = if is_backward { (writer, reader) } else { (reader, writer) };
        Incompatibility { pointer, rule, old, new, version }
    }

    /// Of the whole: nothing is to be shown of either.
    pub(crate) fn of_the_whole(rule: &'static str) -> Self {
        Self { pointer: String::new(), rule: rule.into(), writer: None, reader: None }
    }
}
