//! [`DeliveryToken`]: what a delivery is answered with.

use std::fmt;
use std::str::FromStr;

use crate::ids::Position;

/// What a delivery is answered with. For consumers it is a text of [`DeliveryToken::TEXT_BYTES`] hex digits, and
/// its parts mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryToken {
    /// The event.
    pub position: Position,
    /// Its key.
    pub key: u64,
    /// Which opening of the group made it: a group that was opened again knows none of those before.
    pub generation: u64,
    /// Which delivery of that opening it is.
    pub delivery: u64,
}

/// A text that no group gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no token of a delivery: give back the one that came with the event")]
pub struct InvalidToken;

impl DeliveryToken {
    /// Bytes of its binary form.
    pub const BYTES: usize = 32;
    /// Bytes of its text.
    pub const TEXT_BYTES: usize = 2 * Self::BYTES;

    /// Its bytes: position, key, generation, delivery, each 8 bytes, little-endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let parts = [self.position.get(), self.key, self.generation, self.delivery];
        for (to, part) in bytes.chunks_exact_mut(8).zip(parts) {
            to.copy_from_slice(&part.to_le_bytes());
        }
        bytes
    }

    /// From its bytes.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let part = |at: usize| {
            let mut part = [0; 8];
            part.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(part)
        };
        Self {
            position: Position::new(part(0)),
            key: part(8),
            generation: part(16),
            delivery: part(24),
        }
    }
}

impl fmt::Display for DeliveryToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for DeliveryToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let mut bytes = [0; Self::BYTES];
        let digits = text.as_bytes();
        if digits.len() != Self::TEXT_BYTES {
            return Err(InvalidToken);
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(InvalidToken),
        };
        for (to, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *to = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        let token = DeliveryToken {
            position: Position::new(0x0102),
            key: u64::MAX,
            generation: 3,
            delivery: 1 << 40,
        };
        assert_eq!(DeliveryToken::from_bytes(token.to_bytes()), token);
        let text = token.to_string();
        assert!(text.starts_with("0201000000000000ffff"), "{text}");
        assert_eq!(text.parse(), Ok(token));
        for bad in ["", &text[1..], &text.to_uppercase(), &"ß".repeat(32)] {
            assert_eq!(bad.parse::<DeliveryToken>(), Err(InvalidToken), "{bad}");
        }
    }
}
