//! `nexus search`: documents of a projection, by what is in them.

use std::path::PathBuf;
use std::time::Duration;

use nexus_protocol::limits::{LOOKUP_WAIT_MS_MAX, SEARCH_LIMIT_MAX};
use nexus_protocol::search::{
    CsvWriter, SEARCH_LIMIT_DEFAULT, SearchAnswer, SearchHit, SearchRequest,
};
use nexus_protocol::{EventStore as _, Position, duration_from_text};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::filter;
use crate::group::connect;
use crate::output::{Format, Output, Table, notice, number, printable, shortened, text};
use crate::store::Place;

/// Characters of a key, and of a document, that a table shows.
const KEY_WIDTH: usize = 48;
const DOCUMENT_WIDTH: usize = 120;

/// Documents of a page, where all pages are wanted: each takes as long as a search does.
const PAGE_DOCUMENTS: usize = 100;

/// Searches the documents of a projection
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus --data ./data search permits 'status:open AND title:\"broken window\"'
  nexus search permits 'department:Building' --sort opened:desc --limit 20 --output json
  nexus search permits --agg by-status.json --limit 0 --output json
  nexus search permits '{\"range\": {\"fee\": {\"gt\": 100}}}' --all --output ndjson
  nexus search permits status:open --all --csv --field title --field fee > open.csv

A query is in the query language, or a tree of JSON; without one all documents match. An aggregation is a file of JSON, as
{\"by_status\": {\"terms\": {\"field\": \"status\"}}}. Of a server, the answer is as fresh as the projection is, unless a
position is named that it has to know of. Of a directory, it knows of all that is there.")]
pub(crate) struct Args {
    /// The projection
    projection: String,
    /// What is searched for; all documents by default
    query: Option<String>,
    /// Only what this lets through, too; it counts nothing for how well a document matches
    #[arg(long, value_name = "QUERY")]
    filter: Option<String>,
    /// A field to put documents in order by, as opened:desc; repeatable
    #[arg(long, value_name = "FIELD[:desc]")]
    sort: Vec<String>,
    /// Documents of the answer, 10 by default; of all of them with --all, those of a page
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// What the answer before this one has as `next`, as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "all")]
    after: Option<String>,
    /// Goes on to the last page
    #[arg(long)]
    all: bool,
    /// Prints a table for spreadsheets: the key, and each field; a text that one would take for a formula begins with '
    #[arg(long, conflicts_with_all = ["agg", "highlight"])]
    csv: bool,
    /// A field that is shown; all by default; repeatable
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// A text field of which it is shown where it matches; repeatable
    #[arg(long, value_name = "FIELD")]
    highlight: Vec<String>,
    /// A file with what is to be counted and summed up
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    agg: Option<PathBuf>,
    /// The answer knows of this position
    #[arg(long, value_name = "N", value_parser = filter::number, allow_negative_numbers = true)]
    min_position: Option<u64>,
    /// Waits so long for that, at most; 5s by default, and a minute of a directory
    #[arg(long, value_name = "TIME", value_parser = duration_from_text)]
    timeout: Option<Duration>,
}

/// Runs the command.
///
/// # Errors
/// When the search cannot be right, or the projection has not come so far in time.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    if args.csv && output.format() != Format::Table {
        return Err(Failure::usage("--csv is a form of its own: leave --output out"));
    }
    let mut request = request_of(args)?;
    let remote = connect(place)?;
    if place.server.is_none() {
        // Nobody has folded what came since it was opened last.
        let head = || remote.wait(remote.client.head()).map(|head| head.position);
        request.min_position = request.min_position.map_or_else(head, |it| Ok(Some(it)))?;
        request.timeout_ms = request.timeout_ms.or(Some(LOOKUP_WAIT_MS_MAX));
    }
    let mut table = CsvWriter::default();
    loop {
        let found = remote.wait(remote.client.search(&args.projection, &request))?;
        match args.csv {
            true => {
                let rows = table.page(&found).map_err(|why| Failure::failed(why.to_string()))?;
                output.text(&rows)?;
            }
            false => show(&found, args.all, output)?,
        }
        request.search_after = found.next.filter(|_| args.all);
        if request.search_after.is_none() {
            if found.parked > 0 {
                notice(format_args!(
                    "{} keys are parked: documents know nothing of their events; `nexus parked list --source projection:{}`",
                    found.parked, args.projection
                ));
            }
            break;
        }
    }
    output.flush()?;
    remote.close()
}

fn request_of(args: &Args) -> Result<SearchRequest, Failure> {
    let query = |asked: &String| match asked.trim_start().starts_with('{') {
        true => serde_json::from_str(asked)
            .map_err(|why| Failure::usage(format!("the query is no JSON: {why}"))),
        false => Ok(Value::String(asked.clone())),
    };
    let sort = |asked: &String| match asked.rsplit_once(':') {
        Some((field, order)) => json!({ field: order }),
        None => json!(asked),
    };
    let limit = match args.all {
        true => args.limit.unwrap_or(PAGE_DOCUMENTS).max(SEARCH_LIMIT_DEFAULT),
        false => args.limit.unwrap_or(SEARCH_LIMIT_DEFAULT),
    };
    if limit > SEARCH_LIMIT_MAX {
        let why =
            format!("--limit is at most {SEARCH_LIMIT_MAX}: add --all to go on to the last page");
        return Err(Failure::usage(why));
    }
    let after = args.after.as_ref().map(|text| serde_json::from_str(text)).transpose();
    let after = after
        .map_err(|_| Failure::usage("--after is `next` of an answer, as [\"open\",\"case-7\"]"))?;
    let aggs = args.agg.as_ref().map(|path| {
        let read = std::fs::read(path).map_err(|why| why.to_string());
        let read = read.and_then(|it| serde_json::from_slice(&it).map_err(|why| why.to_string()));
        read.map_err(|why| Failure::usage(format!("{}: {why}", path.display())))
    });
    Ok(SearchRequest {
        query: args.query.as_ref().map(query).transpose()?,
        filter: args.filter.as_ref().map(query).transpose()?,
        sort: args.sort.iter().map(sort).collect(),
        limit,
        search_after: after,
        fields: (!args.fields.is_empty()).then(|| args.fields.clone()),
        highlight: args.highlight.clone(),
        aggs: aggs.transpose()?,
        min_position: args.min_position.map(Position::new),
        timeout_ms: args.timeout.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
    })
}

fn show(found: &SearchAnswer, all: bool, output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json if !all => output.json_line(found),
        // All pages are no one answer.
        Format::Json | Format::Ndjson => {
            found.hits.iter().try_for_each(|hit| output.json_line(hit))
        }
        Format::Table => {
            let columns = [text("KEY"), number("SCORE"), text("DOCUMENT")];
            let mut table = Table::new(&columns);
            for SearchHit { key, score, document, highlight } in &found.hits {
                let shown = match highlight.is_empty() {
                    true => json!(document).to_string(),
                    false => json!(highlight).to_string(),
                };
                table.push(vec![
                    shortened(key, KEY_WIDTH),
                    score.map_or_else(String::new, |score| format!("{score:.3}")),
                    shortened(&shown, DOCUMENT_WIDTH),
                ]);
            }
            output.text(&table.take())?;
            if let Some(aggs) = &found.aggs {
                let shown = serde_json::to_string_pretty(aggs);
                for line in shown.expect("JSON can be written").lines() {
                    output.text(&format!("{}\n", printable(line)))?;
                }
            }
            if !all {
                notice(format_args!("{} documents match", found.total));
            }
            Ok(())
        }
    }
}
