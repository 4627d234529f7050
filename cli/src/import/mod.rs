//! `nexus import`: a file of rows into the log, so that running it again changes nothing.
//!
//! The input decides every event and its id, so an import that was killed, or is run on a file that
//! has grown at its end, appends what is missing and nothing twice. The first row that is no event, or
//! whose id another event has, stops it; what came before stays. What a row is and which id it has,
//! `nexus_rows` says.

mod batch;
mod input;
mod progress;

use std::collections::HashSet;
use std::path::PathBuf;

use nexus_protocol::limits::DATA_BYTES_DEFAULT;
use nexus_rows::{
    BadRow, CsvRows, ExportedRows, FieldRows, Mapping, Row, Rows, Template, TemplateError,
};
use serde::Serialize;

use self::batch::{LoadError, Loader};
pub(crate) use self::batch::{Standing, Target};
use self::input::Input;
use self::progress::{Progress, ProgressKind};
use crate::exit::Failure;
use crate::filter;
use crate::output::{Facts, Output};
use crate::store::{Place, Store};

const EXAMPLES: &str = "\
Examples:
  nexus --data ./data import permits.csv --stream 'permit-{case}' --type '{activity}' \\
      --occurred-at '{time}' --tag 'group:{org:group}'
  nexus --data ./copy import exported.ndjson
  zcat log.ndjson.gz | nexus --data ./data import - --stream 'user-{user.id}' --type '{kind}'

Braces name a column or field; {{ and }} are braces. Running the same import again appends nothing.";

/// Appends the rows of a file, each once
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// CSV with a header, or NDJSON; `-` reads standard input
    file: PathBuf,
    /// The stream of a row, as in 'order-{id}'; without it the lines are events that export wrote
    #[arg(long, value_name = "TEMPLATE")]
    stream: Option<String>,
    /// The event type of a row, as in '{kind}'
    #[arg(long = "type", value_name = "TEMPLATE", requires = "stream")]
    event_type: Option<String>,
    /// When it happened, as in '{time}': RFC 3339 with an offset
    #[arg(long, value_name = "TEMPLATE", requires = "stream")]
    occurred_at: Option<String>,
    /// A tag, as in 'group:{group}'; left out where the value is empty; repeatable
    #[arg(long = "tag", value_name = "TEMPLATE", requires = "stream")]
    tags: Vec<String>,
    /// What the input is; found out from its name and first byte unless given
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Largest data of one event, in bytes: up to 16 MiB
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = DATA_BYTES_DEFAULT,
        value_parser = filter::data_bytes_max
    )]
    data_bytes_max: usize,
    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t)]
    progress: ProgressKind,
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A header, then a row a line
    Csv,
    /// A JSON object a line
    Ndjson,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Imported {
    /// Rows that were read.
    pub(crate) read: u64,
    /// Events that were appended.
    pub(crate) appended: u64,
    /// Rows whose event was there before.
    pub(crate) already_there: u64,
    /// Streams that the rows belong to.
    pub(crate) streams: u64,
    /// The system's own events, which were passed over.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Runs the command.
///
/// # Errors
/// When a row is no event, or the store refuses one.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let mapping = mapping_of(args)?;
    let input = Input::open(&args.file, args.format)?;
    if mapping.is_none() && input.format() == Format::Csv {
        return Err(Failure::usage(
            "a CSV needs --stream and --type: say what the rows become, as in \
             --stream 'order-{id}' --type '{kind}'",
        ));
    }
    let store = Store::open_for_data(place, args.data_bytes_max)?;
    let progress = Progress::start(args.progress, &input);
    let name = input.name().to_owned();
    let rows = open_rows(input, mapping, args.data_bytes_max);
    let mut imported = Imported::default();
    let result = rows
        .map_err(Stop::Row)
        .and_then(|rows| load(rows, &store, &mut imported, |imported| progress.show(imported)));
    progress.end();
    let closed = store.close();
    match result {
        Ok(()) => report(&imported, output).and(closed),
        Err(stop) => Err(failure(&name, &imported, stop)),
    }
}

