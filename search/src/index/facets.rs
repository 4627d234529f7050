//! [`Facets`]: how many of what matches stand below a place in a hierarchy, by the places right under it.
//!
//! In `aggs`, at the top: `{"facet": {"field": "path", "under": "/permits", "size": 10}}`. A document counts once for each
//! child that it has a place in, or below; one that stands at `under` itself counts for none.
//!
//! Tantivy has a collector for that, which takes memory for each place of a segment, and is wrong at the root: there it
//! leaves out the first sign of names, so that `/ab/x` and `/cb/y` are one child. Here a segment is asked for its children
//! only, each of which begins at a number, and a place is one of those of the child that begins before it.

use std::collections::BTreeMap;
use std::io;

use nexus_delivery::projection::FieldType;
use nexus_protocol::limits::{AGGREGATION_BUCKETS_MAX, FACET_BUCKETS_MAX, FACET_COUNTS_MAX};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tantivy::aggregation::AggregationError;
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{StrColumn, TermOrdHit};
use tantivy::schema::Facet;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader, TERMINATED, TantivyError};

use super::query::Asking;

/// What such an aggregation is named by.
const FACET: &str = "facet";
/// What stands between the names of a path, as an index has it; no name has it in it.
const BETWEEN: u8 = 0;

/// What is said of one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    field: String,
    #[serde(default = "root")]
    under: String,
    #[serde(default = "size")]
    size: usize,
}

fn root() -> String {
    "/".to_owned()
}

fn size() -> usize {
    10
}

/// One count of children.
struct Counted {
    name: String,
    field: String,
    /// What all places below begin with, as an index has it.
    prefix: Vec<u8>,
    size: usize,
}

/// Counts of children, each under the name that was asked for.
#[derive(Default)]
pub(crate) struct Facets(Vec<Counted>);

impl Facets {
    /// Takes what is counted here out of what is to be counted, if nothing of it is hidden.
    ///
    /// # Errors
    /// Says what cannot be right.
    pub(crate) fn take_of(
        aggs: &mut Map<String, Value>,
        asking: &Asking<'_>,
    ) -> Result<Self, String> {
        let mut all = Vec::new();
        let mut left = Map::new();
        for (name, asked) in std::mem::take(aggs) {
            match asked {
                Value::Object(members) if members.contains_key(FACET) => {
                    let counted = Counted::of(&name, members, asking);
                    all.push(counted.map_err(|why| format!("{name:?}: {why}"))?);
                }
                other => drop(left.insert(name, other)),
            }
        }
        *aggs = left;
        match all.len() > FACET_COUNTS_MAX {
            true => Err(format!("at most {FACET_COUNTS_MAX} count by `{FACET}`")),
            false => Ok(Self(all)),
        }
    }
}

impl Counted {
    fn of(name: &str, members: Map<String, Value>, asking: &Asking<'_>) -> Result<Self, String> {
        if members.len() > 1 {
            return Err(format!("`{FACET}` has nothing beside it, and nothing within it"));
        }
        let said = members.into_iter().next().map(|(_, said)| said).unwrap_or_default();
        if !said.is_object() {
            // An array would be taken for its members, one after the other.
            return Err(format!("`{FACET}` is an object, as {{\"field\": \"path\"}}"));
        }
        let said: Said = serde_json::from_value(said).map_err(|why| why.to_string())?;
        let field_type = asking.field(&said.field)?.field_type;
        if field_type != FieldType::Facet {
            return Err(format!("field {:?} is {field_type}, and no facet", said.field));
        }
        if said.size > FACET_BUCKETS_MAX {
            return Err(format!("`size` is at most {FACET_BUCKETS_MAX}"));
        }
        let under = Facet::from_text(&said.under);
        let under = under.map_err(|_| {
            format!("`under` is a path, as \"/books/crime\", and not {:?}", said.under)
        })?;
        let mut prefix = under.encoded_str().as_bytes().to_vec();
        if !under.is_root() {
            prefix.push(BETWEEN);
        }
        Ok(Self { name: name.to_owned(), field: said.field, prefix, size: said.size })
    }

    /// As an answer has it: those first that most stand in.
    fn shown(&self, children: BTreeMap<String, u64>) -> Value {
        let mut children: Vec<_> = children.into_iter().collect();
        children.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
        children.truncate(self.size);
        let buckets =
            children.into_iter().map(|(key, count)| json!({ "key": key, "doc_count": count }));
        json!({ "buckets": buckets.collect::<Vec<_>>() })
    }
}

/// One that begins in a segment.
struct Child {
    /// The first place of it, as the segment numbers them.
    first: u64,
    path: String,
    count: u64,
    /// The document that has counted last.
    last: DocId,
}

/// Counts those of a segment.
struct CountedSegment {
    places: Option<StrColumn>,
    children: Vec<Child>,
    /// The first place behind all of them.
    end: u64,
}

