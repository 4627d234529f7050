//! What the threads of an engine do: committing, preparing space and sealing, rewriting.
//!
//! Each ends when the engine is closed. What writes beside the commit path does it behind
//! [`Parts::while_open`], so that nothing is written once the lock of the directory is given back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::Parts;
use crate::commit::Committer;
use crate::error::LogError;

/// How often the maintenance thread looks around.
const TICK: Duration = Duration::from_millis(20);
/// Max age is looked at once in so many ticks: about once a minute.
const AGE_TICKS: u32 = 3000;

/// Starts them, unless the engine has none.
pub(super) fn start(parts: &Arc<Parts>) -> Vec<JoinHandle<()>> {
    if !parts.options.threads || parts.options.read_only {
        return Vec::new();
    }
    parts.signals.commit.listened.store(true, Ordering::Release);
    let spawn = |name: &str, body: fn(&Parts)| {
        let parts = Arc::clone(parts);
        let builder = std::thread::Builder::new().name(name.to_owned());
        builder.spawn(move || body(&parts)).expect("the system has threads left")
    };
    vec![
        spawn("nexus-commit", Parts::run_committer),
        spawn("nexus-space", Parts::run_maintenance),
        spawn("nexus-rewrite", Parts::run_rewriting),
    ]
}

impl Parts {
    /// One committer serves all namespaces of a disk, in turns.
    fn run_committer(&self) {
        while !self.stop.load(Ordering::Acquire) {
            let mut more = self.signals.commit.wait(Duration::from_secs(1));
            while more {
                more = false;
                for committer in self.committers() {
                    if !committer.queue.is_empty() || committer.lock().writer.in_flight() > 0 {
                        more |= committer.pump_turn();
                    }
                }
            }
        }
        // What was queued until the engine was closed is answered.
        for committer in self.committers() {
            while committer.pump_turn() {}
        }
    }

    fn run_maintenance(&self) {
        let mut ticks = 0_u32;
        let mut noted = BTreeMap::new();
        while !self.stop.load(Ordering::Acquire) {
            if !self.signals.space.wait(TICK) {
                ticks = ticks.wrapping_add(1);
            }
            // The list is not held meanwhile: who creates a namespace would wait for foreign code, and
            // the commit thread for him.
            let namespaces = self.read_namespaces().clone();
            for (name, committer) in namespaces {
                // Appends that nobody awaits, and futures whose time for a place is up.
                committer.queue.nudge();
                if !committer.queue.is_empty() {
                    self.signals.commit.raise();
                }
                let due = if ticks.is_multiple_of(AGE_TICKS) {
                    crate::retain::age_out(&committer, committer.now());
                    true
                } else {
                    committer.log.take_needs_space() || ticks.is_multiple_of(5)
                };
                if due && let Err(error) = self.maintain_one(&committer) {
                    tracing::warn!(error = %crate::error::describe(&error), "maintenance is tried again");
                }
                let seen = noted.entry(name).or_default();
                self.while_open_of(&committer, || note_idle(&committer, seen));
            }
        }
    }

    fn maintain_one(&self, committer: &Committer) -> Result<(), LogError> {
        let work = || {
            committer.log.keep_space_ready()?;
            committer.log.seal_left()
        };
        self.while_open_of(committer, work).unwrap_or(Ok(()))
    }

    /// Writes one index file or rewrites one segment; answers whether there was one.
    fn rewrite_one(&self, committer: &Committer) -> Result<bool, LogError> {
        let log = &committer.log;
        let work = || {
            Ok(log.write_index_file()?
                || (self.options.compress && log.rewrite_one(self.options.frames_kept_bytes)?))
        };
        self.while_open_of(committer, work).unwrap_or(Ok(false))
    }

    /// Index files and compression: nothing waits for them, so they take a quarter of one core, and
    /// less where appends and reads want it.
    fn run_rewriting(&self) {
        #[cfg(target_os = "linux")]
        crate::io::run_in_background();
        while !self.stop.load(Ordering::Acquire) {
            let before = self.disk.boot_time();
            for committer in self.committers() {
                if let Err(error) = self.rewrite_one(&committer) {
                    tracing::warn!(error = %crate::error::describe(&error), "rewriting is tried again");
                }
            }
            let busy = self.disk.boot_time().saturating_sub(before);
            std::thread::park_timeout((busy * 3).max(5 * TICK));
        }
    }
}

/// When the writer has been idle for two looks, the durable end is noted.
fn note_idle(committer: &Committer, seen: &mut (crate::frame::LogOffset, bool)) {
    let Some(end) = committer.durable_end_if_idle() else { return };
    if seen.0 != end {
        *seen = (end, false);
    } else if !seen.1 {
        seen.1 = committer.log.note_durable_end(end).is_ok();
    }
}
