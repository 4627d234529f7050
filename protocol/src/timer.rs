//! Timers: events that wait for their time.
//!
//! A timer is the stream `$timer-ID`. An event [`TIMER_ARMED`] in it arms the timer, or arms it anew; its revision is
//! the generation of what it armed. [`TIMER_DISARMED`] takes that back. Both may stand in any append of a client, next
//! to its other events, so that what a step decides and the timer it sets are stored together or not at all. When the
//! time has come, Nexus appends the timer's event and [`TIMER_FIRED`] on the condition that the stream still ends with
//! the event that armed it. What the newest event of the stream says is therefore all there is to know of a timer.

use bytes::Bytes;
use uuid::{Uuid, uuid};

use crate::append::Append;
use crate::error::Invalid;
use crate::event::{EventData, EventProblem};
use crate::group::Failure;
use crate::ids::{CausationId, EventId, Position, Revision};
use crate::json::{FailedTimerJson, NewTimerJson, TimerFiredJson};
use crate::limits::{DATA_BYTES_MAX, TIMER_AHEAD_DAYS_MAX, TIMER_ID_BYTES_MAX};
use crate::names::{self, InvalidName};
use crate::record::RecordedEvent;
use crate::time::Timestamp;

/// How the streams of timers are called: this, and the timer's id.
pub const TIMER_PREFIX: &str = "$timer-";
/// The category of these streams.
pub const TIMER_CATEGORY: &str = "$timer";
/// Arms a timer: its data says when which event is to be appended where.
pub const TIMER_ARMED: &str = "$TimerArmed";
/// Disarms a timer.
pub const TIMER_DISARMED: &str = "$TimerDisarmed";
/// A timer's event was appended, together with this one. Only Nexus writes it.
pub const TIMER_FIRED: &str = "$TimerFired";
/// A timer's event could not be appended. Only Nexus writes it.
pub const TIMER_FAILED: &str = "$TimerFailed";

/// The UUID namespace of the ids of what a timer appends, for good.
const TIMER_NAMESPACE: Uuid = uuid!("0c7a1c0f-7f3e-4b0e-9d57-6c4a3b5f8e21");
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// What a timer is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Timer {
    /// When; what is past is done at once.
    pub due_at: Timestamp,
    /// The stream that its event is appended to: a user's.
    pub stream: String,
    /// The event. Its id and what caused it are given by the timer.
    pub event: EventData,
}

/// How a timer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerState {
    /// It waits for its time.
    Armed,
    /// Its event was appended.
    Fired,
    /// Its event could not be appended: it waits until somebody arms it anew, or disarms it.
    Failed,
}

impl TimerState {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Fired => "fired",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for TimerState {
    type Err = Invalid;

    fn from_str(word: &str) -> Result<Self, Invalid> {
        match word {
            "armed" => Ok(Self::Armed),
            "fired" => Ok(Self::Fired),
            "failed" => Ok(Self::Failed),
            _ => Err(Invalid::Request(format!("{word:?} is no state of a timer: armed, failed"))),
        }
    }
}

/// Why a timer failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerFailure {
    /// What was said last.
    pub error: Failure,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed first.
    pub first_failed: Timestamp,
    /// When it failed last.
    pub last_failed: Timestamp,
}

/// What is known of a timer.
#[derive(Clone, Debug, PartialEq)]
pub struct TimerInfo {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub state: TimerState,
    /// The revision of the event that armed it.
    pub generation: Revision,
    /// Where that event stands in the log.
    pub position: Position,
    /// What it is, or was, to do.
    pub timer: Timer,
    /// When it was armed.
    pub armed_at: Timestamp,
    /// When its event was appended.
    pub fired_at: Option<Timestamp>,
    /// Why that did not work.
    pub failure: Option<TimerFailure>,
}

impl TimerInfo {
    /// What arms a timer anew that has failed: its time is past, so that it is due at once. It conflicts where something
    /// was decided about it meanwhile.
    pub fn armed_again(&self) -> Append {
        self.behind_failure(self.timer.armed())
    }

    /// What gives up a timer that has failed. It conflicts where something was decided about it meanwhile.
    pub fn given_up(&self) -> Append {
        self.behind_failure(disarmed())
    }

    fn behind_failure(&self, event: EventData) -> Append {
        // That it failed stands right behind what armed it.
        let failed = Revision::new(self.generation.get().saturating_add(1));
        Append::to(timer_stream(&self.id)).at(failed).event(event)
    }
}

/// Timers that are asked for: the armed ones, or those that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerList {
    /// [`TimerState::Armed`] or [`TimerState::Failed`].
    pub state: TimerState,
    /// Only ids after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A part of the timers, sorted by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimerPage {
    /// The timers.
    pub timers: Vec<TimerInfo>,
    /// There are more: ask for those after this one.
    pub next: Option<String>,
}

/// Checks the id of a timer: anything without control characters.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_timer_id(id: &str) -> Result<(), InvalidName> {
    names::check("timer", id, TIMER_ID_BYTES_MAX)
}

