//! The engine keeps to the contract of `EventStore`: in memory, on the host's disk, and on the
//! simulated one without threads.

use std::cell::RefCell;
use std::sync::Arc;

use nexus_engine::Engine;
use nexus_engine::io::{Backend, SimDisk};
use nexus_testing::suites::event_store;

#[test]
fn an_engine_in_memory_conforms() {
    let cases = event_store::run_all(Engine::in_memory);
    assert_eq!(cases, event_store::CASES.len());
    println!("count: conformance_cases {cases}");
}

#[test]
fn an_engine_on_a_disk_conforms() {
    let dirs = RefCell::new(Vec::new());
    event_store::run_all(|| {
        let dir = tempfile::tempdir().unwrap();
        let options = Engine::options().backend(Backend::PortableBuffered);
        let engine = options.segment_bytes(64 * 1024, 1024 * 1024).open(dir.path()).unwrap();
        dirs.borrow_mut().push(dir);
        engine
    });
}

#[test]
fn an_engine_without_threads_conforms() {
    event_store::run_all(|| {
        let disk = SimDisk::builder().seed(7).depth(4).short_reads_one_in(5).build();
        let options = Engine::options().disk(Arc::new(disk)).segment_bytes(64 * 1024, 128 * 1024);
        options.threads(false).open("/data").unwrap()
    });
}
