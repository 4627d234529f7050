//! [`Lanes`]: the keys of a projection whose events wait, behind one that failed.
//!
//! An event that cannot be folded holds up what comes behind it under its key, and nothing else. Of what is behind nothing
//! is kept but how many there are: it is read again once the first goes through, is skipped, or is folded with other data.
//! So a key with a million events behind takes no more room than one with none; to go on with it takes a read of what the
//! projection takes, from the first of them.
//!
//! An event that has no key holds up nothing. It can only be skipped: what it would have been folded before is folded by
//! now.

use std::collections::BTreeMap;

use nexus_protocol::group::{Failure, ParkedEntry, ParkedList, ParkedPick};
use nexus_protocol::limits::FOLD_ATTEMPTS_MAX;
use nexus_protocol::{Position, Timestamp};
use serde::{Deserialize, Serialize};

use super::model::FoldFailed;

/// Bytes of a failure's message that are kept, and of its first cause: they are written with every commit.
const TEXT_BYTES_MAX: usize = 256;
/// The first try again comes after so many milliseconds; each further one after four times as long.
const BACKOFF_MS: u64 = 250;

/// What waits, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Lanes(BTreeMap<LaneKey, Lane>);

/// Whose events wait.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LaneKey {
    /// Those of a key.
    Key(String),
    /// The one at this position, which has no key.
    Event(u64),
}

/// What holds up a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lane {
    /// The event that failed.
    pub(super) position: u64,
    /// The first position whose events are not folded: beyond that of the event once it went through.
    pub(super) from: u64,
    /// How many of its key came behind it, and are not folded.
    pub(super) behind: u64,
    /// How often it was folded since it was released last.
    pub(super) attempts: u32,
    /// How often it was, ever.
    pub(super) tried: u32,
    /// Whether it is folded again without anybody's doing, or by somebody's.
    pub(super) released: bool,
    /// Not before that, in microseconds since 1970.
    pub(super) not_before: Option<i64>,
    pub(super) first_failed: i64,
    pub(super) last_failed: i64,
    pub(super) class: String,
    pub(super) message: String,
    pub(super) cause: Option<String>,
}

// Keys of objects are texts in JSON: what has no key is told from a key by its beginning.
impl Serialize for LaneKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Key(key) => serializer.collect_str(&format_args!("k{key}")),
            Self::Event(position) => serializer.collect_str(&format_args!("e{position}")),
        }
    }
}

impl<'de> Deserialize<'de> for LaneKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let event = || text.strip_prefix('e')?.parse().ok().map(Self::Event);
        let key = text.strip_prefix('k').map(|key| Self::Key(key.to_owned()));
        key.or_else(event).ok_or_else(|| serde::de::Error::custom("no key of what waits"))
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

impl Lane {
    /// Of an event that failed just now, for the first time.
    pub(super) fn new(position: u64, failed: &FoldFailed, now: Timestamp) -> Self {
        let mut lane = Self {
            position,
            from: position,
            behind: 0,
            attempts: 0,
            tried: 0,
            released: false,
            not_before: None,
            first_failed: now.as_micros(),
            last_failed: now.as_micros(),
            class: String::new(),
            message: String::new(),
            cause: None,
        };
        lane.failed(failed, now);
        lane
    }

    /// It failed once more.
    pub(super) fn failed(&mut self, failed: &FoldFailed, now: Timestamp) {
        let FoldFailed { failure, passes } = failed;
        self.attempts += 1;
        self.tried = self.tried.saturating_add(1);
        self.last_failed = now.as_micros();
        self.class = cut(&failure.class);
        self.message = cut(&failure.message);
        self.cause = failure.chain.first().map(|cause| cut(cause));
        self.released = *passes && self.attempts < FOLD_ATTEMPTS_MAX;
        let wait = std::time::Duration::from_millis(BACKOFF_MS << (2 * self.attempts.min(8)));
        self.not_before = self.released.then(|| now.saturating_add(wait).as_micros());
    }

    fn release(&mut self) {
        self.released = true;
        self.not_before = None;
        self.attempts = 0;
    }

    /// Whether its first event has failed, and not gone through since.
    fn is_held_up(&self) -> bool {
        self.from == self.position
    }

    /// When it is folded again; `None`: only if somebody says so.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let at = self.not_before.map_or(Timestamp::from_micros(i64::MIN), Timestamp::from_micros);
        self.released.then_some(at)
    }

    fn entry(&self) -> ParkedEntry {
        let chain = self.cause.iter().cloned().collect();
        let (class, message) = (self.class.clone(), self.message.clone());
        ParkedEntry {
            position: Position::new(self.position),
            lane: 0,
            event: None,
            attempts: self.tried,
            failure: Some(Failure { class, message, chain }),
            released: self.released,
            rounds: 0,
            not_before: self.not_before.map(Timestamp::from_micros),
            first_failed: Some(Timestamp::from_micros(self.first_failed)),
            last_failed: Some(Timestamp::from_micros(self.last_failed)),
            waiting_behind: self.behind,
        }
    }
}

impl Lanes {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get_mut(&mut self, key: &LaneKey) -> Option<&mut Lane> {
        self.0.get_mut(key)
    }

