//! `nexus projection`: events folded into documents.

mod dry_run;
mod file;
mod set;
mod show;
mod wait;

use nexus_protocol::projection::ProjectionChange;
use serde::Serialize;

use crate::exit::Failure;
use crate::group::connect;
use crate::output::{Facts, Output};
use crate::store::{Place, Remote, Store};

/// Makes, watches, and steers projections, which fold events into documents
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a projection, or gives one that is there another version
    #[command(after_help = "\
Examples:
  nexus --data ./data projection create orders.json
  nexus projection create orders.toml --wait
  nexus --data ./data projection create @events

Another version is folded beside the one that answers, which goes on to answer until `nexus projection switch`.")]
    Create(set::CreateArgs),
    /// Shows what documents a definition makes of the events that are there; nothing is kept
    #[command(after_help = "\
Examples:
  nexus --data ./data projection dry-run orders.json
  nexus --data ./data projection dry-run orders.toml --limit 10000 --output ndjson

The exit code is 0 where every event could be folded, and 1 where some could not: the first 100 of them are named.")]
    DryRun(dry_run::Args),
    /// Lists projections, with how far behind they are
    #[command(after_help = "Example:\n  nexus --data ./data projection list")]
    List,
    /// Shows how a projection is: how far it has come, what came of it, and what is folded beside it
    #[command(after_help = "\
Examples:
  nexus --data ./data projection status orders
  nexus projection status orders --output json | jq .lag_events")]
    Status(NamedArgs),
    /// Folds all documents again from the first event, beside those that answer
    #[command(after_help = "\
Examples:
  nexus --data ./data projection rebuild orders --wait
  nexus projection rebuild orders

They answer in the place of the others once they have come as far.")]
    Rebuild(set::RebuildArgs),
    /// Lets another version answer, which knows as much as the one that answers
    #[command(after_help = "Example:\n  nexus --data ./data projection switch orders 2")]
    Switch(SwitchArgs),
    /// Lets a projection fold nothing until it is resumed; it answers from what it has
    #[command(after_help = "Example:\n  nexus --data ./data projection pause orders")]
    Pause(NamedArgs),
    /// Lets a projection go on that was paused, or has failed
    #[command(after_help = "Example:\n  nexus --data ./data projection resume orders")]
    Resume(NamedArgs),
    /// Deletes a projection with its documents, or a version that does not answer; events stay
    #[command(after_help = "\
Examples:
  nexus --data ./data projection delete orders
  nexus --data ./data projection delete orders --version 1")]
    Delete(DeleteArgs),
}

/// One projection.
#[derive(Debug, clap::Args)]
pub(crate) struct NamedArgs {
    /// The projection
    projection: String,
}

/// A projection and one of its versions.
#[derive(Debug, clap::Args)]
pub(crate) struct SwitchArgs {
    /// The projection
    projection: String,
    /// The version that is to answer
    version: u32,
}

/// What is to be there no more.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// The projection
    projection: String,
    /// Only this version; all of them unless given
    #[arg(long, value_name = "N")]
    version: Option<u32>,
}

/// What a delete did.
#[derive(Debug, Serialize)]
struct Deleted<'a> {
    projection: &'a str,
    version: Option<u32>,
    deleted: bool,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the definition is none, or the store refuses it.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    if let Command::DryRun(args) = command {
        return dry_run::run(args, place, output);
    }
    if matches!(command, Command::Create(_)) && place.server.is_none() {
        // Projections may come before the first event.
        Store::open(place)?.close()?;
    }
    let remote = connect(place)?;
    match command {
        Command::Create(args) => set::create(args, &remote, output)?,
        Command::Rebuild(args) => set::rebuild(args, &remote, output)?,
        Command::List | Command::DryRun(_) => show::list(&remote, output)?,
        Command::Status(NamedArgs { projection }) => show::status(&remote, projection, output)?,
        Command::Switch(SwitchArgs { projection, version }) => {
            let change = ProjectionChange::Switch { version: *version };
            changed(&remote, projection, change, output)?;
        }
        Command::Pause(args) => {
            changed(&remote, &args.projection, ProjectionChange::Pause, output)?;
        }
        Command::Resume(args) => {
            changed(&remote, &args.projection, ProjectionChange::Resume, output)?;
        }
        Command::Delete(args) => delete(&remote, args, output)?,
    }
    remote.close()
}

/// Changes a projection, and shows it.
fn changed(
    remote: &Remote,
    projection: &str,
    change: ProjectionChange,
    output: &mut Output,
) -> Result<(), Failure> {
    remote.wait(remote.client.change_projection(projection, change))?;
    show::status(remote, projection, output)
}

fn delete(remote: &Remote, args: &DeleteArgs, output: &mut Output) -> Result<(), Failure> {
    let DeleteArgs { projection, version } = args;
    let change = ProjectionChange::Delete { version: *version };
    remote.wait(remote.client.change_projection(projection, change))?;
    let facts = Facts::new()
        .with("projection", projection)
        .with_some("version", *version)
        .with("state", "deleted");
    output.one(&Deleted { projection, version: *version, deleted: true }, &facts)
}
