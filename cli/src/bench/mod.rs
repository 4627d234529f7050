//! `nexus bench`: how fast it is here, beside what the disk and memory allow.
//!
//! Every figure that was asked for is a scenario with its target and a ceiling that is measured in
//! the same run, in turns ([`rounds`]). A missed target is printed and never loosened; it is no
//! failure of the command. `docs/reference/cli.md` names the fields of the JSON.

mod conditions;
mod governance;
mod groups;
mod log;
mod plot;
mod policies;
mod read_models;
mod report;
mod rounds;
mod server;
pub mod shared;
mod workload;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nexus_client::Address;
use nexus_engine::Engine;
use nexus_engine::io::{Backend, DiskError, remeasure};
use nexus_protocol::NamespaceName;
use serde::Serialize;

use conditions::Conditions;
use plot::Curve;
use report::{Report, Scenario};
use workload::Orders;

use crate::exit::Failure;
use crate::interrupt;
use crate::output::{Output, notice};
use crate::store::Place;

const EXAMPLES: &str = "\
Examples:
  nexus bench
  nexus bench --quick --only append-8-writers scan
  nexus bench --save before.json --plot latencies.svg
  nexus bench --compare before.json --output json
  nexus bench --set server
  nexus bench --set groups --only groups-unordered
  nexus bench --set read-models --quick
  nexus --server nexus://127.0.0.1:7420 bench --list

It measures in a folder of its own below --dir, by default the current one, and removes it. The sets
`server`, `groups`, and `read-models` start a server of their own; with --server they append to that one instead, in streams of its own
that stay there.";

/// Measures appends, reads, and a server beside the ceilings of this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which scenarios; `log` unless a server is named
    #[arg(long, value_enum)]
    set: Option<Set>,
    /// Lists the scenarios with their targets, and measures nothing
    #[arg(long)]
    list: bool,
    /// Only these scenarios
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// In seconds instead of minutes: small logs, rough figures
    #[arg(long)]
    quick: bool,
    /// Keeps the figures in a file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Prints beside each figure what it was in a file that was saved
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Draws the latencies
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// The folder on whose disk is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How the disk is written; by default what is measured to be best there
    #[arg(long, value_name = "NAME")]
    backend: Option<Backend>,
    /// Answers raw QUIC until it is killed: what a run starts beside the server
    #[arg(long, hide = true)]
    serve_raw: bool,
}

/// Scenarios that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Set {
    /// The log on one machine
    Log,
    /// A server on this machine, over QUIC and HTTP
    Server,
    /// Consumer groups of a server on this machine, over QUIC
    Groups,
    /// Schemas and policies, in this process
    Governance,
    /// Projections: indexing, searches, and how fresh they are
    ReadModels,
}

impl Set {
    fn entries(self) -> &'static [Entry] {
        match self {
            Self::Log => &log::ENTRIES,
            Self::Server => &server::ENTRIES,
            Self::Groups => &groups::ENTRIES,
            Self::Governance => &governance::ENTRIES,
            Self::ReadModels => &read_models::ENTRIES,
        }
    }
}

/// What is measured together.
struct Entry {
    names: &'static [&'static str],
    goals: &'static [&'static str],
    run: fn(&mut Bench) -> Result<Vec<Scenario>, Failure>,
}

/// How much time is spent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    quick: bool,
    rounds: usize,
    turn: Duration,
    /// A turn of a ceiling.
    ceiling: Duration,
    /// Streams of the log that is read.
    streams: u64,
}

impl Effort {
    const FULL: Self = Self {
        quick: false,
        rounds: 9,
        turn: Duration::from_millis(400),
        ceiling: Duration::from_millis(200),
        streams: 10_000,
    };
    const QUICK: Self = Self {
        quick: true,
        rounds: 3,
        turn: Duration::from_millis(80),
        ceiling: Duration::from_millis(40),
        streams: 200,
    };
}

/// One run.
struct Bench {
    /// A folder that is gone afterwards.
    dir: PathBuf,
    backend: Backend,
    effort: Effort,
    orders: Arc<Orders>,
    /// Bytes of an event as a record.
    record_bytes: u64,
    /// The server that is measured, where it is not one of the run's own.
    server: Option<Address>,
}

impl Bench {
    /// A log of its own below the folder of this run, gone afterwards.
    pub(super) fn with_engine<T>(
        &self,
        name: &str,
        backend: Backend,
        work: impl FnOnce(&Engine) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let dir = self.dir.join(name);
        let engine = Engine::options().backend(backend).open(&dir)?;
        let done = work(&engine)?;
        engine.close().map_err(|error| Failure::failed(error.to_string()))?;
        std::fs::remove_dir_all(&dir)
            .map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
        Ok(done)
    }
}

/// A folder that is removed with all that is in it.
pub struct Folder(PathBuf);

