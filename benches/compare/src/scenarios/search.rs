//! The same documents, searched for with the same questions: how fast they are made, how long each kind of question takes,
//! and what they take on disk.
//!
//! Nexus makes documents of events that are appended, while they are; PostgreSQL is given rows in bulk and its indexes
//! after that, which is its fastest way. Both answer with ten documents and the count of all, over a socket. Where they
//! count differently the run fails.

use std::time::Instant;

use nexus_cli::measuring::{Better, Failure, Kind, Latencies, Question, Rounds, Scenario, Turn};

use super::{Figure, of_nexus, of_peer};
use crate::Run;
use crate::stores::Searches;
use crate::stores::nexus::Nexus;
use crate::stores::postgres::{self, Postgres};

const MIB: f64 = 1024.0 * 1024.0;

/// Measures both, or Nexus alone where PostgreSQL is not installed.
///
/// # Errors
/// When a server does not start, refuses something, or counts differently.
pub(super) fn measure(run: &Run) -> Result<Vec<Scenario>, Failure> {
    let folder = |store: &str| run.folder.path().join(format!("search-{store}"));
    let data = folder("nexus");
    let nexus = Nexus::start(&run.nexus, &data, run.folder.path());
    let nexus = run.runtime.block_on(nexus)?;
    let postgres = run
        .postgres
        .as_ref()
        .map(|program| run.runtime.block_on(Postgres::start(program, &folder(postgres::NAME))));
    let postgres = postgres.transpose()?;
    let documents = run.amounts.documents;
    let loads = loaded(run, &nexus, postgres.as_ref())?;
    let mut scenarios = loads;
    for kind in Kind::ALL {
        let questions = Question::of(kind, documents);
        if let Some(postgres) = &postgres {
            agree(run, &nexus, postgres, &questions)?;
        }
        scenarios.extend(asked(run, kind, &questions, (&nexus, postgres.as_ref()))?);
    }
    scenarios.extend(sizes(run, &nexus, postgres.as_ref())?);
    Ok(scenarios)
}

/// How many documents a second are made.
fn loaded(run: &Run, nexus: &Nexus, postgres: Option<&Postgres>) -> Result<Vec<Scenario>, Failure> {
    let documents = run.amounts.documents;
    let of = |name: &str, per_s: f64, note: &str| {
        let name = format!("search-load/{name}");
        let scenario = Scenario::without_target(name, "documents/s", Better::Higher);
        let mut scenario = scenario.measured(per_s);
        scenario.events_per_s = Some(per_s);
        scenario.note(format!("{documents} documents: {note}"))
    };
    let per_s = rate(run, nexus)?;
    let mut all = vec![of(
        "nexus",
        per_s,
        "an event each, appended ten at a time by one client with 256 appends under way, and folded meanwhile; until all are \
         found",
    )];
    if let Some(postgres) = postgres {
        let other = rate(run, postgres)?;
        let note =
            "COPY of rows, then its indexes, then VACUUM ANALYZE: no log of what happened is kept";
        all.push(of(postgres::NAME, other, note).ratios(vec![per_s / other]));
    }
    Ok(all)
}

fn rate(run: &Run, store: &impl Searches) -> Result<f64, Failure> {
    let begun = Instant::now();
    run.runtime.block_on(store.load(run.amounts.documents))?;
    Ok(run.amounts.documents as f64 / begun.elapsed().as_secs_f64().max(1e-9))
}

/// Whether both count the same.
fn agree(
    run: &Run,
    nexus: &Nexus,
    postgres: &Postgres,
    questions: &[Question],
) -> Result<(), Failure> {
    for question in questions {
        let (one, other) = run.runtime.block_on(async {
            Ok::<_, Failure>((nexus.ask(question).await?, postgres.ask(question).await?))
        })?;
        if one != other {
            let why =
                format!("{question:?} matches {one} documents of Nexus, and {other} of PostgreSQL");
            return Err(Failure::failed(why));
        }
    }
    Ok(())
}

/// Asks all of them, one after the other.
fn turn(run: &Run, store: &impl Searches, questions: &[Question]) -> Result<Turn, Failure> {
    run.runtime.block_on(async {
        let (mut latencies, begun) = (Latencies::default(), Instant::now());
        for question in questions {
            let since = Instant::now();
            store.ask(question).await?;
            latencies.add(since.elapsed());
        }
        Ok(Turn { events: questions.len() as u64, elapsed: begun.elapsed(), latencies })
    })
}

/// How long a kind of questions takes.
fn asked(
    run: &Run,
    kind: Kind,
    questions: &[Question],
    (nexus, postgres): (&Nexus, Option<&Postgres>),
) -> Result<Vec<Scenario>, Failure> {
    let mut peer = || match postgres {
        Some(postgres) => turn(run, postgres, questions),
        None => Ok(Turn::default()),
    };
    // A first turn of each is no figure: what is asked for is not in memory yet.
    peer()?;
    turn(run, nexus, questions)?;
    let rounds = Rounds::run(run.amounts.rounds, &mut [&mut peer], || turn(run, nexus, questions))?;
    let name = format!("search-{}", kind.name());
    let note =
        format!("{} questions, one client, ten documents and the count of all", questions.len());
    let mut scenarios = vec![of_nexus(&name, Figure::Latency, &rounds).note(&note)];
    if postgres.is_some() {
        let name = format!("{name}/{}", postgres::NAME);
        scenarios.push(of_peer(&name, Figure::Latency, &rounds, 0).note(note));
    }
    Ok(scenarios)
}

/// What is on disk.
fn sizes(run: &Run, nexus: &Nexus, postgres: Option<&Postgres>) -> Result<Vec<Scenario>, Failure> {
    let of = |name: &str, bytes: u64, note: &str| {
        let name = format!("search-size/{name}");
        let scenario = Scenario::without_target(name, "MiB", Better::Lower);
        let each = bytes / run.amounts.documents.max(1);
        scenario.measured(bytes as f64 / MIB).note(format!("{each} B a document; {note}"))
    };
    let bytes = run.runtime.block_on(nexus.bytes())?;
    let note = "the index with its documents; the log, which is what is kept, is not counted";
    let mut all = vec![of("nexus", bytes, note)];
    if let Some(postgres) = postgres {
        let other = run.runtime.block_on(postgres.bytes())?;
        let note = "the table and its indexes; its write-ahead log is not counted";
        let ratio = bytes as f64 / other.max(1) as f64;
        all.push(of(postgres::NAME, other, note).ratios(vec![ratio]));
    }
    Ok(all)
}
