//! The one place where commands meet a log: in a data directory, or behind a server.

mod place;
mod remote;
mod schemas;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nexus_engine::{CloseError, Engine, Namespace, OpenError, Options};
use nexus_node::{Access, Node, Principal};
use nexus_protocol::route::Link;
use nexus_protocol::{
    Append, AppendError, Appended, Corruption, EventId, EventStore, ExpectedRevision, Explain,
    Head, Read, ReadError, RecordedEvent, SnapshotInfo, Stats, StreamChange, StreamInfo,
    StreamList, StreamState, Subscribe, SubscriptionItem, Unavailable,
};
use nexus_rows::Row;

pub(crate) use place::{Given, Place, before_contexts, current_context, server_address};
pub(crate) use remote::Remote;

use crate::exit::Failure;
use crate::import::{Standing, Target};

/// An open log.
pub(crate) struct Store {
    reach: Reach,
    schemas: schemas::Schemas,
}

/// Where it is.
#[expect(clippy::large_enum_variant, reason = "a command has one")]
enum Reach {
    /// In a data directory of this machine. Appends are held to its schemas: those of a node, which is made when it is
    /// needed.
    Here { engine: Engine, namespace: Namespace, node: OnceLock<Result<Access, AppendError>> },
    /// Behind a server.
    There(Arc<Remote>),
}

