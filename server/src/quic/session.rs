//! One connection: who it is first, then a task for each of its streams.

use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use nexus_node::telemetry::{self, Coded, Context, Origin};
use nexus_node::{Access, NoAccess, Principal, Refusal};
use nexus_protocol::Read;
use nexus_protocol::schema::AsSchema;
use nexus_protocol::wire::ConsumeHead;
use nexus_protocol::wire::{
    Failure, GroupAsk, Hello, Open, Operation, PROTOCOL, PROTOCOL_BLOCKS, PROTOCOL_OLDEST,
    PacketKind, PolicyAsk, ProjectionAsk, ProjectionChangeHead, RouteAsk, SchemaAsk, Welcome,
    agree, encode_packet, in_version, read_in_version,
};
use nexus_protocol::{AppendError, Invalid, ReadError, TraceContext};
use quinn::{Connection, Incoming, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;

use super::packets::{Broken, PacketReader, Received};
use super::{answers, appends, consume, listener, reads, subscriptions};
use crate::door::{ANSWER_TIME_MAX, Door, Held};

/// A connection that has not said who it is after so long is closed.
const HELLO_TIME_MAX: Duration = Duration::from_secs(5);
/// Acknowledgements go before live events, and those before long reads.
pub(crate) const PRIORITY_ANSWERS: i32 = 20;
pub(crate) const PRIORITY_LIVE: i32 = 10;
pub(crate) const PRIORITY_CATCH_UP: i32 = 0;

/// What the streams of a connection share.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) door: Arc<Door>,
    pub(crate) principal: Arc<Principal>,
    /// The version of the messages that was agreed on.
    version: u16,
}

impl Session {
    /// Whether the client knows blocks.
    pub(crate) fn takes_blocks(&self) -> bool {
        self.version >= PROTOCOL_BLOCKS
    }

    /// An append's answer, as the client's version has words for it.
    pub(crate) fn told<T>(&self, answer: Result<T, AppendError>) -> Result<T, AppendError> {
        answer.map_err(|error| self.told_error(error))
    }

    /// The same of an error.
    pub(crate) fn told_error(&self, error: AppendError) -> AppendError {
        in_version(error, self.version)
    }

    /// The same of a read's.
    pub(crate) fn told_read(&self, error: ReadError) -> ReadError {
        read_in_version(error, self.version)
    }

    /// Logs an error that is answered here, since no handler was asked.
    pub(crate) fn log(&self, request: &Asked, error: &dyn Coded) {
        let Asked { operation, origin } = *request;
        let context = Context::new(operation, "", &self.principal.id).from_origin(origin);
        self.door.node.telemetry().log_error(&context, error);
    }

    /// Why there is no access: the first who needs it says so.
    pub(crate) fn no_access<E: Coded + From<Refusal>>(
        &self,
        request: &Asked,
        refused: NoAccess,
    ) -> E {
        let error = E::from(refused.0);
        self.log(request, &error);
        error
    }
}

/// What a request is, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) operation: telemetry::Operation,
    pub(crate) origin: Origin,
}

/// A request: the rest of its stream, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) asked: Asked,
    pub(crate) reader: PacketReader,
    pub(crate) send: SendStream,
}

/// Serves one connection until it is closed.
pub(crate) async fn run(incoming: Incoming, door: Arc<Door>) {
    let from = incoming.remote_address();
    // It counts before the client is told, and its time may be over while it is told: once is enough.
    let counted = Once::new();
    let count = || door.node.telemetry().connection_refused(telemetry::Door::Quic);
    let refused = || counted.call_once(count);
    let greeted = tokio::time::timeout(HELLO_TIME_MAX, async {
        let connection = incoming.await.map_err(|why| NotTaken::Because(why.to_string()))?;
        greet(&connection, &door, &refused).await.map(|session| (connection, session))
    });
    let (connection, session) = match greeted.await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(NotTaken::Logged)) => return refused(),
        Ok(Err(NotTaken::Because(why))) => {
            refused();
            return tracing::debug!(%from, why, "a connection was not taken");
        }
        Err(_) => {
            refused();
            return tracing::debug!(%from, "a connection did not say who it is");
        }
    };
    let _open = door.node.telemetry().connection_opened(telemetry::Door::Quic);
    let session = Arc::new(session);
    let mut closing = session.door.closing.subscribe();
    loop {
        let (send, recv) = tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok(stream) => stream,
                Err(why) => return tracing::debug!(%from, %why, "a connection ended"),
            },
            _ = closing.wait_for(|closing| *closing) => break,
        };
        tokio::spawn(serve(Arc::clone(&session), send, recv));
    }
    // No more requests, and the answers under way go out before the endpoint is closed.
    connection.closed().await;
}

