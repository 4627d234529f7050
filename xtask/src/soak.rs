//! `cargo xtask soak`: the long forms of tests that are short in `cargo xtask test`.
//!
//! A soak is a test that reads from its environment how long to go on. It runs with optimisation
//! and assertions (profile `checked`). Each step of [`STEPS`] gets a share of the minutes.
//!
//! Convention: a test that counts something worth knowing prints a line `count: NAME VALUE` to
//! standard output, such as `count: crash_states 23456`. NAME is one or more words, VALUE a whole
//! number. Values under one name are added up over all lines, and printed as a table or as JSON.
//! Every step sees these variables, and each test reads the one that suits it:
//! - `NEXUS_SOAK_SECONDS`: the share of this step; all others are there for one step only;
//! - `NEXUS_CRASH_STATES`: simulated crashes to recover from, at least;
//! - `NEXUS_MODEL_SECONDS`: how long the model test goes on;
//! - `NEXUS_GROUP_SEEDS`: how many groups are held to their model, 10,000 steps each;
//! - `NEXUS_QUERY_ROUNDS`: how many searches are made up, of pieces that mean something;
//! - `NEXUS_RUNNER_SEEDS`: how many runners of projections are held to a fold of each key by itself;
//! - `NEXUS_SINK_SEEDS`: how many sinks are killed, are full, and fail;
//! - `NEXUS_SINK_FAULTS`: that each place where an index may fail is tried;
//! - `NEXUS_REBUILDS`: how often a projection is rebuilt while it is written to and looked into;
//! - `NEXUS_KILL_ROUNDS`: how often a process is killed while it appends;
//! - `NEXUS_CHAOS_EVENTS`: how many events are done by consumers that are killed and stopped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Command;
use crate::args::{Args, Output};
use crate::process::{Failure, cargo, show, timed};

pub(crate) const COMMAND: Command = Command {
    name: "soak",
    about: "run the long forms of the tests and count what they did",
    help: HELP,
    run,
};

const HELP: &str = "
Usage: cargo xtask soak --minutes M [--only STEP,...] [--output table|json]

Runs crash points, the model tests, projections that are killed, fail, and are rebuilt, kill -9 rounds, and consumers that are
killed, each for its share of M minutes (building is not counted), with optimisation and assertions. Lines `count: NAME VALUE`
that tests print are added up by name. JSON: {ok, minutes, seconds, counts: {NAME: VALUE}, steps: [{name, ok, skipped, seconds}]}.
A step whose tests do not exist is skipped and named; a step that fails does not keep the others
from running. Exit code 0 when every step that ran has passed, 1 otherwise.

Examples:
  cargo xtask soak --minutes 30
  cargo xtask soak --minutes 5 --only crash-points
  cargo xtask soak --minutes 60 --output json
";

/// One soak.
struct Step {
    name: &'static str,
    package: &'static str,
    /// The file without which there is nothing to run.
    needs: &'static str,
    /// Tests of the binary `it` whose names contain this.
    filter: &'static str,
    /// Part of the minutes, out of the sum of all that run.
    share: u64,
    /// Variables that say how long; `{seconds}` stands for the share.
    environment: &'static [(&'static str, &'static str)],
}

/// What is run, in this order. This is the place to add a soak or to move its share.
const STEPS: &[Step] = &[
    Step {
        name: "crash-points",
        package: "nexus-engine",
        needs: "engine/tests/it/main.rs",
        filter: "crash_points",
        share: 4,
        environment: &[("NEXUS_CRASH_STATES", "100000")],
    },
    Step {
        name: "model",
        package: "nexus-engine",
        needs: "engine/tests/it/main.rs",
        filter: "model",
        share: 4,
        environment: &[("NEXUS_MODEL_SECONDS", "{seconds}")],
    },
    Step {
        name: "groups",
        package: "nexus-delivery",
        needs: "delivery/tests/it/main.rs",
        filter: "oracle",
        share: 2,
        environment: &[("NEXUS_GROUP_SEEDS", "500")],
    },
    Step {
        name: "queries",
        package: "nexus-search",
        needs: "search/tests/it/main.rs",
        filter: "door",
        share: 1,
        environment: &[("NEXUS_QUERY_ROUNDS", "500000")],
    },
    Step {
        name: "runners",
        package: "nexus-delivery",
        needs: "delivery/tests/it/main.rs",
        filter: "runner",
        share: 1,
        environment: &[("NEXUS_RUNNER_SEEDS", "5000")],
    },
    Step {
        name: "sinks",
        package: "nexus-search",
        needs: "search/tests/it/main.rs",
        filter: "kill",
        share: 1,
        environment: &[("NEXUS_SINK_SEEDS", "400")],
    },
    Step {
        name: "disks",
        package: "nexus-search",
        needs: "search/tests/it/main.rs",
        filter: "troubles",
        share: 1,
        environment: &[("NEXUS_SINK_SEEDS", "1000")],
    },
    Step {
        name: "faults",
        package: "nexus-search",
        needs: "search/tests/it/main.rs",
        filter: "faults",
        share: 2,
        environment: &[("NEXUS_SINK_FAULTS", "all")],
    },
    Step {
        name: "rebuilds",
        package: "nexus-node",
        needs: "node/tests/it/main.rs",
        filter: "rebuilt_under_heavy_writes",
        share: 1,
        environment: &[("NEXUS_REBUILDS", "50")],
    },
    Step {
        name: "kill",
        package: "nexus-cli",
        needs: "cli/tests/it/main.rs",
        filter: "kill",
        share: 2,
        environment: &[("NEXUS_KILL_ROUNDS", "100")],
    },
    Step {
        name: "chaos",
        package: "nexus-cli",
        needs: "cli/tests/it/main.rs",
        filter: "chaos",
        share: 2,
        environment: &[("NEXUS_CHAOS_EVENTS", "200000")],
    },
];

