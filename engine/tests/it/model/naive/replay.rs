//! Whether an append happened before, and whether anything stands in its way.

use nexus_protocol::{
    Append, AppendError, Appended, Clause, EventData, EventId, ExpectedRevision, Position, Query,
};

use super::{Naive, Stored, conflict, place, same_content};

impl Naive {
    /// Positions of visible events with this id, the newest first.
    fn with_id(&self, id: EventId) -> impl Iterator<Item = usize> {
        let all = self.ids.get(&id).map_or(&[][..], Vec::as_slice);
        let mut all = all.to_vec();
        // An id that the store made is learned when it is read, maybe out of order.
        all.sort_unstable();
        all.into_iter().rev().filter(|p| self.visible(*p))
    }

    pub(crate) fn by_id(&self, id: EventId) -> Option<usize> {
        self.with_id(id).next()
    }

    /// The original answer, if this append happened before.
    pub(super) fn replay(&self, append: &Append) -> Result<Option<Appended>, AppendError> {
        let mut found = Vec::new();
        for stream in &append.streams {
            let now = self.now(&stream.stream);
            let first = match stream.expected {
                ExpectedRevision::Exact(at) => Some(at.get().saturating_add(1)),
                ExpectedRevision::NoStream => Some(now.life),
                ExpectedRevision::Any | ExpectedRevision::Exists => None,
            };
            if let Some(first) = first
                && !stream.events.is_empty()
                && (first..now.count).contains(&first)
                && first < now.floor
            {
                return Err(AppendError::BelowRetention { what: String::new() });
            }
            for (event, offset) in stream.events.iter().zip(0..) {
                let at = match first {
                    Some(first) => usize::try_from(first.saturating_add(offset))
                        .ok()
                        .and_then(|revision| self.positions(&stream.stream).get(revision))
                        .copied()
                        .filter(|p| event.id.is_some() && self.log[*p].event.id == event.id),
                    // Fewer than a million events: all of them are in the window.
                    None => event.id.and_then(|id| self.with_id(id).next()),
                };
                found.push(self.checked(at, &stream.stream, event)?);
            }
        }
        self.original(append, &found)
    }

    /// An id may come again only with what it came with.
    fn checked(
        &self,
        at: Option<usize>,
        stream: &str,
        event: &EventData,
    ) -> Result<Option<usize>, AppendError> {
        let Some(at) = at else { return Ok(None) };
        let stored = &self.log[at];
        if stored.stream == stream && same_content(event, &stored.event) {
            return Ok(Some(at));
        }
        let id = event.id.expect("it was found by its id");
        Err(AppendError::IdReused { id, position: Position::new(at as u64) })
    }

    fn original(
        &self,
        append: &Append,
        found: &[Option<usize>],
    ) -> Result<Option<Appended>, AppendError> {
        let stored: Vec<usize> = found.iter().copied().flatten().collect();
        let Some(first) = stored.first().copied() else { return Ok(None) };
        let one_append = stored.iter().copied().eq(first..first + stored.len());
        if stored.len() < found.len() || !one_append {
            let clause = Clause::Ids { stored: stored.len(), given: found.len() };
            return Err(conflict(clause, stored));
        }
        let mut streams = Vec::new();
        let mut at = first;
        for stream in append.streams.iter().filter(|stream| !stream.events.is_empty()) {
            let count = stream.events.len();
            streams.push(place(&stream.stream, self.log[at].revision, count as u64));
            at += count;
        }
        let positions = (Position::new(first as u64), Position::new(at as u64 - 1));
        Ok(Some(Appended { positions: Some(positions), streams, replayed: true }))
    }

    /// Nothing visible that matches may stand from `from` on, but what is this append's own.
    pub(super) fn clear(
        &self,
        append: &Append,
        query: &Query,
        from: u64,
        clause: Clause,
    ) -> Result<Option<Appended>, AppendError> {
        let in_the_way: Vec<usize> = (0..self.log.len())
            .filter(|p| *p as u64 >= from && !self.log[*p].is_system())
            .filter(|p| query_matches(query, &self.log[*p]) && self.visible(*p))
            .collect();
        if in_the_way.is_empty() {
            return Ok(None);
        }
        let events = || append.streams.iter().flat_map(|s| s.events.iter().map(move |e| (s, e)));
        let is_own = |p: &usize| {
            events().any(|(_, own)| own.id.is_some() && own.id == self.log[*p].event.id)
        };
        if append.event_count() > 0 && in_the_way.iter().all(is_own) {
            let mut found = Vec::new();
            for (stream, event) in events() {
                let at = event.id.and_then(|id| self.with_id(id).next());
                found.push(self.checked(at, &stream.stream, event)?);
            }
            if found.iter().all(Option::is_some) {
                self.own_replays.set(self.own_replays.get() + 1);
                return self.original(append, &found);
            }
        }
        Err(conflict(clause, in_the_way))
    }
}

fn query_matches(query: &Query, event: &Stored) -> bool {
    query.items.iter().any(|item| {
        let of_type = item.types.is_empty() || item.types.contains(&event.event.event_type);
        of_type && item.tags.iter().all(|tag| event.event.tags.contains(tag))
    })
}
