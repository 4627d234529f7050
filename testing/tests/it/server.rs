//! A server for tests is a real one: it speaks both protocols, goes, and comes back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use nexus_protocol::{Append, EventData, EventStore, Read, Subscribe, SubscriptionItem};
use nexus_testing::Server;
use nexus_testing::executor::{block_on, next};

fn append(number: u64) -> Append {
    Append::to("a").event(EventData::json("Counted", &number).unwrap())
}

/// The first line of what the server says over HTTP.
fn ready(server: &Server) -> String {
    let url = server.http_url();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[test]
fn servers_are_apart_and_speak_both_protocols() {
    let (one, other) = (Server::start(), Server::start());
    assert_ne!(one.url(), other.url());
    block_on(one.client().append(append(0))).unwrap();
    assert!(block_on(one.client().head()).unwrap().position.is_some());
    assert_eq!(block_on(other.client().head()).unwrap().position, None);
    for server in [&one, &other] {
        assert_eq!(ready(server), "HTTP/1.1 200 OK");
    }
}

#[test]
fn clients_go_on_when_it_was_killed_and_when_it_was_shut_down() {
    let mut server = Server::start();
    let (url, http_url) = (server.url(), server.http_url());
    let client = server.client();
    let mut subscription = client.subscribe(Subscribe::all());
    let mut item = || block_on(next(&mut subscription)).unwrap().unwrap();
    while !matches!(item(), SubscriptionItem::CaughtUp { .. }) {}
    for (number, killed) in [(0, true), (1, false), (2, true)] {
        block_on(client.append(append(number))).unwrap();
        if killed {
            server.kill();
            server.kill();
            assert!(
                TcpStream::connect(url.strip_prefix("nexus://").unwrap()).is_err(),
                "it is gone"
            );
        }
        server.restart();
        assert_eq!((server.url(), server.http_url()), (url.clone(), http_url.clone()));
        assert_eq!(ready(&server), "HTTP/1.1 200 OK");
    }
    block_on(client.append(append(3))).unwrap();
    for number in 0..4 {
        let event = std::iter::repeat_with(&mut item).find_map(|item| item.event()).unwrap();
        assert_eq!(event.json::<u64>().unwrap(), number, "each once, and in order");
    }
}

/// Where blocking is not allowed it starts, ends, and is dropped all the same.
#[tokio::test]
async fn it_works_within_a_runtime() {
    let mut server = Server::start();
    let client = server.client();
    client.append(append(0)).await.unwrap();
    // One of this runtime, too.
    let ours = nexus_client::connect(&server.url()).await.unwrap();
    server.restart();
    let event = next(&mut ours.read(Read::stream("a"))).await.unwrap().unwrap();
    assert_eq!(event.json::<u64>().unwrap(), 0);
}
