//! A workload that depends on its seed alone: every kind of write the store knows, on a simulated
//! disk, with a history of what was asked and when it was acknowledged.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use nexus_engine::io::SimDisk;
use nexus_engine::io::sim::Trace;
use nexus_engine::{Engine, EntryId, LocalReplicator, Options, PendingAppend, Replicator};
use nexus_protocol::{
    Append, AppendError, Clause, ExpectedRevision, FoldIdentity, QueryItem, Revision, Snapshot,
    StreamChange, StreamName,
};

use crate::history::{Line, TAG, numbered};
use crate::stores::path_of;

/// Where the store is.
pub(crate) const DIR: &str = "/data";

/// What differs between workloads besides their seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    /// Frames in flight at once.
    pub(crate) depth: usize,
    pub(crate) frame_bytes: usize,
    /// Largest data of one event.
    pub(crate) data_bytes: u64,
    /// How many steps.
    pub(crate) steps: u64,
    /// Whether frames are taken back, as the replication layer does.
    pub(crate) cuts: bool,
    /// Whether sealed segments are rewritten into blocks.
    pub(crate) rewrites: bool,
}

impl Shape {
    /// One small frame at a time, and nothing besides.
    pub(crate) const PLAIN: Self = Self {
        seed: 1,
        depth: 1,
        frame_bytes: 1,
        data_bytes: 0,
        steps: 0,
        cuts: false,
        rewrites: false,
    };

    pub(crate) fn options(&self, disk: &SimDisk) -> Options {
        Engine::options()
            .disk(Arc::new(disk.clone()))
            .threads(false)
            .segment_bytes(65536, 65536)
            .frame_bytes(self.frame_bytes)
            .compress(self.rewrites)
            .frames_kept_bytes(0)
    }

    pub(crate) fn open(&self, disk: &SimDisk) -> Engine {
        self.options(disk).open(DIR).unwrap()
    }
}

/// What a workload left.
pub(crate) struct Recorded {
    pub(crate) trace: Trace,
    /// The courses that the log took; where nothing was taken back, one.
    pub(crate) lines: Vec<Line>,
    /// After how many operations a second namespace with one event was acknowledged.
    pub(crate) second: usize,
}

/// The name of the second namespace.
pub(crate) const SECOND: &str = "second";

/// Small, and the same on every machine.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// A leader whose followers are slow: nothing is committed.
#[derive(Debug)]
pub(crate) struct Slow;

impl Replicator for Slow {
    fn next_entry(&mut self, last: EntryId) -> EntryId {
        EntryId { term: last.term, index: last.index + 1 }
    }

    fn on_durable(&mut self, _: EntryId) -> Option<EntryId> {
        None
    }
}

/// A workload under way.
struct Run {
    shape: Shape,
    disk: SimDisk,
    engine: Engine,
    chance: Chance,
    line: Line,
    past: Vec<Line>,
    /// Number of the next event.
    next: u64,
}

/// Runs a workload, and gives back all that it did to the disk.
pub(crate) fn record(shape: Shape) -> Recorded {
    let disk = SimDisk::builder().seed(shape.seed).depth(shape.depth).build();
    let engine = shape.open(&disk);
    let (chance, line) = (Chance::new(shape.seed), Line::new());
    let mut run = Run { shape, disk, engine, chance, line, past: Vec::new(), next: 0 };
    let mut second = 0;
    for step in 0..shape.steps {
        run.step(step);
        run.disk.advance(Duration::from_millis(7));
        if step == shape.steps / 2 {
            run.reopen();
        }
        if shape.cuts && step % 9 == 8 {
            run.cut();
        }
        if step == 2 {
            let namespace = run.engine.create_namespace(SECOND).unwrap();
            namespace.append(Append::to("s-1").event(numbered(0, 100))).wait().unwrap();
            second = run.disk.op_count();
        }
    }
    run.leave_in_flight();
    assert!(run.engine.stats().segments > 3, "{:?}", run.engine.stats());
    let index_files = nexus_engine::io::Disk::list(&run.disk, Path::new(&path_of("index")));
    assert!(index_files.unwrap().len() >= 2, "segments are sealed");
    let segments = nexus_engine::io::Disk::list(&run.disk, Path::new(&path_of("segments")));
    let blocks = segments.unwrap().iter().filter(|it| it.name.ends_with(".g1.seg")).count();
    assert_eq!(blocks >= 2, shape.rewrites, "{blocks} segments were rewritten");
    let trace = run.disk.trace();
    // What is still in flight is not waited for.
    drop(run.engine);
    run.past.push(run.line);
    Recorded { trace, lines: run.past, second }
}

