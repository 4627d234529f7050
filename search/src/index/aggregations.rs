//! What is counted and summed up, looked at before Tantivy does it.
//!
//! Aggregations come from outside. Tantivy bounds the memory of what it collects, and not of all else: of buckets that fill a
//! gap, of ranges that are none, of levels within levels. So each is looked at first: its kind, its numbers, how many buckets
//! it can make of the values that there are, and whether its field may be seen.

use nexus_delivery::projection::FieldType;
use nexus_protocol::limits::{
    AGGREGATION_BUCKETS_MAX, AGGREGATION_DEPTH_MAX, AGGREGATION_RANGES_MAX, AGGREGATION_VALUES_MAX,
    AGGREGATIONS_MAX,
};
use serde_json::{Map, Value};
use tantivy::DateTime;
use tantivy::aggregation::agg_req::{Aggregations, get_fast_field_names};
use tantivy::columnar::{ColumnType, MonotonicallyMappableToU64};

use super::facets::Facets;
use super::query::Asking;
use super::snapshot::Snapshot;

/// Those that there are: queries within aggregations would go around what is looked at in queries, and whole documents around what
/// is hidden.
const KINDS: [&str; 12] = [
    "terms",
    "histogram",
    "date_histogram",
    "range",
    "stats",
    "avg",
    "sum",
    "min",
    "max",
    "percentiles",
    "cardinality",
    "value_count",
];

/// What is to be counted and summed up, if nothing of it is hidden, and it is bounded.
pub(super) fn aggregations_of(
    asked: &Value,
    asking: &Asking<'_>,
    (snapshot, sees_all): (&Snapshot, bool),
) -> Result<(Aggregations, Facets), String> {
    let mut asked = asked.clone();
    let facets = asked.as_object_mut().map(|aggs| Facets::take_of(aggs, asking));
    let facets = facets.transpose()?.unwrap_or_default();
    Looking { asking, snapshot, sees_all, count: 0 }.level(&asked, 1)?;
    let aggs: Aggregations =
        serde_json::from_value(asked).map_err(|why| shortened(&why.to_string()))?;
    for name in get_fast_field_names(&aggs) {
        let field = asking.field_or_path(&name)?;
        if matches!(field.field_type, FieldType::Text | FieldType::Facet) {
            let kind = field.field_type;
            return Err(format!(
                "field {name:?} is {kind}: have the same as keyword beside it, or count a facet by `facet`, at the top"
            ));
        }
    }
    Ok((aggs, facets))
}

/// A text of others as an error repeats it.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

struct Looking<'a> {
    asking: &'a Asking<'a>,
    snapshot: &'a Snapshot,
    /// Whether whoever asks sees all documents: from what others hold nothing may be learnt.
    sees_all: bool,
    count: usize,
}

