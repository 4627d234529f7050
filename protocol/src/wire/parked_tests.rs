//! What version 4 has besides: what is parked under a key, and how long lanes are behind.

use std::time::Duration;

use super::group_tests::{info, lanes};
use super::samples::Samples;
use super::tests::opened;
use super::*;
use crate::error::Invalid;
use crate::group::{GroupInfo, GroupState, LaneInfo, ParkedList, ParkedPick};
use crate::ids::Position;
use crate::limits::{LANES_MAX, PARKED_KEY_BYTES_MAX};

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
    samples.open("", ask(GroupAsk::LanesAndLag));
    let head = GroupLagHead::new(&info(GroupState::Running), &lanes_that_lag());
    samples.answer("", &Answer::GroupLag(Box::new(head)));
    samples.all_are_the_same(4);
}

/// Some lanes, the first of which is behind.
fn lanes_that_lag() -> Vec<LaneInfo> {
    let mut lanes = lanes();
    lanes[0].lag = Some(Duration::from_millis(1_500));
    lanes
}

#[test]
fn how_long_lanes_are_behind_comes_back_as_it_was_for_as_many_as_there_may_be() {
    let info = info(GroupState::Running);
    let head = GroupLagHead::new(&info, &lanes_that_lag());
    assert_eq!(head.try_into(), Ok((info.clone(), lanes_that_lag())));
    let lane = |lane| LaneInfo { lane, lag: Some(Duration::MAX), ..lanes()[0].clone() };
    let most: Vec<_> = (0..LANES_MAX).map(lane).collect();
    let head = GroupLagHead::new(&info, &most);
    let read = <(GroupInfo, Vec<LaneInfo>)>::try_from(head.clone()).unwrap();
    assert!(read.1.iter().all(|lane| lane.lag.is_some()), "the longest is not none");
    let answer = Answer::GroupLag(Box::new(head));
    assert!(try_encode_packet(PacketKind::Answer, &answer, &[]).is_ok());
    // Times of other lanes than there are.
    let head = GroupLagHead::new(&info, &lanes_that_lag());
    let archive = encode_packet(PacketKind::Answer, &head, &[]);
    let (archive, _) = opened(&archive, PacketKind::Answer);
    let refused = (0..archive.len()).filter(|at| {
        let mut bytes = archive.to_vec();
        bytes[*at] = bytes[*at].wrapping_sub(1);
        let read = decode_head::<GroupLagHead>(&bytes);
        let read = read.map(<(GroupInfo, Vec<LaneInfo>)>::try_from);
        matches!(read, Ok(Err(why)) if why.to_string().contains("times of"))
    });
    assert!(refused.count() > 0, "how many there are is looked at");
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