impl CountedSegment {
    fn of(counted: &Counted, segment: &SegmentReader) -> tantivy::Result<Self> {
        let places = segment.fast_fields().str(&counted.field)?;
        let (children, end) = match &places {
            Some(places) => children_of(places, &counted.prefix)?,
            None => (Vec::new(), 0),
        };
        Ok(Self { places, children, end })
    }

    fn collect(&mut self, document: DocId) {
        let Some(places) = &self.places else { return };
        for place in places.term_ords(document) {
            let behind = self.children.partition_point(|child| child.first <= place);
            let Some(at) = behind.checked_sub(1).filter(|_| place < self.end) else { continue };
            let child = &mut self.children[at];
            if child.last != document {
                (child.count, child.last) = (child.count + 1, document);
            }
        }
    }
}

/// The children in a segment, and the first place behind them.
fn children_of(places: &StrColumn, prefix: &[u8]) -> tantivy::Result<(Vec<Child>, u64)> {
    let dictionary = places.dictionary();
    let (mut children, mut term) = (Vec::<Child>::new(), Vec::new());
    let mut first = at_or_behind(places, prefix)?;
    while first < dictionary.num_terms() as u64 {
        term.clear();
        if !dictionary.ord_to_term(first, &mut term)? || !term.starts_with(prefix) {
            break;
        }
        if term.is_empty() {
            // It stands at the root itself.
            first += 1;
            continue;
        }
        let below = &term[prefix.len()..];
        let name = below.iter().position(|byte| *byte == BETWEEN).unwrap_or(below.len());
        term.truncate(prefix.len() + name);
        if children.len() >= AGGREGATION_BUCKETS_MAX as usize {
            return Err(too_many());
        }
        children.push(Child { first, path: path_of(&term), count: 0, last: TERMINATED });
        // No place of this child is behind that, and none of another one is before.
        term.push(BETWEEN + 1);
        first = at_or_behind(places, &term)?;
    }
    Ok((children, first))
}

/// A place as it is said in a request. Tantivy writes a `\\` so that it is read as something else.
fn path_of(encoded: &[u8]) -> String {
    let mut path = "/".to_owned();
    for sign in String::from_utf8_lossy(encoded).chars() {
        match sign {
            '\0' => path.push('/'),
            '/' | '\\' => path.extend(['\\', sign]),
            sign => path.push(sign),
        }
    }
    path
}

fn too_many() -> TantivyError {
    let (limit, current) = (AGGREGATION_BUCKETS_MAX, AGGREGATION_BUCKETS_MAX + 1);
    AggregationError::BucketLimitExceeded { limit, current }.into()
}

/// The first place that is not before a text, as the segment numbers them.
fn at_or_behind(places: &StrColumn, text: &[u8]) -> io::Result<u64> {
    let (TermOrdHit::Exact(first) | TermOrdHit::Next(first)) =
        places.dictionary().term_ord_or_next(text)?;
    Ok(first.min(places.num_terms() as u64))
}

/// Counts all of those of a segment.
pub(crate) struct FacetsSegment(Vec<CountedSegment>);

impl Collector for Facets {
    type Fruit = Map<String, Value>;
    type Child = FacetsSegment;

    fn for_segment(
        &self,
        _: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<FacetsSegment> {
        let all = self.0.iter().map(|counted| CountedSegment::of(counted, segment));
        all.collect::<tantivy::Result<_>>().map(FacetsSegment)
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(
        &self,
        fruits: Vec<Vec<Vec<(String, u64)>>>,
    ) -> tantivy::Result<Map<String, Value>> {
        let mut all = vec![BTreeMap::<String, u64>::new(); self.0.len()];
        for (sum, (path, count)) in fruits.into_iter().flat_map(|of_segment| {
            let counted = of_segment.into_iter().enumerate();
            counted.flat_map(|(at, children)| children.into_iter().map(move |it| (at, it)))
        }) {
            *all[sum].entry(path).or_default() += count;
            if all[sum].len() > AGGREGATION_BUCKETS_MAX as usize {
                return Err(too_many());
            }
        }
        let shown = self.0.iter().zip(all);
        Ok(shown.map(|(counted, all)| (counted.name.clone(), counted.shown(all))).collect())
    }
}

impl SegmentCollector for FacetsSegment {
    /// Of each count, the children that something stands in.
    type Fruit = Vec<Vec<(String, u64)>>;

    fn collect(&mut self, document: DocId, _: Score) {
        self.0.iter_mut().for_each(|counted| counted.collect(document));
    }

    fn harvest(self) -> Self::Fruit {
        let of = |counted: CountedSegment| {
            let children = counted.children.into_iter().filter(|child| child.count > 0);
            children.map(|child| (child.path, child.count)).collect()
        };
        self.0.into_iter().map(of).collect()
    }
}
