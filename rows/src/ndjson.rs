//! Lines of JSON as events: objects whose fields fill templates, or events that `export` wrote.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use nexus_protocol::limits::{DATA_BYTES_MAX, METADATA_BYTES_MAX};
use nexus_protocol::{EventData, EventJson, JSON, names};
use serde_json::value::RawValue;

use crate::id::RowIds;
use crate::problem::{BadRow, Column, RowProblem, listed, shortened};
use crate::row::{Mapping, Row};
use crate::template::{Part, Template, tag_has_value};

/// Longest line: the largest event as export writes it, data and metadata in base64.
const LINE_BYTES_MAX: usize = (DATA_BYTES_MAX + METADATA_BYTES_MAX) / 3 * 4 + 1024 * 1024;

/// Characters of what the parser says.
const WHAT_WIDTH: usize = 300;

/// Prefixes of the system streams that clients may append to.
const RESERVED: [&str; 4] = ["$saga-", "$timer-", "$snapshot-", "$outbox-"];

/// The lines of an input, without their ends; blank ones are passed over.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0 }
    }

    /// Reads the next line that is not blank into `self.line`; false at the end of the input.
    fn next(&mut self) -> Result<bool, BadRow> {
        loop {
            self.line.clear();
            self.number += 1;
            let more = read_line(&mut self.input, &mut self.line)
                .map_err(|e| BadRow::line(self.number, RowProblem::Unreadable(e.to_string())))?;
            if self.line.len() > LINE_BYTES_MAX {
                let max = LINE_BYTES_MAX;
                return Err(BadRow::line(self.number, RowProblem::RowTooLong { max }));
            }
            if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
            if !more {
                return Ok(false);
            }
        }
    }

    /// The line, without blanks around it.
    fn text(&self) -> Result<&str, BadRow> {
        str::from_utf8(self.line.trim_ascii()).map_err(|error| {
            let blanks = self.line.len() - self.line.trim_ascii_start().len();
            let byte = blanks + error.valid_up_to() + 1;
            BadRow::column(self.number, Column::Byte(byte), RowProblem::NotUtf8 { byte })
        })
    }

    fn bad_json(
        &self,
        error: &serde_json::Error,
        problem: impl Fn(String) -> RowProblem,
    ) -> BadRow {
        BadRow::column(self.number, Column::Byte(error.column().max(1)), problem(what_of(error)))
    }
}

/// What is wrong, without the place, which counts from where the parser began.
fn what_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    // It repeats what it met: a field that nobody knows may have any length.
    shortened(what, WHAT_WIDTH)
}

/// Adds a line without its end to `line`, and stops when it has become too long; false at the end
/// of the input.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            // Half of a line end that the end of the input cut off: the row's id must not depend on
            // whether the other half has come yet.
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(false);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default());
        let consumed = end.map_or(buffer.len(), |end| end + 1);
        input.consume(consumed);
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(true);
        }
        if line.len() > LINE_BYTES_MAX {
            return Ok(true);
        }
    }
}

/// Lines that are objects of JSON, whose fields fill templates. The data of an event is its line as it is written; a name
/// with dots is a field that is called so, or else a field in a field.
///
/// A line may have 1 MiB more than the largest event as `nexus export` writes it, and no more of the input is held at
/// once than such a line and what is read ahead of it; blank lines are passed over. After a [`BadRow`] there are no more
/// rows: a line that is not UTF-8, is no object of JSON, has not what a template names, is too long, or makes an event
/// that breaks a limit.
pub struct FieldRows<R> {
    lines: Lines<R>,
    mapping: Mapping,
    ids: RowIds,
    data_bytes_max: usize,
    done: bool,
}

impl<R: BufRead> FieldRows<R> {
    /// Over an input. An event may have `data_bytes_max` bytes of data.
    pub fn new(input: R, mapping: Mapping, data_bytes_max: usize) -> Self {
        let lines = Lines::new(input);
        Self { lines, mapping, ids: RowIds::default(), data_bytes_max, done: false }
    }

    fn row(&mut self) -> Result<Option<Row>, BadRow> {
        if !self.lines.next()? {
            return Ok(None);
        }
        let line = self.lines.number;
        let text = self.lines.text()?;
        let not_json = |e| self.lines.bad_json(&e, |what| RowProblem::NotJson { what });
        if !text.starts_with('{') {
            let value: &RawValue = serde_json::from_str(text).map_err(not_json)?;
            let what = format!("the line is {}", kind_of(value));
            return Err(BadRow::line(line, RowProblem::NotJson { what }));
        }
        let object = serde_json::from_str(text).map_err(not_json)?;
        let fields = Fields { line, object };
        let event = fields.event(&self.mapping, text)?;
        let stream = fields.render(&self.mapping.stream)?;
        let row = Row::checked(line, &self.mapping.stream, stream, event, self.data_bytes_max)?;
        let id = self.ids.next(&row.stream, &self.lines.line);
        Ok(Some(row.with_id(id)))
    }
}

impl<R: BufRead> Iterator for FieldRows<R> {
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

/// The fields of an object, each as it is written: a number must not pass through a floating point,
/// where large ids become one.
type Object<'o> = BTreeMap<String, &'o RawValue>;

/// The object of a line.
struct Fields<'o> {
    line: u64,
    object: Object<'o>,
}

