//! [`Door`]: what every connection shares, whichever protocol it speaks.

use std::sync::Arc;
use std::time::Duration;

use nexus_node::telemetry::{HeldBytes, Telemetry};
use nexus_node::{Node, Principal};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::consumers::Consumers;
use crate::options::Options;

/// Requests under way at a time, subscriptions among them; whoever comes after waits (I8).
const REQUESTS_MAX: u32 = 1 << 18;

/// See [`Door::place_for_answer`].
const ANSWERS_AT_A_TIME: usize = 16;
/// See [`Door::place_to_wait`]: half of the threads that may block.
const WAITS_AT_A_TIME: usize = 256;
/// How long a request waits for memory, where waiting for ever would hold up what it holds.
pub(crate) const MEMORY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Within a request something comes at least so often: others wait for the memory that is held for it.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A client that does not take an answer for so long gets none.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// What somebody is told who has not said who they are.
const NOBODY: &str = "a token is needed: set NEXUS_TOKEN, or over HTTP send it in the header \
                      `Authorization: Bearer TOKEN`; or show a client certificate that has a role";

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) node: Node,
    pub(crate) memory: Memory,
    pub(crate) connections: Arc<Semaphore>,
    connections_max: u32,
    /// Requests under way: shutting down waits for them.
    pub(crate) requests: Arc<Semaphore>,
    /// Answers of QUIC that are made at a time and may be long.
    answers: Arc<Semaphore>,
    /// Lookups that may wait, each on a thread of its own.
    waits: Arc<Semaphore>,
    /// Who has a session as a consumer.
    pub(crate) consumers: Consumers,
    pub(crate) appends_in_flight_max: u32,
    pub(crate) dev: bool,
    /// Whether the metrics are shown to everybody.
    pub(crate) metrics_open: bool,
    /// Turned to true when the server shuts down: no new request is taken.
    pub(crate) closing: watch::Sender<bool>,
}

impl Door {
    pub(crate) fn new(node: Node, options: &Options) -> Self {
        Self {
            memory: Memory::new(options.request_bytes_max, node.telemetry()),
            node,
            connections: Arc::new(Semaphore::new(options.connections_max)),
            connections_max: u32::try_from(options.connections_max).unwrap_or(u32::MAX),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX as usize)),
            answers: Arc::new(Semaphore::new(ANSWERS_AT_A_TIME)),
            waits: Arc::new(Semaphore::new(WAITS_AT_A_TIME)),
            consumers: Consumers::default(),
            appends_in_flight_max: options.appends_in_flight_max,
            dev: options.dev,
            metrics_open: options.metrics_open,
            closing: watch::Sender::new(false),
        }
    }

    /// Who somebody is: by a token that is given, or else by a certificate that is verified; without either
    /// only a server in dev mode lets them in.
    pub(crate) fn identify(
        &self,
        token: Option<&str>,
        certificate: Option<&CertificateDer<'_>>,
    ) -> Result<Principal, Unidentified> {
        if let Some(token) = token {
            return self.node.identify(token).map_err(|why| Unidentified {
                answer: "the token is not known, is revoked, or has ended: ask for a new one",
                why: why.to_string(),
            });
        }
        let shown = certificate.map(|certificate| self.node.identify_certificate(certificate));
        match shown {
            Some(Ok(principal)) => Ok(principal),
            _ if self.dev => Ok(Principal::anonymous_admin()),
            Some(Err(why)) => Err(Unidentified { answer: NOBODY, why: why.to_string() }),
            None => Err(Unidentified::of(NOBODY)),
        }
    }

    /// Waits until the server shuts down.
    pub(crate) fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut closing = self.closing.subscribe();
        async move {
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }

    /// Waits for a place among the answers that are made at a time and may be long: each is in memory whole
    /// before it can be counted.
    pub(crate) async fn place_for_answer(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.answers).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// Waits for a place among the requests that wait for something on a thread: however many there are, others find threads.
    pub(crate) async fn place_to_wait(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.waits).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// Waits until no connection is left.
    pub(crate) async fn no_connections(&self) {
        let all = self.connections.acquire_many(self.connections_max).await;
        drop(all.expect("the semaphore is never closed"));
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

/// Why somebody is not let in: what they are told, and what the log says. A stranger is not told what about
/// a token was right.
#[derive(Clone, Debug)]
pub(crate) struct Unidentified {
    pub(crate) answer: &'static str,
    pub(crate) why: String,
}

impl Unidentified {
    /// For a reason that is no secret.
    pub(crate) fn of(reason: &'static str) -> Self {
        Self { answer: reason, why: reason.to_owned() }
    }
}

/// Memory that requests of all connections may hold while they are received or answered (I8).
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    kib: Arc<Semaphore>,
    kib_max: u32,
    telemetry: Arc<Telemetry>,
}

/// Memory that is held for a request until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _place: OwnedSemaphorePermit,
    _counted: HeldBytes,
}

impl Memory {
    pub(crate) fn new(bytes_max: usize, telemetry: &Arc<Telemetry>) -> Self {
        let kib_max = u32::try_from(bytes_max / 1024).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        let kib = Arc::new(Semaphore::new(kib_max as usize));
        Self { kib, kib_max, telemetry: Arc::clone(telemetry) }
    }

    fn held(&self, place: OwnedSemaphorePermit, bytes: usize) -> Held {
        Held { _place: place, _counted: self.telemetry.hold(bytes) }
    }

    fn kib_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.kib_max)
    }

    /// Waits for memory for so many bytes; who asks for more than there is gets all there is.
    pub(crate) async fn take(&self, bytes: usize) -> Held {
        let taken = Arc::clone(&self.kib).acquire_many_owned(self.kib_of(bytes)).await;
        self.held(taken.expect("the semaphore is never closed"), bytes)
    }

    /// The same, for so long at most.
    pub(crate) async fn take_in_time(&self, bytes: usize) -> Option<Held> {
        tokio::time::timeout(MEMORY_WAIT_MAX, self.take(bytes)).await.ok()
    }

    /// The same where it is there now: who holds some already must not wait for more, or all might
    /// wait for each other.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Held> {
        let taken = Arc::clone(&self.kib).try_acquire_many_owned(self.kib_of(bytes)).ok();
        taken.map(|place| self.held(place, bytes))
    }
}
