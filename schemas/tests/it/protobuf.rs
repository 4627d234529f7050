//! Schemas in Protobuf.

mod hostile;
mod random;

use nexus_schemas::protobuf::ProtobufSchema;
use nexus_schemas::{Referenced, SchemaError};

pub(crate) fn compile(text: &str) -> ProtobufSchema {
    ProtobufSchema::compile(text, &[]).unwrap_or_else(|why| panic!("{why}: {text}"))
}

const ORDER: &str = r#"
    syntax = "proto3";
    package shop;
    import "google/protobuf/timestamp.proto";
    // The first is the payload.
    message Order {
        string id = 1;
        repeated Line lines = 2;
        map<string, int32> extra = 3;
        google.protobuf.Timestamp at = 4;
        repeated sint32 steps = 5;
        oneof paid { bool cash = 6; bytes card = 7; }
        Size size = 8;
    }
    message Line { string sku = 1; uint32 count = 2; }
    enum Size { S = 0; L = 1; }
"#;

fn problem(schema: &ProtobufSchema, data: &[u8]) -> (String, String) {
    let problems = schema.validate("application/protobuf", data).unwrap_err();
    assert_eq!(problems.len(), 1);
    (problems[0].pointer.clone(), problems[0].rule.to_string())
}

#[track_caller]
fn refuses(schema: &ProtobufSchema, data: &[u8], pointer: &str, rule: &str) {
    assert_eq!(problem(schema, data), (pointer.to_owned(), rule.to_owned()), "{data:?}");
}

#[test]
fn a_payload_is_the_first_message() {
    let schema = compile(ORDER);
    let payloads: [&[u8]; 8] = [
        &[],
        &[10, 1, b'a', 18, 0, 18, 3, 10, 1, b'b', 18, 2, 16, 5],
        &[26, 5, 10, 1, b'k', 16, 1, 26, 0],
        &[34, 2, 8, 1],
        // Packed, and not.
        &[42, 3, 1, 2, 3, 40, 1, 40, 2],
        &[48, 1, 58, 2, 0xff, 0xff],
        // An enum of proto3 is open.
        &[64, 99],
        &[10, 1, b'a', 10, 1, b'b'],
    ];
    for payload in payloads {
        for content_type in ["application/protobuf; x=y", "Application/X-Protobuf"] {
            assert_eq!(schema.validate(content_type, payload), Ok(()), "{payload:?}");
        }
    }
    let problems = schema.validate("text/plain", &[]).unwrap_err();
    assert_eq!(problems[0].rule, "content_type");
    assert!(problems[0].message.contains("application/protobuf"));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let schema = compile(ORDER);
    refuses(&schema, &[72, 1], "", "unknown_field");
    refuses(&schema, &[18, 0, 18, 2, 24, 1], "/lines/1", "unknown_field");
    refuses(&schema, &[18, 0, 10, 0, 18, 2, 18, 0], "/lines/1/count", "wire_type");
    refuses(&schema, &[18, 0, 18, 3, 10, 1, 0xff], "/lines/1/sku", "utf8");
    refuses(&schema, &[10, 9, 0], "/id", "protobuf");
    refuses(&schema, &[26, 0, 26, 2, 16], "/extra/1", "protobuf");
    refuses(&schema, &[26, 0, 26, 1, 16], "/extra/1/value", "protobuf");
    refuses(&schema, &[26, 2, 24, 0], "/extra/0", "unknown_field");
    refuses(&schema, &[42, 2, 1, 1, 40, 1, 42, 2, 5, 0x80], "/steps/4", "protobuf");
    refuses(&schema, &[48, 2], "/cash", "type");
    refuses(&schema, &[18, 6, 16, 0x80, 0x80, 0x80, 0x80, 0x10], "/lines/0/count", "type");
    refuses(&schema, &[0, 0], "", "protobuf");
    refuses(&schema, &[15], "", "protobuf");
    refuses(&schema, &[12], "", "protobuf");
}

