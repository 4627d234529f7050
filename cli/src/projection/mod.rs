//! `nexus projection`: events folded into documents.

mod dry_run;
mod file;

use crate::exit::Failure;
use crate::output::Output;
use crate::store::Place;

/// Tries projections, which fold events into documents
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Shows what documents a definition makes of the events that are there; nothing is kept
    #[command(after_help = "\
Examples:
  nexus --data ./data projection dry-run orders.json
  nexus --data ./data projection dry-run orders.toml --limit 10000 --output ndjson

The exit code is 0 where every event could be folded, and 1 where some could not: the first 100 of them are named.")]
    DryRun(dry_run::Args),
}

/// Runs a command of the noun.
///
/// # Errors
/// When the definition is none, or the log cannot be read.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::DryRun(args) => dry_run::run(args, place, output),
    }
}
