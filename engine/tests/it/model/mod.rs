//! The engine beside a naive model of it: both are asked the same, at random, and must say the same.
//!
//! [`naive`] is the store as the design describes it. [`generate`] makes requests from a seed,
//! [`run`] asks both, [`crash`] cuts the power in between, [`compare`] and [`watch`] hold the answers
//! against each other. One thread, a simulated disk, a clock that moves when it is told: a seed that
//! fails fails again. `NEXUS_MODEL_SECONDS` says how long to go on with further seeds,
//! `NEXUS_MODEL_SEED` names the only one to run.

mod compare;
mod crash;
mod generate;
mod naive;
mod run;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use run::{Run, Shape};

/// Steps of one seed.
const STEPS: u64 = 10_000;
/// Seeds of one test, unless told otherwise.
const SEEDS: u64 = 4;

/// How often what was done; each kind of step, and each outcome.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    of: BTreeMap<(&'static str, &'static str), u64>,
}

impl Counts {
    /// Something of a group happened.
    pub(crate) fn did(&mut self, group: &'static str, what: &'static str) {
        self.add(group, what, 1);
    }

    pub(crate) fn add(&mut self, group: &'static str, what: &'static str, times: u64) {
        *self.of.entry((group, what)).or_default() += times;
    }

    fn sum(&self, group: &str, wanted: impl Fn(&str) -> bool) -> u64 {
        let of_group = self.of.iter().filter(|((of, what), _)| *of == group && wanted(what));
        of_group.map(|(_, times)| times).sum()
    }

    /// How much of each group was what, so that none is empty without being seen.
    fn print(&self, seeds: u64) {
        for ((group, what), times) in &self.of {
            let all = self.sum(group, |_| true);
            let percent = *times as f64 * 100.0 / all as f64;
            println!("{group:<14} {what:<26} {times:>8}  {percent:>5.1} %");
        }
        println!("count: model_seeds {seeds}");
        println!("count: model_steps {}", self.sum("step", |_| true));
        println!("count: model_crashes {}", self.sum("step", |what| what.starts_with("crash")));
        println!("count: model_appends {}", self.sum("append", |what| what == "written"));
        println!(
            "count: model_conflicts {}",
            self.sum("append", |what| what.starts_with("conflict"))
        );
        println!("count: model_replays {}", self.sum("append", |what| what == "replayed"));
    }

    /// Nothing of what a run is meant to do was left out.
    fn check(&self) {
        for (group, all) in MUST {
            for what in *all {
                let times = self.of.iter().filter(|((of, it), _)| of == group && it == what);
                assert!(times.map(|(_, times)| times).sum::<u64>() > 0, "{group}: no {what}");
            }
        }
    }
}

/// What must have happened, by group.
const MUST: &[(&str, &[&str])] = &[
    (
        "step",
        &[
            "append",
            "batch",
            "read",
            "look",
            "watch",
            "settings",
            "delete",
            "tombstone",
            "snapshot",
            "clock",
            "maintain",
            "reopen",
            "crash",
            "crash in maintenance",
            "crash of a failed sync",
        ],
    ),
    (
        "append",
        &[
            "written",
            "replayed",
            "replayed, own in the way",
            "condition held",
            "conflict of a stream",
            "conflict of a boundary",
            "conflict of an absence",
            "conflict of ids",
            "id reused",
            "below retention",
            "stream deleted",
            "not awaited",
        ],
    ),
    ("expected", &["any", "no stream", "exists", "exact", "checked only", "future"]),
    ("condition", &["boundary", "absence", "key", "no events", "many streams"]),
    (
        "read",
        &[
            "stream",
            "log",
            "backwards",
            "from revision",
            "from position",
            "from time",
            "as of position",
            "as of revision",
            "as of recorded",
            "filter",
            "limit",
            "system",
            "with events",
        ],
    ),
    ("look", &["by id", "stream", "streams", "snapshots", "id found", "snapshot found"]),
    ("watch", &["event", "live event", "checkpoint", "silent checkpoint", "caught up", "resumed"]),
    ("setting", &["max count", "max age", "truncate before", "lifted", "aged"]),
    ("crash", &["kept none", "kept some", "kept all", "again", "poisoned", "in maintenance"]),
];

/// How long to go on, and with which seeds.
fn check(shape: impl Fn(u64) -> Shape, first: u64) {
    let only = variable("NEXUS_MODEL_SEED");
    let seconds = variable("NEXUS_MODEL_SECONDS").map(Duration::from_secs);
    let start = Instant::now();
    let mut counts = Counts::default();
    let mut seeds = 0;
    // Each test has every second seed.
    for seed in (first..).step_by(2) {
        let enough = match (only, seconds) {
            (Some(only), _) if only % 2 != first % 2 => return,
            (Some(_), _) => seeds == 1,
            (None, Some(seconds)) => seeds > 0 && start.elapsed() >= seconds,
            (None, None) => seeds == SEEDS,
        };
        if enough {
            break;
        }
        let seed = only.unwrap_or(seed);
        Run::new(shape(seed)).run(STEPS, &mut counts);
        seeds += 1;
    }
    counts.print(seeds);
    // One seed alone may lack what is rare.
    if seeds >= SEEDS {
        counts.check();
    }
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

/// Segments are compressed.
#[test]
fn engine_with_blocks_is_as_the_model() {
    check(|seed| Shape { seed, compress: true, depth: 2, frame_bytes: 4000 }, 1);
}

/// Segments stay as they were written, and many small frames are in flight.
#[test]
fn engine_with_frames_is_as_the_model() {
    check(|seed| Shape { seed, compress: false, depth: 4, frame_bytes: 1500 }, 2);
}
