//! `nexus demo`: the whole store in a few seconds, with figures of this machine.
//!
//! A server over a fresh directory, writers that append orders to it, then the same events are read,
//! subscribed to, and verified; all over QUIC, as clients do. Its page can be looked at meanwhile. It ends
//! by itself, unless somebody sits at the terminal: then when they say so.

mod figures;
mod orders;
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nexus_engine::io;
use nexus_protocol::{
    Append, AppendError, EventData, Filter, Read, Start, Subscribe, SubscriptionItem,
};
use serde::Serialize;

use self::figures::{Figures, Step, bar};
use self::orders::Orders;
use self::server::{Serving, Stay};
use crate::doctor;
use crate::exit::Failure;
use crate::interrupt;
use crate::output::{Format, Output, Table, notice, number, text};
use crate::store::{Place, Store};

/// Streams that are read one by one.
const STREAMS_READ: u64 = 2_000;
/// Events that are appended and waited for at the other end of a subscription.
const EVENTS_LIVE: u64 = 200;

/// Shows what it does: writers, reads, a subscription, a verification, and figures of this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus demo
  nexus demo --writers 8 --events 100000
  nexus --data ./demo demo
  nexus demo --listen 127.0.0.1:7420 --for 600

Without --data the directory is a temporary one, and is removed at the end; --data names one that is
not there yet, and is kept. What NEXUS_DATA names is left alone.")]
pub(crate) struct Args {
    /// Writers at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1024))]
    writers: u64,
    /// For how long they append, at most
    #[arg(
        long,
        default_value_t = 3,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    seconds: u64,
    /// How many events they append, at most
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Where its server listens, on loopback; port 0 takes free ones
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How long it goes on once its figures are there; without it, until Enter is pressed at a terminal,
    /// and not at all elsewhere
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
    stay_s: Option<u64>,
}

/// What the demo found.
#[derive(Debug, Serialize)]
struct Report {
    conditions: Conditions,
    steps: Vec<Step>,
    verified: bool,
}

/// Under what the figures were found.
#[derive(Debug, Serialize)]
struct Conditions {
    writers: u64,
    cores: usize,
    disk: String,
    sync_p50_us: Option<f64>,
    sync_p99_us: Option<f64>,
    events: u64,
    streams: u64,
    bytes: u64,
}

/// A directory that is removed when it is no longer needed.
struct Directory {
    path: PathBuf,
    temporary: bool,
}

impl Directory {
    fn of(place: &Place) -> Result<Self, Failure> {
        if let Some(path) = place.named_dir() {
            return Self::kept(path);
        }
        let path = std::env::temp_dir().join(format!("nexus-demo-{}", uuid::Uuid::new_v4()));
        interrupt::removes(path.clone())?;
        match std::fs::create_dir(&path) {
            Ok(()) => {
                let shown = path.display();
                notice(format_args!("the demo works in {shown}, and removes it at the end"));
                Ok(Self { path, temporary: true })
            }
            Err(error) => Err(Failure::failed(format!(
                "{} cannot be made: {error}; name another place with --data",
                path.display()
            ))),
        }
    }

