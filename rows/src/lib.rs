//! Rows of files as events: of CSV, of objects of JSON, and of what `nexus export` wrote.
//!
//! An input is any reader. [`CsvRows`] and [`FieldRows`] make an event of each row as a [`Mapping`] of [`Template`]s
//! says; the lines of [`ExportedRows`] are events already. Each yields [`Row`]s in the order of the input, and ends
//! after the first [`BadRow`]. The input alone decides a row's event and its id, so that the same input read twice
//! makes the same events, and one that has grown at its end begins with those that it had.
//!
//! Inputs are an outsider's: none of them ends the process, and what is held of one is bounded by its longest row,
//! which has a bound, and by the names of its streams, each of which is held once.
//!
//! Is not: what opens files, looks events up in the log, and appends them, which is `nexus import`. This crate opens no
//! file, reads no clock, and needs few libraries, since `fuzz/` builds all of them with sanitizers.

mod csv;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod ndjson;
mod problem;
mod row;
mod template;

pub use self::csv::CsvRows;
pub use ndjson::{ExportedRows, FieldRows};
pub use problem::{BadRow, Column, Place, RowProblem};
pub use row::{Mapping, Row, Rows};
pub use template::{Template, TemplateError, UnknownColumn};
