//! Aggregations: what is counted and summed up, held to a scan.

use std::collections::BTreeMap;

use nexus_protocol::search::SearchRequest;
use serde_json::{Map, Value, json};

use super::ask::{Store, asking};
use super::question::Question;
use super::searches::{found, searched};
use crate::Random;

fn number(document: &Map<String, Value>, field: &str) -> Option<f64> {
    document.get(field).and_then(Value::as_f64)
}

/// The buckets of an aggregation, by their keys, that have something.
fn buckets(of: &Value) -> BTreeMap<String, &Value> {
    let all = of["buckets"].as_array().unwrap();
    let some = all.iter().filter(|it| it["doc_count"] != 0);
    some.map(|it| {
        let key = it.get("key_as_string").unwrap_or(&it["key"]);
        (key.as_str().map_or_else(|| key.to_string(), str::to_owned), it)
    })
    .collect()
}

fn counts(of: &Value) -> BTreeMap<String, u64> {
    buckets(of).into_iter().map(|(key, it)| (key, it["doc_count"].as_u64().unwrap())).collect()
}

fn tally(all: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    let mut tally = BTreeMap::new();
    all.for_each(|it| *tally.entry(it).or_default() += 1);
    tally
}

pub(super) async fn what_is_counted_is_what_a_scan_counts(store: Store) {
    let random = &mut Random::new(41);
    let Some(things) = searched(&store, random).await else { return };
    let aggs = json!({
        "states": { "terms": { "field": "status" }, "aggs": { "sum": { "sum": { "field": "count" } } } },
        "labels": { "terms": { "field": "labels" } },
        "deltas": { "stats": { "field": "delta" } },
        "prices": { "histogram": { "field": "price", "interval": 5.0 } },
        "weeks": { "date_histogram": { "field": "at", "fixed_interval": "1d" } },
        "parts": { "range": { "field": "count", "ranges": [{ "to": 5.0 }, { "from": 5.0, "to": 12.0 }, { "from": 12.0 }] } },
        "different": { "cardinality": { "field": "status" } },
        "most": { "max": { "field": "price" } },
        "inside": { "terms": { "field": "extra.n" } },
    });
    for round in 0..12 {
        let question = if round == 0 { Question::All } else { Question::random(random, 1) };
        let query = question.tree();
        let asked =
            SearchRequest { limit: 0, aggs: Some(aggs.clone()), ..asking(query, things.last) };
        let answer = found(&store, &asked).await;
        let all: Vec<_> = things.documents.values().filter(|it| question.takes(it)).collect();
        assert_eq!((answer.total, answer.hits.len()), (all.len() as u64, 0), "{question:?}");
        if !all.is_empty() {
            check(&answer.aggs.unwrap(), &all);
        }
    }
}

fn check(told: &Value, all: &[&Map<String, Value>]) {
    let texts = |field: &'static str| all.iter().filter_map(move |it| it.get(field)?.as_str());
    let numbers = |field: &'static str| all.iter().filter_map(move |it| number(it, field));
    assert_eq!(counts(&told["states"]), tally(texts("status").map(str::to_owned)));
    for (status, bucket) in buckets(&told["states"]) {
        let of_it = all.iter().filter(|it| it.get("status") == Some(&json!(status)));
        let sum: f64 = of_it.filter_map(|it| number(it, "count")).sum();
        assert_eq!(bucket["sum"]["value"].as_f64().unwrap_or(0.0), sum, "{status}");
    }
    // A document counts once, however often it has a label.
    let labels = all.iter().flat_map(|it| {
        let labels = it.get("labels").and_then(Value::as_array).cloned().unwrap_or_default();
        let labels: std::collections::BTreeSet<_> =
            labels.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
        labels
    });
    assert_eq!(counts(&told["labels"]), tally(labels));
    let deltas: Vec<_> = numbers("delta").collect();
    assert_eq!(told["deltas"]["count"], json!(deltas.len()));
    assert_eq!(told["deltas"]["sum"].as_f64().unwrap_or(0.0), deltas.iter().sum::<f64>());
    assert_eq!(told["deltas"]["min"].as_f64(), deltas.iter().copied().reduce(f64::min));
    assert_eq!(told["most"]["value"].as_f64(), numbers("price").reduce(f64::max));
    let prices = numbers("price").map(|it| json!((it / 5.0).floor() * 5.0).to_string());
    assert_eq!(counts(&told["prices"]), tally(prices));
    let days = texts("at").map(|it| it[..10].to_owned());
    let told_days = counts(&told["weeks"]).into_iter().map(|(day, n)| (day[..10].to_owned(), n));
    assert_eq!(told_days.collect::<BTreeMap<_, _>>(), tally(days));
    let parts = numbers("count").map(|it| match it {
        it if it < 5.0 => "*-5".to_owned(),
        it if it < 12.0 => "5-12".to_owned(),
        _ => "12-*".to_owned(),
    });
    assert_eq!(counts(&told["parts"]), tally(parts));
    let different: std::collections::BTreeSet<_> = texts("status").collect();
    assert_eq!(told["different"]["value"].as_f64(), Some(different.len() as f64));
    let inside = all.iter().filter_map(|it| it.get("extra")?.get("n")?.as_f64());
    let told_inside = buckets(&told["inside"]).into_values();
    let told_inside = told_inside
        .map(|it| (it["key"].as_f64().unwrap().to_string(), it["doc_count"].as_u64().unwrap()));
    assert_eq!(told_inside.collect::<BTreeMap<_, _>>(), tally(inside.map(|it| it.to_string())));
}