/// The stream of a timer.
pub fn timer_stream(id: &str) -> String {
    format!("{TIMER_PREFIX}{id}")
}

/// What the ids of a timer's events are made of: UUIDv5 over the id of the event that armed it ‖ kind. That id is no
/// other arming's, in whatever store.
fn event_id(armed: EventId, kind: u8) -> EventId {
    let mut name = [0; 17];
    name[..16].copy_from_slice(armed.as_bytes());
    name[16] = kind;
    EventId::from_uuid(Uuid::new_v5(&TIMER_NAMESPACE, &name))
}

/// The id of the event that a timer appends which this event armed: the same however often it is tried.
pub fn timer_event_id(armed: EventId) -> EventId {
    event_id(armed, 0)
}

impl Timer {
    /// A timer that is to append an event at a time.
    pub fn new(due_at: Timestamp, stream: impl Into<String>, event: EventData) -> Self {
        Self { due_at, stream: stream.into(), event }
    }

    /// Checks what does not depend on the time: the stream is one that a client may append to, and the event one that
    /// it may append there.
    ///
    /// # Errors
    /// Says what is wrong and what would be right.
    pub fn check(&self, data_bytes_max: usize) -> Result<(), EventProblem> {
        names::check_stream_name(&self.stream)?;
        let refused = |why: String| Err(EventProblem::Invalid(Invalid::Request(why)));
        if names::is_system(&self.stream) {
            return refused(format!(
                "a timer cannot append to {:?}: names that start with `$` are the system's",
                self.stream
            ));
        }
        if self.event.event_type.starts_with('$') {
            return refused(format!(
                "a timer cannot append an event of type {:?}: types that start with `$` are the system's",
                self.event.event_type
            ));
        }
        if self.event.id.is_some() || self.event.causation_id.is_some() {
            return refused(
                "the event of a timer has neither `id` nor `causation_id`: its id is made of the timer's, so that it \
                 is appended once, and what caused it is the event that armed the timer"
                    .to_owned(),
            );
        }
        self.event.check(data_bytes_max)
    }

    /// The event that arms the timer, for the stream [`timer_stream`].
    pub fn armed(&self) -> EventData {
        EventData::json(TIMER_ARMED, &NewTimerJson::from(self)).expect("a timer has a JSON form")
    }

    /// What an event that arms a timer says.
    ///
    /// # Errors
    /// When it does not say what a timer is to do.
    pub fn from_armed(data: &[u8]) -> Result<Self, Invalid> {
        let of = |why: &dyn std::fmt::Display| {
            Invalid::Request(format!(
                "the data of a {TIMER_ARMED} event has to be {{\"due_at\", \"stream\", \"event\"}}: {why}"
            ))
        };
        let json: NewTimerJson = serde_json::from_slice(data).map_err(|why| of(&why))?;
        json.into_timer().map_err(|why| of(&why))
    }

    /// The event that is appended when the time has come: a consequence of the one that armed it.
    pub fn due_event(self, armed: &RecordedEvent) -> EventData {
        let mut event = self.event.caused_by(armed);
        event.causation_id = Some(CausationId::from_uuid(armed.id().as_uuid()));
        event.id(timer_event_id(armed.id()))
    }
}

/// The event that disarms a timer, for the stream [`timer_stream`].
pub fn disarmed() -> EventData {
    EventData::new(TIMER_DISARMED, "", Bytes::new())
}

/// The event that says that a timer has fired which this event armed.
pub fn fired(armed: &RecordedEvent, timer: &Timer) -> EventData {
    let json = TimerFiredJson {
        generation: armed.revision().get(),
        due_at: timer.due_at,
        stream: timer.stream.as_str().into(),
        event_id: timer_event_id(armed.id()),
    };
    let event = EventData::json(TIMER_FIRED, &json).expect("it has a JSON form");
    event.id(event_id(armed.id(), 1))
}

/// The event that says that a timer has failed.
pub fn failed(generation: Revision, failure: &TimerFailure) -> EventData {
    let json = FailedTimerJson::new(generation, failure);
    EventData::json(TIMER_FAILED, &json).expect("it has a JSON form")
}

/// Checks an event that a client wants to append to the stream of a timer.
///
/// # Errors
/// When clients may not append it there; `now` bounds how far ahead a timer may be due.
pub fn check_client_event(
    stream: &str,
    event: &EventData,
    data_bytes_max: usize,
    now: Timestamp,
) -> Result<(), EventProblem> {
    check_timer_id(stream.strip_prefix(TIMER_PREFIX).unwrap_or_default())?;
    let refused = |why: String| Err(EventProblem::Invalid(Invalid::Request(why)));
    if event.event_type == TIMER_DISARMED {
        return match event.data.trim_ascii() {
            b"" | b"{}" => Ok(()),
            _ => refused(format!("an event {TIMER_DISARMED} has no data")),
        };
    }
    if event.data.len() > data_bytes_max.min(DATA_BYTES_MAX) {
        return event.check(data_bytes_max);
    }
    let timer = Timer::from_armed(&event.data)?;
    timer.check(data_bytes_max)?;
    let days = i64::try_from(TIMER_AHEAD_DAYS_MAX).unwrap_or(i64::MAX);
    let latest = now.as_micros().saturating_add(days.saturating_mul(DAY_MICROS));
    if timer.due_at.as_micros() > latest {
        return refused(format!(
            "a timer cannot be due at {}: at most {TIMER_AHEAD_DAYS_MAX} days ahead",
            timer.due_at
        ));
    }
    Ok(())
}

