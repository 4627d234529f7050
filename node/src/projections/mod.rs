//! [`Projections`]: the projections of a node's namespaces, folded by a few threads that all of them share.
//!
//! They are folded from when somebody asks for one, and all of a namespace are when the node is opened to serve. What was
//! decided about them stands in the log, and their documents beside it: `DIR/projections/NAMESPACE/NAME.VERSION.FOLD`.
//! These can be removed at any time that nobody has them open: they are folded again.

mod build;
mod lifts;
mod masked;
mod parked;
mod pool;
mod room;
mod space;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nexus_delivery::projection::{Checkpoint, Definition, Document, SinkError};
use nexus_engine::{Engine, Namespace};
use nexus_protocol::limits::{LOOKUP_WAIT_MS_DEFAULT, LOOKUP_WAIT_MS_MAX, SEARCH_TIME_MS_MAX};
use nexus_protocol::projection::{Lookup, ProjectionChange, ProjectionInfo, ProjectionState};
use nexus_protocol::schema::VersionPick;
use nexus_protocol::search::SearchRequest;
use nexus_protocol::{AppendError, Invalid, LogId, Position, ReadError, Unavailable};
use nexus_search::{SearchError, Searched, Sight};

pub(crate) use self::masked::hidden_fields;
pub use self::room::ProjectionRoom;

use self::build::{Build, Fresh, NotFresh};
use self::pool::Pool;
use self::room::Room;
use self::space::Space;
use crate::schemas::Schemas;
use crate::telemetry::ProjectionGauges;

/// How long whoever looks waits for documents to be opened.
const OPENING: Duration = Duration::from_secs(10);
/// How long a switch waits for the other version to know as much as the one that answers.
const SWITCHING: Duration = Duration::from_secs(2);

/// The projections of a node.
#[derive(Debug)]
pub(crate) struct Projections {
    pool: Pool,
    spaces: Mutex<HashMap<LogId, Arc<Space>>>,
    /// Where documents are kept; `None`: in memory.
    directory: Option<PathBuf>,
    /// What events are lifted by.
    schemas: Arc<Schemas>,
    room: Arc<Room>,
}

/// What is there of a key.
pub(crate) struct OfKey {
    /// The document; `None`: there is none.
    pub(crate) found: Option<Found>,
    /// Whether its events wait.
    pub(crate) parked: bool,
}

/// A document that was found, and what it is as of.
pub(crate) struct Found {
    pub(crate) definition: Definition,
    pub(crate) document: Document,
    pub(crate) position: Position,
    /// The first position that the answer knows nothing of.
    pub(crate) next: Position,
}

/// Documents that were found, and what they are as of.
pub(crate) struct FoundAll {
    pub(crate) definition: Definition,
    pub(crate) searched: Searched,
    /// Those of the hits, in their order.
    pub(crate) documents: Vec<Document>,
    /// The first position that the answer knows nothing of.
    pub(crate) next: Position,
    /// How many keys wait.
    pub(crate) parked: u64,
    /// How long it may take to show them.
    pub(crate) time: SearchTime,
}

/// How long a search goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SearchTime {
    limit_ms: u64,
    until: Instant,
}

impl SearchTime {
    /// From now on, where whoever asks says how long an answer is waited for. Who says 0 waits for no position, and has
    /// said nothing of the search.
    fn new(timeout_ms: Option<u64>) -> Self {
        let asked = timeout_ms.filter(|it| *it > 0);
        let limit_ms = asked.map_or(SEARCH_TIME_MS_MAX, |it| it.min(SEARCH_TIME_MS_MAX));
        Self { limit_ms, until: Instant::now() + Duration::from_millis(limit_ms) }
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.until
    }

    /// Goes on, unless it is over.
    ///
    /// # Errors
    /// `Invalid`: the same search takes as long again, so that nothing tries it again by itself.
    pub(crate) fn check(self) -> Result<(), ReadError> {
        match self.is_over() {
            true => Err(self.took_too_long(&SearchError::TookTooLong)),
            false => Ok(()),
        }
    }

    fn took_too_long(self, why: &SearchError) -> ReadError {
        let limit_ms = self.limit_ms;
        Invalid::Request(format!("the search was stopped after {limit_ms} ms: {why}")).into()
    }
}

/// Why documents did not answer.
enum NotAnswered {
    /// It is told to whoever asked.
    Refused(ReadError),
    /// They cannot be read.
    Sink(SinkError),
}

impl From<SinkError> for NotAnswered {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

impl From<SearchError> for NotAnswered {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Sink(error) => Self::Sink(error),
            wrong => Self::Refused(Invalid::Request(wrong.to_string()).into()),
        }
    }
}

