//! The registry as a value: events of its stream in, what a change would append out.

use std::cell::Cell;

use nexus_protocol::record::{PreparedRecord, Recipe, place};
use nexus_protocol::schema::{
    Compatibility, NewSchema, Pattern, SCHEMAS_STREAM, SchemaFormat, SchemaReference,
    SchemaSettings, SchemaState, SchemaVersion, SettingsChange, Validation, VersionPick,
};
use nexus_protocol::{
    Append, EventData, EventId, Position, RecordedEvent, Revision, SchemaId, Timestamp,
};
use nexus_schemas::{Change, Registering, Registry, RegistryError, SchemaError};
use serde_json::{Value, json};

/// A registry with the stream that it is read from.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) registry: Registry,
    stream: Vec<RecordedEvent>,
    /// Positions before it that other streams have: revisions and positions are not the same.
    others: Cell<u64>,
}

pub(crate) const WIDE: SchemaSettings = SchemaSettings {
    compatibility: None,
    validation: None,
    types: Vec::new(),
    categories: Vec::new(),
    owner: String::new(),
    description: String::new(),
};

impl Kept {
    fn store(&mut self, event: &EventData) {
        let revision = self.stream.len() as u64;
        self.others.set(self.others.get() + 3);
        let recipe =
            Recipe { stream: SCHEMAS_STREAM, id: EventId::from_bytes([7; 16]), event, tags: &[] };
        let mut bytes = Vec::new();
        let prepared = PreparedRecord::encode(&recipe, &mut bytes);
        let position = Position::new(revision + self.others.get());
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        place(&mut bytes, &prepared, position, Revision::new(revision), at);
        let event = RecordedEvent::decode(bytes.into()).unwrap();
        self.registry.apply(&event).unwrap();
        self.stream.push(event);
    }

