//! What a stream of a raw connection is for: the ceilings beside which the protocol is measured, with
//! nothing in them but QUIC. No server of Nexus speaks it.

/// The application protocol of raw connections.
pub const RAW_ALPN: &[u8] = b"nexus-raw/1";
/// Bytes of an encoded [`RawOrder`].
pub const RAW_ORDER_BYTES: usize = 9;

/// The first thing that is said on a stream of a raw connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawOrder {
    /// Everything that follows is sent back.
    Echo,
    /// So many bytes are to be sent, and then the stream ends.
    Give {
        /// How many.
        bytes: u64,
    },
    /// Everything that follows is thrown away; at the end its length in bytes is answered (`u64`, little-endian).
    Take,
}

impl RawOrder {
    /// As it is sent.
    pub fn encode(self) -> [u8; RAW_ORDER_BYTES] {
        let (kind, bytes) = match self {
            Self::Echo => (1, 0),
            Self::Give { bytes } => (2, bytes),
            Self::Take => (3, 0),
        };
        let mut out = [kind; RAW_ORDER_BYTES];
        out[1..].copy_from_slice(&bytes.to_le_bytes());
        out
    }

    /// The order that was sent; `None`: it is none.
    pub fn decode(bytes: [u8; RAW_ORDER_BYTES]) -> Option<Self> {
        let [kind, length @ ..] = bytes;
        match (kind, u64::from_le_bytes(length)) {
            (1, 0) => Some(Self::Echo),
            (2, bytes) => Some(Self::Give { bytes }),
            (3, 0) => Some(Self::Take),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_what_was_sent_and_nothing_else_is_one() {
        for order in [RawOrder::Echo, RawOrder::Give { bytes: 1 << 40 }, RawOrder::Take] {
            assert_eq!(RawOrder::decode(order.encode()), Some(order));
        }
        assert_eq!(RawOrder::decode([0; RAW_ORDER_BYTES]), None);
        assert_eq!(RawOrder::decode([3; RAW_ORDER_BYTES]), None);
    }
}