impl Run {
    fn step(&mut self, step: u64) {
        match (step, self.chance.below(16)) {
            (3, _) | (_, 0) => self.delete(),
            (5, _) | (_, 1) => self.limit(),
            (7, _) | (_, 2) => self.snapshot(),
            (9, _) | (_, 3) => self.tombstone(step),
            (11, _) | (_, 4 | 5) => self.many_streams(),
            (13, _) | (_, 6 | 7) => self.refused(),
            (_, 8..12) => self.pipelined(),
            _ => self.single(),
        }
        if step % 4 == 3 {
            self.engine.maintain().unwrap();
        }
    }

    fn data_bytes(&mut self) -> usize {
        usize::try_from(self.chance.below(self.shape.data_bytes)).unwrap()
    }

    /// An append to `stream` of so many new events.
    fn append(&mut self, stream: &str, events: u64) -> Append {
        let mut append = Append::to(stream);
        for _ in 0..events {
            let event = numbered(self.next, self.data_bytes());
            append = append.event(event);
            self.next += 1;
        }
        append
    }

    /// Submits an append that must be written. `again`: asked again, it is a replay.
    fn submit(&mut self, append: Append, again: bool) -> (usize, PendingAppend) {
        let batch = self.line.submitted(&append, self.disk.op_count(), again);
        (batch, self.engine.append(append))
    }

    fn finish(&mut self, (batch, pending): (usize, PendingAppend)) {
        let answer = pending.wait().unwrap();
        self.line.acknowledged(batch, &answer, self.disk.op_count());
        self.line.capture(&self.engine, batch);
    }

    fn write(&mut self, append: Append) {
        let pending = self.submit(append, true);
        self.finish(pending);
    }

    /// What the store appends by itself.
    fn change(&mut self, change: impl FnOnce(&Engine)) {
        let submitted = self.disk.op_count();
        change(&self.engine);
        self.line.changed(&self.engine, submitted, self.disk.op_count());
    }

    fn stream(&mut self) -> String {
        format!("s-{}", self.chance.below(4))
    }

    fn single(&mut self) {
        let (stream, events) = (self.stream(), 1 + self.chance.below(3));
        let append = self.append(&stream, events);
        self.write(append);
    }

    fn many_streams(&mut self) {
        let mut append = self.append("s-0", 2);
        for stream in ["m-1", "m-2"] {
            append.streams.extend(self.append(stream, 1).streams);
        }
        self.write(append);
    }

    /// Several frames in flight, among them answers that depend on what is in flight.
    fn pipelined(&mut self) {
        let mut pending = Vec::new();
        let stream = self.stream();
        let mut first = None;
        for _ in 0..3 + self.chance.below(6) {
            let append = self.append(&stream, 1);
            first.get_or_insert_with(|| append.clone());
            pending.push(self.submit(append, true));
        }
        let first = first.expect("there are three at least");
        let replay = self.engine.append(first);
        let conflict = self.append(&stream, 1).no_stream();
        let conflict = self.engine.append(conflict);
        let written = pending[0].0;
        pending.into_iter().for_each(|it| self.finish(it));
        let replay = replay.wait().unwrap();
        let original = self.line.batches[written].positions.start;
        assert_eq!((replay.first().unwrap().get(), replay.replayed), (original, true));
        assert!(matches!(conflict.wait(), Err(AppendError::Conflict(_))));
    }

