//! Rows of a CSV file as events.
//!
//! The `csv` crate parses; what it read is kept beside it until the row is done, because an event's
//! id is made from the row's bytes as they stand in the input. Memory is bounded: a row that is
//! longer than any event ends the import instead of being read to its end.

use std::collections::HashSet;
use std::io::{self, Read};

use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use nexus_protocol::limits::DATA_BYTES_MAX;
use nexus_protocol::{EventData, JSON};

use crate::id::RowIds;
use crate::problem::{BadRow, Column, RowProblem};
use crate::row::{Mapping, Row};
use crate::template::{Bound, Template, tag_has_value};

/// Longest row, in bytes as it stands in the input.
const ROW_BYTES_MAX: usize = DATA_BYTES_MAX + 1024 * 1024;

/// Bytes that the parser is given at first: the mark that a file of UTF-8 may begin with, and one.
const FIRST_BYTES: usize = 4;

/// The rows of a CSV input, as events. Its first row names the columns; the data of an event is an object of JSON with
/// the cells as texts, in the order of the columns.
///
/// A row may have 1 MiB more than the data of any event
/// ([`DATA_BYTES_MAX`](nexus_protocol::limits::DATA_BYTES_MAX)), as it stands in the input; no more of the input is
/// held at once than such a row and what is read ahead of it. After a [`BadRow`] there are no more rows: one that is not
/// UTF-8, has another number of cells than the header, is never closed, is too long, or makes an event that breaks a
/// limit.
pub struct CsvRows<R> {
    rows: RawRows<R>,
    columns: Vec<String>,
    /// `"name":` of each column, as JSON.
    keys: Vec<Vec<u8>>,
    stream: Bound,
    event_type: Bound,
    occurred_at: Option<Bound>,
    tags: Vec<Bound>,
    ids: RowIds,
    data_bytes_max: usize,
    done: bool,
}

impl<R: Read> CsvRows<R> {
    /// Reads the header and finds the columns that the mapping names. An event may have `data_bytes_max` bytes of data.
    ///
    /// # Errors
    /// When the header cannot be read, is not there, names a column twice, or has not what the mapping names.
    pub fn open(input: R, mapping: &Mapping, data_bytes_max: usize) -> Result<Self, BadRow> {
        let mut rows = RawRows::new(input);
        let line = rows.line;
        if !rows.next()? {
            return Err(BadRow::line(line, RowProblem::NoHeader));
        }
        let columns = header(&rows)?;
        let unknown = |unknown| BadRow::line(rows.row_line, RowProblem::UnknownColumn(unknown));
        let bind = |template: &Template| template.bind(&columns).map_err(unknown);
        let keys = columns.iter().map(|name| {
            let mut key = Vec::new();
            push_json(&mut key, name);
            key.push(b':');
            key
        });
        Ok(Self {
            keys: keys.collect(),
            stream: bind(&mapping.stream)?,
            event_type: bind(&mapping.event_type)?,
            occurred_at: mapping.occurred_at.as_ref().map(bind).transpose()?,
            tags: mapping.tags.iter().map(bind).collect::<Result<_, _>>()?,
            ids: RowIds::default(),
            data_bytes_max,
            done: false,
            columns,
            rows,
        })
    }

    fn row(&mut self) -> Result<Option<Row>, BadRow> {
        if !self.rows.next()? {
            return Ok(None);
        }
        let line = self.rows.row_line;
        let (found, wanted) = (self.rows.record.len(), self.columns.len());
        if found != wanted {
            return Err(BadRow::line(line, RowProblem::CellCount { found, wanted }));
        }
        let mut cells = Vec::with_capacity(wanted);
        for (index, cell) in self.rows.record.iter().enumerate() {
            let at = || self.cell(index);
            if cell.len() > self.data_bytes_max {
                let (bytes, max) = (cell.len(), self.data_bytes_max);
                return Err(BadRow::column(line, at(), RowProblem::CellTooLong { bytes, max }));
            }
            cells.push(str::from_utf8(cell).map_err(|error| not_utf8(line, at(), error))?);
        }
        let event = self.event(line, &cells)?;
        let stream = self.stream.render(|index| cells.get(index).copied());
        let row = Row::checked(line, &self.stream.template, stream, event, self.data_bytes_max)?;
        let id = self.ids.next(&row.stream, self.rows.raw());
        Ok(Some(row.with_id(id)))
    }

