//! The schema that an event follows, as JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::SchemaId;

/// The schema that an event follows: its id, and what is called so where the store knows it. Read in, its id alone counts,
/// and may be written as a number.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "EventSchema")]
pub struct EventSchemaJson<'a> {
    /// What `GET /v1/schema-ids/{id}` shows.
    pub id: SchemaId,
    /// The subject; missing where the id says nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
    /// The version of that subject, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

impl EventSchemaJson<'_> {
    /// By its id.
    pub fn of(id: SchemaId) -> Self {
        Self { id, ..Self::default() }
    }

    pub(super) fn is_none(&self) -> bool {
        self.id == SchemaId::NONE
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for EventSchemaJson<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(IdOrMore)
    }
}

/// An id that is a number, or the `id` of an object.
pub(super) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<SchemaId, D::Error> {
    Ok(EventSchemaJson::deserialize(from)?.id)
}

struct IdOrMore;

impl<'de> Visitor<'de> for IdOrMore {
    type Value = EventSchemaJson<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a schema, or an object with it as `id`")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        let id = u32::try_from(number);
        let id = id.map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))?;
        Ok(EventSchemaJson::of(SchemaId::new(id)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct More<'a> {
            id: SchemaId,
            #[serde(default, borrow)]
            subject: Option<Cow<'a, str>>,
            #[serde(default)]
            version: Option<u32>,
        }
        let More { id, subject, version } = More::deserialize(MapAccessDeserializer::new(map))?;
        Ok(EventSchemaJson { id, subject, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_or_in_an_object() {
        let read = |text: &'static str| serde_json::from_str::<EventSchemaJson<'_>>(text);
        assert_eq!(read("7").unwrap(), EventSchemaJson::of(SchemaId::new(7)));
        let whole = r#"{"id":7,"subject":"order","version":2}"#;
        let of = read(whole).unwrap();
        assert_eq!(
            (of.id, of.subject.as_deref(), of.version),
            (SchemaId::new(7), Some("order"), Some(2))
        );
        assert_eq!(serde_json::to_string(&of).unwrap(), whole);
        assert_eq!(
            serde_json::to_string(&EventSchemaJson::of(SchemaId::new(7))).unwrap(),
            r#"{"id":7}"#
        );
        for text in ["-1", "4294967296", "\"7\"", "{}", r#"{"id":7,"x":1}"#, "null", "[7]"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
