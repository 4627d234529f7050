//! Processes and machines that end in the midst of something: what is found is a commit, and none before the last that was
//! to be durable. `NEXUS_SINK_SEEDS` says how many sinks are killed, over and over.

use nexus_delivery::projection::Sink;
use nexus_search::KvSink;

use crate::disk::{Disk, Kill};
use crate::model::{Model, Shown};
use crate::random::{Random, seeds_or};

struct Run {
    disk: Disk,
    model: Model,
    random: Random,
    kills: u64,
    /// Commits that were lost, as they may be: they were not durable.
    lost: u64,
    context: String,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            disk: Disk::default(),
            model: Model::new(),
            random: Random::new(seed),
            kills: 0,
            lost: 0,
            context: String::new(),
        }
    }

    fn kill(&mut self) {
        let how = if self.random.one_in(2) { Kill::Process } else { Kill::Machine };
        self.disk.kill(how, &mut self.random);
        self.kills += 1;
    }

    /// Opens it, being killed while doing so now and then.
    fn open(&mut self) -> KvSink {
        loop {
            if self.random.one_in(3) {
                self.disk.die_in(1 + self.random.below(12));
            }
            let opened = KvSink::over(self.disk.open());
            match opened {
                Ok(sink) => return sink,
                Err(error) => {
                    let was_killed = error.to_string().contains("killed");
                    assert!(was_killed, "{}: {error}", self.context);
                    self.kill();
                }
            }
        }
    }

    /// Commits until it is killed; otherwise it is closed.
    fn live(&mut self, mut sink: KvSink) {
        match Shown::of(&sink, &mut self.random) {
            Ok(shown) => self.lost += self.model.found(&shown, &self.context),
            Err(error) => {
                assert!(error.to_string().contains("killed"), "{}: {error}", self.context);
                return self.kill();
            }
        }
        self.disk.die_in(1 + self.random.below(400));
        for _ in 0..self.random.below(40) {
            let planned = self.model.plan(400, &mut self.random);
            match planned.make(&mut sink) {
                Ok(()) => self.model.made(planned),
                Err(error) => {
                    assert!(error.to_string().contains("killed"), "{}: {error}", self.context);
                    self.model.perhaps_made(planned);
                    break;
                }
            }
        }
        if self.random.one_in(4) {
            self.kill();
            return;
        }
        drop(sink);
        if !self.disk.has_died() {
            self.model.closed();
        }
        self.kill();
    }
}

#[test]
fn a_kill_leaves_a_commit() {
    let (seeds, lives) = if cfg!(debug_assertions) { (24, 25) } else { (400, 40) };
    let seeds = seeds_or(seeds);
    let (mut kills, mut lost, mut longest) = (0, 0, 0);
    for seed in 0..seeds {
        let mut run = Run::new(seed);
        // A file has its name once it is begun, so a crash before that leaves none.
        drop(KvSink::over(run.disk.open()).unwrap());
        for life in 0..lives {
            run.context = format!("seed {seed}, life {life}");
            let sink = run.open();
            run.live(sink);
        }
        (kills, lost) = (kills + run.kills, lost + run.lost);
        longest = longest.max(run.disk.bytes().len());
    }
    assert!(kills > 500 && lost > 100, "{kills} kills, {lost} lost");
    assert!(longest > 1024 * 1024, "files of up to {longest} bytes only");
    println!("count: sinks_killed {kills}");
    println!("count: commits_folded_again {lost}");
}

/// Each operation of a durable commit in turn, and of what closes the file.
#[test]
fn a_kill_at_each_operation_leaves_a_commit() {
    let mut kills = 0;
    for seed in 0..10 {
        for operation in 1.. {
            let mut random = Random::new(seed);
            let (disk, mut model) = (Disk::default(), Model::new());
            let mut sink = KvSink::over(disk.open()).unwrap();
            for step in 0..12 {
                let mut planned = model.plan(60, &mut random);
                planned.durable = step % 4 == 3;
                planned.make(&mut sink).unwrap();
                model.made(planned);
            }
            let mut planned = model.plan(200, &mut random);
            planned.durable = true;
            disk.die_in(operation);
            match planned.make(&mut sink) {
                Ok(()) => model.made(planned),
                Err(_) => model.perhaps_made(planned),
            }
            drop(sink);
            let is_closed = !disk.has_died();
            if is_closed {
                model.closed();
            }
            let mut chance = Random::new(seed ^ (operation << 8));
            disk.kill(Kill::Machine, &mut chance);
            let sink = KvSink::over(disk.open()).unwrap();
            let shown = Shown::of(&sink, &mut chance).unwrap();
            model.found(&shown, &format!("seed {seed}, operation {operation}"));
            kills += 1;
            if is_closed {
                break;
            }
        }
    }
    println!("count: sinks_killed {kills}");
}

/// What is not durable is seen, and gone after a crash; closing keeps it.
#[test]
fn commits_are_kept_by_a_durable_one_and_by_closing() {
    let mut random = Random::new(1);
    let (disk, mut model) = (Disk::default(), Model::new());
    let mut sink = KvSink::over(disk.open()).unwrap();
    let mut commit = |sink: &mut KvSink, durable: bool| {
        let mut planned = model.plan(50, &mut random);
        planned.durable = durable;
        planned.make(sink).unwrap();
        let after = planned.after.clone();
        model.made(planned);
        after.checkpoint
    };
    let syncs = disk.syncs();
    commit(&mut sink, false);
    assert_eq!(disk.syncs(), syncs, "no sync for what need not be durable");
    let kept = commit(&mut sink, true);
    assert_eq!(disk.syncs(), syncs + 1, "one sync for what must be");
    commit(&mut sink, false);
    disk.kill(Kill::Process, &mut Random::new(1));
    drop(sink);

    let mut sink = KvSink::over(disk.open()).unwrap();
    assert_eq!(sink.checkpoint().unwrap(), kept);
    let kept = commit(&mut sink, false);
    drop(sink);
    disk.kill(Kill::Machine, &mut Random::new(1));
    assert_eq!(KvSink::over(disk.open()).unwrap().checkpoint().unwrap(), kept);
}