    pub(crate) fn try_register(
        &mut self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<SchemaVersion, RegistryError> {
        match self.registry.register(subject, new, &WIDE)? {
            Registering::There(version) => Ok(*version),
            Registering::New { event, .. } => {
                self.store(&event);
                let id = u32::try_from(self.stream.len()).unwrap();
                Ok(self.registry.by_id(SchemaId::new(id)).unwrap().clone())
            }
        }
    }

    pub(crate) fn register(&mut self, subject: &str, schema: &Value) -> SchemaVersion {
        self.try_register(subject, &json_schema(schema)).unwrap()
    }

    pub(crate) fn set_state(
        &mut self,
        subject: &str,
        version: u32,
        state: SchemaState,
    ) -> Result<(), RegistryError> {
        let change = self.registry.set_state(subject, version, state, &WIDE)?;
        self.change(change);
        Ok(())
    }

    pub(crate) fn set(&mut self, subject: Option<&str>, change: SettingsChange) {
        let change = self.registry.set_settings(subject, change).unwrap();
        self.change(change);
    }

    fn change(&mut self, change: Change) {
        if let Change::New(event) = change {
            self.store(&event);
        }
    }

    /// What an event of a type with this data is found to follow, or the rules that it breaks.
    fn follows(&self, event_type: &str, stream: &str, data: &Value) -> Result<u32, Vec<String>> {
        self.follows_as(event_type, stream, data, SchemaId::NONE)
    }

    fn follows_as(
        &self,
        event_type: &str,
        stream: &str,
        data: &Value,
        schema: SchemaId,
    ) -> Result<u32, Vec<String>> {
        let mut event = EventData::json(event_type, data).unwrap();
        event.schema = schema;
        let mut append = Append::to(stream).event(event);
        let checked = self.registry.check_append(&mut append, &WIDE);
        let rules = |it: nexus_protocol::schema::SchemaProblem| {
            format!("{} {} {}", it.event, it.problem.pointer, it.problem.rule)
        };
        checked.map_err(|problems| problems.into_iter().map(rules).collect::<Vec<_>>())?;
        Ok(append.streams[0].events[0].found_schema.get())
    }
}

pub(crate) fn json_schema(schema: &Value) -> NewSchema {
    NewSchema::new(SchemaFormat::Json, schema.to_string())
}

/// An object of integers, of which these are required.
pub(crate) fn object(properties: &[&str], required: &[&str]) -> Value {
    let properties: serde_json::Map<_, _> =
        properties.iter().map(|it| ((*it).to_owned(), json!({ "type": "integer" }))).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn refused(error: RegistryError) -> String {
    error.to_string()
}

#[test]
fn versions_are_numbered_and_ids_are_given_by_the_stream() {
    let mut kept = Kept::default();
    let first = kept.register("A", &object(&["a"], &["a"]));
    kept.set(None, SettingsChange::default());
    let settings = SettingsChange { owner: Some("shop".to_owned()), ..SettingsChange::default() };
    kept.set(Some("A"), settings);
    let other = kept.register("B", &object(&["a"], &["a"]));
    let second = kept.register("A", &object(&["a", "b"], &["a"]));
    assert_eq!((first.version, first.id.get()), (1, 1));
    assert_eq!((other.version, other.id.get()), (1, 3), "an event of settings has a revision too");
    assert_eq!((second.version, second.id.get()), (2, 4));
    assert_eq!(first.fingerprint, other.fingerprint, "it is of the content");
    assert_ne!(first.fingerprint, second.fingerprint);
    let again: Registry = kept.stream.iter().fold(Registry::new(), |mut registry, event| {
        registry.apply(event).unwrap();
        registry
    });
    let all = |it: &Registry| it.subjects(None, &WIDE).collect::<Vec<_>>();
    assert_eq!(all(&again), all(&kept.registry), "read again it is the same");
    let names = |after| -> Vec<String> {
        kept.registry.subjects(after, &WIDE).map(|it| it.subject).collect()
    };
    assert_eq!((names(None), names(Some("A"))), (vec!["A".into(), "B".into()], vec!["B".into()]));
}

#[test]
fn a_schema_that_is_there_is_not_registered_again_however_it_is_written() {
    let mut kept = Kept::default();
    let first = kept.register("A", &object(&["a"], &["a"]));
    let spaced = NewSchema::new(
        SchemaFormat::Json,
        r#"{ "required": ["a"],
             "properties": {"a": { "type": "integer" } }, "type" : "object" }"#,
    );
    assert_eq!(kept.try_register("A", &spaced).unwrap(), first);
    assert_eq!(kept.stream.len(), 1);
}

#[test]
fn what_does_not_read_the_old_is_refused_with_where_and_why() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    kept.register("A", &object(&["a", "b"], &["a"]));
    let error = kept.try_register("A", &json_schema(&object(&["a", "b"], &["a", "b"])));
    let Err(RegistryError::Incompatible(found)) = error else { panic!("{error:?}") };
    let told: Vec<_> = found.iter().map(|it| (it.version, &*it.rule)).collect();
    assert_eq!(told, [(2, "required"), (1, "required")], "{found:?}");
    assert_eq!(kept.stream.len(), 2, "nothing came of it");
    // Of two the newest only.
    let backward = SettingsChange {
        compatibility: Some(Some(Compatibility::Backward)),
        ..SettingsChange::default()
    };
    kept.set(Some("A"), backward);
    let error = kept.try_register("A", &json_schema(&object(&["a", "b"], &["a", "b"])));
    let Err(RegistryError::Incompatible(found)) = error else { panic!("{error:?}") };
    assert_eq!(found.len(), 1);
    let none = SettingsChange {
        compatibility: Some(Some(Compatibility::None)),
        ..SettingsChange::default()
    };
    kept.set(Some("A"), none);
    assert_eq!(kept.register("A", &object(&["a", "b"], &["a", "b"])).version, 3);
}

