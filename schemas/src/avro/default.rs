//! Whether a field's default is a value of its type.
//!
//! Of a union it is one of the first branch. Newer libraries take one of any branch, and others, older or in other
//! languages, then fail when they need it.

use serde_json::Value;

use super::graph::{Graph, Logical, Type, TypeId};
use super::payload::is_uuid;

/// How much is looked at for all defaults of a schema.
pub(super) const WORK_MAX: usize = 1_000_000;

/// How deep a default may be, once it is unfolded.
const DEPTH_MAX: usize = 128;

/// Why a default is none.
pub(super) enum Wrong {
    /// It is not a value of its type.
    Value,
    /// All defaults together are too much work.
    Work,
}

/// Checks a default, with the work that is left. Fields that it leaves out have their own defaults, which is unfolded as
/// readers have to unfold it.
pub(super) fn check(
    graph: &Graph,
    id: TypeId,
    value: &Value,
    depth: usize,
    work: &mut usize,
) -> Result<(), Wrong> {
    *work = work.checked_sub(1).filter(|_| depth < DEPTH_MAX).ok_or(Wrong::Work)?;
    let depth = depth + 1;
    let fits = match graph.get(id) {
        Type::Null => value.is_null(),
        Type::Boolean => value.is_boolean(),
        Type::Int(_) => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        Type::Long(_) => value.as_i64().is_some(),
        // JSON has no number above those of 64 bits but as a fraction.
        Type::Float | Type::Double => value.as_i64().is_some() || value.is_f64(),
        Type::String(Logical::Is("uuid")) => value.as_str().is_some_and(is_uuid),
        Type::String(_) => value.is_string(),
        Type::Bytes(Logical::None | Logical::Decimal { .. }) => {
            value.as_str().is_some_and(|text| text.chars().all(|it| it <= '\u{ff}'))
        }
        Type::Fixed { size, logical: Logical::None, .. } => value.as_str().is_some_and(|text| {
            text.chars().all(|it| it <= '\u{ff}') && text.chars().count() as u64 == *size
        }),
        // No library writes them alike, and the one that Rust has takes none.
        Type::Bytes(Logical::Is(_)) | Type::Fixed { .. } => false,
        Type::Enum { symbols, .. } => {
            value.as_str().is_some_and(|text| symbols.iter().any(|it| it == text))
        }
        Type::Array(items) => {
            let values = value.as_array().ok_or(Wrong::Value)?;
            return values.iter().try_for_each(|value| check(graph, *items, value, depth, work));
        }
        Type::Map(of) => {
            let values = value.as_object().ok_or(Wrong::Value)?;
            return values.values().try_for_each(|value| check(graph, *of, value, depth, work));
        }
        Type::Union(branches) => {
            let first = branches.first().ok_or(Wrong::Value)?;
            return check(graph, *first, value, depth, work);
        }
        Type::Record { fields, .. } => {
            let values = value.as_object().ok_or(Wrong::Value)?;
            return fields.iter().try_for_each(|field| match values.get(&field.name) {
                Some(value) => check(graph, field.id, value, depth, work),
                None => match &field.default {
                    Some(value) => check(graph, field.id, value, depth, work),
                    None => Err(Wrong::Value),
                },
            });
        }
        Type::Unknown => false,
    };
    if fits { Ok(()) } else { Err(Wrong::Value) }
}
