//! `nexus policy check`.

use std::path::PathBuf;

use nexus_policies::{Finding, Severity, lint};
use serde::Serialize;

use super::files;
use crate::exit::Failure;
use crate::output::Output;

/// Which bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory with its files
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    ok: bool,
    errors: usize,
    warnings: usize,
    findings: Vec<Found<'a>>,
}

#[derive(Debug, Serialize)]
struct Found<'a> {
    file: &'a str,
    line: u32,
    severity: &'static str,
    code: &'a str,
    message: &'a str,
}

/// Looks at a bundle.
pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let findings = lint(&files::read(&args.bundle)?);
    let is_error = |finding: &&Finding| finding.severity == Severity::Error;
    let errors = findings.iter().filter(is_error).count();
    let report = Report {
        ok: errors == 0,
        errors,
        warnings: findings.len() - errors,
        findings: findings.iter().map(found).collect(),
    };
    output.one(&report, &in_words(&report))?;
    match errors {
        0 => Ok(()),
        errors => Err(Failure::failed(format!("the bundle has {errors} errors"))),
    }
}

fn found(finding: &Finding) -> Found<'_> {
    let Finding { file, line, severity, code, message } = finding;
    let severity = if *severity == Severity::Error { "error" } else { "warning" };
    Found { file, line: *line, severity, code, message }
}

fn in_words(report: &Report<'_>) -> String {
    let mut said = String::new();
    for Found { file, line, severity, code, message } in &report.findings {
        let place = match (file.is_empty(), line) {
            (true, _) => String::new(),
            (false, 0) => format!("{file}: "),
            (false, line) => format!("{file}:{line}: "),
        };
        said.push_str(&format!("{place}{severity} [{code}]: {message}\n"));
    }
    said.push_str(&format!("{} errors, {} warnings\n", report.errors, report.warnings));
    said
}
