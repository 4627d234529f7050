//! Events in another version of their schemas than the one they were written in.

use std::sync::Arc;

use nexus_protocol::record::{PreparedRecord, Recipe, place};
use nexus_protocol::schema::{
    AsSchema, Compatibility, NewSchema, Pattern, SchemaFormat, SchemaState, SchemaVersion,
    SettingsChange, VersionPick,
};
use nexus_protocol::{
    EventData, EventId, Position, ReadError, RecordedEvent, Revision, SchemaId, Timestamp,
};
use nexus_schemas::{Registry, RegistryError, SchemaRef, UpcastError, Upcaster, Upcasters};
use serde_json::{Value, json};

use crate::registry::{Kept, json_schema, object};

/// An event that was appended behind all that was registered.
fn event(event_type: &str, data: &str, schema: SchemaId) -> RecordedEvent {
    event_at(1_000_000, "order-1", event_type, data, schema)
}

fn event_at(
    position: u64,
    stream: &str,
    event_type: &str,
    data: &str,
    schema: SchemaId,
) -> RecordedEvent {
    let event = EventData {
        schema,
        ..EventData::new(event_type, "application/json", data.to_owned().into())
    };
    let event = event.metadata(&b"about"[..]).tag("a:1");
    let recipe = Recipe { stream, id: EventId::from_bytes([9; 16]), event: &event, tags: &["a:1"] };
    let mut bytes = Vec::new();
    let prepared = PreparedRecord::encode(&recipe, &mut bytes);
    let at = Timestamp::from_micros(1_700_000_000_000_000);
    place(&mut bytes, &prepared, Position::new(position), Revision::new(7), at);
    RecordedEvent::decode(bytes.into()).unwrap()
}

fn with_up(schema: &Value, up: &Value) -> NewSchema {
    NewSchema { up: up.to_string(), ..json_schema(schema) }
}

impl Kept {
    fn evolve(&mut self, subject: &str, schema: &Value, up: &Value) -> SchemaVersion {
        self.try_register(subject, &with_up(schema, up)).unwrap()
    }

    fn texts(&self, event: &RecordedEvent, as_schema: AsSchema) -> Result<Vec<String>, String> {
        let shown = self.registry.show(event.clone(), as_schema).map_err(|error| {
            let ReadError::NotConverted { position, why } = error else { panic!("{error:?}") };
            assert_eq!(position, event.position());
            why
        })?;
        Ok(shown.iter().map(|it| String::from_utf8(it.data().to_vec()).unwrap()).collect())
    }
}

/// Three versions of `order`: `total` becomes `cents`, and then goes into `sum`.
fn orders() -> (Kept, [SchemaVersion; 3]) {
    let mut kept = Kept::default();
    let first = kept.register("order", &object(&["total", "n"], &["total"]));
    let second = kept.evolve(
        "order",
        &object(&["cents", "n"], &["cents"]),
        &json!([{"op": "rename", "path": "/total", "to": "cents"}]),
    );
    let sum = json!({
        "type": "object",
        "properties": { "sum": object(&["cents"], &["cents"]), "n": { "type": "integer" } },
        "required": ["sum"],
    });
    let third =
        kept.evolve("order", &sum, &json!([{"op": "move", "from": "/cents", "to": "/sum/cents"}]));
    (kept, [first, second, third])
}

