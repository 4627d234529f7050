//! `nexus read`: events of a stream or of the whole log.

use std::borrow::Cow;

use nexus_engine::Explain;
use nexus_protocol::schema::AsSchema;
use nexus_protocol::{AsOf, Position, Read, RecordedEvent, Revision, Timestamp};
use serde::Serialize;

use crate::event::EventListing;
use crate::exit::Failure;
use crate::filter::{self, FilterArgs};
use crate::output::{Facts, Output};
use crate::store::{Place, Store};

const EXAMPLES: &str = "\
Examples:
  nexus --data ./data read order-1
  nexus --data ./data read order-1 --backwards --limit 10
  nexus --data ./data read --category order --type OrderPlaced --tag customer:7 --output ndjson
  nexus --data ./data read large-orders --resolve-links
  nexus --data ./data read order-1 --as-of recorded:2026-01-31T00:00:00Z
  nexus --data ./data read order-1 --as-schema latest --output ndjson
  nexus --data ./data read --tag customer:7 --explain";

/// Reads events of a stream, or of the whole log
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream; without one, the whole log
    #[arg(value_parser = filter::stream_name)]
    stream: Option<String>,
    /// Where to begin: a revision of the stream, a position without one, or recorded:TIME
    #[arg(
        long,
        value_name = "N|recorded:TIME",
        value_parser = parse_from,
        allow_negative_numbers = true
    )]
    from: Option<From>,
    /// At most so many events
    #[arg(long, value_name = "N", value_parser = filter::number, allow_negative_numbers = true)]
    limit: Option<u64>,
    /// From new to old
    #[arg(long)]
    backwards: bool,
    /// As it was then: position:N, revision:N, or recorded:TIME
    #[arg(long, value_name = "WHEN")]
    as_of: Option<AsOf>,
    /// In a version of their schemas: raw, as they are stored, latest, or a number
    #[arg(long, value_name = "raw|latest|N", default_value = "raw")]
    as_schema: AsSchema,
    /// Say how the events were found instead of printing them
    #[arg(long)]
    explain: bool,
    /// The events that the links of the stream lead to, and links only where those are gone
    #[arg(long, requires = "stream", conflicts_with_all = ["explain", "as_schema"])]
    resolve_links: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Number(u64),
    Recorded(Timestamp),
}

fn parse_from(text: &str) -> Result<From, String> {
    match text.strip_prefix("recorded:") {
        Some(time) => time.parse().map(From::Recorded).map_err(|error| format!("{error}")),
        None => text
            .parse()
            .map(From::Number)
            .map_err(|_| "write a number from 0, or recorded:TIME".to_owned()),
    }
}

impl Args {
    fn to_read(&self) -> Read {
        let mut read = match &self.stream {
            Some(stream) => Read::stream(stream),
            None => Read::all(),
        };
        read = read.filter(self.filter.filter());
        read = match (self.from, &self.stream) {
            (Some(From::Number(n)), Some(_)) => read.from_revision(Revision::new(n)),
            (Some(From::Number(n)), None) => read.from_position(Position::new(n)),
            (Some(From::Recorded(time)), _) => read.from_time(time),
            (None, _) => read,
        };
        read.limit = self.limit;
        read.as_of = self.as_of;
        read.system = self.filter.system;
        if self.backwards { read.backwards() } else { read }
    }

    /// Where the read that follows begins, after `last`.
    fn next(&self, last: &RecordedEvent) -> Option<u64> {
        let at = match &self.stream {
            Some(_) => last.revision().get(),
            None => last.position().get(),
        };
        if self.backwards { at.checked_sub(1) } else { at.checked_add(1) }
    }
}

/// How the events of a read were found.
#[derive(Debug, Serialize)]
struct Explained {
    index: Cow<'static, str>,
    segments_read: u64,
    postings_read: u64,
    events: u64,
}

/// Runs the command.
///
/// # Errors
/// When the request makes no sense, or the log cannot be read.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    if let Some(stream) = &args.stream {
        store.known_stream(stream)?;
    }
    let mut events = store.read(args.to_read());
    if args.explain {
        let mut count = 0;
        for event in events.by_ref() {
            event?;
            count += 1;
        }
        return print_explain(&events.explain(), count, output);
    }
    let mut listing = EventListing::new(output, &store);
    let (mut last, mut count) = (None, 0_u64);
    let mut links = Vec::new();
    for event in events {
        let event = event?;
        count += u64::from(!event.has_more_parts());
        last = Some(event.clone());
        if !args.resolve_links {
            store.shown(event, args.as_schema)?.iter().try_for_each(|it| listing.push(it))?;
            continue;
        }
        links.push(event);
        if links.len() >= LINKS_TOGETHER {
            list_resolved(&store, &mut links, &mut listing)?;
        }
    }
    list_resolved(&store, &mut links, &mut listing)?;
    let full = args.limit.is_some_and(|limit| count >= limit);
    let next = last.filter(|_| full).and_then(|event| args.next(&event));
    listing.end(next)?;
    store.close()
}

/// What links lead to is asked for so many at a time.
const LINKS_TOGETHER: usize = 100;

/// Lists what these links lead to.
fn list_resolved(
    store: &Store,
    links: &mut Vec<RecordedEvent>,
    listing: &mut EventListing<'_>,
) -> Result<(), Failure> {
    let resolved = store.resolve_links(std::mem::take(links))?;
    resolved.iter().try_for_each(|event| listing.push(event))
}

fn print_explain(explain: &Explain, events: u64, output: &mut Output) -> Result<(), Failure> {
    let Explain { index, segments_read, postings_read } = explain.clone();
    let facts = Facts::new()
        .with("index", index.as_ref())
        .with("segments read", segments_read)
        .with("postings read", postings_read)
        .with("events", events);
    output.one(&Explained { index, segments_read, postings_read, events }, &facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin_is_a_number_or_a_time() {
        assert_eq!(parse_from("7"), Ok(From::Number(7)));
        assert!(matches!(parse_from("recorded:2026-01-31T00:00:00Z"), Ok(From::Recorded(_))));
        assert!(parse_from("recorded:soon").unwrap_err().contains("RFC 3339"));
        assert!(parse_from("-1").unwrap_err().contains("number from 0"));
    }
}
