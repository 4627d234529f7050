//! `nexus route`: which events are led on, to another stream as links, or to a group.

mod condition;

use nexus_protocol::group::GroupStart;
use nexus_protocol::json::{DryRunJson, RouteInfoJson};
use nexus_protocol::limits::DRY_RUN_SHOWN_MAX;
use nexus_protocol::route::{Condition, DryRun, RouteConfig, RouteInfo, RouteTarget};
use serde::Serialize;

use crate::exit::Failure;
use crate::filter::FilterArgs;
use crate::group::{connect, start};
use crate::output::{Facts, Output, number, text};
use crate::store::{Place, Remote};

/// Makes, tries, and watches routes
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a route, or lets one that is there take other events from where it is
    #[command(after_help = "\
Examples:
  nexus --data ./data route set large --to stream:large-orders --category order --where '/data/total_cents ge 100000'
  nexus --data ./data route set rest --to group:background --category audit --where '/type in [\"Seen\",\"Sent\"]'")]
    Set(SetArgs),
    /// Lists routes, with how far behind they are
    #[command(after_help = "Example:\n  nexus --data ./data route list")]
    List,
    /// Shows a route: what it takes, how far it is, why it has failed
    #[command(after_help = "Example:\n  nexus --data ./data route show large")]
    Show(RouteArgs),
    /// Shows what a route would take of the newest events; with --to, of one that is not made yet
    #[command(after_help = "\
Examples:
  nexus --data ./data route dry-run large --limit 5
  nexus --data ./data route dry-run new --to stream:t --category order --where '/data/urgent eq true'")]
    DryRun(DryRunArgs),
    /// Deletes a route; the links that it has written stay
    #[command(after_help = "Example:\n  nexus --data ./data route delete large")]
    Delete(RouteArgs),
}

/// One route.
#[derive(Debug, clap::Args)]
pub(crate) struct RouteArgs {
    /// The route
    route: String,
}

/// Which events.
#[derive(Debug, clap::Args)]
struct Takes {
    #[command(flatten)]
    filter: FilterArgs,
    /// What events have to fulfil, as in '/data/amount ge 100'; repeatable, and all of it
    #[arg(long = "where", value_name = "PATH OP VALUE", value_parser = condition::parse)]
    conditions: Vec<Condition>,
}

impl Takes {
    /// Whether the command line says nothing of which events.
    fn is_nothing(&self) -> bool {
        self.conditions.is_empty() && self.filter.filter().is_all() && !self.filter.system
    }

    fn config(&self, to: RouteTarget, start: GroupStart) -> Result<RouteConfig, Failure> {
        if self.filter.system {
            return Err(Failure::usage("a route has events of users: leave out --system"));
        }
        let (filter, conditions) = (self.filter.filter(), self.conditions.clone());
        let config = RouteConfig { filter, conditions, to, start };
        config.check().map_err(|why| Failure::usage(why.to_string()))?;
        Ok(config)
    }
}

/// A route that is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// The route
    route: String,
    /// Where to: stream:NAME, which gets links, or group:NAME, which gets the events themselves
    #[arg(long, value_name = "stream:NAME|group:NAME")]
    to: RouteTarget,
    #[command(flatten)]
    takes: Takes,
    /// Where a new route to a stream begins: beginning, end, a position, or a time
    #[arg(long, value_name = "PLACE", default_value = "end", value_parser = start)]
    start: GroupStart,
}

/// A route that is tried.
#[derive(Debug, clap::Args)]
pub(crate) struct DryRunArgs {
    /// The route
    route: String,
    /// Where a route would lead to that is not made yet; without it the one that is there is tried
    #[arg(long, value_name = "stream:NAME|group:NAME")]
    to: Option<RouteTarget>,
    #[command(flatten)]
    takes: Takes,
    /// So many events are shown at most
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=DRY_RUN_SHOWN_MAX as u64))]
    limit: u64,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the store refuses it.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let remote = connect(place)?;
    match command {
        Command::Set(args) => {
            let config = args.takes.config(args.to.clone(), args.start)?;
            remote.wait(remote.client.set_route(&args.route, &config))?;
            show(&remote, &args.route, output)?;
        }
        Command::List => list(&remote, output)?,
        Command::Show(args) => show(&remote, &args.route, output)?,
        Command::DryRun(args) => dry_run(args, &remote, output)?,
        Command::Delete(args) => delete(&remote, &args.route, output)?,
    }
    remote.close()
}

fn facts(info: &RouteInfo) -> Facts {
    let conditions: Vec<_> = info.config.conditions.iter().map(condition::shown).collect();
    let filter = serde_json::to_string(&info.config.filter).unwrap_or_default();
    Facts::new()
        .with("route", &info.name)
        .with("to", &info.config.to)
        .with_some("filter", (!info.config.filter.is_all()).then_some(filter))
        .with_some("where", (!conditions.is_empty()).then(|| conditions.join(", ")))
        .with("state", info.state.as_str())
        .with_some("error", info.error.clone())
        .with_some("position", info.position)
        .with_some("head position", info.head_position)
        .with("lag (events)", info.lag_events)
        .with("links", info.links)
}

fn show(remote: &Remote, route: &str, output: &mut Output) -> Result<(), Failure> {
    let info = remote.wait(remote.client.route(route))?;
    output.one(&RouteInfoJson::from(&info), &facts(&info))
}

fn list(remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let columns = [text("ROUTE"), text("TO"), text("STATE"), number("LAG"), number("LINKS")];
    let names = remote.wait(remote.client.routes())?;
    let mut listing = output.list("routes", &columns);
    for name in names {
        let info = remote.wait(remote.client.route(&name))?;
        listing.push(&RouteInfoJson::from(&info), || {
            vec![
                info.name.clone(),
                info.config.to.to_string(),
                info.state.as_str().to_owned(),
                info.lag_events.to_string(),
                info.links.to_string(),
            ]
        })?;
    }
    listing.end(None::<String>)
}

fn dry_run(args: &DryRunArgs, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let config = match &args.to {
        Some(to) => Some(args.takes.config(to.clone(), GroupStart::End)?),
        None if args.takes.is_nothing() => None,
        None => {
            return Err(Failure::usage(
                "say with --to where the route would lead to, or leave out what it would take",
            ));
        }
    };
    let limit = usize::try_from(args.limit).unwrap_or(DRY_RUN_SHOWN_MAX);
    let run = remote.wait(remote.client.dry_run_route(&args.route, config.as_ref(), limit))?;
    let shown = format_args!("{}\n{}", found(&run), table_of(&run)).to_string();
    output.one(&DryRunJson::from(&run), &shown)
}

fn found(run: &DryRun) -> Facts {
    Facts::new()
        .with("matched", run.matched)
        .with("looked at", run.looked_at)
        .with_some("from position", run.from_position)
}

fn table_of(run: &DryRun) -> String {
    let columns = [number("POSITION"), text("STREAM"), text("TYPE")];
    let mut table = crate::output::Table::new(&columns);
    for event in &run.events {
        let position = event.position().to_string();
        table.push(vec![position, event.stream().to_owned(), event.event_type().to_owned()]);
    }
    table.take()
}

/// What a delete did.
#[derive(Debug, Serialize)]
struct Deleted<'a> {
    route: &'a str,
    deleted: bool,
}

fn delete(remote: &Remote, route: &str, output: &mut Output) -> Result<(), Failure> {
    remote.wait(remote.client.delete_route(route))?;
    let facts = Facts::new().with("route", route).with("state", "deleted");
    output.one(&Deleted { route, deleted: true }, &facts)
}