#[test]
fn each_mode_asks_who_it_says_to_read_whom() {
    // What is required more, or less, is read by the one and not by the other.
    let (less, more) = (object(&["a", "b"], &["a"]), object(&["a", "b"], &["a", "b"]));
    for (mode, to_more, to_less) in [
        (Compatibility::None, true, true),
        (Compatibility::Backward, false, true),
        (Compatibility::BackwardTransitive, false, true),
        (Compatibility::Forward, true, false),
        (Compatibility::ForwardTransitive, true, false),
        (Compatibility::Full, false, false),
        (Compatibility::FullTransitive, false, false),
    ] {
        for (old, new, allowed) in [(&less, &more, to_more), (&more, &less, to_less)] {
            let mut kept = Kept::default();
            let compatibility = Some(Some(mode));
            kept.set(Some("A"), SettingsChange { compatibility, ..SettingsChange::default() });
            kept.register("A", old);
            let registered = kept.try_register("A", &json_schema(new));
            assert_eq!(registered.is_ok(), allowed, "{mode} {registered:?}");
            let check = kept.registry.check("A", &json_schema(new), &WIDE).unwrap();
            assert_eq!(check.is_empty(), allowed, "{mode}");
        }
    }
}

#[test]
fn a_mode_of_one_looks_at_the_newest_only() {
    // 1 → 2 → 3, where the third does not read the first.
    let chain = [
        json!({ "type": "object", "properties": { "a": { "type": "integer" } } }),
        json!({ "type": "object", "additionalProperties": false, "properties": {} }),
        json!({ "type": "object", "properties": { "a": { "type": "string" } } }),
    ];
    for (mode, allowed) in
        [(Compatibility::Backward, true), (Compatibility::BackwardTransitive, false)]
    {
        let mut kept = Kept::default();
        let set =
            |mode| SettingsChange { compatibility: Some(Some(mode)), ..SettingsChange::default() };
        kept.set(Some("A"), set(Compatibility::None));
        kept.register("A", &chain[0]);
        kept.register("A", &chain[1]);
        kept.set(Some("A"), set(mode));
        let third = kept.try_register("A", &json_schema(&chain[2]));
        assert_eq!(third.is_ok(), allowed, "{mode} {third:?}");
        // Events that follow what is retired are there still.
        kept.set_state("A", 1, SchemaState::Retired).unwrap();
        let third = kept.try_register("A", &json_schema(&chain[2]));
        assert_eq!(third.is_ok(), allowed, "{mode} {third:?}");
    }
}

#[test]
fn a_version_goes_on_and_not_back() {
    use SchemaState::{Active, Deprecated, Draft, Retired};
    for (from, to, allowed) in [
        (Draft, Active, true),
        (Draft, Retired, true),
        (Draft, Deprecated, false),
        (Active, Draft, false),
        (Active, Deprecated, true),
        (Deprecated, Active, true),
        (Retired, Active, false),
        (Retired, Deprecated, false),
    ] {
        let mut kept = Kept::default();
        let state = if from == Draft { Draft } else { Active };
        let new = NewSchema { state, ..json_schema(&object(&["a"], &["a"])) };
        kept.try_register("A", &new).unwrap();
        kept.set_state("A", 1, from).unwrap();
        assert_eq!(kept.set_state("A", 1, to).is_ok(), allowed, "{from} {to}");
    }
    let mut kept = Kept::default();
    let error = kept.set_state("A", 1, Active).unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
}

#[test]
fn a_draft_is_held_to_the_others_once_it_is_to_be_active() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    let draft = |schema: &Value| NewSchema { state: SchemaState::Draft, ..json_schema(schema) };
    kept.try_register("A", &draft(&object(&["a", "b"], &["b"]))).unwrap();
    kept.try_register("A", &draft(&object(&["a", "b"], &["a"]))).unwrap();
    let latest = kept.registry.version("A", VersionPick::Latest).unwrap();
    assert_eq!(latest.version, 1, "a draft is not the latest");
    let error = kept.set_state("A", 2, SchemaState::Active).unwrap_err();
    assert!(matches!(error, RegistryError::Incompatible(_)), "{error:?}");
    kept.set_state("A", 3, SchemaState::Active).unwrap();
    assert_eq!(kept.registry.version("A", VersionPick::Latest).unwrap().version, 3);
}

