//! What may change from one version to the next: each change by its name, with what stands in the way.

use serde_json::{Value, json};

use super::{schema, schema_with};

/// `expected` is the rule and the pointer of what stands in the way; empty: nothing does.
fn check(what: &str, writer: &Value, reader: &Value, expected: &[(&str, &str)]) {
    let found = schema(writer).differences(&schema(reader));
    let found: Vec<_> = found.iter().map(|it| (&*it.rule, it.pointer.as_str())).collect();
    assert_eq!(found, expected, "{what}: {writer} to {reader}");
}

fn reads(what: &str, writer: Value, reader: Value) {
    check(what, &writer, &reader, &[]);
}

fn fails(what: &str, writer: Value, reader: Value, rule: &str, pointer: &str) {
    check(what, &writer, &reader, &[(rule, pointer)]);
}

/// An object with these properties, of which those are required.
fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

const DRAFT_4: &str = "http://json-schema.org/draft-04/schema#";
const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";
const DRAFT_2019: &str = "https://json-schema.org/draft/2019-09/schema";

#[test]
fn properties_come_and_go() {
    let (a, ab) = (json!({"a": {"type": "string"}}), json!({"a": {"type": "string"}, "b": {}}));
    reads("same", object(ab.clone(), &["a"]), object(ab.clone(), &["a"]));
    reads("add an optional one", object(a.clone(), &["a"]), object(ab.clone(), &["a"]));
    reads("remove an optional one", object(ab.clone(), &["a"]), object(a.clone(), &["a"]));
    reads("remove a required one", object(ab.clone(), &["a", "b"]), object(a.clone(), &["a"]));
    reads("require no more", object(ab.clone(), &["a", "b"]), object(ab.clone(), &["a"]));
    fails(
        "add a required one",
        object(a.clone(), &[]),
        object(ab.clone(), &["b"]),
        "required",
        "/required/0",
    );
    fails(
        "require",
        object(ab.clone(), &["a"]),
        object(ab.clone(), &["a", "b"]),
        "required",
        "/required/1",
    );
    let mut shut = object(a.clone(), &[]);
    shut["additionalProperties"] = json!(false);
    let pointer = "/additionalProperties";
    fails(
        "remove one, and be closed",
        object(ab.clone(), &[]),
        shut.clone(),
        "additionalProperties",
        pointer,
    );
    reads("be closed", object(a.clone(), &[]), shut.clone());
    let mut open = object(a.clone(), &[]);
    open["additionalProperties"] = json!(true);
    fails("close what was open", open.clone(), shut, "additionalProperties", pointer);
    fails(
        "name what was open",
        open,
        object(json!({"b": {"type": "null"}}), &[]),
        "type",
        "/properties/b/type",
    );
    let typed = json!({"type": "object", "additionalProperties": {"type": "integer"}});
    let wider = json!({"type": "object", "additionalProperties": {"type": "number"}});
    reads("a wider map", typed.clone(), wider.clone());
    fails("a narrower map", wider, typed, "type", "/additionalProperties/type");
}

#[test]
fn kinds_grow() {
    let grow = [
        ("integer to number", json!({"type": "integer"}), json!({"type": "number"})),
        ("one to many", json!({"type": "string"}), json!({"type": ["string", "null"]})),
        (
            "one to any of",
            json!({"type": "string"}),
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ),
        (
            "many to any of",
            json!({"type": ["string", "null"]}),
            json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
        ),
        (
            "any of to many",
            json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
            json!({"type": ["string", "null"]}),
        ),
        (
            "one of to any of",
            json!({"oneOf": [{"type": "null"}, {"type": "string"}]}),
            json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
        ),
        (
            "many to one of",
            json!({"type": ["string", "null"]}),
            json!({"oneOf": [{"type": "null"}, {"type": "string"}]}),
        ),
        ("nothing follows", json!(false), json!({"type": "string"})),
        ("anything", json!({"type": "string"}), json!(true)),
        ("kinds without meaning", json!({"type": "string"}), json!({"minimum": 5, "items": false})),
        (
            "numbers in branches",
            json!({"type": "number"}),
            json!({"anyOf": [{"type": "integer"}, {"type": "number"}]}),
        ),
    ];
    for (what, writer, reader) in grow {
        reads(what, object(json!({"a": writer}), &[]), object(json!({"a": reader}), &[]));
    }
}

