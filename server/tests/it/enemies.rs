//! Whoever does not keep to the protocol gets a clear answer, holds nothing, and harms nobody else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nexus_protocol::wire::{
    ALPN, AppendAnswer, Failure, Hello, Open, Operation, PROTOCOL, PacketDecoder, PacketKind,
    Welcome, encode_packet,
};
use nexus_protocol::{
    Append, AppendError, Appended, EventData, EventStore, ReadError, Start, Subscribe,
    SubscriptionItem,
};
use nexus_testing::executor::next;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream};

use crate::stores::{Running, resident_bytes};

/// A bare connection that offers this protocol.
async fn bare(
    running: &Running,
    alpn: &[u8],
) -> Result<(Endpoint, Connection), quinn::ConnectionError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(running.certificate()).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let connection = endpoint.connect_with(config, running.address(), "localhost").unwrap().await?;
    Ok((endpoint, connection))
}

/// Sends bytes on a new stream, and gives the first packet that comes back.
pub(crate) async fn say(
    connection: &Connection,
    bytes: &[u8],
) -> Option<nexus_protocol::wire::Packet> {
    let (mut send, recv) = connection.open_bi().await.ok()?;
    send.write_all(bytes).await.ok()?;
    let _ = send.finish();
    first_packet(recv).await
}

/// Sends bytes on a new stream that goes on, and gives the first packet that comes back.
pub(crate) async fn begin(
    connection: &Connection,
    bytes: &[u8],
) -> Option<nexus_protocol::wire::Packet> {
    let (mut send, recv) = connection.open_bi().await.ok()?;
    send.write_all(bytes).await.ok()?;
    let packet = first_packet(recv).await;
    drop(send);
    packet
}

async fn first_packet(mut recv: RecvStream) -> Option<nexus_protocol::wire::Packet> {
    let mut decoder = PacketDecoder::default();
    loop {
        if let Some(packet) = decoder.next_packet().unwrap() {
            return Some(packet);
        }
        let chunk = recv.read_chunk(64 * 1024, true).await.ok()??;
        decoder.push(&chunk.bytes);
    }
}

fn hello(oldest: u16, newest: u16) -> Bytes {
    hello_of(oldest, newest, None)
}

fn hello_of(oldest: u16, newest: u16, token: Option<String>) -> Bytes {
    let hello = Hello { oldest, newest, client: "enemy".to_owned(), token };
    encode_packet(PacketKind::Hello, &hello, &[])
}

/// A connection of a client that speaks the first version of the messages.
pub(crate) async fn greeted(running: &Running) -> (Endpoint, Connection) {
    greeted_with(running, 1).await
}

/// A connection of a client that speaks the versions up to this one.
pub(crate) async fn greeted_with(running: &Running, newest: u16) -> (Endpoint, Connection) {
    let (endpoint, connection) = bare(running, ALPN).await.unwrap();
    let packet = say(&connection, &hello(1, newest)).await.unwrap();
    assert_eq!(packet.message::<Welcome>().unwrap().version, newest);
    (endpoint, connection)
}

/// A connection of a client that shows this token.
pub(crate) async fn greeted_showing(running: &Running, token: &str) -> (Endpoint, Connection) {
    let (endpoint, connection) = bare(running, ALPN).await.unwrap();
    let hello = hello_of(1, 1, Some(token.to_owned()));
    assert_eq!(say(&connection, &hello).await.unwrap().kind, PacketKind::Welcome);
    (endpoint, connection)
}

pub(crate) fn open(operation: Operation) -> Bytes {
    open_with(operation, &[])
}

/// The same, with a payload.
fn open_with(operation: Operation, payload: &[u8]) -> Bytes {
    let namespace = "default".to_owned();
    let open = Open { namespace, deadline_ms: None, traceparent: None, attempt: 1, operation };
    encode_packet(PacketKind::Open, &open, payload)
}

pub(crate) fn reason(packet: &nexus_protocol::wire::Packet) -> String {
    assert_eq!(packet.kind, PacketKind::Failure);
    match packet.message::<Failure>().unwrap() {
        Failure::Read(failure) => ReadError::from(failure).to_string(),
        Failure::Append(failure) => AppendError::from(failure).to_string(),
        Failure::Version { oldest, newest } => format!("versions {oldest} to {newest}"),
    }
}

