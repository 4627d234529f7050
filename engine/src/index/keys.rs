//! What an event is found by, as fixed-size keys: made once, in the appender's thread.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use nexus_protocol::{EventId, names};

/// First 16 bytes of BLAKE3 of a stream's name: collision-resistant, so never verified against the
/// log, and no outsider can forge one.
pub(crate) type StreamKey = [u8; 16];

/// Kind byte, then the first 15 bytes of BLAKE3 of the name.
pub(crate) type PostingKey = [u8; 16];

/// 8 bytes of BLAKE3 of an event id: two ids may share one, so a hit is verified.
pub(crate) type IdFingerprint = u64;

/// What a posting key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyKind {
    Category,
    Type,
    Tag,
}

/// The key of a stream.
pub(crate) fn stream_key(name: &str) -> StreamKey {
    first(blake3::hash(name.as_bytes()))
}

/// The key of a category, type, or tag.
pub(crate) fn posting_key(kind: KeyKind, name: &str) -> PostingKey {
    let mut key = first::<16>(blake3::hash(name.as_bytes()));
    key.rotate_right(1);
    key[0] = match kind {
        KeyKind::Category => 2,
        KeyKind::Type => 3,
        KeyKind::Tag => 4,
    };
    key
}

/// The fingerprint of an event id.
pub(crate) fn id_fingerprint(id: EventId) -> IdFingerprint {
    u64::from_le_bytes(first(blake3::hash(id.as_bytes())))
}

fn first<const N: usize>(hash: blake3::Hash) -> [u8; N] {
    *hash.as_bytes().first_chunk().expect("a digest has 32 bytes")
}

/// Names that a thread remembers the keys of: event types and tags come again and again, and a
/// look-up costs a third of a digest.
const REMEMBERED_MAX: usize = 4096;

type Remembered = HashMap<(KeyKind, Box<str>), PostingKey, foldhash::fast::RandomState>;

thread_local! {
    static REMEMBERED: RefCell<Remembered> = RefCell::default();
}

/// The key of a category, type, or tag, remembered by the thread.
fn remembered_key(kind: KeyKind, name: &str) -> PostingKey {
    REMEMBERED.with_borrow_mut(|remembered| {
        if let Some(key) = remembered.get(&NameRef(kind, name) as &dyn Name) {
            return *key;
        }
        if remembered.len() == REMEMBERED_MAX {
            remembered.clear();
        }
        let key = posting_key(kind, name);
        remembered.insert((kind, name.into()), key);
        key
    })
}

/// Lets a borrowed name be looked up among owned ones.
trait Name {
    fn parts(&self) -> (KeyKind, &str);
}

struct NameRef<'a>(KeyKind, &'a str);

impl Name for NameRef<'_> {
    fn parts(&self) -> (KeyKind, &str) {
        (self.0, self.1)
    }
}

impl Name for (KeyKind, Box<str>) {
    fn parts(&self) -> (KeyKind, &str) {
        (self.0, &self.1)
    }
}

impl<'a> Borrow<dyn Name + 'a> for (KeyKind, Box<str>) {
    fn borrow(&self) -> &(dyn Name + 'a) {
        self
    }
}

impl Hash for dyn Name + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (kind, name) = self.parts();
        kind.hash(state);
        name.hash(state);
    }
}

impl PartialEq for dyn Name + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Name + '_ {}

/// The keys of one event but its stream's.
#[derive(Clone, Debug)]
pub(crate) struct EventKeys {
    pub(crate) category: PostingKey,
    pub(crate) event_type: PostingKey,
    pub(crate) tags: Vec<PostingKey>,
    pub(crate) id: IdFingerprint,
}

impl EventKeys {
    /// Of an event with these names.
    pub(crate) fn new<'a>(
        stream: &str,
        event_type: &str,
        tags: impl Iterator<Item = &'a str>,
        id: EventId,
    ) -> Self {
        Self {
            category: remembered_key(KeyKind::Category, names::category(stream)),
            event_type: remembered_key(KeyKind::Type, event_type),
            tags: tags.map(|tag| remembered_key(KeyKind::Tag, tag)).collect(),
            id: id_fingerprint(id),
        }
    }

    /// All posting keys.
    pub(crate) fn postings(&self) -> impl Iterator<Item = &PostingKey> {
        [&self.category, &self.event_type].into_iter().chain(&self.tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_key_is_the_key() {
        for kind in [KeyKind::Category, KeyKind::Type, KeyKind::Tag] {
            for name in ["a", "order", "a:b", "order"] {
                assert_eq!(remembered_key(kind, name), posting_key(kind, name));
            }
        }
    }
}