    /// A directory that was named: made up orders must not get among events that are meant.
    fn kept(path: &Path) -> Result<Self, Failure> {
        let is_free = match std::fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        match is_free {
            true => Ok(Self { path: path.to_owned(), temporary: false }),
            false => Err(Failure::usage(format!(
                "{} is there already, and the demo writes only to a directory of its own: name one \
                 that is empty or not there yet",
                path.display()
            ))),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.temporary {
            // It is in the system's folder for what may be removed at any time.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When a step fails.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let directory = Directory::of(place)?;
    let serving = Serving::start(&directory.path, args.listen)?;
    let store = Store::open(&serving.place(&place.namespace)?)?;
    let run = uuid::Uuid::new_v4().simple().to_string();
    let orders = Orders::new(run.get(..6).unwrap_or("demo"));
    let mut steps = vec![write(&store, &orders, args)?];
    steps.push(read_all(&store)?);
    steps.push(read_streams(&store)?);
    steps.push(read_tag(&store)?);
    steps.push(catch_up(&store)?);
    steps.push(live(&store, &orders)?);
    server::stay(&store, &orders, Stay::of(args.stay_s))?;
    let stats = store.stats()?;
    store.close()?;
    serving.end()?;
    let (verified, step) = verify(&directory.path)?;
    steps.push(step);
    let conditions = conditions(&directory.path, args, &stats);
    let report = Report { conditions, steps, verified };
    print(&report, &directory, output)?;
    match verified {
        true => Ok(()),
        false => Err(Failure::failed("the verification found damage: see `nexus verify`")),
    }
}

/// Writers append orders, each waiting for its answers.
fn write(store: &Store, orders: &Orders, args: &Args) -> Result<Step, Failure> {
    let events_max = args.events.unwrap_or(u64::MAX);
    let begun = Instant::now();
    let until = begun + Duration::from_secs(args.seconds);
    let written = AtomicU64::new(0);
    let bar = bar(&format!("{} writers append orders", args.writers), args.events);
    let results = std::thread::scope(|scope| {
        let (written, bar) = (&written, &bar);
        let write_orders = |writer| {
            let mut figures = Figures::new();
            let mut order = 0;
            while Instant::now() < until && written.load(Ordering::Relaxed) < events_max {
                for append in orders.order(writer, order) {
                    let events = append.event_count() as u64;
                    figures.time(events, || store.append(append).wait())?;
                    bar.set_position(written.fetch_add(events, Ordering::Relaxed) + events);
                }
                order += 1;
            }
            Ok::<Figures, AppendError>(figures)
        };
        let writers: Vec<_> =
            (0..args.writers).map(|writer| scope.spawn(move || write_orders(writer))).collect();
        writers.into_iter().map(|w| w.join().expect("a writer does not panic")).collect::<Vec<_>>()
    });
    let elapsed = begun.elapsed();
    bar.finish_and_clear();
    let mut all = Figures::new();
    for figures in results {
        all.add(&figures?);
    }
    Ok(all.step("append", "an append", elapsed))
}

/// One read of everything.
fn read_all(store: &Store) -> Result<Step, Failure> {
    let mut figures = Figures::new();
    let begun = Instant::now();
    for event in store.read(Read::all()) {
        event?;
        figures.count(1);
    }
    Ok(figures.step("read everything", "", begun.elapsed()))
}

/// Reads of single streams.
fn read_streams(store: &Store) -> Result<Step, Failure> {
    let list = nexus_engine::StreamList {
        category: Some(orders::CATEGORY.to_owned()),
        limit: usize::try_from(STREAMS_READ).unwrap_or(usize::MAX),
        ..nexus_engine::StreamList::default()
    };
    let streams = store.streams(&list)?;
    let mut figures = Figures::new();
    let begun = Instant::now();
    for info in streams {
        figures.time(info.event_count(), || {
            store.read(Read::stream(info.stream.as_str())).into_iter().try_for_each(|e| e.map(drop))
        })?;
    }
    Ok(figures.step("read streams", "a stream", begun.elapsed()))
}

/// Reads by tag, through the index.
fn read_tag(store: &Store) -> Result<Step, Failure> {
    let mut figures = Figures::new();
    let begun = Instant::now();
    for customer in 0..orders::CUSTOMERS / 10 {
        let read = Read::all().filter(Filter::tag(orders::customer_tag(customer * 10)));
        let mut count = 0;
        figures.time(0, || {
            store.read(read).into_iter().try_for_each(|event| event.map(|_| count += 1))
        })?;
        figures.count(count);
    }
    Ok(figures.step("read by tag", "a customer", begun.elapsed()))
}

/// A subscription from the beginning until nothing is left.
fn catch_up(store: &Store) -> Result<Step, Failure> {
    let mut figures = Figures::new();
    let begun = Instant::now();
    let mut subscription = store.subscribe(Subscribe::all());
    while let Some(item) = subscription.next_blocking(None) {
        match item? {
            SubscriptionItem::Event(_) => figures.count(1),
            SubscriptionItem::CaughtUp { .. } => break,
            _ => {}
        }
    }
    Ok(figures.step("catch up", "", begun.elapsed()))
}

/// Events from their append to the other end of a live subscription.
fn live(store: &Store, orders: &Orders) -> Result<Step, Failure> {
    let mut figures = Figures::new();
    let begun = Instant::now();
    let mut subscription = store.subscribe(Subscribe::all().start(Start::End));
    // Where the end is, is decided when the server begins: what is appended before that, it passes over.
    while let Some(item) = subscription.next_blocking(None) {
        if matches!(item?, SubscriptionItem::CaughtUp { .. }) {
            break;
        }
    }
    let stream = orders.stream_of_ticks();
    for tick in 0..EVENTS_LIVE {
        let event = EventData::json("DemoTicked", &serde_json::json!({"tick": tick}))
            .expect("a JSON value has a JSON form");
        figures.time(1, || {
            store.append(Append::to(&stream).event(event)).wait()?;
            loop {
                match subscription.next_blocking(None) {
                    Some(Ok(SubscriptionItem::Event(_))) | None => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Failure::from(error)),
                }
            }
        })?;
    }
    Ok(figures.step("live", "append to delivery", begun.elapsed()))
}

/// Every byte against its checksum.
fn verify(dir: &Path) -> Result<(bool, Step), Failure> {
    let mut figures = Figures::new();
    let begun = Instant::now();
    let report = crate::verify::with_progress(dir)?;
    figures.count(report.events);
    Ok((report.ok, figures.step("verify", "", begun.elapsed())))
}

fn conditions(dir: &Path, args: &Args, stats: &nexus_engine::Stats) -> Conditions {
    // The engine chose a disk when it was opened, by measurements that it kept.
    let choice = io::auto_disk(dir).ok().map(|(_, choice)| choice);
    let measured = choice.as_ref().and_then(|c| doctor::of_backend(c.backend, &c.measurements));
    Conditions {
        writers: args.writers,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        disk: choice.as_ref().map_or_else(|| stats.backend.to_string(), |c| c.backend.to_string()),
        sync_p50_us: measured.map(|m| m.p50_us),
        sync_p99_us: measured.map(|m| m.p99_us),
        events: stats.events,
        streams: stats.streams,
        bytes: stats.bytes,
    }
}

fn print(report: &Report, directory: &Directory, output: &mut Output) -> Result<(), Failure> {
    if output.format() != Format::Table {
        output.json_line(report)?;
        return output.flush();
    }
    let columns = [
        text("STEP"),
        number("EVENTS"),
        number("EVENTS/s"),
        number("P50"),
        number("P99"),
        text("OF"),
    ];
    let mut table = Table::new(&columns);
    report.steps.iter().for_each(|step| table.push(step.cells()));
    output.text(&table.take())?;
    let c = &report.conditions;
    let sync = match (c.sync_p50_us, c.sync_p99_us) {
        (Some(p50), Some(p99)) => {
            format!("a durable write of 4 KiB takes {p50:.0} µs (p50), {p99:.0} µs (p99)")
        }
        _ => "not measured".to_owned(),
    };
    output.text(&format!(
        "\ndisk: {}: {sync}\n{} events in {} streams, {} MiB, {} writers, {} cores; every byte {}\n",
        c.disk,
        c.events,
        c.streams,
        c.bytes >> 20,
        c.writers,
        c.cores,
        if report.verified { "verified" } else { "NOT verified" },
    ))?;
    output.text(&next_steps(directory))?;
    output.flush()
}

fn next_steps(directory: &Directory) -> String {
    let (dir, first) = match directory.temporary {
        true => ("./demo".to_owned(), "  nexus --data ./demo demo          # and keep it\n"),
        false => (directory.path.display().to_string(), ""),
    };
    format!(
        "\nTry next:\n{first}  nexus --data {dir} tail\n  nexus --data {dir} streams --limit 10\n  \
         nexus --data {dir} read --tag {} --limit 5\n  nexus --data {dir} append order-1 --type \
         OrderPlaced --data '{{\"total_cents\": 250}}'\n",
        orders::customer_tag(7)
    )
}
