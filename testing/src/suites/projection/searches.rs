//! Searches: what is found by what is in it, in which order, and what is shown of it; and that a sink by key alone says that
//! it has none.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use nexus_protocol::projection::ProjectionChange;
use nexus_protocol::search::{SearchAnswer, SearchRequest};
use nexus_protocol::{Position, ReadError};
use serde_json::{Map, Value, json};

use super::ask::{SOON_MS, Sink, Store, asking, event};
use super::question::{Question, compare};
use super::scan::Documents;
use super::things::{self, THINGS, Things, WORDS};
use crate::Random;

/// Things, where they can be searched; `None`: it was said that they cannot.
pub(super) async fn searched(store: &Store, random: &mut Random) -> Option<Things> {
    let things = Things::made(store, random).await;
    if store.sink == Sink::Search {
        return Some(things);
    }
    let refused = store.search(THINGS, &asking(json!("title:door"), things.last)).await;
    let Err(ReadError::Invalid(why)) = refused else { panic!("{refused:?}") };
    assert!(why.to_string().contains("keeps its documents by key alone"), "{why}");
    None
}

/// Asks for what must be answered.
pub(super) async fn found(store: &Store, asked: &SearchRequest) -> SearchAnswer {
    let answer = store.search(THINGS, asked).await;
    let answer = answer.unwrap_or_else(|error| panic!("{asked:?}: {error}"));
    assert!(answer.as_of_position >= asked.min_position, "{asked:?}: {answer:?}");
    answer
}

fn keys(answer: &SearchAnswer) -> Vec<&str> {
    answer.hits.iter().map(|hit| hit.key.as_str()).collect()
}

fn taken<'a>(documents: &'a Documents, question: &Question) -> BTreeSet<&'a str> {
    let taken = documents.iter().filter(|(_, document)| question.takes(document));
    taken.map(|(key, _)| key.as_str()).collect()
}

pub(super) async fn what_is_asked_is_found_as_a_scan_finds_it(store: Store) {
    let random = &mut Random::new(31);
    let Some(mut things) = searched(&store, random).await else { return };
    let (mut some, mut not_all) = (0, 0);
    for round in 0..200 {
        if round % 50 == 49 {
            let last = things::append_some(&store, random, 50).await;
            things = Things { documents: things::scan(&store).await, last };
        }
        let question = Question::random(random, 2);
        let wanted = taken(&things.documents, &question);
        for query in [question.tree(), json!(question.text())] {
            let answer = found(&store, &asking(query.clone(), things.last)).await;
            assert_eq!(answer.total, answer.hits.len() as u64, "{query}");
            assert_eq!(keys(&answer).into_iter().collect::<BTreeSet<_>>(), wanted, "{query}");
            for hit in &answer.hits {
                assert_eq!(hit.document, things.documents[&hit.key], "{query}");
            }
        }
        some += usize::from(!wanted.is_empty());
        not_all += usize::from(wanted.len() < things.documents.len());
        // As a filter of another question.
        let other = Question::random(random, 1);
        let mut asked = asking(other.tree(), things.last);
        asked.filter = Some(question.tree());
        let both: BTreeSet<_> =
            taken(&things.documents, &other).intersection(&wanted).copied().collect();
        let answer = found(&store, &asked).await;
        assert_eq!(keys(&answer).into_iter().collect::<BTreeSet<_>>(), both, "{asked:?}");
    }
    assert!(some > 100 && not_all > 100, "{some} find something, {not_all} leave something out");
}

/// Fields that documents are put in order by, up to three, and whether the greatest comes first.
fn random_order(random: &mut Random) -> Vec<(&'static str, bool)> {
    let mut fields = vec!["status", "count", "delta", "price", "open", "at", "moved"];
    (0..random.below(4))
        .map(|_| (fields.remove(random.below(fields.len() as u64) as usize), random.one_in(2)))
        .collect()
}

