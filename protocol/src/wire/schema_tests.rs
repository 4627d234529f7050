//! What version 5 has besides: schemas and policies.

use super::group_tests::deliveries;
use super::samples::Samples;
use super::tests::{append_errors, opened, recorded};
use super::*;
use crate::error::{AppendError, Invalid, ReadError};
use crate::group::Delivery;
use crate::ids::{Position, SchemaId};
use crate::policy::{Denial, PoliciesInfo, PolicyChange, PolicyVersion, Reason};
use crate::read::{Read, Subscribe, SubscriptionItem};
use crate::schema::{
    AsSchema, Compatibility, DataProblem, EffectiveSettings, Incompatibility, NewSchema, Pattern,
    SchemaFormat, SchemaProblem, SchemaReference, SchemaSettings, SchemaState, SchemaVersion,
    SettingsChange, SubjectInfo, Validation, VersionInfo,
};
use crate::time::Timestamp;

const VERSION_5: &str = include_str!("samples/v5.txt");

fn new_schema() -> NewSchema {
    NewSchema {
        references: vec![SchemaReference {
            name: "money.json".into(),
            subject: "Money".into(),
            version: 2,
        }],
        state: SchemaState::Draft,
        up: r#"[{"op":"drop","path":"/a"}]"#.into(),
        owner: "shop".into(),
        description: "an order".into(),
        ..NewSchema::new(SchemaFormat::Json, r#"{"type":"object"}"#)
    }
}

fn version() -> SchemaVersion {
    let NewSchema { format, schema, references, state, up, owner, description } = new_schema();
    SchemaVersion {
        id: SchemaId::new(7),
        subject: "OrderPlaced".into(),
        version: 3,
        format,
        schema,
        references,
        fingerprint: "ab".repeat(32),
        state,
        up,
        owner,
        description,
        registered_at: Timestamp::from_micros(1_800_000_000_000_000),
    }
}

fn patterns() -> Vec<Pattern> {
    ["Order*", "Refund"].map(|it| Pattern::new(it).unwrap()).into()
}

fn subject() -> SubjectInfo {
    SubjectInfo {
        subject: "OrderPlaced".into(),
        format: Some(SchemaFormat::Avro),
        versions: vec![VersionInfo {
            version: 1,
            id: SchemaId::new(7),
            state: SchemaState::Deprecated,
        }],
        settings: SchemaSettings {
            compatibility: Some(Compatibility::Full),
            validation: None,
            types: patterns(),
            categories: vec![Pattern::new("order").unwrap()],
            owner: "shop".into(),
            description: "orders".into(),
        },
        effective: EffectiveSettings::DEFAULT,
    }
}

fn change() -> SettingsChange {
    SettingsChange {
        compatibility: Some(None),
        validation: Some(Some(Validation::Off)),
        types: Some(patterns()),
        categories: None,
        owner: Some("shop".into()),
        description: None,
    }
}

fn incompatibility() -> Incompatibility {
    Incompatibility {
        pointer: "/properties/total".into(),
        rule: "type".into(),
        old: Some("integer".into()),
        new: None,
        version: 2,
    }
}

fn errors() -> [AppendError; 2] {
    let problem = SchemaProblem {
        event: 4,
        schema: SchemaId::new(7),
        problem: DataProblem {
            pointer: "/total".into(),
            rule: "type".into(),
            message: "is no number".into(),
        },
    };
    [AppendError::SchemaInvalid(vec![problem]), AppendError::Incompatible(vec![incompatibility()])]
}

fn consume() -> ConsumeHead {
    ConsumeHead { group: "mail".into(), consumer: "host-1".into(), credit: 100, max: 10 }
}

fn not_converted() -> ReadError {
    ReadError::NotConverted { position: Position::new(7), why: "there is no version 3".into() }
}

#[test]
fn version_5_speaks_of_schemas_as_it_did() {
    let mut samples = Samples::of(VERSION_5);
    let ask = |ask| Operation::Schema { subject: "OrderPlaced".into(), ask: Box::new(ask) };
    samples.open("", ask(SchemaAsk::Register((&new_schema()).into())));
    samples.open("", ask(SchemaAsk::Check((&new_schema()).into())));
    samples.open("", ask(SchemaAsk::Subjects { after: Some("Money".into()), limit: 100 }));
    samples.open("", ask(SchemaAsk::Subject));
    samples.open("", ask(SchemaAsk::Version(Some(3))));
    samples.open("_latest", ask(SchemaAsk::Version(None)));
    samples.open("", ask(SchemaAsk::ById(7)));
    samples.open("", ask(SchemaAsk::SetState { version: 3, state: "active".into() }));
    let settings = SchemaAsk::SetSettings { change: (&change()).into(), global: false };
    samples.open("", ask(settings));
    samples.open("", ask(SchemaAsk::Settings { global: true }));
    let made = Answer::Schema { version: Box::new((&version()).into()), made: true };
    samples.answer("", &made);
    samples.answer("", &Answer::Subjects(vec![(&subject()).into()]));
    samples.answer("", &Answer::Subject(Box::new((&subject()).into())));
    samples.answer("", &Answer::SchemaCheck(vec![(&incompatibility()).into()]));
    for (number, error) in errors().iter().enumerate() {
        let failure = Failure::Append(error.into());
        samples.message(&format!("failure_schema_{number}"), PacketKind::Failure, &failure);
    }
    samples.open("", Operation::read(&Read::stream("order-1").as_schema(AsSchema::Latest)));
    let subscribe = Subscribe::all().as_schema(AsSchema::Version(3));
    samples.open("", Operation::subscribe(&subscribe, 100));
    samples.open("", Operation::consume(consume(), AsSchema::Latest));
    let failure = Failure::Read((&not_converted()).into());
    samples.message("failure_not_converted", PacketKind::Failure, &failure);
    let policy = |ask| Operation::Policy { ask: Box::new(ask) };
    samples.open("", policy(PolicyAsk::Show));
    let files = vec![("a.rego".to_owned(), "package nexus.read".to_owned())];
    samples.open("", policy(PolicyAsk::Activate { files, shadow: true }));
    samples.open("", policy(PolicyAsk::Rollback { to: Some(3) }));
    samples.answer("", &Answer::Policies(Box::new((&policies()).into())));
    samples.answer("", &Answer::PoliciesChanged { revision: 4 });
    let (append, read) = denied();
    let failure = Failure::Append((&append).into());
    samples.message("failure_denied_append", PacketKind::Failure, &failure);
    let failure = Failure::Read((&read).into());
    samples.message("failure_denied_read", PacketKind::Failure, &failure);
    samples.all_are_the_same(5);
}

fn policies() -> PoliciesInfo {
    let version = PolicyVersion {
        revision: 3,
        fingerprint: "ab".into(),
        actions: vec!["read".into()],
        files: [("a.rego".to_owned(), "package nexus.read".to_owned())].into(),
    };
    let change = PolicyChange {
        revision: 3,
        what: "activated".into(),
        by: "alice".into(),
        at_us: 7,
        fingerprint: Some("ab".into()),
    };
    PoliciesInfo { active: Some(version.clone()), shadow: Some(version), changes: vec![change] }
}

fn denied() -> (AppendError, ReadError) {
    let denial = Some(Box::new(Denial {
        decision_id: uuid::Uuid::from_bytes([7; 16]),
        reasons: vec![Reason::new("role_missing", "no role")],
        policy_revision: Some(crate::Revision::new(3)),
    }));
    let reason = "no".to_owned();
    let append = AppendError::Denied { reason: reason.clone(), denial: denial.clone() };
    (append, ReadError::Denied { reason, denial })
}

#[test]
fn policies_come_back_as_they_were() {
    assert_eq!(PoliciesInfo::from(PoliciesHead::from(&policies())), policies());
    let (append, read) = denied();
    assert_eq!(AppendError::from(AppendFailure::from(&append)), append);
    assert_eq!(ReadError::from(ReadFailure::from(&read)), read);
    let older = PROTOCOL_SCHEMAS - 1;
    let told = in_version(append, older);
    assert_eq!(told, AppendError::Denied { reason: "no".into(), denial: None });
    assert_eq!(
        read_in_version(read, older),
        ReadError::Denied { reason: "no".into(), denial: None }
    );
}

#[test]
fn schemas_come_back_as_they_were() {
    assert_eq!(NewSchema::try_from(NewSchemaHead::from(&new_schema())), Ok(new_schema()));
    assert_eq!(SchemaVersion::try_from(SchemaHead::from(&version())), Ok(version()));
    assert_eq!(SubjectInfo::try_from(SubjectHead::from(&subject())), Ok(subject()));
    assert_eq!(SettingsChange::try_from(SettingsChangeHead::from(&change())), Ok(change()));
    for error in errors() {
        assert_eq!(AppendError::from(AppendFailure::from(&error)), error);
        assert_eq!(in_version(error.clone(), PROTOCOL), error);
    }
}

#[test]
fn older_clients_are_told_in_words_what_they_have_no_word_for() {
    for error in errors() {
        let told = in_version(error.clone(), PROTOCOL_SCHEMAS - 1);
        let AppendError::Invalid(invalid) = told else { panic!("{told:?}") };
        let Invalid::Request(told) = *invalid else { panic!("{invalid:?}") };
        assert!(told.contains("type"), "{told}");
    }
    for error in append_errors() {
        assert_eq!(in_version(error.clone(), 1), error);
    }
    let ask = Operation::Schema { subject: String::new(), ask: Box::new(SchemaAsk::Subject) };
    assert_eq!(ask.since(), PROTOCOL_SCHEMAS);
}

#[test]
fn the_parts_of_an_event_stay_together() {
    let part = |part, has_more| recorded(12).as_part(part, has_more).as_altered();
    let parts = [part(0, true), part(1, true), part(2, false)];
    let mut items = ItemsBuilder::default();
    parts.iter().for_each(|it| items.event(it));
    assert_eq!(items.events(), 1, "they count as what is stored");
    let (_, payload) = opened(&items.take(), PacketKind::Items);
    let back: Vec<_> = decode_items(&payload).unwrap();
    assert_eq!(back.iter().filter(|it| it.ends_event()).count(), 1);
    let back: Vec<_> = back.into_iter().filter_map(SubscriptionItem::event).collect();
    assert_eq!(back, parts);

    let [event, rest @ ..] = parts;
    let whole = Delivery { parts: rest.into(), event, ..deliveries().remove(0) };
    let all = [deliveries().remove(0), whole, deliveries().remove(1)];
    let mut builder = DeliveriesBuilder::default();
    all.iter().for_each(|it| builder.push(it));
    let (head, payload) = opened(&builder.take(), PacketKind::Deliveries);
    assert_eq!(decode_deliveries(&head, &payload).unwrap(), all);
    for cut in 0..payload.len() {
        assert!(decode_deliveries(&head, &payload.slice(..cut)).is_err(), "{cut}");
    }
}

#[test]
fn what_is_asked_for_as_it_is_stored_is_asked_for_as_ever() {
    let of = |as_schema| {
        let read = Operation::read(&Read::all().as_schema(as_schema));
        let subscribe = Operation::subscribe(&Subscribe::all().as_schema(as_schema), 1);
        [read, subscribe, Operation::consume(consume(), as_schema)]
    };
    for operation in of(AsSchema::Raw) {
        assert!(operation.since() < PROTOCOL_SCHEMAS, "{operation:?}");
    }
    for as_schema in [AsSchema::Latest, AsSchema::Version(3)] {
        assert_eq!(AsSchema::from(AsSchemaHead::from(as_schema)), as_schema);
        for operation in of(as_schema) {
            assert_eq!(operation.since(), PROTOCOL_SCHEMAS, "{operation:?}");
        }
    }
    let error = not_converted();
    assert_eq!(ReadError::from(ReadFailure::from(&error)), error);
}