/// Why a connection is not taken.
enum NotTaken {
    /// This, which nobody has said yet.
    Because(String),
    /// It is in the log.
    Logged,
}

impl From<String> for NotTaken {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

/// The first stream: both sides say what they are.
async fn greet(
    connection: &Connection,
    door: &Arc<Door>,
    refused: &impl Fn(),
) -> Result<Session, NotTaken> {
    let (mut send, recv) = connection.accept_bi().await.map_err(|why| why.to_string())?;
    let refuse = async |send: &mut SendStream, failure: Failure| {
        refused();
        let _ = send.write_chunk(encode_packet(PacketKind::Failure, &failure, &[])).await;
        let _ = send.finish();
        // The client closes once it has read why; the time limit is the caller's.
        connection.closed().await;
    };
    let mut reader = PacketReader::new(recv, &door.memory);
    let received = reader.next(PacketKind::Hello, "the first packet of a connection").await;
    let hello: Hello = match received.map(|received| received.map(|it| it.packet.message())) {
        Ok(Some(Ok(hello))) => hello,
        Ok(None) => return Err("it said nothing".to_owned().into()),
        Ok(Some(Err(why))) => {
            connection.close(listener::REFUSED, b"the first packet is not a greeting");
            return Err(why.to_string().into());
        }
        Err(why) => {
            connection.close(listener::REFUSED, b"the first packet is not a greeting");
            return Err(why.to_string().into());
        }
    };
    let Some(version) = agree(hello.oldest, hello.newest) else {
        let failure = Failure::Version { oldest: PROTOCOL_OLDEST, newest: PROTOCOL };
        let why = format!("{} speaks versions {} to {}", hello.client, hello.oldest, hello.newest);
        refuse(&mut send, failure).await;
        return Err(why.into());
    };
    let principal = match door.identify(hello.token.as_deref(), certificate_of(connection).as_ref())
    {
        Ok(principal) => principal.by_door(telemetry::Door::Quic),
        Err(refused) => {
            let error = ReadError::Unauthenticated { reason: refused.why };
            let context = Context::new(telemetry::Operation::Connect, "", "");
            door.node.telemetry().log_error(&context, &error);
            let error = ReadError::Unauthenticated { reason: refused.answer.to_owned() };
            refuse(&mut send, Failure::Read((&error).into())).await;
            return Err(NotTaken::Logged);
        }
    };
    let welcome =
        Welcome { version, server: concat!("nexus ", env!("CARGO_PKG_VERSION")).to_owned() };
    let packet = encode_packet(PacketKind::Welcome, &welcome, &[]);
    send.write_chunk(packet).await.map_err(|why| why.to_string())?;
    let _ = send.finish();
    Ok(Session { door: Arc::clone(door), principal: Arc::new(principal), version })
}

/// The certificate that the client showed, which is verified.
fn certificate_of(connection: &Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

/// Serves one stream.
async fn serve(session: Arc<Session>, send: SendStream, recv: RecvStream) {
    let mut reader = PacketReader::new(recv, &session.door.memory);
    // A stream on which nothing comes is no request yet: it holds up neither others nor the server's end.
    let begun = tokio::select! {
        begun = reader.begin() => begun,
        () = session.door.closing() => return,
    };
    let requests = Arc::clone(&session.door.requests);
    let _under_way = requests.acquire_owned().await.expect("the semaphore is never closed");
    let opened = match begun {
        Ok(true) => opened(&mut reader).await,
        Ok(false) => return,
        Err(broken) => Err(broken),
    };
    let (open, payload, memory) = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => return,
        Err(broken) => {
            let operation = telemetry::Operation::Access;
            let asked = Asked { operation, origin: Origin::default() };
            return refuse(&session, &asked, send, &broken).await;
        }
    };
    let trace = open.traceparent.as_deref().and_then(TraceContext::of_request);
    let origin = Origin { trace, attempt: (open.attempt > 0).then_some(open.attempt) };
    let asked = Asked { operation: operation_of(&open.operation), origin };
    let access = session.door.node.access(Arc::clone(&session.principal), &open.namespace);
    let access = access.map(|access| access.traced(trace).attempt(origin.attempt));
    let request = Request { asked, reader, send };
    let limit = open.deadline_ms.map(|ms| Duration::from_millis(ms.into()));
    match open.operation {
        Operation::Append => {
            drop(memory);
            appends::run(&session, access, request).await;
        }
        Operation::Subscribe(head) => {
            drop(memory);
            let wanted = subscriptions::wanted(head, AsSchema::Raw);
            subscriptions::run(&session, access, wanted, request).await;
        }
        Operation::SubscribeAs { subscribe, as_schema } => {
            drop(memory);
            let wanted = subscriptions::wanted(*subscribe, as_schema.into());
            subscriptions::run(&session, access, wanted, request).await;
        }
        Operation::Consume { group, consumer, credit, max } => {
            drop(memory);
            let wanted = ConsumeHead { group, consumer, credit, max };
            consume::run(&session, access, (wanted, AsSchema::Raw), request).await;
        }
        Operation::ConsumeAs { consume: wanted, as_schema } => {
            drop(memory);
            consume::run(&session, access, (*wanted, as_schema.into()), request).await;
        }
        Operation::Read(head) => {
            drop(memory);
            within(limit, reads::run(&session, access, head.into(), request)).await;
        }
        Operation::ReadAs { read, as_schema } => {
            drop(memory);
            let read = Read::from(*read).as_schema(as_schema.into());
            within(limit, reads::run(&session, access, read, request)).await;
        }
        operation => {
            let question = Question { namespace: open.namespace, operation, payload, memory };
            within(limit, answers::run(&session, access, question, request)).await;
        }
    }
}

/// How a stream begins: what it asks for, the payload, and the memory that is held for both. What goes on for
/// long has no payload, and gives that memory back.
async fn opened(reader: &mut PacketReader) -> Result<Option<(Open, Bytes, Option<Held>)>, Broken> {
    let received = reader.next(PacketKind::Open, "the first packet of a stream").await?;
    let Some(Received { packet, memory }) = received else { return Ok(None) };
    let open = packet.message::<Open>()?;
    let has_payload = match &open.operation {
        Operation::SaveSnapshot(_) => true,
        Operation::Group { ask, .. } => matches!(**ask, GroupAsk::Edit { .. }),
        Operation::Projection { ask, .. } => matches!(**ask, ProjectionAsk::Edit { .. }),
        _ => false,
    };
    if !packet.payload.is_empty() && !has_payload {
        return Err(Broken::Payload);
    }
    Ok(Some((open, packet.payload, memory)))
}

/// What has one short answer; its memory is held until somebody has looked at it.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) namespace: String,
    pub(crate) operation: Operation,
    pub(crate) payload: Bytes,
    pub(crate) memory: Option<Held>,
}

