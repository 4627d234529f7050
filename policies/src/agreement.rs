//! Whether what runs tests and what decides say the same.
//!
//! Tests are run by an interpreter, and decisions are made by a machine with programs for it. Both are of one maker, and
//! what they are to say is the same; but that a test passes says something of decisions only as far as it is. So each
//! input that a test makes is given to both. The inputs are found by running the tests once more, with a call around what
//! stands behind `with input as`, which keeps what it is given: so loops, variables, and functions are no matter.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use regorus::unstable::WithModifier;
use regorus::{Engine, PolicyLengthConfig, Value};

use crate::action::Action;
use crate::bundle::{BadBundle, Bundle};
use crate::decision::Decision;
use crate::functions;
use crate::interpreter::{Failed, Interpreter};
use crate::policies::{Policies, engine, of_interpreter};
use crate::syntax::{self, Node};
use crate::trial::tests_of;

/// Most inputs that are given to both.
const INPUTS_MAX: usize = 1_000;

/// Most disagreements that are said.
const SAID_MAX: usize = 20;

/// Answers that came only by a bound; after these no more are asked for.
const ENDLESS_MAX: usize = 5;

/// Characters of a value in what is said.
const SHOWN_MAX: usize = 300;

/// What keeps an input.
const KEEP: &str = "nexus_kept_input";

/// The longest line with calls in it.
const COLUMNS_MAX: NonZeroU32 = NonZeroU32::new(1 << 20).expect("more than none");

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    pub(crate) disagreements: Vec<String>,
    pub(crate) compared: usize,
    pub(crate) not_compared: usize,
}

/// Inputs that were kept.
#[derive(Default)]
struct Kept {
    inputs: BTreeSet<Value>,
    left_out: usize,
}

/// Gives the inputs of tests to both.
///
/// # Errors
/// When the rules cannot be read.
pub(crate) fn look<'a>(
    bundle: &Bundle,
    policies: &Policies,
    whole: &mut Engine,
    tests: impl Iterator<Item = &'a str>,
) -> Result<Agreement, BadBundle> {
    let mut agreement = Agreement::default();
    let Calls { places, others } = calls(whole);
    agreement.not_compared += others;
    if places.is_empty() {
        return Ok(agreement);
    }
    let kept = match keep(bundle, &places, tests) {
        Ok(kept) if !kept.inputs.is_empty() => kept,
        // Nothing was kept, so that nothing can be compared.
        _ => {
            agreement.not_compared += places.len();
            return Ok(agreement);
        }
    };
    agreement.not_compared += kept.left_out;
    let mut interpreter = Interpreter::new(engine(bundle, |file| !file.is_test())?)?;
    let mut endless = 0;
    for input in kept.inputs {
        for action in policies.decides() {
            if endless >= ENDLESS_MAX {
                agreement.not_compared += 1;
                continue;
            }
            agreement.compared += 1;
            let (tests, rules) = ask(&mut interpreter, policies, action, &input);
            endless += usize::from(matches!(&tests, Err(failed) if failed.is_bound));
            let differ = differ(&tests, &rules);
            if let Some(differ) = differ.filter(|_| agreement.disagreements.len() < SAID_MAX) {
                let said = format!("`{}` of input {}: {differ}", action.rule(), shown(&input));
                agreement.disagreements.push(said);
            }
        }
    }
    Ok(agreement)
}

/// Where something is to be put into a file: the bytes between.
struct Between {
    file: String,
    start: usize,
    end: usize,
}

/// What stands behind `with input`.
struct Calls {
    places: Vec<Between>,
    /// How many set a part of an input only, or are written in a way that nothing can be put around.
    others: usize,
}

fn calls(whole: &mut Engine) -> Calls {
    let mut calls = Calls { places: Vec::new(), others: 0 };
    for module in tests_of(whole) {
        syntax::walk(module, &mut |node| {
            let Node::With(with) = node else { return };
            let Some(path) = syntax::path(&with.refr) else { return };
            match path.names.as_slice() {
                [input] if input == "input" && path.is_whole => match between(with) {
                    Some((start, end)) => {
                        let file = syntax::file(module).to_owned();
                        calls.places.push(Between { file, start, end });
                    }
                    None => calls.others += 1,
                },
                [input, ..] if input == "input" => calls.others += 1,
                _ => {}
            }
        });
    }
    calls
}

