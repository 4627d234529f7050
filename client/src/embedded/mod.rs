//! [`Embedded`]: a namespace of a store in this process, a data directory or memory.
//!
//! It calls the handlers that a server's doors call, as this process itself, who may do everything.
//! What may wait for the disk does so on threads of the runtime that may block, so that the caller's
//! executor goes on. The exception is the beginning of a read of a stream, a few events that are mostly
//! in memory: it is gathered within the poll that asks for it, since a hand-off would cost more.

mod groups;
mod policies;
mod projections;
mod read;
mod routes;
mod schemas;
mod subscribe;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nexus_node::{Access, Engine, NoAccess, Node, Principal, Role, TokenInfo, UnknownRole};
use nexus_protocol::wire::TokenHead;
use nexus_protocol::{
    Append, AppendError, Appended, EventId, ExpectedRevision, FoldIdentity, Head, Invalid,
    Position, Read, ReadError, RecordedEvent, Snapshot, SnapshotAt, SnapshotInfo, Stats,
    StreamChange, StreamInfo, StreamList, Subscribe, Timestamp, TraceContext, Unavailable,
};
use tokio::runtime::Handle;
use tokio::task::JoinError;
use tracing::{Instrument, Span};

pub(crate) use groups::EmbeddedConsumer;
pub(crate) use read::Reading;
pub(crate) use subscribe::Watching;

use crate::address::{Address, At};
use crate::append::PendingAppend;
use crate::error::{CloseError, ConnectError};
use crate::read::Events;
use crate::routes::EventsAt;
use crate::subscribe::Subscription;

/// A namespace of a store in this process.
#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    node: Node,
    principal: Arc<Principal>,
    namespace: Arc<str>,
    /// Kept once it was had: before, somebody may still create the namespace.
    access: Arc<Mutex<Option<Access>>>,
    trace: Option<TraceContext>,
    runtime: Handle,
}

impl Embedded {
    /// Opens a directory, or a new store in memory.
    pub(crate) async fn open(address: &Address, runtime: Handle) -> Result<Self, ConnectError> {
        let at = address.at.clone();
        let open = move || match at {
            At::Directory(dir) => Node::open(dir).inspect(Node::open_timers),
            At::Memory => Node::over(Engine::in_memory()),
            At::Servers(_) => unreachable!("the caller has chosen"),
        };
        let span = tracing::debug_span!("connect", store = %address);
        let opened = runtime.spawn_blocking(open).instrument(span).await;
        let node = match opened {
            Ok(opened) => {
                opened.map_err(|error| ConnectError::NotOpen { why: causes_of(&error) })?
            }
            Err(why) => return panic_or(why, Err(ConnectError::Closed)),
        };
        let (principal, access) = (Arc::new(Principal::local()), Arc::default());
        let namespace = address.namespace().into();
        Ok(Self { node, principal, namespace, access, trace: None, runtime })
    }

    pub(crate) fn in_namespace(&self, name: &str) -> Self {
        Self { namespace: name.into(), access: Arc::default(), ..self.clone() }
    }

