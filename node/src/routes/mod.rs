//! [`Routes`]: the routes of a node that lead to streams, each carried by a thread of its own. Those that lead to groups
//! are part of their groups.
//!
//! A route is carried from when it is asked for first, and all of them are when the node is opened to serve. One thread
//! at a time changes which are carried, and how: whoever sets a route stops its carrier first, so that neither comes in
//! the other's way.

mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nexus_delivery::routes::{Gauges, Journal, delete, read_journal, set};
use nexus_engine::{Engine, Namespace};
use nexus_protocol::limits::STREAMS_PAGE_MAX;
use nexus_protocol::route::{ROUTE_PREFIX, RouteConfig};
use nexus_protocol::{AppendError, LogId, Position, StreamList, Unavailable};

use crate::parking::block_on;
use crate::telemetry::{RouteGauges, Telemetry};

/// How often a change is tried.
const TRIES: usize = 3;

/// How a route is, as its thread says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) gauges: Gauges,
    /// Its target takes nothing.
    pub(crate) failed: bool,
}

/// The routes of a node.
#[derive(Debug)]
pub(crate) struct Routes {
    running: Mutex<HashMap<(LogId, String), Running>>,
    /// Held by whoever makes, changes, or deletes one.
    changing: Mutex<()>,
    telemetry: Arc<Telemetry>,
}

