//! Whether a reader's schema reads what follows a writer's.
//!
//! The rules are those of Avro, less what only some libraries do: what is said to be readable is readable by the one that
//! Rust has, too, whose own check says more than it keeps. So
//! - an alias of a field is not relied on: a renamed field needs a default, and has to fit what its alias names;
//! - `bytes` are not read as a `string`, as they need not be UTF-8;
//! - a type that stands for something (`logicalType`) stands for the same, unless the writer's number stood for nothing;
//! - each branch of a writer's union is readable, and by each branch of the reader's that a library may pick.
//!
//! Pairs of types are looked at once each, from a list: it needs no more stack for types that are used in a circle or in a
//! long chain. A pair is readable if each pair that it leads to is, so the list is all that there is to decide.

use std::collections::{HashMap, HashSet};

use nexus_protocol::limits::SCHEMA_PROBLEMS_MAX;
use serde_json::{Value, json};

use super::graph::{Field, Graph, Logical, Named, Type, TypeId, short};
use crate::Difference;

/// Pairs of types, and of fields, that are looked at. Two circles of coprime lengths make as many pairs as their product.
const WORK_MAX: usize = 2_000_000;

/// See [`Compiled::differences`](crate::Compiled::differences).
pub(super) fn differences(writer: &Graph, reader: &Graph) -> Vec<Difference> {
    let mut compare = Compare {
        writer,
        reader,
        seen: HashSet::new(),
        next: Vec::new(),
        found: Vec::new(),
        work: WORK_MAX,
    };
    compare.pair(writer.root, reader.root);
    while let Some((writer, reader)) = compare.next.pop() {
        compare.look(writer, reader);
        if compare.found.len() >= SCHEMA_PROBLEMS_MAX {
            break;
        }
        if compare.work == 0 {
            compare.found.push(Difference::of_the_whole("too_complex"));
            break;
        }
    }
    compare.found.truncate(SCHEMA_PROBLEMS_MAX);
    compare.found
}

struct Compare<'a> {
    writer: &'a Graph,
    reader: &'a Graph,
    seen: HashSet<(TypeId, TypeId)>,
    next: Vec<(TypeId, TypeId)>,
    found: Vec<Difference>,
    work: usize,
}

impl<'a> Compare<'a> {
    fn pair(&mut self, writer: TypeId, reader: TypeId) {
        self.spend(1);
        if self.seen.insert((writer, reader)) {
            self.next.push((writer, reader));
        }
    }

    fn spend(&mut self, work: usize) {
        self.work = self.work.saturating_sub(work);
    }

    fn differ(&mut self, rule: &'static str, at: TypeId, writer: Value, reader: Value) {
        let none_if_null = |value: Value| if value.is_null() { None } else { Some(value) };
        self.found.push(Difference {
            pointer: self.reader.pointer(at),
            rule: rule.into(),
            writer: none_if_null(writer),
            reader: none_if_null(reader),
        });
    }

    fn look(&mut self, writer: TypeId, reader: TypeId) {
        let (from, to) = (self.writer.get(writer), self.reader.get(reader));
        match (from, to) {
            (Type::Union(branches), _) => {
                for branch in branches {
                    self.pair(*branch, reader);
                }
            }
            (_, Type::Union(branches)) => self.pick(writer, reader, branches),
            (Type::Array(from), Type::Array(to)) | (Type::Map(from), Type::Map(to)) => {
                self.pair(*from, *to);
            }
            (
                Type::Record { name: from, fields: written },
                Type::Record { name: to, fields: read },
            ) => {
                if is_called(from, to) {
                    self.records(written, reader, read);
                } else {
                    self.differ("name", reader, json!(from.full), json!(to.full));
                }
            }
            (
                Type::Enum { name: from, symbols: written, .. },
                Type::Enum { name: to, symbols: read, default },
            ) => {
                self.spend(written.len() + read.len());
                let known: HashSet<_> = read.iter().collect();
                let unknown: Vec<_> = written.iter().filter(|it| !known.contains(it)).collect();
                if !is_called(from, to) {
                    self.differ("name", reader, json!(from.full), json!(to.full));
                } else if !unknown.is_empty() && default.is_none() {
                    let unknown = json!(unknown.iter().take(16).collect::<Vec<_>>());
                    self.differ("enum", reader, unknown, Value::Null);
                }
            }
            (
                Type::Fixed { name: from, size: written, logical: stands },
                Type::Fixed { name: to, size: read, logical: reads },
            ) => {
                if !is_called(from, to) {
                    self.differ("name", reader, json!(from.full), json!(to.full));
                } else if written != read {
                    self.differ("fixed_size", reader, json!(written), json!(read));
                } else if stands != reads {
                    self.describe("logical_type", writer, reader);
                }
            }
            _ => match plain(from, to) {
                Ok(()) => {}
                Err(rule) => self.describe(rule, writer, reader),
            },
        }
    }

