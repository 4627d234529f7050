//! `nexus node-state`: going on where what a node promised is lost.
//!
//! It is a command of its own and no flag, so that nobody resets by habit what only stands in the way
//! once: a vote that is forgotten, and an end of the log that is taken as it is found.

use nexus_engine::{Engine, OpenError};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output, notice};
use crate::store::Place;

/// Goes on where node-state is lost
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes node-state anew where it is damaged or missing, and leaves it where it is sound
    #[command(after_help = "\
Example:
  nexus --data ./data node-state reset

Only for a node that stands alone, and only where no copy has the file: what the node promised to
others is forgotten, and the end of the log is taken as it is found, so that damage at the very end
can no longer be told from what a crash tore. All namespaces of the directory are looked at.")]
    Reset,
}

/// What a reset did.
#[derive(Debug, Serialize)]
struct Reset {
    reset: bool,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the directory cannot be opened for another reason.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Reset => reset(place, output),
    }
}

fn reset(place: &Place, output: &mut Output) -> Result<(), Failure> {
    place.check_namespace()?;
    let dir = place.dir()?;
    let closed = |engine: Engine| engine.close().map_err(|e| Failure::failed(e.to_string()));
    let damage = match Engine::options().create(false).read_only(true).open(dir) {
        Ok(engine) => {
            closed(engine)?;
            None
        }
        Err(OpenError::NodeState { corruption }) => {
            closed(Engine::options().create(false).reset_node_state(true).open(dir)?)?;
            notice(format_args!(
                "the end of the log was taken as it was found: compare it with what you know of it"
            ));
            Some(corruption.to_string())
        }
        Err(error) => return Err(error.into()),
    };
    let facts = Facts::new()
        .with("reset", if damage.is_some() { "yes" } else { "no, it is sound" })
        .with_some("damage", damage.as_ref());
    output.one(&Reset { reset: damage.is_some(), damage }, &facts)
}
