//! Data directories of released versions: every later version opens them, shows what they hold, and
//! goes on with them.
//!
//! A directory is kept in `golden/` by [`nexus_testing::golden`]; what of a node is in one is tested by the node's.
//! With `NEXUS_GOLDEN_WRITE=1` the test writes both for the version at hand, once, at its release.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use nexus_engine::io::Backend;
use nexus_engine::{Engine, Namespace, Options, verify};
use nexus_protocol::{
    Append, CausationId, CorrelationId, EventData, EventId, ExpectedRevision, Filter, FilterItem,
    FoldIdentity, Read, RecordedEvent, Revision, SchemaId, Snapshot, StreamChange, StreamName,
    Timestamp,
};
use nexus_testing::golden;
use uuid::Uuid;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn options() -> Options {
    let options = Engine::options().backend(Backend::PortableBuffered).threads(false);
    options.segment_bytes(65536, 65536).frames_kept_bytes(2 * 65536)
}

fn id(number: u64) -> EventId {
    EventId::from_uuid(Uuid::from_u64_pair(0x0192_0000_0000_7000 | number, 1 << 63 | number))
}

/// An event with every field that an event can have, for some numbers.
fn event(number: u64) -> EventData {
    let text = format!("{{\"number\":{number},\"note\":\"{}\"}}", "as it was ".repeat(20));
    let kind = ["OrderPlaced", "OrderPaid", "Bestellt\u{e4}"][number as usize % 3];
    let mut event = EventData::new(kind, "application/json", text.into()).id(id(number));
    if number.is_multiple_of(2) {
        event = event.tag(format!("customer:{}", number % 7)).tag("channel:web:app");
    }
    if number.is_multiple_of(3) {
        event = event.occurred_at(Timestamp::from_micros(-1_000_000 * number as i64));
        event.metadata = b"{\"by\":\"golden\"}".to_vec().into();
        event.schema = SchemaId::new(7);
    }
    // Not of the event that is appended anew in older directories, too.
    if number.is_multiple_of(11) {
        event.not_before = Some(Timestamp::from_micros(4_000_000_000_000_000 + number as i64));
    }
    if number.is_multiple_of(5) {
        event.correlation_id = Some(CorrelationId::from_uuid(id(number + 1_000_000).as_uuid()));
        event.causation_id = Some(CausationId::from_uuid(id(number + 2_000_000).as_uuid()));
    }
    event
}

/// Fills a directory with all that a log can hold.
fn fill(engine: &Engine) {
    for number in 0..400 {
        let mut append = Append::to(format!("order-{}", number % 9)).event(event(number));
        if number % 10 == 0 {
            append = append.stream("audit").event(event(10_000 + number));
        }
        if number % 50 == 0 {
            append = append.idempotency_key(format!("key-{number}"));
        }
        engine.append(append).wait().unwrap();
        if number % 100 == 99 {
            let snapshot = Snapshot {
                stream: StreamName::new("order-1").unwrap(),
                revision: Revision::new(number / 9 - 2),
                fold: FoldIdentity { fold_version: 2, upcaster_hash: 3 },
                content_type: "text/plain".to_owned(),
                state: format!("state after {number}").into_bytes().into(),
            };
            engine.save_snapshot(snapshot).unwrap();
        }
    }
    let change = StreamChange { max_count: Some(Some(5)), ..StreamChange::default() };
    engine.set_stream("order-2", change).unwrap();
    let change =
        StreamChange { truncate_before: Some(Revision::new(9)), ..StreamChange::default() };
    engine.set_stream("order-3", change).unwrap();
    engine.delete_stream("order-4", ExpectedRevision::Exists).unwrap();
    engine.append(Append::to("order-4").event(event(20_000))).wait().unwrap();
    engine.delete_stream("order-5", ExpectedRevision::Any).unwrap();
    engine.tombstone_stream("order-6", ExpectedRevision::Any).unwrap();
    let other = engine.create_namespace("other").unwrap();
    other.append(Append::to("b").no_stream().event(event(30_000))).wait().unwrap();
}

