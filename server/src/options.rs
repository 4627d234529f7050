//! [`Options`]: where a server listens, and what it takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nexus_node::config::{Authorities, Certificate, Http, Limits};

/// Where a server listens, and what it takes.
#[derive(Debug)]
pub struct Options {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it shows to prove who it is.
    pub certificate: Certificate,
    /// Authorities whose client certificates are taken; without any none is asked for.
    pub client_authorities: Option<Authorities>,
    /// Whoever comes without a token may do everything. Only on loopback.
    pub dev: bool,
    /// Connections at a time; whoever comes after is refused.
    pub connections_max: usize,
    /// Appends of one session that may be unanswered.
    pub appends_in_flight_max: u32,
    /// Bytes of requests that are being received or answered, of all connections together.
    pub request_bytes_max: usize,
    /// What HTTP takes besides.
    pub http: HttpOptions,
    /// Whoever reaches it is shown the metrics, without a token.
    pub metrics_open: bool,
}

/// What the HTTP door takes.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Largest body of a request, and line of a body of lines, in bytes.
    pub body_bytes_max: usize,
    /// A request that is not answered so long after its body came is told so; what goes on for long, such
    /// as a stream of events, has no such limit.
    pub request_time: Duration,
    /// A connection that has not agreed on TLS after so long is closed.
    pub handshake_time: Duration,
    /// A connection whose next head is not complete after so long is closed; so is one that never asks.
    pub head_time: Duration,
    /// A body must be complete after so long, and each piece of one without end: memory is held for it.
    pub body_time: Duration,
    /// A quiet stream of server-sent events says so often that it is there; it is also looked whether the
    /// client still may read.
    pub keep_alive: Duration,
    /// Pages of these origins may ask, as in `https://console.example.org`. None by default.
    pub cors_origins: Vec<String>,
}

impl Default for HttpOptions {
    /// 48 MiB, in which the largest append fits as base64; half a minute for a request and for a body, 5 s
    /// for TLS, 10 s for a head; a sign of life every 15 s; no origin.
    fn default() -> Self {
        Self {
            body_bytes_max: 48 * 1024 * 1024,
            request_time: Duration::from_secs(30),
            handshake_time: Duration::from_secs(5),
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            cors_origins: Vec::new(),
        }
    }
}

impl Options {
    /// Loopback, on a free port, with the limits that [`Limits::default`] says.
    pub fn new(certificate: Certificate) -> Self {
        let limits = Limits::default();
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            certificate,
            client_authorities: None,
            dev: false,
            connections_max: limits.connections_max,
            appends_in_flight_max: limits.appends_in_flight_max,
            request_bytes_max: limits.request_bytes_max,
            http: HttpOptions::default(),
            metrics_open: false,
        }
    }

    /// In dev mode, or not.
    #[must_use]
    pub fn dev(mut self, dev: bool) -> Self {
        self.dev = dev;
        self
    }

    /// Listening there.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Taking client certificates of these authorities.
    #[must_use]
    pub fn client_authorities(mut self, authorities: Option<Authorities>) -> Self {
        self.client_authorities = authorities;
        self
    }

    /// With HTTP as these settings have it.
    #[must_use]
    pub fn http(mut self, http: &Http) -> Self {
        self.http.body_bytes_max = http.body_bytes_max;
        self.http.request_time = Duration::from_secs(http.request_time_s);
        self.http.cors_origins.clone_from(&http.cors_origins);
        self
    }

    /// With metrics for everybody, or not.
    #[must_use]
    pub fn metrics_open(mut self, open: bool) -> Self {
        self.metrics_open = open;
        self
    }

    /// Within these limits.
    #[must_use]
    pub fn limits(mut self, limits: &Limits) -> Self {
        self.connections_max = limits.connections_max;
        self.appends_in_flight_max = limits.appends_in_flight_max;
        self.request_bytes_max = limits.request_bytes_max;
        self
    }
}