#[test]
fn values_grow() {
    let of = |it: Value| object(json!({"a": it}), &[]);
    let grow = [
        ("enum grows", json!({"enum": ["a", "b"]}), json!({"enum": ["c", "b", "a"]})),
        ("const to enum", json!({"const": "a"}), json!({"enum": ["a", "b"]})),
        ("enum to type", json!({"enum": ["a", 1]}), json!({"type": ["string", "integer"]})),
        (
            "enum to pattern",
            json!({"enum": ["aa", "ab"]}),
            json!({"type": "string", "pattern": "^a", "maxLength": 2}),
        ),
        (
            "enum to branches",
            json!({"enum": ["a", 1]}),
            json!({"anyOf": [{"const": "a"}, {"const": 1.0}]}),
        ),
        ("boolean to enum", json!({"type": "boolean"}), json!({"enum": [true, false]})),
        ("minimum", json!({"minimum": 2}), json!({"minimum": 1.5})),
        ("minimum made exclusive", json!({"minimum": 2}), json!({"exclusiveMinimum": 1})),
        ("whole numbers", json!({"type": "integer", "exclusiveMinimum": 0}), json!({"minimum": 1})),
        ("maximum", json!({"maximum": 2}), json!({"exclusiveMaximum": 2.5})),
        ("multiples", json!({"multipleOf": 10}), json!({"multipleOf": 5})),
        ("integers are multiples", json!({"type": "integer"}), json!({"multipleOf": 1})),
        (
            "lengths",
            json!({"minLength": 2, "maxLength": 5}),
            json!({"minLength": 1, "maxLength": 6}),
        ),
        ("patterns", json!({"pattern": "^a", "type": "string"}), json!({"pattern": "^a"})),
        ("pattern dropped", json!({"pattern": "^a"}), json!({})),
        ("format", json!({"type": "string"}), json!({"type": "string", "format": "email"})),
        (
            "notes",
            json!({"type": "string", "title": "x"}),
            json!({"type": "string", "description": "y"}),
        ),
    ];
    for (what, writer, reader) in grow {
        reads(what, of(writer), of(reader));
    }
}

