//! A connection whose streams are all in use: whoever needs one is told so in time, and what to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nexus_node::config::Certificate;
use nexus_protocol::wire::{ALPN, PROTOCOL, PacketKind, Welcome, encode_packet};
use nexus_protocol::{
    Append, AppendError, EventData, EventStore, Read, Retry, Subscribe, Unavailable,
};
use nexus_testing::executor::next;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, RecvStream, SendStream, ServerConfig, TransportConfig};
use tokio::sync::mpsc;

/// So long nobody waits who is told in time.
const FOR_EVER: Duration = Duration::from_secs(30);

/// Greets, allows one stream at a time on each connection, and hands out those that are opened.
fn server_of_one_stream() -> (SocketAddr, mpsc::UnboundedReceiver<(SendStream, RecvStream)>) {
    let certificate = Certificate::temporary().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificate.chain, certificate.key)
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(1_u32.into());
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let (opened, streams) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(greet(incoming, opened.clone()));
        }
    });
    (address, streams)
}

async fn greet(incoming: Incoming, opened: mpsc::UnboundedSender<(SendStream, RecvStream)>) {
    let connection = incoming.await.unwrap();
    let (mut send, mut hello) = connection.accept_bi().await.unwrap();
    hello.read_to_end(64 * 1024).await.unwrap();
    let welcome = Welcome { version: PROTOCOL, server: "few".to_owned() };
    send.write_chunk(encode_packet(PacketKind::Welcome, &welcome, &[])).await.unwrap();
    send.finish().unwrap();
    while let Ok(stream) = connection.accept_bi().await {
        let _ = opened.send(stream);
    }
}

#[tokio::test]
async fn whoever_gets_no_stream_is_told_in_time_and_what_to_do() {
    let (address, mut streams) = server_of_one_stream();
    let url = format!("nexus://{address}?timeout_ms=500&connections=1");
    let client = nexus_client::connect(&url).await.unwrap();
    let mut holder = client.subscribe(Subscribe::all());
    let held = tokio::select! {
        held = streams.recv() => held.unwrap(),
        item = next(&mut holder) => panic!("nobody answers: {item:?}"),
    };
    let (mut events, mut items) = (client.read(Read::all()), client.subscribe(Subscribe::all()));
    let append = || Append::to("a").event(EventData::json("Told", &1).unwrap());
    let (read, subscribed, asked, first, second) = tokio::time::timeout(FOR_EVER, async {
        let appends = (client.append(append()), client.append(append()));
        tokio::join!(next(&mut events), next(&mut items), client.head(), appends.0, appends.1)
    })
    .await
    .unwrap();
    let (read, subscribed) = (read.unwrap().unwrap_err(), subscribed.unwrap().unwrap_err());
    for error in [read, subscribed, asked.unwrap_err()] {
        assert!(matches!(error.retry(), Retry::After(_)), "{error}");
        assert!(error.to_string().contains("connections=N"), "{error}");
    }
    for error in [first.unwrap_err(), second.unwrap_err()] {
        let unsent = matches!(error, AppendError::Unavailable(Unavailable::NotReachable(_)));
        assert!(unsent && error.to_string().contains("connections=N"), "{error}");
    }
    // What is free again is given to whoever comes next.
    drop((held, holder));
    let mut events = client.read(Read::all());
    tokio::select! {
        opened = streams.recv() => assert!(opened.is_some()),
        item = next(&mut events) => panic!("nobody answers: {item:?}"),
    }
}
