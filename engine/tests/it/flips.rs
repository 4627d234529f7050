//! Every bit of a store is turned, one at a time: the store says which file is damaged, or nothing
//! that it serves is wrong. Nothing acknowledged is ever cut away because of it.
//!
//! The padding of frames and the space that is ready for later ones belong to nothing, and are
//! sampled; `NEXUS_CRASH_STATES` turns all of their bits too.

use std::collections::HashMap;

use nexus_engine::io::{ALIGNMENT, SimDisk};
use nexus_engine::{Engine, OpenError};
use nexus_protocol::{Position, Read, ReadError};

use crate::history::{Line, id_of};
use crate::stores::{SHAPE, Store, corruption, files, index_file, path_of, read_around, segment};
use crate::workload::DIR;

/// What may become of a turned bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    /// Opening says which file is damaged.
    Refused,
    /// It opens, and the events of one frame at most are reported as damaged when they are read.
    Served,
    /// It opens, and every event of the sealed segment is reported as damaged, and no other.
    Fenced,
    /// It opens, and the last frame, of which nothing says that it was durable, is cut as torn.
    Torn,
}

/// Positions of the sealed segment of [`store`].
const SEALED: std::ops::Range<u64> = 0..14;

/// A store, and how many bits of it were turned.
struct Turned {
    disk: SimDisk,
    line: Line,
    /// Whether the last frame may be taken for a torn tail: the store was not closed, and no later
    /// frame says that it was durable.
    torn_tail: bool,
    /// How many events are damaged together: those of a frame, or of a block.
    together: u64,
    flips: u64,
}

impl Turned {
    fn new((disk, line): (SimDisk, Line)) -> Self {
        Self { disk, line, torn_tail: false, together: 1, flips: 0 }
    }

    /// Turns each of these bits of a file, and hands over what came of it.
    fn each(
        &mut self,
        file: &str,
        bits: impl Iterator<Item = usize>,
        mut check: impl FnMut(usize, Outcome) -> bool,
    ) {
        let segments = segments(&self.disk);
        for bit in bits {
            self.flips += 1;
            let outcome = self.turn(&segments, file, bit);
            let outcome = outcome.unwrap_or_else(|why| panic!("{file}, bit {bit}: {why}"));
            assert!(check(bit, outcome), "{file}, byte {} bit {}: {outcome:?}", bit / 8, bit % 8);
        }
    }

    fn turn(&self, segments: &[File], file: &str, bit: usize) -> Result<Outcome, String> {
        let disk = self.disk.image();
        disk.flip_bit(file, (bit / 8) as u64, u32::try_from(bit % 8).unwrap());
        match SHAPE.options(&disk).open(DIR) {
            Err(OpenError::NewerFormat { .. }) if file.ends_with("manifest") => {
                Ok(Outcome::Refused)
            }
            Err(error) => {
                let named = corruption(&error).map(|it| it.file.clone());
                if named.as_deref() != Some(file) {
                    return Err(error.to_string());
                }
                check_unchanged(&disk, segments, file, bit, false)?;
                Ok(Outcome::Refused)
            }
            Ok(engine) => {
                let end = self.line.end();
                let torn = engine.head().position.is_some_and(|last| last.get() + 2 == end);
                if torn && self.torn_tail {
                    read_around(&engine, &self.line.up_to(end - 1))?;
                    return Ok(Outcome::Torn);
                }
                let holes = read_around(&engine, &self.line)?;
                check_unchanged(&disk, segments, file, bit, true)?;
                if engine.stats().fenced_segments > 0 {
                    let first = named(&engine, holes[0].start)?;
                    let alone =
                        first == file && holes == [SEALED] && engine.event_by_id(id_of(15)).is_ok();
                    return if alone {
                        Ok(Outcome::Fenced)
                    } else {
                        Err(format!("{holes:?} of {first}"))
                    };
                }
                // What a block or a frame holds.
                if holes.iter().map(|hole| hole.end - hole.start).sum::<u64>() > self.together {
                    return Err(format!("{holes:?} are damaged"));
                }
                for hole in holes {
                    let named = named(&engine, hole.start)?;
                    if named != file {
                        return Err(format!("{hole:?} is said to be damaged in {named}"));
                    }
                }
                Ok(Outcome::Served)
            }
        }
    }
}

