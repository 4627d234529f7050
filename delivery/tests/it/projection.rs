//! Folds against a model that knows nothing of slots: it has all events of a document, and looks for what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use nexus_delivery::projection::{Definition, DefinitionFile, Document, FoldError};
use nexus_engine::Engine;
use nexus_protocol::{Append, EventData, Looked, Read, RecordedEvent};
use nexus_testing::Random;
use serde_json::{Map, Value, json};

fn definition(json: Value) -> Definition {
    Definition::new(DefinitionFile::from_json(json).unwrap()).unwrap()
}

/// Every operator, and what is computed of them.
fn all_operators() -> Definition {
    definition(json!({
        "name": "all", "key": "/data/key", "delete": ["Ended"], "access": "union",
        "fields": {
            "set": { "type": "keyword", "fold": "set", "from": "/data/k" },
            "first": { "type": "keyword", "fold": "first", "from": "/data/k" },
            "last": { "type": "keyword", "fold": "last", "from": "/data/k" },
            "first_by": { "type": "keyword", "fold": "first", "from": "/data/k", "by": "/data/n" },
            "last_by": { "type": "keyword", "fold": "last", "from": "/data/k", "by": "/data/n" },
            "sum": { "type": "i64", "rules": [
                { "fold": "add", "from": "/data/n", "on": ["A"] },
                { "fold": "subtract", "from": "/data/n", "on": ["B"] },
            ] },
            "min": { "type": "i64", "fold": "min", "from": "/data/n" },
            "max": { "type": "i64", "fold": "max", "from": "/data/n" },
            "list": { "type": "keyword", "fold": "append", "from": "/data/k", "max": 5 },
            "merged": { "type": "json", "fold": "merge", "from": "/data/o" },
            "count": { "type": "u64", "fold": "count" },
            "count_n": { "type": "u64", "fold": "count", "from": "/data/n" },
            "distinct": { "type": "u64", "fold": "count_distinct", "from": "/data/k" },
            "flag": { "type": "keyword", "rules": [
                { "fold": "set", "value": "yes", "on": ["A"] },
                { "fold": "unset", "on": ["B"] },
            ] },
            "doubled": { "type": "i64", "compute": { "multiply": [{ "field": "sum" }, { "value": 2 }] } },
            "more": { "type": "i64", "compute": { "add": [{ "field": "doubled" }, { "field": "max" }] } },
            "name": { "type": "keyword", "compute": { "first_of": [{ "field": "set" }, { "value": "none" }] } },
        },
    }))
}

