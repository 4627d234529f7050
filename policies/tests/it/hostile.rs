//! Bundles that mean no good: each is refused, or denies, with a reason and within bounds; and whoever asks next is
//! answered rightly.

#![expect(clippy::disallowed_methods, reason = "a test measures what no rule may")]

use std::time::{Duration, Instant};

use nexus_policies::{BadBundle, Bundle, Policies};
use nexus_protocol::Timestamp;
use proptest::prelude::*;

use crate::{bundle, codes, read, reads, subject};

/// How long a decision may take, with room for a machine that is busy.
const DECISION_MAX: Duration = Duration::from_secs(5);

/// How long a bundle may be compiled.
const COMPILE_MAX: Duration = Duration::from_secs(60);

/// Compiles rules, within bounds.
#[track_caller]
fn compiled(rules: &str) -> Result<Policies, BadBundle> {
    let begun = Instant::now();
    let compiled = reads(rules);
    assert!(begun.elapsed() < COMPILE_MAX, "{:?}", begun.elapsed());
    compiled
}

/// Rules that are not taken at all.
#[track_caller]
fn refused(rules: &str, parts: &[&str]) {
    let why = compiled(rules).map(drop).unwrap_err().to_string();
    assert!(parts.iter().all(|part| why.contains(part)), "{parts:?} are not in: {why}");
    assert!(why.len() < 4096, "{} bytes are said", why.len());
}

/// Rules that do harm for one stream: what is asked about it is denied, and about another one is allowed.
#[track_caller]
fn denied(rules: &str, harm: &str, code: &str) {
    let rules = format!(
        "{rules}decision := {{\"allow\": true}} if input.resource.stream == \"good\"\n\
         decision := {{\"allow\": true}} if {{\n\tinput.resource.stream == \"bad\"\n\t{harm}\n}}\n"
    );
    let policies = compiled(&rules).unwrap_or_else(|why| panic!("{harm}: {why}"));
    let reader = subject("reader");
    assert!(policies.decide(&read(&reader, "good")).allow, "{harm}");
    for _ in 0..3 {
        let begun = Instant::now();
        let decision = policies.evaluate(&read(&reader, "bad"));
        assert!(begun.elapsed() < DECISION_MAX, "{harm}: {:?}", begun.elapsed());
        assert!(!decision.allow, "{harm}");
        assert_eq!(codes(&decision), [code], "{harm}: {decision:?}");
        assert!(decision.reasons[0].msg.len() < 4096, "{harm}");
        // The machine that it went wrong in is used again, or another one is.
        assert!(policies.evaluate(&read(&reader, "good")).allow, "{harm}");
    }
}

#[test]
fn what_does_not_compile_is_refused_with_its_place() {
    refused("decision := {", &["read.rego:3"]);
    refused("decision := {\"allow\": nowhere}\n", &["read.rego:3", "nowhere"]);
    refused("decision := {\"allow\": nowhere(1)}\n", &["nowhere"]);
    refused("decision := {\"allow\": true} with input as {}\n", &["`with`"]);
    refused("decision := \u{0}\n", &["NUL"]);
}

#[test]
fn functions_with_a_world_outside_are_refused() {
    for function in [
        "http.send({\"method\": \"get\", \"url\": \"http://localhost\"})",
        "rand.intn(\"a\", 9)",
        "uuid.rfc4122(\"a\")",
        "opa.runtime()",
        "net.lookup_ip_addr(\"a\")",
    ] {
        let name = function.split('(').next().unwrap();
        refused(&format!("decision := {{\"allow\": {function} != 1}}\n"), &[name]);
    }
    for function in ["time.now_ns()", "print(\"a\")", "trace(\"a\")", "bits.lsh(1, 100000000)"] {
        let name = function.split('(').next().unwrap();
        let rules = format!("x := 1\n\ndecision := {{\"allow\": {function} != 1}}\n");
        refused(&rules, &["read.rego:5", name]);
    }
}

#[test]
fn loops_end() {
    for harm in [
        "count([1 | some x in numbers.range(1, 90000); some y in numbers.range(1, 90000); x != y]) > 1",
        "every x in numbers.range(1, 90000) { every y in numbers.range(1, 90000) { x + y > 0 } }",
        "count({[x, y] | some x in numbers.range(1, 90000); some y in numbers.range(1, 90000)}) > 1",
        "count({x: y | some x in numbers.range(1, 90000); some y in [z | some z in numbers.range(1, x)]}) > 1",
    ] {
        denied("", harm, "rule_failed");
    }
}

