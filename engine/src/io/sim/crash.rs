//! Every state that a crash could have left, for a harness to recover from each.
//!
//! After each operation of a trace the machine stops, and what is pending survives in each of these
//! ways, counted by write (a plain write since the file's last sync, or a log write in flight or
//! failed) and by change of names (since the folder's last sync):
//! - no write; all; each alone; all but each; no bytes, but the lengths;
//! - the newest (or each: [`CrashOptions::tear_each`]) torn at every boundary, its head or its tail
//!   landed, with all other writes or none;
//! - random sectors of all writes;
//! - all of these with every change of names; and with none, each alone, and all but each, no write
//!   and all writes.
//!
//! States of one step that are byte for byte the same come once. States of different steps may be
//! the same: more has been acknowledged by then, so they are checked again. Recovering them again is
//! what a harness can save, by [`CrashState::fingerprint`].

use std::collections::{HashSet, VecDeque};
use std::ops::Range;

use foldhash::quality::FixedState;

use super::image::Image;
use super::survival::{Landed, NameChanges, SECTOR_BYTES, Survival, Writes};
use super::trace::{Trace, WriteId};
use super::{Settings, SimDisk};

/// Tears the newest write of one step finer than the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FineTear {
    /// The step: how many operations were done.
    pub after_op: usize,
    /// The distance between boundaries; 1: every byte.
    pub tear_bytes: usize,
}

/// Which crash states are wanted. The default is all of them, with four random ones a step, and
/// with a bound on what one large write adds.
#[derive(Clone, Debug)]
pub struct CrashOptions {
    /// The steps: from the state before any operation, 0, to the one after all of them.
    pub steps: Range<usize>,
    /// The distance between boundaries at which writes are torn, from the start of the file.
    pub tear_bytes: usize,
    /// Steps that are torn finer, or coarser.
    pub fine_tears: Vec<FineTear>,
    /// A write with more boundaries than this is torn at so many, evenly spread, first and last
    /// included.
    pub tears_max: usize,
    /// Whether every pending write is torn, and not only the newest.
    pub tear_each: bool,
    /// With more pending writes than this, only so many of the newest are kept or lost alone.
    pub singles_max: usize,
    /// How many random states a step.
    pub random_states: u64,
    /// Of the random states.
    pub seed: u64,
}

impl Default for CrashOptions {
    fn default() -> Self {
        Self {
            steps: 0..usize::MAX,
            tear_bytes: SECTOR_BYTES,
            fine_tears: Vec::new(),
            tears_max: 256,
            tear_each: false,
            singles_max: 64,
            random_states: 4,
            seed: 1,
        }
    }
}

/// The crash states of a trace, in order of steps.
#[derive(Debug)]
pub struct CrashPoints<'t> {
    trace: &'t Trace,
    options: CrashOptions,
    /// What is on the disk after `after_op` operations.
    image: Image,
    after_op: usize,
    to_come: VecDeque<Survival>,
    seen: HashSet<u64, FixedState>,
    thinned_steps: usize,
}

/// What one crash left.
#[derive(Clone, Debug)]
pub struct CrashState {
    after_op: usize,
    last_op: String,
    survival: Survival,
    image: Image,
    fingerprint: u64,
    settings: Settings,
}

impl CrashState {
    /// How many operations were done: [`SimDisk::op_count`] when the machine stopped.
    pub fn after_op(&self) -> usize {
        self.after_op
    }

    /// The step and what survived, to find the state again.
    pub fn label(&self) -> String {
        format!("after op {} ({}): {}", self.after_op, self.last_op, self.survival)
    }

    /// A number that states with the same names and bytes share, and others practically never do.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The disk as it is found at the next start; everything on it is durable, and it records.
    pub fn disk(&self) -> SimDisk {
        SimDisk::rebooted(self.image.clone(), &self.settings, self.fingerprint)
    }
}

impl<'t> CrashPoints<'t> {
    /// The crash states of `trace`.
    pub fn new(trace: &'t Trace, options: CrashOptions) -> Self {
        assert!(options.tear_bytes > 0, "boundaries are apart");
        assert!(options.tears_max >= 2, "the first and the last boundary are always wanted");
        let mut image = trace.baseline.clone();
        let after_op = options.steps.start.min(trace.ops.len());
        trace.ops[..after_op].iter().for_each(|op| image.replay(op));
        let mut points = Self {
            trace,
            options,
            image,
            after_op,
            to_come: VecDeque::new(),
            seen: HashSet::default(),
            thinned_steps: 0,
        };
        points.enter_step();
        points
    }

