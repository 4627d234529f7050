//! Messages of groups come back as they were, have the bytes of protocol version 3, and what an enemy sends in their
//! place is refused.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::route_tests::{branch, routes};
use super::samples::{Samples, appended, filter};
use super::tests::{append, arrived, opened, recorded};
use super::*;
use crate::block::tests::block_of;
use crate::group::{
    Answered, Backoff, Delivery, DeliveryToken, ERROR_BYTES_MAX, Failure as Why, GroupConfig,
    GroupInfo, GroupMode, GroupStart, GroupState, LaneBy, LaneInfo, MemberInfo, Nack, NackAction,
    ParkedEntry, ParkedList, ParkedPage, ParkedPick, PauseInfo, Refused, RefusedToken,
};
use crate::limits::DELIVERIES_MAX;
use crate::{AppendError, Appended, Position, SubscriptionItem, Timestamp};

/// Lines of a name, a blank, and the packet's bytes in hex: what version 3 has besides those before.
const VERSION_3: &str = include_str!("samples/v3.txt");

const TIME: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn config() -> GroupConfig {
    GroupConfig {
        mode: GroupMode::Ordered,
        lane_by: LaneBy::Tag("customer".into()),
        filter: filter(),
        start: GroupStart::Beginning,
        lanes: 64,
        ack_deadline: Duration::from_secs(30),
        max_attempts: 5,
        backoff: Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(60) },
        max_in_flight: 10_000,
        max_in_flight_per_lane: 1_000,
        only_routes: false,
        branches: vec![branch()],
        parked_rules: ["timeout: retry 1m, 1h, then skip", "a: alert", "*: leave"]
            .map(|rule| rule.parse().unwrap())
            .into(),
        parked_rate: Some(10),
    }
}

/// One of each mode, order, and start.
fn configs() -> Vec<GroupConfig> {
    let unordered = GroupConfig {
        mode: GroupMode::Unordered,
        lane_by: LaneBy::Stream,
        start: GroupStart::End,
        ..config()
    };
    let broadcast = GroupConfig {
        mode: GroupMode::Broadcast,
        lane_by: LaneBy::Correlation,
        start: GroupStart::Position(Position::new(9)),
        ..config()
    };
    let later =
        GroupConfig { start: GroupStart::Time(TIME), only_routes: true, ..GroupConfig::default() };
    vec![config(), unordered, broadcast, later]
}

pub(super) fn info(state: GroupState) -> GroupInfo {
    let pause = PauseInfo {
        by: "ops".into(),
        reason: "a bad release".into(),
        position: Some(Position::new(8)),
        at: TIME,
    };
    GroupInfo {
        name: "mail".into(),
        config: config(),
        state,
        pause: (state == GroupState::Paused).then_some(pause),
        floor_position: Position::new(7),
        head_position: Some(Position::new(20)),
        lag_events: 13,
        lag_seconds: 1.5,
        in_flight: 3,
        ready: 4,
        parked: 5,
        oldest_unacked_ms: Some(250),
        delivered: 100,
        redelivered: 9,
        members: vec![MemberInfo { consumer: "host-1".into(), lanes: 32, in_flight: 3 }],
    }
}

pub(super) fn lanes() -> Vec<LaneInfo> {
    let lane = |lane, owner: Option<&str>| LaneInfo {
        lane,
        owner: owner.map(str::to_owned),
        open: 4,
        in_flight: 1,
        first: Position::new(7),
        parked: 2,
        lag: None,
    };
    vec![lane(0, Some("host-1")), lane(3, None), lane(5, Some("host-2")), lane(9, Some("host-1"))]
}

fn why() -> Why {
    Why { class: "timeout".into(), message: "no answer".into(), chain: vec!["closed".into()] }
}

fn page() -> ParkedPage {
    let failed = ParkedEntry {
        position: Position::new(7),
        lane: 3,
        event: Some(("order-1".into(), "OrderPlaced".into())),
        attempts: 5,
        failure: Some(why()),
        released: true,
        rounds: 1,
        not_before: Some(TIME),
        first_failed: Some(TIME),
        last_failed: Some(Timestamp::from_micros(TIME.as_micros() + 1)),
        waiting_behind: 1,
    };
    let waits = ParkedEntry {
        event: None,
        failure: None,
        released: false,
        rounds: 0,
        not_before: None,
        first_failed: None,
        last_failed: None,
        ..failed.clone()
    };
    ParkedPage { entries: vec![failed, waits], next: Some(Position::new(9)) }
}

