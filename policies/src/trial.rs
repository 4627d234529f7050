//! [`Trial`]: what the tests of a bundle say.
//!
//! Tests are rules named `test_…` in files named `…_test.rego`; one passes that is true. They are run by the interpreter,
//! as what decides has no `with`; so that what they say holds, every input that they make is given to both, and both must
//! say the same (see [`agreement`](crate::agreement)).
//!
//! Is not for bundles from others: a decision is bounded in all that it takes, and a test in most of it. A server runs none.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Module, Ref, Rule, RuleHead};
use regorus::{Engine, Value};

use crate::agreement::{self, Agreement};
use crate::bundle::{BadBundle, Bundle};
use crate::interpreter::Interpreter;
use crate::policies::{Policies, engine};
use crate::syntax::{self, Node};

/// Most tests of a bundle that are run.
pub const TESTS_MAX: usize = 10_000;

/// Tests that end only by the bounds on their time; after these no more are run.
const ENDLESS_MAX: usize = 5;

/// How a test went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The path of its rule, such as `data.nexus.read_test.test_a`.
    pub name: String,
    /// The file that it is in.
    pub file: String,
    /// Whether it is true.
    pub passed: bool,
    /// Why not.
    pub why: String,
}

/// Which lines of the rules were run by tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// How many were.
    pub covered: usize,
    /// How many have something to be run; those of tests do not count.
    pub lines: usize,
    /// Those that were not, by the names of files; from 1.
    pub not_covered: BTreeMap<String, Vec<u32>>,
}

impl Coverage {
    /// How many of a hundred; 100 where there is nothing to be run.
    pub fn percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a bundle has few lines")]
        match self.lines {
            0 => 100.0,
            lines => self.covered as f64 * 100.0 / lines as f64,
        }
    }
}

/// What the tests of a bundle say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// How each went, by file, and then as they stand there.
    pub verdicts: Vec<Verdict>,
    /// Tests that are named `todo_test_…`, which are not run.
    pub skipped: Vec<String>,
    /// Which lines they ran.
    pub coverage: Coverage,
    /// Where what runs tests and what decides do not say the same.
    pub disagreements: Vec<String>,
    /// How many answers of both were compared.
    pub compared: usize,
    /// How many inputs of tests could not be given to both.
    pub not_compared: usize,
}

impl Trial {
    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.verdicts.iter().filter(|it| it.passed).count()
    }

    /// How many did not.
    pub fn failed(&self) -> usize {
        self.verdicts.len() - self.passed()
    }

    /// Whether what runs tests and what decides said the same.
    pub fn agree(&self) -> bool {
        self.disagreements.is_empty()
    }
}

/// A test that was found.
struct Test {
    path: String,
    file: String,
    /// How many rules have its name.
    rules: usize,
}

/// Runs the tests of a bundle.
///
/// # Errors
/// When its rules or its tests cannot be read, or a test calls what no policy may.
pub fn try_out(bundle: &Bundle) -> Result<Trial, BadBundle> {
    let policies = Policies::compile(bundle)?;
    let mut whole = engine(bundle, |_| true)?;
    let (tests, skipped) = find(&mut whole)?;
    let Agreement { disagreements, compared, not_compared } =
        agreement::look(bundle, &policies, &mut whole, tests.iter().map(|test| &*test.path))?;
    let mut interpreter = Interpreter::new(whole)?;
    interpreter.engine().set_enable_coverage(true);
    let mut endless = 0;
    let mut verdicts = Vec::with_capacity(tests.len());
    for test in tests {
        let said = match endless < ENDLESS_MAX {
            true => run(&mut interpreter, &test, &mut endless),
            false => Err("it was not run, as others took too long".to_owned()),
        };
        let Test { path: name, file, .. } = test;
        let (passed, why) = (said.is_ok(), said.err().unwrap_or_default());
        verdicts.push(Verdict { name, file, passed, why });
    }
    let coverage = coverage(&mut interpreter);
    Ok(Trial { verdicts, skipped, coverage, disagreements, compared, not_compared })
}