impl Fields<'_> {
    fn event(&self, mapping: &Mapping, text: &str) -> Result<EventData, BadRow> {
        let event_type = self.render(&mapping.event_type)?;
        let name = |name, template: &Template| {
            let template = template.to_string();
            BadRow::line(self.line, RowProblem::Name { name, template })
        };
        names::check_event_type(&event_type).map_err(|bad| name(bad, &mapping.event_type))?;
        let mut event = EventData::new(event_type, JSON, text.to_owned().into());
        if let Some(template) = &mapping.occurred_at {
            let at = self.render(template)?;
            let at = at.parse().map_err(|error| match template.parts() {
                [Part::Name(field)] => {
                    let field = Column::Field(field.clone());
                    BadRow::column(self.line, field, RowProblem::Time(error))
                }
                _ => BadRow::line(self.line, RowProblem::Time(error)),
            })?;
            event = event.occurred_at(at);
        }
        for template in &mapping.tags {
            let tag = self.render_with(template, true)?;
            if tag_has_value(&tag) {
                names::check_tag(&tag).map_err(|bad| name(bad, template))?;
                event = event.tag(tag);
            }
        }
        Ok(event)
    }

    fn render(&self, template: &Template) -> Result<String, BadRow> {
        self.render_with(template, false)
    }

    /// The text for this object; a field that is not there is empty if it may be missing.
    fn render_with(&self, template: &Template, may_miss: bool) -> Result<String, BadRow> {
        let mut out = String::new();
        for part in template.parts() {
            let name = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Name(name) => name,
            };
            let bad = |problem| BadRow::column(self.line, Column::Field(name.clone()), problem);
            let template = || template.to_string();
            let Some(value) = field(&self.object, name) else {
                if may_miss {
                    continue;
                }
                let there = listed(self.object.keys());
                return Err(bad(RowProblem::UnknownField { template: template(), there }));
            };
            match value.get().as_bytes().first() {
                Some(b'"') => {
                    let text: String = serde_json::from_str(value.get())
                        .map_err(|error| bad(RowProblem::NotJson { what: what_of(&error) }))?;
                    out.push_str(&text);
                }
                Some(b'{' | b'[') => {
                    let (what, template) = (kind_of(value), template());
                    return Err(bad(RowProblem::NotText { what, template }));
                }
                Some(b'n') => {}
                // A number or a truth value, as it is written.
                _ => out.push_str(value.get()),
            }
        }
        Ok(out)
    }
}

/// The field of this name: one that is called so, dots and all, or else `a.b` as `b` in `a`.
fn field<'o>(object: &Object<'o>, name: &str) -> Option<&'o RawValue> {
    object.get(name).copied().or_else(|| {
        name.match_indices('.').find_map(|(dot, _)| {
            let (outer, inner) = (name.get(..dot)?, name.get(dot + 1..)?);
            let outer: Object<'o> = serde_json::from_str(object.get(outer)?.get()).ok()?;
            field(&outer, inner)
        })
    })
}

fn kind_of(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a truth value",
        Some(b'"') => "a text",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

/// Lines that are events as `nexus export` wrote them. Those of system streams that only the system appends to are
/// marked ([`Row::left_out`]), so that they can be counted and passed over. An event without an id gets one from its
/// line.
///
/// Lines have the bound of [`FieldRows`]. After a [`BadRow`] there are no more rows: a line that is not UTF-8, is no
/// exported event, is too long, or holds an event that breaks a limit.
pub struct ExportedRows<R> {
    lines: Lines<R>,
    ids: RowIds,
    data_bytes_max: usize,
    done: bool,
}

impl<R: BufRead> ExportedRows<R> {
    /// Over an input. An event may have `data_bytes_max` bytes of data.
    pub fn new(input: R, data_bytes_max: usize) -> Self {
        Self { lines: Lines::new(input), ids: RowIds::default(), data_bytes_max, done: false }
    }

    fn row(&mut self) -> Result<Option<Row>, BadRow> {
        if !self.lines.next()? {
            return Ok(None);
        }
        let line = self.lines.number;
        let text = self.lines.text()?;
        let exported: EventJson = serde_json::from_str(text)
            .map_err(|e| self.lines.bad_json(&e, |what| RowProblem::NotExported { what }))?;
        let stream = exported.stream.as_ref();
        let field = |name: &str| Column::Field(name.to_owned());
        names::check_stream_name(stream).map_err(|name| {
            BadRow::column(line, field("stream"), RowProblem::Event(name.into()))
        })?;
        let event = exported
            .to_event_data()
            .map_err(|problem| BadRow::line(line, RowProblem::EventJson(problem)))?;
        event
            .check(self.data_bytes_max)
            .map_err(|problem| BadRow::line(line, RowProblem::Event(problem)))?;
        let stream = stream.to_owned();
        let left_out = names::is_system(&stream) && !RESERVED.iter().any(|r| stream.starts_with(r));
        let id = match event.id {
            Some(id) => id,
            None => self.ids.next(&stream, &self.lines.line),
        };
        Ok(Some(Row { line, stream, event: event.id(id), id, left_out }))
    }
}

impl<R: BufRead> Iterator for ExportedRows<R> {
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

#[cfg(test)]
mod tests;