impl Store {
    /// For appending; an empty or missing directory is made a new log.
    ///
    /// # Errors
    /// As the engine says.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options())
    }

    /// The same, with data of an event up to so many bytes.
    ///
    /// # Errors
    /// As the engine says.
    pub(crate) fn open_for_data(place: &Place, data_bytes_max: usize) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options().data_bytes_max(data_bytes_max))
    }

    /// For changing what is there.
    ///
    /// # Errors
    /// As the engine says, and when nothing is there.
    pub(crate) fn open_existing(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options().create(false))
    }

    /// For reading only.
    ///
    /// # Errors
    /// As the engine says, and when nothing is there.
    pub(crate) fn open_to_read(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options().create(false).read_only(true))
    }

    /// For reading what is left of a directory that may be damaged.
    ///
    /// # Errors
    /// As the engine says, and when nothing is there.
    pub(crate) fn open_damaged(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options().create(false).damaged(true))
    }

    fn open_with(place: &Place, options: Options) -> Result<Self, Failure> {
        if let Some(remote) = Self::connect(place)? {
            return Ok(Self::of(Reach::There(Arc::new(remote))));
        }
        let engine = options.open(place.dir()?)?;
        let names = engine.namespaces();
        if !names.iter().any(|name| name == place.namespace.as_str()) {
            return Err(place.no_namespace(&names));
        }
        let namespace = engine.namespace(place.namespace.as_str())?;
        Ok(Self::of(Reach::Here { engine, namespace, node: OnceLock::new() }))
    }

    fn of(reach: Reach) -> Self {
        Self { reach, schemas: schemas::Schemas::default() }
    }

    /// The server that a command goes to, if it goes to one.
    ///
    /// # Errors
    /// When the address cannot be right, or nobody takes the connection.
    pub(crate) fn connect(place: &Place) -> Result<Option<Remote>, Failure> {
        let remote = place.server.clone().map(Remote::connect).transpose();
        remote.map_err(|failure| match &place.context {
            Some(name) => failure.and(format_args!("that is the server of context {name}")),
            None => failure,
        })
    }

    /// What is known of a stream that is there, or was, or has limits before it has events.
    ///
    /// # Errors
    /// When nothing was ever said of one of that name.
    pub(crate) fn known_stream(&self, stream: &str) -> Result<StreamInfo, Failure> {
        let info = self.stream_info(stream)?;
        match info.state {
            StreamState::Missing if info.meta_revision.is_none() => Err(Failure::failed(format!(
                "there is no stream {stream:?}: `nexus stream list` names those there are"
            ))),
            _ => Ok(info),
        }
    }

    /// Closes it, so that the next start reads little.
    ///
    /// # Errors
    /// When the end could not be noted.
    pub(crate) fn close(self) -> Result<(), Failure> {
        match self.reach {
            Reach::Here { engine, namespace, node } => {
                drop((namespace, node));
                engine.close().map_err(|error: CloseError| Failure::failed(error.to_string()))
            }
            Reach::There(remote) => {
                // What still reads from it goes on to its end.
                Arc::into_inner(remote).map_or(Ok(()), Remote::close)
            }
        }
    }

    /// Submits an append.
    pub(crate) fn append(&self, append: Append) -> Pending {
        match &self.reach {
            Reach::Here { engine, namespace, node } => {
                let access = node.get_or_init(|| access(engine, namespace.name()));
                let submitted = access.as_ref().map_err(AppendError::clone);
                Pending::Here(submitted.and_then(|access| access.append(append)))
            }
            Reach::There(remote) => {
                Pending::There(Arc::clone(remote), remote.client.append(append))
            }
        }
    }

    /// Reads events.
    pub(crate) fn read(&self, read: Read) -> Events {
        match &self.reach {
            Reach::Here { namespace, .. } => Events::Here(namespace.read(read).into_iter()),
            Reach::There(remote) => Events::There(Arc::clone(remote), remote.client.read(read)),
        }
    }

    /// Delivers what is there and what comes.
    pub(crate) fn subscribe(&self, subscribe: Subscribe) -> Watch {
        match &self.reach {
            Reach::Here { namespace, .. } => Watch::Here(namespace.subscribe(subscribe)),
            Reach::There(remote) => {
                Watch::There(Arc::clone(remote), remote.client.subscribe(subscribe))
            }
        }
    }

    /// What links lead to, each in its place; as [`nexus_client::Client::resolve_links`] has it.
    pub(crate) fn resolve_links(
        &self,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        match &self.reach {
            Reach::Here { namespace, .. } => {
                let resolved = |event| -> Result<_, ReadError> {
                    let Some(link) = Link::of(&event) else { return Ok(event) };
                    let read = Read::all().system().from_position(link.position).limit(1);
                    let found = namespace.read(read).into_iter().next().transpose()?;
                    Ok(found.filter(|found| link.leads_to(found)).unwrap_or(event))
                };
                events.into_iter().map(resolved).collect()
            }
            Reach::There(remote) => remote.wait(remote.client.resolve_links(events)),
        }
    }

    pub(crate) fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        match &self.reach {
            Reach::Here { namespace, .. } => namespace.event_by_id(id),
            Reach::There(remote) => remote.wait(remote.client.event_by_id(id)),
        }
    }

    pub(crate) fn head(&self) -> Result<Head, ReadError> {
        match &self.reach {
            Reach::Here { namespace, .. } => Ok(namespace.head()),
            Reach::There(remote) => remote.wait(remote.client.head()),
        }
    }

    /// Why what came after the head is lost, of a damaged directory.
    pub(crate) fn lost_end(&self) -> Option<Corruption> {
        match &self.reach {
            Reach::Here { namespace, .. } => namespace.lost_end(),
            Reach::There(_) => None,
        }
    }

    pub(crate) fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        match &self.reach {
            Reach::Here { namespace, .. } => namespace.stream_info(stream),
            Reach::There(remote) => remote.wait(remote.client.stream_info(stream)),
        }
    }

    pub(crate) fn streams(&self, list: &StreamList) -> Result<Vec<StreamInfo>, ReadError> {
        match &self.reach {
            Reach::Here { namespace, .. } => namespace.streams(list),
            Reach::There(remote) => remote.wait(remote.client.streams(list.clone())),
        }
    }

    pub(crate) fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        match &self.reach {
            Reach::Here { namespace, .. } => namespace.set_stream(stream, change),
            Reach::There(remote) => remote.wait(remote.client.set_stream(stream, change)),
        }
    }

    pub(crate) fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        match &self.reach {
            Reach::Here { namespace, .. } => namespace.delete_stream(stream, expected),
            Reach::There(remote) => remote.wait(remote.client.delete_stream(stream, expected)),
        }
    }

    pub(crate) fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        match &self.reach {
            Reach::Here { namespace, .. } => namespace.tombstone_stream(stream, expected),
            Reach::There(remote) => remote.wait(remote.client.tombstone_stream(stream, expected)),
        }
    }

    pub(crate) fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        match &self.reach {
            Reach::Here { namespace, .. } => namespace.list_snapshots(stream),
            Reach::There(remote) => remote.wait(remote.client.list_snapshots(stream)),
        }
    }

    pub(crate) fn stats(&self) -> Result<Stats, ReadError> {
        match &self.reach {
            Reach::Here { namespace, .. } => Ok(namespace.stats()),
            Reach::There(remote) => remote.wait(remote.client.stats()),
        }
    }

    /// The server, where it is one.
    pub(crate) fn remote(&self) -> Option<&Remote> {
        match &self.reach {
            Reach::Here { .. } => None,
            Reach::There(remote) => Some(remote),
        }
    }
}

