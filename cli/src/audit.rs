//! `nexus audit`: what administrators asked for.

use nexus_node::{AuditEntry, Audited, Node, Principal};
use nexus_protocol::Revision;
use nexus_protocol::limits::AUDIT_PAGE_MAX;
use serde::Serialize;

use crate::exit::Failure;
use crate::filter;
use crate::output::{Output, number, text};
use crate::store::Place;

/// Shows what administrators asked for
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists what administrators asked for, and what became of it, the oldest first
    #[command(after_help = "\
Examples:
  nexus --data ./data audit list
  nexus --data ./data audit list --after 4711 --limit 100 --output ndjson

It reads a data directory that no server has open. A server that runs is asked over HTTP, with an
administrator's token: GET /v1/audit?after=4711&limit=100")]
    List(ListArgs),
}

/// What part of it.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only what is on record after this revision
    #[arg(long, value_name = "REVISION", value_parser = filter::number, allow_negative_numbers = true)]
    after: Option<u64>,
    /// At most so many; all of it unless given
    #[arg(long, value_name = "N", value_parser = filter::number, allow_negative_numbers = true)]
    limit: Option<u64>,
}

/// An entry as JSON.
#[derive(Serialize)]
struct EntryJson<'a> {
    revision: u64,
    recorded_at: String,
    #[serde(flatten)]
    audited: &'a Audited,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the directory cannot be opened or read.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let Command::List(args) = command;
    let engine = nexus_engine::Engine::options().create(false).read_only(true);
    let node = Node::over(engine.open(place.dir()?)?)?;
    list(args, &node, output)?;
    node.close().map_err(|error| Failure::failed(error.to_string()))
}

fn list(args: &ListArgs, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let columns = [
        number("REVISION"),
        text("RECORDED AT"),
        text("BY"),
        text("OPERATION"),
        text("NAMESPACE"),
        text("WHAT"),
        text("OUTCOME"),
    ];
    let mut listing = output.list("audit", &columns);
    let mut after = args.after.map(Revision::new);
    let mut left =
        args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut next = None;
    while left > 0 {
        let wanted = left.min(AUDIT_PAGE_MAX);
        let page = node.audit(&Principal::local(), after, wanted)?;
        for entry in &page.entries {
            push(&mut listing, entry)?;
        }
        left -= page.entries.len();
        after = page.next;
        next = after.map(Revision::get);
        if next.is_none() {
            break;
        }
    }
    listing.end(next)
}

fn push(listing: &mut crate::output::Listing<'_>, entry: &AuditEntry) -> Result<(), Failure> {
    let AuditEntry { revision, recorded_at, audited } = entry;
    let recorded_at = recorded_at.to_string();
    let json = EntryJson { revision: revision.get(), recorded_at, audited };
    listing.push(&json, || {
        vec![
            json.revision.to_string(),
            json.recorded_at.clone(),
            audited.by.clone(),
            audited.operation.clone(),
            audited.namespace.clone().unwrap_or_default(),
            audited.what.clone().unwrap_or_default(),
            audited.outcome.clone(),
        ]
    })
}
