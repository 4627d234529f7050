//! One connection: who it is first, then a task for each of its streams.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nexus_node::{Access, Principal};
use nexus_protocol::wire::{
    Failure, Hello, Open, Operation, PROTOCOL, PROTOCOL_OLDEST, PacketKind, Welcome, agree,
    encode_packet,
};
use nexus_protocol::{AppendError, Invalid, ReadError};
use quinn::{Connection, Incoming, RecvStream, SendStream};

use super::packets::{Broken, PacketReader, Received};
use super::{Door, answers, appends, listener, reads, subscriptions};

/// A connection that has not said who it is after so long is closed.
const HELLO_TIME_MAX: Duration = Duration::from_secs(5);
/// Acknowledgements go before live events, and those before long reads.
pub(crate) const PRIORITY_ANSWERS: i32 = 20;
pub(crate) const PRIORITY_LIVE: i32 = 10;
pub(crate) const PRIORITY_CATCH_UP: i32 = 0;

/// What the streams of a connection share.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) door: Arc<Door>,
    pub(crate) principal: Arc<Principal>,
}

/// A request: the rest of its stream, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) reader: PacketReader,
    pub(crate) send: SendStream,
}

/// Serves one connection until it is closed.
pub(crate) async fn run(incoming: Incoming, door: Arc<Door>) {
    let from = incoming.remote_address();
    let greeted = tokio::time::timeout(HELLO_TIME_MAX, async {
        let connection = incoming.await.map_err(|why| why.to_string())?;
        greet(&connection, &door).await.map(|session| (connection, session))
    });
    let (connection, session) = match greeted.await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(why)) => return tracing::debug!(%from, why, "a connection was not taken"),
        Err(_) => return tracing::debug!(%from, "a connection did not say who it is"),
    };
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

/// The first stream: both sides say what they are.
async fn greet(connection: &Connection, door: &Arc<Door>) -> Result<Session, String> {
    let (mut send, recv) = connection.accept_bi().await.map_err(|why| why.to_string())?;
    let refuse = async |send: &mut SendStream, failure: Failure, why: String| {
        let _ = send.write_chunk(encode_packet(PacketKind::Failure, &failure, &[])).await;
        let _ = send.finish();
        // The client closes once it has read why; the time limit is the caller's.
        connection.closed().await;
        why
    };
    let mut reader = PacketReader::new(recv, &door.memory);
    let received = reader.next().await.map_err(|why| why.to_string())?;
    let received = received.ok_or("it said nothing")?;
    let hello = received.packet.of(PacketKind::Hello, "the first packet of a connection");
    let hello: Hello = match hello.and_then(|packet| packet.message()) {
        Ok(hello) => hello,
        Err(why) => {
            connection.close(listener::REFUSED, b"the first packet is not a greeting");
            return Err(why.to_string());
        }
    };
    let Some(version) = agree(hello.oldest, hello.newest) else {
        let failure = Failure::Version { oldest: PROTOCOL_OLDEST, newest: PROTOCOL };
        let why = format!("{} speaks versions {} to {}", hello.client, hello.oldest, hello.newest);
        return Err(refuse(&mut send, failure, why).await);
    };
    let principal = match door.identify(hello.token.as_deref()) {
        Ok(principal) => principal,
        Err(reason) => {
            let error = ReadError::Unauthenticated { reason: reason.clone() };
            return Err(refuse(&mut send, Failure::Read((&error).into()), reason).await);
        }
    };
    let welcome = Welcome {
        version,
        server: concat!("nexus ", env!("CARGO_PKG_VERSION")).to_owned(),
        appends_in_flight: door.appends_in_flight_max,
    };
    let packet = encode_packet(PacketKind::Welcome, &welcome, &[]);
    send.write_chunk(packet).await.map_err(|why| why.to_string())?;
    let _ = send.finish();
    Ok(Session { door: Arc::clone(door), principal: Arc::new(principal) })
}

/// Serves one stream.
async fn serve(session: Arc<Session>, mut send: SendStream, recv: RecvStream) {
    let mut reader = PacketReader::new(recv, &session.door.memory);
    let opened = match reader.next().await {
        Ok(Some(received)) => open_of(received),
        Ok(None) => return,
        Err(broken) => Err(broken),
    };
    let (open, payload, memory) = match opened {
        Ok(opened) => opened,
        Err(broken) => return refuse(&mut send, &broken).await,
    };
    let access = session.door.node.access(Arc::clone(&session.principal), &open.namespace);
    let request = Request { reader, send };
    let limit = open.deadline_ms.map(|ms| Duration::from_millis(ms.into()));
    match open.operation {
        Operation::Append => {
            drop(memory);
            appends::run(&session, access, request).await;
        }
        Operation::Subscribe(head) => {
            drop(memory);
            subscriptions::run(&session, access, head, request).await;
        }
        Operation::Read(head) => within(limit, memory, reads::run(access, head, request)).await,
        operation => {
            let answer =
                answers::run(&session, access, &open.namespace, operation, payload, request);
            within(limit, memory, answer).await;
        }
    }
}

/// Serves a request as long as somebody waits for its answer. It counts as under way until then.
async fn within<T>(limit: Option<Duration>, memory: T, served: impl Future<Output = ()>) {
    match limit {
        // The stream is reset where it is dropped: the client sees that, if it still looks.
        Some(limit) => drop(tokio::time::timeout(limit, served).await),
        None => served.await,
    }
    drop(memory);
}

type Opened = (Open, Bytes, tokio::sync::OwnedSemaphorePermit);

fn open_of(received: Received) -> Result<Opened, Broken> {
    let packet = received.packet.of(PacketKind::Open, "the first packet of a stream")?;
    let open = packet.message::<Open>()?;
    Ok((open, packet.payload, received.memory))
}

/// Says why a stream is not served.
pub(crate) async fn refuse(send: &mut SendStream, broken: &Broken) {
    if let Broken::Lost(_) = broken {
        return;
    }
    fail_read(send, &Invalid::Request(broken.to_string()).into()).await;
}

/// Ends a stream with why a read failed.
pub(crate) async fn fail_read(send: &mut SendStream, error: &ReadError) {
    end(send, &Failure::Read(error.into())).await;
}

/// Ends a stream with why an append failed.
pub(crate) async fn fail_append(send: &mut SendStream, error: &AppendError) {
    end(send, &Failure::Append(error.into())).await;
}

async fn end(send: &mut SendStream, failure: &Failure) {
    // A client that is gone needs no reason.
    let _ = send.write_chunk(encode_packet(PacketKind::Failure, failure, &[])).await;
    let _ = send.finish();
}

/// A namespace, or why there is none.
pub(crate) type Accessed = Result<Access, nexus_node::NoAccess>;
