//! What consumers say of what they were given.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{BACKOFF_MAX, DeliveryToken};
use crate::error::Invalid;
use crate::limits::ERROR_BYTES_MAX;

/// The most causes that are kept of an error.
const CAUSES_MAX: usize = 16;
/// What is kept of the name of a class of errors, in bytes.
pub(super) const CLASS_BYTES_MAX: usize = 128;

/// Why an event could not be processed, as its consumer said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// What kind of error it is, for rules: a word of the consumer's; empty: it did not say.
    pub class: String,
    /// What went wrong.
    pub message: String,
    /// The causes of that, outermost first.
    pub chain: Vec<String>,
}

/// What is to become of an event that was not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NackAction {
    /// It is delivered again, after this time or the back-off of the group; after too many attempts it is parked.
    Retry(Option<Duration>),
    /// It is parked at once.
    Park,
    /// It is done with.
    Skip,
    /// The whole group delivers nothing more until somebody lets it go on. The event does not count as tried.
    Stop,
}

/// An event is not processed: what is to become of it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// What is to become of it.
    pub action: NackAction,
    /// Why.
    pub failure: Failure,
}

/// Why an answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There never was such a delivery.
    #[error("there is no such delivery")]
    Unknown,
    /// It came too late: the event is, or will be, delivered anew.
    #[error("the delivery has ended: its event is delivered anew, or parked")]
    Expired,
    /// Another consumer has the event.
    #[error("another consumer has this event")]
    OtherOwner,
    /// The event is done.
    #[error("the event is acknowledged already")]
    AlreadyAcked,
}

/// An answer that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedToken {
    /// The delivery that was answered.
    pub token: DeliveryToken,
    /// Why it does not count.
    pub why: Refused,
}

/// What became of answers. Those that count are durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// How many count.
    pub done: u64,
    /// The others.
    pub refused: Vec<RefusedToken>,
}

impl Failure {
    /// Of this message alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// An error and its causes.
    pub fn of(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let chain = causes.take(CAUSES_MAX).map(ToString::to_string).collect();
        Self { class: String::new(), message: error.to_string(), chain }
    }

    /// The same, within the bounds of what is kept: [`ERROR_BYTES_MAX`].
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.class.truncate(self.class.floor_char_boundary(CLASS_BYTES_MAX));
        self.chain.truncate(CAUSES_MAX);
        let mut left = ERROR_BYTES_MAX;
        for text in std::iter::once(&mut self.message).chain(&mut self.chain) {
            text.truncate(text.floor_char_boundary(left));
            left -= text.len();
        }
        self.chain.retain(|cause| !cause.is_empty());
        self
    }
}

impl Nack {
    /// Refuses a delay that there is not. Where it is not asked, as by clients of before 0.4.1, it is cut to
    /// [`BACKOFF_MAX`].
    ///
    /// # Errors
    /// When it is beyond [`BACKOFF_MAX`].
    pub fn check(&self) -> Result<(), Invalid> {
        match self.action {
            NackAction::Retry(Some(delay)) if delay > BACKOFF_MAX => {
                let hours = BACKOFF_MAX.as_secs() / 3600;
                Err(Invalid::Request(format!(
                    "an event is delivered again after at most {hours} h: park it, and replay it when its time has come"
                )))
            }
            _ => Ok(()),
        }
    }

    /// It is delivered again, after the back-off of the group.
    pub fn retry(failure: Failure) -> Self {
        Self { action: NackAction::Retry(None), failure }
    }

    /// It is set aside.
    pub fn park(failure: Failure) -> Self {
        Self { action: NackAction::Park, failure }
    }

    /// It is done with all the same.
    pub fn skip(failure: Failure) -> Self {
        Self { action: NackAction::Skip, failure }
    }

    /// The whole group is to stop.
    pub fn stop(failure: Failure) -> Self {
        Self { action: NackAction::Stop, failure }
    }
}

/// An error, with its causes, lets its event be tried again.
impl<E: std::error::Error> From<E> for Nack {
    fn from(error: E) -> Self {
        Self::retry(Failure::of(&error))
    }
}

impl Refused {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Expired, Self::OtherOwner, Self::AlreadyAcked];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::OtherOwner => "other_owner",
            Self::AlreadyAcked => "already_acked",
        }
    }
}

impl NackAction {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry(_) => "retry",
            Self::Park => "park",
            Self::Skip => "skip",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for NackAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for NackAction {
    type Err = crate::Invalid;

    fn from_str(text: &str) -> Result<Self, crate::Invalid> {
        Ok(match text {
            "retry" => Self::Retry(None),
            "park" => Self::Park,
            "skip" => Self::Skip,
            "stop" => Self::Stop,
            _ => {
                let detail = "what is to become of an event is `retry`, `park`, `skip`, or `stop`";
                return Err(crate::Invalid::Request(detail.to_owned()));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_an_error_is_bounded() {
        let text = "ß".repeat(ERROR_BYTES_MAX);
        let class = "x".repeat(200);
        let failure = Failure { class, message: format!("a{text}"), chain: vec![text; 100] };
        let failure = failure.bounded();
        assert_eq!(failure.message.len(), ERROR_BYTES_MAX - 1, "no character is cut");
        assert_eq!((failure.class.len(), failure.chain.len()), (CLASS_BYTES_MAX, 0));
        let chain = vec!["x".repeat(1000); 100];
        let failure = Failure { message: "small".to_owned(), chain, ..Failure::default() };
        let lengths: Vec<_> = failure.bounded().chain.iter().map(String::len).collect();
        assert_eq!(lengths, [1000, 1000, 1000, 1000, 91]);
    }

    #[test]
    fn an_error_is_kept_with_its_causes() {
        let inner = "x".parse::<u32>().unwrap_err();
        let failure = Failure::of(&std::io::Error::other(inner.clone()));
        assert_eq!(failure.message, inner.to_string());
        let error = crate::AppendError::from(crate::Invalid::EmptyQuery);
        assert_eq!(Failure::of(&error).message, error.to_string());
    }
}