#[test]
fn kinds_and_values_do_not_shrink() {
    let of = |it: Value| object(json!({"a": it}), &[]);
    let shrink = [
        ("number to integer", json!({"type": "number"}), json!({"type": "integer"}), "type"),
        ("many to one", json!({"type": ["string", "null"]}), json!({"type": "string"}), "type"),
        ("another", json!({"type": "string"}), json!({"type": "integer"}), "type"),
        ("enum shrinks", json!({"enum": ["a", "b"]}), json!({"enum": ["a"]}), "enum"),
        ("string to enum", json!({"type": "string"}), json!({"enum": ["a"]}), "enum"),
        ("another const", json!({"const": "a"}), json!({"const": "b"}), "const"),
        ("minimum", json!({"minimum": 1}), json!({"minimum": 2}), "minimum"),
        ("no minimum", json!({}), json!({"minimum": 2}), "minimum"),
        ("exclusive", json!({"minimum": 1}), json!({"exclusiveMinimum": 1}), "exclusiveMinimum"),
        ("fractions", json!({"exclusiveMinimum": 0}), json!({"minimum": 1}), "minimum"),
        ("multiples", json!({"multipleOf": 5}), json!({"multipleOf": 10}), "multipleOf"),
        ("minLength", json!({"minLength": 1}), json!({"minLength": 2}), "minLength"),
        ("maxLength", json!({}), json!({"maxLength": 2}), "maxLength"),
        ("pattern", json!({"pattern": "a"}), json!({"pattern": "ab"}), "pattern"),
        (
            "no branch",
            json!({"type": "array"}),
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            "anyOf",
        ),
    ];
    for (what, writer, reader, rule) in shrink {
        let pointer = format!("/properties/a/{rule}");
        fails(what, of(writer), of(reader), rule, &pointer);
    }
    let nothing = of(json!(false));
    fails("no more", of(json!({})), nothing, "properties", "/properties/a");
    let branches = json!({"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]});
    let pointer = "/properties/a/anyOf/0/maxLength";
    fails(
        "in the branch that is meant",
        of(json!({"type": ["string", "null"]})),
        of(branches),
        "maxLength",
        pointer,
    );
}

#[test]
fn arrays_are_the_same_in_every_draft() {
    let tuple = json!({"prefixItems": [{"type": "integer"}], "items": {"type": "string"}});
    let wider = json!({"prefixItems": [{"type": "number"}], "items": {"type": ["string", "null"]}});
    reads("prefix", tuple.clone(), wider.clone());
    check("prefix", &wider, &tuple, &[("type", "/prefixItems/0/type"), ("type", "/items/type")]);
    for draft in [DRAFT_4, DRAFT_7, DRAFT_2019] {
        let old = json!({"$schema": draft, "items": [{"type": "integer"}], "additionalItems": {"type": "string"}});
        reads("older to newer", old.clone(), wider.clone());
        if draft != DRAFT_4 {
            reads("newer to older", tuple.clone(), old.clone());
        }
        fails("longer", json!({"maxItems": 1, "items": {}}), old, "type", "/items/0/type");
    }
    let pair = json!({"prefixItems": [{}, {}], "items": false});
    reads("no more than listed", pair.clone(), json!({"maxItems": 2}));
    reads("listed and typed", pair, json!({"prefixItems": [{}, {}], "items": {"type": "null"}}));
    reads("sizes", json!({"minItems": 2, "maxItems": 3}), json!({"minItems": 1, "maxItems": 4}));
    fails("unique", json!({}), json!({"uniqueItems": true}), "uniqueItems", "/uniqueItems");
    reads("no longer unique", json!({"uniqueItems": true}), json!({}));
    reads("one is unique", json!({"maxItems": 1}), json!({"uniqueItems": true}));
    reads("contains", json!({"contains": {"const": 1}}), json!({"contains": {"type": "integer"}}));
    reads("no longer contains", json!({"contains": {"const": 1}}), json!({}));
    fails("contains", json!({"items": {}}), json!({"contains": {}}), "contains", "/contains");
    let counted = json!({"contains": {}, "minContains": 2, "maxContains": 3});
    reads("counted", counted.clone(), counted.clone());
    reads("fewer", counted, json!({"contains": {}, "minContains": 1, "maxContains": 5}));
    reads(
        "exact integers",
        json!({"$schema": DRAFT_4, "type": "integer"}),
        json!({"type": "integer"}),
    );
    let exact = json!({"$schema": DRAFT_4, "type": "integer"});
    fails("1.0 is none", json!({"type": "integer"}), exact.clone(), "type", "/type");
    fails("1.0 is none", json!({"enum": [1]}), exact, "type", "/type");
    let old = json!({"$schema": DRAFT_4, "minimum": 1, "exclusiveMinimum": true});
    reads("exclusive in draft 4", old.clone(), json!({"exclusiveMinimum": 1}));
    reads("exclusive in draft 4", json!({"exclusiveMinimum": 1}), old);
}

#[test]
fn objects_in_all_their_forms() {
    let map = |value: Value| json!({"patternProperties": {"^x-": value}});
    reads("patterns", map(json!({"type": "integer"})), map(json!({"type": "number"})));
    fails(
        "patterns",
        map(json!({})),
        map(json!({"type": "number"})),
        "type",
        "/patternProperties/^x-/type",
    );
    let named = object(json!({"x-a": {"type": "integer"}}), &[]);
    reads("names with a pattern", named.clone(), map(json!({"type": "integer"})));
    fails(
        "names with a pattern",
        named.clone(),
        map(json!({"type": "string"})),
        "type",
        "/patternProperties/^x-/type",
    );
    reads(
        "a pattern to any",
        map(json!({"type": "null"})),
        json!({"additionalProperties": {"type": "null"}}),
    );
    reads("names", named.clone(), json!({"propertyNames": {"maxLength": 3}}));
    fails(
        "names",
        named,
        json!({"propertyNames": {"maxLength": 2}}),
        "propertyNames",
        "/propertyNames",
    );
    let names = |max: u32| json!({"propertyNames": {"maxLength": max}});
    reads("longer names", names(3), names(4));
    fails("shorter names", names(4), names(3), "propertyNames", "/propertyNames");
    let needs = json!({"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}});
    reads("needs", needs.clone(), needs.clone());
    reads("needs no more", needs.clone(), object(json!({"a": {}}), &[]));
    fails(
        "needs",
        object(json!({"a": {}, "b": {}}), &[]),
        needs.clone(),
        "dependentRequired",
        "/dependentRequired",
    );
    reads("never there", object(json!({"b": {}}), &[]), needs.clone());
    reads("always there", object(json!({"a": {}, "b": {}}), &["b"]), needs.clone());
    let old = json!({"$schema": DRAFT_7, "type": "object", "properties": {"a": {}, "b": {}}, "dependencies": {"a": ["b"]}});
    reads("needs in draft 7", old.clone(), needs.clone());
    fails("needs in draft 7", object(json!({"a": {}}), &[]), old, "dependencies", "/dependencies");
    reads("sizes", json!({"minProperties": 2}), json!({"minProperties": 1}));
    reads("required are there", object(json!({"a": {}}), &["a"]), json!({"minProperties": 1}));
    reads("no more than named", object(json!({"a": {}}), &[]), json!({"maxProperties": 1}));
    fails(
        "more than named",
        object(json!({"a": {}, "b": {}}), &[]),
        json!({"maxProperties": 1}),
        "maxProperties",
        "/maxProperties",
    );
}

fn kind(name: &str, extra: Value) -> Value {
    object(json!({"kind": {"const": name}, "value": extra}), &["kind"])
}

#[test]
fn alternatives_come_and_go() {
    let string = || json!({"type": "string"});
    for keyword in ["anyOf", "oneOf"] {
        let two = json!({keyword: [kind("a", string()), kind("b", json!({"type": "null"}))]});
        let three = json!({keyword: [kind("c", json!({})), kind("b", json!({"type": "null"})), kind("a", string())]});
        reads("another alternative", two.clone(), three.clone());
        reads("the same", two.clone(), two.clone());
        reads("one of them", kind("a", string()), two.clone());
        fails("one fewer", three, two.clone(), keyword, &format!("/{keyword}"));
        let any = object(json!({"kind": {"enum": ["a", "b"]}}), &["kind"]);
        reads("alternatives to one", two, any);
    }
    let overlapping = json!({"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]});
    reads("the same", overlapping.clone(), overlapping.clone());
    let mut noted = overlapping.clone();
    noted["title"] = json!("noted");
    reads("the same but for a note", overlapping.clone(), noted);
    fails("overlapping", object(json!({"a": {}}), &[]), overlapping, "oneOf", "/oneOf");
    let all = json!({"allOf": [object(json!({"a": {"type": "integer"}}), &["a"]), object(json!({"b": {}}), &["b"])]});
    reads("all of", all.clone(), object(json!({"a": {"type": "number"}}), &["a", "b"]));
    reads("all of", object(json!({"a": {"type": "integer"}, "b": {}}), &["b", "a"]), all.clone());
    fails("all of", object(json!({"b": {}}), &["b"]), all, "required", "/allOf/0/required/0");
    reads("not", json!({"type": "string"}), json!({"not": {"type": "null"}}));
    reads("not", json!({"not": {"const": 1}}), json!({"not": {"const": 1}}));
    fails("not", json!({}), json!({"not": {"type": "null"}}), "not", "/not");
    let condition = json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}});
    reads("the same condition", condition.clone(), condition.clone());
    reads("held anyway", object(json!({"b": {}}), &["b"]), condition.clone());
    fails("a condition", json!({}), condition, "if", "/if");
    let unevaluated = json!({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": false});
    reads("the same", unevaluated.clone(), unevaluated.clone());
    fails("unevaluated", json!({}), unevaluated, "unevaluatedProperties", "/unevaluatedProperties");
}

#[test]
fn references_are_followed() {
    let tree = |value: Value| json!({"$ref": "#/$defs/n", "$defs": {"n": object(json!({"v": value, "next": {"$ref": "#/$defs/n"}}), &["v"])}});
    reads("a tree", tree(json!({"type": "integer"})), tree(json!({"type": "number"})));
    let pointer = "/$defs/n/properties/v/type";
    fails(
        "a tree",
        tree(json!({"type": "number"})),
        tree(json!({"type": "integer"})),
        "type",
        pointer,
    );
    let flat =
        json!({"properties": {"v": {}, "next": {"properties": {"v": {}, "next": {"$ref": "#"}}}}});
    reads("unrolled", tree(json!({})), flat.clone());
    let older = json!({"$schema": DRAFT_7, "type": "object", "definitions": {"v": {"type": "integer"}}, "properties": {"a": {"$ref": "#/definitions/v", "type": "null"}}});
    reads("beside a reference", older, object(json!({"a": {"type": "integer"}}), &[]));
    let either = json!({"properties": {"a": {"anyOf": [{"$ref": "#/$defs/v"}, {"type": "null"}]}}, "$defs": {"v": object(json!({"x": {}}), &[])}});
    reads("or null", object(json!({"a": object(json!({"x": {}}), &[])}), &[]), either.clone());
    let mut stricter = either.clone();
    stricter["$defs"]["v"] = object(json!({"x": {}}), &["x"]);
    fails("or null", either, stricter, "required", "/$defs/v/required/0");
    let order = json!({"properties": {"to": {"$ref": "address.json"}}});
    let with = |address: Value| schema_with(&order, &[("address.json", address)]).unwrap();
    let (wide, narrow) =
        (with(object(json!({"s": {}}), &[])), with(object(json!({"s": {}}), &["s"])));
    assert_eq!(narrow.differences(&wide), []);
    let found = wide.differences(&narrow);
    assert_eq!((&*found[0].rule, &*found[0].pointer), ("required", "address.json#/required/0"));
    let meta =
        json!({"properties": {"a": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}});
    let mut more = meta.clone();
    more["properties"]["b"] = json!({});
    reads("a meta-schema", meta, more);
}

/// While a pair is looked at it is taken for proven. Here `Q` is proven within `A`, which then fails, and is asked for again
/// by `B`.
#[test]
fn what_rests_on_what_failed_is_forgotten() {
    let writer = json!({"properties": {"bad": {"type": "string"}, "x": {"properties": {"back": {"$ref": "#"}}}}});
    let back = |bad: &str| {
        json!({
            "$defs": {
                "A": {"properties": {"bad": {"type": bad}, "x": {"$ref": "#/$defs/Q"}}},
                "B": {"properties": {"x": {"$ref": "#/$defs/Q"}}},
                "Q": {"properties": {"back": {"$ref": "#/$defs/A"}}},
            },
            "type": ["object", "array", "string", "number", "boolean", "null"],
            "anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}],
        })
    };
    reads("back", writer.clone(), back("string"));
    let (writer, reader) = (schema(&writer), schema(&back("integer")));
    let payload = json!({"x": {"back": {"bad": "s"}}});
    assert!(super::follows(&writer, &payload) && !reader.reads(&payload));
    assert_ne!(writer.differences(&reader), []);
}

#[test]
fn sizes_are_compared_to_the_one() {
    for (least, most) in
        [("minItems", "maxItems"), ("minProperties", "maxProperties"), ("minLength", "maxLength")]
    {
        for (held, asked) in [(2, 1), (2, 2)] {
            reads(least, json!({least: held}), json!({least: asked}));
            reads(most, json!({most: asked}), json!({most: held}));
        }
        fails(least, json!({least: 1}), json!({least: 2}), least, &format!("/{least}"));
        fails(most, json!({most: 2}), json!({most: 1}), most, &format!("/{most}"));
        fails(most, json!({}), json!({most: 1}), most, &format!("/{most}"));
    }
    let of = |most: usize| json!({"prefixItems": vec![json!({}); most], "items": false});
    reads("listed", of(2), json!({"maxItems": 2}));
    fails("listed", of(3), json!({"maxItems": 2}), "maxItems", "/maxItems");
    let named = |names: &[&str]| {
        let names: Value = names.iter().map(|it| ((*it).to_owned(), json!({}))).collect();
        object(names, &[])
    };
    reads("named", named(&["a", "b"]), json!({"maxProperties": 2}));
    fails(
        "named",
        named(&["a", "b", "c"]),
        json!({"maxProperties": 2}),
        "maxProperties",
        "/maxProperties",
    );
}

#[test]
fn what_is_told_is_bounded() {
    let many: Vec<_> = (0..100).map(|it| format!("p{it}")).collect();
    let names: Vec<&str> = many.iter().map(String::as_str).collect();
    let found = schema(&json!({"type": "object"})).differences(&schema(&object(json!({}), &names)));
    assert_eq!(found.len(), 16);
    let values: Vec<_> = (0..10_000).map(|it| json!(it)).collect();
    let found = schema(&json!({"type": "string"})).differences(&schema(&json!({"enum": values})));
    let told = found.iter().find(|it| it.rule == "enum").unwrap();
    assert!(told.reader.as_ref().unwrap().to_string().len() < 2_000);
}