/// The tests of all files of tests, and those that are not run.
fn find(engine: &mut Engine) -> Result<(Vec<Test>, Vec<String>), BadBundle> {
    let (mut tests, mut skipped) = (Vec::<Test>::new(), Vec::new());
    let mut known = BTreeMap::<String, usize>::new();
    for module in tests_of(engine) {
        let package = module.package.refr.span().text();
        for rule in &module.policy {
            let has_value = match rule.as_ref() {
                Rule::Spec { head, .. } => !matches!(head, RuleHead::Func { .. }),
                Rule::Default { .. } => false,
            };
            let name = syntax::name(rule);
            let [name] = name.names.as_slice() else { continue };
            let path = format!("data.{package}.{name}");
            if name.starts_with("todo_test_") && !skipped.contains(&path) {
                skipped.push(path);
            } else if name.starts_with("test_") && has_value {
                if let Some(at) = known.get(&path) {
                    tests[*at].rules += 1;
                    continue;
                }
                known.insert(path.clone(), tests.len());
                tests.push(Test { path, file: syntax::file(module).to_owned(), rules: 1 });
            }
        }
    }
    match tests.len() > TESTS_MAX {
        true => {
            let why = format!("the bundle has {} tests: at most {TESTS_MAX} are run", tests.len());
            Err(BadBundle::TooComplex(why))
        }
        false => Ok((tests, skipped)),
    }
}

/// The files of tests.
pub(crate) fn tests_of(engine: &mut Engine) -> impl Iterator<Item = &Ref<Module>> {
    engine.get_modules().iter().filter(|it| syntax::file(it).ends_with("_test.rego"))
}

fn run(interpreter: &mut Interpreter, test: &Test, endless: &mut usize) -> Result<(), String> {
    if test.rules > 1 {
        // The value of rules with one name is that of any which holds.
        return Err(format!(
            "{} rules have this name, and one that fails would not show",
            test.rules
        ));
    }
    match interpreter.evaluate(&test.path) {
        Ok(Value::Bool(true)) => Ok(()),
        Ok(Value::Undefined) => Err("it is undefined: something in it does not hold".to_owned()),
        Ok(Value::Bool(false)) => Err("it is false".to_owned()),
        Ok(_) => Err("it is neither true nor false".to_owned()),
        Err(failed) => {
            *endless += usize::from(failed.is_bound);
            Err(failed.why)
        }
    }
}

fn coverage(interpreter: &mut Interpreter) -> Coverage {
    let mut reported = BTreeMap::new();
    for file in interpreter.coverage().map(|report| report.files).unwrap_or_default() {
        reported.insert(file.path, (file.covered, file.not_covered));
    }
    let mut coverage = Coverage::default();
    let modules = interpreter.engine().get_modules().iter();
    for module in modules.filter(|it| !syntax::file(it).ends_with("_test.rego")) {
        let file = syntax::file(module);
        // A file of which nothing was run is in no report.
        let (covered, missed) =
            reported.remove(file).unwrap_or_else(|| (BTreeSet::new(), lines(module)));
        let missed: Vec<u32> = missed.difference(&covered).copied().collect();
        coverage.lines += covered.len() + missed.len();
        coverage.covered += covered.len();
        if !missed.is_empty() {
            coverage.not_covered.insert(file.to_owned(), missed);
        }
    }
    coverage
}

