//! `nexus verify`: every byte of a data directory against its checksums.

use std::io::IsTerminal;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use nexus_engine::VerifyReport;
use nexus_protocol::{Corruption, CorruptionKind};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Format, Output};
use crate::store::Place;

/// Checks every byte of a data directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus --data ./data verify
  nexus --data ./data verify --output json

Nothing is changed. All namespaces of the directory are checked, whichever is named, and all events
counted: users' and the system's, hidden ones too. Exit code 0: nothing is damaged; 1: something is.")]
pub(crate) struct Args {}

/// What a verification found, as JSON.
#[derive(Debug, Serialize)]
struct ReportJson<'a> {
    ok: bool,
    segments: u64,
    events: u64,
    torn_bytes: u64,
    errors: Vec<DamageJson<'a>>,
}

/// Damage as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct DamageJson<'a> {
    file: &'a str,
    offset_bytes: u64,
    kind: &'static str,
    message: String,
}

impl<'a> From<&'a Corruption> for DamageJson<'a> {
    fn from(damage: &'a Corruption) -> Self {
        Self {
            file: &damage.file,
            offset_bytes: damage.offset_bytes,
            kind: kind(&damage.kind),
            message: damage.kind.to_string(),
        }
    }
}

/// One word for each kind of damage, for programs.
fn kind(kind: &CorruptionKind) -> &'static str {
    match kind {
        CorruptionKind::Checksum(_) => "checksum",
        CorruptionKind::Malformed(_) => "malformed",
        CorruptionKind::Missing => "missing",
        CorruptionKind::Truncated => "truncated",
        CorruptionKind::Foreign(_) => "foreign",
        CorruptionKind::Chain => "chain",
        CorruptionKind::Acknowledged { .. } => "acknowledged",
        CorruptionKind::Unreadable(_) => "unreadable",
        _ => "other",
    }
}

/// Runs the command.
///
/// # Errors
/// When something is damaged, or the directory cannot be looked at.
pub(crate) fn run(place: &Place, output: &mut Output) -> Result<(), Failure> {
    place.check_namespace()?;
    let report = with_progress(place.dir()?)?;
    print(&report, output)?;
    match report.errors.len() {
        0 => Ok(()),
        count => Err(Failure::failed(format!(
            "{count} places are damaged: put the files back from a copy, or read what is \
             undamaged with `nexus export`"
        ))),
    }
}

/// Verifies a directory, with a bar on a terminal.
///
/// # Errors
/// When the directory cannot be looked at.
pub(crate) fn with_progress(dir: &Path) -> Result<VerifyReport, Failure> {
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new(0),
        false => ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} segments, {msg}");
    bar.set_style(style.expect("the template is fixed"));
    let report = nexus_engine::verify(dir, |progress| {
        bar.set_length(progress.segments_total);
        bar.set_position(progress.segments);
        bar.set_message(format!("{} events", progress.events));
    });
    bar.finish_and_clear();
    Ok(report?)
}

fn print(report: &VerifyReport, output: &mut Output) -> Result<(), Failure> {
    let json = ReportJson {
        ok: report.ok,
        segments: report.segments,
        events: report.events,
        torn_bytes: report.torn_bytes,
        errors: report.errors.iter().map(DamageJson::from).collect(),
    };
    let torn = Some(report.torn_bytes).filter(|bytes| *bytes > 0);
    let facts = Facts::new()
        .with("ok", if report.ok { "yes" } else { "no" })
        .with("segments", report.segments)
        .with("events, the system's too", report.events)
        .with_some("torn bytes, cut at the next start", torn)
        .with("damaged places", report.errors.len());
    output.one(&json, &facts)?;
    if output.format() == Format::Table {
        for damage in &report.errors {
            output.text(&format!("{damage}\n"))?;
        }
    }
    output.flush()
}
