//! `nexus append`: one event to a stream.

use std::io::Read as _;
use std::str::FromStr;
use std::time::SystemTime;

use nexus_protocol::limits::{DATA_BYTES_DEFAULT, DATA_BYTES_MAX};
use nexus_protocol::{
    Append, Appended, CausationId, CorrelationId, EventData, EventId, ExpectedRevision, JSON,
    Revision, Timestamp,
};
use serde::Serialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::exit::Failure;
use crate::filter;
use crate::output::{Facts, Output};
use crate::store::{Place, Store};

const EXAMPLES: &str = "\
Examples:
  nexus --data ./data append order-1 --type OrderPlaced --data '{\"total_cents\": 250}'
  nexus --data ./data append order-1 --type OrderPaid --expected 0 --tag customer:7 --data '{}'
  cat photo.png | nexus --data ./data append photo-1 --type PhotoTaken \\
      --content-type image/png --data -
  nexus --data ./data append order-1 --type ReminderDue --not-before +10m --data '{}'

The data directory is named before `append`, whose own --data are the facts, or by NEXUS_DATA.
An append is repeated safely with the same --id. Exit code 3: the stream is not what was expected.";

/// Appends an event to a stream
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream
    #[arg(value_parser = filter::stream_name)]
    stream: String,
    /// What happened, in the past tense: OrderPlaced
    #[arg(long = "type", value_name = "TYPE", value_parser = filter::event_type)]
    event_type: String,
    /// The facts, as JSON; `-` reads them from standard input
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    data: String,
    /// What the stream must be: any, no_stream, exists, or the revision of its newest event
    #[arg(long, value_name = "EXPECTED", default_value = "any", allow_negative_numbers = true)]
    expected: Expected,
    /// A tag to find the event by; repeatable
    #[arg(long = "tag", value_name = "KEY:VALUE", value_parser = filter::tag)]
    tags: Vec<String>,
    /// The event's identity, a UUID; made anew unless given
    #[arg(long, value_parser = identity::<EventId>)]
    id: Option<EventId>,
    /// Media type of the data
    #[arg(long, value_name = "TYPE", default_value = JSON)]
    content_type: String,
    /// When it happened: RFC 3339 with an offset
    #[arg(long, value_name = "TIME")]
    occurred_at: Option<Timestamp>,
    /// Groups do not deliver it before: RFC 3339 with an offset, or so long from now, as in +10m
    #[arg(long, value_name = "TIME", value_parser = ahead)]
    not_before: Option<Timestamp>,
    /// What the event belongs to, a UUID
    #[arg(long, value_name = "ID", value_parser = identity::<CorrelationId>)]
    correlation_id: Option<CorrelationId>,
    /// What caused it, a UUID
    #[arg(long, value_name = "ID", value_parser = identity::<CausationId>)]
    causation_id: Option<CausationId>,
    /// Metadata, as JSON
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Largest data of the event, in bytes: up to 16 MiB
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = DATA_BYTES_DEFAULT,
        value_parser = filter::data_bytes_max
    )]
    data_bytes_max: usize,
}

/// An identity, which is a UUID.
fn identity<I: From<Uuid>>(text: &str) -> Result<I, String> {
    text.parse::<Uuid>()
        .map(I::from)
        .map_err(|_| "write a UUID, as in 0192d1f0-0000-7000-8000-000000000001".to_owned())
}

/// A time, or so long from now.
fn ahead(text: &str) -> Result<Timestamp, String> {
    let Some(wait) = text.strip_prefix('+') else {
        return text.parse().map_err(|why| format!("{why}; or so long from now, as in +10m"));
    };
    let wait = nexus_protocol::duration_from_text(wait)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::from_micros(0).saturating_add(now).saturating_add(wait))
}

/// What the stream must be, as the command line writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected(pub(crate) ExpectedRevision);

impl FromStr for Expected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "any" => ExpectedRevision::Any,
            "no_stream" => ExpectedRevision::NoStream,
            "exists" => ExpectedRevision::Exists,
            number => ExpectedRevision::Exact(Revision::new(
                number
                    .parse()
                    .map_err(|_| "write any, no_stream, exists, or a number".to_owned())?,
            )),
        }))
    }
}

/// What an append did.
#[derive(Debug, Serialize)]
pub(crate) struct Done<'a> {
    stream: &'a str,
    first_revision: Option<u64>,
    last_revision: Option<u64>,
    first_position: Option<u64>,
    last_position: Option<u64>,
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
}

