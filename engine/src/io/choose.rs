//! Which disk is best here: measured, not guessed.
//!
//! Which way of writing durably is fastest depends on the device, its cache, the file system, the
//! kernel, and the sandbox. `nexus doctor` prints what is measured here, and
//! [`auto_disk`](super::auto_disk) acts on it (`docs/decisions/2026-11-23-disk-backends.md`).
//!
//! Backends take turns, in short parts: a burst of other work on the machine then hurts all of
//! them, and the quieter turns of each are compared. Work that goes on throughout cannot be told
//! from a slow disk (with all processors busy, medians of 4 ms were seen on every backend), so a
//! choice made then may not be the best; [`remeasure`](super::remeasure) makes a new one.

use std::path::Path;
use std::time::{Duration, Instant};

use super::raw::{RawLoop, RawOptions, RawReport, Samples};
use super::{Backend, DiskError, DiskResult};

/// The block size in bytes by which disks are compared: the smallest frame.
const COMPARED_BYTES: usize = 4096;

/// Every backend, simplest first; of those that are equally good the first is taken.
const BACKENDS: [Backend; 7] = [
    Backend::PortableBuffered,
    Backend::PortableDirect,
    Backend::UringLinked,
    Backend::UringDirect { depth: 1 },
    Backend::UringDirect { depth: 2 },
    Backend::UringDirect { depth: 4 },
    Backend::UringDirect { depth: 8 },
];

/// "No worse latency": within this factor of the best. Less than that is noise: on a shared machine,
/// quiet half seconds of one and the same backend differed by more.
const LATENCY_FACTOR: f64 = 1.25;

/// "Clearly better throughput": at least this factor above the other.
const THROUGHPUT_FACTOR: f64 = 1.25;

/// Turns of each backend.
const TURNS: u32 = 5;

/// Of them, those with the lowest medians are compared. Not one alone: with a handful of writes in
/// a turn, the luckiest turn of five says more about luck than about the disk.
const QUIET_TURNS: usize = 3;

const _: () = assert!(QUIET_TURNS <= TURNS as usize);

/// How much time to spend on measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// About 50 ms on a device that syncs in 0.2 ms: 4 KiB only. What a first start spends.
    Short,
    /// 2 to 3 s: 4 KiB and 64 KiB. What `nexus doctor` spends.
    Long,
}

impl Effort {
    const fn block_sizes(self) -> &'static [usize] {
        match self {
            Self::Short => &[COMPARED_BYTES],
            Self::Long => &[COMPARED_BYTES, 64 << 10],
        }
    }

    /// How long one turn of one backend lasts.
    const fn turn(self) -> Duration {
        match self {
            Self::Short => Duration::from_millis(1),
            Self::Long => Duration::from_millis(35),
        }
    }

    /// Blocks of the file that is written over.
    const fn file_blocks(self) -> usize {
        match self {
            Self::Short => 32,
            Self::Long => 128,
        }
    }
}

/// What one backend did with blocks of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// What was measured.
    pub backend: Backend,
    /// Bytes of one write.
    pub block_bytes: usize,
    /// Median latency of a durable write in µs, of the quieter turns. At the backend's full depth:
    /// a write then waits for those before it.
    pub p50_us: f64,
    /// The latency in µs that 99 of 100 writes did not exceed, of all turns.
    pub p99_us: f64,
    /// Durable writes a second, a whole number, of the quieter turns.
    pub writes_per_s: f64,
    /// Why it could not be measured; then the figures are 0.
    pub error: Option<String>,
}

/// A disk, and why it was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What was chosen.
    pub backend: Backend,
    /// Why, in one line for people.
    pub reason: String,
    /// What the choice rests on.
    pub measurements: Vec<Measurement>,
}

/// Measures every backend in the folder `dir`, which must exist. Nothing is left there.
///
/// What fails is part of the answer: see [`Measurement::error`]. A device that syncs slowly takes
/// longer than [`Effort`] says: every backend fills a small file and has one turn at least.
pub fn measure(dir: &Path, effort: Effort) -> Vec<Measurement> {
    effort
        .block_sizes()
        .iter()
        .flat_map(|block_bytes| measure_blocks(dir, effort, *block_bytes))
        .collect()
}

