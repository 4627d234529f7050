//! Blocks over QUIC: a catch-up through rewritten segments is sent as it lies on disk, and whoever reads
//! sees no difference.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use nexus_client::Client;
use nexus_engine::Engine;
use nexus_engine::io::MemoryDisk;
use nexus_node::config::Certificate;
use nexus_protocol::wire::{
    ALPN, EndHead, ItemsBuilder, Operation, PROTOCOL, PacketDecoder, PacketKind, SubscribeHead,
    Welcome, decode_items, encode_packet,
};
use nexus_protocol::{
    Append, AppendError, Appended, AsOf, EventData, EventId, EventStore, ExpectedRevision,
    FoldIdentity, Head, Position, Read, ReadError, RecordedEvent, Revision, Snapshot, SnapshotAt,
    SnapshotInfo, Start, StreamChange, StreamInfo, Subscribe, SubscriptionItem,
};
use nexus_testing::executor::{block_on, next};
use nexus_testing::suites::event_store;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};

use crate::enemies::{greeted_with, open};
use crate::stores::Running;
use crate::telemetry::{metric, metric_of_at_least};

const BLOCKS: &str = "nexus_read_blocks_total";
/// An item that is a block.
const BLOCK: u8 = 5;

/// An engine that rewrites every segment that is sealed.
fn engine(segment_bytes: u64) -> Engine {
    let options = Engine::options().disk(Arc::new(MemoryDisk::new())).compress(true);
    options.segment_bytes(segment_bytes, segment_bytes).frames_kept_bytes(0).open("/data").unwrap()
}

/// Leaves no sealed segment as it was committed.
fn rewrite(engine: &Engine) {
    (0..=engine.stats().segments).for_each(|_| engine.maintain().unwrap());
}

/// Five segments with events of about 250 bytes.
fn filled() -> Engine {
    let engine = engine(256 * 1024);
    let mut number = 0;
    while engine.stats().segments < 6 {
        let stream = if number % 5 == 0 { "rare-1" } else { "often-1" };
        let events = (0..31).map(|part| {
            let data =
                format!("{{\"n\":{number},\"part\":{part},\"t\":\"{}\"}}", "placed ".repeat(18));
            EventData::new("Placed", "application/json", data.into())
        });
        engine.append(Append::to(stream).events(events)).wait().unwrap();
        engine.maintain().unwrap();
        number += 1;
    }
    rewrite(&engine);
    engine
}

fn by_engine(engine: &Engine, read: Read) -> Vec<RecordedEvent> {
    engine.read(read).into_iter().map(Result::unwrap).collect()
}

fn by_client(client: &Client, read: Read) -> Vec<RecordedEvent> {
    block_on(async {
        let mut events = client.read(read);
        let mut found = Vec::new();
        while let Some(event) = next(&mut events).await {
            found.push(event.unwrap());
        }
        found
    })
}

/// What a subscription gives until it has caught up.
fn caught_up(client: &Client, subscribe: Subscribe) -> Vec<RecordedEvent> {
    block_on(async {
        let mut subscription = client.subscribe(subscribe);
        let mut found = Vec::new();
        loop {
            match next(&mut subscription).await.unwrap().unwrap() {
                SubscriptionItem::Event(event) => found.push(event),
                SubscriptionItem::CaughtUp { .. } => return found,
                SubscriptionItem::Checkpoint { .. } => {}
                SubscriptionItem::FellBehind { .. } => panic!("it has not caught up yet"),
            }
        }
    })
}

#[test]
fn reads_and_catch_ups_are_sent_in_blocks_and_give_the_same_events() {
    let engine = filled();
    let running = Running::over(engine.clone());
    let client = running.client();
    let (all, head) = (by_engine(&engine, Read::all()), engine.head().position.unwrap());
    assert_eq!(by_client(&client, Read::all()), all);
    let sent = metric(&running, BLOCKS);
    assert!(sent >= 10.0, "{sent} blocks for {} events", all.len());
    let count = all.len() as f64;
    assert_eq!(metric_of_at_least(&running, "nexus_read_events_total", count), count);
    assert_eq!(caught_up(&client, Subscribe::all()), all);
    assert!(metric(&running, BLOCKS) > sent + 5.0, "a subscription takes them too");
    // Something is hidden, in one of the streams, and then in both.
    let truncate_before = Some(Revision::new(300));
    let change = StreamChange { truncate_before, ..StreamChange::default() };
    for step in 0..3 {
        match step {
            0 => {}
            1 => drop(engine.set_stream("often-1", change).unwrap()),
            _ => drop(engine.delete_stream("rare-1", ExpectedRevision::Any).unwrap()),
        }
        for at in (0..=head.get()).step_by(97) {
            let at = Position::new(at);
            for limit in [1, 150, 700, u64::MAX] {
                let read = Read::all().from_position(at).limit(limit);
                let want = by_engine(&engine, read.clone());
                assert_eq!(by_client(&client, read), want, "from {at}, {limit}, step {step}");
            }
            let read = Read::all().as_of(AsOf::Position(at));
            assert_eq!(by_client(&client, read.clone()), by_engine(&engine, read));
        }
        for at in (0..=head.get()).step_by(311).map(Position::new) {
            let want = by_engine(&engine, Read::all().from_position(at));
            assert_eq!(caught_up(&client, Subscribe::all().start(Start::At(at))), want);
        }
    }
    println!("count: blocks_over_quic {}", metric(&running, BLOCKS));
}

