//! What can be wrong with a row of the input: what, where, and what to do about it.

use std::fmt;

use nexus_protocol::{EventJsonError, EventProblem, InvalidName, TimestampError};

use crate::template::UnknownColumn;

/// Characters of a name that are shown.
const NAME_WIDTH: usize = 64;
/// Characters of names that are listed, about.
const LISTED_WIDTH: usize = 400;

/// Names of columns or fields, as a message lists them: an input may have any number, of any length.
pub(crate) fn listed<'n>(names: impl IntoIterator<Item = &'n String>) -> String {
    let mut list = String::new();
    for name in names {
        if !list.is_empty() {
            list.push_str(", ");
        }
        if list.len() > LISTED_WIDTH {
            list.push('…');
            break;
        }
        list.push_str(&shortened(name, NAME_WIDTH));
    }
    list
}

/// The beginning of a text, with `…` where something is left out.
pub(crate) fn shortened(text: &str, width_max: usize) -> String {
    match text.char_indices().nth(width_max) {
        Some(_) => text.chars().take(width_max.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// A row that is no event. No row comes after it; those before it stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct BadRow {
    /// Where it is.
    pub at: Place,
    /// What is wrong.
    pub problem: RowProblem,
}

impl BadRow {
    /// A problem of a whole line.
    pub(crate) fn line(line: u64, problem: impl Into<RowProblem>) -> Self {
        Self { at: Place { line, column: None }, problem: problem.into() }
    }

    /// A problem of one column of a line.
    pub(crate) fn column(line: u64, column: Column, problem: impl Into<RowProblem>) -> Self {
        Self { at: Place { line, column: Some(column) }, problem: problem.into() }
    }
}

/// A place in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line its row begins at, from 1; line breaks inside quotes count.
    pub line: u64,
    /// Which part of it.
    pub column: Option<Column>,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// A cell: its number, from 1, and the name that the header gives it.
    Cell(usize, String),
    /// A byte of the line, from 1.
    Byte(usize),
    /// A field of an object.
    Field(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        match &self.column {
            Some(Column::Cell(number, name)) if name.is_empty() => write!(f, ", column {number}"),
            Some(Column::Cell(number, name)) => {
                write!(f, ", column {number} ({:?})", shortened(name, NAME_WIDTH))
            }
            Some(Column::Byte(byte)) => write!(f, ", column {byte}"),
            Some(Column::Field(name)) => write!(f, ", field {:?}", shortened(name, NAME_WIDTH)),
            None => Ok(()),
        }
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowProblem {
    /// The input has no first line.
    #[error("the input is empty: its first line must name the columns")]
    NoHeader,
    /// Two columns of one name.
    #[error("the header names this column twice: give every column a name of its own")]
    ColumnTwice,
    /// A template names a column that is not there.
    #[error(transparent)]
    UnknownColumn(#[from] UnknownColumn),
    /// Another number of cells than the header has.
    #[error(
        "the row has {found} cells, the header has {wanted}: write a cell for every column, and \
         put quotes around one that holds a comma or a line break"
    )]
    CellCount {
        /// How many there are.
        found: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// A quoted cell that the end of the input cuts off.
    #[error("a quoted cell is never closed: the input is cut off, or a quote is missing")]
    Unclosed,
    /// Bytes that are not UTF-8.
    #[error("byte {byte} is not UTF-8: write the file as UTF-8")]
    NotUtf8 {
        /// Which byte of the cell or line, from 1.
        byte: usize,
    },
    /// A line that was given up on before its end.
    #[error(
        "the row has more than {max} bytes, more than an event can hold: split it, or close a \
         quote that was left open"
    )]
    RowTooLong {
        /// How many it may have.
        max: usize,
    },
    /// A cell that is larger than the data of an event may be.
    #[error("the cell has {bytes} bytes, and all data of an event together may have {max}: cut it")]
    CellTooLong {
        /// How many it has.
        bytes: usize,
        /// How many all cells together may have.
        max: usize,
    },
    /// A text that is no time.
    #[error("{0}")]
    Time(#[from] TimestampError),
    /// A name that a template made is not one.
    #[error("{name} (made by {template})")]
    Name {
        /// What is wrong with the name.
        name: InvalidName,
        /// The template, as on the command line.
        template: String,
    },
    /// A stream of the system's.
    #[error("stream {stream:?} is the system's, which alone appends to it: name another")]
    SystemStream {
        /// Its name.
        stream: String,
    },
    /// A type of the system's.
    #[error("event type {event_type:?} starts with `$`, as only the system's do: name another")]
    SystemType {
        /// Its name.
        event_type: String,
    },
    /// The event breaks a limit.
    #[error("{0}")]
    Event(#[from] EventProblem),
    /// A line that is not a JSON object.
    #[error("{what}: write one JSON object a line")]
    NotJson {
        /// What the parser found.
        what: String,
    },
    /// A template names a field that the object does not have.
    #[error("the object has no such field, which {template} names; there are: {there}")]
    UnknownField {
        /// The template, as on the command line.
        template: String,
        /// The fields there are.
        there: String,
    },
    /// A template names a field that is an object or a list.
    #[error(
        "it is {what}, which {template} cannot use: name a text or number in it, as in {{a.b}}"
    )]
    NotText {
        /// What it is.
        what: &'static str,
        /// The template, as on the command line.
        template: String,
    },
    /// A line that is no exported event.
    #[error(
        "not an event as `nexus export` writes them ({what}); for other objects say what they \
         become, as in --stream 'order-{{id}}' --type '{{kind}}'"
    )]
    NotExported {
        /// What is wrong with it.
        what: String,
    },
    /// A field of an exported event is not what it should be.
    #[error("{0}: export it again, or mend the line")]
    EventJson(#[from] EventJsonError),
    /// The input cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shortened_at_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
