//! The `nexus` binary: `nexus [--data DIR] [--namespace NAME] NOUN VERB`, one file a noun.
//!
//! Commands read flags, call the engine, and print; what they can get wrong is said on standard
//! error with what to do about it, and in the exit code (see `exit::Exit`).
//!
//! A library for its own program and for `benches/compare`, and for nobody else: nothing of it is kept stable.

mod append;
mod audit;
mod bench;
mod completions;
mod config;
mod context;
mod demo;
mod doctor;
mod event;
mod exit;
mod export;
mod filter;
mod group;
mod import;
mod interrupt;
mod load;
mod lookup;
mod namespace;
mod node_state;
mod output;
mod parked;
mod policy;
mod projection;
mod read;
mod route;
mod schema;
mod search;
mod serve;
mod snapshot;
mod stats;
mod store;
mod stream;
mod tail;
mod telemetry;
mod timer;
mod token;
mod verify;

#[doc(hidden)]
pub use bench::shared as measuring;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};
use nexus_protocol::NamespaceName;
use tracing_subscriber::filter::LevelFilter;

use crate::exit::Failure;
use crate::output::{Format, Output};
use crate::store::{Given, Place};

const EXAMPLES: &str = "\
Examples:
  nexus demo
  nexus --data ./data append order-1 --type OrderPlaced --data '{\"total_cents\": 250}'
  nexus --data ./data read order-1
  nexus --data ./data tail --output ndjson

--data stands before the command or behind it, and NEXUS_DATA stands for it. `nexus ctx` keeps servers
by name, so that neither --server nor a token need be given.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 conflict, 4 denied, 5 not reachable.
NEXUS_LOG=error|warn|info|debug|trace says how much is logged on standard error.";

/// Characters of a value that are repeated where it cannot be.
const VALUE_WIDTH: usize = 80;

/// An event store: one append-only log of events, with streams, tags, reads, and subscriptions
#[derive(Debug, clap::Parser)]
#[command(name = "nexus", version, after_help = EXAMPLES)]
struct Line {
    /// The data directory; NEXUS_DATA where none is named
    // Not global: `append` has a `--data` of its own. Every other command takes it too: `Placed`.
    // Not read from the environment here: `demo` and `bench` must know whether it was named.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The server, instead of a directory; NEXUS_SERVER where neither is named, NEXUS_TOKEN says who asks
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// The context: a server that `nexus ctx add` keeps; NEXUS_CONTEXT or the current one unless given
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The namespace; that of the context or URL, or else `default`, unless given
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        value_parser = namespace::name
    )]
    namespace: Option<NamespaceName>,
    /// How results are printed
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

// A command that takes `--data DIR` behind its name too. This is no `///`: help would say it of the command.
#[derive(Debug, clap::Args)]
struct Placed<A: clap::Args> {
    /// The data directory; NEXUS_DATA where none is named
    #[arg(long, value_name = "DIR", global = true, id = "dir")]
    data: Option<PathBuf>,
    #[command(flatten)]
    args: A,
}

