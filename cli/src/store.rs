//! Opening the data directory: the one place where commands meet the engine.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nexus_engine::{CloseError, Engine, Namespace, OpenError, Options, PendingAppend};
use nexus_protocol::{
    Append, AppendError, Appended, NamespaceName, ReadError, StreamInfo, StreamState,
};

use crate::exit::Failure;
use crate::import::{Row, Standing, Target};

/// Which log a command works on.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The data directory, where one was named.
    pub(crate) dir: Option<PathBuf>,
    /// Whether the command line named it, and not the environment.
    pub(crate) named: bool,
    /// The namespace.
    pub(crate) namespace: NamespaceName,
}

impl Place {
    /// The directory that the command line names, or else the environment.
    pub(crate) fn of(named: Option<PathBuf>, namespace: NamespaceName) -> Self {
        let is_named = named.is_some();
        let of_environment = || std::env::var_os("NEXUS_DATA").filter(|dir| !dir.is_empty());
        let dir = named.or_else(|| of_environment().map(PathBuf::from));
        Self { dir, named: is_named, namespace }
    }

    /// For commands that look at all namespaces: one that is named has to be there all the same. The
    /// engine is not asked, since it may be what does not open.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn check_namespace(&self) -> Result<(), Failure> {
        let all = self.dir()?.join("namespaces");
        let is_default = self.namespace.as_str() == NamespaceName::DEFAULT;
        let Ok(entries) = std::fs::read_dir(&all) else { return Ok(()) };
        if is_default || all.join(self.namespace.as_str()).is_dir() {
            return Ok(());
        }
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let names: Vec<String> = names.filter(|name| NamespaceName::new(name).is_ok()).collect();
        Err(self.no_namespace(&names))
    }

    fn no_namespace(&self, there: &[String]) -> Failure {
        let dir = self.dir.as_deref().unwrap_or(Path::new("")).display();
        Failure::usage(format!(
            "there is no namespace {:?} in {dir}: name one of those there are ({}), or create it with \
             `nexus namespace create {}`",
            self.namespace.as_str(),
            there.join(", "),
            self.namespace,
        ))
    }

    /// The directory, where the command line names it.
    pub(crate) fn named_dir(&self) -> Option<&PathBuf> {
        self.dir.as_ref().filter(|_| self.named)
    }

    /// The data directory.
    ///
    /// # Errors
    /// When none was named.
    pub(crate) fn dir(&self) -> Result<&PathBuf, Failure> {
        self.dir.as_ref().ok_or_else(|| {
            Failure::usage(
                "no data directory is named: give one, as in `nexus --data DIR …`, or set \
                 NEXUS_DATA",
            )
        })
    }
}

/// An open log. Everything that the engine's [`Namespace`] does can be called on it.
pub(crate) struct Store {
    engine: Engine,
    namespace: Namespace,
}

impl Store {
    /// For appending; an empty or missing directory is made a new log.
    ///
    /// # Errors
    /// As the engine says.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options())
    }

    /// The same, with data of an event up to so many bytes.
    ///
    /// # Errors
    /// As the engine says.
    pub(crate) fn open_for_data(place: &Place, data_bytes_max: usize) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options().data_bytes_max(data_bytes_max))
    }

    /// For changing what is there.
    ///
    /// # Errors
    /// As the engine says, and when nothing is there.
    pub(crate) fn open_existing(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options().create(false))
    }

    /// For reading only.
    ///
    /// # Errors
    /// As the engine says, and when nothing is there.
    pub(crate) fn open_to_read(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options().create(false).read_only(true))
    }

    /// For reading what is left of a directory that may be damaged.
    ///
    /// # Errors
    /// As the engine says, and when nothing is there.
    pub(crate) fn open_damaged(place: &Place) -> Result<Self, Failure> {
        Self::open_with(place, Engine::options().create(false).damaged(true))
    }

    fn open_with(place: &Place, options: Options) -> Result<Self, Failure> {
        let engine = options.open(place.dir()?)?;
        let names = engine.namespaces();
        if !names.iter().any(|name| name == place.namespace.as_str()) {
            return Err(place.no_namespace(&names));
        }
        let namespace = engine.namespace(place.namespace.as_str())?;
        Ok(Self { engine, namespace })
    }

    /// What is known of a stream that is there, or was, or has limits before it has events.
    ///
    /// # Errors
    /// When nothing was ever said of one of that name.
    pub(crate) fn known_stream(&self, stream: &str) -> Result<StreamInfo, Failure> {
        let info = self.namespace.stream_info(stream)?;
        match info.state {
            StreamState::Missing if info.meta_revision.is_none() => Err(Failure::failed(format!(
                "there is no stream {stream:?}: `nexus stream list` names those there are"
            ))),
            _ => Ok(info),
        }
    }

    /// Closes it, so that the next start reads little.
    ///
    /// # Errors
    /// When the end could not be noted.
    pub(crate) fn close(self) -> Result<(), Failure> {
        drop(self.namespace);
        self.engine.close().map_err(|error: CloseError| Failure::failed(error.to_string()))
    }
}

impl Deref for Store {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::Locked { .. } => Self::not_reachable(error.to_string()),
            OpenError::Corrupt { .. } | OpenError::NodeState { .. } => Self::damaged(error),
            OpenError::Invalid(_)
            | OpenError::NotADirectory { .. }
            | OpenError::NotEmpty { .. } => Self::usage(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

impl Target for Store {
    type Pending = PendingAppend;

    fn look_up(&self, row: &Row) -> Result<Standing, ReadError> {
        let stored = self.namespace.event_by_id(row.id())?;
        Ok(Standing::of(row, stored.as_ref()))
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
