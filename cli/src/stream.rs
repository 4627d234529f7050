//! `nexus stream`: what streams there are, and how long their events are kept.

use nexus_engine::StreamList;
use nexus_protocol::json::StreamInfoJson;
use nexus_protocol::{Revision, StreamChange, StreamInfo};
use serde::Serialize;

use crate::append::Expected;
use crate::exit::Failure;
use crate::filter;
use crate::output::{Facts, Output, number, text};
use crate::store::{Place, Store};

/// Streams that are fetched at once.
const PAGE: usize = 1000;

const LIST_EXAMPLES: &str = "\
Examples:
  nexus --data ./data stream list --category order --limit 20
  nexus --data ./data streams --prefix order-1 --output ndjson";

/// Lists, shows, limits, and deletes streams
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists streams by name
    List(ListArgs),
    /// Shows a stream: its state, its events, its limits
    #[command(after_help = "Example:\n  nexus --data ./data stream show order-1")]
    Show(StreamArgs),
    /// Sets how long a stream's events are kept
    #[command(after_help = "\
Examples:
  nexus --data ./data stream set order-1 --max-count 100
  nexus --data ./data stream set order-1 --max-age 30d
  nexus --data ./data stream set order-1 --max-age none")]
    Set(SetArgs),
    /// Hides all events of a stream; a later append revives it
    #[command(after_help = "Example:\n  nexus --data ./data stream delete order-1 --expected 4")]
    Delete(DeleteArgs),
    /// Deletes a stream for good: its name can never be used again
    #[command(after_help = "Example:\n  nexus --data ./data stream tombstone order-1")]
    Tombstone(DeleteArgs),
    /// Hides the events of a stream below a revision
    #[command(after_help = "Example:\n  nexus --data ./data stream truncate order-1 --before 10")]
    Truncate(TruncateArgs),
}

/// Which streams to list.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArgs {
    /// Only names that start so
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only this category, the part of a name before its first `-`
    #[arg(long, value_parser = filter::stream_name)]
    category: Option<String>,
    /// Only names after this one: what `next` said
    #[arg(long, value_name = "STREAM")]
    after: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = filter::number, allow_negative_numbers = true)]
    limit: Option<u64>,
    /// The system's streams too
    #[arg(long)]
    system: bool,
    /// Deleted streams too
    #[arg(long)]
    deleted: bool,
}

/// One stream.
#[derive(Debug, clap::Args)]
pub(crate) struct StreamArgs {
    /// The stream
    #[arg(value_parser = filter::stream_name)]
    stream: String,
}

/// Limits to set.
#[derive(Debug, clap::Args)]
#[group(id = "limits", required = true, multiple = true)]
struct Limits {
    /// Keep the newest so many events; `none` lifts the limit
    #[arg(long, value_name = "N|none", value_parser = parse_count, allow_negative_numbers = true)]
    max_count: Option<Limit>,
    /// Keep events for so long: seconds, or as in 90s, 15m, 12h, 30d; `none` lifts the limit
    #[arg(
        long,
        visible_alias = "max-age-s",
        value_name = "AGE|none",
        value_parser = parse_age,
        allow_negative_numbers = true
    )]
    max_age: Option<Limit>,
    /// Hide events below this revision
    #[arg(
        long,
        value_name = "REVISION",
        value_parser = filter::number,
        allow_negative_numbers = true
    )]
    truncate_before: Option<u64>,
}

/// A stream and its limits.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// The stream
    #[arg(value_parser = filter::stream_name)]
    stream: String,
    #[command(flatten)]
    limits: Limits,
}

/// A stream that is to go.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// The stream
    #[arg(value_parser = filter::stream_name)]
    stream: String,
    /// What the stream must be: any, no_stream, exists, or the revision of its newest event
    #[arg(long, value_name = "EXPECTED", default_value = "any", allow_negative_numbers = true)]
    expected: Expected,
}

/// A stream and the first revision that stays.
#[derive(Debug, clap::Args)]
pub(crate) struct TruncateArgs {
    /// The stream
    #[arg(value_parser = filter::stream_name)]
    stream: String,
    /// The first revision that stays visible
    #[arg(
        long,
        value_name = "REVISION",
        value_parser = filter::number,
        allow_negative_numbers = true
    )]
    before: u64,
}

/// A limit, or none.
type Limit = Option<u64>;

// clap would take `Option<Option<u64>>` for an optional value of an optional flag.
fn parse_count(value: &str) -> Result<Limit, String> {
    match value {
        "none" => Ok(None),
        "0" => Err("keep at least 1, or delete the stream".to_owned()),
        count => count.parse().map(Some).map_err(|_| "write a number, or none".to_owned()),
    }
}

