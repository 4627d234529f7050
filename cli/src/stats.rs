//! `nexus stats`: how much there is.

use nexus_protocol::json::StatsJson;

use crate::exit::Failure;
use crate::output::{Facts, Output};
use crate::store::{Place, Store};

/// Shows how much there is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus --data ./data stats
  nexus --data ./data stats --output json
  nexus --data ./data stats --system

Events are all that are stored, hidden ones included; streams those that show an event. Both are the
users' own, with the system's counted beside them; --system counts the system's among them, as `nexus
verify` does, which counts the events of all namespaces.")]
pub(crate) struct Args {
    /// Counts the system's events and streams among the others
    #[arg(long)]
    system: bool,
}

/// Runs the command.
///
/// # Errors
/// When the directory cannot be opened.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    let mut stats = store.stats()?;
    if args.system {
        stats.events += stats.system_events;
        stats.streams += stats.system_streams;
    }
    let json = StatsJson::new(place.namespace.as_str(), &stats);
    let (events, streams) = match args.system {
        true => ("events, the system's too", "streams, the system's too"),
        false => ("users' events", "users' streams"),
    };
    let facts = Facts::new()
        .with("namespace", json.namespace)
        .with(events, json.events)
        .with(streams, json.streams)
        .with("system events", json.system_events)
        .with("system streams", json.system_streams)
        .with_some("head position", json.head_position)
        .with("segments", json.segments)
        .with("bytes", json.bytes)
        .with("compressed segments", json.compressed_segments)
        .with("fenced segments", json.fenced_segments)
        .with("log id", &json.log_id)
        .with("lineage", json.lineage);
    output.one(&json, &facts)?;
    store.close()
}