#[test]
fn functions_make_nothing_huge() {
    let doubled = |first: &str, next: &str| {
        let rules =
            (1..30).map(|at| format!("a{at} := {}\n", next.replace('@', &format!("a{}", at - 1))));
        format!("a0 := {first}\n{}", rules.collect::<String>())
    };
    let arrays = doubled("[1]", "[@, @]");
    for harm in [
        "json.marshal(a29) != \"\"",
        "sprintf(\"%v\", [a29]) != \"\"",
        "count(object.keys({\"a\": a29})) > 0",
        "base64.encode(json.marshal(a29)) != \"\"",
        "sort([a29]) != []",
        "array.concat(a29, a29) != []",
    ] {
        denied(&arrays, harm, "rule_failed");
    }
    denied(&doubled("\"aaaaaaaaaaaaaaaa\"", "concat(\"\", [@, @])"), "a29 != \"\"", "rule_failed");
    denied(&doubled("[1, 2]", "array.concat(@, @)"), "a29 != []", "rule_failed");
    denied(&doubled("\"a\"", "replace(@, \"a\", \"aaaaaaaaaa\")"), "a29 != \"\"", "rule_failed");
    denied(&doubled("12345678901", "@ * @"), "a29 > 1", "rule_failed");
    denied(&doubled("12345678901", "product([@, @])"), "a29 > 1", "rule_failed");
    for harm in [
        "sprintf(\"%999999999d\", [1]) != \"\"",
        "sprintf(\"%.999999999f\", [1.5]) != \"\"",
        "count(numbers.range(0, 1000000000)) > 1",
        "count(numbers.range(-9223372036854775808, 9223372036854775807)) > 1",
        "regex.match(\"((a{100}){100}){100}\", \"a\")",
        "regex.replace(concat(\"\", [\"a\" | some x in numbers.range(1, 30000)]), \"a\", concat(\"\", [\"b\" | some x in numbers.range(1, 30000)])) != \"\"",
    ] {
        denied("", harm, "rule_failed");
    }
}

#[test]
fn numbers_are_multiplied_as_before() {
    let rules = "decision := {\"allow\": true} if {\n\
        \t6 * 7 == 42\n\t1.5 * 2 == 3\n\t99999999999 * 99999999999 == 9999999999800000000001\n\
        \tx := count(input.subject.roles) * 3\n\tx == 3\n\tproduct([2, 3]) == 6\n}\n";
    assert!(reads(rules).unwrap().decide(&read(&subject("reader"), "a-1")).allow);
    let undefined = "decision := {\"allow\": true} if input.action * 2 == 4\n";
    assert!(!reads(undefined).unwrap().decide(&read(&subject("reader"), "a-1")).allow);
}

#[test]
fn rules_that_need_themselves_are_refused() {
    for rules in [
        "f(x) := f(x)\ndecision := {\"allow\": f(1)}\n",
        "f(x) := g(x)\ng(x) := f(x)\ndecision := {\"allow\": f(1)}\n",
        "a := b\nb := a\ndecision := {\"allow\": a}\n",
        "decision := data.nexus[input.action].decision\n",
        "decision := data.nexus[input.action]\n",
        "decision := data[input.action]\n",
        "decision := {\"allow\": data != 1}\n",
        "x := data.nexus.read[input.action]\ndecision := {\"allow\": x}\n",
    ] {
        refused(rules, &["needs itself"]);
    }
}

#[test]
fn a_path_with_unknown_steps_ends_where_it_leads_to() {
    let reader = subject("reader");
    for rules in [
        "y := 1\ndecision := {\"allow\": data.nexus[input.action].y == 1}\n",
        "y := 1\ndecision := {\"allow\": data.nexus[input.action][\"y\"] == 1}\n",
        "y.z := 1\ndecision := {\"allow\": data.nexus[input.action].y[input.z] == 1}\n",
        "y := 1\ndecision := {\"allow\": data[input.x][input.action].y == 1}\n",
        "y := 1\ndecision := {\"allow\": [1 | some x in [\"read\"]; data.nexus[x].y == 1] == [1]}\n",
    ] {
        {
            let policies = compiled(rules).unwrap();
            let decision = policies.decide(&read(&reader, "a-1"));
            assert!(decision.reasons.iter().all(|it| it.code != "not_a_decision"), "{rules}");
        }
    }
}

