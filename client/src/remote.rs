//! [`Remote`]: a namespace behind a server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nexus_protocol::schema::AsSchema;
use nexus_protocol::wire::ConsumeHead;
use nexus_protocol::wire::{
    Answer, GroupAsk, Operation, PacketKind, SnapshotHead, TokenHead, decode_items,
};
use nexus_protocol::{
    Append, AppendError, Appended, EventId, ExpectedRevision, FoldIdentity, Head, Position, Read,
    ReadError, RecordedEvent, Snapshot, SnapshotAt, SnapshotInfo, Stats, StreamChange, StreamInfo,
    StreamList, StreamName, Subscribe, SubscriptionItem, TraceContext, Unavailable,
};
use tokio::runtime::Handle;
use tracing::Span;

use crate::address::Servers;
use crate::append::{Appender, PendingAppend};
use crate::ask::{self, answer_of, of_read, protocol};
use crate::connection::{Deadline, Pool, Scope};
use crate::consumer::RemoteConsumer;
use crate::error::ConnectError;
use crate::read::Events;
use crate::retry::Backoff;
use crate::routes::EventsAt;
use crate::subscribe::Subscription;

/// A namespace behind a server. Clones share connections, and a session of appends.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pool: Arc<Pool>,
    scope: Scope,
    appender: Appender,
}

impl Remote {
    /// Makes the first connection, within the time that the address allows.
    pub(crate) async fn connect(
        servers: Servers,
        namespace: &str,
        shown: &(dyn std::fmt::Display + Sync),
        runtime: Handle,
    ) -> Result<Self, ConnectError> {
        let pool = Arc::new(Pool::new(servers, shown, runtime)?);
        let until = Deadline::after(pool.timeout());
        let mut backoff = Backoff::default();
        let scope = Scope::of(namespace);
        let seat = pool.seat_for_short(&scope);
        let mut failed = None;
        loop {
            match until.limit(seat.connection()).await {
                Some(Ok(_)) => break,
                Some(Err(error)) if !error.may_pass() || until.is_over() => return Err(error),
                Some(Err(error)) => failed = Some(error),
                None => return Err(failed.unwrap_or_else(|| seat.no_connection())),
            }
            // Time that is up meanwhile is said by the next round.
            let _ = until.limit(backoff.wait()).await;
        }
        Ok(Self { pool, scope, appender: Appender::start(seat) })
    }

    /// Another namespace, or the same, on the same connections, with a session of its own.
    pub(crate) fn session(&self, namespace: &str) -> Self {
        let pool = Arc::clone(&self.pool);
        let appender = Appender::start(pool.seat_for_short(&Scope::of(namespace)));
        let scope = Scope { namespace: namespace.into(), ..self.scope.clone() };
        Self { pool, scope, appender }
    }

    /// The same session; what is asked for is part of this trace.
    pub(crate) fn traced(&self, trace: Option<TraceContext>) -> Self {
        Self { scope: Scope { trace, ..self.scope.clone() }, ..self.clone() }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        self.pool.runtime()
    }

    pub(crate) fn connections_made(&self) -> u64 {
        self.pool.made()
    }

    pub(crate) async fn reconnect(&self) {
        let pool = Arc::clone(&self.pool);
        let _ = self.pool.runtime().spawn(async move { pool.break_all().await }).await;
    }

    pub(crate) async fn close(&self) {
        let pool = Arc::clone(&self.pool);
        let _ = self.pool.runtime().spawn(async move { pool.close().await }).await;
    }

    /// A session is of all traces, or the appends of each would have an order of their own: so that its
    /// events say which one they are part of.
    pub(crate) fn append(&self, mut append: Append) -> PendingAppend {
        if self.scope.trace.is_some() {
            let events = append.streams.iter_mut().flat_map(|stream| &mut stream.events);
            events.for_each(|event| event.trace = event.trace.or(self.scope.trace));
        }
        self.appender.append(append)
    }

