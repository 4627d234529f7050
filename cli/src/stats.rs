//! `nexus stats`: how much there is.

use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output};
use crate::store::{Place, Store};

/// Says how much there is
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nexus --data ./data stats --output json")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct StatsJson {
    events: u64,
    streams: u64,
    system_events: u64,
    system_streams: u64,
    head_position: Option<u64>,
    segments: u64,
    bytes: u64,
    log_id: String,
    lineage: u32,
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be opened.
pub(crate) fn run(_: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    let stats = store.namespace().stats();
    let json = StatsJson {
        events: stats.events,
        streams: stats.streams,
        system_events: stats.system_events,
        system_streams: stats.system_streams,
        head_position: stats.head_position.map(nexus_protocol::Position::get),
        segments: stats.segments,
        bytes: stats.bytes,
        log_id: stats.log_id.to_string(),
        lineage: stats.lineage.get(),
    };
    let facts = Facts::new()
        .with("events", json.events)
        .with("streams", json.streams)
        .with("system events", json.system_events)
        .with("system streams", json.system_streams)
        .with_some("head position", json.head_position)
        .with("segments", json.segments)
        .with("bytes", json.bytes)
        .with("log id", &json.log_id)
        .with("lineage", json.lineage);
    output.one(&json, &facts)
}
