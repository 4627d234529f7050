//! The redb file below a sink: opened and checked, written in commits, read by any thread.
//!
//! Two tables. `documents` has a value for each document by its key, `meta` the format, the checkpoint, and the first
//! position that the documents know nothing of. A commit writes both in one transaction of redb, a read takes both from
//! one: so what is seen, and what is found after a crash, is one commit and never a mixture.

use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use nexus_delivery::projection::{Changed, Commit, Documents, Kept, SinkError};
use nexus_protocol::Position;
use redb::{
    Builder, Database, Durability, Error, ReadOnlyTable, ReadTransaction, ReadableDatabase, Table,
    TableDefinition,
};

use super::record::{seal, seal_document, unseal, unseal_document};
use crate::error::guarded;

/// The version of what is written: of the tables, and of the values in them.
const FORMAT: u32 = 1;

/// Bytes of pages that redb keeps of a file in memory, half of them at most not written yet.
///
/// A namespace may have a thousand projections, and redb gives nothing back while a file is open, so this is small. The
/// pages that do not fit are in the kernel's cache of the file, which is shared by all and gives way: there they cost a
/// system call each. Figures are in `docs/decisions/2026-11-28-key-values-in-redb.md`.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

type Bytes = &'static [u8];

const DOCUMENTS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("documents");
const META: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("meta");

const META_FORMAT: &[u8] = b"format";
const META_NEXT: &[u8] = b"next";
const META_CHECKPOINT: &[u8] = b"checkpoint";

/// How redb is asked to open a file.
///
/// Each opening checks all pages, whether the file was closed or its process killed. redb would otherwise not look at its
/// checksums: one bit in a page that says where keys are found, and a document that is there is not found, and is begun
/// anew as if it had never been. Reading the file once is the price, and it is less than that of folding it again. What rots
/// later, under an open file, is found by the checksums of values, and a document that it hides by the next opening.
///
/// Therefore no commit is made for "quick repair", which writes down where free pages are so that the next opening need
/// not look: ours looks anyway. And commits are in one phase, with one sync: a torn one fails the check of its pages, and
/// the one before it, of which nothing has been written over yet, is gone on with. A second sync would spare only that
/// check.
pub(super) fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// The file, while it is open.
pub(super) struct Store {
    /// What it is called in errors.
    place: String,
    /// `None`: it was closed. Whoever holds on to the documents then does not hold on to the file.
    database: RwLock<Option<Database>>,
}

impl Store {
    /// Takes over what was opened by `open`, which is empty or has been written by a `Store`.
    pub(super) fn new(
        place: String,
        is_empty: bool,
        open: impl FnOnce() -> Result<Database, Error>,
    ) -> Result<Self, SinkError> {
        let database = guarded(&place, || {
            let database = open()?;
            if is_empty {
                begin(&database)?;
            }
            check_format(&database)?;
            Ok(database)
        })?;
        Ok(Self { place, database: RwLock::new(Some(database)) })
    }

    /// Closes the file. What was not durable becomes so, if the disk lets it.
    pub(super) fn close(&self) {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        // What cannot be kept now is folded again later: nobody is told.
        let _ = guarded(&self.place, || {
            drop(database);
            Ok(())
        });
    }

    pub(super) fn commit(&self, commit: &Commit<'_>) -> Result<(), SinkError> {
        // Neighbours in the tree one after the other: a quarter faster than in any order, and a quarter less of a file.
        let mut in_order: Vec<&Changed> = commit.changed.iter().collect();
        in_order.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        assert!(in_order.windows(2).all(|pair| pair[0].key < pair[1].key), "a key is there twice");
        guarded(&self.place, || {
            let mut transaction = self.opened(|database| Ok(database.begin_write()?))?;
            let durable = if commit.durable { Durability::Immediate } else { Durability::None };
            transaction.set_durability(durable)?;
            let mut value = Vec::new();
            {
                let mut documents = transaction.open_table(DOCUMENTS)?;
                for changed in &in_order {
                    let key = changed.key.as_bytes();
                    match &changed.document {
                        Some(kept) => {
                            seal_document(key, kept, &mut value);
                            documents.insert(key, value.as_slice())?;
                        }
                        None => drop(documents.remove(key)?),
                    }
                }
                let mut meta = transaction.open_table(META)?;
                let next = commit.next.get().to_le_bytes();
                put(&mut meta, META_NEXT, &next, &mut value)?;
                put(&mut meta, META_CHECKPOINT, commit.checkpoint, &mut value)?;
            }
            Ok(transaction.commit()?)
        })
    }

