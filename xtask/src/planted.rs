//! `cargo xtask planted`: the tests prove that they can see.
//!
//! The engine holds bugs planted on purpose, behind its feature `planted`, each switched on by
//! `NEXUS_PLANTED=name`. The tests are built once with all of them in and off, and must then pass;
//! with any one of them on, they must fail. A bug that no test notices is a hole in the tests.
//!
//! The names are those of `pub const NAMES: &[&str]` in `engine/src/planted.rs`, read as text. What
//! is run is [`STAGES`] of the binary [`TEST`], the cheap ones first, until one fails. Tests that
//! visit many states visit few where `NEXUS_PLANTED` is set, whatever it names.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Command;
use crate::args::{Args, Output};
use crate::process::{Failure, cargo, show, timed};
use crate::source::{Source, words as find_words};

pub(crate) const COMMAND: Command = Command {
    name: "planted",
    about: "check that the tests catch every bug planted in the engine",
    help: HELP,
    run,
};

const HELP: &str = "
Usage: cargo xtask planted [--only NAME,...] [--output table|json]

Builds the tests of nexus-engine with the feature `planted`, runs them once with every bug off (they
must pass), and once with each bug on (they must fail). JSON: {planted, caught, missed: [...],
seconds, bugs: [{name, caught, how, seconds}]}. What each run printed is kept in target/planted/.
Exit code 0 when every bug is caught, 1 otherwise.

Examples:
  cargo xtask planted
  cargo xtask planted --only ack_before_sync
  cargo xtask planted --output json
";

/// The list of names.
const NAMES_SOURCE: &str = "engine/src/planted.rs";
/// The test binary that is run for each bug: `engine/tests/it/`.
const TEST: &str = "it";
/// Names of tests to run for each bug, stage by stage; any that contains one of these.
const STAGES: &[&[&str]] = &[
    &[
        "basics::",
        "seams::",
        "damage::",
        "deleted::a_crash",
        "failed_syncs::",
        "stale_cut::",
        "fenced::",
        "faults::",
        "rewrite::a_crash",
    ],
    &["crash_points::", "flips::flips_of_the_active", "flips::flips_of_a_store"],
];
/// What `NEXUS_PLANTED` names when no bug is on.
const NO_BUG: &str = "none";
/// A bug that makes the tests hang is caught by the clock. The run without bugs gets as long.
const TIME_MAX: Duration = Duration::from_secs(300);

/// What came of one bug.
struct Bug {
    name: String,
    run: Run,
    took: Duration,
}

/// How a run of the tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Passed,
    Failed,
    TimedOut,
}

impl Run {
    fn caught(self) -> bool {
        self != Self::Passed
    }

    fn how(self) -> &'static str {
        match self {
            Self::Passed => "missed",
            Self::Failed => "a test failed",
            Self::TimedOut => "ran out of time",
        }
    }
}

/// Whether there is something to run; otherwise why not.
pub(crate) fn available(root: &Path) -> Result<(), String> {
    for path in [NAMES_SOURCE, "engine/tests/it/main.rs"] {
        if !root.join(path).is_file() {
            return Err(format!("{path} does not exist"));
        }
    }
    Ok(())
}

fn run(root: &Path, words: &[String]) -> Result<(), Failure> {
    let mut args = Args::new(words);
    let output = args.output()?;
    let only = args.list("--only")?;
    args.finish()?;
    available(root).map_err(Failure::new)?;
    let names = chosen(root, &only)?;

    let (result, took) = timed(|| try_all(root, &names));
    let bugs = result?;
    let missed: Vec<&str> =
        bugs.iter().filter(|bug| !bug.run.caught()).map(|bug| bug.name.as_str()).collect();
    match output {
        Output::Json => println!("{}", to_json(&bugs, &missed, took)),
        Output::Table => print_table(&bugs, took),
    }
    if missed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("no test caught: {}", missed.join(", "))))
}

fn chosen(root: &Path, only: &[String]) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(root.join(NAMES_SOURCE))
        .map_err(|error| Failure::new(format!("{NAMES_SOURCE}: {error}")))?;
    let names = names(&text);
    if names.is_empty() {
        return Err(Failure::new(format!("{NAMES_SOURCE} has no `pub const NAMES: &[&str]`")));
    }
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        let known = names.join(", ");
        return Err(Failure::usage(format!("no bug {unknown:?} is planted; there are {known}")));
    }
    Ok(names.into_iter().filter(|name| only.is_empty() || only.contains(name)).collect())
}

/// The strings of `const NAMES`.
fn names(text: &str) -> Vec<String> {
    let source = Source::scan(text);
    let Some(start) = find_words(&source.code, "const NAMES").next() else { return Vec::new() };
    let end = source
        .code
        .get(start..)
        .and_then(|rest| rest.find(';'))
        .map_or(text.len(), |at| start + at);
    let inside = source.strings.iter().filter(|string| (start..end).contains(&string.start));
    inside.filter_map(|string| text.get(string.clone())).map(str::to_owned).collect()
}

