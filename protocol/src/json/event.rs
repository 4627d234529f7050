//! An event as JSON: as it is stored, and as it is handed in.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event_schema::{self, EventSchemaJson};
use crate::event::{EventData, JSON};
use crate::ids::{CausationId, CorrelationId, EventId, SchemaId};
use crate::record::RecordedEvent;
use crate::time::Timestamp;
use crate::trace::TraceContext;

/// The JSON form of an event, as `api` documents name its fields. Data and metadata are JSON where
/// they are valid JSON, byte for byte as stored, and base64 otherwise.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Event")]
pub struct EventJson<'a> {
    /// The stream.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// Place in the stream; ignored when it is read in.
    #[serde(default)]
    pub revision: u64,
    /// Place in the log; ignored when it is read in.
    #[serde(default)]
    pub position: u64,
    /// Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
    /// What happened.
    #[serde(rename = "type", borrow)]
    pub event_type: Cow<'a, str>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<Cow<'a, str>>,
    /// When the leader took it in; ignored when it is read in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Timestamp>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Consumer groups do not deliver it before; where it is missing, they do at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Which of the parts this is that the transforms of its schema made of the stored event, from 0; missing: it is all of
    /// it. What has one is not read in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// The schema that the data follows, as it is shown.
    #[serde(default, skip_serializing_if = "EventSchemaJson::is_none", borrow)]
    pub schema: EventSchemaJson<'a>,
    /// Media type of the data; empty where it is unknown. Where the field is missing it is that of
    /// JSON for `data`, and unknown for `data_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub content_type: Option<Cow<'a, str>>,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
    /// What caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<CausationId>,
    /// The trace it is part of, as a W3C `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub traceparent: Option<Cow<'a, str>>,
    /// Metadata, where it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given", borrow)]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<serde_json::Value>"))]
    pub metadata: Option<&'a RawValue>,
    /// Metadata, where it is not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub metadata_base64: Option<Cow<'a, str>>,
    /// Data, where it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given", borrow)]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<serde_json::Value>"))]
    pub data: Option<&'a RawValue>,
    /// Data, where it is not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub data_base64: Option<Cow<'a, str>>,
}

/// An event to be appended, as JSON. Data and metadata are JSON, kept byte for byte, or base64.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "NewEvent")]
pub struct NewEventJson<'a> {
    /// Identity that repeats are recognised by; made by the store where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
    /// What happened.
    #[serde(rename = "type", borrow)]
    pub event_type: Cow<'a, str>,
    /// Media type of the data. Where the field is missing it is that of JSON for `data`, and unknown
    /// for `data_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub content_type: Option<Cow<'a, str>>,
    /// The facts, where they are JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given", borrow)]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<serde_json::Value>"))]
    pub data: Option<&'a RawValue>,
    /// The facts, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub data_base64: Option<Cow<'a, str>>,
    /// Metadata, where it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given", borrow)]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<serde_json::Value>"))]
    pub metadata: Option<&'a RawValue>,
    /// Metadata, where it is not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub metadata_base64: Option<Cow<'a, str>>,
    /// `key:value` pairs that it is found by.
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    pub tags: Vec<Cow<'a, str>>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Consumer groups do not deliver it before; where it is missing, they do at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The schema that the data follows; 0 for none.
    #[serde(default, skip_serializing_if = "no_schema", deserialize_with = "event_schema::id")]
    pub schema: SchemaId,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
    /// What caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<CausationId>,
    /// The trace it is part of, as a W3C `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub traceparent: Option<Cow<'a, str>>,
}

fn no_schema(schema: &SchemaId) -> bool {
    *schema == SchemaId::NONE
}

/// A field that is there is a value, also where the value is `null`.
pub(super) fn given<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Why a JSON form is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventJsonError {
    /// Base64 that is not.
    #[error("{0}_base64 is not base64")]
    Base64(&'static str),
    /// Both forms of one field.
    #[error("{0} is given twice: as JSON and as base64")]
    Twice(&'static str),
    /// A part of an event, as it was shown in a version of its schema.
    #[error(
        "it is a part of an event, as it was shown in a version of its schema: take events as they are stored"
    )]
    Part,
    /// A `traceparent` that is not.
    #[error("traceparent {0:?} is not a W3C trace context")]
    Trace(String),
}