impl Folder {
    /// A new one below `dir`, which an interruption removes too.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn below(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(format!("nexus-bench-{}", std::process::id()));
        interrupt::removes(path.clone())?;
        let folder = Self(path);
        std::fs::create_dir(&folder.0).map_err(|error| {
            let shown = folder.0.display();
            Failure::failed(format!(
                "{shown} cannot be made: {error}; --dir names a folder that is there"
            ))
        })?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            notice(format_args!("{}: not removed: {error}", self.0.display()));
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the folder cannot be used, a scenario is not known, or an append or read fails.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    if args.serve_raw {
        return server::serve_raw(output);
    }
    let (set, server) = subject(args, place)?;
    if args.list {
        return list(args, set, output);
    }
    let entries = selected(args, set)?;
    let old = args.compare.as_deref().map(Report::load).transpose()?;
    if conditions::profile() != "release" {
        notice(format_args!(
            "THIS IS A DEBUG BUILD: ITS FIGURES SAY NOTHING; build with --release"
        ));
    }
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let folder = Folder::below(&args.dir)?;
    let (backend, reason) = backend(args, &folder.0)?;
    let orders = Arc::new(Orders::seeded());
    let mut conditions = Conditions::find(&folder.0, backend, &reason, &orders, &effort)?;
    if set != Set::Log {
        server::describe(&mut conditions, server.as_ref());
    }
    if set == Set::ReadModels {
        read_models::describe(&mut conditions, &effort)?;
    }
    let record_bytes = conditions.record_bytes;
    let mut bench = Bench { dir: folder.0.clone(), backend, effort, orders, record_bytes, server };
    let mut report = Report { conditions, scenarios: Vec::new() };
    for entry in entries {
        if std::io::stderr().is_terminal() {
            notice(format_args!("measuring {}", entry.names.join(", ")));
        }
        let measured = (entry.run)(&mut bench)?;
        report.scenarios.extend(measured.into_iter().filter(|s| is_asked_for(args, &s.name)));
    }
    drop(folder);
    if let Some(old) = &old {
        report.compare(old);
    }
    if let Some(path) = &args.save {
        report.save(path)?;
    }
    if let Some(path) = &args.plot {
        plot(&report, path)?;
    }
    output.one(&report, &report)
}

/// What is measured, and the server where one is named.
fn subject(args: &Args, place: &Place) -> Result<(Set, Option<Address>), Failure> {
    let given = &place.given;
    let is_elsewhere = given.server.is_some() || given.context.is_some();
    match (args.set, is_elsewhere) {
        (Some(Set::Log), true) => Err(Failure::usage(
            "the set `log` is measured in this process: leave --server out, or take --set server",
        )),
        (_, true) if args.backend.is_some() => Err(Failure::usage(
            "--backend is about a server that bench starts: leave it out, or --server",
        )),
        (set, true) => Ok((set.unwrap_or(Set::Server), place.server.clone())),
        _ if place.named || place.namespace.as_str() != NamespaceName::DEFAULT => {
            Err(Failure::usage(
                "bench takes no --data and no --namespace: it measures in a folder of its own, below \
                 the one that --dir names",
            ))
        }
        (set, false) => Ok((set.unwrap_or(Set::Log), None)),
    }
}

/// How the disk is written, and why.
fn backend(args: &Args, dir: &Path) -> Result<(Backend, String), Failure> {
    if let Some(backend) = args.backend {
        return Ok((backend, "it was asked for".to_owned()));
    }
    let effort =
        if args.quick { nexus_engine::io::Effort::Short } else { nexus_engine::io::Effort::Long };
    let choice = remeasure(dir, effort).map_err(|error| disk_failure(&error))?;
    Ok((choice.backend, choice.reason))
}

/// Whether a scenario is asked for: by its name, or by the part of it before a `/`.
fn is_asked_for(args: &Args, name: &str) -> bool {
    let family = name.split('/').next().unwrap_or(name);
    args.only.is_empty() || args.only.iter().any(|only| only == name || only == family)
}

fn selected(args: &Args, set: Set) -> Result<Vec<&'static Entry>, Failure> {
    let entries = set.entries();
    let known: Vec<&str> = entries.iter().flat_map(|entry| entry.names).copied().collect();
    let family = |only: &str| only.split('/').next().unwrap_or_default().to_owned();
    if let Some(unknown) =
        args.only.iter().find(|only| known.iter().all(|name| family(name) != family(only)))
    {
        return Err(Failure::usage(format!(
            "{unknown:?} is not a scenario: there are {}",
            known.join(", ")
        )));
    }
    let is_needed = |entry: &&Entry| {
        let asked = |name: &&str| args.only.iter().any(|only| family(only) == family(name));
        args.only.is_empty() || entry.names.iter().any(asked)
    };
    Ok(entries.iter().filter(is_needed).collect())
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    target: &'static str,
}

fn list(args: &Args, set: Set, output: &mut Output) -> Result<(), Failure> {
    let mut listing = output.list("scenarios", &report::list_columns());
    for entry in selected(args, set)? {
        for (name, target) in entry.names.iter().zip(entry.goals) {
            let listed = Listed { name, target };
            listing.push(&listed, || vec![(*name).to_owned(), (*target).to_owned()])?;
        }
    }
    listing.end(None::<u64>)
}

fn plot(report: &Report, path: &Path) -> Result<(), Failure> {
    let curves: Vec<Curve<'_>> = report
        .scenarios
        .iter()
        .filter_map(|s| Some(Curve { name: &s.name, latencies: s.latencies.as_ref()? }))
        .collect();
    let conditions = &report.conditions;
    let subtitle = format!(
        "{} B of data, durable, {}, {} cores, disk sync p50 {:.0} µs, {}",
        conditions.data_bytes,
        conditions.backend,
        conditions.cores,
        conditions.sync_p50_us,
        conditions.profile
    );
    std::fs::write(path, plot::svg("Latencies of nexus", &subtitle, &curves))
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

fn disk_failure(error: &DiskError) -> Failure {
    Failure::failed(format!("{error}: {}", error.source))
}
