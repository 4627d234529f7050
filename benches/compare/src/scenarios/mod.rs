//! What is measured of each store, and how turns become figures.
//!
//! Every scenario has servers of its own, all of which run while it is measured, and only one of which has work at a
//! time. Turns alternate: each one of Nexus stands between two of every peer, as a scenario of `nexus bench` stands
//! between two of its ceiling.

mod appends;
mod deliveries;
mod latency;
mod search;

use std::fs::File;

use nexus_cli::measuring::{Better, CONSUMERS, Failure, Measure, Rounds, Scenario, Turn};

use crate::Run;
use crate::stores::nats::Nats;
use crate::stores::nexus::Nexus;
use crate::stores::redis::Redis;
use crate::stores::{Counted, Store};

use appends::Appends;
use deliveries::Deliveries;
use latency::Latency;

/// Names of the scenarios, as `--only` takes them.
pub(crate) const NAMES: [&str; 5] = ["deliveries", "append-8", "append-32", "latency", "search"];

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amounts {
    /// Turns of Nexus, each between two of every peer.
    pub(crate) rounds: usize,
    /// How long a turn of appends takes.
    pub(crate) turn_ms: u64,
    /// Events of the backlog that a turn of deliveries drains.
    pub(crate) backlog: u64,
    /// For how long a turn of latency appends.
    pub(crate) paced_ms: u64,
    /// Documents that are searched.
    pub(crate) documents: u64,
}

impl Amounts {
    /// What is published.
    pub(crate) const FULL: Self =
        Self { rounds: 7, turn_ms: 1_000, backlog: 200_000, paced_ms: 3_000, documents: 1_000_000 };
    /// In seconds.
    pub(crate) const QUICK: Self =
        Self { rounds: 3, turn_ms: 200, backlog: 20_000, paced_ms: 400, documents: 50_000 };
    /// For tests.
    pub(crate) const TINY: Self =
        Self { rounds: 1, turn_ms: 20, backlog: 500, paced_ms: 40, documents: 500 };
}

/// What is measured of a store, in turns.
trait Measures {
    /// Which figure it is.
    fn figure(&self) -> Figure;

    /// Makes a store ready, and gives what a turn of it is.
    fn side<'r, S: Store + 'r>(&self, run: &'r Run, store: S) -> Result<Side<'r>, Failure>;
}

/// What a scenario tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    /// Events a second.
    Rate,
    /// The median latency.
    Latency,
}

/// One store in a scenario.
struct Side<'r> {
    name: &'static str,
    turn: Box<dyn FnMut() -> Result<Turn, Failure> + 'r>,
    note: String,
    /// How many events a second it was asked for, where that differs from store to store.
    pace_per_s: Option<u64>,
}

impl<'r> Side<'r> {
    /// The same, asked for so many events a second.
    fn paced(self, per_s: u64) -> Self {
        Self { pace_per_s: Some(per_s), ..self }
    }

    /// After each turn, and not in its time, everything is synced: what a store has left unsynced would be written in
    /// the turn of the next, above all by its syncs.
    fn new(
        run: &'r Run,
        name: &'static str,
        note: String,
        mut turn: impl FnMut() -> Result<Turn, Failure> + 'r,
    ) -> Self {
        let synced = move || {
            let done = turn()?;
            let dir = run.folder.path();
            let failed = |error| Failure::failed(format!("{}: {error}", dir.display()));
            rustix::fs::syncfs(File::open(dir).map_err(failed)?).map_err(|e| failed(e.into()))?;
            Ok(done)
        };
        Self { name, turn: Box::new(synced), note, pace_per_s: None }
    }
}

/// Measures the scenarios with these names, or all.
///
/// # Errors
/// When a server does not start, a store refuses something, or does not do all of its work once.
pub(crate) fn measure_all(run: &Run, only: &[String]) -> Result<Vec<Scenario>, Failure> {
    let mut scenarios = Vec::new();
    for name in NAMES.into_iter().filter(|name| only.is_empty() || only.iter().any(|it| it == name))
    {
        scenarios.extend(match name {
            "deliveries" => measure(run, name, &Deliveries)?,
            "append-8" => measure(run, name, &Appends { clients: CONSUMERS })?,
            "append-32" => measure(run, name, &Appends { clients: 4 * CONSUMERS })?,
            "latency" => measure(run, name, &Latency)?,
            _ => search::measure(run)?,
        });
    }
    Ok(scenarios)
}

