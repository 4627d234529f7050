//! Nexus beside other stores: real processes on one machine, in one run, in turns.
//!
//! The only crate that knows other stores. How turns, medians, and reports are made is `nexus bench`'s, and the JSON is
//! its JSON; `docs/reference/compare.md` says what is compared and why that is fair.

mod program;
mod scenarios;
mod stores;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nexus_cli::measuring::{
    BATCH, BATCHES_AHEAD, CONSUMERS, Conditions, Failure, Folder, Format, Orders, Output, Peer,
    Report, Spent, notice,
};
use tokio::runtime::Runtime;

use program::Program;
use scenarios::{Amounts, measure_all};
use stores::{nats, nexus, postgres, redis};

const EXAMPLES: &str = "\
Examples:
  nexus-benches-compare --quick
  nexus-benches-compare --output json --save compare.json
  nexus-benches-compare --nexus ./nexus --only deliveries append-8
  nexus-benches-compare --only search

It measures in a folder of its own below --dir, by default the current one, and removes it. A store whose program is
not installed is left out.";

/// Measures Nexus beside other stores
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
struct Line {
    /// Only these scenarios
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = scenarios::NAMES)]
    only: Vec<String>,
    /// In seconds instead of minutes: rough figures
    #[arg(long)]
    quick: bool,
    /// How the figures are printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,
    /// Keeps the figures in a file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// The folder on whose disk is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The program of Nexus; `nexus` beside this one unless given
    #[arg(long, value_name = "PATH")]
    nexus: Option<PathBuf>,
    /// The program of Redis; `redis-server` where programs are unless given
    #[arg(long, value_name = "PATH")]
    redis: Option<PathBuf>,
    /// The program of NATS; `nats-server` where programs are unless given
    #[arg(long, value_name = "PATH")]
    nats: Option<PathBuf>,
    /// The program of PostgreSQL; `postgres` where programs are unless given
    #[arg(long, value_name = "PATH")]
    postgres: Option<PathBuf>,
    /// So little that nothing can be said of it: for tests
    #[arg(long, hide = true)]
    tiny: bool,
}

/// One run.
struct Run {
    /// Gone afterwards.
    folder: Folder,
    /// Of the clients.
    runtime: Runtime,
    orders: Orders,
    amounts: Amounts,
    nexus: Program,
    /// `None`: not installed.
    redis: Option<Program>,
    nats: Option<Program>,
    postgres: Option<Program>,
}

fn main() -> ExitCode {
    match run(&Line::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(line: &Line) -> Result<(), Failure> {
    if !Conditions::is_release() && !line.tiny {
        notice(format_args!(
            "THIS IS A DEBUG BUILD: ITS FIGURES SAY NOTHING; build with --release"
        ));
    }
    let nexus = match &line.nexus {
        Some(path) => Program::at(path)?,
        None => Program::beside_this("nexus")?,
    };
    let redis =
        Program::find("redis-server", line.redis.as_deref(), "apt-get install redis-server")?;
    let nats = Program::find("nats-server", line.nats.as_deref(), "apt-get install nats-server")?;
    let install = "apt-get install postgresql, and its folder in PATH, or --postgres PATH";
    let postgres = Program::find("postgres", line.postgres.as_deref(), install)?;
    let amounts = match (line.tiny, line.quick) {
        (true, _) => Amounts::TINY,
        (false, true) => Amounts::QUICK,
        (false, false) => Amounts::FULL,
    };
    let folder = Folder::below(&line.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::failed(format!("no threads are left: {error}")))?;
    let orders = Orders::seeded();
    let run = Run { folder, runtime, orders, amounts, nexus, redis, nats, postgres };
    let conditions = conditions(&run, line)?;
    let scenarios = measure_all(&run, &line.only)?;
    let report = Report { conditions, scenarios };
    if let Some(path) = &line.save {
        report.save(path)?;
    }
    Output::stdout(line.output).one(&report, &report)
}

fn conditions(run: &Run, line: &Line) -> Result<Conditions, Failure> {
    let peer = |program: &Option<Program>, about: fn(String) -> Peer| {
        program.as_ref().map(|program| program.version().map(about)).transpose()
    };
    let peers = [
        peer(&run.redis, redis::about)?,
        peer(&run.nats, nats::about)?,
        peer(&run.postgres, postgres::about)?,
    ];
    let Amounts { rounds, turn_ms, .. } = run.amounts;
    let spent =
        Spent { quick: line.quick || line.tiny, rounds, turn: Duration::from_millis(turn_ms) };
    let peers = peers.into_iter().flatten().collect();
    let mut conditions = Conditions::beside_peers(run.folder.path(), &spent, peers)?;
    conditions.version = run.nexus.version()?;
    conditions.server = Some(nexus::ABOUT.to_owned());
    conditions.clients = format!(
        "tasks of this process, which shares the cores with all servers; loopback; {CONSUMERS} consumers, batches of \
         {BATCH}, {BATCHES_AHEAD} of each under way"
    );
    Ok(conditions)
}
