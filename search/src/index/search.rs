//! [`Searching`]: searches in the documents of one commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use nexus_delivery::projection::{FieldType, Kept, SinkError};
use nexus_protocol::Position;
use nexus_protocol::limits::{
    AGGREGATION_BUCKETS_MAX, AGGREGATION_BYTES_MAX, DOCUMENT_KEY_BYTES_MAX,
    SEARCH_ANSWER_BYTES_MAX, SEARCH_HIGHLIGHTS_MAX, SEARCH_LIMIT_MAX,
};
use nexus_protocol::search::SearchRequest;
use serde_json::Value;
use tantivy::aggregation::agg_req::Aggregations;
use tantivy::aggregation::{AggContextParams, AggregationCollector, AggregationLimitsGuard};
use tantivy::collector::Count;
use tantivy::query::{AllQuery, BooleanQuery, ConstScoreQuery, Occur, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::snippet::SnippetGenerator;
use tantivy::{Index, Term};

use super::Seen;
use super::aggregations::aggregations_of;
use super::error::searched;
use super::facets::Facets;
use super::mapping::tokenizers;
use super::order::{By, Hit, Ordered, Place, Rank, SORTS_MAX, Sort};
use super::patience::Patient;
use super::query::Asking;
use super::snapshot::Snapshot;

/// Characters of a highlight, about.
const HIGHLIGHT_CHARS: usize = 200;
/// What documents are put in order by that match best.
const SCORE: &str = "_score";

/// Why nothing is found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The search cannot be right.
    #[error("{0}")]
    Invalid(String),
    /// The time was over before it was done.
    #[error(
        "it takes too long: narrow it by `filter`, or ask for less at a time, fewer aggregations, highlights, or documents"
    )]
    TookTooLong,
    /// The documents cannot be read.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Searches in what a sink keeps, by any thread.
#[derive(Clone)]
pub struct Searching {
    pub(super) seen: Arc<Seen>,
    pub(super) index: Index,
}

/// What somebody may see.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Only documents that carry all of these tags.
    pub tags_all: BTreeSet<String>,
    /// Fields that are as if they were not there.
    pub hidden: BTreeSet<String>,
}

/// A document that was found.
#[derive(Clone, Debug)]
pub struct SearchedHit {
    /// What it is found by.
    pub key: String,
    /// How well it matches, where documents are put in order by that.
    pub score: Option<f32>,
    /// What is kept of it.
    pub kept: Kept,
}

/// What was found.
pub struct Searched {
    /// Documents, in order.
    pub hits: Vec<SearchedHit>,
    /// All that match.
    pub total: u64,
    /// What the next page is asked for with.
    pub next_page: Option<Vec<Value>>,
    /// What was counted and summed up.
    pub aggs: Option<Value>,
    /// The first position that the answer knows nothing of.
    pub next: Position,
    highlights: Vec<(String, SnippetGenerator)>,
}

impl Searched {
    /// Where a text of a field matches, as HTML; `None`: nowhere, or nobody asked.
    pub fn highlight(&self, field: &str, text: &str) -> Option<String> {
        let (_, generator) = self.highlights.iter().find(|(name, _)| name == field)?;
        let snippet = generator.snippet(text);
        (!snippet.is_empty()).then(|| snippet.to_html())
    }
}

fn invalid(why: impl Into<String>) -> SearchError {
    SearchError::Invalid(why.into())
}

