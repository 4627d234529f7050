//! Schemas in Avro.

mod hostile;
mod random;

use nexus_schemas::avro::AvroSchema;
use nexus_schemas::{Referenced, SchemaError};

pub(crate) fn compile(text: &str) -> AvroSchema {
    AvroSchema::compile(text, &[]).unwrap_or_else(|why| panic!("{why}: {text}"))
}

fn referenced<'a>(name: &'a str, text: &'a str) -> Referenced<'a> {
    Referenced { name, text }
}

const ORDER: &str = r#"{
    "type": "record", "name": "Order", "namespace": "shop",
    "fields": [
        { "name": "id", "type": { "type": "string", "logicalType": "uuid" } },
        { "name": "lines", "type": { "type": "array", "items": {
            "type": "record", "name": "Line", "fields": [
                { "name": "sku", "type": "string" },
                { "name": "count", "type": "int" },
                { "name": "size", "type": { "type": "enum", "name": "Size", "symbols": ["S", "L"] } }
            ] } } },
        { "name": "note", "type": ["null", "string"], "default": null },
        { "name": "extra", "type": { "type": "map", "values": "bytes" } }
    ]
}"#;

fn order() -> Vec<u8> {
    let mut data = vec![72];
    data.extend_from_slice(b"6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    // Two lines; in a block with its length.
    data.extend_from_slice(&[3, 18, 4, b'a', b'b', 2, 0, 2, b'c', 4, 2, 0]);
    // A note, and one more thing.
    data.extend_from_slice(&[2, 2, b'n', 2, 4, b'k', b'/', 2, 0xff, 0]);
    data
}

#[test]
fn a_payload_is_one_datum() {
    let schema = compile(ORDER);
    for content_type in ["application/avro", "Avro/Binary; x=y", "application/vnd.apache.avro "] {
        assert_eq!(schema.validate(content_type, &order()), Ok(()), "{content_type}");
    }
    let problems = schema.validate("application/json", &order()).unwrap_err();
    assert_eq!(problems[0].rule, "content_type");
    assert!(problems[0].message.contains("application/avro"), "{}", problems[0].message);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let schema = compile(ORDER);
    let check = |at: usize, byte: u8, pointer: &str, rule: &str| {
        let mut data = order();
        data[at] = byte;
        let problems = schema.validate("application/avro", &data).unwrap_err();
        let found: Vec<_> = problems.iter().map(|it| (&*it.pointer, &*it.rule)).collect();
        assert_eq!(found, [(pointer, rule)], "{}", problems[0].message);
    };
    let lines = 37;
    check(1, b'x', "/id", "type");
    check(lines + 1, 14, "/lines", "length");
    check(lines + 3, 0xff, "/lines/0/sku", "utf8");
    check(lines + 6, 4, "/lines/0/size", "enum");
    check(lines + 10, 1, "/lines/1/size", "enum");
    check(lines + 12, 4, "/note", "union");
    check(lines + 13, 1, "/note", "length");
    check(lines + 19, 120, "/extra/k~1", "length");
    let mut data = order();
    data.push(0);
    assert_eq!(schema.validate("application/avro", &data).unwrap_err()[0].rule, "trailing");
    for length in 0..order().len() {
        let problems = schema.validate("application/avro", &order()[..length]).unwrap_err();
        assert_eq!(problems[0].rule, "length", "{length}");
    }
}

#[test]
fn canonical_is_the_same_for_other_spaces_and_orders() {
    let one = compile(r#"{"type": "fixed", "name": "A", "size": 2, "aliases": ["B"]}"#);
    let two = compile(r#" { "size":2, "aliases":[ "B" ],"name":"A", "type":"fixed"}"#);
    let other = compile(r#"{"type": "fixed", "name": "A", "size": 2}"#);
    assert_eq!(one.canonical(), two.canonical());
    assert_ne!(one.canonical(), other.canonical());
}

#[test]
fn references_are_known_by_their_names() {
    let line = r#"{"type": "record", "name": "shop.Line", "fields": [
        {"name": "size", "type": {"type": "enum", "name": "Size", "symbols": ["S"]}},
        {"name": "money", "type": "base.Money"}]}"#;
    let money = r#"{"type": "record", "name": "Money", "namespace": "base", "fields": [
        {"name": "cents", "type": "long"}]}"#;
    let text = r#"{"type": "record", "name": "shop.Order", "fields": [
        {"name": "line", "type": "Line"}, {"name": "size", "type": "Size"}]}"#;
    let references = [referenced("shop.Line", line), referenced("base.Money", money)];
    let schema = AvroSchema::compile(text, &references).unwrap();
    assert_eq!(schema.validate("application/avro", &[0, 2, 0]), Ok(()));
    let problems = schema.validate("application/avro", &[0, 2, 1]).unwrap_err();
    assert_eq!(problems[0].pointer, "/size");
    for (kept, missing) in [(1, "base.Money"), (0, "shop.Line")] {
        let why = AvroSchema::compile(text, &references[..kept]).unwrap_err();
        assert_eq!(why, SchemaError::NoReference { name: missing.to_owned() });
    }
    let wrong = [references[0], referenced("base.Money", r#"{"type": "int", "x": }"#)];
    let why = AvroSchema::compile(text, &wrong).unwrap_err();
    assert!(
        matches!(&why, SchemaError::Malformed { pointer, .. } if pointer.starts_with("base.Money#line 1")),
        "{why}"
    );
}

#[test]
fn what_is_no_schema_is_told_with_its_place() {
    let check = |text: &str, pointer: &str, said: &str| {
        let why = AvroSchema::compile(text, &[]).expect_err(text);
        let SchemaError::Malformed { pointer: at, why } = &why else { panic!("{text}: {why}") };
        assert!(at == pointer && why.contains(said), "{text}: at {at:?}: {why}");
    };
    let field = |field: &str| {
        format!(
            r#"{{"type": "record", "name": "A", "fields": [{{"name": "x", "type": "int"}}, {field}]}}"#
        )
    };
    check("{", "line 1, column 1", "JSON");
    check("3", "", "a type is");
    check(r#"["null", 3]"#, "/1", "a type is");
    check(r#"["null", "null"]"#, "", "two branches");
    check(r#"["int", {"type": "int", "logicalType": "date"}]"#, "", "two branches");
    check(r#"["null", ["int"]]"#, "", "union as a branch");
    check("[]", "", "no branch");
    check(r#"{"type": "array"}"#, "", "items");
    check(r#"{"type": "enum", "name": "E", "symbols": ["A", "A"]}"#, "", "twice");
    check(r#"{"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}"#, "", "default");
    check(r#"{"type": "enum", "name": "E", "symbols": ["A-"]}"#, "", "symbol");
    check(r#"{"type": "fixed", "name": "F", "size": -1}"#, "", "size");
    check(r#"{"type": "fixed", "name": "a..F", "size": 1}"#, "", "no name");
    check(r#"{"type": "fixed", "name": "int", "size": 1}"#, "", "a word of Avro");
    check(r#"{"type": "record", "name": "A"}"#, "", "fields");
    check(&field(r#"{"name": "x", "type": "int"}"#), "/fields/1/type", "two fields");
    check(&field(r#"{"name": "y"}"#), "/fields/1/type", "type");
    check(&field(r#"{"name": "y", "type": "int", "default": "1"}"#), "/fields/1/type", "default");
    check(
        &field(r#"{"name": "y", "type": ["int", "null"], "default": null}"#),
        "/fields/1/type",
        "first branch",
    );
    check(
        &field(r#"{"name": "y", "type": {"type": "enum", "name": "A", "symbols": []}}"#),
        "/fields/1/type",
        "declared twice",
    );
    let late = r#"{"type": "record", "name": "A", "fields": [{"name": "x", "type": "B"},
        {"name": "y", "type": {"type": "fixed", "name": "B", "size": 1}}]}"#;
    check(late, "/fields/1/type", "before it is declared");
}

#[test]
fn a_recursive_type_is_read_to_its_end() {
    let schema = compile(
        r#"{"type": "record", "name": "Node", "fields": [
            {"name": "value", "type": "int"}, {"name": "next", "type": ["null", "Node"]}]}"#,
    );
    assert_eq!(schema.validate("application/avro", &[2, 2, 4, 0]), Ok(()));
    let problems = schema.validate("application/avro", &[2, 2, 4, 4]).unwrap_err();
    assert_eq!(problems[0].pointer, "/next/next");
    assert!(schema.differences(&schema).is_empty());
}

/// What keeps a reader from reading what a writer writes.
#[track_caller]
fn differ(writer: &str, reader: &str, expected: &[(&str, &str)]) {
    let found = compile(writer).differences(&compile(reader));
    let found: Vec<_> = found.iter().map(|it| (&*it.pointer, &*it.rule)).collect();
    assert_eq!(found, expected, "{writer} as {reader}");
}

#[test]
fn numbers_become_wider() {
    let all = ["int", "long", "float", "double"];
    for (from, writer) in all.iter().enumerate() {
        for (to, reader) in all.iter().enumerate() {
            let expected: &[_] = if from <= to { &[] } else { &[("", "type")] };
            differ(&format!("\"{writer}\""), &format!("\"{reader}\""), expected);
        }
    }
    differ("\"string\"", "\"bytes\"", &[]);
    differ("\"bytes\"", "\"string\"", &[("", "type")]);
    differ("\"null\"", "\"boolean\"", &[("", "type")]);
    let date = r#"{"type": "int", "logicalType": "date"}"#;
    differ(date, date, &[]);
    differ("\"int\"", date, &[]);
    differ(date, "\"int\"", &[("", "logical_type")]);
}

#[test]
fn fields_are_added_with_a_default() {
    let record =
        |fields: &str| format!(r#"{{"type": "record", "name": "A", "fields": [{fields}]}}"#);
    let (x, y) = (r#"{"name": "x", "type": "int"}"#, r#"{"name": "y", "type": "int"}"#);
    let y_or_0 = r#"{"name": "y", "type": "int", "default": 0}"#;
    let both = format!("{x}, {y}");
    differ(&record(x), &record(&both), &[("", "reader_field_missing_default")]);
    differ(&record(x), &record(&format!("{x}, {y_or_0}")), &[]);
    differ(&record(&both), &record(x), &[]);
    let wider = r#"{"name": "y", "type": "long"}, {"name": "x", "type": "string"}"#;
    differ(&record(&both), &record(wider), &[("/fields/1/type", "type")]);
    // Not every library goes by aliases of fields.
    let renamed = r#"{"name": "z", "aliases": ["x"], "type": "int"}"#;
    differ(&record(x), &record(renamed), &[("", "reader_field_missing_default")]);
    let renamed = r#"{"name": "z", "aliases": ["x"], "type": "int", "default": 0}"#;
    differ(&record(x), &record(renamed), &[]);
    let renamed = r#"{"name": "z", "aliases": ["x"], "type": "string", "default": ""}"#;
    differ(&record(x), &record(renamed), &[("/fields/0/type", "type")]);
}

#[test]
fn named_types_are_called_the_same() {
    let fixed =
        |name: &str, size: u8| format!(r#"{{"type": "fixed", "name": "{name}", "size": {size}}}"#);
    differ(&fixed("a.F", 2), &fixed("b.F", 2), &[]);
    differ(&fixed("F", 2), &fixed("F", 3), &[("", "fixed_size")]);
    differ(&fixed("F", 2), &fixed("G", 2), &[("", "name")]);
    let known_as = r#"{"type": "fixed", "name": "G", "size": 2, "aliases": ["F"]}"#;
    differ(&fixed("F", 2), known_as, &[]);
    let symbols =
        |symbols: &str| format!(r#"{{"type": "enum", "name": "E", "symbols": [{symbols}]}}"#);
    let any = r#"{"type": "enum", "name": "E", "symbols": ["A"], "default": "A"}"#;
    differ(&symbols(r#""A""#), &symbols(r#""B", "A""#), &[]);
    differ(&symbols(r#""B", "A""#), &symbols(r#""A""#), &[("", "enum")]);
    differ(&symbols(r#""B", "A""#), any, &[]);
}

#[test]
fn each_branch_of_a_union_is_read() {
    differ("\"int\"", r#"["null", "int"]"#, &[]);
    differ(r#"["null", "int"]"#, "\"int\"", &[("", "type")]);
    differ(r#"["int", "long"]"#, "\"double\"", &[]);
    differ(r#"["null", "string"]"#, r#"["string", "null", "int"]"#, &[]);
    differ(r#"["null", "int"]"#, r#"["null", "string"]"#, &[("", "missing_union_branch")]);
    let of = |items: &str| format!(r#"["null", {{"type": "array", "items": {items}}}]"#);
    differ(&of("\"int\""), &of("\"long\""), &[]);
    differ(&of("\"long\""), &of("\"int\""), &[("/1/items", "type")]);
    // Of the two that a library may pick, each has to do.
    let (a, b) = (
        r#"{"type": "record", "name": "a.R", "fields": [{"name": "x", "type": "int"}]}"#,
        r#"{"type": "record", "name": "b.R", "fields": [{"name": "x", "type": "string"}]}"#,
    );
    differ(a, &format!("[{a}, {b}]"), &[("/1/fields/0/type", "type")]);
    let record = |name: &str, fields: &str| {
        format!(r#"{{"type": "record", "name": "{name}", "fields": [{fields}]}}"#)
    };
    let (x, other) = (r#"{"name": "x", "type": "int"}"#, r#"{"name": "x", "type": "string"}"#);
    let union = |fields: [&str; 3]| {
        let branches = ["a.R", "b.R", "c.R"].iter().zip(fields);
        let branches: Vec<_> = branches.map(|(name, it)| record(name, it)).collect();
        format!("[{}]", branches.join(", "))
    };
    differ(&record("c.R", x), &union(["", "", other]), &[("/2/fields/0/type", "type")]);
    differ(&record("c.R", x), &union(["", other, x]), &[("/1/fields/0/type", "type")]);
    differ(&record("c.R", x), &union(["", x, x]), &[]);
    let fixed =
        |name: &str, size: u8| format!(r#"{{"type": "fixed", "name": "{name}", "size": {size}}}"#);
    let sizes = format!("[{}, {}, {}]", fixed("a.F", 2), fixed("b.F", 2), fixed("c.F", 3));
    differ(&fixed("c.F", 2), &sizes, &[("/2", "fixed_size")]);
}

#[test]
fn a_difference_in_a_circle_is_found() {
    let node = |kind: &str| {
        format!(
            r#"{{"type": "record", "name": "Node", "fields": [
                {{"name": "next", "type": ["null", "Node"]}}, {{"name": "value", "type": "{kind}"}}]}}"#
        )
    };
    differ(&node("int"), &node("long"), &[]);
    differ(&node("long"), &node("int"), &[("/fields/1/type", "type")]);
}
