//! The texts of a schema and of what it refers to, read and named.
//!
//! Each text is bounded before it is read, and nothing is fetched: what a text refers to is one of the texts, a
//! meta-schema, or missing. A name leads to a text when it is the URI that the text was handed in under or calls itself,
//! or when a schema says it just as it was handed in, wherever that schema stands.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jsonschema::{Draft, ReferencingError, Registry, Uri, uri};
use nexus_protocol::TooLarge;
use nexus_protocol::limits::SCHEMA_DEPTH_MAX;
use serde_json::Value;

use crate::{Referenced, SchemaError};

/// What a schema without a URI of its own is called, so that names in it can be resolved.
const NAMELESS: &str = "json-schema:///";

/// Bytes of a URI in a schema: each is resolved and kept more than once.
const URI_BYTES_MAX: usize = 4_096;

/// Names that lead to a text by how they are written, and not by what they resolve to.
const ALIASES_MAX: usize = 1_024;

/// What `$schema` may say.
const DRAFTS_TAKEN: &str = "2020-12, 2019-09, 7, 6, and 4";

/// Texts, read; the first is the schema itself.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    /// The texts; the first is the schema itself.
    pub(super) all: Vec<Document>,
    /// URIs that lead to them, beside those that they call themselves.
    named: Vec<(String, usize)>,
    /// How missing names are written, by what they resolve to.
    written: BTreeMap<String, String>,
}

/// One text.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// As it was handed in; empty: it is the schema itself.
    pub(super) name: String,
    /// What it says.
    pub(super) value: Value,
    /// Which draft it is written in.
    pub(super) draft: Draft,
    /// What names in it are resolved against.
    base: Uri<String>,
}

impl Document {
    /// What names in it are resolved against.
    pub(super) fn base(&self) -> &Uri<String> {
        &self.base
    }
}

impl Documents {
    /// Reads texts.
    pub(super) fn read(text: &str, references: &[Referenced<'_>]) -> Result<Self, SchemaError> {
        let value = parse(text)?;
        let draft = draft_of(&value, Draft::Draft202012)?;
        let nameless = uri::from_str(NAMELESS).map_err(|why| no_uri(NAMELESS, "", &why))?;
        let base = base_of(&value, draft, &nameless, "/$id")?;
        let mut all = vec![Document { name: String::new(), value, draft, base }];
        let mut named: Vec<(String, usize)> = Vec::new();
        for reference in references {
            // One that many speak of is handed in for each of them.
            if all.iter().any(|it| it.name == reference.name) {
                continue;
            }
            let inside = |why| in_reference(reference.name, why);
            let value = parse(reference.text).map_err(inside)?;
            let draft = draft_of(&value, draft).map_err(inside)?;
            let root = all.first().map_or(&nameless, |it| &it.base);
            let called = resolve(root, reference.name, "").map_err(inside)?;
            let base = base_of(&value, draft, &called, "/$id").map_err(inside)?;
            named.push((called.to_string(), all.len()));
            all.push(Document { name: reference.name.to_owned(), value, draft, base });
        }
        let mut documents = Self { all, named, written: BTreeMap::new() };
        documents.name_as_written()?;
        Ok(documents)
    }

    /// The same texts with other content.
    pub(super) fn with(&self, values: Vec<Value>) -> Self {
        let mut documents = self.clone();
        for (document, value) in documents.all.iter_mut().zip(values) {
            document.value = value;
        }
        documents
    }

    /// Whether others are the same texts.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.all.len() == other.all.len()
            && self.all.iter().zip(&other.all).all(|(a, b)| {
                (&a.name, a.draft, &a.base, &a.value) == (&b.name, b.draft, &b.base, &b.value)
            })
    }

    /// What names in the schema itself are resolved against.
    pub(super) fn base(&self) -> Cow<'_, str> {
        self.all.first().map_or(NAMELESS.into(), |it| it.base.as_str().into())
    }

    /// The texts by their URIs.
    pub(super) fn registry(&self) -> Result<Registry<'_>, SchemaError> {
        let failed = |why| self.not_resolved(&why, String::new());
        let draft = self.all.first().map_or(Draft::Draft202012, |it| it.draft);
        // The draft says whose meta-schemas are known.
        let mut builder = Registry::new().draft(draft).retriever(Nothing);
        for (uri, index) in &self.named {
            if let Some(document) = self.all.get(*index) {
                let resource = document.draft.create_resource_ref(&document.value);
                builder = builder.add(uri, resource).map_err(failed)?;
            }
        }
        if let Some(document) = self.all.first() {
            let resource = document.draft.create_resource_ref(&document.value);
            builder = builder.add(&*self.base(), resource).map_err(failed)?;
        }
        builder.prepare().map_err(failed)
    }

    /// What it means that a name leads nowhere.
    pub(super) fn not_resolved(&self, why: &ReferencingError, pointer: String) -> SchemaError {
        match why {
            ReferencingError::Unretrievable { uri, .. } => {
                let uri = uri.split('#').next().unwrap_or_default();
                let name = self.written.get(uri).map_or(uri, |it| it);
                SchemaError::NoReference { name: name.to_owned() }
            }
            other => SchemaError::Malformed { pointer, why: other.to_string() },
        }
    }

    /// Finds the names that lead to a text by how they are written.
    fn name_as_written(&mut self) -> Result<(), SchemaError> {
        let mut said = Said { names: BTreeMap::new(), known: BTreeSet::new() };
        for document in &self.all {
            said.known.insert(document.base.as_str().to_owned());
            let found = said.collect(&document.value, document.draft, &document.base, 0);
            found.map_err(|why| in_reference(&document.name, why))?;
        }
        said.known.extend(self.named.iter().map(|(uri, _)| uri.clone()));
        for (uri, written) in said.names {
            if said.known.contains(&uri) {
                continue;
            }
            let named = |it: &Document| !it.name.is_empty() && it.name == written;
            match self.all.iter().position(named) {
                Some(index) if self.named.len() < self.all.len() + ALIASES_MAX => {
                    self.named.push((uri, index));
                }
                Some(_) => {
                    let why = format!("it calls what it refers to by over {ALIASES_MAX} URIs");
                    return Err(SchemaError::Refused { pointer: String::new(), why });
                }
                None => {
                    self.written.insert(uri, written);
                }
            }
        }
        Ok(())
    }
}

