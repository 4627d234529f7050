//! `nexus policy` on a directory of rules: their tests, what is found in them, and what they say of an input.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::nexus::{Folder, Ran, bare, finish};

const READ: &str = "package nexus.read\n\n\
    default decision := {\"allow\": false, \"reasons\": [{\"code\": \"role_missing\", \"msg\": \"it needs a role\"}]}\n\n\
    decision := {\"allow\": true, \"obligations\": {\"tags_all\": [\"tenant:a\"]}} if {\n\
    \tsome role in input.subject.roles\n\trole in data.readers\n}\n";

const TESTS: &str = "package nexus.read_test\n\nimport data.nexus.read\n\n\
    test_readers_read if read.decision.allow with input as {\"subject\": {\"roles\": [\"reader\"]}}\n\n\
    test_others_do_not if not read.decision.allow with input as {\"subject\": {\"roles\": [\"monitor\"]}}\n";

/// A bundle that is fine, in the folder `policy`.
fn bundle() -> (Folder, String) {
    let folder = Folder::new();
    write(&folder, "nexus/read.rego", READ);
    write(&folder, "nexus/read_test.rego", TESTS);
    write(&folder, "data.json", "{\"readers\": [\"reader\", \"admin\"]}");
    write(&folder, "README.md", "No part of it.");
    let dir = folder.path("policy").to_str().unwrap().to_owned();
    (folder, dir)
}

