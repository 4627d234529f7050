//! [`Server`]: doors that are open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nexus_node::config::{Authorities, Certificate, Fingerprint};
use nexus_node::{Node, Principal};
use nexus_protocol::wire::ALPN;

use crate::authorities::ClientAuthorities;
use crate::door::Door;
use crate::http;
use crate::options::Options;
use crate::quic::listener;
use crate::quic::socket::Gone;
use crate::tls::{BadCertificate, ShownCertificate};

/// What is answered has so long to reach its client, after which a server that ends does not wait.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(2);

/// A server: it runs until it is shut down. Dropped, it takes no more connections, and those that are
/// there go on until they end.
#[derive(Debug)]
pub struct Server {
    endpoint: quinn::Endpoint,
    /// When its port is free.
    gone: Gone,
    door: Arc<Door>,
    certificate: Arc<ShownCertificate>,
    authorities: Option<Arc<ClientAuthorities>>,
    quic: SocketAddr,
    http: SocketAddr,
    listening: tokio::task::JoinSet<()>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: is it another program's, or not this machine's?")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Dev mode, where others could reach it.
    #[error(
        "dev mode lets everybody in, and {address} is not a loopback address: leave one of them out"
    )]
    DevNotOnLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// A configured origin is none.
    #[error("{origin:?} is no origin: write scheme and host, as in https://console.example.org")]
    Origin {
        /// What was given.
        origin: String,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
}

impl Server {
    /// Opens the doors of a node. Call it within a tokio runtime, which then runs it.
    ///
    /// # Errors
    /// When the address cannot be had, or the certificate cannot be used.
    pub fn start(node: Node, options: Options) -> Result<Self, StartError> {
        if options.dev && !options.listen.ip().is_loopback() {
            return Err(StartError::DevNotOnLoopback { address: options.listen });
        }
        let door = Arc::new(Door::new(node, &options));
        let router = http::router(Arc::clone(&door), options.http.clone())?;
        let reset = listener::reset_key(&options.certificate);
        let certificate = ShownCertificate::new(options.certificate)?;
        let authorities = options.client_authorities.as_ref();
        let authorities = authorities
            .map(|all| ClientAuthorities::new(all, door.node.telemetry()))
            .transpose()?;
        let address = options.listen;
        let failed = |source| StartError::Listen { address, source };
        // In dev mode HTTP is plain; it is on loopback then.
        let tls = if options.dev { None } else { Some(&certificate) };
        let bound = http::listener::bind(address, tls, authorities.as_ref(), &options.http)?;
        let http = bound.address().map_err(failed)?;
        let asked = authorities.as_ref();
        let (endpoint, gone) = listener::bind(address, &certificate, asked, reset, ALPN)?;
        let quic = endpoint.local_addr().map_err(failed)?;
        let mut listening = tokio::task::JoinSet::new();
        listening.spawn(listener::listen(endpoint.clone(), Arc::clone(&door)));
        listening.spawn(bound.listen(router, Arc::clone(&door)));
        Ok(Self { endpoint, gone, door, certificate, authorities, quic, http, listening })
    }

    /// Where it speaks QUIC.
    pub fn quic_address(&self) -> SocketAddr {
        self.quic
    }

    /// Where it speaks HTTP: plain in dev mode, with TLS otherwise.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// What a client pins now.
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint()
    }

    /// Shows this certificate to connections that come from now on, at every door; those that are there
    /// go on. Answers with what a client pins, once that is on record: it blocks.
    ///
    /// # Errors
    /// When it cannot be used, or its key is another's: the one before stays.
    pub fn reload_certificate(
        &self,
        certificate: Certificate,
    ) -> Result<Fingerprint, BadCertificate> {
        let shown = self.certificate.replace(certificate)?;
        self.door.node.certificate_was_reloaded(&Principal::local(), shown);
        Ok(shown)
    }

    /// Believes these authorities when connections that come from now on show certificates, at every door;
    /// those that are there go on. It blocks until that is on record. A server that was started without any
    /// goes on asking for none.
    ///
    /// # Errors
    /// When one cannot be used: those before stay.
    pub fn reload_client_authorities(&self, new: &Authorities) -> Result<(), BadCertificate> {
        let Some(authorities) = &self.authorities else { return Ok(()) };
        authorities.replace(new)?;
        let count = new.certificates.len();
        self.door.node.authorities_were_reloaded(&Principal::local(), count);
        Ok(())
    }

    /// Takes no more connections, lets what was asked for be answered for at most `grace`, and closes
    /// the node. What is acknowledged is durable however this ends. Its ports are free then, unless a client has not
    /// said goodbye in time.
    ///
    /// # Errors
    /// As the node's: nothing is lost, but the next start reads more.
    pub async fn shut_down(mut self, grace: Duration) -> Result<(), nexus_node::CloseError> {
        self.listening.shutdown().await;
        self.door.drain(grace).await;
        self.endpoint.close(listener::SHUTTING_DOWN, b"the server is shutting down");
        // The last packets of a connection take a round trip or so; peers that are gone, longer.
        let last_words = async {
            self.endpoint.wait_idle().await;
            self.door.no_connections().await;
            drop(self.endpoint);
            // Whoever starts a server at this address now finds the port free.
            self.gone.wait().await;
        };
        let _ = tokio::time::timeout(grace.min(LAST_WORDS_TIME_MAX), last_words).await;
        let node = self.door.node.clone();
        drop(self.door);
        let closed = tokio::task::spawn_blocking(move || node.close()).await;
        closed.expect("closing an engine does not panic")
    }
}
