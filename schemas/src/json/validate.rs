//! What is wrong with a payload.
//!
//! Whether anything is wrong is asked first, which allocates next to nothing; only then is asked what.
//!
//! Numbers are compared by value: `1.0` follows `integer` (not so in draft 4) and equals `1`. An integer beyond 64 bits,
//! and any number with a fraction or an exponent, is read as a 64-bit float: it is compared as the nearest such. The
//! payload itself is never changed. `format`, `contentEncoding`, and `contentMediaType` are notes for people and are
//! not checked, in no draft.

use std::borrow::Cow;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use nexus_protocol::limits::SCHEMA_PROBLEMS_MAX;
use nexus_protocol::schema::DataProblem;
use serde_json::Value;

use super::bounds::Cost;
use super::documents::without_place;
use crate::words::{cut, media_type, quoted};

/// Schemas that lead to each other on the way to one value, at most: a validator takes stack for each.
const STACK_DEPTH_MAX: usize = 2_048;

/// Schemas that are met on the way to one value while it is found out what is wrong. A validator remembers what it found
/// while it looks whether something is wrong, and not while it looks what.
const REPORT_MEETINGS_MAX: u64 = 10_000;

/// The same for all values of a payload together, if all that is wrong is to be found.
const REPORT_ALL_MAX: u64 = 500_000;

/// Whether a media type is that of JSON.
pub(super) fn is_json(content_type: &str) -> bool {
    let kind = media_type(content_type);
    if kind.is_empty() {
        return content_type.trim().is_empty();
    }
    let ends = |suffix: &str| {
        let at = kind.len().checked_sub(suffix.len()).and_then(|it| kind.get(it..));
        at.is_some_and(|it| it.eq_ignore_ascii_case(suffix))
    };
    kind.eq_ignore_ascii_case("application/json")
        || kind.eq_ignore_ascii_case("text/json")
        || (kind.contains('/') && ends("+json"))
}

/// The value that a payload is, if it says that it is JSON.
pub(super) fn read(content_type: &str, data: &[u8]) -> Result<Value, DataProblem> {
    if !is_json(content_type) {
        let message = format!("{} is not a media type of JSON", quoted(content_type));
        return Err(problem(String::new(), "content_type", message));
    }
    super::payload::read(data).map_err(|why| {
        let (line, column) = (why.line(), why.column());
        let what = without_place(&why.to_string()).to_owned();
        problem(String::new(), "json", format!("{what} at line {line}, column {column}"))
    })
}

/// Checks a payload.
pub(super) fn validate(
    validator: &Validator,
    cost: &Cost,
    content_type: &str,
    data: &[u8],
) -> Result<(), Vec<DataProblem>> {
    let value = read(content_type, data).map_err(|it| vec![it])?;
    check_depth(cost, &value)?;
    if validator.is_valid(&value) { Ok(()) } else { Err(problems(validator, cost, &value)) }
}

/// Where a schema leads through many others on each level, the payload may not be as deep.
pub(super) fn check_depth(cost: &Cost, value: &Value) -> Result<(), Vec<DataProblem>> {
    let levels_max = STACK_DEPTH_MAX / usize::try_from(cost.depth.max(1)).unwrap_or(usize::MAX);
    // Nothing that was read is deeper than that.
    if levels_max >= 128 || depth_of(value) <= levels_max {
        return Ok(());
    }
    let message =
        format!("it is nested deeper than {levels_max}, which is as deep as the schema goes");
    Err(vec![problem(String::new(), "depth", message)])
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or_default(),
        _ => 1,
    }
}

fn problems(validator: &Validator, cost: &Cost, value: &Value) -> Vec<DataProblem> {
    let meetings = cost.meetings(depth_of(value));
    if meetings > REPORT_MEETINGS_MAX {
        let message = "it does not follow the schema, which has too many alternatives to say where";
        return vec![problem(String::new(), "schema", message.to_owned())];
    }
    if meetings.saturating_mul(count_of(value)) > REPORT_ALL_MAX {
        return validator.validate(value).err().iter().map(told).collect();
    }
    validator.iter_errors(value).take(SCHEMA_PROBLEMS_MAX).map(|it| told(&it)).collect()
}

/// How many values there are in one.
fn count_of(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(count_of).sum::<u64>().saturating_add(1),
        Value::Object(map) => map.values().map(count_of).sum::<u64>().saturating_add(1),
        _ => 1,
    }
}

fn told(error: &ValidationError<'_>) -> DataProblem {
    use ValidationErrorKind as It;
    let pointer = error.instance_path().as_str();
    let rule = match error.kind() {
        // Said by `additionalProperties: false` and the like, whose keyword is the last step.
        It::FalseSchema => {
            let path = error.schema_path().as_str();
            let last = path.rsplit('/').find(|it| it.parse::<usize>().is_err());
            Cow::Owned(cut(last.unwrap_or("false"), 64))
        }
        It::Custom { .. } => Cow::Borrowed("schema"),
        kind => Cow::Owned(kind.keyword().to_owned()),
    };
    let message = match error.kind() {
        It::AdditionalProperties { unexpected } | It::UnevaluatedProperties { unexpected } => {
            format!("{} not known to the schema", listed(unexpected))
        }
        It::Required { property: Value::String(name) } => {
            format!("property {} is missing", quoted(name))
        }
        It::FalseSchema => "nothing may stand here".to_owned(),
        It::AnyOf { .. } => "it follows none of the schemas of anyOf".to_owned(),
        It::OneOfNotValid { .. } => "it follows none of the schemas of oneOf".to_owned(),
        It::OneOfMultipleValid { .. } => {
            "it follows more than one of the schemas of oneOf".to_owned()
        }
        It::Not { .. } => "it follows the schema that it may not follow".to_owned(),
        It::UniqueItems => "its items are not all different".to_owned(),
        It::Contains => {
            "none of its items, or the wrong number, follows the schema of contains".to_owned()
        }
        _ => {
            let instance = shown(error.instance());
            error.masked_with(instance).to_string()
        }
    };
    DataProblem { pointer: pointer.to_owned(), rule, message }
}

/// A value in few characters: it may be megabytes.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(map) => format!("an object of {} properties", map.len()),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn listed(names: &[String]) -> String {
    let mut listed: Vec<_> = names.iter().take(8).map(|it| quoted(it)).collect();
    if names.len() > listed.len() {
        listed.push(format!("{} more", names.len() - listed.len()));
    }
    let are = if names.len() == 1 { "is" } else { "are" };
    format!("{} {are}", listed.join(", "))
}

fn problem(pointer: String, rule: &'static str, message: String) -> DataProblem {
    DataProblem { pointer, rule: rule.into(), message }
}
