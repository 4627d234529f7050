//! A packet's header and its head.

use bytes::{BufMut, Bytes, BytesMut};
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize, rancor};

use crate::limits::{
    DELIVERIES_HEAD_BYTES_MAX, HELLO_BYTES_MAX, PACKET_HEAD_BYTES_MAX, PACKET_PAYLOAD_BYTES_MAX,
};

/// Bytes of a packet's header.
pub const PACKET_HEADER_BYTES: usize = 16;
const MAGIC: [u8; 2] = *b"NX";

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Client: its versions and its token; the first packet of a connection.
    Hello,
    /// Server: what was agreed on.
    Welcome,
    /// Client: what a stream is for; the first packet of every further stream.
    Open,
    /// Client: one append of a session.
    Append,
    /// Server: how an append of a session ended, in order.
    Appended,
    /// Server: events and markers.
    Items,
    /// Server: a read is complete.
    End,
    /// Server: the answer to anything else.
    Answer,
    /// Server: what was asked for cannot be had.
    Failure,
    /// Client: so many more events, or deliveries, may come.
    Credit,
    /// Server: deliveries for a consumer.
    Deliveries,
    /// Client: what a consumer says of deliveries.
    Answers,
    /// Client: deliveries are done, together with an append.
    AckWith,
    /// Server: what became of answers.
    Answered,
}

impl PacketKind {
    const ALL: [Self; 14] = [
        Self::Hello,
        Self::Welcome,
        Self::Open,
        Self::Append,
        Self::Appended,
        Self::Items,
        Self::End,
        Self::Answer,
        Self::Failure,
        Self::Credit,
        Self::Deliveries,
        Self::Answers,
        Self::AckWith,
        Self::Answered,
    ];

    /// Its number on the wire; never changed, never used again.
    const fn number(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Welcome => 2,
            Self::Open => 3,
            Self::Append => 4,
            Self::Appended => 5,
            Self::Items => 6,
            Self::End => 7,
            Self::Answer => 8,
            Self::Failure => 9,
            Self::Credit => 10,
            Self::Deliveries => 11,
            Self::Answers => 12,
            Self::AckWith => 13,
            Self::Answered => 14,
        }
    }

    /// Largest head and payload, in bytes.
    const fn bytes_max(self) -> (usize, usize) {
        match self {
            Self::Hello | Self::Welcome => (HELLO_BYTES_MAX, 0),
            Self::Append | Self::Items | Self::Answer | Self::Open | Self::AckWith => {
                (PACKET_HEAD_BYTES_MAX, PACKET_PAYLOAD_BYTES_MAX)
            }
            Self::Appended | Self::Failure | Self::Credit | Self::End | Self::Answered => {
                (PACKET_HEAD_BYTES_MAX, 0)
            }
            Self::Deliveries => (DELIVERIES_HEAD_BYTES_MAX, PACKET_PAYLOAD_BYTES_MAX),
            Self::Answers => (DELIVERIES_HEAD_BYTES_MAX, 0),
        }
    }
}

/// Why bytes are not a packet, or not one that may come here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The header is not one.
    #[error("these bytes are not a packet: is this a Nexus server, and this its QUIC port?")]
    NotAPacket,
    /// A kind that this version does not have.
    #[error("packet has the unknown kind {0}")]
    UnknownKind(u8),
    /// A length over its limit.
    #[error("packet of kind {kind:?} has {bytes} bytes: at most {max} are allowed")]
    TooLarge {
        /// Which kind.
        kind: PacketKind,
        /// How many it says it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// A head that is not the message it should be.
    #[error("message is malformed: {0}")]
    Malformed(String),
    /// A packet that may not come here.
    #[error("a packet of kind {found:?} came where {wanted} was due")]
    Unexpected {
        /// What was due.
        wanted: &'static str,
        /// What came.
        found: PacketKind,
    },
}

impl WireError {
    pub(crate) fn malformed(why: impl std::fmt::Display) -> Self {
        Self::Malformed(why.to_string())
    }
}

/// What stands before a head and a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHeader {
    /// What it is.
    pub kind: PacketKind,
    /// Bytes of the head.
    pub head_bytes: usize,
    /// Bytes of the payload behind it.
    pub payload_bytes: usize,
}

