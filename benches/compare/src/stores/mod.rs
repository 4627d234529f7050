//! What a scenario asks of a store, the same of each: appends, groups, deliveries, acknowledgements, and the store's
//! own count of them; or documents that are searched.

pub(crate) mod nats;
pub(crate) mod nexus;
pub(crate) mod postgres;
pub(crate) mod redis;

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use nexus_cli::measuring::{Failure, Orders, Question};

/// How long a consumer asks for deliveries before it asks again.
pub(crate) const WAIT: Duration = Duration::from_millis(500);
/// Events of one request that fills a store, or of so many requests at a time.
const FILL_EVENTS: u64 = 1_000;

/// What a group did, as the store counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Deliveries that were made.
    pub(crate) delivered: u64,
    /// Those of them that are not acknowledged.
    pub(crate) unanswered: u64,
    /// Events that are still to be delivered.
    pub(crate) left: u64,
}

/// A store whose server runs until this is dropped. `place` names what events of one purpose are kept in: a category, a
/// key, a stream.
pub(crate) trait Store: Sized {
    type Writer: Writes;
    type Consumer: Consumes;

    /// As in the names of scenarios.
    const NAME: &'static str;

    /// Makes the place, where that has to be done.
    async fn make(&self, place: &str) -> Result<(), Failure>;

    /// So many writers, each with a connection of its own.
    async fn writers(&self, place: &str, count: usize) -> Result<Vec<Self::Writer>, Failure>;

    /// Appends events with the numbers 0 to `events`, in whatever way is quick.
    async fn fill(&self, place: &str, events: u64, orders: &Orders) -> Result<(), Failure>;

    /// A new group over all of the place, and its consumers, each with connections of its own.
    async fn group(
        &self,
        place: &str,
        group: &str,
        consumers: usize,
    ) -> Result<Vec<Self::Consumer>, Failure>;

    /// What the group did.
    async fn counted(&self, place: &str, group: &str) -> Result<Counted, Failure>;

    /// Deletes the group.
    async fn end(&self, place: &str, group: &str) -> Result<(), Failure>;
}

/// One who appends.
pub(crate) trait Writes: Send + Sync + 'static {
    /// Appends one event, and waits until it is acknowledged.
    fn append(&self, number: u64, data: Bytes) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// One who takes deliveries of a group; several tasks share it.
pub(crate) trait Consumes: Send + Sync + 'static {
    /// What is acknowledged.
    type Token: Send;

    /// Takes a batch, which may be empty after [`WAIT`]: the number of each event, and its token.
    fn take(&self) -> impl Future<Output = Result<Taken<Self::Token>, Failure>> + Send;

    /// Acknowledges them, and waits for the answer: gives how many count.
    fn ack(&self, tokens: Vec<Self::Token>) -> impl Future<Output = Result<u64, Failure>> + Send;
}

/// Where documents of purchases are searched; the server runs until this is dropped.
pub(crate) trait Searches {
    /// Has purchases 0 to `documents` be documents that are found, and durable.
    async fn load(&self, documents: u64) -> Result<(), Failure>;

    /// Asks for the first ten documents and how many there are: gives the latter.
    async fn ask(&self, question: &Question) -> Result<u64, Failure>;

    /// Bytes on the disk of what is searched.
    async fn bytes(&self) -> Result<u64, Failure>;
}

/// A batch: the numbers of its events, and what to acknowledge.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    pub(crate) numbers: Vec<Option<u64>>,
    pub(crate) tokens: Vec<T>,
}

impl<T> Taken<T> {
    /// From each event's number and token.
    fn of(each: impl Iterator<Item = (Option<u64>, T)>) -> Self {
        let (numbers, tokens) = each.unzip();
        Self { numbers, tokens }
    }
}

/// A port that was free just now. Another program may take it before a server does, which then does not start.
fn free_port() -> Result<u16, Failure> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr());
    let port = port.map_err(|error| Failure::failed(format!("no port is free: {error}")))?;
    Ok(port.port())
}

/// The store does not do as it is asked.
fn refused(name: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Failure {
    move |error| Failure::failed(format!("{name}: {error}"))
}
