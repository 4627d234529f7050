//! NATS JetStream: a stream kept in files, and a pull consumer that each client of the group pulls from.
//!
//! It answers before what it has written is synced; version 2.9 has no setting by which it would sync first.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream as Pulled};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};
use async_nats::jetstream::stream::{Config as StreamConfig, StorageType};
use async_nats::jetstream::{Context, Message};
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::ReadyChunks;
use nexus_cli::measuring::{BATCH, BATCHES_AHEAD, Failure, Orders, Peer, number_of};
use tokio::sync::Mutex;

use super::{Consumes, Counted, FILL_EVENTS, Store, Taken, WAIT, Writes, refused};
use crate::program::{Program, Says, Server};

const NATS: &str = "NATS";
/// What begins the line that names the port.
const LISTENS: &str = "Listening for client connections on ";

/// What is said of it in the conditions.
pub(crate) fn about(version: String) -> Peer {
    Peer {
        name: "NATS JetStream".to_owned(),
        version,
        sync: "file storage, NOT SYNCED before its answer (every 2 minutes by default): what it acknowledges is lost \
               with the power"
            .to_owned(),
        clients: "the crate `async-nats`, a connection a client, pulls of 160 at a time, every acknowledgement answered"
            .to_owned(),
    }
}

/// A server of NATS with JetStream.
#[derive(Debug)]
pub(crate) struct Nats {
    address: String,
    jetstream: Context,
    _server: Server,
}

impl Nats {
    /// Starts it over a new folder.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start(program: &Program, dir: &Path) -> Result<Self, Failure> {
        let words = ["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"];
        let words: Vec<_> = words.iter().map(OsStr::new).chain([dir.as_os_str()]).collect();
        // The port comes first, and the server is ready later; a client that connects in between would be refused.
        let address = std::cell::RefCell::new(None);
        let ready = |line: &str| {
            if let Some((_, at)) = line.split_once(LISTENS) {
                *address.borrow_mut() = Some(at.trim().to_owned());
            }
            line.contains("Server is ready").then(|| address.borrow_mut().take())?
        };
        let (server, address) = program.start(&words, Says::Error, ready)?;
        let jetstream = async_nats::jetstream::new(connect(&address).await?);
        Ok(Self { address, jetstream, _server: server })
    }
}

async fn connect(address: &str) -> Result<Client, Failure> {
    async_nats::connect(address).await.map_err(|error| refused(NATS)(&error))
}

/// Publishes to the place, and waits for the store's answer.
async fn publish(jetstream: &Context, place: &str, data: Bytes) -> Result<(), Failure> {
    let answer = jetstream.publish(place.to_owned(), data).await;
    let answer = answer.map_err(|error| refused(NATS)(&error))?;
    answer.await.map(drop).map_err(|error| refused(NATS)(&error))
}

impl Store for Nats {
    type Writer = Writer;
    type Consumer = Consumer;

    const NAME: &'static str = "nats";

    async fn make(&self, place: &str) -> Result<(), Failure> {
        let config = StreamConfig {
            name: place.to_owned(),
            subjects: vec![place.to_owned()],
            storage: StorageType::File,
            ..StreamConfig::default()
        };
        let made = self.jetstream.create_stream(config).await;
        made.map(drop).map_err(|error| refused(NATS)(&error))
    }

    async fn writers(&self, place: &str, count: usize) -> Result<Vec<Writer>, Failure> {
        let mut writers = Vec::with_capacity(count);
        for _ in 0..count {
            let jetstream = async_nats::jetstream::new(connect(&self.address).await?);
            writers.push(Writer { jetstream, place: place.to_owned() });
        }
        Ok(writers)
    }

    async fn fill(&self, place: &str, events: u64, orders: &Orders) -> Result<(), Failure> {
        for first in (0..events).step_by(usize::try_from(FILL_EVENTS).unwrap_or(1)) {
            let numbers = first..events.min(first + FILL_EVENTS);
            let publish = |number| publish(&self.jetstream, place, orders.numbered(number));
            try_join_all(numbers.map(publish)).await?;
        }
        Ok(())
    }

