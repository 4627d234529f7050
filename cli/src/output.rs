//! What commands print: tables for people, JSON and NDJSON for programs.
//!
//! Everything goes to one buffered writer. A reader that goes away (`| head`) ends the command
//! quietly: see [`Failure::output`]. Control characters never reach a terminal.

use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::exit::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns, for people
    #[default]
    Table,
    /// One JSON value
    Json,
    /// A JSON value a line
    Ndjson,
}

/// Rows that are looked at to find how wide columns are; later ones keep to that.
const ROWS_MEASURED: usize = 256;
/// Blanks between columns.
const GAP: &str = "  ";

/// Characters of a message: more than any that is meant, so that what an input holds floods nobody.
const MESSAGE_WIDTH: usize = 4_000;

/// Says something on standard error; nothing else can be done where that is gone.
pub fn notice(message: fmt::Arguments<'_>) {
    let message = shortened(&message.to_string(), MESSAGE_WIDTH);
    let _ = writeln!(io::stderr(), "nexus: {}", printable(&message));
}

/// Whether nobody reads standard output any more: the other end of a pipe was closed, or the terminal
/// hung up. Writing would say so too, but a command that waits writes nothing.
pub(crate) fn reader_is_gone() -> bool {
    is_at_end(&io::stdout())
}

/// Whether the terminal that messages go to hung up.
pub(crate) fn terminal_is_gone() -> bool {
    is_at_end(&io::stderr())
}

fn is_at_end(out: &impl AsFd) -> bool {
    // Nothing is asked for: errors and hang-ups are always answered.
    let mut watched = [PollFd::new(out, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP;
    match poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) => watched.iter().any(|fd| fd.revents().intersects(gone)),
        Err(_) => false,
    }
}

/// Where a command prints.
pub struct Output {
    format: Format,
    out: BufWriter<Box<dyn Write>>,
}

impl Output {
    /// To standard output.
    pub fn stdout(format: Format) -> Self {
        Self::to(format, Box::new(io::stdout()))
    }

    /// To any writer.
    pub(crate) fn to(format: Format, out: Box<dyn Write>) -> Self {
        Self { format, out: BufWriter::with_capacity(64 * 1024, out) }
    }

    /// How results are printed.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Prints the results from now on so.
    pub(crate) fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    /// Prints one thing: its JSON, or what people read of it (usually [`Facts`]).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn one<T: Serialize>(
        &mut self,
        thing: &T,
        facts: &impl fmt::Display,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.text(&facts.to_string())?,
            Format::Json | Format::Ndjson => self.json_line(thing)?,
        }
        self.flush()
    }

    /// Begins a list of things, called `name` in JSON, with these columns in a table.
    pub(crate) fn list<'o>(&'o mut self, name: &'static str, columns: &[Heading]) -> Listing<'o> {
        Listing { name, table: Table::new(columns), listed: 0, output: self }
    }

    /// Prints a value as one line of JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn json_line<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        self.json(value)?;
        self.text("\n")
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(|error| Failure::output(&error))
    }

    /// Hands on what is buffered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::output(&error))
    }

    fn json<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value)
            .map_err(|error| Failure::output(&io::Error::from(error)))
    }
}

/// A list that is being printed, thing by thing, so that its length does not matter.
pub(crate) struct Listing<'o> {
    name: &'static str,
    output: &'o mut Output,
    table: Table,
    listed: u64,
}

impl Listing<'_> {
    /// Prints one more; `cells` are those of its line in a table.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn push<T: Serialize>(
        &mut self,
        thing: &T,
        cells: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Failure> {
        self.listed += 1;
        match self.output.format {
            Format::Ndjson => self.output.json_line(thing),
            Format::Json if self.listed == 1 => {
                self.output.text(&format!("{{\"{}\":[\n", self.name))?;
                self.output.json(thing)
            }
            Format::Json => {
                self.output.text(",\n")?;
                self.output.json(thing)
            }
            Format::Table => {
                self.table.push(cells());
                match self.table.is_measured() {
                    true => self.print_table(),
                    false => Ok(()),
                }
            }
        }
    }

    /// Hands on everything there is so far.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.print_table()?;
        self.output.flush()
    }

    /// Ends the list; `next` says where the following one begins, if there is more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn end<N: Serialize>(mut self, next: Option<N>) -> Result<(), Failure> {
        match self.output.format {
            Format::Ndjson => {}
            Format::Json => {
                let begin = match self.listed {
                    0 => format!("{{\"{}\":[", self.name),
                    _ => "\n".to_owned(),
                };
                self.output.text(&begin)?;
                self.output.text("],\"next\":")?;
                self.output.json(&next)?;
                self.output.text("}\n")?;
            }
            // An empty table would look as if nothing had been done.
            Format::Table if self.listed == 0 => notice(format_args!("no {}", self.name)),
            Format::Table => self.print_table()?,
        }
        self.output.flush()
    }

    fn print_table(&mut self) -> Result<(), Failure> {
        let text = self.table.take();
        self.output.text(&text)
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heading {
    name: &'static str,
    right: bool,
}

impl Heading {
    /// What stands above it.
    pub(crate) fn name(self) -> &'static str {
        self.name
    }
}

/// A column of texts.
pub(crate) const fn text(name: &'static str) -> Heading {
    Heading { name, right: false }
}

