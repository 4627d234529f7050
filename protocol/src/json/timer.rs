//! Timers as JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::delivery::WholeFailureJson;
use super::event::{EventJsonError, NewEventJson};
use crate::group::Failure;
use crate::ids::{EventId, Revision};
use crate::time::Timestamp;
use crate::timer::{Timer, TimerFailure, TimerInfo};

/// What a timer is to do: the data of the event that arms it, and what is asked for by HTTP.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "NewTimer")]
pub struct NewTimerJson<'a> {
    /// When; what is past is done at once.
    pub due_at: Timestamp,
    /// The stream that its event is appended to: a user's.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// The event, without `id` and `causation_id`: they are given by the timer.
    #[serde(borrow)]
    pub event: NewEventJson<'a>,
}

impl<'a> From<&'a Timer> for NewTimerJson<'a> {
    fn from(timer: &'a Timer) -> Self {
        let Timer { due_at, stream, event } = timer;
        Self { due_at: *due_at, stream: Cow::Borrowed(stream), event: event.into() }
    }
}

impl NewTimerJson<'_> {
    /// The timer.
    ///
    /// # Errors
    /// Says which field of the event is not what it should be.
    pub fn into_timer(self) -> Result<Timer, EventJsonError> {
        let event = self.event.into_event_data()?;
        Ok(Timer { due_at: self.due_at, stream: self.stream.into_owned(), event })
    }
}

/// What is known of a timer.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Timer")]
pub struct TimerJson<'a> {
    /// Its id.
    pub id: &'a str,
    /// How it stands: `armed`, `fired`, or `failed`.
    pub state: &'static str,
    /// Which arming of it this is: the revision of the event that armed it in the stream `$timer-ID`.
    pub generation: u64,
    /// Where that event stands in the log.
    pub position: u64,
    /// When it is, or was, due.
    pub due_at: Timestamp,
    /// The stream that its event is, or was, appended to.
    pub stream: &'a str,
    /// The event.
    pub event: NewEventJson<'a>,
    /// When it was armed.
    pub armed_at: Timestamp,
    /// When its event was appended; null: it was not.
    pub fired_at: Option<Timestamp>,
    /// Why that failed; null: it did not.
    pub failure: Option<TimerFailureJson>,
}

impl<'a> From<&'a TimerInfo> for TimerJson<'a> {
    fn from(info: &'a TimerInfo) -> Self {
        let Timer { due_at, stream, event } = &info.timer;
        Self {
            id: &info.id,
            state: info.state.as_str(),
            generation: info.generation.get(),
            position: info.position.get(),
            due_at: *due_at,
            stream,
            event: event.into(),
            armed_at: info.armed_at,
            fired_at: info.fired_at,
            failure: info.failure.as_ref().map(Into::into),
        }
    }
}

/// Why a timer failed.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "TimerFailure")]
pub struct TimerFailureJson {
    /// What was said last.
    pub error: WholeFailureJson,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed first.
    pub first_failed_at: Timestamp,
    /// When it failed last.
    pub last_failed_at: Timestamp,
}

impl From<&TimerFailure> for TimerFailureJson {
    fn from(failure: &TimerFailure) -> Self {
        Self {
            error: (&failure.error).into(),
            attempts: failure.attempts,
            first_failed_at: failure.first_failed,
            last_failed_at: failure.last_failed,
        }
    }
}

impl From<TimerFailureJson> for TimerFailure {
    fn from(json: TimerFailureJson) -> Self {
        let WholeFailureJson { class, message, chain } = json.error;
        Self {
            error: Failure { class, message, chain },
            attempts: json.attempts,
            first_failed: json.first_failed_at,
            last_failed: json.last_failed_at,
        }
    }
}

/// The data of an event that says that a timer has failed.
#[derive(Debug, Serialize, Deserialize)]
pub struct FailedTimerJson {
    /// Which arming of it.
    pub generation: u64,
    /// Why.
    #[serde(flatten)]
    pub failure: TimerFailureJson,
}

impl FailedTimerJson {
    /// Of a generation.
    pub fn new(generation: Revision, failure: &TimerFailure) -> Self {
        Self { generation: generation.get(), failure: failure.into() }
    }
}

impl From<FailedTimerJson> for TimerFailure {
    fn from(json: FailedTimerJson) -> Self {
        json.failure.into()
    }
}

/// The data of an event that says that a timer has fired.
#[derive(Debug, Serialize, Deserialize)]
pub struct TimerFiredJson<'a> {
    /// Which arming of it.
    pub generation: u64,
    /// When it was due.
    pub due_at: Timestamp,
    /// The stream that its event was appended to.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// The id of that event.
    pub event_id: EventId,
}
