//! Requests to read, and the small words that requests and answers share.

use rkyv::{Archive, Deserialize, Serialize};

use crate::append::{ExpectedRevision, Query, QueryItem, StreamState};
use crate::filter::{Filter, FilterItem};
use crate::ids::{Position, Revision};
use crate::read::{AsOf, Direction, From as ReadFrom, Read, Start, Subscribe};
use crate::schema::AsSchema;
use crate::time::Timestamp;

/// What the writer believes of a stream: [`ExpectedRevision`].
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub enum ExpectedHead {
    /// Nothing.
    Any,
    /// That it has no events.
    NoStream,
    /// That it has events.
    Exists,
    /// That its newest event has this revision.
    Exact(u64),
}

impl From<ExpectedRevision> for ExpectedHead {
    fn from(expected: ExpectedRevision) -> Self {
        match expected {
            ExpectedRevision::Any => Self::Any,
            ExpectedRevision::NoStream => Self::NoStream,
            ExpectedRevision::Exists => Self::Exists,
            ExpectedRevision::Exact(revision) => Self::Exact(revision.get()),
        }
    }
}

impl From<ExpectedHead> for ExpectedRevision {
    fn from(head: ExpectedHead) -> Self {
        match head {
            ExpectedHead::Any => Self::Any,
            ExpectedHead::NoStream => Self::NoStream,
            ExpectedHead::Exists => Self::Exists,
            ExpectedHead::Exact(revision) => Self::Exact(Revision::new(revision)),
        }
    }
}

/// What a stream is: [`StreamState`].
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub enum StateHead {
    /// It never had an event.
    Missing,
    /// Its newest event has this revision.
    At(u64),
    /// Soft-deleted after this revision.
    Deleted(u64),
    /// Deleted for good.
    Tombstoned,
}

impl From<StreamState> for StateHead {
    fn from(state: StreamState) -> Self {
        match state {
            StreamState::Missing => Self::Missing,
            StreamState::At(revision) => Self::At(revision.get()),
            StreamState::Deleted(revision) => Self::Deleted(revision.get()),
            StreamState::Tombstoned => Self::Tombstoned,
        }
    }
}

impl From<StateHead> for StreamState {
    fn from(head: StateHead) -> Self {
        match head {
            StateHead::Missing => Self::Missing,
            StateHead::At(revision) => Self::At(Revision::new(revision)),
            StateHead::Deleted(revision) => Self::Deleted(Revision::new(revision)),
            StateHead::Tombstoned => Self::Tombstoned,
        }
    }
}

/// Items of a query, each its types and its tags: [`Query`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct QueryHead(Vec<(Vec<String>, Vec<String>)>);

impl From<&Query> for QueryHead {
    fn from(query: &Query) -> Self {
        Self(query.items.iter().map(|i| (i.types.clone(), i.tags.clone())).collect())
    }
}

impl From<QueryHead> for Query {
    fn from(head: QueryHead) -> Self {
        Self { items: head.0.into_iter().map(|(types, tags)| QueryItem { types, tags }).collect() }
    }
}

/// One alternative of a filter: [`FilterItem`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct FilterItemHead {
    streams: Vec<String>,
    stream_prefix: Vec<String>,
    categories: Vec<String>,
    types: Vec<String>,
    tags: Vec<String>,
}

pub(super) fn filter_head(filter: &Filter) -> Vec<FilterItemHead> {
    let head = |item: &FilterItem| FilterItemHead {
        streams: item.streams.clone(),
        stream_prefix: item.stream_prefix.clone(),
        categories: item.categories.clone(),
        types: item.types.clone(),
        tags: item.tags.clone(),
    };
    filter.alternatives().iter().map(head).collect()
}

pub(super) fn filter_of(head: Vec<FilterItemHead>) -> Filter {
    Filter::any(head.into_iter().map(|item| FilterItem {
        streams: item.streams,
        stream_prefix: item.stream_prefix,
        categories: item.categories,
        types: item.types,
        tags: item.tags,
    }))
}

