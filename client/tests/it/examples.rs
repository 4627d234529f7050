//! Every example runs, and says the same of a store in memory, in a directory, and behind a server.

use std::time::Duration;

use nexus_client::{Client, connect};
use nexus_node::config::Certificate;
use nexus_node::{Engine, Node};
use nexus_server::{Options, Server};

#[allow(dead_code, reason = "its main is for those who run it by hand")]
#[path = "../../examples/append.rs"]
mod append;
#[allow(dead_code, reason = "its main is for those who run it by hand")]
#[path = "../../examples/consume.rs"]
mod consume;
#[allow(dead_code, reason = "its main is for those who run it by hand")]
#[path = "../../examples/effects.rs"]
mod effects;
#[allow(dead_code, reason = "its main is for those who run it by hand")]
#[path = "../../examples/read.rs"]
mod read;
#[allow(dead_code, reason = "its main is for those who run it by hand")]
#[path = "../../examples/snapshots.rs"]
mod snapshots;
#[allow(dead_code, reason = "its main is for those who run it by hand")]
#[path = "../../examples/store.rs"]
mod store;
#[allow(dead_code, reason = "its main is for those who run it by hand")]
#[path = "../../examples/streams.rs"]
mod streams;
#[allow(dead_code, reason = "its main is for those who run it by hand")]
#[path = "../../examples/subscribe.rs"]
mod subscribe;

/// Runs each, and names them.
macro_rules! examples {
    ($($name:ident),+) => {
        async fn run_all(client: &Client) {
            $(if let Err(why) = $name::run(client).await {
                panic!("example {}: {why}", stringify!($name));
            })+
        }

        const NAMES: &[&str] = &[$(stringify!($name)),+];
    };
}

examples!(append, consume, effects, read, snapshots, store, streams, subscribe);

#[test]
fn none_is_left_out() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    files.sort();
    assert_eq!(files, NAMES);
}

#[tokio::test]
async fn they_run_in_memory() {
    run_all(&connect("memory:").await.unwrap()).await;
}

#[tokio::test]
async fn they_run_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let client = connect(&format!("file://{}", dir.path().display())).await.unwrap();
    run_all(&client).await;
    // Twice on one store, too.
    run_all(&client).await;
    client.close().await.unwrap();
}

#[tokio::test]
async fn they_run_over_a_server() {
    let options = Options::new(Certificate::temporary().unwrap()).dev(true);
    let server = Server::start(Node::over(Engine::in_memory()).unwrap(), options).unwrap();
    let client = connect(&format!("nexus://{}", server.quic_address())).await.unwrap();
    run_all(&client).await;
    client.close().await.unwrap();
    server.shut_down(Duration::from_secs(5)).await.unwrap();
}
