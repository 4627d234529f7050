//! A store in this process keeps to the contract of `EventStore`, through the client's API.

use nexus_protocol::NamespaceName;
use nexus_testing::suites::event_store;

#[test]
fn a_store_in_memory_conforms() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connect = || runtime.block_on(nexus_client::connect("memory:")).unwrap();
    let cases = event_store::run_all(connect);
    assert_eq!(cases, event_store::CASES.len());
    println!("count: conformance_cases_client_memory {cases}");
}

/// One directory, and a namespace for each case: what a disk can do is measured once.
#[test]
fn a_store_in_a_directory_conforms() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    let store = runtime.block_on(nexus_client::connect(&url)).unwrap();
    let number = std::cell::Cell::new(0);
    let cases = event_store::run_all(|| {
        number.set(number.get() + 1);
        let name = NamespaceName::new(&format!("case-{}", number.get())).unwrap();
        let client = store.in_namespace(&name);
        runtime.block_on(client.create_namespace()).unwrap();
        client
    });
    assert_eq!(cases, event_store::CASES.len());
    println!("count: conformance_cases_client_directory {cases}");
}
