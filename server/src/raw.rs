//! [`RawServer`]: QUIC with a server's own settings and nothing behind it. It answers
//! `nexus_client::raw`: together they are the ceilings beside which the QUIC door is measured.
//!
//! It lets everybody in, and so listens on loopback only.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use nexus_node::config::Certificate;
use nexus_protocol::wire::{RAW_ALPN, RAW_ORDER_BYTES, RawOrder};
use quinn::{Connection, Endpoint, RecvStream, SendStream};

use crate::quic::listener;
use crate::server::StartError;
use crate::tls::ShownCertificate;

/// Bytes that are given at once: as much as a packet of events of a long read.
const PIECE_BYTES: usize = 256 * 1024;
/// Chunks that are taken from a stream at once.
const CHUNKS: usize = 32;

/// How a server's connections behave, for those who read a figure.
pub fn settings() -> String {
    listener::settings()
}

/// A raw server: it runs until it is dropped.
#[derive(Debug)]
pub struct RawServer {
    endpoint: Endpoint,
    listening: tokio::task::JoinHandle<()>,
}

impl RawServer {
    /// Listens on a free port of this machine. Call it within a tokio runtime, which then runs it.
    ///
    /// # Errors
    /// When there is no port, or the certificate cannot be used.
    pub fn start(certificate: Certificate) -> Result<Self, StartError> {
        let reset = listener::reset_key(&certificate);
        let certificate = ShownCertificate::new(certificate)?;
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let (endpoint, _) = listener::bind(any, &certificate, None, reset, RAW_ALPN)?;
        let accepting = endpoint.clone();
        let listening = tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        serve(connection).await;
                    }
                });
            }
        });
        Ok(Self { endpoint, listening })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.listening.abort();
        self.endpoint.close(listener::SHUTTING_DOWN, b"the raw server ends");
    }
}

async fn serve(connection: Connection) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            // Whoever is measured sees a stream that broke, and says so.
            if answer(send, recv).await.is_none() {
                tracing::debug!("a raw stream broke");
            }
        });
    }
}

async fn answer(mut send: SendStream, mut recv: RecvStream) -> Option<()> {
    let mut order = [0; RAW_ORDER_BYTES];
    recv.read_exact(&mut order).await.ok()?;
    match RawOrder::decode(order)? {
        RawOrder::Echo => {
            let mut chunks = [const { Bytes::new() }; CHUNKS];
            while let Some(count) = recv.read_chunks(&mut chunks).await.ok()? {
                send.write_all_chunks(chunks.get_mut(..count)?).await.ok()?;
            }
        }
        RawOrder::Give { mut bytes } => {
            let piece = Bytes::from(vec![7; PIECE_BYTES]);
            while bytes > 0 {
                let part = usize::try_from(bytes).unwrap_or(usize::MAX).min(PIECE_BYTES);
                send.write_chunk(piece.slice(..part)).await.ok()?;
                bytes -= part as u64;
            }
        }
        RawOrder::Take => {
            let mut taken = 0_u64;
            let mut chunks = [const { Bytes::new() }; CHUNKS];
            while let Some(count) = recv.read_chunks(&mut chunks).await.ok()? {
                taken += chunks.iter().take(count).map(|it| it.len() as u64).sum::<u64>();
            }
            send.write_all(&taken.to_le_bytes()).await.ok()?;
        }
    }
    send.finish().ok()
}