#[test]
fn another_protocol_is_refused_while_tls_begins() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let error = bare(&running, b"h3").await.unwrap_err();
        assert!(
            error.to_string().contains("no application protocol")
                || error.to_string().contains("120"),
            "{error}"
        );
    });
}

#[test]
fn versions_that_do_not_meet_are_named() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let (_endpoint, connection) = bare(&running, ALPN).await.unwrap();
        let packet = say(&connection, &hello(7, 9)).await.unwrap();
        assert_eq!(reason(&packet), format!("versions 1 to {PROTOCOL}"));
        let (_endpoint, connection) = bare(&running, ALPN).await.unwrap();
        let packet = say(&connection, &hello(1, 9)).await.unwrap();
        let welcome = packet.message::<Welcome>().unwrap();
        assert_eq!(welcome.version, PROTOCOL, "a newer client is met");
    });
}

#[test]
fn who_does_not_greet_is_not_served() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        for bytes in [
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            open(Operation::Head).to_vec(),
            vec![0; 64],
            // A length that no memory is taken for.
            b"NX\x01\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0".to_vec(),
        ] {
            let (_endpoint, connection) = bare(&running, ALPN).await.unwrap();
            assert_eq!(say(&connection, &bytes).await, None);
            connection.closed().await;
        }
        // One that says nothing is closed as well, and one that is half-open in its greeting.
        let (_endpoint, silent) = bare(&running, ALPN).await.unwrap();
        let (_other, half) = bare(&running, ALPN).await.unwrap();
        let (mut send, _recv) = half.open_bi().await.unwrap();
        send.write_all(&hello(1, 1)[..10]).await.unwrap();
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, silent.closed()).await.expect("the server gives it up");
        tokio::time::timeout(limit, half.closed()).await.expect("the server gives it up");
    });
}

#[test]
fn bytes_that_are_no_request_are_answered_with_why() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        let (_endpoint, connection) = greeted(&running).await;
        for (bytes, why) in [
            (vec![1; 16], "not a packet"),
            (hello(1, 1).to_vec(), "kind Hello came"),
            (open(Operation::Head)[..20].to_vec(), "ended within a packet"),
            (b"NX\x63\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(), "unknown kind 99"),
            (b"NX\x03\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0".to_vec(), "at most"),
            (b"NX\x03\0\x08\0\0\0\0\0\0\0\0\0\0\0abcdefgh".to_vec(), "malformed"),
            (open_with(Operation::Head, b"more").to_vec(), "only a snapshot to keep"),
            (open_with(Operation::Append, b"more").to_vec(), "only a snapshot to keep"),
        ] {
            let packet = say(&connection, &bytes).await.unwrap();
            assert!(reason(&packet).contains(why), "{}", reason(&packet));
        }
        // A session answers what it understood before what it does not.
        let mut session = open(Operation::Append).to_vec();
        session.extend_from_slice(b"NX\x04\0\x08\0\0\0\0\0\0\0\0\0\0\0abcdefgh");
        let packet = say(&connection, &session).await.unwrap();
        assert_eq!(packet.kind, PacketKind::Appended);
        // The same connection, and others, are served as before.
        let packet = say(&connection, &open(Operation::Head)).await.unwrap();
        assert_eq!(packet.kind, PacketKind::Answer);
        let append = Append::to("a").event(EventData::json("A", &1).unwrap());
        client.append(append).await.unwrap();
        assert_eq!(client.head().await.unwrap().position.map(|p| p.get()), Some(0));
    });
}

#[test]
fn what_goes_on_for_long_keeps_no_memory_of_its_request() {
    // Each request counts as a KiB at least, and there is memory for as many as there are sessions.
    const SESSIONS: usize = 1024;
    let running = Running::with(nexus_node::Engine::in_memory(), |options| {
        let mut options = options.dev(true);
        options.request_bytes_max = SESSIONS * 1024;
        options
    });
    let client = running.client();
    running.runtime.block_on(async {
        let (_endpoint, connection) = greeted(&running).await;
        let head = nexus_protocol::wire::SubscribeHead::new(&Subscribe::all(), 0);
        let mut idle = Vec::new();
        for number in 0..SESSIONS {
            let operation = match number % 2 {
                0 => Operation::Append,
                _ => Operation::Subscribe(head.clone()),
            };
            let (mut send, recv) = connection.open_bi().await.unwrap();
            send.write_all(&open(operation)).await.unwrap();
            idle.push((send, recv));
        }
        let append = Append::to("a").event(EventData::json("A", &1).unwrap());
        client.append(append).await.unwrap();
        drop(idle);
    });
}

