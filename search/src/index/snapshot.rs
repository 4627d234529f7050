//! [`Snapshot`]: what whoever looks sees: the documents of one commit, and how far they have come.

use std::sync::Arc;

use nexus_delivery::projection::{Kept, SinkError};
use nexus_protocol::Position;
use tantivy::schema::{IndexRecordOption, OwnedValue};
use tantivy::{DocAddress, DocSet, IndexReader, Searcher, TERMINATED, TantivyDocument};

use super::error::guarded;
use super::mapping::Mapping;
use crate::kv::record::unseal_document;

/// The documents of one commit.
pub(crate) struct Snapshot {
    pub(crate) searcher: Searcher,
    pub(crate) mapping: Arc<Mapping>,
    /// The first position that they know nothing of.
    pub(crate) next: Position,
    pub(crate) place: String,
}

impl Snapshot {
    pub(super) fn new(
        reader: &IndexReader,
        mapping: &Arc<Mapping>,
        next: Position,
        place: String,
    ) -> Self {
        Self { searcher: reader.searcher(), mapping: Arc::clone(mapping), next, place }
    }

    /// The document of a key.
    pub(super) fn find(&self, key: &str) -> Result<Option<Kept>, SinkError> {
        let found = guarded(&self.place, || self.address(key))?;
        found.map(|address| self.kept(key, address)).transpose()
    }

    fn address(&self, key: &str) -> tantivy::Result<Option<DocAddress>> {
        let term = self.mapping.key_term(key);
        for (number, segment) in (0..).zip(self.searcher.segment_readers()) {
            let inverted = segment.inverted_index(self.mapping.key)?;
            let postings = inverted.read_postings(&term, IndexRecordOption::Basic)?;
            let Some(mut postings) = postings else { continue };
            let mut document = postings.doc();
            while document != TERMINATED {
                if !segment.is_deleted(document) {
                    return Ok(Some(DocAddress::new(number, document)));
                }
                document = postings.advance();
            }
        }
        Ok(None)
    }

    /// What is kept of a document.
    pub(crate) fn kept(&self, key: &str, address: DocAddress) -> Result<Kept, SinkError> {
        let stored: TantivyDocument = guarded(&self.place, || self.searcher.doc(address))?;
        let value = stored.get_first(self.mapping.kept).map(OwnedValue::from);
        let kept = match &value {
            Some(OwnedValue::Bytes(bytes)) => unseal_document(key.as_bytes(), bytes),
            _ => None,
        };
        kept.ok_or_else(|| {
            SinkError::Damaged(format!("{}: document {key:?} is not what was written", self.place))
        })
    }

    /// The documents after a key, by key: each segment has its keys in order.
    pub(super) fn page(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Kept)>, SinkError> {
        let mut found = guarded(&self.place, || self.keys(after, limit))?;
        found.sort();
        found.truncate(limit);
        let of = |(key, address): (String, DocAddress)| {
            let kept = self.kept(&key, address)?;
            Ok((key, kept))
        };
        found.into_iter().map(of).collect()
    }

    /// Keys after one, at most so many of each segment.
    fn keys(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> tantivy::Result<Vec<(String, DocAddress)>> {
        let mut found = Vec::new();
        for (number, segment) in (0..).zip(self.searcher.segment_readers()) {
            let inverted = segment.inverted_index(self.mapping.key)?;
            let terms = inverted.terms();
            let range = terms.range();
            let range = match after {
                Some(key) => range.gt(key.as_bytes()),
                None => range,
            };
            let (mut stream, mut of_segment) = (range.into_stream()?, 0);
            while of_segment < limit && stream.advance() {
                let info = stream.value().clone();
                let mut postings =
                    inverted.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
                let mut document = postings.doc();
                while document != TERMINATED && segment.is_deleted(document) {
                    document = postings.advance();
                }
                if document != TERMINATED {
                    let key = String::from_utf8_lossy(stream.key()).into_owned();
                    found.push((key, DocAddress::new(number, document)));
                    of_segment += 1;
                }
            }
        }
        Ok(found)
    }
}
