//! [`Client`]: a namespace of a server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nexus_protocol::wire::{Answer, Operation, PacketKind, SnapshotHead, TokenHead, decode_items};
use nexus_protocol::{
    Append, AppendError, Appended, EventId, EventStore, ExpectedRevision, FoldIdentity, Head, Read,
    ReadError, RecordedEvent, Snapshot, SnapshotAt, SnapshotInfo, Stats, StreamChange, StreamInfo,
    StreamList, StreamName, Subscribe, SubscriptionItem,
};
use tokio::runtime::Handle;

use crate::address::Address;
use crate::append::{Appender, PendingAppend};
use crate::ask::{self, answer_of, of_read, protocol};
use crate::connection::{Deadline, Link};
use crate::error::ConnectError;
use crate::read::Events;
use crate::retry::Backoff;
use crate::subscribe::Subscription;

/// A namespace of a server. Cheap to clone; clones share a connection, and their appends its order.
#[derive(Clone, Debug)]
pub struct Client {
    link: Arc<Link>,
    appender: Appender,
}

/// Connects to a server, within the time that the connection string allows. Call it within a tokio
/// runtime: that runs the connection from then on.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use nexus_protocol::{Append, EventData};
///
/// let client = nexus_client::connect("nexus://127.0.0.1:7420/default").await?;
/// let placed = EventData::json("OrderPlaced", &serde_json::json!({"total_cents": 250}))?;
/// client.append(Append::to("order-1").no_stream().event(placed)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When the string cannot be right, or no server takes the connection.
pub async fn connect(address: &str) -> Result<Client, ConnectError> {
    Client::connect(address.parse()?).await
}

impl Client {
    /// Connects to a server, within the time that the address allows.
    ///
    /// # Errors
    /// When no server takes the connection.
    pub async fn connect(address: Address) -> Result<Self, ConnectError> {
        let link = Arc::new(Link::new(address, Handle::current())?);
        let until = Deadline::after(link.address.timeout);
        let mut backoff = Backoff::default();
        loop {
            match link.connection().await {
                Ok(_) => break,
                Err(error) if !error.may_pass() => return Err(error),
                Err(error) if until.is_over() => return Err(error),
                Err(_) => backoff.wait().await,
            }
        }
        let appender = Appender::start(Arc::clone(&link));
        Ok(Self { link, appender })
    }

    /// Where it is connected to.
    pub fn address(&self) -> &Address {
        &self.link.address
    }

    /// Closes the connection at once. What is under way, and whatever is asked for after, goes on with a
    /// new one.
    pub async fn close(&self) {
        let link = Arc::clone(&self.link);
        let _ = self.link.runtime.spawn(async move { link.close().await }).await;
    }

    /// Submits an append. Durable when it is answered.
    pub fn append(&self, append: Append) -> PendingAppend {
        self.appender.append(append)
    }

    /// Reads events; nothing is asked for before it is polled.
    pub fn read(&self, read: Read) -> Events {
        Events::new(Arc::clone(&self.link), read)
    }

