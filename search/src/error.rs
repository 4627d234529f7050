//! What goes wrong below a sink, in its own words.

use std::any::Any;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nexus_delivery::projection::SinkError;

/// What an error of the disk is to whoever uses a sink.
pub(crate) fn of_io(doing: impl Display, error: &io::Error) -> SinkError {
    if is_full(error) {
        return SinkError::Full;
    }
    match error.kind() {
        // A file that is another, or shorter than what it holds says.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            SinkError::Damaged(format!("{doing}: {error}"))
        }
        _ => SinkError::Unavailable(format!("{doing}: {error}")),
    }
}

/// Whether the disk is full, also where somebody has put that into an error of theirs.
fn is_full(error: &io::Error) -> bool {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return true;
    }
    let mut next = error.get_ref().map(|it| it as &(dyn Error + 'static));
    while let Some(behind) = next {
        // It tells what is behind it by what Rust has no use for any more.
        let of_a_dictionary = match behind.downcast_ref::<tantivy_fst::Error>() {
            Some(tantivy_fst::Error::Io(error)) => Some(error),
            _ => None,
        };
        if let Some(error) = behind.downcast_ref::<io::Error>().or(of_a_dictionary) {
            return is_full(error);
        }
        next = behind.source();
    }
    false
}

/// What an error of redb is.
pub(crate) fn of_redb(place: &str, error: &redb::Error) -> SinkError {
    use redb::Error;
    match error {
        Error::Io(error) => of_io(place, error),
        // Tables that are missing, or of other types, are a file that somebody else has written.
        Error::Corrupted(_)
        | Error::UpgradeRequired(_)
        | Error::TableDoesNotExist(_)
        | Error::TableTypeMismatch { .. }
        | Error::TypeDefinitionChanged { .. }
        | Error::TableIsMultimap(_) => SinkError::Damaged(format!("{place}: {error}")),
        _ => SinkError::Unavailable(format!("{place}: {error}")),
    }
}

/// Does something with redb, which panics on some pages that are damaged: nothing that a disk holds may end a process.
pub(crate) fn guarded<T>(
    place: &str,
    work: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, SinkError> {
    // Nothing of what it leaves half done is used: the caller drops the sink.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| of_redb(place, &error)),
        Err(panic) => Err(SinkError::Damaged(format!("{place}: {}", said(panic.as_ref())))),
    }
}

pub(crate) fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it cannot be made sense of")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_s_errors_are_told_apart() {
        let full = SinkError::Full;
        let damaged = SinkError::Damaged(String::new());
        let unavailable = SinkError::Unavailable(String::new());
        let check = |kind: io::ErrorKind, expected: &SinkError| {
            for found in
                [of_io("reading it", &kind.into()), of_redb("it", &redb::Error::Io(kind.into()))]
            {
                let same = std::mem::discriminant(&found) == std::mem::discriminant(expected);
                assert!(same, "{kind:?}: {found:?}");
            }
        };
        check(io::ErrorKind::StorageFull, &full);
        check(io::ErrorKind::QuotaExceeded, &full);
        check(io::ErrorKind::UnexpectedEof, &damaged);
        check(io::ErrorKind::InvalidData, &damaged);
        check(io::ErrorKind::PermissionDenied, &unavailable);
        check(io::ErrorKind::InvalidInput, &unavailable);
        check(io::ErrorKind::Other, &unavailable);
    }

    #[test]
    fn a_panic_is_damage_and_says_what_it_said() {
        for panicking in [|| panic!("page 7"), || panic!("page {}", 7)] as [fn() -> (); 2] {
            let found = guarded("file", || {
                panicking();
                Ok(())
            });
            assert_eq!(found, Err(SinkError::Damaged("file: page 7".to_owned())));
        }
        assert_eq!(guarded("file", || Ok(1)), Ok(1));
        let closed = guarded::<()>("file", || Err(redb::Error::DatabaseClosed));
        assert!(matches!(closed, Err(SinkError::Unavailable(_))), "{closed:?}");
    }
}