#[test]
fn events_follow_the_newest_active_version_of_their_type() {
    let mut kept = Kept::default();
    assert_eq!(kept.follows("A", "a-1", &json!("anything")), Ok(0), "nothing is registered");
    kept.register("A", &object(&["a"], &["a"]));
    assert_eq!(kept.follows("A", "a-1", &json!({ "a": 1 })), Ok(1));
    assert_eq!(kept.follows("B", "a-1", &json!("anything")), Ok(0), "it is bound to nothing");
    let wrong = kept.follows("A", "a-1", &json!({ "a": "x" }));
    assert_eq!(wrong, Err(vec!["0 /a type".to_owned()]));
    let wrong = kept.follows("A", "a-1", &json!({}));
    assert_eq!(wrong, Err(vec!["0  required".to_owned()]));
    let wrong = kept.follows("A", "a-1", &json!({ "a": 1, "misspelt": 2 }));
    assert_eq!(wrong, Err(vec!["0  additionalProperties".to_owned()]));
    kept.register("A", &object(&["a", "b"], &["a"]));
    assert_eq!(kept.follows("A", "a-1", &json!({ "a": 1, "b": 2 })), Ok(2));
}

#[test]
fn an_event_may_name_the_version_that_it_follows() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    kept.register("A", &object(&["a", "b"], &["a"]));
    kept.register("B", &object(&["b"], &["b"]));
    let (one, two, of_b, none) = (1, 2, 3, 9);
    let follows =
        |kept: &Kept, data: Value, id| kept.follows_as("A", "a-1", &data, SchemaId::new(id));
    // What it named is kept as it is: nothing was found besides.
    assert_eq!(follows(&kept, json!({ "a": 1 }), one), Ok(0));
    assert_eq!(follows(&kept, json!({ "a": 1, "b": 2 }), two), Ok(0));
    let not_its_own = follows(&kept, json!({ "a": 1, "b": 2 }), one);
    assert_eq!(not_its_own, Err(vec!["0  additionalProperties".to_owned()]));
    for id in [of_b, none] {
        assert_eq!(follows(&kept, json!({ "a": 1 }), id), Err(vec!["0  schema".to_owned()]));
    }
    // What is deprecated is to be named, and what is retired cannot be.
    kept.set_state("A", 2, SchemaState::Deprecated).unwrap();
    assert_eq!(kept.follows("A", "a-1", &json!({ "a": 1 })), Ok(1));
    assert_eq!(follows(&kept, json!({ "a": 1, "b": 2 }), two), Ok(0));
    kept.set_state("A", 1, SchemaState::Retired).unwrap();
    assert_eq!(kept.follows("A", "a-1", &json!({ "a": 1 })), Err(vec!["0  schema".to_owned()]));
    assert_eq!(follows(&kept, json!({ "a": 1 }), one), Err(vec!["0  schema".to_owned()]));
    // Who is bound to nothing may name any.
    assert_eq!(kept.follows_as("C", "c-1", &json!({ "b": 1 }), SchemaId::new(of_b)), Ok(0));
}

#[test]
fn how_strictly_schemas_are_kept_is_set() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    let set =
        |validation| SettingsChange { validation: Some(validation), ..SettingsChange::default() };
    let wrong = json!("no object");
    kept.set(Some("A"), set(Some(Validation::Optional)));
    assert_eq!(kept.follows("A", "a-1", &wrong), Ok(0));
    assert!(kept.follows_as("A", "a-1", &wrong, SchemaId::new(1)).is_err());
    kept.set(Some("A"), set(Some(Validation::Off)));
    assert_eq!(kept.follows_as("A", "a-1", &wrong, SchemaId::new(1)), Ok(0));
    kept.set(Some("A"), set(None));
    assert!(kept.follows("A", "a-1", &wrong).is_err());
    kept.set(None, set(Some(Validation::Off)));
    assert_eq!(kept.follows("A", "a-1", &wrong), Ok(0), "as the namespace says");
}

