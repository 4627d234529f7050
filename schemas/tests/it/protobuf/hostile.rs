//! What is meant to break something.

use nexus_schemas::protobuf::ProtobufSchema;
use nexus_schemas::{Referenced, SchemaError};

use super::compile;

fn refused(text: &str) -> SchemaError {
    let start: String = text.chars().take(100).collect();
    ProtobufSchema::compile(text, &[]).expect_err(&start)
}

#[test]
fn deep_texts_are_refused() {
    let head = "syntax = \"proto2\"; import \"google/protobuf/descriptor.proto\"; ";
    for depth in [33, 64, 65, 1_000, 100_000] {
        refused(&format!("{head}{}{}", "message A { ".repeat(depth), "}".repeat(depth)));
        let group = "optional group A = 1 { ";
        if depth < 20_000 {
            refused(&format!(
                "{head}message M {{ {}{}",
                group.repeat(depth),
                "}".repeat(depth + 1)
            ));
        }
        for (open, close) in [("{ a ", "}"), ("[", "]"), ("(", ")"), ("a <", ">"), ("{ a: {", "}}")]
        {
            let deep = format!(
                "{head}message A {{}} option (x) = {};",
                open.repeat(depth) + &close.repeat(depth),
            );
            if deep.len() < 500_000 {
                refused(&deep);
            }
        }
        refused(&format!("{head}option x = {}1; message A {{}}", "-".repeat(depth)));
        refused(&format!("{head}option x = {}; message A {{}}", "\"a\" ".repeat(depth)));
    }
    // Brackets that are no brackets.
    compile(&format!(
        "syntax = \"proto3\"; // {}\nmessage A {{}} /* {} */",
        "{".repeat(100),
        "[".repeat(100)
    ));
}

#[test]
fn long_names_are_refused() {
    let names = [
        format!("message {} {{}}", "a".repeat(1_000)),
        format!("package {}; message A {{}}", "a.".repeat(5_000) + "a"),
    ];
    for name in names {
        let why = refused(&format!("syntax = \"proto3\"; {name}"));
        assert!(matches!(why, SchemaError::Refused { .. }), "{why}");
    }
    // Each name is of a length that is allowed, and all of them together are not.
    let deep = |name: &str| {
        let open: String = (0..30).map(|it| format!("message {name}{it} {{ ")).collect();
        let fields: String = (1..8_000).map(|it| format!("A a{it} = {it};")).collect();
        format!("syntax = \"proto3\"; message A {{}} {open}{fields}{}", "}".repeat(30))
    };
    let why = refused(&deep(&"n".repeat(400)));
    assert!(matches!(why, SchemaError::Refused { .. }), "{why}");
    compile(&deep("n"));
    let spaced =
        format!("syntax = \"proto3\"; package {} a; message A {{}}", "a . ".repeat(100_000));
    refused(&format!(
        "{spaced}{}",
        (0..5_000).map(|it| format!("message B{it} {{ A a = 1; }}")).collect::<String>(),
    ));
}

#[test]
fn wide_texts_are_read() {
    let fields: String = (1..18_000).map(|it| format!("bool a{it} = {it};\n")).collect();
    let values: String = (0..20_000).map(|it| format!("V{it} = {it};\n")).collect();
    let messages: String = (0..15_000).map(|it| format!("message B{it} {{}}\n")).collect();
    for text in [
        format!("message A {{ {fields} }}"),
        format!("message A {{ E e = 1; }} enum E {{ {values} }}"),
        format!("message A {{}} {messages}"),
        format!("message A {{ {messages} }}"),
        format!("message A {{ oneof o {{ {fields} }} }}"),
    ] {
        let schema = compile(&format!("syntax = \"proto3\"; {text}"));
        assert!(schema.differences(&schema).is_empty());
    }
    let why = refused(&format!("syntax = \"proto3\"; message A {{}} //{}", " ".repeat(600_000)));
    assert!(matches!(why, SchemaError::TooLarge(_)), "{why}");
}

