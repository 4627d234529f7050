//! What is parked as JSON.

use std::borrow::Cow;

use serde::Serialize;

use super::delivery::WholeFailureJson;
use crate::error::Invalid;
use crate::group::{ParkedEntry, ParkedPick};
use crate::ids::Position;
use crate::time::Timestamp;
use crate::timer::TimerInfo;

/// An event that is parked.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "ParkedEntry")]
pub struct ParkedEntryJson<'a> {
    /// What it is named by: its position as text; of a timer its id.
    pub id: String,
    /// Where it was parked: `group:NAME`, `projection:NAME`, or `timers`.
    pub source: &'a str,
    /// Its lane; 0 where there are none.
    pub lane: u32,
    /// Where it stands in the log; of a timer, what armed it.
    pub position: u64,
    /// Its stream; null: the log has it no more. Of a timer, the stream that its event is appended to.
    pub stream: Option<&'a str>,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: Option<&'a str>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed last; null: it did not, and waits behind one of its key that did.
    pub error: Option<WholeFailureJson>,
    /// Whether it was released, by somebody or by a rule, and waits for its turn.
    pub released: bool,
    /// How many tries again a rule has given it since somebody released it last.
    pub rounds: u32,
    /// It is not to be delivered before; null: it is as soon as it is its turn.
    pub not_before: Option<Timestamp>,
    /// When it failed first; null: it did not.
    pub first_failed_at: Option<Timestamp>,
    /// When it failed last.
    pub last_failed_at: Option<Timestamp>,
    /// How many events of its key wait behind it.
    pub waiting_behind: u64,
}

impl<'a> ParkedEntryJson<'a> {
    /// An entry that was parked there.
    pub fn new(source: &'a str, entry: &'a ParkedEntry) -> Self {
        let event = entry.event.as_ref();
        Self {
            id: entry.position.to_string(),
            source,
            lane: entry.lane,
            position: entry.position.get(),
            stream: event.map(|(stream, _)| &**stream),
            event_type: event.map(|(_, event_type)| &**event_type),
            attempts: entry.attempts,
            error: entry.failure.as_ref().map(Into::into),
            released: entry.released,
            rounds: entry.rounds,
            not_before: entry.not_before,
            first_failed_at: entry.first_failed,
            last_failed_at: entry.last_failed,
            waiting_behind: entry.waiting_behind,
        }
    }
}

impl<'a> ParkedEntryJson<'a> {
    /// A timer that failed; `None`: it has not.
    pub fn of_timer(info: &'a TimerInfo) -> Option<Self> {
        let failure = info.failure.as_ref()?;
        Some(Self {
            id: info.id.clone(),
            source: "timers",
            lane: 0,
            position: info.position.get(),
            stream: Some(&info.timer.stream),
            event_type: Some(&info.timer.event.event_type),
            attempts: failure.attempts,
            error: Some((&failure.error).into()),
            released: false,
            rounds: 0,
            not_before: None,
            first_failed_at: Some(failure.first_failed),
            last_failed_at: Some(failure.last_failed),
            waiting_behind: 0,
        })
    }
}

/// Which entries are meant: by `ids`, by `lane`, by `key`, or `all`.
///
/// # Errors
/// When none of them is said, or several are, or an id is none.
pub fn pick_of(
    ids: Option<&[Cow<'_, str>]>,
    lane: Option<u32>,
    key: Option<&str>,
    all: Option<bool>,
) -> Result<ParkedPick, Invalid> {
    match (ids, lane, key, all.unwrap_or(false)) {
        (Some(ids), None, None, false) => {
            let position = |text: &Cow<'_, str>| {
                let number = text.parse::<u64>().map(Position::new);
                number.map_err(|_| Invalid::Request(format!("{text:?} is no id of what is parked")))
            };
            ids.iter().map(position).collect::<Result<_, _>>().map(ParkedPick::Positions)
        }
        (None, Some(lane), None, false) => Ok(ParkedPick::Lane(lane)),
        (None, None, Some(key), false) => Ok(ParkedPick::Key(key.to_owned())),
        (None, None, None, true) => Ok(ParkedPick::All),
        _ => Err(Invalid::Request(
            "say which entries: `ids`, `lane`, `key`, or `\"all\": true`, and one of them only"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_said_once() {
        let ids = ["7".into(), "9".into()];
        let positions = vec![Position::new(7), Position::new(9)];
        assert_eq!(pick_of(Some(&ids), None, None, None), Ok(ParkedPick::Positions(positions)));
        assert_eq!(pick_of(None, Some(3), None, None), Ok(ParkedPick::Lane(3)));
        assert_eq!(pick_of(None, None, Some("a"), None), Ok(ParkedPick::Key("a".to_owned())));
        assert_eq!(pick_of(None, None, None, Some(true)), Ok(ParkedPick::All));
        for wrong in [
            pick_of(None, None, None, None),
            pick_of(Some(&ids), Some(1), None, None),
            pick_of(None, Some(1), Some("a"), None),
            pick_of(None, Some(1), None, Some(true)),
            pick_of(Some(&["x".into()]), None, None, None),
        ] {
            assert!(wrong.is_err());
        }
    }
}
