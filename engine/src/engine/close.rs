//! The end of an engine: all that writes is ended, in order, and only then is the lock of the directory
//! given back.
//!
//! Only the first who closes does it. Others wait for him and get his result, but for those that he
//! himself waits for: they would wait for ever, and are told.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex};
use std::thread::ThreadId;

use super::Shared;
use crate::commit::Committer;
use crate::error::describe;

/// Why an engine did not close cleanly, or what was due could not be done. What was acknowledged is
/// durable all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CloseError(pub(super) String);

impl CloseError {
    fn not_cleanly(why: &str) -> Self {
        Self(format!("the data directory is closed, but not cleanly: {why}"))
    }
}

/// Who closes, or how that ended.
#[derive(Debug, Default)]
pub(super) struct Closing {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    By(ThreadId),
    Closed(Result<(), CloseError>),
}

impl Shared {
    /// Closes, or waits until another has. Answers whether it was this one, and the result.
    pub(super) fn close(&self) -> (bool, Result<(), CloseError>) {
        const HELD: &str = "no panic while it is noted who closes";
        let me = std::thread::current().id();
        let mut state = self.closing.state.lock().expect(HELD);
        loop {
            match &*state {
                State::Open => break,
                State::Closed(result) => return (false, result.clone()),
                // A waker, which is foreign code, that is run by who closes, or by whom he waits for.
                State::By(closer) if *closer == me || self.own_threads.contains(&me) => {
                    let why = "the engine is being closed, by somebody who waits for this thread";
                    return (false, Err(CloseError(why.to_owned())));
                }
                State::By(_) => state = self.closing.ended.wait(state).expect(HELD),
            }
        }
        *state = State::By(me);
        drop(state);
        let closed = catch_unwind(AssertUnwindSafe(|| self.close_all()));
        let result = match &closed {
            Ok(result) => result.clone(),
            Err(_) => Err(CloseError::not_cleanly("who closed it panicked")),
        };
        let mut state = self.closing.state.lock().expect(HELD);
        assert!(matches!(*state, State::By(closer) if closer == me), "one closes, and only once");
        *state = State::Closed(result);
        drop(state);
        self.closing.ended.notify_all();
        (true, closed.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn close_all(&self) -> Result<(), CloseError> {
        let parts = &self.parts;
        parts.stop.store(true, Ordering::Release);
        parts.wait_for_writing();
        let committers = parts.committers();
        committers.iter().for_each(|committer| committer.queue.close());
        parts.signals.commit.raise();
        parts.signals.space.raise();
        let mut panicked = false;
        assert!(parts.stop.load(Ordering::Acquire), "no thread goes on");
        for thread in self.take_threads() {
            thread.thread().unpark();
            if thread.thread().id() != std::thread::current().id() {
                panicked |= thread.join().is_err();
            }
        }
        parts.signals.commit.listened.store(false, Ordering::Release);
        let mut result = match panicked {
            true => Err(CloseError::not_cleanly("a thread of the engine panicked")),
            false => Ok(()),
        };
        for committer in &committers {
            let closed = match panicked {
                true => close_what_is_left(committer),
                false => close_one(committer),
            };
            result = result.and(closed);
        }
        // What a thread that panicked left in flight nobody knows: the lock stays until the engine is
        // dropped.
        if !panicked {
            drop(self.lock.lock().expect("no panic while the lock is given back").take());
        }
        result
    }
}

/// Ends one log; what is durable is noted.
fn close_one(committer: &Committer) -> Result<(), CloseError> {
    let end = committer.end();
    if committer.is_read_only() {
        return Ok(());
    }
    let noted = committer.log.note_durable_end(end);
    noted.map_err(|error| CloseError::not_cleanly(&describe(&error)))
}

/// The same after a thread panicked, which may have held a lock of this log. Those who wait for it are
/// told in any case.
fn close_what_is_left(committer: &Committer) -> Result<(), CloseError> {
    let closed = catch_unwind(AssertUnwindSafe(|| close_one(committer)));
    committer.log.committed.close();
    closed.unwrap_or_else(|_| Err(CloseError::not_cleanly("a log was left in the middle of work")))
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let (true, Err(error)) = self.close() {
            tracing::warn!(%error, "closed on drop");
        }
    }
}