// A noun whose commands take `--data DIR` behind their names too; no `///` here either.
#[derive(Debug, clap::Args)]
struct PlacedNoun<C: clap::Subcommand> {
    /// The data directory; NEXUS_DATA where none is named
    #[arg(long, value_name = "DIR", global = true, id = "dir")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: C,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Demo(Placed<demo::Args>),
    Append(append::Args),
    Read(Placed<read::Args>),
    Tail(Placed<tail::Args>),
    /// Lists, shows, limits, and deletes streams
    #[command(after_help = "Example:\n  nexus --data ./data stream show order-1")]
    Stream(PlacedNoun<stream::Command>),
    /// Lists streams by name: short for `stream list`
    Streams(Placed<stream::ListArgs>),
    /// Lists and shows snapshots
    #[command(after_help = "Example:\n  nexus --data ./data snapshot list order-1")]
    Snapshot(PlacedNoun<snapshot::Command>),
    /// Makes, watches, and steers consumer groups, and consumes from them
    #[command(after_help = "Example:\n  nexus --data ./data group list")]
    Group(PlacedNoun<group::Command>),
    /// Shows, replays, skips, and edits what is parked
    #[command(after_help = "Example:\n  nexus --data ./data parked list --source group:mail")]
    Parked(PlacedNoun<parked::Command>),
    /// Makes, tries, and watches routes, which lead events on to streams and groups
    #[command(after_help = "Example:\n  nexus --data ./data route list")]
    Route(PlacedNoun<route::Command>),
    /// Registers, tries, and shows schemas, and says how strictly they are kept
    #[command(after_help = "Example:\n  nexus --data ./data schema list")]
    Schema(PlacedNoun<schema::Command>),
    /// Tries, activates, and shows policies: who may do what, as rules say it
    #[command(after_help = "Example:\n  nexus policy test ./policy --min-coverage 90")]
    Policy(PlacedNoun<policy::Command>),
    /// Makes, watches, and steers projections, which fold events into documents
    #[command(after_help = "Example:\n  nexus --data ./data projection create orders.json")]
    Projection(PlacedNoun<projection::Command>),
    Lookup(Placed<lookup::Args>),
    Search(Placed<search::Args>),
    /// Arms, lists, and disarms timers: events that are appended when their time has come
    #[command(after_help = "Example:\n  nexus --data ./data timer list")]
    Timer(PlacedNoun<timer::Command>),
    /// Lists and creates namespaces
    #[command(after_help = "Example:\n  nexus --data ./data namespace create audit")]
    Namespace(PlacedNoun<namespace::Command>),
    /// Goes on where node-state is lost
    #[command(after_help = "Example:\n  nexus --data ./data node-state reset")]
    NodeState(PlacedNoun<node_state::Command>),
    /// Makes, lists, and revokes tokens
    #[command(after_help = "Example:\n  nexus --data ./data token list")]
    Token(PlacedNoun<token::Command>),
    /// Shows what administrators asked for
    #[command(after_help = "Example:\n  nexus --data ./data audit list")]
    Audit(PlacedNoun<audit::Command>),
    /// Keeps servers by name, with who asks them
    #[command(subcommand, after_help = "Example:\n  nexus ctx list")]
    Ctx(context::Command),
    /// Shows and checks the settings of a server
    #[command(after_help = "Example:\n  nexus --data ./data config show")]
    Config(PlacedNoun<config::Command>),
    Completions(completions::Args),
    Import(Placed<import::Args>),
    Export(Placed<export::Args>),
    Stats(Placed<stats::Args>),
    Serve(Placed<serve::Args>),
    Verify(Placed<verify::Args>),
    Doctor(Placed<doctor::Args>),
    Bench(bench::Args),
    #[command(hide = true)]
    Load(Placed<load::Args>),
}

impl Command {
    /// The data directory that is named behind the command.
    fn dir(&self) -> Option<&PathBuf> {
        match self {
            Self::Append(_) | Self::Bench(_) | Self::Ctx(_) | Self::Completions(_) => None,
            Self::Config(placed) => placed.data.as_ref(),
            Self::Demo(placed) => placed.data.as_ref(),
            Self::Read(placed) => placed.data.as_ref(),
            Self::Tail(placed) => placed.data.as_ref(),
            Self::Stream(placed) => placed.data.as_ref(),
            Self::Streams(placed) => placed.data.as_ref(),
            Self::Snapshot(placed) => placed.data.as_ref(),
            Self::Group(placed) => placed.data.as_ref(),
            Self::Route(placed) => placed.data.as_ref(),
            Self::Parked(placed) => placed.data.as_ref(),
            Self::Timer(placed) => placed.data.as_ref(),
            Self::Schema(placed) => placed.data.as_ref(),
            Self::Policy(placed) => placed.data.as_ref(),
            Self::Projection(placed) => placed.data.as_ref(),
            Self::Lookup(placed) => placed.data.as_ref(),
            Self::Search(placed) => placed.data.as_ref(),
            Self::Namespace(placed) => placed.data.as_ref(),
            Self::NodeState(placed) => placed.data.as_ref(),
            Self::Token(placed) => placed.data.as_ref(),
            Self::Audit(placed) => placed.data.as_ref(),
            Self::Import(placed) => placed.data.as_ref(),
            Self::Export(placed) => placed.data.as_ref(),
            Self::Stats(placed) => placed.data.as_ref(),
            Self::Serve(placed) => placed.data.as_ref(),
            Self::Verify(placed) => placed.data.as_ref(),
            Self::Doctor(placed) => placed.data.as_ref(),
            Self::Load(placed) => placed.data.as_ref(),
        }
    }