impl Looking<'_> {
    fn level(&mut self, level: &Value, depth: usize) -> Result<(), String> {
        if depth > AGGREGATION_DEPTH_MAX {
            return Err(format!("they are nested deeper than {AGGREGATION_DEPTH_MAX}"));
        }
        let level = level.as_object().ok_or("they are an object, each by its name")?;
        for (name, aggregation) in level {
            self.count += 1;
            if self.count > AGGREGATIONS_MAX {
                return Err(format!("there are more than {AGGREGATIONS_MAX}"));
            }
            let named = |why: String| format!("{:?}: {why}", shortened(name));
            let members = aggregation.as_object();
            let members = members.ok_or_else(|| named("it is an object".to_owned()))?;
            let mut kinds = members.iter().filter(|(member, _)| *member != "aggs");
            let (Some((kind, of)), None) = (kinds.next(), kinds.next()) else {
                let why =
                    "it has one kind, as {\"terms\": {\"field\": \"status\"}}, and may have `aggs`";
                return Err(named(why.to_owned()));
            };
            if !KINDS.contains(&kind.as_str()) {
                let there = KINDS.join(", ");
                let kind = shortened(kind);
                let why =
                    format!("there is no {kind:?}: there are {there}, and `facet`, at the top");
                return Err(named(why));
            }
            let of = of.as_object().ok_or_else(|| named(format!("`{kind}` is an object")))?;
            // First: nothing that is hidden is said by what else is wrong.
            if let Some(field) = of.get("field").and_then(Value::as_str) {
                self.asking.field_or_path(field)?;
            }
            self.aggregation(kind, of).map_err(|why| named(format!("`{kind}`: {why}")))?;
            if let Some(inner) = members.get("aggs") {
                self.level(inner, depth + 1)?;
            }
        }
        Ok(())
    }

    fn aggregation(&self, kind: &str, of: &Map<String, Value>) -> Result<(), String> {
        match kind {
            "terms" => terms(of),
            "range" => ranges(of),
            "percentiles" => percentiles(of),
            "histogram" => {
                let interval = number(of, "interval")?.unwrap_or_default();
                self.histogram(of, interval, 1.0)
            }
            "date_histogram" => {
                let interval = of.get("fixed_interval").and_then(Value::as_str);
                let interval = interval.ok_or("it needs `fixed_interval`, as \"1d\"")?;
                self.histogram(of, milliseconds(interval)?, 1e6)
            }
            _ => Ok(()),
        }
    }

    /// Whether a histogram is of no more buckets than there may be: also of empty ones, which fill the gaps. Values are in so many
    /// of the unit that the interval is in.
    fn histogram(
        &self,
        of: &Map<String, Value>,
        interval: f64,
        values_in_one: f64,
    ) -> Result<(), String> {
        if !(interval.is_finite() && interval > 0.0) {
            return Err("its interval is a number above 0".to_owned());
        }
        let hard = bounds(of, "hard_bounds")?;
        let extended = bounds(of, "extended_bounds")?;
        let fills_gaps = number(of, "min_doc_count")?.unwrap_or_default() < 1.0;
        let there = match of.get("field").and_then(Value::as_str) {
            Some(name) if fills_gaps && hard.is_none() => self.values(name, values_in_one)?,
            _ => None,
        };
        let spans = [hard, extended, there].into_iter().flatten();
        let span = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let buckets = span.map_or(0.0, |(from, to)| (to - from) / interval);
        if buckets >= f64::from(AGGREGATION_BUCKETS_MAX) {
            return Err(format!(
                "its interval makes more than {AGGREGATION_BUCKETS_MAX} buckets: say a greater one, or \
                 `hard_bounds`, or \"min_doc_count\": 1"
            ));
        }
        Ok(())
    }

    /// The least and the greatest value of a field.
    fn values(&self, name: &str, values_in_one: f64) -> Result<Option<(f64, f64)>, String> {
        if name.contains('.') || !self.sees_all {
            let why = "how far its values reach is not known before: say `hard_bounds`, or \"min_doc_count\": 1";
            return Err(why.to_owned());
        }
        let mut span: Option<(f64, f64)> = None;
        for segment in self.snapshot.searcher.segment_readers() {
            // What cannot be read is said by the search itself.
            let Ok(Some((column, kind))) = segment.fast_fields().u64_lenient(name) else {
                continue;
            };
            if segment.num_docs() == 0 {
                continue;
            }
            let of = |value| value_of(value, kind) / values_in_one;
            let (from, to) = (of(column.min_value()), of(column.max_value()));
            span = Some(span.map_or((from, to), |it| (it.0.min(from), it.1.max(to))));
        }
        Ok(span)
    }
}

#[expect(clippy::cast_precision_loss, reason = "what is counted is how many, about")]
fn value_of(value: u64, kind: ColumnType) -> f64 {
    match kind {
        ColumnType::I64 => i64::from_u64(value) as f64,
        ColumnType::F64 => f64::from_u64(value),
        ColumnType::DateTime => DateTime::from_u64(value).into_timestamp_nanos() as f64,
        _ => value as f64,
    }
}

fn number(of: &Map<String, Value>, name: &str) -> Result<Option<f64>, String> {
    let value = of.get(name).map(|it| it.as_f64().ok_or_else(|| format!("`{name}` is a number")));
    value.transpose()
}