#[test]
fn an_event_is_shown_in_each_version() {
    let (kept, versions) = orders();
    let texts =
        [r#"{"total":1.50,"n":2}"#, r#"{"cents":1.50,"n":2}"#, r#"{"n":2,"sum":{"cents":1.50}}"#];
    for (written, from) in
        [r#"{"total":1.50,"n":2}"#, r#"{"cents":1.50,"n":2}"#, texts[2]].iter().zip(&versions)
    {
        let stored = event("order", written, from.id);
        assert_eq!(kept.registry.name_of(&stored), Some(("order", from.version)));
        for to in &versions {
            let shown = kept.registry.show(stored.clone(), AsSchema::Version(to.version)).unwrap();
            let [shown] = &shown[..] else { panic!("{shown:?}") };
            assert_eq!(shown.schema(), to.id);
            assert_eq!(kept.registry.name_of(shown), Some(("order", to.version)));
            let same = from.version == to.version;
            assert_eq!(shown.altered(), !same);
            assert_eq!((shown.part(), shown.has_more_parts()), (0, false));
            // What was moved away and back is last: an object has no order.
            let value: Value = shown.json().unwrap();
            let expected = texts[to.version as usize - 1];
            assert_eq!(value, serde_json::from_str::<Value>(expected).unwrap());
            assert!(String::from_utf8_lossy(shown.data()).contains("1.50"), "digits stay");
            let all = |it: &RecordedEvent| {
                let tags: Vec<_> = it.tags().map(str::to_owned).collect();
                let place = (it.position(), it.revision(), it.recorded_at());
                (it.id(), it.stream().to_owned(), place, tags, it.metadata().to_vec())
            };
            assert_eq!(all(shown), all(&stored), "all but the data stays");
        }
        assert_eq!(
            kept.texts(&stored, AsSchema::Latest),
            kept.texts(&stored, AsSchema::Version(3))
        );
        assert_eq!(kept.texts(&stored, AsSchema::Raw).unwrap(), [*written]);
    }
}

#[test]
fn what_follows_no_schema_is_shown_as_it_is_stored() {
    let (mut kept, [first, ..]) = orders();
    let data = r#"{"total":1}"#;
    for event in [
        event("order", data, SchemaId::NONE),
        event_at(0, "order-1", "other", data, SchemaId::NONE),
        event_at(0, "order-1", "$link", data, SchemaId::NONE),
        // There was no such version when it was written.
        event_at(first.id.get().into(), "order-1", "order", data, first.id),
        event("order", data, SchemaId::new(99)),
        event_at(1_000_000, "$system", "order", data, first.id),
    ] {
        let shown = kept.registry.show(event.clone(), AsSchema::Latest).unwrap();
        assert_eq!(shown, [event]);
    }
    let avro = |fields: &str| {
        let text = format!(r#"{{"type":"record","name":"A","fields":[{fields}]}}"#);
        NewSchema::new(SchemaFormat::Avro, text)
    };
    let first = kept.try_register("A", &avro("")).unwrap();
    let field = r#"{"name":"n","type":"int","default":1}"#;
    kept.try_register("A", &avro(field)).unwrap();
    let event = event("A", "", first.id);
    assert_eq!(kept.registry.show(event.clone(), AsSchema::Latest).unwrap(), [event]);
}

#[test]
fn what_is_older_than_the_schemas_is_taken_for_their_first_version() {
    let (mut kept, versions) = orders();
    let old = event_at(0, "order-1", "order", r#"{"total":1.50}"#, SchemaId::NONE);
    let texts = [r#"{"total":1.50}"#, r#"{"cents":1.50}"#, r#"{"sum":{"cents":1.50}}"#];
    assert_eq!(kept.registry.name_of(&old), None, "it says nothing itself");
    assert_eq!(kept.registry.taken_for(&old), Some(("order", 1)));
    for (to, text) in versions.iter().zip(texts) {
        let shown = kept.registry.show(old.clone(), AsSchema::Version(to.version)).unwrap();
        assert_eq!((shown.len(), shown[0].schema(), shown[0].data()), (1, to.id, text.as_bytes()));
    }
    let raw = kept.registry.show(old.clone(), AsSchema::Raw).unwrap();
    assert_eq!(raw, std::slice::from_ref(&old));
    let none = event_at(0, "order-1", "order", "no json", SchemaId::NONE);
    assert!(kept.texts(&none, AsSchema::Latest).unwrap_err().contains("version 1"));
    // By what it is bound to now.
    let other = event_at(0, "order-1", "other", r#"{"total":2}"#, SchemaId::NONE);
    let types = vec![Pattern::new("o*").unwrap()];
    kept.set(Some("order"), SettingsChange { types: Some(types), ..Default::default() });
    assert_eq!(kept.texts(&other, AsSchema::Version(2)).unwrap(), [r#"{"cents":2}"#]);
    // A draft is nothing that anybody wrote.
    let mut kept = Kept::default();
    let draft = NewSchema { state: SchemaState::Draft, ..json_schema(&object(&["a"], &[])) };
    kept.try_register("order", &draft).unwrap();
    assert_eq!(kept.registry.taken_for(&old), None);
    kept.set_state("order", 1, SchemaState::Active).unwrap();
    assert_eq!(kept.registry.taken_for(&old), Some(("order", 1)));
}

#[test]
fn a_version_without_a_transform_changes_nothing_but_the_name() {
    let mut kept = Kept::default();
    let first = kept.register("order", &object(&["a"], &["a"]));
    let second = kept.register("order", &object(&["a", "b"], &["a"]));
    for (from, to) in [(&first, &second), (&second, &first)] {
        let stored = event("order", r#"{"a": 1}"#, from.id);
        let shown = kept.registry.show(stored, AsSchema::Version(to.version)).unwrap();
        assert_eq!((shown[0].data(), shown[0].schema()), (&br#"{"a": 1}"#[..], to.id));
    }
    assert_eq!(kept.registry.upcaster_hash(AsSchema::Latest, ["order"]), 0);
}

#[test]
fn latest_is_the_newest_that_is_active_and_no_draft() {
    let (mut kept, [first, ..]) = orders();
    let draft = NewSchema {
        state: SchemaState::Draft,
        ..with_up(&object(&["x"], &[]), &json!([{"op": "drop", "path": "/sum"}]))
    };
    kept.try_register("order", &draft).unwrap();
    let stored = event("order", r#"{"total":1}"#, first.id);
    let latest = |kept: &Kept| kept.texts(&stored, AsSchema::Latest).unwrap().remove(0);
    assert_eq!(latest(&kept), r#"{"sum":{"cents":1}}"#);
    assert_eq!(kept.texts(&stored, AsSchema::Version(4)).unwrap(), ["{}"], "a draft may be tried");
    kept.set_state("order", 3, SchemaState::Deprecated).unwrap();
    assert_eq!(latest(&kept), r#"{"cents":1}"#, "what is given up is not what is read");
    kept.set_state("order", 2, SchemaState::Retired).unwrap();
    kept.set_state("order", 1, SchemaState::Retired).unwrap();
    assert_eq!(latest(&kept), r#"{"sum":{"cents":1}}"#, "with none active, the newest that was");
}

#[test]
fn what_cannot_be_shown_says_what_to_do() {
    let mut kept = Kept::default();
    let first = kept.register("order", &object(&["a"], &[]));
    let join = json!([{"op": "join", "from": ["/a", "/b"], "by": " ", "to": "/ab"}]);
    let second = kept.evolve("order", &json!({ "properties": { "ab": {} } }), &join);
    let fan = json!([{"op": "fan_out", "path": "/ab", "as": "/one"}]);
    let third = kept.evolve("order", &json!({ "properties": { "one": {} } }), &fan);
    let check = |from: &SchemaVersion, data: &str, to: u32, parts: &[&str]| {
        let why = kept.texts(&event("order", data, from.id), AsSchema::Version(to)).unwrap_err();
        for part in parts {
            assert!(why.contains(part), "{why}");
        }
    };
    check(&first, "{}", 9, &["\"order\" has 3 versions"]);
    check(&second, "{}", 1, &["version 2 of \"order\"", "no way back", "join", "`down`"]);
    check(&third, "{}", 2, &["version 3 of \"order\"", "fan_out"]);
    check(&first, "no json", 2, &["version 1", "not JSON"]);
    let many = format!("{{\"ab\":[{}0]}}", "0,".repeat(300));
    check(&second, &many, 3, &["301", "256"]);
}

#[test]
fn parts_share_a_place() {
    let mut kept = Kept::default();
    let first = kept.register("order", &json!({ "type": "object", "properties": { "items": {} } }));
    let up = json!([
        {"op": "fan_out", "path": "/items", "as": "/item"},
        {"op": "retype", "from": "order", "to": "item"},
    ]);
    let second = kept.evolve("order", &json!({ "properties": { "item": {} } }), &up);
    let stored = event("order", r#"{"items":[1,2,3]}"#, first.id);
    let shown = kept.registry.show(stored.clone(), AsSchema::Latest).unwrap();
    assert_eq!(shown.len(), 3);
    for (number, part) in (0..).zip(&shown) {
        assert_eq!(part.position(), stored.position());
        assert_eq!((part.part(), part.has_more_parts()), (number, number < 2));
        assert_eq!((part.event_type(), part.schema()), ("item", second.id));
        assert_eq!(part.json::<Value>().unwrap(), json!({ "item": number + 1 }));
    }
    let none = event("order", r#"{"items":[]}"#, first.id);
    assert_eq!(kept.registry.show(none, AsSchema::Latest).unwrap(), []);
}

#[test]
fn transforms_that_cannot_be_are_refused() {
    let (mut kept, _) = orders();
    let drop = json!([{"op": "drop", "path": "/a"}]);
    let refused = |kept: &mut Kept, subject: &str, new: &NewSchema, part: &str| {
        let why = kept.try_register(subject, new).unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    };
    refused(&mut kept, "new", &with_up(&json!({}), &drop), "no version before");
    let proto = NewSchema {
        up: drop.to_string(),
        ..NewSchema::new(SchemaFormat::Protobuf, "syntax = \"proto3\"; message A {}")
    };
    refused(&mut kept, "new", &proto, "payloads in JSON");
    let schema = object(&["y"], &[]);
    for (up, part) in [
        (json!({}), "array"),
        (json!([{"op": "delete", "path": "/a"}]), "/up/0"),
        (json!([{"op": "drop", "path": "a"}]), "/up/0/path"),
        (json!([{"op": "drop", "path": "/a", "why": 1}]), "why"),
    ] {
        refused(&mut kept, "order", &with_up(&schema, &up), part);
    }
    let long = format!("[{}]", " ".repeat(nexus_protocol::limits::TRANSFORM_BYTES_MAX));
    let long = NewSchema { up: long, ..json_schema(&schema) };
    assert!(matches!(kept.try_register("order", &long), Err(RegistryError::TooLarge(_))));

    // A version never changes, and neither does its transform.
    let second = object(&["cents", "n"], &["cents"]);
    refused(&mut kept, "order", &with_up(&second, &drop), "other operations");
    let rename = json!([{"op": "rename", "path": "/total", "to": "cents"}]);
    let again = kept.try_register("order", &with_up(&second, &rename)).unwrap();
    assert_eq!(again.version, 2);
    assert_eq!(kept.try_register("order", &json_schema(&second)).unwrap().version, 2);
}

#[test]
fn a_transform_stands_for_reading_what_is_older() {
    let mut kept = Kept::default();
    kept.register("order", &object(&["total"], &["total"]));
    let cents = object(&["cents"], &["cents"]);
    let refused = kept.try_register("order", &json_schema(&cents));
    assert!(matches!(refused, Err(RegistryError::Incompatible(_))));
    // No operations say no more than none.
    let refused = kept.try_register("order", &with_up(&cents, &json!([])));
    assert!(matches!(refused, Err(RegistryError::Incompatible(_))));
    let rename = json!([{"op": "rename", "path": "/total", "to": "cents"}]);
    kept.evolve("order", &cents, &rename);
    // The next is compared with what stands behind no transform: that `total` was required is past.
    kept.register("order", &object(&["cents", "n"], &["cents"]));
    let refused = kept.try_register("order", &json_schema(&object(&["n"], &["n"])));
    let Err(RegistryError::Incompatible(found)) = refused else { panic!("{refused:?}") };
    assert!(found.iter().all(|it| it.version >= 2), "{found:?}");

    let full =
        SettingsChange { compatibility: Some(Some(Compatibility::Full)), ..Default::default() };
    kept.set(Some("order"), full);
    let one = json!({ "properties": { "one": {} } });
    let fan = json!([{"op": "drop", "path": "/n"}, {"op": "fan_out", "path": "/a", "as": "/one"}]);
    let refused = kept.try_register("order", &with_up(&one, &fan));
    let Err(RegistryError::Incompatible(found)) = refused else { panic!("{refused:?}") };
    assert_eq!(
        (&*found[0].rule, &*found[0].pointer, found[0].version),
        ("no_way_back", "/up/1", 3)
    );
    let back = json!([{"op": "rename", "path": "/cents", "to": "one"}]);
    kept.evolve("order", &one, &back);
}

#[test]
fn a_draft_with_a_transform_lets_nothing_pass() {
    let mut kept = Kept::default();
    kept.register("order", &object(&["total"], &["total"]));
    let cents = object(&["cents"], &["cents"]);
    let rename = json!([{"op": "rename", "path": "/total", "to": "cents"}]);
    let draft = NewSchema { state: SchemaState::Draft, ..with_up(&cents, &rename) };
    kept.try_register("order", &draft).unwrap();
    kept.set_state("order", 2, SchemaState::Retired).unwrap();
    // What is lifted is data of the draft, though nobody ever wrote it.
    let refused = kept.try_register("order", &json_schema(&object(&["n"], &["n"])));
    let Err(RegistryError::Incompatible(found)) = refused else { panic!("{refused:?}") };
    assert!(found.iter().all(|it| it.version == 2), "{found:?}");
    kept.register("order", &object(&["cents", "n"], &["cents"]));

    // Whoever reads the first is shown the newest through all ways back between.
    let mut kept = Kept::default();
    kept.register("order", &object(&["a", "b"], &[]));
    let join = json!([{"op": "join", "from": ["/a", "/b"], "by": " ", "to": "/ab"}]);
    kept.evolve("order", &json!({ "properties": { "ab": {} } }), &join);
    let mode = Compatibility::FullTransitive;
    let full = SettingsChange { compatibility: Some(Some(mode)), ..Default::default() };
    kept.set(Some("order"), full);
    let rename = json!([{"op": "rename", "path": "/ab", "to": "text"}]);
    let refused =
        kept.try_register("order", &with_up(&json!({ "properties": { "text": {} } }), &rename));
    let Err(RegistryError::Incompatible(found)) = refused else { panic!("{refused:?}") };
    assert_eq!((&*found[0].rule, found[0].version), ("no_way_back", 1), "{found:?}");
}

/// From one version to another: the number doubles, and its double.
struct Doubles(u32, u32, u32);

impl Upcaster for Doubles {
    fn from(&self) -> SchemaRef {
        SchemaRef { subject: "order".into(), version: self.0 }
    }

    fn to(&self) -> SchemaRef {
        SchemaRef { subject: "order".into(), version: self.1 }
    }

    fn revision(&self) -> u32 {
        self.2
    }

    fn lift(&self, value: Value) -> Result<Vec<Value>, UpcastError> {
        let n = value["n"].as_i64().ok_or_else(|| UpcastError::Failed("there is no n".into()))?;
        let mut double = value;
        double["n"] = json!(2 * n);
        Ok(vec![double.clone(), double])
    }
}

fn upcasters(all: impl IntoIterator<Item = Doubles>) -> Arc<Upcasters> {
    let mut upcasters = Upcasters::default();
    all.into_iter().for_each(|it| upcasters.add(Arc::new(it)).unwrap());
    Arc::new(upcasters)
}

#[test]
fn upcasters_and_transforms_are_one_chain() {
    let (mut kept, [first, second, third]) = orders();
    let plain = kept.registry.clone();
    let stored = event("order", r#"{"total":1,"n":3}"#, first.id);
    kept.registry = plain.clone().with_upcasters(upcasters([Doubles(1, 2, 0)]));
    let third_of = r#"{"n":6,"total":1}"#;
    assert_eq!(kept.texts(&stored, AsSchema::Version(2)).unwrap(), [third_of; 2], "it goes before");
    kept.registry = plain.clone().with_upcasters(upcasters([Doubles(2, 3, 0)]));
    let mixed = kept.texts(&stored, AsSchema::Latest).unwrap();
    assert_eq!(mixed, [r#"{"cents":1,"n":6}"#; 2]);
    assert_eq!(kept.texts(&stored, AsSchema::Version(2)).unwrap(), [r#"{"cents":1,"n":3}"#]);
    let failed = event("order", r#"{"total":1}"#, first.id);
    assert!(kept.texts(&failed, AsSchema::Latest).unwrap_err().contains("there is no n"));
    // One that leads further than is asked for is not taken.
    kept.registry = plain.clone().with_upcasters(upcasters([Doubles(1, 3, 0)]));
    assert_eq!(kept.texts(&stored, AsSchema::Version(2)).unwrap(), [r#"{"cents":1,"n":3}"#]);
    assert_eq!(kept.texts(&stored, AsSchema::Version(3)).unwrap().len(), 2);
    let back = event("order", r#"{"n":6}"#, third.id);
    assert!(kept.texts(&back, AsSchema::Version(2)).unwrap_err().contains("lift in Rust"));
    let back = event("order", r#"{"n":6}"#, second.id);
    assert!(kept.texts(&back, AsSchema::Version(1)).unwrap_err().contains("lift in Rust"));

    let mut all = Upcasters::default();
    all.add(Arc::new(Doubles(1, 2, 0))).unwrap();
    for (wrong, part) in [
        (Doubles(1, 3, 0), "another upcaster leads on"),
        (Doubles(2, 2, 0), "later version"),
        (Doubles(3, 2, 0), "later version"),
        (Doubles(0, 2, 0), "later version"),
    ] {
        let why = all.add(Arc::new(wrong)).unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn a_hash_says_whether_events_are_shown_in_the_same_way() {
    let (kept, _) = orders();
    let plain = kept.registry;
    let hash = |registry: &Registry, as_schema| registry.upcaster_hash(as_schema, ["order"]);
    let latest = hash(&plain, AsSchema::Latest);
    assert_ne!(latest, 0);
    assert_eq!(latest, hash(&plain, AsSchema::Version(3)));
    assert_eq!(latest, plain.upcaster_hash(AsSchema::Latest, ["order", "none", "order"]));
    assert_eq!(hash(&plain, AsSchema::Raw), 0);
    let first = plain.clone().with_upcasters(upcasters([Doubles(1, 2, 0)]));
    let raised = plain.clone().with_upcasters(upcasters([Doubles(1, 2, 1)]));
    let hashes = [
        latest,
        hash(&plain, AsSchema::Version(2)),
        hash(&first, AsSchema::Latest),
        hash(&raised, AsSchema::Latest),
    ];
    for (at, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..at].contains(hash), "{at}");
    }
}

#[test]
fn a_trial_says_what_is_wrong_with_data_and_with_the_way_back() {
    let mut kept = Kept::default();
    let first = kept.register("order", &object(&["total", "n"], &["total"]));
    let stored = event("order", r#"{"total":1,"n":2}"#, first.id);
    let rules = |found: &[nexus_protocol::schema::DataProblem]| -> Vec<String> {
        found.iter().map(|it| format!("{} {}", it.pointer, it.rule)).collect()
    };
    let check = |schema: &Value, up: Value, problems: &[&str], way_back: &[&str]| {
        let (with, version) = kept.registry.with_candidate("order", &with_up(schema, &up)).unwrap();
        assert_eq!(version, 2);
        let tried = with.try_on(&stored, version);
        assert_eq!(rules(&tried.problems), problems, "{up}");
        assert_eq!(rules(&tried.way_back), way_back, "{up}");
        tried.parts
    };
    let cents = object(&["cents", "n"], &["cents"]);
    let rename = json!([{"op": "rename", "path": "/total", "to": "cents"}]);
    assert_eq!(check(&cents, rename, &[], &[]), 1);
    let n = object(&["n"], &["n"]);
    check(&n, json!([{"op": "drop", "path": "/total"}]), &[], &[" required"]);
    check(&cents, json!([{"op": "drop", "path": "/total"}]), &[" required"], &[" required"]);
    let join = json!([{"op": "join", "from": ["/total"], "by": "", "to": "/text"}]);
    let text = json!({ "properties": { "text": { "type": "string" }, "n": {} } });
    check(&text, join, &[], &[" no_way_back"]);
    let invents = json!([
        {"op": "drop", "path": "/total", "down": [{"op": "default", "path": "/total", "value": 9}]}
    ]);
    check(&n, invents, &[], &["/total not_contained"]);
    let cast = json!([{"op": "cast", "path": "/n", "to": "integer", "from": "number"}]);
    check(&object(&["total", "n"], &[]), cast, &[], &[]);
    let fan = json!([{"op": "fan_out", "path": "/n", "as": "/n"}]);
    assert_eq!(check(&object(&["total", "n"], &[]), fan, &[], &[" no_way_back"]), 1);
    let many = event("order", r#"{"total":1,"n":["a"]}"#, first.id);
    let fan = with_up(
        &object(&["total", "n"], &[]),
        &json!([{"op": "fan_out", "path": "/n", "as": "/n"}]),
    );
    let (with, version) = kept.registry.with_candidate("order", &fan).unwrap();
    assert_eq!(rules(&with.try_on(&many, version).problems), ["/n type"]);
    assert_eq!(rules(&with.try_on(&many, 7).problems), [" not_converted"]);
    // The candidate is nowhere else, and what is no schema is none.
    assert_eq!(kept.registry.version("order", VersionPick::Number(2)), None);
    assert!(kept.registry.with_candidate("order", &with_up(&json!(7), &json!([]))).is_err());
    let unknown = event("order", "{}", SchemaId::new(99));
    assert_eq!(with.try_on(&unknown, 2).parts, 0);
}
