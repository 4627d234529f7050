//! The socket of HTTP: its limits, TLS, and connections as they come.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use nexus_node::telemetry;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;

use crate::authorities::ClientAuthorities;
use crate::door::Door;
use crate::options::HttpOptions;
use crate::server::StartError;
use crate::tls::ShownCertificate;

/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Fields of a head.
const HEADERS_MAX: usize = 64;
/// Requests of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 256;
/// A quiet HTTP/2 connection is asked so often whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long nobody is let in after the system had no room for one more.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);

/// The place of a connection among all: free when nobody holds it. What a connection is upgraded to
/// holds it on.
#[derive(Clone, Debug)]
pub(crate) struct Place(
    #[expect(dead_code, reason = "it is held for what its end does")]
    Arc<(OwnedSemaphorePermit, telemetry::OpenConnection)>,
);

/// The certificate that the client of a connection showed, which is verified.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificate(pub(crate) Option<Arc<CertificateDer<'static>>>);

/// Where HTTP is spoken: bound, and not served yet.
pub(crate) struct Bound {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

/// How long a connection may take to say something.
#[derive(Clone, Copy)]
struct Limits {
    handshake_time: Duration,
    head_time: Duration,
}

impl From<&HttpOptions> for Limits {
    fn from(options: &HttpOptions) -> Self {
        Self { handshake_time: options.handshake_time, head_time: options.head_time }
    }
}

/// Binds the socket; without a certificate it speaks plain HTTP.
pub(crate) fn bind(
    address: SocketAddr,
    certificate: Option<&Arc<ShownCertificate>>,
    authorities: Option<&Arc<ClientAuthorities>>,
    options: &HttpOptions,
) -> Result<Bound, StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = StdListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let config = certificate.map(|it| it.config(&[b"h2", b"http/1.1"], authorities)).transpose()?;
    let tls = config.map(|config| TlsAcceptor::from(Arc::new(config)));
    Ok(Bound { listener, tls, limits: options.into() })
}

impl Bound {
    /// Where it listens.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes connections until it is dropped.
    pub(crate) async fn listen(self, router: Router, door: Arc<Door>) {
        let limits = self.limits;
        let builder = Arc::new(builder(limits));
        loop {
            let (stream, from) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // One that was gone before it was taken concerns nobody; else there is no room.
                    tracing::debug!(%error, "a connection was not taken");
                    tokio::time::sleep(NO_ROOM_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&door.connections).try_acquire_owned() else {
                door.node.telemetry().connection_refused(telemetry::Door::Http);
                tracing::debug!(%from, "a connection was refused: there are too many");
                continue;
            };
            // Answers are short, and are waited for.
            let _ = stream.set_nodelay(true);
            let (router, tls) = (router.clone(), self.tls.clone());
            let (door, builder) = (Arc::clone(&door), Arc::clone(&builder));
            let open = door.node.telemetry().connection_opened(telemetry::Door::Http);
            let place = Place(Arc::new((place, open)));
            tokio::spawn(async move {
                serve(stream, tls, limits, &builder, (router, place), &door).await;
            });
        }
    }
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("a head is small"))
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    builder: &Builder<TokioExecutor>,
    served: (Router, Place),
    door: &Door,
) {
    let head_time = limits.head_time;
    match tls {
        None => {
            let nobody = ClientCertificate(None);
            requests(stream, head_time, builder, (served.0, served.1, nobody), door).await;
        }
        Some(tls) => match tokio::time::timeout(limits.handshake_time, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let shown = shown.map(|first| Arc::new(first.clone().into_owned()));
                let served = (served.0, served.1, ClientCertificate(shown));
                requests(stream, head_time, builder, served, door).await;
            }
            Ok(Err(why)) => tracing::debug!(%why, "a connection did not agree on TLS"),
            Err(_) => tracing::debug!("a connection took too long to agree on TLS"),
        },
    }
}

/// Serves the requests of a connection, until it ends or the server does.
async fn requests<S>(
    stream: S,
    head_time: Duration,
    builder: &Builder<TokioExecutor>,
    (router, place, certificate): (Router, Place, ClientCertificate),
    door: &Door,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = TowerToHyperService::new(router);
    let asked = AtomicBool::new(false);
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(place.clone());
        request.extensions_mut().insert(certificate.clone());
        service.call(request)
    });
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = door.closing() => {
            // What was asked for is answered; nothing more is taken.
            served.as_mut().graceful_shutdown();
            served.await
        }
        // While it is open which version of HTTP comes, and in HTTP/2 between requests, no head is late.
        () = never_asks(head_time, &asked) => {
            served.as_mut().graceful_shutdown();
            let ended = tokio::time::timeout(head_time, &mut served).await;
            match ended {
                Ok(ended) => ended,
                // It asked in the last moment, and is answered.
                Err(_) if asked.load(Ordering::Relaxed) => served.await,
                Err(_) => return tracing::debug!("a connection never asked for anything"),
            }
        }
    };
    if let Err(why) = ended {
        tracing::debug!(%why, "a connection ended");
    }
}

/// Waits until a connection has had its time and nothing was asked.
async fn never_asks(head_time: Duration, asked: &AtomicBool) {
    tokio::time::sleep(head_time).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
