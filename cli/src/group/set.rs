//! `nexus group create`.

use std::time::Duration;

use nexus_protocol::group::{Backoff, GroupConfig, GroupMode, GroupStart, LaneBy, ParkedRule};
use nexus_protocol::{Position, Timestamp, duration_from_text};

use crate::exit::Failure;
use crate::filter::{self, FilterArgs};
use crate::output::Output;
use crate::store::Remote;

/// What kind of group it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The group
    group: String,
    /// How events are shared: one of a key after the other, each to whoever is free, or each to everybody
    #[arg(long, value_name = "ordered|unordered|broadcast", default_value = "ordered")]
    mode: GroupMode,
    /// What order is kept by: stream, correlation, or tag:KEY
    #[arg(long, value_name = "BY", default_value = "stream")]
    lane_by: LaneBy,
    /// Buckets of keys, each of one consumer at a time; fixed when the group is made
    #[arg(long, value_name = "N", default_value_t = GroupConfig::default().lanes)]
    lanes: u32,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only events that routes lead to it, none by a filter of its own
    #[arg(long)]
    only_routes: bool,
    /// Where a new group begins: beginning, end, a position, or a time
    #[arg(long, value_name = "PLACE", default_value = "beginning", value_parser = start)]
    start: GroupStart,
    /// A delivery that is not answered in this time is made again, as in 30s or 10m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration_from_text)]
    ack_deadline: Duration,
    /// After so many attempts that failed an event is parked
    #[arg(long, value_name = "N", default_value_t = GroupConfig::default().max_attempts)]
    max_attempts: u32,
    /// The pause after the first attempt, doubled with each one
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration_from_text)]
    backoff: Duration,
    /// The longest pause between attempts
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration_from_text)]
    backoff_max: Duration,
    /// Deliveries that may be unanswered at a time
    #[arg(long, value_name = "N", default_value_t = GroupConfig::default().max_in_flight)]
    max_in_flight: u32,
    /// The same, of each lane
    #[arg(long, value_name = "N", default_value_t = GroupConfig::default().max_in_flight_per_lane)]
    max_in_flight_per_lane: u32,
    /// What becomes by itself of what would be parked, by the class of its failure (* is any); the first that fits
    /// counts, and none does by default
    #[arg(long = "parked-rule", value_name = "CLASS: retry TIME, TIME, then leave|skip|alert")]
    parked_rules: Vec<ParkedRule>,
    /// Rules release at most so many events a second
    #[arg(long, value_name = "N")]
    parked_rate: Option<u32>,
}

/// Where something begins.
///
/// # Errors
/// When it is no place.
pub(crate) fn start(text: &str) -> Result<GroupStart, String> {
    match text {
        "beginning" => Ok(GroupStart::Beginning),
        "end" => Ok(GroupStart::End),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            filter::number(number).map(|it| GroupStart::Position(Position::new(it)))
        }
        time => match time.parse::<Timestamp>() {
            Ok(time) => Ok(GroupStart::Time(time)),
            Err(why) => Err(format!("write beginning, end, a position, or a time: {why}")),
        },
    }
}

/// Makes the group, or changes it.
pub(super) fn run(args: &Args, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    if args.filter.system {
        return Err(Failure::usage("a group has events of users: leave out --system"));
    }
    let config = GroupConfig {
        mode: args.mode,
        lane_by: args.lane_by.clone(),
        lanes: args.lanes,
        filter: args.filter.filter(),
        only_routes: args.only_routes,
        branches: Vec::new(),
        start: args.start,
        ack_deadline: args.ack_deadline,
        max_attempts: args.max_attempts,
        backoff: Backoff { initial: args.backoff, max: args.backoff_max.max(args.backoff) },
        max_in_flight: args.max_in_flight,
        max_in_flight_per_lane: args.max_in_flight_per_lane,
        parked_rules: args.parked_rules.clone(),
        parked_rate: args.parked_rate,
    };
    config.check().map_err(|why| Failure::usage(why.to_string()))?;
    remote.wait(remote.client.set_group(&args.group, &config))?;
    super::show(remote, &args.group, output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_begins_somewhere() {
        assert_eq!(start("end"), Ok(GroupStart::End));
        assert_eq!(start("17"), Ok(GroupStart::Position(Position::new(17))));
        assert!(matches!(start("2026-01-02T03:04:05Z"), Ok(GroupStart::Time(_))));
        assert!(start("soon").unwrap_err().contains("beginning, end"));
    }
}