    fn describe(&mut self, rule: &'static str, writer: TypeId, reader: TypeId) {
        let (from, to) = (self.writer.describe(writer), self.reader.describe(reader));
        self.differ(rule, reader, from, to);
    }

    /// A value that is in no union, or in a branch of the writer's, is read by a branch of the reader's: the first that
    /// fits, by the letter of Avro, or else the one that is the same kind. Of branches that are named some libraries take
    /// the first with the same short name, and others the one with the same full name. All of these have to read it.
    fn pick(&mut self, writer: TypeId, reader: TypeId, branches: &[TypeId]) {
        let from = self.writer.get(writer);
        self.spend(branches.len());
        let mut fitting = branches.iter().filter(|it| fits(from, self.reader.get(**it)));
        let Some(first) = fitting.next().copied() else {
            self.describe("missing_union_branch", writer, reader);
            return;
        };
        let same = |it: &&TypeId| {
            std::mem::discriminant(from) == std::mem::discriminant(self.reader.get(**it))
        };
        let is_named = matches!(from, Type::Record { .. } | Type::Enum { .. } | Type::Fixed { .. });
        let others = if is_named { usize::MAX } else { 1 };
        self.pair(writer, first);
        for other in fitting.filter(same).take(others) {
            self.pair(writer, *other);
        }
    }

    fn records(&mut self, written: &'a [Field], record: TypeId, read: &'a [Field]) {
        self.spend(written.len() + read.len());
        let by_name: HashMap<_, _> = written.iter().map(|it| (it.name.as_str(), it.id)).collect();
        for field in read {
            if let Some(from) = by_name.get(field.name.as_str()) {
                self.pair(*from, field.id);
                continue;
            }
            if let Some(from) = field.aliases.iter().find_map(|it| by_name.get(it.as_str())) {
                self.pair(*from, field.id);
            }
            if field.default.is_none() {
                let name = json!(field.name);
                self.differ("reader_field_missing_default", record, Value::Null, name);
            }
        }
    }
}

/// Whether a reader takes the one name for the other. Namespaces do not count.
fn is_called(writer: &Named, reader: &Named) -> bool {
    writer.short() == reader.short()
        || reader.aliases.iter().any(|it| *it == writer.full || short(it) == writer.short())
}

/// Whether a branch of a reader's union is one that a library may pick for a value.
fn fits(writer: &Type, branch: &Type) -> bool {
    match (writer, branch) {
        (Type::Record { name: from, .. }, Type::Record { name: to, .. })
        | (Type::Enum { name: from, .. }, Type::Enum { name: to, .. })
        | (Type::Fixed { name: from, .. }, Type::Fixed { name: to, .. }) => is_called(from, to),
        (Type::Array(_), Type::Array(_)) | (Type::Map(_), Type::Map(_)) => true,
        // That it stands for something else is told of the branch.
        _ => !matches!(plain(writer, branch), Err("type")),
    }
}

/// Whether values of a type without parts are read as those of another, or else which rule is in the way.
fn plain(writer: &Type, reader: &Type) -> Result<(), &'static str> {
    let stands = |from: &Logical, to: &Logical| match (from, to) {
        (Logical::None, _) => Ok(()),
        (from, to) if from == to => Ok(()),
        _ => Err("logical_type"),
    };
    match (writer, reader) {
        (Type::Null, Type::Null)
        | (Type::Boolean, Type::Boolean)
        | (Type::Float, Type::Float | Type::Double)
        | (Type::Double, Type::Double) => Ok(()),
        (Type::Int(from), Type::Int(to) | Type::Long(to)) | (Type::Long(from), Type::Long(to)) => {
            stands(from, to)
        }
        (Type::Int(from) | Type::Long(from), Type::Float | Type::Double) => {
            stands(from, &Logical::None)
        }
        (Type::String(from), Type::String(to)) | (Type::Bytes(from), Type::Bytes(to)) => {
            if from == to { Ok(()) } else { Err("logical_type") }
        }
        (Type::String(Logical::None), Type::Bytes(Logical::None)) => Ok(()),
        (Type::String(_), Type::Bytes(_)) => Err("logical_type"),
        _ => Err("type"),
    }
}
