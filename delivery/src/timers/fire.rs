//! Firing one timer: one append, which holds only while the timer is armed as it was.

use std::time::Duration;

use nexus_protocol::group::Failure;
use nexus_protocol::timer::{self, TIMER_ARMED, Timer, TimerFailure, timer_stream};
use nexus_protocol::{
    Append, AppendError, Clause, EventStore, Read, RecordedEvent, Retry, Unavailable,
};

use super::machine::Due;
use super::{Admit, next};
use crate::coordinator::unread;

/// How long to wait where the store takes nothing just now, and does not say for how long.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of a timer that was due.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Its event was appended.
    Fired,
    /// It was armed anew or disarmed meanwhile, or has fired before.
    Over,
    /// It is said that it has failed.
    GivenUp,
    /// The store takes nothing just now: once more, later. It does not count as tried.
    Later(Duration),
    /// Its event cannot be appended.
    Failed(Failure),
    /// The store has to be opened again.
    Ended(AppendError),
}

/// Appends the event of a timer, and that it has fired, if it is armed as it was.
pub(super) async fn fire<S: EventStore>(store: S, admit: Admit, due: Due) -> Outcome {
    let stream = timer_stream(&due.id);
    let read = Read::stream(&*stream).from_revision(due.revision).limit(1);
    let armed = match next(&mut store.read(read)).await {
        Some(Ok(armed)) => armed,
        Some(Err(error)) => return outcome_of(unread(error), &stream),
        None => return Outcome::Failed(Failure::new("the event that armed it is not kept")),
    };
    if armed.position() != due.position || armed.event_type() != TIMER_ARMED {
        return Outcome::Failed(Failure::new("the event that armed it is not kept"));
    }
    let append = append_of(&due, stream.clone(), &armed);
    let append = append.and_then(|mut append| admit(&mut append).map(|()| append));
    match append {
        Ok(append) => match store.append(append).await {
            Ok(_) => Outcome::Fired,
            Err(error) => outcome_of(error, &stream),
        },
        Err(error) => outcome_of(error, &stream),
    }
}

fn append_of(due: &Due, stream: String, armed: &RecordedEvent) -> Result<Append, AppendError> {
    let timer = Timer::from_armed(armed.data())?;
    let fired = timer::fired(armed, &timer).caused_by(armed);
    let target = timer.stream.clone();
    let event = timer.due_event(armed);
    Ok(Append::to(target).event(event).stream(stream).at(due.revision).event(fired))
}

/// Says that a timer has failed, if it is armed as it was.
pub(super) async fn give_up<S: EventStore>(store: S, due: Due, failure: TimerFailure) -> Outcome {
    let stream = timer_stream(&due.id);
    let event = timer::failed(due.revision, &failure);
    let append = Append::to(stream.clone()).at(due.revision).event(event);
    match store.append(append).await {
        Ok(_) => Outcome::GivenUp,
        Err(error) => match outcome_of(error, &stream) {
            // There is nothing else that could be said of it.
            Outcome::Failed(_) => Outcome::Later(PAUSE),
            outcome => outcome,
        },
    }
}

fn outcome_of(error: AppendError, stream: &str) -> Outcome {
    match &error {
        AppendError::Conflict(conflict) if matches!(&conflict.clause, Clause::Stream { stream: of, .. } if of == stream) => {
            Outcome::Over
        }
        // The ids are this arming's alone: its event is there, and it is long over.
        AppendError::Conflict(conflict) if matches!(&conflict.clause, Clause::Ids { .. }) => {
            Outcome::Over
        }
        AppendError::Poisoned { .. }
        | AppendError::Unavailable(Unavailable::Closed | Unavailable::ReadOnly) => {
            Outcome::Ended(error)
        }
        AppendError::Unknown => Outcome::Later(PAUSE),
        AppendError::Unavailable(_)
        | AppendError::Overloaded { .. }
        | AppendError::RateLimited { .. } => Outcome::Later(match error.retry() {
            Retry::After(pause) => pause,
            _ => PAUSE,
        }),
        _ => Outcome::Failed(Failure::new(error.to_string())),
    }
}
