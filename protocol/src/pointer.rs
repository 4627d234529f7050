//! [`EventPointer`]: where in an event something stands.
//!
//! A JSON pointer (RFC 6901) over the whole event: `/data/amount`, `/metadata/source`, `/type`, `/stream`. Data that are
//! not JSON have nothing in them. Only what a pointer names is rendered: an event is not written out as JSON to be asked
//! for its type.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use serde_json::Value;

use crate::error::Invalid;
use crate::limits::POINTER_BYTES_MAX;
use crate::record::RecordedEvent;

/// The fields that an event has in its JSON form, and that a pointer may begin with.
const FIELDS: [&str; 16] = [
    "stream",
    "revision",
    "position",
    "id",
    "type",
    "tags",
    "recorded_at",
    "occurred_at",
    "not_before",
    "schema",
    "content_type",
    "correlation_id",
    "causation_id",
    "traceparent",
    "metadata",
    "data",
];

/// A JSON pointer into an event, which begins with one of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventPointer(String);

impl EventPointer {
    /// The pointer that this text is.
    ///
    /// # Errors
    /// `Invalid` of a text that is no pointer into an event, or has more than [`POINTER_BYTES_MAX`] bytes.
    pub fn new(path: impl Into<String>) -> Result<Self, Invalid> {
        let path = path.into();
        let shown: String = path.chars().take(64).collect();
        let wrong = |why: String| Err(Invalid::Request(why));
        if path.len() > POINTER_BYTES_MAX {
            return wrong(format!("path {shown:?}… has more than {POINTER_BYTES_MAX} bytes"));
        }
        let Some(rest) = path.strip_prefix('/') else {
            return wrong(format!(
                "path {shown:?} is no JSON pointer: begin it with `/`, as `/data/amount`"
            ));
        };
        // `~` stands only in `~0` and `~1`.
        let escapes = path.split('~').skip(1);
        if escapes.into_iter().any(|rest| !rest.starts_with(['0', '1'])) {
            return wrong(format!(
                "path {shown:?} is no JSON pointer: write `~` as `~0` and `/` in a name as `~1`"
            ));
        }
        let field = rest.split('/').next().unwrap_or_default();
        if !FIELDS.contains(&field) {
            return wrong(format!(
                "path {shown:?} begins with no field of an event: it has {}",
                FIELDS.join(", ")
            ));
        }
        Ok(Self(path))
    }

    /// The text that it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event that pointers are followed into, and what of it was taken apart for that.
#[derive(Debug)]
pub struct Looked<'a> {
    event: &'a RecordedEvent,
    data: OnceCell<Option<Value>>,
    metadata: OnceCell<Option<Value>>,
}

impl<'a> Looked<'a> {
    /// Of this event. Nothing of it is taken apart before a pointer leads there.
    pub fn new(event: &'a RecordedEvent) -> Self {
        Self { event, data: OnceCell::new(), metadata: OnceCell::new() }
    }

    /// The event.
    pub fn event(&self) -> &'a RecordedEvent {
        self.event
    }

    /// What a pointer leads to; `None`: nothing is there.
    pub fn at(&self, pointer: &EventPointer) -> Option<Cow<'_, Value>> {
        let path = pointer.0.strip_prefix('/')?;
        let end = path.find('/').unwrap_or(path.len());
        let (field, rest) = path.split_at(end);
        let parsed = |bytes| serde_json::from_slice::<Value>(bytes).ok();
        let whole = match field {
            "data" => Cow::Borrowed(self.data.get_or_init(|| parsed(self.event.data())).as_ref()?),
            "metadata" => {
                let metadata = self.metadata.get_or_init(|| parsed(self.event.metadata()));
                Cow::Borrowed(metadata.as_ref()?)
            }
            field => Cow::Owned(self.field(field)?),
        };
        // A schema is named by its id, whichever way it is spelled.
        let rest = if field == "schema" && rest == "/id" { "" } else { rest };
        match whole {
            Cow::Borrowed(value) => value.pointer(rest).map(Cow::Borrowed),
            Cow::Owned(value) if rest.is_empty() => Some(Cow::Owned(value)),
            Cow::Owned(value) => value.pointer(rest).cloned().map(Cow::Owned),
        }
    }

    fn field(&self, field: &str) -> Option<Value> {
        let event = self.event;
        let text = |value: &dyn fmt::Display| Value::String(value.to_string());
        Some(match field {
            "stream" => Value::String(event.stream().to_owned()),
            "type" => Value::String(event.event_type().to_owned()),
            "content_type" => Value::String(event.content_type().to_owned()),
            "revision" => event.revision().get().into(),
            "position" => event.position().get().into(),
            "id" => text(&event.id()),
            "tags" => event.tags().collect(),
            "recorded_at" => text(&event.recorded_at()),
            "occurred_at" => text(&event.occurred_at()?),
            "not_before" => text(&event.not_before()?),
            "schema" => serde_json::to_value(event.schema()).ok().filter(|it| it != 0)?,
            "correlation_id" => text(&event.correlation_id()?),
            "causation_id" => text(&event.causation_id()?),
            "traceparent" => text(&event.trace()?),
            _ => return None,
        })
    }
}
