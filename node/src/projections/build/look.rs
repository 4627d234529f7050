//! What whoever looks sees of a build, whatever it is at.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use nexus_delivery::projection::{Checkpoint, Documents};
use nexus_protocol::Position;
use nexus_protocol::projection::{BuildInfo, ProjectionState};
use nexus_search::Searching;

use super::Build;

/// How long it is waited to be told of a commit whose documents are seen already: whoever has made it is about to tell.
const TOLD: Duration = Duration::from_secs(1);

/// Why documents cannot be looked up.
pub(in crate::projections) enum NotFresh {
    /// They are there no more.
    Ended,
    /// The time is over.
    TimedOut,
    /// They are not open, and why.
    Failed(String),
}

/// What is looked up, and how fresh that is.
pub(in crate::projections) struct Fresh {
    pub(in crate::projections) documents: Arc<dyn Documents>,
    /// The same documents, where they can be searched.
    pub(in crate::projections) searching: Option<Searching>,
    /// The first position that they knew nothing of when they were asked for.
    pub(in crate::projections) next: Position,
}

impl Build {
    /// The first position that its documents know nothing of.
    pub(in crate::projections) fn next(&self) -> Position {
        self.view().progress.as_ref().map_or(Position::ZERO, |it| it.next)
    }

    /// Its documents, once they know of a position.
    pub(in crate::projections) fn fresh(
        &self,
        min: Option<Position>,
        timeout: Duration,
    ) -> Result<Fresh, NotFresh> {
        let deadline = Instant::now() + timeout;
        let mut view = self.view();
        loop {
            let next = view.progress.as_ref().map(|it| it.next);
            match (next, &view.documents, &view.error) {
                (Some(next), Some(documents), _) if min.is_none_or(|min| next > min) => {
                    let (documents, searching) = (Arc::clone(documents), view.searching.clone());
                    return Ok(Fresh { documents, searching, next });
                }
                (_, None, Some(why)) => return Err(NotFresh::Failed(why.clone())),
                _ if self.has_ended() => return Err(NotFresh::Ended),
                _ => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NotFresh::TimedOut);
            }
            let waited = self.seen.wait_timeout(view, left);
            view = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Looks at its documents, and says what there is about keys that wait in the commit that they are of: the greatest of
    /// what is so before and after, since nothing holds them still.
    pub(in crate::projections) fn look<T, W: Ord + Default, E>(
        &self,
        waiting: impl Fn(&Checkpoint) -> W,
        look: impl FnOnce() -> Result<(T, Position), E>,
    ) -> Result<(T, Position, W), E> {
        let before = self.committed(Position::ZERO, &waiting);
        let (found, next) = look()?;
        let after = self.committed(next, &waiting);
        Ok((found, next, before.max(after)))
    }

    /// What there is about the last commit that knows all before a position, or about an earlier one, where none is told.
    fn committed<W: Default>(&self, next: Position, of: impl Fn(&Checkpoint) -> W) -> W {
        let deadline = Instant::now() + TOLD;
        let mut view = self.view();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match &view.progress {
                Some(progress) if progress.next >= next => return of(&progress.committed),
                progress if left.is_zero() || view.documents.is_none() || self.has_ended() => {
                    return progress.as_ref().map(|it| of(&it.committed)).unwrap_or_default();
                }
                _ => {}
            }
            let waited = self.seen.wait_timeout(view, left);
            view = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How it is.
    pub(in crate::projections) fn info(
        &self,
        is_active: bool,
        head: Option<Position>,
    ) -> BuildInfo {
        let view = self.view().clone();
        let is_paused = self.is_paused.load(Ordering::SeqCst);
        let takes_over = self.takes_over.load(Ordering::SeqCst);
        let end = head.map_or(0, |head| head.get() + 1);
        let next = view.progress.as_ref().map_or(0, |it| it.next.get());
        let lag_events = end.saturating_sub(next);
        let is_behind = view.progress.as_ref().is_none_or(|it| !it.is_at_end);
        let state = match view.error {
            Some(_) => ProjectionState::Failed,
            None if is_paused => ProjectionState::Paused,
            None if is_behind && (!is_active || view.again.is_some()) => {
                ProjectionState::Rebuilding
            }
            None if takes_over => ProjectionState::Rebuilding,
            None => ProjectionState::Running,
        };
        let committed = view.progress.as_ref().map(|it| &it.committed);
        let again = view.again.map(|why| format!("folded again: {why}"));
        BuildInfo {
            version: self.id.version,
            generation: self.id.generation,
            active: is_active,
            state,
            position: Position::new(next).previous(),
            lag_events,
            documents: committed.map_or(0, |it| it.documents),
            events: committed.map_or(0, |it| it.events),
            events_digest: committed.map(|it| it.events_digest).unwrap_or_default().to_string(),
            documents_digest: committed
                .map(|it| it.documents_digest)
                .unwrap_or_default()
                .to_string(),
            parked: committed.map_or(0, Checkpoint::parked) as u64,
            error: view.error.or(again),
        }
    }
}
