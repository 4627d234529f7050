//! [`SearchSink`]: documents by key, and by what is in them, in an index of Tantivy.
//!
//! Everything of a document stands in the index: what is searched for, and, stored, the bytes that it is folded on from. So
//! there is one commit, whose payload is the checkpoint, and no second store that could know of more or less. What was
//! written since the last commit is not seen, and is gone when the process is.
//!
//! There is one writer for as long as the sink is open, and what reads is renewed after each commit, by the sink and by
//! nothing else: so whoever looks sees documents and checkpoint of one commit.

mod aggregations;
mod check;
mod error;
mod facets;
mod mapping;
mod order;
mod patience;
mod query;
pub mod raw;
mod sealed;
mod search;
mod snapshot;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use nexus_delivery::projection::{Commit, Definition, Documents, Kept, Pace, Sink, SinkError};
use nexus_protocol::Position;
use serde::{Deserialize, Serialize};
use tantivy::directory::{Directory, MmapDirectory, RamDirectory};
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument};

use self::error::guarded;
use self::mapping::{Mapping, tokenizers};
use self::sealed::Sealed;
pub use self::search::{SearchError, Searched, SearchedHit, Searching, Sight};
use self::snapshot::Snapshot;
use crate::directory;

/// Blocks of documents that are kept as they were read, of each segment; a large document is a block of its own.
const BLOCKS_KEPT: usize = 10;
/// The version of what is written.
const FORMAT: u32 = 1;
/// Threads that make segments of documents.
const WRITER_THREADS: usize = 1;
/// Memory for documents that are written, in bytes. Beyond it they become a segment of their own.
const WRITER_BYTES: usize = 32 * 1024 * 1024;
/// Segments with more documents are merged no further.
const SEGMENT_DOCUMENTS_MAX: usize = 5_000_000;
/// Segments of which so much is deleted are merged also where they are large.
const DELETED_RATIO_MAX: f32 = 0.3;

/// What a commit says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    format: u32,
    next: Position,
    checkpoint: String,
}

/// Documents by key, and by what is in them.
///
/// It must be dropped before the same directory is opened again.
pub struct SearchSink {
    index: Index,
    mapping: Arc<Mapping>,
    reader: IndexReader,
    /// Made with the first commit: whoever only looks needs none.
    writer: Option<IndexWriter>,
    /// Set when it is closed: merges that go on write nothing any more.
    is_closed: Arc<AtomicBool>,
    seen: Arc<Seen>,
    checkpoint: Option<Vec<u8>>,
    /// Documents of the last commit.
    last_len: usize,
    place: String,
}

/// What whoever looks sees.
pub(crate) struct Seen(RwLock<Arc<Snapshot>>);

impl Seen {
    fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, snapshot: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}

impl SearchSink {
    /// Opens the index that is kept in a directory, which is made where there is none. All of it is read, and its checksums
    /// are checked.
    ///
    /// # Errors
    /// [`SinkError::Damaged`] where it is not what was written, or is of another definition: [`remove`](crate::remove) the
    /// directory, and fold again.
    pub fn open(dir: &Path, definition: &Definition) -> Result<Self, SinkError> {
        directory::make(dir)?;
        let place = dir.display().to_string();
        directory::remove_unfinished(dir);
        let opened = guarded(&place, || Ok(MmapDirectory::open(dir)?))?;
        Self::over(opened, place, definition)
    }

    /// Documents that are gone when the process is.
    ///
    /// # Errors
    /// None that is known.
    pub fn in_memory(definition: &Definition) -> Result<Self, SinkError> {
        Self::over(RamDirectory::create(), "documents".to_owned(), definition)
    }

