//! `nexus export`: events as NDJSON, which `nexus import` restores as they were.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use nexus_engine::Engine;
use nexus_protocol::{EventJson, Position, Read, ReadError};

use crate::event::FilterArgs;
use crate::exit::Failure;
use crate::output::notice;
use crate::store::{Place, Store};

const EXAMPLES: &str = "\
Examples:
  nexus --data ./data export --out events.ndjson
  nexus --data ./data export --category order | gzip > orders.ndjson.gz

Damage is read around: what cannot be read is named, and the exit code is 1.";

/// Writes events as NDJSON
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file to write; standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Runs the command.
///
/// # Errors
/// When something is damaged, or cannot be written.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    let store = Store::open_with(place, Engine::options().damaged(true))?;
    let Some(path) = &args.out else {
        let stdout = BufWriter::new(io::stdout().lock());
        return write(args, &store, stdout, |error| Failure::output(&error));
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let failed = |error: io::Error| {
        Failure::failed(format!("{} cannot be written: {error}", part.display()))
    };
    let file = File::create(&part).map_err(failed)?;
    let handle = file.try_clone().map_err(failed)?;
    let written = write(args, &store, BufWriter::new(file), failed);
    handle.sync_all().map_err(failed)?;
    std::fs::rename(&part, path).map_err(failed)?;
    written
}

fn write(
    args: &Args,
    store: &Store,
    mut out: impl Write,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    let (mut from, mut holes) = (Position::ZERO, 0_u64);
    // Everything is looked at, and the filter applied here: around damage the index may lack events.
    let filter = args.filter.filter();
    let system = args.filter.system || filter.names_system();
    loop {
        let read = Read { system, ..Read::all() }.from_position(from);
        let mut resume = None;
        for event in store.namespace().read(read) {
            match event {
                Ok(event) => {
                    if filter.matches(&event) {
                        serde_json::to_writer(&mut out, &EventJson::from(&event))
                            .map_err(|error| failed(error.into()))?;
                        out.write_all(b"\n").map_err(&failed)?;
                    }
                }
                Err(ReadError::Corruption { position, resume_at, corruption }) => {
                    holes += 1;
                    match resume_at {
                        Some(next) => notice(format_args!(
                            "events at positions {position} to {} are lost: {corruption}",
                            next.get().saturating_sub(1)
                        )),
                        None => notice(format_args!(
                            "events from position {position} on are lost: {corruption}"
                        )),
                    }
                    resume = resume_at;
                }
                Err(error) => return Err(error.into()),
            }
        }
        match resume {
            Some(next) => from = next,
            None => break,
        }
    }
    out.flush().map_err(&failed)?;
    match holes {
        0 => Ok(()),
        _ => Err(Failure::failed(format!(
            "{holes} ranges could not be read: what is whole was written"
        ))),
    }
}
