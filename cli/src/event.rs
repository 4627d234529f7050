//! Events as commands print them, and the flags that choose them.

use nexus_protocol::{AsOf, EventJson, Filter, FilterItem, RecordedEvent};

use crate::exit::Failure;
use crate::output::{Heading, Listing, number, shortened, text};

/// Columns of a table of events.
pub(crate) const COLUMNS: [Heading; 6] = [
    number("POSITION"),
    text("STREAM"),
    number("REVISION"),
    text("TYPE"),
    text("RECORDED"),
    text("DATA"),
];
/// Characters of data in a table.
const DATA_SHOWN: usize = 60;

/// Prints one event of a list.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn push(listing: &mut Listing<'_>, event: &RecordedEvent) -> Result<(), Failure> {
    listing.push(&EventJson::from(event), || {
        vec![
            event.position().to_string(),
            event.stream().to_owned(),
            event.revision().to_string(),
            event.event_type().to_owned(),
            event.recorded_at().to_string(),
            shortened(&String::from_utf8_lossy(event.data()), DATA_SHOWN),
        ]
    })
}

/// Which events.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct FilterArgs {
    /// Only streams whose name starts so; repeatable
    #[arg(long, value_name = "PREFIX")]
    stream_prefix: Vec<String>,
    /// Only this category, the part of a stream's name before the first `-`; repeatable
    #[arg(long, value_name = "CATEGORY")]
    category: Vec<String>,
    /// Only this event type; repeatable
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events with this tag, `key:value`; repeatable, all must be there
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Also the system's own events
    #[arg(long)]
    pub(crate) system: bool,
}

impl FilterArgs {
    /// As a filter.
    pub(crate) fn filter(&self) -> Filter {
        Filter::any([FilterItem {
            streams: Vec::new(),
            stream_prefix: self.stream_prefix.clone(),
            categories: self.category.clone(),
            types: self.types.clone(),
            tags: self.tag.clone(),
        }])
    }
}

/// Parses `--as-of`.
///
/// # Errors
/// Says what would be right.
pub(crate) fn parse_as_of(text: &str) -> Result<AsOf, String> {
    text.parse::<AsOf>().map_err(|error| error.to_string())
}
