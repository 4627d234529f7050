//! What fuzzing calls: the parsers of imported files and of templates, with what must hold of them.
//!
//! Not part of the program: it is compiled for tests and with `--cfg fuzzing`, and is the one place
//! where the parsers are opened to `fuzz/`.

use std::collections::HashSet;
use std::io::{BufReader, Read};

use crate::csv::CsvRows;
use crate::ndjson::{ExportedRows, FieldRows};
use crate::problem::BadRow;
use crate::row::{Mapping, Row};
use crate::template::{Part, Template};

/// Largest data of one event, in bytes: small, so that inputs reach it.
const DATA_BYTES_MAX: usize = 512;

/// The rows of an input, up to the first bad one.
type Rows = Vec<Result<Row, BadRow>>;

/// A CSV whose first line says what rows become: templates of stream, type, time, and tag, between
/// bars. What is read ahead changes nothing, and a line end at the end changes nothing.
pub fn csv(bytes: &[u8]) {
    let Some((mapping, input)) = mapping_of(bytes) else { return };
    let read = |input: &[u8]| csv_rows(input, &mapping);
    let rows = read(input);
    check(&rows);
    let dribbled = csv_rows(Dribble(input), &mapping);
    assert_eq!(dribbled, rows, "what is read ahead does not matter");
    check_ended(&rows, &read(&[input, b"\n"].concat()));
}

fn csv_rows(input: impl Read, mapping: &Mapping) -> Rows {
    match CsvRows::open(input, mapping, DATA_BYTES_MAX) {
        Ok(rows) => rows.collect(),
        Err(error) => vec![Err(error)],
    }
}

/// Lines of JSON, as objects for the templates of the first line, and as exported events.
pub fn ndjson(bytes: &[u8]) {
    let exported = |input: &[u8], ahead: usize| -> Rows {
        ExportedRows::new(BufReader::with_capacity(ahead, input), DATA_BYTES_MAX).collect()
    };
    check_lines(bytes, exported);
    let Some((mapping, input)) = mapping_of(bytes) else { return };
    check_lines(input, |input, ahead| {
        let input = BufReader::with_capacity(ahead, input);
        FieldRows::new(input, mapping.clone(), DATA_BYTES_MAX).collect()
    });
}

fn check_lines(input: &[u8], read: impl Fn(&[u8], usize) -> Rows) {
    let rows = read(input, 4096);
    check_lines_ascend(&rows);
    assert_eq!(read(input, 1), rows, "what is read ahead does not matter");
    check_ended(&rows, &read(&[input, b"\n"].concat(), 4096));
}

/// A template that parses is parsed to the same parts from how it would be written.
pub fn template(bytes: &[u8]) {
    let Ok(source) = str::from_utf8(bytes) else { return };
    let Ok(template) = Template::parse("--stream", source) else { return };
    let mut written = String::new();
    for part in template.parts() {
        match part {
            Part::Text(text) => written += &text.replace('{', "{{").replace('}', "}}"),
            Part::Name(name) => written += &format!("{{{name}}}"),
        }
    }
    let again = Template::parse("--stream", &written).map(|again| again.parts().to_vec());
    assert_eq!(again.as_deref(), Ok(template.parts()));
    let columns: Vec<String> = template
        .parts()
        .iter()
        .filter_map(|part| match part {
            Part::Name(name) => Some(name.clone()),
            Part::Text(_) => None,
        })
        .collect();
    let bound = template.bind(&columns).expect("every column is there");
    let rendered = bound.render(|index| columns.get(index).map(String::as_str));
    assert!(rendered.len() <= source.len(), "braces go, and nothing comes");
    assert!(columns.is_empty() || template.bind(&[]).is_err());
}

/// The mapping that the first line says, and the other lines.
fn mapping_of(bytes: &[u8]) -> Option<(Mapping, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, input) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    let mut templates = str::from_utf8(line).ok()?.split('|');
    let mut next = |flag| Template::parse(flag, templates.next()?).ok();
    let (stream, event_type) = (next("--stream")?, next("--type")?);
    let occurred_at = next("--occurred-at");
    let tags = templates.filter_map(|tag| Template::parse_tag("--tag", tag).ok()).take(4).collect();
    Some((Mapping { stream, event_type, occurred_at, tags }, input))
}

/// What holds of rows that get their ids from the input.
fn check(rows: &Rows) {
    check_lines_ascend(rows);
    let events: Vec<&Row> = rows.iter().flatten().collect();
    let ids: HashSet<_> = events.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), events.len(), "every row is an event of its own");
}

fn check_lines_ascend(rows: &Rows) {
    let mut line = 0;
    for (index, row) in rows.iter().enumerate() {
        match row {
            Ok(row) => {
                assert!(row.line > line, "line {} after line {line}", row.line);
                assert_eq!(row.event.id, Some(row.id));
                assert!(row.event.check(DATA_BYTES_MAX).is_ok(), "a row breaks no limit");
                assert!(
                    serde_json::from_slice::<&serde_json::value::RawValue>(&row.event.data).is_ok()
                        || row.event.content_type != nexus_protocol::JSON
                );
                line = row.line;
            }
            Err(error) => {
                assert_eq!(index + 1, rows.len(), "the first bad row is the last");
                assert!(error.at.line > line, "{error} after line {line}");
            }
        }
    }
}

/// The same input, once without and once with a line end at its end.
fn check_ended(rows: &Rows, ended: &Rows) {
    let good = |rows: &Rows| rows.iter().flatten().cloned().collect::<Vec<_>>();
    assert_eq!(good(ended), good(rows), "a line end at the end adds no row, and takes none");
    let bad = |rows: &Rows| rows.last().is_some_and(Result::is_err);
    assert_eq!(bad(ended), bad(rows));
}

/// A reader that gives one byte at a time.
struct Dribble<'b>(&'b [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(buffer.get_mut(..count).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_hold_for_inputs_like_those_that_are_imported() {
        let object = r#"{"id":7,"kind":"Placed","at":"2011-10-11T13:45:40.276Z","g":"a"}"#;
        let mapping = "order-{id}|{kind}|{at}|g:{g}\n";
        let rows =
            "id,kind,at,g\n7,Placed,2011-10-11T13:45:40Z,a\n8,\"Pa\"\"id\",2011-10-11T13:45:40Z,\n";
        for input in [format!("{mapping}{rows}"), format!("{mapping}{object}\n{object}\r\n")] {
            for end in 0..=input.len() {
                csv(&input.as_bytes()[..end]);
                ndjson(&input.as_bytes()[..end]);
            }
        }
        for source in ["order-{id}", "{{{a}}}", "{a}{b c}", "{", "", "a}b"] {
            template(source.as_bytes());
        }
    }
}
