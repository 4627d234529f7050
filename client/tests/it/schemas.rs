//! Schemas by the client, the same over a store in memory and behind a server.

use nexus_protocol::group::{Failure, GroupConfig, GroupStart, Nack};
use nexus_protocol::schema::{
    Compatibility, NewSchema, Pattern, SchemaFormat, SchemaReference, SchemaState, SettingsChange,
    SettingsOf, Validation, VersionPick,
};
use nexus_protocol::{
    Append, AppendError, EventData, EventId, EventStore, ExpectedRevision, Position, Read,
    Revision, SchemaId,
};
use serde_json::{Value, json};

use crate::groups::{Running, of_each, take_one};

fn new(schema: &Value) -> NewSchema {
    NewSchema::new(SchemaFormat::Json, schema.to_string())
}

fn object(properties: &[&str]) -> Value {
    let properties: serde_json::Map<_, _> =
        properties.iter().map(|it| ((*it).to_owned(), json!({ "type": "integer" }))).collect();
    json!({ "type": "object", "properties": properties, "required": ["a"] })
}

fn event(data: &Value) -> EventData {
    EventData::json("A", data).unwrap()
}

fn rules(error: AppendError) -> Vec<(usize, String)> {
    let AppendError::SchemaInvalid(problems) = error else { panic!("{error:?}") };
    problems.into_iter().map(|it| (it.event, it.problem.rule.into_owned())).collect()
}

#[tokio::test]
async fn what_is_registered_holds_from_the_next_append_on() {
    of_each(async |client| {
        let (first, made) = client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
        assert_eq!((first.version, first.id, made), (1, SchemaId::new(1), true));
        let again = client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
        assert_eq!(again, (first.clone(), false));
        let wrong = client.append(Append::to("a-1").event(event(&json!({ "a": "x" })))).await;
        assert_eq!(rules(wrong.unwrap_err()), [(0, "type".to_owned())]);
        let appended = client.append(Append::to("a-1").event(event(&json!({ "a": 1 })))).await;
        let position = appended.unwrap().last().unwrap();
        let stored = client.event_by_position(position).await;
        assert_eq!(stored, first.id);
        assert_eq!(client.schema("A", VersionPick::Latest).await.unwrap(), first);
        assert_eq!(client.schema_by_id(first.id).await.unwrap(), first);
        let missing = client.schema("A", VersionPick::Number(2)).await;
        assert!(matches!(missing, Err(AppendError::NotFound { .. })), "{missing:?}");
        let subjects = client.subjects(None, 10).await.unwrap();
        assert_eq!(subjects, [client.subject("A").await.unwrap()]);
        assert_eq!(client.subjects(Some("A"), 10).await.unwrap(), []);
    })
    .await;
}

/// The schema of the event at a position.
trait ByPosition {
    async fn event_by_position(&self, position: Position) -> SchemaId;
}

impl ByPosition for nexus_client::Client {
    async fn event_by_position(&self, position: Position) -> SchemaId {
        let mut events = self.read(Read::all().from_position(position).limit(1));
        let next = std::future::poll_fn(|context| {
            futures_core::Stream::poll_next(std::pin::Pin::new(&mut events), context)
        });
        next.await.unwrap().unwrap().schema()
    }
}

