//! Behaviour of the scanner, on the forms of Rust that mislead a search for braces and words.

use super::*;

fn code(text: &str) -> String {
    let source = Source::scan(text);
    assert_eq!(source.code.len(), text.len());
    assert_eq!(source.comments.len(), text.len());
    source.code
}

/// The code that is left, without the spaces.
fn dense(text: &str) -> String {
    code(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn comments_are_not_code() {
    assert_eq!(dense("a // } b\nc"), "a c");
    assert_eq!(dense("a /* } /* } */ } */ b"), "a b");
    assert_eq!(dense("a /* open"), "a");
    assert_eq!(dense("//! doc\n/// doc {\nfn f() {}"), "fn f() {}");
    assert_eq!(dense("a / b * c"), "a / b * c");
    assert_eq!(dense("/**/ a"), "a");
    assert!(Source::scan("a // why\n").comments.contains("// why"));
}

#[test]
fn strings_are_not_code() {
    assert_eq!(dense(r#"f("} // x", 1)"#), r#"f(" ", 1)"#);
    assert_eq!(dense(r#"f("a\"}\\", 1)"#), r#"f(" ", 1)"#);
    assert_eq!(dense(r#"f(b"}", c"}", "")"#), r#"f(b" ", c" ", "")"#);
    assert_eq!(dense("f(\"höher }\", 1)"), "f(\" \", 1)");
    assert_eq!(dense("f(\"open"), "f(\"");
    assert_eq!(dense("f(\"open\\"), "f(\"");
    let source = Source::scan(r#"const A: &[&str] = &["one", "two"];"#);
    let text = r#"const A: &[&str] = &["one", "two"];"#;
    let found: Vec<&str> = source.strings.iter().map(|range| &text[range.clone()]).collect();
    assert_eq!(found, ["one", "two"]);
}

#[test]
fn raw_strings_are_not_code_and_raw_identifiers_are() {
    assert_eq!(dense(r###"f(r"\", 1)"###), r#"f(r" ", 1)"#);
    assert_eq!(dense(r###"f(r#"a"}"#, 1)"###), r##"f(r#" "#, 1)"##);
    assert_eq!(dense(r###"f(br##"a"#}"##, 1)"###), r###"f(br##" "##, 1)"###);
    assert_eq!(dense("let r#type = r#fn;"), "let r#type = r#fn;");
    assert_eq!(dense(r#"for"}""#), r#"for" ""#);
    assert_eq!(dense(r####"r"" r#""# x"####), r####"r"" r#""# x"####);
}

#[test]
fn characters_are_not_code_and_lifetimes_are() {
    assert_eq!(dense("f('{', '\\'', '\\\\', b'}')"), "f(' ', ' ', ' ', b' ')");
    assert_eq!(dense("f('\\u{7f}', '\"', x)"), "f(' ', ' ', x)");
    assert_eq!(dense("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    assert_eq!(dense("'outer: loop { break 'outer; }"), "'outer: loop { break 'outer; }");
    assert_eq!(dense("f('ß', '}')"), "f(' ', ' ')");
    assert_eq!(dense("x '"), "x '");
}

#[test]
fn words_are_found_whole() {
    let count = |text: &str, word: &str| words(text, word).count();
    assert_eq!(count("unsafe unsafe_code my_unsafe unsafe{", "unsafe"), 2);
    assert_eq!(count("assert!(x) debug_assert!(x)", "assert!"), 1);
    assert_eq!(count("fs::read std::fs::read my_fs::read", "fs::"), 2);
    assert_eq!(count("fn f", "fn"), 1);
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let check = |text: &str, expected: &[(&str, usize)]| {
        let found = Source::scan(text).functions();
        let found: Vec<(&str, usize)> = found.iter().map(|f| (f.name.as_str(), f.lines)).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("fn f() {}", &[("f", 1)]);
    check("fn f(\n a: [u8; 4],\n) -> u8 {\n  1\n}\nfn g() {\n}", &[("f", 5), ("g", 2)]);
    check("trait T { fn declared(&self); fn given(&self) { } }", &[("given", 1)]);
    check("type F = fn(u8) -> u8;\nfn f() {\n \"}\"\n}", &[("f", 3)]);
    check("fn outer() {\n fn inner() {\n }\n}", &[("outer", 4), ("inner", 2)]);
    check("macro_rules! m { () => { fn } }", &[]);
    check("fn unclosed() {\n\n", &[("unclosed", 2)]);
}

#[test]
fn code_of_tests_is_known_and_left_out() {
    let check = |text: &str, expected: usize| {
        assert_eq!(Source::scan(text).lines_without_tests(), expected, "{text}");
    };
    check("a\nb\n#[cfg(test)]\nmod tests {\n fn f() {}\n}\n", 2);
    check("a\n#[cfg(test)]\nmod tests;\nb\n", 2);
    check("a\n#[cfg(all(test, loom))]\n#[path = \"x\"]\nmod tests {\n}\nb\n", 2);
    check("a\n#[cfg(test)]\nuse x::{\n a,\n};\nb\n", 2);
    check("a\n#[cfg(test)]\npub(crate) fn f(x: [u8; 2]) -> u8 {\n 1\n}\nb\n", 2);
    check("a\n#[cfg(not(test))]\nmod real {\n}\n", 4);
    check("a\n#[cfg(any(test, feature = \"testing\"))]\nmod fake {\n}\n", 4);
    check("struct S {\n #[cfg(test)]\n seen: u8,\n kept: u8,\n}\n", 3);
    check("#![cfg(test)]\nfn f() {}\n", 0);
    check("// #[cfg(test)]\nmod tests {\n}\n", 3);
    check("", 1);
}

#[test]
fn an_offset_is_known_to_be_test_code() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}\n";
    let source = Source::scan(text);
    let tested: Vec<bool> = source.functions().iter().map(|f| source.is_test(f.offset)).collect();
    assert_eq!(tested, [false, true, false]);
    assert_eq!(source.line_of(0), 1);
    assert_eq!(source.line_of(text.find("fn c").unwrap()), 4);
}