/// What the model shows of the events of a document, in their order.
fn modelled(events: &[RecordedEvent]) -> Map<String, Value> {
    let data: Vec<(&str, Value)> =
        events.iter().map(|it| (it.event_type(), it.json().unwrap())).collect();
    let there = |name: &str| -> Vec<Value> {
        let values = data.iter().filter_map(|(_, data)| data.get(name).cloned());
        values.filter(|it| !it.is_null()).collect()
    };
    let (keys, numbers) = (there("k"), there("n"));
    let both: Vec<(i64, Value)> = data
        .iter()
        .filter_map(|(_, data)| Some((data["n"].as_i64()?, data["k"].as_str()?.into())))
        .collect();
    let number = |it: &Value| it.as_i64().unwrap();
    let of_type = |wanted: &str| -> i64 {
        let some = data.iter().filter(|(event_type, _)| *event_type == wanted);
        some.filter_map(|(_, data)| data["n"].as_i64()).sum()
    };
    let any_sum = data.iter().any(|(of, data)| ["A", "B"].contains(of) && data["n"].is_i64());
    let sum = any_sum.then(|| of_type("A") - of_type("B"));
    let max = numbers.iter().map(number).max();
    let mut objects = data.iter().filter_map(|(_, data)| data.get("o").filter(|it| !it.is_null()));
    let merged = objects.next().map(|first| {
        let mut whole: BTreeMap<String, Value> = BTreeMap::new();
        for patch in std::iter::once(first).chain(objects) {
            for (name, value) in patch.as_object().unwrap() {
                match value {
                    Value::Null => drop(whole.remove(name)),
                    value => drop(whole.insert(name.clone(), value.clone())),
                }
            }
        }
        json!(whole)
    });
    let set = data.iter().rev().find_map(|(_, data)| data.get("k")).filter(|it| !it.is_null());
    let list = &keys[keys.len().saturating_sub(5)..];
    let different: BTreeSet<_> = keys.iter().map(Value::to_string).collect();
    let flag =
        data.iter().rev().find(|(of, _)| ["A", "B"].contains(of)).is_some_and(|it| it.0 == "A");
    let all = [
        ("set", set.cloned()),
        ("first", keys.first().cloned()),
        ("last", keys.last().cloned()),
        ("first_by", both.iter().min_by_key(|it| it.0).map(|it| it.1.clone())),
        ("last_by", both.iter().max_by_key(|it| it.0).map(|it| it.1.clone())),
        ("sum", sum.map(Value::from)),
        ("min", numbers.iter().map(number).min().map(Value::from)),
        ("max", max.map(Value::from)),
        ("list", (!keys.is_empty()).then(|| json!(list))),
        ("merged", merged),
        ("count", Some(json!(data.len()))),
        ("count_n", (!numbers.is_empty()).then(|| json!(numbers.len()))),
        ("distinct", (!keys.is_empty()).then(|| json!(different.len()))),
        ("flag", flag.then(|| json!("yes"))),
        ("doubled", sum.map(|it| (2 * it).into())),
        ("more", sum.zip(max).map(|(sum, max)| (2 * sum + max).into())),
        ("name", Some(set.cloned().unwrap_or_else(|| json!("none")))),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// An event of some document. One in a while is poison.
fn random_event(random: &mut Random) -> EventData {
    let mut data = Map::new();
    data.insert("key".to_owned(), format!("key-{}", random.below(4)).into());
    let mut put = |name: &str, value: Value| drop(data.insert(name.to_owned(), value));
    match random.below(5) {
        0 => {}
        1 => put("k", Value::Null),
        _ => put("k", format!("k{}", random.below(6)).into()),
    }
    match random.below(8) {
        0 | 1 => {}
        2 => put("n", Value::Null),
        3 if random.one_in(3) => put("n", "poison".into()),
        _ => put("n", (i64::try_from(random.below(40)).unwrap() - 20).into()),
    }
    if random.one_in(3) {
        let value = if random.one_in(3) { Value::Null } else { random.below(9).into() };
        put("o", json!({ format!("m{}", random.below(3)): value }));
    }
    let event_type = match random.below(30) {
        0 => "Ended",
        1..=10 => "A",
        11..=20 => "B",
        _ => "C",
    };
    EventData::json(event_type, &data).unwrap().tag(format!("t:{}", random.below(5)))
}

#[test]
fn documents_are_what_their_events_say() {
    let definition = all_operators();
    let (mut folded, mut poison, mut ended) = (0, 0, 0);
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let engine = Engine::in_memory();
        let store = engine.namespace("default").unwrap();
        let events = (0..200).map(|_| random_event(&mut random));
        store.append(Append::to("all").events(events)).wait().unwrap();
        let mut documents: BTreeMap<String, Option<Document>> = BTreeMap::new();
        let mut model: BTreeMap<String, Vec<RecordedEvent>> = BTreeMap::new();
        for event in store.read(Read::all()) {
            let event = event.unwrap();
            let looked = Looked::new(&event);
            let key = definition.key(&looked).unwrap().unwrap();
            let document = documents.entry(key.clone()).or_default();
            let before = document.clone();
            let of_key = model.entry(key).or_default();
            match definition.fold(document, &looked) {
                Ok(()) if event.event_type() == "Ended" => {
                    of_key.clear();
                    ended += 1;
                }
                Ok(()) => of_key.push(event.clone()),
                Err(FoldError::Mismatch { found, .. }) => {
                    assert_eq!(found, "\"poison\"");
                    assert_eq!(*document, before, "what fails changes nothing");
                    poison += 1;
                }
                Err(error) => panic!("{error}"),
            }
            folded += 1;
            let Some(document) = document else {
                assert!(of_key.is_empty());
                continue;
            };
            let bytes = document.encode();
            assert_eq!(definition.decode(&bytes).as_ref(), Ok(&*document), "seed {seed}");
            assert_eq!(definition.shown(document), modelled(of_key), "seed {seed}: {of_key:?}");
            assert_eq!(document.events(), of_key.len() as u64);
            let tags: BTreeSet<&str> = of_key.iter().flat_map(RecordedEvent::tags).collect();
            assert!(document.tags().eq(tags), "it carries the tags of all of them");
        }
    }
    assert!(folded == 12_000 && poison > 100 && ended > 100, "{folded} {poison} {ended}");
}

#[test]
fn bytes_that_are_no_document_are_refused_and_one_document_has_one_encoding() {
    let definition = all_operators();
    let (mut kept, mut refused) = (0, 0);
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let engine = Engine::in_memory();
        let store = engine.namespace("default").unwrap();
        let events = (0..60).map(|_| random_event(&mut random));
        store.append(Append::to("all").events(events)).wait().unwrap();
        let mut document = None;
        for event in store.read(Read::all()) {
            let _ = definition.fold(&mut document, &Looked::new(&event.unwrap()));
        }
        let Some(document) = document else { continue };
        let bytes = document.encode();
        for cut in 0..bytes.len() {
            let cut_off = definition.decode(&bytes[..cut]).unwrap_err();
            assert!(cut_off.at <= cut);
        }
        assert!(definition.decode(&[&bytes[..], &[0]].concat()).is_err());
        for _ in 0..2_000 {
            let mut changed = bytes.clone();
            for _ in 0..=random.below(3) {
                let at = usize::try_from(random.below(changed.len() as u64)).unwrap();
                changed[at] = u8::try_from(random.below(256)).unwrap();
            }
            match definition.decode(&changed) {
                Ok(read) => {
                    assert_eq!(read.encode(), changed, "there is one encoding");
                    kept += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(kept > 1_000 && refused > 1_000, "{kept} {refused}");
    let other = fold_definition();
    let mut document = None;
    other.fold(&mut document, &Looked::new(&events(&[json!(1)])[0])).unwrap();
    assert!(definition.decode(&document.unwrap().encode()).is_err(), "it has other fields");
}

#[test]
fn json_is_kept_to_the_bit() {
    let field = json!({ "type": "json", "fold": "set", "from": "/data" });
    let definition = definition(json!({ "name": "p", "key": "/stream", "fields": { "f": field } }));
    // Some readers of floats are one off in the last place.
    let engine = Engine::in_memory();
    let store = engine.namespace("default").unwrap();
    let text = r#"[1.18446744073709551e20, -0.0, 5e-324, 1.7976931348623157e308, 18446744073709551615,
        -9223372036854775808, 0.1, {"b": {}, "a": [null, true, false, ""]}, 9007199254740993.0]"#;
    let event = EventData::new("E", "application/json", text.into());
    store.append(Append::to("a").event(event)).wait().unwrap();
    let event = store.read(Read::all()).into_iter().next().unwrap().unwrap();
    let mut document = None;
    definition.fold(&mut document, &Looked::new(&event)).unwrap();
    let document = document.unwrap();
    let again = definition.decode(&document.encode()).unwrap();
    assert_eq!((&again, again.encode()), (&document, document.encode()));
    assert_eq!(definition.shown(&again), definition.shown(&document));
}

fn fold_definition() -> Definition {
    let count = json!({ "f": { "type": "u64", "fold": "count" } });
    definition(json!({ "name": "p", "key": "/stream", "fields": count }))
}

fn events(all: &[Value]) -> Vec<RecordedEvent> {
    let engine = Engine::in_memory();
    let store = engine.namespace("default").unwrap();
    let events = all.iter().map(|data| EventData::json("E", data).unwrap());
    store.append(Append::to("all").events(events)).wait().unwrap();
    store.read(Read::all()).into_iter().map(Result::unwrap).collect()
}

/// The document of these events, and what went wrong with the last.
fn fold(field: Value, all: &[Value]) -> (Map<String, Value>, Option<String>) {
    let definition = definition(json!({ "name": "p", "key": "/stream", "fields": { "f": field } }));
    let (mut document, mut failed) = (None, None);
    for event in events(all) {
        let folded = definition.fold(&mut document, &Looked::new(&event));
        failed = folded.err().map(|error| error.to_string());
    }
    (document.map(|it| definition.shown(&it)).unwrap_or_default(), failed)
}

#[test]
fn what_leads_beyond_a_bound_fails_and_changes_nothing() {
    let add = |field_type: &str| json!({ "type": field_type, "fold": "add", "from": "/data" });
    let subtract =
        |field_type: &str| json!({ "type": field_type, "fold": "subtract", "from": "/data" });
    for (field, all, left, why) in [
        (add("u64"), [json!(u64::MAX), json!(1)], json!(u64::MAX), "beyond what u64 holds"),
        (add("i64"), [json!(i64::MAX), json!(1)], json!(i64::MAX), "beyond what i64 holds"),
        (add("f64"), [json!(f64::MAX), json!(f64::MAX)], json!(f64::MAX), "what f64 holds"),
        (subtract("u64"), [json!(0), json!(1)], json!(0), "`subtract` leads beyond"),
        (subtract("i64"), [json!(-3), json!("x")], json!(3), "\"x\" is no i64"),
        (
            json!({ "type": "date", "fold": "max", "from": "/data" }),
            [json!("2026-01-01T00:00:00Z"), json!("soon")],
            json!("2026-01-01T00:00:00.000000Z"),
            "\"soon\" is no date",
        ),
    ] {
        let (document, failed) = fold(field, &all);
        assert_eq!(document["f"], left);
        assert!(failed.as_ref().is_some_and(|it| it.contains(why)), "{failed:?}");
    }
    let long = json!("x".repeat(700_000));
    let append = json!({ "type": "text", "fold": "append", "from": "/data" });
    let (document, failed) = fold(append, &[long.clone(), long]);
    assert_eq!(document["f"].as_array().unwrap().len(), 1);
    assert!(failed.unwrap().contains("the document has more than"));
}

#[test]
fn lists_of_values_are_taken_one_by_one_and_the_last_are_kept() {
    let append = json!({ "type": "u64", "fold": "append", "from": "/data", "max": 3 });
    let all = [json!([1, 2]), json!(3), json!(["4", null]), json!([])];
    assert_eq!(fold(append.clone(), &all), (object("f", json!([2, 3, 4])), None));
    // What is nothing takes the place of nothing, and what would be pushed out is not looked at.
    let all = [json!(["x", 1, 2, 3, null, "", null])];
    assert_eq!(fold(append, &all), (object("f", json!([1, 2, 3])), None));
    let json = json!({ "type": "json", "fold": "append", "from": "/data" });
    assert_eq!(fold(json, &[json!([1, 2])]), (object("f", json!([[1, 2]])), None));
}

fn object(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

#[test]
fn what_is_gone_from_a_document_makes_room() {
    let text = |c: &str| json!(c.repeat(700_000));
    let set = json!({ "type": "text", "fold": "set", "from": "/data" });
    let append = json!({ "type": "text", "fold": "append", "from": "/data", "max": 1 });
    for field in [set, append] {
        let (document, failed) = fold(field, &[text("a"), text("b"), text("c")]);
        assert_eq!(failed, None);
        assert!(document["f"].to_string().contains("ccc"));
    }
    // It is known before all of it is made.
    let fields: Map<String, Value> = (0..200)
        .map(|it| (format!("f{it}"), json!({ "type": "json", "fold": "set", "from": "/data" })))
        .collect();
    let definition = definition(json!({ "name": "p", "key": "/stream", "fields": fields }));
    let many = events(&[json!(vec![0; 20_000])]);
    let failed = definition.fold(&mut None, &Looked::new(&many[0]));
    assert_eq!(failed, Err(FoldError::DocumentTooLarge));
}

#[test]
fn the_first_and_the_last_go_by_what_they_are_told() {
    let by = |operator: &str, all: &[Value]| {
        let field =
            json!({ "type": "keyword", "fold": operator, "from": "/data/k", "by": "/data/at" });
        let all: Vec<_> =
            all.iter().enumerate().map(|(k, at)| json!({ "k": k, "at": at })).collect();
        let (document, failed) = fold(field, &all);
        assert_eq!(failed, None);
        document.get("f").map(|it| it.as_str().unwrap().to_owned())
    };
    for (all, first, last) in [
        // Texts of numbers are numbers, of any size.
        (vec![json!("9"), json!("10"), json!(2.5)], "2", "1"),
        (vec![json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64)], "1", "0"),
        // Times of several offsets, and texts that are none.
        (vec![json!("2026-01-01T00:00:00Z"), json!("2026-01-01T00:30:00+01:00")], "1", "0"),
        (vec![json!("2026-01-02 03:04:50"), json!("2026-01-02 03:04:05")], "1", "0"),
        // Numbers before times, and these before texts; what has no place does not count.
        (
            vec![json!("b"), json!("2026-01-01T00:00:00Z"), json!(1), json!(null), json!([1])],
            "2",
            "0",
        ),
        // Of equals, the order of the log.
        (vec![json!(1), json!("1"), json!(1)], "0", "2"),
    ] {
        assert_eq!(by("first", &all).unwrap(), first, "{all:?}");
        assert_eq!(by("last", &all).unwrap(), last, "{all:?}");
    }
    assert_eq!(by("last", &[json!(null)]), None);
}

#[test]
fn nothing_is_taken_for_nothing() {
    let all = [json!({ "v": 12 }), json!({ "v": "" }), json!({})];
    let field = |operator: &str| json!({ "type": "u64", "fold": operator, "from": "/data/v" });
    for (operator, wanted) in [("set", 12), ("last", 12), ("count", 1), ("count_distinct", 1)] {
        assert_eq!(fold(field(operator), &all), (object("f", json!(wanted)), None), "{operator}");
    }
    let taken = [&all[..], &[json!({ "v": null })]].concat();
    assert_eq!(fold(field("set"), &taken), (Map::new(), None));
    // The same, whichever way it is written, but not a text for a number.
    let same = [json!({ "v": { "a": 1, "b": 2 } }), json!({ "v": { "b": 2, "a": 1 } })];
    assert_eq!(fold(field("count_distinct"), &same), (object("f", json!(1)), None));
    let other = [json!({ "v": 1 }), json!({ "v": "1" })];
    assert_eq!(fold(field("count_distinct"), &other), (object("f", json!(2)), None));
}

#[test]
fn a_merge_goes_as_deep_as_its_patch() {
    let merge = json!({ "type": "json", "fold": "merge", "from": "/data" });
    let all = [
        json!({ "a": { "b": 1, "c": [1] }, "d": 1 }),
        json!({ "a": { "b": null, "c": [2], "e": { "f": null, "g": 3 } } }),
    ];
    let wanted = json!({ "a": { "c": [2], "e": { "g": 3 } }, "d": 1 });
    assert_eq!(fold(merge.clone(), &all), (object("f", wanted), None));
    assert_eq!(fold(merge, &[all[0].clone(), json!(7)]), (object("f", json!(7)), None));
}

#[test]
fn a_document_carries_tags_as_it_is_said() {
    let engine = Engine::in_memory();
    let store = engine.namespace("default").unwrap();
    let tags = |tags: &[&str]| {
        tags.iter().fold(EventData::json("E", &1).unwrap(), |event, tag| event.tag(*tag))
    };
    let some = [tags(&["a:1", "b:1"]), tags(&["b:2"])];
    let many = (0..40).map(|it| {
        let names: Vec<String> = (0..32).map(|tag| format!("t{it}:{tag}")).collect();
        tags(&names.iter().map(String::as_str).collect::<Vec<_>>())
    });
    store.append(Append::to("all").events(some.into_iter().chain(many))).wait().unwrap();
    let all: Vec<_> = store.read(Read::all()).into_iter().map(Result::unwrap).collect();
    let carried = |access: &str| {
        let count = json!({ "f": { "type": "u64", "fold": "count" } });
        let definition =
            definition(json!({ "name": "p", "key": "/stream", "access": access, "fields": count }));
        let mut document = None;
        let mut after_two = Vec::new();
        let mut failed = 0;
        for (number, event) in all.iter().enumerate() {
            failed += usize::from(
                definition.fold(&mut document, &Looked::new(event)) == Err(FoldError::TooManyTags),
            );
            if number == 1 {
                after_two = document.as_ref().unwrap().tags().map(str::to_owned).collect();
            }
        }
        let document = document.unwrap();
        assert_eq!(definition.shown(&document)["f"], json!(all.len() - failed));
        (after_two, document.tags().count(), failed)
    };
    assert_eq!(carried("none"), (vec![], 0, 0));
    assert_eq!(carried("last"), (vec!["b:2".to_owned()], 32, 0));
    let (after_two, in_the_end, failed) = carried("union");
    assert_eq!(after_two, ["a:1", "b:1", "b:2"]);
    // 3 and 31 times 32 have room; one more has not.
    assert_eq!((in_the_end, failed), (3 + 31 * 32, 9));
}

#[test]
fn more_different_values_than_are_counted_fail() {
    let field = json!({ "type": "u64", "fold": "count_distinct", "from": "/data" });
    let all: Vec<_> = (0..=10_000).map(|it| json!(it)).collect();
    let (document, failed) = fold(field.clone(), &all);
    assert_eq!(document["f"], json!(10_000));
    assert!(failed.unwrap().contains("more than 10000 different values"));
    // One that is known goes on.
    let (document, failed) = fold(field, &[&all[..10_000], &[json!(3)]].concat());
    assert_eq!((document["f"].clone(), failed), (json!(10_000), None));
}

#[test]
fn what_is_no_definition_is_refused_and_it_is_said_where() {
    let field = |field: Value| json!({ "name": "p", "key": "/stream", "fields": { "f": field } });
    let set = json!({ "type": "u64", "fold": "set", "from": "/data" });
    let deep = |name: &str| json!({ "field": name });
    for (json, at, why) in [
        (json!([]), "definition", "no object"),
        (json!({ "name": "p", "key": "/stream" }), "fields", "say what documents have"),
        (json!({ "name": "p", "key": "/stream", "fields": {} }), "fields", "1 to 256 fields"),
        (
            json!({ "name": "p", "key": "/stream", "fields": [] }),
            "fields",
            "say what documents have",
        ),
        (json!({ "name": "p", "key": "/stream", "keys": 1, "fields": {} }), "definition", "`keys`"),
        (json!({ "name": "1p", "key": "/stream", "fields": { "f": set } }), "name", "letter"),
        (json!({ "name": "p", "version": 0, "key": "/a", "fields": { "f": set } }), "version", "1"),
        (
            json!({ "name": "p", "key": "stream", "fields": { "f": set } }),
            "key",
            "begin it with `/`",
        ),
        (
            json!({ "name": "p", "key": "/nothing", "fields": { "f": set } }),
            "key",
            "no field of an event",
        ),
        (
            json!({ "name": "p", "key": "/stream", "temporal": true, "fields": { "f": set } }),
            "temporal",
            "not",
        ),
        (json!({ "name": "p", "key": "/stream", "fields": { "_f": set } }), "fields._f", "letter"),
        (field(json!({ "type": "number" })), "fields.f", "unknown variant `number`"),
        (field(json!({ "type": "u64", "form": "/data" })), "fields.f", "`form`"),
        (field(json!({ "type": "u64" })), "fields.f", "say how it comes about"),
        (field(json!({ "type": "u64", "from": "/data" })), "fields.f", "say how it changes"),
        (field(json!({ "type": "u64", "fold": "set" })), "fields.f", "needs `from`"),
        (
            field(json!({ "type": "u64", "fold": "set", "value": "x" })),
            "fields.f",
            "`value` is no u64",
        ),
        (
            field(json!({ "type": "text", "fold": "add", "from": "/data" })),
            "fields.f",
            "and not text",
        ),
        (field(json!({ "type": "text", "fold": "count" })), "fields.f", "u64 or i64"),
        (
            field(json!({ "type": "u64", "fold": "merge", "from": "/data" })),
            "fields.f",
            "makes json",
        ),
        (
            field(json!({ "type": "json", "fold": "min", "from": "/data" })),
            "fields.f",
            "and not json",
        ),
        (field(json!({ "type": "u64", "fold": "unset" })), "fields.f", "without `on`"),
        (
            field(json!({ "type": "u64", "fold": "set", "from": "/data", "by": "/type" })),
            "fields.f",
            "`by`",
        ),
        (
            field(json!({ "type": "u64", "fold": "set", "from": "/data", "max": 2 })),
            "fields.f",
            "`max`",
        ),
        (
            field(json!({ "type": "u64", "fold": "append", "from": "/data", "max": 0 })),
            "fields.f",
            "1 to",
        ),
        (
            field(json!({ "type": "u64", "fold": "append", "value": ["1", "x"] })),
            "fields.f",
            "is no u64",
        ),
        (
            field(json!({ "type": "u64", "fold": "append", "from": "/data", "max": 1_001 })),
            "fields.f",
            "1 to",
        ),
        (
            field(json!({ "type": "u64", "fold": "set", "from": "/data", "on": [""] })),
            "fields.f",
            "1 to 256 bytes",
        ),
        (
            json!({ "name": "p", "key": { "seconds_between": [{ "path": "/type" }, { "path": "/type" }] },
                    "fields": { "f": set } }),
            "key",
            "no value here",
        ),
        (
            field(json!({ "type": "u64", "rules": [
                { "fold": "set", "from": "/data" }, { "fold": "count", "on": ["A"] },
            ] })),
            "fields.f",
            "put it last",
        ),
        (
            field(json!({ "type": "u64", "rules": [
                { "fold": "last", "from": "/data", "by": "/type", "on": ["A"] },
                { "fold": "max", "from": "/data" },
            ] })),
            "fields.f",
            "every rule",
        ),
        (
            field(json!({ "type": "u64", "rules": [
                { "fold": "append", "from": "/data", "on": ["A"] }, { "fold": "set", "from": "/data" },
            ] })),
            "fields.f",
            "go together with `unset` alone",
        ),
        (
            field(json!({ "type": "u64", "fold": "count", "compute": deep("f") })),
            "fields.f",
            "not both",
        ),
        (
            field(json!({ "type": "u64", "compute": deep("g") })),
            "fields.f",
            "there is no field \"g\"",
        ),
        (
            field(json!({ "type": "u64", "compute": deep("f") })),
            "fields",
            "computed from each other",
        ),
    ] {
        let read = DefinitionFile::from_json(json.clone()).and_then(Definition::new);
        let error = read.map(|_| ()).unwrap_err();
        assert_eq!(error.at, at, "{json}: {error}");
        assert!(error.why.contains(why), "{json}: {error}");
    }
}

#[test]
fn a_key_is_made_of_what_the_event_says() {
    let key = json!({ "concat": [{ "path": "/type" }, { "value": "/" }, { "path": "/data/id" }] });
    let count = json!({ "f": { "type": "u64", "fold": "count" } });
    let definition = definition(json!({ "name": "p", "key": key, "fields": count }));
    let long = "x".repeat(600);
    let huge = "x".repeat(70_000);
    let data = [
        json!({ "id": 7 }),
        json!({}),
        json!({ "id": null }),
        json!({ "id": long }),
        json!({ "id": huge }),
        json!({ "id": [1] }),
    ];
    let all = events(&data);
    let keys: Vec<_> = all.iter().map(|event| definition.key(&Looked::new(event))).collect();
    assert_eq!(keys[..3], [Ok(Some("E/7".to_owned())), Ok(None), Ok(None)]);
    // What is there, and makes no key, is not passed over.
    assert!(keys[3..].iter().all(|it| *it == Err(FoldError::BadKey)), "{keys:?}");
}

#[test]
fn a_definition_reads_as_it_is_written() {
    let json = json!({
        "name": "p", "version": 2, "filter": { "categories": ["order"] }, "key": "/stream",
        "sink": "kv", "temporal": false, "access": "last", "delete": ["Gone"],
        "fields": { "f": { "type": "u64", "fold": "count", "on": ["E"] } },
    });
    let file = DefinitionFile::from_json(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&file).unwrap(), json);
}
