//! [`Timers`]: what fires the timers of a node's namespaces, each by a thread of its own.
//!
//! A namespace has one from when it is opened, where it has had timers, or else from the first append that arms one: a
//! namespace without timers costs nothing. One that fails is opened again by whoever arms or lists timers next; nothing
//! is lost, since all it knows stands in the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use nexus_delivery::coordinator::Ask;
use nexus_delivery::timers::{self, Ended, Gauges, Listed, Scheduler};
use nexus_engine::{Engine, Namespace};
use nexus_protocol::limits::TIMERS_MAX;
use nexus_protocol::timer::{TIMER_ARMED, TIMER_PREFIX, TimerList};
use nexus_protocol::{Append, AppendError, LogId, ReadError, StreamList, TooLarge, Unavailable};
use tokio::sync::{mpsc, oneshot};

use crate::clock::{LOOK_AT_CLOCK, wall_clock};
use crate::parking::{Parking, block_on};
use crate::schemas::Schemas;
use crate::telemetry::{self, Operation, Telemetry, TimerGauges};

/// What fires the timers of a node.
#[derive(Debug)]
pub(crate) struct Timers {
    running: Mutex<HashMap<LogId, Running>>,
    schemas: Arc<Schemas>,
    telemetry: Arc<Telemetry>,
}

/// A scheduler that is open.
#[derive(Debug)]
struct Running {
    namespace: String,
    lists: mpsc::Sender<Ask<TimerList, Listed>>,
    gauges: Arc<Mutex<Gauges>>,
    thread: JoinHandle<()>,
}

