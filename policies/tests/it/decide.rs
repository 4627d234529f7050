//! What is decided, and what of it is remembered.

use std::sync::Arc;

use nexus_policies::{Action, Asked, BadBundle, Obligations, Policies, Reach, Resource, Subject};
use nexus_protocol::{Append, EventData, Timestamp};
use serde_json::json;

use crate::{bundle, codes, read, reads, subject};

const READERS: &str = "default decision := {\"allow\": false, \"reasons\": [{\"code\": \"role_missing\"}]}\n\
    decision := {\"allow\": true} if \"reader\" in input.subject.roles\n";

#[test]
fn rules_allow_and_deny_with_their_reasons() {
    let policies = reads(READERS).unwrap();
    let (reader, writer) = (subject("reader"), subject("writer"));
    let yes = policies.decide(&read(&reader, "a-1"));
    assert!(yes.allow && yes.reasons.is_empty() && yes.obligations.is_none());
    let no = policies.decide(&read(&writer, "a-1"));
    assert_eq!((no.allow, codes(&no)), (false, vec!["role_missing"]));
}

#[test]
fn what_no_rule_decides_is_denied() {
    let policies = reads(READERS).unwrap();
    assert_eq!(policies.decides().collect::<Vec<_>>(), [Action::Read]);
    let reader = subject("reader");
    for action in Action::ALL.iter().copied().filter(|it| *it != Action::Read) {
        let decision = policies.decide(&Asked { action, ..read(&reader, "a-1") });
        assert_eq!((decision.allow, codes(&decision)), (false, vec!["no_rule"]), "{action}");
    }
}

#[test]
fn what_is_no_decision_denies_and_says_why() {
    let reader = subject("reader");
    for (rules, code) in [
        ("decision := {\"allow\": true} if input.action == \"append\"\n", "undecided"),
        ("decision := true\n", "not_a_decision"),
        ("decision := {}\n", "not_a_decision"),
        ("decision := {\"allow\": \"yes\"}\n", "not_a_decision"),
        ("decision := [{\"allow\": true}]\n", "not_a_decision"),
        ("decision contains {\"allow\": true}\n", "not_a_decision"),
        ("decision := {\"allow\": true, \"obligations\": {\"tag_all\": []}}\n", "not_a_decision"),
        ("decision := {\"allow\": true, \"obligations\": {\"log\": -1}}\n", "not_a_decision"),
        ("decision := {\"allow\": true}\ndecision := {\"allow\": false}\n", "rule_failed"),
        ("decision := {\"allow\": true} if input.action > 1 + \"a\"\n", "rule_failed"),
    ] {
        let decision = reads(rules).unwrap().decide(&read(&reader, "a-1"));
        assert!(!decision.allow, "{rules}");
        // What fails in a body is undefined for the one interpreter, and a failure for the other.
        let known = codes(&decision) == [code] || codes(&decision) == ["undecided"];
        assert!(known, "{rules}: {decision:?}");
        assert!(!decision.reasons[0].msg.is_empty(), "{rules}");
    }
}

#[test]
fn obligations_are_handed_on() {
    let rules = "decision := {\"allow\": true, \"obligations\": {\n\
        \t\"tags_all\": {tag | some tenant in input.subject.claims.tenants; tag := concat(\":\", [\"tenant\", tenant])},\n\
        \t\"types_any\": [\"A\", \"B\"],\n\
        \t\"mask\": [\"/a/*/b\"],\n\
        \t\"log\": 0.25,\n\
        }}\n";
    let claims = json!({ "tenants": ["x", "y"] });
    let somebody = Subject::new("s", "jwt", Some("i"), &[], claims.as_object().unwrap());
    let decision = reads(rules).unwrap().decide(&read(&somebody, "a-1"));
    let texts = |of: &[&str]| of.iter().map(|it| (*it).to_owned()).collect();
    let expected = Obligations {
        tags_all: texts(&["tenant:x", "tenant:y"]),
        types_any: Some(texts(&["A", "B"])),
        mask: texts(&["/a/*/b"]),
        log: Some(0.25),
    };
    assert_eq!((decision.allow, &decision.obligations), (true, &expected));
}

#[test]
fn data_of_the_bundle_is_there_and_tests_take_no_part() {
    let rules = "package nexus.read\ndecision := {\"allow\": input.subject.id in data.people}\n";
    let files = [
        ("nexus/read.rego", rules),
        ("data.json", "{\"people\": [\"somebody\"]}"),
        ("nexus/read_test.rego", "package nexus.read\ndecision := {\"allow\": false}\n"),
    ];
    let policies = Policies::compile(&bundle(&files).unwrap()).unwrap();
    assert!(policies.decide(&read(&subject("reader"), "a-1")).allow);
}

