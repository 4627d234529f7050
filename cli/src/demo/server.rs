//! The server of the demo, and what it shows while somebody looks: orders that come, and a subscription
//! that sees them.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nexus_client::Address;
use nexus_node::Node;
use nexus_node::config::Certificate;
use nexus_protocol::{NamespaceName, Start, Subscribe, SubscriptionItem};
use nexus_server::{Options, Server};
use tokio::runtime::Runtime;

use super::orders::Orders;
use crate::exit::Failure;
use crate::output::notice;
use crate::store::{Place, Store};

/// Requests may take so long to end.
const GRACE: Duration = Duration::from_secs(5);
/// The writer of orders that are placed while somebody looks: none of those before.
const WRITER: u64 = u64::MAX >> 32;
/// An order is placed so often while somebody looks.
const ORDER_EVERY: Duration = Duration::from_millis(100);
/// Whether the demo is to end is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A server in dev mode over the demo's directory.
pub(super) struct Serving {
    runtime: Runtime,
    server: Server,
}

impl Serving {
    /// Starts one.
    ///
    /// # Errors
    /// When the directory does not open, or the address cannot be had.
    pub(super) fn start(dir: &Path, listen: SocketAddr) -> Result<Self, Failure> {
        let node = Node::open(dir)?;
        node.open_timers();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::failed(format!("no threads are left: {error}")))?;
        let options = Options::new(Certificate::temporary()?).listen(listen).dev(true);
        let server = {
            let _entered = runtime.enter();
            Server::start(node, options)?
        };
        notice(format_args!("look at http://{}/ while it runs", server.http_address()));
        Ok(Self { runtime, server })
    }

    /// Where a command reaches it.
    ///
    /// # Errors
    /// When its address is none.
    pub(super) fn place(&self, namespace: &NamespaceName) -> Result<Place, Failure> {
        let (address, fingerprint) = (self.server.quic_address(), self.server.fingerprint());
        let address = format!("nexus://{address}/{namespace}?fingerprint={fingerprint}");
        Ok(Place::of_server(address.parse::<Address>()?, namespace.clone()))
    }

    /// Ends it, and gives the directory back.
    ///
    /// # Errors
    /// When the end could not be noted.
    pub(super) fn end(self) -> Result<(), Failure> {
        let closed = self.runtime.block_on(self.server.shut_down(GRACE));
        closed.map_err(|error| Failure::failed(error.to_string()))
    }
}

/// How long the demo goes on once its figures are there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stay {
    /// It does not.
    No,
    /// So long.
    For(Duration),
    /// Until somebody presses Enter.
    UntilEnter,
}

impl Stay {
    /// As it was asked for; else as long as somebody at a terminal wants.
    pub(super) fn of(seconds: Option<u64>) -> Self {
        match seconds {
            Some(0) => Self::No,
            Some(seconds) => Self::For(Duration::from_secs(seconds)),
            None if std::io::stdin().is_terminal() => Self::UntilEnter,
            None => Self::No,
        }
    }
}

/// Places orders, and sees them come, until it is time.
///
/// # Errors
/// When an append or the subscription fails.
pub(super) fn stay(store: &Store, orders: &Orders, stay: Stay) -> Result<(), Failure> {
    let until = match stay {
        Stay::No => return Ok(()),
        Stay::For(time) => Some(Instant::now() + time),
        Stay::UntilEnter => {
            notice(format_args!("orders go on coming: press Enter to end"));
            None
        }
    };
    let over = std::sync::Arc::new(AtomicBool::new(false));
    if until.is_none() {
        let over = std::sync::Arc::clone(&over);
        // It may wait for a line for ever: nobody waits for it.
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_line(&mut String::new());
            over.store(true, Ordering::Release);
        });
    }
    let is_over =
        || over.load(Ordering::Acquire) || until.is_some_and(|until| Instant::now() >= until);
    std::thread::scope(|scope| {
        let placing = scope.spawn(|| {
            let placed = place(store, orders, &is_over);
            // Without orders there is nothing to see: why they end is told at once.
            over.store(true, Ordering::Release);
            placed
        });
        let seen = see(store, &is_over);
        // Without anybody who sees them no more orders are needed.
        over.store(true, Ordering::Release);
        placing.join().expect("a writer does not panic")?;
        seen
    })
}

/// Places one order after the other.
fn place(store: &Store, orders: &Orders, is_over: &impl Fn() -> bool) -> Result<(), Failure> {
    let mut number = 0;
    while !is_over() {
        for append in orders.order(WRITER, number) {
            store.append(append).wait()?;
        }
        number += 1;
        std::thread::sleep(ORDER_EVERY);
    }
    Ok(())
}

/// Shows what a subscription sees.
fn see(store: &Store, is_over: &impl Fn() -> bool) -> Result<(), Failure> {
    let bar = indicatif::ProgressBar::new_spinner();
    let mut subscription = store.subscribe(Subscribe::all().start(Start::End));
    let mut seen = 0_u64;
    while !is_over() {
        match subscription.next_blocking(Some(LOOK_EVERY)) {
            Some(Ok(SubscriptionItem::Event(event))) => {
                seen += 1;
                let (stream, event_type) = (event.stream(), event.event_type());
                bar.set_message(format!("{seen} events came, the last {event_type} in {stream}"));
                bar.tick();
            }
            Some(Ok(_)) | None => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    bar.finish_and_clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_order_that_fails_ends_the_demo_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let serving = Serving::start(dir.path(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let store =
            Store::open(&serving.place(&NamespaceName::new("default").unwrap()).unwrap()).unwrap();
        let orders = Orders::new("r");
        // The first order was placed before, so that its stream is not new.
        for append in orders.order(WRITER, 0) {
            store.append(append).wait().unwrap();
        }
        let (begun, time) = (Instant::now(), Duration::from_secs(60));
        let failure = stay(&store, &orders, Stay::For(time)).unwrap_err();
        assert!(begun.elapsed() < time, "it was told only at the end");
        assert!(format!("{failure:?}").contains("conflict"), "{failure:?}");
        store.close().unwrap();
        serving.end().unwrap();
    }
}
