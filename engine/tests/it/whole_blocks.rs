//! Whole blocks in place of events: the same events, in the same order, within every bound, and never one
//! that is hidden.

use std::sync::Arc;

use bytes::Bytes;
use nexus_engine::io::{Disk, MemoryDisk};
use nexus_engine::{Engine, EventsIter};
use nexus_protocol::{
    Append, AsOf, Block, EventData, ExpectedRevision, Filter, Position, Read, ReadError, Revision,
    Start, StreamChange, Subscribe, SubscriptionItem,
};
use proptest::prelude::*;

const SEGMENT_BYTES: u64 = 256 * 1024;

/// A store whose sealed segments are all rewritten.
struct Store {
    disk: MemoryDisk,
    engine: Engine,
    number: u64,
}

impl Store {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        Self { engine: open(&disk), disk, number: 0 }
    }

    /// Appends events of about 250 bytes that compress.
    fn append(&mut self, stream: &str, events: u64) {
        let start = self.number;
        self.number += events;
        let event = |n: u64| {
            let data = format!("{{\"number\":{n},\"text\":\"{}\"}}", "order placed ".repeat(9));
            EventData::new("Placed", "application/json", data.into())
        };
        let append = Append::to(stream).events((start..self.number).map(event));
        self.engine.append(append).wait().unwrap();
        self.engine.maintain().unwrap();
    }

    fn rewrite(&self) {
        (0..self.engine.stats().segments).for_each(|_| self.engine.maintain().unwrap());
        let stats = self.engine.stats();
        assert_eq!(stats.compressed_segments + 1, stats.segments, "only the last is written");
    }

    fn head(&self) -> u64 {
        self.engine.head().position.unwrap().get()
    }
}

fn open(disk: &MemoryDisk) -> Engine {
    let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
    let options = options.segment_bytes(SEGMENT_BYTES, SEGMENT_BYTES);
    options.compress(true).frames_kept_bytes(0).open("/data").unwrap()
}

fn bytes_of(event: nexus_protocol::RecordedEvent) -> Bytes {
    event.as_bytes().clone()
}

fn by_events(engine: &Engine, read: Read) -> Result<Vec<Bytes>, ReadError> {
    engine.read(read).into_iter().map(|event| event.map(bytes_of)).collect()
}

fn unpacked(block: &Block) -> Vec<Bytes> {
    let events: Vec<_> = block.events().unwrap().map(|event| bytes_of(event.unwrap())).collect();
    assert_eq!(events.len() as u32, block.count());
    events
}

/// The same read, by blocks where there are some; and how many there were.
fn by_blocks(engine: &Engine, read: Read) -> Result<(Vec<Bytes>, usize), ReadError> {
    drain(engine.read(read).into_iter())
}

fn drain(mut events: EventsIter) -> Result<(Vec<Bytes>, usize), ReadError> {
    let (mut found, mut blocks) = (Vec::new(), 0);
    loop {
        if let Some(block) = events.next_block() {
            found.extend(unpacked(&block));
            blocks += 1;
        } else if let Some(event) = events.next() {
            found.push(bytes_of(event?));
        } else {
            return Ok((found, blocks));
        }
    }
}

/// The events of a subscription up to the head, with this much credit at a time.
fn subscribed(engine: &Engine, subscribe: Subscribe, credit: u64) -> (Vec<Bytes>, usize) {
    let every = match subscribe.checkpoint_every {
        0 => 1024,
        every => every,
    };
    let mut subscription = engine.subscribe(subscribe);
    let (mut found, mut blocks, mut left) = (Vec::new(), 0, credit);
    let mut marked: Option<u64> = None;
    let mut passed = |position: u64, marker: bool| {
        let from = *marked.get_or_insert(position);
        assert!(position - from <= 2 * every, "a checkpoint comes in time");
        if marker {
            marked = Some(position);
        }
    };
    loop {
        if left == 0 {
            left = credit;
        }
        if let Some(block) = subscription.next_block(left) {
            left = left.checked_sub(block.count().into()).expect("within the credit");
            passed(block.last().get(), false);
            found.extend(unpacked(&block));
            blocks += 1;
            continue;
        }
        match subscription.try_next().unwrap().unwrap() {
            SubscriptionItem::Event(event) => {
                left -= 1;
                passed(event.position().get(), false);
                found.push(bytes_of(event));
            }
            SubscriptionItem::Checkpoint { position } => passed(position.get(), true),
            SubscriptionItem::CaughtUp { .. } => return (found, blocks),
            SubscriptionItem::FellBehind { .. } => panic!("it has not caught up yet"),
        }
    }
}

