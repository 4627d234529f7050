//! Raw QUIC beside the server: what it cannot be faster than.

use std::net::SocketAddr;

use bytes::Bytes;
use nexus_client::raw::{Echo, RawConnection};
use nexus_node::config::Certificate;
use nexus_server::raw::RawServer;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::super::workload::DATA_BYTES;
use super::drive::Worker;
use super::process::Process;
use crate::exit::Failure;
use crate::output::{Facts, Output};

/// Bytes that go one way in bulk at a time; a turn is some of these.
const BULK_BYTES: usize = 4 * 1024 * 1024;
/// Pieces that they are sent in.
const PIECE_BYTES: usize = 64 * 1024;

/// What a raw server says when it is ready.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    quic: SocketAddr,
}

/// A raw server in a child process.
#[derive(Debug)]
pub(super) struct Raw {
    _process: Process,
    address: SocketAddr,
}

impl Raw {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start() -> Result<Self, Failure> {
        let (process, ready) = Process::start::<Ready>(&["bench", "--serve-raw"], None)?;
        Ok(Self { _process: process, address: ready.quic })
    }

    /// So many streams that echo, each on a connection of its own.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(super) fn echoes(&self, runtime: &Runtime, count: usize) -> Result<Vec<Echoes>, Failure> {
        let connected = self.connected(runtime, count)?;
        let bytes = Bytes::from(vec![7; DATA_BYTES]);
        let open = |raw: RawConnection| -> Result<Echoes, Failure> {
            Ok(Echoes { echo: runtime.block_on(raw.echo())?, bytes: bytes.clone(), _raw: raw })
        };
        connected.into_iter().map(open).collect()
    }

    /// So many connections that fetch so many bytes at a time, which stand for so many events.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(super) fn fetches(
        &self,
        runtime: &Runtime,
        count: usize,
        piece: Piece,
    ) -> Result<Vec<Fetches>, Failure> {
        let connected = self.connected(runtime, count)?;
        Ok(connected.into_iter().map(|raw| Fetches { raw, piece }).collect())
    }

    /// So many connections that send in bulk; a record has so many bytes.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(super) fn sends(
        &self,
        runtime: &Runtime,
        count: usize,
        record_bytes: u64,
    ) -> Result<Vec<Sends>, Failure> {
        let piece = Bytes::from(vec![7; PIECE_BYTES]);
        let connected = self.connected(runtime, count)?;
        Ok(connected
            .into_iter()
            .map(|raw| Sends { raw, piece: piece.clone(), record_bytes })
            .collect())
    }

    fn connected(&self, runtime: &Runtime, count: usize) -> Result<Vec<RawConnection>, Failure> {
        let connect = |_| Ok(runtime.block_on(RawConnection::connect(self.address))?);
        (0..count).map(connect).collect()
    }
}

/// Sends as many bytes as an event has, and waits until they are back.
pub(super) struct Echoes {
    _raw: RawConnection,
    echo: Echo,
    bytes: Bytes,
}

impl Worker for Echoes {
    async fn work(&mut self) -> Result<u64, Failure> {
        self.echo.round_trip(self.bytes.clone()).await?;
        Ok(1)
    }
}

/// Bytes that are fetched at a time, and the events that they stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) bytes: u64,
    pub(super) events: u64,
}

impl Piece {
    /// Large ones, of records of so many bytes.
    pub(super) fn bulk(record_bytes: u64) -> Self {
        let bytes = BULK_BYTES as u64;
        Self { bytes, events: bytes / record_bytes }
    }
}

/// Asks for bytes on a new stream, and takes them.
pub(super) struct Fetches {
    raw: RawConnection,
    piece: Piece,
}

impl Worker for Fetches {
    async fn work(&mut self) -> Result<u64, Failure> {
        self.raw.fetch(self.piece.bytes).await?;
        Ok(self.piece.events)
    }
}

/// Sends bytes in bulk.
pub(super) struct Sends {
    raw: RawConnection,
    piece: Bytes,
    record_bytes: u64,
}

impl Worker for Sends {
    async fn work(&mut self) -> Result<u64, Failure> {
        self.raw.send(&self.piece, BULK_BYTES / PIECE_BYTES).await?;
        Ok(BULK_BYTES as u64 / self.record_bytes)
    }
}

/// Answers raw QUIC until it is killed.
///
/// # Errors
/// When it cannot listen.
pub(in super::super) fn serve(output: &mut Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::failed(format!("no threads are left: {error}")))?;
    runtime.block_on(async {
        let server = RawServer::start(Certificate::temporary()?)?;
        let failed = |error: std::io::Error| Failure::failed(error.to_string());
        let quic = server.address().map_err(failed)?;
        output.one(&Ready { quic }, &Facts::new().with("quic", quic))?;
        std::future::pending().await
    })
}

impl From<nexus_client::raw::RawError> for Failure {
    fn from(error: nexus_client::raw::RawError) -> Self {
        Self::not_reachable(error.to_string())
    }
}
