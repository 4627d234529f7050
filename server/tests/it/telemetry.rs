//! What a server tells about itself, and the trace that a request is part of.

use std::time::{Duration, Instant};

use nexus_node::{Engine, Principal};
use nexus_protocol::wire::{
    AppendAnswer, Open, Operation, PacketKind, encode_append, encode_packet,
};
use nexus_protocol::{
    Append, Appended, EventData, EventId, EventStore, Read, Revision, Subscribe, SubscriptionItem,
    TraceContext,
};
use nexus_testing::executor::next;

use crate::enemies::{greeted, reason, say};
use crate::stores::Running;

const REQUEST: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The value of a metric.
pub(crate) fn metric(running: &Running, name: &str) -> f64 {
    let text = running.node().metrics_text(&Principal::local()).unwrap();
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|it| it.0 == name));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// The same once it has come so far: what a read gave is counted when the server is done with it, and its client may have
/// all of it before.
pub(crate) fn metric_of_at_least(running: &Running, name: &str, least: f64) -> f64 {
    let late = Instant::now() + Duration::from_secs(30);
    loop {
        let value = metric(running, name);
        if value >= least || Instant::now() > late {
            return value;
        }
        std::thread::yield_now();
    }
}

fn open(namespace: &str, operation: Operation, traceparent: Option<&str>) -> Vec<u8> {
    let (namespace, traceparent) = (namespace.to_owned(), traceparent.map(str::to_owned));
    let open = Open { namespace, deadline_ms: None, traceparent, attempt: 1, operation };
    encode_packet(PacketKind::Open, &open, &[]).to_vec()
}

fn placed(id: u8) -> EventData {
    let event = EventData::json("OrderPlaced", &serde_json::json!({"total_cents": 250})).unwrap();
    event.id(EventId::from_bytes([id; 16]))
}

/// Appends in a session that is part of a trace.
async fn append(running: &Running, traceparent: &str, append: &Append) -> Appended {
    let (_endpoint, connection) = greeted(running).await;
    let mut bytes = open("default", Operation::Append, Some(traceparent));
    bytes.extend(encode_append(append).unwrap());
    let packet = say(&connection, &bytes).await.unwrap();
    let answers: Vec<AppendAnswer> = packet.message().unwrap();
    let answer = Result::try_from(answers.into_iter().next().unwrap()).unwrap();
    answer.unwrap()
}

#[test]
fn the_trace_of_a_request_is_stored_and_its_readers_go_on_with_it() {
    let running = Running::in_memory();
    let client = running.client();
    let own = TraceContext { trace_id: [9; 16], span_id: [8; 8], flags: 0 };
    let two = Append::to("order-1").no_stream().event(placed(1)).event(placed(2).trace(own));
    running.runtime.block_on(async {
        assert!(!append(&running, REQUEST, &two).await.replayed);
        // The same append in another trace happened before, and the first trace stands.
        assert!(append(&running, &REQUEST.replace("0af7", "ffff"), &two).await.replayed);
        assert!(client.append(two.clone()).await.unwrap().replayed);
        // What is no trace context says nothing, and is no reason to refuse.
        append(&running, "nonsense", &Append::to("order-2").event(placed(3))).await;
        let mut read = client.read(Read::all());
        let mut traces = Vec::new();
        while let Some(event) = next(&mut read).await {
            traces.push(event.unwrap().trace());
        }
        assert_eq!(traces, [TraceContext::of_request(REQUEST), Some(own), None]);
        assert_eq!(traces[0].unwrap().to_string(), REQUEST);
        let mut subscription = client.subscribe(Subscribe::stream("order-1"));
        let Some(Ok(SubscriptionItem::Event(cause))) = next(&mut subscription).await else {
            panic!("it is there")
        };
        client.append(Append::to("mail-1").event(placed(4).caused_by(&cause))).await.unwrap();
        let consequence = next(&mut client.read(Read::stream("mail-1"))).await.unwrap().unwrap();
        assert_eq!(consequence.trace(), traces[0]);
    });
}