fn by_order(
    order: &[(&str, bool)],
    a: (&String, &Map<String, Value>),
    b: (&String, &Map<String, Value>),
) -> Ordering {
    let of = |(field, descending): &(&str, bool)| match (a.1.get(*field), b.1.get(*field)) {
        // What has none comes last.
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (None, None) => Ordering::Equal,
        (Some(a), Some(b)) if *descending => compare(b, a),
        (Some(a), Some(b)) => compare(a, b),
    };
    order.iter().map(of).find(|it| it.is_ne()).unwrap_or_else(|| a.0.cmp(b.0))
}

pub(super) async fn pages_join_in_every_order(store: Store) {
    let random = &mut Random::new(32);
    let Some(things) = searched(&store, random).await else { return };
    for _ in 0..30 {
        let order = random_order(random);
        let question = if random.one_in(2) { Question::All } else { Question::random(random, 1) };
        let documents = things.documents.iter().filter(|(_, it)| question.takes(it));
        let mut wanted: Vec<_> = documents.collect();
        wanted.sort_by(|a, b| by_order(&order, *a, *b));
        let wanted: Vec<_> = wanted.into_iter().map(|(key, _)| key.clone()).collect();
        let sort = |(field, descending): &(&str, bool)| match (random.below(3), descending) {
            (0, false) => json!(field),
            (1, _) => json!({ *field: { "order": if *descending { "desc" } else { "asc" } } }),
            _ => json!({ *field: if *descending { "desc" } else { "asc" } }),
        };
        let sort: Vec<_> = order.iter().map(sort).collect();
        // Only what lets through: the order is then by key, where there is no other.
        let mut asked = SearchRequest {
            query: None,
            filter: Some(question.tree()),
            sort,
            limit: [1, 3, 10, 100][random.below(4) as usize],
            ..asking(Value::Null, things.last)
        };
        let mut pages = Vec::new();
        loop {
            let answer = found(&store, &asked).await;
            assert_eq!(answer.total, wanted.len() as u64, "{asked:?}");
            assert!(answer.hits.len() <= asked.limit);
            pages.extend(answer.hits.into_iter().map(|hit| hit.key));
            asked.search_after = answer.next;
            if asked.search_after.is_none() {
                break;
            }
        }
        assert_eq!(pages, wanted, "{order:?} of {question:?}");
    }
}

pub(super) async fn the_best_match_comes_first(store: Store) {
    let Some(things) = searched(&store, &mut Random::new(33)).await else { return };
    let either = Question::Or(vec![Question::Word("door"), Question::Word("broken")]);
    for sort in [vec![], vec![json!("_score")]] {
        let asked = SearchRequest { sort, ..asking(either.tree(), things.last) };
        let answer = found(&store, &asked).await;
        let scores: Vec<_> = answer.hits.iter().map(|hit| hit.score.unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] > 0.0, "{scores:?}");
        assert_eq!(
            keys(&answer).into_iter().collect::<BTreeSet<_>>(),
            taken(&things.documents, &either)
        );
        let both = Question::And(vec![Question::Word("door"), Question::Word("broken")]);
        let both = taken(&things.documents, &both);
        assert!(both.contains(answer.hits[0].key.as_str()), "what has both words is better");
    }
    let asked = SearchRequest { sort: vec![json!("count")], ..asking(either.tree(), things.last) };
    assert!(found(&store, &asked).await.hits.iter().all(|hit| hit.score.is_none()));
}

pub(super) async fn some_fields_are_shown(store: Store) {
    let Some(things) = searched(&store, &mut Random::new(34)).await else { return };
    for fields in [vec!["count", "labels"], vec![]] {
        let asked = SearchRequest {
            fields: Some(fields.iter().map(|it| (*it).to_owned()).collect()),
            ..asking(json!("*"), things.last)
        };
        let answer = found(&store, &asked).await;
        assert_eq!(answer.total, things.documents.len() as u64);
        for hit in answer.hits {
            let mut wanted = things.documents[&hit.key].clone();
            wanted.retain(|name, _| fields.contains(&name.as_str()));
            assert_eq!(hit.document, wanted);
        }
    }
}