    /// Whether it goes to a server where one is current: all that is not about a directory alone.
    fn may_go_to_a_server(&self) -> bool {
        !matches!(
            self,
            Self::Demo(_)
                | Self::NodeState(_)
                | Self::Audit(_)
                | Self::Ctx(_)
                | Self::Config(_)
                | Self::Completions(_)
                | Self::Serve(_)
                | Self::Verify(_)
                | Self::Doctor(_)
                | Self::Bench(_)
                | Self::Load(_)
        )
    }

    fn run(&self, place: &Place, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Demo(placed) => demo::run(&placed.args, place, output),
            Self::Append(args) => append::run(args, place, output),
            Self::Read(placed) => read::run(&placed.args, place, output),
            Self::Tail(placed) => tail::run(&placed.args, place, output),
            Self::Stream(placed) => stream::run(&placed.command, place, output),
            Self::Streams(placed) => stream::list(&placed.args, place, output),
            Self::Snapshot(placed) => snapshot::run(&placed.command, place, output),
            Self::Group(placed) => group::run(&placed.command, place, output),
            Self::Route(placed) => route::run(&placed.command, place, output),
            Self::Parked(placed) => parked::run(&placed.command, place, output),
            Self::Timer(placed) => timer::run(&placed.command, place, output),
            Self::Schema(placed) => schema::run(&placed.command, place, output),
            Self::Policy(placed) => policy::run(&placed.command, place, output),
            Self::Projection(placed) => projection::run(&placed.command, place, output),
            Self::Lookup(placed) => lookup::run(&placed.args, place, output),
            Self::Search(placed) => search::run(&placed.args, place, output),
            Self::Namespace(placed) => namespace::run(&placed.command, place, output),
            Self::NodeState(placed) => node_state::run(&placed.command, place, output),
            Self::Token(placed) => token::run(&placed.command, place, output),
            Self::Audit(placed) => audit::run(&placed.command, place, output),
            Self::Ctx(command) => context::run(command, place, output),
            Self::Config(placed) => config::run(&placed.command, place, output),
            Self::Completions(args) => completions::run(args, &Line::command(), output),
            Self::Import(placed) => import::run(&placed.args, place, output),
            Self::Export(placed) => export::run(&placed.args, place, output),
            Self::Serve(placed) => serve::run(&placed.args, place, output),
            Self::Stats(placed) => stats::run(&placed.args, place, output),
            Self::Verify(_) => verify::run(place, output),
            Self::Doctor(placed) => doctor::run(&placed.args, place, output),
            Self::Bench(args) => bench::run(args, place, output),
            Self::Load(placed) => load::run(&placed.args, place),
        }
    }
}

