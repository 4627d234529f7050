//! `nexus verify`: every byte against its checksums and the chain.

use std::io::IsTerminal;

use indicatif::ProgressBar;
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output, notice};
use crate::store::Place;

/// Checks every byte of a data directory that no process has open
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nexus --data ./data verify --output json")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct ReportJson {
    ok: bool,
    segments: u64,
    events: u64,
    torn_bytes: u64,
    errors: Vec<ErrorJson>,
}

#[derive(Serialize)]
struct ErrorJson {
    file: String,
    offset_bytes: u64,
    kind: String,
}

/// Runs the command.
///
/// # Errors
/// When something is damaged.
pub(crate) fn run(_: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0));
    let report = nexus_engine::verify(place.dir()?, |progress| {
        if let Some(bar) = &bar {
            bar.set_length(progress.segments_total);
            bar.set_position(progress.segments);
        }
    })?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let errors = report.errors.iter().map(|damage| ErrorJson {
        file: damage.file.clone(),
        offset_bytes: damage.offset_bytes,
        kind: damage.kind.to_string(),
    });
    let json = ReportJson {
        ok: report.ok,
        segments: report.segments,
        events: report.events,
        torn_bytes: report.torn_bytes,
        errors: errors.collect(),
    };
    let facts = Facts::new()
        .with("ok", json.ok)
        .with("segments", json.segments)
        .with("events", json.events)
        .with("torn bytes", json.torn_bytes)
        .with("damaged places", json.errors.len());
    output.one(&json, &facts)?;
    if report.ok {
        return Ok(());
    }
    for damage in &report.errors {
        notice(format_args!("{damage}"));
    }
    Err(Failure::failed(format!(
        "{} damaged places: put the files back from a copy, or save what is whole with `nexus export`",
        report.errors.len()
    )))
}
