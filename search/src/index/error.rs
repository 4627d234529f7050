//! What goes wrong below an index, in the words of sinks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nexus_delivery::projection::SinkError;
use tantivy::TantivyError;
use tantivy::directory::error::{LockError, OpenDirectoryError, OpenReadError, OpenWriteError};

use super::aggregations::shortened;
use super::search::SearchError;
use crate::error::{of_io, said};

/// Does something with an index. Bytes that are damaged may make it panic: nothing that a disk holds may end a process.
pub(crate) fn guarded<T>(
    place: &str,
    work: impl FnOnce() -> tantivy::Result<T>,
) -> Result<T, SinkError> {
    // Nothing of what it leaves half done is used: the caller drops the sink.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| of_tantivy(place, &error)),
        Err(panic) => Err(SinkError::Damaged(format!("{place}: {}", said(panic.as_ref())))),
    }
}

/// Searches. What is asked may be what is wrong with it, and what panics is taken for that: it comes from outside, and nobody may
/// have documents be taken for damaged by asking for them.
pub(crate) fn searched<T>(
    place: &str,
    work: impl FnOnce() -> tantivy::Result<T>,
) -> Result<T, SearchError> {
    let refused =
        |why: &str| SearchError::Invalid(format!("it cannot be carried out: {}", shortened(why)));
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) if is_of_the_disk(&error) => Err(of_tantivy(place, &error).into()),
        Ok(Err(error)) => Err(refused(&error.to_string())),
        Err(panic) => Err(refused(said(panic.as_ref()))),
    }
}

fn is_of_the_disk(error: &TantivyError) -> bool {
    let is_of_a_file =
        matches!(error, TantivyError::DataCorruption(_) | TantivyError::OpenReadError(_));
    is_of_a_file || io_of(error).is_some()
}

/// What an error of Tantivy is.
fn of_tantivy(place: &str, error: &TantivyError) -> SinkError {
    let text = || format!("{place}: {error}");
    match error {
        TantivyError::DataCorruption(_)
        | TantivyError::IncompatibleIndex(_)
        | TantivyError::SchemaError(_)
        | TantivyError::OpenReadError(
            OpenReadError::FileDoesNotExist(_) | OpenReadError::IncompatibleIndex(_),
        ) => SinkError::Damaged(text()),
        error => match io_of(error) {
            Some(io) => of_io(place, io),
            None => SinkError::Unavailable(text()),
        },
    }
}

/// The error of the disk that is behind one.
fn io_of(error: &TantivyError) -> Option<&io::Error> {
    match error {
        TantivyError::IoError(io) | TantivyError::LockFailure(LockError::IoError(io), _) => {
            Some(io)
        }
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. })
        | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, .. })
        | TantivyError::OpenDirectoryError(
            OpenDirectoryError::IoError { io_error, .. }
            | OpenDirectoryError::FailedToCreateTempDir(io_error),
        ) => Some(io_error),
        _ => None,
    }
}
