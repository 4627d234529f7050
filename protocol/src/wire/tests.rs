//! What is sent comes back as it was; what an enemy sends is refused.
//!
//! Is not: a test of a connection; `server/` has those.

use bytes::Bytes;
use proptest::prelude::*;

use super::packet::decode_head;
use super::*;
use crate::block::tests::block_of;
use crate::error::{Clause, Conflict, Corruption, CorruptionKind, Invalid, TooLarge, Unavailable};
use crate::group::check_group_name;
use crate::limits::PACKET_PAYLOAD_BYTES_MAX;
use crate::names::{InvalidName, NameProblem};
use crate::record::{PreparedRecord, Recipe, place};
use crate::{
    Append, AppendError, AsOf, EventData, EventId, ExpectedRevision, Filter, FilterItem, Lineage,
    Position, QueryItem, Read, ReadError, RecordedEvent, Revision, Start, StreamState, Subscribe,
    SubscriptionItem, Timestamp,
};

/// Head and payload of a packet.
pub(super) fn opened(packet: &Bytes, kind: PacketKind) -> (Bytes, Bytes) {
    let header = PacketHeader::decode(packet.first_chunk().unwrap()).unwrap();
    assert_eq!(header.kind, kind);
    let body = packet.slice(PACKET_HEADER_BYTES..);
    assert_eq!(body.len(), header.body_bytes());
    (body.slice(..header.head_bytes), body.slice(header.head_bytes..))
}

fn event(data: &str) -> EventData {
    EventData::json("OrderPlaced", data)
        .unwrap()
        .id(EventId::from_bytes([7; 16]))
        .tag("order:1")
        .tag("customer:é")
        .occurred_at(Timestamp::from_micros(-5))
        .metadata(&b"{\"a\":1}"[..])
}

pub(super) fn append() -> Append {
    Append::to("order-1")
        .at(Revision::new(4))
        .events([event("a"), event("b")])
        .stream("order-ö")
        .no_stream()
        .event(EventData::new("Kept", "", Bytes::new()))
        .stream("checked")
        .exists()
        .boundary(QueryItem::tags(["order:1"]).of_types(["OrderPlaced"]), Some(Position::new(9)))
        .absent(QueryItem::tags(["coupon:X"]))
        .idempotency_key("key")
}

/// That append as it arrives: tags are a set, and travel sorted.
pub(super) fn arrived() -> Append {
    let mut append = append();
    append.streams[0].events.iter_mut().for_each(|event| event.tags.sort());
    append
}

pub(super) fn recorded(position: u64) -> RecordedEvent {
    let event = event("stored");
    let recipe = Recipe {
        stream: "order-1",
        id: EventId::from_bytes([1; 16]),
        event: &event,
        tags: &["a:b"],
    };
    let mut bytes = Vec::new();
    let prepared = PreparedRecord::encode(&recipe, &mut bytes);
    let time = Timestamp::from_micros(77);
    place(&mut bytes, &prepared, Position::new(position), Revision::new(3), time);
    RecordedEvent::decode(bytes.into()).unwrap()
}

#[test]
fn appends_come_back_as_they_were() {
    let (head, payload) = opened(&encode_append(&append()).unwrap(), PacketKind::Append);
    assert_eq!(decode_append(&head, &payload).unwrap(), arrived());
    let empty = Append::to("a").exists();
    let (head, payload) = opened(&encode_append(&empty).unwrap(), PacketKind::Append);
    assert_eq!(decode_append(&head, &payload).unwrap(), empty);
    let delayed = Append::to("a").event(event("a")).event(event("b").not_before(Timestamp::MAX));
    let (head, payload) = opened(&encode_append(&delayed).unwrap(), PacketKind::Append);
    let arrived = decode_append(&head, &payload).unwrap();
    let times: Vec<_> = arrived.streams[0].events.iter().map(|event| event.not_before).collect();
    assert_eq!(times, [None, Some(Timestamp::MAX)]);
    assert_eq!((append_since(&delayed), append_since(&append())), (3, 1));
}

#[test]
fn a_flipped_bit_of_an_event_is_seen() {
    let (head, payload) = opened(&encode_append(&append()).unwrap(), PacketKind::Append);
    for bit in 0..payload.len() * 8 {
        let mut bytes = payload.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_append(&head, &bytes.into()).is_err(), "bit {bit}");
    }
    for cut in 0..payload.len() {
        assert!(decode_append(&head, &payload.slice(..cut)).is_err());
    }
}

