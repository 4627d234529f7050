//! Objects, exported events, and every way in which a line can be bad.

use super::*;

fn mapping(stream: &str, tags: &[&str]) -> Mapping {
    Mapping {
        stream: Template::parse("--stream", stream).unwrap(),
        event_type: Template::parse("--type", "{kind}").unwrap(),
        occurred_at: Some(Template::parse("--occurred-at", "{at}").unwrap()),
        tags: tags.iter().map(|t| Template::parse_tag("--tag", t).unwrap()).collect(),
    }
}

fn rows_of(input: &[u8], mapping: &Mapping) -> Vec<Result<Row, BadRow>> {
    FieldRows::new(input, mapping.clone(), 1024 * 1024).collect()
}

const AT: &str = r#""at":"2026-01-02T03:04:05Z""#;

#[test]
fn fields_fill_templates_and_the_line_is_the_data() {
    let mapping = mapping("user-{user.id}", &["org:{org}", "n:{n}"]);
    let line = format!(r#"{{"user": {{"id": 7}}, "kind":"Seen",{AT}, "n":null,"a.b":1.50}}"#);
    let input = format!("\u{feff}\n  {line} \r\n\n{line}");
    let rows: Vec<_> = rows_of(input.as_bytes(), &mapping).into_iter().collect();
    let [Ok(first), Ok(second)] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((first.line, second.line), (2, 4));
    assert_eq!(first.stream, "user-7");
    assert_eq!(first.event.event_type, "Seen");
    assert_eq!(first.event.data, line.as_bytes());
    assert!(first.event.tags.is_empty(), "what is missing or null leaves the tag out");
    let mut ids = RowIds::default();
    assert_eq!(first.id, ids.next("user-7", format!("  {line} ").as_bytes()));
    assert_eq!(second.id, ids.next("user-7", line.as_bytes()));
}

#[test]
fn numbers_stand_as_they_are_written() {
    let mapping = mapping("user-{user.id}", &["n:{n}"]);
    for number in ["12345678901234567890123", "9007199254740993", "-0", "1.50", "1E400", "true"] {
        let line = format!(r#"{{"user": {{"id": {number} }},"kind":"Seen",{AT}, "n": {number}}}"#);
        let rows = rows_of(line.as_bytes(), &mapping);
        let [Ok(row)] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(row.stream, format!("user-{number}"));
        assert_eq!(row.event.tags, [format!("n:{number}")]);
        assert_eq!(row.event.data, line.as_bytes());
    }
}

#[test]
fn half_of_a_line_end_at_the_end_of_the_input_is_not_part_of_the_row() {
    let mapping = mapping("user-{id}", &[]);
    let line = format!(r#"{{"id":7,"kind":"Seen",{AT}}}"#);
    let ids = |end: &str| {
        let rows = rows_of(format!("{line}{end}").as_bytes(), &mapping);
        rows.into_iter().map(|row| row.unwrap().id).collect::<Vec<_>>()
    };
    let whole = ids("\r\n");
    assert_eq!(whole.len(), 1);
    for end in ["", "\r", "\n", "\r\n\r"] {
        assert_eq!(ids(end), whole, "{end:?}");
    }
}

#[test]
fn a_name_with_dots_is_a_field_first_and_a_path_then() {
    let object: Object<'_> =
        serde_json::from_str(r#"{"a.b":1,"a":{"b":2,"c.d":{"e":3}},"x":{"y":[1]}}"#).unwrap();
    let check = |name, expected: Option<&str>| {
        assert_eq!(field(&object, name).map(RawValue::get), expected, "{name}");
    };
    check("a.b", Some("1"));
    check("a.c.d.e", Some("3"));
    check("a.x", None);
    check("x.y.0", None);
}

#[test]
fn a_bad_line_stops_it_and_says_where() {
    let mapping = mapping("user-{user.id}", &[]);
    let check = |line: &[u8], parts: &[&str]| {
        let good = format!(r#"{{"user":{{"id":7}},"kind":"Seen",{AT}}}"#);
        let input = [good.as_bytes(), b"\n", line, b"\n", good.as_bytes()].concat();
        let mut rows = rows_of(&input, &mapping);
        let error = rows.pop().unwrap().unwrap_err().to_string();
        assert_eq!(rows.len(), 1);
        parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} in {error}"));
    };
    check(b"{\"a\": }", &["line 2, column 7: expected value: write one JSON object a line"]);
    check(b"{\"a\":1", &["line 2, column 6", "EOF"]);
    check(b"[1]", &["line 2: the line is a list: write one JSON object"]);
    check(b"{\"a\":\"\xff\"}", &["line 2, column 7", "not UTF-8"]);
    check(
        br#"{"kind":"A"}"#,
        &[
            "line 2, field \"at\": the object has no such field",
            "--occurred-at '{at}'",
            "there are: kind",
        ],
    );
    let with = |rest: &str| format!("{{{AT},\"kind\":\"A\"{rest}}}").into_bytes();
    check(&with(r#","user":1"#), &["line 2, field \"user.id\"", "there are: at, kind, user"]);
    check(&with(r#","user":{"id":{}}"#), &["field \"user.id\": it is an object", "{a.b}"]);
    check(&with(r#","user":{"id":"a\u0000"}"#), &["line 2: stream name", "control character"]);
    check(&with(r#","user":{"id":"\ud800"}"#), &["field \"user.id\"", "hex escape"]);
    check(br#"{"at":"now","kind":"A","user":{"id":1}}"#, &["field \"at\": \"now\" is not a time"]);
}

#[test]
fn a_line_that_never_ends_is_refused_in_bounded_memory() {
    let input = io::BufReader::new(io::Read::take(io::repeat(b'x'), 1 << 40));
    let error = FieldRows::new(input, mapping("a", &[]), 1).next().unwrap().unwrap_err();
    assert!(error.to_string().starts_with("line 1: the row has more than"), "{error}");
}

#[test]
fn exported_events_come_back_as_they_were() {
    let line = r#"{"stream":"order-1","revision":4,"position":9,"id":"0192d1f0-0000-7000-8000-000000000001","type":"Placed","tags":["k:v"],"recorded_at":"2026-01-02T03:04:05.000000Z","occurred_at":"2025-01-02T03:04:05.000000Z","schema":3,"content_type":"application/json","data":{"a":  1.50}}"#;
    let input = format!("{line}\n{{\"stream\":\"$meta-a\",\"type\":\"$StreamDeleted\"}}\n");
    let rows: Vec<_> = ExportedRows::new(input.as_bytes(), 1024).map(Result::unwrap).collect();
    let [event, system] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(event.stream, "order-1");
    assert_eq!(event.event.id, Some(event.id));
    assert_eq!(event.id.to_string(), "0192d1f0-0000-7000-8000-000000000001");
    assert_eq!(event.event.data, &br#"{"a":  1.50}"#[..]);
    assert_eq!(event.event.tags, ["k:v"]);
    assert_eq!(event.event.schema.get(), 3);
    assert!(!event.left_out);
    assert!(system.left_out, "only the system appends its own events");
    assert_ne!(system.id, event.id, "an event without an id gets one from its line");
}

#[test]
fn lines_that_are_no_events_say_what_to_do() {
    let check = |line: &str, parts: &[&str]| {
        let error = ExportedRows::new(line.as_bytes(), 8).next().unwrap().unwrap_err().to_string();
        parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} in {error}"));
    };
    check(
        r#"{"id":"7"}"#,
        &["line 1, column", "not an event as `nexus export`", "--stream 'order-{id}'"],
    );
    check(r#"{"stream":"","type":"T"}"#, &["line 1, field \"stream\"", "is empty"]);
    check(r#"{"stream":"a","type":"T","data_base64":"?"}"#, &["line 1: data_base64 is not base64"]);
    check(
        r#"{"stream":"a","type":"T","data":123456789}"#,
        &["line 1: data of one event", "limit of 8"],
    );
}
