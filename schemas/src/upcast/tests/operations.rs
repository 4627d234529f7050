//! What each operation does.

use super::{applied, chain, check, texts, transform};

#[test]
fn rename_keeps_the_place() {
    check(
        r#"{"op":"rename","path":"/a","to":"b"}"#,
        &[
            (r#"{"x":1, "a": 1.50,"y":2}"#, r#"{"x":1,"b":1.50,"y":2}"#),
            // What stood there goes, also when nothing takes its place.
            (r#"{"b":1,"a":2}"#, r#"{"b":2}"#),
            (r#"{"b":1}"#, "{}"),
            (r#"{"a":{ "b" : 1 }}"#, r#"{"b":{ "b" : 1 }}"#),
            (r#"{"\u0061":1}"#, r#"{"b":1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"b":2}"#),
            ("[1, 2]", "[1, 2]"),
            (" 5 ", "5"),
            ("null", "null"),
        ],
    );
    check(
        r#"{"op":"rename","path":"/o/a~1b","to":"c\"d"}"#,
        &[
            (r#"{"o":{"a/b":1,"z":[1, 2]},"p":{ }}"#, r#"{"o":{"c\"d":1,"z":[1, 2]},"p":{ }}"#),
            (r#"{"o":[{"a/b":1}]}"#, r#"{"o":[{"a/b":1}]}"#),
            (r#"{"a/b":1}"#, r#"{"a/b":1}"#),
        ],
    );
}

#[test]
fn move_makes_parents_and_prunes() {
    check(
        r#"{"op":"move","from":"/a/b","to":"/c/d"}"#,
        &[
            (r#"{"a":{"b":1,"x":2},"y":3}"#, r#"{"a":{"x":2},"y":3,"c":{"d":1}}"#),
            (r#"{"c":{"d":0,"e":1},"a":{"b":1}}"#, r#"{"c":{"d":1,"e":1},"a":{}}"#),
            (r#"{"a":{"b":1},"c":5}"#, r#"{"a":{},"c":{"d":1}}"#),
            // What stood at `to` goes in any case, and no parent is made for nothing.
            (r#"{"a":{},"c":{"d":1}}"#, r#"{"a":{},"c":{}}"#),
            (r#"{"a":5,"c":6}"#, r#"{"a":5,"c":6}"#),
            ("[]", "[]"),
        ],
    );
    check(
        r#"{"op":"move","from":"/a/b/c","to":"/d","prune":true}"#,
        &[
            (r#"{"a":{"b":{"c":1}}}"#, r#"{"d":1}"#),
            (r#"{"a":{"b":{"c":1},"x":2}}"#, r#"{"a":{"x":2},"d":1}"#),
            // An empty parent means the same as none.
            (r#"{"a":{"b":{}},"d":2}"#, "{}"),
        ],
    );
    // Beside it, it keeps its place.
    check(
        r#"{"op":"move","from":"/a","to":"/b"}"#,
        &[(r#"{"a":1,"x":2,"b":3}"#, r#"{"b":1,"x":2}"#), (r#"{"x":2,"b":3}"#, r#"{"x":2}"#)],
    );
}

#[test]
fn default_is_set_where_nothing_stands() {
    check(
        r#"{"op":"default","path":"/a","value":{"z": 1.50, "b": []}}"#,
        &[
            ("{}", r#"{"a":{"z":1.50,"b":[]}}"#),
            (r#"{"a":null}"#, r#"{"a":null}"#),
            (r#"{"a":false,"b":1}"#, r#"{"a":false,"b":1}"#),
            ("7", "7"),
        ],
    );
    check(
        r#"{"op":"default","path":"/a/b/c","value":12345678901234567890123}"#,
        &[
            ("{}", r#"{"a":{"b":{"c":12345678901234567890123}}}"#),
            (r#"{"a":{}}"#, r#"{"a":{"b":{"c":12345678901234567890123}}}"#),
            // Nothing is taken away for it.
            (r#"{"a":null}"#, r#"{"a":null}"#),
            (r#"{"a":{"b":[]}}"#, r#"{"a":{"b":[]}}"#),
        ],
    );
}

#[test]
fn drop_takes_out() {
    check(
        r#"{"op":"drop","path":"/a/b"}"#,
        &[
            (r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"c":2}}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":{}}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ],
    );
    check(
        r#"{"op":"drop","path":"/a/b","value":{"x":1,"y":[2]},"prune":true}"#,
        &[
            (r#"{"a":{"b":{ "y":[2.0], "x":10e-1 }}}"#, "{}"),
            (r#"{"a":{"b":{"x":1}},"z":1}"#, r#"{"z":1}"#),
            (r#"{"a":{"b":{"x":2}}}"#, r#"{"a":{"b":{"x":2}}}"#),
            (r#"{"a":{"b":{"x":1,"q":1}}}"#, r#"{"a":{"b":{"x":1,"q":1}}}"#),
            (r#"{"a":{}}"#, "{}"),
        ],
    );
}

#[test]
fn cast_to_integer_and_number_is_exact() {
    check(
        r#"{"op":"cast","path":"/a","to":"integer"}"#,
        &[
            (r#"{"a":"42"}"#, r#"{"a":42}"#),
            (r#"{"a":"-007"}"#, r#"{"a":-7}"#),
            (r#"{"a":"+12345678901234567890123"}"#, r#"{"a":12345678901234567890123}"#),
            (r#"{"a":3.0}"#, r#"{"a":3}"#),
            (r#"{"a":1.2e3}"#, r#"{"a":1200}"#),
            (r#"{"a":3.5}"#, r#"{"a":3.5}"#),
            (r#"{"a":"x"}"#, r#"{"a":"x"}"#),
            (r#"{"a":""}"#, r#"{"a":""}"#),
            (r#"{"a":"1.5"}"#, r#"{"a":"1.5"}"#),
            (r#"{"a":["4"]}"#, r#"{"a":4}"#),
            (r#"{"a":[ 4, 5 ]}"#, r#"{"a":[ 4, 5 ]}"#),
            (r#"{"a":[[ 4 ]]}"#, r#"{"a":[[ 4 ]]}"#),
            (r#"{"a":1e999999}"#, r#"{"a":1e999999}"#),
            (r#"{"a":true}"#, r#"{"a":true}"#),
            (r#"{"a":null}"#, r#"{"a":null}"#),
            (r#"{"a":"\ud800"}"#, r#"{"a":"\ud800"}"#),
            ("{}", "{}"),
        ],
    );
    check(
        r#"{"op":"cast","path":"/a","to":"number"}"#,
        &[
            (r#"{"a":"1.50"}"#, r#"{"a":1.50}"#),
            (r#"{"a":"+01.50e+3"}"#, r#"{"a":1.50e+3}"#),
            (r#"{"a":"-000"}"#, r#"{"a":-0}"#),
            (r#"{"a":"00.5"}"#, r#"{"a":0.5}"#),
            (r#"{"a":"0e1"}"#, r#"{"a":0e1}"#),
            (r#"{"a":1.50}"#, r#"{"a":1.50}"#),
            (r#"{"a":".5"}"#, r#"{"a":".5"}"#),
            (r#"{"a":"5."}"#, r#"{"a":"5."}"#),
            (r#"{"a":"NaN"}"#, r#"{"a":"NaN"}"#),
        ],
    );
}

#[test]
fn cast_to_string_boolean_and_array() {
    check(
        r#"{"op":"cast","path":"/a","to":"string"}"#,
        &[
            (r#"{"a":1.50}"#, r#"{"a":"1.50"}"#),
            (r#"{"a":true}"#, r#"{"a":"true"}"#),
            (r#"{"a":["\u0041"]}"#, r#"{"a":"\u0041"}"#),
            (r#"{"a":[7]}"#, r#"{"a":"7"}"#),
            (r#"{"a":[]}"#, r#"{"a":[]}"#),
            (r#"{"a":{ }}"#, r#"{"a":{ }}"#),
            (r#"{"a":null}"#, r#"{"a":null}"#),
        ],
    );
    check(
        r#"{"op":"cast","path":"/a","to":"boolean","or":null}"#,
        &[
            (r#"{"a":"true"}"#, r#"{"a":true}"#),
            (r#"{"a":"\u0066alse"}"#, r#"{"a":false}"#),
            (r#"{"a":false}"#, r#"{"a":false}"#),
            (r#"{"a":"True"}"#, r#"{"a":null}"#),
            (r#"{"a":1}"#, r#"{"a":null}"#),
            ("{}", "{}"),
        ],
    );
    check(
        r#"{"op":"cast","path":"/a","to":"array"}"#,
        &[
            (r#"{"a":{ "x":1 }}"#, r#"{"a":[{ "x":1 }]}"#),
            (r#"{"a":null}"#, r#"{"a":[null]}"#),
            (r#"{"a":[ 1 ]}"#, r#"{"a":[ 1 ]}"#),
        ],
    );
    check(
        r#"{"op":"cast","path":"/a","from":"string","to":"integer","or":0}"#,
        &[
            (r#"{"a":"5"}"#, r#"{"a":5}"#),
            (r#"{"a":7}"#, r#"{"a":7}"#),
            (r#"{"a":["5"]}"#, r#"{"a":0}"#),
            (r#"{"a":true}"#, r#"{"a":0}"#),
        ],
    );
}

#[test]
fn map_compares_values() {
    check(
        r#"{"op":"map","path":"/a","values":[["old","new"],[1,{"b": 1}],[null,0],[[1,2],"pair"]]}"#,
        &[
            (r#"{"a":"old"}"#, r#"{"a":"new"}"#),
            (r#"{"a":"\u006fld"}"#, r#"{"a":"new"}"#),
            (r#"{"a":1.0}"#, r#"{"a":{"b":1}}"#),
            (r#"{"a":null}"#, r#"{"a":0}"#),
            (r#"{"a":[1, 2]}"#, r#"{"a":"pair"}"#),
            (r#"{"a":"1"}"#, r#"{"a":"1"}"#),
            ("{}", "{}"),
        ],
    );
    check(
        r#"{"op":"map","path":"/a","values":[[true,"yes"]],"or":"no"}"#,
        &[(r#"{"a":true}"#, r#"{"a":"yes"}"#), (r#"{"a":[]}"#, r#"{"a":"no"}"#), ("{}", "{}")],
    );
}

#[test]
fn split_and_join() {
    check(
        r#"{"op":"split","path":"/name","by":" ","to":["/first","/x/last"]}"#,
        &[
            (r#"{"name":"Ada King Lovelace"}"#, r#"{"first":"Ada","x":{"last":"King Lovelace"}}"#),
            (r#"{"name":"Ada","x":{"last":1}}"#, r#"{"x":{},"first":"Ada"}"#),
            (r#"{"name":""}"#, r#"{"first":""}"#),
            (r#"{"name":5,"first":1}"#, r#"{"name":5}"#),
            (r#"{"first":1}"#, "{}"),
        ],
    );
    check(
        r#"{"op":"split","path":"/name","by":" ","to":["/name/first","/name/last"]}"#,
        &[
            (r#"{"name":"Ada L","z":1}"#, r#"{"z":1,"name":{"first":"Ada","last":"L"}}"#),
            (r#"{"name":{"first":1,"q":2}}"#, r#"{"name":{"q":2}}"#),
        ],
    );
    check(
        r#"{"op":"join","from":["/a","/b","/c"],"by":"-","to":"/d"}"#,
        &[
            (r#"{"a":"x\n","b":1.50,"c":true}"#, r#"{"d":"x\n-1.50-true"}"#),
            (r#"{"d":0,"c":"z"}"#, r#"{"d":"z"}"#),
            (r#"{"d":0,"e":1}"#, r#"{"e":1}"#),
            (r#"{"d":0,"a":"x","b":null}"#, r#"{"a":"x","b":null}"#),
            (r#"{"a":"x","b":[1]}"#, r#"{"a":"x","b":[1]}"#),
        ],
    );
    check(
        r#"{"op":"join","from":["/n/a","/n/b"],"by":"","to":"/n"}"#,
        &[
            (r#"{"n":{"a":"x","b":"y"},"z":1}"#, r#"{"n":"xy","z":1}"#),
            (r#"{"n":{"a":"x","b":null}}"#, r#"{"n":{"a":"x","b":null}}"#),
            (r#"{"n":{"q":1}}"#, "{}"),
        ],
    );
}

#[test]
fn compute_sets_or_clears() {
    let computed = |expression: &str, expected: &str| {
        let operation = format!(r#"{{"op":"compute","path":"/r","value":{expression}}}"#);
        let given = r#"{"r":0,"i":7,"j":2,"f":1.50,"s":"Ärger 𝄞","o":{"x":{ }},"l":[1,[2]],"n":null,"big":12345678901234567890}"#;
        let without = given.replace(r#""r":0,"#, "");
        let all = texts(&format!("[{operation}]"), given);
        let expected = match expected {
            "" => without,
            some => given.replace(r#""r":0"#, &format!("\"r\":{some}")),
        };
        assert_eq!(all, [expected], "{expression}");
    };
    for (expression, expected) in [
        (r#"{"path":"/o"}"#, r#"{"x":{ }}"#),
        (r#"{"path":"/n"}"#, "null"),
        (r#"{"path":"/l/0"}"#, ""),
        (r#"{"value":[1.50, 2]}"#, "[1.50,2]"),
        (r#"{"add":[{"path":"/i"},{"path":"/j"},{"value":-10}]}"#, "-1"),
        (r#"{"add":[{"path":"/i"},{"path":"/f"}]}"#, "8.5"),
        (r#"{"add":[{"path":"/i"},{"path":"/s"}]}"#, ""),
        (r#"{"add":[{"path":"/big"},{"value":1}]}"#, ""),
        (r#"{"add":[{"value":9223372036854775807},{"value":1}]}"#, ""),
        (r#"{"subtract":[{"path":"/i"},{"value":0.5},{"value":1}]}"#, "5.5"),
        (r#"{"multiply":[{"path":"/i"},{"path":"/j"}]}"#, "14"),
        (r#"{"multiply":[{"value":1e300},{"value":1e300}]}"#, ""),
        (r#"{"divide":[{"value":8},{"path":"/j"}]}"#, "4"),
        (r#"{"divide":[{"path":"/i"},{"path":"/j"}]}"#, "3.5"),
        (r#"{"divide":[{"path":"/i"},{"value":0}]}"#, ""),
        (r#"{"divide":[{"path":"/f"},{"value":0.0}]}"#, ""),
        (r#"{"divide":[{"value":-9223372036854775808},{"value":-1}]}"#, ""),
        (
            r#"{"concat":[{"path":"/s"},{"value":"\n"},{"path":"/f"},{"value":true}]}"#,
            r#""Ärger 𝄞\n1.50true""#,
        ),
        (r#"{"concat":[{"path":"/s"},{"path":"/n"}]}"#, ""),
        (r#"{"length":{"path":"/s"}}"#, "7"),
        (r#"{"length":{"path":"/l"}}"#, "2"),
        (r#"{"length":{"path":"/o"}}"#, "1"),
        (r#"{"length":{"path":"/i"}}"#, ""),
        (r#"{"lower":{"path":"/s"}}"#, r#""ärger 𝄞""#),
        (r#"{"upper":{"path":"/s"}}"#, r#""ÄRGER 𝄞""#),
        (r#"{"upper":{"path":"/i"}}"#, ""),
        (r#"{"first_of":[{"path":"/no"},{"path":"/n"},{"path":"/i"}]}"#, "null"),
        (r#"{"first_of":[{"path":"/no"}]}"#, ""),
        (r#"{"equal":[{"path":"/f"},{"value":15e-1}]}"#, "true"),
        (r#"{"equal":[{"path":"/o"},{"value":{"x":{}}}]}"#, "true"),
        (r#"{"equal":[{"path":"/i"},{"value":"7"}]}"#, "false"),
        (r#"{"equal":[{"path":"/no"},{"value":null}]}"#, ""),
        (r#"{"if":[{"equal":[{"path":"/i"},{"value":7}]},{"value":"a"},{"value":"b"}]}"#, r#""a""#),
        (r#"{"if":[{"path":"/i"},{"value":"a"},{"value":"b"}]}"#, r#""b""#),
        (r#"{"if":[{"path":"/no"},{"value":"a"},{"path":"/no"}]}"#, ""),
    ] {
        computed(expression, expected);
    }
    check(
        r#"{"op":"compute","path":"/a/b","value":{"path":"/a"}}"#,
        &[
            (r#"{"a":{"x":1}}"#, r#"{"a":{"x":1,"b":{"x":1}}}"#),
            (r#"{"a":5}"#, r#"{"a":{"b":5}}"#),
            ("{}", "{}"),
        ],
    );
}

#[test]
fn retype_and_fan_out() {
    let told = |operations: &str, data: &str| -> Vec<(String, String)> {
        let all = applied(&transform(operations), data).unwrap();
        let texts = all.into_iter().map(|it| (it.event_type, String::from_utf8(it.data).unwrap()));
        texts.collect()
    };
    let pair = |event_type: &str, data: &str| (event_type.to_owned(), data.to_owned());
    let retype = r#"[{"op":"retype","from":"A","to":"B"},{"op":"retype","from":"B","to":"C"}]"#;
    assert_eq!(told(retype, "[ 1 ]"), [pair("C", "[ 1 ]")]);
    assert_eq!(told(r#"[{"op":"retype","from":"B","to":"C"}]"#, "1"), [pair("A", "1")]);

    let fan = r#"[{"op":"fan_out","path":"/o/items","as":"/item"},{"op":"retype","from":"A","to":"B"},
        {"op":"drop","path":"/item/x"}]"#;
    let given = r#"{"o":{"items":[{ "x":1,"y":2 }, 5,[ ]],"z":3},"id":1.50}"#;
    let expected = [
        pair("B", r#"{"o":{"z":3},"id":1.50,"item":{"y":2}}"#),
        pair("B", r#"{"o":{"z":3},"id":1.50,"item":5}"#),
        pair("B", r#"{"o":{"z":3},"id":1.50,"item":[ ]}"#),
    ];
    assert_eq!(told(fan, given), expected);
    assert_eq!(told(fan, r#"{"o":{"items":[]}}"#), []);
    assert_eq!(told(fan, r#"{"o":{"items":{}}}"#), [pair("B", r#"{"o":{"items":{}}}"#)]);
    let same = r#"[{"op":"fan_out","path":"/items","as":"/items"}]"#;
    let expected = [pair("A", r#"{"a":1,"items":1}"#), pair("A", r#"{"a":1,"items":2}"#)];
    assert_eq!(told(same, r#"{"items":[1,2],"a":1}"#), expected);
}

#[test]
fn each_works_on_elements_that_are_objects() {
    check(
        r#"{"op":"each","path":"/o/l","do":[{"op":"rename","path":"/a","to":"b"},
            {"op":"each","path":"/m","do":[{"op":"default","path":"/c","value":0}]}]}"#,
        &[
            (
                r#"{"o":{"l":[{"a": 1},[ {"a":1} ],5, {"m":[{ },{"c":null}]}]}}"#,
                r#"{"o":{"l":[{"b":1},[ {"a":1} ],5,{"m":[{"c":0},{"c":null}]}]}}"#,
            ),
            (r#"{"o":{"l":{"a":1}}}"#, r#"{"o":{"l":{"a":1}}}"#),
            (r#"{"o":{"l":[ ]}}"#, r#"{"o":{"l":[]}}"#),
            ("{}", "{}"),
        ],
    );
}

#[test]
fn chains_work_on_one_tree() {
    let chain = chain(&[
        r#"[{"op":"rename","path":"/a","to":"b"}]"#,
        "[]",
        r#"[{"op":"fan_out","path":"/items","as":"/item"}]"#,
        r#"[{"op":"move","from":"/item/n","to":"/n"}]"#,
        r#"[{"op":"fan_out","path":"/item/parts","as":"/part"}]"#,
    ]);
    let given = br#"{"a":1e0,"items":[{"n":1,"parts":["x","y"]},{"n":2},{"parts":[]}]}"#;
    let all = chain.apply("A", given).unwrap();
    let texts: Vec<_> = all.iter().map(|it| std::str::from_utf8(&it.data).unwrap()).collect();
    let expected = [
        r#"{"b":1e0,"item":{},"n":1,"part":"x"}"#,
        r#"{"b":1e0,"item":{},"n":1,"part":"y"}"#,
        r#"{"b":1e0,"item":{},"n":2}"#,
    ];
    assert_eq!(texts, expected);
}