#[test]
fn a_subject_is_bound_to_types_and_categories() {
    let mut kept = Kept::default();
    let patterns = |all: &[&str]| Some(all.iter().map(|it| Pattern::new(*it).unwrap()).collect());
    let bind = |types: &[&str], categories: &[&str]| SettingsChange {
        types: patterns(types),
        categories: patterns(categories),
        ..SettingsChange::default()
    };
    kept.set(Some("any"), bind(&["*"], &[]));
    assert_eq!(kept.follows("X", "x-1", &json!(1)), Ok(0), "it has no version yet");
    kept.register("any", &json!({ "type": "object" }));
    kept.register("order", &json!({ "type": "object", "required": ["order"] }));
    kept.set(Some("order"), bind(&["Order*"], &["order"]));
    kept.register("OrderPaid", &json!({ "type": "object", "required": ["paid"] }));
    assert_eq!(kept.follows("X", "order-1", &json!({})), Ok(2));
    let placed = json!({ "order": 1 });
    assert_eq!(kept.follows("OrderPlaced", "order-1", &placed), Ok(3), "the closer one");
    assert_eq!(kept.follows("OrderPlaced", "basket-1", &json!({})), Ok(2));
    // By its very name it is closest.
    assert_eq!(kept.follows("OrderPaid", "order-1", &json!({ "paid": 1 })), Ok(5));
    kept.set(Some("order"), bind(&[], &["order"]));
    assert_eq!(
        kept.follows("X", "order-1", &placed),
        Ok(3),
        "a pattern that fixes nothing is no closer"
    );
}

#[test]
fn problems_name_their_events_and_are_bounded() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    let event = |data: Value| EventData::json("A", &data).unwrap();
    let mut append = Append::to("a-1").event(event(json!({ "a": 1 })));
    append = append.stream("a-2").event(event(json!({}))).event(event(json!({ "a": 2 })));
    append = append.stream("$snapshot-a-1").event(event(json!("the system's own")));
    let problems = kept.registry.check_append(&mut append, &WIDE).unwrap_err();
    assert_eq!(problems.iter().map(|it| it.event).collect::<Vec<_>>(), [1]);
    let mut many = (0..100).fold(Append::to("a-1"), |all, _| all.event(event(json!({}))));
    let problems = kept.registry.check_append(&mut many, &WIDE).unwrap_err();
    assert_eq!(problems.len(), nexus_protocol::limits::SCHEMA_PROBLEMS_MAX);
}

#[test]
fn schemas_speak_of_each_other_by_name() {
    let mut kept = Kept::default();
    let money = json!({
        "$id": "https://example.com/money.json",
        "type": "object",
        "properties": { "cents": { "type": "integer" } },
        "required": ["cents"],
    });
    kept.register("Money", &money);
    let order = json!({
        "type": "object",
        "properties": { "total": { "$ref": "https://example.com/money.json" } },
        "required": ["total"],
    });
    let alone = kept.try_register("Order", &json_schema(&order)).map_err(refused);
    assert!(alone.unwrap_err().contains("none of its references"));
    let reference = |version| SchemaReference {
        name: "https://example.com/money.json".to_owned(),
        subject: "Money".to_owned(),
        version,
    };
    let with = |version| NewSchema { references: vec![reference(version)], ..json_schema(&order) };
    let missing = kept.try_register("Order", &with(2)).map_err(refused).unwrap_err();
    assert!(missing.contains("version 2 of \"Money\""), "{missing}");
    let registered = kept.try_register("Order", &with(1)).unwrap();
    assert_eq!(kept.follows("Order", "o-1", &json!({ "total": { "cents": 1 } })), Ok(2));
    let wrong = kept.follows("Order", "o-1", &json!({ "total": { "cents": "x" } }));
    assert_eq!(wrong, Err(vec!["0 /total/cents type".to_owned()]));
    // The same text over another version of what it speaks of is another schema.
    let mut finer = money.clone();
    finer["properties"]["currency"] = json!({ "type": "string" });
    kept.register("Money", &finer);
    let second = kept.try_register("Order", &with(2)).unwrap();
    assert_eq!(second.version, 2);
    assert_ne!(second.fingerprint, registered.fingerprint);
    kept.set_state("Money", 2, SchemaState::Retired).unwrap();
    let retired = kept.try_register("Other", &with(2)).map_err(refused).unwrap_err();
    assert!(retired.contains("retired"), "{retired}");
    let euro = json!({ "total": { "cents": 1, "currency": "EUR" } });
    assert_eq!(kept.follows("Order", "o-1", &euro), Ok(4));
}

