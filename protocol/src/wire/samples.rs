//! Packets of each version as they were when it was released: what is sent today has the same bytes, and
//! those of then are read.
//!
//! Messages are archives, whose layout follows from their types, so that a field that is added, or a
//! variant between others, changes what travels without a word. It is noticed here. A change that is
//! meant is another version of the protocol, with samples of its own, and those of the old one stay: each
//! later version still reads them. There is one of each message, and of each kind within it. Is not: a
//! test of what messages mean.

use bytes::Bytes;

use super::tests::{append, append_errors, arrived, items, opened, read_errors};
use super::*;
use crate::block::tests::plain_block_of;
use crate::{
    AppendError, Appended, AsOf, Direction, ExpectedRevision, Filter, FilterItem, FoldIdentity,
    Head, Lineage, LogId, Position, Read, Revision, SnapshotAt, Start, Stats, StreamAppended,
    StreamChange, StreamInfo, StreamLimits, StreamName, StreamState, Subscribe, Timestamp,
};

/// Lines of a name, a blank, and the packet's bytes in hex.
const VERSION_1: &str = include_str!("samples/v1.txt");
/// The same of what version 2 has besides: items that are blocks.
const VERSION_2: &str = include_str!("samples/v2.txt");

/// Compares messages with their samples, and counts them.
pub(super) struct Samples {
    /// What they are compared with.
    samples: &'static str,
    checked: usize,
    /// What differs, as it would be written into the file.
    differ: Vec<String>,
}

impl Samples {
    pub(super) fn of(samples: &'static str) -> Self {
        Self { samples, checked: 0, differ: Vec::new() }
    }

    /// Says what differs, and what was not compared.
    pub(super) fn all_are_the_same(&self, version: u16) {
        let differ = self.differ.join("\n");
        assert!(
            differ.is_empty(),
            "the layout of protocol version {version} has changed:\n{differ}"
        );
        assert_eq!(self.checked, self.samples.lines().count(), "each sample is compared");
    }

    pub(super) fn packet(&mut self, name: &str, packet: &Bytes) -> Bytes {
        self.checked += 1;
        let stored = sample(self.samples, name);
        if stored != packet {
            let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
            self.differ.push(format!("{name} {hex}"));
        }
        stored
    }

    pub(super) fn message<M>(&mut self, name: &str, kind: PacketKind, message: &M)
    where
        M: Message + Encode + PartialEq + std::fmt::Debug,
    {
        let stored = self.packet(name, &encode_packet(kind, message, &[]));
        if !stored.is_empty() {
            let (head, _) = opened(&stored, kind);
            assert_eq!(decode_head::<M>(&head).as_ref(), Ok(message), "{name}");
        }
    }

    pub(super) fn open(&mut self, variant: &str, operation: Operation) {
        let name = format!("open_{}{variant}", name_of_operation(&operation));
        let open = Open {
            namespace: "orders".into(),
            deadline_ms: Some(30_000),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            attempt: 2,
            operation,
        };
        self.message(&name, PacketKind::Open, &open);
    }

    pub(super) fn answer(&mut self, variant: &str, answer: &Answer) {
        let name = format!("answer_{}{variant}", name_of_answer(answer));
        self.message(&name, PacketKind::Answer, answer);
    }
}

/// The sample of this name; empty: there is none.
fn sample(samples: &str, name: &str) -> Bytes {
    let hex = samples.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.unwrap_or_default().as_bytes().chunks(2).map(byte).collect()
}

