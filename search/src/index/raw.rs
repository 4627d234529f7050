//! Tantivy as it comes: what [`SearchSink`](super::SearchSink) and its searches are measured beside.
//!
//! Schema, tokenizers, and writer are those of the sink, so that only what the sink adds to Tantivy differs. Nothing here
//! is used to keep or to find documents of a projection.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use nexus_delivery::projection::{Changed, Definition, SinkError};
use tantivy::collector::{Count, TopDocs};
use tantivy::directory::MmapDirectory;
use tantivy::query::{BooleanQuery, Occur, PhraseQuery, Query, RangeQuery, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{
    DocAddress, Index, IndexReader, IndexWriter, Order, ReloadPolicy, Searcher, TantivyDocument,
    Term,
};

use super::error::guarded;
use super::mapping::{Mapped, Mapping, tokenizers};
use super::open_writer;
use super::sealed::Sealed;
use crate::directory;

/// Threads that make segments of documents, of the sink as of [`RawWriter`].
pub const WRITER_THREADS: usize = super::WRITER_THREADS;
/// Memory that each of them has for documents, in bytes.
pub const WRITER_BYTES: usize = super::WRITER_BYTES;

/// A document, ready to be added.
#[derive(Clone, Debug)]
pub struct RawDocument(TantivyDocument);

/// Makes documents of the fields of a definition.
#[derive(Clone, Debug)]
pub struct RawSchema(Mapping);

impl RawSchema {
    /// Of a definition.
    pub fn new(definition: &Definition) -> Self {
        Self(Mapping::new(definition.file()))
    }

    /// What the sink would add of a document that has changed; `None`: it is there no more.
    pub fn document(&self, changed: &Changed) -> Option<RawDocument> {
        let kept = changed.document.as_ref()?;
        Some(RawDocument(self.0.document(changed, kept)))
    }
}

fn opened(dir: &Path, mapping: &Mapping) -> Result<Index, SinkError> {
    guarded(&dir.display().to_string(), || {
        // As the sink has it: its index is opened here, too.
        let directory = Sealed::new(MmapDirectory::open(dir)?, Arc::default());
        let mut index = Index::open_or_create(directory, mapping.schema.clone())?;
        index.set_tokenizers(tokenizers());
        index.set_fast_field_tokenizers(tokenizers());
        Ok(index)
    })
}

/// A new index with its writer.
pub struct RawWriter {
    writer: IndexWriter,
    place: String,
}

impl RawWriter {
    /// Makes one in a directory.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn create(dir: &Path, schema: &RawSchema) -> Result<Self, SinkError> {
        directory::make(dir)?;
        let index = opened(dir, &schema.0)?;
        let place = dir.display().to_string();
        let writer = guarded(&place, || open_writer(&index))?;
        Ok(Self { writer, place })
    }

    /// Adds a document.
    ///
    /// # Errors
    /// When the writer has failed.
    pub fn add(&self, document: RawDocument) -> Result<(), SinkError> {
        guarded(&self.place, || self.writer.add_document(document.0).map(drop))
    }

    /// Commits what was added.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn commit(&mut self) -> Result<(), SinkError> {
        guarded(&self.place, || self.writer.commit().map(drop))
    }

    /// Closes it once its merges have ended, so that nothing is written to its directory any more.
    ///
    /// # Errors
    /// When a merge has failed.
    pub fn finish(self) -> Result<(), SinkError> {
        guarded(&self.place, || self.writer.wait_merging_threads())
    }
}

