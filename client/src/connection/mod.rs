//! Connections: made when they are needed, kept as long as they hold, shared by all that a client does.

mod deadline;
mod pool;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nexus_protocol::ReadError;
use nexus_protocol::wire::{
    Failure, Hello, PROTOCOL, PROTOCOL_OLDEST, PacketKind, Welcome, encode_packet,
};
use quinn::{ClientConfig, Connection, Endpoint, IdleTimeout, TransportConfig, VarInt};
use tokio::sync::{Mutex, watch};
use tracing::Instrument;

pub(crate) use deadline::Deadline;
pub(crate) use pool::{Pool, Scope, Seat};

use crate::address::{Servers, Trust, host_of};
use crate::error::ConnectError;
use crate::packets::{Broken, PacketReader};

/// One server has so long to take a connection before the next is tried.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// A server that says nothing for so long is gone.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// So often it is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// What a server may send on one stream before it is read (I8). There is no smaller bound for all streams
/// of a connection: readers that stop would use it up, and whoever reads on would wait for them.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const SEND_WINDOW: u64 = 16 * 1024 * 1024;
/// Why a server that wants a token did not get the one there is.
const TOKEN_HELD_BACK: &str = "a token is needed, and is only sent to a server that is known: add \
                               ?fingerprint=sha256:… (the server prints it when it starts) or ?ca=FILE";

/// One connection of a client: made when it is needed, and again when it breaks.
#[derive(Debug)]
pub(crate) struct Link {
    servers: Arc<Servers>,
    config: ClientConfig,
    current: Mutex<Option<Live>>,
    /// Turned to true when the client is closed, and only then: what is on it goes on when the client was
    /// dropped.
    closing: watch::Sender<bool>,
    /// Sessions, reads, subscriptions, and questions on it now.
    under_way: AtomicUsize,
    /// How often it was made.
    made: AtomicU64,
    /// The version of the messages that was agreed on last.
    version: AtomicU16,
}

/// A connection, and the socket it stands on.
#[derive(Clone, Debug)]
struct Live {
    connection: Connection,
    _endpoint: Endpoint,
}

impl Link {
    fn new(servers: Arc<Servers>, config: ClientConfig, closing: watch::Sender<bool>) -> Self {
        let (current, under_way, made) = (Mutex::new(None), 0.into(), 0.into());
        let version = PROTOCOL.into();
        Self { servers, config, current, closing, under_way, made, version }
    }