/// An operation that is added does not compile without its sample's name.
fn name_of_operation(operation: &Operation) -> &'static str {
    match operation {
        Operation::Append => "append",
        Operation::Read(_) => "read",
        Operation::Subscribe(_) => "subscribe",
        Operation::Event { .. } => "event",
        Operation::Head => "head",
        Operation::Stream { .. } => "stream",
        Operation::Streams { .. } => "streams",
        Operation::SetStream { .. } => "set_stream",
        Operation::DeleteStream { .. } => "delete_stream",
        Operation::SaveSnapshot(_) => "save_snapshot",
        Operation::LoadSnapshot { .. } => "load_snapshot",
        Operation::Snapshots { .. } => "snapshots",
        Operation::Stats => "stats",
        Operation::Namespaces => "namespaces",
        Operation::CreateNamespace => "create_namespace",
        Operation::Tokens => "tokens",
        Operation::CreateToken { .. } => "create_token",
        Operation::RevokeToken { .. } => "revoke_token",
        Operation::DeleteNamespace => "delete_namespace",
        Operation::Group { ask, .. } => name_of_ask(ask),
        Operation::Route { ask, .. } => match **ask {
            RouteAsk::Set(_) => "route_set",
            RouteAsk::Names => "route_names",
            RouteAsk::Info => "route_info",
            RouteAsk::Delete => "route_delete",
            RouteAsk::DryRun { .. } => "route_dry_run",
        },
        Operation::Consume { .. } => "consume",
        Operation::Timers { .. } => "timers",
        Operation::EventsAt { .. } => "events_at",
        Operation::ReadAs { .. } => "read_as",
        Operation::SubscribeAs { .. } => "subscribe_as",
        Operation::ConsumeAs { .. } => "consume_as",
        Operation::Schema { ask, .. } => match **ask {
            SchemaAsk::Register(_) => "schema_register",
            SchemaAsk::Check(_) => "schema_check",
            SchemaAsk::Subjects { .. } => "schema_subjects",
            SchemaAsk::Subject => "schema_subject",
            SchemaAsk::Version(_) => "schema_version",
            SchemaAsk::ById(_) => "schema_by_id",
            SchemaAsk::SetState { .. } => "schema_set_state",
            SchemaAsk::SetSettings { .. } => "schema_set_settings",
            SchemaAsk::Settings { .. } => "schema_settings",
        },
        Operation::Policy { ask } => match **ask {
            PolicyAsk::Show => "policy_show",
            PolicyAsk::Activate { .. } => "policy_activate",
            PolicyAsk::Rollback { .. } => "policy_rollback",
        },
        Operation::Projection { ask, .. } => match **ask {
            ProjectionAsk::Set { .. } => "projection_set",
            ProjectionAsk::Names => "projection_names",
            ProjectionAsk::Info => "projection_info",
            ProjectionAsk::Change(_) => "projection_change",
            ProjectionAsk::Lookup(_) => "projection_lookup",
            ProjectionAsk::Parked { .. } => "projection_parked",
            ProjectionAsk::Replay(_) => "projection_replay",
            ProjectionAsk::Skip(_) => "projection_skip",
            ProjectionAsk::Edit { .. } => "projection_edit",
            ProjectionAsk::Search { .. } => "projection_search",
        },
    }
}

/// Nor an answer.
fn name_of_answer(answer: &Answer) -> &'static str {
    match answer {
        Answer::Done => "done",
        Answer::Head { .. } => "head",
        Answer::Stream(_) => "stream",
        Answer::Streams(_) => "streams",
        Answer::Appended(_) => "appended",
        Answer::Snapshot(_) => "snapshot",
        Answer::Snapshots(_) => "snapshots",
        Answer::Stats(_) => "stats",
        Answer::Namespaces(_) => "namespaces",
        Answer::Tokens(_) => "tokens",
        Answer::Token(_) => "token",
        Answer::GroupSet { .. } => "group_set",
        Answer::Groups(_) => "groups",
        Answer::Group(_) => "group",
        Answer::GroupLanes(_) => "group_lanes",
        Answer::Position(_) => "position",
        Answer::Parked(_) => "parked",
        Answer::RouteSet { .. } => "route_set",
        Answer::Routes(_) => "routes",
        Answer::Route(_) => "route",
        Answer::DryRun(_) => "dry_run",
        Answer::Count(_) => "count",
        Answer::Timers { .. } => "timers",
        Answer::GroupLag(_) => "group_lag",
        Answer::Schema { .. } => "schema",
        Answer::Subjects(_) => "subjects",
        Answer::Subject(_) => "subject",
        Answer::SchemaCheck(_) => "schema_check",
        Answer::Policies(_) => "policies",
        Answer::PoliciesChanged { .. } => "policies_changed",
        Answer::ProjectionSet { .. } => "projection_set",
        Answer::Projections(_) => "projections",
        Answer::Projection(_) => "projection",
        Answer::Found => "found",
        Answer::Document(_) => "document",
    }
}

