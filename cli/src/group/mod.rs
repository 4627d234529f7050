//! `nexus group`: consumers that share the work of a log.

mod consume;
mod set;

pub(crate) use self::set::start;

use nexus_client::Address;
use nexus_protocol::group::{GroupInfo, GroupStart, LaneInfo};
use nexus_protocol::json::{GroupInfoJson, LaneJson};
use nexus_protocol::{Position, Timestamp};
use serde::Serialize;

use crate::exit::Failure;
use crate::filter;
use crate::output::{Facts, Output, number, text};
use crate::store::{Place, Remote, Store};

/// Makes, watches, and steers consumer groups, and consumes from them
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a group, or changes one that is there
    #[command(after_help = "\
Examples:
  nexus --data ./data group create mail --category order --type OrderPlaced
  nexus --data ./data group create thumbnails --mode unordered --ack-deadline 10m --start end
  nexus --data ./data group create billing --lane-by tag:customer --max-attempts 3")]
    Create(set::Args),
    /// Lists groups, with how far behind they are
    #[command(after_help = "Example:\n  nexus --data ./data group list")]
    List,
    /// Shows a group: what kind it is, how far it is, who consumes
    #[command(after_help = "Example:\n  nexus --data ./data group show mail")]
    Show(GroupArgs),
    /// Shows how far behind a group is, and each of its lanes that has something to do
    #[command(after_help = "Example:\n  nexus --data ./data group lag mail --output json")]
    Lag(GroupArgs),
    /// Lets a group deliver nothing until it is resumed
    #[command(after_help = "\
Example:
  nexus --data ./data group pause mail --reason 'the mail server is down'")]
    Pause(PauseArgs),
    /// Lets a group go on
    #[command(after_help = "Example:\n  nexus --data ./data group resume mail")]
    Resume(GroupArgs),
    /// Lets a group go on from another place
    #[command(after_help = "\
Examples:
  nexus --data ./data group seek mail --to beginning
  nexus --data ./data group seek mail --position 5000
  nexus --data ./data group seek mail --time 2026-11-01T00:00:00Z")]
    Seek(SeekArgs),
    /// Deletes a group, and what it has parked; events stay
    #[command(after_help = "Example:\n  nexus --data ./data group delete mail")]
    Delete(GroupArgs),
    /// Consumes: prints each delivery, or runs a command for it, and acknowledges
    #[command(after_help = "\
Examples:
  nexus --data ./data group consume mail --consumer a --limit 10
  nexus --data ./data group consume mail --consumer a --exec ./send-mail.sh --until-idle 5s
  nexus group consume mail --consumer a --output ndjson | jq .event.data")]
    Consume(consume::Args),
}

/// One group.
#[derive(Debug, clap::Args)]
pub(crate) struct GroupArgs {
    /// The group
    group: String,
}

/// A group that is to pause.
#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// The group
    group: String,
    /// Why, for those who find it paused
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// A group and where it goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct SeekArgs {
    /// The group
    group: String,
    #[command(flatten)]
    place: SeekPlace,
}

/// Where a group goes on.
#[derive(Debug, clap::Args)]
#[group(id = "place", required = true, multiple = false)]
struct SeekPlace {
    /// At the beginning of the log, or at its end
    #[arg(long, value_name = "beginning|end", value_parser = ["beginning", "end"])]
    to: Option<String>,
    /// With the event at this position
    #[arg(long, value_name = "N", value_parser = filter::number, allow_negative_numbers = true)]
    position: Option<u64>,
    /// With what was recorded from this time on
    #[arg(long, value_name = "TIME")]
    time: Option<Timestamp>,
}

impl SeekPlace {
    fn start(&self) -> GroupStart {
        match (&self.to, self.position, self.time) {
            (_, Some(position), _) => GroupStart::Position(Position::new(position)),
            (_, _, Some(time)) => GroupStart::Time(time),
            (Some(to), ..) if to == "end" => GroupStart::End,
            _ => GroupStart::Beginning,
        }
    }
}

/// How a group is, and its lanes.
#[derive(Debug, Serialize)]
struct Lag<'a> {
    #[serde(flatten)]
    group: GroupInfoJson<'a>,
    lag_by_lane: Vec<LaneJson<'a>>,
}

/// The store that groups are in: behind a server, or in a data directory that this process opens.
///
/// # Errors
/// When it cannot be reached, or opened.
pub(crate) fn connect(place: &Place) -> Result<Remote, Failure> {
    if let Some(address) = place.server.clone() {
        return Remote::connect(address);
    }
    // A directory that is misspelt is not made a new log.
    Store::open_to_read(place)?.close()?;
    let address = Address::directory(place.dir()?).with_namespace(&place.namespace);
    Remote::connect(address)
}

/// Runs a command of the noun.
///
/// # Errors
/// When the store refuses it.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let remote = connect(place)?;
    let client = &remote.client;
    match command {
        Command::Create(args) => set::run(args, &remote, output)?,
        Command::List => list(&remote, output)?,
        Command::Show(args) => show(&remote, &args.group, output)?,
        Command::Lag(args) => lag(&remote, &args.group, output)?,
        Command::Pause(args) => {
            remote.wait(client.pause_group(&args.group, &args.reason))?;
            show(&remote, &args.group, output)?;
        }
        Command::Resume(args) => {
            remote.wait(client.resume_group(&args.group))?;
            show(&remote, &args.group, output)?;
        }
        Command::Seek(args) => {
            remote.wait(client.seek_group(&args.group, args.place.start()))?;
            show(&remote, &args.group, output)?;
        }
        Command::Delete(args) => delete(&remote, &args.group, output)?,
        Command::Consume(args) => consume::run(args, &remote, output)?,
    }
    remote.close()
}

