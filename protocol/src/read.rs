//! Bounded reads, and unbounded ones: subscriptions.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::Invalid;
use crate::filter::Filter;
use crate::ids::{Position, Revision};
use crate::record::RecordedEvent;
use crate::schema::AsSchema;
use crate::time::Timestamp;

/// Characters of a text that an error shows.
const TEXT_CHARACTERS_SHOWN: usize = 64;

/// Which way to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From old to new.
    #[default]
    Forwards,
    /// From new to old.
    Backwards,
}

/// Where a read begins; inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// At the end that the direction starts from.
    #[default]
    Start,
    /// At this revision (reads of one stream only).
    Revision(Revision),
    /// At this position.
    Position(Position),
    /// Forwards: at the first event recorded at or after this time; backwards: at the last one
    /// recorded at or before it.
    Time(Timestamp),
}

/// A past state to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// Up to this position, inclusive.
    Position(Position),
    /// Up to this revision, inclusive (reads of one stream only).
    Revision(Revision),
    /// Up to the last event recorded at or before this time.
    Recorded(Timestamp),
}

impl FromStr for AsOf {
    type Err = Invalid;

    /// Parses `position:N | revision:N | recorded:TIME`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let shown: String = text.chars().take(TEXT_CHARACTERS_SHOWN).collect();
        let bad = |why: String| Invalid::Request(format!("as-of {shown:?}: {why}"));
        let number = |n: &str| n.parse().map_err(|_| bad("that is not a number".to_owned()));
        match text.split_once(':') {
            Some(("position", n)) => Ok(Self::Position(Position::new(number(n)?))),
            Some(("revision", n)) => Ok(Self::Revision(Revision::new(number(n)?))),
            Some(("recorded", t)) => {
                t.parse().map(Self::Recorded).map_err(|error| bad(error.to_string()))
            }
            Some(("occurred", _)) => Err(bad(
                "business time is not served yet: use recorded:TIME, position:N, or revision:N"
                    .to_owned(),
            )),
            _ => Err(bad("write position:N, revision:N, or recorded:TIME".to_owned())),
        }
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => write!(f, "position:{position}"),
            Self::Revision(revision) => write!(f, "revision:{revision}"),
            Self::Recorded(time) => write!(f, "recorded:{time}"),
        }
    }
}

/// A bounded read: of one stream, or of the whole log.
///
/// ```
/// use nexus_protocol::{Filter, Position, Read};
/// let newest_ten_of_a_stream = Read::stream("order-1").backwards().limit(10);
/// let all_orders = Read::all().filter(Filter::category("order")).from_position(Position::ZERO);
/// # let _ = (newest_ten_of_a_stream, all_orders);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// One stream; `None`: the whole log.
    pub stream: Option<String>,
    /// Which way.
    pub direction: Direction,
    /// Where it begins.
    pub from: From,
    /// Which events.
    pub filter: Filter,
    /// How many at most; `None`: all there are when it is opened.
    pub limit: Option<u64>,
    /// A past state instead of the present one.
    pub as_of: Option<AsOf>,
    /// Whether system events are read too. They are where the stream or filter names them.
    pub system: bool,
    /// Which version of their schemas the events are shown in. Filters and limits go by what is stored.
    pub as_schema: AsSchema,
}

impl Read {
    /// The events of one stream.
    pub fn stream(stream: impl Into<String>) -> Self {
        Self { stream: Some(stream.into()), ..Self::default() }
    }

    /// The events of the whole log.
    pub fn all() -> Self {
        Self::default()
    }

    /// From new to old.
    #[must_use]
    pub fn backwards(mut self) -> Self {
        self.direction = Direction::Backwards;
        self
    }

    /// Beginning at this revision.
    #[must_use]
    pub fn from_revision(mut self, revision: Revision) -> Self {
        self.from = From::Revision(revision);
        self
    }

    /// Beginning at this position.
    #[must_use]
    pub fn from_position(mut self, position: Position) -> Self {
        self.from = From::Position(position);
        self
    }

