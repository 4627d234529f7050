//! Whom a client trusts, and what it is told when it may not.

use nexus_client::ConnectError;
use nexus_protocol::{Append, AppendError, EventData, EventStore, Read, ReadError};
use nexus_testing::executor::next;

use crate::stores::Running;

#[test]
fn a_server_with_another_certificate_is_not_trusted() {
    let running = Running::in_memory();
    let url = running.url();
    let (place, _) = url.split_once('?').unwrap();
    let other = format!("{place}?fingerprint=sha256:{}", "00".repeat(32));
    let error = running.runtime.block_on(nexus_client::connect(&other)).unwrap_err();
    assert!(matches!(error, ConnectError::NotTrusted { .. }), "{error}");
    assert!(error.to_string().contains("compare the fingerprint"), "{error}");
    // On loopback, without a pin, a development certificate will do.
    running.runtime.block_on(nexus_client::connect(place)).unwrap();
}

#[test]
fn nobody_there_is_said_within_the_time() {
    let running = Running::in_memory();
    let url = "nexus://127.0.0.1:1?timeout_ms=50";
    let error = running.runtime.block_on(nexus_client::connect(url)).unwrap_err();
    assert!(matches!(error, ConnectError::NotReachable { .. }), "{error}");
}

#[test]
fn a_namespace_that_is_not_there_is_named() {
    let running = Running::in_memory();
    let url = running.url().replace('?', "/orders?");
    running.runtime.block_on(async {
        let client = nexus_client::connect(&url).await.unwrap();
        let append = || Append::to("a").event(EventData::json("A", &1).unwrap());
        let error = client.append(append()).await.unwrap_err();
        assert!(matches!(&error, AppendError::NotFound { what } if what.contains("orders")));
        let error = next(&mut client.read(Read::all())).await.unwrap().unwrap_err();
        assert!(matches!(error, ReadError::NotFound { .. }), "{error}");
        assert!(matches!(client.head().await, Err(ReadError::NotFound { .. })));
        client.create_namespace().await.unwrap();
        client.append(append()).await.unwrap();
        assert_eq!(client.namespaces().await.unwrap(), ["default", "orders"]);
    });
}
