//! The proof that what was acknowledged survives: the machine stops after every operation of the
//! disk, in every way that the simulated disk knows, and each disk that is left is recovered.
//!
//! A recovered store holds what was acknowledged, a prefix of what was submitted, in order and in
//! whole batches, with every content as it was given; it takes another append and reads it back. A
//! sample of recoveries is stopped after each of its own operations in turn.
//!
//! What is counted as `crash_states` are disks that differ from each other in some byte or name; each
//! is recovered from. The same disk may be left at more than one operation: each of these is a
//! `crash_point`, where what is found is held against what was acknowledged by then.
//! `NEXUS_CRASH_STATES` says how many states there should be in all, at least: more workloads are
//! run until there are.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use nexus_engine::Engine;
use nexus_engine::io::sim::{CrashOptions, CrashPoints, CrashState};
use nexus_engine::io::{Disk, SimDisk};
use nexus_protocol::{Append, Position, Read};

use crate::history::{Line, check_event, numbered};
use crate::workload::{DIR, Recorded, SECOND, Shape, record};

/// What the tests of this file together visit, unless told otherwise.
const STATES: usize = 24_000;
/// With a planted bug: enough to meet most, and quick.
const STATES_PLANTED: usize = 2_400;
/// Number of the event that is appended after a crash, and after a crash of a recovery.
const AFTERWARDS: [u64; 2] = [1 << 40, 1 << 41];

/// This test's share of the states, out of `STATES`.
fn wanted(share: usize) -> usize {
    let all = match std::env::var("NEXUS_CRASH_STATES") {
        Ok(number) => number.parse().expect("NEXUS_CRASH_STATES is a number"),
        Err(_) if std::env::var_os("NEXUS_PLANTED").is_some() => STATES_PLANTED,
        Err(_) => STATES,
    };
    all * share / STATES
}

#[derive(Debug, Default)]
struct Counts {
    /// Fingerprints of the disks that were recovered from.
    states: HashSet<u64>,
    /// How often a disk was held against what was acknowledged.
    points: usize,
    second_states: usize,
}

impl Counts {
    fn print(&self) {
        println!("count: crash_states {}", self.states.len());
        println!("count: crash_points {}", self.points);
        println!("count: crash_states_of_recoveries {}", self.second_states);
    }
}

/// Runs workloads until there were enough states.
fn prove(share: usize, shape: impl Fn(u64) -> Shape) {
    let wanted = wanted(share);
    let mut counts = Counts::default();
    for seed in 1.. {
        let shape = shape(seed);
        visit(shape, record(shape), wanted, &mut counts);
        if counts.states.len() >= wanted {
            break;
        }
    }
    counts.print();
}

/// Visits every crash state of a recorded workload; with a planted bug only as many as are wanted.
fn visit(shape: Shape, mut recorded: Recorded, wanted: usize, counts: &mut Counts) {
    let bounded = std::env::var_os("NEXUS_PLANTED").is_some();
    let options = CrashOptions { seed: shape.seed, ..CrashOptions::default() };
    // Equal disks recover equally.
    let mut known: HashMap<u64, Recovered> = HashMap::new();
    for state in CrashPoints::new(&recorded.trace, options) {
        counts.points += 1;
        let recovered = known.entry(state.fingerprint()).or_insert_with(|| {
            counts.states.insert(state.fingerprint());
            let thorough = counts.states.len().is_multiple_of(97);
            let recovered = recover(&shape, &mut recorded.lines, &state);
            let recovered = recovered.unwrap_or_else(|why| fail(&shape, &state, &why));
            if thorough {
                let line = &recorded.lines[recovered.lines[0]];
                counts.second_states += crash_again(&shape, line, recovered.count, &state);
            }
            recovered
        });
        let allows = |line: &usize| recorded.lines[*line].allows(recovered.count, state.after_op());
        let refusals = recovered.lines.iter().filter_map(|line| allows(line).err());
        let refusals: Vec<String> = refusals.collect();
        if refusals.len() == recovered.lines.len() {
            fail(&shape, &state, &refusals.join("; "));
        }
        if state.after_op() >= recorded.second && !recovered.has_second {
            fail(&shape, &state, "the second namespace is lost");
        }
        if bounded && counts.states.len() >= wanted {
            return;
        }
    }
}