/// A namespace of a directory, as this process may use it: all of it.
fn access(engine: &Engine, namespace: &str) -> Result<Access, AppendError> {
    let unusable = |why: String| AppendError::Unavailable(Unavailable::CannotGrow(why));
    let node = Node::over(engine.clone()).map_err(|error| unusable(error.to_string()))?;
    node.access(Principal::local(), namespace).map_err(|none| none.0.into())
}

/// An append under way.
pub(crate) enum Pending {
    Here(Result<nexus_node::PendingAppend, AppendError>),
    There(Arc<Remote>, nexus_client::PendingAppend),
}

impl Pending {
    /// Waits for its answer.
    ///
    /// # Errors
    /// As the store says.
    pub(crate) fn wait(self) -> Result<Appended, AppendError> {
        match self {
            Self::Here(pending) => pending?.wait(),
            Self::There(remote, pending) => remote.wait(pending),
        }
    }
}

/// Events of a read.
pub(crate) enum Events {
    Here(nexus_engine::EventsIter),
    There(Arc<Remote>, nexus_client::Events),
}

impl Events {
    /// What was looked at; of a server, once all events were delivered.
    pub(crate) fn explain(&self) -> Explain {
        match self {
            Self::Here(events) => events.explain(),
            Self::There(_, events) => events.explain().unwrap_or_default(),
        }
    }
}

impl Iterator for Events {
    type Item = Result<RecordedEvent, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Here(events) => events.next(),
            Self::There(remote, events) => remote.next(events),
        }
    }
}

/// A subscription.
pub(crate) enum Watch {
    Here(nexus_engine::Subscription),
    There(Arc<Remote>, nexus_client::Subscription),
}

impl Watch {
    /// The next item, waiting for it at most for `timeout`; `None` when the time is up.
    pub(crate) fn next_blocking(
        &mut self,
        timeout: Option<Duration>,
    ) -> Option<Result<SubscriptionItem, ReadError>> {
        match (self, timeout) {
            (Self::Here(subscription), timeout) => subscription.next_blocking(timeout),
            (Self::There(remote, subscription), None) => remote.next(subscription),
            (Self::There(remote, subscription), Some(time)) => {
                remote.next_within(subscription, time)
            }
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::Locked { .. } => Self::not_reachable(error.to_string()),
            OpenError::Corrupt { .. } | OpenError::NodeState { .. } => Self::damaged(error),
            OpenError::Invalid(_)
            | OpenError::NotADirectory { .. }
            | OpenError::NotEmpty { .. } => Self::usage(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

impl Target for Store {
    type Pending = Pending;

    fn look_up(&self, row: &Row) -> Result<Standing, ReadError> {
        let stored = self.event_by_id(row.id)?;
        Ok(Standing::of(row, stored.as_ref()))
    }

    fn submit(&self, append: Append) -> Pending {
        self.append(append)
    }

    fn wait(&self, pending: Pending) -> Result<Appended, AppendError> {
        pending.wait()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
