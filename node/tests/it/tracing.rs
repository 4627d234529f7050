//! The trace that a request is part of is stored with its events, and their readers go on with it.

use nexus_node::{Access, Engine, Node, Principal};
use nexus_protocol::{Append, EventData, EventId, Read, RecordedEvent, TraceContext};

const REQUEST: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn access() -> Access {
    let node = Node::over(Engine::in_memory()).unwrap();
    node.access(Principal::local(), "default").unwrap()
}

fn stored(access: &Access, stream: &str) -> Vec<RecordedEvent> {
    access.read(Read::stream(stream)).unwrap().into_iter().map(Result::unwrap).collect()
}

fn event() -> EventData {
    EventData::json("OrderPlaced", &serde_json::json!({"total_cents": 250})).unwrap()
}

#[test]
fn events_become_part_of_the_requests_trace_unless_they_name_one() {
    let access = access();
    let request = TraceContext::of_request(REQUEST);
    let own = TraceContext { trace_id: [9; 16], span_id: [8; 8], flags: 0 };
    let append = Append::to("order-1").event(event()).event(event().trace(own));
    access.clone().traced(request).append(append.clone()).unwrap().wait().unwrap();
    access.append(append).unwrap().wait().unwrap();
    let traces: Vec<_> = stored(&access, "order-1").iter().map(RecordedEvent::trace).collect();
    assert_eq!(traces, [request, Some(own), None, Some(own)]);
    let first = &stored(&access, "order-1")[0];
    assert!(first.metadata().is_empty() && first.data() == &event().data[..], "bytes as given");
}

#[test]
fn a_repeat_in_another_trace_is_a_replay_and_the_first_stands() {
    let access = access();
    let append = Append::to("order-1").no_stream().event(event().id(EventId::from_bytes([1; 16])));
    let first = TraceContext::of_request(REQUEST);
    let second = TraceContext::of_request(&REQUEST.replace("0af7", "ffff"));
    assert!(first.is_some() && second.is_some() && first != second);
    for (trace, replayed) in [(first, false), (second, true), (None, true)] {
        let traced = access.clone().traced(trace);
        let appended = traced.append(append.clone()).unwrap().wait().unwrap();
        assert_eq!(appended.replayed, replayed);
    }
    let [only] = &*stored(&access, "order-1") else { panic!("it is stored once") };
    assert_eq!(only.trace(), first);
}

#[test]
fn a_consequence_goes_on_with_the_trace_of_its_cause() {
    let access = access();
    let traced = access.clone().traced(TraceContext::of_request(REQUEST));
    traced.append(Append::to("order-1").event(event())).unwrap().wait().unwrap();
    let cause = &stored(&access, "order-1")[0];
    access.append(Append::to("mail-1").event(event().caused_by(cause))).unwrap().wait().unwrap();
    let [consequence] = &*stored(&access, "mail-1") else { panic!("one event") };
    assert_eq!(consequence.trace().unwrap().to_string(), REQUEST);
    assert_eq!(consequence.causation_id().unwrap().as_uuid(), cause.id().as_uuid());
    let again = event().caused_by(consequence);
    assert_eq!(again.trace, consequence.trace());
    assert_eq!(again.correlation_id, None, "the cause belongs to nothing");
}