/// Where a read begins or what past it sees.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum PlaceHead {
    Revision(u64),
    Position(u64),
    Time(i64),
}

/// A bounded read: [`Read`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ReadHead {
    stream: Option<String>,
    backwards: bool,
    from: Option<PlaceHead>,
    filter: Vec<FilterItemHead>,
    limit: Option<u64>,
    as_of: Option<PlaceHead>,
    system: bool,
}

impl From<&Read> for ReadHead {
    fn from(read: &Read) -> Self {
        Self {
            stream: read.stream.clone(),
            backwards: read.direction == Direction::Backwards,
            from: match read.from {
                ReadFrom::Start => None,
                ReadFrom::Revision(revision) => Some(PlaceHead::Revision(revision.get())),
                ReadFrom::Position(position) => Some(PlaceHead::Position(position.get())),
                ReadFrom::Time(time) => Some(PlaceHead::Time(time.as_micros())),
            },
            filter: filter_head(&read.filter),
            limit: read.limit,
            as_of: read.as_of.map(|as_of| match as_of {
                AsOf::Revision(revision) => PlaceHead::Revision(revision.get()),
                AsOf::Position(position) => PlaceHead::Position(position.get()),
                AsOf::Recorded(time) => PlaceHead::Time(time.as_micros()),
            }),
            system: read.system,
        }
    }
}

impl From<ReadHead> for Read {
    fn from(head: ReadHead) -> Self {
        Self {
            stream: head.stream,
            direction: if head.backwards { Direction::Backwards } else { Direction::Forwards },
            from: match head.from {
                None => ReadFrom::Start,
                Some(PlaceHead::Revision(n)) => ReadFrom::Revision(Revision::new(n)),
                Some(PlaceHead::Position(n)) => ReadFrom::Position(Position::new(n)),
                Some(PlaceHead::Time(us)) => ReadFrom::Time(Timestamp::from_micros(us)),
            },
            filter: filter_of(head.filter),
            limit: head.limit,
            as_of: head.as_of.map(|as_of| match as_of {
                PlaceHead::Revision(n) => AsOf::Revision(Revision::new(n)),
                PlaceHead::Position(n) => AsOf::Position(Position::new(n)),
                PlaceHead::Time(us) => AsOf::Recorded(Timestamp::from_micros(us)),
            }),
            system: head.system,
            as_schema: AsSchema::Raw,
        }
    }
}

/// Where a subscription begins: [`Start`].
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum StartHead {
    Beginning,
    After(u64),
    At(u64),
    End,
}

/// An unbounded read: [`Subscribe`], with the first credit.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SubscribeHead {
    stream: Option<String>,
    start: StartHead,
    filter: Vec<FilterItemHead>,
    system: bool,
    checkpoint_every: u64,
    /// So many events may come before more credit is given; markers cost none.
    pub credit: u32,
}

impl SubscribeHead {
    /// A subscription that may send `credit` events at first.
    pub fn new(subscribe: &Subscribe, credit: u32) -> Self {
        Self {
            stream: subscribe.stream.clone(),
            start: match subscribe.start {
                Start::Beginning => StartHead::Beginning,
                Start::After(position) => StartHead::After(position.get()),
                Start::At(position) => StartHead::At(position.get()),
                Start::End => StartHead::End,
            },
            filter: filter_head(&subscribe.filter),
            system: subscribe.system,
            checkpoint_every: subscribe.checkpoint_every,
            credit,
        }
    }
}

impl From<SubscribeHead> for Subscribe {
    fn from(head: SubscribeHead) -> Self {
        Self {
            stream: head.stream,
            start: match head.start {
                StartHead::Beginning => Start::Beginning,
                StartHead::After(n) => Start::After(Position::new(n)),
                StartHead::At(n) => Start::At(Position::new(n)),
                StartHead::End => Start::End,
            },
            filter: filter_of(head.filter),
            system: head.system,
            checkpoint_every: head.checkpoint_every,
            as_schema: AsSchema::Raw,
        }
    }
}