/// Four segments, in which every fifth append is to another stream.
fn store() -> Store {
    let mut store = Store::new();
    while store.engine.stats().segments < 5 {
        let stream = if store.number % 5 == 4 { "rare-1".to_owned() } else { "often-1".to_owned() };
        store.append(&stream, 21);
    }
    store.rewrite();
    store
}

#[test]
fn a_read_of_everything_is_mostly_blocks_and_others_have_none() {
    let store = store();
    let engine = &store.engine;
    let want = by_events(engine, Read::all()).unwrap();
    let (found, blocks) = by_blocks(engine, Read::all()).unwrap();
    assert_eq!(found, want);
    assert!(blocks >= 10, "{blocks} blocks for {} events", want.len());
    for read in [
        Read::all().backwards(),
        Read::all().system(),
        Read::all().filter(Filter::category("often")),
        Read::stream("often-1"),
        Read::all().limit(10),
    ] {
        let (found, blocks) = by_blocks(engine, read.clone()).unwrap();
        assert_eq!(found, by_events(engine, read.clone()).unwrap(), "{read:?}");
        assert_eq!(blocks, 0, "{read:?}");
    }
    for subscribe in [
        Subscribe::all().system(),
        Subscribe::all().filter(Filter::category("often")),
        Subscribe::stream("often-1"),
    ] {
        assert_eq!(subscribed(engine, subscribe, 1000).1, 0);
    }
    let explained = |blocks: bool| {
        let mut events = engine.read(Read::all()).into_iter();
        while (blocks && events.next_block().is_some()) || events.next().is_some() {}
        events.explain()
    };
    assert_eq!(explained(true), explained(false), "what was looked at is the same");
}

#[test]
fn a_stream_that_hides_events_takes_blocks_away_only_where_they_stand() {
    let mut store = store();
    let all = by_blocks(&store.engine, Read::all()).unwrap().1;
    let engine = &store.engine;
    // What is hidden stands in the first quarter.
    let often = engine.stream_info("often-1").unwrap().state;
    let nexus_protocol::StreamState::At(head) = often else { panic!("{often:?}") };
    let truncate_before = Some(Revision::new(head.get() / 4));
    let change = StreamChange { truncate_before, ..StreamChange::default() };
    engine.set_stream("often-1", change).unwrap();
    let (found, some) = by_blocks(engine, Read::all()).unwrap();
    assert_eq!(found, by_events(engine, Read::all()).unwrap());
    assert!(some < all && some > all / 2, "{some} of {all}");
    engine.delete_stream("often-1", ExpectedRevision::Any).unwrap();
    let (found, none) = by_blocks(engine, Read::all()).unwrap();
    assert_eq!(found, by_events(engine, Read::all()).unwrap());
    assert_eq!(none, 0, "every block has an event of it");
    store.append("often-1", 2);
    let revived = by_blocks(&store.engine, Read::all()).unwrap().0;
    assert_eq!(revived, by_events(&store.engine, Read::all()).unwrap());
}

#[test]
fn many_streams_that_hide_something_are_read_by_events() {
    let mut store = Store::new();
    while store.engine.stats().segments < 3 {
        let number = store.number;
        (0..70).for_each(|stream| store.append(&format!("many-{stream}"), 4));
        assert!(store.number > number);
    }
    store.rewrite();
    assert!(by_blocks(&store.engine, Read::all()).unwrap().1 > 0);
    for stream in 0..70 {
        let change = StreamChange { max_count: Some(Some(1)), ..StreamChange::default() };
        store.engine.set_stream(&format!("many-{stream}"), change).unwrap();
    }
    let (found, blocks) = by_blocks(&store.engine, Read::all()).unwrap();
    assert_eq!((found.len(), blocks), (70, 0));
    assert_eq!(found, by_events(&store.engine, Read::all()).unwrap());
}

