//! [`Timers`]: which timers are armed, which have failed, and which is due next. Pure: events and the time are told to
//! it. Of a timer it keeps where the event that armed it stands, not what it is to do: that is read when it fires.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nexus_protocol::timer::{TimerFailure, TimerState};
use nexus_protocol::{Position, Revision, Timestamp};

/// The timers of a namespace that are armed or failed.
///
/// A timer is known by the position of the event that armed it, which no other arming of it has: what is said of an
/// arming that is over has no effect.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    by_position: BTreeMap<u64, Entry>,
    by_id: BTreeMap<Arc<str>, u64>,
    /// The armed ones that are not being fired.
    due: BTreeSet<(Timestamp, u64)>,
    /// Of those that were tried and are armed still.
    tried: BTreeMap<u64, TimerFailure>,
    /// The ids of those that failed.
    failed: BTreeSet<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Entry {
    id: Arc<str>,
    revision: Revision,
    /// When it is due; `None`: it has failed.
    due_at: Option<Timestamp>,
    /// When it is to be tried next; `None`: it is being fired, or has failed.
    next_try: Option<Timestamp>,
}

/// A timer that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its id.
    pub id: Arc<str>,
    /// The revision of the event that armed it.
    pub revision: Revision,
    /// Where that event stands.
    pub position: Position,
    /// When it was due.
    pub due_at: Timestamp,
    /// How it failed before.
    pub tried: Option<TimerFailure>,
}

impl Timers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// A timer is armed, or armed anew.
    pub fn arm(&mut self, id: &str, due_at: Timestamp, revision: Revision, position: Position) {
        self.enter(id, Some(due_at), revision, position);
        self.due.insert((due_at, position.get()));
    }

    /// A timer has failed, as an event says that stands there.
    pub fn fail(&mut self, id: &str, revision: Revision, position: Position) {
        self.enter(id, None, revision, position);
        self.failed.insert(id.into());
    }

    fn enter(
        &mut self,
        id: &str,
        due_at: Option<Timestamp>,
        revision: Revision,
        position: Position,
    ) {
        self.end(id);
        let id: Arc<str> = id.into();
        self.by_id.insert(Arc::clone(&id), position.get());
        self.by_position.insert(position.get(), Entry { id, revision, due_at, next_try: due_at });
    }

    /// A timer is neither armed nor failed any more.
    pub fn end(&mut self, id: &str) {
        let Some(position) = self.by_id.remove(id) else { return };
        let Some(entry) = self.by_position.remove(&position) else { return };
        self.tried.remove(&position);
        self.failed.remove(id);
        if let Some(at) = entry.next_try {
            self.due.remove(&(at, position));
        }
    }

    /// What was armed by the event there has fired, or is known to be over.
    pub fn done(&mut self, position: Position) {
        if let Some(entry) = self.by_position.get(&position.get()) {
            let id = Arc::clone(&entry.id);
            self.end(&id);
        }
    }

    /// What was armed by the event there is to be tried again at a time; `failure`: it counts as having failed so.
    pub fn again(&mut self, position: Position, at: Timestamp, failure: Option<TimerFailure>) {
        let Some(entry) = self.by_position.get_mut(&position.get()) else { return };
        entry.next_try = Some(at);
        if let Some(failure) = failure {
            self.tried.insert(position.get(), failure);
        }
        self.due.insert((at, position.get()));
    }

    /// Takes the next timer that is due: it is due no more until it is said what became of it.
    pub fn take_due(&mut self, now: Timestamp) -> Option<Due> {
        let (at, position) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        let entry = self.by_position.get_mut(&position)?;
        entry.next_try = None;
        Some(Due {
            id: Arc::clone(&entry.id),
            revision: entry.revision,
            position: Position::new(position),
            due_at: entry.due_at.unwrap_or(at),
            tried: self.tried.get(&position).cloned(),
        })
    }

    /// When the next one is due, of those that are not being fired.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The first position that has to be read to know all of them.
    pub fn first_position(&self) -> Option<Position> {
        self.by_position.keys().next().copied().map(Position::new)
    }

    /// How many are armed.
    pub fn armed(&self) -> usize {
        self.by_position.len() - self.failed.len()
    }

    /// How many have failed.
    pub fn failed(&self) -> usize {
        self.failed.len()
    }

    /// The ids of those that stand so, after an id, sorted.
    pub fn ids<'a>(
        &'a self,
        state: TimerState,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<str>> + 'a {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.by_id.range::<str, _>((from, Bound::Unbounded)).map(|(id, _)| id);
        let failed = self.failed.range::<str, _>((from, Bound::Unbounded));
        let armed =
            (state == TimerState::Armed).then(|| all.filter(|id| !self.failed.contains(&***id)));
        let failed = (state == TimerState::Failed).then_some(failed);
        armed.into_iter().flatten().chain(failed.into_iter().flatten())
    }
}
