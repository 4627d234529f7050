//! What is meant to break something.

use std::fmt::Write;

use nexus_schemas::avro::AvroSchema;
use nexus_schemas::{Referenced, SchemaError};

use super::compile;

#[test]
fn deep_texts_are_refused() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!("{}\"int\"{}", open.repeat(depth), close.repeat(depth))
    };
    for depth in [64, 65, 127, 128, 10_000] {
        for (open, close) in
            [("[", "]"), (r#"{"type": "array", "items": "#, "}"), (r#"{"type":"#, "}")]
        {
            let made = AvroSchema::compile(&nested(depth, open, close), &[]);
            match (depth, open) {
                // A union in a union is wrong for another reason.
                (64, "[") => assert!(matches!(made, Err(SchemaError::Malformed { .. }))),
                (64, _) => assert!(made.is_ok()),
                _ => assert!(
                    matches!(&made, Err(SchemaError::Refused { pointer, .. }) if !pointer.is_empty()),
                    "{depth} {open} {made:?}"
                ),
            }
        }
    }
}

#[test]
fn long_chains_of_references_take_no_stack() {
    let texts: Vec<_> = (0..20_000)
        .map(|index| {
            format!(
                r#"{{"type":"record","name":"R{index}","fields":[{{"name":"x","type":["null","R{}"]}}]}}"#,
                index + 1
            )
        })
        .collect();
    let last = r#"{"type":"fixed","name":"R20000","size":1}"#;
    let names: Vec<_> = (0..=20_000).map(|index| format!("R{index}")).collect();
    let mut references: Vec<_> =
        names.iter().zip(&texts).map(|(name, text)| Referenced { name, text }).collect();
    references.push(Referenced { name: &names[20_000], text: last });
    let schema = AvroSchema::compile("\"R0\"", &references).unwrap();
    assert!(schema.differences(&schema).is_empty());
    let problems = schema.validate("application/avro", &[2; 20_002]).unwrap_err();
    assert_eq!(problems[0].rule, "depth");
}

/// The library that readers use unfolds these for longer than anybody waits.
#[test]
fn defaults_in_defaults_are_refused() {
    let mut text = String::from(r#"{"type":"record","name":"Root","fields":["#);
    let record = |name: usize, inner: &str| {
        format!(
            r#"{{"type":"record","name":"R{name}","fields":[
                {{"name":"a","type":{inner},"default":{{}}}}, {{"name":"b","type":{inner},"default":{{}}}}]}}"#
        )
    };
    let leaf = r#"{"type":"record","name":"R0","fields":[]}"#;
    write!(text, r#"{{"name":"f0","type":{leaf},"default":{{}}}}"#).unwrap();
    for index in 1..40 {
        let inner = format!("\"R{}\"", index - 1);
        write!(text, r#",{{"name":"f{index}","type":{},"default":{{}}}}"#, record(index, &inner))
            .unwrap();
    }
    text.push_str("]}");
    let why = AvroSchema::compile(&text, &[]).unwrap_err();
    assert!(matches!(&why, SchemaError::Refused { .. }), "{why}");
    let endless = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R","default":{}}]}"#;
    let why = AvroSchema::compile(endless, &[]).unwrap_err();
    assert!(matches!(&why, SchemaError::Refused { .. }), "{why}");
}

#[test]
fn wide_texts_are_read() {
    let many = |count: usize, one: &dyn Fn(usize) -> String| {
        (0..count).map(one).collect::<Vec<_>>().join(",")
    };
    let texts = [
        format!(
            r#"{{"type":"record","name":"R","fields":[{}]}}"#,
            many(15_000, &|it| format!(r#"{{"name":"f{it}","type":"null"}}"#)),
        ),
        format!(
            r#"{{"type":"enum","name":"E","symbols":[{}]}}"#,
            many(50_000, &|it| format!("\"s{it}\"")),
        ),
        format!(
            "[{}]",
            many(1_000, &|it| format!(r#"{{"type":"fixed","name":"F{it}","size":{it}}}"#)),
        ),
    ];
    for text in &texts {
        let schema = compile(text);
        assert!(schema.differences(&schema).is_empty());
    }
    let long = format!("\"{}\"", "a".repeat(600_000));
    let why = AvroSchema::compile(&long, &[]).unwrap_err();
    assert!(matches!(why, SchemaError::TooLarge(_)));
    let long = format!(r#"{{"type":"fixed","name":"{}","size":0}}"#, "a".repeat(2_000));
    assert!(matches!(AvroSchema::compile(&long, &[]), Err(SchemaError::Refused { .. })));
    let aliases = many(50_000, &|it| format!("\"a{it}\""));
    let aliases = format!(r#"{{"type":"fixed","name":"F","size":0,"aliases":[{aliases}]}}"#);
    assert!(matches!(AvroSchema::compile(&aliases, &[]), Err(SchemaError::Refused { .. })));
    let huge = r#"{"type":"fixed","name":"F","size":9223372036854775807}"#;
    assert!(matches!(AvroSchema::compile(huge, &[]), Err(SchemaError::Refused { .. })));
}

fn varint(number: i64) -> Vec<u8> {
    let mut bits = (number << 1 ^ number >> 63).cast_unsigned();
    let mut bytes = Vec::new();
    while bits > 0x7f {
        bytes.push(u8::try_from(bits & 0x7f).unwrap() | 0x80);
        bits >>= 7;
    }
    bytes.push(u8::try_from(bits).unwrap());
    bytes
}

#[test]
fn counts_and_lengths_that_lie_end_soon() {
    let counts = [1 << 20, 1 << 40, 1 << 62, i64::MAX, -(1 << 40), i64::MIN, -1, i64::MIN + 1];
    let schemas = [
        r#""bytes""#,
        r#""string""#,
        r#"{"type":"array","items":"null"}"#,
        r#"{"type":"array","items":"int"}"#,
        r#"{"type":"map","values":"null"}"#,
        r#"{"type":"array","items":{"type":"fixed","name":"F","size":0}}"#,
        r#"{"type":"array","items":{"type":"record","name":"R","fields":[]}}"#,
        r#"{"type":"array","items":{"type":"array","items":"null"}}"#,
    ];
    for schema in schemas.map(compile) {
        for count in counts {
            for rest in [&[][..], &[0; 40], &[2; 40], &[0x80; 40], &[0xff; 40]] {
                let mut data = varint(count);
                data.extend_from_slice(rest);
                assert!(schema.validate("application/avro", &data).is_err(), "{schema:?} {count}");
            }
        }
    }
    // An honest one of things that take no bytes.
    let nulls = compile(r#"{"type":"array","items":"null"}"#);
    let mut data = varint(1_000);
    data.push(0);
    assert_eq!(nulls.validate("application/avro", &data), Ok(()));
}

#[test]
fn many_fields_that_take_no_bytes_end_soon() {
    let nulls = (0..10_000).map(|it| format!(r#"{{"name":"f{it}","type":"null"}}"#));
    let nulls: Vec<_> = nulls.collect();
    let schema = compile(&format!(
        r#"{{"type":"array","items":{{"type":"record","name":"R","fields":[
            {{"name":"x","type":"int"}},{}]}}}}"#,
        nulls.join(","),
    ));
    let mut data = varint(1_000_000);
    data.resize(1_000_000, 2);
    let problems = schema.validate("application/avro", &data).unwrap_err();
    assert_eq!(problems[0].rule, "length");
}

#[test]
fn deep_payloads_are_refused() {
    let schema = compile(
        r#"{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"array","items":"R"}}]}"#,
    );
    let data = vec![2; 1_000_000];
    let problems = schema.validate("application/avro", &data).unwrap_err();
    assert_eq!(problems[0].rule, "depth");
    assert!(problems[0].pointer.starts_with("/x/0/x/0"));
    // A type that no value has.
    let schema = compile(r#"{"type":"record","name":"R","fields":[{"name":"x","type":"R"}]}"#);
    assert_eq!(schema.validate("application/avro", &[]).unwrap_err()[0].rule, "depth");
}

#[test]
fn circles_of_coprime_lengths_are_given_up() {
    let ring = |length: usize| {
        let texts: Vec<_> = (0..length)
            .map(|it| {
                let next = (it + 1) % length;
                format!(r#"{{"type":"record","name":"n{it}.R","fields":[{{"name":"x","type":["null","n{next}.R"]}}]}}"#)
            })
            .collect();
        let names: Vec<_> = (0..length).map(|it| format!("n{it}.R")).collect();
        let references: Vec<_> =
            names.iter().zip(&texts).map(|(name, text)| Referenced { name, text }).collect();
        AvroSchema::compile("\"n0.R\"", &references).unwrap()
    };
    let found = ring(5_000).differences(&ring(4_999));
    assert_eq!(found[0].rule, "too_complex");
}
