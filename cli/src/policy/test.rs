//! `nexus policy test`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nexus_policies::{Trial, try_out};
use serde::Serialize;

use super::files;
use crate::exit::Failure;
use crate::output::Output;

/// Which bundle, and what is asked of its tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory with its files
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// How many of a hundred lines of the rules tests have to run
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    min_coverage: f64,
}

/// A share of a hundred.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|it| (0.0..=100.0).contains(it));
    number.ok_or_else(|| "it is no number from 0 to 100".to_owned())
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    passed: usize,
    failed: usize,
    skipped: usize,
    coverage: f64,
    interpreters_agree: bool,
    /// How many answers were compared for that.
    compared: usize,
    failures: Vec<Failed<'a>>,
    disagreements: &'a [String],
    not_covered: &'a BTreeMap<String, Vec<u32>>,
}

#[derive(Debug, Serialize)]
struct Failed<'a> {
    test: &'a str,
    file: &'a str,
    why: &'a str,
}

/// Runs the tests of a bundle.
pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let bundle = files::read(&args.bundle)?;
    let trial = try_out(&bundle).map_err(|why| Failure::failed(why.to_string()))?;
    let coverage = trial.coverage.percent();
    let failures = trial.verdicts.iter().filter(|verdict| !verdict.passed);
    let failures =
        failures.map(|it| Failed { test: &it.name, file: &it.file, why: &it.why }).collect();
    let report = Report {
        passed: trial.passed(),
        failed: trial.failed(),
        skipped: trial.skipped.len(),
        coverage: (coverage * 10.0).round() / 10.0,
        interpreters_agree: trial.agree(),
        compared: trial.compared,
        failures,
        disagreements: &trial.disagreements,
        not_covered: &trial.coverage.not_covered,
    };
    output.one(&report, &in_words(&report))?;
    verdict(&trial, coverage, args.min_coverage)
}

/// Whether that is enough.
fn verdict(trial: &Trial, coverage: f64, min_coverage: f64) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    if trial.verdicts.is_empty() {
        wrong.push(
            "there are no tests: write rules named `test_…` into files that end with `_test.rego`"
                .to_owned(),
        );
    }
    if trial.failed() > 0 {
        wrong.push(format!("{} of {} tests failed", trial.failed(), trial.verdicts.len()));
    }
    if !trial.agree() {
        wrong.push("what runs tests and what decides do not say the same".to_owned());
    }
    if coverage < min_coverage {
        wrong.push(format!(
            "tests run {coverage:.1} % of the rules, and {min_coverage} % are asked for"
        ));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(wrong.join("; "))),
    }
}

fn in_words(report: &Report<'_>) -> String {
    let Report { passed, failed, coverage, compared, .. } = report;
    let mut said = String::new();
    for Failed { test, file, why } in &report.failures {
        said.push_str(&format!("FAILED  {test} ({file}): {why}\n"));
    }
    for disagreement in report.disagreements {
        said.push_str(&format!("DISAGREE  {disagreement}\n"));
    }
    for (file, lines) in report.not_covered {
        let lines: Vec<_> = lines.iter().map(u32::to_string).collect();
        said.push_str(&format!("not run by a test: {file}, lines {}\n", lines.join(", ")));
    }
    said.push_str(&format!(
        "{passed} passed, {failed} failed, {} not run; {coverage} % of the rules are run by tests; both interpreters {} \
         in {compared} answers\n",
        report.skipped,
        if report.interpreters_agree { "agree" } else { "do not agree" },
    ));
    said
}
