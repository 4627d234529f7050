//! A sink in memory that forgets what was not durable when it is killed, and whose commits fail when they are told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nexus_delivery::projection::{Commit, Documents, Kept, Pace, Sink, SinkError};
use nexus_protocol::Position;
use nexus_testing::Random;

#[derive(Clone, Debug, Default)]
struct State {
    documents: BTreeMap<String, Kept>,
    checkpoint: Option<Vec<u8>>,
    next: Position,
}

#[derive(Debug, Default)]
struct Inner {
    now: State,
    /// Since the last that was durable, which is the first of them.
    since: Vec<State>,
    /// So many commits go through before one fails; `None`: all do.
    fails_after: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct MemorySink {
    inner: Arc<Mutex<Inner>>,
    documents_max: usize,
}

impl MemorySink {
    pub(super) fn new(documents_max: usize) -> Self {
        let inner = Inner { since: vec![State::default()], ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), documents_max }
    }

    /// What was not durable may be gone.
    pub(super) fn kill(&self, random: &mut Random) {
        let inner = &mut *self.inner.lock().unwrap();
        let kept = random.below(inner.since.len() as u64) as usize;
        inner.now = inner.since[kept].clone();
        inner.since = vec![inner.now.clone()];
    }

    pub(super) fn fail_soon(&self, after: u64) {
        self.inner.lock().unwrap().fails_after = (after != u64::MAX).then_some(after);
    }

    pub(super) fn lists(&self) -> BTreeMap<String, Vec<i64>> {
        let inner = self.inner.lock().unwrap();
        let list = |kept: &Kept| {
            kept.bytes.chunks(8).map(|it| i64::from_le_bytes(it.try_into().unwrap())).collect()
        };
        inner.now.documents.iter().map(|(key, kept)| (key.clone(), list(kept))).collect()
    }

    pub(super) fn damage(&self, key: &str) {
        self.inner.lock().unwrap().now.documents.get_mut(key).unwrap().bytes.pop();
    }
}

impl Sink for MemorySink {
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SinkError> {
        Ok(self.inner.lock().unwrap().now.checkpoint.clone())
    }

    fn get(&self, key: &str) -> Result<Option<Kept>, SinkError> {
        Ok(self.inner.lock().unwrap().now.documents.get(key).cloned())
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError> {
        let inner = &mut *self.inner.lock().unwrap();
        match &mut inner.fails_after {
            Some(0) => {
                inner.fails_after = None;
                return Err(SinkError::Full);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        assert!(commit.next >= inner.now.next, "it never goes back");
        for changed in commit.changed {
            let before = match &changed.document {
                Some(kept) => inner.now.documents.insert(changed.key.clone(), kept.clone()),
                None => inner.now.documents.remove(&changed.key),
            };
            assert!(
                before.is_some() || changed.document.is_some(),
                "what is not there is not removed"
            );
        }
        inner.now.checkpoint = Some(commit.checkpoint.to_vec());
        inner.now.next = commit.next;
        if commit.durable {
            inner.since.clear();
        }
        let now = inner.now.clone();
        inner.since.push(now);
        Ok(())
    }

    fn pace(&self) -> Pace {
        let documents_max = self.documents_max;
        Pace { documents_max, visible_ms: 0, durable_ms: 1_000, wants_fields: false }
    }

    fn documents(&self) -> Arc<dyn Documents> {
        Arc::new(self.clone())
    }
}

impl Documents for MemorySink {
    fn get(&self, key: &str) -> Result<(Option<Kept>, Position), SinkError> {
        let inner = self.inner.lock().unwrap();
        Ok((inner.now.documents.get(key).cloned(), inner.now.next))
    }

    fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, SinkError> {
        let inner = self.inner.lock().unwrap();
        let all =
            inner.now.documents.iter().filter(|(key, _)| after.is_none_or(|it| key.as_str() > it));
        Ok(all.take(limit).map(|(key, kept)| (key.clone(), kept.clone())).collect())
    }
}