fn bounds(of: &Map<String, Value>, name: &str) -> Result<Option<(f64, f64)>, String> {
    let Some(bounds) = of.get(name) else { return Ok(None) };
    let end = |end: &str| bounds.get(end).and_then(Value::as_f64);
    match (end("min"), end("max")) {
        (Some(from), Some(to)) if from <= to => Ok(Some((from, to))),
        _ => Err(format!("`{name}` has `min` and `max`, numbers, the lesser one first")),
    }
}

fn terms(of: &Map<String, Value>) -> Result<(), String> {
    for name in ["size", "shard_size", "segment_size", "split_size"] {
        if number(of, name)?.is_some_and(|it| it > f64::from(AGGREGATION_BUCKETS_MAX)) {
            return Err(format!("`{name}` is at most {AGGREGATION_BUCKETS_MAX}"));
        }
    }
    // It would show the values of documents that do not match, and that whoever asks may not see.
    if number(of, "min_doc_count")?.is_some_and(|it| it < 1.0) {
        return Err("`min_doc_count` is at least 1".to_owned());
    }
    for name in ["include", "exclude"] {
        let Some(values) = of.get(name) else { continue };
        let are_texts = |values: &Vec<Value>| values.iter().all(Value::is_string);
        let count = values.as_array().filter(|it| are_texts(it)).map(Vec::len);
        if count.is_none_or(|count| count > AGGREGATION_VALUES_MAX) {
            return Err(format!(
                "`{name}` is a list of texts, at most {AGGREGATION_VALUES_MAX}: say anything else in `query`"
            ));
        }
    }
    Ok(())
}

fn ranges(of: &Map<String, Value>) -> Result<(), String> {
    let ranges = of.get("ranges").and_then(Value::as_array);
    let ranges = ranges.filter(|it| !it.is_empty() && it.len() <= AGGREGATION_RANGES_MAX);
    let ranges =
        ranges.ok_or_else(|| format!("it has `ranges`, 1 to {AGGREGATION_RANGES_MAX} of them"))?;
    for range in ranges {
        let end = |end: &str| range.get(end).filter(|it| !it.is_null());
        let ends = (end("from").map(Value::as_f64), end("to").map(Value::as_f64));
        match ends {
            (Some(None), _) | (_, Some(None)) => {
                return Err("`from` and `to` are numbers".to_owned());
            }
            (Some(Some(from)), Some(Some(to))) if from >= to => {
                return Err(format!("a range from {from} to {to} has nothing in it"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn percentiles(of: &Map<String, Value>) -> Result<(), String> {
    let Some(percents) = of.get("percents").filter(|it| !it.is_null()) else { return Ok(()) };
    let is_percent = |it: &Value| it.as_f64().is_some_and(|it| (0.0..=100.0).contains(&it));
    let are = |it: &Vec<Value>| it.len() <= AGGREGATION_RANGES_MAX && it.iter().all(is_percent);
    match percents.as_array().is_some_and(are) {
        true => Ok(()),
        false => Err(format!(
            "`percents` is a list of at most {AGGREGATION_RANGES_MAX} numbers from 0 to 100"
        )),
    }
}

/// An interval of a histogram of dates, as Tantivy reads it.
fn milliseconds(interval: &str) -> Result<f64, String> {
    let (digits, unit) = interval.split_at(interval.bytes().take_while(u8::is_ascii_digit).count());
    let unit = match unit {
        "ms" | "milliseconds" => 1,
        "s" | "seconds" => 1_000,
        "m" | "minutes" => 60_000,
        "h" | "hours" => 3_600_000,
        "d" | "days" => 86_400_000,
        _ => 0,
    };
    let whole = digits.parse::<u32>().ok().filter(|_| unit > 0);
    let whole = whole.ok_or_else(|| {
        "`fixed_interval` is a whole number of ms, s, m, h, or d, as \"1d\"".to_owned()
    })?;
    Ok(f64::from(whole) * f64::from(unit))
}