/// What was found after a crash.
struct Recovered {
    /// How many events.
    count: u64,
    /// The lines that begin with them.
    lines: Vec<usize>,
    /// Whether the second namespace is there, with its event.
    has_second: bool,
}

fn fail(shape: &Shape, state: &CrashState, why: &str) -> ! {
    panic!("{shape:?}: {}: {why}", state.label())
}

/// Opens what a crash left, and checks it.
fn recover(shape: &Shape, lines: &mut [Line], state: &CrashState) -> Result<Recovered, String> {
    let disk = state.disk();
    let read_only = state.fingerprint().is_multiple_of(8).then(|| count_read_only(shape, &disk));
    let engine = shape.options(&disk).open(DIR).map_err(|error| format!("open: {error}"))?;
    let count = count_of(&engine);
    if let Some(seen) = read_only.flatten()
        && seen != Ok(count)
    {
        return Err(format!("{count} events, but read only {seen:?}"));
    }
    let mut why = String::new();
    let mut found = Vec::new();
    for (index, line) in lines.iter_mut().enumerate() {
        match line.check_content(&engine, count) {
            Ok(()) => found.push(index),
            Err(other) => why = other,
        }
    }
    let Some(first) = found.first() else { return Err(why) };
    let batch = lines[*first].batches.iter().rfind(|batch| batch.positions.end == count);
    if let Some(again) = batch.and_then(|batch| batch.again.clone()) {
        let answer = engine.append(again).wait().map_err(|error| format!("replay: {error}"))?;
        let last = answer.last().map(Position::get);
        if !answer.replayed || last != count.checked_sub(1) {
            return Err(format!("what was stored is stored again: {answer:?} of {count} events"));
        }
    }
    go_on(&engine, AFTERWARDS[0])?;
    let has_second = engine.namespace(SECOND).is_ok_and(|namespace| {
        namespace.read(Read::all()).into_iter().map(Result::unwrap).count() == 1
    });
    Ok(Recovered { count, lines: found, has_second })
}

