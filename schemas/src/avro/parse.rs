//! A text, with all that it speaks of, becomes a [`Graph`].
//!
//! Texts are read one after another, and linked by names: a name may be used before the text that declares it was read,
//! but not before it is declared in the same text. So references need no order, and no chain of them nests anything. What
//! can be said only of the whole (that nothing is missing, unions, defaults) is checked when it is there.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::check::check;
use super::graph::{
    Field, Graph, Logical, Named, Names, Place, PlaceId, Step, Type, TypeId, pointer,
};
use super::text;
use crate::{Referenced, SchemaError};

/// Bytes of a name with its namespace. Every type in a namespace repeats it.
const NAME_BYTES_MAX: usize = 1_024;
/// Aliases of a type, and of a field. They are looked through for each pair that is compared.
const ALIASES_MAX: usize = 64;
/// Bytes of a fixed: no library reads more.
const FIXED_BYTES_MAX: u64 = 0x7fff_ffff;

type Object = Map<String, Value>;

/// Reads a schema, and gives its text with sorted keys.
pub(super) fn parse(
    text: &str,
    references: &[Referenced<'_>],
) -> Result<(Graph, Vec<u8>), SchemaError> {
    let mut parser = Parser::default();
    for reference in references {
        parser.document(reference.text, Place::Reference(reference.name.to_owned()))?;
    }
    let (root, value) = parser.document(text, Place::Root)?;
    let Parser { types, at, places, unknown, .. } = parser;
    let graph = Graph { types, at, places, root };
    let mut missing: Vec<_> = unknown.into_iter().collect();
    missing.sort_by_key(|(id, _)| *id);
    if let Some((_, unknown)) = missing.into_iter().next() {
        return Err(SchemaError::NoReference { name: unknown.name });
    }
    check(&graph)?;
    let mut canonical = Vec::with_capacity(text.len());
    text::write_sorted(&value, &mut canonical);
    Ok((graph, canonical))
}

/// A name that is used, and not declared yet.
struct Unknown {
    name: String,
    /// The number of the text that used it first.
    document: usize,
}

#[derive(Default)]
struct Parser {
    types: Vec<Type>,
    at: Vec<PlaceId>,
    places: Vec<Place>,
    names: Names,
    unknown: HashMap<TypeId, Unknown>,
    document: usize,
}

impl Parser {
    fn document(&mut self, text: &str, place: Place) -> Result<(TypeId, Value), SchemaError> {
        self.document += 1;
        let above = match &place {
            Place::Reference(name) => format!("{name}#"),
            _ => String::new(),
        };
        let value = text::read(text, &above)?;
        let place = self.place(place);
        Ok((self.schema(&value, place, "")?, value))
    }

    fn place(&mut self, place: Place) -> PlaceId {
        self.places.push(place);
        PlaceId(self.places.len() - 1)
    }

    fn below(&mut self, above: PlaceId, step: Step) -> PlaceId {
        self.place(Place::Below(above, step))
    }

    fn add(&mut self, kind: Type, place: PlaceId) -> TypeId {
        self.types.push(kind);
        self.at.push(place);
        TypeId(self.types.len() - 1)
    }

    fn set(&mut self, id: TypeId, kind: Type) {
        *self.types.get_mut(id.0).expect("a type's number is of its own graph") = kind;
    }

    fn malformed<T>(&self, place: PlaceId, why: impl Into<String>) -> Result<T, SchemaError> {
        let pointer = pointer(&self.places, place);
        Err(SchemaError::Malformed { pointer, why: why.into() })
    }

    /// Reads a type, which is no deeper than [`SCHEMA_DEPTH_MAX`]. Names without a namespace are of this one.
    fn schema(
        &mut self,
        value: &Value,
        place: PlaceId,
        namespace: &str,
    ) -> Result<TypeId, SchemaError> {
        match value {
            Value::String(word) => match primitive(word) {
                Some(kind) => Ok(self.add(kind, place)),
                None => self.used(word, place, namespace),
            },
            Value::Array(branches) => {
                let id = self.add(Type::Unknown, place);
                let mut ids = Vec::with_capacity(branches.len());
                for (index, branch) in branches.iter().enumerate() {
                    let place = self.below(place, Step::Branch(index));
                    ids.push(self.schema(branch, place, namespace)?);
                }
                self.set(id, Type::Union(ids));
                Ok(id)
            }
            Value::Object(object) => self.object(object, place, namespace),
            _ => self.malformed(place, "a type is a word, an object, or an array of types"),
        }
    }

    fn object(
        &mut self,
        object: &Object,
        place: PlaceId,
        namespace: &str,
    ) -> Result<TypeId, SchemaError> {
        let before = self.types.len();
        let id = match object.get("type") {
            None => return self.malformed(place, "an object has to say its \"type\""),
            Some(Value::String(word)) => match word.as_str() {
                "record" => self.record(object, place, namespace)?,
                "enum" => self.enumeration(object, place, namespace)?,
                "fixed" => self.fixed(object, place, namespace)?,
                "array" => self.of(object, "items", place, namespace)?,
                "map" => self.of(object, "values", place, namespace)?,
                _ => self.schema(&Value::String(word.clone()), place, namespace)?,
            },
            Some(inner) => {
                let place = self.below(place, Step::Type);
                self.schema(inner, place, namespace)?
            }
        };
        match object.get("logicalType") {
            None => {}
            // A type that is used by its name is not changed by who uses it.
            Some(Value::String(word)) if id.0 >= before => {
                let kind = self.types.get_mut(id.0).expect("the type was added");
                set_logical(kind, word, object);
            }
            Some(Value::String(_)) => {}
            Some(_) => return self.malformed(place, "\"logicalType\" is a word"),
        }
        Ok(id)
    }

    fn of(
        &mut self,
        object: &Object,
        key: &str,
        place: PlaceId,
        namespace: &str,
    ) -> Result<TypeId, SchemaError> {
        let Some(inner) = object.get(key) else {
            return self.malformed(place, format!("it has to say the type of its {key:?}"));
        };
        let id = self.add(Type::Unknown, place);
        let step = if key == "items" { Step::Items } else { Step::Values };
        let place = self.below(place, step);
        let inner = self.schema(inner, place, namespace)?;
        self.set(id, if key == "items" { Type::Array(inner) } else { Type::Map(inner) });
        Ok(id)
    }

    fn record(
        &mut self,
        object: &Object,
        place: PlaceId,
        namespace: &str,
    ) -> Result<TypeId, SchemaError> {
        let (id, name) = self.declared(object, place, namespace)?;
        let namespace =
            name.full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let Some(Value::Array(said)) = object.get("fields") else {
            return self.malformed(place, "a record has to list its \"fields\"");
        };
        let mut fields = Vec::with_capacity(said.len());
        let mut seen = HashSet::with_capacity(said.len());
        for (index, field) in said.iter().enumerate() {
            let at = self.below(place, Step::Field(index));
            let Some(name) = field.get("name").and_then(Value::as_str).filter(|it| is_name(it))
            else {
                return self.malformed(
                    at,
                    "a field is an object with a \"name\" of letters, digits, and _",
                );
            };
            if !seen.insert(name) {
                return self.malformed(at, format!("two fields are called {name:?}"));
            }
            let Some(kind) = field.get("type") else {
                return self.malformed(at, "a field has to say its \"type\"");
            };
            let aliases = self.aliases(field.get("aliases"), at)?;
            fields.push(Field {
                name: name.to_owned(),
                aliases: aliases.into_iter().map(str::to_owned).collect(),
                default: field.get("default").cloned(),
                id: self.schema(kind, at, &namespace)?,
            });
        }
        self.set(id, Type::Record { name, fields });
        Ok(id)
    }

    fn enumeration(
        &mut self,
        object: &Object,
        place: PlaceId,
        namespace: &str,
    ) -> Result<TypeId, SchemaError> {
        let (id, name) = self.declared(object, place, namespace)?;
        let Some(Value::Array(said)) = object.get("symbols") else {
            return self.malformed(place, "an enum has to list its \"symbols\"");
        };
        let mut symbols = Vec::with_capacity(said.len());
        let mut seen = HashSet::with_capacity(said.len());
        for symbol in said {
            let Some(symbol) = symbol.as_str().filter(|it| is_name(it)) else {
                return self.malformed(place, "a symbol is a word of letters, digits, and _");
            };
            if !seen.insert(symbol) {
                return self.malformed(place, format!("symbol {symbol:?} is listed twice"));
            }
            symbols.push(symbol.to_owned());
        }
        let default = match object.get("default") {
            None => None,
            Some(Value::String(default)) if seen.contains(default.as_str()) => {
                Some(default.clone())
            }
            Some(_) => {
                return self.malformed(place, "the default of an enum is one of its symbols");
            }
        };
        self.set(id, Type::Enum { name, symbols, default });
        Ok(id)
    }

    fn fixed(
        &mut self,
        object: &Object,
        place: PlaceId,
        namespace: &str,
    ) -> Result<TypeId, SchemaError> {
        let (id, name) = self.declared(object, place, namespace)?;
        let Some(size) = object.get("size").and_then(Value::as_u64) else {
            return self.malformed(place, "a fixed has to say its \"size\" in bytes");
        };
        if size > FIXED_BYTES_MAX {
            let why = format!("a fixed of {size} bytes is not read by libraries: use \"bytes\"");
            return Err(SchemaError::Refused { pointer: pointer(&self.places, place), why });
        }
        self.set(id, Type::Fixed { name, size, logical: Logical::None });
        Ok(id)
    }

    /// The name of a type that is about to be declared, and the number that it has or gets.
    fn declared(
        &mut self,
        object: &Object,
        place: PlaceId,
        namespace: &str,
    ) -> Result<(TypeId, Named), SchemaError> {
        let Some(name) = object.get("name").and_then(Value::as_str) else {
            return self.malformed(place, "it has to say its \"name\"");
        };
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = self.full(name, place, namespace)?;
        if primitive(&full).is_some() || is_kind(&full) {
            return self.malformed(place, format!("{full:?} is a word of Avro, and no name"));
        }
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let mut aliases = Vec::new();
        for alias in self.aliases(object.get("aliases"), place)? {
            aliases.push(self.full(alias, place, &namespace)?);
        }
        let id = match self.names.get(&full).copied() {
            None => self.add(Type::Unknown, place),
            Some(id) => match self.unknown.remove(&id) {
                Some(unknown) if unknown.document != self.document => {
                    if let Some(at) = self.at.get_mut(id.0) {
                        *at = place;
                    }
                    id
                }
                Some(_) => {
                    let why = format!(
                        "{full:?} is used before it is declared: declare it where it is used first"
                    );
                    return self.malformed(place, why);
                }
                None => return self.malformed(place, format!("{full:?} is declared twice")),
            },
        };
        self.names.insert(full.clone(), id);
        Ok((id, Named { full, aliases }))
    }

    /// The number of a type that is used by its name.
    fn used(&mut self, word: &str, place: PlaceId, namespace: &str) -> Result<TypeId, SchemaError> {
        if is_kind(word) {
            return self.malformed(place, format!("{word:?} is declared by an object"));
        }
        let full = self.full(word, place, namespace)?;
        if let Some(id) = self.names.get(&full) {
            return Ok(*id);
        }
        let id = self.add(Type::Unknown, place);
        self.names.insert(full.clone(), id);
        self.unknown.insert(id, Unknown { name: full, document: self.document });
        Ok(id)
    }

    fn full(&self, name: &str, place: PlaceId, namespace: &str) -> Result<String, SchemaError> {
        let full = if name.contains('.') || namespace.is_empty() {
            name.to_owned()
        } else {
            format!("{namespace}.{name}")
        };
        if full.len() > NAME_BYTES_MAX {
            let why = format!("a name with its namespace takes more than {NAME_BYTES_MAX} bytes");
            return Err(SchemaError::Refused { pointer: pointer(&self.places, place), why });
        }
        if !full.split('.').all(is_name) {
            let why =
                format!("{full:?} is no name: it is of letters, digits, and _, with dots between");
            return self.malformed(place, why);
        }
        Ok(full)
    }

    fn aliases<'v>(
        &self,
        value: Option<&'v Value>,
        place: PlaceId,
    ) -> Result<Vec<&'v str>, SchemaError> {
        let aliases = match value {
            None => Some(Vec::new()),
            Some(Value::Array(aliases)) => aliases.iter().map(Value::as_str).collect(),
            Some(_) => None,
        };
        match aliases {
            Some(aliases) if aliases.len() > ALIASES_MAX => {
                let why = format!("there are more than {ALIASES_MAX} aliases");
                Err(SchemaError::Refused { pointer: pointer(&self.places, place), why })
            }
            Some(aliases) => Ok(aliases),
            None => self.malformed(place, "\"aliases\" are a list of words"),
        }
    }
}

