//! [`Cache`]: the documents that are worked on, between commits and beyond.

use std::collections::HashMap;

use super::super::digest::Term;

/// What a document costs besides its bytes, about.
const ENTRY_BYTES: usize = 128;

/// A document, and what the sink has of it.
pub(super) struct Cached<D> {
    pub(super) document: Option<D>,
    /// What it adds to the digest as it is kept; `None`: there is none.
    pub(super) kept: Option<Term>,
    /// The last event that was folded into it.
    pub(super) position: u64,
    is_changed: bool,
    /// About how many bytes it has.
    bytes: usize,
}

impl<D> Cached<D> {
    /// A document as the sink has it, with so many bytes.
    pub(super) fn new(
        document: Option<D>,
        kept: Option<Term>,
        position: u64,
        bytes: usize,
    ) -> Self {
        Self { document, kept, position, is_changed: false, bytes: bytes + ENTRY_BYTES }
    }
}

/// Documents by key.
pub(super) struct Cache<D> {
    all: HashMap<String, Cached<D>>,
    /// The keys of those that have changed since the last commit, in the order in which they did first.
    changed: Vec<String>,
    bytes: usize,
    bytes_max: usize,
}

impl<D> Cache<D> {
    /// One that holds about so many bytes beyond a commit.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { all: HashMap::new(), changed: Vec::new(), bytes: 0, bytes_max }
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Cached<D>> {
        self.all.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: &str, cached: Cached<D>) {
        self.bytes += cached.bytes + key.len();
        let before = self.all.insert(key.to_owned(), cached);
        assert!(before.is_none(), "what is there is not loaded again");
    }

    /// A document was folded on with an event of so many bytes.
    pub(super) fn changed(&mut self, key: &str, position: u64, event_bytes: usize) {
        let Some(cached) = self.all.get_mut(key) else { return };
        assert!(cached.position <= position, "each key has its events in order");
        cached.position = position;
        cached.bytes += event_bytes;
        self.bytes += event_bytes;
        if !cached.is_changed {
            cached.is_changed = true;
            self.changed.push(key.to_owned());
        }
    }

    pub(super) fn changed_len(&self) -> usize {
        self.changed.len()
    }

    /// Bytes of all of them, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The documents that have changed, in the order in which they did first.
    pub(super) fn each_changed(&mut self, mut each: impl FnMut(&str, &mut Cached<D>)) {
        for key in &self.changed {
            let cached = self.all.get_mut(key).expect("what has changed is there");
            each(key, cached);
        }
    }

    /// What was worked on is kept by the sink now: what each adds to the digest there, in the same order.
    pub(super) fn committed(&mut self, kept: impl IntoIterator<Item = (Option<Term>, usize)>) {
        for (key, (term, bytes)) in self.changed.drain(..).zip(kept) {
            let cached = self.all.get_mut(&key).expect("what has changed is there");
            let now = bytes + ENTRY_BYTES;
            self.bytes = (self.bytes + now).saturating_sub(cached.bytes);
            (cached.kept, cached.bytes, cached.is_changed) = (term, now, false);
        }
        if self.bytes > self.bytes_max {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.all = HashMap::new();
        self.changed = Vec::new();
        self.bytes = 0;
    }
}
