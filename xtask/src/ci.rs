//! `cargo xtask ci`: every check of a change that is not a test, in one table.
//!
//! To change what is checked, change [`STEPS`]. The order is cheap before dear, so that what fails
//! fails early. A step whose subject does not exist yet is skipped, and says so.

use std::path::Path;
use std::time::Duration;

use crate::args::Args;
use crate::process::{Failure, cargo, run as run_step, timed};
use crate::{Command, fuzz, planted, tree};

pub(crate) const COMMAND: Command =
    Command { name: "ci", about: "run every check that is not a test", help: HELP, run };

const HELP: &str = "
Usage: cargo xtask ci [--only STEP,...] [--from STEP] [--list]

Runs the steps that --list names, in that order, and stops at the first that fails. The tests
themselves are `cargo xtask test`.

Options:
  --only STEP,...   only these steps
  --from STEP       this step and those after it
  --list            name the steps and what each runs

Examples:
  cargo xtask ci
  cargo xtask ci --only fmt,clippy
  cargo xtask ci --from loom
";

/// What a step runs.
enum Work {
    /// Cargo with these arguments.
    Cargo(&'static [&'static str]),
    /// A command of this tool with these arguments.
    Task(&'static [&'static str]),
}

/// One step.
struct Step {
    name: &'static str,
    work: Work,
    environment: &'static [(&'static str, &'static str)],
    /// Whether its subject is there; otherwise why not.
    available: fn(&Path) -> Result<(), String>,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        work: Work::Cargo(&["fmt", "--all", "--check"]),
        environment: &[],
        available: always,
    },
    Step { name: "tidy", work: Work::Task(&["tidy"]), environment: &[], available: always },
    Step { name: "licences", work: Work::Task(&["licences"]), environment: &[], available: always },
    Step {
        name: "clippy",
        // Not --all-features: the engine's feature `planted` is there to break it.
        work: Work::Cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--features",
            "nexus-engine/testing",
            "--",
            "--deny",
            "warnings",
        ]),
        environment: &[],
        available: always,
    },
    Step {
        name: "doc",
        work: Work::Cargo(&["doc", "--workspace", "--no-deps", "--locked"]),
        environment: &[("RUSTDOCFLAGS", "--deny warnings")],
        available: always,
    },
    Step {
        name: "loom",
        work: Work::Cargo(&[
            "test",
            "--package",
            "nexus-engine",
            "--release",
            "--locked",
            "--lib",
            "loom_",
        ]),
        // `--cfg loom` rebuilds everything, so it has a folder of its own.
        environment: &[("RUSTFLAGS", "--cfg loom"), ("CARGO_TARGET_DIR", "target/loom")],
        available: loom_models,
    },
    Step {
        name: "planted",
        work: Work::Task(&["planted"]),
        environment: &[],
        available: planted::available,
    },
    Step {
        name: "fuzz",
        work: Work::Task(&["fuzz", "--seconds", "20", "--runs", "5000"]),
        environment: &[],
        available: fuzz::available,
    },
];

fn always(_root: &Path) -> Result<(), String> {
    Ok(())
}

/// Loom models are tests of the engine's library whose names contain `loom_`.
fn loom_models(root: &Path) -> Result<(), String> {
    let files = tree::files(root).map_err(|failure| failure.to_string())?;
    let model = |file: &tree::TreeFile| {
        file.path.starts_with("engine/src/")
            && file.has_extension("rs")
            && file.text.contains("loom_")
    };
    if files.iter().any(model) { Ok(()) } else { Err("the engine has no loom models".to_owned()) }
}

/// How a step ended, and what it took.
struct Done {
    name: &'static str,
    state: String,
    took: Duration,
}

