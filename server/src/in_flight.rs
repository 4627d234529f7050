//! An append that is not answered yet: submitted in its place, awaited later, so that many are under
//! way at a time and are answered in their order.

use std::pin::Pin;
use std::task::Poll;

use nexus_node::{Access, PendingAppend};
use nexus_protocol::{Append, AppendError, Appended};

use crate::door::Held;

/// What became of an append.
pub(crate) type Answer = Result<Appended, AppendError>;

/// An append that is not answered yet, and the memory that is counted for it.
#[derive(Debug)]
pub(crate) struct InFlight {
    state: State,
    memory: Vec<Held>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nothing is put on the heap for an append")]
enum State {
    Ready(Box<Answer>),
    Pending(PendingAppend),
}

impl InFlight {
    /// Submits an append, and waits until it has its place in the queue: the next one must not overtake
    /// it.
    pub(crate) async fn submit(access: &Access, append: Append, memory: Vec<Held>) -> Self {
        let state = match access.append(append) {
            Ok(pending) => placed(pending).await,
            Err(error) => State::Ready(Box::new(Err(error))),
        };
        Self { state, memory }
    }

    /// One that is refused before it is submitted.
    pub(crate) fn refused(error: AppendError) -> Self {
        Self { state: State::Ready(Box::new(Err(error))), memory: Vec::new() }
    }

    /// Waits for the answer; its memory is free then.
    pub(crate) async fn settled(self) -> Answer {
        let answer = match self.state {
            State::Ready(answer) => *answer,
            State::Pending(pending) => pending.await,
        };
        drop(self.memory);
        answer
    }

    /// The answer, if it is there.
    pub(crate) async fn settled_now(&mut self) -> Option<Answer> {
        let pending = match &mut self.state {
            State::Ready(answer) => return Some((**answer).clone()),
            State::Pending(pending) => pending,
        };
        std::future::poll_fn(|context| {
            Poll::Ready(match Pin::new(&mut *pending).poll(context) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            })
        })
        .await
    }
}

async fn placed(mut pending: PendingAppend) -> State {
    let answer = std::future::poll_fn(|context| match Pin::new(&mut pending).poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if pending.is_placed() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    match answer.await {
        Some(answer) => State::Ready(Box::new(answer)),
        None => State::Pending(pending),
    }
}

/// About how many bytes an error has in a packet.
pub(crate) fn bytes_of(error: &AppendError) -> usize {
    const OTHERS: usize = 2_048;
    let problems = match error {
        AppendError::SchemaInvalid(problems) => problems.as_slice(),
        _ => &[],
    };
    let of_problem = |it: &nexus_protocol::schema::SchemaProblem| {
        it.problem.pointer.len() + it.problem.message.len() + it.problem.rule.len() + 64
    };
    problems.iter().map(of_problem).sum::<usize>() + OTHERS
}
