//! Inputs to begin with: what a small log in memory really wrote, so that mutation starts behind
//! the checksums and not before them; and what a client and a server say to each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexus_protocol::wire::{self, PacketKind};
use nexus_protocol::{
    Append, CausationId, CorrelationId, EventData, Read, RecordedEvent, SchemaId, StreamChange,
    SubscriptionItem, TraceContext,
};

use crate::engine::Engine;
use crate::frame::{FrameHeader, HEADER_BYTES};
use crate::io::{ALIGNMENT, MemoryDisk, read_file};
use crate::manifest::Manifest;

const NAMESPACE: &str = "/data/namespaces/default";
/// No seed is larger.
const SEED_BYTES_MAX: usize = 4000;
/// Appends of the log: enough to fill three segments of the smallest size.
const APPENDS: u64 = 45;

/// One input.
pub(super) struct Seed {
    /// The target it is for.
    pub(super) target: &'static str,
    /// Its name.
    pub(super) name: String,
    /// The input.
    pub(super) bytes: Vec<u8>,
}

/// Inputs of every target whose bytes stand on a disk.
pub(super) fn seeds() -> Vec<Seed> {
    let disk = MemoryDisk::new();
    let mut seeds = Vec::new();
    fill(&disk, false);
    let manifest = file(&disk, "manifest");
    let frames = frames(&file(&disk, "segments/0000000001.seg"));
    for (number, frame) in frames.iter().step_by(3).enumerate() {
        push(&mut seeds, "frame", format!("frame-{number}"), frame);
        for (record, bytes) in records(frame).into_iter().enumerate() {
            push(&mut seeds, "record", format!("record-{number}-{record}"), &bytes);
        }
    }
    push(&mut seeds, "manifest", "sealed".to_owned(), &manifest);
    let state = file(&disk, "node-state");
    push(
        &mut seeds,
        "node_state",
        "closed".to_owned(),
        &[&state[..144], &state[4096..4240]].concat(),
    );
    let header = file(&disk, "segments/0000000001.seg");
    push(&mut seeds, "segment_header", "frames".to_owned(), &header[..72]);
    push(&mut seeds, "index_file", "first".to_owned(), &file(&disk, "index/0000000001.idx"));
    push(&mut seeds, "index_file", "second".to_owned(), &file(&disk, "index/0000000002.idx"));
    packets(&mut seeds, &frames);
    fill(&disk, true);
    let bytes = file(&disk, "manifest");
    push(&mut seeds, "manifest", "rewritten".to_owned(), &bytes);
    let manifest = Manifest::decode(&bytes).expect("it was just written");
    for entry in manifest.segments.iter().filter(|entry| entry.generation == 1) {
        let sealed = entry.sealed.expect("only sealed segments are rewritten");
        let bytes = file(&disk, &format!("segments/{}", entry.file_name()));
        let (header, mut blocks) = (&bytes[..72], bytes[ALIGNMENT..].to_vec());
        blocks.extend_from_slice(&sealed.last_entry.term.to_le_bytes());
        blocks.extend_from_slice(&sealed.last_entry.index.to_le_bytes());
        blocks.extend_from_slice(&sealed.last_recorded_at.as_micros().to_le_bytes());
        push(&mut seeds, "segment_header", format!("blocks-{}", entry.number), header);
        push(&mut seeds, "blocks", format!("segment-{}", entry.number), &blocks);
    }
    block(&mut seeds, &disk);
    seeds
}

fn push(seeds: &mut Vec<Seed>, target: &'static str, name: String, bytes: &[u8]) {
    assert!(bytes.len() <= SEED_BYTES_MAX, "{target}/{name} has {} bytes", bytes.len());
    seeds.push(Seed { target, name, bytes: bytes.to_vec() });
}

fn file(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    let path = Path::new(NAMESPACE).join(PathBuf::from(name));
    read_file(disk, &path, 1 << 30).expect("the log wrote it")
}

/// Opens the log, and fills it where it is empty; otherwise maintenance has its time.
fn fill(disk: &MemoryDisk, compress: bool) {
    let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
    let options = options.segment_bytes(65_536, 65_536).compress(compress).frames_kept_bytes(0);
    let engine = options.open("/data").expect("a disk in memory takes all");
    let empty = engine.read(Read::all()).into_iter().next().is_none();
    for n in 0..if empty { APPENDS } else { 0 } {
        engine.append(append(n)).wait().expect("a disk in memory takes all");
        if n % 7 == 3 {
            let change = StreamChange { max_count: Some(Some(n)), ..StreamChange::default() };
            engine.set_stream("order-1", change).expect("a disk in memory takes all");
        }
        engine.maintain().expect("a disk in memory takes all");
    }
    (0..8).for_each(|_| engine.maintain().expect("a disk in memory takes all"));
    engine.close().expect("a disk in memory takes all");
}