#[test]
fn damage_is_told_as_it_is_to_who_reads_events() {
    let store = store();
    store.engine.close().unwrap();
    let folder = std::path::Path::new("/data/namespaces/default/segments");
    let name = store.disk.list(folder).unwrap().into_iter().map(|entry| entry.name);
    let name = name.filter(|name| name.ends_with(".g1.seg")).min().unwrap();
    let path = folder.join(name);
    let change = |at: u64| {
        let disk = &store.disk;
        let file = disk
            .open(&path, nexus_engine::io::OpenMode::ReadWrite, nexus_engine::io::FileKind::Plain)
            .unwrap();
        let mut byte = [0];
        nexus_engine::io::read_exact_at(&*file, &mut byte, at).unwrap();
        nexus_engine::io::write_all_at(&*file, &[byte[0] ^ 0x40], at).unwrap();
    };
    // In the first block, and in one behind it.
    let length = store.disk.metadata(&path).unwrap().unwrap().len_bytes;
    for at in [4200, length / 2] {
        change(at);
        let engine = open(&store.disk);
        let mut from = Position::new(0);
        let mut damages = 0;
        loop {
            let read = Read::all().from_position(from);
            let events = by_events(&engine, read.clone());
            match (events, by_blocks(&engine, read)) {
                (Ok(events), Ok((found, _))) => {
                    assert_eq!(events, found);
                    break;
                }
                (Err(ReadError::Corruption { resume_at, .. }), Err(told)) => {
                    assert!(
                        matches!(told, ReadError::Corruption { resume_at: at, .. } if at == resume_at),
                        "{told:?}"
                    );
                    damages += 1;
                    from = resume_at.expect("what follows is whole");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(damages > 0, "the damage at {at} is seen");
        change(at);
    }
}

/// What happens to a store besides appends.
#[derive(Clone, Copy, Debug)]
enum Change {
    Append(u64),
    Truncate,
    MaxCount(u64),
    Delete,
    Tombstone,
}

fn changes() -> impl Strategy<Value = Vec<(u8, Change)>> {
    let change = prop_oneof![
        30 => (1_u64..60).prop_map(Change::Append),
        1 => Just(Change::Truncate),
        1 => (1_u64..200).prop_map(Change::MaxCount),
        1 => Just(Change::Delete),
        1 => Just(Change::Tombstone),
    ];
    proptest::collection::vec((0_u8..6, change), 60..120)
}

fn apply(store: &mut Store, stream: &str, change: Change) {
    let state = store.engine.stream_info(stream).unwrap().state;
    let head = match state {
        nexus_protocol::StreamState::At(head) => Some(head),
        nexus_protocol::StreamState::Tombstoned => return,
        _ => None,
    };
    match (change, head) {
        (Change::Append(events), _) => store.append(stream, events),
        (Change::Truncate, Some(head)) => {
            let truncate_before = Some(Revision::new(head.get() / 2));
            let change = StreamChange { truncate_before, ..StreamChange::default() };
            store.engine.set_stream(stream, change).unwrap();
        }
        (Change::MaxCount(count), Some(_)) => {
            let change = StreamChange { max_count: Some(Some(count)), ..StreamChange::default() };
            store.engine.set_stream(stream, change).unwrap();
        }
        (Change::Delete, Some(_)) => {
            store.engine.delete_stream(stream, ExpectedRevision::Any).unwrap();
        }
        (Change::Tombstone, Some(_)) => {
            store.engine.tombstone_stream(stream, ExpectedRevision::Any).unwrap();
        }
        (_, None) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn blocks_hold_what_events_would_have_been(
        changes in changes(),
        places in proptest::collection::vec(
            (any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), 0_u64..900),
            12,
        ),
    ) {
        let mut store = Store::new();
        let mut last = Vec::new();
        for (stream, change) in changes {
            // Most of what hides something comes late, when there is something to hide.
            match change {
                Change::Append(_) => apply(&mut store, &format!("s-{stream}"), change),
                other => last.push((stream, other)),
            }
        }
        for (stream, change) in last {
            apply(&mut store, &format!("s-{stream}"), change);
        }
        store.append("end-1", 1);
        store.rewrite();
        let engine = &store.engine;
        let positions = usize::try_from(store.head()).unwrap() + 1;
        let position = |index: proptest::sample::Index| Position::new(index.index(positions) as u64);
        for (from, to, limit) in places {
            let (from, to) = (position(from), position(to));
            for read in [
                Read::all(),
                Read::all().limit(limit),
                Read::all().from_position(from),
                Read::all().from_position(from).limit(limit),
                Read::all().as_of(AsOf::Position(to)),
                Read::all().from_position(from).as_of(AsOf::Position(to)).limit(limit),
            ] {
                let want = by_events(engine, read.clone()).unwrap();
                prop_assert_eq!(&by_blocks(engine, read.clone()).unwrap().0, &want, "{:?}", read);
            }
            let want = by_events(engine, Read::all().from_position(from)).unwrap();
            let subscribe = Subscribe { checkpoint_every: limit, ..Subscribe::all() };
            let subscribe = subscribe.start(Start::At(from));
            prop_assert_eq!(&subscribed(engine, subscribe, limit + 1).0, &want);
        }
    }
}