#[test]
fn what_is_nowhere_read_tells_no_questions_apart() {
    let reader = subject("reader");
    let policies = reads(READERS).unwrap();
    let first = policies.decide(&read(&reader, "a-1"));
    let other_stream = policies.decide(&read(&reader, "b-1"));
    let later =
        Asked { now: Timestamp::from_micros(2_000_000_000_000_000), ..read(&reader, "a-1") };
    assert!(Arc::ptr_eq(&first, &other_stream) && Arc::ptr_eq(&first, &policies.decide(&later)));
    // Who asks, what is done, and by which door does, whatever the rules look at.
    let again = subject("reader");
    assert!(Arc::ptr_eq(&first, &policies.decide(&read(&again, "a-1"))));
    let writer = subject("writer");
    assert!(!policies.decide(&read(&writer, "a-1")).allow);
    let door = policies.decide(&Asked { door: None, ..read(&reader, "a-1") });
    let reach = policies.decide(&Asked { reach: Reach::See, ..read(&reader, "a-1") });
    assert!(!Arc::ptr_eq(&first, &door) && !Arc::ptr_eq(&first, &reach));
}

/// Whether a question is answered anew where it differs from one before in something that the rules look at.
#[track_caller]
fn check_told_apart(rules: &str, one: &Asked<'_>, other: &Asked<'_>) {
    let policies = reads(rules).unwrap();
    for _ in 0..2 {
        assert!(policies.decide(one).allow, "{rules}");
        assert!(!policies.decide(other).allow, "{rules}");
    }
}

#[test]
fn what_is_read_tells_questions_apart() {
    let (reader, writer) = (subject("reader"), subject("writer"));
    let one = read(&reader, "a-1");
    let with = |resource: Resource<'static>| Asked { resource, ..one };
    let resource = Resource { namespace: "default", operation: "read", ..Resource::default() };
    let rule = |condition: &str| format!("decision := {{\"allow\": {condition}}}\n");
    let told = |condition: &str, other: &Asked<'_>| check_told_apart(&rule(condition), &one, other);
    told("\"reader\" in input.subject.roles", &read(&writer, "a-1"));
    told("input.resource.stream == \"a-1\"", &read(&reader, "b-1"));
    told("input.resource.category == \"a\"", &read(&reader, "b-1"));
    told("input.resource[\"stream\"] == \"a-1\"", &read(&reader, "b-1"));
    told("object.get(input, [\"resource\", \"stream\"], \"\") == \"a-1\"", &read(&reader, "b-1"));
    told("input.resource.operation == \"read\"", &with(Resource { operation: "head", ..resource }));
    told(
        "input.resource.namespace == \"default\"",
        &with(Resource { namespace: "other", ..resource }),
    );
    told("input.resource.reach == \"use\"", &Asked { reach: Reach::See, ..one });
    told("input.env.door == \"http\"", &Asked { door: Some("quic"), ..one });
    told(
        "object.get(input.resource, \"name\", \"\") == \"\"",
        &with(Resource { name: Some("g"), ..resource }),
    );
    told(
        "object.get(input.resource, \"as_of\", \"\") == \"\"",
        &with(Resource { as_of: Some("1"), ..resource }),
    );
    told(
        "object.get(input.resource, \"system\", false) == false",
        &with(Resource { system: true, ..resource }),
    );
    let later = Asked { now: Timestamp::from_micros(2_000_000_000_000_000), ..one };
    told("startswith(input.env.now, \"2023\")", &later);
    told("startswith(input[\"env\"].now, \"2023\")", &later);
    told("startswith(object.get(input, \"env\", {}).now, \"2023\")", &later);
}

#[test]
fn what_stands_behind_an_import_or_a_rule_is_read_too() {
    let reader = subject("reader");
    for rules in [
        "import input.resource\ndecision := {\"allow\": resource.stream == \"a-1\"}\n",
        "import input as i\ndecision := {\"allow\": i.resource.stream == \"a-1\"}\n",
        "f(x) := x.resource.stream\ndecision := {\"allow\": f(input) == \"a-1\"}\n",
        "all := input\ndecision := {\"allow\": all.resource.stream == \"a-1\"}\n",
        "decision := {\"allow\": [1 | some k, v in input.resource; v == \"a-1\"] == [1]}\n",
        "decision := {\"allow\": \"a-1\" in {v | v := input.resource[_]}}\n",
        "decision := {\"allow\": contains(json.marshal(input), \"a-1\")}\n",
    ] {
        check_told_apart(rules, &read(&reader, "a-1"), &read(&reader, "b-1"));
    }
}

