//! The thread of a group.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Instant, SystemTime};

use nexus_delivery::coordinator::{Coordinator, Ended, Gauges, Request, read_journal, refuse_all};
use nexus_engine::Namespace;
use nexus_protocol::{AppendError, Timestamp};
use tokio::sync::mpsc;

use super::no_group;
use crate::telemetry::{self, Operation, Telemetry};

/// What runs a group.
pub(super) struct Worker {
    pub(super) namespace: Namespace,
    pub(super) name: String,
    pub(super) inbox: mpsc::Receiver<Request>,
    /// How it is, told after each step.
    pub(super) gauges: Arc<Mutex<Gauges>>,
    pub(super) telemetry: Arc<Telemetry>,
}

/// Wakes a thread that is parked.
pub(crate) struct Unpark(pub(crate) Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Time that never goes back, whatever becomes of the wall clock.
struct Clock {
    began: Instant,
    at: Timestamp,
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Self { began: Instant::now(), at: Timestamp::from_micros(micros) }
    }

    fn now(&self) -> Timestamp {
        self.at.saturating_add(self.began.elapsed())
    }
}

/// Blocks until a future is ready.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::park();
    }
}

impl Worker {
    pub(super) fn run(self) {
        let Self { namespace, name, mut inbox, gauges, telemetry } = self;
        let clock = Clock::new();
        let journal = match block_on(read_journal(&namespace, &name)) {
            Ok(Some(journal)) => journal,
            Ok(None) => return refuse_all(&mut inbox, &no_group(&name)),
            Err(error) => return refuse_all(&mut inbox, &error),
        };
        let log = |error: &AppendError| {
            let context = telemetry::Context::new(Operation::Group, namespace.name(), "");
            telemetry.log_error(&context, error);
        };
        let opened = Coordinator::new(namespace.clone(), &name, journal, inbox, clock.now());
        let mut coordinator = match opened {
            Ok(coordinator) => coordinator,
            Err(error) => return log(&error),
        };
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match coordinator.poll(&mut context, clock.now()) {
                Poll::Ready(Ended::Failed(error)) => return log(&error),
                Poll::Ready(Ended::Deleted | Ended::Unused) => return,
                Poll::Pending => {}
            }
            *gauges.lock().unwrap_or_else(PoisonError::into_inner) = coordinator.gauges();
            match coordinator.next_tick() {
                None => std::thread::park(),
                Some(at) => std::thread::park_timeout(at.since(clock.now())),
            }
        }
    }
}
