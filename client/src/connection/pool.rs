//! [`Pool`]: the connections of a client, and who is on which.
//!
//! What shares a connection shares its congestion window, and the processor time of the one task that
//! drives it: a long read slows down whoever is beside it. So the first half of the connections is for
//! what is short, sessions of appends and questions, and the rest for reads and subscriptions; a client
//! with one connection has everything on it. Within its half each goes where fewest are, and stays
//! there: a session is on one connection at a time, so that its appends keep their order. A connection
//! is made when the first that needs it comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use nexus_protocol::wire::{ALPN, Open, Operation, PROTOCOL, PacketKind, try_encode_packet};
use nexus_protocol::{Invalid, TraceContext};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Link;
use crate::address::Servers;
use crate::error::ConnectError;
use crate::tls;

/// The connections of a client.
#[derive(Debug)]
pub(crate) struct Pool {
    /// At least one.
    links: Vec<Arc<Link>>,
    servers: Arc<Servers>,
    runtime: Handle,
    closing: watch::Sender<bool>,
}

impl Pool {
    /// No connection is made yet; `shown` is the address as errors say it.
    pub(crate) fn new(
        servers: Servers,
        shown: &(dyn std::fmt::Display + Sync),
        runtime: Handle,
    ) -> Result<Self, ConnectError> {
        let bad = |why: String| ConnectError::Address { given: shown.to_string(), why };
        let tls = tls::config(&servers.trust, &servers.identity, ALPN).map_err(bad)?;
        let crypto = QuicClientConfig::try_from(tls).map_err(|why| bad(why.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(super::transport()));
        let servers = Arc::new(servers);
        let closing = watch::Sender::new(false);
        assert!(servers.connections >= 1, "an address has a connection");
        let link = || Arc::new(Link::new(Arc::clone(&servers), config.clone(), closing.clone()));
        let links = (0..servers.connections).map(|_| link()).collect();
        Ok(Self { links, servers, runtime, closing })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.servers.timeout
    }

    /// A seat for a session of appends, or for a question.
    pub(crate) fn seat_for_short(&self, scope: &Scope) -> Seat {
        let (short, _) = self.links.split_at(self.links.len().div_ceil(2));
        self.seat(short, scope)
    }

    /// A seat for a read or a subscription.
    pub(crate) fn seat_for_long(&self, scope: &Scope) -> Seat {
        let (short, long) = self.links.split_at(self.links.len().div_ceil(2));
        self.seat(if long.is_empty() { short } else { long }, scope)
    }

    fn seat(&self, among: &[Arc<Link>], scope: &Scope) -> Seat {
        let fewest = among.iter().min_by_key(|link| link.under_way.load(Ordering::Relaxed));
        let link = Arc::clone(fewest.expect("a pool has a connection for everything"));
        link.under_way.fetch_add(1, Ordering::Relaxed);
        Seat { link, scope: scope.clone(), runtime: self.runtime.clone() }
    }

    /// The oldest version of the protocol that was agreed on last by any connection.
    pub(crate) fn version(&self) -> u16 {
        let versions = self.links.iter().map(|link| link.version.load(Ordering::Relaxed));
        versions.min().unwrap_or(PROTOCOL)
    }

    /// Connections that were made since the beginning.
    pub(crate) fn made(&self) -> u64 {
        self.links.iter().map(|link| link.made.load(Ordering::Relaxed)).sum()
    }

    /// Breaks every connection; whoever is on one goes on with a new one.
    pub(crate) async fn break_all(&self) {
        for link in &self.links {
            link.close().await;
        }
    }

    /// Closes every connection, and makes none any more.
    pub(crate) async fn close(&self) {
        self.closing.send_replace(true);
        self.break_all().await;
    }
}

/// What requests are part of.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) namespace: Arc<str>,
    pub(crate) trace: Option<TraceContext>,
}

impl Scope {
    /// A namespace, and no trace.
    pub(crate) fn of(namespace: &str) -> Self {
        Self { namespace: namespace.into(), trace: None }
    }
}

/// A place on a connection, for requests of one scope. Whoever has it goes on there when the connection breaks.
#[derive(Debug)]
pub(crate) struct Seat {
    link: Arc<Link>,
    scope: Scope,
    runtime: Handle,
}

impl Seat {
    /// The connection, or a new one.
    pub(crate) async fn connection(&self) -> Result<Connection, ConnectError> {
        self.link.connection().await
    }

    /// The same for what only servers from this version of the protocol on know.
    pub(crate) async fn connection_since(&self, version: u16) -> Result<Connection, ConnectError> {
        let connection = self.connection().await?;
        let theirs = self.version();
        if theirs < version {
            return Err(ConnectError::Version { oldest: theirs, newest: theirs, ours: version });
        }
        Ok(connection)
    }

    /// The version of the protocol that was agreed on for it.
    pub(crate) fn version(&self) -> u16 {
        self.link.version.load(Ordering::Relaxed)
    }

    /// What is said where there was no connection in time.
    pub(crate) fn no_connection(&self) -> ConnectError {
        self.link.no_connection()
    }