impl Timers {
    pub(crate) fn new(schemas: Arc<Schemas>, telemetry: Arc<Telemetry>) -> Self {
        Self { running: Mutex::default(), schemas, telemetry }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<LogId, Running>> {
        self.running.lock().expect("nothing panics while it is held")
    }

    /// Whether a namespace has had a timer.
    pub(crate) fn has_any(namespace: &Namespace) -> Result<bool, ReadError> {
        let list = StreamList {
            prefix: TIMER_PREFIX.to_owned(),
            system: true,
            limit: 1,
            ..StreamList::default()
        };
        Ok(!namespace.streams(&list)?.is_empty())
    }

    /// Has the timers of a namespace fired from now on, where it has any.
    pub(crate) fn open(&self, namespace: &Namespace) -> Result<(), AppendError> {
        let closed = |_| AppendError::Unavailable(Unavailable::Closed);
        if Self::has_any(namespace).map_err(closed)? {
            self.lists(namespace)?;
        }
        Ok(())
    }

    /// Has timers fired that an append is about to arm; one that arms none costs a look at its names.
    ///
    /// # Errors
    /// Where there would be more than [`TIMERS_MAX`].
    pub(crate) fn admit(&self, namespace: &Namespace, append: &Append) -> Result<(), AppendError> {
        let of_timers = |it: &&nexus_protocol::StreamAppend| it.stream.starts_with(TIMER_PREFIX);
        let events = append.streams.iter().filter(of_timers).flat_map(|it| &it.events);
        let arming = events.filter(|event| event.event_type == TIMER_ARMED).count();
        if arming == 0 {
            return Ok(());
        }
        self.lists(namespace)?;
        let running = self.running();
        let gauges = running.get(&namespace.log_id()).map(gauges_of).unwrap_or_default();
        let size = usize::try_from(gauges.armed + gauges.failed).unwrap_or(usize::MAX);
        let size = size.saturating_add(arming);
        if size > TIMERS_MAX {
            let what = "armed timers of this namespace, with those that failed".into();
            return Err(AppendError::TooLarge(TooLarge { what, size, max: TIMERS_MAX }));
        }
        Ok(())
    }

    /// How to ask for the timers of a namespace: opens its scheduler where it is not.
    fn lists(
        &self,
        namespace: &Namespace,
    ) -> Result<mpsc::Sender<Ask<TimerList, Listed>>, AppendError> {
        let mut running = self.running();
        if let Some(found) = running.get(&namespace.log_id())
            && !found.lists.is_closed()
        {
            return Ok(found.lists.clone());
        }
        let (lists, inbox) = mpsc::channel(timers::LISTS_MAX);
        let gauges = Arc::<Mutex<Gauges>>::default();
        let worker = Worker {
            namespace: namespace.for_system(),
            schemas: Arc::clone(&self.schemas),
            inbox,
            gauges: Arc::clone(&gauges),
            telemetry: Arc::clone(&self.telemetry),
        };
        let thread = std::thread::Builder::new().name("nexus-timers".to_owned());
        let thread = thread.spawn(move || worker.run()).map_err(|error| {
            AppendError::Unavailable(Unavailable::CannotGrow(format!("no thread: {error}")))
        })?;
        let named = namespace.name().to_owned();
        let opened = Running { namespace: named, lists: lists.clone(), gauges, thread };
        let ended = running.insert(namespace.log_id(), opened);
        drop(running);
        // It takes nothing more: its end is near.
        if let Some(ended) = ended {
            drop(ended.thread.join());
        }
        Ok(lists)
    }

    /// The ids of timers, from all that was durable before.
    pub(crate) fn list(
        &self,
        namespace: &Namespace,
        list: TimerList,
    ) -> Result<Listed, AppendError> {
        let lists = self.lists(namespace)?;
        let (reply, answer) = oneshot::channel();
        let closed = AppendError::Unavailable(Unavailable::Closed);
        block_on(async {
            let asked = lists.send(Ask { what: list, reply }).await;
            asked.map_err(|_| closed.clone())?;
            answer.await.unwrap_or(Err(closed.clone()))
        })
    }

    /// Ends those of a namespace that is gone.
    pub(crate) fn forget(&self, log: LogId) {
        let gone = self.running().remove(&log);
        if let Some(Running { lists, thread, .. }) = gone {
            drop(lists);
            drop(thread.join());
        }
    }

    /// How they are, by namespace.
    pub(crate) fn gauges(&self, engine: &Engine) -> Vec<TimerGauges> {
        let now = wall_clock();
        let running = self.running();
        let there = running.values().filter(|it| engine.namespace(&it.namespace).is_ok());
        let mut all: Vec<_> = there
            .map(|it| {
                let gauges = gauges_of(it);
                let overdue = gauges.next_due.map_or(Duration::ZERO, |due| now.since(due));
                TimerGauges { namespace: it.namespace.clone(), gauges, overdue }
            })
            .collect();
        all.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        all
    }

    /// Ends all of them.
    pub(crate) fn close(&self) {
        let running = std::mem::take(&mut *self.running());
        // Whoever can be asked no more ends by itself.
        let threads: Vec<_> = running.into_values().map(|it| it.thread).collect();
        for thread in threads {
            drop(thread.join());
        }
    }
}

impl Drop for Timers {
    /// Nothing of the log is held any more when it is gone.
    fn drop(&mut self) {
        self.close();
    }
}

fn gauges_of(running: &Running) -> Gauges {
    *running.gauges.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What runs a scheduler.
struct Worker {
    namespace: Namespace,
    schemas: Arc<Schemas>,
    inbox: mpsc::Receiver<Ask<TimerList, Listed>>,
    /// How the timers are, told after each step.
    gauges: Arc<Mutex<Gauges>>,
    telemetry: Arc<Telemetry>,
}

impl Worker {
    fn run(self) {
        let Self { namespace, schemas, inbox, gauges, telemetry } = self;
        // Events of timers follow their schemas as all others do.
        let of = namespace.clone();
        let admit = Arc::new(move |append: &mut Append| schemas.check(&of, append));
        let mut scheduler = Scheduler::new(namespace.clone(), admit, inbox);
        let parking = Parking::new();
        let waker = parking.waker();
        let mut context = Context::from_waker(&waker);
        loop {
            // Timers are due by the wall clock, however it is set.
            let now = wall_clock();
            let polled = scheduler.poll(&mut context, now);
            *gauges.lock().unwrap_or_else(PoisonError::into_inner) = scheduler.gauges();
            match polled {
                Poll::Ready(Ended::Failed(_)) if namespace.is_deleted() => return,
                Poll::Ready(Ended::Failed(error)) => {
                    let context = telemetry::Context::new(Operation::Timers, namespace.name(), "");
                    return telemetry.log_error(&context, &error);
                }
                Poll::Ready(Ended::Unused) => return,
                Poll::Pending => {}
            }
            parking.park(scheduler.next_tick().map(|at| at.since(now).min(LOOK_AT_CLOCK)));
        }
    }
}