fn list(remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let columns = [
        text("GROUP"),
        text("MODE"),
        text("STATE"),
        number("LAG"),
        number("IN FLIGHT"),
        number("PARKED"),
        number("CONSUMERS"),
    ];
    let names = remote.wait(remote.client.groups())?;
    let mut listing = output.list("groups", &columns);
    for name in names {
        let info = remote.wait(remote.client.group(&name))?;
        let json = GroupInfoJson::from(&info);
        listing.push(&json, || {
            vec![
                info.name.clone(),
                info.config.mode.to_string(),
                json.state.to_owned(),
                info.lag_events.to_string(),
                info.in_flight.to_string(),
                info.parked.to_string(),
                info.members.len().to_string(),
            ]
        })?;
    }
    listing.end(None::<String>)
}

fn facts(info: &GroupInfo) -> Facts {
    let members: Vec<_> = info.members.iter().map(|it| &*it.consumer).collect();
    Facts::new()
        .with("group", &info.name)
        .with("mode", info.config.mode)
        .with("state", info.state.as_str())
        .with_some("paused by", info.pause.as_ref().map(|pause| pause.by.clone()))
        .with_some("reason", info.pause.as_ref().map(|pause| pause.reason.clone()))
        .with("floor position", info.floor_position)
        .with_some("head position", info.head_position)
        .with("lag (events)", info.lag_events)
        .with("lag (s)", format!("{:.3}", info.lag_seconds))
        .with("in flight", info.in_flight)
        .with("parked", info.parked)
        .with_some("oldest unacked (ms)", info.oldest_unacked_ms)
        .with("delivered", info.delivered)
        .with("delivered again", info.redelivered)
        .with("consumers", members.join(", "))
}

/// Prints how a group is.
pub(super) fn show(remote: &Remote, group: &str, output: &mut Output) -> Result<(), Failure> {
    let info = remote.wait(remote.client.group(group))?;
    output.one(&GroupInfoJson::from(&info), &facts(&info))
}

fn lag(remote: &Remote, group: &str, output: &mut Output) -> Result<(), Failure> {
    let (info, lanes) = remote.wait(remote.client.group_lanes(group))?;
    let lag = Lag {
        group: GroupInfoJson::from(&info),
        lag_by_lane: lanes.iter().map(LaneJson::from).collect(),
    };
    output.one(&lag, &format_args!("{}\n{}", facts(&info), table_of(&lanes)))
}

fn table_of(lanes: &[LaneInfo]) -> String {
    let mut table = crate::output::Table::new(&[
        number("LANE"),
        text("OWNER"),
        number("LAG"),
        number("LAG (S)"),
        number("IN FLIGHT"),
        number("FIRST POSITION"),
        number("PARKED"),
    ]);
    for lane in lanes {
        table.push(vec![
            lane.lane.to_string(),
            lane.owner.clone().unwrap_or_default(),
            lane.open.to_string(),
            lane.lag.map(|lag| format!("{:.3}", lag.as_secs_f64())).unwrap_or_default(),
            lane.in_flight.to_string(),
            lane.first.to_string(),
            lane.parked.to_string(),
        ]);
    }
    table.take()
}

/// What a delete did.
#[derive(Debug, Serialize)]
struct Deleted<'a> {
    group: &'a str,
    deleted: bool,
}

fn delete(remote: &Remote, group: &str, output: &mut Output) -> Result<(), Failure> {
    remote.wait(remote.client.delete_group(group))?;
    let facts = Facts::new().with("group", group).with("state", "deleted");
    output.one(&Deleted { group, deleted: true }, &facts)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nexus_protocol::Position;

    use super::*;

    #[test]
    fn each_number_of_a_lane_stands_under_its_heading() {
        let lane = LaneInfo {
            lane: 7,
            owner: Some("host-1".to_owned()),
            open: 20,
            in_flight: 3,
            first: Position::new(4711),
            parked: 5,
            lag: Some(Duration::from_millis(1_500)),
        };
        let table = table_of(&[lane.clone(), LaneInfo { lag: None, ..lane }]);
        let lines: Vec<&str> = table.lines().collect();
        let under = |heading: &str, line: &str| {
            let begins = lines[0].find(&format!("{heading}  ")).or(lines[0].find(heading)).unwrap();
            let cell = &line[begins..(begins + heading.len()).min(line.len())];
            cell.trim().to_owned()
        };
        for (heading, cell) in [
            ("OWNER", "host-"),
            ("LAG (S)", "1.500"),
            ("IN FLIGHT", "3"),
            ("FIRST POSITION", "4711"),
            ("PARKED", "5"),
        ] {
            assert_eq!(under(heading, lines[1]), cell, "{table}");
        }
        assert_eq!(under("LAG (S)", lines[2]), "", "{table}");
    }
}