/// The parser takes a minute for some of these, where it looks for their places.
#[test]
fn many_mistakes_and_options_end_soon() {
    let many = |one: &dyn Fn(usize) -> String| (1..20_000).map(one).collect::<String>();
    for fields in [
        many(&|it| format!("X a{it} = {it}; ")),
        many(&|_| "bool a = 1; ".to_owned()),
        many(&|_| "option deprecated = true; ".to_owned()),
    ] {
        let why = refused(&format!("syntax = \"proto3\"; message A {{ {fields} }}"));
        assert!(matches!(&why, SchemaError::Malformed { .. }), "{why}");
    }
    compile(&format!(
        r#"syntax = "proto3"; import "google/protobuf/descriptor.proto";
        extend google.protobuf.FieldOptions {{ repeated int32 m = 50001; }}
        message A {{ bool x = 1 [{} (m) = 1]; }}"#,
        many(&|_| "(m) = 1, ".to_owned()),
    ));
}

#[test]
fn circles_and_chains_of_imports_take_no_stack() {
    let text = |import: &str| format!("syntax = \"proto3\"; import \"{import}\"; message A {{}}");
    let (a, b) = (text("b"), text("a"));
    let references = [Referenced { name: "a", text: &a }, Referenced { name: "b", text: &b }];
    let why = ProtobufSchema::compile(&text("a"), &references).unwrap_err();
    assert!(matches!(&why, SchemaError::Malformed { why, .. } if why.contains("imports")), "{why}");
    let itself = text("a");
    let references = [Referenced { name: "a", text: &itself }];
    assert!(ProtobufSchema::compile(&itself, &references).is_err());
    let length = 10_000;
    let names: Vec<_> = (0..length).map(|it| format!("f{it}")).collect();
    let texts: Vec<_> = (0..length)
        .map(|it| {
            let import =
                if it + 1 < length { format!("import \"f{}\"; ", it + 1) } else { String::new() };
            format!("syntax = \"proto3\"; {import}message M{it} {{}}")
        })
        .collect();
    let references: Vec<_> =
        names.iter().zip(&texts).map(|(name, text)| Referenced { name, text }).collect();
    let schema = ProtobufSchema::compile(&text("f0"), &references).unwrap();
    assert_eq!(schema.validate("application/protobuf", &[]), Ok(()));
}

#[test]
fn lengths_that_lie_and_depth_end_soon() {
    let schema = compile(
        r#"syntax = "proto2"; message A {
            optional A a = 1; repeated int32 b = 2; optional group G = 3 { optional A a = 1; }
            map<int32, A> m = 4; optional bytes s = 5; }"#,
    );
    let check = |data: &[u8], rule: &str| {
        let problems = schema.validate("application/protobuf", data).unwrap_err();
        assert_eq!(problems[0].rule, rule, "{data:?}");
    };
    for tag in [10, 18, 34, 42] {
        for length in [&[5][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff; 10]] {
            let mut data = vec![tag];
            data.extend_from_slice(length);
            check(&data, "protobuf");
        }
    }
    check(&[27; 200_000], "unknown_field");
    // A message in a message, each with the length of what follows.
    let mut data = Vec::new();
    let levels = 150;
    for _ in 0..levels {
        let mut outer = vec![10];
        let mut length = data.len();
        while length > 0x7f {
            outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap());
        outer.extend_from_slice(&data);
        data = outer;
    }
    check(&data, "depth");
}

#[test]
fn many_required_fields_cost_no_more_than_the_payload() {
    let fields: String = (1..15_000).map(|it| format!("required bool a{it} = {it};")).collect();
    let schema = compile(&format!(
        "syntax = \"proto2\"; message A {{ repeated B b = 1; }} message B {{ {fields} }}"
    ));
    let data = [10, 0].repeat(500_000);
    assert_eq!(schema.validate("application/protobuf", &data).unwrap_err()[0].rule, "required");
}
