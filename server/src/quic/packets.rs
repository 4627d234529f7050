//! Packets on a QUIC stream, received within bounds of size and time.

use std::time::Duration;

use bytes::Bytes;
use nexus_protocol::wire::{Packet, PacketDecoder, PacketHeader, PacketKind, WireError};
use quinn::RecvStream;

use crate::door::{Held, Memory, PAUSE_MAX};

/// A stream begins within so long, and a header, and what follows it, must each be complete after so long:
/// memory is held for it.
const PACKET_TIME_MAX: Duration = Duration::from_secs(30);
/// Chunks that are taken from the stream at once.
const CHUNKS: usize = 32;

/// Why a stream gives no packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// It sent something that is not a packet, or not one that may come here.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It ends within a packet.
    #[error("the stream ended within a packet")]
    Cut,
    /// It stopped within a packet.
    #[error(
        "a packet was not complete after {} s, or nothing of it came for {} s",
        PACKET_TIME_MAX.as_secs(),
        PAUSE_MAX.as_secs()
    )]
    Slow,
    /// It has a payload where none may be.
    #[error(
        "only a snapshot to keep, or data for what is parked, comes with the first packet of a stream"
    )]
    Payload,
    /// The connection, or the stream, is gone.
    #[error("the stream is gone: {0}")]
    Lost(#[from] quinn::ReadError),
}

/// A packet, and the memory that is counted for it until it is dropped.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) packet: Packet,
    pub(crate) memory: Option<Held>,
}

/// Receives packets of one stream.
#[derive(Debug)]
pub(crate) struct PacketReader {
    stream: RecvStream,
    decoder: PacketDecoder,
    memory: Memory,
}

impl PacketReader {
    pub(crate) fn new(stream: RecvStream, memory: &Memory) -> Self {
        Self { stream, decoder: PacketDecoder::default(), memory: memory.clone() }
    }

    /// Waits for the first bytes of the stream; `false`: it ends without any.
    pub(crate) async fn begin(&mut self) -> Result<bool, Broken> {
        within_time(self.receive()).await
    }

    /// The next packet, which must be of this kind; `None`: the client has said all.
    pub(crate) async fn next(
        &mut self,
        kind: PacketKind,
        wanted: &'static str,
    ) -> Result<Option<Received>, Broken> {
        self.next_of(&[kind], wanted).await
    }

    /// The same of any of these kinds.
    ///
    /// Memory is only taken for a packet that may come here, and none for a greeting: it is small, and
    /// nobody knows yet who speaks.
    pub(crate) async fn next_of(
        &mut self,
        kinds: &[PacketKind],
        wanted: &'static str,
    ) -> Result<Option<Received>, Broken> {
        if self.decoder.is_empty() && !self.receive().await? {
            return Ok(None);
        }
        let header = within_time(self.header()).await?;
        if !kinds.contains(&header.kind) {
            return Err(WireError::Unexpected { wanted, found: header.kind }.into());
        }
        let memory = match header.kind {
            PacketKind::Hello => None,
            _ => Some(self.memory.take(header.body_bytes()).await),
        };
        let packet = within_time(self.rest()).await?;
        Ok(Some(Received { packet, memory }))
    }

    async fn header(&mut self) -> Result<PacketHeader, Broken> {
        loop {
            if let Some(header) = self.decoder.header()? {
                return Ok(header);
            }
            self.receive_more().await?;
        }
    }

    /// The packet that has begun.
    async fn rest(&mut self) -> Result<Packet, Broken> {
        loop {
            if let Some(packet) = self.decoder.next_packet()? {
                return Ok(packet);
            }
            self.receive_more().await?;
        }
    }

    async fn receive_more(&mut self) -> Result<(), Broken> {
        match tokio::time::timeout(PAUSE_MAX, self.receive()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Broken::Cut),
            Ok(Err(broken)) => Err(broken),
            Err(_) => Err(Broken::Slow),
        }
    }

    /// Takes what has arrived; `false`: the stream is at its end.
    async fn receive(&mut self) -> Result<bool, Broken> {
        let mut chunks = [const { Bytes::new() }; CHUNKS];
        let Some(count) = self.stream.read_chunks(&mut chunks).await? else { return Ok(false) };
        chunks.iter().take(count).for_each(|chunk| self.decoder.push(chunk));
        Ok(true)
    }
}

async fn within_time<T>(part: impl Future<Output = Result<T, Broken>>) -> Result<T, Broken> {
    tokio::time::timeout(PACKET_TIME_MAX, part).await.unwrap_or(Err(Broken::Slow))
}
