//! [`Client`]: a namespace, wherever it is.

use std::sync::Arc;
use std::time::Duration;

use nexus_protocol::wire::TokenHead;
use nexus_protocol::{
    Append, AppendError, Appended, EventId, EventStore, ExpectedRevision, FoldIdentity, Head,
    NamespaceName, Read, ReadError, RecordedEvent, Snapshot, SnapshotAt, SnapshotInfo, Stats,
    StreamChange, StreamInfo, StreamList, Subscribe, TraceContext,
};
use tokio::runtime::Handle;
use tracing::{Instrument, Span};

use crate::address::{Address, At};
use crate::append::PendingAppend;
#[cfg(feature = "embedded")]
use crate::embedded::Embedded;
use crate::error::{CloseError, ConnectError};
use crate::read::Events;
use crate::remote::Remote;
use crate::subscribe::Subscription;
use crate::trace::{self, Coded};

/// A namespace: of a server, of a data directory, or of a store in memory. Cheap to clone; clones share
/// connections, and a session: their appends are decided in the order they were made in. The exception is
/// one that is made while too much is under way, 64 MiB to a server or a full queue of a store in this
/// process: it is submitted when it is awaited and there is room, and others may overtake it until then.
#[derive(Clone, Debug)]
pub struct Client {
    address: Arc<Address>,
    pub(crate) reach: Reach,
}

/// Where it is.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    Remote(Remote),
    #[cfg(feature = "embedded")]
    Embedded(Embedded),
}

/// The same call of whatever is there.
macro_rules! reach {
    ($client:expr, $there:ident => $call:expr) => {
        match &$client.reach {
            Reach::Remote($there) => $call,
            #[cfg(feature = "embedded")]
            Reach::Embedded($there) => $call,
        }
    };
}

pub(crate) use reach;

/// Connects to a server, within the time that the connection string allows, or opens a store in this
/// process: [`Address`] says how to write which. Call it within a tokio runtime: that runs the
/// connections from then on, and what waits for a disk.
///
/// ```
/// # #[cfg(feature = "embedded")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use nexus_protocol::{Append, EventData};
///
/// // Or nexus://127.0.0.1:7420/default, or file:///var/lib/nexus.
/// let client = nexus_client::connect("memory:").await?;
/// let placed = EventData::json("OrderPlaced", &serde_json::json!({"total_cents": 250}))?;
/// client.append(Append::to("order-1").no_stream().event(placed)).await?;
/// client.close().await?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "embedded"))]
/// # fn main() {}
/// ```
///
/// # Errors
/// When the string cannot be right, no server takes the connection, or the store does not open.
pub async fn connect(address: &str) -> Result<Client, ConnectError> {
    Client::connect(address.parse()?).await
}

impl Client {
    /// Connects, as [`connect`] does.
    ///
    /// # Errors
    /// When no server takes the connection, or the store does not open.
    pub async fn connect(address: Address) -> Result<Self, ConnectError> {
        let runtime = Handle::current();
        let reach = match &address.at {
            At::Servers(servers) => {
                let servers = servers.clone();
                let remote = Remote::connect(servers, address.namespace(), &address, runtime);
                Reach::Remote(remote.await?)
            }
            At::Directory(_) | At::Memory => open(&address, runtime).await?,
        };
        Ok(Self { address: Arc::new(address), reach })
    }

    /// Where it is connected to, and to which namespace.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Another namespace of the same store, with a session of its own: on the same connections, and,
    /// of a store in this process, the way to reach a second one. Whether there is one of that name is
    /// told by what is asked of it; [`Client::create_namespace`] creates it.
    #[must_use]
    pub fn in_namespace(&self, name: &NamespaceName) -> Self {
        let address = self.address.as_ref().clone().with_namespace(name);
        let reach = match &self.reach {
            Reach::Remote(remote) => Reach::Remote(remote.session(name.as_str())),
            #[cfg(feature = "embedded")]
            Reach::Embedded(embedded) => Reach::Embedded(embedded.in_namespace(name.as_str())),
        };
        Self { address: Arc::new(address), reach }
    }

