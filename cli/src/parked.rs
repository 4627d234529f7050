//! `nexus parked`: what could not be processed, which queues call dead letters.

mod holder;
mod timers;

use nexus_protocol::Position;
use nexus_protocol::group::{ParkedEntry, ParkedList, ParkedPick};
use nexus_protocol::json::ParkedEntryJson;
use serde::Serialize;

use self::holder::Holder;
use crate::exit::Failure;
use crate::filter;
use crate::group::connect;
use crate::output::{Facts, Output, number, text};
use crate::store::{Place, Remote};

/// Entries that are fetched at once.
const PAGE: usize = 1000;
/// Which column has the lane.
const LANE: usize = 1;

/// Shows, replays, skips, and edits what is parked
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists what is parked
    #[command(after_help = "\
Examples:
  nexus --data ./data parked list --source group:mail
  nexus --data ./data parked list --source projection:orders")]
    List(ListArgs),
    /// Shows an entry, with why it failed
    #[command(after_help = "Example:\n  nexus --data ./data parked show 17 --source group:mail")]
    Show(EntryArgs),
    /// Lets what is parked be delivered, or folded, again
    #[command(after_help = "\
Examples:
  nexus --data ./data parked replay 17 --source group:mail
  nexus --data ./data parked replay --all --source group:mail
  nexus --data ./data parked replay --key order-17 --source group:mail
  nexus --data ./data parked replay --all --rate 10 --source group:mail
  nexus --data ./data parked replay --key order-17 --source projection:orders")]
    Replay(ReplayArgs),
    /// Gives up what is parked
    #[command(after_help = "Example:\n  nexus --data ./data parked skip 17 --source group:mail")]
    Skip(PickArgs),
    /// Lets what is parked be delivered, or folded, again, with other data
    #[command(after_help = "\
Example:
  nexus --data ./data parked edit 17 --source group:mail --json '{\"to\": \"a@example.org\"}'")]
    Edit(EditArgs),
    /// Gives up all that is parked, or that of a lane: skip by the name that queues have for it
    #[command(
        after_help = "Example:\n  nexus --data ./data parked purge --all --source group:mail"
    )]
    Purge(PickArgs),
}

/// Where it is parked.
#[derive(Debug, clap::Args)]
struct Source {
    /// Where it is parked, as in group:mail or projection:orders; or timers
    #[arg(long, value_name = "group:NAME|projection:NAME|timers", value_parser = source)]
    source: Of,
}

/// Where something is parked.
#[derive(Clone, Debug)]
enum Of {
    /// In a group, or a projection.
    Events(Holder),
    /// It is a timer that failed.
    Timers,
}

fn source(text: &str) -> Result<Of, String> {
    match Holder::of(text) {
        Some(holder) => Ok(Of::Events(holder)),
        None if text == timers::SOURCE => Ok(Of::Timers),
        None => Err("write group:NAME, as in group:mail, projection:NAME, or timers".to_owned()),
    }
}

/// The position that an entry is named by, but for a timer.
fn position(id: &str) -> Result<Position, Failure> {
    let number = filter::number(id).map_err(|why| Failure::usage(format!("{id:?}: {why}")))?;
    Ok(Position::new(number))
}

/// Which entries to list.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    source: Source,
    /// Only this lane of a group
    #[arg(long, value_name = "N")]
    lane: Option<u32>,
    /// Only this key: of the stream of this name, or of this value of what the group keeps order by; of a projection, of the
    /// document with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// What merely waits behind another, too
    #[arg(long)]
    waiting: bool,
    /// Only what stands after this one: what `next` said
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = filter::number, allow_negative_numbers = true)]
    limit: Option<u64>,
}

/// One entry.
#[derive(Debug, clap::Args)]
pub(crate) struct EntryArgs {
    /// The entry: its position; of a timer its id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    source: Source,
}

/// One entry, and what it is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct EditArgs {
    /// The entry: its position; of a timer its id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    source: Source,
    /// The new data
    #[arg(long, value_name = "JSON")]
    json: String,
}

/// Some entries.
#[derive(Debug, clap::Args)]
pub(crate) struct PickArgs {
    #[command(flatten)]
    pick: Pick,
    #[command(flatten)]
    source: Source,
}

/// Some entries, and how fast.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pick: Pick,
    /// So many events of a group a second, at most; all at once by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    #[command(flatten)]
    source: Source,
}

