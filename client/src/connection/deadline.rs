//! [`Deadline`]: until when something is worth waiting for. The one place of the client that reads a
//! clock.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// A moment after which nobody waits any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// So much later than now.
    pub(crate) fn after(time: Duration) -> Self {
        // Nobody waits for longer than a year.
        Self(Instant::now() + time.min(Duration::from_secs(365 * 24 * 3600)))
    }

    /// How much time there is up to it.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub(crate) fn is_over(self) -> bool {
        self.0 <= Instant::now()
    }

    /// The same on any executor: the runtime's clock wakes it.
    pub(crate) async fn limit_on<F: Future>(
        self,
        runtime: &Handle,
        future: F,
    ) -> Option<F::Output> {
        let limited = {
            let _entered = runtime.enter();
            tokio::time::timeout_at(self.0, future)
        };
        limited.await.ok()
    }

    /// Runs something up to it; `None`: it was not ready in time.
    pub(crate) async fn limit<F: Future>(self, future: F) -> Option<F::Output> {
        tokio::time::timeout_at(self.0, future).await.ok()
    }
}