    /// The event that the cells make, without its id.
    fn event(&self, line: u64, cells: &[&str]) -> Result<EventData, BadRow> {
        let cell = |index: usize| cells.get(index).copied();
        let mut event = EventData::new(self.event_type.render(cell), JSON, self.data(cells).into());
        nexus_protocol::names::check_event_type(&event.event_type).map_err(|name| {
            let template = self.event_type.template.to_string();
            BadRow::line(line, RowProblem::Name { name, template })
        })?;
        if let Some(template) = &self.occurred_at {
            let at =
                template.render(cell).parse().map_err(|error| match template.only_column() {
                    Some(index) => BadRow::column(line, self.cell(index), RowProblem::Time(error)),
                    None => BadRow::line(line, RowProblem::Time(error)),
                })?;
            event = event.occurred_at(at);
        }
        for template in &self.tags {
            let tag = template.render(cell);
            if !tag_has_value(&tag) {
                continue;
            }
            nexus_protocol::names::check_tag(&tag).map_err(|name| {
                let template = template.template.to_string();
                BadRow::line(line, RowProblem::Name { name, template })
            })?;
            event = event.tag(tag);
        }
        Ok(event)
    }

    /// The whole row as a JSON object: its cells as texts, in the order of the columns.
    fn data(&self, cells: &[&str]) -> Vec<u8> {
        let mut data = vec![b'{'];
        for (key, cell) in self.keys.iter().zip(cells) {
            if data.len() > 1 {
                data.push(b',');
            }
            data.extend_from_slice(key);
            push_json(&mut data, cell);
        }
        data.push(b'}');
        data
    }

    fn cell(&self, index: usize) -> Column {
        Column::Cell(index + 1, self.columns.get(index).cloned().unwrap_or_default())
    }
}

impl<R: Read> Iterator for CsvRows<R> {
    type Item = Result<Row, BadRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let row = self.row().transpose();
        self.done = !matches!(row, Some(Ok(_)));
        row
    }
}

/// The names of the columns.
fn header<R: Read>(rows: &RawRows<R>) -> Result<Vec<String>, BadRow> {
    let line = rows.row_line;
    let mut columns: Vec<String> = Vec::with_capacity(rows.record.len());
    let mut seen = HashSet::new();
    for (index, cell) in rows.record.iter().enumerate() {
        let at = |name: &str| Column::Cell(index + 1, name.to_owned());
        let name = str::from_utf8(cell).map_err(|error| not_utf8(line, at(""), error))?;
        if !seen.insert(name) {
            return Err(BadRow::column(line, at(name), RowProblem::ColumnTwice));
        }
        columns.push(name.to_owned());
    }
    Ok(columns)
}

fn not_utf8(line: u64, at: Column, error: std::str::Utf8Error) -> BadRow {
    BadRow::column(line, at, RowProblem::NotUtf8 { byte: error.valid_up_to() + 1 })
}

/// Adds a text as JSON.
fn push_json(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text has a JSON form, and a Vec takes every byte");
}

/// Rows with the bytes they were read from.
struct RawRows<R> {
    reader: csv::Reader<Window<R>>,
    /// The row.
    record: ByteRecord,
    /// Line that the row begins at.
    row_line: u64,
    /// Line that comes next.
    line: u64,
    /// The last byte that was looked at.
    last: u8,
    /// Bytes of the row in the window, without its line end.
    raw: std::ops::Range<usize>,
}

impl<R: Read> RawRows<R> {
    fn new(input: R) -> Self {
        let reader =
            ReaderBuilder::new().has_headers(false).flexible(true).from_reader(Window::new(input));
        Self { reader, record: ByteRecord::new(), row_line: 1, line: 1, last: 0, raw: 0..0 }
    }

    /// The row's bytes.
    fn raw(&self) -> &[u8] {
        self.reader.get_ref().kept.get(self.raw.clone()).unwrap_or_default()
    }

