//! The thread of a group.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use nexus_delivery::coordinator::{Coordinator, Ended, Gauges, Request, read_journal, refuse_all};
use nexus_engine::Namespace;
use nexus_protocol::AppendError;
use tokio::sync::mpsc;

use super::no_group;
use crate::clock::{Clock, LOOK_AT_CLOCK};
use crate::parking::{Parking, block_on};
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

impl Worker {
    pub(super) fn run(self) {
        let Self { namespace, name, mut inbox, gauges, telemetry } = self;
        let mut clock = Clock::new();
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
        let parking = Parking::new();
        let waker = parking.waker();
        let mut context = Context::from_waker(&waker);
        loop {
            match coordinator.poll(&mut context, clock.now()) {
                Poll::Ready(Ended::Failed(error)) => return log(&error),
                Poll::Ready(Ended::Deleted | Ended::Unused) => return,
                Poll::Pending => {}
            }
            *gauges.lock().unwrap_or_else(PoisonError::into_inner) = coordinator.gauges();
            parking
                .park(coordinator.next_tick().map(|at| at.since(clock.now()).min(LOOK_AT_CLOCK)));
        }
    }
}
