//! Writing the group's records, one after the other.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use nexus_protocol::{
    Append, AppendError, Appended, Clause, EventData, EventStore, ExpectedRevision, Revision,
    StreamChange, Timestamp, Unavailable,
};

use super::{Boxed, Coordinator, Ended, journal, next_revision};
use crate::group::Held;

/// Once records have come to so many bytes since the last whole state, and to several times the state's, a state is
/// written: opening the group reads no more than that.
const STATE_AFTER_BYTES: u64 = 1024 * 1024;
/// Bytes of a record of the log besides its data, about.
const RECORD_BYTES: usize = 160;
/// Bytes that one append of a state may have.
const STATE_APPEND_BYTES: usize = 8 * 1024 * 1024;

/// What is told once it is durable, or that it is not.
pub(super) type Then = Box<dyn FnOnce(Result<(), &AppendError>) + Send>;

/// An append of answers together with a user's events.
pub(super) struct Joint {
    pub(super) held: Held,
    pub(super) then: Box<dyn FnOnce(Result<Appended, AppendError>) + Send>,
}

/// An append under way.
struct UnderWay {
    append: Boxed<Result<Appended, AppendError>>,
    /// How many events of the group's stream it has.
    events: usize,
    then: Vec<Then>,
    joint: Option<Joint>,
    /// Whether it is the end of the group.
    ends: bool,
}

/// What is written, and what waits to be.
pub(super) struct Writing {
    /// The newest revision of the group's stream.
    revision: Revision,
    under_way: Option<UnderWay>,
    /// Told with the next record.
    next: Vec<Then>,
    /// Events that go before the next record.
    before: Vec<EventData>,
    /// An append with answers that waits for its turn: nothing else is decided before.
    joint: Option<(Joint, Append)>,
    /// Bytes of records since the last state.
    since_state: u64,
    state_bytes: u64,
    /// Parts of a state that are still to be written.
    parts: VecDeque<EventData>,
    state_began: Option<Revision>,
    truncating: Option<Boxed<()>>,
    is_first: bool,
}

impl Writing {
    /// Goes on behind a revision, with so many bytes of records since the last state, and so many of that.
    pub(super) fn after(revision: Revision, (since_state, state_bytes): (u64, u64)) -> Self {
        Self {
            revision,
            under_way: None,
            next: Vec::new(),
            before: Vec::new(),
            joint: None,
            since_state,
            state_bytes,
            parts: VecDeque::new(),
            state_began: None,
            truncating: None,
            is_first: true,
        }
    }

    /// Whether nothing was written yet.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether all is written.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none()
            && self.next.is_empty()
            && self.joint.is_none()
            && self.parts.is_empty()
    }

    /// Whether an append with answers waits or is under way.
    pub(super) fn is_held(&self) -> bool {
        self.joint.is_some() || self.under_way.as_ref().is_some_and(|it| it.joint.is_some())
    }

    /// Tells something once all that was decided so far is durable.
    pub(super) fn then(&mut self, then: impl FnOnce(Result<(), &AppendError>) + Send + 'static) {
        self.next.push(Box::new(then));
    }

    /// An event of the group's stream goes before the next record.
    pub(super) fn event(&mut self, event: EventData) {
        self.before.push(event);
    }

    /// Takes in an append with answers.
    pub(super) fn join(&mut self, joint: Joint, append: Append) {
        debug_assert!(!self.is_held(), "there is one at a time");
        self.joint = Some((joint, append));
    }

    /// Nothing more is written. What is under way may be stored all the same: nobody can say.
    pub(super) fn fail(&mut self, error: &AppendError) {
        if let Some(UnderWay { then, joint, .. }) = self.under_way.take() {
            tell(then, joint, &AppendError::Unknown);
        }
        let waiting = self.joint.take().map(|(joint, _)| joint);
        tell(std::mem::take(&mut self.next), waiting, error);
    }
}

impl<S: EventStore> Coordinator<S> {
    /// Looks what became of the append that is under way.
    pub(super) fn written(
        &mut self,
        context: &mut Context<'_>,
        now: Timestamp,
    ) -> Result<(), Ended> {
        if let Some(truncating) = &mut self.writing.truncating
            && truncating.as_mut().poll(context).is_ready()
        {
            self.writing.truncating = None;
        }
        let Some(under_way) = &mut self.writing.under_way else { return Ok(()) };
        let Poll::Ready(answer) = under_way.append.as_mut().poll(context) else { return Ok(()) };
        let Some(UnderWay { events, then, joint, ends, .. }) = self.writing.under_way.take() else {
            return Ok(());
        };
        match (answer, joint) {
            (Ok(appended), joint) => {
                self.writing.revision = next_revision(self.writing.revision, events);
                self.writing.is_first = false;
                if let Some(joint) = joint {
                    self.group.settle(joint.held, true, now);
                    (joint.then)(Ok(appended));
                }
                then.into_iter().for_each(|then| then(Ok(())));
                self.end_state();
                if ends { Err(Ended::Deleted) } else { Ok(()) }
            }
            // The user's conditions do not hold.
            (Err(error), Some(joint)) if is_refusal(&error) && !self.is_fenced(&error) => {
                self.group.settle(joint.held, false, now);
                (joint.then)(Err(error));
                Ok(())
            }
            (Err(error), joint) => {
                let told = match (&joint, self.is_fenced(&error)) {
                    // It is no conflict of the user's.
                    (Some(_), true) => {
                        let why = "another coordinator has the group".to_owned();
                        AppendError::Unavailable(Unavailable::NotReachable(why))
                    }
                    _ => error.clone(),
                };
                tell(then, joint, &told);
                Err(Ended::Failed(error))
            }
        }
    }