fn closed() -> AppendError {
    AppendError::Unavailable(Unavailable::Closed)
}

impl Projections {
    pub(crate) fn new(engine: &Engine, schemas: Arc<Schemas>, room: ProjectionRoom) -> Self {
        let directory = engine.directory().map(|dir| dir.join("projections"));
        let room = Arc::new(Room::new(engine, directory.clone(), room));
        Self { pool: Pool::default(), spaces: Mutex::default(), directory, schemas, room }
    }

    fn spaces(&self) -> MutexGuard<'_, HashMap<LogId, Arc<Space>>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The projections of a namespace.
    fn space(&self, namespace: &Namespace) -> Result<Arc<Space>, AppendError> {
        let mut spaces = self.spaces();
        if let Some(space) = spaces.get(&namespace.log_id()) {
            return Ok(Arc::clone(space));
        }
        let directory = self.directory.as_ref().map(|dir| dir.join(namespace.name()));
        let (turns, schemas) = (Arc::clone(self.pool.turns()), Arc::clone(&self.schemas));
        let parts = (turns, schemas, Arc::clone(&self.room));
        let space = Arc::new(Space::open(namespace.for_system(), parts, directory)?);
        self.pool.start().map_err(|error| {
            AppendError::Unavailable(Unavailable::CannotGrow(format!("no thread: {error}")))
        })?;
        spaces.insert(namespace.log_id(), Arc::clone(&space));
        Ok(space)
    }

    /// Folds all projections of a namespace from now on.
    pub(crate) fn open_all(&self, namespace: &Namespace) -> Result<(), AppendError> {
        self.space(namespace)?.follow_all();
        Ok(())
    }

    /// Makes a projection, or gives it a new version; `false`: it has this one.
    pub(crate) fn set(
        &self,
        namespace: &Namespace,
        definition: &Definition,
    ) -> Result<bool, AppendError> {
        let (name, space) = (&definition.file().name, self.space(namespace)?);
        let registry = self.schemas.registry(namespace)?;
        for (subject, version) in &definition.file().as_schema {
            if registry.version(subject, VersionPick::Number(*version)).is_none() {
                let why =
                    format!("as_schema: there is no version {version} of subject {subject:?}");
                return Err(Invalid::Request(why).into());
            }
        }
        let made = space.decide(name, |catalog| catalog.set(definition))?;
        space.follow(name)?;
        Ok(made)
    }

    /// The names of the projections of a namespace, sorted.
    pub(crate) fn names(&self, namespace: &Namespace) -> Result<Vec<String>, AppendError> {
        let space = self.space(namespace)?;
        let catalog = space.catalog();
        Ok(catalog.named().map(|(name, _)| name.to_owned()).collect())
    }

    /// Does something else to a projection.
    pub(crate) fn change(
        &self,
        namespace: &Namespace,
        name: &str,
        change: ProjectionChange,
    ) -> Result<(), AppendError> {
        let space = self.space(namespace)?;
        space.follow(name)?;
        match change {
            ProjectionChange::Switch { version } => switch(&space, name, version)?,
            change => drop(space.decide(name, |catalog| catalog.change(name, change))?),
        }
        if change == ProjectionChange::Resume {
            space.of_name(name).iter().for_each(Build::resume);
        }
        Ok(())
    }