/// A variable of the environment that says something: an empty one is as good as none.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Logs go to standard error; warnings and worse unless asked otherwise.
fn start_log() {
    let level = std::env::var("NEXUS_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(LevelFilter::WARN))
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
}

/// The command line; one that cannot be is explained, with what was given cut to a readable length
/// and without control characters.
fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Line, clap::Error> {
    let shown = |given: &str| output::shortened(&output::printable(given), VALUE_WIDTH);
    Line::try_parse_from(words).map_err(|mut error| {
        for kind in [
            ContextKind::InvalidValue,
            ContextKind::InvalidArg,
            ContextKind::InvalidSubcommand,
            ContextKind::TrailingArg,
        ] {
            let Some(ContextValue::String(given)) = error.get(kind) else { continue };
            let shown = shown(given);
            if shown != *given {
                // A suggestion would repeat it as it was given.
                error.insert(kind, ContextValue::String(shown));
                error.remove(ContextKind::Suggested);
            }
        }
        error
    })
}

/// Runs the command line of this process, and answers its exit code.
pub fn main() -> ExitCode {
    let line = parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    // A server is told by flags how it logs.
    if !matches!(line.command, Command::Serve(_)) {
        start_log();
    }
    let given = Given {
        dir: line.command.dir().or(line.data.as_ref()).cloned(),
        server: line.server,
        context: line.context,
        namespace: line.namespace,
    };
    let mut output = Output::stdout(line.output);
    let place = Place::named(given, line.command.may_go_to_a_server());
    match place.and_then(|place| line.command.run(&place, &mut output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was printed before it failed comes before what went wrong.
            let _ = output.flush();
            failure.report()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Every command, with its words.
    fn commands(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let words = format!("{words} {}", sub.get_name());
            commands(sub, &words, found);
            found.push((words, sub.clone()));
        }
    }

    #[test]
    fn the_commands_are_well_formed() {
        Line::command().debug_assert();
    }

    #[test]
    fn every_help_has_an_example() {
        let mut found = Vec::new();
        let mut line = Line::command();
        line.build();
        commands(&line, "nexus", &mut found);
        assert!(found.len() > 12);
        let mut abouts = HashSet::new();
        for (words, mut command) in found {
            let help = command.render_help().to_string();
            assert!(help.contains("Example"), "{words} has no example:\n{help}");
            // Of `append` it is the event's, and its help says where the directory is named.
            let placeless = ["nexus bench", "nexus completions", "nexus ctx"];
            let placed = placeless.iter().any(|noun| words.starts_with(noun));
            assert!(
                placed || help.contains("--data <"),
                "{words} does not say where data is:\n{help}"
            );
            let about = command.get_about().expect(&words).to_string();
            // `snapshot list` and the like say it of their own things.
            assert!(abouts.insert(about.clone()), "{words} is another command: {about}");
        }
        assert!(abouts.contains("Reads events of a stream, or of the whole log"), "{abouts:?}");
    }

    #[test]
    fn every_command_and_option_is_in_the_reference() {
        let reference = include_str!("../../docs/reference/cli.md");
        let mut found = Vec::new();
        let mut line = Line::command();
        line.build();
        commands(&line, "", &mut found);
        for (words, command) in found.iter().filter(|(_, command)| !command.is_hide_set()) {
            let named = format!("`{}", words.trim());
            assert!(command.has_subcommands() || reference.contains(&named), "{named}");
            let shown = command.get_arguments().filter(|option| !option.is_hide_set());
            let options = shown.filter_map(|option| option.get_long());
            for option in options.filter(|option| !["help", "version"].contains(option)) {
                assert!(reference.contains(&format!("--{option}")), "{words} --{option}");
            }
        }
    }

    #[test]
    fn a_value_that_cannot_be_is_repeated_shortly() {
        let long = format!("\u{1b}[2J{}", "x".repeat(5000));
        let words = ["nexus", "append", &long, "--type", "T", "--data", "{}"];
        let error = parse(words.map(OsString::from)).unwrap_err().to_string();
        assert!(error.len() < 500 && !error.contains('\u{1b}'), "{error}");
        assert!(error.contains("has 5004 bytes: at most 512 are allowed"), "{error}");
        let flag = format!("--{long}");
        for words in [["nexus", &long], ["nexus", &flag], ["stats", &long], ["stats", &flag]] {
            let words = ["nexus"].into_iter().chain(words.into_iter().filter(|it| *it != "nexus"));
            let error = parse(words.map(OsString::from)).unwrap_err().to_string();
            assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{error}");
        }
        let words = ["nexus", "read", "--as-of", &format!("position:{long}")];
        let error = parse(words.map(OsString::from)).unwrap_err().to_string();
        assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn the_data_directory_stands_before_or_behind_the_command() {
        for words in [
            ["nexus", "--data", "d", "stream", "list"],
            ["nexus", "stream", "list", "--data", "d"],
            ["nexus", "stream", "--data", "d", "list"],
        ] {
            let line = Line::parse_from(words);
            let dir = line.command.dir().or(line.data.as_ref());
            assert_eq!(dir, Some(&PathBuf::from("d")), "{words:?}");
        }
    }

    #[test]
    fn an_append_has_data_of_its_own() {
        let words = ["nexus", "--data", "d", "append", "s", "--type", "T", "--data", "{}"];
        let line = Line::parse_from(words);
        assert_eq!(line.data, Some(PathBuf::from("d")));
        assert!(matches!(line.command, Command::Append(_)));
    }
}
