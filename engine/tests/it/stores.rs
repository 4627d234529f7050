//! Small stores to damage, and the judgement of what a damaged one serves.
//!
//! One rule, whatever the damage: an event is served as it was submitted, or it is reported as
//! damaged, and never left out in silence; and no byte of a segment is changed.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use nexus_engine::io::{Disk, SimDisk};
use nexus_engine::{Engine, OpenError};
use nexus_protocol::{Append, AppendError, Corruption, Position, Read, ReadError};

use crate::history::{Line, check_event, numbered};
use crate::workload::Shape;

/// The folder of the only namespace.
pub(crate) const NAMESPACE: &str = "/data/namespaces/default";

/// One frame at a time, one event a frame.
pub(crate) const SHAPE: Shape = Shape::PLAIN;

pub(crate) fn path_of(file: &str) -> String {
    format!("{NAMESPACE}/{file}")
}

/// Path of a segment's file.
pub(crate) fn segment(number: u64) -> String {
    path_of(&format!("segments/{number:010}.seg"))
}

/// Path of a segment's index file.
pub(crate) fn index_file(number: u64) -> String {
    path_of(&format!("index/{number:010}.idx"))
}

/// An append of one event, as the tests of failing disks make them.
pub(crate) fn one(number: u64) -> Append {
    Append::to("s-1").event(numbered(number, 300))
}

/// A store on a simulated disk, with what it holds.
pub(crate) struct Store {
    pub(crate) disk: SimDisk,
    pub(crate) engine: Engine,
    pub(crate) line: Line,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self::on(SimDisk::builder().depth(SHAPE.depth).build())
    }

    pub(crate) fn on(disk: SimDisk) -> Self {
        let engine = SHAPE.open(&disk);
        Self { disk, engine, line: Line::new() }
    }

    /// Appends `count` frames of one event, each of `data_bytes`.
    pub(crate) fn fill(&mut self, count: u64, data_bytes: usize) {
        for _ in 0..count {
            let number = self.line.end();
            // The key is what a frame holds outside its records.
            let append = Append::to(format!("s-{}", number % 3))
                .idempotency_key(format!("key-{number}"))
                .event(numbered(number, data_bytes));
            let batch = self.line.submitted(&append, self.disk.op_count(), false);
            let answer = self.engine.append(append).wait().unwrap();
            self.line.acknowledged(batch, &answer, self.disk.op_count());
            self.line.capture(&self.engine, batch);
        }
    }

    /// Appends and maintains, while the disk fails, until the log is poisoned, all is written, or
    /// `is_enough` says so of the disk after a step.
    pub(crate) fn append_until_poisoned(&mut self, mut is_enough: impl FnMut(&SimDisk) -> bool) {
        for step in 0..40_u64 {
            let append = one(self.line.end());
            let batch = self.line.submitted(&append, self.disk.op_count(), false);
            match self.engine.append(append).wait() {
                Ok(answer) => self.line.acknowledged(batch, &answer, self.disk.op_count()),
                Err(AppendError::Poisoned { .. }) => return,
                // Refused before it was written: it must never be there.
                Err(AppendError::Unavailable(_)) => {
                    self.line = self.line.up_to(self.line.batches[batch].positions.start);
                }
                Err(other) => panic!("{other:?}"),
            }
            if step % 3 == 2 {
                drop(self.engine.maintain());
            }
            self.disk.advance(Duration::from_millis(3));
            if is_enough(&self.disk) {
                return;
            }
        }
    }

    /// The disk after a clean shutdown, and what it holds.
    pub(crate) fn closed(self) -> (SimDisk, Line) {
        self.engine.close().unwrap();
        (self.disk, self.line)
    }

    /// The disk as it is when the process is killed, and what it holds.
    pub(crate) fn killed(self) -> (SimDisk, Line) {
        (self.disk.image(), self.line)
    }
}

/// Three sealed segments with index files, an active one with some frames, and a prepared one.
pub(crate) fn store_of_segments() -> Store {
    let mut store = Store::new();
    for _ in 0..5 {
        store.fill(11, 300);
        store.engine.maintain().unwrap();
    }
    assert_eq!(store.engine.stats().segments, 4);
    assert!(store.disk.metadata(Path::new(&index_file(3))).unwrap().is_some());
    assert!(store.disk.metadata(Path::new(&segment(5))).unwrap().is_some(), "one is prepared");
    store
}

/// All files below the data directory, but the lock, with their bytes.
pub(crate) fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec!["/data".to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in disk.list(Path::new(&folder)).unwrap() {
            let path = format!("{folder}/{}", entry.name);
            if entry.is_dir {
                folders.push(path);
            } else if entry.name != "lock" {
                let bytes = disk.read_back(&path);
                found.push((path, bytes));
            }
        }
    }
    found
}

/// What stands in the way of an open, if it is damage.
pub(crate) fn corruption(error: &OpenError) -> Option<&Corruption> {
    match error {
        OpenError::Corrupt { corruption } | OpenError::NodeState { corruption } => Some(corruption),
        _ => None,
    }
}

/// Reads the whole log around whatever is damaged. Answers the ranges of positions that are
/// reported as damaged; every other event is served, and is the one that was submitted.
pub(crate) fn read_around(engine: &Engine, line: &Line) -> Result<Vec<Range<u64>>, String> {
    let (mut next, mut holes) = (0, Vec::new());
    while next < line.end() {
        let read = Read::all().system().from_position(Position::new(next));
        let mut resume = None;
        for event in engine.read(read) {
            match event {
                Ok(event) => {
                    check_event(&event, next, &line.events[usize::try_from(next).unwrap()])?;
                    next += 1;
                }
                Err(ReadError::Corruption { position, resume_at, .. }) => {
                    if position.get() != next {
                        return Err(format!("position {next} is left out before {position}"));
                    }
                    resume = Some(resume_at.map_or(line.end(), Position::get));
                }
                Err(other) => return Err(other.to_string()),
            }
        }
        let Some(resume) = resume else { break };
        if resume <= next {
            return Err(format!("position {next} is damaged, and to be resumed at {resume}"));
        }
        holes.push(next..resume);
        next = resume;
    }
    if next < line.end() {
        return Err(format!("{next} of {} events are there, and nothing is said", line.end()));
    }
    Ok(holes)
}