#[test]
fn what_a_traced_client_appends_is_part_of_its_trace() {
    let running = Running::in_memory();
    let client = running.client();
    let trace = TraceContext::of_request(REQUEST).unwrap();
    let own = TraceContext { trace_id: [9; 16], span_id: [8; 8], flags: 0 };
    let nothing = TraceContext { trace_id: [0; 16], ..trace };
    running.runtime.block_on(async {
        let traced = client.traced(trace);
        // All are one session: each is right only behind the one before.
        let append = |next: u64| {
            let append = Append::to("order-1");
            next.checked_sub(1)
                .map_or(append.clone().no_stream(), |at| append.at(Revision::new(at)))
        };
        let pending = [
            traced.append(append(0).event(placed(1)).event(placed(2).trace(own))),
            client.append(append(2).event(placed(3))),
            traced.traced(own).append(append(3).event(placed(4))),
            client.traced(nothing).append(append(4).event(placed(5))),
        ];
        for pending in pending {
            pending.await.unwrap();
        }
        traced.session().append(append(5).event(placed(6))).await.unwrap();
        let mut read = traced.read(Read::all());
        let mut traces = Vec::new();
        while let Some(event) = next(&mut read).await {
            traces.push(event.unwrap().trace());
        }
        assert_eq!(traces, [Some(trace), Some(own), None, Some(own), None, Some(trace)]);
    });
}

#[test]
fn what_comes_by_quic_is_counted() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        client.append(Append::to("s").no_stream().event(placed(1))).await.unwrap();
        client.append(Append::to("s").no_stream().event(placed(2))).await.unwrap_err();
        client.head().await.unwrap();
    });
    for (name, value) in [
        ("nexus_connections_open{door=\"quic\"}", 1.0),
        ("nexus_connections_opened_total{door=\"quic\"}", 1.0),
        ("nexus_connections_opened_total{door=\"http\"}", 0.0),
        ("nexus_append_duration_seconds_count", 2.0),
        ("nexus_appended_events_total", 1.0),
        ("nexus_errors_total{name=\"conflict\"}", 1.0),
        ("nexus_operation_duration_seconds_count{operation=\"head\"}", 1.0),
    ] {
        assert_eq!(metric(&running, name), value, "{name}");
    }
}

#[test]
fn errors_that_a_door_answers_are_counted_once() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let (_endpoint, connection) = greeted(&running).await;
        for operation in [Operation::Head, Operation::Append, Operation::Stats] {
            let packet = say(&connection, &open("nowhere", operation, None)).await.unwrap();
            assert!(reason(&packet).contains("nowhere"));
        }
        // Its namespace is not there yet, and that is no error.
        let created = say(&connection, &open("new", Operation::CreateNamespace, None)).await;
        assert_eq!(created.unwrap().kind, PacketKind::Answer);
        let mut malformed = open("default", Operation::Append, None);
        malformed.extend(encode_packet(PacketKind::Append, &7_u32, b"no record"));
        say(&connection, &malformed).await.unwrap();
    });
    assert_eq!(metric(&running, "nexus_errors_total{name=\"not_found\"}"), 3.0);
    assert_eq!(metric(&running, "nexus_errors_total{name=\"invalid\"}"), 1.0);
}

#[test]
fn who_is_not_let_in_is_counted_as_refused() {
    let running = Running::guarded(Engine::in_memory());
    let refused = running.runtime.block_on(nexus_client::connect(&running.url())).unwrap_err();
    assert!(refused.to_string().contains("token"), "{refused}");
    assert_eq!(metric(&running, "nexus_errors_total{name=\"unauthenticated\"}"), 1.0);
    assert_eq!(metric(&running, "nexus_connections_refused_total{door=\"quic\"}"), 1.0);
    assert_eq!(metric(&running, "nexus_connections_open{door=\"quic\"}"), 0.0);
}