#[test]
fn streams_on_which_nothing_comes_do_not_hold_up_the_end_of_the_server() {
    let running = Running::in_memory();
    let connected = running.runtime.block_on(async {
        let (endpoint, connection) = greeted(&running).await;
        // That the last is served opens all before it.
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(connection.open_bi().await.unwrap());
        }
        let packet = say(&connection, &open(Operation::Head)).await.unwrap();
        assert_eq!(packet.kind, PacketKind::Answer);
        (endpoint, connection, silent)
    });
    // With an hour for what is under way: nothing is.
    running.end_within(Duration::from_secs(3600));
    drop(connected);
}

#[test]
fn an_append_of_which_nothing_more_comes_is_given_up_and_may_come_again() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let (_endpoint, connection) = greeted(&running).await;
        let mut half = open(Operation::Append).to_vec();
        half.extend_from_slice(b"NX\x04\0\x08\0\0\0\0\0\0\0\0\0\0\0ab");
        let packet = begin(&connection, &half).await.unwrap();
        let answers: Vec<AppendAnswer> = packet.message().unwrap();
        let [answer] = answers.try_into().unwrap();
        let answer = Result::<Appended, AppendError>::try_from(answer).unwrap();
        let error = answer.unwrap_err();
        assert!(matches!(error, AppendError::Unavailable(_)), "{error}");
    });
}

#[test]
fn a_subscriber_that_never_reads_holds_up_nobody() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        let (_endpoint, connection) = greeted(&running).await;
        let subscribe = Subscribe::all();
        let head = nexus_protocol::wire::SubscribeHead::new(&subscribe, u32::MAX);
        let mut idle = Vec::new();
        for _ in 0..50 {
            let (mut send, recv) = connection.open_bi().await.unwrap();
            send.write_all(&open(Operation::Subscribe(head.clone()))).await.unwrap();
            idle.push((send, recv));
        }
        let data = Bytes::from(vec![1_u8; 100_000]);
        for _ in 0..100 {
            let append = Append::to("a").event(EventData::new(
                "Filled",
                "application/octet-stream",
                data.clone(),
            ));
            client.append(append).await.unwrap();
        }
        let mut subscription = client.subscribe(subscribe);
        let mut seen = 0;
        while seen < 100 {
            let item = next(&mut subscription).await.unwrap().unwrap();
            seen += usize::from(item.event().is_some());
        }
        drop(idle);
    });
}

/// Ten thousand subscriptions that wait cost memory within bounds, hold up nobody, and all get what comes.
#[test]
fn ten_thousand_idle_subscriptions_cost_little_and_hold_up_nobody() {
    const CLIENTS: usize = 10;
    const EACH: usize = 1_000;
    let running = Running::in_memory();
    let writer = running.client();
    let clients: Vec<_> = (0..CLIENTS).map(|_| running.client()).collect();
    running.runtime.block_on(async {
        let append = || Append::to("a").event(EventData::json("Counted", &1).unwrap());
        writer.append(append()).await.unwrap();
        let before = resident_bytes();
        let mut idle = Vec::new();
        for client in &clients {
            for _ in 0..EACH {
                idle.push(client.subscribe(Subscribe::all().start(Start::End)));
            }
        }
        for subscription in &mut idle {
            let item = next(subscription).await.unwrap().unwrap();
            assert!(matches!(item, SubscriptionItem::CaughtUp { .. }), "{item:?}");
        }
        let each = resident_bytes().saturating_sub(before) / idle.len();
        assert!(each < 128 * 1024, "{each} bytes for each subscription and its client");
        // Others are served meanwhile.
        for _ in 0..20 {
            assert_eq!(writer.head().await.unwrap().position.map(|p| p.get()), Some(0));
        }
        writer.append(append()).await.unwrap();
        for subscription in &mut idle {
            let item = next(subscription).await.unwrap().unwrap();
            assert_eq!(item.event().unwrap().position().get(), 1);
        }
        println!("count: quic_idle_subscriptions {}", idle.len());
        println!("count: quic_idle_bytes_each {each}");
    });
}
