//! Projections by the client: the same over a store in memory, in a directory, and behind a server; and after a restart.

use std::cell::Cell;

use nexus_client::{Client, connect};
use nexus_protocol::projection::Lookup;
use nexus_protocol::{Append, EventData, NamespaceName, Position};
use nexus_testing::suites::projection;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::groups::Running;

/// Runs all cases, each in a namespace of its own; `what` names their count.
fn conforms(runtime: &Runtime, client: &Client, what: &str) {
    let number = Cell::new(0);
    let namespace = || {
        number.set(number.get() + 1);
        let name = NamespaceName::new(&format!("case-{}", number.get())).unwrap();
        let client = client.in_namespace(&name);
        runtime.block_on(client.create_namespace()).unwrap();
        client
    };
    let cases = projection::run_all(namespace, |case| runtime.block_on(case));
    assert_eq!(cases, 2 * projection::CASES.len());
    println!("count: projection_cases_{what} {cases}");
}

#[test]
fn projections_in_memory_conform() {
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(connect("memory:")).unwrap();
    conforms(&runtime, &client, "memory");
    runtime.block_on(client.close()).unwrap();
}

#[test]
fn projections_in_a_directory_conform() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    let client = runtime.block_on(connect(&url)).unwrap();
    conforms(&runtime, &client, "directory");
    runtime.block_on(client.close()).unwrap();
}

#[test]
fn projections_behind_a_server_conform() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let running = runtime.block_on(async { Running::in_directory(dir.path()) });
    let client = runtime.block_on(running.client());
    conforms(&runtime, &client, "remote");
    runtime.block_on(client.close()).unwrap();
    runtime.block_on(running.end());
}

#[tokio::test]
async fn documents_are_there_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::in_directory(dir.path());
    let client = running.client().await;
    for sink in ["kv", "search"] {
        let definition = json!({
            "name": sink, "sink": sink, "key": "/stream", "filter": { "categories": ["order"] },
            "fields": { "cents": { "type": "i64", "fold": "add", "from": "/data/cents" } },
        });
        client.set_projection(sink, &definition).await.unwrap();
    }
    let pay = async |cents: i64| {
        let paid = EventData::json("Paid", &json!({ "cents": cents })).unwrap();
        client.append(Append::to("order-1").event(paid)).await.unwrap().last().unwrap()
    };
    let check = async |wanted: i64, min: Position| {
        for sink in ["kv", "search"] {
            let (key, min_position) = ("order-1".to_owned(), Some(min));
            let lookup = Lookup { key, min_position, timeout_ms: Some(10_000) };
            let found = client.lookup(sink, &lookup).await.unwrap();
            assert_eq!(found.document["cents"], wanted, "{sink}");
        }
    };
    let last = pay(250).await;
    check(250, last).await;
    let running = running.restart(dir.path()).await;
    // The client goes on.
    check(250, last).await;
    let last = pay(50).await;
    check(300, last).await;
    client.close().await.unwrap();
    running.end().await;
}