#[test]
fn one_subject_has_one_format() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    let record = r#"{"type":"record","name":"A","fields":[{"name":"a","type":"long"}]}"#;
    let error = kept.try_register("A", &NewSchema::new(SchemaFormat::Avro, record)).unwrap_err();
    let RegistryError::Incompatible(found) = error else { panic!("{error:?}") };
    assert_eq!(found[0].rule, "format");
}

#[test]
fn what_no_registry_says_is_an_error_and_changes_nothing() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    let registry = kept.registry.clone();
    let of = |event_type: &str, data: Value| {
        let event = EventData::json(event_type, &data).unwrap();
        let recipe = Recipe {
            stream: SCHEMAS_STREAM,
            id: EventId::from_bytes([7; 16]),
            event: &event,
            tags: &[],
        };
        let mut bytes = Vec::new();
        let prepared = PreparedRecord::encode(&recipe, &mut bytes);
        let (position, at) = (Position::new(9), Timestamp::from_micros(0));
        place(&mut bytes, &prepared, position, Revision::new(1), at);
        RecordedEvent::decode(bytes.into()).unwrap()
    };
    let schema = object(&["a"], &["a"]).to_string();
    let registered = |version: u32, state: &str| {
        json!({
            "subject": "A", "version": version, "fingerprint": "00",
            "schema": { "format": "json", "schema": schema, "state": state },
        })
    };
    for (event_type, data) in [
        ("$SchemaRegistered", registered(3, "active")),
        ("$SchemaRegistered", registered(2, "great")),
        ("$SchemaRegistered", json!({})),
        ("$SchemaStateSet", json!({ "subject": "A", "version": 2, "state": "retired" })),
        ("$SchemaStateSet", json!({ "subject": "B", "version": 1, "state": "retired" })),
        (
            "$SchemaSettingsSet",
            json!({ "subject": "A", "settings": { "validation": "sometimes" } }),
        ),
        ("$SchemaSettingsSet", json!({ "subject": "A", "settings": { "types": [""] } })),
        ("$SchemaSomething", json!({})),
    ] {
        let mut tried = registry.clone();
        let error = tried.apply(&of(event_type, data.clone())).unwrap_err();
        assert_eq!(error.revision, Revision::new(1), "{event_type} {data}");
        assert_eq!(tried.revision(), registry.revision());
        assert_eq!(tried.subject("A", &WIDE), registry.subject("A", &WIDE));
    }
}

#[test]
fn a_version_that_comes_late_is_read_by_those_after_it() {
    let (a, any_b) = (object(&["a"], &["a"]), {
        let mut schema = object(&["a"], &["a"]);
        schema["properties"]["b"] = json!({});
        schema
    });
    let mut kept = Kept::default();
    kept.register("A", &a);
    let draft = NewSchema { state: SchemaState::Draft, ..json_schema(&any_b) };
    kept.try_register("A", &draft).unwrap();
    kept.register("A", &object(&["a", "b"], &["a"]));
    // The third does not read what the second would allow.
    let error = kept.set_state("A", 2, SchemaState::Active).unwrap_err();
    let RegistryError::Incompatible(found) = error else { panic!("{error:?}") };
    assert!(found.iter().all(|it| it.version == 3), "{found:?}");
}

#[test]
fn what_is_retired_hides_no_reader_before_it() {
    let mut kept = Kept::default();
    let forward = SettingsChange {
        compatibility: Some(Some(Compatibility::Forward)),
        ..SettingsChange::default()
    };
    kept.set(Some("A"), forward);
    kept.register("A", &object(&["a", "b"], &["a", "b"]));
    kept.register("A", &object(&["a", "b", "c"], &["a", "b"]));
    kept.set_state("A", 2, SchemaState::Retired).unwrap();
    let error = kept.try_register("A", &json_schema(&object(&["a", "b"], &["a"]))).unwrap_err();
    let RegistryError::Incompatible(found) = error else { panic!("{error:?}") };
    assert_eq!(found[0].version, 1, "the newest that reads");
}

