//! `nexus snapshot …`: the snapshots that are kept of a stream.

use nexus_protocol::{Revision, SnapshotAt, SnapshotInfo};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output, number};
use crate::store::{Place, Store};

/// Looks at snapshots of aggregate state
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the snapshots that are kept of a stream
    #[command(after_help = "Example:\n  nexus --data ./data snapshot list order-1")]
    List {
        /// The stream
        stream: String,
    },
    /// Shows the newest snapshot at or before a revision
    #[command(after_help = "Example:\n  nexus --data ./data snapshot show order-1 --revision 100")]
    Show {
        /// The stream
        stream: String,
        /// At or before this revision; without it the newest
        #[arg(long)]
        revision: Option<u64>,
    },
}

#[derive(Serialize)]
struct SnapshotJson {
    revision: u64,
    position: u64,
    fold_version: u32,
    upcaster_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_bytes: Option<usize>,
}

impl From<&SnapshotInfo> for SnapshotJson {
    fn from(info: &SnapshotInfo) -> Self {
        Self {
            revision: info.revision.get(),
            position: info.position.get(),
            fold_version: info.fold.fold_version,
            upcaster_hash: format!("{:016x}", info.fold.upcaster_hash),
            content_type: None,
            state: None,
            state_bytes: None,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When there is none, or it cannot be read.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    let namespace = store.namespace();
    match command {
        Command::List { stream } => {
            let columns = [number("REVISION"), number("POSITION"), number("FOLD VERSION")];
            let mut listing = output.list("snapshots", &columns);
            for info in namespace.list_snapshots(stream)? {
                let cells =
                    [info.revision.get(), info.position.get(), info.fold.fold_version.into()];
                listing.push(&SnapshotJson::from(&info), || {
                    cells.iter().map(u64::to_string).collect()
                })?;
            }
            listing.end(None::<u64>)
        }
        Command::Show { stream, revision } => {
            let at_most = revision.map_or(Revision::MAX, Revision::new);
            let kept = namespace.list_snapshots(stream)?;
            let info =
                kept.iter().rev().find(|info| info.revision <= at_most).ok_or_else(|| {
                    Failure::failed(format!("no snapshot of {stream:?} is kept there"))
                })?;
            let at = SnapshotAt::Revision(info.revision);
            let found = namespace.load_snapshot(stream, at, info.fold)?;
            let snapshot = found.ok_or_else(|| Failure::failed("the snapshot is gone"))?;
            let state: Option<serde_json::Value> = serde_json::from_slice(&snapshot.state).ok();
            let shown = state.as_ref().map(ToString::to_string);
            let facts = Facts::new()
                .with("stream", stream)
                .with("revision", info.revision)
                .with("position", info.position)
                .with("fold version", info.fold.fold_version)
                .with("content type", &snapshot.content_type)
                .with("state bytes", snapshot.state.len())
                .with_some("state", shown);
            let json = SnapshotJson {
                content_type: Some(snapshot.content_type),
                state,
                state_bytes: Some(snapshot.state.len()),
                ..SnapshotJson::from(info)
            };
            output.one(&json, &facts)
        }
    }
}
