//! Whom a client trusts, and what it is told when it may not.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use nexus_client::{Address, Client, ConnectError};
use nexus_node::{Engine, Node, Principal, Role};
use nexus_protocol::{
    Append, AppendError, EventData, EventStore, Read, ReadError, Subscribe, SubscriptionItem,
};
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

/// Sockets that take what comes and say nothing, and how they are named in a connection string.
fn silent(count: usize) -> (Vec<UdpSocket>, String) {
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let hosts: Vec<_> = sockets.iter().map(|it| it.local_addr().unwrap().to_string()).collect();
    (sockets, hosts.join(","))
}

#[test]
fn servers_that_say_nothing_take_the_time_of_the_string_and_no_more() {
    let running = Running::in_memory();
    let (_sockets, hosts) = silent(6);
    let url = format!("nexus://{hosts}?timeout_ms=500");
    let began = Instant::now();
    let error = running.runtime.block_on(nexus_client::connect(&url)).unwrap_err();
    assert!(matches!(error, ConnectError::NotReachable { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_millis(2000), "{:?}", began.elapsed());
    // One that answers is tried within that time, too.
    let (_sockets, silent) = silent(1);
    let url = format!("nexus://{silent},{}?timeout_ms=3000", running.address());
    running.runtime.block_on(nexus_client::connect(&url)).unwrap();
}

#[test]
fn a_server_that_may_come_back_is_waited_for_whoever_else_refuses() {
    let running = Running::in_memory();
    let (_sockets, silent) = silent(1);
    let wrong = format!("fingerprint=sha256:{}", "00".repeat(32));
    let url = format!("nexus://{silent},{}?{wrong}&timeout_ms=2000", running.address());
    let error = running.runtime.block_on(nexus_client::connect(&url)).unwrap_err();
    assert!(
        matches!(&error, ConnectError::NotReachable { server, .. } if *server == silent),
        "{error}"
    );
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

#[test]
fn a_namespace_that_is_deleted_is_gone_for_all() {
    let running = Running::in_memory();
    let url = running.url().replace('?', "/orders?");
    running.runtime.block_on(async {
        let client = nexus_client::connect(&url).await.unwrap();
        let other = nexus_client::connect(&url).await.unwrap();
        let append = || Append::to("a").event(EventData::json("A", &1).unwrap());
        assert!(matches!(client.delete_namespace().await, Err(AppendError::NotFound { .. })));
        client.create_namespace().await.unwrap();
        other.append(append()).await.unwrap();
        let mut subscription = other.subscribe(Subscribe::all());
        while !matches!(next(&mut subscription).await, Some(Ok(SubscriptionItem::CaughtUp { .. })))
        {
        }
        client.delete_namespace().await.unwrap();
        let ended = loop {
            if let Err(error) = next(&mut subscription).await.unwrap() {
                break error;
            }
        };
        assert!(matches!(ended, ReadError::NotFound { .. }), "{ended}");
        let error = other.append(append()).await.unwrap_err();
        assert!(matches!(error, AppendError::NotFound { .. }), "{error}");
        assert!(matches!(other.head().await, Err(ReadError::NotFound { .. })));
        assert_eq!(client.namespaces().await.unwrap(), ["default"]);
        client.create_namespace().await.unwrap();
        other.append(append()).await.unwrap();
        assert_eq!(client.stats().await.unwrap().events, 1);
        // Made anew before anything was asked between: a session goes on in what is there.
        client.delete_namespace().await.unwrap();
        client.create_namespace().await.unwrap();
        other.append(append()).await.unwrap();
        assert_eq!(client.stats().await.unwrap().events, 1);
        let default = nexus_client::connect(&running.url()).await.unwrap();
        let error = default.delete_namespace().await.unwrap_err();
        assert!(matches!(error, AppendError::Invalid(_)), "{error}");
    });
}

#[test]
fn a_token_says_who_asks_until_it_is_revoked() {
    let engine = Engine::in_memory();
    let local = Principal::local();
    let node = Node::over(engine.clone()).unwrap();
    let made = |name, role| node.create_token(&local, name, role, None).unwrap().token;
    let (admin, writer) = (made("root", Role::Admin), made("ci", Role::Writer));
    let running = Running::guarded(engine);
    let url = running.url();
    let address: Address = url.parse().unwrap();
    let connect = |token: &str| Client::connect(address.clone().token(token));
    running.runtime.block_on(async {
        let error = nexus_client::connect(&url).await.unwrap_err();
        assert!(error.to_string().contains("set NEXUS_TOKEN"), "{error}");
        let error = connect("nx_00_00").await.unwrap_err();
        assert!(matches!(error, ConnectError::Unauthenticated { .. }), "{error}");
        let (admin, writer) = (connect(&admin).await.unwrap(), connect(&writer).await.unwrap());
        let append = || Append::to("a").event(EventData::json("A", &1).unwrap());
        writer.append(append()).await.unwrap();
        let error = writer.tokens().await.unwrap_err();
        assert!(
            matches!(&error, ReadError::Denied { reason, .. } if reason.contains("admin")),
            "{error}"
        );
        // Where tokens are kept, nobody gets: not by name, and not by looking at everything.
        assert!(url.replace('?', "/$system?").parse::<Address>().is_err());
        let mut everything = writer.read(Read::all().system());
        while let Some(event) = next(&mut everything).await {
            assert_eq!(event.unwrap().stream(), "a");
        }
        // A subscription, and a session of appends, end with the token they were opened with.
        let mut subscription = writer.subscribe(Subscribe::all());
        while !matches!(next(&mut subscription).await, Some(Ok(SubscriptionItem::CaughtUp { .. })))
        {
        }
        let tokens = admin.tokens().await.unwrap();
        let id = &tokens.iter().find(|token| token.name == "ci").unwrap().id;
        admin.revoke_token(id).await.unwrap();
        assert!(matches!(admin.revoke_token(id).await, Err(AppendError::NotFound { .. })));
        let error = writer.append(append()).await.unwrap_err();
        assert!(matches!(error, AppendError::Unauthenticated { .. }), "{error}");
        admin.append(append()).await.unwrap();
        let ended = loop {
            if let Err(error) = next(&mut subscription).await.unwrap() {
                break error;
            }
        };
        assert!(matches!(ended, ReadError::Unauthenticated { .. }), "{ended}");
        let hour = Some(std::time::Duration::from_secs(3600));
        let (head, token) = admin.create_token("new", "reader", hour).await.unwrap();
        assert!(head.expires_at.is_some() && head.role == "reader");
        let reader = connect(&token).await.unwrap();
        assert!(reader.head().await.unwrap().position.is_some());
        assert!(matches!(reader.append(append()).await, Err(AppendError::Denied { .. })));
        let error = admin.create_token("new", "king", None).await.unwrap_err();
        assert!(error.to_string().contains("use admin"), "{error}");
    });
}