/// The lines of a file that have something to be run.
fn lines(module: &Module) -> BTreeSet<u32> {
    let mut lines = BTreeSet::new();
    syntax::walk(module, &mut |node| {
        if let Node::Expr(expr) = node {
            lines.insert(expr.span().line);
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "package nexus.read\n\
        default decision := {\"allow\": false}\n\
        decision := {\"allow\": true} if \"reader\" in input.subject.roles\n\
        decision := {\"allow\": true} if {\n\
        \tinput.resource.reach == \"see\"\n\
        \tnot \"nobody\" in input.subject.roles\n\
        }\n";

    fn bundle(files: &[(&str, &str)]) -> Bundle {
        let all = [("read.rego", RULES)].into_iter().chain(files.iter().copied());
        Bundle::new(all.map(|(name, text)| (name.to_owned(), text.to_owned()))).unwrap()
    }

    fn tried(tests: &str) -> Trial {
        let text = format!("package nexus.read_test\nimport data.nexus.read\n{tests}");
        try_out(&bundle(&[("read_test.rego", &text)])).unwrap()
    }

    fn why(tests: &str) -> String {
        let trial = tried(tests);
        assert_eq!((trial.passed(), trial.failed()), (0, 1), "{trial:?}");
        trial.verdicts[0].why.clone()
    }

    #[test]
    fn tests_pass_that_are_true() {
        let trial = tried(
            "reader := {\"subject\": {\"roles\": [\"reader\"]}, \"resource\": {\"reach\": \"use\"}}\n\
             test_readers_read if read.decision.allow with input as reader\n\
             test_others_do_not if {\n\
             \tsome role in [\"writer\", \"monitor\"]\n\
             \tnot read.decision.allow with input as {\"subject\": {\"roles\": [role]}}\n\
             }\n\
             todo_test_later if false\n\
             helper if false\n",
        );
        assert_eq!((trial.passed(), trial.failed()), (2, 0), "{trial:?}");
        assert_eq!(trial.verdicts[0].name, "data.nexus.read_test.test_readers_read");
        assert_eq!(trial.verdicts[0].file, "read_test.rego");
        assert_eq!(trial.skipped, ["data.nexus.read_test.todo_test_later"]);
        assert!(trial.agree() && trial.compared >= 2 && trial.not_compared == 0, "{trial:?}");
    }

    #[test]
    fn tests_fail_that_are_anything_else_and_say_why() {
        assert!(why("test_a if 1 == 2\n").contains("undefined"));
        assert!(why("test_a := false\n").contains("false"));
        assert!(why("test_a := 1\n").contains("neither"));
        assert!(why("test_a if 1 == 1\ntest_a if 1 == 2\n").contains("2 rules"));
        assert!(why("test_a := 1 if true\ntest_a := 2 if true\n").contains("2 rules"));
        let forever = "many := numbers.range(1, 90000)\ntest_a if count([1 | some x in many; some y in many; x < y]) > 1\n";
        assert!(why(forever).contains("time"), "{}", why(forever));
        assert!(
            why("test_a if not count(numbers.range(1, 1000000000)) > 1\n")
                .contains("numbers.range")
        );
    }

    #[test]
    fn what_no_policy_may_call_no_test_may() {
        let of =
            |tests: &str| try_out(&bundle(&[("read_test.rego", &format!("package a\n{tests}"))]));
        for function in ["rand.intn(\"a\", 2)", "time.now_ns()", "print(1, 2)", "trace(\"a\")"] {
            let found = of(&format!("\ntest_a if {function}\n"));
            assert!(matches!(&found, Err(BadBundle::Function { line: 3, .. })), "{found:?}");
        }
        // Nor may it be put in the place of another.
        let found = of("test_a if time.clock(1) with time.clock as time.now_ns\n").unwrap();
        assert_eq!(found.passed(), 0, "{found:?}");
    }

    #[test]
    fn lines_of_rules_count_that_tests_ran() {
        let all = tried(
            "test_a if read.decision.allow with input as {\"subject\": {\"roles\": []}, \"resource\": {\"reach\": \"see\"}}\n\
             test_b if read.decision.allow with input as {\"subject\": {\"roles\": [\"reader\"]}}\n\
             test_c if not read.decision.allow with input as {}\n",
        );
        assert_eq!((all.passed(), all.coverage.covered), (3, all.coverage.lines), "{all:?}");
        assert_eq!((all.coverage.percent(), all.coverage.lines > 3), (100.0, true));
        let none = tried("test_a if true\n");
        assert_eq!(none.coverage.covered, 0);
        assert_eq!(none.coverage.not_covered["read.rego"], [2, 3, 4, 5, 6]);
        let some = tried(
            "test_a if read.decision.allow with input as {\"subject\": {\"roles\": [\"reader\"]}}\n",
        );
        assert_eq!(some.coverage.not_covered["read.rego"], [4, 6], "{some:?}");
        assert!(some.coverage.percent() > 50.0 && some.coverage.percent() < 100.0);
    }
}