    /// Appends that must be refused, and leave nothing.
    fn refused(&mut self) {
        self.write_tagged();
        let last = self.line.end() - 1;
        let red = || QueryItem::tags([TAG]);
        let after = last.checked_sub(1).map(nexus_protocol::Position::new);
        let bounded = self.append("s-1", 1).boundary(red(), after);
        assert!(
            matches!(&self.engine.append(bounded).wait(), Err(AppendError::Conflict(it))
                if it.clause == Clause::Boundary),
            "the event at {last} is inside the boundary"
        );
        let absent = self.append("s-1", 1).absent(red());
        assert!(matches!(self.engine.append(absent).wait(), Err(AppendError::Conflict(_))));
        let stale = self.append("s-1", 1).at(Revision::new(1_000_000));
        assert!(matches!(self.engine.append(stale).wait(), Err(AppendError::Conflict(_))));
        let mut other = numbered(self.next - 1, 5);
        other.id = self.line.events.last().unwrap().given.as_ref().unwrap().id;
        let reused = self.engine.append(Append::to("s-1").event(other)).wait();
        assert!(matches!(reused, Err(AppendError::IdReused { .. })), "{reused:?}");
        let inside = nexus_protocol::Position::new(last);
        let append = self.append("s-1", 1).boundary(red(), Some(inside));
        self.write(append);
    }

    fn write_tagged(&mut self) {
        self.next = self.next.next_multiple_of(3);
        let append = self.append("s-1", 1);
        self.write(append);
    }

    fn delete(&mut self) {
        let append = self.append("d-1", 2);
        self.write(append);
        let delete = |engine: &Engine| {
            engine.delete_stream("d-1", ExpectedRevision::Any).unwrap();
        };
        self.change(delete);
        if self.chance.below(2) == 0 {
            let append = self.append("d-1", 1).no_stream();
            let pending = self.submit(append, false);
            self.finish(pending);
        }
    }

    fn limit(&mut self) {
        let max = 1 + self.chance.below(4);
        self.change(|engine| {
            let change = StreamChange { max_count: Some(Some(max)), ..StreamChange::default() };
            engine.set_stream("l-1", change).unwrap();
        });
        for _ in 0..2 {
            let append = self.append("l-1", 1);
            let pending = self.submit(append, false);
            self.finish(pending);
        }
    }

    fn snapshot(&mut self) {
        let state = vec![7; self.data_bytes()].into();
        self.change(|engine| {
            let snapshot = Snapshot {
                stream: StreamName::new("s-1").unwrap(),
                revision: Revision::ZERO,
                fold: FoldIdentity::default(),
                content_type: String::new(),
                state,
            };
            engine.save_snapshot(snapshot).unwrap();
        });
    }

    fn tombstone(&mut self, step: u64) {
        let stream = format!("t-{step}");
        let append = self.append(&stream, 1);
        self.write(append);
        self.change(|engine| {
            engine.tombstone_stream(&stream, ExpectedRevision::Any).unwrap();
        });
        let more = self.append(&stream, 1);
        assert!(matches!(self.engine.append(more).wait(), Err(AppendError::Deleted { .. })));
    }

    /// A clean shutdown, and a start.
    fn reopen(&mut self) {
        // The old engine must let go of the directory first.
        let parked = Engine::in_memory();
        std::mem::replace(&mut self.engine, parked).close().unwrap();
        self.engine = self.shape.open(&self.disk);
        let end = self.line.end();
        self.line.check_content(&self.engine, end).unwrap();
    }

    /// Frames are written, become durable, are not committed, and are taken back. The log goes on
    /// with others in their place.
    fn cut(&mut self) {
        let seams = self.engine.seams();
        let (kept, end) = (seams.last_entry(), self.line.end());
        seams.set_replicator(Box::new(Slow));
        let mut pending = Vec::new();
        for _ in 0..2 + self.chance.below(18) {
            let stream = self.stream();
            let append = self.append(&stream, 1);
            let (batch, future) = self.submit(append, true);
            let mut future = Box::pin(future);
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending(), "nothing is committed");
            // Not answered, but durable: a crash must keep it.
            self.line.batches[batch].acknowledged = Some(self.disk.op_count());
            pending.push(future);
        }
        let mut next = self.line.up_to(end);
        next.operations = self.disk.op_count()..usize::MAX;
        seams.truncate_tail(kept).unwrap();
        self.line.operations.end = self.disk.op_count();
        seams.set_replicator(Box::new(LocalReplicator));
        self.past.push(std::mem::replace(&mut self.line, next));
        self.line.check_content(&self.engine, end).unwrap();
    }

    /// Ends with frames in flight that nobody waits for.
    fn leave_in_flight(&mut self) {
        let pending: Vec<_> = (0..6)
            .map(|_| {
                let append = self.append("s-3", 1);
                self.submit(append, true)
            })
            .collect();
        for it in pending.into_iter().take(2) {
            self.finish(it);
        }
    }
}
