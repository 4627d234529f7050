//! What stands behind each key: CRC-32 (4 bytes) ‖ the rest, which for a document is position (8 bytes) ‖ bytes.
//!
//! All numbers are little-endian. The CRC covers the key as well, so that a value that is found under another key is
//! refused. redb has checksums of its own, of pages, and looks at them when a file is opened; these are looked at whenever
//! a value is read.

use nexus_delivery::projection::Kept;
use nexus_protocol::Position;

/// Makes a value of its parts.
pub(super) fn seal(key: &[u8], parts: [&[u8]; 2], value: &mut Vec<u8>) {
    value.clear();
    value.extend_from_slice(&[0; 4]);
    for part in parts {
        value.extend_from_slice(part);
    }
    if let Some((crc, rest)) = value.split_first_chunk_mut::<4>() {
        *crc = checksum(key, rest).to_le_bytes();
    }
}

/// Makes a value of a document.
pub(crate) fn seal_document(key: &[u8], kept: &Kept, value: &mut Vec<u8>) {
    seal(key, [&kept.position.get().to_le_bytes(), &kept.bytes], value);
}

/// What a value was made of; `None`: it is damaged.
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (crc, rest) = value.split_first_chunk()?;
    (u32::from_le_bytes(*crc) == checksum(key, rest)).then_some(rest)
}

/// The document that a value was made of.
pub(crate) fn unseal_document(key: &[u8], value: &[u8]) -> Option<Kept> {
    let (position, bytes) = unseal(key, value)?.split_first_chunk()?;
    Some(Kept { position: Position::new(u64::from_le_bytes(*position)), bytes: bytes.to_vec() })
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &str, kept: &Kept) -> Vec<u8> {
        let mut value = b"of another".to_vec();
        seal_document(key.as_bytes(), kept, &mut value);
        value
    }

    #[test]
    fn documents_come_back() {
        for (key, position, bytes) in [("", 0, ""), ("a", 7, "{}"), ("ä", u64::MAX, "bytes")] {
            let kept = Kept { position: Position::new(position), bytes: bytes.into() };
            let value = sealed(key, &kept);
            assert_eq!(value.len(), 12 + bytes.len());
            assert_eq!(unseal_document(key.as_bytes(), &value), Some(kept));
        }
    }

    #[test]
    fn the_bytes_are_as_they_were_released() {
        let kept = Kept { position: Position::new(258), bytes: b"ok".to_vec() };
        let crc = crc32fast::hash(b"key\x02\x01\0\0\0\0\0\0ok").to_le_bytes();
        assert_eq!(sealed("key", &kept), [&crc[..], b"\x02\x01\0\0\0\0\0\0ok"].concat());
    }

    #[test]
    fn whatever_is_not_as_it_was_written_is_refused() {
        let kept = Kept { position: Position::new(12), bytes: b"some bytes".to_vec() };
        let value = sealed("key", &kept);
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal_document(b"key", &flipped), None, "bit {bit}");
        }
        for end in 0..value.len() {
            assert_eq!(unseal_document(b"key", &value[..end]), None, "{end} bytes");
        }
        assert_eq!(unseal_document(b"kez", &value), None);
        let mut short = Vec::new();
        seal(b"key", [b"1234567", b""], &mut short);
        assert_eq!(unseal_document(b"key", &short), None, "no position in it");
    }
}