fn measure(run: &Run, name: &str, what: &impl Measures) -> Result<Vec<Scenario>, Failure> {
    let folder = |store: &str| run.folder.path().join(format!("{name}-{store}"));
    let data = folder(Nexus::NAME);
    let nexus = Nexus::start(&run.nexus, &data, run.folder.path());
    let mut nexus = what.side(run, run.runtime.block_on(nexus)?)?;
    let mut peers = Vec::new();
    if let Some(program) = &run.redis {
        let redis = run.runtime.block_on(Redis::start(program, &folder(Redis::NAME)))?;
        peers.push(what.side(run, redis)?);
    }
    if let Some(program) = &run.nats {
        let nats = run.runtime.block_on(Nats::start(program, &folder(Nats::NAME)))?;
        peers.push(what.side(run, nats)?);
    }
    // A first turn of each is no figure: connections, caches, and files are new.
    for side in peers.iter_mut().chain([&mut nexus]) {
        (side.turn)()?;
    }
    let mut measures: Vec<Measure<'_>> = Vec::new();
    for peer in &mut peers {
        measures.push(&mut peer.turn);
    }
    let rounds = Rounds::run(run.amounts.rounds, &mut measures, &mut nexus.turn)?;
    let figure = what.figure();
    let mut scenarios = vec![of_nexus(name, figure, &rounds).note(&nexus.note)];
    for (index, peer) in peers.iter().enumerate() {
        let mut scenario = of_peer(&format!("{name}/{}", peer.name), figure, &rounds, index);
        if peer.pace_per_s != nexus.pace_per_s {
            // Latencies at two paces are not to be compared.
            (scenario.ratio, scenario.ratio_range) = (None, None);
        }
        scenarios.push(scenario.note(&peer.note));
    }
    Ok(scenarios)
}

/// A scenario without a target: the peers are there to be seen beside, and nothing was asked.
fn scenario(name: &str, figure: Figure) -> Scenario {
    match figure {
        Figure::Rate => Scenario::without_target(name, "events/s", Better::Higher),
        Figure::Latency => Scenario::without_target(name, "us p50", Better::Lower),
    }
}

fn of_nexus(name: &str, figure: Figure, rounds: &Rounds) -> Scenario {
    let mut scenario = scenario(&format!("{name}/{}", Nexus::NAME), figure);
    scenario.events_per_s = Some(rounds.per_s());
    let value = match figure {
        Figure::Rate => rounds.per_s(),
        Figure::Latency => rounds.p50_us(),
    };
    scenario.latencies(&rounds.latencies).measured(value)
}

/// Of the peer that is ceiling number `index`. The ratio is Nexus's figure over its own.
fn of_peer(name: &str, figure: Figure, rounds: &Rounds, index: usize) -> Scenario {
    let mut scenario = scenario(name, figure);
    scenario.events_per_s = Some(rounds.ceiling_per_s(index));
    let (value, ratios) = match figure {
        Figure::Rate => (rounds.ceiling_per_s(index), rounds.rate_ratios_to(index)),
        Figure::Latency => (rounds.ceiling_p50_us(index), rounds.p50_ratios_to(index)),
    };
    let latencies = rounds.ceiling_latencies.get(index).cloned().unwrap_or_default();
    scenario.latencies(&latencies).measured(value).ratios(ratios)
}

/// Whether the store counts what was counted here: each event delivered once, and acknowledged.
///
/// # Errors
/// When it does not.
async fn check<S: Store>(store: &S, place: &str, group: &str, events: u64) -> Result<(), Failure> {
    let counted = store.counted(place, group).await?;
    let expected = Counted { delivered: events, unanswered: 0, left: 0 };
    if counted == expected {
        return Ok(());
    }
    let name = S::NAME;
    Err(Failure::failed(format!("{name} counts {counted:?} where it should be {expected:?}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nexus_cli::measuring::Latencies;

    use super::*;

    fn turn(events: u64, latency_us: u64) -> Turn {
        let mut latencies = Latencies::default();
        latencies.add(Duration::from_micros(latency_us));
        Turn { events, elapsed: Duration::from_secs(1), latencies }
    }

    #[test]
    fn ratios_are_of_nexus_to_each_peer() {
        let (mut one, mut other) = (|| Ok(turn(50, 400)), || Ok(turn(400, 100)));
        let rounds = Rounds::run(3, &mut [&mut one, &mut other], || Ok(turn(200, 200))).unwrap();
        let check = |scenario: Scenario, value: f64, ratio: Option<f64>| {
            let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.01;
            assert!(near(scenario.value.unwrap(), value), "{scenario:?}");
            assert!(scenario.ratio.zip(ratio).is_none_or(|(a, b)| near(a, b)), "{scenario:?}");
            assert_eq!((scenario.ratio.is_some(), scenario.target), (ratio.is_some(), None));
        };
        check(of_nexus("a", Figure::Rate, &rounds), 200.0, None);
        check(of_peer("a", Figure::Rate, &rounds, 0), 50.0, Some(4.0));
        check(of_peer("a", Figure::Rate, &rounds, 1), 400.0, Some(0.5));
        check(of_nexus("a", Figure::Latency, &rounds), 200.0, None);
        check(of_peer("a", Figure::Latency, &rounds, 0), 400.0, Some(0.5));
        check(of_peer("a", Figure::Latency, &rounds, 1), 100.0, Some(2.0));
    }
}
