//! What can be said of a schema only when all of it is there.

use std::collections::HashSet;

use super::default;
use super::graph::{Graph, Type, TypeId};
use crate::SchemaError;

/// Checks it.
pub(super) fn check(graph: &Graph) -> Result<(), SchemaError> {
    unions(graph)?;
    defaults(graph)
}

/// A union tells its branches apart by what they are, and named ones by their names.
fn unions(graph: &Graph) -> Result<(), SchemaError> {
    for (index, kind) in graph.types.iter().enumerate() {
        let Type::Union(branches) = kind else { continue };
        let malformed = |why: String| {
            Err(SchemaError::Malformed { pointer: graph.pointer(TypeId(index)), why })
        };
        if branches.is_empty() {
            return malformed("a union has no branch".to_owned());
        }
        let mut seen = HashSet::with_capacity(branches.len());
        for branch in branches {
            let key = match graph.get(*branch) {
                Type::Union(_) => return malformed("a union has a union as a branch".to_owned()),
                Type::Fixed { name, .. } | Type::Enum { name, .. } | Type::Record { name, .. } => {
                    name.full.as_str()
                }
                Type::Null => "null",
                Type::Boolean => "boolean",
                Type::Int(_) => "int",
                Type::Long(_) => "long",
                Type::Float => "float",
                Type::Double => "double",
                Type::Bytes(_) => "bytes",
                Type::String(_) => "string",
                Type::Array(_) => "array",
                Type::Map(_) => "map",
                Type::Unknown => "",
            };
            if !seen.insert(key) {
                return malformed(format!("a union has two branches that are {key:?}"));
            }
        }
    }
    Ok(())
}

fn defaults(graph: &Graph) -> Result<(), SchemaError> {
    let mut work = default::WORK_MAX;
    for kind in &graph.types {
        let Type::Record { fields, name } = kind else { continue };
        for field in fields {
            let Some(value) = &field.default else { continue };
            let pointer = || graph.pointer(field.id);
            let what = format_args!("the default of field {:?} of {:?}", field.name, name.full);
            match default::check(graph, field.id, value, 0, &mut work) {
                Ok(()) => {}
                Err(default::Wrong::Value) => {
                    let why = format!(
                        "{what} is no value of its type; of a union it is one of the first branch",
                    );
                    return Err(SchemaError::Malformed { pointer: pointer(), why });
                }
                Err(default::Wrong::Work) => {
                    let why = format!(
                        "{what} has defaults in it that have defaults in them, too many: write it out",
                    );
                    return Err(SchemaError::Refused { pointer: pointer(), why });
                }
            }
        }
    }
    Ok(())
}