pub(super) async fn what_matches_is_shown_where_it_does(store: Store) {
    let Some(things) = searched(&store, &mut Random::new(35)).await else { return };
    for word in WORDS {
        let question = Question::Word(word);
        let highlight = vec!["title".to_owned()];
        let asked = SearchRequest { highlight, ..asking(question.tree(), things.last) };
        let answer = found(&store, &asked).await;
        assert!(!answer.hits.is_empty(), "{word}");
        for hit in answer.hits {
            let title = hit.document["title"].as_str().unwrap();
            let marked = title.split(' ').map(|it| match it == word {
                true => format!("<b>{it}</b>"),
                false => it.to_owned(),
            });
            let marked = marked.collect::<Vec<_>>().join(" ");
            assert_eq!(hit.highlight["title"], json!([marked]), "{title}");
        }
    }
    let asked = asking(json!("title:door"), things.last);
    assert!(found(&store, &asked).await.hits.iter().all(|hit| hit.highlight.is_empty()));
}

pub(super) async fn own_appends_are_found(store: Store) {
    let Some(_) = searched(&store, &mut Random::new(36)).await else { return };
    let append = async |n: u64| {
        let data = json!({ "id": format!("mine-{n}"), "status": "mine" });
        store.append("things", event("Changed", &data)).await
    };
    let mut last = Position::ZERO;
    for round in 1..=3 {
        last = append(round).await;
        let answer = found(&store, &asking(json!("status:mine"), last)).await;
        assert_eq!(answer.total, round);
    }
    store.change(THINGS, ProjectionChange::Pause).await;
    let more = append(4).await;
    let asked = SearchRequest { timeout_ms: Some(20), ..asking(json!("status:mine"), more) };
    let error = store.search(THINGS, &asked).await.unwrap_err();
    let ReadError::NotCaughtUp { wanted, at, waited_ms: 20 } = error else { panic!("{error:?}") };
    assert!(wanted == more && at >= Some(last) && at < Some(more), "{at:?}");
    let asked = SearchRequest { min_position: None, ..asked };
    let answer = found(&store, &asked).await;
    assert!(answer.total == 3 && answer.lag_events > 0, "it answers from what it has: {answer:?}");
    store.change(THINGS, ProjectionChange::Resume).await;
    let asked = SearchRequest { timeout_ms: Some(SOON_MS), min_position: Some(more), ..asked };
    assert_eq!(found(&store, &asked).await.total, 4);
}

pub(super) async fn what_cannot_be_right_is_refused_and_says_why(store: Store) {
    let Some(things) = searched(&store, &mut Random::new(37)).await else { return };
    for (asked, says) in [
        (json!({ "query": "nothing:1" }), "there is no field \"nothing\""),
        (json!({ "query": "_key:a" }), "there is no field"),
        (json!({ "query": "(door" }), "is no query"),
        (json!({ "query": { "term": { "count": "many" } } }), "is no u64"),
        (json!({ "query": { "like": { "title": "a" } } }), "there is no `like`"),
        (json!({ "filter": 7 }), "filter: a part is a text, or an object"),
        (json!({ "sort": ["title"] }), "put in order by"),
        (json!({ "sort": ["count", "at", "price", "open"] }), "at most 3"),
        (json!({ "limit": 1_001 }), "at most 1000"),
        (json!({ "sort": ["count"], "search_after": ["seven", "b"] }), "search_after"),
        (json!({ "highlight": ["status"] }), "no text"),
        (json!({ "fields": ["none"] }), "there is no field"),
        (json!({ "aggs": { "a": { "terms": { "field": "title" } } } }), "keyword beside it"),
        (json!({ "aggs": { "a": { "top_hits": {} } } }), "there is no \"top_hits\""),
        (json!({ "timeout_ms": 60_001 }), "at most 60000"),
    ] {
        let request: SearchRequest = serde_json::from_value(asked.clone()).unwrap();
        let refused = store.search(THINGS, &request).await;
        let Err(ReadError::Invalid(why)) = refused else { panic!("{asked}: {refused:?}") };
        assert!(why.to_string().contains(says), "{asked}: {why}");
    }
    // None of it was the end of anything.
    let answer = found(&store, &asking(json!("*"), things.last)).await;
    assert_eq!(answer.total, things.documents.len() as u64);
}