impl<'a> Done<'a> {
    /// What became of an append to one stream.
    pub(crate) fn new(stream: &'a str, appended: &Appended, id: Option<EventId>) -> Self {
        let to = appended.streams.first();
        Self {
            stream,
            first_revision: to.map(|to| to.first_revision.get()),
            last_revision: to.map(|to| to.last_revision.get()),
            first_position: appended.first().map(nexus_protocol::Position::get),
            last_position: appended.last().map(nexus_protocol::Position::get),
            replayed: appended.replayed,
            id,
        }
    }

    /// Prints it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn print(&self, output: &mut Output) -> Result<(), Failure> {
        let facts = Facts::new()
            .with("stream", self.stream)
            .with_some("revision", self.last_revision)
            .with_some("position", self.last_position)
            .with_some("id", self.id)
            .with("replayed", self.replayed);
        output.one(self, &facts)
    }
}

/// Runs the command.
///
/// # Errors
/// When the data is not JSON, or the store refuses the event.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let data = data(args)?;
    let id = args.id.unwrap_or_else(|| EventId::from_uuid(Uuid::now_v7()));
    let mut event = EventData::new(&args.event_type, &args.content_type, data.into()).id(id);
    event.tags.clone_from(&args.tags);
    event.occurred_at = args.occurred_at;
    event.not_before = args.not_before;
    event.correlation_id = args.correlation_id;
    event.causation_id = args.causation_id;
    if let Some(metadata) = &args.metadata {
        check_json("--metadata", metadata.as_bytes())?;
        event = event.metadata(metadata.clone().into_bytes());
    }
    let store = Store::open_for_data(place, args.data_bytes_max)?;
    let append = Append::to(&args.stream).expected(args.expected.0).event(event);
    let appended = store.append(append).wait()?;
    Done::new(&args.stream, &appended, Some(id)).print(output)?;
    store.close()
}

/// The bytes of the data; checked where they are said to be JSON.
fn data(args: &Args) -> Result<Vec<u8>, Failure> {
    let data = if args.data == "-" {
        let mut data = Vec::new();
        let read = std::io::stdin().take(DATA_BYTES_MAX as u64 + 1).read_to_end(&mut data);
        read.map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
        if data.len() > DATA_BYTES_MAX {
            return Err(Failure::usage(format!(
                "standard input has more than {DATA_BYTES_MAX} bytes, the most that an event can \
                 hold: keep it elsewhere, and append where it is"
            )));
        }
        data
    } else {
        args.data.clone().into_bytes()
    };
    if args.content_type != JSON {
        return Ok(data);
    }
    match args.data.as_str() {
        "-" => is_json(&data).map_err(|error| {
            Failure::usage(format!(
                "standard input is not JSON: {error}; for other data say what it is, with \
                 --content-type"
            ))
        })?,
        _ => check_json("--data", &data)?,
    }
    Ok(data.trim_ascii().to_vec())
}

fn is_json(bytes: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<IgnoredAny>(bytes).map(drop)
}

fn check_json(flag: &str, bytes: &[u8]) -> Result<(), Failure> {
    is_json(bytes).map_err(|error| {
        Failure::usage(format!(
            "{flag} is not JSON: {error}; quote it for the shell, as in {flag} '{{\"a\": 1}}'"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_stream_must_be_is_a_word_or_a_number() {
        let check = |text: &str, expected| assert_eq!(text.parse(), Ok(Expected(expected)));
        check("any", ExpectedRevision::Any);
        check("no_stream", ExpectedRevision::NoStream);
        check("exists", ExpectedRevision::Exists);
        check("7", ExpectedRevision::Exact(Revision::new(7)));
        assert!("seven".parse::<Expected>().unwrap_err().contains("no_stream"));
    }

    #[test]
    fn a_time_ahead_is_a_time_or_begins_with_a_plus() {
        assert_eq!(ahead("1970-01-01T00:00:01Z"), Ok(Timestamp::from_micros(1_000_000)));
        let (ten, twenty) = (ahead("+10m").unwrap(), ahead("+20m").unwrap());
        assert!(twenty.since(ten) >= Duration::from_secs(600), "{ten} {twenty}");
        assert!(ten > ahead("2026-01-01T00:00:00Z").unwrap());
        assert!(ahead("10m").unwrap_err().contains("as in +10m"));
        for bad in ["+10", "+2026-01-01T00:00:00Z"] {
            assert!(ahead(bad).unwrap_err().contains("ms, s, m, or h"), "{bad}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_what_to_do() {
        let failure = format!("{:?}", check_json("--data", b"{a}").unwrap_err());
        assert!(failure.contains("--data is not JSON"), "{failure}");
        assert!(failure.contains("quote it for the shell"), "{failure}");
    }
}