    /// Documents in what keeps files, as a directory does: for those that fail on purpose.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn over(
        directory: impl Directory,
        place: String,
        definition: &Definition,
    ) -> Result<Self, SinkError> {
        let mapping = Arc::new(Mapping::new(definition.file()));
        let is_closed = Arc::new(AtomicBool::new(false));
        let directory = Sealed::new(directory, Arc::clone(&is_closed));
        let opened = guarded(&place, || {
            let mut index = Index::open_or_create(directory, mapping.schema.clone())?;
            index.set_tokenizers(tokenizers());
            index.set_fast_field_tokenizers(tokenizers());
            let damaged = index.validate_checksum()?;
            Ok((index, damaged))
        });
        let (index, damaged) = opened?;
        // Before anything of them is made sense of.
        if let Some(file) = damaged.iter().next() {
            let file = file.display();
            return Err(SinkError::Damaged(format!("{place}: {file} is not what was written")));
        }
        let opened = guarded(&place, || {
            let payload = index.load_metas()?.payload;
            let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual);
            let reader = reader.doc_store_cache_num_blocks(BLOCKS_KEPT);
            let reader: IndexReader = reader.try_into()?;
            Ok((payload, reader))
        });
        let (payload, reader) = opened?;
        let payload = payload.map(|text| serde_json::from_str::<Payload>(&text)).transpose();
        let payload = payload.map_err(|why| SinkError::Damaged(format!("{place}: {why}")))?;
        if payload.as_ref().is_some_and(|it| it.format != FORMAT) {
            return Err(SinkError::Damaged(format!("{place} has another format")));
        }
        let next = payload.as_ref().map_or(Position::ZERO, |it| it.next);
        let snapshot = Snapshot::new(&reader, &mapping, next, place.clone());
        Ok(Self {
            index,
            reader,
            writer: None,
            is_closed,
            seen: Arc::new(Seen(RwLock::new(Arc::new(snapshot)))),
            checkpoint: payload.map(|it| it.checkpoint.into_bytes()),
            last_len: 0,
            mapping,
            place,
        })
    }

    /// How its documents are searched, also while they change.
    pub fn searching(&self) -> Searching {
        Searching { seen: Arc::clone(&self.seen), index: self.index.clone() }
    }

    fn write(&mut self, commit: &Commit<'_>) -> tantivy::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(open_writer(&self.index)?),
        };
        for changed in commit.changed {
            if changed.is_kept {
                writer.delete_term(self.mapping.key_term(&changed.key));
            }
            let Some(kept) = &changed.document else { continue };
            if let Err(error) = writer.add_document(self.mapping.document(changed, kept)) {
                // What writes has died, and says of what when it is waited for.
                return writer.prepare_commit().map(drop).and(Err(error));
            }
        }
        let checkpoint = String::from_utf8_lossy(commit.checkpoint).into_owned();
        let payload = Payload { format: FORMAT, next: commit.next, checkpoint };
        let payload = serde_json::to_string(&payload).expect("it has a JSON form");
        let mut prepared = writer.prepare_commit()?;
        prepared.set_payload(&payload);
        prepared.commit()?;
        self.reader.reload()
    }
}

fn open_writer(index: &Index) -> tantivy::Result<IndexWriter> {
    let options = IndexWriterOptions::builder()
        .memory_budget_per_thread(WRITER_BYTES)
        .num_worker_threads(WRITER_THREADS)
        .num_merge_threads(1)
        .build();
    let writer = index.writer_with_options::<TantivyDocument>(options)?;
    let mut merges = LogMergePolicy::default();
    merges.set_max_docs_before_merge(SEGMENT_DOCUMENTS_MAX);
    merges.set_del_docs_ratio_before_merge(DELETED_RATIO_MAX);
    writer.set_merge_policy(Box::new(merges));
    // What an earlier one has left half done takes room.
    writer.garbage_collect_files().wait()?;
    Ok(writer)
}

impl Drop for SearchSink {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }
}

impl Sink for SearchSink {
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SinkError> {
        Ok(self.checkpoint.clone())
    }

    fn get(&self, key: &str) -> Result<Option<Kept>, SinkError> {
        self.seen.now().find(key)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError> {
        let last = self.seen.now().next;
        assert!(commit.next >= last, "documents that know all before {last} do not go back");
        let place = self.place.clone();
        // What is left half done is not used: the caller drops the sink.
        guarded(&place, || self.write(commit))?;
        self.seen.set(Snapshot::new(&self.reader, &self.mapping, commit.next, place));
        self.checkpoint = Some(commit.checkpoint.to_vec());
        self.last_len = commit.changed.len();
        Ok(())
    }

    fn pace(&self) -> Pace {
        // A commit makes a segment and syncs its files, which takes some ten milliseconds and more the more is in it: with few
        // changes they are seen soon, and with many it is the price of each that counts.
        let visible_ms = match self.last_len {
            0..100 => 100,
            100..1_000 => 250,
            1_000..10_000 => 500,
            _ => 1_000,
        };
        Pace { documents_max: 50_000, visible_ms, durable_ms: 0, wants_fields: true }
    }

    fn documents(&self) -> Arc<dyn Documents> {
        Arc::clone(&self.seen) as Arc<dyn Documents>
    }
}

impl Documents for Seen {
    fn get(&self, key: &str) -> Result<(Option<Kept>, Position), SinkError> {
        let snapshot = self.now();
        Ok((snapshot.find(key)?, snapshot.next))
    }

    fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, SinkError> {
        self.now().page(after, limit)
    }
}
