//! Digests by which two copies of a read model are known to be the same.

use std::fmt;

use nexus_protocol::RecordedEvent;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What was folded: a chain over the positions and ids of events, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventsDigest([u8; 32]);

impl EventsDigest {
    /// With one more event.
    #[must_use]
    pub fn with(self, event: &RecordedEvent) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&event.position().get().to_le_bytes());
        hasher.update(event.id().as_bytes());
        Self(*hasher.finalize().as_bytes())
    }
}

/// What came of it: a sum over keys and documents, in any order.
///
/// A document is taken out when it changes, and put in as it is then: so the digest of a million documents costs one
/// document an event. It tells copies apart that differ by mistake, and not those that somebody made up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DocumentsDigest([u64; 4]);

impl DocumentsDigest {
    /// With a document, as the bytes that it is kept as.
    pub fn put(&mut self, key: &str, document: &[u8]) {
        self.put_term(Term::of(key, document));
    }

    /// Without a document that was put.
    pub fn take(&mut self, key: &str, document: &[u8]) {
        self.take_term(Term::of(key, document));
    }

    pub(super) fn put_term(&mut self, term: Term) {
        for (sum, word) in self.0.iter_mut().zip(term.0) {
            *sum = sum.wrapping_add(word);
        }
    }

    pub(super) fn take_term(&mut self, term: Term) {
        for (sum, word) in self.0.iter_mut().zip(term.0) {
            *sum = sum.wrapping_sub(word);
        }
    }
}

/// What a document adds to the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term([u64; 4]);

impl Term {
    pub(super) fn of(key: &str, document: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key.as_bytes());
        hasher.update(document);
        Self(words(hasher.finalize().as_bytes()))
    }
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = bytes.chunks_exact(8);
    std::array::from_fn(|_| {
        let word = words.next().and_then(|it| it.try_into().ok());
        u64::from_le_bytes(word.expect("32 bytes are four words"))
    })
}

fn hex(bytes: impl IntoIterator<Item = u8>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.into_iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// The bytes of a digest that was printed.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for EventsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(self.0, f)
    }
}

impl fmt::Display for DocumentsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(self.0.into_iter().flat_map(u64::to_le_bytes), f)
    }
}

impl Serialize for EventsDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for DocumentsDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventsDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).map(Self).ok_or_else(|| D::Error::custom("no digest"))
    }
}

impl<'de> Deserialize<'de> for DocumentsDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = from_hex(&text).ok_or_else(|| D::Error::custom("no digest"))?;
        Ok(Self(words(&bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_count_in_any_order_and_what_is_taken_out_is_gone() {
        let digest = |all: &[(&str, &str)]| {
            let mut digest = DocumentsDigest::default();
            all.iter().for_each(|(key, document)| digest.put(key, document.as_bytes()));
            digest
        };
        let (a, b) = (("a", "1"), ("b", "2"));
        assert_eq!(digest(&[a, b]), digest(&[b, a]));
        assert_ne!(digest(&[a]), digest(&[("a1", "")]), "where a key ends counts");
        let mut changed = digest(&[a, b, ("c", "3")]);
        changed.take("c", b"3");
        assert_eq!(changed, digest(&[a, b]));
        changed.take("a", b"1");
        changed.take("b", b"2");
        assert_eq!(changed.to_string(), "0".repeat(64));
        let written = serde_json::to_string(&digest(&[a, b])).unwrap();
        assert_eq!(serde_json::from_str::<DocumentsDigest>(&written).unwrap(), digest(&[a, b]));
        for wrong in ["", "\"\"", "\"+0\"", "\"ü\"", &format!("\"{}\"", "+0".repeat(32))] {
            assert!(serde_json::from_str::<EventsDigest>(wrong).is_err(), "{wrong}");
        }
    }
}