#[test]
fn events_and_streams_of_an_append_are_looked_at_each_time() {
    let writer = subject("writer");
    let tagged = |stream: &str, tag: &str| {
        Append::to(stream).event(EventData::json("A", &json!({ "n": 1 })).unwrap().tag(tag))
    };
    let (one, other) = (tagged("a-1", "t:1"), tagged("b-1", "t:2"));
    for condition in [
        "every event in input.events { \"t:1\" in event.tags }",
        "input.events[0].stream == \"a-1\"",
        "input.events[0].category == \"a\"",
        "input.resource.streams == [\"a-1\"]",
        "\"a-1\" in input.resource[\"streams\"]",
    ] {
        let text = format!(
            "package nexus.append\ndefault decision := {{\"allow\": false}}\ndecision := {{\"allow\": true}} if {{ {condition} }}\n"
        );
        let policies = Policies::compile(&bundle(&[("a.rego", &text)]).unwrap()).unwrap();
        let ask = |append| Asked {
            action: Action::Append,
            resource: Resource { namespace: "default", operation: "append", ..Resource::default() },
            append: Some(append),
            ..read(&writer, "")
        };
        for _ in 0..2 {
            assert!(policies.decide(&ask(&one)).allow, "{condition}");
            assert!(!policies.decide(&ask(&other)).allow, "{condition}");
        }
    }
}

#[test]
fn events_that_rules_cannot_look_into_are_denied() {
    let rules = "package nexus.append\ndecision := {\"allow\": count(input.events) > 0}\n";
    let policies = Policies::compile(&bundle(&[("a.rego", rules)]).unwrap()).unwrap();
    let writer = subject("writer");
    let ask = |content_type: &str, data: &'static [u8]| {
        let append = Append::to("a-1").event(EventData::new("A", content_type, data.into()));
        let asked = Asked { action: Action::Append, append: Some(&append), ..read(&writer, "a-1") };
        let decision = policies.decide(&asked);
        (decision.allow, codes(&decision).first().map(|it| (*it).to_owned()))
    };
    assert_eq!(ask("application/json", b"{"), (false, Some("unreadable_event".to_owned())));
    assert_eq!(ask("application/json", b"{}"), (true, None));
    assert_eq!(ask("application/octet-stream", b"{"), (true, None));
}

#[test]
fn inputs_that_somebody_wrote_are_decided_too() {
    let policies = reads(READERS).unwrap();
    let reader = json!({ "action": "read", "subject": { "roles": ["reader"] } });
    assert!(policies.evaluate_json(&reader).unwrap().allow);
    assert!(!policies.evaluate_json(&json!({ "action": "read" })).unwrap().allow);
    for wrong in [json!({}), json!(7), json!({ "action": "root" }), json!({ "action": 1 })] {
        assert!(policies.evaluate_json(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_same_files_have_the_same_fingerprint() {
    let of = |text: &str| reads(text).unwrap().fingerprint();
    assert_eq!(of(READERS), of(READERS));
    assert_ne!(of(READERS), of(&format!("{READERS}\n")));
}

#[test]
fn bundles_without_rules_are_refused() {
    let compiled = |text: &str| {
        bundle(&[("a.rego", text)]).and_then(|bundle| Policies::compile(&bundle)).map(drop)
    };
    assert_eq!(compiled("package a\nx := 1\n"), Err(BadBundle::NoRule));
    let unknown = compiled("package nexus.root\ndecision := {\"allow\": true}\n");
    assert_eq!(unknown, Err(BadBundle::UnknownAction("root".to_owned())));
    assert!(matches!(compiled("package nexus.read\ndecision := {"), Err(BadBundle::Rego(_))));
    for parts in [
        "decision.allow := true\n",
        "decision[\"allow\"] := true\n",
        "decision[x] := true if x := \"allow\"\n",
    ] {
        let found = compiled(&format!("package nexus.read\n{parts}")).unwrap_err().to_string();
        assert!(found.contains("a.rego:2") && found.contains("in parts"), "{found}");
    }
}
