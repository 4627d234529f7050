//! `nexus append`: one event.

use std::io::Read as _;

use nexus_protocol::{Append, EventData, EventId, ExpectedRevision, JSON, Revision, Timestamp};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output};
use crate::store::{Place, Store};

const EXAMPLES: &str = "\
Examples:
  nexus --data ./data append order-1 --type OrderPlaced --data '{\"total_cents\": 250}'
  nexus --data ./data append order-1 --type OrderPaid --expected 0 --tag customer:7 --data '{}'
  echo '{\"n\": 1}' | nexus --data ./data append counter --type Counted --data -";

/// Appends an event to a stream; durable when it returns
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream
    stream: String,
    /// What happened, in the past tense
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// The facts; JSON unless a content type says otherwise; `-` reads standard input
    #[arg(long = "data", id = "event_data", value_name = "DATA")]
    data: String,
    /// What the stream must be: any, no_stream, exists, or the revision of its newest event
    #[arg(long, default_value = "any", value_parser = parse_expected)]
    expected: ExpectedRevision,
    /// A tag, `key:value`; repeatable
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// The event's id, a UUID; with it the append can be repeated
    #[arg(long)]
    id: Option<EventId>,
    /// Media type of the data
    #[arg(long, default_value = JSON)]
    content_type: String,
    /// When it happened: RFC 3339 with an offset
    #[arg(long)]
    occurred_at: Option<Timestamp>,
}

/// Parses `--expected`.
///
/// # Errors
/// Says what would be right.
pub(crate) fn parse_expected(text: &str) -> Result<ExpectedRevision, String> {
    match text {
        "any" => Ok(ExpectedRevision::Any),
        "no_stream" => Ok(ExpectedRevision::NoStream),
        "exists" => Ok(ExpectedRevision::Exists),
        number => number
            .parse::<Revision>()
            .map(ExpectedRevision::Exact)
            .map_err(|_| "write any, no_stream, exists, or a revision".to_owned()),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    stream: &'a str,
    first_revision: u64,
    last_revision: u64,
    first_position: Option<u64>,
    last_position: Option<u64>,
    replayed: bool,
}

/// Runs the command.
///
/// # Errors
/// When the event is refused.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let event = event(args)?;
    let store = Store::open(place)?;
    let append = Append::to(&args.stream).expected(args.expected).event(event);
    let appended = store.namespace().append(append).wait()?;
    let [stream] = appended.streams.as_slice() else {
        return Err(Failure::failed("the store answered for another stream"));
    };
    let answer = Answer {
        stream: &args.stream,
        first_revision: stream.first_revision.get(),
        last_revision: stream.last_revision.get(),
        first_position: appended.first().map(nexus_protocol::Position::get),
        last_position: appended.last().map(nexus_protocol::Position::get),
        replayed: appended.replayed,
    };
    let facts = Facts::new()
        .with("stream", &args.stream)
        .with("revision", answer.last_revision)
        .with_some("position", answer.last_position)
        .with("replayed", answer.replayed);
    output.one(&answer, &facts)?;
    store.close()
}

fn event(args: &Args) -> Result<EventData, Failure> {
    let data = if args.data == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
        bytes
    } else {
        args.data.clone().into_bytes()
    };
    if args.content_type == JSON {
        serde_json::from_slice::<serde::de::IgnoredAny>(&data).map_err(|error| {
            Failure::usage(format!("--data is not JSON: {error}; mend it, or give --content-type"))
        })?;
    }
    let mut event = EventData::new(&args.event_type, &args.content_type, data.into());
    event.tags.clone_from(&args.tag);
    event.id = args.id;
    event.occurred_at = args.occurred_at;
    Ok(event)
}
