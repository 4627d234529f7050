//! What version 6 has besides: projections, what is found in them, and that one has not come so far yet.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::samples::Samples;
use super::tests::opened;
use super::*;
use crate::error::{AppendError, Invalid, ReadError, Retry};
use crate::group::{ParkedList, ParkedPick};
use crate::ids::Position;
use crate::limits::{DEFINITION_BYTES_MAX, DELIVERIES_MAX};
use crate::projection::{
    BuildInfo, FoundDocument, Lookup, ProjectionChange, ProjectionInfo, ProjectionState,
};
use crate::search::SearchRequest;

const VERSION_6: &str = include_str!("samples/v6.txt");

const STATES: [ProjectionState; 4] = [
    ProjectionState::Running,
    ProjectionState::Rebuilding,
    ProjectionState::Paused,
    ProjectionState::Failed,
];
const CHANGES: [(&str, ProjectionChange); 6] = [
    ("_rebuild", ProjectionChange::Rebuild),
    ("_switch", ProjectionChange::Switch { version: 2 }),
    ("_pause", ProjectionChange::Pause),
    ("_resume", ProjectionChange::Resume),
    ("_delete", ProjectionChange::Delete { version: None }),
    ("_delete_version", ProjectionChange::Delete { version: Some(1) }),
];

fn definition() -> Value {
    json!({
        "name": "orders",
        "version": 2,
        "fields": {"total": {"type": "integer", "fold": "sum", "from": "/data/total"}},
    })
}

fn build(state: ProjectionState) -> BuildInfo {
    BuildInfo {
        version: 2,
        generation: 3,
        active: state != ProjectionState::Rebuilding,
        state,
        position: Some(Position::new(9)),
        lag_events: 1,
        documents: 2,
        events: 3,
        events_digest: "0a".repeat(16),
        documents_digest: "0b".repeat(16),
        parked: 4,
        error: (state == ProjectionState::Failed).then(|| "the disk is full".to_owned()),
    }
}

fn info(state: ProjectionState) -> ProjectionInfo {
    ProjectionInfo {
        name: "orders".into(),
        version: 2,
        state,
        position: (state != ProjectionState::Paused).then_some(Position::new(9)),
        lag_events: 1,
        documents: 2,
        events: 3,
        events_digest: "0a".repeat(16),
        documents_digest: "0b".repeat(16),
        parked: 4,
        error: (state == ProjectionState::Failed).then(|| "the disk is full".to_owned()),
        definition: definition(),
        builds: STATES.map(build).into(),
    }
}

fn lookup() -> Lookup {
    let min_position = Some(Position::new(9));
    Lookup { key: "order/17 ä".into(), min_position, timeout_ms: Some(500) }
}

fn found() -> FoundDocument {
    let Value::Object(document) = json!({"total": 250, "tags": ["a", "b"], "note": null}) else {
        unreachable!("it is an object");
    };
    FoundDocument {
        key: "order/17 ä".into(),
        document,
        position: Position::new(7),
        as_of_position: Some(Position::new(9)),
        lag_events: 1,
        parked: true,
    }
}

fn not_caught_up(at: Option<u64>) -> ReadError {
    let at = at.map(Position::new);
    ReadError::NotCaughtUp { wanted: Position::new(9), at, waited_ms: 500 }
}

fn list(key: Option<&str>) -> ParkedList {
    let (key, after) = (key.map(str::to_owned), Some(Position::new(9)));
    ParkedList { lane: None, key, waiting: true, after, limit: 100 }
}

fn ask(ask: ProjectionAsk) -> Operation {
    Operation::Projection { projection: "orders".into(), ask: Box::new(ask) }
}

