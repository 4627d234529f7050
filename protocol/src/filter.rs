//! The one filter grammar: reads, subscriptions, groups, routes, projections, channels.
//!
//! `{streams, stream_prefix, categories, types, tags}`: AND over the members, OR within a list, but
//! all tags must be there; `{any: [filter, …]}` is OR.

use serde::{Deserialize, Serialize};

use crate::append::{Query, QueryItem};
use crate::error::Invalid;
use crate::limits::{FILTER_ALTERNATIVES_MAX, FILTER_VALUES_MAX};
use crate::names;
use crate::record::RecordedEvent;

/// One alternative of a filter. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FilterItem {
    /// One of these streams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
    /// Streams whose name starts with one of these.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub stream_prefix: Vec<String>,
    /// One of these categories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// One of these event types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// All of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// `"a"` reads as `["a"]`.
fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    })
}

impl FilterItem {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.lists().iter().all(|list| list.is_empty())
    }

    /// Whether an event matches.
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        let one_of =
            |list: &[String], value: &str| list.is_empty() || list.iter().any(|v| v == value);
        let stream = event.stream();
        one_of(&self.types, event.event_type())
            && one_of(&self.streams, stream)
            && (self.categories.is_empty() || one_of(&self.categories, names::category(stream)))
            && (self.stream_prefix.is_empty()
                || self.stream_prefix.iter().any(|prefix| stream.starts_with(prefix.as_str())))
            && self.tags.iter().all(|tag| event.has_tag(tag))
    }

    /// Whether it names the system's streams: then system events are asked for.
    pub fn names_system(&self) -> bool {
        [&self.streams, &self.stream_prefix, &self.categories]
            .into_iter()
            .flatten()
            .any(|name| names::is_system(name))
    }

    fn lists(&self) -> [&Vec<String>; 5] {
        [&self.streams, &self.stream_prefix, &self.categories, &self.types, &self.tags]
    }
}

/// Which events. The default is every one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "FilterJson", into = "FilterJson")]
pub struct Filter {
    alternatives: Vec<FilterItem>,
}

impl Filter {
    /// Every event.
    pub fn all() -> Self {
        Self::default()
    }

    /// Events that match any of these; an empty list means every event.
    pub fn any(alternatives: impl IntoIterator<Item = FilterItem>) -> Self {
        let alternatives: Vec<_> = alternatives.into_iter().collect();
        if alternatives.iter().any(FilterItem::is_empty) {
            return Self::default();
        }
        Self { alternatives }
    }

    /// Events of this category.
    pub fn category(category: impl Into<String>) -> Self {
        Self::any([FilterItem { categories: vec![category.into()], ..FilterItem::default() }])
    }

    /// Events of this type.
    pub fn event_type(event_type: impl Into<String>) -> Self {
        Self::any([FilterItem { types: vec![event_type.into()], ..FilterItem::default() }])
    }

    /// Events with this tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self::any([FilterItem { tags: vec![tag.into()], ..FilterItem::default() }])
    }

    /// Events of streams whose name starts so.
    pub fn stream_prefix(prefix: impl Into<String>) -> Self {
        Self::any([FilterItem { stream_prefix: vec![prefix.into()], ..FilterItem::default() }])
    }

    /// The alternatives; empty: every event.
    pub fn alternatives(&self) -> &[FilterItem] {
        &self.alternatives
    }

    /// Whether it lets every event through.
    pub fn is_all(&self) -> bool {
        self.alternatives.is_empty()
    }

    /// Whether an event matches.
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        self.is_all() || self.alternatives.iter().any(|item| item.matches(event))
    }

    /// Whether an alternative of it names the system's streams: then some system events may be asked
    /// for. Which, [`Filter::selects`] says.
    pub fn names_system(&self) -> bool {
        self.alternatives.iter().any(FilterItem::names_system)
    }

    /// Whether a read with this filter gives an event. System events are left out unless `system` says
    /// that all are wanted, or the alternative that matches names their streams itself: that another
    /// one does opens nothing to it.
    pub fn selects(&self, event: &RecordedEvent, system: bool) -> bool {
        if system || !event.is_system() {
            return self.matches(event);
        }
        self.alternatives.iter().any(|item| item.names_system() && item.matches(event))
    }

    /// Checks the counts.
    ///
    /// # Errors
    /// Too many alternatives or values.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.alternatives.len() > FILTER_ALTERNATIVES_MAX {
            return Err(Invalid::Request(format!(
                "filter has {} alternatives: at most {FILTER_ALTERNATIVES_MAX} are allowed",
                self.alternatives.len()
            )));
        }
        let longest = self.alternatives.iter().flat_map(FilterItem::lists).map(Vec::len).max();
        if longest.unwrap_or(0) > FILTER_VALUES_MAX {
            return Err(Invalid::Request(format!(
                "filter has a list of {} values: at most {FILTER_VALUES_MAX} are allowed",
                longest.unwrap_or(0)
            )));
        }
        Ok(())
    }
}