/// A column of numbers, which stand at its right.
pub(crate) const fn number(name: &'static str) -> Heading {
    Heading { name, right: true }
}

/// Rows with a heading, aligned. The first rows decide how wide the columns are.
pub(crate) struct Table {
    columns: Vec<Heading>,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    headed: bool,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[Heading]) -> Self {
        let widths = columns.iter().map(|column| width(column.name)).collect();
        Self { columns: columns.to_vec(), widths, rows: Vec::new(), headed: false }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "each cell stands under its heading");
        let cells: Vec<String> = cells.iter().map(|cell| printable(cell)).collect();
        if !self.headed {
            for (width_max, cell) in self.widths.iter_mut().zip(&cells) {
                *width_max = (*width_max).max(width(cell));
            }
        }
        self.rows.push(cells);
    }

    fn is_measured(&self) -> bool {
        self.headed || self.rows.len() >= ROWS_MEASURED
    }

    /// The rows since the last time, under the heading the first time; nothing for an empty table.
    pub(crate) fn take(&mut self) -> String {
        let mut out = String::new();
        if self.rows.is_empty() {
            return out;
        }
        if !std::mem::replace(&mut self.headed, true) {
            let heading: Vec<String> = self.columns.iter().map(|c| c.name.to_owned()).collect();
            self.line(&mut out, &heading);
        }
        for row in std::mem::take(&mut self.rows) {
            self.line(&mut out, &row);
        }
        out
    }

    fn line(&self, out: &mut String, cells: &[String]) {
        let begin = out.len();
        for ((column, width_max), cell) in self.columns.iter().zip(&self.widths).zip(cells) {
            if out.len() > begin {
                out.push_str(GAP);
            }
            let blanks = " ".repeat(width_max.saturating_sub(width(cell)));
            match column.right {
                true => out.extend([blanks.as_str(), cell]),
                false => out.extend([cell, blanks.as_str()]),
            }
        }
        out.truncate(begin + out.get(begin..).unwrap_or_default().trim_end().len());
        out.push('\n');
    }
}

/// What is to be said of one thing: a name and a value a line.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    lines: Vec<(&'static str, String)>,
}

impl Facts {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One fact more.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.lines.push((name, value.to_string()));
        self
    }

    /// One fact more, where there is one.
    #[must_use]
    pub(crate) fn with_some<V: fmt::Display>(self, name: &'static str, value: Option<V>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width_max = self.lines.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
        for (name, value) in &self.lines {
            let blanks = " ".repeat(width_max - width(name));
            writeln!(f, "{name}{blanks}{GAP}{}", printable(value))?;
        }
        Ok(())
    }
}

/// The text with control characters spelled out: events may hold anything, and a terminal obeys. So
/// are those that turn the direction of writing, which make a text look like another.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() || turns_writing(character) {
            true => write!(out, "{}", character.escape_default()).expect("a String takes all"),
            false => out.push(character),
        }
    }
    out
}

fn turns_writing(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The beginning of a text, with `…` where something is left out.
pub(crate) fn shortened(text: &str, width_max: usize) -> String {
    match text.char_indices().nth(width_max) {
        Some(_) => text.chars().take(width_max.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Rc<RefCell<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn list(format: Format, rows: &[(&str, u64)]) -> String {
        let sink = Sink::default();
        let mut output = Output::to(format, Box::new(sink.clone()));
        let mut listing = output.list("streams", &[text("STREAM"), number("EVENTS")]);
        for (name, events) in rows {
            let thing = serde_json::json!({"stream": name});
            listing.push(&thing, || vec![(*name).to_owned(), events.to_string()]).unwrap();
        }
        listing.end(rows.last().map(|(name, _)| *name)).unwrap();
        String::from_utf8(sink.0.take()).unwrap()
    }

    #[test]
    fn lists_are_printed_in_each_format() {
        let rows = [("a", 7), ("order-1", 10)];
        assert_eq!(
            list(Format::Table, &rows),
            "STREAM   EVENTS\na             7\norder-1      10\n"
        );
        assert_eq!(
            list(Format::Json, &rows),
            "{\"streams\":[\n{\"stream\":\"a\"},\n{\"stream\":\"order-1\"}\n],\"next\":\"order-1\"}\n"
        );
        assert_eq!(list(Format::Ndjson, &rows), "{\"stream\":\"a\"}\n{\"stream\":\"order-1\"}\n");
        assert_eq!(list(Format::Json, &[]), "{\"streams\":[],\"next\":null}\n");
        assert_eq!(list(Format::Table, &[]), "");
    }

    #[test]
    fn a_long_list_is_printed_as_it_comes_under_one_heading() {
        let rows = vec![("a", 1); ROWS_MEASURED * 2 + 1];
        let text = list(Format::Table, &rows);
        assert_eq!(text.lines().count(), rows.len() + 1);
        assert_eq!(text.matches("STREAM").count(), 1);
    }

    #[test]
    fn facts_stand_in_two_columns() {
        let facts = Facts::new().with("read", 3).with("already there", "x\u{1b}[2J");
        assert_eq!(facts.to_string(), "read           3\nalready there  x\\u{1b}[2J\n");
    }

    #[test]
    fn long_texts_are_shortened_at_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(printable("a\u{1b}[2J\u{202e}b\r\nü"), "a\\u{1b}[2J\\u{202e}b\\r\\nü");
    }
}
