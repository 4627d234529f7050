//! Ends of an engine and what follows: a clean close, a cut of the power with appends under way, and
//! a failed sync.
//!
//! What is recovered is acknowledged ⊆ recovered ⊆ submitted, in order, of whole batches. The model
//! has decided all that was submitted, and gives up what was not recovered.

use std::path::Path;

use nexus_engine::io::Disk;
use nexus_engine::io::sim::Fault;
use nexus_engine::{Engine, PendingAppend};
use nexus_protocol::{Append, AppendError, Position};

use super::compare::{self, same_answer};
use super::naive::Answer;
use super::run::Run;

/// Appends that were submitted together.
struct Submitted {
    /// With what the model answers.
    pending: Vec<(PendingAppend, Answer)>,
    /// The next position before the first of them and after each.
    ends: Vec<u64>,
}

impl Run {
    fn submit(&mut self, count: u64) -> Submitted {
        let mut submitted = Submitted { pending: Vec::new(), ends: vec![self.naive.next()] };
        for _ in 0..count {
            let append = self.generator.append(&self.naive);
            self.tell(|| format!("under way: {append:?}"));
            let wanted = self.naive.append(&append);
            self.count_append(&append, &wanted);
            submitted.pending.push((self.engine.append(append), wanted));
            submitted.ends.push(self.naive.next());
        }
        submitted
    }

    pub(crate) fn reopen(&mut self) {
        self.tell(|| "reopen".to_owned());
        // The old engine must let go of the directory first.
        let parked = Engine::in_memory();
        std::mem::replace(&mut self.engine, parked).close().unwrap();
        self.engine = self.shape.open(&self.disk);
        self.recovered();
    }

    pub(crate) fn crash(&mut self) {
        let count = self.generator.below(20);
        let Submitted { pending, ends } = self.submit(count);
        let mut least = ends[0];
        let answered = self.generator.below(count + 1) as usize;
        let mut left = Vec::new();
        for (index, (append, wanted)) in pending.into_iter().enumerate() {
            if index < answered {
                same_answer(&append.wait(), &wanted);
                // An answer shows nothing that may cease to exist.
                least = least.max(shown(&wanted));
            } else {
                left.push(append);
            }
        }
        self.cut_power(&ends, least);
        drop(left);
    }

    /// The machine stops while segments are sealed, indexed, rewritten, or prepared: from some
    /// operation on nothing gets through to the disk.
    pub(crate) fn crash_in_maintenance(&mut self) {
        // Whatever is due by age is done first: a floor must not fail with the rest.
        self.maintain();
        let count = self.generator.below(20);
        let Submitted { pending, ends } = self.submit(count);
        for (append, wanted) in pending {
            same_answer(&append.wait(), &wanted);
        }
        let nth = 1 + self.generator.below(6);
        let fault = match self.generator.below(3) {
            0 => Fault::names(nth),
            1 => Fault::sync_dir(nth),
            _ => Fault::sync(nth),
        };
        self.tell(|| format!("maintenance with {fault:?}"));
        self.disk.schedule(fault.repeating());
        if self.engine.maintain().is_err() {
            self.counts.did("crash", "in maintenance");
        }
        assert_eq!(compare::head(&self.engine), self.naive.next(), "maintenance adds no event");
        // Still failing: what the old engine does as it is dropped is not on the new disk.
        self.cut_power(&ends, self.naive.next());
    }

    /// The machine stops, and starts again. `ends` are the positions at which the log may end.
    fn cut_power(&mut self, ends: &[u64], least: u64) {
        let seed = self.generator.below(u64::MAX);
        self.disk = self.disk.crash(seed);
        self.engine = self.shape.open(&self.disk);
        if self.generator.one_in(4) {
            // And once more, while it has hardly begun.
            self.counts.did("crash", "again");
            self.disk = self.disk.crash(seed / 3);
            self.engine = self.shape.open(&self.disk);
        }
        let end = compare::head(&self.engine);
        let most = self.naive.next();
        self.tell(|| format!("crash: {least} <= {end} <= {most}"));
        assert!(least <= end, "acknowledged events are lost: {end} of {least} are there");
        assert!(ends.contains(&end), "a batch is torn: {end} is not of {ends:?}");
        self.counts.did(
            "crash",
            match end {
                _ if ends[0] == most => "nothing under way",
                _ if end == ends[0] => "kept none",
                _ if end == most => "kept all",
                _ => "kept some",
            },
        );
        self.naive.truncate(end);
        self.naive.set_clock(self.disk.now());
        self.recovered();
    }

