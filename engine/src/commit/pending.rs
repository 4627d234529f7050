//! [`PendingAppend`]: an append that was submitted, and whose answer may be awaited or waited for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nexus_protocol::{AppendError, Appended, Unavailable};

use super::Committer;
use super::completion::Completion;
use super::queue::{NotQueued, Waiting};

/// So often a thread that waits yields the processor before it sleeps. Measured with 8 and 32 threads
/// on 2 cores: 20 gives most of what 100 gives, at a fraction of the idle processor time.
const YIELDS_MAX: usize = 24;

/// An append under way. It was submitted when it was made: dropping it does not cancel it. Only where
/// the queue was full is it given up when it is dropped before it got a place: await it then.
///
/// Await it in any executor, or call [`PendingAppend::wait`] to block. An append that nobody awaits
/// is committed within 20 ms.
#[must_use = "the append is under way, but its answer says whether it happened"]
#[derive(Debug)]
pub struct PendingAppend {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Answered without the queue.
    Ready(Option<Box<Result<Appended, AppendError>>>),
    /// In the queue, or beyond.
    Queued { committer: Arc<Committer>, completion: Arc<Completion>, signalled: bool },
    /// The queue was full.
    Full {
        committer: Arc<Committer>,
        waiting: Option<Box<Waiting>>,
        since: Duration,
        limit: Duration,
    },
}

/// Submits an append; `limit` is how long it may wait for a place in the queue.
pub(crate) fn submit(
    committer: Arc<Committer>,
    prepared: Result<crate::sequencer::PreparedAppend, AppendError>,
    limit: Duration,
) -> PendingAppend {
    let append = match prepared {
        Ok(append) => append,
        Err(error) => return PendingAppend::answered(Err(error)),
    };
    let completion = Completion::new();
    let waiting = Waiting { append, completion: Arc::clone(&completion) };
    let state = match committer.queue.push(waiting) {
        Ok(()) => State::Queued { committer, completion, signalled: false },
        Err(NotQueued::Closed) => return PendingAppend::answered(Err(closed())),
        Err(NotQueued::Full(waiting)) => {
            let since = committer.log.disk.boot_time();
            State::Full { committer, waiting: Some(waiting), since, limit }
        }
    };
    PendingAppend { state }
}

/// Lets others run a few times before this thread is put to sleep. Under load, when many threads
/// append, their turns last as long as the write they wait for, and none of them has to be woken by a
/// system call and, on a processor that idles, by an interrupt. When nobody else wants to run it is
/// over in microseconds.
fn yield_until_done(completion: &Completion) {
    for _ in 0..YIELDS_MAX {
        std::thread::yield_now();
        if completion.is_done() {
            return;
        }
    }
}

fn closed() -> AppendError {
    AppendError::Unavailable(Unavailable::Closed)
}

impl PendingAppend {
    /// One that is answered already.
    pub(crate) fn answered(answer: Result<Appended, AppendError>) -> Self {
        Self { state: State::Ready(Some(Box::new(answer))) }
    }

    /// Whether it has its place among all other appends: only while the queue is full it has none, and
    /// what is submitted later may overtake it.
    pub fn is_placed(&self) -> bool {
        !matches!(self.state, State::Full { .. })
    }

    /// Blocks until the append is answered; writes and syncs in this thread when nobody else does.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub fn wait(mut self) -> Result<Appended, AppendError> {
        while let State::Full { .. } = self.state {
            self.wait_for_place();
        }
        match &mut self.state {
            State::Ready(answer) => *answer.take().expect("an answer is taken once"),
            State::Full { .. } => unreachable!("just left"),
            State::Queued { committer, completion, signalled } => {
                *signalled = true;
                loop {
                    if !completion.is_done() && !committer.try_pump(Some(completion)) {
                        yield_until_done(completion);
                    }
                    match completion.poll_parked() {
                        Poll::Ready(answer) => return answer,
                        Poll::Pending => std::thread::park(),
                    }
                }
            }
        }
    }

    fn wait_for_place(&mut self) {
        if let State::Full { committer, .. } = &self.state
            && !committer.try_pump(None)
        {
            committer.queue.wait_for_space(Duration::from_millis(20));
        }
        self.try_place();
    }

    /// Tries again to get a place; gives up after the limit.
    fn try_place(&mut self) {
        let State::Full { committer, waiting, since, limit } = &mut self.state else { return };
        let committer = Arc::clone(committer);
        let append = *waiting.take().expect("it waits for its place");
        let completion = Arc::clone(&append.completion);
        self.state = match committer.queue.push(append) {
            Ok(()) => State::Queued { committer, completion, signalled: false },
            Err(NotQueued::Closed) => State::Ready(Some(Box::new(Err(closed())))),
            Err(NotQueued::Full(append)) => {
                let waited = committer.log.disk.boot_time().saturating_sub(*since);
                if waited < *limit {
                    *waiting = Some(append);
                    return;
                }
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                let retry_after = Duration::from_millis(100);
                State::Ready(Some(Box::new(Err(AppendError::Overloaded {
                    waited_ms,
                    retry_after,
                }))))
            }
        };
    }
}

impl Future for PendingAppend {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Full { committer, .. } = &self.state {
            // Registered before the try, so that no place is missed.
            committer.queue.wake_on_space(context.waker());
            if committer.signal.listened.load(std::sync::atomic::Ordering::Acquire) {
                committer.signal.raise();
            } else {
                // Nobody else makes room: without threads whoever waits does the work.
                committer.try_pump(None);
            }
            self.try_place();
        }
        match &mut self.state {
            State::Ready(answer) => Poll::Ready(*answer.take().expect("polled after its answer")),
            State::Full { .. } => Poll::Pending,
            State::Queued { committer, completion, signalled } => {
                let listened = committer.signal.listened.load(std::sync::atomic::Ordering::Acquire);
                if !listened && !completion.is_done() {
                    committer.try_pump(Some(completion));
                } else if !*signalled {
                    committer.signal.raise();
                }
                *signalled = true;
                completion.poll(context.waker())
            }
        }
    }
}

impl Drop for PendingAppend {
    fn drop(&mut self) {
        if let State::Queued { committer, signalled: false, .. } = &self.state {
            committer.signal.raise();
        }
    }
}