/// What came of a step.
struct Done {
    name: &'static str,
    /// Why it did not pass, if it ran.
    failed: Option<String>,
    /// Why it did not run.
    skipped: Option<String>,
    took: Duration,
}

type Counts = BTreeMap<String, u64>;

fn run(root: &Path, words: &[String]) -> Result<(), Failure> {
    let mut args = Args::new(words);
    let minutes: Option<f64> = args.value("--minutes")?;
    let minutes = minutes.filter(|minutes| *minutes > 0.0 && minutes.is_finite());
    let minutes = minutes.ok_or_else(|| Failure::usage("say how long: --minutes M"))?;
    let only = args.list("--only")?;
    let output = args.output()?;
    args.finish()?;
    if let Some(unknown) = only.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(Failure::usage(format!("no step {unknown:?}; there are {}", known.join(", "))));
    }

    let chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    let steps: Vec<&Step> = STEPS.iter().filter(chosen).collect();
    let present = steps.iter().filter(|step| root.join(step.needs).is_file());
    let shares: u64 = present.map(|step| step.share).sum();
    let total = Duration::from_secs_f64(minutes * 60.0).as_secs();

    let mut counts = Counts::new();
    let mut done = Vec::new();
    for step in steps {
        let seconds = (total * step.share).checked_div(shares).unwrap_or(0).max(1);
        done.push(soak(root, step, seconds, &mut counts));
    }
    report(minutes, &done, &counts, output)
}

fn soak(root: &Path, step: &Step, seconds: u64, counts: &mut Counts) -> Done {
    let mut done = Done { name: step.name, failed: None, skipped: None, took: Duration::ZERO };
    if !root.join(step.needs).is_file() {
        done.skipped = Some(format!("{} does not exist", step.needs));
        return done;
    }
    let (outcome, took) = timed(|| {
        build(root, step)?;
        let (outcome, took) = timed(|| test(root, step, seconds, counts));
        eprintln!("soak: {}: {:.0} s of {seconds} s", step.name, took.as_secs_f64());
        outcome
    });
    done.took = took;
    match outcome {
        Ok(0) => {
            done.skipped = Some(format!("no test of {} is called {}", step.package, step.filter))
        }
        Ok(_) => {}
        Err(failure) => done.failed = Some(failure.to_string()),
    }
    done
}

fn build(root: &Path, step: &Step) -> Result<(), Failure> {
    let mut command = test_command(root, step);
    crate::process::run(command.arg("--no-run").stdout(Stdio::null()))
}

fn test_command(root: &Path, step: &Step) -> std::process::Command {
    let mut command = cargo();
    command.current_dir(root).args(["test", "--locked", "--profile", "checked"]);
    command.args(["--package", step.package, "--test", "it"]);
    command
}