fn run(root: &Path, words: &[String]) -> Result<(), Failure> {
    let mut args = Args::new(words);
    let only = args.list("--only")?;
    let from: Option<String> = args.value("--from")?;
    let list = args.switch("--list");
    args.finish()?;
    let steps = chosen(&only, from.as_deref())?;
    if list {
        for step in &steps {
            println!("{:<10} {}", step.name, shown(step));
        }
        return Ok(());
    }
    let mut done = Vec::new();
    let mut failure = None;
    for step in steps {
        eprintln!("--- ci: {}", step.name);
        let (outcome, took) = timed(|| work(root, step));
        let (state, failed) = match outcome {
            Ok(None) => ("passed".to_owned(), None),
            Ok(Some(reason)) => (format!("skipped: {reason}"), None),
            Err(failed) => ("FAILED".to_owned(), Some(failed)),
        };
        eprintln!("--- ci: {}: {state}, {:.1} s", step.name, took.as_secs_f64());
        done.push(Done { name: step.name, state, took });
        failure = failed.map(|failed| explain(step, &failed));
        if failure.is_some() {
            break;
        }
    }
    print_table(&done);
    failure.map_or(Ok(()), Err)
}

fn explain(step: &Step, failed: &Failure) -> Failure {
    let name = step.name;
    Failure::new(format!(
        "{failed}\nstep {name} failed; to run it alone: cargo xtask ci --only {name}"
    ))
}

fn chosen(only: &[String], from: Option<&str>) -> Result<Vec<&'static Step>, Failure> {
    let known = |name: &str| STEPS.iter().any(|step| step.name == name);
    let named = only.iter().map(String::as_str).chain(from);
    if let Some(unknown) = named.into_iter().find(|name| !known(name)) {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(Failure::usage(format!("no step {unknown:?}; there are {}", names.join(", "))));
    }
    let start = from.and_then(|from| STEPS.iter().position(|step| step.name == from));
    let rest = STEPS.iter().skip(start.unwrap_or(0));
    Ok(rest.filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect())
}

fn shown(step: &Step) -> String {
    let variables = step.environment.iter().map(|(name, value)| format!("{name}='{value}' "));
    let (program, words) = match step.work {
        Work::Cargo(words) => ("cargo", words),
        Work::Task(words) => ("cargo xtask", words),
    };
    format!("{}{program} {}", variables.collect::<String>(), words.join(" "))
}

/// Runs a step; gives back why it was skipped, if it was.
fn work(root: &Path, step: &Step) -> Result<Option<String>, Failure> {
    if let Err(reason) = (step.available)(root) {
        return Ok(Some(reason));
    }
    match step.work {
        Work::Cargo(words) => {
            let mut command = cargo();
            let variables = step.environment.iter().copied();
            run_step(command.current_dir(root).args(words).envs(variables))?;
        }
        Work::Task(words) => {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            crate::dispatch(root, &words)?;
        }
    }
    Ok(None)
}

fn print_table(done: &[Done]) {
    println!();
    for step in done {
        println!("{:<10} {:>8.1} s  {}", step.name, step.took.as_secs_f64(), step.state);
    }
    let total: f64 = done.iter().map(|step| step.took.as_secs_f64()).sum();
    println!("{:<10} {total:>8.1} s", "ci");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str], from: Option<&str>) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        chosen(&only, from).unwrap().iter().map(|step| step.name).collect()
    }

    #[test]
    fn steps_are_chosen_by_name_and_keep_their_order() {
        assert_eq!(names(&[], None).len(), STEPS.len());
        assert_eq!(names(&["clippy", "fmt"], None), ["fmt", "clippy"]);
        assert_eq!(names(&[], Some("planted")), ["planted", "fuzz"]);
        assert!(chosen(&["tity".to_owned()], None).is_err());
        assert!(chosen(&[], Some("tity")).is_err());
    }

    #[test]
    fn steps_that_are_commands_name_commands() {
        for step in STEPS {
            if let Work::Task(words) = step.work {
                assert!(crate::find(words[0]).is_some(), "{}", step.name);
            } else {
                assert!(shown(step).contains("cargo"), "{}", step.name);
            }
        }
    }
}