fn primitive(word: &str) -> Option<Type> {
    Some(match word {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" => Type::Int(Logical::None),
        "long" => Type::Long(Logical::None),
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes(Logical::None),
        "string" => Type::String(Logical::None),
        _ => return None,
    })
}

fn is_kind(word: &str) -> bool {
    matches!(word, "record" | "enum" | "fixed" | "array" | "map" | "union" | "error")
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_')
        && bytes.all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

/// Notes what values stand for. What does not fit the type is left unsaid, as Avro asks for.
fn set_logical(kind: &mut Type, word: &str, object: &Object) {
    const OF_INT: [&str; 2] = ["date", "time-millis"];
    const OF_LONG: [&str; 7] = [
        "time-micros",
        "timestamp-millis",
        "timestamp-micros",
        "timestamp-nanos",
        "local-timestamp-millis",
        "local-timestamp-micros",
        "local-timestamp-nanos",
    ];
    let decimal = || {
        let number = |key| object.get(key).map(|it| it.as_u64());
        let (precision, scale) = (number("precision")??, number("scale").unwrap_or(Some(0))?);
        let fits = precision >= 1 && scale <= precision;
        fits.then_some(Logical::Decimal { precision, scale })
    };
    let word_of =
        |words: &[&'static str]| words.iter().find(|it| **it == word).map(|it| Logical::Is(it));
    let (slot, said) = match kind {
        Type::Int(slot) => (slot, word_of(&OF_INT)),
        Type::Long(slot) => (slot, word_of(&OF_LONG)),
        Type::Bytes(slot) if word == "decimal" => (slot, decimal()),
        Type::Bytes(slot) => (slot, word_of(&["big-decimal", "uuid"])),
        Type::String(slot) => (slot, word_of(&["uuid"])),
        Type::Fixed { logical, .. } if word == "decimal" => (logical, decimal()),
        Type::Fixed { logical, size: 16, .. } => (logical, word_of(&["uuid"])),
        Type::Fixed { logical, size: 12, .. } => (logical, word_of(&["duration"])),
        _ => return,
    };
    if let (Logical::None, Some(said)) = (&*slot, said) {
        *slot = said;
    }
}