    /// Beginning at this recorded time.
    #[must_use]
    pub fn from_time(mut self, time: Timestamp) -> Self {
        self.from = From::Time(time);
        self
    }

    /// Only events that match.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// So many at most.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// As it was then.
    #[must_use]
    pub fn as_of(mut self, as_of: AsOf) -> Self {
        self.as_of = Some(as_of);
        self
    }

    /// With system events.
    #[must_use]
    pub fn system(mut self) -> Self {
        self.system = true;
        self
    }

    /// In this version of their schemas.
    #[must_use]
    pub fn as_schema(mut self, as_schema: AsSchema) -> Self {
        self.as_schema = as_schema;
        self
    }
}

/// What a read looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explain {
    /// `stream`, `postings`, or `scan`.
    pub index: Cow<'static, str>,
    /// Segments that events were read from. A segment that a read comes back to counts again.
    pub segments_read: u64,
    /// Entries of posting lists, the stream's own among them, that were looked at.
    pub postings_read: u64,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first event of the log.
    #[default]
    Beginning,
    /// With the first event after this position: what a checkpoint means.
    After(Position),
    /// With the event at this position.
    At(Position),
    /// With the first event that is appended from now on.
    End,
}

/// An unbounded read: what is there, then what comes, without a gap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscribe {
    /// One stream; `None`: the whole log.
    pub stream: Option<String>,
    /// Where it begins.
    pub start: Start,
    /// Which events.
    pub filter: Filter,
    /// Whether system events are delivered too.
    pub system: bool,
    /// A [`SubscriptionItem::Checkpoint`] comes once so many positions were passed without one, also
    /// while nothing matches; where the index passes more at once, or a block of the log does, it comes
    /// behind them: of a block, before twice as many. 0 stands for 1,024.
    pub checkpoint_every: u64,
    /// Which version of their schemas the events are shown in. Filters go by what is stored.
    pub as_schema: AsSchema,
}

impl Subscribe {
    /// To one stream.
    pub fn stream(stream: impl Into<String>) -> Self {
        Self { stream: Some(stream.into()), ..Self::default() }
    }

    /// To the whole log.
    pub fn all() -> Self {
        Self::default()
    }

    /// Beginning there.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Only events that match.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// With system events.
    #[must_use]
    pub fn system(mut self) -> Self {
        self.system = true;
        self
    }

    /// In this version of their schemas.
    #[must_use]
    pub fn as_schema(mut self, as_schema: AsSchema) -> Self {
        self.as_schema = as_schema;
        self
    }
}

/// What a subscription delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum SubscriptionItem {
    /// An event.
    Event(RecordedEvent),
    /// All that was there has been delivered: what follows is live. `None` on an empty log.
    CaughtUp {
        /// The last position there was.
        position: Option<Position>,
    },
    /// The reader was live and has fallen behind: it reads the log again, and nothing is lost.
    FellBehind {
        /// The last position that was looked at.
        position: Option<Position>,
    },
    /// Everything up to here was looked at, whether or not it matched: a place to start after.
    Checkpoint {
        /// The last position that was looked at.
        position: Position,
    },
}

impl SubscriptionItem {
    /// Whether a stored event is complete with it: the parts of one count once, with the last.
    pub fn ends_event(&self) -> bool {
        matches!(self, Self::Event(event) if !event.has_more_parts())
    }

    /// The event, if it is one.
    pub fn event(self) -> Option<RecordedEvent> {
        match self {
            Self::Event(event) => Some(event),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_of_parses_what_it_prints_and_says_what_it_cannot() {
        for text in ["position:7", "revision:0", "recorded:2026-01-02T03:04:05.000006Z"] {
            assert_eq!(text.parse::<AsOf>().unwrap().to_string(), text);
        }
        for (text, part) in [
            ("occurred:2026-01-02T03:04:05Z", "business time"),
            ("position:x", "not a number"),
            ("recorded:soon", "RFC 3339"),
            ("7", "write position:N"),
        ] {
            let error = text.parse::<AsOf>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
