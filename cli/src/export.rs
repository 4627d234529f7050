//! `nexus export`: events as NDJSON, which `import` restores as they were.
//!
//! Damage does not stop it: what can be read is written, and every hole is named, so that this is
//! also the way to save what is left of a damaged directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use nexus_protocol::{AsOf, Corruption, EventJson, Position, Read, ReadError, RecordedEvent};
use serde::Serialize;

use crate::exit::Failure;
use crate::filter::{self, FilterArgs};
use crate::output::{Facts, Format, Output, notice};
use crate::store::{Place, Store};

const EXAMPLES: &str = "\
Examples:
  nexus --data ./data export > events.ndjson
  nexus --data ./data export --category order --out orders.ndjson
  nexus --data ./data export | nexus --data ./copy import -

What is damaged is left out and named on standard error; the exit code is 1 then.";

/// Writes events as NDJSON
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file to write, replaced when all is written; without one, standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where to begin; inclusive
    #[arg(
        long,
        value_name = "POSITION",
        default_value_t = 0,
        hide_default_value = true,
        value_parser = filter::number,
        allow_negative_numbers = true
    )]
    from: u64,
    /// As it was then: position:N, or recorded:TIME
    #[arg(long, value_name = "WHEN")]
    as_of: Option<AsOf>,
    #[command(flatten)]
    filter: FilterArgs,
}

/// What an export did.
#[derive(Debug, Default, Serialize)]
struct Exported {
    events: u64,
    holes: Vec<Hole>,
}

/// Positions that could not be read.
#[derive(Debug, Serialize)]
struct Hole {
    from_position: u64,
    /// The first position that could be read again; none: the rest is missing.
    to_position: Option<u64>,
    file: String,
    offset_bytes: u64,
    message: String,
}

impl Hole {
    /// What is lost is added to its message when it is known how far it goes.
    fn new(from: Position, to: Option<u64>, corruption: &Corruption) -> Self {
        Self {
            from_position: from.get(),
            to_position: to,
            file: corruption.file.clone(),
            offset_bytes: corruption.offset_bytes,
            message: corruption.to_string(),
        }
    }

    /// Whether another begins where this one ends, and is named by the same file.
    fn goes_on_in(&self, next: &Self) -> bool {
        self.to_position == Some(next.from_position) && self.file == next.file
    }
}

/// Runs the command.
///
/// # Errors
/// When the directory cannot be opened, the file not written, or something is damaged.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    if args.out.is_none() && output.format() == Format::Json {
        return Err(Failure::usage(
            "export writes NDJSON to standard output: leave --output out, or name a file with --out, \
             and it is what is said of that",
        ));
    }
    let store = Store::open_damaged(place)?;
    let exported = match &args.out {
        None => {
            let mut out = BufWriter::with_capacity(256 * 1024, io::stdout());
            let exported = export(&store, args, &mut out, |error| Failure::output(&error))?;
            out.flush().map_err(|error| Failure::output(&error))?;
            notice(format_args!("{} events were exported", exported.events));
            exported
        }
        Some(path) => {
            let cannot = |error| cannot_write(path, &error);
            let mut file = NewFile::beside(path).map_err(cannot)?;
            let exported = export(&store, args, &mut file.out, cannot)?;
            file.replace(path).map_err(cannot)?;
            print(&exported, path, output)?;
            exported
        }
    };
    store.close()?;
    match exported.holes.len() {
        0 => Ok(()),
        holes => Err(Failure::failed(format!(
            "{holes} ranges are damaged and were left out; {} events are whole and were written",
            exported.events
        ))),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}

fn print(exported: &Exported, path: &Path, output: &mut Output) -> Result<(), Failure> {
    let facts = Facts::new()
        .with("events", exported.events)
        .with("damaged ranges", exported.holes.len())
        .with("file", path.display());
    output.one(exported, &facts)
}