/// How the flags say that rows become events; `None`: the lines are events already.
fn mapping_of(args: &Args) -> Result<Option<Mapping>, Failure> {
    let usage = |error: TemplateError| Failure::usage(error.to_string());
    let Some(stream) = &args.stream else { return Ok(None) };
    let Some(event_type) = &args.event_type else {
        return Err(Failure::usage(
            "--stream needs --type: say what type the events have, as in --type '{kind}'",
        ));
    };
    let parse = |flag, source: &String| Template::parse(flag, source).map_err(usage);
    let tag = |source: &String| Template::parse_tag("--tag", source).map_err(usage);
    Ok(Some(Mapping {
        stream: parse("--stream", stream)?,
        event_type: parse("--type", event_type)?,
        occurred_at: args.occurred_at.as_ref().map(|t| parse("--occurred-at", t)).transpose()?,
        tags: args.tags.iter().map(tag).collect::<Result<_, _>>()?,
    }))
}

fn open_rows(
    input: Input,
    mapping: Option<Mapping>,
    data_bytes_max: usize,
) -> Result<Rows<'static>, BadRow> {
    Ok(match (input.format(), mapping) {
        (Format::Csv, Some(mapping)) => Box::new(CsvRows::open(input, &mapping, data_bytes_max)?),
        (_, Some(mapping)) => Box::new(FieldRows::new(input, mapping, data_bytes_max)),
        (_, None) => Box::new(ExportedRows::new(input, data_bytes_max)),
    })
}

/// Why an import stopped before its end.
#[derive(Debug)]
enum Stop {
    Row(BadRow),
    Load(LoadError),
}

/// Stores the rows up to the first bad one, and counts them.
fn load<T: Target>(
    rows: impl Iterator<Item = Result<Row, BadRow>>,
    target: &T,
    imported: &mut Imported,
    mut show: impl FnMut(&Imported),
) -> Result<(), Stop> {
    let mut loader = Loader::new(target);
    let mut streams: HashSet<Box<str>> = HashSet::new();
    let mut bad = None;
    let mut shown = 0;
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                bad = Some(error);
                break;
            }
        };
        imported.read += 1;
        if row.left_out {
            imported.left_out += 1;
            continue;
        }
        if !streams.contains(row.stream.as_str()) {
            streams.insert(row.stream.as_str().into());
        }
        imported.streams = streams.len() as u64;
        let pushed = loader.push(row);
        count(imported, &loader);
        if let Err(error) = pushed {
            loader.settle_rest();
            count(imported, &loader);
            return Err(Stop::Load(error));
        }
        let done = imported.appended + imported.already_there;
        if done != shown {
            shown = done;
            show(imported);
        }
    }
    let finished = loader.finish();
    count(imported, &loader);
    show(imported);
    finished.map_err(Stop::Load)?;
    bad.map_or(Ok(()), |error| Err(Stop::Row(error)))
}

fn count<T: Target>(imported: &mut Imported, loader: &Loader<'_, T>) {
    imported.appended = loader.loaded().appended;
    imported.already_there = loader.loaded().already_there;
}

fn report(imported: &Imported, output: &mut Output) -> Result<(), Failure> {
    if imported.left_out > 0 {
        crate::output::notice(format_args!(
            "{} events of system streams were left out: only the system appends them",
            imported.left_out
        ));
    }
    let facts = Facts::new()
        .with("read", imported.read)
        .with("appended", imported.appended)
        .with("already there", imported.already_there)
        .with("streams", imported.streams);
    output.one(imported, &facts)
}

fn failure(name: &str, imported: &Imported, stop: Stop) -> Failure {
    let stored = imported.appended + imported.already_there;
    let stands = match stored {
        0 => "nothing was appended; run the same import again when it is mended".to_owned(),
        _ => format!(
            "{stored} events before it are stored ({} of them new); run the same import again \
             when it is mended, and only what is missing is appended",
            imported.appended
        ),
    };
    match stop {
        Stop::Row(row) => Failure::failed(format!("{name}, {row}; {stands}")),
        Stop::Load(LoadError::Read(error)) => Failure::from(error).and(stands),
        Stop::Load(LoadError::Append { places, error }) => {
            let failure = Failure::from(error);
            failure.at(format_args!("{name}, {places}")).and(stands)
        }
    }
}

#[cfg(test)]
mod tests;