    /// Delivers what is there and what comes; nothing is asked for before it is polled.
    pub fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        Subscription::new(Arc::clone(&self.link), subscribe)
    }

    /// Streams by name, at most as many as the server gives in one answer: go on after the last.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub async fn streams(&self, list: StreamList) -> Result<Vec<StreamInfo>, ReadError> {
        let StreamList { prefix, category, after, limit, deleted, system } = list;
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let operation = Operation::Streams { prefix, category, after, limit, deleted, system };
        match self.ask(operation).await? {
            Answer::Streams(streams) => streams
                .into_iter()
                .map(|head| head.try_into().map_err(|why| protocol(&format!("{why}"))))
                .collect(),
            _ => Err(protocol("another answer")),
        }
    }

    /// How much there is.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub async fn stats(&self) -> Result<Stats, ReadError> {
        match self.ask(Operation::Stats).await? {
            Answer::Stats(stats) => Ok(stats.into()),
            _ => Err(protocol("another answer")),
        }
    }

    /// The names of all namespaces, sorted.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub async fn namespaces(&self) -> Result<Vec<String>, ReadError> {
        match self.ask(Operation::Namespaces).await? {
            Answer::Namespaces(names) => Ok(names),
            _ => Err(protocol("another answer")),
        }
    }

    /// Creates the namespace that this client is bound to; one that exists stays as it is.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn create_namespace(&self) -> Result<(), AppendError> {
        match self.change(Operation::CreateNamespace, Bytes::new()).await? {
            Answer::Done => Ok(()),
            _ => Err(AppendError::Unknown),
        }
    }

    /// Deletes the namespace that this client is bound to, for good, with all its events. Whoever uses it
    /// is told that it is not there.
    ///
    /// # Errors
    /// As [`AppendError`] says; `Unknown` where it may be deleted.
    pub async fn delete_namespace(&self) -> Result<(), AppendError> {
        match self.change(Operation::DeleteNamespace, Bytes::new()).await? {
            Answer::Done => Ok(()),
            _ => Err(AppendError::Unknown),
        }
    }

    /// Makes a token: what it is revoked by, and the token itself, which is shown this once.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn create_token(
        &self,
        name: &str,
        role: &str,
        ttl: Option<Duration>,
    ) -> Result<(TokenHead, String), AppendError> {
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let (name, role) = (name.to_owned(), role.to_owned());
        let operation = Operation::CreateToken { name, role, ttl_ms };
        let packet = self.change_packet(operation, Bytes::new()).await?;
        match answer_of(&packet).map_err(of_read)? {
            Answer::Token(head) => {
                let token = String::from_utf8(packet.payload.into());
                Ok((head, token.map_err(|_| AppendError::Unknown)?))
            }
            _ => Err(AppendError::Unknown),
        }
    }

    /// The tokens that hold, without their secrets.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub async fn tokens(&self) -> Result<Vec<TokenHead>, ReadError> {
        match self.ask(Operation::Tokens).await? {
            Answer::Tokens(tokens) => Ok(tokens),
            _ => Err(protocol("another answer")),
        }
    }

    /// Makes a token worthless, also for those who were let in with it.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn revoke_token(&self, id: &str) -> Result<(), AppendError> {
        let operation = Operation::RevokeToken { id: id.to_owned() };
        match self.change(operation, Bytes::new()).await? {
            Answer::Done => Ok(()),
            _ => Err(AppendError::Unknown),
        }
    }

    async fn ask_packet(&self, operation: Operation) -> Result<ask::Packet, ReadError> {
        let asked = self.link.runtime.spawn(ask::ask(Arc::clone(&self.link), operation));
        asked.await.unwrap_or(Err(ReadError::Closed))
    }

    async fn ask(&self, operation: Operation) -> Result<Answer, ReadError> {
        answer_of(&self.ask_packet(operation).await?)
    }

    async fn change(&self, operation: Operation, payload: Bytes) -> Result<Answer, AppendError> {
        answer_of(&self.change_packet(operation, payload).await?).map_err(of_read)
    }

    async fn change_packet(
        &self,
        operation: Operation,
        payload: Bytes,
    ) -> Result<ask::Packet, AppendError> {
        let link = Arc::clone(&self.link);
        let asked = self.link.runtime.spawn(ask::change(link, operation, payload));
        asked.await.unwrap_or(Err(AppendError::Unknown))
    }

    async fn delete(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        tombstone: bool,
    ) -> Result<Appended, AppendError> {
        let expected = expected.into();
        let operation = Operation::DeleteStream { stream: stream.to_owned(), expected, tombstone };
        appended(self.change(operation, Bytes::new()).await?)
    }
}

fn appended(answer: Answer) -> Result<Appended, AppendError> {
    match answer {
        Answer::Appended(head) => head.try_into().map_err(|_| AppendError::Unknown),
        _ => Err(AppendError::Unknown),
    }
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
        let packet = self.ask_packet(Operation::Event { id: *id.as_bytes() }).await?;
        if packet.kind != PacketKind::Items {
            return Err(protocol("a packet that has no event"));
        }
        let items = decode_items(&packet.payload).map_err(|why| protocol(&why.to_string()))?;
        Ok(items.into_iter().find_map(SubscriptionItem::event))
    }

    async fn head(&self) -> Result<Head, ReadError> {
        self.ask(Operation::Head).await?.into_head().ok_or_else(|| protocol("another answer"))
    }

    async fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        match self.ask(Operation::Stream { stream: stream.to_owned() }).await? {
            Answer::Stream(head) => head.try_into().map_err(|why| protocol(&format!("{why}"))),
            _ => Err(protocol("another answer")),
        }
    }

    async fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        match self.change(Operation::set_stream(stream, change), Bytes::new()).await? {
            Answer::Stream(head) => head.try_into().map_err(|_| AppendError::Unknown),
            _ => Err(AppendError::Unknown),
        }
    }

    async fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.delete(stream, expected, false).await
    }

    async fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.delete(stream, expected, true).await
    }

    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        let head = SnapshotHead::from(&snapshot);
        appended(self.change(Operation::SaveSnapshot(head), snapshot.state).await?)
    }

    async fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        let packet = self.ask_packet(Operation::load_snapshot(stream, at, fold)).await?;
        let head = match answer_of(&packet)? {
            Answer::Snapshot(Some(head)) => head,
            Answer::Snapshot(None) => return Ok(None),
            _ => return Err(protocol("another answer")),
        };
        Ok(Some(Snapshot {
            stream: StreamName::new(&head.stream).map_err(|why| protocol(&why.to_string()))?,
            revision: head.info().revision,
            fold: head.fold(),
            content_type: head.content_type,
            state: packet.payload,
        }))
    }

    async fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        match self.ask(Operation::Snapshots { stream: stream.to_owned() }).await? {
            Answer::Snapshots(kept) => Ok(kept.iter().map(SnapshotHead::info).collect()),
            _ => Err(protocol("another answer")),
        }
    }
}