    /// Adds a lift in Rust.
    #[cfg(feature = "schemas")]
    pub(crate) fn add_upcaster(
        &self,
        upcaster: impl nexus_schemas::Upcaster,
    ) -> Result<(), nexus_protocol::Invalid> {
        self.node.add_upcaster(upcaster)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) fn traced(&self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self.clone() }
    }

    pub(crate) async fn close(&self) -> Result<(), CloseError> {
        let node = self.node.clone();
        let closed = self.runtime.spawn_blocking(move || node.close()).await;
        match closed {
            Ok(closed) => closed.map_err(|error| CloseError(error.to_string())),
            Err(why) => panic_or(why, Ok(())),
        }
    }

    fn access(&self) -> Result<Access, NoAccess> {
        let mut kept = self.access.lock().expect("no panic while it is held");
        let access = match kept.take() {
            // One that was deleted is not there, unless it was created again.
            Some(access) => access.anew().unwrap_or(access),
            None => self.node.access(Arc::clone(&self.principal), &self.namespace)?,
        };
        *kept = Some(access.clone());
        Ok(access.traced(self.trace))
    }

    pub(crate) fn append(&self, append: Append) -> PendingAppend {
        let submitted = self.access().map_err(|none| none.0.into());
        match submitted.and_then(|access| access.append(append)) {
            Ok(pending) => PendingAppend::engine(pending),
            Err(error) => PendingAppend::refused(error),
        }
    }

    pub(crate) fn read(&self, read: Read, span: Span) -> Events {
        let access = self.access().map_err(|none| none.0.into());
        let runtime = self.runtime.clone();
        Events::of_engine(|explain| Reading::new(access, read, explain, runtime), span)
    }

    pub(crate) fn subscribe(&self, subscribe: Subscribe, span: Span) -> Subscription {
        let access = self.access().map_err(|none| none.0.into());
        Subscription::of_engine(Watching::new(access, subscribe, self.runtime.clone()), span)
    }

    /// Looks at something on a thread that may block.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Access) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let access = self.access().map_err(|none| none.0)?;
        let looked = self.runtime.spawn_blocking(move || look(&access)).await;
        looked.unwrap_or_else(|why| panic_or(why, Err(ReadError::Closed)))
    }

    /// Changes something on a thread that may block. It happens also when nobody waits any more.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Access) -> Result<T, AppendError> + Send + 'static,
    ) -> Result<T, AppendError> {
        let access = self.access().map_err(|none| none.0)?;
        self.change_node(move |_, _| change(&access)).await
    }

    async fn change_node<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Node, &Principal) -> Result<T, AppendError> + Send + 'static,
    ) -> Result<T, AppendError> {
        let (node, principal) = (self.node.clone(), Arc::clone(&self.principal));
        let changed = self.runtime.spawn_blocking(move || change(&node, &principal)).await;
        let closed = || Err(AppendError::Unavailable(Unavailable::Closed));
        changed.unwrap_or_else(|why| panic_or(why, closed()))
    }

    pub(crate) async fn streams(&self, mut list: StreamList) -> Result<Vec<StreamInfo>, ReadError> {
        list.limit = list.limit.min(nexus_protocol::limits::STREAMS_PAGE_MAX);
        self.look(move |access| access.streams(&list)).await
    }

    pub(crate) async fn stats(&self) -> Result<Stats, ReadError> {
        self.look(Access::stats).await
    }

    pub(crate) async fn namespaces(&self) -> Result<Vec<String>, ReadError> {
        self.node.namespaces(&self.principal)
    }

    pub(crate) async fn create_namespace(&self) -> Result<(), AppendError> {
        let name = Arc::clone(&self.namespace);
        self.change_node(move |node, principal| node.create_namespace(principal, &name)).await
    }

    pub(crate) async fn delete_namespace(&self) -> Result<(), AppendError> {
        let name = Arc::clone(&self.namespace);
        self.change_node(move |node, principal| node.delete_namespace(principal, &name)).await
    }

    pub(crate) async fn create_token(
        &self,
        name: &str,
        role: &str,
        ttl: Option<Duration>,
    ) -> Result<(TokenHead, String), AppendError> {
        let role: Role =
            role.parse().map_err(|why: UnknownRole| Invalid::Request(why.to_string()))?;
        let name = name.to_owned();
        let made =
            self.change_node(move |node, principal| node.create_token(principal, &name, role, ttl));
        let made = made.await?;
        Ok((token_head(&made.info), made.token))
    }

    pub(crate) async fn tokens(&self) -> Result<Vec<TokenHead>, ReadError> {
        Ok(self.node.list_tokens(&self.principal)?.iter().map(token_head).collect())
    }

    pub(crate) async fn revoke_token(&self, id: &str) -> Result<(), AppendError> {
        let id = id.to_owned();
        self.change_node(move |node, principal| node.revoke_token(principal, &id)).await
    }

    pub(crate) async fn event_by_id(
        &self,
        id: EventId,
    ) -> Result<Option<RecordedEvent>, ReadError> {
        self.look(move |access| access.event_by_id(id)).await
    }

    pub(crate) async fn events_at(&self, positions: &[Position]) -> Result<EventsAt, ReadError> {
        let positions = positions.to_vec();
        let at = self.look(move |access| access.events_at(&positions)).await?;
        Ok((at.events, at.looked_at))
    }

    pub(crate) async fn head(&self) -> Result<Head, ReadError> {
        self.access().map_err(|none| none.0)?.head()
    }

    pub(crate) async fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        let stream = stream.to_owned();
        self.look(move |access| access.stream_info(&stream)).await
    }

    pub(crate) async fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        let stream = stream.to_owned();
        self.change(move |access| access.set_stream(&stream, change)).await
    }

    pub(crate) async fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        tombstone: bool,
    ) -> Result<Appended, AppendError> {
        let stream = stream.to_owned();
        self.change(move |access| match tombstone {
            true => access.tombstone_stream(&stream, expected),
            false => access.delete_stream(&stream, expected),
        })
        .await
    }

    pub(crate) async fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        self.change(move |access| access.save_snapshot(snapshot)).await
    }

    pub(crate) async fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        let stream = stream.to_owned();
        self.look(move |access| access.load_snapshot(&stream, at, fold)).await
    }

    pub(crate) async fn list_snapshots(
        &self,
        stream: &str,
    ) -> Result<Vec<SnapshotInfo>, ReadError> {
        let stream = stream.to_owned();
        self.look(move |access| access.list_snapshots(&stream)).await
    }
}

fn token_head(info: &TokenInfo) -> TokenHead {
    TokenHead {
        id: info.id.clone(),
        name: info.name.clone(),
        role: info.role.to_string(),
        expires_at: info.expires_at.map(Timestamp::as_micros),
    }
}

/// A panic of a thread that may block is its caller's; without one, the runtime has ended.
fn panic_or<T>(why: JoinError, ended: T) -> T {
    match why.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => ended,
    }
}

/// What an error says, with its causes.
fn causes_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
