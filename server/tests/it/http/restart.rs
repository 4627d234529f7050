//! A server that goes and comes back while clients append over HTTP: with a key for each append, every
//! one that was acknowledged is there, and once.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use nexus_node::Engine;
use serde_json::json;

use super::client::Http;
use crate::stores::Running;

const WRITERS: u64 = 4;
const RESTARTS: usize = 4;
/// How long a writer waits that was not answered.
const PAUSE: Duration = Duration::from_millis(5);

/// An address that is free for both doors.
fn free_address() -> std::net::SocketAddr {
    loop {
        let http = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = http.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// Appends one by one until told to stop, each until it is acknowledged; answers with how many.
async fn write(
    http: Http,
    writer: u64,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> (u64, u64) {
    let (mut number, mut again) = (0, 0);
    while !stop.load(Ordering::Acquire) {
        loop {
            let path = format!("/v1/streams/writer-{writer}/events");
            let events = json!([{ "type": "Counted", "data": number }]);
            let ask = http.post(path, &events);
            let ask = ask.header("idempotency-key", &format!("{writer}-{number}"));
            match ask.send().await {
                Ok(answer) if answer.status.is_success() => break,
                Ok(answer) => {
                    let may_pass = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
                    assert!(may_pass.contains(&answer.status), "{answer:?}");
                }
                Err(_) => {}
            }
            again += 1;
            // A client's back-off while its server is away; nothing is waited for by it.
            tokio::time::sleep(PAUSE).await;
        }
        acknowledged.fetch_add(1, Ordering::Release);
        number += 1;
    }
    (number, again)
}

#[test]
fn what_was_acknowledged_over_http_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Engine::options().segment_bytes(64 * 1024, 256 * 1024).open(dir.path()).unwrap();
    let address = free_address();
    let mut running = Running::with(open(), |options| options.dev(true).listen(address));
    let clients = tokio::runtime::Runtime::new().unwrap();
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let http = Http::new(address);
            // Every other one sends all over one connection.
            let http = if writer % 2 == 0 { http } else { http.http2() };
            clients.spawn(write(http, writer, Arc::clone(&stop), Arc::clone(&acknowledged)))
        })
        .collect();
    for restart in 0..RESTARTS {
        // Until something new was acknowledged, so that every restart interrupts writers at work.
        let before = acknowledged.load(Ordering::Acquire);
        while acknowledged.load(Ordering::Acquire) < before + 20 {
            std::thread::yield_now();
        }
        // Every other time nobody waits for what is under way.
        let grace = if restart % 2 == 0 { Duration::ZERO } else { Duration::from_secs(5) };
        running = running.restart_within(grace, &open);
    }
    stop.store(true, Ordering::Release);
    let counts: Vec<_> =
        writers.into_iter().map(|writer| clients.block_on(writer).unwrap()).collect();
    let http = running.http();
    let mut all = 0;
    for (writer, (count, _)) in (0..).zip(&counts) {
        let path = format!("/v1/streams/writer-{writer}/events");
        let ask = http.get(path).header("accept", "application/x-ndjson");
        let answer = running.runtime.block_on(ask.send()).unwrap();
        let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let numbers: Vec<u64> = lines
            .map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap())
            .map(|event| event["data"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (0..*count).collect::<Vec<_>>(), "writer {writer}");
        all += count;
    }
    let again: u64 = counts.iter().map(|(_, again)| again).sum();
    println!("count: http_restarts {RESTARTS}");
    println!("count: http_acknowledged {all}, sent again {again} times");
}