/// Bytes as JSON where they are, kept byte for byte. Bytes with line breaks are not: NDJSON writes
/// one event a line.
fn raw_json(bytes: &[u8]) -> Option<&RawValue> {
    if bytes.iter().any(|b| matches!(b, b'\n' | b'\r')) {
        return None;
    }
    let raw: &RawValue = serde_json::from_slice(bytes).ok()?;
    // Blanks around the value would be lost: such bytes travel as base64.
    (raw.get().len() == bytes.len()).then_some(raw)
}

pub(super) fn both(bytes: &[u8]) -> (Option<&RawValue>, Option<Cow<'_, str>>) {
    match raw_json(bytes) {
        _ if bytes.is_empty() => (None, None),
        Some(raw) => (Some(raw), None),
        None => (None, Some(Cow::Owned(STANDARD.encode(bytes)))),
    }
}

impl<'a> From<&'a RecordedEvent> for EventJson<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        let (data, data_base64) = both(event.data());
        let (metadata, metadata_base64) = both(event.metadata());
        Self {
            stream: event.stream().into(),
            revision: event.revision().get(),
            position: event.position().get(),
            id: Some(event.id()),
            event_type: event.event_type().into(),
            tags: event.tags().map(Cow::from).collect(),
            recorded_at: Some(event.recorded_at()),
            occurred_at: event.occurred_at(),
            not_before: event.not_before(),
            part: (event.part() > 0 || event.has_more_parts()).then(|| event.part()),
            schema: EventSchemaJson::of(event.schema()),
            content_type: Some(event.content_type().into()),
            correlation_id: event.correlation_id(),
            causation_id: event.causation_id(),
            traceparent: event.trace().map(|trace| trace.to_string().into()),
            metadata,
            metadata_base64,
            data,
            data_base64,
        }
    }
}

impl<'a> EventJson<'a> {
    /// With what its schema is called.
    #[must_use]
    pub fn of_schema(mut self, subject: &'a str, version: u32) -> Self {
        (self.schema.subject, self.schema.version) = (Some(subject.into()), Some(version));
        self
    }
}

impl EventJson<'_> {
    /// The event to append, with the id it has, if any.
    ///
    /// # Errors
    /// Says which field is not what it should be.
    pub fn to_event_data(&self) -> Result<EventData, EventJsonError> {
        if self.part.is_some() {
            return Err(EventJsonError::Part);
        }
        let new = NewEventJson {
            id: self.id,
            event_type: Cow::Borrowed(&self.event_type),
            content_type: self.content_type.as_deref().map(Cow::Borrowed),
            data: self.data,
            data_base64: self.data_base64.as_deref().map(Cow::Borrowed),
            metadata: self.metadata,
            metadata_base64: self.metadata_base64.as_deref().map(Cow::Borrowed),
            tags: self.tags.iter().map(|tag| Cow::Borrowed(&**tag)).collect(),
            occurred_at: self.occurred_at,
            not_before: self.not_before,
            schema: self.schema.id,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            traceparent: self.traceparent.as_deref().map(Cow::Borrowed),
        };
        new.into_event_data()
    }
}

impl<'a> From<&'a EventData> for NewEventJson<'a> {
    fn from(event: &'a EventData) -> Self {
        let (data, data_base64) = both(&event.data);
        let (metadata, metadata_base64) = both(&event.metadata);
        Self {
            id: event.id,
            event_type: Cow::Borrowed(&event.event_type),
            content_type: Some(Cow::Borrowed(&event.content_type)),
            data,
            data_base64,
            metadata,
            metadata_base64,
            tags: event.tags.iter().map(|tag| Cow::Borrowed(&**tag)).collect(),
            occurred_at: event.occurred_at,
            not_before: event.not_before,
            schema: event.schema,
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
            traceparent: event.trace.map(|trace| Cow::Owned(trace.to_string())),
        }
    }
}

