//! Points in time as Nexus stores and prints them.
//!
//! One type for both clocks of an event: the leader's (`recorded_at`) and the client's
//! (`occurred_at`). Nothing here reads a clock; the engine's disk does, and passes the value on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use serde::{Deserialize, Serialize};

/// 1970-01-01T00:00:00, in UTC.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Microseconds since 1970-01-01T00:00:00 UTC; negative before it.
///
/// Printed and parsed as RFC 3339. Range of the printed form: years -9999 to 9999; values outside
/// it are stored faithfully and printed as `unix-us:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant that can be stored.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant that can be stored.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant `micros` microseconds after 1970-01-01T00:00:00 UTC.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00 UTC.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This instant moved later, saturating at [`Timestamp::MAX`].
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This instant moved earlier, saturating at [`Timestamp::MIN`].
    pub fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this instant is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        let micros = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(instant) = jiff::Timestamp::from_microsecond(self.0) {
            return write!(f, "{instant:.6}");
        }
        // Within a day of the ends of the calendar, where no local time of every offset exists.
        match EPOCH.checked_add(SignedDuration::from_micros(self.0)) {
            Ok(utc) => write!(f, "{utc:.6}Z"),
            Err(_) => write!(f, "unix-us:{}", self.0),
        }
    }
}

/// Units of a time that passes, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A time that passes, from text: a whole number with `ms`, `s`, `m`, or `h` behind it, as in `500ms`.
///
/// # Errors
/// When it is none, or beyond what 64 bits of milliseconds hold. Says how one is written.
pub fn duration_from_text(text: &str) -> Result<Duration, String> {
    let what = || {
        format!(
            "{text:?} is no time: write a number with ms, s, m, or h behind it, as in 500ms or 30s"
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let (_, millis) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(what)?;
    let count: u64 = digits.parse().map_err(|_| what())?;
    count.checked_mul(millis).map(Duration::from_millis).ok_or_else(what)
}

/// The same as text, in the largest unit of which it is a whole number; to the millisecond.
pub fn duration_text(time: Duration) -> String {
    let all = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, millis): &(&str, u64)| all > 0 && all.is_multiple_of(*millis);
    let (name, millis) = UNITS.into_iter().find(fits).unwrap_or(("ms", 1));
    format!("{}{name}", all / millis)
}

/// Why a text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a time: write RFC 3339 with an offset and a year up to 9999, as in \
     2011-10-11T13:45:40.276Z"
)]
pub struct TimestampError {
    /// The text that was refused.
    pub text: String,
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Parses RFC 3339; a space may stand for the `T`. An offset is required: a local time without
    /// one names no instant. Digits below a microsecond are cut off towards the past.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        if let Some(micros) = text.strip_prefix("unix-us:").and_then(|n| n.parse().ok()) {
            return Ok(Self(micros));
        }
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_nanosecond)
            .or_else(|| at_an_end_of_the_calendar(text))
            .and_then(|nanos| i64::try_from(nanos.div_euclid(1000)).ok())
            .map(Self)
            .ok_or_else(|| TimestampError { text: text.chars().take(64).collect() })
    }
}

/// Nanoseconds of a time that jiff leaves out: it keeps a day at either end of the calendar free, so
/// that every instant has a local time whatever the offset. Instants have no offset here.
fn at_an_end_of_the_calendar(text: &str) -> Option<i128> {
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset()?;
    let local = pieces.date().to_datetime(pieces.time()?);
    let utc = local.checked_sub(SignedDuration::from_secs(i64::from(offset.seconds()))).ok()?;
    Some(utc.duration_since(EPOCH).as_nanos())
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_rfc_3339_in_microseconds() {
        let check = |text: &str, micros: i64, printed: &str| {
            let parsed: Timestamp = text.parse().unwrap();
            assert_eq!(parsed.as_micros(), micros, "{text}");
            assert_eq!(parsed.to_string(), printed, "{text}");
            assert_eq!(printed.parse::<Timestamp>().unwrap(), parsed);
        };
        check("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000000Z");
        check(
            "2011-10-11 13:45:40.276000+02:00",
            1_318_333_540_276_000,
            "2011-10-11T11:45:40.276000Z",
        );
        check("1969-12-31T23:59:59.9999999Z", -1, "1969-12-31T23:59:59.999999Z");
        check("unix-us:9223372036854775807", i64::MAX, "unix-us:9223372036854775807");
        let last = 253_402_300_799_999_999;
        check("9999-12-31T23:59:59.999999Z", last, "9999-12-31T23:59:59.999999Z");
        check("9999-12-31T23:00:00+02:00", last - 10_799_999_999, "9999-12-31T21:00:00.000000Z");
        let first = -377_705_116_800_000_000;
        check("-009999-01-01T00:00:00Z", first, "-009999-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp::from_micros(last + 1).to_string(), format!("unix-us:{}", last + 1));
    }

    #[test]
    fn times_that_pass_have_units() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("12h", 43_200_000)] {
            assert_eq!(duration_from_text(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(duration_text(Duration::from_millis(ms)), text);
        }
        assert_eq!(duration_text(Duration::ZERO), "0ms");
        assert_eq!(duration_text(Duration::from_millis(90_000)), "90s");
        for bad in ["", "30", "s", "-1s", "1d", "1 s", "99999999999999999h"] {
            assert!(duration_from_text(bad).unwrap_err().contains("as in 500ms"), "{bad}");
        }
    }

    #[test]
    fn refuses_what_names_no_instant() {
        for text in ["", "yesterday", "2011-10-11", "2011-10-11T13:45:40", "2011-13-40T00:00:00Z"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        for text in ["9999-12-31T23:59:59-01:00", "+010000-01-01T00:00:00Z", "9999-12-31T23:59:59"]
        {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains("a year up to 9999"), "{error}");
        }
    }
}