fn append(n: u64) -> Append {
    let event =
        EventData::json("Placed", &n).expect("a number is JSON").tag(format!("n:{}", n % 2));
    let event = match n % 3 {
        0 => event.metadata(&b"{}"[..]),
        1 => event.occurred_at(nexus_protocol::Timestamp::from_micros(1)).tag("gr\u{f6}\u{df}e:1"),
        _ => event,
    };
    let event = if n == 12 { with_every_field(event) } else { event };
    let append = Append::to(format!("order-{}", n % 2)).event(event);
    match n % 4 {
        0 => append.event(EventData::new("Paid", "", vec![0xff; 9].into())),
        1 => append.idempotency_key(format!("key-{n}")),
        _ => append,
    }
}

fn with_every_field(event: EventData) -> EventData {
    EventData {
        not_before: Some(nexus_protocol::Timestamp::from_micros(1)),
        correlation_id: Some(CorrelationId::from_bytes([1; 16])),
        causation_id: Some(CausationId::from_bytes([2; 16])),
        trace: Some(TraceContext { trace_id: [3; 16], span_id: [4; 8], flags: 1 }),
        schema: SchemaId::new(9),
        ..event
    }
}

/// The frames of a segment, without padding.
pub(super) fn frames(segment: &[u8]) -> Vec<Vec<u8>> {
    let (mut found, mut at) = (Vec::new(), ALIGNMENT);
    while let Ok(header) = FrameHeader::decode(&segment[at.min(segment.len())..]) {
        found.push(segment[at..at + header.local.stored_length as usize].to_vec());
        at += usize::try_from(header.padded_bytes()).expect("a segment is small");
    }
    found
}

/// The records of a frame.
fn records(frame: &[u8]) -> Vec<Vec<u8>> {
    let header = FrameHeader::decode(frame).expect("the log wrote it");
    let body = bytes::Bytes::copy_from_slice(&frame[HEADER_BYTES..]);
    let mut records = Vec::new();
    crate::frame::digest(&header, &body, |record| records.push(record.as_bytes().to_vec()))
        .expect("the log wrote it");
    records
}

/// What travels on streams of both directions.
fn packets(seeds: &mut Vec<Seed>, frames: &[Vec<u8>]) {
    let hello = wire::Hello { oldest: 1, newest: 1, client: "c".to_owned(), token: None };
    let hello = wire::encode_packet(PacketKind::Hello, &hello, &[]);
    push(seeds, "packet", "hello".to_owned(), &hello);
    let read = Read::stream("order-1").limit(3).backwards();
    for (name, operation) in [
        ("read", wire::Operation::Read((&read).into())),
        ("event", wire::Operation::Event { id: [1; 16] }),
    ] {
        let namespace = "default".to_owned();
        let open = wire::Open {
            namespace,
            deadline_ms: Some(5),
            traceparent: None,
            attempt: 1,
            operation,
        };
        let open = wire::encode_packet(PacketKind::Open, &open, &[]);
        push(seeds, "packet", name.to_owned(), &open);
    }
    let event = EventData::json("Placed", &7).expect("a number is JSON").tag("order:1");
    let append = Append::to("order-1").no_stream().event(event);
    let append = wire::encode_append(&append).expect("it is small");
    push(seeds, "packet", "append".to_owned(), &append);
    let mut items = wire::ItemsBuilder::default();
    for record in frames.iter().flat_map(|frame| records(frame)).take(2) {
        items.event(&RecordedEvent::decode(record.into()).expect("it was just written"));
    }
    items.push(&SubscriptionItem::CaughtUp { position: None });
    push(seeds, "packet", "items".to_owned(), &items.take());
}

/// A block as a server sends it: in its packet, and as the items that are the payload.
fn block(seeds: &mut Vec<Seed>, disk: &MemoryDisk) {
    let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
    let engine = options.open("/data").expect("it was just closed");
    let mut events = engine.read(Read::all()).into_iter();
    let block = loop {
        if let Some(block) = events.next_block() {
            break block;
        }
        // The limits of a stream hide something of the first segment.
        assert!(events.next().is_some(), "a later segment hides nothing, and was rewritten");
    };
    let mut items = wire::ItemsBuilder::default();
    items.block(&block);
    items.push(&SubscriptionItem::CaughtUp { position: None });
    let packet = items.take();
    push(seeds, "packet", "block".to_owned(), &packet);
    let mut decoder = wire::PacketDecoder::default();
    decoder.push(&packet);
    let packet = decoder.next_packet().ok().flatten().expect("it was just made");
    push(seeds, "items", "block".to_owned(), &packet.payload);
}