    fn recovered(&mut self) {
        compare::everything(&self.engine, &mut self.naive);
        let from_checkpoint = self.generator.one_in(2);
        self.count_watches();
        for watch in &mut self.watches {
            *watch = watch.resumed(&self.engine, &self.naive, from_checkpoint);
            self.counts.did("watch", "resumed");
        }
    }

    /// A write or a sync fails: of a frame, and the log takes nothing more and serves what is
    /// committed; or of space for it, and the appends that needed it are refused.
    pub(crate) fn fail_sync(&mut self) {
        let nth = 1 + self.generator.below(3);
        let fault = if self.generator.one_in(2) { Fault::sync(nth) } else { Fault::write(nth) };
        let segments = |path: &Path| path.extension().is_some_and(|it| it == "seg");
        self.disk.schedule(fault.on(segments));
        let before = self.naive.clone();
        let count = 4 + self.generator.below(6);
        let appends: Vec<Append> = (0..count).map(|_| self.decided()).collect();
        let pending: Vec<_> = appends.iter().map(|it| self.engine.append(it.clone())).collect();
        let answers: Vec<Answer> = pending.into_iter().map(PendingAppend::wait).collect();
        self.disk.clear_faults();

        // Which ones were refused is known only now.
        self.naive = before;
        let mut least = self.naive.next();
        let mut ends = vec![least];
        let mut poisoned = false;
        for (append, answer) in appends.iter().zip(answers) {
            if matches!(answer, Err(AppendError::Unavailable(_))) {
                self.counts.did("crash", "refused");
                continue;
            }
            let wanted = self.naive.append(append);
            ends.push(self.naive.next());
            if matches!(answer, Err(AppendError::Poisoned { .. })) {
                poisoned = true;
                continue;
            }
            let undecided = matches!(answer, Err(AppendError::Invalid(_)));
            assert!(!poisoned || undecided, "answered after a failure: {answer:?}");
            same_answer(&answer, &wanted);
            least = least.max(shown(&wanted));
        }
        if poisoned {
            self.counts.did("crash", "poisoned");
            least = compare::head(&self.engine).max(least);
            assert!(ends.contains(&least), "{least} is not of {ends:?}");
            let all = self.naive.clone();
            self.naive.truncate(least);
            self.check_poisoned();
            self.naive = all;
        }
        self.cut_power(&ends, least);
    }

    /// An append that the model has decided.
    fn decided(&mut self) -> Append {
        let append = self.generator.append(&self.naive);
        self.tell(|| format!("under way: {append:?}"));
        let wanted = self.naive.append(&append);
        self.count_append(&append, &wanted);
        append
    }

    fn check_poisoned(&mut self) {
        let last = self.naive.next().checked_sub(1).map(Position::new);
        let more = self.generator.append(&self.naive);
        if more.event_count() > 0 {
            let answer =
                self.engine.append(Append { boundary: None, absence: None, ..more }).wait();
            assert_eq!(answer, Err(AppendError::Poisoned { at: last }));
        }
        compare::everything(&self.engine, &mut self.naive);
        for watch in &mut self.watches {
            let blocking = self.generator.one_in(2);
            watch.poisoned(&mut self.naive, blocking);
        }
    }
}

/// The first position after all that an answer shows.
fn shown(answer: &Answer) -> u64 {
    let last = match answer {
        Ok(appended) => appended.last(),
        Err(AppendError::Conflict(conflict)) => conflict.positions.first().copied(),
        Err(AppendError::IdReused { position, .. }) => Some(*position),
        Err(_) => None,
    };
    last.map_or(0, |last| last.get() + 1)
}
