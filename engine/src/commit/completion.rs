//! The answer to one append, on its way from the committer to whoever waits for it.

use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread::Thread;

use nexus_protocol::{AppendError, Appended};

type Answer = Result<Appended, AppendError>;

#[derive(Debug)]
enum State {
    /// Not answered; who is to be woken.
    Pending(Option<Waker>),
    /// Answered, and not yet taken.
    Done(Box<Answer>),
    /// Taken.
    Taken,
}

/// One append's answer.
#[derive(Debug)]
pub(crate) struct Completion {
    state: Mutex<State>,
}

impl Completion {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Pending(None)) })
    }

    /// Answers, and wakes who waits.
    pub(crate) fn finish(&self, answer: Answer) {
        if let Some(waker) = self.answer(answer) {
            waker.wake();
        }
    }

    /// Answers; who waits is woken by the caller, when it suits.
    #[must_use = "whoever waits is to be woken"]
    pub(crate) fn answer(&self, answer: Answer) -> Option<Waker> {
        let mut state = self.state.lock().expect("no panic while an answer is given");
        let before = std::mem::replace(&mut *state, State::Done(Box::new(answer)));
        drop(state);
        match before {
            State::Pending(waker) => waker,
            State::Done(_) | State::Taken => unreachable!("an append is answered once"),
        }
    }

    /// Whether it is answered.
    pub(crate) fn is_done(&self) -> bool {
        !matches!(*self.state.lock().expect("no panic while it is looked at"), State::Pending(_))
    }

    /// Takes the answer, or leaves a waker for it.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Answer> {
        let mut state = self.state.lock().expect("no panic while an answer is taken");
        match &mut *state {
            State::Pending(slot) => {
                if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
                    *slot = Some(waker.clone());
                }
                Poll::Pending
            }
            State::Done(_) => match std::mem::replace(&mut *state, State::Taken) {
                State::Done(answer) => Poll::Ready(*answer),
                _ => unreachable!("just looked at"),
            },
            State::Taken => panic!("an append is not polled after its answer was taken"),
        }
    }
}

/// Wakes a thread that is parked.
#[derive(Debug)]
pub(crate) struct ThreadWaker(pub(crate) Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(ThreadWaker(std::thread::current())));
}

/// A waker that unparks this thread.
pub(crate) fn thread_waker() -> Waker {
    WAKER.with(Clone::clone)
}
