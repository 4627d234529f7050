//! [`Stop`]: how whoever asked tells a read that nobody waits for it any more.
//!
//! A read that looks at much and finds nothing blocks its thread until it is through, and a thread cannot be
//! taken away from outside: the read looks at this at each position, and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends reads that were given it, once it is told to. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

/// Tells reads to end when it is dropped, as an answer is that nobody waits for any more.
#[derive(Debug)]
#[must_use = "reads end when it is dropped"]
pub struct StopOnDrop(Stop);

impl Stop {
    /// Tells reads that have it to end: as if there were no more events, since nobody looks.
    pub fn stop(&self) {
        // Relaxed: nothing else is read because of it, and a little later is as good.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Does so when what this gives is dropped.
    pub fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }

    /// Whether reads were told to end.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
