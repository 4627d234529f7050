//! The `nexus` binary.

mod append;
mod bench;
mod demo;
mod doctor;
mod event;
mod exit;
mod export;
mod import;
mod load;
mod output;
mod read;
mod snapshot;
mod stats;
mod store;
mod stream;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nexus_protocol::NamespaceName;

use crate::exit::Failure;
use crate::output::{Format, Output};
use crate::store::Place;

const EXAMPLES: &str = "\
Examples:
  nexus demo
  nexus --data ./data append order-1 --type OrderPlaced --data '{\"total_cents\": 250}'
  nexus --data ./data read order-1

Exit codes: 0 done, 1 failed, 2 usage, 3 conflict, 4 denied, 5 not reachable.";

/// An event store: one log, and what follows from it
#[derive(Debug, Parser)]
#[command(name = "nexus", version, after_help = EXAMPLES)]
struct Cli {
    /// The data directory
    #[arg(long = "data", value_name = "DIR", env = "NEXUS_DATA", global = false)]
    dir: Option<PathBuf>,
    /// The namespace
    #[arg(long, value_name = "NAME", default_value = NamespaceName::DEFAULT)]
    namespace: String,
    /// How results are printed
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Append(append::Args),
    Bench(bench::Args),
    Demo(demo::Args),
    Doctor(doctor::Args),
    Export(export::Args),
    Import(import::Args),
    #[command(hide = true)]
    Load(load::Args),
    Read(read::ReadArgs),
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    Stats(stats::Args),
    #[command(subcommand)]
    Stream(stream::Command),
    /// Lists streams: the same as `stream list`
    Streams(stream::ListArgs),
    Tail(read::TailArgs),
    Verify(verify::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .without_time()
        .init();
    let mut output = Output::stdout(cli.output);
    let place = Place { data: cli.dir, namespace: cli.namespace };
    match run(&cli.command, &place, &mut output).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Append(args) => append::run(args, place, output),
        Command::Bench(args) => bench::run(args, output),
        Command::Demo(args) => demo::run(args, place, output),
        Command::Doctor(args) => doctor::run(args, place, output),
        Command::Export(args) => export::run(args, place),
        Command::Import(args) => import::run(args, place, output),
        Command::Load(args) => load::run(args, place),
        Command::Read(args) => read::run(args, place, output),
        Command::Snapshot(command) => snapshot::run(command, place, output),
        Command::Stats(args) => stats::run(args, place, output),
        Command::Stream(command) => stream::run(command, place, output),
        Command::Streams(args) => stream::list(args, place, output),
        Command::Tail(args) => read::tail(args, place, output),
        Command::Verify(args) => verify::run(args, place, output),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
                if sub.has_subcommands() {
                    check(sub);
                } else if !sub.is_hide_set() {
                    assert!(sub.get_after_help().is_some(), "{} has no example", sub.get_name());
                }
            }
        }
        check(&command);
    }
}
