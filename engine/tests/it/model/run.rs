//! One seed: what is asked of the engine and of the model, step by step.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nexus_engine::io::{Disk, SimDisk};
use nexus_engine::{Engine, StreamList};
use nexus_protocol::{
    Append, AppendError, AsOf, Direction, EventData, ExpectedRevision, FoldIdentity, From,
    Position, Read, Revision, SNAPSHOT_TAKEN, Snapshot, SnapshotAt, SnapshotMetadata, StreamChange,
    StreamName, Timestamp,
};

use super::Counts;
use super::compare::{self, kind_of, same_answer};
use super::generate::Generator;
use super::naive::{Answer, Naive};
use super::watch::Watch;
use crate::workload::DIR;

/// How many subscriptions there are at once.
const WATCHES: usize = 6;
/// Of how many steps a failure tells.
const TOLD: usize = 12;
/// And how much of each.
const TOLD_CHARS: usize = 1200;

/// What differs between seeds besides chance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) compress: bool,
    pub(crate) depth: usize,
    pub(crate) frame_bytes: usize,
}

impl Shape {
    pub(crate) fn open(&self, disk: &SimDisk) -> Engine {
        let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
        let options =
            options.segment_bytes(65536, 65536).compress(self.compress).frames_kept_bytes(0);
        options.frame_bytes(self.frame_bytes).open(DIR).unwrap()
    }
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) shape: Shape,
    pub(crate) disk: SimDisk,
    pub(crate) engine: Engine,
    pub(crate) naive: Naive,
    pub(crate) generator: Generator,
    pub(crate) counts: Counts,
    pub(crate) watches: Vec<Watch>,
    step: u64,
    told: VecDeque<String>,
}

/// Says which seed and step it was when a comparison fails.
impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, step) = (self.shape.seed, self.step);
            self.told.iter().for_each(|told| eprintln!("{told}"));
            eprintln!("seed {seed} failed at step {step}; to run it alone:");
            eprintln!("NEXUS_MODEL_SEED={seed} cargo test -p nexus-engine --test it model");
        }
    }
}

impl Run {
    pub(crate) fn new(shape: Shape) -> Self {
        let disk = SimDisk::builder().seed(shape.seed).depth(shape.depth).recording(false).build();
        let engine = shape.open(&disk);
        let naive = Naive::new(engine.log_id(), disk.now().as_micros());
        Self {
            generator: Generator::new(shape.seed),
            counts: Counts::default(),
            watches: Vec::new(),
            step: 0,
            told: VecDeque::new(),
            shape,
            disk,
            engine,
            naive,
        }
    }

    /// Goes through all steps.
    pub(crate) fn run(mut self, steps: u64, counts: &mut Counts) {
        for step in 0..steps {
            self.step = step;
            self.one();
        }
        for index in 0..self.watches.len() {
            self.look_at_watch(index, u64::MAX);
        }
        self.count_watches();
        self.counts.add("append", "replayed, own in the way", self.naive.own_replays.get());
        compare::everything(&self.engine, &mut self.naive);
        let idle = Engine::in_memory();
        std::mem::replace(&mut self.engine, idle).close().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let report = nexus_engine::verify_on(&disk, DIR.as_ref(), |_| ()).unwrap();
        assert!(report.ok && report.events == self.naive.next(), "{report:?}");
        for ((group, what), times) in &self.counts.of {
            counts.add(group, what, *times);
        }
    }

