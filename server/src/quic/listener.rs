//! The socket: its limits, and connections as they come.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nexus_node::config::Certificate;
use nexus_node::telemetry;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, Runtime,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use ring::rand::{SecureRandom, SystemRandom};

use super::session;
use super::socket::{Gone, told_when_gone};
use crate::authorities::ClientAuthorities;
use crate::door::Door;
use crate::server::StartError;
use crate::tls::ShownCertificate;

/// Code that a connection is closed with when the server goes.
pub(crate) const SHUTTING_DOWN: VarInt = VarInt::from_u32(1);
/// Code that a connection is closed with when there are too many, or it breaks the rules.
pub(crate) const REFUSED: VarInt = VarInt::from_u32(2);

/// A connection that says nothing for so long is gone; clients say something three times as often.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Streams of one connection at a time: requests and subscriptions.
const STREAMS_MAX: u32 = 4096;
/// What a client may send on one stream before it is read; bounds what half a request holds.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// The same of all streams of a connection.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// What is sent and not yet acknowledged, of one connection.
const SEND_WINDOW: u64 = 16 * 1024 * 1024;
/// Handshakes under way above which an address must prove that it is real.
const HANDSHAKES_UNPROVEN_MAX: usize = 256;

/// The key of resets. A server that comes back tells clients of the one before that their connections are
/// gone (RFC 9000, 10.3), or they would find out by silence. So it stays the same, made from the key of the
/// certificate that the server starts with. Where that was replaced meanwhile, they do find out by silence.
pub(crate) fn reset_key(certificate: &Certificate) -> ring::hmac::Key {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"nexus stateless reset");
    context.update(certificate.key.secret_der());
    ring::hmac::Key::new(ring::hmac::HMAC_SHA256, context.finish().as_ref())
}

/// A connection's id is taken as it comes, since the server before may have given it.
fn endpoint_config(reset: ring::hmac::Key) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(|| Box::new(RandomIds(SystemRandom::new())));
    config
}

/// Connection ids without any meaning.
struct RandomIds(SystemRandom);

const CONNECTION_ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        self.0.fill(&mut bytes).expect("the system has random bytes");
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Binds the socket for those who speak this protocol; it also tells when that is gone.
pub(crate) fn bind(
    address: SocketAddr,
    certificate: &Arc<ShownCertificate>,
    authorities: Option<&Arc<ClientAuthorities>>,
    reset: ring::hmac::Key,
    protocol: &[u8],
) -> Result<(Endpoint, Gone), StartError> {
    let tls = certificate.config(&[protocol], authorities)?;
    let crypto =
        QuicServerConfig::try_from(tls).expect("TLS 1.3 has the suite that QUIC begins with");
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    UdpSocket::bind(address)
        .and_then(|socket| {
            let (socket, gone) = told_when_gone(TokioRuntime.wrap_udp_socket(socket)?);
            let (own, runtime) = (endpoint_config(reset), Arc::new(TokioRuntime));
            Ok((Endpoint::new_with_abstract_socket(own, Some(config), socket, runtime)?, gone))
        })
        .map_err(|source| StartError::Listen { address, source })
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u32.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE_MAX).expect("half a minute fits")));
    transport
}

/// What of [`transport`] matters for figures.
pub(crate) fn settings() -> String {
    format!(
        "receives at most {} KiB ahead on a stream and {} KiB on a connection, sends {} KiB",
        STREAM_WINDOW / 1024,
        CONNECTION_WINDOW / 1024,
        SEND_WINDOW / 1024
    )
}

/// Takes connections until the endpoint is closed.
pub(crate) async fn listen(endpoint: Endpoint, door: Arc<Door>) {
    while let Some(incoming) = endpoint.accept().await {
        // Under load a made-up address costs us nothing: it has to answer first.
        let taken = endpoint.open_connections();
        if taken > HANDSHAKES_UNPROVEN_MAX
            && incoming.may_retry()
            && !incoming.remote_address_validated()
        {
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
            continue;
        }
        let Ok(place) = Arc::clone(&door.connections).try_acquire_owned() else {
            door.node.telemetry().connection_refused(telemetry::Door::Quic);
            incoming.refuse();
            continue;
        };
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            session::run(incoming, door).await;
            drop(place);
        });
    }
}
