//! [`Lifting`]: a definition over events that are lifted to versions of their schemas before they are folded.

use std::borrow::Cow;

use nexus_protocol::group::Failure;
use nexus_protocol::{Filter, Looked, RecordedEvent};
use serde_json::{Map, Value};

use super::codec::NoDocument;
use super::definition::{Definition, Document};
use super::model::{FoldFailed, Projection};

/// What lifts events.
///
/// # Contract
/// The same event gives the same parts, whenever it is asked: versions of schemas do not change once they are there, and a
/// definition names them by number.
pub trait Lift: Send + Sync + 'static {
    /// An event as it is in the version that was asked for: mostly one, and its parts where there are several or none.
    ///
    /// # Errors
    /// Where it cannot be lifted; it says whether that may pass.
    fn lift(&self, event: &RecordedEvent) -> Result<Vec<RecordedEvent>, FoldFailed>;
}

/// A definition over events that are lifted.
///
/// All parts of an event are folded, or none, and into one document: one event never changes two.
#[derive(Clone, Debug)]
pub struct Lifting<L> {
    definition: Definition,
    /// `None`: events are folded as they are stored.
    lift: Option<L>,
}

impl<L: Lift> Lifting<L> {
    /// A definition; where it does not ask for versions, nothing is lifted.
    pub fn new(definition: Definition, lift: impl FnOnce() -> L) -> Self {
        let asks = !definition.file().as_schema.is_empty();
        Self { lift: asks.then(lift), definition }
    }

    fn parts<'a>(&self, event: &'a Looked<'_>) -> Result<Cow<'a, [RecordedEvent]>, FoldFailed> {
        match &self.lift {
            None => Ok(Cow::Borrowed(std::slice::from_ref(event.event()))),
            Some(lift) => lift.lift(event.event()).map(Cow::Owned),
        }
    }
}

fn failed(message: &str) -> FoldFailed {
    let failure = Failure { class: "lift".to_owned(), ..Failure::new(message.to_owned()) };
    FoldFailed { failure, passes: false }
}

impl<L: Lift> Projection for Lifting<L> {
    type Document = Document;

    fn filter(&self) -> &Filter {
        self.definition.filter()
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.definition.fingerprint()
    }

    fn key(&self, event: &Looked<'_>) -> Result<Option<String>, FoldFailed> {
        if self.lift.is_none() {
            return Ok(self.definition.key(event)?);
        }
        let parts = self.parts(event)?;
        let mut keys = Vec::new();
        for part in parts.iter() {
            keys.extend(self.definition.key(&Looked::new(part))?);
        }
        match keys.iter().all(|key| *key == keys[0]) {
            true => Ok(keys.into_iter().next()),
            false => Err(failed("its parts have several keys, and an event changes one document")),
        }
    }

    fn fold(&self, document: &mut Option<Document>, event: &Looked<'_>) -> Result<(), FoldFailed> {
        if self.lift.is_none() {
            return Ok(self.definition.fold(document, event)?);
        }
        let parts = self.parts(event)?;
        let mut folded = document.clone();
        for part in parts.iter() {
            let looked = Looked::new(part);
            // What says nothing of a key is of no document.
            if self.definition.key(&looked)?.is_some() {
                self.definition.fold(&mut folded, &looked)?;
            }
        }
        *document = folded;
        Ok(())
    }

    fn encode(&self, document: &Document) -> Vec<u8> {
        document.encode()
    }

    fn decode(&self, bytes: &[u8]) -> Result<Document, NoDocument> {
        self.definition.decode(bytes)
    }

    fn shown(&self, document: &Document) -> Map<String, Value> {
        self.definition.shown(document)
    }

    fn tags(&self, document: &Document) -> Vec<String> {
        document.tags().map(str::to_owned).collect()
    }
}