    /// At how many steps so far a bound of the options left states out.
    pub fn thinned_steps(&self) -> usize {
        self.thinned_steps
    }

    fn enter_step(&mut self) {
        self.seen.clear();
        if !self.options.steps.contains(&self.after_op) {
            return;
        }
        let mut thinned = false;
        let with_all = |writes| Survival { writes, names: NameChanges::All };
        let writes = self.survivals_of_writes(&mut thinned);
        self.to_come.extend(writes.into_iter().map(with_all));
        let changes = 0..self.image.pending_names.len();
        let each = changes.flat_map(|it| [NameChanges::Only(it), NameChanges::Without(it)]);
        for names in std::iter::once(NameChanges::None).chain(each) {
            for writes in [Writes::None, Writes::All] {
                self.to_come.push_back(Survival { writes, names: names.clone() });
            }
        }
        for n in 0..self.options.random_states {
            let seed = self.options.seed.wrapping_add(n << 32) ^ self.after_op as u64;
            let names = NameChanges::Random { seed };
            self.to_come.push_back(Survival { writes: Writes::Random { seed }, names });
        }
        self.thinned_steps += usize::from(thinned);
    }

    fn survivals_of_writes(&self, thinned: &mut bool) -> Vec<Writes> {
        let mut pending: Vec<(WriteId, Range<usize>)> = Vec::new();
        for write in self.image.files.values().flat_map(|file| &file.pending) {
            pending.push((write.id, write.offset..write.end()));
        }
        // Pieces of one write share its fate, so they are one here.
        pending.sort_by_key(|(id, _)| *id);
        pending.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1 = first.1.start.min(later.1.start)..first.1.end.max(later.1.end);
            }
            same
        });
        let mut found = vec![Writes::None, Writes::All, Writes::Lengths];
        *thinned |= pending.len() > self.options.singles_max;
        for (id, _) in pending.iter().rev().take(self.options.singles_max) {
            found.extend([Writes::Only(*id), Writes::Without(*id)]);
        }
        let torn = if self.options.tear_each { pending.len() } else { 1 };
        for (n, (id, range)) in pending.iter().rev().take(torn).enumerate() {
            for at in self.boundaries(range, n == 0, thinned) {
                for landed in [Landed::Head, Landed::Tail] {
                    for others in [true, false] {
                        found.push(Writes::Torn { write: *id, at, landed, others });
                    }
                }
            }
        }
        found
    }

    /// Where a write is torn: the multiples of the distance that lie inside it.
    fn boundaries(&self, range: &Range<usize>, newest: bool, thinned: &mut bool) -> Vec<usize> {
        let fine = self.options.fine_tears.iter().find(|it| newest && it.after_op == self.after_op);
        let apart = fine.map_or(self.options.tear_bytes, |fine| fine.tear_bytes);
        let first = range.start / apart + 1;
        let count = range.end.div_ceil(apart).saturating_sub(first);
        let max = self.options.tears_max;
        if fine.is_some() || count <= max {
            return (first..first + count).map(|n| n * apart).collect();
        }
        *thinned = true;
        (0..max).map(|n| (first + n * (count - 1) / (max - 1)) * apart).collect()
    }
}

impl Iterator for CrashPoints<'_> {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        loop {
            while let Some(survival) = self.to_come.pop_front() {
                let image = survival.apply(&self.image);
                let fingerprint = image.fingerprint();
                if self.seen.insert(fingerprint) {
                    let last = self.after_op.checked_sub(1).map(|last| &self.trace.ops[last]);
                    return Some(CrashState {
                        after_op: self.after_op,
                        last_op: last.map_or("start".to_owned(), ToString::to_string),
                        survival,
                        image,
                        fingerprint,
                        settings: self.trace.settings.clone(),
                    });
                }
            }
            let op = self.trace.ops.get(self.after_op)?;
            self.image.replay(op);
            self.after_op += 1;
            if self.after_op >= self.options.steps.end {
                return None;
            }
            self.enter_step();
        }
    }
}

#[cfg(test)]
mod tests;