fn write(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let path = folder.path("policy").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn policy(args: &[&str]) -> Ran {
    finish(bare().arg("policy").args(args), b"")
}

/// The exit code, and what is said as JSON.
fn parsed(args: &[&str]) -> (i32, Value) {
    let ran = policy(&[args, &["--output", "json"]].concat());
    let said = serde_json::from_str(&ran.stdout);
    (ran.code, said.unwrap_or_else(|_| panic!("{}{}", ran.stdout, ran.stderr)))
}

#[test]
fn tests_of_a_bundle_are_run_and_counted() {
    let (folder, dir) = bundle();
    let (code, said) = parsed(&["test", &dir, "--min-coverage", "100"]);
    assert_eq!((code, &said["passed"], &said["failed"]), (0, &json!(2), &json!(0)), "{said}");
    assert_eq!(
        (&said["coverage"], &said["interpreters_agree"]),
        (&json!(100.0), &json!(true)),
        "{said}"
    );
    assert!(said["compared"].as_u64().unwrap() >= 2, "{said}");
    let shown = policy(&["test", &dir]).done();
    assert!(shown.contains("2 passed, 0 failed"), "{shown}");
    // One that fails says why, and is the exit code.
    let more = "\ntest_wrong if read.decision.allow with input as {}\n";
    write(&folder, "nexus/read_test.rego", &format!("{TESTS}{more}"));
    let (code, said) = parsed(&["test", &dir]);
    assert_eq!((code, &said["passed"], &said["failed"]), (1, &json!(2), &json!(1)), "{said}");
    assert_eq!(said["failures"][0]["test"], "data.nexus.read_test.test_wrong", "{said}");
    policy(&["test", &dir]).fails(1, &["1 of 3 tests failed"]);
}

#[test]
fn tests_that_run_too_little_of_the_rules_are_not_enough() {
    let (folder, dir) = bundle();
    let untested = "package nexus.append\n\ndecision := {\"allow\": true} if {\n\tinput.subject.id == \"a\"\n}\n";
    write(&folder, "nexus/append.rego", untested);
    let (code, said) = parsed(&["test", &dir, "--min-coverage", "95"]);
    assert_eq!(code, 1, "{said}");
    assert!(said["coverage"].as_f64().unwrap() < 95.0, "{said}");
    assert!(!said["not_covered"]["nexus/append.rego"].as_array().unwrap().is_empty(), "{said}");
    assert_eq!(parsed(&["test", &dir, "--min-coverage", "50"]).0, 0);
    fs::remove_file(folder.path("policy/nexus/read_test.rego")).unwrap();
    policy(&["test", &dir]).fails(1, &["no tests"]);
}

#[test]
fn a_bundle_is_checked_before_anything_is_decided_by_it() {
    let (folder, dir) = bundle();
    let (code, said) = parsed(&["check", &dir]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said["findings"][0]["code"], "denied", "{said}");
    let finds = |text: &str, code: &str, line: u32| {
        write(&folder, "nexus/read.rego", text);
        let (exit, said) = parsed(&["check", &dir]);
        let found = &said["findings"][0];
        assert_eq!((exit, &found["severity"]), (1, &json!("error")), "{said}");
        assert_eq!((&found["code"], &found["line"]), (&json!(code), &json!(line)), "{said}");
    };
    finds("package nexus.read\n\ndecision := {\n", "rego", 4);
    finds("package other\n\nx := 1\n", "no_rule", 0);
    finds("package nexus.root\n\ndecision := {\"allow\": true}\n", "unknown_action", 0);
    let with =
        |line: &str| format!("package nexus.read\n\ndecision := {{\"allow\": true}}\n{line}\n");
    finds(&with("x if http.send({})"), "function", 4);
    finds(&with("x := y\ny := x"), "too_complex", 0);
    finds(&with("x if input.user == \"a\""), "unknown_input", 4);
    let shown = policy(&["check", &dir]);
    shown.fails(1, &["1 errors"]);
    assert!(shown.stdout.contains("nexus/read.rego:4: error [unknown_input]"), "{}", shown.stdout);
}

#[test]
fn an_input_is_decided_whatever_the_answer_is() {
    let (folder, dir) = bundle();
    let ask = |input: &Value| {
        let file = folder.file("input.json", input.to_string());
        parsed(&["eval", &dir, "--input", &file])
    };
    let input = |role: &str| json!({ "action": "read", "subject": { "roles": [role] } });
    let (code, said) = ask(&input("reader"));
    assert_eq!((code, &said["allow"]), (0, &json!(true)), "{said}");
    assert_eq!(said["obligations"]["tags_all"], json!(["tenant:a"]), "{said}");
    let (code, said) = ask(&input("monitor"));
    assert_eq!((code, &said["allow"]), (0, &json!(false)), "{said}");
    assert_eq!(said["reasons"][0]["code"], "role_missing", "{said}");
    let (code, said) = ask(&json!({ "action": "append" }));
    assert_eq!((code, &said["reasons"][0]["code"]), (0, &json!("no_rule")), "{said}");
    let piped = finish(
        bare().args(["policy", "eval", &dir, "--input", "-"]),
        input("admin").to_string().as_bytes(),
    );
    assert_eq!(serde_json::from_str::<Value>(&piped.done()).unwrap()["allow"], true);
}

#[test]
fn what_is_no_input_or_no_bundle_is_refused() {
    let (folder, dir) = bundle();
    let eval = |input: &str| {
        let file = folder.file("input.json", input);
        policy(&["eval", &dir, "--input", &file])
    };
    eval("{").fails(2, &["input.json", "no JSON"]);
    eval("{}").fails(2, &["action"]);
    eval("7").fails(2, &["action"]);
    eval("{\"action\": \"root\"}").fails(2, &["root"]);
    policy(&["eval", &dir, "--input", "/nowhere/input.json"]).fails(1, &["/nowhere"]);
    for verb in ["test", "check"] {
        policy(&[verb, "/nowhere/policy"]).fails(1, &["/nowhere/policy"]);
    }
    let empty = folder.path("empty");
    fs::create_dir(&empty).unwrap();
    let ran = policy(&["check", empty.to_str().unwrap()]);
    assert!(ran.code != 0 && ran.stderr.contains("no rules"), "{ran:?}");
    write(&folder, "large.rego", &"# x\n".repeat(200_000));
    let ran = policy(&["test", &dir]);
    assert!(ran.code != 0 && ran.stderr.contains("too large"), "{ran:?}");
}

#[test]
#[cfg(unix)]
fn links_lead_to_no_files() {
    let (folder, dir) = bundle();
    let outside =
        folder.file("outside.rego", "package nexus.read\n\ndecision := {\"allow\": true}\n");
    std::os::unix::fs::symlink(&outside, folder.path("policy/link.rego")).unwrap();
    std::os::unix::fs::symlink(folder.path("policy"), folder.path("policy/round")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path("policy/nexus/endless.rego")).unwrap();
    let (code, said) = parsed(&["test", &dir]);
    assert_eq!((code, &said["passed"]), (0, &json!(2)), "{said}");
}

#[test]
fn rules_that_mean_no_good_end() {
    let (folder, dir) = bundle();
    let input = folder.file("input.json", "{\"action\": \"read\", \"subject\": {\"roles\": []}}");
    for (condition, code) in [
        (
            "count([1 | some x in numbers.range(1, 90000); some y in numbers.range(1, 90000); x < y]) > 1",
            0,
        ),
        ("count(numbers.range(1, 1000000000)) > 1", 0),
        ("f(1)", 1),
    ] {
        let text = format!(
            "package nexus.read\n\nf(x) := f(x)\ndecision := {{\"allow\": true}} if {condition}\n"
        );
        let text = if code == 0 { text.replace("f(x) := f(x)\n", "\n") } else { text };
        write(&folder, "nexus/read.rego", &text);
        let ran = policy(&["eval", &dir, "--input", &input]);
        assert_eq!(ran.code, code, "{condition}: {ran:?}");
        assert!(!ran.stdout.contains("\"allow\": true"), "{ran:?}");
    }
}