#[test]
fn nothing_goes_so_deep_that_the_process_ends() {
    for (rules, part) in [
        (format!("x := {}\n", "[".repeat(1000)), "brackets"),
        (format!("x := {}1{}\n", "[\n".repeat(1000), "]\n".repeat(1000)), "brackets"),
        (format!("x := {}\n", "{\n".repeat(1000)), "brackets"),
        (format!("x := {}1{}\n", "(\n".repeat(1000), ")\n".repeat(1000)), "nest"),
        (format!("x := 1{}\n", " +\n1".repeat(10_000)), "operators"),
        (
            format!("x if {}true{}\n", "{ every x in [1] \n".repeat(1000), "}".repeat(1000)),
            "brackets",
        ),
        (format!("x := input{}\n", "[0]".repeat(300)), "steps"),
        ((1..10_000).map(|at| format!("a{at} := a{}\n", at - 1)).collect(), "more than 32"),
        ((1..10_000).map(|at| format!("f{at}(x) := f{}(x)\n", at - 1)).collect(), "more than 32"),
        (
            format!("x := 1 if false{}\n", " else := 2 if false".repeat(40))
                + &"y := 1\n".repeat(30_000),
            "line",
        ),
    ] {
        refused(&format!("decision := {{\"allow\": true}}\na0 := 1\nf0(x) := x\n{rules}"), &[part]);
    }
}

#[test]
fn what_goes_as_deep_as_it_may_is_decided() {
    let reader = subject("reader");
    let every = |deep: usize, inner: &str| {
        format!("{}{inner}{}", "every x in [1] { ".repeat(deep), " }".repeat(deep))
    };
    let deepest =
        (1..30).map(|at| format!("a{at} if {{ {} }}\n", every(15, &format!("a{}", at - 1))));
    let rules =
        format!("a0 := true\n{}decision := {{\"allow\": a29}}\n", deepest.collect::<String>());
    assert!(compiled(&rules).unwrap().decide(&read(&reader, "a-1")).allow);
    // A value that is nested as deep as rules can make it is compared, and let go of.
    let nest = |at: usize| {
        let steps = (1..110).map(|step| format!("\tz{step} := [z{}]\n", step - 1));
        format!("a{at} := z109 if {{\n\tz0 := [a{}]\n{}}}\n", at - 1, steps.collect::<String>())
    };
    let nests: String = (1..30).map(nest).collect();
    let rules =
        format!("a0 := 1\n{nests}decision := {{\"allow\": {{a29: [a29]}} == {{a28: [a28]}}}}\n");
    assert!(!compiled(&rules).unwrap().decide(&read(&reader, "a-1")).allow);
}

#[test]
fn answers_that_are_huge_are_no_decisions() {
    let arrays = (1..30).map(|at| format!("a{at} := [a{0}, a{0}]\n", at - 1)).collect::<String>();
    let reader = subject("reader");
    for decision in [
        "{\"allow\": true, \"reasons\": a29}",
        "{\"allow\": true, a29: a29}",
        "{\"allow\": a29}",
        "a29",
        "{\"allow\": true, \"obligations\": {\"mask\": a29}}",
        "{\"allow\": true, \"obligations\": {a29: 1}}",
        "{\"allow\": true, \"obligations\": {\"tags_all\": numbers.range(1, 90000)}}",
        "{\"allow\": true, \"reasons\": [{\"code\": a29}]}",
    ] {
        let rules = format!("a0 := [1]\n{arrays}decision := {decision}\n");
        let policies = compiled(&rules).unwrap();
        let begun = Instant::now();
        let said = policies.decide(&read(&reader, "a-1"));
        assert!(begun.elapsed() < DECISION_MAX, "{decision}: {:?}", begun.elapsed());
        assert_eq!((said.allow, codes(&said)), (false, vec!["not_a_decision"]), "{decision}");
        assert!(said.reasons[0].msg.len() < 4096, "{decision}");
    }
}

#[test]
fn as_much_text_as_a_bundle_may_have_is_read_in_time() {
    let rule = |at: usize| {
        format!(
            "allow_{at} if {{ input.subject.id == \"{at}\"; not input.resource.stream in [\"a\", \"b\"] }}\n"
        )
    };
    let mut rules: String = (0..4000).map(rule).collect();
    rules.truncate(370_000);
    rules.truncate(rules.rfind('\n').unwrap() + 1);
    rules.push_str("decision := {\"allow\": allow_7}\n");
    let begun = Instant::now();
    let policies = compiled(&rules);
    println!("{} bytes: {:?}", rules.len(), begun.elapsed());
    assert!(!policies.unwrap().decide(&read(&subject("reader"), "a-1")).allow);
    // Alike rules make no more than a program may have.
    let alike = "x if input.v == 2\n".repeat(15_000);
    refused(&format!("{alike}decision := {{\"allow\": x}}\n"), &["instructions"]);
    let comment = format!("#{}\n", "x".repeat(1000)).repeat(370);
    assert!(compiled(&format!("{comment}decision := {{\"allow\": true}}\n")).is_ok());
    let too_large = "x := 1\n".repeat(60_000);
    assert!(matches!(reads(&too_large), Err(BadBundle::TooLarge { .. })));
}

