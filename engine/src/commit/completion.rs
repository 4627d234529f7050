//! The answer to one append, on its way from the committer to whoever waits for it.

use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::Thread;

use nexus_protocol::{AppendError, Appended};

type Answer = Result<Appended, AppendError>;

#[derive(Debug)]
enum State {
    /// Not answered; who is to be woken.
    Pending(Option<Waiter>),
    /// Answered, and not yet taken.
    Done(Box<Answer>),
    /// Taken.
    Taken,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A thread that parks.
    Thread(Thread),
    /// A task. Its waker is foreign code: no lock is held while it runs.
    Task(Waker),
}

/// Who is to be woken.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    threads: Vec<Thread>,
    tasks: Vec<Waker>,
}

impl Woken {
    pub(crate) fn add(&mut self, waiter: Option<Waiter>) {
        match waiter {
            Some(Waiter::Thread(thread)) => self.threads.push(thread),
            Some(Waiter::Task(waker)) => self.tasks.push(waker),
            None => {}
        }
    }

    pub(crate) fn add_tasks(&mut self, wakers: Vec<Waker>) {
        self.tasks.extend(wakers);
    }

    /// Wakes the threads: no foreign code runs, so it is done under any lock.
    pub(crate) fn wake_threads(&mut self) {
        self.threads.drain(..).for_each(|thread| thread.unpark());
    }

    pub(crate) fn has_tasks(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Wakes all. The caller holds no lock.
    pub(crate) fn wake(mut self) {
        self.wake_threads();
        self.tasks.into_iter().for_each(Waker::wake);
    }
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

    /// Answers; who waits is woken by the caller, when it suits.
    #[must_use = "whoever waits is to be woken"]
    pub(crate) fn answer(&self, answer: Answer) -> Option<Waiter> {
        let mut state = self.state.lock().expect("no panic while an answer is given");
        let before = std::mem::replace(&mut *state, State::Done(Box::new(answer)));
        drop(state);
        match before {
            State::Pending(waiter) => waiter,
            State::Done(_) | State::Taken => unreachable!("an append is answered once"),
        }
    }

    /// Whether it is answered.
    pub(crate) fn is_done(&self) -> bool {
        !matches!(*self.state.lock().expect("no panic while it is looked at"), State::Pending(_))
    }

    /// Takes the answer, or leaves a waker for it.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Answer> {
        if self.is_left(waker) {
            return Poll::Pending;
        }
        // Foreign code too: cloned before the lock is taken, and the old one dropped after it.
        let waker = waker.clone();
        self.take_or(Waiter::Task(waker))
    }

    /// Whether a waker of the same task was left already, and is still to be woken.
    fn is_left(&self, waker: &Waker) -> bool {
        let state = self.state.lock().expect("no panic while it is looked at");
        matches!(&*state, State::Pending(Some(Waiter::Task(left))) if left.will_wake(waker))
    }

    /// Takes the answer, or has this thread unparked for it.
    pub(crate) fn poll_parked(&self) -> Poll<Answer> {
        self.take_or(Waiter::Thread(std::thread::current()))
    }

    fn take_or(&self, waiter: Waiter) -> Poll<Answer> {
        let mut state = self.state.lock().expect("no panic while an answer is taken");
        let before = match &mut *state {
            State::Pending(slot) => slot.replace(waiter),
            State::Done(_) => match std::mem::replace(&mut *state, State::Taken) {
                State::Done(answer) => {
                    drop(state);
                    return Poll::Ready(*answer);
                }
                _ => unreachable!("just looked at"),
            },
            State::Taken => panic!("an append is not polled after its answer was taken"),
        };
        drop(state);
        drop(before);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waker_that_was_left_is_kept() {
        let (completion, task) = (Completion::new(), Arc::new(Counted::default()));
        let waker = Waker::from(Arc::clone(&task));
        assert!(completion.poll(&waker).is_pending());
        let held = Arc::strong_count(&task);
        // Polled with another of the same task: what was left stays, and the other is not cloned.
        let same = waker.clone();
        assert!(completion.poll(&same).is_pending());
        drop(same);
        assert_eq!(Arc::strong_count(&task), held);
        drop(waker);
        // The last task that polls is the one that is woken.
        let last = Arc::new(Counted::default());
        assert!(completion.poll(&Waker::from(Arc::clone(&last))).is_pending());
        let answer = Err(AppendError::Unknown);
        let mut woken = Woken::default();
        woken.add(completion.answer(answer));
        woken.wake();
        let woken = [task, last].map(|task| task.0.load(Ordering::Relaxed));
        assert_eq!(woken, [0, 1]);
    }
}
