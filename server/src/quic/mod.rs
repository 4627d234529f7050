//! The QUIC door. A connection says who it is in its first stream; every further stream is one
//! request: a session of appends, a read, a subscription, or a question. `docs/protocol.md` has the
//! bytes.

mod answers;
mod appends;
pub(crate) mod listener;
mod packets;
mod reads;
mod session;
mod subscriptions;

use std::sync::Arc;
use std::time::Duration;

use nexus_node::{Node, Principal};
use tokio::sync::{Semaphore, watch};

use crate::options::Options;
use packets::Memory;

/// Requests under way at a time, subscriptions among them; whoever comes after waits (I8).
const REQUESTS_MAX: u32 = 1 << 18;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) node: Node,
    memory: Memory,
    connections: Arc<Semaphore>,
    /// Requests under way: shutting down waits for them.
    requests: Arc<Semaphore>,
    appends_in_flight_max: u32,
    dev: bool,
    /// Turned to true when the server shuts down: no new request is taken.
    closing: watch::Sender<bool>,
}

impl Door {
    pub(crate) fn new(node: Node, options: &Options) -> Self {
        Self {
            memory: Memory::new(options.request_bytes_max, node.telemetry()),
            node,
            connections: Arc::new(Semaphore::new(options.connections_max)),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX as usize)),
            appends_in_flight_max: options.appends_in_flight_max,
            dev: options.dev,
            closing: watch::Sender::new(false),
        }
    }

    /// Who a connection is, by its token; without one only a server in dev mode lets it in.
    fn identify(&self, token: Option<&str>) -> Result<Principal, String> {
        match token {
            Some(token) => self.node.identify(token).ok_or_else(|| {
                "the token is not known, is revoked, or has ended: ask for a new one".to_owned()
            }),
            None if self.dev => Ok(Principal::anonymous_admin()),
            None => Err("a token is needed: set NEXUS_TOKEN".to_owned()),
        }
    }

    /// Waits until all requests are answered, at most for `grace`. Subscriptions end at once: their
    /// clients go on where they were.
    pub(crate) async fn drain(&self, grace: Duration) {
        self.closing.send_replace(true);
        let answered = self.requests.acquire_many(REQUESTS_MAX);
        // Time is up: whoever still waits gets no answer, and asks again with the same ids.
        let _ = tokio::time::timeout(grace, answered).await;
    }
}
