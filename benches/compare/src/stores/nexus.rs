//! Nexus: `nexus serve --dev`, over QUIC.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use nexus_cli::measuring::{
    BATCH, BATCHES_AHEAD, Failure, Orders, Question, number_of, one_each, purchases,
};
use nexus_client::{Address, Client, Consumer};
use nexus_engine::io::DISK_FILE;
use nexus_protocol::group::{DeliveryToken, GroupConfig, GroupMode};
use nexus_protocol::projection::Lookup;
use nexus_protocol::{Append, EventData, EventStore as _, Filter, JSON, ReadError};
use serde::Deserialize;

use super::{Consumes, Counted, FILL_EVENTS, Searches, Store, Taken, WAIT, Writes};
use crate::program::{Program, Says, Server};

/// What is said of it in the conditions.
pub(crate) const ABOUT: &str =
    "`nexus serve --dev`, a child of this process, over QUIC; one connection a client";
/// Streams that events are spread over.
const STREAMS: u64 = 1_000;
/// Those of one append that fills it.
const FILL_STREAMS: u64 = 100;
/// Appends that are under way while it is filled.
const FILLS_UNDER_WAY: usize = 16;
/// Appends that are under way while documents are made.
const APPENDS_UNDER_WAY: usize = 256;
/// The projection that is searched, and the category that it is of.
const SEARCHED: &str = "purchase";
const TYPE: &str = "OrderPlaced";

/// What `nexus serve` says when it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    quic: SocketAddr,
}

/// A server of Nexus.
#[derive(Debug)]
pub(crate) struct Nexus {
    client: Client,
    address: Address,
    dir: PathBuf,
    _server: Server,
}

impl Nexus {
    /// Starts it over a new log in `dir`, which is written as was measured in `measured`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start(
        program: &Program,
        dir: &Path,
        measured: &Path,
    ) -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format!("{}: {error}", dir.display()));
        // It would measure the disk itself, and might find another way than the conditions name.
        std::fs::create_dir_all(dir).map_err(failed)?;
        std::fs::copy(measured.join(DISK_FILE), dir.join(DISK_FILE)).map_err(failed)?;
        let words = ["--output", "json", "serve", "--dev", "--listen", "127.0.0.1:0", "--data"];
        let words: Vec<_> = words.iter().map(OsStr::new).chain([dir.as_os_str()]).collect();
        let ready = |line: &str| serde_json::from_str::<Ready>(line).ok();
        let (server, ready) = program.start(&words, Says::Out, ready)?;
        let address: Address = format!("nexus://{}", ready.quic).parse()?;
        let address = address.connections(1);
        let client = Client::connect(address.clone()).await?;
        Ok(Self { client, address, dir: dir.to_owned(), _server: server })
    }

    async fn clients(&self, count: usize) -> Result<Vec<Client>, Failure> {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(Client::connect(self.address.clone()).await?);
        }
        Ok(clients)
    }
}

fn stream(place: &str, number: u64) -> String {
    format!("{place}-{}", number % STREAMS)
}

impl Store for Nexus {
    type Writer = Writer;
    type Consumer = Consumer;

    const NAME: &'static str = "nexus";

    async fn make(&self, _place: &str) -> Result<(), Failure> {
        Ok(())
    }

    async fn writers(&self, place: &str, count: usize) -> Result<Vec<Writer>, Failure> {
        let clients = self.clients(count).await?.into_iter();
        Ok(clients.map(|client| Writer { client, place: place.to_owned() }).collect())
    }

    async fn fill(&self, place: &str, events: u64, orders: &Orders) -> Result<(), Failure> {
        let mut pending = VecDeque::with_capacity(FILLS_UNDER_WAY);
        for first in (0..events).step_by(usize::try_from(FILL_EVENTS).unwrap_or(1)) {
            let numbers = first..events.min(first + FILL_EVENTS);
            // A hundred streams an append, and others the next time.
            let together = u64::min(FILL_STREAMS, numbers.end - numbers.start);
            let append = (0..together).fold(Append::new(), |append, of| {
                let mine = (numbers.start + of..numbers.end)
                    .step_by(usize::try_from(together).unwrap_or(1));
                let events = mine.map(|number| EventData::new(TYPE, JSON, orders.numbered(number)));
                append.stream(stream(place, first / FILL_EVENTS * together + of)).events(events)
            });
            pending.push_back(self.client.append(append));
            if pending.len() == FILLS_UNDER_WAY
                && let Some(oldest) = pending.pop_front()
            {
                oldest.await?;
            }
        }
        for append in pending {
            append.await?;
        }
        Ok(())
    }