    /// What holds up a key.
    pub(super) fn of_key(&mut self, key: &str) -> Option<&mut Lane> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get_mut(&LaneKey::Key(key.to_owned()))
    }

    /// Whether something holds up a key.
    pub(super) fn has_key(&self, key: &str) -> bool {
        !self.0.is_empty() && self.0.contains_key(&LaneKey::Key(key.to_owned()))
    }

    pub(super) fn insert(&mut self, key: LaneKey, lane: Lane) {
        self.0.insert(key, lane);
    }

    pub(super) fn remove(&mut self, key: &LaneKey) {
        self.0.remove(key);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&LaneKey, &Lane)> {
        self.0.iter()
    }

    /// The entries that are asked for, by position, and whether there are more.
    pub(super) fn list(&self, list: &ParkedList) -> (Vec<ParkedEntry>, bool) {
        let is_listed = |(key, lane): &(&LaneKey, &Lane)| {
            let of_key = list.key.as_ref().is_none_or(|wanted| match key {
                LaneKey::Key(key) => key == wanted,
                LaneKey::Event(_) => false,
            });
            of_key
                && lane.is_held_up()
                && list.after.is_none_or(|after| lane.position > after.get())
        };
        let mut entries: Vec<_> = self.iter().filter(is_listed).map(|(_, it)| it.entry()).collect();
        entries.sort_by_key(|entry| entry.position);
        let more = entries.len() > list.limit;
        entries.truncate(list.limit);
        (entries, more)
    }

    /// The positions of what failed, of those that are picked, ascending; with what has no key, or without.
    pub(super) fn picked(&self, pick: &ParkedPick, with_events: bool) -> Vec<u64> {
        let is_picked = |(key, lane): &(&LaneKey, &Lane)| {
            let by_key = match (key, pick) {
                // Not those that somebody has decided about, which are to be folded again.
                (_, ParkedPick::All) => !lane.released || lane.not_before.is_some(),
                (_, ParkedPick::Lane(_)) => false,
                (LaneKey::Key(key), ParkedPick::Key(wanted)) => key == wanted,
                (LaneKey::Event(_), ParkedPick::Key(_)) => false,
                (_, ParkedPick::Positions(positions)) => {
                    positions.contains(&Position::new(lane.position))
                }
            };
            by_key && lane.is_held_up() && (with_events || matches!(key, LaneKey::Key(_)))
        };
        let mut positions: Vec<_> =
            self.iter().filter(is_picked).map(|(_, it)| it.position).collect();
        positions.sort_unstable();
        positions
    }

    /// Whether what failed at a position is held up by that still; and under this key, if one is given.
    pub(super) fn holds(&self, position: u64, key: Option<&str>) -> bool {
        self.iter().any(|(of, lane)| {
            let is_of_key = key.is_none_or(|key| *of == LaneKey::Key(key.to_owned()));
            is_of_key && lane.position == position && lane.is_held_up()
        })
    }

    /// Has those folded again that failed at these positions. How many there were.
    pub(super) fn release(&mut self, positions: &[u64]) -> u64 {
        let released =
            self.0.values_mut().filter(|it| positions.binary_search(&it.position).is_ok());
        released.map(Lane::release).count() as u64
    }

    /// The key of what is to be folded again by now, the one that waits longest first.
    pub(super) fn due(&self, now: Timestamp) -> Option<LaneKey> {
        let due = self.iter().filter_map(|(key, lane)| Some((lane.due()?, key)));
        due.filter(|(at, _)| *at <= now).min().map(|(_, key)| key.clone())
    }

    /// When something is to be folded again next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.0.values().filter_map(Lane::due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(passes: bool) -> FoldFailed {
        FoldFailed { failure: Failure::new("ß".repeat(200)), passes }
    }

    #[test]
    fn what_may_pass_is_tried_again_later_each_time_and_is_parked_in_the_end() {
        let mut now = Timestamp::from_micros(1_000_000);
        let mut lane = Lane::new(3, &failed(true), now);
        let mut waits = Vec::new();
        while let Some(due) = lane.due() {
            waits.push(due.since(now).as_millis());
            now = due;
            lane.failed(&failed(true), now);
        }
        assert_eq!(waits, [1_000, 4_000, 16_000, 64_000]);
        assert_eq!((lane.attempts, lane.message.len()), (FOLD_ATTEMPTS_MAX, 256));
        lane.release();
        assert!(lane.due().unwrap() < now);
        lane.failed(&failed(false), now);
        assert_eq!((lane.due(), lane.tried), (None, FOLD_ATTEMPTS_MAX + 1));
    }

    #[test]
    fn what_waits_is_found_by_key_and_by_position_and_is_kept_as_it_is() {
        let now = Timestamp::from_micros(7);
        let mut lanes = Lanes::default();
        for (key, position) in [("e9", 4), ("k", 8), ("", 2)] {
            lanes.insert(LaneKey::Key(key.to_owned()), Lane::new(position, &failed(false), now));
        }
        lanes.insert(LaneKey::Event(9), Lane::new(9, &failed(false), now));
        let kept = serde_json::to_string(&lanes).unwrap();
        assert_eq!(serde_json::from_str::<Lanes>(&kept).unwrap(), lanes);
        assert!(serde_json::from_str::<Lanes>(&kept.replace("\"ke9\"", "\"9\"")).is_err());
        assert_eq!(lanes.picked(&ParkedPick::All, true), [2, 4, 8, 9]);
        assert_eq!(lanes.picked(&ParkedPick::All, false), [2, 4, 8]);
        assert_eq!(lanes.picked(&ParkedPick::Key("e9".to_owned()), true), [4]);
        let positions = [9, 8, 3].map(Position::new).to_vec();
        assert_eq!(lanes.picked(&ParkedPick::Positions(positions), true), [8, 9]);
        let list = ParkedList { after: Some(Position::new(2)), limit: 2, ..ParkedList::default() };
        let (entries, more) = lanes.list(&list);
        assert_eq!(entries.iter().map(|it| it.position.get()).collect::<Vec<_>>(), [4, 8]);
        assert!(more && lanes.due(now).is_none());
        assert_eq!(lanes.release(&[4, 5]), 1);
        assert_eq!(lanes.due(now), Some(LaneKey::Key("e9".to_owned())));
    }
}
