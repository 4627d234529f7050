//! `cargo xtask test`: every test, by the fastest runner that is installed.
//!
//! `cargo nextest` runs tests in processes of their own and does not know documentation tests;
//! `cargo test` runs those. Where nextest is missing, `cargo test` runs everything.

use std::path::Path;
use std::time::Duration;

use crate::Command;
use crate::metadata::{self, Package};
use crate::process::{Failure, cargo, run as run_step, succeeds, timed};

pub(crate) const COMMAND: Command = Command {
    name: "test",
    about: "run every test, then the tests in the documentation",
    help: HELP,
    run,
};

const HELP: &str = "
Usage: cargo xtask test [ARGUMENTS]

Runs `cargo nextest run`, or `cargo test` where nextest is not installed, over the workspace with
the locked dependencies, then `cargo test --doc`. ARGUMENTS go to the first step as they are; the
second gets those that choose packages and features, and is left out when there are others, such
as the name of a test. With -p, only those packages are built.

Examples:
  cargo xtask test
  cargo xtask test -p nexus-engine
  cargo xtask test -p nexus-engine torn_tail
  cargo xtask test -p nexus-engine --features testing
";

/// Options that choose what is built; they mean the same to every runner.
const SELECTING: &[&str] = &["-p", "--package", "--features", "--profile", "--exclude"];
const SELECTING_SWITCHES: &[&str] = &["--release", "-r", "--all-features", "--no-default-features"];

/// Options that choose targets.
const TARGETS: &[&str] =
    &["--lib", "--bin", "--bins", "--test", "--tests", "--example", "--examples", "--all-targets"];

fn run(root: &Path, words: &[String]) -> Result<(), Failure> {
    let selection = Selection::read(words);
    let nextest = succeeds(cargo().current_dir(root).args(["nextest", "--version"]));
    let runner: &[&str] = match (nextest, selection.target) {
        (true, _) => &["nextest", "run"],
        (false, true) => &["test"],
        // Without a target named, `cargo test` would run the documentation tests here already.
        (false, false) => &["test", "--tests"],
    };

    let mut tests = cargo();
    tests.current_dir(root).args(runner).arg("--locked").args(selection.scope()).args(words);
    let (outcome, tests_took) = timed(|| run_step(&mut tests));
    outcome?;

    let mut steps = vec![(if nextest { "cargo nextest" } else { "cargo test" }, tests_took)];
    if let Some(reason) = selection.no_doc_tests(&metadata::members(root)?) {
        eprintln!("documentation tests are left out: {reason}");
    } else {
        let mut docs = cargo();
        docs.current_dir(root).args(["test", "--doc", "--locked"]).args(selection.scope());
        let (outcome, docs_took) = timed(|| run_step(docs.args(words)));
        outcome?;
        steps.push(("cargo test --doc", docs_took));
    }
    print_steps(&steps);
    Ok(())
}

fn print_steps(steps: &[(&str, Duration)]) {
    for (name, took) in steps {
        println!("{name}: passed in {:.1} s", took.as_secs_f64());
    }
}

/// What the arguments choose.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    packages: Vec<String>,
    /// Whether a target is among them: the library, a binary, a file of tests.
    target: bool,
    /// The first argument that only the runner of tests understands.
    other: Option<String>,
}

impl Selection {
    fn read(words: &[String]) -> Self {
        let mut selection = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, assigned) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            if SELECTING.contains(&name) {
                let value = assigned.or_else(|| words.next().cloned()).unwrap_or_default();
                if name == "-p" || name == "--package" {
                    selection.packages.push(value);
                }
            } else if !SELECTING_SWITCHES.contains(&word.as_str()) {
                selection.target |= TARGETS.contains(&name);
                selection.other.get_or_insert_with(|| word.clone());
            }
        }
        selection
    }

    /// `--workspace`, unless packages are chosen by name.
    fn scope(&self) -> &'static [&'static str] {
        if self.packages.is_empty() { &["--workspace"] } else { &[] }
    }

    /// Why there are no documentation tests to run.
    fn no_doc_tests(&self, members: &[Package]) -> Option<String> {
        if let Some(other) = &self.other {
            return Some(format!("{other:?} is for the tests"));
        }
        let chosen =
            |package: &&Package| self.packages.is_empty() || self.packages.contains(&package.name);
        let library = members.iter().filter(chosen).any(Package::has_library);
        (!library).then(|| "no library is chosen".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(line: &str) -> Selection {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Selection::read(&words)
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_packages_are_named() {
        assert_eq!(selection("").scope(), ["--workspace"]);
        assert_eq!(selection("--release --features a/b").scope(), ["--workspace"]);
        assert!(selection("-p nexus-engine").scope().is_empty());
        assert_eq!(selection("-p a --package=b").packages, ["a", "b"]);
        assert!(selection("-p a --test it").target);
        assert!(!selection("-p a torn_tail").target);
    }

    #[test]
    fn documentation_tests_are_left_out_when_tests_are_chosen() {
        let library = |name: &str, kind: &str| Package {
            name: name.to_owned(),
            version: String::new(),
            license: None,
            source: None,
            folder: String::new(),
            dependencies: Vec::new(),
            targets: vec![(kind.to_owned(), name.to_owned())],
        };
        let members = [library("a", "lib"), library("b", "bin")];
        let left_out = |line: &str| selection(line).no_doc_tests(&members).is_some();
        assert!(!left_out(""));
        assert!(!left_out("-p a --release"));
        assert!(left_out("-p b"));
        assert!(left_out("torn_tail"));
        assert!(left_out("-p a -- --nocapture"));
    }
}