/// A route that is carried.
#[derive(Debug)]
struct Running {
    namespace: String,
    carried: Arc<Mutex<Carried>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends it, once what it writes is written, or is sure to be somebody else's to look at.
    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        drop(self.thread.join());
    }

    fn carried(&self) -> Carried {
        *self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    pub(crate) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { running: Mutex::default(), changing: Mutex::default(), telemetry }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(LogId, String), Running>> {
        self.running.lock().expect("nothing panics while it is held")
    }

    /// Nobody else changes a route as long as this is held.
    pub(crate) fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the routes of a namespace that lead to streams, sorted.
    pub(crate) fn names(namespace: &Namespace) -> Result<Vec<String>, AppendError> {
        let mut names = Vec::new();
        let mut list = StreamList {
            prefix: ROUTE_PREFIX.to_owned(),
            system: true,
            limit: STREAMS_PAGE_MAX,
            ..StreamList::default()
        };
        loop {
            let closed = |_| AppendError::Unavailable(Unavailable::Closed);
            let page = namespace.streams(&list).map_err(closed)?;
            list.after = page.last().map(|info| info.stream.as_str().to_owned());
            let is_last = page.len() < list.limit;
            for info in page {
                let name = info.stream.as_str().strip_prefix(ROUTE_PREFIX).unwrap_or_default();
                // One that cannot be read is there, and says why to whoever asks.
                if Self::journal(namespace, name).is_ok_and(|it| it.is_none()) {
                    continue;
                }
                names.push(name.to_owned());
            }
            if is_last {
                return Ok(names);
            }
        }
    }

    /// What a route's stream says; `None`: none of this name leads to a stream.
    pub(crate) fn journal(
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<Journal>, AppendError> {
        block_on(read_journal(&namespace.for_system(), name))
    }

    /// Carries every route of a namespace.
    pub(crate) fn open_all(&self, namespace: &Namespace) -> Result<(), AppendError> {
        // Each for itself: one that cannot be carried says so to whoever asks.
        let names = Self::names(namespace)?;
        let mut failed = None;
        for name in &names {
            failed = failed.or(self.carry(namespace, name).err());
        }
        failed.map_or(Ok(()), Err)
    }

    /// Carries a route, if nobody does; how it is.
    pub(crate) fn carry(&self, namespace: &Namespace, name: &str) -> Result<Carried, AppendError> {
        let mut running = self.running();
        let key = (namespace.log_id(), name.to_owned());
        if let Some(there) = running.get(&key).filter(|it| !it.thread.is_finished()) {
            return Ok(there.carried());
        }
        let carried = match running.get(&key).map(Running::carried) {
            // It ended because its target takes nothing: it goes on when it is set anew.
            Some(carried) if carried.failed => return Ok(carried),
            _ => Arc::<Mutex<Carried>>::default(),
        };
        let stop = Arc::<AtomicBool>::default();
        let worker = worker::Worker {
            namespace: namespace.for_system(),
            name: name.to_owned(),
            carried: Arc::clone(&carried),
            stop: Arc::clone(&stop),
            telemetry: Arc::clone(&self.telemetry),
        };
        let thread = std::thread::Builder::new().name("nexus-route".to_owned());
        let thread = thread.spawn(move || worker.run());
        let thread = thread.map_err(|error| {
            AppendError::Unavailable(Unavailable::CannotGrow(format!("no thread: {error}")))
        })?;
        let namespace = namespace.name().to_owned();
        running.insert(key, Running { namespace, carried, stop, thread });
        Ok(Carried::default())
    }

    fn stop(&self, namespace: &Namespace, name: &str) {
        let running = self.running().remove(&(namespace.log_id(), name.to_owned()));
        if let Some(running) = running {
            running.end();
        }
    }

    /// Makes a route to a stream, or changes one that is there; `true`: it was made.
    pub(crate) fn set(
        &self,
        namespace: &Namespace,
        name: &str,
        (config, begins): (&RouteConfig, Position),
    ) -> Result<bool, AppendError> {
        self.stop(namespace, name);
        let store = namespace.for_system();
        let made = settled(|| block_on(set(&store, name, config, begins)));
        // Also where it was not changed: it was carried before.
        let carried = self.carry(namespace, name);
        carried.and(made)
    }

    /// Ends a route to a stream; `false`: there is none of this name.
    pub(crate) fn delete(&self, namespace: &Namespace, name: &str) -> Result<bool, AppendError> {
        self.stop(namespace, name);
        let store = namespace.for_system();
        let deleted = settled(|| block_on(delete(&store, name)));
        if deleted.is_err() {
            self.carry(namespace, name)?;
        }
        deleted
    }

    /// Ends those of a namespace that is gone.
    pub(crate) fn forget(&self, log: LogId) {
        let gone: Vec<_> = self.running().extract_if(|(of, _), _| *of == log).collect();
        gone.into_iter().for_each(|(_, running)| running.end());
    }

    /// How those are that are carried, by namespace and name.
    pub(crate) fn gauges(&self, engine: &Engine) -> Vec<RouteGauges> {
        let running = self.running();
        let mut all: Vec<_> = running
            .iter()
            .map(|((_, route), it)| {
                let head = engine.namespace(&it.namespace).ok().and_then(|it| it.head().position);
                let carried = it.carried();
                let (namespace, route) = (it.namespace.clone(), route.clone());
                RouteGauges {
                    namespace,
                    route,
                    lag_events: lag(&carried.gauges, head),
                    links: carried.gauges.links,
                    failed: carried.failed,
                }
            })
            .collect();
        all.sort_by(|a, b| (&a.namespace, &a.route).cmp(&(&b.namespace, &b.route)));
        all
    }

    /// Ends all of them.
    pub(crate) fn close(&self) {
        let running = std::mem::take(&mut *self.running());
        running.into_values().for_each(Running::end);
    }
}

/// Tries again where a carrier that was stopped has its last append stored in between: it is the last one.
fn settled<T>(change: impl Fn() -> Result<T, AppendError>) -> Result<T, AppendError> {
    for _ in 1..TRIES {
        match change() {
            Err(AppendError::Conflict(_)) => {}
            answer => return answer,
        }
    }
    change()
}

/// Positions that a route has not looked at.
pub(crate) fn lag(gauges: &Gauges, head: Option<Position>) -> u64 {
    let end = head.map_or(0, |head| head.get() + 1);
    if gauges.is_at_end { 0 } else { end.saturating_sub(gauges.next) }
}

impl Drop for Routes {
    /// Nothing of the log is held any more when it is gone.
    fn drop(&mut self) {
        self.close();
    }
}
