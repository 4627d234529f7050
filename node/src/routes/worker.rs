//! The thread of a route.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use nexus_delivery::routes::{Carrier, Ended, Gauges, Journal, read_journal};
use nexus_engine::Namespace;
use nexus_protocol::{AppendError, Unavailable};

use super::Carried;
use crate::parking::{Parking, block_on};
use crate::telemetry::{self, Operation, Telemetry};

/// After a failure that may pass it is tried again after this time.
const PAUSE: Duration = Duration::from_secs(1);

/// What carries a route.
pub(super) struct Worker {
    pub(super) namespace: Namespace,
    pub(super) name: String,
    /// How it is, told after each step.
    pub(super) carried: Arc<Mutex<Carried>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) telemetry: Arc<Telemetry>,
}

impl Worker {
    pub(super) fn run(self) {
        while !self.is_stopped() {
            let journal = block_on(read_journal(&self.namespace, &self.name));
            let failed = match journal {
                Ok(Some(journal)) => self.carry(journal),
                Ok(None) => return,
                Err(error) => Some(error),
            };
            let Some(error) = failed else { return };
            if matches!(error, AppendError::Unavailable(Unavailable::Closed)) {
                return;
            }
            // What the route's stream says by now decides, which is what is read next.
            if error == AppendError::Unknown {
                continue;
            }
            self.log(&error);
            if matches!(error, AppendError::Poisoned { .. } | AppendError::Corruption(_)) {
                // Nothing of that passes by itself: it goes on when the node is started again.
                return;
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Carries it until that ends; an error where it is to be tried again.
    fn carry(&self, journal: Journal) -> Option<AppendError> {
        let (next, links) = (journal.next.get(), journal.links);
        let carrier = Carrier::new(self.namespace.clone(), &self.name, journal);
        let Some(mut carrier) = carrier else {
            self.tell(Gauges { next, is_at_end: false, links }, true);
            return None;
        };
        let parking = Parking::new();
        let waker = parking.waker();
        let mut context = Context::from_waker(&waker);
        while !self.is_stopped() {
            match carrier.poll(&mut context) {
                Poll::Ready(Ended::Failed(error)) => return Some(error),
                Poll::Ready(Ended::Refused(_)) => {
                    self.tell(carrier.gauges(), true);
                    return None;
                }
                // What was not heard of before has been written.
                Poll::Ready(Ended::Fenced) => return Some(AppendError::Unknown),
                Poll::Pending => self.tell(carrier.gauges(), false),
            }
            // Whoever stops it wakes it, which may have been while its own append was waited for.
            if !self.is_stopped() {
                parking.park(None);
            }
        }
        None
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn tell(&self, gauges: Gauges, failed: bool) {
        *self.carried.lock().unwrap_or_else(PoisonError::into_inner) = Carried { gauges, failed };
    }

    fn log(&self, error: &AppendError) {
        let context = telemetry::Context::new(Operation::Route, self.namespace.name(), "");
        self.telemetry.log_error(&context, error);
    }
}