#[tokio::test]
async fn a_repeat_is_one_though_a_newer_schema_came_between() {
    of_each(async |client| {
        client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
        let append =
            Append::to("a-1").event(event(&json!({ "a": 1 })).id(EventId::from_bytes([9; 16])));
        let first = client.append(append.clone()).await.unwrap();
        client.register_schema("A", &new(&object(&["a", "b"]))).await.unwrap();
        let again = client.append(append).await.unwrap();
        assert!(again.replayed && again.last() == first.last(), "{again:?}");
        let stored = client.event_by_position(first.last().unwrap()).await;
        assert_eq!(stored, SchemaId::new(1), "as it was found first");
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_one_though_no_version_allows_it_any_more() {
    of_each(async |client| {
        client.register_schema("A", &new(&object(&["a", "b"]))).await.unwrap();
        let id = |byte| EventId::from_bytes([byte; 16]);
        let found = Append::to("a-1").event(event(&json!({ "a": 1, "b": 2 })).id(id(9)));
        let mut named = event(&json!({ "a": 1, "b": 2 })).id(id(8));
        named.schema = SchemaId::new(1);
        let named = Append::to("a-2").event(named);
        let mut keyed = Append::to("a-3").event(event(&json!({ "a": 1, "b": 3 })));
        keyed.idempotency_key = Some("k".to_owned());
        let appends = [found, named, keyed];
        let mut firsts = Vec::new();
        for append in &appends {
            firsts.push(client.append(append.clone()).await.unwrap());
        }
        // The property is gone, and the version that had it.
        client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
        client.set_schema_state("A", 1, SchemaState::Retired).await.unwrap();
        let repeated = async || {
            for (append, first) in appends.iter().zip(&firsts) {
                let again = client.append(append.clone()).await.unwrap();
                assert!(again.replayed && again.last() == first.last(), "{again:?}");
            }
        };
        repeated().await;
        let off =
            SettingsChange { validation: Some(Some(Validation::Off)), ..SettingsChange::default() };
        client.set_schema_settings(&SettingsOf::Namespace, &off).await.unwrap();
        repeated().await;
        client
            .set_schema_settings(
                &SettingsOf::Namespace,
                &SettingsChange { validation: Some(None), ..SettingsChange::default() },
            )
            .await
            .unwrap();
        // Another event is none of them.
        let other = Append::to("a-1").event(event(&json!({ "a": 1, "b": 7 })).id(id(9)));
        assert_eq!(rules(client.append(other).await.unwrap_err())[0].1, "additionalProperties");
    })
    .await;
}

#[tokio::test]
async fn what_was_stored_before_there_was_a_schema_lets_nothing_in() {
    of_each(async |client| {
        let wrong = || event(&json!("wrong")).id(EventId::from_bytes([9; 16]));
        let append = Append::to("a-1").no_stream().event(wrong());
        let first = client.append(append.clone()).await.unwrap();
        client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
        // The same append is a repeat, and one that would be written is not.
        assert!(client.append(append).await.unwrap().replayed);
        for append in [
            Append::to("a-1").expected(ExpectedRevision::Exact(Revision::ZERO)).event(wrong()),
            Append::to("a-1").event(wrong().tag("other:tag")),
            Append::to("a-2").event(wrong()),
            Append::to("a-1").event(wrong()).event(wrong().id(EventId::from_bytes([8; 16]))),
        ] {
            let refused = client.append(append).await.unwrap_err();
            assert_eq!(rules(refused)[0], (0, "type".to_owned()));
        }
        let head = client.head().await.unwrap().position;
        let info = client.stream_info("a-1").await.unwrap();
        assert_eq!(info.event_count(), 1, "nothing of it is stored");
        assert!(head > first.last(), "but the schema");
    })
    .await;
}

#[tokio::test]
async fn many_answers_that_are_long_come_all_the_same() {
    of_each(async |client| {
        let map = json!({ "type": "object", "additionalProperties": { "type": "integer" } });
        client.register_schema("A", &new(&map)).await.unwrap();
        let long = "x".repeat(900);
        let wrong: serde_json::Map<_, _> =
            (0..20).map(|number| (format!("{number}{long}"), json!(long))).collect();
        let wrong = event(&Value::Object(wrong));
        let pending: Vec<_> =
            (0..300).map(|_| client.append(Append::to("a-1").event(wrong.clone()))).collect();
        for append in pending {
            assert_eq!(rules(append.await.unwrap_err()).len(), 16);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_parked_is_edited_to_what_its_schema_allows() {
    of_each(async |client| {
        let config =
            GroupConfig { start: GroupStart::Beginning, max_attempts: 1, ..GroupConfig::default() };
        client.set_group("mail", &config).await.unwrap();
        client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
        client.append(Append::to("a-1").event(event(&json!({ "a": 1 })))).await.unwrap();
        let consumer = client.consumer("mail", "c");
        let delivery = take_one(&consumer).await;
        let park = Nack::park(Failure::new("no"));
        consumer.nack(&[delivery.token], park).await.unwrap();
        let position = delivery.event.position();
        let edit = |data: &'static str| client.edit_parked("mail", position, data.into());
        assert_eq!(rules(edit("{\"a\":\"x\"}").await.unwrap_err())[0].1, "type");
        edit("{\"a\":2}").await.unwrap();
        let again = take_one(&consumer).await;
        assert_eq!(again.event.json::<Value>().unwrap(), json!({ "a": 2 }));
        consumer.ack(&[again.token]).await.unwrap();
        consumer.leave().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_said() {
    of_each(async |client| {
        client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
        let other = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
        let check = client.check_schema("A", &new(&other)).await.unwrap();
        assert_eq!(check[0].rule, "type", "{check:?}");
        let refused = client.register_schema("A", &new(&other)).await;
        assert_eq!(refused, Err(AppendError::Incompatible(check)));
        let fine = client.check_schema("A", &new(&object(&["a", "b"]))).await.unwrap();
        assert_eq!(fine, []);
        let bad = client.register_schema("A", &new(&json!({ "type": 7 }))).await;
        assert!(matches!(bad, Err(AppendError::Invalid(_))), "{bad:?}");
        let large = NewSchema::new(SchemaFormat::Json, "x".repeat(600_000));
        let large = client.register_schema("A", &large).await;
        assert!(matches!(large, Err(AppendError::TooLarge(_))), "{large:?}");
        let reference = SchemaReference { name: "b".into(), subject: "B".into(), version: 1 };
        let lost = NewSchema { references: vec![reference], ..new(&json!({ "$ref": "b" })) };
        let lost = client.register_schema("A", &lost).await;
        assert!(matches!(lost, Err(AppendError::Invalid(_))), "{lost:?}");
    })
    .await;
}

#[tokio::test]
async fn states_and_settings_are_set_and_shown() {
    of_each(async |client| {
        let draft = NewSchema { state: SchemaState::Draft, ..new(&object(&["a"])) };
        client.register_schema("A", &draft).await.unwrap();
        let active = client.set_schema_state("A", 1, SchemaState::Active).await.unwrap();
        assert_eq!(active.state, SchemaState::Active);
        let back = client.set_schema_state("A", 1, SchemaState::Draft).await;
        assert!(matches!(back, Err(AppendError::Invalid(_))), "{back:?}");
        let none = client.set_schema_state("A", 2, SchemaState::Active).await;
        assert!(matches!(none, Err(AppendError::NotFound { .. })), "{none:?}");
        let change = SettingsChange {
            compatibility: Some(Some(Compatibility::Full)),
            types: Some(vec![Pattern::new("A*").unwrap()]),
            ..SettingsChange::default()
        };
        let of = SettingsOf::Subject("A".to_owned());
        let set = client.set_schema_settings(&of, &change).await.unwrap();
        assert_eq!(set.effective.compatibility, Compatibility::Full);
        assert_eq!(client.schema_settings(&of).await.unwrap(), set);
        let off =
            SettingsChange { validation: Some(Some(Validation::Off)), ..SettingsChange::default() };
        let wide = client.set_schema_settings(&SettingsOf::Global, &off).await.unwrap();
        assert_eq!((&*wide.subject, wide.effective.validation), ("", Validation::Off));
        let of_namespace = client.schema_settings(&SettingsOf::Namespace).await.unwrap();
        assert_eq!(of_namespace.settings.validation, None);
        assert_eq!(of_namespace.effective.validation, Validation::Off);
        client.append(Append::to("a-1").event(event(&json!("anything")))).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn avro_and_protobuf_payloads_are_held_to_their_schemas() {
    of_each(async |client| {
        let record = r#"{"type":"record","name":"A","fields":[{"name":"n","type":"long"}]}"#;
        client.register_schema("Avro", &NewSchema::new(SchemaFormat::Avro, record)).await.unwrap();
        let proto = "syntax = \"proto3\"; message A { int64 n = 1; }";
        let proto = NewSchema::new(SchemaFormat::Protobuf, proto);
        client.register_schema("Proto", &proto).await.unwrap();
        for (event_type, media_type, data, rule) in [
            ("Avro", "application/avro", &[0x54_u8][..], None),
            ("Avro", "application/avro", &[0x54, 0][..], Some("trailing")),
            ("Avro", "application/json", &[0x54][..], Some("content_type")),
            ("Proto", "application/protobuf", &[0x08, 42][..], None),
            ("Proto", "application/protobuf", &[0x10, 42][..], Some("unknown_field")),
            ("Proto", "", &[0x08, 42][..], Some("content_type")),
        ] {
            let event = EventData::new(event_type, media_type, data.to_vec().into());
            let appended = client.append(Append::to("a-1").event(event)).await;
            match rule {
                None => assert!(appended.is_ok(), "{event_type} {appended:?}"),
                Some(rule) => assert_eq!(rules(appended.unwrap_err())[0].1, rule, "{event_type}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_append_that_comes_with_an_ack_is_held_to_schemas_too() {
    of_each(async |client| {
        let beginning = GroupConfig { start: GroupStart::Beginning, ..GroupConfig::default() };
        client.set_group("mail", &beginning).await.unwrap();
        client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
        client.append(Append::to("a-1").event(event(&json!({ "a": 1 })))).await.unwrap();
        let consumer = client.consumer("mail", "c");
        let delivery = take_one(&consumer).await;
        let with = |data: &Value| Append::to("b-1").event(event(data));
        let refused = consumer.ack_with(&[delivery.token], with(&json!({}))).await;
        assert_eq!(rules(refused.unwrap_err()), [(0, "required".to_owned())]);
        let acked = consumer.ack_with(&[delivery.token], with(&json!({ "a": 2 }))).await.unwrap();
        assert!(acked.1.is_some(), "it was with its consumer still");
        consumer.leave().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_was_registered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::in_directory(dir.path());
    let client = running.client().await;
    client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
    let (second, _) = client.register_schema("A", &new(&object(&["a", "b"]))).await.unwrap();
    client.set_schema_state("A", 1, SchemaState::Deprecated).await.unwrap();
    let subject = client.subject("A").await.unwrap();
    let running = running.restart(dir.path()).await;
    assert_eq!(client.subject("A").await.unwrap(), subject);
    let wrong = client.append(Append::to("a-1").event(event(&json!({ "b": 1 })))).await;
    assert_eq!(rules(wrong.unwrap_err()), [(0, "required".to_owned())]);
    let appended = client.append(Append::to("a-1").event(event(&json!({ "a": 1 })))).await.unwrap();
    assert_eq!(client.event_by_position(appended.last().unwrap()).await, second.id);
    client.close().await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn schemas_are_registered_while_appends_run() {
    of_each(async |client| {
        client.register_schema("A", &new(&object(&["a"]))).await.unwrap();
        let appending = async {
            for number in 0..200 {
                let stream = format!("a-{number}");
                client
                    .append(Append::to(stream).event(event(&json!({ "a": number }))))
                    .await
                    .unwrap();
            }
        };
        let registering = async {
            let mut properties = vec!["a".to_owned()];
            for number in 0..20 {
                properties.push(format!("p{number}"));
                let all: Vec<_> = properties.iter().map(String::as_str).collect();
                let (version, made) =
                    client.register_schema("A", &new(&object(&all))).await.unwrap();
                assert_eq!((version.version, made), (number + 2, true));
            }
        };
        tokio::join!(appending, registering);
        let ids = client.subject("A").await.unwrap().versions;
        assert_eq!(ids.len(), 21);
        assert!(ids.is_sorted_by(|a, b| a.id.get() < b.id.get()));
    })
    .await;
}