fn measure_blocks(dir: &Path, effort: Effort, block_bytes: usize) -> Vec<Measurement> {
    let begun = Instant::now();
    let mut contenders =
        BACKENDS.map(|backend| Contender::prepare(dir, effort, backend, block_bytes));
    let turns = u32::try_from(contenders.len()).expect("few backends") * TURNS;
    // Twice what the turns take on a fast device: then it is a slow one, and one turn has to do.
    let elapsed_max = effort.turn() * turns * 2;
    for _ in 0..TURNS {
        for contender in &mut contenders {
            contender.turn(effort);
        }
        if begun.elapsed() > elapsed_max {
            break;
        }
    }
    contenders.into_iter().map(|contender| contender.measurement(block_bytes)).collect()
}

/// A backend while it is measured.
struct Contender {
    backend: Backend,
    ready: DiskResult<RawLoop>,
    turns: Vec<RawReport>,
}

impl Contender {
    fn prepare(dir: &Path, effort: Effort, backend: Backend, block_bytes: usize) -> Self {
        let mut options = RawOptions::new(backend);
        options.block_bytes = block_bytes;
        options.file_bytes = (effort.file_blocks() * block_bytes) as u64;
        let ready = RawLoop::prepare(dir, &options);
        Self { backend, ready, turns: Vec::new() }
    }

    fn turn(&mut self, effort: Effort) {
        let Ok(ready) = &mut self.ready else { return };
        let mut samples = Samples::default();
        match ready.run(effort.turn(), &mut samples) {
            Ok(()) => self.turns.push(samples.into_report()),
            Err(error) => self.ready = Err(error),
        }
    }

    fn measurement(self, block_bytes: usize) -> Measurement {
        let Self { backend, ready, mut turns } = self;
        let error = ready.err().map(|error| in_words(&error));
        if error.is_some() {
            turns.clear();
        }
        turns.sort_by_key(|turn| turn.latency_ns(500));
        let all = together(&turns);
        let quiet = together(&turns[..turns.len().min(QUIET_TURNS)]);
        Measurement {
            backend,
            block_bytes,
            p50_us: as_us(quiet.latency_ns(500)),
            p99_us: as_us(all.latency_ns(990)),
            writes_per_s: quiet.writes_per_s().round(),
            error,
        }
    }
}

/// Several turns as one.
fn together(turns: &[RawReport]) -> RawReport {
    RawReport {
        writes: turns.iter().map(|turn| turn.writes).sum(),
        elapsed: turns.iter().map(|turn| turn.elapsed).sum(),
        latencies_ns: turns.iter().flat_map(|turn| &turn.latencies_ns).copied().collect(),
    }
}

/// An error with its source, on one line.
pub(super) fn in_words(error: &DiskError) -> String {
    format!("{error}: {}", error.source)
}

#[expect(clippy::cast_precision_loss, reason = "a latency for people, far below 2^53 ns")]
fn as_us(ns: u64) -> f64 {
    // Tenths: more digits would only be noise, and would not survive being written and read.
    (ns as f64 / 100.0).round() / 10.0
}

/// The best backend of those measured, and why; `None` when none of them works.
///
/// The rule, over the measurements of 4-KiB blocks that have no error:
/// 1. The latency of a backend is its p50 with one write in flight: what a lone append waits for.
///    For `uring-direct:N` it is that of `uring-direct:1`, for the ring is not filled to its depth
///    unless there is more to write.
/// 2. The one with the lowest latency is chosen,
/// 3. unless others have clearly better throughput (1.25 times or more) at no worse latency (at
///    most 1.25 times): then the first of these, simplest and shallowest first, that comes within
///    that factor of the highest throughput among them. More in flight than pays is only memory,
///    and more to look through after a crash.
pub fn choose(measurements: &[Measurement]) -> Option<(Backend, String)> {
    let compared: Vec<Contestant> = measurements
        .iter()
        .filter(|found| found.error.is_none() && found.block_bytes == COMPARED_BYTES)
        .map(|found| Contestant { found, latency_us: latency_us(found, measurements) })
        .collect();
    let best = compared.iter().min_by(|a, b| a.latency_us.total_cmp(&b.latency_us))?;
    let per_s = |contestant: &Contestant| contestant.found.writes_per_s;
    let better: Vec<&Contestant> = compared
        .iter()
        .filter(|other| other.latency_us <= best.latency_us * LATENCY_FACTOR)
        .filter(|other| per_s(other) >= per_s(best) * THROUGHPUT_FACTOR)
        .collect();
    let highest = better.iter().map(|other| per_s(other)).fold(0.0, f64::max);
    let backend = best.found.backend;
    let lone = format!("{backend} has the lowest latency, {:.0} us p50", best.latency_us);
    match better.iter().find(|other| per_s(other) * THROUGHPUT_FACTOR >= highest) {
        None => Some((backend, format!("{lone}, and none is clearly faster under load"))),
        Some(other) => Some((
            other.found.backend,
            format!(
                "{} does {:.0} writes/s against {:.0} of {backend}, at {:.0} us p50 against {:.0} us",
                other.found.backend,
                per_s(other),
                per_s(best),
                other.latency_us,
                best.latency_us
            ),
        )),
    }
}

