//! `nexus tail`: the newest events, and those that come.

use std::time::Duration;

use nexus_protocol::schema::AsSchema;
use nexus_protocol::{AsOf, Read, Start, Subscribe, SubscriptionItem};

use crate::event::EventListing;
use crate::exit::Failure;
use crate::filter::{self, FilterArgs};
use crate::output::{Format, Output, notice, reader_is_gone};
use crate::store::{Place, Store};

/// How often it looks whether anybody still reads, while nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  nexus --data ./data tail
  nexus --data ./data tail --follow --category order --output ndjson
  nexus --data ./data tail order-1 --limit 3";

/// Shows the newest events, and with --follow those that come
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream; without one, the whole log
    #[arg(value_parser = filter::stream_name)]
    stream: Option<String>,
    /// Goes on with the events that come, until it is interrupted
    #[arg(long, short)]
    follow: bool,
    /// How many of the newest events come first
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = filter::number,
        allow_negative_numbers = true
    )]
    limit: u64,
    /// In a version of their schemas: raw, as they are stored, latest, or a number
    #[arg(long, value_name = "raw|latest|N", default_value = "raw")]
    as_schema: AsSchema,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Runs the command.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open_to_read(place)?;
    if let Some(stream) = &args.stream
        && !args.follow
    {
        store.known_stream(stream)?;
    }
    // What is read first and what is followed meet at this position: no gap, and nothing twice.
    let head = store.head()?.position;
    let mut newest = Vec::new();
    if let Some(head) = head {
        let mut read = match &args.stream {
            Some(stream) => Read::stream(stream),
            None => Read::all(),
        };
        read = read.filter(args.filter.filter()).as_of(AsOf::Position(head));
        read.system = args.filter.system;
        let read = store.read(read.backwards().limit(args.limit));
        newest = read.collect::<Result<Vec<_>, _>>()?;
        // From old to new, and the parts of one event in their order.
        newest.sort_by_key(|event| (event.position(), event.part()));
    }
    if args.follow && output.format() == Format::Json {
        // A list that never ends is no JSON value: each event is one instead.
        output.set_format(Format::Ndjson);
    }
    let mut listing = EventListing::new(output, &store);
    let show = |listing: &mut EventListing<'_>, event| -> Result<(), Failure> {
        store.shown(event, args.as_schema)?.iter().try_for_each(|event| listing.push(event))
    };
    newest.into_iter().try_for_each(|event| show(&mut listing, event))?;
    if !args.follow {
        listing.end(None)?;
        return store.close();
    }
    listing.flush()?;
    notice(match store.remote() {
        Some(_) => format_args!("following, until it is interrupted"),
        None => format_args!(
            "following, until it is interrupted; this process has the directory open, so others can \
             append to it only afterwards: `nexus serve` and --server follow what others append"
        ),
    });
    let start = head.map_or(Start::Beginning, Start::After);
    let mut subscribe = match &args.stream {
        Some(stream) => Subscribe::stream(stream),
        None => Subscribe::all(),
    };
    subscribe = subscribe.start(start).filter(args.filter.filter());
    subscribe.system = args.filter.system;
    let mut subscription = store.subscribe(subscribe);
    // Events that are there already are printed together, and none waits for the next that comes.
    let mut waits = false;
    loop {
        let timeout = if waits { Duration::ZERO } else { LOOK_EVERY };
        match subscription.next_blocking(Some(timeout)).transpose()? {
            Some(SubscriptionItem::Event(event)) => {
                show(&mut listing, event)?;
                waits = true;
            }
            Some(_) => {}
            None if waits => {
                listing.flush()?;
                waits = false;
            }
            None if reader_is_gone() => return store.close(),
            None => {}
        }
    }
}
