//! What wakes the engine's threads, and what else all logs of a directory share.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use crate::stats::DurationHistogram;

/// What all logs of a directory share with its threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// The committer.
    pub(crate) commit: Arc<Signal>,
    /// Who prepares space.
    pub(crate) space: Arc<Signal>,
    /// How long frames took to become durable. One for all logs: it must not go back when one is deleted.
    pub(crate) syncs: Arc<DurationHistogram>,
}

/// Wakes one thread, where there is one.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Mutex<bool>,
    condvar: std::sync::Condvar,
    /// Whether a thread listens. Without one, whoever waits does the work.
    pub(crate) listened: AtomicBool,
}

impl Signal {
    /// Wakes the thread.
    pub(crate) fn raise(&self) {
        *self.raised.lock().expect("no panic while a signal is raised") = true;
        self.condvar.notify_one();
    }

    /// Waits for a signal, at most for so long; answers whether there was one.
    pub(crate) fn wait(&self, at_most: std::time::Duration) -> bool {
        let raised = self.raised.lock().expect("no panic while a signal is awaited");
        let waited = self.condvar.wait_timeout_while(raised, at_most, |raised| !*raised);
        let (mut raised, _) = waited.expect("no panic while a signal is awaited");
        std::mem::take(&mut *raised)
    }
}