/// A stream of a bare connection.
struct Bare {
    send: SendStream,
    recv: RecvStream,
    decoder: PacketDecoder,
}

/// What one packet of items has: how many blocks, and what comes out of it.
struct Opened {
    blocks: usize,
    items: Vec<SubscriptionItem>,
}

impl Bare {
    async fn ask(connection: &Connection, operation: Operation) -> Self {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&open(operation)).await.unwrap();
        Self { send, recv, decoder: PacketDecoder::default() }
    }

    /// The next packet, if it has items.
    async fn items(&mut self) -> Option<Opened> {
        let packet = loop {
            if let Some(packet) = self.decoder.next_packet().unwrap() {
                break packet;
            }
            let chunk = self.recv.read_chunk(64 * 1024, true).await.unwrap().unwrap();
            self.decoder.push(&chunk.bytes);
        };
        if packet.kind != PacketKind::Items {
            return None;
        }
        let (mut at, mut blocks) = (0, 0);
        while let Some(head) = packet.payload.get(at..at + 8) {
            blocks += usize::from(head[4] == BLOCK);
            at += 8 + u32::from_le_bytes(*head.first_chunk().unwrap()) as usize;
        }
        Some(Opened { blocks, items: decode_items(&packet.payload).unwrap() })
    }
}

#[test]
fn a_client_that_knows_no_blocks_gets_events() {
    let engine = filled();
    let running = Running::over(engine.clone());
    let want = by_engine(&engine, Read::all());
    running.runtime.block_on(async {
        let mut sent = 0;
        for version in 1..=PROTOCOL {
            let (_endpoint, connection) = greeted_with(&running, version).await;
            let operation = Operation::Read((&Read::all()).into());
            let mut stream = Bare::ask(&connection, operation).await;
            let (mut blocks, mut events) = (0, Vec::new());
            while let Some(opened) = stream.items().await {
                blocks += opened.blocks;
                events.extend(opened.items.into_iter().filter_map(SubscriptionItem::event));
            }
            assert_eq!(events, want);
            let head = SubscribeHead::new(&Subscribe::all(), u32::MAX);
            let mut stream = Bare::ask(&connection, Operation::Subscribe(head)).await;
            let mut events = Vec::new();
            while events.len() < want.len() {
                let opened = stream.items().await.unwrap();
                blocks += opened.blocks;
                events.extend(opened.items.into_iter().filter_map(SubscriptionItem::event));
            }
            assert_eq!(events, want);
            assert_eq!(blocks > 0, version > 1, "version {version} had {blocks} blocks");
            sent += blocks;
            assert_eq!(metric(&running, BLOCKS), sent as f64);
        }
    });
}

#[test]
fn a_block_is_sent_only_where_there_is_credit_for_all_of_it() {
    let engine = filled();
    let running = Running::over(engine.clone());
    let want = by_engine(&engine, Read::all());
    running.runtime.block_on(async {
        for (credit, has_blocks) in [(7_u32, false), (500, true)] {
            let (_endpoint, connection) = greeted_with(&running, PROTOCOL).await;
            let head = SubscribeHead::new(&Subscribe::all(), credit);
            let mut stream = Bare::ask(&connection, Operation::Subscribe(head)).await;
            let (mut blocks, mut events) = (0, Vec::new());
            let mut granted = credit as usize;
            while events.len() < 1000 {
                let opened = stream.items().await.unwrap();
                blocks += opened.blocks;
                events.extend(opened.items.into_iter().filter_map(SubscriptionItem::event));
                assert!(events.len() <= granted, "{} of {granted}", events.len());
                if events.len() == granted {
                    let more = encode_packet(PacketKind::Credit, &credit, &[]);
                    stream.send.write_all(&more).await.unwrap();
                    granted += credit as usize;
                }
            }
            assert_eq!(events, want[..events.len()]);
            assert_eq!(blocks > 0, has_blocks, "{blocks} blocks with credit for {credit}");
        }
    });
}