    /// The same namespace with a session of its own, on the connection with the fewest: its appends are
    /// in order among themselves, and wait for none of other sessions.
    #[must_use]
    pub fn session(&self) -> Self {
        let reach = match &self.reach {
            Reach::Remote(remote) => Reach::Remote(remote.session(self.address.namespace())),
            #[cfg(feature = "embedded")]
            Reach::Embedded(embedded) => Reach::Embedded(embedded.clone()),
        };
        Self { address: Arc::clone(&self.address), reach }
    }

    /// The same client, in the same session, for what is part of a trace: events that name none are stored
    /// as part of it, so that their readers can go on with it, and what the store logs names it. A trace
    /// without an id says nothing, as the recommendation has it.
    #[must_use]
    pub fn traced(&self, trace: TraceContext) -> Self {
        let trace = TraceContext::of_request(&trace.to_string());
        let reach = match &self.reach {
            Reach::Remote(remote) => Reach::Remote(remote.traced(trace)),
            #[cfg(feature = "embedded")]
            Reach::Embedded(embedded) => Reach::Embedded(embedded.traced(trace)),
        };
        Self { address: Arc::clone(&self.address), reach }
    }

    /// Connections to servers that were made since [`connect`]; more than the address allows at a time
    /// where some have broken. 0 of a store in this process.
    pub fn connections_made(&self) -> u64 {
        match &self.reach {
            Reach::Remote(remote) => remote.connections_made(),
            #[cfg(feature = "embedded")]
            Reach::Embedded(_) => 0,
        }
    }

    /// Breaks the connections, for instance because this machine has changed its network. What is under
    /// way goes on with new ones. Does nothing to a store in this process.
    pub async fn reconnect(&self) {
        match &self.reach {
            Reach::Remote(remote) => remote.reconnect().await,
            #[cfg(feature = "embedded")]
            Reach::Embedded(_) => {}
        }
    }

    /// Closes the connections, or the store in this process, for all clones and sessions. What is asked
    /// for after is answered that the store is closed; an append that a server has got and not answered,
    /// that its outcome is unknown: await answers first.
    ///
    /// # Errors
    /// When the end of a store in this process could not be noted: nothing is lost, but its next start
    /// reads more.
    pub async fn close(&self) -> Result<(), CloseError> {
        match &self.reach {
            Reach::Remote(remote) => {
                remote.close().await;
                Ok(())
            }
            #[cfg(feature = "embedded")]
            Reach::Embedded(embedded) => embedded.close().await,
        }
    }

    /// Submits an append. Durable when it is answered.
    pub fn append(&self, append: Append) -> PendingAppend {
        let span = trace::append(self.address.namespace(), &append);
        reach!(self, there => there.append(append)).within(span)
    }

    /// Reads events; nothing is asked for before it is polled.
    pub fn read(&self, read: Read) -> Events {
        let span = trace::read(self.address.namespace(), &read);
        reach!(self, there => there.read(read, span))
    }

