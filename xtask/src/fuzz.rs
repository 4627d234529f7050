//! `cargo xtask fuzz`: every fuzz target for a while.
//!
//! Fuzzing needs a nightly toolchain and a target built with coverage and the address sanitizer.
//! `cargo fuzz` does that where it is installed; where it is not, this builds the same way with the
//! flags in [`COVERAGE`], since a target is an ordinary binary that links libFuzzer. Inputs that are
//! worth keeping are in `fuzz/corpus/TARGET/`; new ones go to `target/fuzz/corpus/TARGET/`, and what
//! breaks a target to `target/fuzz/artifacts/TARGET/`.

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use crate::Command;
use crate::args::Args;
use crate::metadata::{self, FUZZ_MANIFEST};
use crate::process::{Failure, capture, cargo_nightly, run as run_step, show, succeeds, timed};

pub(crate) const COMMAND: Command =
    Command { name: "fuzz", about: "run every fuzz target for some seconds each", help: HELP, run };

const HELP: &str = "
Usage: cargo xtask fuzz [--seconds N] [--runs N] [--only TARGET,...] [--list]

Runs each target of fuzz/ for N seconds (60 unless told), or for N runs from a fixed seed if sooner, by `cargo fuzz` where it is installed and
otherwise by building the targets itself. Needs a nightly toolchain; without one, or without fuzz/,
it says so and does nothing. An input that breaks a target is kept under target/fuzz/artifacts/. Says
of each target how many inputs it ran, as `count: fuzz_runs_TARGET N`.

Examples:
  cargo xtask fuzz --seconds 20
  cargo xtask fuzz --only frame --seconds 600
";

/// What makes a binary a fuzz target: coverage for libFuzzer, the address sanitizer, assertions.
const COVERAGE: &[&str] = &[
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

/// A single input may take this long before it counts as a hang.
const INPUT_SECONDS_MAX: u32 = 25;
/// No decoder needs more memory at once, in MiB: the largest record has 16.
const ALLOCATION_MIB_MAX: u32 = 64;
/// What libFuzzer says at its end before the number of inputs that it ran.
const RUNS: &str = "stat::number_of_executed_units:";

/// Whether there is something to fuzz and something to do it with; otherwise why not.
pub(crate) fn available(root: &Path) -> Result<(), String> {
    if !root.join(FUZZ_MANIFEST).is_file() {
        return Err("fuzz/ does not exist".to_owned());
    }
    if !succeeds(cargo_nightly().arg("--version")) {
        return Err("no nightly toolchain is installed".to_owned());
    }
    Ok(())
}

fn run(root: &Path, words: &[String]) -> Result<(), Failure> {
    let mut args = Args::new(words);
    let seconds = args.value::<u64>("--seconds")?.unwrap_or(60);
    let runs_max = args.value::<u64>("--runs")?;
    let only = args.list("--only")?;
    let list = args.switch("--list");
    args.finish()?;
    if let Err(reason) = available(root) {
        println!("fuzz: skipped: {reason}");
        return Ok(());
    }
    let targets = chosen(root, &only)?;
    if list {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(());
    }
    let driver = if succeeds(cargo_nightly().args(["fuzz", "--version"])) {
        Driver::CargoFuzz
    } else {
        Driver::Binaries(build(root)?)
    };
    for target in &targets {
        let (outcome, took) = timed(|| driver.fuzz(root, target, seconds, runs_max));
        let runs = outcome?;
        println!("fuzz: {target}: nothing found in {:.0} s", took.as_secs_f64());
        println!("count: fuzz_runs_{target} {runs}");
    }
    Ok(())
}

fn chosen(root: &Path, only: &[String]) -> Result<Vec<String>, Failure> {
    let members = metadata::members(&root.join("fuzz"))?;
    let targets = members.iter().flat_map(|package| &package.targets);
    let names: Vec<String> =
        targets.filter(|(kind, _)| kind == "bin").map(|(_, name)| name.clone()).collect();
    if names.is_empty() {
        return Err(Failure::new(format!("{FUZZ_MANIFEST} has no [[bin]]")));
    }
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        let known = names.join(", ");
        return Err(Failure::usage(format!("no fuzz target {unknown:?}; there are {known}")));
    }
    Ok(names.into_iter().filter(|name| only.is_empty() || only.contains(name)).collect())
}

