//! What version 5 has besides: schemas.

use super::samples::Samples;
use super::tests::append_errors;
use super::*;
use crate::error::{AppendError, Invalid};
use crate::ids::SchemaId;
use crate::schema::{
    Compatibility, DataProblem, EffectiveSettings, Incompatibility, NewSchema, Pattern,
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
        owner: "shop".into(),
        description: "an order".into(),
        ..NewSchema::new(SchemaFormat::Json, r#"{"type":"object"}"#)
    }
}

fn version() -> SchemaVersion {
    let NewSchema { format, schema, references, state, owner, description } = new_schema();
    SchemaVersion {
        id: SchemaId::new(7),
        subject: "OrderPlaced".into(),
        version: 3,
        format,
        schema,
        references,
        fingerprint: "ab".repeat(32),
        state,
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
    samples.all_are_the_same(5);
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
