//! Ceilings: QUIC with a client's own settings and nothing in it, beside which the client's figures are
//! read. What answers is `nexus_server::raw`, which has the server's settings.
//!
//! - [`Echo`]: bytes there and back on an open stream; no append can be answered sooner.
//! - [`RawConnection::fetch`]: bytes that are asked for, on a stream of their own, as a read is.
//! - [`RawConnection::send`]: bytes in the other direction, as appends go.
//!
//! It reads no clock: who calls it does, as for the real thing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use nexus_protocol::wire::{RAW_ALPN, RawOrder};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};

use crate::address::Trust;
use crate::connection::transport;
use crate::tls;

/// Chunks that are taken from a stream at once.
const CHUNKS: usize = 32;

/// How a client's connections behave, for those who read a figure.
pub fn settings() -> String {
    crate::connection::settings()
}

/// Why a raw connection did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[error("raw connection to {server}: {why}")]
pub struct RawError {
    /// Where it leads.
    server: SocketAddr,
    /// What went wrong.
    why: String,
}

/// A connection to a raw server on this machine.
#[derive(Clone, Debug)]
pub struct RawConnection {
    server: SocketAddr,
    connection: Connection,
    _endpoint: Endpoint,
}

impl RawConnection {
    /// Connects, on a socket of its own as a client does. Call it within a tokio runtime: that runs the
    /// connection from then on.
    ///
    /// # Errors
    /// When the address is not loopback (no certificate is looked at), or no raw server is there.
    pub async fn connect(server: SocketAddr) -> Result<Self, RawError> {
        let failed = |why: String| RawError { server, why };
        if !server.ip().is_loopback() {
            return Err(failed("name an address of this machine".to_owned()));
        }
        let tls = tls::config(&Trust::Development, RAW_ALPN).map_err(failed)?;
        let crypto = QuicClientConfig::try_from(tls).map_err(|why| failed(why.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport()));
        let endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())
            .map_err(|why| failed(why.to_string()))?;
        let connecting = endpoint.connect_with(config, server, "localhost");
        let connecting = connecting.map_err(|why| failed(why.to_string()))?;
        let connection = connecting.await.map_err(|why| failed(why.to_string()))?;
        Ok(Self { server, connection, _endpoint: endpoint })
    }

    /// Opens a stream that sends back what it gets.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn echo(&self) -> Result<Echo, RawError> {
        let (send, recv) = self.open(RawOrder::Echo).await?;
        Ok(Echo { server: self.server, send, recv })
    }

    /// Asks for so many bytes on a new stream, and takes them.
    ///
    /// # Errors
    /// When the connection breaks, or other bytes come.
    pub async fn fetch(&self, bytes: u64) -> Result<(), RawError> {
        let (mut send, mut recv) = self.open(RawOrder::Give { bytes }).await?;
        let _ = send.finish();
        let mut received = 0;
        while let Some(count) = receive(&mut recv).await.map_err(|why| self.broken(&why))? {
            received += count as u64;
        }
        match received == bytes {
            true => Ok(()),
            false => Err(self.broken(&format_args!("{received} bytes came, and not {bytes}"))),
        }
    }

    /// Sends a piece so many times on a new stream, and waits until the server has it all.
    ///
    /// # Errors
    /// When the connection breaks, or the server got something else.
    pub async fn send(&self, piece: &Bytes, times: usize) -> Result<(), RawError> {
        let (mut send, mut recv) = self.open(RawOrder::Take).await?;
        for _ in 0..times {
            send.write_chunk(piece.clone()).await.map_err(|why| self.broken(&why))?;
        }
        let _ = send.finish();
        let mut taken = [0; 8];
        recv.read_exact(&mut taken).await.map_err(|why| self.broken(&why))?;
        match u64::from_le_bytes(taken) == (piece.len() * times) as u64 {
            true => Ok(()),
            false => Err(self.broken(&"another number of bytes arrived")),
        }
    }

    async fn open(&self, order: RawOrder) -> Result<(SendStream, RecvStream), RawError> {
        let opened = self.connection.open_bi().await;
        let (mut send, recv) = opened.map_err(|why| self.broken(&why))?;
        send.write_all(&order.encode()).await.map_err(|why| self.broken(&why))?;
        Ok((send, recv))
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> RawError {
        RawError { server: self.server, why: why.to_string() }
    }
}

/// A stream that sends back what it gets.
#[derive(Debug)]
pub struct Echo {
    server: SocketAddr,
    send: SendStream,
    recv: RecvStream,
}

impl Echo {
    /// Sends bytes, and waits until as many have come back.
    ///
    /// # Errors
    /// When the connection breaks, or more comes back.
    pub async fn round_trip(&mut self, bytes: Bytes) -> Result<(), RawError> {
        let server = self.server;
        let failed = |why: &dyn std::fmt::Display| RawError { server, why: why.to_string() };
        let expected = bytes.len();
        self.send.write_chunk(bytes).await.map_err(|why| failed(&why))?;
        let mut received = 0;
        while received < expected {
            let count = receive(&mut self.recv).await.map_err(|why| failed(&why))?;
            received += count.ok_or_else(|| failed(&"the stream ended"))?;
        }
        match received == expected {
            true => Ok(()),
            false => Err(failed(&"more came back than was sent")),
        }
    }
}

/// Takes what has arrived; how many bytes that is, `None` at the end.
async fn receive(stream: &mut RecvStream) -> Result<Option<usize>, quinn::ReadError> {
    let mut chunks = [const { Bytes::new() }; CHUNKS];
    let count = stream.read_chunks(&mut chunks).await?;
    Ok(count.map(|count| chunks.iter().take(count).map(Bytes::len).sum()))
}