fn line_of(event: &RecordedEvent) -> String {
    let tags: Vec<&str> = event.tags().collect();
    let not_before = event.not_before().map(|at| format!(" not before {}", at.as_micros()));
    format!(
        "{} {} {} {} {} {} {tags:?} {} {:?} {:?} {:?} {:?} {:?} {} {}{}",
        event.position(),
        event.stream(),
        event.revision(),
        event.id(),
        event.event_type(),
        event.content_type(),
        event.recorded_at(),
        event.occurred_at().map(|at| at.as_micros()),
        event.correlation_id(),
        event.causation_id(),
        event.trace(),
        event.schema(),
        String::from_utf8_lossy(event.metadata()),
        String::from_utf8_lossy(event.data()),
        not_before.unwrap_or_default(),
    )
}

/// All that readers of a namespace can see.
fn describe(namespace: &Namespace, out: &mut String) {
    let mut add = |line: String| writeln!(out, "{line}").unwrap();
    add(format!("head {:?} chain {}", namespace.head(), namespace.seams().chain()));
    for event in namespace.read(Read::all().system()) {
        add(line_of(&event.unwrap()));
    }
    let names: std::collections::BTreeSet<String> = namespace
        .read(Read::all().system())
        .into_iter()
        .map(|event| event.unwrap().stream().to_owned())
        .chain(["order-5".to_owned(), "order-6".to_owned()])
        .collect();
    for name in names {
        add(format!("{name}: {:?}", namespace.stream_info(&name).unwrap()));
        let shown = namespace.read(Read::stream(&*name)).into_iter();
        let shown: Vec<_> = shown.map(|event| event.map(|e| e.revision().get())).collect();
        add(format!("{name} shows {shown:?}"));
    }
    add(format!("snapshots {:?}", namespace.list_snapshots("order-1").unwrap()));
    let filter =
        Filter::any([FilterItem { tags: vec!["customer:3".into()], ..Default::default() }]);
    let tagged = namespace.read(Read::all().filter(filter)).into_iter();
    add(format!("customer:3 {:?}", tagged.map(|e| e.unwrap().position()).collect::<Vec<_>>()));
}

fn contents(engine: &Engine) -> String {
    let mut out = String::new();
    for name in engine.namespaces() {
        writeln!(out, "namespace {name}").unwrap();
        describe(&engine.namespace(&name).unwrap(), &mut out);
    }
    out
}

/// Makes the directory of this version, with frames, blocks, an open segment, and index files.
fn write(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let engine = options().open(dir.path()).unwrap();
    fill(&engine);
    for _ in 0..10 {
        engine.maintain().unwrap();
    }
    let stats = engine.stats();
    assert!(stats.compressed_segments > 0 && stats.segments > stats.compressed_segments + 1);
    let text = contents(&engine);
    engine.close().unwrap();
    golden::keep(&folder(), name, dir.path(), &text);
}

#[test]
fn directories_of_released_versions_are_opened_and_gone_on_with() {
    if std::env::var_os("NEXUS_GOLDEN_WRITE").is_some() {
        write(concat!("v", env!("CARGO_PKG_VERSION")));
    }
    golden::each(&folder(), |name, dir, want| {
        let report = verify(dir, |_| ()).unwrap();
        assert!(report.errors.is_empty(), "{name}: {:?}", report.errors);
        let reader = options().read_only(true).open(dir).unwrap();
        assert_eq!(contents(&reader), want, "{name}");
        drop(reader);
        let engine = options().open(dir).unwrap();
        assert_eq!(contents(&engine), want, "{name}");
        // It goes on: a known event is known, and a new one follows.
        let known = engine.append(Append::to("order-8").event(event(8))).wait();
        assert!(known.is_ok(), "{known:?}");
        let end = engine.head();
        let new = Append::to("later").no_stream().event(event(40_000));
        let appended = engine.append(new).wait().unwrap();
        assert_eq!(appended.positions.unwrap().0.get(), end.position.unwrap().get() + 1);
        engine.maintain().unwrap();
        engine.close().unwrap();
        let engine = options().open(dir).unwrap();
        assert_eq!(engine.read(Read::stream("later")).into_iter().count(), 1);
    });
}