    /// Notes what is done now, for when it fails.
    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.told.len() == TOLD {
            self.told.pop_front();
        }
        let mut told = format!("{:>6}: {}", self.step, what());
        if let Some((end, _)) = told.char_indices().nth(TOLD_CHARS) {
            told.truncate(end);
        }
        self.told.push_back(told);
    }

    fn one(&mut self) {
        let kind = match self.generator.below(1000) {
            0..300 => "append",
            300..360 => "batch",
            360..610 => "read",
            610..710 => "look",
            710..830 => "watch",
            830..870 => "settings",
            870..885 => "delete",
            885..886 => "tombstone",
            886..915 => "snapshot",
            915..970 => "clock",
            970..990 => "maintain",
            990..993 => "reopen",
            993..997 => "crash",
            997 => "crash in maintenance",
            _ => "crash of a failed sync",
        };
        self.counts.did("step", kind);
        match kind {
            "append" => self.append(),
            "batch" => self.batch(),
            "read" => self.read(),
            "look" => self.look(),
            "watch" => self.watch(),
            "settings" => self.settings(),
            "delete" => self.delete(false),
            "tombstone" => self.delete(true),
            "snapshot" => self.snapshot(),
            "clock" => self.clock(),
            "maintain" => self.maintain(),
            "reopen" => self.reopen(),
            "crash" => self.crash(),
            "crash in maintenance" => self.crash_in_maintenance(),
            _ => self.fail_sync(),
        }
        assert_eq!(compare::head(&self.engine), self.naive.next(), "the end of the log");
    }

    pub(crate) fn count_append(&mut self, append: &Append, answer: &Answer) {
        let counts = &mut self.counts;
        counts.did("append", kind_of(answer));
        for stream in &append.streams {
            let head = self.naive.now(&stream.stream).count;
            counts.did(
                "expected",
                match stream.expected {
                    ExpectedRevision::Any => "any",
                    ExpectedRevision::NoStream => "no stream",
                    ExpectedRevision::Exists => "exists",
                    ExpectedRevision::Exact(at) if at.get() > head + 1000 => "future",
                    ExpectedRevision::Exact(_) => "exact",
                },
            );
            if stream.events.is_empty() {
                counts.did("expected", "checked only");
            }
        }
        let shapes = [
            (append.boundary.is_some(), "boundary"),
            (append.absence.is_some(), "absence"),
            (append.idempotency_key.is_some(), "key"),
            (append.event_count() == 0, "no events"),
            (append.streams.len() > 1, "many streams"),
        ];
        for (_, what) in shapes.into_iter().filter(|(has, _)| *has) {
            counts.did("condition", what);
        }
    }

    /// Reads back what an append wrote: the ids that the store made are learned.
    pub(crate) fn read_back(&mut self, answer: &Answer) {
        if let Ok(appended) = answer
            && let (Some((first, last)), false) = (appended.positions, appended.replayed)
        {
            let limit = last.get() - first.get() + 1;
            let read = Read::all().system().from_position(first).as_of(AsOf::Position(last));
            compare::read(&self.engine, &mut self.naive, &read.limit(limit));
        }
    }

    fn append(&mut self) {
        let append = self.generator.append(&self.naive);
        self.tell(|| format!("{append:?}"));
        let wanted = self.naive.append(&append);
        self.count_append(&append, &wanted);
        let answer = self.engine.append(append).wait();
        same_answer(&answer, &wanted);
        self.read_back(&wanted);
    }

    /// Several are submitted before any is waited for.
    fn batch(&mut self) {
        let mut pending = VecDeque::new();
        for _ in 0..2 + self.generator.below(8) {
            let append = self.generator.append(&self.naive);
            self.tell(|| format!("batch: {append:?}"));
            let wanted = self.naive.append(&append);
            self.count_append(&append, &wanted);
            pending.push_back((self.engine.append(append), wanted));
        }
        let mut answered = Vec::new();
        // The last one is waited for in any case, so that none is left when the clock moves.
        let (last, wanted) = pending.pop_back().expect("there are two at least");
        let queued = !matches!(wanted, Err(AppendError::Invalid(_)));
        for (append, wanted) in pending {
            if queued && self.generator.one_in(8) {
                self.counts.did("append", "not awaited");
                drop(append);
            } else if self.generator.one_in(2) {
                same_answer(&append.wait(), &wanted);
            } else {
                answered.push((append, wanted.clone()));
            }
        }
        same_answer(&last.wait(), &wanted);
        let mut done = Vec::new();
        for (append, wanted) in answered {
            same_answer(&append.wait(), &wanted);
            done.push(wanted);
        }
        // Only now: a later one may hide what an earlier one wrote, and the last one, where it was refused at once, has
        // waited for none of them.
        for wanted in done {
            self.read_back(&wanted);
        }
    }

    fn read(&mut self) {
        let read = self.generator.read(&self.naive);
        self.tell(|| format!("{read:?}"));
        let shapes = [
            (read.stream.is_some(), "stream"),
            (read.stream.is_none(), "log"),
            (read.direction == Direction::Backwards, "backwards"),
            (matches!(read.from, From::Revision(_)), "from revision"),
            (matches!(read.from, From::Position(_)), "from position"),
            (matches!(read.from, From::Time(_)), "from time"),
            (matches!(read.as_of, Some(AsOf::Position(_))), "as of position"),
            (matches!(read.as_of, Some(AsOf::Revision(_))), "as of revision"),
            (matches!(read.as_of, Some(AsOf::Recorded(_))), "as of recorded"),
            (!read.filter.is_all(), "filter"),
            (read.limit.is_some(), "limit"),
            (read.system, "system"),
        ];
        for (_, what) in shapes.into_iter().filter(|(has, _)| *has) {
            self.counts.did("read", what);
        }
        if compare::read(&self.engine, &mut self.naive, &read) > 0 {
            self.counts.did("read", "with events");
        }
    }

    fn look(&mut self) {
        let stream = self.generator.any_stream(&self.naive);
        match self.generator.below(4) {
            0 => {
                self.counts.did("look", "by id");
                let at = self.generator.stored(&self.naive);
                let known = at.and_then(|at| self.naive.log[at].event.id);
                let id = known.unwrap_or_else(|| crate::history::id_of(1 << 50));
                self.tell(|| format!("event {id}"));
                if compare::by_id(&self.engine, &mut self.naive, id) {
                    self.counts.did("look", "id found");
                }
            }
            1 => {
                self.counts.did("look", "stream");
                self.tell(|| format!("stream {stream}"));
                compare::stream_info(&self.engine, &self.naive, &stream);
            }
            2 => {
                self.counts.did("look", "streams");
                let list = StreamList {
                    prefix: stream.chars().take(self.generator.below(4) as usize).collect(),
                    category: self.generator.one_in(4).then(|| "order".to_owned()),
                    after: self.generator.one_in(3).then_some(stream),
                    limit: 1 + self.generator.below(40) as usize,
                    system: self.generator.one_in(3),
                    deleted: self.generator.one_in(3),
                };
                self.tell(|| format!("{list:?}"));
                compare::streams(&self.engine, &self.naive, &list);
            }
            _ => {
                self.counts.did("look", "snapshots");
                let stream = self.generator.stream();
                let at = match self.generator.below(3) {
                    0 => SnapshotAt::Latest,
                    1 => SnapshotAt::Revision(Revision::new(self.generator.below(60))),
                    _ => {
                        let at = self.generator.stored(&self.naive).unwrap_or(0);
                        SnapshotAt::Position(Position::new(at as u64))
                    }
                };
                let fold = self.fold();
                self.tell(|| format!("snapshot of {stream} {at:?} {fold:?}"));
                if compare::snapshots(&self.engine, &self.naive, &stream, at, fold) {
                    self.counts.did("look", "snapshot found");
                }
            }
        }
    }

    fn watch(&mut self) {
        let count = self.watches.len();
        if count < WATCHES || self.generator.one_in(12) {
            let request = self.generator.subscribe(&self.naive);
            self.tell(|| format!("{request:?}"));
            let watch = Watch::new(&self.engine, &self.naive, request);
            if count < WATCHES {
                self.watches.push(watch);
            } else {
                let index = self.generator.below(count as u64) as usize;
                self.count_watch(index);
                self.watches[index] = watch;
            }
        } else {
            let index = self.generator.below(count as u64) as usize;
            let items = if self.generator.one_in(2) { u64::MAX } else { self.generator.below(40) };
            self.look_at_watch(index, items);
        }
    }

    fn look_at_watch(&mut self, index: usize, items: u64) {
        self.tell(|| format!("{items} items of subscription {index}"));
        let how = self.generator.below(3);
        self.watches[index].take(&mut self.naive, items, how);
    }

    pub(crate) fn count_watches(&mut self) {
        (0..self.watches.len()).for_each(|index| self.count_watch(index));
    }

    fn count_watch(&mut self, index: usize) {
        let delivered = std::mem::take(&mut self.watches[index].delivered);
        for (what, times) in [
            ("event", delivered.events),
            ("live event", delivered.live_events),
            ("checkpoint", delivered.checkpoints),
            ("silent checkpoint", delivered.silent),
            ("caught up", delivered.caught_up),
            ("fell behind", delivered.fell_behind),
        ] {
            self.counts.add("watch", what, times);
        }
    }

    fn settings(&mut self) {
        let stream = self.generator.stream();
        let mut change = StreamChange::default();
        let value = |run: &mut Self, most: u64| match run.generator.below(3) {
            0 => None,
            _ => Some(1 + run.generator.below(most)),
        };
        let which = self.generator.below(8);
        if which < 3 {
            change.max_count = Some(value(self, 30));
        }
        if (2..6).contains(&which) {
            change.max_age_s = Some(value(self, 3000));
        }
        if which > 5 {
            let count = self.naive.now(&stream).count;
            change.truncate_before = Some(Revision::new(self.generator.below(count + 4)));
        }
        self.tell(|| format!("{stream}: {change:?}"));
        for (what, done) in [
            ("max count", change.max_count.is_some_and(|it| it.is_some())),
            ("max age", change.max_age_s.is_some_and(|it| it.is_some())),
            ("lifted", change.max_count == Some(None) || change.max_age_s == Some(None)),
            ("truncate before", change.truncate_before.is_some()),
        ] {
            self.counts.add("setting", what, u64::from(done));
        }
        let wanted = self.naive.set(&stream, change);
        let answer = self.engine.set_stream(&stream, change);
        let kind = |error: AppendError| kind_of(&Err(error));
        assert_eq!(answer.err().map(kind), wanted.err().map(kind));
        compare::stream_info(&self.engine, &self.naive, &stream);
    }

    fn delete(&mut self, for_good: bool) {
        let stream = self.generator.stream();
        let expected = self.generator.expected(&self.naive, &stream);
        self.tell(|| format!("delete {stream} {expected:?} {for_good}"));
        let wanted = self.naive.delete(&stream, expected, for_good);
        let answer = match for_good {
            true => self.engine.tombstone_stream(&stream, expected),
            false => self.engine.delete_stream(&stream, expected),
        };
        same_answer(&answer, &wanted);
        compare::stream_info(&self.engine, &self.naive, &stream);
    }

    fn fold(&mut self) -> FoldIdentity {
        let version = u32::from(self.generator.one_in(3));
        FoldIdentity { fold_version: version, upcaster_hash: 7 }
    }

    fn snapshot(&mut self) {
        let stream = self.generator.stream();
        let count = self.naive.now(&stream).count;
        let snapshot = Snapshot {
            stream: StreamName::new(&stream).unwrap(),
            revision: Revision::new(self.generator.below(count + 1)),
            fold: self.fold(),
            content_type: "text/plain".to_owned(),
            state: self.naive.next().to_string().into_bytes().into(),
        };
        self.tell(|| format!("{snapshot:?}"));
        let about = SnapshotMetadata { revision: snapshot.revision, fold: snapshot.fold };
        let about = serde_json::to_vec(&about).unwrap();
        let event = EventData::new(SNAPSHOT_TAKEN, "text/plain", snapshot.state.clone());
        let wanted = Ok(self.naive.save_snapshot(&stream, event.metadata(about)));
        same_answer(&self.engine.save_snapshot(snapshot), &wanted);
        let fold = self.fold();
        compare::snapshots(&self.engine, &self.naive, &stream, SnapshotAt::Latest, fold);
    }

    fn clock(&mut self) {
        match self.generator.below(12) {
            0 => {
                // As a time server does: what is recorded next has the time of the last event.
                let back = self.generator.below(5_000_000).cast_signed();
                let now = self.disk.now().as_micros() - back;
                self.disk.set_wall_only(Timestamp::from_micros(now));
            }
            1 => self.disk.advance(Duration::from_secs(self.generator.below(400))),
            _ => self.disk.advance(Duration::from_micros(self.generator.below(2_000_000))),
        }
        self.naive.set_clock(self.disk.now());
        self.tell(|| "clock".to_owned());
    }

    pub(crate) fn maintain(&mut self) {
        self.tell(|| "maintain".to_owned());
        let before = self.naive.next();
        self.naive.age_out();
        self.counts.add("setting", "aged", self.naive.next() - before);
        self.engine.maintain().unwrap();
    }
}