#[test]
fn version_6_speaks_of_projections_as_it_did() {
    let mut samples = Samples::of(VERSION_6);
    samples.open("", ask(ProjectionAsk::set(&definition()).unwrap()));
    samples.open("", ask(ProjectionAsk::Names));
    samples.open("", ask(ProjectionAsk::Info));
    for (variant, change) in CHANGES {
        samples.open(variant, ask(ProjectionAsk::Change(change.into())));
    }
    samples.open("", ask(ProjectionAsk::Lookup((&lookup()).into())));
    samples.open("", ask(ProjectionAsk::parked(&list(None))));
    samples.open("_of_key", ask(ProjectionAsk::parked(&list(Some("order-17")))));
    let key = ParkedPick::Key("order-17".into());
    samples.open("", ask(ProjectionAsk::Replay((&ParkedPick::All).into())));
    samples.open("_of_key", ask(ProjectionAsk::Replay((&key).into())));
    let these = ParkedPick::Positions(vec![Position::new(9)]);
    samples.open("", ask(ProjectionAsk::Skip((&these).into())));
    samples.open("", ask(ProjectionAsk::Edit { position: 9 }));
    samples.answer("", &Answer::ProjectionSet { made: true });
    samples.answer("", &Answer::Projections(vec!["customers".into(), "orders".into()]));
    for state in STATES {
        let answer = Answer::Projection(Box::new((&info(state)).into()));
        samples.answer(&format!("_{}", state.as_str()), &answer);
    }
    let answer = Answer::Document(Box::new((&found()).into()));
    let packet = encode_packet(PacketKind::Answer, &answer, &DocumentHead::payload_of(&found()));
    samples.packet("answer_document", &packet);
    samples.open("", ask(ProjectionAsk::search(&search()).unwrap()));
    samples.packet("answer_found", &encode_packet(PacketKind::Answer, &Answer::Found, b"{}"));
    for (variant, at) in [("", Some(7)), ("_anywhere", None)] {
        let failure = Failure::Read((&not_caught_up(at)).into());
        let name = format!("failure_not_caught_up{variant}");
        samples.message(&name, PacketKind::Failure, &failure);
    }
    samples.all_are_the_same(6);
}

fn search() -> SearchRequest {
    let query = Some(json!({ "term": { "status": "open" } }));
    SearchRequest { query, sort: vec![json!("at")], ..SearchRequest::default() }
}

#[test]
fn searches_come_back_as_they_were_and_are_bounded() {
    let Ok(ProjectionAsk::Search { request }) = ProjectionAsk::search(&search()) else {
        panic!("it is a search");
    };
    assert_eq!(super::search_of(&request), Ok(search()));
    let long = SearchRequest { query: Some(json!("a".repeat(70_000))), ..search() };
    assert!(ProjectionAsk::search(&long).is_err());
    for none in [&*"a".repeat(70_000), "{", "{\"querry\": 1}"] {
        assert!(matches!(super::search_of(none), Err(Invalid::Request(_))));
    }
}

#[test]
fn projections_come_back_as_they_were() {
    for state in STATES {
        assert_eq!(ProjectionInfo::try_from(ProjectionHead::from(&info(state))), Ok(info(state)));
    }
    for (_, change) in CHANGES {
        assert_eq!(ProjectionChange::from(ProjectionChangeHead::from(change)), change);
    }
    for lookup in [lookup(), Lookup { key: "a".into(), ..Lookup::default() }] {
        assert_eq!(Lookup::from(LookupHead::from(&lookup)), lookup);
    }
    for list in [list(None), list(Some("order-17"))] {
        let ProjectionAsk::Parked { key, list: head } = ProjectionAsk::parked(&list) else {
            panic!("it is another question");
        };
        assert_eq!(ParkedList { key, ..head.into() }, list);
    }
    assert_eq!(ask(ProjectionAsk::Names).since(), PROTOCOL_PROJECTIONS);
}

#[test]
fn documents_come_back_as_they_were() {
    let empty =
        FoundDocument { document: Map::new(), as_of_position: None, parked: false, ..found() };
    for found in [found(), empty] {
        let answer = Answer::Document(Box::new((&found).into()));
        let packet = encode_packet(PacketKind::Answer, &answer, &DocumentHead::payload_of(&found));
        let (head, payload) = opened(&packet, PacketKind::Answer);
        let Ok(Answer::Document(head)) = decode_head(&head) else { panic!("another answer") };
        assert_eq!(head.clone().with_fields(&payload), Ok(found));
        for wrong in [&b""[..], b"[]", b"null", b"{", b"{}{}", &[0xff]] {
            assert!(head.clone().with_fields(wrong).is_err(), "{wrong:?}");
        }
    }
}

