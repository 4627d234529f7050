//! [`Ordered`]: the first so many of what matches, in an order, behind a place where an earlier page ended.
//!
//! An order goes by up to [`SORTS_MAX`] fields, or by how well documents match, and in the end always by key: so no two
//! documents stand at the same place, and a page that begins behind the last document of another repeats and leaves out
//! nothing, as long as documents are the same. What has no value in a field comes last, whichever way the order goes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use nexus_delivery::projection::FieldType;
use nexus_protocol::Timestamp;
use serde_json::Value;
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{Column, MonotonicallyMappableToU64, StrColumn};
use tantivy::{DateTime, DocAddress, DocId, Score, SegmentOrdinal, SegmentReader};

use super::mapping::KEY;

/// Fields that an order goes by.
pub(crate) const SORTS_MAX: usize = 3;
/// Those, and the key.
const PLACES: usize = SORTS_MAX + 1;

/// What an order goes by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum By {
    /// How well a document matches.
    Score,
    /// A field.
    Field(String, FieldType),
}

/// One part of an order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sort {
    pub(crate) by: By,
    pub(crate) descending: bool,
}

/// A value that documents are put in order by, of whatever segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rank {
    /// There is none.
    Missing,
    /// A number, or what is ordered as one.
    Number(u64),
    Text(String),
}

/// Where a document stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// As the order says.
    pub(crate) ranks: Vec<Rank>,
    pub(crate) key: String,
}

/// A document that was found.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) place: Place,
    pub(crate) address: DocAddress,
    pub(crate) score: Option<Score>,
}

/// Collects the first so many.
pub(crate) struct Ordered {
    pub(crate) sorts: Vec<Sort>,
    pub(crate) limit: usize,
    pub(crate) after: Option<Place>,
}

/// A place within a segment: the lesser one comes first.
type Local = [(bool, u64); PLACES];

/// What the values of a sort are found in.
enum Source {
    Score,
    Nothing,
    Numbers(Column<u64>),
    Texts(StrColumn),
}

/// Collects those of a segment.
pub(crate) struct OrderedSegment {
    sources: Vec<(Source, bool)>,
    keys: Option<StrColumn>,
    limit: usize,
    after: Option<Local>,
    ordinal: SegmentOrdinal,
    first: BinaryHeap<(Local, DocId, u32)>,
    /// Something that could not be read.
    failed: Option<String>,
}

/// Numbers of scores are ordered as scores are, which are never negative.
fn score_rank(score: Score) -> u64 {
    u64::from(score.max(0.0).to_bits())
}

impl Rank {
    /// As an answer says it, and a request for the next page.
    pub(crate) fn to_json(&self, by: &By) -> Value {
        match (self, by) {
            (Self::Missing, _) => Value::Null,
            (Self::Text(text), _) => text.clone().into(),
            (Self::Number(rank), By::Score) => {
                f64::from(f32::from_bits(u32::try_from(*rank).unwrap_or_default())).into()
            }
            (Self::Number(rank), By::Field(_, field_type)) => match field_type {
                FieldType::I64 => i64::from_u64(*rank).into(),
                FieldType::F64 => f64::from_u64(*rank).into(),
                FieldType::Bool => bool::from_u64(*rank).into(),
                FieldType::Date => {
                    let at = DateTime::from_u64(*rank).into_timestamp_micros();
                    Timestamp::from_micros(at).to_string().into()
                }
                _ => (*rank).into(),
            },
        }
    }

