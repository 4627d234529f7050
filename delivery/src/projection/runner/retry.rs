//! What was held up is folded again: the event that failed, and what came behind it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use nexus_protocol::{EventStore, Looked, Position, Read, RecordedEvent, Timestamp};

use super::super::lanes::{Lane, LaneKey};
use super::{Ended, Folded, Projection, Runner, Sink};
use crate::coordinator::unread;

/// Events that are looked at before live ones have their turn again.
const EVENTS_A_STEP: u64 = 1_000;

/// A key whose events are folded again.
pub(super) struct Retrying<S: EventStore> {
    key: LaneKey,
    /// The first position that was not looked at.
    next: u64,
    /// What is read; nothing is read for live ones meanwhile.
    read: Option<S::ReadStream>,
    /// Events of the read that were looked at.
    seen: u64,
}

/// Whether more of a key is to be looked at.
#[derive(PartialEq, Eq)]
enum Goes {
    On,
    Over,
}

impl<S: EventStore, P: Projection, K: Sink> Runner<S, P, K> {
    /// Folds again what is due. `Ready`: live events have their turn.
    pub(super) fn retry(
        &mut self,
        context: &mut Context<'_>,
        now: Timestamp,
    ) -> Result<Poll<()>, Ended> {
        let mut retrying = match self.retrying.take() {
            Some(retrying) => retrying,
            None => {
                let due = self.at.lanes.due(now);
                let lane = due.and_then(|key| Some((self.at.lanes.get_mut(&key)?.from, key)));
                let Some((next, key)) = lane else { return Ok(Poll::Ready(())) };
                Retrying { key, next, read: None, seen: 0 }
            }
        };
        loop {
            let filter = self.projection.filter();
            let read = retrying.read.get_or_insert_with(|| {
                let from = Position::new(retrying.next);
                let read = Read::all().filter(filter.clone()).from_position(from);
                self.store.read(read.limit(EVENTS_A_STEP))
            });
            match Pin::new(read).poll_next(context) {
                Poll::Pending => {
                    self.retrying = Some(retrying);
                    return Ok(Poll::Pending);
                }
                Poll::Ready(Some(Err(error))) => return Err(Ended::Log(unread(error))),
                Poll::Ready(Some(Ok(event))) if event.position() < self.at.next => {
                    retrying.next = event.position().get() + 1;
                    retrying.seen += 1;
                    if self.fold_again(&retrying.key, &event, now)? == Goes::Over {
                        return Ok(Poll::Ready(()));
                    }
                }
                Poll::Ready(None) if retrying.seen >= EVENTS_A_STEP => {
                    (retrying.read, retrying.seen) = (None, 0);
                    self.retrying = Some(retrying);
                    context.waker().wake_by_ref();
                    return Ok(Poll::Ready(()));
                }
                // All was looked at that live ones have passed.
                Poll::Ready(_) => {
                    self.at.lanes.remove(&retrying.key);
                    self.unseen_since.get_or_insert(now);
                    context.waker().wake_by_ref();
                    return Ok(Poll::Ready(()));
                }
            }
        }
    }

    /// Folds an event again, if it is of this key.
    fn fold_again(
        &mut self,
        key: &LaneKey,
        event: &RecordedEvent,
        now: Timestamp,
    ) -> Result<Goes, Ended> {
        let LaneKey::Key(wanted) = key else { return Ok(Goes::Over) };
        let position = event.position().get();
        // Whose key it has is known by what it is folded as; what is skipped need not have one.
        let (folded, is_of_it) = match self.amended(event) {
            None => (Folded::Done, self.is_of(wanted, event)),
            Some(amended) => {
                let looked = Looked::new(amended.as_ref().unwrap_or(event));
                match self.key(&looked) {
                    Ok(Some(found)) if found == *wanted => (self.fold(wanted, &looked)?, true),
                    _ => (Folded::Done, false),
                }
            }
        };
        if !is_of_it {
            return Ok(Goes::On);
        }
        if matches!(folded, Folded::RolledBack) {
            return Ok(Goes::Over);
        }
        self.unseen_since.get_or_insert(now);
        let Some(lane) = self.at.lanes.get_mut(key) else { return Ok(Goes::Over) };
        let is_first = lane.position == position;
        let behind = if is_first { lane.behind } else { lane.behind.saturating_sub(1) };
        match folded {
            Folded::Failed(failed) if is_first => lane.failed(&failed, now),
            Folded::Failed(failed) => *lane = Lane { behind, ..Lane::new(position, &failed, now) },
            // Where that is committed before the rest is folded, it goes on behind it.
            _ => {
                (lane.from, lane.behind) = (position + 1, behind);
                return Ok(Goes::On);
            }
        }
        Ok(Goes::Over)
    }

    fn is_of(&self, wanted: &str, event: &RecordedEvent) -> bool {
        self.key(&Looked::new(event)).is_ok_and(|key| key.as_deref() == Some(wanted))
    }
}
