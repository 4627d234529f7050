//! `nexus timer`: events that are appended when their time has come.

use bytes::Bytes;
use nexus_protocol::json::TimerJson;
use nexus_protocol::limits::TIMERS_PAGE_MAX;
use nexus_protocol::timer::{Timer, TimerInfo, TimerList, TimerState};
use nexus_protocol::{EventData, JSON, Timestamp};
use serde::Serialize;

use crate::exit::Failure;
use crate::filter;
use crate::group::connect;
use crate::output::{Facts, Format, Output, notice, text};
use crate::store::{Place, Remote};

/// Arms, lists, and disarms timers: events that are appended when their time has come
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Arms a timer, or arms it anew
    #[command(after_help = "\
Example:
  nexus timer set order-1/payment --due-at 2026-12-01T12:00:00Z --stream order-1 \\
      --type PaymentTimedOut --event-data '{\"after_min\": 30}'")]
    Set(SetArgs),
    /// Shows a timer: whether it is armed, has fired, or has failed
    #[command(after_help = "Example:\n  nexus timer show order-1/payment")]
    Show(TimerArgs),
    /// Lists timers by id: those that are armed, or those that failed
    #[command(after_help = "Examples:\n  nexus timer list\n  nexus timer list --state failed")]
    List(ListArgs),
    /// Disarms a timer, or gives up one that failed
    #[command(after_help = "Example:\n  nexus timer disarm order-1/payment")]
    Disarm(TimerArgs),
}

/// One timer.
#[derive(Debug, clap::Args)]
pub(crate) struct TimerArgs {
    /// The timer
    id: String,
}

/// A timer, and what it is to do.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// The timer
    id: String,
    /// When: RFC 3339 with an offset; what is past is done at once
    #[arg(long, value_name = "TIME")]
    due_at: Timestamp,
    /// The stream that its event is appended to
    #[arg(long, value_parser = filter::stream_name)]
    stream: String,
    /// What will have happened, in the past tense: PaymentTimedOut
    #[arg(long = "type", value_name = "TYPE", value_parser = filter::event_type)]
    event_type: String,
    /// The facts, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}", allow_hyphen_values = true)]
    event_data: String,
    /// A tag to find the event by; repeatable
    #[arg(long = "tag", value_name = "KEY:VALUE", value_parser = filter::tag)]
    tags: Vec<String>,
}

/// Which timers.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Those that are armed, or those that failed
    #[arg(long, value_name = "armed|failed", default_value = "armed", value_parser = ["armed", "failed"])]
    state: String,
    /// Only ids after this one
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=TIMERS_PAGE_MAX as u64))]
    limit: u64,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the store refuses it.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let remote = connect(place)?;
    match command {
        Command::Set(args) => set(&remote, args, output)?,
        Command::Show(args) => show(&remote, &args.id, output)?,
        Command::List(args) => list(&remote, args, output)?,
        Command::Disarm(args) => disarm(&remote, &args.id, output)?,
    }
    remote.close()
}

fn set(remote: &Remote, args: &SetArgs, output: &mut Output) -> Result<(), Failure> {
    if serde_json::from_str::<serde::de::IgnoredAny>(&args.event_data).is_err() {
        return Err(Failure::usage("--event-data is not JSON: write it as in '{\"n\": 1}'"));
    }
    let data = Bytes::copy_from_slice(args.event_data.as_bytes());
    let mut event = EventData::new(&*args.event_type, JSON, data);
    event.tags.clone_from(&args.tags);
    let timer = Timer::new(args.due_at, &*args.stream, event);
    remote.wait(remote.client.set_timer(&args.id, &timer))?;
    show(remote, &args.id, output)
}

fn facts(info: &TimerInfo) -> Facts {
    let failure = info.failure.as_ref();
    Facts::new()
        .with("timer", &info.id)
        .with("state", info.state.as_str())
        .with("due at", info.timer.due_at)
        .with("stream", &info.timer.stream)
        .with("type", &info.timer.event.event_type)
        .with("generation", info.generation)
        .with("armed at", info.armed_at)
        .with_some("fired at", info.fired_at)
        .with_some("attempts", failure.map(|it| it.attempts))
        .with_some("error", failure.map(|it| it.error.message.clone()))
}

fn show(remote: &Remote, id: &str, output: &mut Output) -> Result<(), Failure> {
    let info = remote.wait(remote.client.timer(id))?;
    output.one(&TimerJson::from(&info), &facts(&info))
}

fn list(remote: &Remote, args: &ListArgs, output: &mut Output) -> Result<(), Failure> {
    let columns = [text("TIMER"), text("STATE"), text("DUE AT"), text("STREAM"), text("TYPE")];
    let state = match &*args.state {
        "failed" => TimerState::Failed,
        _ => TimerState::Armed,
    };
    let limit = usize::try_from(args.limit).unwrap_or(TIMERS_PAGE_MAX);
    let wanted = TimerList { state, after: args.after.clone(), limit };
    let page = remote.wait(remote.client.timers(&wanted))?;
    let is_table = output.format() == Format::Table;
    let mut listing = output.list("timers", &columns);
    for info in &page.timers {
        listing.push(&TimerJson::from(info), || {
            vec![
                info.id.clone(),
                info.state.as_str().to_owned(),
                info.timer.due_at.to_string(),
                info.timer.stream.clone(),
                info.timer.event.event_type.clone(),
            ]
        })?;
    }
    let more = page.next.clone().filter(|_| is_table);
    listing.end(page.next)?;
    // A table has no place for it, and looks as if it were all of them.
    if let Some(after) = more {
        notice(format_args!("there are more: list those behind with --after {after:?}"));
    }
    Ok(())
}

/// What a disarming did.
#[derive(Debug, Serialize)]
struct Disarmed<'a> {
    id: &'a str,
    disarmed: bool,
}

fn disarm(remote: &Remote, id: &str, output: &mut Output) -> Result<(), Failure> {
    remote.wait(remote.client.disarm_timer(id))?;
    let facts = Facts::new().with("timer", id).with("state", "disarmed");
    output.one(&Disarmed { id, disarmed: true }, &facts)
}
