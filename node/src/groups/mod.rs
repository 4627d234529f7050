//! [`Groups`]: the consumer groups of a node, each run by a thread of its own.
//!
//! A group is opened when it is asked something first, and all of them when the node is: those that have nobody
//! who asks are watched, too. One that fails is opened again by whoever asks next; nothing of it is lost, since it
//! tells nobody of anything that is not durable.

mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nexus_delivery::coordinator::{self, Ask, Gauges, Request};
use nexus_engine::{Engine, Namespace};
use nexus_protocol::group::{GROUP_PREFIX, own_group, own_group_parts};
pub use nexus_protocol::limits::GROUPS_MAX;
use nexus_protocol::limits::STREAMS_PAGE_MAX;
use nexus_protocol::{AppendError, LogId, StreamList, Unavailable};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, oneshot};

use crate::parking::block_on;
use crate::telemetry::{GroupGauges, Telemetry};

/// How often a group is opened for one request.
const TRIES: usize = 3;

type Locks = HashMap<(LogId, String), Arc<tokio::sync::Mutex<()>>>;

/// The groups of a node.
#[derive(Debug)]
pub(crate) struct Groups {
    running: Mutex<HashMap<(LogId, String), Running>>,
    known: Mutex<Knowledge>,
    /// By group, held while something changes that it shares with those of its consumers, or one of these is made; by the
    /// empty name while a group of the namespace is made.
    changing: Mutex<Locks>,
    telemetry: Arc<Telemetry>,
}

/// What of a group is known without asking it: it stays so until it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its consumers share its events; of one that is a consumer's own: it is as those of the others.
    Shared,
    /// Each consumer has a group of its own.
    Broadcast,
}

/// What is known of groups.
#[derive(Debug, Default)]
struct Knowledge {
    of: HashMap<(LogId, String), Known>,
    /// How often something turned out to hold no more, of any group.
    changes: u64,
}

/// A group that is open.
#[derive(Debug)]
struct Running {
    namespace: String,
    requests: mpsc::Sender<Request>,
    gauges: Arc<Mutex<Gauges>>,
    thread: JoinHandle<()>,
}

pub(crate) fn no_group(name: &str) -> AppendError {
    AppendError::NotFound { what: format!("group {name:?}: create it first") }
}

fn closed() -> AppendError {
    AppendError::Unavailable(Unavailable::Closed)
}

impl Groups {
    pub(crate) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self {
            running: Mutex::default(),
            known: Mutex::default(),
            changing: Mutex::default(),
            telemetry,
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(LogId, String), Running>> {
        self.running.lock().expect("nothing panics while it is held")
    }

    /// The names of the groups of a namespace, sorted, without those that are of one consumer only.
    pub(crate) fn names(namespace: &Namespace) -> Result<Vec<String>, AppendError> {
        let mut names = Self::all(namespace)?;
        names.retain(|name| own_group_parts(name).is_none());
        Ok(names)
    }

    /// The names of all of them, sorted.
    pub(crate) fn all(namespace: &Namespace) -> Result<Vec<String>, AppendError> {
        Self::named(namespace, "")
    }

    /// The own groups of the consumers of a group that broadcasts, sorted.
    pub(crate) fn own_of(namespace: &Namespace, group: &str) -> Result<Vec<String>, AppendError> {
        Self::named(namespace, &own_group(group, ""))
    }

    /// Those whose names begin so.
    fn named(namespace: &Namespace, prefix: &str) -> Result<Vec<String>, AppendError> {
        let mut names = Vec::new();
        let mut list = StreamList {
            prefix: format!("{GROUP_PREFIX}{prefix}"),
            system: true,
            limit: STREAMS_PAGE_MAX,
            ..StreamList::default()
        };
        loop {
            let page = namespace.streams(&list).map_err(|_| closed())?;
            list.after = page.last().map(|info| info.stream.as_str().to_owned());
            let is_last = page.len() < list.limit;
            for info in page {
                let name = info.stream.as_str().strip_prefix(GROUP_PREFIX).unwrap_or_default();
                let store = namespace.for_system();
                // One that cannot be read is there, and says why to whoever asks.
                if block_on(coordinator::is_there(&store, name)).unwrap_or(true) {
                    names.push(name.to_owned());
                }
            }
            if is_last {
                return Ok(names);
            }
        }
    }

    fn all_known(&self) -> MutexGuard<'_, Knowledge> {
        self.known.lock().expect("nothing panics while it is held")
    }

