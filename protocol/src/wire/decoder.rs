//! [`PacketDecoder`]: packets out of the bytes of a stream, however they arrive.
//!
//! It does no I/O and knows no time. What it holds is what has arrived: a length that a packet claims
//! takes no memory before its bytes are there (I8).

use bytes::{Buf, Bytes, BytesMut};

use super::packet::decode_head;
use super::{PACKET_HEADER_BYTES, PacketHeader, PacketKind, WireError};

/// Most that is set aside for a packet before its bytes arrive.
const RESERVED_BYTES_MAX: usize = 256 * 1024;

/// A packet as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub kind: PacketKind,
    /// The bytes of its head.
    pub head: Bytes,
    /// What stands behind the head.
    pub payload: Bytes,
}

impl Packet {
    /// The packet, if it is one of the kind that is due.
    ///
    /// # Errors
    /// When another came.
    pub fn of(self, kind: PacketKind, wanted: &'static str) -> Result<Self, WireError> {
        if self.kind == kind {
            return Ok(self);
        }
        Err(WireError::Unexpected { wanted, found: self.kind })
    }

    /// The message that its head is.
    ///
    /// # Errors
    /// When it is not such a message.
    pub fn message<H>(&self) -> Result<H, WireError>
    where
        H: super::packet::Message,
    {
        decode_head(&self.head)
    }
}

/// Gathers the bytes of a stream, and gives the packets in them.
#[derive(Debug, Default)]
pub struct PacketDecoder {
    bytes: BytesMut,
    header: Option<PacketHeader>,
}

impl PacketDecoder {
    /// Adds what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes of the packet that is on its way, once its header has arrived: head and payload.
    pub fn body_bytes(&self) -> Option<usize> {
        self.header.map(|header| header.body_bytes())
    }

    /// Whether the stream may end here: between two packets.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.header.is_none()
    }

    /// The header of the next packet, as soon as it has arrived.
    ///
    /// # Errors
    /// When it is none: the stream cannot be read any further.
    pub fn header(&mut self) -> Result<Option<PacketHeader>, WireError> {
        if self.header.is_none()
            && let Some(header) = self.bytes.first_chunk::<PACKET_HEADER_BYTES>()
        {
            let header = PacketHeader::decode(header)?;
            self.bytes.advance(PACKET_HEADER_BYTES);
            let missing = header.body_bytes().saturating_sub(self.bytes.len());
            self.bytes.reserve(missing.min(RESERVED_BYTES_MAX));
            self.header = Some(header);
        }
        Ok(self.header)
    }

    /// The next packet, if all of it has arrived. Its parts share the memory they arrived in.
    ///
    /// # Errors
    /// When the bytes are not a packet: the stream cannot be read any further.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, WireError> {
        let Some(header) = self.header()? else { return Ok(None) };
        if self.bytes.len() < header.body_bytes() {
            return Ok(None);
        }
        self.header = None;
        let head = self.bytes.split_to(header.head_bytes).freeze();
        let payload = self.bytes.split_to(header.payload_bytes).freeze();
        assert_eq!(
            head.len() + payload.len(),
            header.body_bytes(),
            "a packet is as long as it says"
        );
        Ok(Some(Packet { kind: header.kind, head, payload }))
    }
}
