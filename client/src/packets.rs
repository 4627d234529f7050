//! Packets on a QUIC stream, as they come.

use bytes::Bytes;
use nexus_protocol::wire::{Packet, PacketDecoder, WireError};
use quinn::RecvStream;

/// Chunks that are taken from the stream at once.
const CHUNKS: usize = 32;

/// Why a stream gives no packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The server sent something else.
    #[error("the server does not keep to the protocol: {0}")]
    Wire(#[from] WireError),
    /// It ended too early.
    #[error("the server ended the stream")]
    Cut,
    /// Whoever wanted one did not get it in time.
    #[error(
        "no stream came free in time: the server allows no more at once on this connection, so allow \
         more connections (connections=N), or end reads and subscriptions"
    )]
    NoStream,
    /// The connection is gone.
    #[error("the connection broke: {0}")]
    Lost(String),
}

impl From<quinn::ReadError> for Broken {
    fn from(error: quinn::ReadError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<quinn::WriteError> for Broken {
    fn from(error: quinn::WriteError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<quinn::ConnectionError> for Broken {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::Lost(error.to_string())
    }
}

/// Receives packets of one stream.
#[derive(Debug)]
pub(crate) struct PacketReader {
    stream: RecvStream,
    decoder: PacketDecoder,
}

impl PacketReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: PacketDecoder::default() }
    }

    /// The next packet. May be dropped and called again: what has arrived is kept.
    pub(crate) async fn next(&mut self) -> Result<Packet, Broken> {
        loop {
            if let Some(packet) = self.decoder.next_packet()? {
                return Ok(packet);
            }
            let mut chunks = [const { Bytes::new() }; CHUNKS];
            let read = self.stream.read_chunks(&mut chunks).await?;
            let count = read.ok_or(Broken::Cut)?;
            chunks.iter().take(count).for_each(|chunk| self.decoder.push(chunk));
        }
    }
}