fn picks() -> [(&'static str, ParkedPick); 3] {
    let positions = vec![Position::new(7), Position::new(9)];
    [
        ("", ParkedPick::All),
        ("_of_lane", ParkedPick::Lane(3)),
        ("_at_positions", ParkedPick::Positions(positions)),
    ]
}

fn lists() -> [ParkedList; 2] {
    let after = Some(Position::new(9));
    [
        ParkedList { lane: Some(3), key: None, waiting: true, after, limit: 100 },
        ParkedList { limit: 7, ..ParkedList::default() },
    ]
}

fn starts() -> [(&'static str, GroupStart); 4] {
    [
        ("", GroupStart::Beginning),
        ("_end", GroupStart::End),
        ("_position", GroupStart::Position(Position::new(9))),
        ("_time", GroupStart::Time(TIME)),
    ]
}

fn token(number: u64) -> DeliveryToken {
    let position = Position::new(number);
    DeliveryToken { position, key: 2, generation: 3, delivery: u64::MAX - number }
}

pub(super) fn deliveries() -> Vec<Delivery> {
    let delivery = |number, event| Delivery {
        token: token(number),
        attempt: 2,
        lane: 3,
        deadline: TIME,
        event,
        parts: Vec::new(),
    };
    vec![delivery(11, recorded(11)), delivery(12, recorded(12).as_part(3, false).as_altered())]
}

fn packet_of(deliveries: &[Delivery]) -> Bytes {
    let mut builder = DeliveriesBuilder::default();
    deliveries.iter().for_each(|delivery| builder.push(delivery));
    assert_eq!(builder.len(), deliveries.len());
    let packet = builder.take();
    assert!(builder.is_empty() && builder.bytes() == 0);
    packet
}

fn nack(action: NackAction) -> Said {
    Said::Nack(Nack { action, failure: why() })
}

fn everything_said() -> [(&'static str, Said); 7] {
    [
        ("ack", Said::Ack),
        ("retry", nack(NackAction::Retry(None))),
        ("retry_later", nack(NackAction::Retry(Some(Duration::from_millis(1500))))),
        ("park", nack(NackAction::Park)),
        ("skip", nack(NackAction::Skip)),
        ("stop", nack(NackAction::Stop)),
        ("extend", Said::Extend(Duration::from_secs(30))),
    ]
}

type Outcome = Result<(Answered, Option<Appended>), AppendError>;

fn outcomes() -> Vec<(u64, Outcome)> {
    let refused = (0..).zip(Refused::ALL).map(|(at, why)| RefusedToken { token: token(at), why });
    let answered = Answered { done: 7, refused: refused.collect() };
    vec![
        (1, Ok((answered, None))),
        (u64::MAX, Ok((Answered { done: 1, refused: Vec::new() }, Some(appended())))),
        (0, Err(AppendError::Unknown)),
    ]
}

fn answered(outcomes: &[(u64, Outcome)]) -> Vec<AnsweredHead> {
    outcomes.iter().map(|(seq, outcome)| AnsweredHead::new(*seq, outcome)).collect()
}

fn ask(ask: GroupAsk) -> Operation {
    Operation::Group { group: "mail".into(), ask: Box::new(ask) }
}

fn questions(samples: &mut Samples) {
    let kinds = ["", "_unordered", "_broadcast", "_from_time"];
    for (variant, config) in kinds.into_iter().zip(configs()) {
        samples.open(variant, ask(GroupAsk::Set((&config).into())));
    }
    for what in
        [GroupAsk::Names, GroupAsk::Info, GroupAsk::Lanes, GroupAsk::Delete, GroupAsk::Resume]
    {
        samples.open("", ask(what));
    }
    samples.open("", ask(GroupAsk::Pause { reason: "a bad release".into() }));
    for (variant, start) in starts() {
        samples.open(variant, ask(GroupAsk::Seek(start.into())));
    }
    for (variant, list) in ["", "_of_all"].into_iter().zip(lists()) {
        samples.open(variant, ask(GroupAsk::Parked((&list).into())));
    }
    for (variant, pick) in picks() {
        let rate_per_s = matches!(pick, ParkedPick::Lane(_)).then_some(10);
        samples.open(variant, ask(GroupAsk::Replay { pick: (&pick).into(), rate_per_s }));
        samples.open(variant, ask(GroupAsk::Skip((&pick).into())));
    }
    samples.open("", ask(GroupAsk::Leave { consumer: "host-1".into() }));
    samples.open("", ask(GroupAsk::Edit { position: 7 }));
    let (group, consumer) = ("mail".into(), "host-1".into());
    samples.open("", Operation::Consume { group, consumer, credit: 100, max: 50 });
    samples.open("", Operation::Timers { failed: false, after: Some("a".into()), limit: 100 });
    samples.open("", Operation::EventsAt { positions: vec![3, 7] });
}

fn answers(samples: &mut Samples) {
    samples.answer("", &Answer::Timers { ids: vec!["a".into(), "order-1/pay".into()], more: true });
    samples.answer("", &Answer::GroupSet { made: true });
    samples.answer("", &Answer::Groups(vec!["mail".into(), "search".into()]));
    for (variant, state) in [
        ("", GroupState::Running),
        ("_paused", GroupState::Paused),
        ("_stalled", GroupState::Stalled),
    ] {
        samples.answer(variant, &Answer::Group(Box::new((&info(state)).into())));
    }
    let with_lanes = GroupLanesHead::new(&info(GroupState::Running), &lanes());
    samples.answer("", &Answer::GroupLanes(Box::new(with_lanes)));
    samples.answer("", &Answer::Position(9));
    samples.answer("", &Answer::Parked((&page()).into()));
    samples.answer("", &Answer::Count(7));
}

fn session(samples: &mut Samples) {
    let packet = samples.packet("deliveries", &packet_of(&deliveries()));
    if !packet.is_empty() {
        let (head, payload) = opened(&packet, PacketKind::Deliveries);
        assert_eq!(decode_deliveries(&head, &payload), Ok(deliveries()));
    }
    let tokens = [token(11), token(12)];
    for (name, said) in everything_said() {
        let packet = encode_answers(7, &tokens, &said).unwrap();
        let packet = samples.packet(&format!("answers_{name}"), &packet);
        if !packet.is_empty() {
            let (head, _) = opened(&packet, PacketKind::Answers);
            let answers = Answers { seq: 7, tokens: tokens.to_vec(), said };
            assert_eq!(decode_answers(&head), Ok(answers), "{name}");
        }
    }
    let packet = samples.packet("ack_with", &encode_ack_with(8, &tokens, &append()).unwrap());
    if !packet.is_empty() {
        let (head, payload) = opened(&packet, PacketKind::AckWith);
        let ack_with = AckWith { seq: 8, tokens: tokens.to_vec(), append: arrived() };
        assert_eq!(decode_ack_with(&head, &payload), Ok(ack_with));
    }
    samples.message("answered", PacketKind::Answered, &answered(&outcomes()));
}

#[test]
fn version_3_has_groups_as_it_had_them() {
    let mut samples = Samples::of(VERSION_3);
    questions(&mut samples);
    answers(&mut samples);
    session(&mut samples);
    routes(&mut samples);
    samples.all_are_the_same(3);
}

#[test]
fn words_of_groups_come_back_as_they_were() {
    for config in configs() {
        assert_eq!(GroupConfig::try_from(GroupConfigHead::from(&config)).as_ref(), Ok(&config));
    }
    for state in [GroupState::Running, GroupState::Paused, GroupState::Stalled] {
        let info = info(state);
        assert_eq!(GroupInfo::try_from(GroupHead::from(&info)).as_ref(), Ok(&info));
        let with_lanes = GroupLanesHead::new(&info, &lanes());
        assert_eq!(with_lanes.try_into(), Ok((info, lanes())));
    }
    for (_, start) in starts() {
        assert_eq!(GroupStart::from(GroupStartHead::from(start)), start);
    }
    for list in lists() {
        assert_eq!(ParkedList::from(ParkedListHead::from(&list)), list);
    }
    for (_, pick) in picks() {
        assert_eq!(ParkedPick::try_from(ParkedPickHead::from(&pick)), Ok(pick));
    }
    assert_eq!(ParkedPage::from(ParkedPageHead::from(&page())), page());
}

#[test]
fn what_travels_in_a_session_comes_back_as_it_was() {
    for deliveries in [deliveries(), Vec::new()] {
        let (head, payload) = opened(&packet_of(&deliveries), PacketKind::Deliveries);
        assert_eq!(decode_deliveries(&head, &payload), Ok(deliveries));
    }
    for (_, said) in everything_said() {
        for tokens in [vec![], vec![token(1)], vec![token(2); DELIVERIES_MAX]] {
            let packet = encode_answers(u64::MAX, &tokens, &said).unwrap();
            let (head, _) = opened(&packet, PacketKind::Answers);
            let answers = Answers { seq: u64::MAX, tokens, said: said.clone() };
            assert_eq!(decode_answers(&head), Ok(answers));
        }
    }
    let packet = encode_ack_with(3, &[token(1)], &append()).unwrap();
    let (head, payload) = opened(&packet, PacketKind::AckWith);
    let ack_with = AckWith { seq: 3, tokens: vec![token(1)], append: arrived() };
    assert_eq!(decode_ack_with(&head, &payload), Ok(ack_with));
    let packet = encode_packet(PacketKind::Answered, &answered(&outcomes()), &[]);
    let (head, _) = opened(&packet, PacketKind::Answered);
    assert_eq!(decode_answered(&head), Ok(outcomes()));
}

/// As many deliveries as there may be, and the longest reason that is kept.
#[test]
fn what_is_within_its_bounds_fits_its_packet() {
    let many = vec![deliveries().swap_remove(0); DELIVERIES_MAX];
    let (head, payload) = opened(&packet_of(&many), PacketKind::Deliveries);
    assert_eq!(decode_deliveries(&head, &payload).unwrap().len(), DELIVERIES_MAX);
    let tokens: Vec<_> = (0..DELIVERIES_MAX as u64).map(token).collect();
    let long = "x".repeat(ERROR_BYTES_MAX);
    let failure =
        Why { class: long.clone(), message: "m".into(), chain: vec!["x".repeat(256); 16] };
    for failure in [Why::new(long), failure] {
        let said = Said::Nack(Nack { action: NackAction::Retry(None), failure: failure.clone() });
        let (head, _) = opened(&encode_answers(1, &tokens, &said).unwrap(), PacketKind::Answers);
        let failure = failure.bounded();
        let said = Said::Nack(Nack { action: NackAction::Retry(None), failure });
        assert_eq!(decode_answers(&head).unwrap().said, said);
    }
    let refused = tokens.iter().map(|&token| RefusedToken { token, why: Refused::Expired });
    let outcomes = [(1, Ok((Answered { done: 0, refused: refused.collect() }, None)))];
    let packet = encode_packet(PacketKind::Answered, &answered(&outcomes), &[]);
    assert_eq!(decode_answered(&opened(&packet, PacketKind::Answered).0), Ok(outcomes.to_vec()));
    // As many lanes as a group may have, of consumers with long names.
    let lane = |lane| LaneInfo {
        lane,
        owner: Some(format!("{:0>128}", lane % 1000)),
        ..lanes()[0].clone()
    };
    let lanes: Vec<_> = (0..crate::group::LANES_MAX).map(lane).collect();
    let head = GroupLanesHead::new(&info(GroupState::Running), &lanes);
    let packet = try_encode_packet(PacketKind::Answer, &Answer::GroupLanes(Box::new(head)), &[]);
    assert!(packet.is_ok());
}

#[test]
fn more_than_may_be_answered_together_is_refused() {
    let tokens = vec![token(1); DELIVERIES_MAX + 1];
    for refused in [
        encode_answers(1, &tokens, &Said::Ack).unwrap_err(),
        encode_ack_with(1, &tokens, &append()).unwrap_err(),
    ] {
        assert!(matches!(refused, AppendError::TooLarge(_)), "{refused}");
    }
    // Whoever encodes them all the same is not listened to.
    let most = encode_answers(1, &tokens[1..], &Said::Ack).unwrap();
    let (head, _) = opened(&most, PacketKind::Answers);
    assert!(decode_answers(&head).is_ok());
    let refused =
        [0; DELIVERIES_MAX + 1].map(|_| RefusedToken { token: token(1), why: Refused::Unknown });
    let outcomes = [(1, Ok((Answered { done: 0, refused: refused.to_vec() }, None)))];
    let packet = encode_packet(PacketKind::Answered, &answered(&outcomes), &[]);
    let why = decode_answered(&opened(&packet, PacketKind::Answered).0).unwrap_err().to_string();
    assert!(why.contains("1001 deliveries"), "{why}");
    let positions = ParkedPick::Positions(vec![Position::new(1); DELIVERIES_MAX + 1]);
    let why = ParkedPick::try_from(ParkedPickHead::from(&positions)).unwrap_err().to_string();
    assert!(why.contains("1001 positions"), "{why}");
    let too_long = vec![0_u8; crate::limits::DELIVERIES_HEAD_BYTES_MAX + 8];
    let why = try_encode_packet(PacketKind::Answers, &too_long, &[]).unwrap_err();
    assert!(matches!(why, WireError::TooLarge { .. }), "{why}");
}

#[test]
fn deliveries_have_one_event_each() {
    let (head, payload) = opened(&packet_of(&deliveries()), PacketKind::Deliveries);
    let (one, _) = opened(&packet_of(&deliveries()[..1]), PacketKind::Deliveries);
    for (head, payload) in [(&one, payload.clone()), (&head, Bytes::new())] {
        let why = decode_deliveries(head, &payload).unwrap_err().to_string();
        assert!(why.contains("delivery"), "{why}");
    }
    for cut in 0..payload.len() {
        assert!(decode_deliveries(&head, &payload.slice(..cut)).is_err(), "{cut}");
    }
    let mut items = ItemsBuilder::default();
    items.event(&recorded(1));
    items.push(&SubscriptionItem::Checkpoint { position: Position::new(2) });
    let (_, marker) = opened(&items.take(), PacketKind::Items);
    let why = decode_deliveries(&head, &marker).unwrap_err().to_string();
    assert!(why.contains("without an event"), "{why}");
    items.block(&block_of(8, 2, b"packed"));
    let (_, block) = opened(&items.take(), PacketKind::Items);
    assert!(decode_deliveries(&head, &block).is_err(), "blocks are for those who read all");
    for bit in 0..payload.len() * 8 {
        let mut bytes = payload.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read = decode_deliveries(&head, &bytes.into());
        let events = |it: &[Delivery]| it.iter().map(|it| it.event.as_bytes().to_vec()).collect();
        let read: Option<Vec<_>> = read.ok().map(|it| events(&it));
        // The flag and the part of an event are no part of what its checksum covers.
        assert!(read.is_none_or(|read| read == events(&deliveries())), "bit {bit}");
    }
}

#[test]
fn an_owner_who_is_not_named_is_no_owner() {
    let head = GroupLanesHead::new(&info(GroupState::Running), &lanes());
    let archive = encode_packet(PacketKind::Answer, &head, &[]);
    let (archive, _) = opened(&archive, PacketKind::Answer);
    let mut refused = 0;
    for at in 0..archive.len() {
        let mut bytes = archive.to_vec();
        bytes[at] = bytes[at].wrapping_add(2);
        let Ok(head) = decode_head::<GroupLanesHead>(&bytes) else { continue };
        let read = <(GroupInfo, Vec<LaneInfo>)>::try_from(head);
        refused += usize::from(read.is_err_and(|why| why.to_string().contains("not named")));
    }
    assert!(refused > 0, "numbers of owners are looked at");
}

#[test]
fn what_order_cannot_be_kept_by_is_refused() {
    let by = GroupConfig { lane_by: LaneBy::Tag("a:b".into()), ..config() };
    let why = GroupConfig::try_from(GroupConfigHead::from(&by)).unwrap_err().to_string();
    assert!(why.contains("tag:KEY"), "{why}");
}

proptest! {
    #[test]
    fn messages_of_an_enemy_are_answered_with_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let _ = decode_deliveries(&bytes, &bytes.clone().into());
        let _ = decode_answers(&bytes);
        let _ = decode_ack_with(&bytes, &bytes.clone().into());
        let _ = decode_answered(&bytes);
        let damaged = |packet: &Bytes, kind| {
            let (head, payload) = opened(packet, kind);
            let mut head = head.to_vec();
            for (at, value) in &flips {
                let at = at % head.len();
                head[at] = *value;
            }
            (head, payload)
        };
        let (head, payload) = damaged(&packet_of(&deliveries()), PacketKind::Deliveries);
        let _ = decode_deliveries(&head, &payload);
        let (head, _) = damaged(&encode_answers(1, &[token(1)], &nack(NackAction::Park)).unwrap(), PacketKind::Answers);
        let _ = decode_answers(&head);
        let (head, payload) = damaged(&encode_ack_with(1, &[token(1)], &append()).unwrap(), PacketKind::AckWith);
        let _ = decode_ack_with(&head, &payload);
        let (head, _) = damaged(&encode_packet(PacketKind::Answered, &answered(&outcomes()), &[]), PacketKind::Answered);
        let _ = decode_answered(&head);
    }
}
