//! `nexus snapshot`: the snapshots that are kept of a stream.

use nexus_protocol::json::SnapshotInfoJson;
use nexus_protocol::{EventJson, Position, Read, RecordedEvent, Revision, SnapshotInfo};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::exit::Failure;
use crate::filter;
use crate::output::{Facts, Output, number};
use crate::store::{Place, Store};

/// Lists and shows snapshots
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the snapshots that are kept of a stream
    #[command(after_help = "Example:\n  nexus --data ./data snapshot list order-1")]
    List(ListArgs),
    /// Shows a snapshot: the newest, or the one at or before a revision
    #[command(after_help = "\
Examples:
  nexus --data ./data snapshot show order-1
  nexus --data ./data snapshot show order-1 --revision 100 --output json")]
    Show(ShowArgs),
}

/// One stream.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// The stream
    #[arg(value_parser = filter::stream_name)]
    stream: String,
}

/// One snapshot.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The stream
    #[arg(value_parser = filter::stream_name)]
    stream: String,
    /// The newest snapshot at or before this revision
    #[arg(
        long,
        value_name = "REVISION",
        value_parser = filter::number,
        allow_negative_numbers = true
    )]
    revision: Option<u64>,
}

/// A snapshot with its state.
#[derive(Debug, Serialize)]
struct StateJson<'a> {
    stream: &'a str,
    #[serde(flatten)]
    snapshot: &'a SnapshotInfoJson,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_base64: Option<&'a str>,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the log cannot be read, or there is no such snapshot.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    match command {
        Command::List(args) => list(&store.list_snapshots(&args.stream)?, output)?,
        Command::Show(args) => show(&store, args, output)?,
    }
    store.close()
}

fn list(snapshots: &[SnapshotInfo], output: &mut Output) -> Result<(), Failure> {
    let columns =
        [number("REVISION"), number("POSITION"), number("FOLD VERSION"), number("UPCASTER HASH")];
    let mut listing = output.list("snapshots", &columns);
    for info in snapshots {
        let json = SnapshotInfoJson::from(info);
        let cells = || {
            vec![
                json.revision.to_string(),
                json.position.to_string(),
                json.fold_version.to_string(),
                json.upcaster_hash.to_string(),
            ]
        };
        listing.push(&json, cells)?;
    }
    listing.end(None::<u64>)
}

fn show(store: &Store, args: &ShowArgs, output: &mut Output) -> Result<(), Failure> {
    let kept = store.list_snapshots(&args.stream)?;
    let in_range = |info: &&SnapshotInfo| {
        args.revision.is_none_or(|revision| info.revision <= Revision::new(revision))
    };
    let Some(info) = kept.iter().rev().find(in_range) else {
        let stream = &args.stream;
        return Err(Failure::failed(match args.revision {
            Some(revision) if !kept.is_empty() => format!(
                "no snapshot of stream {stream:?} is at or before revision {revision}: \
                 `nexus snapshot list` shows what there is"
            ),
            _ => format!("stream {stream:?} has no snapshots"),
        }));
    };
    let event = event_at(store, info.position)?;
    let event = EventJson::from(&event);
    let snapshot = SnapshotInfoJson::from(info);
    let json = StateJson {
        stream: &args.stream,
        snapshot: &snapshot,
        content_type: event.content_type.as_deref().unwrap_or_default(),
        state: event.data,
        state_base64: event.data_base64.as_deref(),
    };
    let facts = Facts::new()
        .with("stream", json.stream)
        .with("revision", snapshot.revision)
        .with("position", snapshot.position)
        .with("fold version", snapshot.fold_version)
        .with("content type", json.content_type)
        .with_some("state", json.state.map(RawValue::get))
        .with_some("state (base64)", json.state_base64);
    output.one(&json, &facts)
}

fn event_at(store: &Store, position: Position) -> Result<RecordedEvent, Failure> {
    let read = Read::all().from_position(position).system().limit(1);
    match store.read(read).next() {
        Some(event) => Ok(event?),
        None => Err(Failure::failed(format!("the snapshot at position {position} is hidden"))),
    }
}
