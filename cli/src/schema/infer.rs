//! `nexus schema infer`.

use nexus_client::schemas::json::{self, Inference};
use nexus_protocol::{Filter, FilterItem, Read};

use crate::exit::Failure;
use crate::filter;
use crate::output::{Output, notice};
use crate::store::Remote;

/// Of which events.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Events of this type; repeatable
    #[arg(long = "type", value_name = "TYPE", value_parser = filter::event_type)]
    event_type: Vec<String>,
    /// Events of streams of this category; repeatable
    #[arg(long, value_name = "CATEGORY", value_parser = filter::stream_name)]
    category: Vec<String>,
    /// The newest so many of them; all of them unless given
    #[arg(long, value_name = "N")]
    sample: Option<u64>,
}

/// Writes what schema the events follow.
pub(super) fn run(args: &Args, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let filter = Filter::any([FilterItem {
        types: args.event_type.clone(),
        categories: args.category.clone(),
        ..FilterItem::default()
    }]);
    if filter.is_all() {
        return Err(Failure::usage("say of which events, with --type or --category"));
    }
    let mut read = Read::all().filter(filter).backwards();
    if let Some(sample) = args.sample {
        read = read.limit(sample);
    }
    let mut events = remote.client.read(read);
    let (mut inference, mut others) = (Inference::new(), 0_u64);
    let mut looked_at = 0_u64;
    while let Some(event) = remote.next(&mut events) {
        let event = event?;
        match json::read(event.content_type(), event.data()) {
            Ok(value) => {
                looked_at += 1;
                inference.add(&value);
            }
            Err(_) => others += 1,
        }
    }
    if looked_at == 0 {
        return Err(Failure::failed("there are no such events with JSON as their data"));
    }
    if others > 0 {
        notice(format_args!(
            "{others} events have no JSON as their data, or names twice in an object, and were passed over"
        ));
    }
    let schema = inference.finish();
    let pretty = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    output.text(&format!("{pretty}\n"))?;
    output.flush()
}
