//! The store that commands work on: an embedded one, for now.

use std::path::PathBuf;
use std::time::Duration;

use nexus_engine::{Engine, Namespace, OpenError, Options, PendingAppend};
use nexus_protocol::{Append, AppendError, Appended, EventId, ReadError};

use crate::exit::Failure;
use crate::import::Target;

/// Which store.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The data directory.
    pub(crate) data: Option<PathBuf>,
    /// The namespace in it.
    pub(crate) namespace: String,
}

impl Place {
    /// The data directory.
    ///
    /// # Errors
    /// When none was named.
    pub(crate) fn dir(&self) -> Result<&PathBuf, Failure> {
        let none = "say where the data is: `--data DIR`, or NEXUS_DATA in the environment";
        self.data.as_ref().ok_or_else(|| Failure::usage(none))
    }
}

/// An open store.
pub(crate) struct Store {
    engine: Engine,
    namespace: Namespace,
}

impl Store {
    /// Opens it for reading and writing; a new directory is made a new log.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options())
    }

    /// Opens it for reading, without changing anything.
    ///
    /// # Errors
    /// When it cannot be opened, or is not there.
    pub(crate) fn open_to_read(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options().read_only(true))
    }

    /// Opens it with options.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open_with(place: &Place, options: Options) -> Result<Self, Failure> {
        let engine = options.open(place.dir()?).map_err(Failure::from)?;
        let namespace = engine.namespace(&place.namespace).map_err(Failure::from)?;
        Ok(Self { engine, namespace })
    }

    /// The namespace that was named.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Closes it cleanly.
    ///
    /// # Errors
    /// When the end could not be noted.
    pub(crate) fn close(self) -> Result<(), Failure> {
        drop(self.namespace);
        self.engine.close().map_err(|error| Failure::failed(error.to_string()))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Locked { .. } => Self::not_reachable(error.to_string()),
            OpenError::Invalid(_) | OpenError::NotADirectory { .. } => {
                Self::usage(error.to_string())
            }
            _ => Self::failed(error.to_string()),
        }
    }
}

impl Target for Store {
    type Pending = PendingAppend;

    fn contains(&self, id: EventId) -> Result<bool, ReadError> {
        self.namespace.contains_id(id)
    }

    fn submit(&self, append: Append) -> PendingAppend {
        self.namespace.append(append)
    }

    fn wait(&self, pending: PendingAppend) -> Result<Appended, AppendError> {
        pending.wait()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
