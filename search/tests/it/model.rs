//! What a sink promises, as a map: every commit that was made, and from which on nothing may be lost.

use std::collections::BTreeMap;

use nexus_delivery::projection::{Changed, Commit, Kept, Sink, SinkError};
use nexus_protocol::Position;
use nexus_search::KvSink;
use serde_json::Map;

use crate::random::Random;

/// All that a sink shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) documents: BTreeMap<String, Kept>,
    pub(crate) checkpoint: Option<Vec<u8>>,
    pub(crate) next: u64,
}

impl Shown {
    /// Reads all of it, by pages of all sizes.
    pub(crate) fn of(sink: &KvSink, random: &mut Random) -> Result<Self, SinkError> {
        let documents = sink.documents();
        let mut shown = Self { checkpoint: sink.checkpoint()?, ..Self::default() };
        let mut after = None;
        loop {
            let limit = 1 + random.index(100);
            let page = documents.page(after.as_deref(), limit)?;
            assert!(page.len() <= limit);
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, kept) in page {
                if random.one_in(10) {
                    assert_eq!(sink.get(&key)?.as_ref(), Some(&kept), "{key}");
                }
                assert_eq!(shown.documents.insert(key.clone(), kept), None, "{key} twice");
            }
        }
        shown.next = documents.get("")?.1.get();
        Ok(shown)
    }
}

/// Every commit that may be found, the oldest first.
pub(crate) struct Model {
    history: Vec<Shown>,
    commits: u64,
}

/// A commit that is about to be made.
pub(crate) struct Planned {
    pub(crate) changed: Vec<Changed>,
    pub(crate) after: Shown,
    pub(crate) durable: bool,
}

impl Planned {
    pub(crate) fn make(&self, sink: &mut KvSink) -> Result<(), SinkError> {
        sink.commit(&Commit {
            next: Position::new(self.after.next),
            checkpoint: self.after.checkpoint.as_deref().unwrap(),
            changed: &self.changed,
            durable: self.durable,
        })
    }
}

/// A change of a document that is not there yet, or for sinks that do not ask.
pub(crate) fn changed(key: &str, document: Option<Kept>) -> Changed {
    Changed { key: key.to_owned(), document, is_kept: false, fields: Map::new(), tags: Vec::new() }
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { history: vec![Shown::default()], commits: 0 }
    }

    pub(crate) fn newest(&self) -> &Shown {
        self.history.last().unwrap()
    }

    pub(crate) fn history(&self) -> &[Shown] {
        &self.history
    }

    /// Some commit: mostly small, some of them with large documents, some that remove most.
    pub(crate) fn plan(&mut self, keys: u64, random: &mut Random) -> Planned {
        self.commits += 1;
        let mut after = self.newest().clone();
        after.next += random.below(3) * random.below(1000);
        after.checkpoint = Some(format!("commit {}", self.commits).into_bytes());
        let removes = if random.one_in(6) { 2 } else { 8 };
        let count = match random.below(10) {
            0 => 0,
            1 => random.below(keys),
            _ => random.below(8),
        };
        let mut documents = BTreeMap::new();
        for _ in 0..count {
            let key = format!("key {}", random.below(keys));
            let bytes = match random.below(40) {
                0 => random.index(20_000),
                1 => 0,
                _ => random.index(200),
            };
            let byte = u8::try_from(random.below(256)).unwrap();
            let kept = Kept { position: Position::new(random.next()), bytes: vec![byte; bytes] };
            documents.insert(key, (!random.one_in(removes)).then_some(kept));
        }
        // In any order: a sink is told none.
        let mut all = Vec::new();
        for (key, document) in documents {
            let is_kept = self.newest().documents.contains_key(&key);
            match &document {
                Some(kept) => after.documents.insert(key.clone(), kept.clone()),
                None => after.documents.remove(&key),
            };
            let change = Changed { is_kept, ..changed(&key, document) };
            all.insert(random.index(all.len() + 1), change);
        }
        Planned { changed: all, after, durable: random.one_in(4) }
    }

    /// It was made: if it was durable, nothing before it is found again.
    pub(crate) fn made(&mut self, planned: Planned) {
        if planned.durable {
            self.history.clear();
        }
        self.history.push(planned.after);
    }

    /// It may have been made, or not.
    pub(crate) fn perhaps_made(&mut self, planned: Planned) {
        self.history.push(planned.after);
    }

    /// All that was made is kept.
    pub(crate) fn closed(&mut self) {
        self.history.drain(..self.history.len() - 1);
    }

    /// What is found is one of the commits, whole. From here on it is the newest, and nothing is found again that was
    /// before it. How many commits were after it, and are lost.
    pub(crate) fn found(&mut self, shown: &Shown, context: &str) -> u64 {
        let place = self.history.iter().position(|known| known == shown);
        let Some(place) = place else {
            let at =
                |shown: &Shown| String::from_utf8(shown.checkpoint.clone().unwrap_or_default());
            let (known, at) = (self.history.iter().map(at).collect::<Vec<_>>(), at(shown));
            panic!("{context}: found {at:?} with next {}, which is none of {known:?}", shown.next);
        };
        let lost = self.history.len() - place - 1;
        self.history.truncate(place + 1);
        // What is there after an opening was checked, and is on the disk.
        self.history.drain(..place);
        lost as u64
    }
}