/// What the newest event of a timer's stream, and the one that armed it, say of the timer; `None`: it is disarmed.
///
/// # Errors
/// When they do not say what such events say.
pub fn timer_info(
    id: &str,
    newest: &RecordedEvent,
    armed: &RecordedEvent,
) -> Result<Option<TimerInfo>, Invalid> {
    let state = match newest.event_type() {
        TIMER_ARMED => TimerState::Armed,
        TIMER_FIRED => TimerState::Fired,
        TIMER_FAILED => TimerState::Failed,
        _ => return Ok(None),
    };
    let failure = match state {
        TimerState::Failed => {
            let json: FailedTimerJson = newest
                .json()
                .map_err(|why| Invalid::Request(format!("event {TIMER_FAILED}: {why}")))?;
            Some(json.into())
        }
        TimerState::Armed | TimerState::Fired => None,
    };
    Ok(Some(TimerInfo {
        id: id.to_owned(),
        state,
        generation: armed.revision(),
        position: armed.position(),
        timer: Timer::from_armed(armed.data())?,
        armed_at: armed.recorded_at(),
        fired_at: (state == TimerState::Fired).then(|| newest.recorded_at()),
        failure,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed(data: &str) -> EventData {
        EventData::new(TIMER_ARMED, crate::JSON, Bytes::copy_from_slice(data.as_bytes()))
    }

    #[test]
    fn a_timer_comes_back_as_it_was() {
        let event = EventData::new("Sent", "image/png", Bytes::from_static(b"\xff\0"));
        let event = event.tag("a:b").metadata("{}").occurred_at(Timestamp::from_micros(-7));
        let event = event.not_before(Timestamp::from_micros(8));
        for event in [event, EventData::json("Sent", &1).unwrap(), EventData::default()] {
            let timer = Timer::new(Timestamp::from_micros(5_000_000), "mail-1", event);
            assert_eq!(Timer::from_armed(&timer.armed().data).unwrap(), timer);
        }
    }

    #[test]
    fn what_no_timer_does_is_refused_and_said() {
        let now = Timestamp::from_micros(0);
        let good = r#"{"due_at":"1960-01-01T00:00:00Z","stream":"mail-1","event":{"type":"Sent"}}"#;
        assert_eq!(check_client_event("$timer-a", &armed(good), 1024, now), Ok(()));
        for (data, part) in [
            ("", "due_at"),
            ("{}", "due_at"),
            (r#"{"due_at":"soon","stream":"a","event":{"type":"A"}}"#, "RFC 3339"),
            (
                r#"{"due_at":"2071-01-01T00:00:00Z","stream":"a","event":{"type":"A"}}"#,
                "days ahead",
            ),
            (r#"{"due_at":"1970-01-01T00:00:00Z","stream":"$a","event":{"type":"A"}}"#, "system's"),
            (r#"{"due_at":"1970-01-01T00:00:00Z","stream":"-a","event":{"type":"A"}}"#, "-a"),
            (r#"{"due_at":"1970-01-01T00:00:00Z","stream":"a","event":{"type":"$A"}}"#, "system's"),
            (r#"{"due_at":"1970-01-01T00:00:00Z","stream":"a","event":{"type":""}}"#, "empty"),
            (r#"{"due_at":"1970-01-01T00:00:00Z","stream":"a","event":{"type":"A"},"x":1}"#, "`x`"),
            (
                r#"{"due_at":"1970-01-01T00:00:00Z","stream":"a","event":{"type":"A",
                "id":"00000000-0000-0000-0000-000000000000"}}"#,
                "neither `id`",
            ),
        ] {
            let refused = check_client_event("$timer-a", &armed(data), 1024, now).unwrap_err();
            assert!(refused.to_string().contains(part), "{data}: {refused}");
        }
        let long = format!("$timer-{}", "a".repeat(257));
        assert!(check_client_event(&long, &armed(good), 1024, now).is_err());
        let talkative = EventData::json(TIMER_DISARMED, &1).unwrap();
        assert!(check_client_event("$timer-a", &talkative, 1024, now).is_err());
        assert_eq!(check_client_event("$timer-a", &disarmed(), 1024, now), Ok(()));
    }

    #[test]
    fn ids_depend_on_the_arming_and_the_kind() {
        let (one, other) = (EventId::from_bytes([1; 16]), EventId::from_bytes([2; 16]));
        let id = timer_event_id(one);
        // For good: `docs/format.md` says how it is made.
        assert_eq!(id.as_uuid().get_version_num(), 5);
        assert!([timer_event_id(other), event_id(one, 1)].iter().all(|it| *it != id));
    }
}
