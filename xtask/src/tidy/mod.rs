//! `cargo xtask tidy`: what the compiler cannot check about the shape of the tree.
//!
//! Each check looks at the whole tree and adds findings; all are printed, so that one run shows
//! everything. A finding says where, what, and which rule, because whoever breaks a rule usually
//! meets it here for the first time.

mod docs;
mod layers;
mod places;
mod shape;

use std::fmt;
use std::path::Path;

use crate::args::Args;
use crate::metadata::FUZZ_MANIFEST;
use crate::process::Failure;
use crate::source::Source;
use crate::tree::{self, TreeFile};
use crate::{Command, metadata};

pub(crate) const COMMAND: Command = Command {
    name: "tidy",
    about: "check layers, sizes, places of calls, and names in the docs",
    help: HELP,
    run,
};

const HELP: &str = "
Usage: cargo xtask tidy

Checks, each over the whole tree:
  layers   normal dependencies between crates follow the table in xtask/src/tidy/layers.rs
  shape    files <= 500 lines and functions <= 70 without tests; `//!` first; nothing left to do;
           >= 15 assertions per 1,000 lines in engine/
  places   unsafe code, files, and clocks only where xtask/src/tidy/places.rs allows them
  docs     paths, crates, commands, limits, metrics, and error codes that docs name exist, and are
           named

Exit code 0 when there is no finding (warnings are allowed), 1 otherwise.

Examples:
  cargo xtask tidy
  cargo xtask ci --only tidy
";

/// One thing that is not as it must be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1; 0 where the finding is about the whole file.
    line: usize,
    message: String,
    warning: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        let level = if self.warning { "warning: " } else { "" };
        write!(f, ": {level}{}", self.message)
    }
}

/// What the checks found.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, path: &str, line: usize, message: impl Into<String>) {
        let message = message.into();
        self.0.push(Finding { path: path.to_owned(), line, message, warning: false });
    }

    fn warn(&mut self, path: &str, message: impl Into<String>) {
        let message = message.into();
        self.0.push(Finding { path: path.to_owned(), line: 0, message, warning: true });
    }
}

/// A file of Rust, scanned once for all checks.
struct RustFile<'a> {
    file: &'a TreeFile,
    source: Source,
}

impl RustFile<'_> {
    fn path(&self) -> &str {
        &self.file.path
    }

    /// Whether all of the file is test code: `tests.rs`, or anything under a folder `tests/`.
    fn is_test_file(&self) -> bool {
        let path = self.path();
        path.ends_with("/tests.rs") || path.starts_with("tests/") || path.contains("/tests/")
    }
}

fn run(root: &Path, words: &[String]) -> Result<(), Failure> {
    Args::new(words).finish()?;
    let files = tree::files(root)?;
    let mut members = metadata::members(root)?;
    // Outside of the workspace, and held to the same rules.
    if root.join(FUZZ_MANIFEST).is_file() {
        members.extend(metadata::members(&root.join("fuzz"))?);
    }
    let rust: Vec<RustFile<'_>> = files
        .iter()
        .filter(|file| file.has_extension("rs"))
        .map(|file| RustFile { file, source: Source::scan(&file.text) })
        .collect();

    let mut findings = Findings::default();
    layers::check(root, &files, &members, &mut findings);
    shape::check(&rust, &mut findings);
    places::check(&files, &rust, &mut findings);
    docs::check(&files, &members, &mut findings);
    report(findings, files.len())
}

fn report(findings: Findings, files: usize) -> Result<(), Failure> {
    let Findings(mut findings) = findings;
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| !finding.warning).count();
    let warnings = findings.len() - errors;
    println!("tidy: {files} files, {errors} findings, {warnings} warnings");
    if errors == 0 { Ok(()) } else { Err(Failure::new(format!("tidy: {errors} findings"))) }
}

/// Runs one check over files made up for a test, and gives back its findings as lines.
#[cfg(test)]
fn findings_of(check: impl FnOnce(&mut Findings)) -> Vec<String> {
    let mut findings = Findings::default();
    check(&mut findings);
    findings.0.sort();
    findings.0.iter().map(Finding::to_string).collect()
}

/// Makes up a file for a test.
#[cfg(test)]
fn made_up(path: &str, text: &str) -> TreeFile {
    TreeFile { path: path.to_owned(), text: text.to_owned() }
}
