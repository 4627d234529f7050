//! [`Schemas`]: the registries of a node's namespaces, each as its stream says.
//!
//! A registry is read when it is needed first, and changed by one thread at a time: what is appended is applied before
//! whoever asked is answered, so that the next append is held to it. Changes of one namespace hold up no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use nexus_delivery::coordinator::unread;
use nexus_engine::Namespace;
use nexus_protocol::schema::{SCHEMAS_STREAM, SchemaProblem, SchemaSettings};
use nexus_protocol::timer::{TIMER_ARMED, TIMER_PREFIX, Timer};
use nexus_protocol::{
    Append, AppendError, Corruption, CorruptionKind, EventData, ExpectedRevision, Invalid, LogId,
    Read, Revision, SchemaId,
};
use nexus_schemas::{Registry, RegistryError, SchemaError, Unreadable, Upcaster, Upcasters};

use crate::audit::Audit;

/// How often a change is tried that somebody else came before.
const TRIES: usize = 3;

/// The registries of a node.
#[derive(Debug)]
pub(crate) struct Schemas {
    known: RwLock<HashMap<LogId, Known>>,
    audit: Arc<Audit>,
    /// Lifts that are written in Rust.
    upcasters: RwLock<Arc<Upcasters>>,
}

/// The registry of a namespace.
#[derive(Clone, Debug, Default)]
struct Known {
    /// As it was read; or why it cannot be, which is asked again when somebody changes it.
    read: Option<Result<Arc<Registry>, AppendError>>,
    /// Held by whoever reads or changes it.
    changing: Arc<Mutex<()>>,
}

impl Schemas {
    pub(crate) fn new(audit: Arc<Audit>) -> Self {
        Self { known: RwLock::default(), audit, upcasters: RwLock::default() }
    }

    fn upcasters(&self) -> Arc<Upcasters> {
        Arc::clone(&self.upcasters.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a lift that is written in Rust: it holds for what is shown from now on.
    pub(crate) fn add_upcaster(&self, upcaster: Arc<dyn Upcaster>) -> Result<(), Invalid> {
        {
            let mut upcasters = self.upcasters.write().unwrap_or_else(PoisonError::into_inner);
            Arc::make_mut(&mut upcasters).add(upcaster)?;
        }
        // Registries that know nothing of it are read anew.
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        all.values_mut().for_each(|known| known.read = None);
        Ok(())
    }

    fn known(&self, log: LogId) -> Known {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&log).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
            all.entry(log).or_default().clone()
        })
    }

    /// The registry of a namespace, as it is now. Blocks on the disk the first time.
    pub(crate) fn registry(&self, namespace: &Namespace) -> Result<Arc<Registry>, AppendError> {
        let log = namespace.log_id();
        {
            let all = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(read) = all.get(&log).and_then(|it| it.read.as_ref()) {
                return read.clone();
            }
        }
        let known = self.known(log);
        let _alone = known.changing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.known(log).read {
            Some(read) => read,
            None => self.read(namespace, None),
        }
    }

    /// Reads what a registry does not know yet.
    fn read(
        &self,
        namespace: &Namespace,
        before: Option<Arc<Registry>>,
    ) -> Result<Arc<Registry>, AppendError> {
        let nothing = || Arc::new(Registry::new().with_upcasters(self.upcasters()));
        let read = read_on(namespace, before.unwrap_or_else(nothing));
        // A disk that could not be read once may be read the next time; what is damaged is so until somebody looks at it.
        let keep = match &read {
            Ok(_) | Err(AppendError::Corruption(_)) => Some(read.clone()),
            Err(_) => None,
        };
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // A lift that was added meanwhile is not in it.
        let keep = keep.filter(|it| {
            it.as_ref().map_or(true, |registry| registry.has_upcasters(&self.upcasters()))
        });
        all.entry(namespace.log_id()).or_default().read = keep;
        read
    }

    /// What is set for all namespaces.
    pub(crate) fn wide(&self) -> Result<SchemaSettings, AppendError> {
        match self.audit.system() {
            Some(system) => Ok(self.registry(&system)?.settings().clone()),
            None => Ok(SchemaSettings::default()),
        }
    }

    /// Changes the registry of a namespace, if `decide` says so, which may be asked again. What it says, and the registry
    /// after it. Blocks until that is durable.
    pub(crate) fn change<T>(
        &self,
        namespace: &Namespace,
        decide: impl Fn(&Registry) -> Result<(Option<EventData>, T), AppendError>,
    ) -> Result<(Arc<Registry>, T), AppendError> {
        let log = namespace.log_id();
        let known = self.known(log);
        let _alone = known.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tries = 1;
        loop {
            let before = self.known(log).read.and_then(Result::ok);
            let registry = self.read(namespace, before)?;
            let (event, said) = decide(&registry)?;
            let Some(event) = event else { return Ok((registry, said)) };
            let expected = registry.revision();
            let expected = expected.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
            let append = Append::to(SCHEMAS_STREAM).expected(expected).event(event);
            match namespace.for_system().append(append).wait() {
                Ok(_) => return Ok((self.read(namespace, Some(registry))?, said)),
                Err(AppendError::Conflict(_)) if tries < TRIES => tries += 1,
                Err(error) => {
                    // It may be stored: whoever needs the registry next reads it anew.
                    let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
                    all.entry(log).or_default().read = None;
                    return Err(error);
                }
            }
        }
    }

    /// Holds an append to the schemas of its namespace; what its events were found to follow is noted in them.
    ///
    /// # Errors
    /// `SchemaInvalid`: what does not follow its schema.
    pub(crate) fn check(
        &self,
        namespace: &Namespace,
        append: &mut Append,
    ) -> Result<(), AppendError> {
        for event in append.streams.iter_mut().flat_map(|stream| &mut stream.events) {
            event.found_schema = SchemaId::NONE;
        }
        let registry = self.registry(namespace)?;
        if registry.is_empty() {
            return Ok(());
        }
        let wide = self.wide()?;
        let checked = registry.check_append(append, &wide);
        let checked = checked.and_then(|()| check_timers(&registry, &wide, append));
        checked.map_err(AppendError::SchemaInvalid)
    }

    /// Forgets that of a namespace that is gone.
    pub(crate) fn forget(&self, log: LogId) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&log);
    }
}