impl Searching {
    /// Searches, for somebody who may see so much, until the time is over: it is asked about every few thousand documents.
    ///
    /// # Errors
    /// As [`SearchError`] says.
    pub fn search(
        &self,
        asked: &SearchRequest,
        sight: &Sight,
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<Searched, SearchError> {
        if asked.limit > SEARCH_LIMIT_MAX {
            return Err(invalid(format!("limit: at most {SEARCH_LIMIT_MAX} documents")));
        }
        let snapshot = self.seen.now();
        let asking = Asking::new(&snapshot.mapping, &self.index, &sight.hidden);
        let of = |at: &str, asked: &Option<Value>| -> Result<Box<dyn Query>, SearchError> {
            let query = asked.as_ref().map(|it| asking.query(it));
            let query = query.unwrap_or_else(|| Ok(Box::new(AllQuery)));
            query.map_err(|why| invalid(format!("{at}: {why}")))
        };
        // What takes a query apart is of others, too.
        let of = |at: &str, asked| searched(&snapshot.place, || Ok(of(at, asked))).flatten();
        let query = of("query", &asked.query)?;
        let mut parts = vec![(Occur::Must, query.box_clone())];
        if asked.filter.is_some() {
            let filter = of("filter", &asked.filter)?;
            parts.push((Occur::Must, Box::new(ConstScoreQuery::new(filter, 0.0))));
        }
        for tag in &sight.tags_all {
            let tag = Term::from_field_text(snapshot.mapping.tags, tag);
            let tag = TermQuery::new(tag, IndexRecordOption::Basic);
            parts.push((Occur::Must, Box::new(ConstScoreQuery::new(Box::new(tag), 0.0))));
        }
        for name in asked.fields.iter().flatten() {
            asking.field(name).map_err(|why| invalid(format!("fields: {why}")))?;
        }
        let sorts = sorts_of(asked, &asking)?;
        let after = asked.search_after.as_ref().map(|it| place_of(it, &sorts)).transpose()?;
        let sees_all = sight.tags_all.is_empty();
        let aggs = asked.aggs.as_ref().map(|it| {
            let aggs = searched(&snapshot.place, || {
                Ok(aggregations_of(it, &asking, (&snapshot, sees_all)))
            });
            aggs?.map_err(|why| invalid(format!("aggs: {why}")))
        });
        let aggs = aggs.transpose()?;
        let whole: Box<dyn Query> = match parts.len() {
            1 => parts.remove(0).1,
            _ => Box::new(BooleanQuery::new(parts)),
        };
        let ordered = Ordered { sorts: sorts.clone(), limit: asked.limit, after };
        let (hits, total, aggs) = run(&snapshot, &*whole, (ordered, aggs), is_over)?;
        let mut is_last = hits.len() < asked.limit || asked.limit == 0;
        let (mut found, mut bytes, mut last) = (Vec::with_capacity(hits.len()), 0, None);
        for Hit { place, address, score } in hits {
            let kept = snapshot.kept(&place.key, address)?;
            bytes += kept.bytes.len();
            // More of them are on the next page.
            if bytes > SEARCH_ANSWER_BYTES_MAX && !found.is_empty() {
                is_last = false;
                break;
            }
            found.push(SearchedHit { key: place.key.clone(), score, kept });
            last = Some(place);
        }
        let next_page = last.filter(|_| !is_last).map(|place| next_of(&place, &sorts));
        let highlights = highlights_of(asked, &asking, (&snapshot, &*query))?;
        Ok(Searched { hits: found, total, next_page, aggs, next: snapshot.next, highlights })
    }
}

/// Asks the index.
fn run(
    snapshot: &Snapshot,
    query: &dyn Query,
    (ordered, aggs): (Ordered, Option<(Aggregations, Facets)>),
    is_over: &(dyn Fn() -> bool + Sync),
) -> Result<(Vec<Hit>, u64, Option<Value>), SearchError> {
    let (aggs, facets) = aggs.unzip();
    let aggregating = aggs.map(|aggs| {
        let limits =
            AggregationLimitsGuard::new(Some(AGGREGATION_BYTES_MAX), Some(AGGREGATION_BUCKETS_MAX));
        AggregationCollector::from_aggs(aggs, AggContextParams::new(limits, tokenizers()))
    });
    let collector = Patient::new((ordered, Count, aggregating, facets), is_over);
    let found = searched(&snapshot.place, || match snapshot.searcher.search(query, &collector) {
        Err(_) if collector.gave_up() => Ok(None),
        other => other.map(Some),
    });
    let Some((hits, total, aggs, facets)) = found? else {
        return Err(SearchError::TookTooLong);
    };
    let aggs = aggs.map(serde_json::to_value).transpose();
    let mut aggs = aggs.map_err(|why| invalid(format!("aggs: {why}")))?;
    if let Some(Value::Object(aggs)) = &mut aggs {
        aggs.extend(facets.unwrap_or_default());
    }
    Ok((hits, total as u64, aggs))
}

/// What documents are put in order by.
fn sorts_of(asked: &SearchRequest, asking: &Asking<'_>) -> Result<Vec<Sort>, SearchError> {
    if asked.sort.is_empty() {
        // Where nothing is asked all match equally well, and stand by key.
        let by_score = asked.query.is_some();
        return Ok(by_score
            .then_some(Sort { by: By::Score, descending: true })
            .into_iter()
            .collect());
    }
    if asked.sort.len() > SORTS_MAX {
        return Err(invalid(format!("sort: at most {SORTS_MAX} fields")));
    }
    let of = |sort: &Value| -> Result<Sort, String> {
        let (name, order) = match sort {
            Value::String(name) => (name, None),
            Value::Object(members) => {
                let mut members = members.iter();
                let (Some((name, of)), None) = (members.next(), members.next()) else {
                    return Err("name one field, as {\"opened\": \"desc\"}".to_owned());
                };
                let order = of.get("order").unwrap_or(of);
                (name, Some(order.as_str().ok_or("say \"asc\" or \"desc\"")?))
            }
            _ => return Err("name a field, as \"opened\" or {\"opened\": \"desc\"}".to_owned()),
        };
        let by = match name.as_str() {
            SCORE => By::Score,
            name => {
                let field_type = asking.field(name)?.field_type;
                if matches!(
                    field_type,
                    FieldType::Text | FieldType::Facet | FieldType::Json | FieldType::Ip
                ) {
                    return Err(format!(
                        "field {name:?} is {field_type}: documents are put in order by keywords, numbers, dates, and bools"
                    ));
                }
                By::Field(name.to_owned(), field_type)
            }
        };
        let descending = match order {
            None => by == By::Score,
            Some("asc") => false,
            Some("desc") => true,
            Some(other) => return Err(format!("say \"asc\" or \"desc\", and not {other:?}")),
        };
        if by == By::Score && !descending {
            return Err("what matches best comes first: leave \"asc\" out".to_owned());
        }
        Ok(Sort { by, descending })
    };
    asked
        .sort
        .iter()
        .map(of)
        .collect::<Result<_, _>>()
        .map_err(|why| invalid(format!("sort: {why}")))
}

/// The place that a page begins behind.
fn place_of(after: &[Value], sorts: &[Sort]) -> Result<Place, SearchError> {
    let wrong = || invalid("search_after: it is `next` of an answer to the same search");
    let (key, ranks) = after.split_last().ok_or_else(wrong)?;
    let key = key.as_str().filter(|key| key.len() <= DOCUMENT_KEY_BYTES_MAX).ok_or_else(wrong)?;
    if ranks.len() != sorts.len() {
        return Err(wrong());
    }
    let ranks = ranks.iter().zip(sorts).map(|(json, sort)| Rank::from_json(json, &sort.by));
    let ranks = ranks.collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    Ok(Place { ranks, key: key.to_owned() })
}

fn next_of(place: &Place, sorts: &[Sort]) -> Vec<Value> {
    let ranks = place.ranks.iter().zip(sorts).map(|(rank, sort)| rank.to_json(&sort.by));
    ranks.chain([Value::String(place.key.clone())]).collect()
}

fn highlights_of(
    asked: &SearchRequest,
    asking: &Asking<'_>,
    (snapshot, query): (&Snapshot, &dyn Query),
) -> Result<Vec<(String, SnippetGenerator)>, SearchError> {
    let mut highlights = Vec::new();
    let names: BTreeSet<_> = asked.highlight.iter().collect();
    if names.len() > SEARCH_HIGHLIGHTS_MAX {
        return Err(invalid(format!("highlight: at most {SEARCH_HIGHLIGHTS_MAX} fields")));
    }
    for name in names {
        let field = asking.field(name).map_err(|why| invalid(format!("highlight: {why}")))?;
        if field.field_type != FieldType::Text {
            let why = format!("highlight: field {name:?} is {}, and no text", field.field_type);
            return Err(invalid(why));
        }
        let generator = searched(&snapshot.place, || {
            SnippetGenerator::create(&snapshot.searcher, query, field.field)
        });
        let mut generator = generator?;
        generator.set_max_num_chars(HIGHLIGHT_CHARS);
        highlights.push((name.clone(), generator));
    }
    Ok(highlights)
}