/// Nor what is asked of a group.
fn name_of_ask(ask: &GroupAsk) -> &'static str {
    match ask {
        GroupAsk::Set(_) => "group_set",
        GroupAsk::Names => "group_names",
        GroupAsk::Info => "group_info",
        GroupAsk::Lanes => "group_lanes",
        GroupAsk::Delete => "group_delete",
        GroupAsk::Pause { .. } => "group_pause",
        GroupAsk::Resume => "group_resume",
        GroupAsk::Seek(_) => "group_seek",
        GroupAsk::Parked(_) => "group_parked",
        GroupAsk::Replay { .. } => "group_replay",
        GroupAsk::Skip(_) => "group_skip",
        GroupAsk::Leave { .. } => "group_leave",
        GroupAsk::Edit { .. } => "group_edit",
        GroupAsk::LanesAndLag => "group_lanes_and_lag",
        GroupAsk::ParkedOfKey { .. } => "group_parked_of_key",
    }
}

fn greetings(samples: &mut Samples) {
    let token = Some("nx_token".to_owned());
    let hello = Hello { oldest: 1, newest: 1, client: "nexus-client 0.2.0".into(), token };
    samples.message("hello", PacketKind::Hello, &hello);
    let hello = Hello { token: None, ..hello };
    samples.message("hello_without_token", PacketKind::Hello, &hello);
    let welcome = Welcome { version: 1, server: "nexus 0.2.0".into() };
    samples.message("welcome", PacketKind::Welcome, &welcome);
    let version = Failure::Version { oldest: 2, newest: 3 };
    samples.message("failure_version", PacketKind::Failure, &version);
}

pub(super) fn filter() -> Filter {
    let item = FilterItem {
        streams: vec!["order-1".into()],
        stream_prefix: vec!["order-".into()],
        categories: vec!["order".into()],
        types: vec!["OrderPlaced".into()],
        tags: vec!["a:b".into()],
    };
    Filter::any([item, FilterItem::default()])
}

fn reads(samples: &mut Samples) {
    let time = Timestamp::from_micros(1_800_000_000_000_000);
    let mut backwards = Read::stream("order-1").limit(7).from_revision(Revision::new(3));
    backwards.direction = Direction::Backwards;
    for (variant, read) in [
        ("", Read::all()),
        ("_of_stream", backwards.filter(filter()).as_of(AsOf::Revision(Revision::new(9)))),
        ("_from_position", Read::all().from_position(Position::new(9)).system()),
        ("_from_time", Read::all().from_time(time).as_of(AsOf::Recorded(time))),
        ("_as_of_position", Read::all().as_of(AsOf::Position(Position::new(9)))),
    ] {
        samples.open(variant, Operation::Read((&read).into()));
    }
    let of_stream = Subscribe { stream: Some("order-1".into()), ..Subscribe::all() };
    let all = Subscribe { checkpoint_every: 3, ..Subscribe::all().filter(filter()).system() };
    for (variant, subscribe) in [
        ("", all.clone()),
        ("_after", of_stream.start(Start::After(Position::new(9)))),
        ("_at", all.clone().start(Start::At(Position::new(9)))),
        ("_end", all.start(Start::End)),
    ] {
        samples.open(variant, Operation::Subscribe(SubscribeHead::new(&subscribe, 4096)));
    }
}

