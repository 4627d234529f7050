//! What `lint` finds, and what it lets pass.

use nexus_protocol::{Append, EventData, Timestamp};

use super::*;
use crate::action::Reach;
use crate::input::{Asked, Resource, Subject};

const GOOD: &str = "package nexus.read\n\ndefault decision := {\"allow\": false}\n";

fn found(files: &[(&str, &str)]) -> Vec<String> {
    let owned = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let findings = lint(&Bundle::new(owned).unwrap()).into_iter();
    let told =
        findings.map(|it| format!("{} {}:{} {}", it.severity.as_str(), it.file, it.line, it.code));
    told.collect()
}

/// What is found in a file of rules besides what is found in every small bundle.
fn of(text: &str) -> Vec<String> {
    let mut found = found(&[("a.rego", text), ("a_test.rego", "package t\ntest_a if true\n")]);
    found.retain(|it| it != "warning :0 denied");
    found
}

#[test]
fn a_bundle_that_is_fine_is_not_found_fault_with() {
    assert_eq!(of(GOOD), [] as [&str; 0]);
    assert_eq!(found(&[("a.rego", GOOD)]), ["warning :0 denied", "warning :0 no_tests"]);
}

#[test]
fn what_does_not_compile_is_said_with_its_place() {
    assert_eq!(of("package nexus.read\n\ndecision := {\n"), ["error a.rego:4 rego"]);
    let other = "package nexus.append\n\ndecision := {\"allow\": http.send({})}\n";
    let said = found(&[("a.rego", GOOD), ("b.rego", other), ("a_test.rego", "package t\n")]);
    assert!(said[0].starts_with("error"), "{said:?}");
    assert_eq!(of("package a\nx := 1\n"), ["error :0 no_rule"]);
    assert_eq!(
        of("package nexus.root\ndecision := {\"allow\": true}\n"),
        ["error :0 unknown_action"]
    );
    let nested = format!("{GOOD}x := {}\n", "[".repeat(40));
    assert_eq!(of(&nested), ["error a.rego:4 too_complex"]);
    let recursive = format!("{GOOD}x := y\ny := x\n");
    assert_eq!(of(&recursive), ["error :0 too_complex"]);
    let clock = format!("{GOOD}decision := {{\"allow\": true}} if time.now_ns() > 1\n");
    assert_eq!(of(&clock), ["error a.rego:4 function"]);
    let bad_test = found(&[("a.rego", GOOD), ("a_test.rego", "package t\n\ntest_a if {")]);
    assert_eq!(bad_test[0], "error a_test.rego:3 rego");
}

#[test]
fn rules_that_may_say_nothing_are_pointed_at() {
    let undefined =
        "package nexus.read\n\ndecision := {\"allow\": true} if input.action == \"read\"\n";
    assert_eq!(of(undefined), ["warning a.rego:3 no_default"]);
    for fine in [
        "decision := {\"allow\": true}\n",
        "decision := data.nexus.read.other\ndefault other := {\"allow\": false}\n",
        "decision := {\"allow\": yes, \"reasons\": why}\nyes := true\nwhy contains 1 if input.v == 2\n",
    ] {
        assert_eq!(of(&format!("package nexus.read\n{fine}")), [] as [&str; 0], "{fine}");
    }
    let other = "package nexus.read\ndecision := data.a.b\n";
    assert_eq!(of(other), ["warning a.rego:2 no_default"]);
    // What several leave to one rule is said once, of that rule.
    let lib = "package lib\n\n\nd := {\"allow\": true} if input.v == 1\n";
    let read = "package nexus.read\nimport data.lib\ndecision := lib.d\n";
    let append = "package nexus.append\ndecision := data.lib.d\n";
    let said = found(&[
        ("a.rego", read),
        ("b.rego", append),
        ("lib.rego", lib),
        ("x_test.rego", "package t\n"),
    ]);
    assert_eq!(said, ["warning :0 denied", "warning lib.rego:4 no_default"]);
    let none = found(&[
        ("a.rego", GOOD),
        ("b.rego", "package nexus.append\nx := 1\n"),
        ("b_test.rego", "package t\n"),
    ]);
    assert_eq!(none, ["warning :0 denied", "warning b.rego:0 no_decision"]);
}

#[test]
fn paths_that_lead_nowhere_are_errors() {
    let of = |path: &str| of(&format!("{GOOD}x := {path}\n"));
    for path in [
        "input.user",
        "input.subject.name",
        "input[\"user\"]",
        "input.subject.roles.admin",
        "input.events[_].typ",
        "input.events[0].data_",
        "input.env.now.year",
        "{r | some r in input.subject.role}",
        "count(input.resource.tags)",
        "[1 | input.resources.x == 1]",
    ] {
        assert_eq!(of(path), ["error a.rego:4 unknown_input"], "{path}");
    }
    for path in [
        "input",
        "input.v",
        "input.resource.system",
        "input.subject.claims.a.b[_].c",
        "input.subject.roles[_]",
        "input.events[_].data.a.b",
        "input[data.x].y",
        "\"input.user\"",
        "data.input.user",
    ] {
        assert_eq!(of(path), [] as [&str; 0], "{path}");
    }
}

#[test]
fn all_that_is_there_is_known() {
    let event = EventData::json("A", &1).unwrap().tag("a:1");
    let append = Append::to("a-1").event(event);
    let subject = Subject::new("a", "jwt", Some("b"), &["c"], &serde_json::Map::new());
    let asked = Asked {
        action: Action::Append,
        reach: Reach::Use,
        subject: &subject,
        resource: Resource {
            namespace: "n",
            operation: "o",
            stream: Some("a-1"),
            name: Some("g"),
            as_of: Some("p"),
            system: true,
        },
        append: Some(&append),
        door: None,
        now: Timestamp::from_micros(0),
    };
    let mut paths = Vec::new();
    let document = asked.document(true).unwrap().to_json_str().unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    paths_of(&document, Vec::new(), &mut paths);
    assert!(paths.len() > 25, "{paths:?}");
    for path in paths {
        assert_eq!(leads_nowhere(&path), None);
    }
}

fn paths_of(value: &serde_json::Value, path: Vec<Step>, paths: &mut Vec<Vec<Step>>) {
    let behind = |step: Step| path.iter().cloned().chain([step]).collect::<Vec<_>>();
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                paths_of(value, behind(Step::Name(name.clone())), paths);
            }
        }
        serde_json::Value::Array(all) => {
            all.iter().for_each(|value| paths_of(value, behind(Step::Any), paths));
        }
        _ => {}
    }
    paths.push(path);
}

#[test]
fn members_that_are_misspelled_are_errors() {
    let of = |object: &str| of(&format!("{GOOD}x := {object}\n"));
    for object in [
        "{\"allow\": true, \"reason\": []}",
        "{\"allow\": true, \"obligations\": {\"tags_any\": []}}",
        "{\"allow\": true, \"obligations\": {\n\"masks\": []}}",
    ] {
        let said = of(object);
        assert!(said.len() == 1 && said[0].ends_with("unknown_member"), "{object}: {said:?}");
    }
    assert_eq!(of("{\"allow\": true, \"obligations\": {\"log\": 0.5}}"), [] as [&str; 0]);
    assert_eq!(of("{\"allowed\": true, \"reason\": 1}"), [] as [&str; 0]);
}