impl PacketHeader {
    /// Reads a header; lengths are within the bounds of its kind.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn decode(bytes: &[u8; PACKET_HEADER_BYTES]) -> Result<Self, WireError> {
        let [m0, m1, number, flags, h0, h1, h2, h3, p0, p1, p2, p3, r0, r1, r2, r3] = *bytes;
        if [m0, m1] != MAGIC || flags != 0 || [r0, r1, r2, r3] != [0; 4] {
            return Err(WireError::NotAPacket);
        }
        let kind = PacketKind::ALL.into_iter().find(|kind| kind.number() == number);
        let kind = kind.ok_or(WireError::UnknownKind(number))?;
        let head_bytes = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
        let payload_bytes = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
        let (head_max, payload_max) = kind.bytes_max();
        for (bytes, max) in [(head_bytes, head_max), (payload_bytes, payload_max)] {
            if bytes > max {
                return Err(WireError::TooLarge { kind, bytes, max });
            }
        }
        Ok(Self { kind, head_bytes, payload_bytes })
    }

    /// Bytes of head and payload.
    pub fn body_bytes(&self) -> usize {
        self.head_bytes + self.payload_bytes
    }

    fn encode(self) -> [u8; PACKET_HEADER_BYTES] {
        let u32_of = |n: usize| u32::try_from(n).expect("packets are bounded").to_le_bytes();
        let (head_max, payload_max) = self.kind.bytes_max();
        assert!(self.head_bytes <= head_max, "a head keeps to its bound (I8)");
        assert!(self.payload_bytes <= payload_max, "and so does a payload (I8)");
        let mut out = [0; PACKET_HEADER_BYTES];
        out[..2].copy_from_slice(&MAGIC);
        out[2] = self.kind.number();
        out[4..8].copy_from_slice(&u32_of(self.head_bytes));
        out[8..12].copy_from_slice(&u32_of(self.payload_bytes));
        out
    }
}

/// A message that can stand in a packet's head.
pub trait Encode:
    for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Error>>
{
}

impl<H> Encode for H where
    H: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Error>>
{
}

/// Encodes a packet with a head and a payload behind it, both bounded by who made them.
///
/// # Panics
/// When either is over the bound of its kind: the caller has checked what it sends.
pub fn encode_packet(kind: PacketKind, head: &impl Encode, payload: &[u8]) -> Bytes {
    try_encode_packet(kind, head, payload).expect("packets keep to their bounds (I8)")
}

/// Encodes a packet with a head and a payload behind it.
///
/// # Errors
/// When either is over the bound of its kind.
pub fn try_encode_packet(
    kind: PacketKind,
    head: &impl Encode,
    payload: &[u8],
) -> Result<Bytes, WireError> {
    let head = rkyv::to_bytes::<rancor::Error>(head).map_err(WireError::malformed)?;
    let header = PacketHeader { kind, head_bytes: head.len(), payload_bytes: payload.len() };
    let (head_max, payload_max) = kind.bytes_max();
    for (bytes, max) in [(head.len(), head_max), (payload.len(), payload_max)] {
        if bytes > max {
            return Err(WireError::TooLarge { kind, bytes, max });
        }
    }
    let mut out = BytesMut::with_capacity(PACKET_HEADER_BYTES + header.body_bytes());
    out.put_slice(&header.encode());
    out.put_slice(&head);
    out.put_slice(payload);
    Ok(out.freeze())
}

/// A message that stands in a packet's head: an archive that is validated before it is used.
pub trait Message: Archive<Archived: Readable<Self>> + Sized {}

impl<M: Archive<Archived: Readable<M>>> Message for M {}

/// An archive that can be validated and read back.
pub trait Readable<M>:
    for<'a> CheckBytes<HighValidator<'a, rancor::Error>>
    + Deserialize<M, HighDeserializer<rancor::Error>>
{
}

impl<M, A> Readable<M> for A where
    A: for<'a> CheckBytes<HighValidator<'a, rancor::Error>>
        + Deserialize<M, HighDeserializer<rancor::Error>>
{
}

/// Reads a head: the archive is validated as a whole first.
///
/// # Errors
/// When it is not such a message.
pub fn decode_head<M: Message>(bytes: &[u8]) -> Result<M, WireError> {
    let mut aligned: AlignedVec = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    rkyv::from_bytes::<M, rancor::Error>(&aligned).map_err(WireError::malformed)
}