fn requests(samples: &mut Samples) {
    samples.open("", Operation::Append);
    reads(samples);
    samples.open("", Operation::Event { id: [7; 16] });
    samples.open("", Operation::Head);
    samples.open("", Operation::Stream { stream: "order-1".into() });
    let streams = Operation::Streams {
        prefix: "order-".into(),
        category: Some("order".into()),
        after: Some("order-1".into()),
        limit: 100,
        deleted: true,
        system: false,
    };
    samples.open("", streams);
    let change = StreamChange {
        max_count: Some(Some(5)),
        max_age_s: Some(None),
        truncate_before: Some(Revision::new(2)),
    };
    samples.open("", Operation::set_stream("order-1", change));
    for (variant, expected) in [
        ("", ExpectedRevision::Any),
        ("_that_is_missing", ExpectedRevision::NoStream),
        ("_that_exists", ExpectedRevision::Exists),
        ("_at", ExpectedRevision::Exact(Revision::new(4))),
    ] {
        let (stream, expected) = ("order-1".into(), expected.into());
        samples.open(variant, Operation::DeleteStream { stream, expected, tombstone: true });
    }
    samples.open("", Operation::SaveSnapshot(snapshot()));
    let fold = FoldIdentity { fold_version: 2, upcaster_hash: 3 };
    for (variant, at) in [
        ("", SnapshotAt::Latest),
        ("_at_revision", SnapshotAt::Revision(Revision::new(4))),
        ("_at_position", SnapshotAt::Position(Position::new(9))),
    ] {
        samples.open(variant, Operation::load_snapshot("order-1", at, fold));
    }
    samples.open("", Operation::Snapshots { stream: "order-1".into() });
    for operation in [
        Operation::Stats,
        Operation::Namespaces,
        Operation::CreateNamespace,
        Operation::Tokens,
        Operation::DeleteNamespace,
    ] {
        samples.open("", operation);
    }
    let (name, role) = ("ci".into(), "writer".into());
    samples.open("", Operation::CreateToken { name, role, ttl_ms: Some(60_000) });
    samples.open("", Operation::RevokeToken { id: "0a1b".into() });
    samples.message("credit", PacketKind::Credit, &1024_u32);
}

fn snapshot() -> SnapshotHead {
    SnapshotHead {
        stream: "order-1".into(),
        revision: 4,
        position: 9,
        fold_version: 2,
        upcaster_hash: 3,
        content_type: "application/json".into(),
    }
}

fn stream(state: StreamState) -> StreamHead {
    let limits = StreamLimits {
        max_count: Some(5),
        max_age_s: Some(60),
        truncate_before: Some(Revision::new(2)),
    };
    let info = StreamInfo {
        stream: StreamName::new("order-1").unwrap(),
        state,
        floor: Revision::new(2),
        last_position: Some(Position::new(9)),
        limits,
        meta_revision: Some(Revision::new(1)),
    };
    (&info).into()
}

fn stats() -> StatsHead {
    let stats = Stats {
        events: 1,
        streams: 2,
        system_events: 3,
        system_streams: 4,
        head_position: Some(Position::new(9)),
        segments: 5,
        bytes: 6,
        compressed_segments: 7,
        fenced_segments: 8,
        log_id: LogId::from_bytes([7; 16]),
        lineage: Lineage::new(1),
        backend: "memory".into(),
    };
    (&stats).into()
}

pub(super) fn appended() -> Appended {
    let stream = StreamAppended {
        stream: StreamName::new("order-1").unwrap(),
        first_revision: Revision::new(4),
        last_revision: Revision::new(5),
    };
    let positions = Some((Position::new(7), Position::new(8)));
    Appended { positions, streams: vec![stream], replayed: true }
}