impl From<&QueryItem> for FilterItem {
    fn from(item: &QueryItem) -> Self {
        Self { types: item.types.clone(), tags: item.tags.clone(), ..Self::default() }
    }
}

impl From<&Query> for Filter {
    /// The events a boundary's query means.
    fn from(query: &Query) -> Self {
        Self { alternatives: query.items.iter().map(FilterItem::from).collect() }
    }
}

/// The JSON form: the members, or `any`, not both.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FilterJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    any: Option<Vec<Filter>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    stream_prefix: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

impl From<FilterItem> for FilterJson {
    fn from(item: FilterItem) -> Self {
        Self {
            any: None,
            streams: item.streams,
            stream_prefix: item.stream_prefix,
            categories: item.categories,
            types: item.types,
            tags: item.tags,
        }
    }
}

impl TryFrom<FilterJson> for Filter {
    type Error = String;

    fn try_from(json: FilterJson) -> Result<Self, String> {
        let item = FilterItem {
            streams: json.streams,
            stream_prefix: json.stream_prefix,
            categories: json.categories,
            types: json.types,
            tags: json.tags,
        };
        match json.any {
            None => Ok(Self::any([item])),
            Some(_) if !item.is_empty() => {
                Err("a filter has either `any` or members of its own, not both".to_owned())
            }
            // Taken for no filter, a list that was computed and came out empty would select everything.
            Some(filters) if filters.is_empty() => {
                Err("`any` has no alternatives: name one, or leave `any` out for every event"
                    .into())
            }
            Some(filters) if filters.iter().any(Self::is_all) => Ok(Self::all()),
            Some(filters) => Ok(Self::any(filters.into_iter().flat_map(|f| f.alternatives))),
        }
    }
}

impl From<Filter> for FilterJson {
    fn from(mut filter: Filter) -> Self {
        match filter.alternatives.len() {
            0 => Self::default(),
            1 => filter.alternatives.remove(0).into(),
            _ => {
                let any = filter.alternatives.into_iter().map(|item| Filter::any([item])).collect();
                Self { any: Some(any), ..Self::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_round_trips_and_refuses_what_it_does_not_know() {
        for text in [
            r#"{}"#,
            r#"{"types":["A","B"],"tags":["k:v"]}"#,
            r#"{"any":[{"categories":["order"]},{"stream_prefix":["x-"]}]}"#,
        ] {
            let filter: Filter = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&filter).unwrap(), text);
        }
        let one: Filter = serde_json::from_str(r#"{"stream_prefix":"x"}"#).unwrap();
        assert_eq!(one, Filter::stream_prefix("x"));
        for text in [r#"{"type":["A"]}"#, r#"{"any":[],"types":["A"]}"#, r#"{"any":[{"x":1}]}"#] {
            assert!(serde_json::from_str::<Filter>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_alternatives_are_not_everything() {
        for text in [r#"{"any":[]}"#, r#"{"any":[{"any":[]}]}"#, r#"{"any":[{},{"any":[]}]}"#] {
            let error = serde_json::from_str::<Filter>(text).unwrap_err().to_string();
            assert!(error.contains("`any` has no alternatives"), "{text}: {error}");
        }
    }

    #[test]
    fn an_alternative_that_asks_for_nothing_lets_everything_through() {
        assert!(
            Filter::any([FilterItem::default(), FilterItem::from(&QueryItem::tags(["a:b"]))])
                .is_all()
        );
        assert!(
            serde_json::from_str::<Filter>(r#"{"any":[{},{"types":["A"]}]}"#).unwrap().is_all()
        );
    }

    #[test]
    fn too_many_values_are_refused() {
        let many = vec!["x".to_owned(); FILTER_VALUES_MAX + 1];
        assert!(
            Filter::any([FilterItem { types: many, ..FilterItem::default() }]).check().is_err()
        );
    }
}