#[test]
fn a_schema_that_is_there_and_not_active_is_not_taken_for_active() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    kept.register("A", &object(&["a", "b"], &["a"]));
    kept.set_state("A", 1, SchemaState::Retired).unwrap();
    let again = kept.try_register("A", &json_schema(&object(&["a"], &["a"]))).map_err(refused);
    let why = again.unwrap_err();
    assert!(why.contains("version 1") && why.contains("retired"), "{why}");
    let check = kept.registry.check("A", &json_schema(&object(&["a"], &["a"])), &WIDE).unwrap();
    assert_eq!((&*check[0].rule, check[0].version), ("state", 1), "a check says so too");
    let active = json_schema(&object(&["a", "b"], &["a"]));
    assert_eq!(kept.registry.check("A", &active, &WIDE), Ok(Vec::new()));
}

#[test]
fn an_id_that_there_is_not_is_refused_also_where_nothing_is_asked_of_data() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    let off =
        SettingsChange { validation: Some(Some(Validation::Off)), ..SettingsChange::default() };
    kept.set(Some("A"), off);
    let follows = |id| kept.follows_as("A", "a-1", &json!("anything"), SchemaId::new(id));
    assert_eq!(follows(1), Ok(0));
    assert_eq!(follows(9), Err(vec!["0  schema".to_owned()]));
}

#[test]
fn what_is_wrong_is_told_within_bounds() {
    let mut kept = Kept::default();
    let map = json!({ "type": "object", "additionalProperties": { "type": "integer" } });
    kept.register("A", &map);
    let long = "\u{1f600}".repeat(10_000);
    let event = EventData::json("A", &json!({ long.clone(): long })).unwrap();
    let mut append = Append::to("a-1").event(event);
    let problems = kept.registry.check_append(&mut append, &WIDE).unwrap_err();
    let problem = &problems[0].problem;
    assert!(problem.pointer.len() < 1_100 && problem.message.len() < 600, "{problem:?}");
    assert!(!problems[0].to_string().contains('\u{1f600}'), "what is logged shows no payload");
}

#[test]
fn a_draft_that_was_given_up_stands_in_nobodys_way() {
    let mut kept = Kept::default();
    let draft = NewSchema { state: SchemaState::Draft, ..json_schema(&object(&["b"], &["b"])) };
    kept.try_register("B", &draft).unwrap();
    assert_eq!(kept.follows("B", "b-1", &json!("anything")), Ok(0));
    kept.set_state("B", 1, SchemaState::Retired).unwrap();
    assert_eq!(kept.follows("B", "b-1", &json!("anything")), Ok(0));
    kept.register("A", &object(&["a"], &["a"]));
    let other = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let draft = NewSchema { state: SchemaState::Draft, ..json_schema(&other) };
    kept.try_register("A", &draft).unwrap();
    kept.set_state("A", 2, SchemaState::Retired).unwrap();
    assert_eq!(kept.register("A", &object(&["a", "b"], &["a"])).version, 3);
}

#[test]
fn transitive_modes_look_further_than_to_the_newest() {
    let of = |kind: &str| json!({ "type": "object", "properties": { "a": { "type": kind } } });
    for (mode, allowed) in [
        (Compatibility::Forward, true),
        (Compatibility::ForwardTransitive, false),
        (Compatibility::Full, true),
        (Compatibility::FullTransitive, false),
    ] {
        let mut kept = Kept::default();
        let set =
            |mode| SettingsChange { compatibility: Some(Some(mode)), ..SettingsChange::default() };
        kept.set(Some("A"), set(Compatibility::None));
        kept.register("A", &of("integer"));
        kept.register("A", &json!({ "type": "object" }));
        kept.set(Some("A"), set(mode));
        let third = kept.registry.check("A", &json_schema(&of("string")), &WIDE).unwrap();
        let far = third.iter().any(|it| it.version == 1);
        assert_eq!(!far, allowed, "{mode} {third:?}");
    }
}