/// How many events a reader finds that changes nothing; `None` where there is no store yet.
fn count_read_only(shape: &Shape, disk: &SimDisk) -> Option<Result<u64, String>> {
    let before = disk.fingerprint();
    let engine = match shape.options(disk).read_only(true).open(DIR) {
        Ok(engine) => engine,
        Err(nexus_engine::OpenError::NotFound { .. }) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    let all = engine.read(Read::all().system()).into_iter().find_map(Result::err);
    let count = count_of(&engine);
    drop(engine);
    assert_eq!(disk.fingerprint(), before, "a reader changes nothing");
    Some(all.map_or(Ok(count), |error| Err(error.to_string())))
}

fn count_of(engine: &Engine) -> u64 {
    engine.head().position.map_or(0, |position| position.get() + 1)
}

/// The store takes another append, and reads it back.
fn go_on(engine: &Engine, number: u64) -> Result<(), String> {
    let count = count_of(engine);
    let append = Append::to("afterwards").event(numbered(number, 100));
    let mut line = Line::new();
    line.submitted(&append, 0, false);
    let answer = engine.append(append).wait().map_err(|error| format!("append: {error}"))?;
    if answer.first().map(Position::get) != Some(count) || answer.replayed {
        return Err(format!("{answer:?} is not position {count}"));
    }
    let found = engine.read(Read::stream("afterwards").backwards().limit(1)).into_iter().next();
    let event = found.ok_or("the new event is not found")?.map_err(|error| error.to_string())?;
    line.events[0].revision = answer.streams[0].first_revision.get();
    check_event(&event, count, &line.events[0])
}

/// Stops the machine after every operation of a recovery and of what follows it. Answers how many
/// states there were.
fn crash_again(shape: &Shape, line: &Line, count: u64, state: &CrashState) -> usize {
    let disk = state.disk();
    let engine = shape.open(&disk);
    let mut line = line.settled(count);
    let append = Append::to("afterwards").event(numbered(AFTERWARDS[0], 5_000));
    let batch = line.submitted(&append, disk.op_count(), false);
    let answer = engine.append(append).wait().unwrap();
    line.acknowledged(batch, &answer, disk.op_count());
    engine.maintain().unwrap();
    engine.close().unwrap();
    let trace = disk.trace();
    let options = CrashOptions { tears_max: 16, random_states: 1, ..CrashOptions::default() };
    let mut known: HashMap<u64, u64> = HashMap::new();
    for second in CrashPoints::new(&trace, options) {
        let checked = (|| {
            let count = match known.get(&second.fingerprint()) {
                Some(count) => *count,
                None => recover_again(shape, &mut line, &second)?,
            };
            known.insert(second.fingerprint(), count);
            line.allows(count, second.after_op())
        })();
        if let Err(why) = checked {
            panic!("{shape:?}: {}: then {}: {why}", state.label(), second.label());
        }
    }
    known.len()
}

/// Opens what a crash of a recovery left, and checks it; answers how many events there are.
fn recover_again(shape: &Shape, line: &mut Line, state: &CrashState) -> Result<u64, String> {
    let opened = shape.options(&state.disk()).open(DIR);
    let engine = opened.map_err(|error| format!("open: {error}"))?;
    let count = count_of(&engine);
    line.check_content(&engine, count)?;
    go_on(&engine, AFTERWARDS[1])?;
    Ok(count)
}

#[test]
fn crash_points_with_four_frames_in_flight() {
    prove(STATES / 3, |seed| Shape {
        seed,
        depth: 4,
        frame_bytes: 4_000,
        data_bytes: 3_000,
        steps: 30,
        ..Shape::PLAIN
    });
}

#[test]
fn crash_points_with_one_large_frame_at_a_time() {
    prove(STATES / 6, |seed| Shape {
        seed: 1_000 + seed,
        depth: 1,
        frame_bytes: 24_000,
        data_bytes: 6_000,
        steps: 30,
        ..Shape::PLAIN
    });
}

#[test]
fn crash_points_where_frames_are_taken_back() {
    prove(STATES / 4, |seed| Shape {
        seed: 2_000 + seed,
        depth: 4,
        frame_bytes: 4_000,
        data_bytes: 4_000,
        steps: 24,
        cuts: true,
        ..Shape::PLAIN
    });
}

#[test]
fn crash_points_where_segments_are_rewritten() {
    prove(STATES / 4, |seed| Shape {
        seed: 3_000 + seed,
        depth: 2,
        frame_bytes: 8_000,
        data_bytes: 4_000,
        steps: 30,
        cuts: seed % 2 == 0,
        rewrites: true,
    });
}

/// A digest of all names below a folder, and of what the files hold.
fn content_of(disk: &SimDisk, folder: &Path) -> blake3::Hash {
    let mut entries = disk.list(folder).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut hasher = blake3::Hasher::new();
    for entry in entries {
        let path = folder.join(&entry.name);
        let content = match entry.is_dir {
            true => content_of(disk, &path),
            false => blake3::hash(&disk.read_back(&path)),
        };
        hasher.update(format!("{path:?} {} {content}", entry.is_dir).as_bytes());
    }
    hasher.finalize()
}

/// What `crash_states` counts rests on this.
#[test]
fn fingerprints_are_equal_where_disks_are_and_nowhere_else() {
    let shape = Shape {
        seed: 1,
        depth: 2,
        frame_bytes: 4_000,
        data_bytes: 3_000,
        steps: 20,
        ..Shape::PLAIN
    };
    let recorded = record(shape);
    let (mut by_fingerprint, mut by_content) = (HashMap::new(), HashMap::new());
    let options = CrashOptions { tears_max: 6, ..CrashOptions::default() };
    let states = CrashPoints::new(&recorded.trace, options);
    for (n, state) in states.enumerate().filter(|(n, _)| n % 3 == 0) {
        let content = content_of(&state.disk(), Path::new("/"));
        let fingerprint = state.fingerprint();
        assert_eq!(*by_fingerprint.entry(fingerprint).or_insert(content), content, "{n}");
        assert_eq!(*by_content.entry(content).or_insert(fingerprint), fingerprint, "{n}");
    }
    assert!(by_content.len() > 300, "{}", by_content.len());
}
