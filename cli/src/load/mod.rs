//! `nexus load`: appends without an end, and says what was acknowledged; or consumes without an end. For tests that
//! kill it.

mod consume;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use nexus_protocol::{Append, AppendError, EventData, EventId};
use uuid::Uuid;

use crate::exit::Failure;
use crate::store::{Place, Store};

/// Appends events and prints the id of each as soon as it is acknowledged
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nexus --data ./data load --writers 8 --appends 1000")]
pub(crate) struct Args {
    /// Writers at the same time
    #[arg(long, default_value_t = 4)]
    writers: u64,
    /// Appends of each writer; without it they go on until the process is killed
    #[arg(long)]
    appends: Option<u64>,
    /// Most events of one append
    #[arg(long, default_value_t = 4)]
    batch: u64,
    /// Most bytes of an event's data
    #[arg(long, default_value_t = 2048)]
    data_bytes: u64,
    /// Consumes this group instead
    #[arg(long, requires = "consumer")]
    group: Option<String>,
    /// As this consumer
    #[arg(long, requires = "group")]
    consumer: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When an append is refused, nobody reads what is printed, or the group is gone.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    if let (Some(group), Some(consumer)) = (&args.group, &args.consumer) {
        return consume::run(&crate::group::connect(place)?, group, consumer);
    }
    let store = Store::open(place)?;
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let (store, stop) = (&store, &stop);
        let writers: Vec<_> = (0..args.writers)
            .map(|writer| {
                scope.spawn(move || {
                    let result = write(store, args, writer, stop);
                    stop.store(stop.load(Ordering::Relaxed) | result.is_err(), Ordering::Relaxed);
                    result
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().expect("a writer does not panic"))
            .collect::<Result<Vec<()>, Failure>>()
    });
    result?;
    store.close()
}

fn write(store: &Store, args: &Args, writer: u64, stop: &AtomicBool) -> Result<(), Failure> {
    for round in 0..args.appends.unwrap_or(u64::MAX) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let ids = append(store, args, writer, round)?;
        let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let mut out = std::io::stdout().lock();
        let printed = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
        printed.map_err(|error| Failure::output(&error))?;
    }
    Ok(())
}

/// Appends a few events to a stream or two.
fn append(
    store: &Store,
    args: &Args,
    writer: u64,
    round: u64,
) -> Result<Vec<EventId>, AppendError> {
    let mut ids = Vec::new();
    let mut append = Append::to(format!("load-{writer}"));
    for number in 0..=round % args.batch.max(1) {
        if number == 1 {
            append = append.stream(format!("load-{writer}-{}", round % 97));
        }
        let id = EventId::from_uuid(Uuid::now_v7());
        let bytes = (round * 31 + number * 977) % args.data_bytes.max(1);
        let filler = "x".repeat(usize::try_from(bytes).unwrap_or(0));
        let data = serde_json::json!({"round": round, "filler": filler});
        let event = EventData::json("LoadAppended", &data).expect("a JSON value has a JSON form");
        append = append.event(event.id(id).tag(format!("round:{}", round % 10)));
        ids.push(id);
    }
    store.append(append).wait()?;
    Ok(ids)
}