/// What texts speak of.
struct Said {
    /// How names are written, by what they resolve to.
    names: BTreeMap<String, String>,
    /// What parts of texts call themselves.
    known: BTreeSet<String>,
}

impl Said {
    /// Looks everywhere, also where no schema stands: what is found too much does no harm.
    fn collect(
        &mut self,
        value: &Value,
        draft: Draft,
        base: &Uri<String>,
        depth: usize,
    ) -> Result<(), SchemaError> {
        match value {
            Value::Array(items) => {
                items.iter().try_for_each(|it| self.collect(it, draft, base, depth + 1))
            }
            Value::Object(map) => {
                let base = match draft.create_resource_ref(value).id() {
                    Some(_) if depth == 0 => Cow::Borrowed(base),
                    Some(id) => {
                        let here = resolve(base, id, "")?;
                        self.known.insert(here.as_str().to_owned());
                        Cow::Owned(here)
                    }
                    None => Cow::Borrowed(base),
                };
                for keyword in ["$ref", "$dynamicRef"] {
                    let Some(reference) = map.get(keyword).and_then(Value::as_str) else {
                        continue;
                    };
                    let name = reference.split('#').next().unwrap_or_default();
                    if !name.is_empty() {
                        let uri = resolve(&base, name, "")?;
                        self.names.entry(uri.to_string()).or_insert_with(|| name.to_owned());
                    }
                }
                map.values().try_for_each(|it| self.collect(it, draft, &base, depth + 1))
            }
            _ => Ok(()),
        }
    }
}

/// Fetches nothing.
struct Nothing;

impl jsonschema::Retrieve for Nothing {
    fn retrieve(
        &self,
        _uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err("nothing is fetched".into())
    }
}

fn parse(text: &str) -> Result<Value, SchemaError> {
    check_depth(text)?;
    let value: Value = serde_json::from_str(text).map_err(|why| SchemaError::Malformed {
        pointer: format!("line {}, column {}", why.line(), why.column()),
        why: without_place(&why.to_string()).to_owned(),
    })?;
    if value.is_object() || value.is_boolean() {
        return Ok(value);
    }
    let why = "a schema is a JSON object, true, or false".to_owned();
    Err(SchemaError::Malformed { pointer: String::new(), why })
}

/// What is wrong with JSON, without where: that is said beside it.
pub(super) fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(what, _)| what)
}

/// Before anything is built of it: what is deep takes stack wherever it is walked.
fn check_depth(text: &str) -> Result<(), SchemaError> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > SCHEMA_DEPTH_MAX {
                    let before = text.get(..at).unwrap_or_default();
                    let line = before.matches('\n').count() + 1;
                    let column = at - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
                    let pointer = format!("line {line}, column {column}");
                    let why = format!("it is nested deeper than {SCHEMA_DEPTH_MAX}");
                    return Err(SchemaError::Refused { pointer, why });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

fn draft_of(value: &Value, otherwise: Draft) -> Result<Draft, SchemaError> {
    let pointer = || "/$schema".to_owned();
    match value.get("$schema") {
        None => Ok(otherwise),
        Some(Value::String(said)) => match Draft::from_schema_uri(said) {
            Draft::Unknown => {
                let said: String = said.chars().take(128).collect();
                let why =
                    format!("{said:?} is not a draft that is taken: those are {DRAFTS_TAKEN}");
                Err(SchemaError::Refused { pointer: pointer(), why })
            }
            draft => Ok(draft),
        },
        Some(_) => {
            let why = "the draft is named by a string".to_owned();
            Err(SchemaError::Malformed { pointer: pointer(), why })
        }
    }
}

fn base_of(
    value: &Value,
    draft: Draft,
    called: &Uri<String>,
    pointer: &str,
) -> Result<Uri<String>, SchemaError> {
    match draft.create_resource_ref(value).id() {
        Some(id) => resolve(called, id, pointer),
        None => Ok(called.clone()),
    }
}

/// What a name means where `base` holds.
fn resolve(base: &Uri<String>, name: &str, pointer: &str) -> Result<Uri<String>, SchemaError> {
    if name.len() > URI_BYTES_MAX {
        let what = "URI in a schema, in bytes".into();
        return Err(TooLarge { what, size: name.len(), max: URI_BYTES_MAX }.into());
    }
    uri::resolve_against(&base.borrow(), name).map_err(|why| no_uri(name, pointer, &why))
}

fn no_uri(name: &str, pointer: &str, why: &ReferencingError) -> SchemaError {
    let name: String = name.chars().take(128).collect();
    let why = format!("{name:?} is no URI: {why}");
    SchemaError::Malformed { pointer: pointer.to_owned(), why }
}

/// Where in a text something stands, if it is not the schema itself.
pub(super) fn in_reference(name: &str, why: SchemaError) -> SchemaError {
    if name.is_empty() {
        return why;
    }
    let within = |pointer: String| format!("{name}#{pointer}");
    match why {
        SchemaError::Malformed { pointer, why } => {
            SchemaError::Malformed { pointer: within(pointer), why }
        }
        SchemaError::Refused { pointer, why } => {
            SchemaError::Refused { pointer: within(pointer), why }
        }
        other => other,
    }
}