#[test]
fn proto2_is_stricter() {
    let schema = compile(
        r#"syntax = "proto2";
        message A {
            required int32 a = 1;
            optional E e = 2;
            repeated group G = 3 { required string s = 1; optional G g = 2; }
            extensions 100 to 200;
        }
        enum E { X = 1; Y = -1; }
        extend A { optional int32 more = 100; }"#,
    );
    let payloads: [&[u8]; 4] = [
        &[8, 1, 16, 1],
        &[8, 1, 16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[27, 10, 0, 28, 8, 1, 27, 10, 1, b'a', 18, 2, 10, 0, 28],
        &[8, 1, 0xa0, 6, 5],
    ];
    for payload in payloads {
        assert_eq!(schema.validate("application/protobuf", payload), Ok(()), "{payload:?}");
    }
    refuses(&schema, &[], "", "required");
    refuses(&schema, &[8, 1, 16, 2], "/e", "enum");
    refuses(&schema, &[8, 1, 27, 10, 0, 28, 27, 28], "/g/1", "required");
    refuses(&schema, &[8, 1, 27, 10, 0], "/g/0", "protobuf");
    refuses(&schema, &[8, 1, 27, 10, 0, 36], "/g/0", "protobuf");
    refuses(&schema, &[8, 1, 0xa8, 6, 5], "", "unknown_field");
}

#[test]
fn references_are_called_as_they_are_imported() {
    let line = r#"syntax = "proto3"; package shop; import "base/money.proto";
        message Line { base.Money money = 1; }"#;
    let money = r#"syntax = "proto3"; package base; message Money { int64 cents = 1; }"#;
    let text =
        r#"syntax = "proto3"; package shop; import "line.proto"; message A { Line line = 1; }"#;
    let references = [
        Referenced { name: "line.proto", text: line },
        Referenced { name: "base/money.proto", text: money },
    ];
    let schema = ProtobufSchema::compile(text, &references).unwrap();
    assert_eq!(schema.validate("application/protobuf", &[10, 4, 10, 2, 8, 1]), Ok(()));
    refuses(&schema, &[10, 4, 10, 2, 16, 1], "/line/money", "unknown_field");
    for (kept, missing) in [(1, "base/money.proto"), (0, "line.proto")] {
        let why = ProtobufSchema::compile(text, &references[..kept]).unwrap_err();
        assert_eq!(why, SchemaError::NoReference { name: missing.to_owned() });
    }
    let wrong = [Referenced { name: "line.proto", text: "syntax = \"proto3\";\nmessage {" }];
    let why = ProtobufSchema::compile(text, &wrong).unwrap_err();
    assert!(
        matches!(&why, SchemaError::Malformed { pointer, .. } if pointer == "line.proto, line 2, column 9"),
        "{why:?}"
    );
    // No file of the machine is looked for.
    for name in ["/etc/hostname", "Cargo.toml", "schemas/Cargo.toml", "./Cargo.toml"] {
        let text = format!("syntax = \"proto3\"; import \"{name}\"; message A {{}}");
        let why = ProtobufSchema::compile(&text, &[]).unwrap_err();
        assert!(
            matches!(why, SchemaError::NoReference { .. } | SchemaError::Malformed { .. }),
            "{why:?}"
        );
    }
}

#[test]
fn what_is_no_schema_is_told_with_its_place() {
    let check = |text: &str, pointer: &str, said: &str| {
        let why = ProtobufSchema::compile(text, &[]).expect_err(text);
        let SchemaError::Malformed { pointer: at, why } = &why else { panic!("{text}: {why}") };
        assert!(at == pointer && why.contains(said), "{text}: at {at:?}: {why}");
    };
    check("messag", "line 1, column 1", "expected");
    check("syntax = \"proto3\";\n message A { B b = 1; }", "line 2, column 14", "B");
    check("syntax = \"proto3\";\n message A { int32 b = 0; }", "line 2, column 24", "number");
    check("syntax = \"proto4\";", "line 1, column 10", "proto4");
    let refused = |text: &str| {
        let why = ProtobufSchema::compile(text, &[]).expect_err(text);
        assert!(matches!(&why, SchemaError::Refused { .. }), "{text}: {why}");
    };
    refused("// An edition.\n edition = \"2023\"; message A {}");
    refused("syntax = \"proto3\"; enum E { A = 0; }");
    refused("");
}

#[test]
fn canonical_is_the_same_for_other_spaces() {
    let one = compile("syntax = \"proto3\"; message A { int32 b = 1; }");
    let two = compile("// A.\nsyntax=\"proto3\";\n\nmessage A{\n  /* b */ int32 b=1;}\n");
    let other = compile("syntax = \"proto3\"; message A { int32 b = 2; }");
    assert_eq!(one.canonical(), two.canonical());
    assert_ne!(one.canonical(), other.canonical());
    // Options that only their extension knows are part of it.
    let custom = |value: u8| {
        compile(&format!(
            r#"syntax = "proto3"; import "google/protobuf/descriptor.proto";
            message A {{ int32 b = 1 [(mine) = {value}]; }}
            extend google.protobuf.FieldOptions {{ int32 mine = 50001; }}"#
        ))
    };
    assert_ne!(custom(1).canonical(), custom(2).canonical());
}

/// What keeps a reader from reading what a writer writes.
#[track_caller]
fn differ(syntax: &str, writer: &str, reader: &str, expected: &[(&str, &str)]) {
    let file = |text: &str| compile(&format!("syntax = \"{syntax}\"; {text}"));
    let found = file(writer).differences(&file(reader));
    let found: Vec<_> = found.iter().map(|it| (&*it.pointer, &*it.rule)).collect();
    assert_eq!(found, expected, "{writer} as {reader}");
}

#[test]
fn types_change_into_those_that_read_the_same() {
    let (fine, x): (&[_], &[_]) = (&[], &[("A.x = 1", "type")]);
    let enums = "enum E { Z = 0; O = 1; }";
    for (from, to, expected) in [
        ("int32", "int64", fine),
        ("int64", "int32", x),
        ("uint32", "uint64", fine),
        ("uint32", "int64", fine),
        ("int32", "uint32", x),
        ("uint64", "int64", x),
        ("bool", "int32", fine),
        ("int32", "bool", x),
        ("sint32", "sint64", fine),
        ("sint32", "int32", x),
        ("fixed32", "sfixed32", x),
        ("float", "double", x),
        ("string", "bytes", fine),
        ("bytes", "string", x),
        ("E", "int32", fine),
        ("E", "int64", fine),
        ("E", "uint32", x),
        ("int32", "E", fine),
        ("int64", "E", x),
        ("string", "A", x),
        ("A", "bytes", x),
        ("int32", "repeated int32", fine),
        ("string", "repeated bytes", fine),
        ("repeated int32", "int32", &[("A.x = 1", "repeated")]),
        ("map<string, int32>", "map<string, int64>", fine),
        ("map<string, int64>", "map<string, int32>", &[("A.XEntry.value = 2", "type")]),
        ("A", "repeated A", fine),
    ] {
        let message = |kind: &str| format!("message A {{ {kind} x = 1; }} {enums}");
        differ("proto3", &message(from), &message(to), expected);
    }
    let entry = "message A { repeated X x = 1; } message X { string key = 1; int32 value = 2; }";
    differ("proto3", "message A { map<string, int32> x = 1; }", entry, &[]);
    // Of two entries with the same key a map keeps the last.
    differ("proto3", entry, "message A { map<string, int32> x = 1; }", &[("A.x = 1", "map")]);
}

#[test]
fn what_is_missing_reads_the_same() {
    let of = |field: &str| format!("message A {{ {field} }} enum E {{ P = 1; Q = 2; }}");
    let (fine, apart): (&[_], &[_]) = (&[], &[("A.x = 1", "default")]);
    for (from, to, expected) in [
        ("int32 x = 1 [default = 5]", "int32 x = 1 [default = 7]", apart),
        ("int32 x = 1 [default = 5]", "int32 x = 1 [default = 5]", fine),
        ("int32 x = 1 [default = 5]", "int64 x = 1 [default = 5]", fine),
        ("int32 x = 1 [default = 5]", "int32 x = 1", apart),
        ("int32 x = 1", "int32 x = 1 [default = 5]", apart),
        ("int32 x = 1", "int32 x = 1 [default = 0]", fine),
        ("int32 y = 2", "int32 x = 1 [default = 5]", fine),
        ("bool x = 1 [default = true]", "int32 x = 1 [default = 1]", fine),
        ("string x = 1 [default = 'a']", "bytes x = 1 [default = 'a']", fine),
        ("string x = 1 [default = 'a']", "bytes x = 1 [default = 'b']", apart),
        ("double x = 1 [default = 0.5]", "double x = 1 [default = 0.25]", apart),
        ("double x = 1 [default = nan]", "double x = 1 [default = nan]", fine),
        ("E x = 1", "E x = 1 [default = P]", fine),
        ("E x = 1", "E x = 1 [default = Q]", apart),
        ("E x = 1 [default = Q]", "int32 x = 1 [default = 2]", fine),
        ("E x = 1", "int32 x = 1", apart),
    ] {
        let (from, to) = (of(&format!("optional {from};")), of(&format!("optional {to};")));
        differ("proto2", &from, &to, expected);
    }
    // What is always there is never missing.
    let optional = of("optional int32 x = 1 [default = 5];");
    differ("proto2", &of("required int32 x = 1;"), &optional, fine);
    differ("proto2", &of("optional int32 x = 1;"), &of("repeated int32 x = 1;"), fine);
    differ("proto2", &optional, &of("repeated int32 x = 1;"), apart);
}

#[test]
fn enums_of_proto2_are_closed() {
    let message = |values: &str, kind: &str| {
        format!("message A {{ optional {kind} x = 1; }} enum E {{ {values} }}")
    };
    let (one, two) = (message("P = 1;", "E"), message("P = 1; Q = 2;", "E"));
    differ("proto2", &one, &two, &[]);
    differ("proto2", &two, &one, &[("A.x = 1", "enum")]);
    differ("proto2", &message("P = 1;", "int32"), &one, &[("A.x = 1", "type")]);
    let open = compile("syntax = \"proto3\"; message A { E x = 1; } enum E { Z = 0; P = 1; }");
    let closed = compile(&format!("syntax = \"proto2\"; {}", message("Z = 0; P = 1;", "E")));
    assert_eq!(closed.differences(&open), []);
    assert_eq!(open.differences(&closed)[0].rule, "enum");
}

#[test]
fn fields_come_and_go_by_their_numbers() {
    let a = "message A { optional int32 x = 1; }";
    differ("proto2", a, "message B { optional int32 y = 1; optional string z = 2; }", &[]);
    differ("proto2", a, "message A { optional string z = 2; }", &[]);
    differ("proto2", a, "message A { optional string z = 1; }", &[("A.z = 1", "type")]);
    differ("proto2", a, "message A { required int32 x = 1; }", &[("A.x = 1", "required")]);
    differ("proto2", a, "message A { required int32 y = 2; }", &[("A.y = 2", "required")]);
    differ("proto2", "message A { required int32 x = 1; }", a, &[]);
    differ("proto2", "message A { reserved 1 to 3; }", a, &[("A.x = 1", "reserved")]);
    differ("proto2", a, "message A { reserved 1; }", &[]);
}

#[test]
fn what_could_be_there_together_stays_apart() {
    let apart = "message A { int32 x = 1; int32 y = 2; }";
    let together = "message A { oneof o { int32 x = 1; int32 y = 2; } }";
    let one = "message A { oneof o { int32 x = 1; int32 z = 3; } int32 y = 2; }";
    differ("proto3", apart, together, &[("A.x = 1", "oneof")]);
    differ("proto3", one, together, &[("A.y = 2", "oneof")]);
    differ("proto3", together, apart, &[]);
    differ("proto3", apart, one, &[]);
    differ("proto3", together, together, &[]);
    let optional = "message A { optional int32 x = 1; optional int32 y = 2; }";
    differ("proto3", apart, optional, &[]);
}

#[test]
fn a_difference_in_a_circle_is_found() {
    let node = |kind: &str| format!("message Node {{ Node next = 1; {kind} value = 2; }}");
    differ("proto3", &node("int32"), &node("int64"), &[]);
    differ("proto3", &node("int64"), &node("int32"), &[("Node.value = 2", "type")]);
}
