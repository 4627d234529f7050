//! [`Server`]: a real server, for the tests of what talks to one.
//!
//! It has a directory of its own, free ports, and a thread with a runtime of its own that ends with it: so
//! it can go away in the middle of things, as a process does, and come back where it was. Clients run
//! apart from it, and see that as they would see it of another machine.
//!
//! Is not: a process. What a kill leaves half-written on a disk is tried by the tests of `engine/`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nexus_client::Client;
use nexus_node::Node;
use nexus_node::config::Certificate;
use nexus_server::{Options, StartError};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::address_to_keep;

/// What is under way when a server is told to end is answered within this time. It is short, since a client
/// on the one thread that waits for the server to end cannot take an answer meanwhile.
const GRACE: Duration = Duration::from_secs(1);
/// Ports that are tried: another process may take one between finding it free and listening there.
const PORTS: usize = 16;

/// A server in dev mode, over a temporary directory, on free ports of this machine. It is shut down when
/// it is dropped, and its directory goes with it. Works in tests with and without an async runtime.
///
/// ```
/// use nexus_protocol::{Append, EventData, Read};
/// use nexus_testing::{Server, executor};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut server = Server::start();
/// // Or what the program under test makes of `server.url()`.
/// let client = server.client();
/// let placed = EventData::json("OrderPlaced", &250)?;
/// executor::block_on(client.append(Append::to("order-1").no_stream().event(placed)))?;
///
/// // What was acknowledged is there when the server comes back, whatever happened to it.
/// server.kill();
/// server.restart();
/// let mut events = client.read(Read::stream("order-1"));
/// let placed = executor::block_on(executor::next(&mut events)).expect("it was acknowledged")?;
/// assert_eq!(placed.event_type(), "OrderPlaced");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    /// `None`: it was killed.
    running: Option<Running>,
    address: SocketAddr,
    /// `None` only while it is dropped.
    clients: Option<Runtime>,
    /// The last, so that nobody writes there any more when it goes.
    dir: TempDir,
}

impl Server {
    /// Starts one, with an empty log.
    ///
    /// # Panics
    /// When this machine has no directory, thread, or port for it.
    #[must_use]
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("there is a folder for temporary files");
        for _ in 0..PORTS {
            let address = address_to_keep();
            match Running::start(dir.path(), address) {
                Ok(running) => {
                    let (running, clients) = (Some(running), Some(runtime()));
                    return Self { running, address, clients, dir };
                }
                Err(StartError::Listen { .. }) => {}
                Err(why) => panic!("the server does not start: {why}"),
            }
        }
        panic!("others have taken each of the {PORTS} ports that were free");
    }

    /// Where clients find it, as a connection string: `nexus://127.0.0.1:PORT`. It stays the same.
    pub fn url(&self) -> String {
        format!("nexus://{}", self.address)
    }

    /// Where it speaks HTTP: `http://127.0.0.1:PORT`. It stays the same.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A new client of its namespace `default`. It lives as long as this server, also while that is away.
    ///
    /// # Panics
    /// When there is no connection, as to a server that was killed.
    pub fn client(&self) -> Client {
        let clients = self.clients.as_ref().expect("it is not being dropped");
        let (sender, connected) = mpsc::channel();
        let url = self.url();
        clients.spawn(async move { sender.send(nexus_client::connect(&url).await) });
        let connected = connected.recv().expect("connecting does not panic");
        connected.unwrap_or_else(|why| panic!("no client: {why}"))
    }

    /// Ends it at once: nothing that is under way is answered, and no client is told. What it did not
    /// acknowledge may have happened. One that was killed stays as it is.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.end(End::AtOnce);
        }
    }

    /// Starts it again at the same address, with all that it has. Where it still runs it is shut down
    /// first, as an operator does it.
    ///
    /// # Panics
    /// When another process has taken its port meanwhile.
    pub fn restart(&mut self) {
        if let Some(running) = self.running.take() {
            running.end(End::Orderly);
        }
        let again = Running::start(self.dir.path(), self.address);
        self.running = Some(again.unwrap_or_else(|why| panic!("it does not start again: {why}")));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end(End::Orderly);
        }
        // Dropping a runtime waits for it, which an async test may not.
        if let Some(clients) = self.clients.take() {
            clients.shutdown_background();
        }
    }
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    AtOnce,
}

/// A server on a thread of its own.
#[derive(Debug)]
struct Running {
    told: oneshot::Sender<End>,
    thread: JoinHandle<()>,
}

impl Running {
    fn start(dir: &Path, address: SocketAddr) -> Result<Self, StartError> {
        let (sender, started) = mpsc::channel();
        let (told, end) = oneshot::channel();
        let dir: PathBuf = dir.to_owned();
        let thread = std::thread::spawn(move || run(&dir, address, &sender, end));
        match started.recv() {
            Ok(Ok(())) => Ok(Self { told, thread }),
            Ok(Err(error)) => {
                join(thread);
                Err(error)
            }
            Err(_) => {
                join(thread);
                unreachable!("it panics where it says nothing")
            }
        }
    }

    /// When this returns nobody has its directory, or its ports, any more.
    fn end(self, end: End) {
        // One that has panicked listens no more; joining it says so.
        let _ = self.told.send(end);
        join(self.thread);
    }
}

/// Waits for a thread; its panic is the caller's, unless that panics already.
fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join()
        && !std::thread::panicking()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a server until it is told to end.
fn run(
    dir: &Path,
    address: SocketAddr,
    started: &mpsc::Sender<Result<(), StartError>>,
    end: oneshot::Receiver<End>,
) {
    let runtime = runtime();
    let node = Node::open(dir).unwrap_or_else(|why| panic!("its directory does not open: {why}"));
    let certificate = Certificate::of_data_dir(dir);
    let certificate = certificate.unwrap_or_else(|why| panic!("it has no certificate: {why}"));
    let options = Options::new(certificate).dev(true).listen(address);
    runtime.block_on(async {
        let server = match nexus_server::Server::start(node, options) {
            Ok(server) => server,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        let _ = started.send(Ok(()));
        if end.await == Ok(End::Orderly) {
            server.shut_down(GRACE).await.expect("nothing is in the way of closing a log");
        }
    });
    // What was under way goes with the runtime, and the last of it closes the log.
    drop(runtime);
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("there are threads")
}