    /// Delivers what is there and what comes; nothing is asked for before it is polled.
    pub fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        let span = trace::subscribe(self.address.namespace(), &subscribe);
        reach!(self, there => there.subscribe(subscribe, span))
    }

    /// Streams by name, at most as many as the store gives in one answer: go on after the last.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub async fn streams(&self, list: StreamList) -> Result<Vec<StreamInfo>, ReadError> {
        self.asked("streams", async { reach!(self, there => there.streams(list).await) }).await
    }

    /// How much there is.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub async fn stats(&self) -> Result<Stats, ReadError> {
        self.asked("stats", async { reach!(self, there => there.stats().await) }).await
    }

    /// The names of all namespaces, sorted.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub async fn namespaces(&self) -> Result<Vec<String>, ReadError> {
        self.asked("namespaces", async { reach!(self, there => there.namespaces().await) }).await
    }

    /// Creates the namespace that this client is bound to; one that exists stays as it is.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn create_namespace(&self) -> Result<(), AppendError> {
        let created = async { reach!(self, there => there.create_namespace().await) };
        self.asked("create namespace", created).await
    }

    /// Deletes the namespace that this client is bound to, for good, with all its events. Whoever uses it
    /// is told that it is not there.
    ///
    /// # Errors
    /// As [`AppendError`] says; `Unknown` where it may be deleted.
    pub async fn delete_namespace(&self) -> Result<(), AppendError> {
        let deleted = async { reach!(self, there => there.delete_namespace().await) };
        self.asked("delete namespace", deleted).await
    }

    /// Makes a token: what it is revoked by, and the token itself, which is shown this once. One that is
    /// made in a data directory is good for a server that opens it later.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn create_token(
        &self,
        name: &str,
        role: &str,
        ttl: Option<Duration>,
    ) -> Result<(TokenHead, String), AppendError> {
        let made = async { reach!(self, there => there.create_token(name, role, ttl).await) };
        self.asked("create token", made).await
    }

    /// The tokens that hold, without their secrets.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub async fn tokens(&self) -> Result<Vec<TokenHead>, ReadError> {
        self.asked("tokens", async { reach!(self, there => there.tokens().await) }).await
    }

    /// Makes a token worthless, also for those who were let in with it.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn revoke_token(&self, id: &str) -> Result<(), AppendError> {
        let revoked = async { reach!(self, there => there.revoke_token(id).await) };
        self.asked("revoke token", revoked).await
    }

    /// The runtime that its connections, and what waits for a disk, live on.
    pub(crate) fn runtime(&self) -> &Handle {
        reach!(self, there => there.runtime())
    }

    /// Asks within a span, which learns of a failure.
    pub(crate) async fn asked<T, E: Coded>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let span: Span = trace::ask(self.address.namespace(), operation);
        let answer = answer.instrument(span.clone()).await;
        if let Err(error) = &answer {
            trace::failed(&span, error);
        }
        answer
    }
}

#[cfg(feature = "embedded")]
async fn open(address: &Address, runtime: Handle) -> Result<Reach, ConnectError> {
    Ok(Reach::Embedded(Embedded::open(address, runtime).await?))
}

#[cfg(not(feature = "embedded"))]
#[expect(clippy::unused_async, reason = "with the feature it waits for the disk")]
async fn open(address: &Address, _: Handle) -> Result<Reach, ConnectError> {
    Err(ConnectError::NotBuiltIn { given: address.to_string() })
}

impl EventStore for Client {
    type ReadStream = Events;
    type Subscription = Subscription;

    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        Client::append(self, append)
    }

    fn read(&self, read: Read) -> Events {
        Client::read(self, read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        Client::subscribe(self, subscribe)
    }

    async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.asked("event by id", async { reach!(self, there => there.event_by_id(id).await) })
            .await
    }

    async fn head(&self) -> Result<Head, ReadError> {
        self.asked("head", async { reach!(self, there => there.head().await) }).await
    }

    async fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        self.asked("stream info", async { reach!(self, there => there.stream_info(stream).await) })
            .await
    }

    async fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        let set = async { reach!(self, there => there.set_stream(stream, change).await) };
        self.asked("set stream", set).await
    }

    async fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        let done =
            async { reach!(self, there => there.delete_stream(stream, expected, false).await) };
        self.asked("delete stream", done).await
    }

    async fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        let done =
            async { reach!(self, there => there.delete_stream(stream, expected, true).await) };
        self.asked("tombstone stream", done).await
    }

    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        let saved = async { reach!(self, there => there.save_snapshot(snapshot).await) };
        self.asked("save snapshot", saved).await
    }

    async fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        let loaded = async { reach!(self, there => there.load_snapshot(stream, at, fold).await) };
        self.asked("load snapshot", loaded).await
    }

    async fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        let listed = async { reach!(self, there => there.list_snapshots(stream).await) };
        self.asked("list snapshots", listed).await
    }
}
