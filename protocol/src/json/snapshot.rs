//! A snapshot as JSON. The hash over upcasters is hexadecimal: not every program reads such numbers
//! whole.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event::{EventJsonError, both, bytes_of, given};
use crate::event::JSON;
use crate::ids::{Position, Revision};
use crate::names::StreamName;
use crate::snapshot::{FoldIdentity, Snapshot, SnapshotInfo};

/// A hash over upcasters: up to 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct UpcasterHashJson(pub u64);

impl From<UpcasterHashJson> for String {
    fn from(hash: UpcasterHashJson) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for UpcasterHashJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for UpcasterHashJson {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        let hash = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        hash.map(Self).ok_or("a hash of upcasters is 1 to 16 hexadecimal digits")
    }
}

impl TryFrom<Cow<'_, str>> for UpcasterHashJson {
    type Error = &'static str;

    fn try_from(text: Cow<'_, str>) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A snapshot without its state.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "SnapshotInfo")]
pub struct SnapshotInfoJson {
    /// The state is that after the event of this revision.
    pub revision: u64,
    /// Where the snapshot stands in the log.
    pub position: u64,
    /// Number that the author of the fold raises with each change of it.
    pub fold_version: u32,
    /// Hash over the upcasters that the events went through.
    pub upcaster_hash: UpcasterHashJson,
}

impl From<&SnapshotInfo> for SnapshotInfoJson {
    fn from(info: &SnapshotInfo) -> Self {
        Self {
            revision: info.revision.get(),
            position: info.position.get(),
            fold_version: info.fold.fold_version,
            upcaster_hash: UpcasterHashJson(info.fold.upcaster_hash),
        }
    }
}

/// A snapshot with its state, which is JSON where it is valid JSON, and base64 otherwise.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Snapshot")]
pub struct SnapshotJson<'a> {
    /// The stream it is of.
    pub stream: &'a str,
    /// The state is that after the event of this revision.
    pub revision: u64,
    /// Number that the author of the fold raises with each change of it.
    pub fold_version: u32,
    /// Hash over the upcasters that the events went through.
    pub upcaster_hash: UpcasterHashJson,
    /// Media type of the state.
    pub content_type: &'a str,
    /// The state, where it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<serde_json::Value>"))]
    pub state: Option<&'a RawValue>,
    /// The state, where it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_base64: Option<Cow<'a, str>>,
}

impl<'a> From<&'a Snapshot> for SnapshotJson<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        let (state, state_base64) = both(&snapshot.state);
        Self {
            stream: snapshot.stream.as_str(),
            revision: snapshot.revision.get(),
            fold_version: snapshot.fold.fold_version,
            upcaster_hash: UpcasterHashJson(snapshot.fold.upcaster_hash),
            content_type: &snapshot.content_type,
            state,
            state_base64,
        }
    }
}

/// A snapshot to be kept.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "NewSnapshot")]
pub struct NewSnapshotJson<'a> {
    /// Number that the author of the fold raises with each change of it.
    #[serde(default)]
    pub fold_version: u32,
    /// Hash over the upcasters that the events went through.
    #[serde(default)]
    pub upcaster_hash: UpcasterHashJson,
    /// Media type of the state; that of JSON for `state`, and unknown for `state_base64`, where it is
    /// missing.
    #[serde(default, borrow)]
    pub content_type: Option<Cow<'a, str>>,
    /// The state, where it is JSON.
    #[serde(default, deserialize_with = "given", borrow)]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<serde_json::Value>"))]
    pub state: Option<&'a RawValue>,
    /// The state, where it is not JSON.
    #[serde(default, borrow)]
    pub state_base64: Option<Cow<'a, str>>,
}

impl NewSnapshotJson<'_> {
    /// The snapshot of a stream at a revision.
    ///
    /// # Errors
    /// When the state is given twice, or is not base64.
    pub fn into_snapshot(
        self,
        stream: StreamName,
        revision: Revision,
    ) -> Result<Snapshot, EventJsonError> {
        let state = bytes_of("state", self.state, self.state_base64.as_deref())?;
        let content_type = match self.content_type {
            Some(given) => given.into_owned(),
            None if self.state.is_some() => JSON.to_owned(),
            None => String::new(),
        };
        let fold =
            FoldIdentity { fold_version: self.fold_version, upcaster_hash: self.upcaster_hash.0 };
        Ok(Snapshot { stream, revision, fold, content_type, state })
    }
}

/// What is known of where a snapshot went.
impl From<(Revision, Position, FoldIdentity)> for SnapshotInfoJson {
    fn from((revision, position, fold): (Revision, Position, FoldIdentity)) -> Self {
        (&SnapshotInfo { revision, position, fold }).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_comes_back_as_it_was() {
        let text = r#"{"fold_version":2,"upcaster_hash":"ff","state":{"total": 1.50}}"#;
        let new: NewSnapshotJson = serde_json::from_str(text).unwrap();
        let stream = StreamName::new("order-1").unwrap();
        let snapshot = new.into_snapshot(stream, Revision::new(7)).unwrap();
        assert_eq!(snapshot.fold, FoldIdentity { fold_version: 2, upcaster_hash: 255 });
        let json = serde_json::to_string(&SnapshotJson::from(&snapshot)).unwrap();
        assert!(json.contains(r#""upcaster_hash":"00000000000000ff""#), "{json}");
        assert!(json.contains(r#""state":{"total": 1.50}"#), "{json}");
        for bad in [r#"{"upcaster_hash":"xyz"}"#, r#"{"upcaster_hash":""}"#, r#"{"fold":1}"#] {
            assert!(serde_json::from_str::<NewSnapshotJson>(bad).is_err(), "{bad}");
        }
    }
}