    /// How a projection is.
    pub(crate) fn info(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<ProjectionInfo, AppendError> {
        let space = self.space(namespace)?;
        space.follow(name)?;
        let named = space.catalog().find(name)?.clone();
        let answering = named.answering();
        let head = namespace.head().position;
        let mut builds: Vec<_> = Vec::new();
        for (id, _) in named.builds() {
            let build = space.builds().get(&(name.to_owned(), id)).cloned();
            let Some(build) = build else { continue };
            if id == answering {
                drop(build.fresh(None, OPENING));
            }
            builds.push(build.info(id == answering, head));
        }
        builds.sort_by_key(|it| (!it.active, it.version, it.generation));
        let active = builds.first().cloned().ok_or_else(closed)?;
        let rebuilds = named.version(named.active).is_some_and(|it| it.rebuilding.is_some());
        let state = match active.state {
            ProjectionState::Running if rebuilds => ProjectionState::Rebuilding,
            state => state,
        };
        let definition = named.version(named.active).map(|it| it.definition.file().clone());
        Ok(ProjectionInfo {
            name: name.to_owned(),
            version: active.version,
            state,
            position: active.position,
            lag_events: active.lag_events,
            documents: active.documents,
            events: active.events,
            events_digest: active.events_digest,
            documents_digest: active.documents_digest,
            parked: active.parked,
            error: active.error,
            definition: serde_json::to_value(definition).unwrap_or_default(),
            builds,
        })
    }

    /// Asks the documents that answer, once they know of a position, where their definition is let through by `check`.
    fn ask<T>(
        &self,
        (namespace, name): (&Namespace, &str),
        (min, timeout_ms): (Option<Position>, Option<u64>),
        check: impl Fn(&Definition) -> Result<(), ReadError>,
        ask: impl Fn(&Build, &Fresh) -> Result<T, NotAnswered>,
    ) -> Result<(Definition, T, Position), ReadError> {
        let timeout_ms = timeout_ms.unwrap_or(LOOKUP_WAIT_MS_DEFAULT);
        if timeout_ms > LOOKUP_WAIT_MS_MAX {
            let why = format!("`timeout_ms` is at most {LOOKUP_WAIT_MS_MAX}");
            return Err(Invalid::Request(why).into());
        }
        let space = self.space(namespace).map_err(of_append)?;
        space.follow(name).map_err(of_append)?;
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        loop {
            let build = space.answering(name).ok_or_else(|| gone(name))?;
            check(&build.definition)?;
            let left = deadline.saturating_duration_since(Instant::now());
            let fresh = match build.fresh(min, left) {
                Ok(fresh) => fresh,
                // Others answer by now, or nothing of this name does.
                Err(NotFresh::Ended)
                    if space.answering(name).is_none_or(|it| it.id != build.id) =>
                {
                    continue;
                }
                Err(NotFresh::Failed(why)) => return Err(unreadable(&why)),
                Err(_) => {
                    return Err(ReadError::NotCaughtUp {
                        wanted: min.or(namespace.head().position).unwrap_or_default(),
                        at: build.next().previous(),
                        waited_ms: timeout_ms,
                    });
                }
            };
            match ask(&build, &fresh) {
                Ok(answer) => return Ok((build.definition.clone(), answer, fresh.next)),
                Err(NotAnswered::Refused(error)) => return Err(error),
                Err(NotAnswered::Sink(_)) if build.has_ended() => {}
                Err(NotAnswered::Sink(error)) => {
                    if build.cannot_be_read(&fresh.documents, &error) {
                        return Err(unreadable(&error));
                    }
                }
            }
        }
    }

    /// Looks up a document, where its definition is let through by `check`.
    pub(crate) fn lookup(
        &self,
        namespace: &Namespace,
        name: &str,
        lookup: &Lookup,
        check: impl Fn(&Definition) -> Result<(), ReadError>,
    ) -> Result<OfKey, ReadError> {
        let fresh = (lookup.min_position, lookup.timeout_ms);
        let (definition, found, next) =
            self.ask((namespace, name), fresh, check, |build, fresh| {
                let is_parked = |committed: &Checkpoint| committed.is_parked(&lookup.key);
                let get = || fresh.documents.get(&lookup.key);
                let (kept, seen, parked) = build.look(is_parked, get)?;
                let found = kept.map(|kept| {
                    let document = build.definition.decode(&kept.bytes);
                    let document = document.map_err(|why| SinkError::Damaged(why.to_string()))?;
                    Ok::<_, SinkError>((document, kept.position))
                });
                Ok((found.transpose()?, seen, parked))
            })?;
        let (found, seen, parked) = found;
        let next = next.max(seen);
        let found =
            found.map(|(document, position)| Found { definition, document, position, next });
        Ok(OfKey { found, parked })
    }

    /// Searches documents, where their definition is let through by `check`, for somebody who may see what `sight` says.
    pub(crate) fn search(
        &self,
        (namespace, name): (&Namespace, &str),
        asked: &SearchRequest,
        check: impl Fn(&Definition) -> Result<(), ReadError>,
        sight: impl Fn(&Definition) -> Sight,
    ) -> Result<FoundAll, ReadError> {
        let fresh = (asked.min_position, asked.timeout_ms);
        let (definition, found, next) = self.ask((namespace, name), fresh, check, |build, fresh| {
            let searching = fresh.searching.as_ref().ok_or_else(|| {
                let why = format!(
                    "projection {name:?} keeps its documents by key alone: look them up, or give it \"sink\": \"search\" \
                     in a new version"
                );
                NotAnswered::Refused(Invalid::Request(why).into())
            })?;
            let time = SearchTime::new(asked.timeout_ms);
            let parked = |committed: &Checkpoint| committed.parked() as u64;
            let (searched, _, parked) = build.look(parked, || {
                let sight = sight(&build.definition);
                let searched = searching.search(asked, &sight, &|| time.is_over());
                let searched = searched.map_err(|why| match why {
                    SearchError::TookTooLong => NotAnswered::Refused(time.took_too_long(&why)),
                    why => why.into(),
                })?;
                let next = searched.next;
                Ok::<_, NotAnswered>((searched, next))
            })?;
            let documents = searched.hits.iter().map(|hit| {
                let document = build.definition.decode(&hit.kept.bytes);
                document.map_err(|why| SinkError::Damaged(why.to_string()))
            });
            let documents = documents.collect::<Result<Vec<_>, _>>()?;
            Ok((searched, documents, parked, time))
        })?;
        let (searched, documents, parked, time) = found;
        let next = next.max(searched.next);
        Ok(FoundAll { definition, searched, documents, next, parked, time })
    }

    /// Ends those of a namespace that is gone.
    pub(crate) fn forget(&self, log: LogId) {
        let gone = self.spaces().remove(&log);
        if let Some(space) = gone {
            space.end(true);
        }
    }

    /// How those are that are folded.
    pub(crate) fn gauges(&self) -> Vec<ProjectionGauges> {
        let mut all = Vec::new();
        for space in self.spaces().values() {
            let head = space.namespace.head().position;
            let namespace = space.namespace.name().to_owned();
            let answering: BTreeMap<_, _> = {
                let catalog = space.catalog();
                catalog.named().map(|(name, it)| (name.to_owned(), it.answering())).collect()
            };
            for ((name, id), build) in space.builds().iter() {
                if answering.get(name) == Some(id) {
                    let info = build.info(true, head);
                    let (namespace, projection) = (namespace.clone(), name.clone());
                    all.push(ProjectionGauges { namespace, projection, info });
                }
            }
        }
        all.sort_by(|a, b| (&a.namespace, &a.projection).cmp(&(&b.namespace, &b.projection)));
        all
    }

    /// Ends all of them; their documents are durable.
    pub(crate) fn close(&self) {
        self.pool.stop();
        let spaces = std::mem::take(&mut *self.spaces());
        spaces.into_values().for_each(|space| space.end(false));
    }
}

impl Drop for Projections {
    /// Nothing of the log is held any more when it is gone.
    fn drop(&mut self) {
        self.close();
    }
}

/// Has another version answer, once it knows as much as the one that does.
fn switch(space: &Arc<Space>, name: &str, version: u32) -> Result<(), AppendError> {
    let as_far = |wanted: Position| {
        let build = space.of_version(name, version).into_iter().next();
        let build = build.filter(|build| build.fresh(wanted.previous(), SWITCHING).is_err());
        build.map_or(Ok(()), |build| {
            Err(AppendError::from(Invalid::Request(format!(
                "version {version} of projection {name:?} knows what is before position {}, and the one that answers \
                 what is before {wanted}: wait until it has come as far",
                build.next()
            ))))
        })
    };
    let answering = space.answering(name).ok_or_else(closed)?;
    as_far(answering.next())?;
    let alone = space.alone();
    // The one that answers stands still meanwhile, so that nobody sees less than before.
    let held = answering.slot();
    as_far(answering.next())?;
    let change = ProjectionChange::Switch { version };
    let done = space.decide_alone(&alone, name, |catalog| catalog.change(name, change));
    drop(held);
    done.map(|_| ())
}

/// Documents that cannot be read are opened again, or folded again.
fn unreadable(why: &dyn std::fmt::Display) -> ReadError {
    ReadError::Unavailable { reason: format!("{why}; they are opened, or folded, again") }
}

fn gone(name: &str) -> ReadError {
    ReadError::NotFound { what: format!("projection {name:?}: create it first") }
}

fn of_append(error: AppendError) -> ReadError {
    match error {
        AppendError::NotFound { what } => ReadError::NotFound { what },
        AppendError::Unavailable(Unavailable::Closed) => ReadError::Closed,
        error => ReadError::Unavailable { reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use nexus_protocol::ErrorCode;

    use super::*;

    #[test]
    fn a_search_goes_on_as_long_as_is_asked_and_no_longer_than_any_may() {
        for (asked, limit_ms) in [
            (None, SEARCH_TIME_MS_MAX),
            (Some(0), SEARCH_TIME_MS_MAX),
            (Some(40), 40),
            (Some(LOOKUP_WAIT_MS_MAX), SEARCH_TIME_MS_MAX),
        ] {
            assert_eq!(SearchTime::new(asked).limit_ms, limit_ms);
        }
        let later = SearchTime { limit_ms: 7, until: Instant::now() + Duration::from_hours(1) };
        assert_eq!(later.check(), Ok(()));
        let over = SearchTime { limit_ms: 7, until: Instant::now() };
        let refused = over.check().unwrap_err();
        assert_eq!(refused.code(), ErrorCode::INVALID);
        let said = refused.to_string();
        assert!(said.contains("after 7 ms") && said.contains("narrow it"), "{said}");
    }
}
