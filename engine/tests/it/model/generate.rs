//! What a run asks: appends of every shape, reads, filters, and subscriptions, from a seed and from
//! what the model holds. Half of it is meant to succeed; the rest is near misses.

use nexus_protocol::schema::AsSchema;
use nexus_protocol::{
    Append, AsOf, CorrelationId, Direction, EventData, ExpectedRevision, Filter, FilterItem, From,
    Position, Query, QueryItem, Read, Revision, SchemaId, Start, StreamAppend, StreamState,
    Subscribe, Timestamp, TraceContext,
};
use uuid::Uuid;

use super::naive::Naive;
use crate::history::id_of;
use crate::workload::Chance;

const CATEGORIES: [&str; 4] = ["a", "b", "order", "solo"];
const TYPES: [&str; 4] = ["Opened", "Changed", "Closed", "Moved"];
/// How many appends are kept to be asked again.
const PAST: usize = 400;

/// Makes requests.
pub(crate) struct Generator {
    pub(crate) chance: Chance,
    /// Number of the next event.
    next: u64,
    past: Vec<Append>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), next: 1, past: Vec::new() }
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.chance.below(bound)
    }

    /// Yes, once in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.chance.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    /// A stream: most often one of a few that change slowly, so that all of them grow old.
    pub(crate) fn stream(&mut self) -> String {
        let category = self.pick(&CATEGORIES);
        let base = self.next / 800;
        let number = if self.one_in(8) { self.below(base + 3) } else { base + self.below(3) };
        if category == "solo" { format!("solo{number}") } else { format!("{category}-{number}") }
    }

    /// A tag that many events have, or one that few have.
    fn tag(&mut self) -> String {
        if self.one_in(2) {
            return format!("kind:{}", self.below(5));
        }
        let near = self.next / 2 + self.below(8);
        format!("user:{near}")
    }

    fn event(&mut self) -> EventData {
        let number = self.next;
        self.next += 1;
        let bytes = match self.below(40) {
            0 => self.below(6000),
            1..8 => self.below(600),
            _ => self.below(60),
        };
        let mut data = number.to_le_bytes().repeat(usize::try_from(bytes / 8 + 1).unwrap());
        data.truncate(usize::try_from(bytes).unwrap());
        let kind = self.pick(&TYPES);
        let content_type = self.pick(&["application/json", "", "text/plain"]);
        let mut event = EventData::new(kind, content_type, data.into());
        if !self.one_in(4) {
            event.id = Some(id_of(number));
        }
        for _ in 0..self.below(4) {
            let tag = self.tag();
            event = event.tag(tag);
        }
        if self.one_in(3) {
            event = event.metadata(number.to_string().into_bytes());
        }
        if self.one_in(6) {
            let at = self.below(1 << 40).cast_signed() - (1 << 39);
            event = event.occurred_at(Timestamp::from_micros(at));
        }
        if self.one_in(8) {
            event = event.not_before(Timestamp::from_micros(self.below(1 << 40).cast_signed()));
        }
        if self.one_in(6) {
            event.correlation_id = Some(CorrelationId::from_uuid(Uuid::from_u128(number.into())));
            event.trace = Some(TraceContext { trace_id: [7; 16], span_id: [3; 8], flags: 1 });
        }
        if self.one_in(10) {
            event.schema = SchemaId::new(u32::try_from(self.below(9)).unwrap());
        }
        event
    }

    fn events(&mut self) -> Vec<EventData> {
        let count = match self.below(50) {
            0 => 20 + self.below(30),
            1..3 => 0,
            _ => 1 + self.below(3),
        };
        (0..count).map(|_| self.event()).collect()
    }

    /// What is expected of a stream: mostly what holds.
    pub(crate) fn expected(&mut self, naive: &Naive, stream: &str) -> ExpectedRevision {
        use ExpectedRevision::{Any, Exact, Exists, NoStream};
        if self.one_in(4) {
            let count = naive.now(stream).count;
            let near = Exact(Revision::new(self.below(count + 3)));
            let far = Exact(Revision::new(count + 1_000_000));
            return self.pick(&[NoStream, Exists, near, near, near, far, Exact(Revision::MAX)]);
        }
        match naive.now(stream).state {
            StreamState::At(head) => self.pick(&[Any, Exists, Exact(head), Exact(head)]),
            StreamState::Deleted(head) => self.pick(&[Any, NoStream, Exact(head)]),
            StreamState::Missing | StreamState::Tombstoned => self.pick(&[Any, NoStream]),
        }
    }

    fn query(&mut self) -> Query {
        let mut item = || match self.below(3) {
            0 => QueryItem::types([self.pick(&TYPES), self.pick(&TYPES)]),
            1 => {
                let (kind, tag) = (self.pick(&TYPES), self.tag());
                QueryItem::tags([tag]).of_types([kind])
            }
            _ => {
                let (one, other) = (self.tag(), self.tag());
                QueryItem::tags(if one.starts_with("kind:") { vec![one, other] } else { vec![one] })
            }
        };
        let first = item();
        if item().types.is_empty() { Query::any([first, item()]) } else { first.into() }
    }

    fn conditions(&mut self, naive: &Naive, mut append: Append) -> Append {
        if self.one_in(6) {
            let next = naive.next();
            let after = match self.below(6) {
                0 => None,
                1 => next.checked_sub(1 + self.below(20)),
                2 => Some(next + self.below(3)),
                _ => next.checked_sub(1),
            };
            append = append.boundary(self.query(), after.map(Position::new));
        }
        if self.one_in(10) {
            let query = match self.below(3) {
                0 => self.query(),
                _ => QueryItem::tags([format!("user:{}", self.next / 2 + self.below(20))]).into(),
            };
            append = append.absent(query);
        }
        if self.one_in(6) {
            append.idempotency_key = Some(format!("key-{}", self.next));
        }
        append
    }

    fn fresh(&mut self, naive: &Naive) -> Append {
        let mut append = Append::new();
        let streams = match self.below(12) {
            0 => 0,
            1..9 => 1,
            _ => 2 + self.below(2),
        };
        for _ in 0..streams {
            let stream = self.stream();
            if append.streams.iter().any(|known| known.stream == stream) {
                continue;
            }
            let expected = self.expected(naive, &stream);
            let checked_only = streams > 1 && self.one_in(3);
            let events = if checked_only { Vec::new() } else { self.events() };
            append.streams.push(StreamAppend { stream, expected, events });
        }
        let append = self.conditions(naive, append);
        if self.one_in(6) { self.claim(naive, append) } else { append }
    }

    /// The append claims a name for itself: only one can have it.
    fn claim(&mut self, naive: &Naive, mut append: Append) -> Append {
        let name = format!("claim:{}", self.next - self.below(self.next.min(8)));
        let last = append.streams.iter_mut().rev().find_map(|stream| stream.events.last_mut());
        let Some(last) = last else { return append };
        last.tags.push(name.clone());
        let query = QueryItem::tags([name]);
        if self.one_in(2) {
            return append.absent(query);
        }
        let after = if self.one_in(2) { naive.next().checked_sub(1) } else { None };
        append.boundary(query, after.map(Position::new))
    }

    /// An append.
    pub(crate) fn append(&mut self, naive: &Naive) -> Append {
        let append = match self.below(10) {
            0 if !self.past.is_empty() => self.again(),
            1 if !self.past.is_empty() => self.altered(naive),
            _ => self.fresh(naive),
        };
        if append.event_count() > 0 {
            if self.past.len() < PAST {
                self.past.push(append.clone());
            } else {
                let index = usize::try_from(self.below(PAST as u64)).unwrap();
                self.past[index] = append.clone();
            }
        }
        append
    }

    /// One that was asked before.
    fn again(&mut self) -> Append {
        let count = self.past.len() as u64;
        // The newest most often: the others are mostly hidden or far behind by now.
        let back = if self.one_in(2) { self.below(count.min(4)) } else { self.below(count) };
        self.past[usize::try_from(count - 1 - back).unwrap()].clone()
    }

    /// One that was asked before, with something changed.
    fn altered(&mut self, naive: &Naive) -> Append {
        let mut append = self.again();
        let stream = usize::try_from(self.below(append.streams.len() as u64)).unwrap();
        let what = self.below(12);
        let rebased = self.expected(naive, &append.streams[stream].stream);
        let (other, more) = (self.stream(), self.event());
        let renamed = append.streams.iter().all(|known| known.stream != other);
        let mut conditions = self.conditions(naive, Append::new());
        let of = &mut append.streams[stream];
        match (what, of.events.last_mut()) {
            (0, _) => drop(of.events.pop()),
            (1, Some(_)) => drop(of.events.remove(0)),
            (2, _) => of.events.push(more),
            (3, Some(last)) => last.data = more.data,
            (4, Some(last)) => last.correlation_id = more.correlation_id,
            (5, Some(last)) => last.tags = more.tags,
            (6, _) if renamed => of.stream = other,
            (7, _) => of.events.reverse(),
            (8..12, _) => {
                // What it claimed it has, wherever its streams are by now.
                append.boundary = append.boundary.or(conditions.boundary.take());
                append.absence = append.absence.or(conditions.absence.take());
                append.streams[stream].expected = rebased;
            }
            _ => of.expected = rebased,
        }
        append
    }

    fn filter_item(&mut self, naive: &Naive) -> FilterItem {
        let mut item = FilterItem::default();
        for _ in 0..1 + self.below(2) {
            match self.below(6) {
                0 => item.streams = vec![self.any_stream(naive), self.stream()],
                1 => {
                    item.categories = vec![self.pick(&["a", "b", "order", "solo0", "$meta"]).into()]
                }
                2 => item.types = vec![self.pick(&TYPES).into(), self.pick(&TYPES).into()],
                3 => {
                    let prefix = self.pick(&["a-", "or", "solo", "$meta-", "$s", "", "b-1"]);
                    item.stream_prefix = vec![prefix.into()];
                }
                4 => item.tags = vec![self.tag(), self.tag()],
                _ => item.tags = vec![self.tag()],
            }
        }
        item
    }

    fn filter(&mut self, naive: &Naive) -> Filter {
        let alternatives = 1 + self.below(2);
        let items: Vec<_> = (0..alternatives).map(|_| self.filter_item(naive)).collect();
        Filter::any(items)
    }

    /// A stream of the log, or one that may not be there.
    pub(crate) fn any_stream(&mut self, naive: &Naive) -> String {
        match self.below(4) {
            0 => self.stream(),
            1 => format!("{}{}", self.pick(&["$meta-", "$snapshot-"]), self.stream()),
            _ => {
                self.stored(naive).map_or_else(|| self.stream(), |at| naive.log[at].stream.clone())
            }
        }
    }

    /// A position that has an event, most often a late one.
    pub(crate) fn stored(&mut self, naive: &Naive) -> Option<usize> {
        let count = naive.next();
        let recent = if self.one_in(2) { count.min(100) } else { count };
        let back = self.below(recent.max(1));
        usize::try_from(count.checked_sub(1 + back)?).ok()
    }

    /// A time near one at which something was recorded.
    fn time(&mut self, naive: &Naive) -> Timestamp {
        let micros = match self.stored(naive) {
            Some(at) if !self.one_in(20) => naive.log[at].recorded_at,
            _ => self.pick(&[i64::MIN, 0, naive.clock, i64::MAX]),
        };
        let near = self.pick(&[-1, 0, 0, 0, 1]);
        Timestamp::from_micros(micros.saturating_add(near))
    }

    fn position(&mut self, naive: &Naive) -> Position {
        let next = naive.next();
        let far = self.pick(&[u64::MAX, next, next + 7]);
        let near = self.stored(naive).map_or(0, |at| at as u64);
        Position::new(if self.one_in(10) { far } else { near })
    }

    /// A read of any kind.
    pub(crate) fn read(&mut self, naive: &Naive) -> Read {
        let stream = if self.one_in(2) { Some(self.any_stream(naive)) } else { None };
        let count = stream.as_ref().map_or(3, |stream| naive.now(stream).count);
        let mut revision = || match self.below(10) {
            0 => Revision::MAX,
            _ => Revision::new(self.below(count + 3)),
        };
        let (from_revision, to_revision) = (revision(), revision());
        let by_revision = stream.is_some() || self.one_in(20);
        let from = match self.below(6) {
            0 if by_revision => From::Revision(from_revision),
            1 if by_revision => From::Revision(from_revision),
            2 => From::Position(self.position(naive)),
            3 => From::Time(self.time(naive)),
            _ => From::Start,
        };
        let as_of = match self.below(12) {
            0 if by_revision => Some(AsOf::Revision(to_revision)),
            1 => Some(AsOf::Position(self.position(naive))),
            2 => Some(AsOf::Recorded(self.time(naive))),
            _ => None,
        };
        let direction = if self.one_in(2) { Direction::Forwards } else { Direction::Backwards };
        // A whole log is long.
        let limit = match self.below(10) {
            0 => Some(0),
            1 => None,
            2 if stream.is_some() => None,
            _ => Some(1 + self.below(100)),
        };
        let filter = if self.one_in(2) { self.filter(naive) } else { Filter::all() };
        let system = self.one_in(3);
        let as_schema = AsSchema::Raw;
        Read { stream, direction, from, filter, limit, as_of, system, as_schema }
    }

    /// A subscription, from where it may begin.
    pub(crate) fn subscribe(&mut self, naive: &Naive) -> Subscribe {
        let stream = if self.one_in(4) { Some(self.any_stream(naive)) } else { None };
        let position = self.position(naive);
        let start = match self.below(6) {
            0 => Start::Beginning,
            1 => Start::End,
            2 | 3 => Start::After(position),
            _ => Start::At(position),
        };
        let filter = if self.one_in(3) { Filter::all() } else { self.filter(naive) };
        let checkpoint_every = self.pick(&[0, 1, 5, 30, 200]);
        let (system, as_schema) = (self.one_in(3), AsSchema::Raw);
        Subscribe { stream, start, filter, system, checkpoint_every, as_schema }
    }
}
