//! What is parked under a key, which version 4 has besides.

use super::samples::Samples;
use super::*;
use crate::error::Invalid;
use crate::group::{ParkedList, ParkedPick};
use crate::ids::Position;
use crate::limits::PARKED_KEY_BYTES_MAX;

const VERSION_4: &str = include_str!("samples/v4.txt");

fn pick(key: &str) -> ParkedPick {
    ParkedPick::Key(key.to_owned())
}

fn list(key: Option<&str>) -> ParkedList {
    let after = Some(Position::new(9));
    ParkedList { lane: None, key: key.map(str::to_owned), waiting: true, after, limit: 100 }
}

#[test]
fn version_4_names_what_is_parked_by_its_key_as_it_did() {
    let mut samples = Samples::of(VERSION_4);
    let ask = |ask| Operation::Group { group: "mail".into(), ask: Box::new(ask) };
    let replay = GroupAsk::Replay { pick: (&pick("order-17")).into(), rate_per_s: Some(10) };
    samples.open("_of_key", ask(replay));
    samples.open("_of_key", ask(GroupAsk::Skip((&pick("order-17")).into())));
    samples.open("", ask(GroupAsk::parked(&list(Some("order-17")))));
    samples.all_are_the_same(4);
}

#[test]
fn older_servers_are_not_asked_about_keys() {
    let asks = |key: Option<&str>| {
        let pick = key.map_or(ParkedPick::All, pick);
        [
            GroupAsk::parked(&list(key)),
            GroupAsk::Replay { pick: (&pick).into(), rate_per_s: None },
            GroupAsk::Skip((&pick).into()),
        ]
    };
    for (key, since) in [(None, PROTOCOL_GROUPS), (Some("a"), PROTOCOL_PARKED_KEYS)] {
        for ask in asks(key) {
            let operation = Operation::Group { group: "mail".into(), ask: Box::new(ask) };
            assert_eq!(operation.since(), since, "{operation:?}");
        }
    }
}

#[test]
fn keys_come_back_as_they_were_and_have_bounds() {
    let longest = "x".repeat(PARKED_KEY_BYTES_MAX);
    for key in ["a", "order 17: ä", &longest] {
        assert_eq!(ParkedPick::try_from(ParkedPickHead::from(&pick(key))), Ok(pick(key)));
        assert_eq!((pick(key).check(), list(Some(key)).check()), (Ok(()), Ok(())));
    }
    for wrong in [String::new(), longest + "x"] {
        assert!(matches!(pick(&wrong).check(), Err(Invalid::Request(_))));
        assert!(matches!(list(Some(&wrong)).check(), Err(Invalid::Request(_))));
    }
    assert_eq!(list(None).check(), Ok(()));
}
