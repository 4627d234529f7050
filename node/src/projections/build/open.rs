//! Documents are opened, or made, and those that cannot be gone on with are removed.

use std::collections::BTreeMap;

use nexus_delivery::projection::{
    Amendment, Ended, Lifting, Origin, Runner, Sink, SinkError, SinkKind, Unusable,
};
use nexus_protocol::{AppendError, Position, Unavailable};
use nexus_search::{KvSink, SearchSink, Searching};

use super::{Build, Slot};

/// Documents that the builds of a namespace keep in memory between commits, in bytes, about; each has its part.
const CACHES_BYTES: usize = 128 * 1024 * 1024;
/// The most of it that is for one, and the least.
const CACHE_BYTES_MAX: usize = 4 * 1024 * 1024;
const CACHE_BYTES_MIN: usize = 128 * 1024;

impl Build {
    /// Opens its documents; those that cannot be gone on with are removed first.
    pub(super) fn open(&self, slot: &mut Slot) -> Result<(), Ended> {
        let head = self.namespace.head();
        let origin = Origin {
            log_id: self.namespace.log_id(),
            lineage: head.lineage,
            fingerprint: self.definition.fingerprint(),
            end: head.position.map_or(Position::ZERO, Position::next),
        };
        let space = self.space.upgrade();
        let space = space.ok_or(Ended::Log(AppendError::Unavailable(Unavailable::Closed)))?;
        for is_again in [false, true] {
            let opened = self.sink().map_err(Unusable::from).and_then(|(sink, searching)| {
                let documents = sink.documents();
                let lifts = || space.lifts(&self.definition);
                let definition = Lifting::new(self.definition.clone(), lifts);
                let store = self.namespace.clone();
                let (amendments, cache) = (self.amendments(), self.cache_bytes());
                let made = Runner::new(store, definition, sink, &origin, amendments, cache);
                made.map(|runner| (runner, documents, searching))
            });
            let why = match opened {
                Ok((runner, documents, searching)) => {
                    // Both at once: what is looked up knows of as much as is said.
                    let mut view = self.view();
                    view.progress = Some(runner.progress());
                    (view.documents, view.searching) = (Some(documents), searching);
                    drop(view);
                    slot.runner = Some(runner);
                    return Ok(());
                }
                Err(Unusable::Sink(SinkError::Damaged(why))) => why,
                Err(Unusable::NotMine(why)) => why.to_string(),
                Err(Unusable::Sink(error)) => return Err(error.into()),
            };
            if is_again {
                return Err(SinkError::Unavailable(why).into());
            }
            self.remove_documents(why)?;
        }
        Ok(())
    }

    fn sink(&self) -> Result<(Box<dyn Sink>, Option<Searching>), SinkError> {
        Ok(match (self.definition.file().sink, &self.directory) {
            (SinkKind::Kv, Some(directory)) => (Box::new(KvSink::open(directory)?), None),
            (SinkKind::Kv, None) => (Box::new(KvSink::in_memory()?), None),
            (SinkKind::Search, directory) => {
                let sink = match directory {
                    Some(directory) => SearchSink::open(directory, &self.definition)?,
                    None => SearchSink::in_memory(&self.definition)?,
                };
                let searching = sink.searching();
                (Box::new(sink), Some(searching))
            }
        })
    }

    fn amendments(&self) -> BTreeMap<u64, Amendment> {
        let space = self.space.upgrade();
        space.map(|space| space.amendments(&self.name, self.id.version)).unwrap_or_default()
    }

    fn cache_bytes(&self) -> usize {
        let builds = self.space.upgrade().map_or(1, |space| space.builds().len().max(1));
        (CACHES_BYTES / builds).clamp(CACHE_BYTES_MIN, CACHE_BYTES_MAX)
    }

    pub(super) fn remove_documents(&self, why: String) -> Result<(), Ended> {
        let mut view = self.view();
        (view.documents, view.searching) = (None, None);
        view.again = Some(why);
        drop(view);
        match &self.directory {
            Some(directory) => Ok(nexus_search::remove(directory)?),
            None => Ok(()),
        }
    }
}