    /// Waits until nothing else changes a group and those of its consumers, whichever of them is named; of the empty name,
    /// until no other group is made in the namespace. Whoever needs both takes that one second.
    pub(crate) async fn changing(
        &self,
        namespace: &Namespace,
        group: &str,
    ) -> tokio::sync::OwnedMutexGuard<()> {
        let group = own_group_parts(group).map_or(group, |(shared, _)| shared);
        let key = (namespace.log_id(), group.to_owned());
        let of_group = {
            let mut all = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, it| Arc::strong_count(it) > 1);
            Arc::clone(all.entry(key).or_default())
        };
        of_group.lock_owned().await
    }

    /// How many groups of a namespace are open whose names begin so. All that are there are opened with the node.
    pub(crate) fn count_open(&self, namespace: &Namespace, prefix: &str) -> usize {
        let (log, running) = (namespace.log_id(), self.running());
        let is_one = |(of, name): &&(LogId, String)| *of == log && name.starts_with(prefix);
        running.keys().filter(is_one).count()
    }

    /// What is known of a group.
    pub(crate) fn known(&self, namespace: &Namespace, name: &str) -> Option<Known> {
        self.all_known().of.get(&(namespace.log_id(), name.to_owned())).copied()
    }

    /// To be asked before a group is, for [`Self::know`].
    pub(crate) fn changes(&self) -> u64 {
        self.all_known().changes
    }

    /// Remembers it, if nothing has turned out to hold no more since that many changes: the group that was asked could be
    /// another one by now.
    pub(crate) fn know(&self, namespace: &Namespace, name: &str, known: Known, since: u64) {
        let mut all = self.all_known();
        if all.changes == since {
            all.of.insert((namespace.log_id(), name.to_owned()), known);
        }
    }

    /// A group is deleted, or may be: nothing is known of it, nor of those of its consumers.
    pub(crate) fn unknow(&self, namespace: &Namespace, name: &str) {
        let (log, own) = (namespace.log_id(), own_group(name, ""));
        let mut all = self.all_known();
        all.changes += 1;
        all.of.retain(|(of, it), _| *of != log || it != name && !it.starts_with(&own));
    }

    /// Opens every group of a namespace.
    pub(crate) fn open_all(&self, namespace: &Namespace) -> Result<(), AppendError> {
        // Each for itself: one that cannot be opened says so to whoever asks.
        let names = Self::all(namespace)?;
        let mut failed = None;
        for name in &names {
            failed = failed.or(self.sender(namespace, name).err());
        }
        failed.map_or(Ok(()), Err)
    }

    /// How to ask a group.
    fn sender(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<mpsc::Sender<Request>, AppendError> {
        let key = (namespace.log_id(), name.to_owned());
        let find = |running: &HashMap<_, Running>| {
            let found = running.get(&key).filter(|it| !it.requests.is_closed());
            found.map(|it| it.requests.clone())
        };
        if let Some(found) = find(&self.running()) {
            return Ok(found);
        }
        // Outside of the lock, since it may read the disk.
        if !block_on(coordinator::is_there(&namespace.for_system(), name))? {
            return Err(no_group(name));
        }
        let mut running = self.running();
        if let Some(found) = find(&running) {
            return Ok(found);
        }
        let (requests, inbox) = mpsc::channel(coordinator::REQUESTS_MAX);
        let gauges = Arc::<Mutex<Gauges>>::default();
        let worker = worker::Worker {
            namespace: namespace.for_system(),
            name: name.to_owned(),
            inbox,
            gauges: Arc::clone(&gauges),
            telemetry: Arc::clone(&self.telemetry),
        };
        let thread = std::thread::Builder::new().name("nexus-group".to_owned());
        let thread = thread.spawn(move || worker.run());
        let thread = thread.map_err(|error| {
            AppendError::Unavailable(Unavailable::CannotGrow(format!("no thread: {error}")))
        })?;
        let named = namespace.name().to_owned();
        let opened = Running { namespace: named, requests: requests.clone(), gauges, thread };
        // Those that take no more: their ends are near.
        let ended = running.extract_if(|_, it| it.requests.is_closed());
        let ended: Vec<_> = ended.map(|(_, it)| it.thread).collect();
        running.insert(key, opened);
        drop(running);
        for thread in ended {
            drop(thread.join());
        }
        Ok(requests)
    }

    /// Asks a group something.
    pub(crate) async fn ask<Q: Send, T: Send>(
        &self,
        namespace: &Namespace,
        name: &str,
        what: Q,
        request: impl FnOnce(Ask<Q, T>) -> Request + Send,
    ) -> Result<T, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.tell(namespace, name, request(Ask { what, reply })).await?;
        // Whoever took it and has ended since says no more of what became of it.
        answer.await.unwrap_or(Err(AppendError::Unknown))
    }

    /// Tells a group something. One that has just ended has not got it, and is opened again.
    pub(crate) async fn tell(
        &self,
        namespace: &Namespace,
        name: &str,
        mut request: Request,
    ) -> Result<(), AppendError> {
        for _ in 0..TRIES {
            let sender = self.sender(namespace, name)?;
            match sender.send(request).await {
                Ok(()) => return Ok(()),
                Err(SendError(back)) => request = back,
            }
        }
        Err(closed())
    }

    /// Ends those of a namespace that is gone.
    pub(crate) fn forget(&self, log: LogId) {
        {
            let mut all = self.all_known();
            all.changes += 1;
            all.of.retain(|(of, _), _| *of != log);
        }
        let gone: Vec<_> = self.running().extract_if(|(of, _), _| *of == log).collect();
        for (_, running) in gone {
            let Running { requests, thread, .. } = running;
            drop(requests);
            drop(thread.join());
        }
    }

    /// How those are that are open, by namespace and name.
    pub(crate) fn gauges(&self, engine: &Engine) -> Vec<GroupGauges> {
        let running = self.running();
        let open = running.iter().filter(|(_, it)| !it.requests.is_closed());
        let mut all: Vec<_> = open
            .map(|((_, group), it)| {
                let gauges = *it.gauges.lock().unwrap_or_else(PoisonError::into_inner);
                let head = engine.namespace(&it.namespace).ok().and_then(|it| it.head().position);
                let end = head.map_or(0, |head| head.get() + 1);
                let beyond = gauges.behind_from.map_or(0, |next| end.saturating_sub(next));
                let (namespace, group) = (it.namespace.clone(), group.clone());
                GroupGauges { namespace, group, gauges, lag_events: gauges.open + beyond }
            })
            .collect();
        all.sort_by(|a, b| (&a.namespace, &a.group).cmp(&(&b.namespace, &b.group)));
        all
    }

    /// Ends all of them, once they have written what they decided.
    pub(crate) fn close(&self) {
        let running = std::mem::take(&mut *self.running());
        // Whoever can be asked no more ends by itself.
        let threads: Vec<_> = running.into_values().map(|it| it.thread).collect();
        for thread in threads {
            drop(thread.join());
        }
    }
}

impl Drop for Groups {
    /// Nothing of the log is held any more when it is gone.
    fn drop(&mut self) {
        self.close();
    }
}