    /// Whether somebody else wrote into the group's stream.
    fn is_fenced(&self, error: &AppendError) -> bool {
        let AppendError::Conflict(conflict) = error else { return false };
        matches!(&conflict.clause, Clause::Stream { stream, .. } if *stream == self.stream)
    }

    /// Writes what there is to write, if nothing is under way.
    pub(super) fn write(&mut self, context: &mut Context<'_>) {
        if self.writing.under_way.is_some() {
            return;
        }
        if !self.writing.parts.is_empty() {
            // Nothing stands between the parts of a state.
            self.write_part(context);
            return;
        }
        let then = std::mem::take(&mut self.writing.next);
        let mut events = std::mem::take(&mut self.writing.before);
        // What waits in the inbox was not looked at while there was something to write.
        let was_busy = std::mem::take(&mut self.answers) > 0 || !then.is_empty();
        let mut on_record = Vec::new();
        if let Some(record) = self.group.record() {
            let ruled = self.group.ruled();
            ruled.iter().for_each(|it| self.counts.ruled.add(it));
            on_record = journal::ruled(&ruled).collect();
            events.extend(journal::changes(&record));
            self.counts.records += 1;
        }
        let append = match on_record.is_empty() {
            true => Append::new(),
            false => Append::to(&*self.parked_stream).events(on_record),
        };
        let bytes: usize = events.iter().map(|event| event.data.len()).sum();
        self.writing.since_state += (bytes + events.len() * RECORD_BYTES) as u64;
        self.counts.record_bytes += bytes as u64;
        if !events.is_empty() {
            // Nothing has changed since the record was taken: the state is what it leads to.
            if self.writing.since_state >= STATE_AFTER_BYTES.max(4 * self.writing.state_bytes) {
                self.begin_state(events.len());
            }
            return self.submit((append, events), (then, None), false, context);
        }
        // All of it was durable before.
        then.into_iter().for_each(|then| then(Ok(())));
        if let Some((joint, append)) = self.writing.joint.take() {
            let events = journal::changes(&self.group.record_of(&joint.held)).collect();
            self.submit((append, events), (Vec::new(), Some(joint)), false, context);
        } else if let Some(reply) = self.deleting.as_mut().and_then(Option::take) {
            // Alone, and behind all that was decided before: what comes behind it is no group's any more.
            let then: Then = Box::new(move |written| {
                drop(reply.send(written.map_err(Clone::clone)));
            });
            let events = vec![journal::deleted()];
            self.submit((Append::new(), events), (vec![then], None), true, context);
        } else if was_busy {
            context.waker().wake_by_ref();
        }
    }

    fn submit(
        &mut self,
        (append, events): (Append, Vec<EventData>),
        (then, joint): (Vec<Then>, Option<Joint>),
        ends: bool,
        context: &mut Context<'_>,
    ) {
        let count = events.len();
        let expected = ExpectedRevision::Exact(self.writing.revision);
        let append = append.stream(&*self.stream).expected(expected).events(events);
        let store = self.store.clone();
        let mut append: Boxed<_> = Box::pin(async move { store.append(append).await });
        // Submitted when it is polled first.
        let answer = match append.as_mut().poll(context) {
            Poll::Ready(answer) => {
                context.waker().wake_by_ref();
                Some(answer)
            }
            Poll::Pending => None,
        };
        let append = match answer {
            Some(answer) => Box::pin(std::future::ready(answer)),
            None => append,
        };
        self.writing.under_way = Some(UnderWay { append, events: count, then, joint, ends });
    }

    /// Takes what stands for all records so far, that of so many events included that is written first.
    fn begin_state(&mut self, events: usize) {
        let parts = journal::states(self.group.whole());
        self.writing.parts =
            std::iter::once(journal::configured(&self.config)).chain(parts).collect();
        let bytes: usize = self.writing.parts.iter().map(|part| part.data.len()).sum();
        (self.writing.state_bytes, self.writing.since_state) = (bytes as u64, 0);
        self.writing.state_began = Some(next_revision(self.writing.revision, events + 1));
    }

    /// Writes some parts of a state.
    fn write_part(&mut self, context: &mut Context<'_>) {
        let mut bytes = 0;
        let mut events = Vec::new();
        while let Some(part) = self.writing.parts.pop_front() {
            bytes += part.data.len();
            events.push(part);
            if bytes >= STATE_APPEND_BYTES {
                break;
            }
        }
        self.submit((Append::new(), events), (Vec::new(), None), false, context);
    }

    /// What stands before a state that is whole is of no use any more.
    fn end_state(&mut self) {
        if !self.writing.parts.is_empty() {
            return;
        }
        let Some(began) = self.writing.state_began.take() else { return };
        let (store, stream) = (self.store.clone(), self.stream.clone());
        self.writing.truncating = Some(Box::pin(async move {
            let change = StreamChange { truncate_before: Some(began), ..StreamChange::default() };
            // Where it does not work, more is read at the next opening, and the next state tries again.
            drop(store.set_stream(&stream, change).await);
        }));
    }
}

/// Tells those who wait that it is not written.
fn tell(then: Vec<Then>, joint: Option<Joint>, error: &AppendError) {
    if let Some(joint) = joint {
        (joint.then)(Err(error.clone()));
    }
    then.into_iter().for_each(|then| then(Err(error)));
}

/// Whether an append was not stored, for sure, and the log goes on.
fn is_refusal(error: &AppendError) -> bool {
    !matches!(
        error,
        AppendError::Unknown | AppendError::Poisoned { .. } | AppendError::Unavailable(_)
    )
}