/// Serves a request as long as somebody waits for its answer.
async fn within(limit: Option<Duration>, served: impl Future<Output = ()>) {
    match limit {
        // The stream is reset where it is dropped: the client sees that, if it still looks.
        Some(limit) => drop(tokio::time::timeout(limit, served).await),
        None => served.await,
    }
}

/// Says why a stream is not served.
pub(crate) async fn refuse(session: &Session, asked: &Asked, send: SendStream, broken: &Broken) {
    if let Broken::Lost(_) = broken {
        return;
    }
    let error = Invalid::Request(broken.to_string()).into();
    session.log(asked, &error);
    fail_read(session, send, &error).await;
}

/// Ends a stream with why a read failed.
pub(crate) async fn fail_read(session: &Session, send: SendStream, error: &ReadError) {
    let failure = Failure::Read((&session.told_read(error.clone())).into());
    end_with(send, encode_packet(PacketKind::Failure, &failure, &[])).await;
}

/// Ends a stream with why an append failed.
pub(crate) async fn fail_append(session: &Session, send: SendStream, error: &AppendError) {
    let failure = Failure::Append((&session.told_error(error.clone())).into());
    end_with(send, encode_packet(PacketKind::Failure, &failure, &[])).await;
}

/// Sends a packet; `false`: the client is gone, or did not take it for so long that it is held no more. Whoever
/// took its time goes on behind what it has.
pub(crate) async fn send_in_time(send: &mut SendStream, packet: Bytes) -> bool {
    matches!(tokio::time::timeout(ANSWER_TIME_MAX, send.write_chunk(packet)).await, Ok(Ok(())))
}

/// Ends a stream with a last packet. A client that is gone needs none.
pub(crate) async fn end_with(mut send: SendStream, packet: Bytes) {
    if send_in_time(&mut send, packet).await {
        finish(send).await;
    }
}

/// Ends a stream, and waits until the client has what was sent: a connection that is closed before
/// takes it along.
pub(crate) async fn finish(mut send: SendStream) {
    if send.finish().is_ok() {
        let _ = tokio::time::timeout(ANSWER_TIME_MAX, send.stopped()).await;
    }
}

