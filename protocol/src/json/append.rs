//! An append as JSON, and what it did.

use std::borrow::Cow;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::event::{EventJsonError, NewEventJson};
use crate::append::{
    Absence, Append, Appended, Boundary, ExpectedRevision, Query, QueryItem, StreamAppend,
    StreamAppended,
};
use crate::ids::{Position, Revision};

/// What the writer believes of a stream: `"any"`, `"no_stream"`, `"exists"`, or a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpectedJson(pub ExpectedRevision);

impl Serialize for ExpectedJson {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            ExpectedRevision::Any => to.serialize_str("any"),
            ExpectedRevision::NoStream => to.serialize_str("no_stream"),
            ExpectedRevision::Exists => to.serialize_str("exists"),
            ExpectedRevision::Exact(revision) => to.serialize_u64(revision.get()),
        }
    }
}

impl<'de> Deserialize<'de> for ExpectedJson {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Expected;

        impl Visitor<'_> for Expected {
            type Value = ExpectedJson;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"any\", \"no_stream\", \"exists\", or a revision")
            }

            fn visit_u64<E: Error>(self, revision: u64) -> Result<ExpectedJson, E> {
                Ok(ExpectedJson(ExpectedRevision::Exact(Revision::new(revision))))
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<ExpectedJson, E> {
                Ok(ExpectedJson(match word {
                    "any" => ExpectedRevision::Any,
                    "no_stream" => ExpectedRevision::NoStream,
                    "exists" => ExpectedRevision::Exists,
                    _ => return Err(E::invalid_value(Unexpected::Str(word), &self)),
                }))
            }
        }

        from.deserialize_any(Expected)
    }
}

/// What an append does to one stream.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "StreamAppend")]
pub struct StreamAppendJson<'a> {
    /// The stream.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// What it must be; nothing is expected where the field is missing.
    #[serde(default)]
    pub expected: ExpectedJson,
    /// The events, in order; none: the stream is only checked.
    #[serde(default, borrow)]
    pub events: Vec<NewEventJson<'a>>,
}

/// Events of one of these types that carry all of these tags.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "QueryItem")]
pub struct QueryItemJson {
    /// One of these types; empty: any.
    #[serde(default)]
    pub types: Vec<String>,
    /// All of these tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Fails the append if an event that matches the query stands after a position.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Boundary")]
pub struct BoundaryJson {
    /// Which events: any of these.
    pub query: Vec<QueryItemJson>,
    /// The last position that the writer has seen; null or missing: it has seen none.
    #[serde(default)]
    pub after: Option<u64>,
}

/// Fails the append if any event matches at all.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Absence")]
pub struct AbsenceJson {
    /// Which events: any of these.
    pub query: Vec<QueryItemJson>,
}

/// An append: events for any number of streams, and what must hold for it to happen.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Append")]
pub struct AppendJson<'a> {
    /// What is done to each stream.
    #[serde(default, borrow)]
    pub appends: Vec<StreamAppendJson<'a>>,
    /// Fails if something new stands in its way.
    #[serde(default)]
    pub boundary: Option<BoundaryJson>,
    /// Fails if anything matches at all.
    #[serde(default)]
    pub absent: Option<AbsenceJson>,
    /// Gives events without an id ids of their own, so that the append can be repeated.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

fn query(items: Vec<QueryItemJson>) -> Query {
    Query::any(items.into_iter().map(|item| QueryItem { types: item.types, tags: item.tags }))
}

impl AppendJson<'_> {
    /// The append.
    ///
    /// # Errors
    /// Says which field of an event is not what it should be.
    pub fn into_append(self) -> Result<Append, EventJsonError> {
        let streams = self.appends.into_iter().map(StreamAppendJson::into_stream_append);
        Ok(Append {
            streams: streams.collect::<Result<_, _>>()?,
            boundary: self.boundary.map(|boundary| Boundary {
                query: query(boundary.query),
                after: boundary.after.map(Position::new),
            }),
            absence: self.absent.map(|absence| Absence { query: query(absence.query) }),
            idempotency_key: self.idempotency_key,
            policy_revision: None,
        })
    }
}

impl StreamAppendJson<'_> {
    fn into_stream_append(self) -> Result<StreamAppend, EventJsonError> {
        let events = self.events.into_iter().map(NewEventJson::into_event_data);
        Ok(StreamAppend {
            stream: self.stream.into_owned(),
            expected: self.expected.0,
            events: events.collect::<Result<_, _>>()?,
        })
    }
}

/// Where the events of one stream went.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "StreamAppended")]
pub struct StreamAppendedJson<'a> {
    /// The stream.
    pub stream: &'a str,
    /// Revision of its first new event.
    pub first_revision: u64,
    /// Revision of its last new event.
    pub last_revision: u64,
}

impl<'a> From<&'a StreamAppended> for StreamAppendedJson<'a> {
    fn from(appended: &'a StreamAppended) -> Self {
        Self {
            stream: appended.stream.as_str(),
            first_revision: appended.first_revision.get(),
            last_revision: appended.last_revision.get(),
        }
    }
}

/// What an append did. Positions are null for one without events.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Appended")]
pub struct AppendedJson<'a> {
    /// Position of its first event.
    pub first_position: Option<u64>,
    /// Position of its last event.
    pub last_position: Option<u64>,
    /// The streams that got events, in the order of the append.
    pub streams: Vec<StreamAppendedJson<'a>>,
    /// Whether it had happened before, and this is its first answer again.
    pub replayed: bool,
}

impl<'a> From<&'a Appended> for AppendedJson<'a> {
    fn from(appended: &'a Appended) -> Self {
        Self {
            first_position: appended.first().map(Position::get),
            last_position: appended.last().map(Position::get),
            streams: appended.streams.iter().map(Into::into).collect(),
            replayed: appended.replayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_read_whole() {
        let text = r#"{"appends":[
            {"stream":"a","expected":3,"events":[{"type":"T","data":{"x":1},"tags":["k:v"]}]},
            {"stream":"b","expected":"no_stream","events":[]}],
            "boundary":{"query":[{"types":["T"]}],"after":7},
            "absent":{"query":[{"tags":["k:v"]}]},"idempotency_key":"once"}"#;
        let append: AppendJson = serde_json::from_str(text).unwrap();
        let append = append.into_append().unwrap();
        let expected = Append::to("a")
            .at(Revision::new(3))
            .event(crate::EventData::json("T", &serde_json::json!({"x": 1})).unwrap().tag("k:v"))
            .stream("b")
            .no_stream()
            .boundary(QueryItem::types(["T"]), Some(Position::new(7)))
            .absent(QueryItem::tags(["k:v"]))
            .idempotency_key("once");
        assert_eq!(append, expected);
    }

    #[test]
    fn what_is_expected_comes_back_as_it_was() {
        for text in ["\"any\"", "\"no_stream\"", "\"exists\"", "7"] {
            let expected: ExpectedJson = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&expected).unwrap(), text);
        }
    }

    #[test]
    fn what_is_misspelt_is_refused_and_said() {
        for (text, part) in [
            (r#"{"append":[]}"#, "unknown field `append`"),
            (r#"{"appends":[{"stream":"a","expected":"some"}]}"#, "\"no_stream\""),
            (r#"{"appends":[{"stream":"a","expected":-1}]}"#, "a revision"),
            (r#"{"appends":[{"stream":"a","events":[{"typ":"T"}]}]}"#, "unknown field `typ`"),
            (r#"{"boundary":{"query":[{"tag":[]}]}}"#, "unknown field `tag`"),
        ] {
            let error = serde_json::from_str::<AppendJson>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
