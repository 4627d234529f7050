//! `nexus stream …`: what is known of streams, and changing it.

use nexus_engine::StreamList;
use nexus_protocol::{ExpectedRevision, Revision, StreamChange, StreamInfo, StreamState};
use serde::Serialize;

use crate::append::parse_expected;
use crate::exit::Failure;
use crate::output::{Facts, Output, number, text};
use crate::store::{Place, Store};

/// Looks at streams, limits them, deletes them
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    List(ListArgs),
    /// Shows one stream
    #[command(after_help = "Example:\n  nexus --data ./data stream show order-1")]
    Show {
        /// The stream
        stream: String,
    },
    /// Sets limits; `none` lifts one
    #[command(
        after_help = "Example:\n  nexus --data ./data stream set device-7 --max-count 1000 --max-age-s none"
    )]
    Set {
        /// The stream
        stream: String,
        /// Only the newest so many events stay visible
        #[arg(long, value_name = "N", value_parser = parse_limit)]
        max_count: Option<Limit>,
        /// Events recorded longer ago than so many seconds are hidden, within a minute
        #[arg(long, value_name = "SECONDS", value_parser = parse_limit)]
        max_age_s: Option<Limit>,
    },
    /// Hides all events; a later append revives the stream, and its revisions go on
    #[command(
        after_help = "Example:\n  nexus --data ./data stream delete order-1 --expected exists"
    )]
    Delete(DeleteArgs),
    /// Deletes a stream for good: its name can never be used again
    #[command(after_help = "Example:\n  nexus --data ./data stream tombstone order-1")]
    Tombstone(DeleteArgs),
    /// Hides the events below a revision, for good
    #[command(after_help = "Example:\n  nexus --data ./data stream truncate order-1 --before 100")]
    Truncate {
        /// The stream
        stream: String,
        /// The first revision that stays visible
        #[arg(long, value_name = "REVISION")]
        before: u64,
    },
}

/// Lists streams by name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nexus --data ./data stream list --category order --limit 20")]
pub(crate) struct ListArgs {
    /// Only names that start so
    #[arg(long, default_value = "")]
    prefix: String,
    /// Only this category
    #[arg(long)]
    category: Option<String>,
    /// Only names after this one
    #[arg(long)]
    after: Option<String>,
    /// So many at most
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    /// Also the system's streams
    #[arg(long)]
    system: bool,
    /// Also deleted streams
    #[arg(long)]
    deleted: bool,
}

/// Which stream to delete.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// The stream
    stream: String,
    /// What it must be: any, no_stream, exists, or the revision of its newest event
    #[arg(long, default_value = "any", value_parser = parse_expected)]
    expected: ExpectedRevision,
}

/// A limit that is set or lifted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(Option<u64>);

fn parse_limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        number => number
            .parse()
            .map(|limit| Limit(Some(limit)))
            .map_err(|_| "write a number, or `none` to lift the limit".to_owned()),
    }
}

#[derive(Serialize)]
struct StreamJson<'a> {
    stream: &'a str,
    state: &'static str,
    head_revision: Option<u64>,
    first_revision: u64,
    events: u64,
    last_position: Option<u64>,
    #[serde(flatten)]
    limits: nexus_protocol::StreamLimits,
}

impl<'a> From<&'a StreamInfo> for StreamJson<'a> {
    fn from(info: &'a StreamInfo) -> Self {
        Self {
            stream: info.stream.as_str(),
            state: state_name(info.state),
            head_revision: info.state.head().map(Revision::get),
            first_revision: info.floor.get(),
            events: info.event_count(),
            last_position: info.last_position.map(nexus_protocol::Position::get),
            limits: info.limits,
        }
    }
}

fn state_name(state: StreamState) -> &'static str {
    match state {
        StreamState::Missing => "missing",
        StreamState::At(_) => "active",
        StreamState::Deleted(_) => "deleted",
        StreamState::Tombstoned => "tombstoned",
    }
}

/// Runs the command.
///
/// # Errors
/// When the stream is not what it must be.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    if let Command::List(args) = command {
        return list(args, place, output);
    }
    if let Command::Show { stream } = command {
        let store = Store::open_to_read(place)?;
        return show(&store, stream, output);
    }
    let store = Store::open(place)?;
    let namespace = store.namespace();
    let stream = match command {
        Command::List(_) | Command::Show { .. } => unreachable!("handled above"),
        Command::Set { stream, max_count, max_age_s } => {
            let change = StreamChange {
                max_count: max_count.map(|limit| limit.0),
                max_age_s: max_age_s.map(|limit| limit.0),
                truncate_before: None,
            };
            namespace.set_stream(stream, change)?;
            stream
        }
        Command::Truncate { stream, before } => {
            let truncate_before = Some(Revision::new(*before));
            namespace
                .set_stream(stream, StreamChange { truncate_before, ..StreamChange::default() })?;
            stream
        }
        Command::Delete(args) => {
            namespace.delete_stream(&args.stream, args.expected)?;
            &args.stream
        }
        Command::Tombstone(args) => {
            namespace.tombstone_stream(&args.stream, args.expected)?;
            &args.stream
        }
    };
    show(&store, stream, output)?;
    store.close()
}

fn show(store: &Store, stream: &str, output: &mut Output) -> Result<(), Failure> {
    let info = store.namespace().stream_info(stream)?;
    if info.state == StreamState::Missing {
        return Err(Failure::failed(format!("there is no stream {stream:?}")));
    }
    let json = StreamJson::from(&info);
    let facts = Facts::new()
        .with("stream", json.stream)
        .with("state", json.state)
        .with_some("head revision", json.head_revision)
        .with("first revision", json.first_revision)
        .with("events", json.events)
        .with_some("last position", json.last_position)
        .with_some("max count", info.limits.max_count)
        .with_some("max age s", info.limits.max_age_s)
        .with_some("truncate before", info.limits.truncate_before);
    output.one(&json, &facts)
}

/// Runs `stream list`.
///
/// # Errors
/// When the log cannot be opened.
pub(crate) fn list(args: &ListArgs, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    let infos = store.namespace().streams(&StreamList {
        prefix: args.prefix.clone(),
        category: args.category.clone(),
        after: args.after.clone(),
        limit: args.limit,
        system: args.system,
        deleted: args.deleted,
    })?;
    let columns = [text("STREAM"), text("STATE"), number("EVENTS"), number("LAST POSITION")];
    let mut listing = output.list("streams", &columns);
    for info in &infos {
        let json = StreamJson::from(info);
        let position = json.last_position.map_or_else(String::new, |p| p.to_string());
        listing.push(&json, || {
            vec![json.stream.to_owned(), json.state.to_owned(), json.events.to_string(), position]
        })?;
    }
    let next = (infos.len() == args.limit).then(|| infos.last()).flatten();
    listing.end(next.map(|info| info.stream.as_str().to_owned()))
}