    pub(crate) fn read(&self, read: Read, span: Span) -> Events {
        Events::of_server(Arc::clone(&self.pool), self.scope.clone(), read, span)
    }

    pub(crate) fn subscribe(&self, subscribe: Subscribe, span: Span) -> Subscription {
        let (pool, scope) = (Arc::clone(&self.pool), self.scope.clone());
        Subscription::of_server(pool, scope, subscribe, span)
    }

    pub(crate) async fn streams(&self, list: StreamList) -> Result<Vec<StreamInfo>, ReadError> {
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

    pub(crate) async fn stats(&self) -> Result<Stats, ReadError> {
        match self.ask(Operation::Stats).await? {
            Answer::Stats(stats) => Ok(stats.into()),
            _ => Err(protocol("another answer")),
        }
    }

    pub(crate) async fn namespaces(&self) -> Result<Vec<String>, ReadError> {
        match self.ask(Operation::Namespaces).await? {
            Answer::Namespaces(names) => Ok(names),
            _ => Err(protocol("another answer")),
        }
    }

    pub(crate) async fn create_namespace(&self) -> Result<(), AppendError> {
        match self.change(Operation::CreateNamespace, Bytes::new()).await? {
            Answer::Done => Ok(()),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn delete_namespace(&self) -> Result<(), AppendError> {
        match self.change(Operation::DeleteNamespace, Bytes::new()).await? {
            Answer::Done => Ok(()),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn create_token(
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

    pub(crate) async fn tokens(&self) -> Result<Vec<TokenHead>, ReadError> {
        match self.ask(Operation::Tokens).await? {
            Answer::Tokens(tokens) => Ok(tokens),
            _ => Err(protocol("another answer")),
        }
    }

    pub(crate) async fn revoke_token(&self, id: &str) -> Result<(), AppendError> {
        let operation = Operation::RevokeToken { id: id.to_owned() };
        match self.change(operation, Bytes::new()).await? {
            Answer::Done => Ok(()),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn event_by_id(
        &self,
        id: EventId,
    ) -> Result<Option<RecordedEvent>, ReadError> {
        let packet = self.ask_packet(Operation::Event { id: *id.as_bytes() }).await?;
        if packet.kind != PacketKind::Items {
            return Err(protocol("a packet that has no event"));
        }
        let items = decode_items(&packet.payload).map_err(|why| protocol(&why.to_string()))?;
        Ok(items.into_iter().find_map(SubscriptionItem::event))
    }

    pub(crate) async fn events_at(&self, positions: &[Position]) -> Result<EventsAt, ReadError> {
        let positions = positions.iter().map(|position| position.get()).collect();
        let packet = self.ask_packet(Operation::EventsAt { positions }).await?;
        if packet.kind != PacketKind::Items {
            return Err(protocol("a packet that has no events"));
        }
        let (mut events, mut looked_at) = (Vec::new(), None);
        for item in decode_items(&packet.payload).map_err(|why| protocol(&why.to_string()))? {
            match item {
                SubscriptionItem::Event(event) => events.push(event),
                SubscriptionItem::Checkpoint { position } => looked_at = Some(position),
                _ => return Err(protocol("another item")),
            }
        }
        Ok((events, looked_at))
    }

    pub(crate) async fn head(&self) -> Result<Head, ReadError> {
        self.ask(Operation::Head).await?.into_head().ok_or_else(|| protocol("another answer"))
    }

    pub(crate) async fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        match self.ask(Operation::Stream { stream: stream.to_owned() }).await? {
            Answer::Stream(head) => head.try_into().map_err(|why| protocol(&format!("{why}"))),
            _ => Err(protocol("another answer")),
        }
    }

    pub(crate) async fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        match self.change(Operation::set_stream(stream, change), Bytes::new()).await? {
            Answer::Stream(head) => head.try_into().map_err(|_| AppendError::Unknown),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        tombstone: bool,
    ) -> Result<Appended, AppendError> {
        let expected = expected.into();
        let operation = Operation::DeleteStream { stream: stream.to_owned(), expected, tombstone };
        appended(self.change(operation, Bytes::new()).await?)
    }

    pub(crate) async fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        let head = SnapshotHead::from(&snapshot);
        appended(self.change(Operation::SaveSnapshot(head), snapshot.state).await?)
    }

    pub(crate) async fn load_snapshot(
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

    pub(crate) async fn list_snapshots(
        &self,
        stream: &str,
    ) -> Result<Vec<SnapshotInfo>, ReadError> {
        match self.ask(Operation::Snapshots { stream: stream.to_owned() }).await? {
            Answer::Snapshots(kept) => Ok(kept.iter().map(SnapshotHead::info).collect()),
            _ => Err(protocol("another answer")),
        }
    }

    pub(crate) async fn ask_packet(&self, operation: Operation) -> Result<ask::Packet, ReadError> {
        let seat = self.pool.seat_for_short(&self.scope);
        let asked = self.pool.runtime().spawn(ask::ask(seat, operation));
        asked.await.unwrap_or(Err(ReadError::Closed))
    }

    async fn ask(&self, operation: Operation) -> Result<Answer, ReadError> {
        answer_of(&self.ask_packet(operation).await?)
    }

    /// Asks a group something that may be asked twice.
    pub(crate) async fn ask_group(
        &self,
        group: &str,
        ask: GroupAsk,
    ) -> Result<Answer, AppendError> {
        let operation = Operation::Group { group: group.to_owned(), ask: Box::new(ask) };
        self.ask_twice(operation).await.map(|(answer, _)| answer)
    }

    /// Changes something of a group.
    pub(crate) async fn change_group(
        &self,
        group: &str,
        ask: GroupAsk,
        payload: Bytes,
    ) -> Result<Answer, AppendError> {
        let operation = Operation::Group { group: group.to_owned(), ask: Box::new(ask) };
        self.change(operation, payload).await
    }

    /// To be a consumer of a group.
    pub(crate) fn consume(&self, consume: ConsumeHead, as_schema: AsSchema) -> RemoteConsumer {
        let seat = self.pool.seat_for_long(&self.scope);
        RemoteConsumer::start(seat, self.scope.trace, consume, as_schema)
    }

    /// How long an answer is waited for.
    pub(crate) fn timeout(&self) -> Duration {
        self.pool.timeout()
    }

    /// The oldest version of the protocol that was agreed on last by any of its connections.
    pub(crate) fn version(&self) -> u16 {
        self.pool.version()
    }

    /// Asks something that may be asked twice; with the payload of the answer.
    pub(crate) async fn ask_twice(
        &self,
        operation: Operation,
    ) -> Result<(Answer, Bytes), AppendError> {
        let seat = self.pool.seat_for_short(&self.scope);
        let asked = self.pool.runtime().spawn(ask::ask_again(seat, operation));
        let closed = || Err(AppendError::Unavailable(Unavailable::Closed));
        let packet = asked.await.unwrap_or_else(|_| closed())?;
        let answer = answer_of(&packet).map_err(ask::unread)?;
        Ok((answer, packet.payload))
    }

    pub(crate) async fn change(
        &self,
        operation: Operation,
        payload: Bytes,
    ) -> Result<Answer, AppendError> {
        answer_of(&self.change_packet(operation, payload).await?).map_err(of_read)
    }

    async fn change_packet(
        &self,
        operation: Operation,
        payload: Bytes,
    ) -> Result<ask::Packet, AppendError> {
        let seat = self.pool.seat_for_short(&self.scope);
        let asked = self.pool.runtime().spawn(ask::change(seat, operation, payload));
        asked.await.unwrap_or(Err(AppendError::Unknown))
    }
}

fn appended(answer: Answer) -> Result<Appended, AppendError> {
    match answer {
        Answer::Appended(head) => head.try_into().map_err(|_| AppendError::Unknown),
        _ => Err(AppendError::Unknown),
    }
}
