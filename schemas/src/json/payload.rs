//! Reading payloads: as `serde_json` reads a value, but that no object has a name twice.
//!
//! A payload is stored as it was sent. Of two values under one name some readers keep the first and others the last, so
//! checking one of them would say nothing of what a reader finds.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::words::quoted;

/// Reads the whole of a text. It is as deep as `serde_json` lets it be.
pub(super) fn read(data: &[u8]) -> Result<Value, serde_json::Error> {
    let mut text = serde_json::Deserializer::from_slice(data);
    let value = text.deserialize_any(Unique)?;
    text.end()?;
    Ok(value)
}

/// A value whose names are all different.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(Number::from_f64(it).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(Value::String(it.to_owned()))
    }

    fn visit_string<E>(self, it: String) -> Result<Value, E> {
        Ok(Value::String(it))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            match map.entry(name) {
                Entry::Vacant(place) => _ = place.insert(from.next_value_seed(Self)?),
                Entry::Occupied(it) => {
                    let message =
                        format!("the name {} stands twice in an object", quoted(it.key()));
                    return Err(A::Error::custom(message));
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_told() {
        let told = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        let at = |name: &str, column: usize| {
            format!("the name {name} stands twice in an object at line 1 column {column}")
        };
        assert_eq!(told(r#"{"a":1,"a":1}"#), at("\"a\"", 10));
        assert_eq!(told(r#"[{"x":{"b":1,"a":1,"b":2}}]"#), at("\"b\"", 22));
        // However it is written.
        assert_eq!(told(r#"{"a":1,"\u0061":2}"#), at("\"a\"", 15));
        assert_eq!(told(r#"{"":1,"":2}"#), at("\"\"", 8));
        let long = "x".repeat(1_000);
        let message = told(&format!(r#"{{"{long}":1,"{long}":2}}"#));
        assert!(message.len() < 200 && message.contains('…'), "{message}");
        // In two objects each may have it.
        let twice = r#"{"a":{"a":[{"a":1},{"a":2}]}}"#;
        assert_eq!(read(twice.as_bytes()).unwrap(), json!({"a": {"a": [{"a": 1}, {"a": 2}]}}));
    }

    #[test]
    fn what_is_deep_is_refused_as_by_serde_json() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for depth in [1, 100, 126, 127, 128, 129, 100_000] {
                let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                same(&text);
            }
        }
    }

    /// What is read is what `serde_json` reads, and what it says where it reads nothing.
    fn same(text: &str) {
        let expected: Result<Value, _> = serde_json::from_str(text);
        match (read(text.as_bytes()), expected) {
            (Ok(own), Ok(expected)) => {
                assert_eq!(own, expected, "{text}");
                assert_eq!(own.to_string(), expected.to_string());
            }
            // A name that stands twice may stand before what it does not read either.
            (Err(own), _) if own.to_string().contains("stands twice") => {}
            (Err(own), Err(expected)) => assert_eq!(own.to_string(), expected.to_string()),
            (Err(own), Ok(_)) => panic!("{text}: {own}"),
            (Ok(own), Err(why)) => panic!("{text}: {own}: {why}"),
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,3}", inner, 0..6)
                    .prop_map(|it| it.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_are_read_as_by_serde_json(value in values()) {
            let (short, long) = (value.to_string(), format!(" {value:#}\n"));
            prop_assert!(read(short.as_bytes()).is_ok());
            same(&short);
            same(&long);
        }

        #[test]
        fn texts_are_read_as_by_serde_json(text in r#"[\[\]{}":,\\ abu0-9.eE+-]{0,24}|(true|false|null|[\[\]{},:]|"[ab]"){0,12}"#) {
            same(&text);
        }

        #[test]
        fn spoilt_texts_are_read_as_by_serde_json(value in values(), at: prop::sample::Index, with in "[\\[\\]{}\":,\\\\ a0.e-]") {
            let text = value.to_string();
            let mut all: Vec<char> = text.chars().collect();
            let at = at.index(all.len());
            all[at] = with.chars().next().unwrap();
            same(&all.into_iter().collect::<String>());
        }
    }
}
