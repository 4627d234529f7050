//! `nexus lookup`: a document of a projection, by its key.

use std::time::Duration;

use nexus_protocol::limits::LOOKUP_WAIT_MS_MAX;
use nexus_protocol::projection::{FoundDocument, Lookup};
use nexus_protocol::{EventStore as _, Position, duration_from_text};

use crate::exit::Failure;
use crate::filter;
use crate::group::connect;
use crate::output::{Facts, Output, printable};
use crate::store::Place;

/// Looks a document of a projection up by its key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus --data ./data lookup orders order-1
  nexus lookup orders order-1 --min-position 4711 --timeout 2s --output json

Of a server, the document is as fresh as the projection is, unless a position is named that it has to know of. Of a
directory, it knows of all that is there.")]
pub(crate) struct Args {
    /// The projection
    projection: String,
    /// The key of the document
    key: String,
    /// The document knows of this position
    #[arg(long, value_name = "N", value_parser = filter::number, allow_negative_numbers = true)]
    min_position: Option<u64>,
    /// Waits so long for that, at most; 5s by default, and a minute of a directory
    #[arg(long, value_name = "TIME", value_parser = duration_from_text)]
    timeout: Option<Duration>,
}

/// Runs the command.
///
/// # Errors
/// When there is no such document, or the projection has not come so far in time.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let remote = connect(place)?;
    let given = args.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let mut lookup = Lookup {
        key: args.key.clone(),
        min_position: args.min_position.map(Position::new),
        timeout_ms: given,
    };
    if place.server.is_none() {
        // Nobody has folded what came since it was opened last.
        let head = || remote.wait(remote.client.head()).map(|head| head.position);
        lookup.min_position = lookup.min_position.map_or_else(head, |it| Ok(Some(it)))?;
        lookup.timeout_ms = given.or(Some(LOOKUP_WAIT_MS_MAX));
    }
    let found = remote.wait(remote.client.lookup(&args.projection, &lookup))?;
    output.one(&found, &shown(&found))?;
    remote.close()
}

fn shown(found: &FoundDocument) -> String {
    let facts = Facts::new()
        .with("key", &found.key)
        .with("position", found.position)
        .with_some("as of position", found.as_of_position)
        .with("lag (events)", found.lag_events)
        .with_some("parked", found.parked.then_some("events of this key wait, and are not in it"));
    let mut shown = format!("{facts}\n");
    let document = serde_json::to_string_pretty(&found.document);
    for line in document.expect("an object of JSON can be written").lines() {
        shown.push_str(&printable(line));
        shown.push('\n');
    }
    shown
}