/// Runs the tests of a step; their lines go to standard error, their counts to `counts`. Gives back
/// how many tests there were.
fn test(root: &Path, step: &Step, seconds: u64, counts: &mut Counts) -> Result<u64, Failure> {
    let mut command = test_command(root, step);
    command.args(["--", step.filter, "--nocapture"]);
    command.env("NEXUS_SOAK_SECONDS", seconds.to_string());
    for (name, value) in step.environment {
        command.env(name, value.replace("{seconds}", &seconds.to_string()));
    }
    let shown = show(&command);
    eprintln!("$ {shown}");
    let cannot = |error| Failure::new(format!("cannot run `{shown}`: {error}"));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(cannot)?;
    let mut tests = 0;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.map_err(cannot)?;
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            if let Some((name, value)) = count(&line) {
                *counts.entry(name).or_default() += value;
            }
            tests += running(&line).unwrap_or(0);
        }
    }
    let status = child.wait().map_err(cannot)?;
    if status.success() { Ok(tests) } else { Err(Failure::new(format!("`{shown}`: {status}"))) }
}

/// `count: NAME VALUE`, also behind the name of a test that is printed without a line end.
fn count(line: &str) -> Option<(String, u64)> {
    let line = line.rsplit_once(" ... ").map_or(line, |(_, after)| after);
    let (name, value) = line.trim_end().strip_prefix("count: ")?.rsplit_once(' ')?;
    Some((name.trim().to_owned(), value.parse().ok()?))
}

/// The number in `running N tests`.
fn running(line: &str) -> Option<u64> {
    let (number, what) = line.strip_prefix("running ")?.split_once(' ')?;
    if what.starts_with("test") { number.parse().ok() } else { None }
}

fn report(minutes: f64, done: &[Done], counts: &Counts, output: Output) -> Result<(), Failure> {
    let failed: Vec<&Done> = done.iter().filter(|step| step.failed.is_some()).collect();
    let none_ran = done.iter().all(|step| step.skipped.is_some());
    match output {
        Output::Json => println!("{}", to_json(minutes, done, counts, failed.is_empty())),
        Output::Table => print_table(done, counts),
    }
    if none_ran {
        return Err(Failure::new("no soak ran"));
    }
    if let Some(first) = failed.first() {
        let why = first.failed.as_deref().unwrap_or_default();
        return Err(Failure::new(format!(
            "{} of {} steps failed: {why}",
            failed.len(),
            done.len()
        )));
    }
    Ok(())
}

fn to_json(minutes: f64, done: &[Done], counts: &Counts, ok: bool) -> Value {
    let step = |step: &Done| {
        json!({
            "name": step.name,
            "ok": step.failed.is_none() && step.skipped.is_none(),
            "skipped": step.skipped,
            "error": step.failed,
            "seconds": step.took.as_secs_f64(),
        })
    };
    let seconds: f64 = done.iter().map(|step| step.took.as_secs_f64()).sum();
    json!({
        "ok": ok,
        "minutes": minutes,
        "seconds": seconds,
        "counts": counts,
        "steps": done.iter().map(step).collect::<Vec<_>>(),
    })
}

fn print_table(done: &[Done], counts: &Counts) {
    for step in done {
        let state = match (&step.failed, &step.skipped) {
            (Some(_), _) => "FAILED".to_owned(),
            (None, Some(reason)) => format!("skipped: {reason}"),
            (None, None) => "passed".to_owned(),
        };
        println!("{:<24} {:>8.1} s  {state}", step.name, step.took.as_secs_f64());
    }
    for (name, value) in counts {
        println!("{name:<24} {value:>10}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_lines_that_begin_so() {
        let check = |line: &str, expected: Option<(&str, u64)>| {
            let expected = expected.map(|(name, value)| (name.to_owned(), value));
            assert_eq!(count(line), expected, "{line}");
        };
        check("count: crash_states 23456", Some(("crash_states", 23456)));
        check("count: crash states 7\r", Some(("crash states", 7)));
        check("test crash_points::all ... count: crash_states 3", Some(("crash_states", 3)));
        check("count: crash_states", None);
        check("count: crash_states many", None);
        check("the count: a 1", None);
    }

    #[test]
    fn a_step_without_tests_is_noticed() {
        assert_eq!(running("running 0 tests"), Some(0));
        assert_eq!(running("running 1 test"), Some(1));
        assert_eq!(running("running late"), None);
    }

    #[test]
    fn the_answer_names_what_was_skipped() {
        let done = [Done {
            name: "kill",
            failed: None,
            skipped: Some("why".to_owned()),
            took: Duration::ZERO,
        }];
        let json = to_json(1.0, &done, &Counts::from([("a".to_owned(), 2)]), true);
        assert_eq!(json["steps"][0]["skipped"], "why");
        assert_eq!(json["steps"][0]["ok"], false);
        assert_eq!(json["counts"]["a"], 2);
        assert!(report(1.0, &done, &Counts::new(), Output::Table).is_err());
    }
}
