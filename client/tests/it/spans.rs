//! What a client is asked for is a span: with names and counts, and without what is secret.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nexus_client::{Address, Client, connect};
use nexus_node::config::Certificate;
use nexus_node::{Engine, Node, Principal, Role};
use nexus_protocol::{
    Append, EventData, EventStore, FoldIdentity, JSON, Read, Revision, Snapshot, StreamName,
    Subscribe,
};
use nexus_server::{Options, Server};
use nexus_testing::executor::next;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How the line ends of a span that is closed.
const CLOSED: &str = "}: nexus_client::trace: close";
const SECRET: &str = "what nobody may see";

/// All that was said.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Asks for something of everything, each with a secret in it.
async fn ask(client: &Client) {
    let event = EventData::json("Told", &SECRET).unwrap().metadata(SECRET.as_bytes().to_vec());
    client.append(Append::to("a").no_stream().event(event.clone())).await.unwrap();
    client.append(Append::to("a").no_stream().event(event)).await.unwrap_err();
    let mut events = client.read(Read::stream("a").limit(9));
    while next(&mut events).await.is_some() {}
    drop(events);
    let mut subscription = client.subscribe(Subscribe::stream("a"));
    next(&mut subscription).await.unwrap().unwrap();
    drop(subscription);
    let snapshot = Snapshot {
        stream: StreamName::new("a").unwrap(),
        revision: Revision::ZERO,
        fold: FoldIdentity { fold_version: 1, upcaster_hash: 0 },
        content_type: JSON.to_owned(),
        state: SECRET.as_bytes().to_vec().into(),
    };
    client.save_snapshot(snapshot).await.unwrap();
    client.create_token("t", "king", None).await.unwrap_err();
}

#[test]
fn calls_are_spans_without_secrets() {
    let said = Said::default();
    let collected = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(said.clone());
    // Of this thread alone, which runs everything: other tests may say what they like.
    tracing::subscriber::with_default(collected.finish(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = runtime.block_on(async {
            let client = connect("memory:").await.unwrap();
            ask(&client).await;
            client.close().await.unwrap();
            let node = Node::over(Engine::in_memory()).unwrap();
            let made = node.create_token(&Principal::local(), "root", Role::Admin, None).unwrap();
            let options = Options::new(Certificate::temporary().unwrap());
            let server = Server::start(node, options).unwrap();
            let fingerprint = server.fingerprint();
            let url = format!("nexus://{}?fingerprint={fingerprint}", server.quic_address());
            let address = url.parse::<Address>().unwrap().token(made.token.clone());
            let client = Client::connect(address).await.unwrap();
            ask(&client).await;
            client.close().await.unwrap();
            server.shut_down(Duration::from_secs(5)).await.unwrap();
            made.token
        });
        let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
        let ours: Vec<_> = said.lines().filter(|line| line.contains(" nexus_client::")).collect();
        let count = |parts: &[&str]| {
            ours.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
        };
        let append = "append{namespace=\"default\" stream=\"a\" streams=1 events=1";
        assert_eq!(count(&[append, "position=0 replayed=false", CLOSED]), 2, "{said}");
        assert_eq!(count(&[append, "error=NX2001", CLOSED]), 2, "{said}");
        let read = "read{namespace=\"default\" stream=\"a\" direction=Forwards limit=9 events=1";
        assert_eq!(count(&[read, CLOSED]), 2, "{said}");
        let subscribe = "subscribe{namespace=\"default\" stream=\"a\" start=Beginning events=1";
        assert_eq!(count(&[subscribe, CLOSED]), 2, "{said}");
        let snapshot = "ask{namespace=\"default\" operation=\"save snapshot\"";
        assert_eq!(count(&[snapshot, CLOSED]), 2, "{said}");
        assert_eq!(count(&["operation=\"create token\" error=NX1001", CLOSED]), 2, "{said}");
        assert_eq!(count(&["connect{store=memory:?namespace=default}", "close"]), 1, "{said}");
        assert_eq!(count(&["connect{server=\"127.0.0.1:", "close"]), 2, "{said}");
        assert!(!said.contains(SECRET) && !said.contains(&token), "a secret was said");
        println!("count: client_spans_checked {}", ours.len());
    });
}
