//! What the cases share: asking a client, and waiting for what must come.

use std::time::{Duration, Instant};

use nexus_client::Client;
use nexus_protocol::projection::{FoundDocument, Lookup, ProjectionChange, ProjectionInfo};
use nexus_protocol::search::{SearchAnswer, SearchRequest};
use nexus_protocol::{Append, EventData, EventStore, Position, ReadError};
use serde_json::{Map, Value};

/// Longer than anything takes that is waited for.
pub(super) const SOON_MS: u64 = 30_000;

/// What keeps documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// By key alone.
    Kv,
    /// By what is in them, too.
    Search,
}

impl Sink {
    /// As definitions name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Search => "search",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Kv => Self::Search,
            Self::Search => Self::Kv,
        }
    }
}

/// A namespace, and what its projections keep documents in.
pub(super) struct Store {
    pub(super) client: Client,
    pub(super) sink: Sink,
}

impl Store {
    pub(super) fn new(client: Client, sink: Sink) -> Self {
        Self { client, sink }
    }

    /// Makes a projection, with the sink of the case.
    pub(super) async fn make(&self, definition: &Value) -> Value {
        let definition = self.with_sink(definition);
        let name = definition["name"].as_str().unwrap();
        assert!(self.client.set_projection(name, &definition).await.unwrap(), "it is new");
        definition
    }

    pub(super) fn with_sink(&self, definition: &Value) -> Value {
        let mut definition = definition.clone();
        definition["sink"] = self.sink.name().into();
        definition
    }

    pub(super) async fn append(&self, stream: &str, event: EventData) -> Position {
        let append = Append::to(stream).event(event);
        EventStore::append(&self.client, append).await.unwrap().last().unwrap()
    }

    /// Appends several events at once.
    pub(super) async fn append_all(&self, stream: &str, events: Vec<EventData>) -> Position {
        let append = Append::to(stream).events(events);
        EventStore::append(&self.client, append).await.unwrap().last().unwrap()
    }

    pub(super) async fn look(
        &self,
        name: &str,
        key: &str,
        min: Option<Position>,
    ) -> Result<FoundDocument, ReadError> {
        let lookup = Lookup { key: key.into(), min_position: min, timeout_ms: Some(SOON_MS) };
        self.client.lookup(name, &lookup).await
    }

    /// A document as of a position, at least; `None`: there is none.
    pub(super) async fn document(
        &self,
        name: &str,
        key: &str,
        min: Position,
    ) -> Option<Map<String, Value>> {
        match self.look(name, key, Some(min)).await {
            Ok(found) => {
                assert_eq!(found.key, key);
                let as_of = found.as_of_position.unwrap();
                assert!(as_of >= min && found.position <= as_of, "{found:?}");
                Some(found.document)
            }
            Err(ReadError::NotFound { .. }) => None,
            Err(error) => panic!("{name} {key:?}: {error}"),
        }
    }

    pub(super) async fn search(
        &self,
        name: &str,
        asked: &SearchRequest,
    ) -> Result<SearchAnswer, ReadError> {
        self.client.search(name, asked).await
    }

    pub(super) async fn change(&self, name: &str, change: ProjectionChange) {
        self.client.change_projection(name, change).await.unwrap();
    }

    /// How a projection is, once that is as wanted.
    pub(super) async fn once(
        &self,
        name: &str,
        wanted: impl Fn(&ProjectionInfo) -> bool,
    ) -> ProjectionInfo {
        let begun = Instant::now();
        loop {
            let info = self.client.projection(name).await.unwrap();
            if wanted(&info) {
                return info;
            }
            assert!(begun.elapsed() < Duration::from_millis(SOON_MS), "{info:?}");
            std::thread::yield_now();
        }
    }

    /// How a projection is, once it knows of all that is there.
    pub(super) async fn settled(&self, name: &str) -> ProjectionInfo {
        self.once(name, |info| info.builds.iter().all(|build| build.lag_events == 0)).await
    }
}

/// What tells two copies apart.
pub(super) fn digests(info: &ProjectionInfo) -> (String, String, u64, u64) {
    let ProjectionInfo { events_digest, documents_digest, events, documents, .. } = info.clone();
    (events_digest, documents_digest, events, documents)
}

/// An event with these data.
pub(super) fn event(event_type: &str, data: &Value) -> EventData {
    EventData::json(event_type, data).unwrap()
}

/// A search that finds all of what it asks for, up to its bound.
pub(super) fn asking(query: Value, min: Position) -> SearchRequest {
    SearchRequest {
        query: Some(query),
        limit: nexus_protocol::limits::SEARCH_LIMIT_MAX,
        min_position: Some(min),
        timeout_ms: Some(SOON_MS),
        ..SearchRequest::default()
    }
}