    /// The one that an answer has said.
    pub(crate) fn from_json(json: &Value, by: &By) -> Option<Self> {
        if json.is_null() {
            return Some(Self::Missing);
        }
        Some(match by {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it was one, and comes back as it was"
            )]
            By::Score => Self::Number(score_rank(json.as_f64()? as f32)),
            By::Field(_, field_type) => match field_type {
                FieldType::U64 => Self::Number(json.as_u64()?),
                FieldType::I64 => Self::Number(json.as_i64()?.to_u64()),
                FieldType::F64 => Self::Number(json.as_f64()?.to_u64()),
                FieldType::Bool => Self::Number(json.as_bool()?.to_u64()),
                FieldType::Date => {
                    let at = json.as_str()?.parse::<Timestamp>().ok()?;
                    Self::Number(super::mapping::date(at).to_u64())
                }
                _ => Self::Text(json.as_str()?.to_owned()),
            },
        })
    }

    fn compare(&self, other: &Self, descending: bool) -> Ordering {
        match (self, other) {
            (Self::Missing, Self::Missing) => Ordering::Equal,
            (Self::Missing, _) => Ordering::Greater,
            (_, Self::Missing) => Ordering::Less,
            (Self::Number(a), Self::Number(b)) if descending => b.cmp(a),
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) if descending => b.cmp(a),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            // Those of one sort are of one kind.
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

impl Ordered {
    fn compare(&self, a: &Place, b: &Place) -> Ordering {
        let ranks = self.sorts.iter().zip(a.ranks.iter().zip(&b.ranks));
        let mut orders = ranks.map(|(sort, (a, b))| a.compare(b, sort.descending));
        let first = orders.find(|order| order.is_ne());
        first.unwrap_or_else(|| a.key.cmp(&b.key))
    }
}

/// A rank within a segment. Twice the number of a text, and one, so that there is room between two for one that the segment
/// does not have.
fn local(rank: Option<u64>, descending: bool) -> (bool, u64) {
    match rank {
        None => (true, 0),
        Some(rank) if descending => (false, !rank),
        Some(rank) => (false, rank),
    }
}

fn text_rank(texts: &StrColumn, text: &str) -> std::io::Result<u64> {
    let dictionary = texts.dictionary();
    let hit = dictionary.term_ord_or_next(text.as_bytes())?;
    Ok(match hit {
        tantivy::columnar::TermOrdHit::Exact(ordinal) => ordinal * 2 + 1,
        // Behind all that a large dictionary has it is the greatest number there is.
        tantivy::columnar::TermOrdHit::Next(ordinal) => ordinal.saturating_mul(2),
    })
}

fn text_of(texts: &StrColumn, document: DocId) -> std::io::Result<Option<String>> {
    let Some(ordinal) = texts.term_ords(document).next() else { return Ok(None) };
    let mut text = String::new();
    Ok(texts.ord_to_str(ordinal, &mut text)?.then_some(text))
}

impl Source {
    fn of(segment: &SegmentReader, by: &By) -> tantivy::Result<Self> {
        let fast = segment.fast_fields();
        Ok(match by {
            By::Score => Self::Score,
            By::Field(name, FieldType::Keyword) => {
                fast.str(name)?.map_or(Self::Nothing, Self::Texts)
            }
            By::Field(name, _) => {
                let numbers = fast.u64_lenient(name)?;
                numbers.map_or(Self::Nothing, |(column, _)| Self::Numbers(column))
            }
        })
    }

    fn local(&self, document: DocId, score: Score, descending: bool) -> (bool, u64) {
        let rank = match self {
            Self::Score => Some(score_rank(score)),
            Self::Nothing => None,
            Self::Numbers(numbers) => numbers.first(document),
            Self::Texts(texts) => texts.term_ords(document).next().map(|it| it * 2 + 1),
        };
        local(rank, descending)
    }

    /// Where a place that was said stands in the segment.
    fn local_of(&self, rank: &Rank, descending: bool) -> std::io::Result<(bool, u64)> {
        Ok(match (self, rank) {
            (_, Rank::Missing) => (true, 0),
            (Self::Texts(texts), Rank::Text(text)) => {
                local(Some(text_rank(texts, text)?), descending)
            }
            (_, Rank::Number(rank)) => local(Some(*rank), descending),
            // The segment has no value there: all of it comes behind.
            (_, Rank::Text(_)) => local(Some(0), descending),
        })
    }

    fn rank(&self, document: DocId, score: Score) -> std::io::Result<Rank> {
        Ok(match self {
            Self::Score => Rank::Number(score_rank(score)),
            Self::Nothing => Rank::Missing,
            Self::Numbers(numbers) => numbers.first(document).map_or(Rank::Missing, Rank::Number),
            Self::Texts(texts) => text_of(texts, document)?.map_or(Rank::Missing, Rank::Text),
        })
    }
}

impl Collector for Ordered {
    type Fruit = Vec<Hit>;
    type Child = OrderedSegment;

    fn for_segment(
        &self,
        ordinal: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<OrderedSegment> {
        let sources = self
            .sorts
            .iter()
            .map(|sort| Source::of(segment, &sort.by).map(|source| (source, sort.descending)));
        let sources = sources.collect::<tantivy::Result<Vec<_>>>()?;
        let keys = segment.fast_fields().str(KEY)?;
        let after = match (&self.after, &keys) {
            (Some(place), Some(keys)) => {
                let mut after: Local = [(false, 0); PLACES];
                let given = sources.iter().zip(&place.ranks);
                for (at, ((source, descending), rank)) in after.iter_mut().zip(given) {
                    *at = source.local_of(rank, *descending)?;
                }
                if let Some(last) = after.get_mut(sources.len()) {
                    *last = (false, text_rank(keys, &place.key)?);
                }
                Some(after)
            }
            _ => None,
        };
        let first = BinaryHeap::with_capacity(self.limit + 1);
        Ok(OrderedSegment { sources, keys, limit: self.limit, after, ordinal, first, failed: None })
    }

    fn requires_scoring(&self) -> bool {
        self.sorts.iter().any(|sort| sort.by == By::Score)
    }

    fn merge_fruits(&self, fruits: Vec<Result<Vec<Hit>, String>>) -> tantivy::Result<Vec<Hit>> {
        let mut all = Vec::new();
        for fruit in fruits {
            all.extend(fruit.map_err(tantivy::TantivyError::InternalError)?);
        }
        all.sort_by(|a, b| self.compare(&a.place, &b.place));
        all.truncate(self.limit);
        Ok(all)
    }
}

impl SegmentCollector for OrderedSegment {
    type Fruit = Result<Vec<Hit>, String>;

    fn collect(&mut self, document: DocId, score: Score) {
        let mut place: Local = [(false, 0); PLACES];
        for (at, (source, descending)) in place.iter_mut().zip(&self.sources) {
            *at = source.local(document, score, *descending);
        }
        let key = self.keys.as_ref().and_then(|keys| keys.term_ords(document).next());
        if let Some(last) = place.get_mut(self.sources.len()) {
            *last = (false, key.map_or(0, |it| it * 2 + 1));
        }
        if self.after.is_some_and(|after| place <= after) || self.limit == 0 {
            return;
        }
        if self.first.len() < self.limit {
            self.first.push((place, document, score.to_bits()));
        } else if let Some(mut last) = self.first.peek_mut()
            && place < last.0
        {
            *last = (place, document, score.to_bits());
        }
    }

    fn harvest(mut self) -> Self::Fruit {
        let mut hits = Vec::with_capacity(self.first.len());
        let has_scores = self.sources.iter().any(|(it, _)| matches!(it, Source::Score));
        for (_, document, score) in std::mem::take(&mut self.first) {
            let score = Score::from_bits(score);
            let ranks = self.sources.iter().map(|(source, _)| source.rank(document, score));
            let ranks = ranks.collect::<std::io::Result<Vec<_>>>();
            let key = self.keys.as_ref().map(|keys| text_of(keys, document)).transpose();
            match (ranks, key) {
                (Ok(ranks), Ok(key)) => hits.push(Hit {
                    place: Place { ranks, key: key.flatten().unwrap_or_default() },
                    address: DocAddress::new(self.ordinal, document),
                    score: has_scores.then_some(score),
                }),
                (Err(error), _) | (_, Err(error)) => self.failed = Some(error.to_string()),
            }
        }
        self.failed.map_or(Ok(hits), Err)
    }
}