/// A server that answers every read with this packet of items, and nothing else.
async fn answer_reads(endpoint: Endpoint, items: Bytes) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(answer_reads_of(incoming.await.unwrap(), items.clone()));
    }
}

async fn answer_reads_of(connection: Connection, items: Bytes) {
    let mut welcome = Some(Welcome { version: PROTOCOL, server: "a test".to_owned() });
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let _ = recv.read_to_end(64 * 1024).await;
        let packets = match welcome.take() {
            Some(welcome) => vec![encode_packet(PacketKind::Welcome, &welcome, &[])],
            None => {
                let end = encode_packet(PacketKind::End, &EndHead::default(), &[]);
                vec![items.clone(), end]
            }
        };
        for packet in packets {
            let _ = send.write_chunk(packet).await;
        }
        let _ = send.finish();
    }
}

#[test]
fn a_block_that_was_damaged_on_the_way_is_refused_by_the_client() {
    let engine = filled();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let block = engine.read(Read::all()).into_iter().next_block().unwrap();
    let mut builder = ItemsBuilder::default();
    builder.block(&block);
    let whole = builder.take();
    let mut damaged = whole.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for (items, refused) in [(whole, false), (damaged.into(), true)] {
        let certificate = Certificate::temporary().unwrap();
        let fingerprint = certificate.fingerprint();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificate.chain, certificate.key)
            .unwrap();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = Arc::new(QuicServerConfig::try_from(tls).unwrap());
        let config = quinn::ServerConfig::with_crypto(crypto);
        let endpoint = {
            let _entered = runtime.enter();
            Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap()
        };
        let address = endpoint.local_addr().unwrap();
        runtime.spawn(answer_reads(endpoint, items));
        let url = format!("nexus://{address}?fingerprint={fingerprint}");
        let client = runtime.block_on(nexus_client::connect(&url)).unwrap();
        let mut events = client.read(Read::all());
        match block_on(next(&mut events)).unwrap() {
            Ok(event) => {
                assert!(!refused, "nothing of it is used");
                assert_eq!(event.position().get(), block.entry().first);
            }
            Err(ReadError::Unavailable { reason }) => {
                assert!(refused && reason.contains("block checksum does not hold"), "{reason}");
                assert!(block_on(next(&mut events)).is_none());
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// A store over QUIC whose segments are all rewritten before anybody reads.
#[derive(Clone)]
struct Rewritten {
    client: Client,
    engine: Engine,
}

impl EventStore for Rewritten {
    type ReadStream = nexus_client::Events;
    type Subscription = nexus_client::Subscription;

    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        EventStore::append(&self.client, append)
    }

    fn read(&self, read: Read) -> Self::ReadStream {
        rewrite(&self.engine);
        self.client.read(read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Self::Subscription {
        rewrite(&self.engine);
        self.client.subscribe(subscribe)
    }

    async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.client.event_by_id(id).await
    }

    async fn head(&self) -> Result<Head, ReadError> {
        self.client.head().await
    }

    async fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        self.client.stream_info(stream).await
    }

    async fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        self.client.set_stream(stream, change).await
    }

    async fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.client.delete_stream(stream, expected).await
    }

    async fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.client.tombstone_stream(stream, expected).await
    }

    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        self.client.save_snapshot(snapshot).await
    }

    async fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        self.client.load_snapshot(stream, at, fold).await
    }

    async fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        self.client.list_snapshots(stream).await
    }
}

#[test]
fn a_store_over_quic_conforms_where_segments_are_rewritten() {
    let servers = RefCell::new(Vec::new());
    let cases = event_store::run_all(|| {
        let engine = engine(64 * 1024);
        let running = Running::over(engine.clone());
        let client = running.client();
        servers.borrow_mut().push(running);
        Rewritten { client, engine }
    });
    assert_eq!(cases, event_store::CASES.len());
    let blocks: f64 = servers.borrow().iter().map(|running| metric(running, BLOCKS)).sum();
    assert!(blocks > 0.0, "blocks were sent");
    println!("count: conformance_blocks_quic {blocks}");
}