fn try_all(root: &Path, names: &[String]) -> Result<Vec<Bug>, Failure> {
    let binary = build(root)?;
    let logs = root.join("target/planted");
    std::fs::create_dir_all(&logs)
        .map_err(|error| Failure::new(format!("{}: {error}", logs.display())))?;

    let (clean, took) = try_one(root, &binary, &logs, None)?;
    eprintln!("planted: without a bug the tests {clean:?} in {:.1} s", took.as_secs_f64());
    if clean.caught() {
        return Err(Failure::new("the tests fail without any bug: see target/planted/clean.log"));
    }
    let said = std::fs::read_to_string(logs.join("clean.log")).unwrap_or_default();
    if said.contains("running 0 tests") {
        return Err(Failure::new(format!("a stage of {STAGES:?} matches no test")));
    }
    let mut bugs = Vec::new();
    for name in names {
        let (run, took) = try_one(root, &binary, &logs, Some(name))?;
        eprintln!("planted: {name}: {} ({:.1} s)", run.how(), took.as_secs_f64());
        bugs.push(Bug { name: name.clone(), run, took });
    }
    Ok(bugs)
}

/// Builds the test binary and says where it is.
fn build(root: &Path) -> Result<PathBuf, Failure> {
    let mut command = cargo();
    command.current_dir(root).args(["test", "--locked", "--no-run", "--package", "nexus-engine"]);
    command.args(["--features", "planted", "--test", TEST]);
    command.args(["--message-format", "json-render-diagnostics"]);
    eprintln!("$ {}", show(&command));
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("cannot start cargo: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new("the tests with planted bugs do not build"));
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    executable(&messages).ok_or_else(|| Failure::new("cargo names no test binary"))
}

fn executable(messages: &str) -> Option<PathBuf> {
    let of_test = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"].as_str() == Some(TEST)).then(|| PathBuf::from(path))
    };
    messages.lines().find_map(of_test)
}

fn try_one(
    root: &Path,
    binary: &Path,
    logs: &Path,
    name: Option<&str>,
) -> Result<(Run, Duration), Failure> {
    let path = logs.join(format!("{}.log", name.unwrap_or("clean")));
    let in_log = |error| Failure::new(format!("{}: {error}", path.display()));
    let log = File::create(&path).map_err(in_log)?;
    let start = Instant::now();
    for stage in STAGES {
        let mut command = Process::new(binary);
        // Cargo runs a test in the folder of its package.
        command.current_dir(root.join("engine")).args(*stage);
        command.env("NEXUS_PLANTED", name.unwrap_or(NO_BUG)).env_remove("NEXUS_CRASH_STATES");
        let (out, errors) = (log.try_clone().map_err(in_log)?, log.try_clone().map_err(in_log)?);
        command.stdin(Stdio::null()).stdout(out).stderr(errors);
        let cannot = |error| Failure::new(format!("cannot run {}: {error}", binary.display()));
        let run = wait(&mut command, start).map_err(cannot)?;
        if run.caught() {
            return Ok((run, start.elapsed()));
        }
    }
    Ok((Run::Passed, start.elapsed()))
}

fn wait(command: &mut Process, start: Instant) -> std::io::Result<Run> {
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(if status.success() { Run::Passed } else { Run::Failed });
        }
        if start.elapsed() > TIME_MAX {
            child.kill()?;
            child.wait()?;
            return Ok(Run::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn to_json(bugs: &[Bug], missed: &[&str], took: Duration) -> Value {
    let line = |bug: &Bug| {
        json!({
            "name": bug.name,
            "caught": bug.run.caught(),
            "how": bug.run.how(),
            "seconds": bug.took.as_secs_f64(),
        })
    };
    json!({
        "planted": bugs.len(),
        "caught": bugs.len() - missed.len(),
        "missed": missed,
        "seconds": took.as_secs_f64(),
        "bugs": bugs.iter().map(line).collect::<Vec<_>>(),
    })
}

fn print_table(bugs: &[Bug], took: Duration) {
    for bug in bugs {
        println!("{:<32} {:<16} {:>6.1} s", bug.name, bug.run.how(), bug.took.as_secs_f64());
    }
    let caught = bugs.iter().filter(|bug| bug.run.caught()).count();
    println!("planted {} caught {caught} in {:.1} s", bugs.len(), took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_list_only() {
        let text = "//! \"not_this\"\nconst OTHER: &str = \"nor_this\";\n\
                    pub const NAMES: &[&str] = &[\n    \"one\", // \"comment\"\n    \"two\",\n];\n\
                    fn f() -> &'static str { \"nor_that\" }\n";
        assert_eq!(names(text), ["one", "two"]);
        assert!(names("const OTHER: u8 = 1;").is_empty());
    }

    #[test]
    fn the_binary_is_found_in_what_cargo_says() {
        let messages = "{\"executable\":null,\"target\":{\"name\":\"it\"}}\n\
                        {\"executable\":\"/x/other\",\"target\":{\"name\":\"other\"}}\nnot json\n\
                        {\"executable\":\"/x/it\",\"target\":{\"name\":\"it\"}}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/x/it")));
    }

    #[test]
    fn the_answer_counts_what_was_missed() {
        let bug = |name: &str, run| Bug { name: name.to_owned(), run, took: Duration::ZERO };
        let bugs = [bug("a", Run::Failed), bug("b", Run::Passed), bug("c", Run::TimedOut)];
        let json = to_json(&bugs, &["b"], Duration::ZERO);
        assert_eq!(json["planted"], 3);
        assert_eq!(json["caught"], 2);
        assert_eq!(json["missed"], json!(["b"]));
    }
}
