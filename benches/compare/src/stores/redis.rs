//! Redis Streams: a stream is a key, and a group belongs to it.
//!
//! The append-only file is synced before every answer, which Redis does once for all requests that arrived together. A
//! consumer has two connections, since one on which it waits for deliveries answers nothing meanwhile.

use std::ffi::OsStr;
use std::path::Path;

use ::redis::aio::MultiplexedConnection;
use ::redis::streams::StreamInfoGroupsReply;
use ::redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError, cmd};
use bytes::Bytes;
use nexus_cli::measuring::{BATCH, Failure, Orders, Peer, number_of};

use super::{Consumes, Counted, FILL_EVENTS, Store, Taken, WAIT, Writes, free_port, refused};
use crate::program::{Program, Says, Server};

const REDIS: &str = "Redis";
/// The field of an entry that holds the event.
const FIELD: &str = "event";
/// Starts that are tried: each port is free when it is chosen, and perhaps not any more when it is taken.
const STARTS: usize = 5;

/// What XREADGROUP answers: of each key its entries, an id and pairs of field and value each.
type Read = Option<Vec<(String, Vec<(String, Vec<Vec<u8>>)>)>>;

/// What is said of it in the conditions.
pub(crate) fn about(version: String) -> Peer {
    Peer {
        name: "Redis Streams".to_owned(),
        version,
        sync: "--appendonly yes --appendfsync always --save '': on disk before its answer".to_owned(),
        clients: "the crate `redis`, multiplexed connections, two a consumer; no rewriting of the file meanwhile"
            .to_owned(),
    }
}

/// A server of Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    client: Client,
    connection: MultiplexedConnection,
    _server: Server,
}

impl Redis {
    /// Starts it over a new folder.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start(program: &Program, dir: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir).map_err(|error| refused(REDIS)(&error))?;
        let mut tried = Err(refused(REDIS)(&"it was not started"));
        for _ in 0..STARTS {
            let port = free_port()?;
            tried = serve(program, dir, port).map(|server| (server, port));
            if tried.is_ok() {
                break;
            }
        }
        let (server, port) = tried?;
        let client = Client::open(("127.0.0.1", port)).map_err(failed)?;
        let connection = connect(&client).await?;
        Ok(Self { client, connection, _server: server })
    }
}

fn serve(program: &Program, dir: &Path, port: u16) -> Result<Server, Failure> {
    let port = port.to_string();
    // A rewrite of the file in the middle of a turn would be Redis's loss by chance.
    let words = [
        ["--port", &port],
        ["--bind", "127.0.0.1"],
        ["--appendonly", "yes"],
        ["--appendfsync", "always"],
        ["--save", ""],
        ["--auto-aof-rewrite-percentage", "0"],
    ];
    let words = words.as_flattened().iter().map(OsStr::new);
    let words: Vec<_> = words.chain([OsStr::new("--dir"), dir.as_os_str()]).collect();
    let ready = |line: &str| line.contains("Ready to accept connections").then_some(());
    program.start(&words, Says::Out, ready).map(|(server, ())| server)
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, Failure> {
    // A client that waits for deliveries is answered late, and that is no failure.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(failed)
}

fn failed(error: RedisError) -> Failure {
    refused(REDIS)(&error)
}

/// Asks, on a connection that others may use at the same time.
async fn ask<T: FromRedisValue>(
    connection: &MultiplexedConnection,
    command: &::redis::Cmd,
) -> Result<T, Failure> {
    command.query_async(&mut connection.clone()).await.map_err(failed)
}

fn xadd(place: &str, data: &[u8]) -> ::redis::Cmd {
    let mut command = cmd("XADD");
    command.arg(place).arg("*").arg(FIELD).arg(data);
    command
}

impl Store for Redis {
    type Writer = Writer;
    type Consumer = Consumer;

    const NAME: &'static str = "redis";

    async fn make(&self, _place: &str) -> Result<(), Failure> {
        Ok(())
    }

    async fn writers(&self, place: &str, count: usize) -> Result<Vec<Writer>, Failure> {
        let mut writers = Vec::with_capacity(count);
        for _ in 0..count {
            let connection = connect(&self.client).await?;
            writers.push(Writer { connection, place: place.to_owned() });
        }
        Ok(writers)
    }

    async fn fill(&self, place: &str, events: u64, orders: &Orders) -> Result<(), Failure> {
        for first in (0..events).step_by(usize::try_from(FILL_EVENTS).unwrap_or(1)) {
            let mut together = Pipeline::new();
            for number in first..events.min(first + FILL_EVENTS) {
                together.add_command(xadd(place, &orders.numbered(number))).ignore();
            }
            let mut connection = self.connection.clone();
            together.query_async::<()>(&mut connection).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn group(
        &self,
        place: &str,
        group: &str,
        consumers: usize,
    ) -> Result<Vec<Consumer>, Failure> {
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(place).arg(group).arg("0").arg("MKSTREAM");
        ask::<()>(&self.connection, &create).await?;
        let mut all = Vec::with_capacity(consumers);
        for number in 0..consumers {
            let mut read = cmd("XREADGROUP");
            read.arg("GROUP").arg(group).arg(format!("consumer-{number}"));
            read.arg("COUNT").arg(BATCH).arg("BLOCK").arg(WAIT.as_millis().to_string());
            read.arg("STREAMS").arg(place).arg(">");
            let (reads, acks) = (connect(&self.client).await?, connect(&self.client).await?);
            let (place, group) = (place.to_owned(), group.to_owned());
            all.push(Consumer { read, reads, acks, place, group });
        }
        Ok(all)
    }

    async fn counted(&self, place: &str, group: &str) -> Result<Counted, Failure> {
        let mut info = cmd("XINFO");
        info.arg("GROUPS").arg(place);
        let groups: StreamInfoGroupsReply = ask(&self.connection, &info).await?;
        let found = groups.groups.into_iter().find(|found| found.name == group);
        let found = found.ok_or_else(|| refused(REDIS)(&"the group is gone"))?;
        Ok(Counted {
            delivered: found.entries_read.unwrap_or(0) as u64,
            unanswered: found.pending as u64,
            left: found.lag.unwrap_or(usize::MAX) as u64,
        })
    }

    async fn end(&self, place: &str, group: &str) -> Result<(), Failure> {
        let mut destroy = cmd("XGROUP");
        destroy.arg("DESTROY").arg(place).arg(group);
        ask(&self.connection, &destroy).await
    }
}

/// A client that appends.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: MultiplexedConnection,
    place: String,
}

impl Writes for Writer {
    async fn append(&self, _number: u64, data: Bytes) -> Result<(), Failure> {
        ask(&self.connection, &xadd(&self.place, &data)).await
    }
}

/// A consumer of a group.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// What it asks for deliveries by.
    read: ::redis::Cmd,
    reads: MultiplexedConnection,
    acks: MultiplexedConnection,
    place: String,
    group: String,
}

impl Consumes for Consumer {
    type Token = String;

    async fn take(&self) -> Result<Taken<String>, Failure> {
        let read: Read = ask(&self.reads, &self.read).await?;
        let entries = read.into_iter().flatten().flat_map(|(_, entries)| entries);
        let each = entries.map(|(id, fields)| {
            let data = fields.get(1).map(Vec::as_slice).unwrap_or_default();
            (number_of(data), id)
        });
        Ok(Taken::of(each))
    }

    async fn ack(&self, tokens: Vec<String>) -> Result<u64, Failure> {
        let mut ack = cmd("XACK");
        ack.arg(&self.place).arg(&self.group).arg(tokens);
        ask(&self.acks, &ack).await
    }
}