fn answers(samples: &mut Samples) {
    samples.answer("", &Answer::Done);
    let head = Head { position: Some(Position::new(9)), lineage: Lineage::new(1) };
    samples.answer("", &Answer::head(head));
    let states = [
        ("_missing", StreamState::Missing),
        ("", StreamState::At(Revision::new(4))),
        ("_deleted", StreamState::Deleted(Revision::new(4))),
        ("_tombstoned", StreamState::Tombstoned),
    ];
    for (variant, state) in states {
        samples.answer(variant, &Answer::Stream(stream(state)));
    }
    samples.answer("", &Answer::Streams(states.map(|(_, state)| stream(state)).to_vec()));
    samples.answer("", &Answer::Appended((&appended()).into()));
    samples.answer("", &Answer::Snapshot(Some(snapshot())));
    samples.answer("_missing", &Answer::Snapshot(None));
    samples.answer("", &Answer::Snapshots(vec![snapshot(), snapshot()]));
    samples.answer("", &Answer::Stats(stats()));
    samples.answer("", &Answer::Namespaces(vec!["default".into(), "orders".into()]));
    let token = TokenHead {
        id: "0a1b".into(),
        name: "ci".into(),
        role: "writer".into(),
        expires_at: Some(1_800_000_000_000_000),
    };
    samples.answer("", &Answer::Tokens(vec![token.clone()]));
    samples.answer("", &Answer::Token(token));
    let answers = [Ok(appended()), Err(AppendError::Unknown)];
    let answers: Vec<_> = answers.iter().map(AppendAnswer::from).collect();
    samples.message("appended", PacketKind::Appended, &answers);
    let end = EndHead { index: "stream".into(), segments_read: 2, postings_read: 3 };
    samples.message("end", PacketKind::End, &end);
}

fn failures(samples: &mut Samples) {
    for (number, error) in append_errors().iter().enumerate() {
        let failure = Failure::Append(error.into());
        samples.message(&format!("failure_append_{number}"), PacketKind::Failure, &failure);
    }
    for (number, error) in read_errors().iter().enumerate() {
        let failure = Failure::Read(error.into());
        samples.message(&format!("failure_read_{number}"), PacketKind::Failure, &failure);
    }
}

/// What has events as its payload.
fn events(samples: &mut Samples) {
    let packet = samples.packet("append", &encode_append(&append()).unwrap());
    if !packet.is_empty() {
        let (head, payload) = opened(&packet, PacketKind::Append);
        assert_eq!(decode_append(&head, &payload), Ok(arrived()));
    }
    let mut builder = ItemsBuilder::default();
    items().iter().for_each(|item| builder.push(item));
    let packet = samples.packet("items", &builder.take());
    if !packet.is_empty() {
        let (_, payload) = opened(&packet, PacketKind::Items);
        assert_eq!(decode_items(&payload), Ok(items()));
    }
}

#[test]
fn version_1_is_what_it_was() {
    let mut samples = Samples::of(VERSION_1);
    greetings(&mut samples);
    requests(&mut samples);
    answers(&mut samples);
    failures(&mut samples);
    events(&mut samples);
    samples.all_are_the_same(1);
}

/// What is compressed is read; its bytes are those of the library that compressed it.
#[test]
fn version_2_has_blocks_as_it_had_them() {
    let plain = plain_block_of(8, 2, b"as it is");
    let mut builder = ItemsBuilder::default();
    builder.block(&plain);
    assert_eq!(builder.take(), sample(VERSION_2, "items_block_plain"));
    let packed = plain_block_of(20, 5, b"as it is packed");
    for (name, block) in [("items_block_plain", plain), ("items_block", packed)] {
        let (_, payload) = opened(&sample(VERSION_2, name), PacketKind::Items);
        let events = decode_items(&payload).unwrap().into_iter().map(|item| item.event().unwrap());
        let want: Vec<_> = block.events().unwrap().map(Result::unwrap).collect();
        assert_eq!(events.collect::<Vec<_>>(), want, "{name}");
    }
    assert_eq!(VERSION_2.lines().count(), 2, "each sample is compared");
}
