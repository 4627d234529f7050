//! [`Graph`]: a schema as types that point at each other.
//!
//! Names are gone once it is built: who uses a named type holds its number. So a recursive type is a circle, and who walks
//! it keeps a bound of their own.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};

/// The number of a type in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TypeId(pub(super) usize);

/// A schema, and all that it speaks of.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) types: Vec<Type>,
    /// Where each type is declared.
    pub(super) at: Vec<PlaceId>,
    pub(super) places: Vec<Place>,
    pub(super) root: TypeId,
}

/// The number of a place in a schema's text, or a reference's.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceId(pub(super) usize);

/// A place that a type may stand at.
#[derive(Debug)]
pub(super) enum Place {
    /// The whole of the text.
    Root,
    /// The whole of a reference's text, which has this name.
    Reference(String),
    /// Below another.
    Below(PlaceId, Step),
}

/// One step down in a text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A `type` that is more than a word.
    Type,
    Field(usize),
    Items,
    Values,
    Branch(usize),
}

/// What values of a type are.
#[derive(Debug)]
pub(super) enum Type {
    Null,
    Boolean,
    Int(Logical),
    Long(Logical),
    Float,
    Double,
    Bytes(Logical),
    String(Logical),
    Fixed {
        name: Named,
        size: u64,
        logical: Logical,
    },
    Enum {
        name: Named,
        symbols: Vec<String>,
        default: Option<String>,
    },
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record {
        name: Named,
        fields: Vec<Field>,
    },
    /// Used by a name that nothing has been found for yet. A finished graph has none.
    Unknown,
}

/// How a type is called.
#[derive(Debug)]
pub(super) struct Named {
    /// With its namespace.
    pub(super) full: String,
    /// What else a reader may take it for, with namespaces.
    pub(super) aliases: Vec<String>,
}

impl Named {
    /// Without its namespace.
    pub(super) fn short(&self) -> &str {
        short(&self.full)
    }
}

/// A full name without its namespace.
pub(super) fn short(full: &str) -> &str {
    full.rsplit_once('.').map_or(full, |(_, name)| name)
}

/// A field of a record.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) default: Option<Value>,
    pub(super) id: TypeId,
}

/// What the values of a primitive or a fixed stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Logical {
    /// Themselves.
    None,
    /// What this word says.
    Is(&'static str),
    /// A decimal number.
    Decimal { precision: u64, scale: u64 },
}

impl Graph {
    pub(super) fn get(&self, id: TypeId) -> &Type {
        self.types.get(id.0).expect("a type's number is of its own graph")
    }

    /// A JSON pointer to a type; of one in a reference, its name and `#` stand before.
    pub(super) fn pointer(&self, id: TypeId) -> String {
        self.at.get(id.0).map_or_else(String::new, |place| pointer(&self.places, *place))
    }

    /// A type in short.
    pub(super) fn describe(&self, id: TypeId) -> Value {
        let plain = |word: &str, logical: &Logical| match logical {
            Logical::None => json!(word),
            Logical::Is(what) => json!({ "type": word, "logicalType": what }),
            Logical::Decimal { precision, scale } => json!({
                "type": word, "logicalType": "decimal", "precision": precision, "scale": scale,
            }),
        };
        match self.get(id) {
            Type::Null => json!("null"),
            Type::Boolean => json!("boolean"),
            Type::Int(logical) => plain("int", logical),
            Type::Long(logical) => plain("long", logical),
            Type::Float => json!("float"),
            Type::Double => json!("double"),
            Type::Bytes(logical) => plain("bytes", logical),
            Type::String(logical) => plain("string", logical),
            Type::Fixed { name, size, logical } => {
                let mut it = json!({ "type": "fixed", "name": name.full, "size": size });
                if let (Some(it), Value::Object(said)) = (it.as_object_mut(), plain("", logical)) {
                    it.extend(said.into_iter().filter(|(key, _)| key != "type"));
                }
                it
            }
            Type::Enum { name, .. } => json!({ "type": "enum", "name": name.full }),
            Type::Record { name, .. } => json!({ "type": "record", "name": name.full }),
            Type::Array(_) => json!("array"),
            Type::Map(_) => json!("map"),
            Type::Union(_) => json!("union"),
            Type::Unknown => Value::Null,
        }
    }
}

/// See [`Graph::pointer`]; it is needed before the graph is whole, too.
pub(super) fn pointer(places: &[Place], place: PlaceId) -> String {
    let mut steps = Vec::new();
    let mut at = place;
    let mut pointer = loop {
        match places.get(at.0) {
            Some(Place::Below(above, step)) => {
                steps.push(*step);
                at = *above;
            }
            Some(Place::Reference(name)) => break format!("{name}#"),
            Some(Place::Root) | None => break String::new(),
        }
    };
    for step in steps.iter().rev() {
        let written = match step {
            Step::Type => write!(pointer, "/type"),
            Step::Field(index) => write!(pointer, "/fields/{index}/type"),
            Step::Items => write!(pointer, "/items"),
            Step::Values => write!(pointer, "/values"),
            Step::Branch(index) => write!(pointer, "/{index}"),
        };
        written.expect("a string takes all that is written");
    }
    pointer
}

/// Types by their full names.
pub(super) type Names = HashMap<String, TypeId>;