    /// The connection that holds, or a new one. One try at each server.
    async fn connection(&self) -> Result<Connection, ConnectError> {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => Err(ConnectError::Closed),
            connection = self.connection_of_servers() => connection,
        }
    }

    async fn connection_of_servers(&self) -> Result<Connection, ConnectError> {
        let mut current = self.current.lock().await;
        if let Some(live) = &*current
            && live.connection.close_reason().is_none()
        {
            return Ok(live.connection.clone());
        }
        *current = None;
        let mut failed = None;
        for server in &self.servers.hosts {
            let span = tracing::debug_span!("connect", server);
            match self.connect_to(server).instrument(span.clone()).await {
                Ok(live) => {
                    self.made.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(parent: &span, "connected");
                    let connection = live.connection.clone();
                    *current = Some(live);
                    return Ok(connection);
                }
                Err(error) => {
                    tracing::debug!(parent: &span, %error, "not connected");
                    failed = Some(after(failed, error));
                }
            }
        }
        Err(failed.expect("an address has a server"))
    }

    /// What is said where there was no connection in time.
    pub(crate) fn no_connection(&self) -> ConnectError {
        no_answer(&self.servers.hosts.join(","), self.servers.timeout)
    }

    async fn connect_to(&self, server: &str) -> Result<Live, ConnectError> {
        let until = Deadline::after(self.limit());
        let found = resolved(server, tokio::net::lookup_host(server), until).await?;
        let mut failed = None;
        let limit = until.left() / u32::try_from(found.len().max(1)).unwrap_or(1);
        for to in found {
            let tried = Deadline::after(limit).limit(self.connect_at(server, to)).await;
            match tried.unwrap_or_else(|| Err(no_answer(server, limit))) {
                Ok(live) => return Ok(live),
                Err(error) => failed = Some(after(failed, error)),
            }
        }
        Err(failed.unwrap_or_else(|| not_reachable(server, "its name has no address")))
    }

    /// One server has so long to take a connection: so that each is tried within the client's time.
    fn limit(&self) -> Duration {
        let hosts = u32::try_from(self.servers.hosts.len()).unwrap_or(u32::MAX);
        CONNECT_TIME_MAX.min(self.servers.timeout / hosts.max(1))
    }

    async fn connect_at(&self, server: &str, to: SocketAddr) -> Result<Live, ConnectError> {
        let failed = |why: String| not_reachable(server, &why);
        if self.servers.trust == Trust::Development && !to.ip().is_loopback() {
            return Err(failed(
                "its name leads to another machine: pin its certificate".to_owned(),
            ));
        }
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // In a task of its own: the connection outlives whoever needs it first, and its driver would keep
        // the span open that it was made in.
        let (config, host) = (self.config.clone(), host_of(server).to_owned());
        let began = tokio::spawn(async move {
            let endpoint = Endpoint::client((any, 0).into()).map_err(|why| why.to_string())?;
            let connecting = endpoint.connect_with(config, to, &host);
            connecting.map(|connecting| (endpoint, connecting)).map_err(|why| why.to_string())
        });
        let began = began.await.unwrap_or_else(|why| Err(why.to_string()));
        let (endpoint, connecting) = began.map_err(failed)?;
        let connection = connecting.await.map_err(|why| not_connected(server, &why))?;
        // A server looks at a certificate once the client has done its part of the handshake.
        let greeted = self.greet(&connection, server).await;
        greeted.map_err(|error| {
            let ended = connection.close_reason();
            ended.as_ref().and_then(certificate_refused).unwrap_or(error)
        })?;
        Ok(Live { connection, _endpoint: endpoint })
    }

    /// Says who asks; the server says whether it lets it in.
    async fn greet(&self, connection: &Connection, server: &str) -> Result<(), ConnectError> {
        let failed = |why: Broken| not_reachable(server, &why);
        let token = if self.holds_token_back() { None } else { self.servers.token.clone() };
        let hello = Hello {
            oldest: PROTOCOL_OLDEST,
            newest: PROTOCOL,
            client: concat!("nexus-client ", env!("CARGO_PKG_VERSION")).to_owned(),
            token,
        };
        let (mut send, recv) = connection.open_bi().await.map_err(|why| failed(why.into()))?;
        let packet = encode_packet(PacketKind::Hello, &hello, &[]);
        send.write_chunk(packet).await.map_err(|why| failed(why.into()))?;
        let _ = send.finish();
        let packet = PacketReader::new(recv).next().await.map_err(failed)?;
        if packet.kind == PacketKind::Failure {
            let failure: Failure = packet.message().map_err(|why| failed(why.into()))?;
            connection.close(0_u32.into(), b"refused");
            return Err(match refused(failure, server) {
                ConnectError::Unauthenticated { .. } if self.holds_token_back() => {
                    ConnectError::Unauthenticated { reason: TOKEN_HELD_BACK.to_owned() }
                }
                error => error,
            });
        }
        let packet = packet.of(PacketKind::Welcome, "the answer to a greeting");
        let welcome: Welcome =
            packet.and_then(|packet| packet.message()).map_err(|why| failed(why.into()))?;
        tracing::debug!(server = welcome.server, version = welcome.version, "welcome");
        self.version.store(welcome.version, Ordering::Relaxed);
        Ok(())
    }

    /// Whoever listens on loopback may be anybody: no secret is told to it.
    fn holds_token_back(&self) -> bool {
        self.servers.trust == Trust::Development && self.servers.token.is_some()
    }

    /// Closes the connection, if there is one; the server sees that at once.
    async fn close(&self) {
        // In a statement of its own: whoever wants a connection meanwhile makes a new one.
        let live = self.current.lock().await.take();
        if let Some(live) = live {
            live.connection.close(0_u32.into(), b"the client is closed");
            live._endpoint.wait_idle().await;
        }
    }
}

/// How a client's connections behave.
pub(crate) fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0_u32.into())
        .max_concurrent_uni_streams(0_u32.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(VarInt::MAX)
        .send_window(SEND_WINDOW)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE_MAX).expect("some seconds fit")));
    transport
}

