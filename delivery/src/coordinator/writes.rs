//! Writing the group's records, one after the other.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use nexus_protocol::{
    Append, AppendError, Appended, EventData, EventStore, ExpectedRevision, Revision, StreamChange,
    Timestamp,
};

use super::{Boxed, Coordinator, Ended, journal, next_revision};
use crate::group::Held;

/// Once records have come to so many bytes since the last whole state, and to several times the state's, a state is
/// written: opening the group reads no more than that.
const STATE_AFTER_BYTES: u64 = 1024 * 1024;
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
    pub(super) fn after(revision: Revision) -> Self {
        Self {
            revision,
            under_way: None,
            next: Vec::new(),
            before: Vec::new(),
            joint: None,
            since_state: 0,
            state_bytes: 0,
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

    /// Nothing more is written.
    pub(super) fn fail(&mut self, error: &AppendError) {
        let under_way = self.under_way.take();
        let waiting = self.joint.take().map(|(joint, _)| joint);
        let (then, joint) = under_way.map_or((Vec::new(), None), |it| (it.then, it.joint));
        for joint in joint.into_iter().chain(waiting) {
            (joint.then)(Err(error.clone()));
        }
        for then in then.into_iter().chain(self.next.drain(..)) {
            then(Err(error));
        }
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
        let Some(UnderWay { events, then, joint, .. }) = self.writing.under_way.take() else {
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
                if self.deleting { Err(Ended::Deleted) } else { Ok(()) }
            }
            // The user's conditions do not hold, or the group is fenced: the next record tells.
            (Err(error), Some(joint)) if is_refusal(&error) => {
                self.group.settle(joint.held, false, now);
                (joint.then)(Err(error));
                Ok(())
            }
            (Err(error), joint) => {
                if let Some(joint) = joint {
                    (joint.then)(Err(error.clone()));
                }
                then.into_iter().for_each(|then| then(Err(&error)));
                Err(Ended::Failed(error))
            }
        }
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
        self.answers = 0;
        if let Some(record) = self.group.record() {
            events.extend(journal::changes(&record));
            self.counts.records += 1;
        }
        let bytes: usize = events.iter().map(|event| event.data.len()).sum();
        self.writing.since_state += bytes as u64;
        self.counts.record_bytes += bytes as u64;
        if !events.is_empty() {
            return self.submit((Append::new(), events), then, None, context);
        }
        // All of it was durable before.
        then.into_iter().for_each(|then| then(Ok(())));
        if let Some((joint, append)) = self.writing.joint.take() {
            let events = journal::changes(&self.group.record_of(&joint.held)).collect();
            self.submit((append, events), Vec::new(), Some(joint), context);
        } else if self.writing.since_state >= STATE_AFTER_BYTES.max(4 * self.writing.state_bytes) {
            self.begin_state();
            self.write_part(context);
        }
    }

    fn submit(
        &mut self,
        (append, events): (Append, Vec<EventData>),
        then: Vec<Then>,
        joint: Option<Joint>,
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
        self.writing.under_way = Some(UnderWay { append, events: count, then, joint });
    }

    /// Takes what stands for all records so far.
    fn begin_state(&mut self) {
        let parts = journal::states(self.group.whole());
        self.writing.parts =
            std::iter::once(journal::configured(&self.config)).chain(parts).collect();
        let bytes: usize = self.writing.parts.iter().map(|part| part.data.len()).sum();
        (self.writing.state_bytes, self.writing.since_state) = (bytes as u64, 0);
        self.writing.state_began = Some(self.writing.revision.next());
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
        self.submit((Append::new(), events), Vec::new(), None, context);
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

/// Whether an append was not stored, for sure, and the log goes on.
fn is_refusal(error: &AppendError) -> bool {
    !matches!(
        error,
        AppendError::Unknown | AppendError::Poisoned { .. } | AppendError::Unavailable(_)
    )
}