fn export(
    store: &Store,
    args: &Args,
    out: &mut impl Write,
    cannot: impl Fn(io::Error) -> Failure,
) -> Result<Exported, Failure> {
    let mut exported = Exported::default();
    // Everything is looked at and the filter applied here: around damage the index may lack events.
    let filter = args.filter.filter();
    let wanted = |event: &RecordedEvent| filter.selects(event, args.filter.system);
    let system = args.filter.system || filter.names_system();
    let as_of = resolved(store, args.as_of)?;
    let mut next = Some(args.from);
    let mut open: Option<Hole> = None;
    let bar = bar(store, args);
    while let Some(from) = next.take() {
        let read = Read { system, as_of, ..Read::all() };
        for event in store.read(read.from_position(Position::new(from))) {
            if let Ok(event) = &event {
                bar.set_position(event.position().get());
            }
            match event {
                Ok(event) if !wanted(&event) => {}
                Ok(event) => {
                    close(&mut exported, open.take(), &bar);
                    serde_json::to_writer(&mut *out, &EventJson::from(&event))
                        .map_err(|error| cannot(error.into()))?;
                    out.write_all(b"\n").map_err(&cannot)?;
                    exported.events += 1;
                }
                Err(ReadError::Corruption { position, resume_at, corruption }) => {
                    next = resume_at.map(Position::get);
                    if next.is_some_and(|next| next <= from.max(position.get())) {
                        // Going on must lead on.
                        next = position.next().get().max(from.saturating_add(1)).into();
                    }
                    let new = Hole::new(position, next, &corruption);
                    match &mut open {
                        Some(open) if open.goes_on_in(&new) => open.to_position = new.to_position,
                        _ => close(&mut exported, open.replace(new), &bar),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    close(&mut exported, open.take(), &bar);
    bar.finish_and_clear();
    // What came after the last event that is left is in no read's way.
    if exported.holes.last().is_none_or(|hole| hole.to_position.is_some())
        && let Some(corruption) = store.lost_end()
    {
        let from = store.head()?.position.map_or(Position::ZERO, Position::next);
        close(&mut exported, Some(Hole::new(from, None, &corruption)), &bar);
    }
    Ok(exported)
}

/// Names a hole, once it is known how far it goes.
fn close(exported: &mut Exported, hole: Option<Hole>, bar: &ProgressBar) {
    let Some(mut hole) = hole else { return };
    let from = hole.from_position;
    hole.message.push_str(&match hole.to_position {
        Some(to) => format!("; the events at positions {from} to {} are lost", to - 1),
        None => format!("; the events from position {from} on are lost"),
    });
    bar.suspend(|| notice(format_args!("{}", hole.message)));
    exported.holes.push(hole);
}

/// A past state by its last position, which is found once and not again behind each damage.
fn resolved(store: &Store, as_of: Option<AsOf>) -> Result<Option<AsOf>, Failure> {
    let Some(AsOf::Recorded(_)) = as_of else { return Ok(as_of) };
    let read = Read { as_of, ..Read::all().system().backwards().limit(1) };
    let last = match store.read(read).next() {
        None => return Ok(as_of),
        Some(Ok(event)) => event.position(),
        // What is damaged and may be of it belongs to it.
        Some(Err(ReadError::Corruption { position, .. })) => position,
        Some(Err(error)) => return Err(error.into()),
    };
    Ok(Some(AsOf::Position(last)))
}

/// How far it is, over positions: on a terminal that the events themselves do not go to.
fn bar(store: &Store, args: &Args) -> ProgressBar {
    let watched = io::stderr().is_terminal() && (args.out.is_some() || !io::stdout().is_terminal());
    if !watched {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} position {pos} of {len}, {eta} left");
    let head = store.head().ok().and_then(|head| head.position);
    let bar = ProgressBar::new(head.map_or(0, Position::get));
    bar.with_style(style.expect("the template is fixed"))
}

/// A file that takes its name when it is complete. What is no file (a device, a pipe) is written to as
/// it is: it must not be replaced by one.
struct NewFile {
    out: BufWriter<File>,
    path: PathBuf,
    /// Whether there is nothing to take away.
    replaced: bool,
}

impl NewFile {
    fn beside(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            let out =
                BufWriter::with_capacity(256 * 1024, OpenOptions::new().write(true).open(path)?);
            return Ok(Self { out, path: path.to_owned(), replaced: true });
        }
        let mut name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_os_string();
        name.push(format!(".{}.partial", std::process::id()));
        let path = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        Ok(Self { out: BufWriter::with_capacity(256 * 1024, file), path, replaced: false })
    }

    fn replace(mut self, path: &Path) -> io::Result<()> {
        self.out.flush()?;
        if self.replaced {
            return Ok(());
        }
        self.out.get_ref().sync_all()?;
        fs::rename(&self.path, path)?;
        self.replaced = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.replaced {
            // What is not complete is of no use; that it stays is no reason to hide the error.
            let _ = fs::remove_file(&self.path);
        }
    }
}
