//! How a command ends: its exit code, and what it says on standard error.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use nexus_protocol::{AppendError, ErrorCode, ReadError, Unavailable};

/// The exit codes that scripts rely on; 0 is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was tried, and failed.
    Failed = 1,
    /// The command line or a request cannot be right.
    Usage = 2,
    /// The store is not what was expected.
    Conflict = 3,
    /// It is not allowed.
    Denied = 4,
    /// The store cannot be reached now.
    NotReachable = 5,
}

/// A command that did not do what it was asked to.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    /// `None`: there is nobody left to tell, which is no failure (`| head`).
    message: Option<String>,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: Some(message.into()) }
    }

    /// An error with a code, which the documentation has a page for.
    fn coded(exit: Exit, error: impl Display, code: ErrorCode) -> Self {
        Self::new(exit, format!("{error} [{code}]"))
    }

    /// The same, with what to do about it.
    fn advised(exit: Exit, error: impl Display, advice: Option<&str>, code: ErrorCode) -> Self {
        match advice {
            Some(advice) => Self::coded(exit, format_args!("{error}; {advice}"), code),
            None => Self::coded(exit, error, code),
        }
    }

    /// Bytes on disk are not what was written.
    pub(crate) fn damaged(error: impl Display) -> Self {
        Self::coded(Exit::Failed, error, ErrorCode::CORRUPTION)
    }

    /// It was tried, and failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The command line cannot be right.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// It is not allowed.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(Exit::Denied, message)
    }

    /// The store cannot be reached now.
    pub(crate) fn not_reachable(message: impl Into<String>) -> Self {
        Self::new(Exit::NotReachable, message)
    }

    /// Standard output could not be written. A reader that has gone has seen enough.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { exit: Exit::Failed, message: None },
            _ => Self::failed(format!("standard output cannot be written: {error}")),
        }
    }

    /// The same, of a place that is named first.
    #[must_use]
    pub(crate) fn at(self, place: impl Display) -> Self {
        let message = self.message.map(|message| format!("{place}: {message}"));
        Self { message, ..self }
    }

    /// The same, and something more to know.
    #[must_use]
    pub(crate) fn and(self, more: impl Display) -> Self {
        let message = self.message.map(|message| format!("{message}; {more}"));
        Self { message, ..self }
    }

    /// Says why, and gives the exit code.
    pub fn report(self) -> ExitCode {
        let Some(message) = self.message else { return ExitCode::SUCCESS };
        crate::output::notice(format_args!("{message}"));
        ExitCode::from(self.exit as u8)
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let exit = match &error {
            AppendError::Invalid(_) | AppendError::TooLarge(_) => Exit::Usage,
            AppendError::Conflict(_)
            | AppendError::IdReused { .. }
            | AppendError::Deleted { .. }
            | AppendError::Incompatible(_) => Exit::Conflict,
            AppendError::Denied { .. } | AppendError::Unauthenticated { .. } => Exit::Denied,
            AppendError::Unavailable(Unavailable::NotReachable(_)) => Exit::NotReachable,
            _ => Exit::Failed,
        };
        let advice = match &error {
            AppendError::Conflict(_) | AppendError::BelowRetention { .. } => Some(
                "nothing was appended: read what is there now, decide again, and append what \
                 follows from it",
            ),
            AppendError::TooLarge(size) if size.what.starts_with("data") => {
                Some("--data-bytes-max raises the limit of data, up to 16777216")
            }
            // Whoever lacks a role is told which one.
            AppendError::Denied { reason, .. } if reason.contains('$') => Some(
                "name a stream and a type of your own: those that start with `$` are the system's",
            ),
            AppendError::Corruption(_) => Some(AROUND_DAMAGE),
            _ => None,
        };
        let code = error.code();
        if let AppendError::SchemaInvalid(problems) = &error {
            let told: Vec<_> = problems.iter().map(|it| it.in_full()).collect();
            let told = format!("data does not follow its schema: {}", told.join("; "));
            return Self::coded(exit, told, code);
        }
        // What steers groups, routes, and timers fails as an append does, and is none to whoever asked.
        if let AppendError::NotFound { what } = &error {
            return Self::coded(exit, format_args!("there is no {what}"), code);
        }
        Self::advised(exit, error, advice, code)
    }
}