#[test]
fn definitions_have_a_bound_and_are_json() {
    let ProjectionAsk::Set { definition: text } = ProjectionAsk::set(&definition()).unwrap() else {
        panic!("it is another question");
    };
    assert_eq!(definition_of(&text), Ok(definition()));
    // Two quotes stand around it.
    let longest = Value::String("x".repeat(DEFINITION_BYTES_MAX - 2));
    assert_eq!(definition_of(&longest.to_string()), Ok(longest.clone()));
    assert!(ProjectionAsk::set(&longest).is_ok());
    let longer = Value::String("x".repeat(DEFINITION_BYTES_MAX - 1));
    for refused in
        [ProjectionAsk::set(&longer).map(|_| ()), definition_of(&longer.to_string()).map(|_| ())]
    {
        assert!(matches!(refused, Err(AppendError::TooLarge(_))), "{refused:?}");
    }
    let deep = "[".repeat(DEFINITION_BYTES_MAX);
    for wrong in ["", "{", "{}{}", &deep] {
        assert!(matches!(definition_of(wrong), Err(AppendError::Invalid(_))));
    }
}

#[test]
fn so_many_positions_are_named_and_no_more() {
    let pick = |count| ParkedPickHead::Positions((0..count).collect());
    let most = u64::try_from(DELIVERIES_MAX).unwrap();
    assert!(ParkedPick::try_from(pick(most)).is_ok());
    assert!(ParkedPick::try_from(pick(most + 1)).is_err());
}

#[test]
fn who_has_no_word_for_it_is_told_that_it_cannot_be_had_now() {
    for at in [None, Some(7)] {
        let error = not_caught_up(at);
        assert_eq!(ReadError::from(ReadFailure::from(&error)), error);
        assert_eq!(read_in_version(error.clone(), PROTOCOL), error);
        let told = read_in_version(error.clone(), PROTOCOL_PROJECTIONS - 1);
        let ReadError::Unavailable { reason } = &told else { panic!("{told:?}") };
        assert_eq!(reason, &error.to_string());
        for error in [error, told] {
            let Retry::After(pause) = error.retry() else { panic!("{error:?}") };
            assert!(pause <= Duration::from_secs(1));
        }
    }
    let says = not_caught_up(Some(7)).to_string();
    assert!(says.contains("to position 7, and not to position 9 within 500 ms"), "{says}");
    assert!(not_caught_up(None).to_string().contains("nowhere yet"));
}

proptest! {
    #[test]
    fn bytes_from_an_enemy_are_answered_with_an_error(
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let of_state = Answer::Projection(Box::new((&info(ProjectionState::Failed)).into()));
        let document = Answer::Document(Box::new((&found()).into()));
        for answer in [of_state, document] {
            let (head, _) = opened(&encode_packet(PacketKind::Answer, &answer, &[]), PacketKind::Answer);
            match decode_head(&flipped(&head, &flips)) {
                Ok(Answer::Projection(head)) => drop(ProjectionInfo::try_from(*head)),
                Ok(Answer::Document(head)) => drop(head.with_fields(b"{}")),
                _ => {}
            }
        }
        let (payload, key) = (DocumentHead::payload_of(&found()), ParkedPick::Key("a".into()));
        drop(DocumentHead::from(&found()).with_fields(&flipped(&payload, &flips)));
        for ask in [
            ProjectionAsk::set(&definition()).unwrap(),
            ProjectionAsk::Lookup((&lookup()).into()),
            ProjectionAsk::Replay((&key).into()),
        ] {
            let (head, _) = opened(&encode_packet(PacketKind::Open, &ask, &[]), PacketKind::Open);
            match decode_head(&flipped(&head, &flips)) {
                Ok(ProjectionAsk::Set { definition }) => drop(definition_of(&definition)),
                Ok(ProjectionAsk::Lookup(head)) => drop(Lookup::from(head)),
                Ok(ProjectionAsk::Replay(head)) => drop(ParkedPick::try_from(head)),
                _ => {}
            }
        }
    }
}

fn flipped(bytes: &[u8], flips: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, value) in flips {
        let at = at % bytes.len();
        bytes[at] = *value;
    }
    bytes
}
