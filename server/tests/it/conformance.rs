//! A store behind a server keeps to the contract of `EventStore`, and so does one behind the
//! handlers that doors call.

use std::cell::RefCell;

use nexus_node::Engine;
use nexus_node::{Node, Principal};
use nexus_testing::suites::event_store;

use crate::http::Http;
use crate::http::store::{HttpStore, Style};
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

fn over_http(style: Style, speak: fn(Http) -> Http) -> usize {
    let servers = RefCell::new(Vec::new());
    let cases = event_store::run_all(|| {
        let running = Running::in_memory();
        let store = HttpStore::new(speak(running.http()), running.runtime.handle().clone(), style);
        servers.borrow_mut().push(running);
        store
    });
    assert_eq!(cases, event_store::CASES.len());
    cases
}

#[test]
fn a_store_over_http_conforms() {
    let cases = over_http(Style::Pages, |http| http);
    println!("count: conformance_cases_http {cases}");
}

#[test]
fn a_store_over_lines_of_http_2_conforms() {
    let cases = over_http(Style::Lines, Http::http2);
    println!("count: conformance_cases_http_lines {cases}");
}

#[test]
fn a_store_behind_the_handlers_conforms() {
    let cases = event_store::run_all(|| {
        Node::over(Engine::in_memory()).unwrap().access(Principal::local(), "default").unwrap()
    });
    assert_eq!(cases, event_store::CASES.len());
}