/// What of [`transport`] matters for figures.
pub(crate) fn settings() -> String {
    format!(
        "receives at most {} KiB ahead on a stream, sends {} KiB",
        STREAM_WINDOW / 1024,
        SEND_WINDOW / 1024
    )
}

/// The addresses of a server, where its name is looked up in time: the system may take as long as it likes.
async fn resolved(
    server: &str,
    found: impl Future<Output = std::io::Result<impl Iterator<Item = SocketAddr>>>,
    until: Deadline,
) -> Result<Vec<SocketAddr>, ConnectError> {
    match until.limit(found).await {
        Some(Ok(found)) => Ok(found.collect()),
        Some(Err(why)) => Err(not_reachable(server, &why)),
        None => Err(not_reachable(server, "its name was not looked up in time: does DNS answer?")),
    }
}

/// What is said where `later` failed after something else: what may pass is what is waited for, whoever
/// else refuses for good.
fn after(earlier: Option<ConnectError>, later: ConnectError) -> ConnectError {
    match earlier {
        Some(earlier) if earlier.may_pass() && !later.may_pass() => earlier,
        _ => later,
    }
}

fn not_reachable(server: &str, why: &(impl std::fmt::Display + ?Sized)) -> ConnectError {
    ConnectError::NotReachable { server: server.to_owned(), why: why.to_string() }
}

fn no_answer(server: &str, limit: Duration) -> ConnectError {
    let ms = limit.as_millis();
    let why = format!("no answer within {ms} ms: does a Nexus server run there?");
    not_reachable(server, &why)
}

/// All TLS alerts.
const ALERTS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;

fn not_connected(server: &str, error: &quinn::ConnectionError) -> ConnectError {
    let server = server.to_owned();
    match error {
        quinn::ConnectionError::TransportError(error)
            if let Some(why) =
                crate::tls::why_not_trusted(u64::from(error.code), &error.reason) =>
        {
            ConnectError::NotTrusted { server, why }
        }
        quinn::ConnectionError::TransportError(error)
            if ALERTS.contains(&u64::from(error.code)) =>
        {
            ConnectError::NotNexus { server, why: error.to_string() }
        }
        error => certificate_refused(error)
            .unwrap_or_else(|| ConnectError::NotReachable { server, why: error.to_string() }),
    }
}

/// What a connection ended with, where that is what the server says of the client's certificate.
fn certificate_refused(ended: &quinn::ConnectionError) -> Option<ConnectError> {
    let quinn::ConnectionError::ConnectionClosed(close) = ended else { return None };
    let reason = crate::identity::why_refused(u64::from(close.error_code))?;
    Some(ConnectError::Unauthenticated { reason: reason.to_owned() })
}

fn refused(failure: Failure, server: &str) -> ConnectError {
    match failure {
        Failure::Version { oldest, newest } => {
            ConnectError::Version { oldest, newest, ours: PROTOCOL }
        }
        Failure::Read(failure) => match ReadError::from(failure) {
            ReadError::Unauthenticated { reason } => ConnectError::Unauthenticated { reason },
            other => not_reachable(server, &other),
        },
        Failure::Append(_) => {
            not_reachable(server, "it answered a greeting with the failure of an append")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn what_may_pass_goes_before_what_is_for_good() {
        let passing = |server: &str| not_reachable(server, "nobody");
        let for_good = || ConnectError::NotTrusted { server: "b".into(), why: "another".into() };
        assert_eq!(after(None, for_good()), for_good());
        assert_eq!(after(Some(passing("a")), for_good()), passing("a"));
        assert_eq!(after(Some(for_good()), passing("a")), passing("a"));
        assert_eq!(after(Some(passing("a")), passing("c")), passing("c"));
    }

    #[tokio::test]
    async fn a_name_is_not_looked_up_for_ever() {
        let never = pending::<std::io::Result<std::iter::Empty<SocketAddr>>>();
        let until = Deadline::after(Duration::from_millis(5));
        let error = resolved("far:1", never, until).await.unwrap_err();
        assert!(error.may_pass() && error.to_string().contains("looked up"), "{error}");
        let found: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let known = async { Ok([found].into_iter()) };
        let until = Deadline::after(Duration::from_secs(60));
        assert_eq!(resolved("near:1", known, until).await, Ok(vec![found]));
    }
}