impl NewEventJson<'_> {
    /// The event to append.
    ///
    /// # Errors
    /// Says which field is not what it should be.
    pub fn into_event_data(self) -> Result<EventData, EventJsonError> {
        let data = bytes_of("data", self.data, self.data_base64.as_deref())?;
        let metadata = bytes_of("metadata", self.metadata, self.metadata_base64.as_deref())?;
        let content_type = match self.content_type {
            Some(given) => given.into_owned(),
            None if self.data.is_some() => JSON.to_owned(),
            None => String::new(),
        };
        Ok(EventData {
            id: self.id,
            event_type: self.event_type.into_owned(),
            content_type,
            data,
            metadata,
            tags: self.tags.into_iter().map(Cow::into_owned).collect(),
            schema: self.schema,
            found_schema: SchemaId::NONE,
            occurred_at: self.occurred_at,
            not_before: self.not_before,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            trace: self.traceparent.as_deref().map(parse_trace).transpose()?,
        })
    }
}

pub(super) fn bytes_of(
    name: &'static str,
    json: Option<&RawValue>,
    base64: Option<&str>,
) -> Result<Bytes, EventJsonError> {
    match (json, base64) {
        (Some(_), Some(_)) => Err(EventJsonError::Twice(name)),
        (Some(raw), None) => Ok(Bytes::copy_from_slice(raw.get().as_bytes())),
        (None, Some(text)) => {
            STANDARD.decode(text).map(Bytes::from).map_err(|_| EventJsonError::Base64(name))
        }
        (None, None) => Ok(Bytes::new()),
    }
}

fn parse_trace(text: &str) -> Result<TraceContext, EventJsonError> {
    text.parse().map_err(|_| EventJsonError::Trace(text.chars().take(64).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_and_double_data_are_refused() {
        assert!(serde_json::from_str::<EventJson>(r#"{"stream":"a","type":"T","x":1}"#).is_err());
        let twice = r#"{"stream":"a","type":"T","data":1,"data_base64":"AA=="}"#;
        let twice: EventJson = serde_json::from_str(twice).unwrap();
        assert_eq!(twice.to_event_data(), Err(EventJsonError::Twice("data")));
    }

    #[test]
    fn the_time_to_deliver_at_comes_back() {
        let check = |text: &str, expected: Option<&str>| {
            let new: NewEventJson = serde_json::from_str(text).unwrap();
            let event = new.into_event_data().unwrap();
            assert_eq!(event.not_before, expected.map(|at| at.parse().unwrap()), "{text}");
            let again = serde_json::to_value(NewEventJson::from(&event)).unwrap();
            assert_eq!(again.get("not_before").and_then(|at| at.as_str()), expected);
        };
        let at = "2026-01-02T03:04:05.000006Z";
        check(&format!(r#"{{"type":"T","not_before":"{at}"}}"#), Some(at));
        check(r#"{"type":"T","not_before":null}"#, None);
        check(r#"{"type":"T"}"#, None);
        assert!(
            serde_json::from_str::<NewEventJson>(r#"{"type":"T","not_before":"+10m"}"#).is_err()
        );
    }

    #[test]
    fn null_is_data_and_an_empty_content_type_stays_empty() {
        let check = |line: &str, data: &[u8], content_type: &str| {
            let event: EventJson = serde_json::from_str(line).unwrap();
            let event = event.to_event_data().unwrap();
            assert_eq!((&*event.data, &*event.content_type), (data, content_type), "{line}");
        };
        check(r#"{"stream":"a","type":"T","data":null}"#, b"null", JSON);
        check(r#"{"stream":"a","type":"T","data":1,"content_type":""}"#, b"1", "");
        check(r#"{"stream":"a","type":"T","data_base64":"AA=="}"#, b"\0", "");
        check(r#"{"stream":"a","type":"T"}"#, b"", "");
    }

    #[test]
    fn data_keeps_its_bytes_or_travels_as_base64() {
        for bytes in [&b"{\"a\":  1.50}"[..], b"\"x\"", b" 1", b"1\n", b"\xff", b"{}"] {
            let (json, base64) = both(bytes);
            let back = bytes_of("data", json, base64.as_deref()).unwrap();
            assert_eq!(back, bytes);
        }
    }
}