#[test]
fn what_no_server_takes_is_refused_before_it_is_sent() {
    let check = |append: Append, part: &str| {
        let error = encode_append(&append).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(Append::to("").event(event("a")), "empty");
    check(Append::to("a").event(EventData::default()), "event type");
    check(Append::to("a").idempotency_key("k".repeat(257)), "idempotency key");
    let tags = (0..33).fold(event("a"), |event, n| event.tag(format!("n:{n}")));
    check(Append::to("a").event(tags), "tags of one event");
    check((0..1025).fold(Append::new(), |a, n| a.stream(n.to_string())), "streams of one append");
    let large = vec![b'x'; 12 << 20];
    let large = EventData::new("T", "", large.into());
    check(Append::to("a").events([large.clone(), large.clone(), large]), "bytes of its records");
    check(Append::to("a").absent(QueryItem::types(["\u{7}"])), "control character");
}

/// One of each kind.
pub(super) fn items() -> Vec<SubscriptionItem> {
    vec![
        SubscriptionItem::Event(recorded(11)),
        SubscriptionItem::Event(recorded(12).as_part(3, false).as_altered()),
        SubscriptionItem::CaughtUp { position: None },
        SubscriptionItem::CaughtUp { position: Some(Position::new(12)) },
        SubscriptionItem::FellBehind { position: Some(Position::ZERO) },
        SubscriptionItem::Checkpoint { position: Position::new(u64::MAX) },
    ]
}

#[test]
fn items_come_back_as_they_were() {
    let items = items();
    let mut builder = ItemsBuilder::default();
    items.iter().for_each(|item| builder.push(item));
    assert_eq!(builder.events(), 2);
    let (_, payload) = opened(&builder.take(), PacketKind::Items);
    assert!(builder.is_empty());
    assert_eq!(decode_items(&payload).unwrap(), items);
    for cut in 1..payload.len() {
        let kept = decode_items(&payload.slice(..cut)).map(|items| items.len());
        assert!(kept.is_err() || kept.is_ok_and(|kept| kept < items.len()));
    }
}

#[test]
fn requests_come_back_as_they_were() {
    let filter = Filter::any([
        FilterItem { types: vec!["A".into()], tags: vec!["a:b".into()], ..FilterItem::default() },
        FilterItem { stream_prefix: vec!["x".into()], ..FilterItem::default() },
    ]);
    for read in [
        Read::all(),
        Read::stream("a").backwards().limit(7).from_revision(Revision::new(3)),
        Read::all().filter(filter.clone()).system().from_time(Timestamp::from_micros(-1)),
        Read::all()
            .from_position(Position::new(9))
            .as_of(AsOf::Recorded(Timestamp::from_micros(8))),
        Read::stream("a").as_of(AsOf::Revision(Revision::ZERO)),
        Read::all().as_of(AsOf::Position(Position::MAX)),
    ] {
        let open = Open {
            namespace: "default".into(),
            deadline_ms: Some(5),
            traceparent: None,
            attempt: 3,
            operation: Operation::Read((&read).into()),
        };
        let (head, _) = opened(&encode_packet(PacketKind::Open, &open, &[]), PacketKind::Open);
        let back: Open = decode_head(&head).unwrap();
        let Operation::Read(head) = back.operation else { panic!("it was a read") };
        assert_eq!(Read::from(head), read);
    }
    let places = [Start::Beginning, Start::End, Start::At(Position::ZERO)];
    for start in places.into_iter().chain([Start::After(Position::new(4))]) {
        let subscribe =
            Subscribe { checkpoint_every: 3, ..Subscribe::all().filter(filter.clone()) };
        let subscribe = subscribe.start(start).system();
        let head = SubscribeHead::new(&subscribe, 10);
        assert_eq!(Subscribe::from(head), subscribe);
    }
}

fn corruption(kind: CorruptionKind) -> Box<Corruption> {
    Box::new(Corruption { file: "f".into(), offset_bytes: 8, kind })
}

fn corruptions() -> [Box<Corruption>; 8] {
    [
        CorruptionKind::Checksum("record".into()),
        CorruptionKind::Malformed("w".into()),
        CorruptionKind::Missing,
        CorruptionKind::Truncated,
        CorruptionKind::Foreign("w".into()),
        CorruptionKind::Chain,
        CorruptionKind::Acknowledged { segment: 1, durable_end: 2 },
        CorruptionKind::Unreadable("r".into()),
    ]
    .map(corruption)
}

/// What is invalid, of each kind.
fn invalid() -> Vec<Invalid> {
    let problems = [
        NameProblem::Empty,
        NameProblem::TooLong { bytes: 2, max: 1 },
        NameProblem::Control { at: 1 },
        NameProblem::EmptyCategory,
        NameProblem::NotKeyValue,
        NameProblem::NotNamespace,
    ];
    let name = |problem| {
        Invalid::Name(InvalidName { what: "stream name".into(), name: "n".into(), problem })
    };
    let others = [
        Invalid::StreamTwice("s".into()),
        Invalid::IdTwice(EventId::from_bytes([3; 16])),
        Invalid::EmptyQuery,
        Invalid::NothingToDo,
        Invalid::Request("r".into()),
    ];
    problems.map(name).into_iter().chain(others).collect()
}

fn conflict(clause: Clause) -> AppendError {
    AppendError::Conflict(Box::new(Conflict { clause, positions: vec![Position::new(5)] }))
}

/// Of each kind, the kinds within it too. New ones are put last: samples are of a place in this list.
pub(super) fn append_errors() -> Vec<AppendError> {
    let position = Position::new(5);
    let second = std::time::Duration::from_secs(1);
    let expected = ExpectedRevision::Exact(Revision::new(2));
    let found = StreamState::Deleted(Revision::new(1));
    let errors = [
        AppendError::TooLarge(TooLarge { what: "w".into(), size: 2, max: 1 }),
        AppendError::Unauthenticated { reason: "r".into() },
        AppendError::Denied { reason: "r".into(), denial: None },
        AppendError::NotFound { what: "namespace".into() },
        AppendError::Deleted { stream: "s".into() },
        conflict(Clause::Stream { stream: "s".into(), expected, found }),
        conflict(Clause::Boundary),
        conflict(Clause::Absent),
        conflict(Clause::Ids { stored: 1, given: 2 }),
        AppendError::IdReused { id: EventId::from_bytes([3; 16]), position },
        AppendError::BelowRetention { what: "w".into() },
        AppendError::RateLimited { retry_after: second },
        AppendError::Overloaded { waited_ms: 3, retry_after: second },
        AppendError::Unknown,
        AppendError::Poisoned { at: Some(position) },
        AppendError::Poisoned { at: None },
    ];
    let unavailable = [
        Unavailable::DiskFull,
        Unavailable::Closed,
        Unavailable::ReadOnly,
        Unavailable::ClockJump { jump_s: 4 },
        Unavailable::CannotGrow("r".into()),
        Unavailable::NotReachable("r".into()),
    ];
    let invalid = invalid().into_iter().map(AppendError::from);
    let unavailable = unavailable.map(AppendError::Unavailable);
    invalid
        .chain(errors)
        .chain(unavailable)
        .chain(corruptions().map(AppendError::Corruption))
        .collect()
}

/// Of each kind. New ones are put last.
pub(super) fn read_errors() -> Vec<ReadError> {
    let position = Position::new(5);
    let [corruption, ..] = corruptions();
    vec![
        Invalid::EmptyQuery.into(),
        ReadError::Unauthenticated { reason: "r".into() },
        ReadError::Denied { reason: "r".into(), denial: None },
        ReadError::NotFound { what: "w".into() },
        ReadError::Deleted { stream: "s".into() },
        ReadError::LineageChanged { given: Lineage::new(1), current: Lineage::new(2) },
        ReadError::RateLimited { retry_after: std::time::Duration::from_secs(1) },
        ReadError::Corruption { position, resume_at: Some(position), corruption },
        ReadError::Poisoned { at: None },
        ReadError::Unavailable { reason: "r".into() },
        ReadError::Closed,
    ]
}

#[test]
fn errors_come_back_as_they_were() {
    for error in append_errors() {
        assert_eq!(AppendError::from(AppendFailure::from(&error)), error);
    }
    for error in read_errors() {
        assert_eq!(ReadError::from(ReadFailure::from(&error)), error);
    }
    // Added since the lists were fixed.
    let name = check_group_name("$a").unwrap_err();
    let error = AppendError::from(name);
    assert_eq!(AppendError::from(AppendFailure::from(&error)), error);
}

#[test]
fn a_block_among_items_is_its_events() {
    let (packed, plain) = (block_of(8, 30, b"what repeats"), block_of(40, 1, b""));
    assert!(packed.bytes().len() < packed.raw_bytes());
    let mut builder = ItemsBuilder::default();
    builder.event(&recorded(7));
    builder.block(&packed);
    builder.push(&SubscriptionItem::Checkpoint { position: Position::new(39) });
    builder.block(&plain);
    assert_eq!(builder.events(), 32);
    assert!(builder.bytes() >= packed.raw_bytes() + plain.raw_bytes(), "as they are unpacked");
    let (_, payload) = opened(&builder.take(), PacketKind::Items);
    assert!(builder.is_empty() && builder.bytes() == 0);
    let items = decode_items(&payload).unwrap();
    let positions = |item: &SubscriptionItem| match item {
        SubscriptionItem::Event(event) => event.position().get(),
        SubscriptionItem::Checkpoint { position } => 1000 + position.get(),
        other => panic!("{other:?}"),
    };
    let positions: Vec<_> = items.iter().map(positions).collect();
    let want: Vec<_> = (7..38).chain([1039, 40]).collect();
    assert_eq!(positions, want);
    let from_block = items.iter().filter_map(|item| match item {
        SubscriptionItem::Event(event) => Some(event.clone()),
        _ => None,
    });
    let want: Result<Vec<_>, _> = packed.events().unwrap().collect();
    assert_eq!(from_block.skip(1).take(30).collect::<Vec<_>>(), want.unwrap());
}

#[test]
fn a_block_that_was_damaged_on_the_way_is_refused() {
    let mut builder = ItemsBuilder::default();
    builder.block(&block_of(8, 30, b"what repeats"));
    let (_, payload) = opened(&builder.take(), PacketKind::Items);
    assert_eq!(decode_items(&payload).unwrap().len(), 30);
    for at in 0..payload.len() {
        for bit in [0, 3, 7] {
            let mut changed = payload.to_vec();
            changed[at] ^= 1 << bit;
            assert!(decode_items(&changed.into()).is_err(), "bit {bit} of byte {at}");
        }
        assert!(at == 0 || decode_items(&payload.slice(..at)).is_err());
    }
}

#[test]
fn blocks_that_come_to_more_than_a_packet_may_have_are_refused() {
    let data = [b'x'; 60_000];
    let block = block_of(8, 1, &data);
    let most = PACKET_PAYLOAD_BYTES_MAX / block.raw_bytes();
    let mut builder = ItemsBuilder::default();
    (0..most).for_each(|_| builder.block(&block));
    let (_, payload) = opened(&builder.take(), PacketKind::Items);
    assert!(payload.len() < PACKET_PAYLOAD_BYTES_MAX / 50, "it is small on the wire");
    assert_eq!(decode_items(&payload).unwrap().len(), most);
    (0..=most).for_each(|_| builder.block(&block));
    let (_, payload) = opened(&builder.take(), PacketKind::Items);
    let refused = decode_items(&payload).unwrap_err().to_string();
    assert!(refused.contains("more bytes than a packet may have"), "{refused}");
}

#[test]
fn versions_meet_or_do_not() {
    assert_eq!(agree(1, 1), Some(1));
    assert_eq!(agree(1, 9), Some(PROTOCOL), "an older side is met where it is");
    assert_eq!(agree(PROTOCOL + 1, PROTOCOL + 2), None);
    assert_eq!(agree(0, 0), None);
}

#[test]
fn a_token_is_never_printed() {
    let hello = Hello { oldest: 1, newest: 1, client: "c".into(), token: Some("secret".into()) };
    assert!(!format!("{hello:?}").contains("secret"));
}

#[test]
fn lengths_are_bounded_before_memory_is_taken() {
    let mut header = [0; PACKET_HEADER_BYTES];
    header.copy_from_slice(&encode_packet(PacketKind::Credit, &7_u32, &[])[..PACKET_HEADER_BYTES]);
    assert!(PacketHeader::decode(&header).is_ok());
    header[7] = 0xff;
    assert!(matches!(PacketHeader::decode(&header), Err(WireError::TooLarge { .. })));
    header[2] = 99;
    assert_eq!(PacketHeader::decode(&header), Err(WireError::UnknownKind(99)));
    assert_eq!(PacketHeader::decode(b"GET / HTTP/1.1\r\n"), Err(WireError::NotAPacket));
}

proptest! {
    #[test]
    fn bytes_from_an_enemy_are_answered_with_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let _ = decode_items(&bytes.clone().into());
        let _ = decode_append(&bytes, &bytes.clone().into());
        let _ = decode_head::<Open>(&bytes);
        let _ = decode_head::<Failure>(&bytes);
        let (head, payload) = opened(&encode_append(&append()).unwrap(), PacketKind::Append);
        let mut head = head.to_vec();
        for (at, value) in flips {
            let at = at % head.len();
            head[at] = value;
        }
        let _ = decode_append(&head, &payload);
    }
}
