//! `nexus read` and `nexus tail`.

use nexus_protocol::{
    AsOf, Direction, From, Position, Read, Revision, Start, StreamState, Subscribe,
    SubscriptionItem,
};
use serde::Serialize;

use crate::event::{self, COLUMNS, FilterArgs, parse_as_of};
use crate::exit::Failure;
use crate::output::{Facts, Output};
use crate::store::{Place, Store};

const READ_EXAMPLES: &str = "\
Examples:
  nexus --data ./data read order-1
  nexus --data ./data read order-1 --backwards --limit 1
  nexus --data ./data read order-1 --as-of recorded:2026-03-01T00:00:00Z
  nexus --data ./data read --category order --type OrderPlaced --explain";

/// Reads a stream, or with filters the whole log
#[derive(Debug, clap::Args)]
#[command(after_help = READ_EXAMPLES)]
pub(crate) struct ReadArgs {
    /// The stream; without it the whole log
    stream: Option<String>,
    /// Where to begin: a revision of the stream, or a position of the log
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// So many events at most
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// From new to old
    #[arg(long)]
    backwards: bool,
    /// A past state: position:N, revision:N, or recorded:TIME
    #[arg(long, value_name = "AS_OF", value_parser = parse_as_of)]
    as_of: Option<AsOf>,
    /// Says afterwards what was looked at
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Serialize)]
struct ExplainJson {
    index: &'static str,
    segments_read: u64,
    postings_read: u64,
}

/// Runs `read`.
///
/// # Errors
/// When there is no such stream, or it cannot be read.
pub(crate) fn run(args: &ReadArgs, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    if let Some(stream) = &args.stream
        && store.namespace().stream_info(stream)?.state == StreamState::Missing
    {
        return Err(Failure::failed(format!(
            "there is no stream {stream:?}: `nexus stream list` names those there are"
        )));
    }
    let read = Read {
        stream: args.stream.clone(),
        direction: if args.backwards { Direction::Backwards } else { Direction::Forwards },
        from: match (args.from, &args.stream) {
            (None, _) => From::Start,
            (Some(revision), Some(_)) => From::Revision(Revision::new(revision)),
            (Some(position), None) => From::Position(Position::new(position)),
        },
        filter: args.filter.filter(),
        limit: args.limit,
        as_of: args.as_of,
        system: args.filter.system,
    };
    let mut events = store.namespace().read(read).into_iter();
    let mut listing = output.list("events", &COLUMNS);
    for event in events.by_ref() {
        event::push(&mut listing, &event?)?;
    }
    listing.end(None::<u64>)?;
    if args.explain {
        let explain = events.explain();
        let facts = Facts::new()
            .with("index", explain.index)
            .with("segments read", explain.segments_read)
            .with("postings read", explain.postings_read);
        let json = ExplainJson {
            index: explain.index,
            segments_read: explain.segments_read,
            postings_read: explain.postings_read,
        };
        output.one(&json, &facts)?;
    }
    Ok(())
}

const TAIL_EXAMPLES: &str = "\
Examples:
  nexus --data ./data tail
  nexus --data ./data tail --category order --follow --output ndjson";

/// Prints the newest events, and with --follow those that come
#[derive(Debug, clap::Args)]
#[command(after_help = TAIL_EXAMPLES)]
pub(crate) struct TailArgs {
    /// How many of the newest
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: u64,
    /// Goes on with what is appended, until it is interrupted. The directory stays open meanwhile:
    /// only this process appends to it, so what comes is what this process is sent
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Runs `tail`.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn tail(args: &TailArgs, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    let namespace = store.namespace();
    let head = namespace.head();
    let filter = args.filter.filter();
    let read = Read { filter: filter.clone(), system: args.filter.system, ..Read::all() };
    let newest = namespace.read(read.backwards().limit(args.limit));
    let newest = newest.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut listing = output.list("events", &COLUMNS);
    for event in newest.iter().rev() {
        event::push(&mut listing, event)?;
    }
    if !args.follow {
        return listing.end(None::<u64>);
    }
    listing.flush()?;
    let start = head.position.map_or(Start::Beginning, Start::After);
    let subscribe = Subscribe { filter, system: args.filter.system, start, ..Subscribe::all() };
    let mut subscription = namespace.subscribe(subscribe);
    while let Some(item) = subscription.next_blocking(None) {
        if let SubscriptionItem::Event(event) = item? {
            event::push(&mut listing, &event)?;
            listing.flush()?;
        }
    }
    listing.end(None::<u64>)
}