/// A backend that works, with its latency at depth 1.
struct Contestant<'a> {
    found: &'a Measurement,
    latency_us: f64,
}

fn latency_us(found: &Measurement, measurements: &[Measurement]) -> f64 {
    let alone = match found.backend {
        Backend::UringDirect { .. } => Backend::UringDirect { depth: 1 },
        other => other,
    };
    measurements
        .iter()
        .find(|other| {
            other.backend == alone
                && other.block_bytes == found.block_bytes
                && other.error.is_none()
        })
        .map_or(found.p50_us, |other| other.p50_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, p50_us: f64, writes_per_s: f64) -> Measurement {
        let backend = name.parse().unwrap();
        Measurement {
            backend,
            block_bytes: 4096,
            p50_us,
            p99_us: p50_us,
            writes_per_s,
            error: None,
        }
    }

    fn failed(name: &str) -> Measurement {
        Measurement { error: Some("cannot".to_owned()), ..found(name, 0.0, 0.0) }
    }

    #[test]
    fn lowest_latency_wins_unless_another_is_clearly_faster_at_no_worse() {
        let check = |measurements: &[Measurement], expected: Option<&str>| {
            let chosen = choose(measurements);
            assert_eq!(chosen.as_ref().map(|(b, _)| b.to_string()).as_deref(), expected);
        };
        check(&[], None);
        check(&[failed("portable-direct"), failed("uring-direct:1")], None);
        let buffered = found("portable-buffered", 150.0, 6_500.0);
        let portable = found("portable-direct", 95.0, 10_000.0);
        let one = found("uring-direct:1", 100.0, 9_800.0);
        let slow_one = found("uring-direct:1", 130.0, 7_500.0);
        let two = found("uring-direct:2", 140.0, 14_000.0);
        let four = found("uring-direct:4", 200.0, 20_000.0);
        let eight = found("uring-direct:8", 380.0, 21_000.0);
        check(&[buffered.clone(), failed("portable-direct")], Some("portable-buffered"));
        check(&[buffered.clone(), portable.clone(), one.clone()], Some("portable-direct"));
        // The depth that pays, at the latency of one in flight.
        let all = [buffered, portable.clone(), one.clone(), two.clone(), four, eight];
        check(&all, Some("uring-direct:4"));
        check(&[portable.clone(), one, two.clone()], Some("uring-direct:2"));
        // A worse latency is not bought by throughput.
        check(&[portable, slow_one, two], Some("portable-direct"));
        // Other block sizes say nothing.
        let large = Measurement { block_bytes: 65_536, ..found("uring-linked", 1.0, 1e6) };
        check(&[large], None);
    }

    #[test]
    fn measuring_tries_every_backend_and_leaves_nothing_behind() {
        let dir = tempfile::TempDir::with_prefix("nexus-choose-").unwrap();
        let measured = measure(dir.path(), Effort::Short);
        assert_eq!(measured.iter().map(|found| found.backend).collect::<Vec<_>>(), BACKENDS);
        for found in &measured {
            match &found.error {
                Some(error) => println!("skipped {}: {error}", found.backend),
                None => assert!(found.p50_us > 0.0 && found.writes_per_s > 0.0, "{found:?}"),
            }
        }
        assert!(choose(&measured).is_some(), "portable-buffered works everywhere");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let missing = measure(&dir.path().join("missing"), Effort::Short);
        assert!(missing.iter().all(|found| found.error.is_some()));
        assert_eq!(choose(&missing), None);
    }
}