/// Where what stands behind `as` begins and ends.
fn between(with: &WithModifier) -> Option<(usize, usize)> {
    let text = with.span.source.get_contents();
    let start = usize::try_from(with.refr.span().end).ok()?;
    let end = usize::try_from(with.span.end).ok()?;
    let value = text.get(start..end)?.trim_start().strip_prefix("as")?.trim_start();
    // A text ends before its last quote.
    let is_text = value.starts_with(['"', '`']);
    (!value.is_empty() && !is_text).then_some((end - value.len(), end))
}

/// Runs the tests with calls that keep their inputs.
fn keep<'a>(
    bundle: &Bundle,
    places: &[Between],
    tests: impl Iterator<Item = &'a str>,
) -> anyhow::Result<Kept> {
    let mut engine = Engine::new();
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: COLUMNS_MAX,
        ..PolicyLengthConfig::default()
    });
    for file in bundle.files().filter(|file| file.is_rego()) {
        engine.add_policy(file.name.to_owned(), with_calls(file.name, file.text, places))?;
    }
    if let Some(data) = bundle.data()? {
        engine.add_data(Value::from(data))?;
    }
    let kept = Arc::new(Mutex::new(Kept::default()));
    let keeper = Arc::clone(&kept);
    let keep = move |values: Vec<Value>| {
        let input = values.into_iter().next().unwrap_or(Value::Undefined);
        let mut kept = keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.inputs.contains(&input) {
            match kept.inputs.len() < INPUTS_MAX && functions::is_bounded(&input) {
                true => drop(kept.inputs.insert(input.clone())),
                false => kept.left_out += 1,
            }
        }
        Ok(input)
    };
    engine.add_extension(KEEP.to_owned(), 1, Box::new(keep))?;
    let mut interpreter = Interpreter::new(engine)?;
    let mut endless = 0;
    for test in tests {
        if endless >= ENDLESS_MAX {
            break;
        }
        let run = interpreter.evaluate(test);
        endless += usize::from(matches!(run, Err(failed) if failed.is_bound));
    }
    Ok(std::mem::take(&mut kept.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// A text with a call around each of these places.
fn with_calls(file: &str, text: &str, places: &[Between]) -> String {
    let mut parts = Vec::new();
    for place in places.iter().filter(|place| place.file == file) {
        parts.extend([(place.start, "("), (place.end, ")")]);
    }
    // From behind, so that no place moves that is still to come.
    parts.sort_unstable();
    let mut text = text.to_owned();
    for (at, bracket) in parts.into_iter().rev() {
        match bracket {
            "(" => text.insert_str(at, &format!("{KEEP}(")),
            _ => text.insert(at, ')'),
        }
    }
    text
}

/// What both say.
fn ask(
    interpreter: &mut Interpreter,
    policies: &Policies,
    action: Action,
    input: &Value,
) -> (Result<Value, Failed>, Result<Value, String>) {
    interpreter.engine().set_input(input.clone());
    let tests = interpreter.evaluate(action.rule());
    let events = match &input["events"] {
        Value::Array(events) => events.len(),
        _ => 0,
    };
    (tests, policies.say(action, input.clone(), events))
}

/// How two answers differ; `None`: they do not.
fn differ(tests: &Result<Value, Failed>, rules: &Result<Value, String>) -> Option<String> {
    let is_same = match (tests, rules) {
        (Ok(tests), Ok(rules)) => tests == rules,
        (Err(_), Err(_)) => true,
        _ => false,
    };
    if is_same {
        return None;
    }
    let answer = |answer: Result<&Value, &str>| match answer {
        Ok(value) => shown(value),
        Err(why) => format!("that it failed ({})", shortened(why)),
    };
    let tests = answer(tests.as_ref().map_err(|failed| failed.why.as_str()));
    let rules = answer(rules.as_ref().map_err(String::as_str));
    Some(format!("what runs tests says {tests}, and what decides says {rules}"))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Undefined => "nothing".to_owned(),
        value if functions::is_bounded(value) => shortened(&value.to_string()),
        _ => "something huge".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Why an input has no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The bundle is none.
    #[error(transparent)]
    Bundle(#[from] BadBundle),
    /// The input is none.
    #[error("{0}")]
    Input(String),
    /// What runs tests and what decides do not say the same.
    #[error("{0}")]
    Disagreement(String),
}

/// What the rules of a bundle say of an input that somebody wrote, if what runs tests says the same.
///
/// # Errors
/// When the bundle or the input is none, or they do not say the same.
pub fn ask_both(bundle: &Bundle, input: &serde_json::Value) -> Result<Decision, AskError> {
    let policies = Policies::compile(bundle)?;
    let decision = policies.evaluate_json(input).map_err(AskError::Input)?;
    let action = input.get("action").and_then(serde_json::Value::as_str).unwrap_or_default();
    let action: Action = action
        .parse()
        .map_err(|error: crate::action::UnknownAction| AskError::Input(error.to_string()))?;
    if policies.decides().any(|it| it == action) {
        let mut interpreter = Interpreter::new(engine(bundle, |file| !file.is_test())?)?;
        let input = Value::from(input.clone());
        let (tests, rules) = ask(&mut interpreter, &policies, action, &input);
        if let Some(differ) = differ(&tests, &rules) {
            return Err(AskError::Disagreement(of_interpreter(&differ)));
        }
    }
    Ok(decision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(files: &[(&str, &str)]) -> Bundle {
        let owned = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Bundle::new(owned).unwrap()
    }

    const RULES: &str = "package nexus.read\ndecision := {\"allow\": input.n > 1}\n";

    fn kept(tests: &str) -> (Kept, usize) {
        let text = format!("package t\nimport data.nexus.read\n{tests}");
        let bundle = bundle(&[("read.rego", RULES), ("t_test.rego", &text)]);
        let mut whole = engine(&bundle, |_| true).unwrap();
        let Calls { places, others } = calls(&mut whole);
        (keep(&bundle, &places, ["data.t.test_a"].into_iter()).unwrap(), others)
    }

    #[test]
    fn inputs_are_kept_whatever_they_are_made_of() {
        for (tests, inputs) in [
            ("test_a if read.decision with input as {\"n\": 1}\n", "[{\"n\": 1}]"),
            (
                "test_a if read.decision.allow with input as {\"n\": 2} with input.m as 3\n",
                "[{\"n\": 2}]",
            ),
            ("one := {\"n\": 1}\ntest_a if read.decision with input as one\n", "[{\"n\": 1}]"),
            ("f(n) := {\"n\": n}\ntest_a if read.decision with input as f(7)\n", "[{\"n\": 7}]"),
            (
                "test_a if {\n\tsome n in [1, 2]\n\tread.decision.allow with input as {\n\t\t\"n\": n # )\n\t}\n}\n",
                "[{\"n\": 1}, {\"n\": 2}]",
            ),
            (
                "test_a if {\n\tevery n in [2, 3] {\n\t\tread.decision.allow with input as ({\"n\": n})\n\t}\n}\n",
                "[{\"n\": 2}, {\"n\": 3}]",
            ),
            (
                "test_a if count([1 | some n in [4]; read.decision with input as {\"n\": n} | {}]) == 1\n",
                "[]",
            ),
            (
                "test_a if not read.decision.allow with input as object.union({\"n\": 1}, {\"m\": 2})\n",
                "[{\"n\": 1, \"m\": 2}]",
            ),
            ("test_b if read.decision with input as {}\ntest_a if test_b\n", "[{}]"),
            ("test_a if read.decision with input as {\"n\": input.x} with input.y as 1\n", "[]"),
        ] {
            let expected = Value::from_json_str(inputs).unwrap();
            let found = Value::from(kept(tests).0.inputs.into_iter().collect::<Vec<_>>());
            assert_eq!(found, expected, "{tests}");
        }
        assert_eq!(kept("test_a if read.decision with input.n as 2\n").1, 1);
    }

    #[test]
    fn answers_that_differ_are_said() {
        let failed = |why: &str| Failed { why: why.to_owned(), is_bound: false };
        assert_eq!(differ(&Ok(Value::Undefined), &Ok(Value::Undefined)), None);
        assert_eq!(differ(&Err(failed("a")), &Err("b".to_owned())), None);
        let said = differ(&Ok(Value::from(1_u64)), &Err("b".to_owned())).unwrap();
        assert!(said.contains("says 1") && said.contains("failed (b)"), "{said}");
        assert!(differ(&Ok(Value::Null), &Ok(Value::Undefined)).unwrap().contains("nothing"));
    }

    #[test]
    fn an_input_is_given_to_both() {
        let bundle = bundle(&[("read.rego", RULES)]);
        let ask = |input: serde_json::Value| ask_both(&bundle, &input);
        let yes = ask(serde_json::json!({ "action": "read", "n": 2 })).unwrap();
        assert!(yes.allow);
        assert!(!ask(serde_json::json!({ "action": "read" })).unwrap().allow);
        assert!(!ask(serde_json::json!({ "action": "append" })).unwrap().allow);
        assert!(matches!(ask(serde_json::json!({ "action": "x" })), Err(AskError::Input(_))));
        assert!(matches!(ask(serde_json::json!(1)), Err(AskError::Input(_))));
    }
}
