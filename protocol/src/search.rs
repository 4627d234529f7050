//! A search in the documents of a projection, and what it finds. Both travel as JSON, by every door.

mod csv;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::csv::{CsvWriter, OtherFields};
use crate::ids::Position;

/// Documents of an answer, unless it is said.
pub const SEARCH_LIMIT_DEFAULT: usize = 10;

fn limit_default() -> usize {
    SEARCH_LIMIT_DEFAULT
}

/// What is searched for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Search")]
pub struct SearchRequest {
    /// In the query language, as `status:open AND "broken window"`, or as a tree, as `{"term": {"status": "open"}}`; all
    /// documents, where nothing is said. How well documents match it is what they are put in order by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Value>,
    /// The same, for what only lets through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// What documents are put in order by, at most 3: fields, as `"opened"` or `{"opened": "desc"}`, or `"_score"`; in the
    /// end by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<Value>,
    /// Documents of the answer, at most [`SEARCH_LIMIT_MAX`](crate::limits::SEARCH_LIMIT_MAX).
    #[serde(default = "limit_default")]
    pub limit: usize,
    /// What an earlier answer, to the same search, has as `next`: this one goes on behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_after: Option<Vec<Value>>,
    /// The fields that are shown; all, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// Text fields of which it is shown where they match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub highlight: Vec<String>,
    /// What is counted and summed up over all that match, as Elasticsearch has it: `{"by": {"terms": {"field": "status"}}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggs: Option<Value>,
    /// The answer knows of this position; whoever asks waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_position: Option<Position>,
    /// At most for so many milliseconds; and so long it is searched, where that is more than 0, and less than
    /// [`SEARCH_TIME_MS_MAX`](crate::limits::SEARCH_TIME_MS_MAX).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Default for SearchRequest {
    fn default() -> Self {
        Self {
            query: None,
            filter: None,
            sort: Vec::new(),
            limit: SEARCH_LIMIT_DEFAULT,
            search_after: None,
            fields: None,
            highlight: Vec::new(),
            aggs: None,
            min_position: None,
            timeout_ms: None,
        }
    }
}

/// A document that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "SearchHit")]
pub struct SearchHit {
    /// What it is found by.
    pub key: String,
    /// How well it matches; null, where documents are put in order by something else.
    pub score: Option<f32>,
    /// Its fields that have a value.
    pub document: Map<String, Value>,
    /// Where text fields match, as HTML: what matches stands in `<b>`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub highlight: Map<String, Value>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Found")]
pub struct SearchAnswer {
    /// Documents, in the order that was asked for.
    pub hits: Vec<SearchHit>,
    /// The fields that documents may have, of those that were asked for, or else of all that whoever asks may see.
    pub fields: Vec<String>,
    /// All that match.
    pub total: u64,
    /// What the next page is asked for with, as `search_after`; null: there is none.
    pub next: Option<Vec<Value>>,
    /// What was counted and summed up.
    pub aggs: Option<Value>,
    /// The last position that the answer knows of; null: none yet.
    pub as_of_position: Option<Position>,
    /// Positions that it knows nothing of.
    pub lag_events: u64,
    /// Keys whose events wait, since one of them could not be folded: documents know nothing of these, however far the
    /// answer has come.
    pub parked: u64,
}
