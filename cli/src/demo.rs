//! `nexus demo`: what it is, in a few seconds.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use nexus_engine::Engine;
use nexus_engine::io::{Effort, measure};
use nexus_protocol::{
    Append, EventData, ExpectedRevision, Filter, Read, Subscribe, SubscriptionItem,
};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output};
use crate::store::Place;

const EXAMPLES: &str = "\
Examples:
  nexus demo
  nexus --data ./data demo --seconds 10 --writers 16";

/// Appends orders from several writers, reads them back, and says how fast it was
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How long to append
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How many writers
    #[arg(long, default_value_t = 8)]
    writers: u64,
    /// Events of an append
    #[arg(long, default_value_t = 4)]
    batch: u64,
}

#[derive(Serialize)]
struct Demo {
    data: String,
    writers: u64,
    batch: u64,
    events: u64,
    events_per_s: f64,
    p50_us: u64,
    p99_us: u64,
    disk_sync_p50_us: f64,
    backend: String,
    read_events_per_s: f64,
    customers_orders: u64,
    subscription_events: u64,
    verified_ok: bool,
}

/// Runs the command.
///
/// # Errors
/// When anything does not work as promised.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let dir = match &place.data {
        Some(dir) => dir.clone(),
        None => fresh_dir()?,
    };
    let engine = Engine::open(&dir)?;
    let before = engine.stats().events;
    let (written, latencies) = append_orders(args, &engine)?;
    let appended = engine.stats().events - before;
    if appended != written.events {
        return Err(Failure::failed("the log does not hold what was acknowledged"));
    }
    let begun = Instant::now();
    let mut read = 0_u64;
    for event in engine.read(Read::all()) {
        event?;
        read += 1;
    }
    let read_per_s = per_second(read, begun.elapsed());
    let of_customer = engine.read(Read::all().filter(Filter::tag("customer:7")));
    let customers_orders = of_customer.into_iter().count() as u64;
    let seen = subscribe(&engine)?;
    let backend = engine.stats().backend;
    let sync = sync_latency(&dir, backend);
    engine.close().map_err(|error| Failure::failed(error.to_string()))?;
    let report = nexus_engine::verify(&dir, |_| ())?;
    let demo = Demo {
        data: dir.display().to_string(),
        writers: args.writers,
        batch: args.batch,
        events: appended,
        events_per_s: per_second(appended, written.elapsed),
        p50_us: latencies.value_at_quantile(0.5),
        p99_us: latencies.value_at_quantile(0.99),
        disk_sync_p50_us: sync,
        backend: backend.to_owned(),
        read_events_per_s: read_per_s,
        customers_orders,
        subscription_events: seen,
        verified_ok: report.ok,
    };
    print(&demo, output)?;
    match report.errors.first() {
        None => Ok(()),
        Some(damage) => Err(Failure::failed(damage.to_string())),
    }
}

fn print(demo: &Demo, output: &mut Output) -> Result<(), Failure> {
    let facts = Facts::new()
        .with("data directory", &demo.data)
        .with("appended", format!("{} events, each durable before it was answered", demo.events))
        .with("events/s", format!("{:.0}", demo.events_per_s))
        .with("append p50, p99", format!("{} µs, {} µs", demo.p50_us, demo.p99_us))
        .with("conditions", format!("{} writers, {} events an append", demo.writers, demo.batch))
        .with("disk sync p50", format!("{:.0} µs ({})", demo.disk_sync_p50_us, demo.backend))
        .with("read back", format!("{:.0} events/s", demo.read_events_per_s))
        .with("customer:7", format!("{} events, found by their tag", demo.customers_orders))
        .with("subscription", format!("{} events, then caught up", demo.subscription_events))
        .with(
            "verified",
            if demo.verified_ok { "every checksum and the chain hold" } else { "DAMAGED" },
        )
        .with("try next", format!("nexus --data {} tail", demo.data));
    output.one(demo, &facts)
}