#[test]
fn the_namespace_and_all_namespaces_say_who_has_to_read_whom() {
    let harsher = json_schema(&object(&["a", "b"], &["a", "b"]));
    let mut kept = Kept::default();
    kept.register("A", &object(&["a", "b"], &["a"]));
    let none = SchemaSettings { compatibility: Some(Compatibility::None), ..WIDE };
    assert_eq!(kept.registry.check("A", &harsher, &none).unwrap(), []);
    assert!(!kept.registry.check("A", &harsher, &WIDE).unwrap().is_empty());
    let set =
        |mode| SettingsChange { compatibility: Some(Some(mode)), ..SettingsChange::default() };
    kept.set(None, set(Compatibility::Backward));
    assert!(!kept.registry.check("A", &harsher, &none).unwrap().is_empty(), "it is closer");
    kept.set(Some("A"), set(Compatibility::None));
    assert_eq!(kept.registry.check("A", &harsher, &WIDE).unwrap(), []);
}

#[test]
fn a_subject_keeps_its_language_whoever_has_to_read_whom() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    let none = SettingsChange {
        compatibility: Some(Some(Compatibility::None)),
        ..SettingsChange::default()
    };
    kept.set(Some("A"), none);
    let record = r#"{"type":"record","name":"A","fields":[]}"#;
    for state in [SchemaState::Active, SchemaState::Draft] {
        let new = NewSchema { state, ..NewSchema::new(SchemaFormat::Avro, record) };
        let error = kept.try_register("A", &new).unwrap_err();
        let RegistryError::Incompatible(found) = error else { panic!("{error:?}") };
        assert_eq!(found[0].rule, "format");
    }
}

#[test]
fn an_id_of_an_event_of_the_systems_streams_has_to_be_one() {
    let mut kept = Kept::default();
    kept.register("A", &object(&["a"], &["a"]));
    let follows =
        |id| kept.follows_as("$SnapshotTaken", "$snapshot-a", &json!(1), SchemaId::new(id));
    assert_eq!((follows(0), follows(1)), (Ok(0), Ok(0)));
    assert_eq!(follows(9), Err(vec!["0  schema".to_owned()]));
}

#[test]
fn what_is_over_a_limit_is_refused() {
    use nexus_protocol::limits::{SCHEMA_OWNER_BYTES_MAX, SUBJECT_BYTES_MAX, SUBJECT_PATTERNS_MAX};
    let mut kept = Kept::default();
    let pattern = |number: usize| Pattern::new(format!("A{number}")).unwrap();
    let types = |count: usize| SettingsChange {
        types: Some((0..count).map(pattern).collect()),
        ..SettingsChange::default()
    };
    let set = |change| kept.registry.set_settings(Some("A"), change);
    assert!(set(types(SUBJECT_PATTERNS_MAX)).is_ok());
    assert!(matches!(set(types(SUBJECT_PATTERNS_MAX + 1)), Err(RegistryError::TooLarge(_))));
    let owner = |bytes: usize| NewSchema {
        owner: "x".repeat(bytes),
        ..json_schema(&object(&["a"], &["a"]))
    };
    let long = kept.try_register("A", &owner(SCHEMA_OWNER_BYTES_MAX + 1));
    assert!(matches!(long, Err(RegistryError::TooLarge(_))), "{long:?}");
    kept.try_register("A", &owner(SCHEMA_OWNER_BYTES_MAX)).unwrap();
    let name = "x".repeat(SUBJECT_BYTES_MAX + 1);
    let long = kept.try_register(&name, &json_schema(&json!({})));
    assert!(matches!(long, Err(RegistryError::Invalid(_))), "{long:?}");
    // Five of nearly half a megabyte, which one schema refers to.
    let large =
        |number: usize| json!({ "description": "x".repeat(500_000), "title": number.to_string() });
    let references: Vec<_> = (0..5)
        .map(|number| {
            let subject = format!("Large{number}");
            kept.register(&subject, &large(number));
            SchemaReference { name: format!("https://a/{number}"), subject, version: 1 }
        })
        .collect();
    let of = |count: usize| NewSchema {
        references: references[..count].to_vec(),
        ..json_schema(&json!({ "type": "object" }))
    };
    kept.try_register("B", &of(4)).unwrap();
    let over = kept.try_register("C", &of(5));
    assert!(matches!(&over, Err(RegistryError::Schema(SchemaError::TooLarge(_)))), "{over:?}");
}
