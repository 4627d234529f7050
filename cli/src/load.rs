//! `nexus load`: appends forever, and prints each id once it is acknowledged.
//!
//! For tests that kill this process: whatever it printed must be in the log afterwards.

use std::io::Write as _;
use std::sync::Mutex;

use nexus_protocol::{Append, EventData, EventId, ExpectedRevision};
use uuid::Uuid;

use crate::exit::Failure;
use crate::store::{Place, Store};

/// Appends until it is killed, and prints each id that was acknowledged
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Threads that append
    #[arg(long, default_value_t = 4)]
    writers: usize,
    /// Events of an append
    #[arg(long, default_value_t = 3)]
    batch: usize,
}

/// Runs the command.
///
/// # Errors
/// When an append is refused, or nobody reads what is printed.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    let store = Store::open(place)?;
    let out = Mutex::new(std::io::stdout());
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..args.writers)
            .map(|writer| {
                let (store, out) = (&store, &out);
                scope.spawn(move || write(store, writer, args.batch, out))
            })
            .collect();
        writers.into_iter().try_for_each(|writer| match writer.join() {
            Ok(result) => result,
            Err(_) => Err(Failure::failed("a writer panicked")),
        })
    })
}

fn write(
    store: &Store,
    writer: usize,
    batch: usize,
    out: &Mutex<std::io::Stdout>,
) -> Result<(), Failure> {
    // A stream of its own for each run: the log may hold those of runs that were killed.
    let stream = format!("load-{}-{writer}", Uuid::new_v4());
    let mut expected = ExpectedRevision::NoStream;
    loop {
        let ids: Vec<EventId> = (0..batch).map(|_| EventId::from_uuid(Uuid::new_v4())).collect();
        let events = ids.iter().map(|id| {
            EventData::new("Loaded", "text/plain", id.to_string().into_bytes().into()).id(*id)
        });
        let append = Append::to(&stream).expected(expected).events(events);
        let appended = store.namespace().append(append).wait()?;
        if let Some(written) = appended.streams.first() {
            expected = ExpectedRevision::Exact(written.last_revision);
        }
        let mut lines = String::new();
        ids.iter().for_each(|id| lines.push_str(&format!("{id}\n")));
        let mut out = out.lock().map_err(|_| Failure::failed("a writer panicked"))?;
        out.write_all(lines.as_bytes()).map_err(|error| Failure::output(&error))?;
        out.flush().map_err(|error| Failure::output(&error))?;
    }
}