fn fresh_dir() -> Result<PathBuf, Failure> {
    let dir = std::env::temp_dir().join(format!("nexus-demo-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&dir)
        .map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
    Ok(dir)
}

struct Written {
    events: u64,
    elapsed: Duration,
}

fn append_orders(args: &Args, engine: &Engine) -> Result<(Written, Histogram<u64>), Failure> {
    let bar = bar(args.seconds);
    let (begun, limit) = (Instant::now(), Duration::from_secs(args.seconds));
    let events = AtomicU64::new(0);
    let histograms = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..args.writers)
            .map(|writer| {
                let (events, bar) = (&events, &bar);
                scope.spawn(move || -> Result<Histogram<u64>, Failure> {
                    let mut latencies = histogram();
                    for order in 0.. {
                        if begun.elapsed() >= limit {
                            break;
                        }
                        let asked = Instant::now();
                        engine.append(order_append(writer, order, args.batch)?).wait()?;
                        let taken = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
                        latencies.saturating_record(taken);
                        let total = events.fetch_add(args.batch, Ordering::Relaxed) + args.batch;
                        if writer == 0 {
                            bar.set_position(begun.elapsed().as_millis().try_into().unwrap_or(0));
                            bar.set_message(format!("{total} events"));
                        }
                    }
                    Ok(latencies)
                })
            })
            .collect();
        let mut all = histogram();
        for writer in writers {
            let one = writer.join().map_err(|_| Failure::failed("a writer panicked"))??;
            all.add(&one).map_err(|error| Failure::failed(error.to_string()))?;
        }
        Ok::<_, Failure>(all)
    })?;
    bar.finish_and_clear();
    let written = Written { events: events.load(Ordering::Relaxed), elapsed: begun.elapsed() };
    Ok((written, histograms))
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are fixed")
}

/// A new order: placed, then what follows, in one append that must begin a stream.
fn order_append(writer: u64, order: u64, batch: u64) -> Result<Append, Failure> {
    let customer = (writer * 31 + order) % 100;
    let run = std::process::id();
    let stream = format!("order-{run}-{writer}-{order}");
    let types = ["OrderPlaced", "PaymentCaptured", "OrderPacked", "OrderShipped"];
    let mut append = Append::to(stream).expected(ExpectedRevision::NoStream);
    for step in 0..batch {
        let kind = types[usize::try_from(step).unwrap_or(0) % types.len()];
        let data = serde_json::json!({
            "order": order,
            "customer": customer,
            "total_cents": 100 + (order * 37 + step) % 9_900,
            "lines": [{"sku": format!("sku-{}", order % 50), "quantity": 1 + order % 3}],
        });
        let event = EventData::json(kind, &data).map_err(|e| Failure::failed(e.to_string()))?;
        append = append.event(event.tag(format!("customer:{customer}")));
    }
    Ok(append)
}

/// Reads everything by a subscription, until it has caught up.
fn subscribe(engine: &Engine) -> Result<u64, Failure> {
    let mut subscription = engine.subscribe(Subscribe::all());
    let mut seen = 0;
    while let Some(item) = subscription.next_blocking(None) {
        match item? {
            SubscriptionItem::Event(_) => seen += 1,
            SubscriptionItem::CaughtUp { .. } => break,
            _ => {}
        }
    }
    Ok(seen)
}

/// How long this disk takes to write 4 KiB durably, by the same backend.
fn sync_latency(dir: &Path, backend: &str) -> f64 {
    let found = measure(dir, Effort::Short);
    let same = found.iter().find(|m| backend.starts_with(m.backend.to_string().as_str()));
    same.or(found.first()).map_or(0.0, |measurement| measurement.p50_us)
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown without fractions")]
    let count = count as f64;
    count / elapsed.as_secs_f64().max(f64::EPSILON)
}

fn bar(seconds: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("appending {bar:40} {msg}").expect("a fixed template");
    ProgressBar::new(seconds * 1000).with_style(style)
}
