//! [`Sink`]: what keeps the documents of a projection, and [`Documents`]: how they are looked up.
//!
//! Documents and the checkpoint that says how far they have come are made visible and kept in one commit, whole or not at
//! all: so each event counts exactly once, whenever the process is killed. Nothing of a sink need be durable before it is
//! [asked](Commit::durable) to be: what is lost is folded again, from the checkpoint that was kept. What may not be is that
//! some of a commit is kept and some is not.

use std::sync::Arc;

use nexus_protocol::Position;
use serde_json::{Map, Value};

/// Why a sink did not do what it was asked for. Whoever uses it opens it anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// There is no room: it goes on when there is.
    #[error("the disk is full: free some space, and it goes on by itself")]
    Full,
    /// What it has kept is not what was written: it is folded again.
    #[error("the documents are damaged: {0}")]
    Damaged(String),
    /// It cannot read or write now.
    #[error("the documents cannot be read or written: {0}: see to that, and it goes on by itself")]
    Unavailable(String),
}

/// A document as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The last event that was folded into it.
    pub position: Position,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A document that has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// What it is found by.
    pub key: String,
    /// What it is now; `None`: it is there no more.
    pub document: Option<Kept>,
    /// Whether there is a document of this key as of the last commit.
    pub is_kept: bool,
    /// Its fields as they are shown, for sinks that [want](Pace::wants_fields) them.
    pub fields: Map<String, Value>,
    /// The tags that it carries, for those too.
    pub tags: Vec<String>,
}

/// What is made visible and kept at once.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// The first position that the documents know nothing of after it.
    pub next: Position,
    /// How far they have come, and what is needed to go on: [`Checkpoint`](super::Checkpoint) in bytes.
    pub checkpoint: &'a [u8],
    /// Each key at most once.
    pub changed: &'a [Changed],
    /// Whether it has to be on the disk, with all commits before it, when it is done.
    pub durable: bool,
}

/// How a sink is best written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Documents of one commit, about.
    pub documents_max: usize,
    /// A change is visible at most so many milliseconds after it was folded; 0: at once.
    pub visible_ms: u64,
    /// And durable after so many; 0: every commit is.
    pub durable_ms: u64,
    /// Whether it makes something of the fields of documents, and of their tags.
    pub wants_fields: bool,
}

/// What keeps the documents of one build of a projection. One thread at a time writes to it.
pub trait Sink: Send + 'static {
    /// The checkpoint of the last commit; `None`: there was none.
    ///
    /// # Errors
    /// As [`SinkError`] says.
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SinkError>;

    /// The document of a key, as of the last commit.
    ///
    /// # Errors
    /// As [`SinkError`] says.
    fn get(&self, key: &str) -> Result<Option<Kept>, SinkError>;

    /// Makes changes visible, whole or not at all.
    ///
    /// # Errors
    /// As [`SinkError`] says: nothing of it is visible.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError>;

    /// How it is best written to, as things are.
    fn pace(&self) -> Pace;

    /// How its documents are looked up.
    fn documents(&self) -> Arc<dyn Documents>;
}

/// How documents are looked up, by any thread, also while they change.
pub trait Documents: Send + Sync {
    /// The document of a key, and the first position that it knows nothing of: both of one commit.
    ///
    /// # Errors
    /// As [`SinkError`] says.
    fn get(&self, key: &str) -> Result<(Option<Kept>, Position), SinkError>;

    /// Documents by key, those after one, at most so many: of one commit.
    ///
    /// # Errors
    /// As [`SinkError`] says.
    fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, SinkError>;
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SinkError> {
        (**self).checkpoint()
    }

    fn get(&self, key: &str) -> Result<Option<Kept>, SinkError> {
        (**self).get(key)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError> {
        (**self).commit(commit)
    }

    fn pace(&self) -> Pace {
        (**self).pace()
    }

    fn documents(&self) -> Arc<dyn Documents> {
        (**self).documents()
    }
}