#[test]
fn many_ask_at_once_while_one_goes_wrong() {
    let rules = "decision := {\"allow\": true} if input.resource.stream == \"good\"\n\
        decision := {\"allow\": true} if {\n\tinput.resource.stream == \"bad\"\n\
        \tcount([1 | some x in numbers.range(1, 90000); some y in numbers.range(1, 90000); x != y]) > 1\n}\n";
    let policies = compiled(rules).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let policies = &policies;
            scope.spawn(move || {
                let reader = subject("reader");
                for round in 0..30 {
                    let is_good = (round + thread) % 3 != 0;
                    let stream = if is_good { "good" } else { "bad" };
                    assert_eq!(policies.evaluate(&read(&reader, stream)).allow, is_good);
                }
            });
        }
    });
}

/// A bundle with a little of everything.
const GOOD: &[(&str, &str)] = &[
    (
        "read.rego",
        "package nexus.read\n\nimport data.lib\nimport input.subject as who\n\n\
         default decision := {\"allow\": false, \"reasons\": [{\"code\": \"no\", \"msg\": `raw \\ text`}]}\n\n\
         # A comment.\n\
         decision := {\"allow\": true, \"obligations\": {\"tags_all\": tags, \"log\": 0.5}} if {\n\
         \tsome role in who.roles\n\tlib.may(role)\n\tevery x in [1, 2] { x * 3 > 2 }\n\
         \tnot startswith(input.resource.stream, \"$\")\n} else := {\"allow\": true} if \"admin\" in who.roles\n\n\
         tags := {sprintf(\"t:%d\", [n]) | some n in numbers.range(1, 3)}\n",
    ),
    (
        "lib.rego",
        "package lib\n\nmay(role) if role in data.roles[_]\n\nmay(\"x\") := input.env.now == \"a\"\n",
    ),
    ("data.json", "{\"roles\": {\"a\": [\"reader\"]}}"),
    (
        "read_test.rego",
        "package t\ntest_a if data.nexus.read.decision.allow with input as {\"subject\": {\"roles\": [\"reader\"]}, \"resource\": {\"stream\": \"a\"}}\n",
    ),
];

fn try_all(files: impl IntoIterator<Item = (String, String)>) {
    let Ok(bundle) = Bundle::new(files) else { return };
    drop(nexus_policies::lint(&bundle));
    let Ok(policies) = Policies::compile(&bundle) else { return };
    let asked = subject("reader");
    let asked = read(&asked, "a-1");
    drop(policies.decide(&asked));
    let later = nexus_policies::Asked { now: Timestamp::from_micros(0), ..asked };
    assert_eq!(policies.evaluate(&later).allow, policies.decide(&later).allow);
}

#[test]
fn a_bundle_with_a_little_of_everything_decides() {
    let policies = Policies::compile(&bundle(GOOD).unwrap()).unwrap();
    let decision = policies.decide(&read(&subject("reader"), "a-1"));
    assert!(decision.allow && decision.obligations.tags_all.len() == 3, "{decision:?}");
    let trial = nexus_policies::try_out(&bundle(GOOD).unwrap()).unwrap();
    assert_eq!((trial.passed(), trial.failed(), trial.agree()), (1, 0, true), "{trial:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..256), of_ascii in "[ -~\n]{0,128}") {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        try_all([("a.rego".to_owned(), text.clone()), ("data.json".to_owned(), "{}".to_owned())]);
        try_all([("a.rego".to_owned(), format!("package nexus.read\ndecision := {of_ascii}"))]);
        try_all([(of_ascii, text)]);
    }

    #[test]
    fn no_change_is_too_odd(
        file in 0..GOOD.len(),
        changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0..12_usize, "[ -~\n]{0,4}|[\\[\\](){}|&=:]|input|data|not|some|every|with|if|else|contains|\u{e4}\u{0}", any::<u8>()),
            1..4,
        ),
    ) {
        let mut files: Vec<_> = GOOD.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let text = &mut files[file].1;
        for (at, cut, put, copies) in changes {
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len() + 1).min(chars.len());
            let end = (at + cut).min(chars.len());
            let put = put.repeat(usize::from(copies % 8));
            chars.splice(at..end, put.chars());
            *text = chars.into_iter().collect();
        }
        try_all(files);
    }
}

#[test]
fn what_functions_make_together_is_bounded() {
    // None of the calls is too much; all of them would make 360 MB.
    let text = "xs := concat(\"\", [c | some i in numbers.range(1, 1500); c := \"a\"])\n";
    let harm = "count([r | some i in numbers.range(1, 160); r := replace(xs, \"a\", xs)]) == 160";
    denied(text, harm, "rule_failed");
}
