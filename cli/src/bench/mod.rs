//! `nexus bench`: how fast it is here, beside what the disk and memory allow.
//!
//! Every figure that was asked for is a scenario with its target and a ceiling that is measured in
//! the same run, in turns ([`rounds`]). A missed target is printed and never loosened; it is no
//! failure of the command. `docs/reference/cli.md` names the fields of the JSON.

mod appends;
mod conditions;
mod plot;
mod reads;
mod report;
mod rounds;
mod workload;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

It measures in a folder of its own below --dir, by default the current one, and removes it.";

/// Measures appends and reads beside the ceilings of this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which scenarios
    #[arg(long, value_enum, default_value_t)]
    set: Set,
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
}

/// Scenarios that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Set {
    /// The log on one machine
    #[default]
    Log,
}

/// What is measured together.
struct Entry {
    names: &'static [&'static str],
    goals: &'static [&'static str],
    run: fn(&mut Bench) -> Result<Vec<Scenario>, Failure>,
}

/// Memory comes first: later the process would keep memory that others have used.
const ENTRIES: [Entry; 6] = [
    Entry {
        names: &["memory-32-writers"],
        goals: &["peak of the process rises by at most 64 MiB, 32 writers"],
        run: Bench::memory,
    },
    Entry {
        names: &["append-1-writer"],
        goals: &[
            "batch 1: p50 at most 1.25 x that of a raw 4-KiB write-and-sync loop, all backends",
        ],
        run: Bench::one_writer,
    },
    Entry {
        names: &["append-8-writers"],
        goals: &["batch 1: at least 4 x the rate of that loop"],
        run: Bench::eight_writers,
    },
    Entry {
        names: &["append-32-writers"],
        goals: &["batch 1: at least 12 x the rate of that loop"],
        run: Bench::many_writers,
    },
    Entry {
        names: &["append-8-writers-batch-100"],
        goals: &["at least 1,000,000 events/s or 70 % of a raw 64-KiB loop in bytes, the lower"],
        run: Bench::batches,
    },
    Entry {
        names: &["scan", "scan-compressed", "read-stream-100", "read-stream-100/compressed"],
        goals: &[
            "everything, warm, one thread: at least 5,000,000 events/s",
            "the same, compressed: at least 2,500,000 events/s",
            "100 events of one of 10,000 streams, written in 10 rounds, warm: p50 at most 45 us",
            "the same from compressed segments: beyond what was asked for",
        ],
        run: Bench::reads,
    },
];

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
    orders: Orders,
}

/// A folder that is removed with all that is in it.
struct Folder(PathBuf);

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
    if place.named || place.namespace.as_str() != NamespaceName::DEFAULT {
        return Err(Failure::usage(
            "bench takes no --data and no --namespace: it measures in a folder of its own, below the \
             one that --dir names",
        ));
    }
    if args.list {
        return list(args, output);
    }
    let entries = selected(args)?;
    let old = args.compare.as_deref().map(Report::load).transpose()?;
    if conditions::profile() != "release" {
        notice(format_args!(
            "THIS IS A DEBUG BUILD: ITS FIGURES SAY NOTHING; build with --release"
        ));
    }
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let path = args.dir.join(format!("nexus-bench-{}", std::process::id()));
    interrupt::removes(path.clone())?;
    let folder = Folder(path);
    std::fs::create_dir(&folder.0).map_err(|error| {
        let shown = folder.0.display();
        Failure::failed(format!(
            "{shown} cannot be made: {error}; --dir names a folder that is there"
        ))
    })?;
    let (backend, reason) = backend(args, &folder.0)?;
    let orders = Orders::seeded();
    let conditions = Conditions::find(&folder.0, backend, &reason, &orders, &effort)?;
    let mut bench = Bench { dir: folder.0.clone(), backend, effort, orders };
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

fn selected(args: &Args) -> Result<Vec<&'static Entry>, Failure> {
    let known: Vec<&str> = ENTRIES.iter().flat_map(|entry| entry.names).copied().collect();
    let family = |only: &str| only.split('/').next().unwrap_or_default().to_owned();
    if let Some(unknown) = args.only.iter().find(|only| !known.contains(&family(only).as_str())) {
        return Err(Failure::usage(format!(
            "{unknown:?} is not a scenario: there are {}",
            known.join(", ")
        )));
    }
    let is_needed = |entry: &&Entry| {
        let asked = |name: &&str| args.only.iter().any(|only| family(only) == **name);
        args.only.is_empty() || entry.names.iter().any(asked)
    };
    Ok(ENTRIES.iter().filter(is_needed).collect())
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    target: &'static str,
}

fn list(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let mut listing = output.list("scenarios", &report::list_columns());
    for entry in selected(args)? {
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
