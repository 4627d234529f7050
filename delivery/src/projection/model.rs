//! [`Projection`]: what folds events into documents, as a definition says or as Rust code does.

use nexus_protocol::group::Failure;
use nexus_protocol::{Filter, Looked};
use serde_json::{Map, Value};

use super::codec::NoDocument;
use super::definition::{Definition, Document};
use super::fold::FoldError;

/// Why an event was not folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldFailed {
    /// What is told about it.
    pub failure: Failure,
    /// Whether it may go through when it is tried again. A pure fold fails again.
    pub passes: bool,
}

/// A fold of events into documents.
///
/// # Contract
/// It is pure: key and document depend on the events alone, in their order, and on nothing else: no clock, no randomness,
/// nothing outside. What is lost is folded again, and has to be the same. An event that fails leaves its document as it
/// was; one that panics is taken as failed, and all that was folded since the last commit is folded again.
///
/// ```
/// use nexus_delivery::projection::{FoldFailed, NoDocument, Projection};
/// use nexus_protocol::{Filter, Looked};
///
/// /// How many events each stream has.
/// struct Lengths(Filter);
///
/// impl Projection for Lengths {
///     type Document = u64;
///
///     fn filter(&self) -> &Filter {
///         &self.0
///     }
///     fn fingerprint(&self) -> [u8; 32] {
///         *b"lengths of streams, version 1   "
///     }
///     fn key(&self, event: &Looked<'_>) -> Result<Option<String>, FoldFailed> {
///         Ok(Some(event.event().stream().to_owned()))
///     }
///     fn fold(&self, document: &mut Option<u64>, _: &Looked<'_>) -> Result<(), FoldFailed> {
///         *document = Some(document.unwrap_or(0) + 1);
///         Ok(())
///     }
///     fn encode(&self, document: &u64) -> Vec<u8> {
///         document.to_le_bytes().to_vec()
///     }
///     fn decode(&self, bytes: &[u8]) -> Result<u64, NoDocument> {
///         bytes.try_into().map(u64::from_le_bytes).map_err(|_| NoDocument { at: 0 })
///     }
///     fn shown(&self, document: &u64) -> serde_json::Map<String, serde_json::Value> {
///         serde_json::Map::from_iter([("length".to_owned(), (*document).into())])
///     }
/// }
/// ```
pub trait Projection: Send + Sync + 'static {
    /// What events are folded into.
    type Document: Send + 'static;

    /// Which events it takes.
    fn filter(&self) -> &Filter;

    /// What tells it from every other fold: documents are gone on with only by what has the same.
    fn fingerprint(&self) -> [u8; 32];

    /// What the document of an event is found by, at most
    /// [`DOCUMENT_KEY_BYTES_MAX`](nexus_protocol::limits::DOCUMENT_KEY_BYTES_MAX) bytes; `None`: it belongs to none.
    ///
    /// # Errors
    /// Where it has none that it should have.
    fn key(&self, event: &Looked<'_>) -> Result<Option<String>, FoldFailed>;

    /// Folds an event into its document, which is none before the first, and none again behind one that ends it.
    ///
    /// # Errors
    /// Where it cannot be folded: the document is as it was.
    fn fold(
        &self,
        document: &mut Option<Self::Document>,
        event: &Looked<'_>,
    ) -> Result<(), FoldFailed>;

    /// The bytes that a document is kept as: the same for the same document.
    fn encode(&self, document: &Self::Document) -> Vec<u8>;

    /// The document that was kept as these bytes.
    ///
    /// # Errors
    /// Where they are none: all is folded again.
    fn decode(&self, bytes: &[u8]) -> Result<Self::Document, NoDocument>;

    /// A document as it is shown.
    fn shown(&self, document: &Self::Document) -> Map<String, Value>;

    /// The tags that it carries, by which it is known who may see it.
    fn tags(&self, document: &Self::Document) -> Vec<String> {
        let _ = document;
        Vec::new()
    }
}

impl From<FoldError> for FoldFailed {
    fn from(error: FoldError) -> Self {
        let failure = Failure { class: "fold".to_owned(), ..Failure::new(error.to_string()) };
        Self { failure, passes: false }
    }
}

impl Projection for Definition {
    type Document = Document;

    fn filter(&self) -> &Filter {
        Definition::filter(self)
    }

    fn fingerprint(&self) -> [u8; 32] {
        Definition::fingerprint(self)
    }

    fn key(&self, event: &Looked<'_>) -> Result<Option<String>, FoldFailed> {
        Ok(Definition::key(self, event)?)
    }

    fn fold(&self, document: &mut Option<Document>, event: &Looked<'_>) -> Result<(), FoldFailed> {
        Ok(Definition::fold(self, document, event)?)
    }

    fn encode(&self, document: &Document) -> Vec<u8> {
        document.encode()
    }

    fn decode(&self, bytes: &[u8]) -> Result<Document, NoDocument> {
        Definition::decode(self, bytes)
    }

    fn shown(&self, document: &Document) -> Map<String, Value> {
        Definition::shown(self, document)
    }

    fn tags(&self, document: &Document) -> Vec<String> {
        document.tags().map(str::to_owned).collect()
    }
}
