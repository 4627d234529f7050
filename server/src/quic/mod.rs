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

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) node: Node,
    memory: Memory,
    connections: Arc<Semaphore>,
    appends_in_flight_max: u32,
    /// Turned to true when the server shuts down: no new request is taken.
    closing: watch::Sender<bool>,
}

impl Door {
    pub(crate) fn new(node: Node, options: &Options) -> Self {
        Self {
            node,
            memory: Memory::new(options.request_bytes_max),
            connections: Arc::new(Semaphore::new(options.connections_max)),
            appends_in_flight_max: options.appends_in_flight_max,
            closing: watch::Sender::new(false),
        }
    }

    /// Who a connection is. Until there are tokens, whoever reaches a server may do everything: it
    /// listens on loopback only.
    fn identify(&self, _token: Option<&str>) -> Result<Principal, String> {
        Ok(Principal::anonymous_admin())
    }

    /// Waits until all requests are answered, at most for `grace`. Subscriptions end at once: their
    /// clients go on where they were.
    pub(crate) async fn drain(&self, grace: Duration) {
        self.closing.send_replace(true);
        let answered = self.memory.all_given_back();
        // Time is up: whoever still waits gets no answer, and asks again with the same ids.
        let _ = tokio::time::timeout(grace, answered).await;
    }
}