    async fn group(
        &self,
        place: &str,
        group: &str,
        consumers: usize,
    ) -> Result<Vec<Consumer>, Failure> {
        let config = Config {
            durable_name: Some(group.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(3_600),
            max_ack_pending: 100_000,
            ..Config::default()
        };
        let made = self.jetstream.create_consumer_on_stream(config, place).await;
        made.map_err(|error| refused(NATS)(&error))?;
        let mut all = Vec::with_capacity(consumers);
        for _ in 0..consumers {
            let client = connect(&self.address).await?;
            let jetstream = async_nats::jetstream::new(client.clone());
            let pull = jetstream.get_consumer_from_stream::<Config, _, _>(group, place).await;
            let pull = pull.map_err(|error| refused(NATS)(&error))?;
            all.push(Consumer { client, pull, pulled: Mutex::new(None) });
        }
        Ok(all)
    }

    async fn counted(&self, place: &str, group: &str) -> Result<Counted, Failure> {
        let found = self.jetstream.get_consumer_from_stream::<Config, _, _>(group, place).await;
        let mut found: PullConsumer = found.map_err(|error| refused(NATS)(&error))?;
        let info = found.info().await.map_err(|error| refused(NATS)(&error))?;
        Ok(Counted {
            delivered: info.delivered.consumer_sequence,
            unanswered: info.num_ack_pending as u64,
            left: info.num_pending,
        })
    }

    async fn end(&self, place: &str, group: &str) -> Result<(), Failure> {
        let ended = self.jetstream.delete_consumer_from_stream(group, place).await;
        ended.map(drop).map_err(|error| refused(NATS)(&error))
    }
}

/// A client that appends.
#[derive(Debug)]
pub(crate) struct Writer {
    jetstream: Context,
    place: String,
}

impl Writes for Writer {
    async fn append(&self, _number: u64, data: Bytes) -> Result<(), Failure> {
        publish(&self.jetstream, &self.place, data).await
    }
}

/// A client that pulls.
pub(crate) struct Consumer {
    client: Client,
    pull: PullConsumer,
    /// What was pulled, in batches of what is there; `None` until the first is asked for, so that nothing is pulled
    /// before the turn begins.
    pulled: Mutex<Option<ReadyChunks<Pulled>>>,
}

impl Consumer {
    /// As many ahead as a consumer of Nexus has.
    async fn begin(&self) -> Result<ReadyChunks<Pulled>, Failure> {
        let pull = self.pull.stream().max_messages_per_batch(2 * BATCH * BATCHES_AHEAD);
        let pulled = pull.messages().await.map_err(|error| refused(NATS)(&error))?;
        Ok(pulled.ready_chunks(BATCH))
    }
}

impl Consumes for Consumer {
    type Token = Subject;

    async fn take(&self) -> Result<Taken<Subject>, Failure> {
        let mut pulled = self.pulled.lock().await;
        if pulled.is_none() {
            *pulled = Some(self.begin().await?);
        }
        let Some(pulled) = pulled.as_mut() else { return Ok(Taken::of(std::iter::empty())) };
        let Ok(taken) = tokio::time::timeout(WAIT, pulled.next()).await else {
            return Ok(Taken::of(std::iter::empty()));
        };
        let mut each = Vec::with_capacity(BATCH);
        for message in taken.ok_or_else(|| refused(NATS)(&"the consumer is gone"))? {
            let Message { message, .. } = message.map_err(|error| refused(NATS)(&error))?;
            let token = message.reply.ok_or_else(|| refused(NATS)(&"nothing to acknowledge"))?;
            each.push((number_of(&message.payload), token));
        }
        Ok(Taken::of(each.into_iter()))
    }

    async fn ack(&self, tokens: Vec<Subject>) -> Result<u64, Failure> {
        // A request and not a mere message, so that the acknowledgement is known to have been taken, as the others' is.
        let acks = tokens.into_iter().map(|token| self.client.request(token, "+ACK".into()));
        let acked = try_join_all(acks).await.map_err(|error| refused(NATS)(&error))?;
        Ok(acked.len() as u64)
    }
}