/// The file that is named as damaged where `position` is read.
fn named(engine: &Engine, position: u64) -> Result<String, String> {
    let read = Read::all().system().from_position(Position::new(position)).limit(1);
    match engine.read(read).into_iter().next() {
        Some(Err(ReadError::Corruption { corruption, .. })) => Ok(corruption.file),
        other => Err(format!("{other:?}")),
    }
}

type File = (String, Vec<u8>);

fn segments(disk: &SimDisk) -> Vec<File> {
    files(disk).into_iter().filter(|(path, _)| path.ends_with(".seg")).collect()
}

/// The segments are what they were, but for the bit that was turned in `file`, which may have been
/// turned back: space that is ready for frames is cleaned of what does not belong there.
fn check_unchanged(
    disk: &SimDisk,
    segments: &[File],
    file: &str,
    bit: usize,
    turned_back: bool,
) -> Result<(), String> {
    for (path, before) in segments {
        let mut after = disk.read_back(path);
        if path == file && !(turned_back && after[bit / 8] == before[bit / 8]) {
            after[bit / 8] ^= 1 << (bit % 8);
        }
        if after != *before {
            return Err(format!("{path} was changed"));
        }
    }
    Ok(())
}

impl Drop for Turned {
    fn drop(&mut self) {
        println!("count: bits_flipped {}", self.flips);
    }
}

/// One sealed segment with its index file, an active one with three frames, a prepared one.
fn store() -> Store {
    let mut store = Store::new();
    store.fill(16, 24);
    store.engine.maintain().unwrap();
    store.fill(1, 24);
    store
}

/// One bit in so many, where not all are wanted.
fn sparse(all: impl Iterator<Item = usize>, one_in: usize) -> impl Iterator<Item = usize> {
    let thorough = std::env::var_os("NEXUS_CRASH_STATES").is_some();
    all.step_by(if thorough { 1 } else { one_in })
}

/// Every bit, but with a planted bug, when one in a few will do.
fn dense(all: impl Iterator<Item = usize>) -> impl Iterator<Item = usize> {
    all.step_by(if std::env::var_os("NEXUS_PLANTED").is_some() { 5 } else { 1 })
}

fn all_bits(disk: &SimDisk, file: &str) -> std::ops::Range<usize> {
    0..disk.read_back(file).len() * 8
}

/// The bits of each frame of a segment, header and body; padding is left out.
fn frames(disk: &SimDisk, file: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = disk.read_back(file);
    let mut found = Vec::new();
    let mut at = ALIGNMENT;
    while at < bytes.len() && bytes[at] != 0 {
        // Where the header keeps the length of the frame as it is stored.
        let length = bytes[at + 64..at + 68].try_into().unwrap();
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap();
        found.push(at * 8..(at + length) * 8);
        at = (at + length).next_multiple_of(ALIGNMENT);
    }
    found
}

/// Bits of a segment behind its header that are of no frame.
fn gaps(disk: &SimDisk, file: &str) -> impl Iterator<Item = usize> {
    let frames = frames(disk, file);
    let all = all_bits(disk, file).skip(ALIGNMENT * 8);
    all.filter(move |bit| !frames.iter().any(|frame| frame.contains(bit)))
}

#[test]
fn flips_of_the_active_segment_are_all_seen() {
    let mut store = Turned::new(store().closed());
    let disk = store.disk.clone();
    let frames = frames(&disk, &segment(2));
    assert_eq!(frames.len(), 3);
    let bits = dense(frames.into_iter().flatten());
    store.each(&segment(2), bits, |_, outcome| outcome == Outcome::Refused);
    for file in [segment(2), segment(3)] {
        store.each(&file, sparse(gaps(&disk, &file), 97), |_, outcome| outcome == Outcome::Served);
    }
}