/// Which entries.
#[derive(Debug, clap::Args)]
#[group(id = "pick", required = true, multiple = false)]
struct Pick {
    /// These entries, by their positions; timers by their ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Those of a lane of a group
    #[arg(long, value_name = "N")]
    lane: Option<u32>,
    /// Those of a key: of the stream of this name, or of this value of what the group keeps order by; of a projection, of the
    /// document with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

impl Pick {
    fn pick(&self) -> Result<ParkedPick, Failure> {
        Ok(match (self.lane, &self.key) {
            (Some(lane), _) => ParkedPick::Lane(lane),
            (None, Some(key)) => ParkedPick::Key(key.clone()),
            (None, None) if self.all => ParkedPick::All,
            (None, None) => ParkedPick::Positions(
                self.ids.iter().map(|id| position(id)).collect::<Result<_, _>>()?,
            ),
        })
    }
}

/// How many entries it was done with.
#[derive(Debug, Serialize)]
struct Picked {
    count: u64,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the store refuses it.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let remote = connect(place)?;
    match command.source() {
        Of::Timers => timers::run(command, &remote, output)?,
        Of::Events(holder) => of_events(command, holder, &remote, output)?,
    }
    remote.close()
}

impl Command {
    fn source(&self) -> &Of {
        let source = match self {
            Self::List(args) => &args.source,
            Self::Show(args) => &args.source,
            Self::Replay(args) => &args.source,
            Self::Skip(args) | Self::Purge(args) => &args.source,
            Self::Edit(args) => &args.source,
        };
        &source.source
    }
}

fn of_events(
    command: &Command,
    holder: &Holder,
    remote: &Remote,
    output: &mut Output,
) -> Result<(), Failure> {
    let count = match command {
        Command::List(args) => return list(args, holder, remote, output),
        Command::Show(args) => return show(args, holder, remote, output),
        Command::Edit(args) => return edit(args, holder, remote, output),
        Command::Replay(args) => holder.replay(remote, args.pick.pick()?, args.rate)?,
        Command::Skip(args) | Command::Purge(args) => holder.skip(remote, args.pick.pick()?)?,
    };
    picked(count, output)
}

fn picked(count: u64, output: &mut Output) -> Result<(), Failure> {
    output.one(&Picked { count }, &Facts::new().with("entries", count))
}

fn list(
    args: &ListArgs,
    holder: &Holder,
    remote: &Remote,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut columns = vec![
        number("ID"),
        number("LANE"),
        text("STREAM"),
        text("TYPE"),
        number("ATTEMPTS"),
        number("BEHIND"),
        text("ERROR"),
    ];
    if !holder.has_lanes() {
        columns.remove(LANE);
    }
    let source = holder.to_string();
    let mut listing = output.list("parked", &columns);
    let mut after = args.after.as_deref().map(position).transpose()?;
    let mut left = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    while left > 0 {
        let limit = left.min(PAGE);
        let (lane, key) = (args.lane, args.key.clone());
        let list = ParkedList { lane, key, waiting: args.waiting, after, limit };
        let page = holder.parked(remote, &list)?;
        left -= page.entries.len().min(left);
        for entry in &page.entries {
            listing.push(&ParkedEntryJson::new(&source, entry), || {
                let mut cells = cells(entry);
                if !holder.has_lanes() {
                    cells.remove(LANE);
                }
                cells
            })?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    listing.end(after.map(|after| after.to_string()))
}

fn cells(entry: &ParkedEntry) -> Vec<String> {
    let (stream, event_type) = entry.event.clone().unwrap_or_default();
    let error = match (&entry.failure, entry.released) {
        (_, true) => match entry.not_before {
            None => "released, and waits for its turn".to_owned(),
            Some(at) => format!("released, not before {at}"),
        },
        (Some(failure), false) => failure.message.clone(),
        (None, false) => "waits behind another".to_owned(),
    };
    vec![
        entry.position.to_string(),
        entry.lane.to_string(),
        stream,
        event_type,
        entry.attempts.to_string(),
        entry.waiting_behind.to_string(),
        error,
    ]
}

/// The entry that is named.
fn entry(remote: &Remote, holder: &Holder, at: Position) -> Result<ParkedEntry, Failure> {
    let after = at.get().checked_sub(1).map(Position::new);
    let list = ParkedList { waiting: true, after, limit: 1, ..ParkedList::default() };
    let page = holder.parked(remote, &list)?;
    let found = page.entries.into_iter().find(|entry| entry.position == at);
    found.ok_or_else(|| {
        Failure::failed(format!(
            "nothing is parked at {at}: `nexus parked list --source {holder}` says what is"
        ))
    })
}

fn show(
    args: &EntryArgs,
    holder: &Holder,
    remote: &Remote,
    output: &mut Output,
) -> Result<(), Failure> {
    let entry = entry(remote, holder, position(&args.id)?)?;
    let failure = entry.failure.clone().unwrap_or_default();
    let facts = Facts::new()
        .with("id", entry.position)
        .with_some("lane", holder.has_lanes().then_some(entry.lane))
        .with_some("stream", entry.event.as_ref().map(|(stream, _)| stream.clone()))
        .with_some("type", entry.event.as_ref().map(|(_, event_type)| event_type.clone()))
        .with("attempts", entry.attempts)
        .with("error", &failure.message)
        .with_some("class", Some(failure.class.clone()).filter(|class| !class.is_empty()))
        .with("caused by", failure.chain.join("; "))
        .with_some("first failed", entry.first_failed)
        .with_some("last failed", entry.last_failed)
        .with_some("tried again by a rule", Some(entry.rounds).filter(|rounds| *rounds > 0))
        .with_some("not before", entry.not_before)
        .with("waiting behind", entry.waiting_behind);
    output.one(&ParkedEntryJson::new(&holder.to_string(), &entry), &facts)
}

/// Where the edited event stands.
#[derive(Debug, Serialize)]
struct Edited {
    position: u64,
}

/// Refuses data that are none.
fn check_json(json: &str) -> Result<(), Failure> {
    if let Err(why) = serde_json::from_str::<serde::de::IgnoredAny>(json) {
        return Err(Failure::usage(format!("--json is not JSON: {why}")));
    }
    Ok(())
}

fn edit(
    args: &EditArgs,
    holder: &Holder,
    remote: &Remote,
    output: &mut Output,
) -> Result<(), Failure> {
    check_json(&args.json)?;
    let by = holder.edit(remote, position(&args.id)?, args.json.clone().into_bytes())?;
    edited(&args.id, by, output)
}

fn edited(id: &str, by: Position, output: &mut Output) -> Result<(), Failure> {
    let facts = Facts::new().with("id", id).with("taken instead", by);
    output.one(&Edited { position: by.get() }, &facts)
}
