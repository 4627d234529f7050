//! `nexus stats`: how much there is.

use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output};
use crate::store::{Place, Store};

/// Shows how much there is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus --data ./data stats
  nexus --data ./data stats --output json

Events and streams are the users' own; the system's are counted beside them.")]
pub(crate) struct Args {}

/// Counts of a namespace as JSON.
#[derive(Debug, Serialize)]
struct StatsJson<'a> {
    namespace: &'a str,
    events: u64,
    streams: u64,
    system_events: u64,
    system_streams: u64,
    head_position: Option<u64>,
    segments: u64,
    bytes: u64,
    /// Damaged ones, which are not served.
    compressed_segments: u64,
    fenced_segments: u64,
    log_id: String,
    lineage: u32,
}

/// Runs the command.
///
/// # Errors
/// When the directory cannot be opened.
pub(crate) fn run(place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    let stats = store.stats();
    let json = StatsJson {
        namespace: place.namespace.as_str(),
        events: stats.events,
        streams: stats.streams,
        system_events: stats.system_events,
        system_streams: stats.system_streams,
        head_position: stats.head_position.map(nexus_protocol::Position::get),
        segments: stats.segments,
        bytes: stats.bytes,
        compressed_segments: stats.compressed_segments,
        fenced_segments: stats.fenced_segments,
        log_id: stats.log_id.to_string(),
        lineage: stats.lineage.get(),
    };
    let facts = Facts::new()
        .with("namespace", json.namespace)
        .with("events", json.events)
        .with("streams", json.streams)
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