    /// Goes to the next row; false at the end of the input.
    fn next(&mut self) -> Result<bool, BadRow> {
        let from = self.reader.position().byte();
        self.reader.get_mut().begin_row(from);
        let found = self.reader.read_byte_record(&mut self.record);
        let line = self.line;
        let found = found.map_err(|error| broken(line, error))?;
        let to = self.reader.position().byte();
        let window = self.reader.get_ref();
        let bytes = window.between(from, to);
        let lead = bytes.iter().take_while(|b| is_line_end(**b)).count();
        let (blank, row) = bytes.split_at(lead);
        let tail = row.iter().rev().take_while(|b| is_line_end(**b)).count();
        let content = row.len() - tail;
        // A row ends with its line's end, or with the input; inside quotes, only with the input.
        let open = found && ends_inside_quotes(row);
        self.row_line = self.line + line_breaks(self.last, blank);
        self.line = self.row_line + line_breaks(0, row);
        self.last = bytes.last().copied().unwrap_or(self.last);
        let start = window.index(from) + lead;
        self.raw = start..start + content;
        if open {
            return Err(BadRow::line(self.row_line, RowProblem::Unclosed));
        }
        if found && content > ROW_BYTES_MAX {
            return Err(too_long(self.row_line));
        }
        Ok(found)
    }
}

fn too_long(line: u64) -> BadRow {
    BadRow::line(line, RowProblem::RowTooLong { max: ROW_BYTES_MAX })
}

/// Why the row that begins at `line` could not be read.
fn broken(line: u64, error: csv::Error) -> BadRow {
    match error.into_kind() {
        ErrorKind::Io(error) if error.get_ref().is_some_and(|e| e.is::<WindowFull>()) => {
            too_long(line)
        }
        ErrorKind::Io(error) => BadRow::line(line, RowProblem::Unreadable(error.to_string())),
        other => BadRow::line(line, RowProblem::Unreadable(format!("{other:?}"))),
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// How many lines end in `bytes`, which follow the byte `before`: at `\n`, at `\r\n`, or at `\r`.
fn line_breaks(before: u8, bytes: &[u8]) -> u64 {
    let mut last = before;
    let mut count = 0;
    for &byte in bytes {
        count += u64::from(byte == b'\r' || (byte == b'\n' && last != b'\r'));
        last = byte;
    }
    count
}

/// Whether a row ends inside a quoted cell. Quotes count only where a cell begins with one.
fn ends_inside_quotes(row: &[u8]) -> bool {
    if !row.contains(&b'"') {
        return false;
    }
    let (mut quoted, mut cell_begins, mut after_quote) = (false, true, false);
    for &byte in row {
        if quoted {
            quoted = byte != b'"';
            after_quote = !quoted;
        } else {
            quoted = byte == b'"' && (cell_begins || after_quote);
            after_quote = false;
        }
        cell_begins = !quoted && byte == b',';
    }
    quoted
}

/// The window of the input that the row being read stands in.
struct Window<R> {
    inner: R,
    kept: Vec<u8>,
    /// Offset in the input of the first byte kept.
    from: u64,
    /// Offset in the input of the row.
    row: u64,
}

/// The row is longer than the window may grow.
#[derive(Debug, thiserror::Error)]
#[error("the row is too long")]
struct WindowFull;

impl<R> Window<R> {
    fn new(inner: R) -> Self {
        Self { inner, kept: Vec::new(), from: 0, row: 0 }
    }

    /// Where the byte at an offset of the input stands in `kept`.
    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.from)).unwrap_or(usize::MAX)
    }

    fn between(&self, from: u64, to: u64) -> &[u8] {
        self.kept.get(self.index(from)..self.index(to)).unwrap_or_default()
    }

    /// The row begins at an offset: gives back what stands before it, once it is most of what is
    /// kept.
    fn begin_row(&mut self, offset: u64) {
        self.row = offset;
        let done = self.index(offset).min(self.kept.len());
        if done > self.kept.len() / 2 {
            self.kept.drain(..done);
            self.from += done as u64;
        }
    }
}

impl<R: Read> Read for Window<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.kept.len().saturating_sub(self.index(self.row)) > ROW_BYTES_MAX {
            return Err(io::Error::other(WindowFull));
        }
        let mut count = self.inner.read(buffer)?;
        if self.from == 0 && self.kept.is_empty() {
            // The parser passes over the mark only where it gets all of it at once, and takes the
            // input to end where nothing follows it.
            while (1..FIRST_BYTES).contains(&count) {
                match self.inner.read(buffer.get_mut(count..).unwrap_or_default()) {
                    Ok(0) => break,
                    Ok(more) => count += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