fn parse_age(value: &str) -> Result<Limit, String> {
    if value == "none" {
        return Ok(None);
    }
    let what = || "write seconds, or a number with s, m, h, or d behind it, or none".to_owned();
    let digits = value.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let seconds: u64 = match value.get(digits.len()..) {
        Some("" | "s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        Some("d") => 86_400,
        _ => return Err(what()),
    };
    let count: u64 = digits.parse().map_err(|_| what())?;
    count.checked_mul(seconds).map(Some).ok_or_else(what)
}

/// Runs a command of the noun.
///
/// # Errors
/// When the store refuses it.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::List(args) => list(args, place, output),
        Command::Show(args) => {
            let store = Store::open_to_read(place)?;
            print(&store.known_stream(&args.stream)?, output)?;
            store.close()
        }
        Command::Set(args) => {
            let limits = &args.limits;
            let change = StreamChange {
                max_count: limits.max_count,
                max_age_s: limits.max_age,
                truncate_before: limits.truncate_before.map(Revision::new),
            };
            set(&args.stream, change, place, output)
        }
        Command::Truncate(args) => {
            let truncate_before = Some(Revision::new(args.before));
            let change = StreamChange { truncate_before, ..StreamChange::default() };
            set(&args.stream, change, place, output)
        }
        Command::Delete(args) => delete(args, false, place, output),
        Command::Tombstone(args) => delete(args, true, place, output),
    }
}

/// Lists streams.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn list(args: &ListArgs, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    let columns = [
        text("STREAM"),
        text("STATE"),
        number("EVENTS"),
        number("HEAD REVISION"),
        number("LAST POSITION"),
    ];
    let mut listing = output.list("streams", &columns);
    let mut after = args.after.clone();
    let limit = args.limit.unwrap_or(u64::MAX);
    let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut more = true;
    while more && left > 0 {
        let page = store.streams(&StreamList {
            prefix: args.prefix.clone(),
            category: args.category.clone(),
            after: after.take(),
            limit: left.min(PAGE),
            system: args.system,
            deleted: args.deleted,
        })?;
        more = page.len() == left.min(PAGE);
        left -= page.len();
        after = page.last().map(|info| info.stream.to_string());
        for info in &page {
            listing.push(&StreamInfoJson::from(info), || cells(info))?;
        }
    }
    listing.end(after.filter(|_| more))?;
    store.close()
}

fn cells(info: &StreamInfo) -> Vec<String> {
    let or_none = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
    vec![
        info.stream.to_string(),
        StreamInfoJson::from(info).state.to_owned(),
        info.event_count().to_string(),
        or_none(info.state.head().map(Revision::get)),
        or_none(info.last_position.map(nexus_protocol::Position::get)),
    ]
}

fn print(info: &StreamInfo, output: &mut Output) -> Result<(), Failure> {
    let json = StreamInfoJson::from(info);
    let facts = Facts::new()
        .with("stream", json.stream)
        .with("state", json.state)
        .with("events", json.events)
        .with_some("head revision", json.head_revision)
        .with("first revision", json.first_revision)
        .with_some("last position", json.last_position)
        .with_some("max count", json.max_count)
        .with_some("max age (s)", json.max_age_s)
        .with_some("truncate before", json.truncate_before);
    output.one(&json, &facts)
}

fn set(
    stream: &str,
    change: StreamChange,
    place: &Place,
    output: &mut Output,
) -> Result<(), Failure> {
    let store = Store::open_existing(place)?;
    let info = store.set_stream(stream, change).map_err(Failure::of_change)?;
    print(&info, output)?;
    store.close()
}

fn delete(
    args: &DeleteArgs,
    for_good: bool,
    place: &Place,
    output: &mut Output,
) -> Result<(), Failure> {
    let store = Store::open_existing(place)?;
    let expected = args.expected.0;
    let appended = match for_good {
        true => store.tombstone_stream(&args.stream, expected),
        false => store.delete_stream(&args.stream, expected),
    }
    .map_err(Failure::of_change)?;
    let position = appended.last().map(nexus_protocol::Position::get);
    let deleted = Deleted { stream: &args.stream, position, tombstoned: for_good };
    let facts = Facts::new()
        .with("stream", deleted.stream)
        .with("state", if for_good { "tombstoned" } else { "deleted" })
        .with_some("position", deleted.position);
    output.one(&deleted, &facts)?;
    store.close()
}

/// What a delete did.
#[derive(Debug, Serialize)]
struct Deleted<'a> {
    stream: &'a str,
    position: Option<u64>,
    tombstoned: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_units() {
        let check = |value: &str, seconds| assert_eq!(parse_age(value), Ok(seconds), "{value}");
        check("90", Some(90));
        check("90s", Some(90));
        check("15m", Some(900));
        check("30d", Some(2_592_000));
        check("none", None);
        for bad in ["", "d", "1w", "1.5h", "-1", "99999999999999999d"] {
            assert!(parse_age(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_are_at_least_one() {
        assert_eq!(parse_count("1"), Ok(Some(1)));
        assert_eq!(parse_count("none"), Ok(None));
        assert!(parse_count("0").unwrap_err().contains("at least 1"));
        assert!(parse_count("many").is_err());
    }
}