#[test]
fn flips_of_a_segments_header_are_all_seen() {
    let mut store = Turned::new(store().closed());
    for number in 1..=3 {
        let file = segment(number);
        let wanted = if number == 1 { Outcome::Fenced } else { Outcome::Refused };
        let seen = |_, outcome| outcome == wanted;
        store.each(&file, dense((0..100 * 8).chain(4090 * 8..4096 * 8)), seen);
        store.each(&file, sparse(100 * 8..4090 * 8, 41), seen);
    }
}

#[test]
fn flips_of_a_sealed_segment_are_reported_when_they_are_read() {
    let mut store = Turned::new(store().closed());
    let disk = store.disk.clone();
    let file = segment(1);
    let frames = frames(&disk, &file);
    assert_eq!(frames.len(), 15);
    let served = |_, outcome| outcome == Outcome::Served;
    store.each(&file, dense(frames.clone().into_iter().flatten()), served);
    store.each(&file, sparse(gaps(&disk, &file), 97), served);
    // Where the segment itself must be read, nothing passes.
    store.disk.remove_file(index_file(1));
    let seen = |_, outcome| outcome == Outcome::Refused;
    store.each(&file, sparse(frames.into_iter().flatten(), 7), seen);
}

#[test]
fn flips_of_a_rewritten_segment_are_reported_when_they_are_read_or_fence_it() {
    let (disk, line) = store().closed();
    let engine = SHAPE.options(&disk).compress(true).frames_kept_bytes(0).open(DIR).unwrap();
    engine.maintain().unwrap();
    engine.close().unwrap();
    let mut store = Turned::new((disk.image(), line));
    store.together = SEALED.end - SEALED.start;
    let file = path_of("segments/0000000001.g1.seg");
    let length = store.disk.read_back(&file).len();
    // The footer at the end says where the directory of frames is, and behind it the table of blocks.
    let mut counts = HashMap::new();
    let mut count = |_, outcome: Outcome| {
        *counts.entry(outcome).or_insert(0_u64) += 1;
        outcome == Outcome::Fenced || outcome == Outcome::Served
    };
    store.each(&file, dense(0..length * 8), &mut count);
    assert!(counts[&Outcome::Fenced] > 1_000 && counts[&Outcome::Served] > 1_000, "{counts:?}");
    // Where the segment itself must be read, nothing passes: block, directory, table, and footer.
    store.disk.remove_file(index_file(1));
    let seen = |_, outcome| outcome == Outcome::Refused;
    store.each(&file, sparse(ALIGNMENT * 8..length * 8, 3), seen);
}

#[test]
fn flips_of_the_manifest_are_all_seen() {
    let mut store = Turned::new(store().closed());
    let file = path_of("manifest");
    let bits = dense(all_bits(&store.disk, &file));
    store.each(&file, bits, |_, outcome| outcome == Outcome::Refused);
}

#[test]
fn flips_of_node_state_do_no_harm() {
    let mut store = Turned::new(store().closed());
    let file = path_of("node-state");
    let bits = dense(all_bits(&store.disk, &file));
    store.each(&file, bits, |_, outcome| outcome == Outcome::Served);
}

#[test]
fn flips_of_an_index_file_do_no_harm() {
    let mut store = Turned::new(store().closed());
    let file = index_file(1);
    let bits = dense(all_bits(&store.disk, &file));
    store.each(&file, bits, |_, outcome| outcome == Outcome::Served);
}

#[test]
fn flips_of_a_store_that_was_not_closed_cost_at_most_its_last_frame() {
    let mut unclosed = store();
    // Durable up to here, says node-state; of what follows, only the next frame says it.
    unclosed.engine.maintain().unwrap();
    unclosed.fill(4, 24);
    let mut store = Turned::new(unclosed.killed());
    store.torn_tail = true;
    let disk = store.disk.clone();
    let frames = frames(&disk, &segment(2));
    let last = frames.last().unwrap().clone();
    let before = frames.into_iter().rev().skip(1).flatten();
    store.each(&segment(2), dense(before), |_, outcome| outcome == Outcome::Refused);
    store.each(&segment(2), dense(last), |_, outcome| outcome == Outcome::Torn);
    let file = path_of("node-state");
    store.each(&file, sparse(all_bits(&disk, &file), 11), |_, outcome| outcome == Outcome::Served);
}