    async fn group(
        &self,
        place: &str,
        group: &str,
        consumers: usize,
    ) -> Result<Vec<Consumer>, Failure> {
        let config = GroupConfig {
            mode: GroupMode::Unordered,
            filter: Filter::category(place),
            max_in_flight: 100_000,
            ack_deadline: Duration::from_secs(3_600),
            ..GroupConfig::default()
        };
        self.client.set_group(group, &config).await?;
        let ahead = u32::try_from(2 * BATCH * BATCHES_AHEAD).unwrap_or(u32::MAX);
        let clients = self.clients(consumers).await?.into_iter().enumerate();
        let consumer = |(number, client): (usize, Client)| {
            client.consumer(group, &format!("consumer-{number}")).prefetch(ahead)
        };
        Ok(clients.map(consumer).collect())
    }

    async fn counted(&self, _place: &str, group: &str) -> Result<Counted, Failure> {
        let info = self.client.group(group).await?;
        Ok(Counted {
            delivered: info.delivered + info.redelivered,
            unanswered: info.in_flight + info.parked,
            left: info.lag_events,
        })
    }

    async fn end(&self, _place: &str, group: &str) -> Result<(), Failure> {
        Ok(self.client.delete_group(group).await?)
    }
}

/// Bytes of all files below a folder.
fn bytes_below(dir: &Path) -> std::io::Result<u64> {
    let each = std::fs::read_dir(dir)?.map(|entry| {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() { bytes_below(&entry.path()) } else { Ok(meta.len()) }
    });
    each.sum()
}

impl Searches for Nexus {
    async fn load(&self, documents: u64) -> Result<(), Failure> {
        let definition = one_each(SEARCHED, SEARCHED);
        self.client.set_projection(SEARCHED, &definition).await?;
        let mut pending = VecDeque::with_capacity(APPENDS_UNDER_WAY);
        for append in purchases(documents, SEARCHED) {
            pending.push_back(self.client.append(append));
            if pending.len() == APPENDS_UNDER_WAY
                && let Some(oldest) = pending.pop_front()
            {
                oldest.await?;
            }
        }
        for append in pending {
            append.await?;
        }
        let min_position = self.client.head().await?.position;
        let lookup = Lookup { key: "nothing".to_owned(), min_position, timeout_ms: None };
        loop {
            match self.client.lookup(SEARCHED, &lookup).await {
                Ok(_) | Err(ReadError::NotFound { .. }) => return Ok(()),
                Err(ReadError::NotCaughtUp { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn ask(&self, question: &Question) -> Result<u64, Failure> {
        Ok(self.client.search(SEARCHED, &question.request()).await?.total)
    }

    async fn bytes(&self) -> Result<u64, Failure> {
        let dir = self.dir.join("projections");
        bytes_below(&dir).map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))
    }
}

/// A client that appends.
#[derive(Debug)]
pub(crate) struct Writer {
    client: Client,
    place: String,
}

impl Writes for Writer {
    async fn append(&self, number: u64, data: Bytes) -> Result<(), Failure> {
        let event = EventData::new(TYPE, JSON, data);
        self.client.append(Append::to(stream(&self.place, number)).event(event)).await?;
        Ok(())
    }
}

impl Consumes for Consumer {
    type Token = DeliveryToken;

    async fn take(&self) -> Result<Taken<DeliveryToken>, Failure> {
        let taken = self.receive(BATCH, WAIT).await?;
        let each = taken.iter().map(|it| (number_of(it.event.data()), it.token));
        Ok(Taken::of(each))
    }

    async fn ack(&self, tokens: Vec<DeliveryToken>) -> Result<u64, Failure> {
        Ok(Self::ack(self, &tokens).await?.done)
    }
}