impl From<nexus_client::schemas::SchemaError> for Failure {
    fn from(error: nexus_client::schemas::SchemaError) -> Self {
        Self::usage(error.to_string())
    }
}

impl Failure {
    /// A request about schemas, which fails as an append does, and is none to whoever asked.
    pub(crate) fn of_schema(error: AppendError) -> Self {
        let code = error.code();
        match &error {
            AppendError::Invalid(why) => Self::coded(Exit::Usage, why, code),
            AppendError::TooLarge(why) => Self::coded(Exit::Usage, why, code),
            AppendError::Incompatible(found) => {
                let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                let told = format!("the schema is incompatible: {}", found.join("; "));
                let advice =
                    "register it under another subject, or lower the bar with `nexus schema set`";
                Self::advised(Exit::Conflict, told, Some(advice), code)
            }
            _ => error.into(),
        }
    }

    /// An append that deletes a stream or changes its limits: there is no event to decide on again.
    pub(crate) fn of_change(error: AppendError) -> Self {
        let AppendError::Conflict(conflict) = &error else { return error.into() };
        let advice = "nothing was changed: `nexus stream show` says what is there";
        Self::advised(Exit::Conflict, conflict, Some(advice), error.code())
    }
}

/// What to do where bytes are damaged.
const AROUND_DAMAGE: &str =
    "`nexus verify` names all damage, and `nexus export` saves what is undamaged";

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let exit = match &error {
            ReadError::Invalid(_) => Exit::Usage,
            ReadError::Denied { .. } | ReadError::Unauthenticated { .. } => Exit::Denied,
            ReadError::Unavailable { .. } => Exit::NotReachable,
            _ => Exit::Failed,
        };
        let advice = match &error {
            ReadError::Corruption { .. } => Some(AROUND_DAMAGE),
            ReadError::NotConverted { .. } => Some("`--as-schema raw` shows it as it is stored"),
            _ => None,
        };
        let code = error.code();
        if let ReadError::NotFound { what } = &error {
            return Self::coded(exit, format_args!("there is no {what}"), code);
        }
        Self::advised(exit, error, advice, code)
    }
}

#[cfg(test)]
mod tests {
    use nexus_protocol::{Clause, Conflict, Invalid};

    use super::*;

    #[test]
    fn errors_have_the_codes_that_scripts_rely_on() {
        let check = |failure: Failure, exit| assert_eq!(failure.exit, exit, "{failure:?}");
        check(AppendError::from(Invalid::NothingToDo).into(), Exit::Usage);
        let conflict = Conflict { clause: Clause::Boundary, positions: Vec::new() };
        check(AppendError::Conflict(Box::new(conflict)).into(), Exit::Conflict);
        check(AppendError::Denied { reason: "no".to_owned(), denial: None }.into(), Exit::Denied);
        check(AppendError::Unknown.into(), Exit::Failed);
        let away = || "it is down".to_owned();
        check(
            AppendError::Unavailable(Unavailable::NotReachable(away())).into(),
            Exit::NotReachable,
        );
        check(ReadError::Unavailable { reason: away() }.into(), Exit::NotReachable);
        check(ReadError::Denied { reason: "no".to_owned(), denial: None }.into(), Exit::Denied);
        check(ReadError::Closed.into(), Exit::Failed);
        check(ReadError::from(Invalid::EmptyQuery).into(), Exit::Usage);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let gone = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!(gone.message, None);
        assert!(Failure::output(&io::ErrorKind::StorageFull.into()).message.is_some());
    }

    #[test]
    fn a_message_takes_a_place_and_what_to_do() {
        let failure = Failure::failed("b").at("a").and("c");
        assert_eq!(failure.message.as_deref(), Some("a: b; c"));
    }
}