/// What is asked of a [`RawSearcher`].
#[derive(Clone, Debug)]
pub enum RawQuery<'a> {
    /// A word of a text, or a whole keyword.
    Term(&'a str, &'a str),
    /// Words of a text, side by side.
    Phrase(&'a str, &'a [&'a str]),
    /// Whole numbers, from one to another, with both.
    Range(&'a str, i64, i64),
    /// Parts: all of the first match, and none of the second.
    Bool(Vec<RawQuery<'a>>, Vec<RawQuery<'a>>),
}

/// A query that is made ready.
pub struct RawReady {
    query: Box<dyn Query>,
    by: Option<String>,
}

/// What is found: documents, in their order, and how many match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawFound {
    addresses: Vec<DocAddress>,
    /// All that match.
    pub total: u64,
}

/// Searches in an index that is there.
pub struct RawSearcher {
    searcher: Searcher,
    mapping: Mapping,
    place: String,
}

impl RawSearcher {
    /// Of the index that a sink keeps in a directory, as of its last commit.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(dir: &Path, schema: &RawSchema) -> Result<Self, SinkError> {
        let index = opened(dir, &schema.0)?;
        let place = dir.display().to_string();
        let reader = guarded(&place, || {
            let reader: IndexReader =
                index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
            Ok(reader)
        })?;
        Ok(Self { searcher: reader.searcher(), mapping: schema.0.clone(), place })
    }

    /// Segments of the index.
    pub fn segments(&self) -> usize {
        self.searcher.segment_readers().len()
    }

    /// Makes a query ready; `by` names a field of whole numbers that documents are put in order by, the greatest first.
    ///
    /// # Errors
    /// When a field is not there.
    pub fn ready(&self, query: &RawQuery<'_>, by: Option<&str>) -> Result<RawReady, SinkError> {
        Ok(RawReady { query: self.query(query)?, by: by.map(str::to_owned) })
    }

    fn field(&self, name: &str) -> Result<Mapped, SinkError> {
        let missing = || SinkError::Unavailable(format!("{}: no field {name:?}", self.place));
        self.mapping.fields.get(name).copied().ok_or_else(missing)
    }

    fn query(&self, asked: &RawQuery<'_>) -> Result<Box<dyn Query>, SinkError> {
        Ok(match asked {
            RawQuery::Term(name, text) => {
                let term = Term::from_field_text(self.field(name)?.field, text);
                Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
            }
            RawQuery::Phrase(name, words) => {
                let field = self.field(name)?.field;
                let terms = words.iter().map(|word| Term::from_field_text(field, word));
                Box::new(PhraseQuery::new(terms.collect()))
            }
            RawQuery::Range(name, from, to) => {
                let field = self.field(name)?.field;
                let bound = |at: i64| Bound::Included(Term::from_field_i64(field, at));
                Box::new(RangeQuery::new(bound(*from), bound(*to)))
            }
            RawQuery::Bool(all, none) => {
                let part = |occur| move |query: &RawQuery<'_>| Ok((occur, self.query(query)?));
                let all = all.iter().map(part(Occur::Must));
                let none = none.iter().map(part(Occur::MustNot));
                Box::new(BooleanQuery::new(all.chain(none).collect::<Result<_, SinkError>>()?))
            }
        })
    }

    /// Finds the first so many documents, and counts all.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn search(&self, ready: &RawReady, limit: usize) -> Result<RawFound, SinkError> {
        let top = TopDocs::with_limit(limit);
        guarded(&self.place, || {
            let (addresses, total) = match &ready.by {
                None => {
                    let found = (top.order_by_score(), Count);
                    let (hits, total) = self.searcher.search(&*ready.query, &found)?;
                    (hits.into_iter().map(|(_, address)| address).collect(), total)
                }
                Some(field) => {
                    let found = (top.order_by_fast_field::<i64>(field, Order::Desc), Count);
                    let (hits, total) = self.searcher.search(&*ready.query, &found)?;
                    (hits.into_iter().map(|(_, address)| address).collect(), total)
                }
            };
            Ok(RawFound { addresses, total: total as u64 })
        })
    }

    /// Reads what is stored of the documents that were found: how many fields that is.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn fetch(&self, found: &RawFound) -> Result<usize, SinkError> {
        guarded(&self.place, || {
            let fields = found.addresses.iter().map(|address| {
                let stored: TantivyDocument = self.searcher.doc(*address)?;
                Ok(stored.len())
            });
            fields.sum()
        })
    }
}