/// A registry with what its stream says behind what it knows; the same where that is nothing.
fn read_on(
    namespace: &Namespace,
    mut registry: Arc<Registry>,
) -> Result<Arc<Registry>, AppendError> {
    let from = registry.revision().map_or(Revision::ZERO, Revision::next);
    for event in namespace.for_system().read(Read::stream(SCHEMAS_STREAM).from_revision(from)) {
        let event = event.map_err(unread)?;
        Arc::make_mut(&mut registry).apply(&event).map_err(damaged)?;
    }
    Ok(registry)
}

/// Holds the events of timers to their schemas when they are armed: whoever arms one is there to be told.
fn check_timers(
    registry: &Registry,
    wide: &SchemaSettings,
    append: &Append,
) -> Result<(), Vec<SchemaProblem>> {
    let mut first = 0;
    for stream in &append.streams {
        if stream.stream.starts_with(TIMER_PREFIX) {
            for (number, event) in (first..).zip(&stream.events) {
                if event.event_type != TIMER_ARMED {
                    continue;
                }
                // What arms nothing is refused for that.
                let Ok(timer) = Timer::from_armed(&event.data) else { continue };
                let mut due = Append::to(timer.stream).event(timer.event);
                registry.check_append(&mut due, wide).map_err(|mut problems| {
                    problems.iter_mut().for_each(|it| it.event = number);
                    problems
                })?;
            }
        }
        first += stream.events.len();
    }
    Ok(())
}

fn damaged(unreadable: Unreadable) -> AppendError {
    let file = format!("stream {SCHEMAS_STREAM:?}, revision {}", unreadable.revision);
    let kind = CorruptionKind::Malformed(unreadable.what.into());
    AppendError::Corruption(Box::new(Corruption { file, offset_bytes: 0, kind }))
}

/// Why a registry is not changed, as whoever asked is told.
pub(crate) fn refused(error: RegistryError) -> AppendError {
    match error {
        RegistryError::Invalid(invalid) => invalid.into(),
        RegistryError::TooLarge(size) | RegistryError::Schema(SchemaError::TooLarge(size)) => {
            AppendError::TooLarge(size)
        }
        RegistryError::Schema(why) => Invalid::Request(why.to_string()).into(),
        RegistryError::NotFound { what } => AppendError::NotFound { what },
        RegistryError::Incompatible(found) => AppendError::Incompatible(found),
    }
}
