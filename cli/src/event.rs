//! How events are printed.

use nexus_protocol::{EventJson, RecordedEvent};

use crate::exit::Failure;
use crate::output::{Heading, Listing, Output, number, shortened, text};
use crate::store::Store;

/// Characters of an event's data that a table shows.
const DATA_WIDTH: usize = 60;
/// Characters of names that a table shows.
const NAME_WIDTH: usize = 48;

const COLUMNS: &[Heading] = &[
    number("POSITION"),
    number("REVISION"),
    text("STREAM"),
    text("TYPE"),
    text("RECORDED AT"),
    text("TAGS"),
    text("DATA"),
];

/// A list of events that is being printed.
pub(crate) struct EventListing<'o> {
    listing: Listing<'o>,
    store: &'o Store,
}

impl<'o> EventListing<'o> {
    /// Begins one.
    pub(crate) fn new(output: &'o mut Output, store: &'o Store) -> Self {
        Self { listing: output.list("events", COLUMNS), store }
    }

    /// Prints one more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn push(&mut self, event: &RecordedEvent) -> Result<(), Failure> {
        let name = self.store.schema_name(event);
        let mut json = EventJson::from(event);
        if let Some((subject, version)) = &name {
            json = json.of_schema(subject, *version);
        }
        self.listing.push(&json, || cells(event))
    }

    /// Hands on what is there so far.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.listing.flush()
    }

    /// Ends the list; `next` is where a following read begins.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn end(self, next: Option<u64>) -> Result<(), Failure> {
        self.listing.end(next)
    }
}

fn cells(event: &RecordedEvent) -> Vec<String> {
    let data = match str::from_utf8(event.data()) {
        Ok(data) => shortened(data, DATA_WIDTH),
        Err(_) => format!("{} bytes", event.data().len()),
    };
    vec![
        event.position().to_string(),
        event.revision().to_string(),
        shortened(event.stream(), NAME_WIDTH),
        shortened(event.event_type(), NAME_WIDTH),
        event.recorded_at().to_string(),
        shortened(&event.tags().collect::<Vec<_>>().join(" "), NAME_WIDTH),
        data,
    ]
}