    /// How long an answer is waited for.
    pub(crate) fn timeout(&self) -> Duration {
        self.link.servers.timeout
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The first packet of a stream. Whether it is `answered` in short says whether the server may drop
    /// it when the time is up; `attempt` says which try it is, from 1.
    ///
    /// # Errors
    /// When the request is larger than any that a server takes.
    pub(crate) fn open(
        &self,
        operation: Operation,
        payload: &[u8],
        answered: bool,
        attempt: u32,
    ) -> Result<Bytes, Invalid> {
        let ms = u32::try_from(self.timeout().as_millis()).unwrap_or(u32::MAX);
        let open = Open {
            namespace: self.scope.namespace.as_ref().to_owned(),
            deadline_ms: answered.then_some(ms),
            traceparent: self.scope.trace.map(|trace| trace.to_string()),
            attempt,
            operation,
        };
        try_encode_packet(PacketKind::Open, &open, payload)
            .map_err(|why| Invalid::Request(format!("it is larger than any server takes: {why}")))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let before = self.link.under_way.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a seat is given back once");
    }
}

#[cfg(test)]
mod tests {
    use nexus_node::config::Certificate;
    use nexus_node::{Engine, Node};
    use nexus_protocol::wire::PacketDecoder;
    use nexus_server::{Options, Server};

    use super::*;
    use crate::address::{Address, At};

    fn pool(connections: usize, runtime: &tokio::runtime::Runtime) -> Pool {
        pool_at(&format!("nexus://127.0.0.1:1?connections={connections}"), runtime)
    }

    fn pool_at(text: &str, runtime: &tokio::runtime::Runtime) -> Pool {
        let address: Address = text.parse().unwrap();
        let At::Servers(servers) = address.at.clone() else { panic!("it names a server") };
        Pool::new(servers, &address, runtime.handle().clone()).unwrap()
    }

    fn on(pool: &Pool, seat: &Seat) -> usize {
        pool.links.iter().position(|link| Arc::ptr_eq(link, &seat.link)).unwrap()
    }

    #[test]
    fn appends_are_not_beside_reads_where_there_are_two_connections() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let scope = Scope::of("default");
        for (connections, short, long) in [
            (1, vec![0, 0, 0, 0], vec![0, 0, 0, 0]),
            (2, vec![0, 0, 0, 0], vec![1, 1, 1, 1]),
            (3, vec![0, 1, 0, 1], vec![2, 2, 2, 2]),
            (5, vec![0, 1, 2, 0], vec![3, 4, 3, 4]),
        ] {
            let pool = pool(connections, &runtime);
            let taken: Vec<_> = (0..4).map(|_| pool.seat_for_short(&scope)).collect();
            let places: Vec<_> = taken.iter().map(|seat| on(&pool, seat)).collect();
            assert_eq!(places, short, "{connections} connections");
            drop(taken);
            let taken: Vec<_> = (0..4).map(|_| pool.seat_for_long(&scope)).collect();
            let places: Vec<_> = taken.iter().map(|seat| on(&pool, seat)).collect();
            assert_eq!(places, long, "{connections} connections");
        }
    }

    #[test]
    fn a_seat_that_is_given_back_is_free() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let scope = Scope::of("default");
        let pool = pool(4, &runtime);
        let (first, second) = (pool.seat_for_long(&scope), pool.seat_for_long(&scope));
        assert_eq!((on(&pool, &first), on(&pool, &second)), (2, 3));
        drop(second);
        assert_eq!(on(&pool, &pool.seat_for_long(&scope)), 3);
    }

    #[test]
    fn a_request_names_the_trace_that_it_is_part_of() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let pool = pool(2, &runtime);
        for traced in [None, Some(trace)] {
            let trace = traced.map(|trace| trace.parse().unwrap());
            let scope = Scope { trace, ..Scope::of("orders") };
            for seat in [pool.seat_for_short(&scope), pool.seat_for_long(&scope)] {
                let mut decoder = PacketDecoder::default();
                decoder.push(&seat.open(Operation::Head, &[], true, 1).unwrap());
                let open: Open = decoder.next_packet().unwrap().unwrap().message().unwrap();
                assert_eq!(open.traceparent.as_deref(), traced);
                assert_eq!((open.namespace.as_str(), open.deadline_ms), ("orders", Some(30_000)));
            }
        }
    }

    /// A connection that is closed may take its time: the server answers that it is, or is gone.
    #[test]
    fn nobody_waits_for_a_connection_that_is_closed() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = Options::new(Certificate::temporary().unwrap()).dev(true);
            let node = Node::over(Engine::in_memory()).unwrap();
            let server = Server::start(node, options).unwrap();
            let pool = pool_at(&format!("nexus://{}", server.quic_address()), &runtime);
            let seat = pool.seat_for_short(&Scope::of("default"));
            seat.connection().await.unwrap();
            let mut closing = std::pin::pin!(seat.link.close());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(closing.as_mut().poll(&mut context).is_pending(), "the server is told first");
            assert!(seat.link.current.try_lock().is_ok(), "a new one can be made meanwhile");
            closing.await;
            server.shut_down(Duration::from_secs(5)).await.unwrap();
        });
    }
}