/// How targets are run.
enum Driver {
    /// By the tool for it.
    CargoFuzz,
    /// By the binaries in this folder.
    Binaries(PathBuf),
}

impl Driver {
    /// Runs a target, and answers how many inputs that were.
    fn fuzz(
        &self,
        root: &Path,
        target: &str,
        seconds: u64,
        runs_max: Option<u64>,
    ) -> Result<u64, Failure> {
        let folder = root.join("target/fuzz");
        let corpus = folder.join("corpus").join(target);
        let artifacts = folder.join("artifacts").join(target);
        for needed in [&corpus, &artifacts] {
            std::fs::create_dir_all(needed)
                .map_err(|error| Failure::new(format!("{}: {error}", needed.display())))?;
        }
        let mut command = match self {
            Self::CargoFuzz => {
                let mut command = cargo_nightly();
                command.args(["fuzz", "run", target]).env("CARGO_TARGET_DIR", &folder);
                command
            }
            Self::Binaries(binaries) => Process::new(binaries.join(target)),
        };
        command.current_dir(root).stdin(Stdio::null()).arg(&corpus);
        let seeds = root.join("fuzz/corpus").join(target);
        if seeds.is_dir() {
            command.arg(seeds);
        }
        if matches!(self, Self::CargoFuzz) {
            command.arg("--");
        }
        command.arg(format!("-max_total_time={seconds}"));
        if let Some(runs) = runs_max {
            // The same inputs each time: a check of a change must not depend on luck.
            command.args([format!("-runs={runs}"), "-seed=1".to_owned()]);
        }
        command.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
        command.arg(format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}"));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        count_runs(command.arg("-print_final_stats=1")).map_err(|failure| {
            Failure::new(format!("fuzz target {target}: {failure}; see {}", artifacts.display()))
        })
    }
}

/// Runs a target, and repeats what it says only where it fails: it says much.
fn count_runs(command: &mut Process) -> Result<u64, Failure> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let output = command
        .output()
        .map_err(|error| Failure::new(format!("cannot start `{shown}`: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{said}");
        return Err(Failure::new(format!("`{shown}`: {}", output.status)));
    }
    runs_in(&said).ok_or_else(|| Failure::new(format!("`{shown}` does not say how much it ran")))
}

/// The number of inputs that a target says it ran.
fn runs_in(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.strip_prefix(RUNS)?.trim().parse().ok())
}

/// Builds all targets as `cargo fuzz` would, and says where they are.
fn build(root: &Path) -> Result<PathBuf, Failure> {
    let version = capture(cargo_nightly().args(["--version", "--verbose"]))?;
    let platform = version.lines().find_map(|line| line.strip_prefix("host: "));
    let platform = platform.ok_or_else(|| Failure::new("cargo does not name its platform"))?;
    let folder = root.join("target/fuzz");
    let mut command = cargo_nightly();
    command.current_dir(root.join("fuzz")).args(["build", "--release", "--bins"]);
    if root.join("fuzz/Cargo.lock").is_file() {
        command.arg("--locked");
    }
    // With a platform named, the flags reach the targets but not build scripts and macros.
    command.args(["--target", platform]).env("CARGO_TARGET_DIR", &folder);
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", COVERAGE.join(" "));
    run_step(&mut command)?;
    Ok(folder.join(platform).join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_runs_is_found_in_what_libfuzzer_says() {
        let said = "#8 DONE cov: 4\nstat::number_of_executed_units: 1048\nstat::new_units: 2\n";
        assert_eq!(runs_in(said), Some(1048));
        assert_eq!(runs_in("#8 DONE cov: 4\n"), None);
    }
}
