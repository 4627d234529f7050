//! Digests by which two copies of a read model are known to be the same.

use std::fmt;

use nexus_protocol::RecordedEvent;

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
        for (sum, term) in self.0.iter_mut().zip(terms(key, document)) {
            *sum = sum.wrapping_add(term);
        }
    }

    /// Without a document that was put.
    pub fn take(&mut self, key: &str, document: &[u8]) {
        for (sum, term) in self.0.iter_mut().zip(terms(key, document)) {
            *sum = sum.wrapping_sub(term);
        }
    }
}

fn terms(key: &str, document: &[u8]) -> [u64; 4] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key.as_bytes());
    hasher.update(document);
    let hash = hasher.finalize();
    let mut words = hash.as_bytes().chunks_exact(8);
    std::array::from_fn(|_| {
        let word = words.next().and_then(|it| it.try_into().ok());
        u64::from_le_bytes(word.expect("32 bytes are four words"))
    })
}

impl fmt::Display for EventsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for DocumentsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        bytes.into_iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
    }
}
