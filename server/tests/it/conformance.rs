//! A store behind a server keeps to the contract of `EventStore`, and so does one behind the
//! handlers that doors call.

use std::cell::RefCell;

use nexus_node::Engine;
use nexus_node::{Node, Principal};
use nexus_testing::suites::event_store;

use crate::stores::Running;

#[test]
fn a_store_over_quic_conforms() {
    let servers = RefCell::new(Vec::new());
    let cases = event_store::run_all(|| {
        let running = Running::in_memory();
        let client = running.client();
        servers.borrow_mut().push(running);
        client
    });
    assert_eq!(cases, event_store::CASES.len());
    println!("count: conformance_cases_quic {cases}");
}

#[test]
fn a_store_behind_the_handlers_conforms() {
    let cases = event_store::run_all(|| {
        Node::over(Engine::in_memory()).unwrap().access(Principal::local(), "default").unwrap()
    });
    assert_eq!(cases, event_store::CASES.len());
}