    /// The checkpoint of the last commit.
    pub(super) fn checkpoint(&self) -> Result<Option<Vec<u8>>, SinkError> {
        self.reading(|transaction| {
            let checkpoint = entry(&transaction.open_table(META)?, META_CHECKPOINT)?;
            match checkpoint {
                None if next(transaction)? != Position::ZERO => {
                    Err(damaged("it has no checkpoint"))
                }
                checkpoint => Ok(checkpoint),
            }
        })
    }

    /// The first position that the last commit knows nothing of.
    pub(super) fn next(&self) -> Result<Position, SinkError> {
        self.reading(next)
    }

    /// The document of a key, as of the last commit.
    pub(super) fn document(&self, key: &str) -> Result<Option<Kept>, SinkError> {
        self.reading(|transaction| document(transaction, key))
    }

    fn reading<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Error>,
    ) -> Result<T, SinkError> {
        guarded(&self.place, || {
            // The lock is not held while the disk is read, so that closing does not wait for it.
            let transaction = self.opened(|database| Ok(database.begin_read()?))?;
            read(&transaction)
        })
    }

    fn opened<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        work(database.as_ref().ok_or(Error::DatabaseClosed)?)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl Documents for Store {
    fn get(&self, key: &str) -> Result<(Option<Kept>, Position), SinkError> {
        self.reading(|transaction| Ok((document(transaction, key)?, next(transaction)?)))
    }

    fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, SinkError> {
        self.reading(|transaction| {
            let first = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
            let documents = transaction.open_table(DOCUMENTS)?;
            let mut page: Vec<(String, Kept)> = Vec::new();
            for entry in documents.range::<&[u8]>((first, Bound::Unbounded))?.take(limit) {
                let (key, value) = entry?;
                let (key, kept) = decoded(key.value(), value.value())?;
                let before = page.last().map(|(key, _)| key.as_str()).or(after);
                if before.is_some_and(|before| before >= key.as_str()) {
                    return Err(damaged("its keys are out of order"));
                }
                page.push((key, kept));
            }
            Ok(page)
        })
    }
}

/// Makes an empty file one of documents.
fn begin(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(DOCUMENTS)?;
        let mut meta = transaction.open_table(META)?;
        let mut value = Vec::new();
        put(&mut meta, META_FORMAT, &FORMAT.to_le_bytes(), &mut value)?;
        put(&mut meta, META_NEXT, &Position::ZERO.get().to_le_bytes(), &mut value)?;
    }
    Ok(transaction.commit()?)
}

fn check_format(database: &Database) -> Result<(), Error> {
    let format = entry(&database.begin_read()?.open_table(META)?, META_FORMAT)?;
    let format = format.as_deref().and_then(|bytes| bytes.try_into().ok());
    match format.map(u32::from_le_bytes) {
        Some(FORMAT) => Ok(()),
        Some(other) => Err(damaged(&format!("its format is {other}, not {FORMAT}"))),
        None => Err(damaged("it does not say its format")),
    }
}

fn put(
    meta: &mut Table<'_, Bytes, Bytes>,
    key: &[u8],
    bytes: &[u8],
    value: &mut Vec<u8>,
) -> Result<(), Error> {
    seal(key, [bytes, &[]], value);
    meta.insert(key, value.as_slice())?;
    Ok(())
}

fn entry(meta: &ReadOnlyTable<Bytes, Bytes>, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Some(value) = meta.get(key)? else { return Ok(None) };
    let bytes = unseal(key, value.value());
    let bytes = bytes.ok_or_else(|| damaged("what it says of itself has a wrong checksum"))?;
    Ok(Some(bytes.to_vec()))
}

fn next(transaction: &ReadTransaction) -> Result<Position, Error> {
    let next = entry(&transaction.open_table(META)?, META_NEXT)?;
    let next = next.as_deref().and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    next.map(Position::new).ok_or_else(|| damaged("it does not say how far it has come"))
}

fn document(transaction: &ReadTransaction, key: &str) -> Result<Option<Kept>, Error> {
    let documents = transaction.open_table(DOCUMENTS)?;
    let Some(value) = documents.get(key.as_bytes())? else { return Ok(None) };
    decoded(key.as_bytes(), value.value()).map(|(_, kept)| Some(kept))
}

fn decoded(key: &[u8], value: &[u8]) -> Result<(String, Kept), Error> {
    let kept = unseal_document(key, value);
    let kept = kept.ok_or_else(|| damaged("a document has a wrong checksum"))?;
    let key = str::from_utf8(key).map_err(|_| damaged("a key is no text"))?;
    Ok((key.to_owned(), kept))
}

fn damaged(what: &str) -> Error {
    Error::Corrupted(what.to_owned())
}
