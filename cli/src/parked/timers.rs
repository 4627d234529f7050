//! Timers that failed, as something that is parked: `--source timers`.

use nexus_protocol::json::ParkedEntryJson;
use nexus_protocol::limits::TIMERS_PAGE_MAX;
use nexus_protocol::timer::{TimerInfo, TimerList, TimerPage, TimerState};
use nexus_protocol::{Append, AppendError, Position};

use super::{Command, EditArgs, ListArgs, Pick, check_json, edited, picked};
use crate::exit::Failure;
use crate::output::{Facts, Output, number, text};
use crate::store::Remote;

/// What the source is called.
pub(super) const SOURCE: &str = "timers";

/// Runs a command.
///
/// # Errors
/// When the store refuses it, or timers have no such thing.
pub(super) fn run(command: &Command, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::List(args) => list(args, remote, output),
        Command::Show(args) => show(&failed(remote, &args.id)?, output),
        Command::Edit(args) => edit(args, remote, output),
        Command::Replay(args) if args.rate.is_some() => {
            Err(Failure::usage("timers have no rate: leave out --rate"))
        }
        Command::Replay(args) => picked(each(remote, &args.pick, TimerInfo::armed_again)?, output),
        Command::Skip(args) | Command::Purge(args) => {
            picked(each(remote, &args.pick, TimerInfo::given_up)?, output)
        }
    }
}

fn page(remote: &Remote, after: Option<String>, limit: usize) -> Result<TimerPage, Failure> {
    let list = TimerList { state: TimerState::Failed, after, limit };
    Ok(remote.wait(remote.client.timers(&list))?)
}

fn list(args: &ListArgs, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    if args.lane.is_some() || args.key.is_some() {
        return Err(Failure::usage("timers have neither lanes nor keys: leave out --lane, --key"));
    }
    let columns = [text("ID"), text("STREAM"), text("TYPE"), number("ATTEMPTS"), text("ERROR")];
    let mut listing = output.list("parked", &columns);
    let mut after = args.after.clone();
    let mut left = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    while left > 0 {
        let page = page(remote, after, left.min(TIMERS_PAGE_MAX))?;
        left -= page.timers.len().min(left);
        for info in &page.timers {
            let Some(entry) = ParkedEntryJson::of_timer(info) else { continue };
            let error = entry.error.as_ref().map_or_else(String::new, |it| it.message.clone());
            let (timer, attempts) = (&info.timer, entry.attempts.to_string());
            let event_type = timer.event.event_type.clone();
            listing.push(&entry, || {
                vec![info.id.clone(), timer.stream.clone(), event_type, attempts, error]
            })?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    listing.end(after)
}

/// A timer that has failed.
fn failed(remote: &Remote, id: &str) -> Result<TimerInfo, Failure> {
    let info = remote.wait(remote.client.timer(id))?;
    match info.state {
        TimerState::Failed => Ok(info),
        state => Err(Failure::failed(format!(
            "timer {id:?} is {}, and not parked: `nexus parked list --source {SOURCE}` says what is",
            state.as_str()
        ))),
    }
}

fn show(info: &TimerInfo, output: &mut Output) -> Result<(), Failure> {
    let Some(entry) = ParkedEntryJson::of_timer(info) else { return Ok(()) };
    let error = entry.error.as_ref();
    let facts = Facts::new()
        .with("id", &info.id)
        .with("stream", &info.timer.stream)
        .with("type", &info.timer.event.event_type)
        .with("due at", info.timer.due_at)
        .with("attempts", entry.attempts)
        .with_some("error", error.map(|it| it.message.clone()))
        .with_some("first failed", entry.first_failed_at)
        .with_some("last failed", entry.last_failed_at);
    output.one(&entry, &facts)
}

fn edit(args: &EditArgs, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    check_json(&args.json)?;
    let mut info = failed(remote, &args.id)?;
    info.timer.event.data = args.json.clone().into_bytes().into();
    let appended = remote.wait(remote.client.append(info.armed_again()))?;
    edited(&args.id, appended.first().unwrap_or(Position::ZERO), output)
}

/// Does something with each of those that are meant, and gives with how many. Whatever somebody else has decided about
/// meanwhile does not count. One that can never be decided so keeps no other from it, and is the failure in the end.
fn each(
    remote: &Remote,
    pick: &Pick,
    append: impl Fn(&TimerInfo) -> Append,
) -> Result<u64, Failure> {
    if pick.lane.is_some() || pick.key.is_some() {
        return Err(Failure::usage(
            "timers have neither lanes nor keys: name them, or write --all",
        ));
    }
    let (mut count, mut refused) = (0, None);
    let mut decide = |info: &TimerInfo| -> Result<(), Failure> {
        let decided = async {
            match remote.client.append(append(info)).await {
                Ok(_) => count += 1,
                Err(AppendError::Conflict(_)) => {}
                Err(error) if error.is_of_this_append() => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
            Ok(())
        };
        Ok(remote.wait(decided)?)
    };
    if !pick.all {
        // All of them, or none.
        let all: Result<Vec<_>, _> = pick.ids.iter().map(|id| failed(remote, id)).collect();
        all?.iter().try_for_each(&mut decide)?;
        return refused.map_or(Ok(count), |error| Err(error.into()));
    }
    let mut after = None;
    loop {
        let page = page(remote, after, TIMERS_PAGE_MAX)?;
        page.timers.iter().try_for_each(&mut decide)?;
        after = page.next;
        if after.is_none() {
            return refused.map_or(Ok(count), |error| Err(error.into()));
        }
    }
}
