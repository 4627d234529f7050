//! `nexus policy`: who may do what, as rules say it.

mod activate;
mod check;
mod eval;
mod files;
mod replay;
mod test;

use crate::exit::Failure;
use crate::group::connect;
use crate::output::Output;
use crate::store::{Place, Store};

/// Tries, activates, and shows policies
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Runs the tests of a bundle: rules named `test_…` in files that end with `_test.rego`
    #[command(after_help = "\
Examples:
  nexus policy test ./policy
  nexus policy test ./policy --min-coverage 90 --output json

The exit code is 0 where all tests pass, enough of the rules is run by them, and what runs tests and what decides say
the same; else it is 1.")]
    Test(test::Args),
    /// Looks for mistakes in a bundle
    #[command(after_help = "\
Example:
  nexus policy check ./policy --output json

The exit code is 1 where there is an error, such as a bundle whose rules decide about nothing.")]
    Check(check::Args),
    /// Asks a bundle about an input
    #[command(after_help = "\
Example:
  nexus policy eval ./policy --input input.json

The exit code is 0 whatever the decision says.")]
    Eval(eval::Args),
    /// Has a bundle decide from now on in a namespace
    #[command(after_help = "\
Examples:
  nexus --data ./data policy activate ./policy
  nexus --server nexus://localhost:7333 policy activate ./policy --shadow")]
    Activate(activate::ActivateArgs),
    /// Has an earlier bundle decide again
    #[command(after_help = "\
Examples:
  nexus --data ./data policy rollback
  nexus --data ./data policy rollback --to 3")]
    Rollback(activate::RollbackArgs),
    /// Shows what decides, and the newest changes
    #[command(after_help = "Example:\n  nexus --data ./data policy show")]
    Show,
    /// Asks another bundle about the decisions on record, and prints those that would not be the same
    #[command(after_help = "\
Example:
  nexus --data ./data policy replay --from 0 --bundle ./policy --output ndjson

The exit code is 1 where a decision would not be the same.")]
    Replay(replay::Args),
}

/// Runs a command of the noun.
///
/// # Errors
/// When the bundle is none, or the store refuses it.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Test(args) => return test::run(args, output),
        Command::Check(args) => return check::run(args, output),
        Command::Eval(args) => return eval::run(args, output),
        _ => {}
    }
    if matches!(command, Command::Activate(_)) && place.server.is_none() {
        // Policies may come before the first event.
        Store::open(place)?.close()?;
    }
    let remote = connect(place)?;
    let done = match command {
        Command::Activate(args) => activate::activate(args, &remote, output),
        Command::Rollback(args) => activate::rollback(args, &remote, output),
        Command::Replay(args) => replay::run(args, &remote, output),
        _ => activate::show(&remote, output),
    };
    done?;
    remote.close()
}
