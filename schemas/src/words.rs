//! What all formats do with texts and media types.

use nexus_protocol::TooLarge;
use nexus_protocol::limits::{SCHEMA_BYTES_MAX, SCHEMA_CLOSURE_BYTES_MAX};
use nexus_protocol::schema::DataProblem;

use crate::{Referenced, SchemaError};

/// Characters of what is repeated in a message.
const SHOWN_CHARS: usize = 64;

/// Whether a schema and what it refers to are small enough to be read.
pub(crate) fn check_sizes(text: &str, references: &[Referenced<'_>]) -> Result<(), SchemaError> {
    let all = references.iter().fold(text.len(), |sum, it| sum.saturating_add(it.text.len()));
    let sizes = [
        ("text of a schema, in bytes", text.len(), SCHEMA_BYTES_MAX),
        ("text of a schema and of what it refers to, in bytes", all, SCHEMA_CLOSURE_BYTES_MAX),
    ];
    for (what, size, max) in sizes {
        if size > max {
            return Err(TooLarge { what: what.into(), size, max }.into());
        }
    }
    Ok(())
}

/// What is wrong with a payload, within bounds.
pub(crate) fn bounded(problems: Vec<DataProblem>) -> Vec<DataProblem> {
    problems.into_iter().map(DataProblem::bounded).collect()
}

/// A media type without its parameters.
pub(crate) fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a payload says that it is what the schema is about: of one of these media types.
pub(crate) fn check_media_type(
    content_type: &str,
    language: &str,
    known: &[&str],
) -> Result<(), DataProblem> {
    let given = media_type(content_type);
    if known.iter().any(|it| it.eq_ignore_ascii_case(given)) {
        return Ok(());
    }
    let given = cut(given, SHOWN_CHARS);
    let message =
        format!("content type {given:?} is not {language}: it is one of {}", known.join(", "));
    Err(DataProblem { pointer: String::new(), rule: "content_type".into(), message })
}

/// The beginning of a text.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The beginning of a text, in quotation marks.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text, SHOWN_CHARS))
}