/// What a request is called in metrics and logs.
fn operation_of(operation: &Operation) -> telemetry::Operation {
    use telemetry::Operation as Named;
    match operation {
        Operation::Append => Named::Append,
        Operation::Read(_) | Operation::ReadAs { .. } => Named::Read,
        Operation::Subscribe(_) | Operation::SubscribeAs { .. } => Named::Subscribe,
        Operation::Event { .. } | Operation::EventsAt { .. } => Named::Event,
        Operation::Head => Named::Head,
        Operation::Stream { .. } => Named::Stream,
        Operation::Streams { .. } => Named::Streams,
        Operation::SetStream { .. } => Named::SetStream,
        Operation::DeleteStream { tombstone: false, .. } => Named::DeleteStream,
        Operation::DeleteStream { tombstone: true, .. } => Named::TombstoneStream,
        Operation::SaveSnapshot(_) => Named::SaveSnapshot,
        Operation::LoadSnapshot { .. } => Named::LoadSnapshot,
        Operation::Snapshots { .. } => Named::Snapshots,
        Operation::Stats => Named::Stats,
        Operation::Namespaces => Named::Namespaces,
        Operation::CreateNamespace => Named::CreateNamespace,
        Operation::DeleteNamespace => Named::DeleteNamespace,
        Operation::Tokens => Named::Tokens,
        Operation::CreateToken { .. } => Named::CreateToken,
        Operation::RevokeToken { .. } => Named::RevokeToken,
        Operation::Group { ask, .. } => operation_of_group(ask),
        Operation::Route { ask, .. } => match **ask {
            RouteAsk::Set(_) => Named::SetRoute,
            RouteAsk::Names => Named::Routes,
            RouteAsk::Info => Named::Route,
            RouteAsk::Delete => Named::DeleteRoute,
            RouteAsk::DryRun { .. } => Named::DryRunRoute,
        },
        Operation::Schema { ask, .. } => match **ask {
            SchemaAsk::Register(_) => Named::RegisterSchema,
            SchemaAsk::Check(_) => Named::CheckSchema,
            SchemaAsk::Subjects { .. } | SchemaAsk::Subject | SchemaAsk::Settings { .. } => {
                Named::Schemas
            }
            SchemaAsk::Version(_) | SchemaAsk::ById(_) => Named::Schema,
            SchemaAsk::SetState { .. } => Named::SetSchemaState,
            SchemaAsk::SetSettings { .. } => Named::SetSchemaSettings,
        },
        Operation::Policy { ask } => match **ask {
            PolicyAsk::Show => Named::Policies,
            PolicyAsk::Activate { .. } => Named::ActivatePolicies,
            PolicyAsk::Rollback { .. } => Named::RollbackPolicies,
        },
        Operation::Consume { .. } | Operation::ConsumeAs { .. } => Named::Receive,
        Operation::Timers { .. } => Named::Timers,
        Operation::Projection { ask, .. } => operation_of_projection(ask),
    }
}

fn operation_of_group(ask: &GroupAsk) -> telemetry::Operation {
    use telemetry::Operation as Named;
    match ask {
        GroupAsk::Set(_) => Named::SetGroup,
        GroupAsk::Names => Named::Groups,
        GroupAsk::Info | GroupAsk::Lanes | GroupAsk::LanesAndLag => Named::Group,
        GroupAsk::Delete => Named::DeleteGroup,
        GroupAsk::Pause { .. } => Named::PauseGroup,
        GroupAsk::Resume => Named::ResumeGroup,
        GroupAsk::Seek(_) => Named::SeekGroup,
        GroupAsk::Parked(_) | GroupAsk::ParkedOfKey { .. } => Named::Parked,
        GroupAsk::Replay { .. } => Named::ReplayParked,
        GroupAsk::Skip(_) => Named::SkipParked,
        GroupAsk::Leave { .. } => Named::Answer,
        GroupAsk::Edit { .. } => Named::EditParked,
    }
}

fn operation_of_projection(ask: &ProjectionAsk) -> telemetry::Operation {
    use telemetry::Operation as Named;
    match ask {
        ProjectionAsk::Set { .. } => Named::SetProjection,
        ProjectionAsk::Names => Named::Projections,
        ProjectionAsk::Info => Named::Projection,
        ProjectionAsk::Change(change) => match change {
            ProjectionChangeHead::Rebuild => Named::RebuildProjection,
            ProjectionChangeHead::Switch { .. } => Named::SwitchProjection,
            ProjectionChangeHead::Pause => Named::PauseProjection,
            ProjectionChangeHead::Resume => Named::ResumeProjection,
            ProjectionChangeHead::Delete { .. } => Named::DeleteProjection,
        },
        ProjectionAsk::Lookup(_) => Named::Lookup,
        ProjectionAsk::Search { .. } => Named::Search,
        ProjectionAsk::Parked { .. } => Named::Parked,
        ProjectionAsk::Replay(_) => Named::ReplayParked,
        ProjectionAsk::Skip(_) => Named::SkipParked,
        ProjectionAsk::Edit { .. } => Named::EditParked,
    }
}

/// A namespace, or why there is none.
pub(crate) type Accessed = Result<Access, NoAccess>;
