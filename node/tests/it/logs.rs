//! An error is logged once, with what is behind it.

use std::sync::{Arc, Mutex};

use nexus_node::{Node, Principal};
use nexus_protocol::AppendError;
use serde_json::Value;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_namespace_that_a_disk_keeps_is_logged_once_with_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).unwrap();
    let local = Principal::local();
    node.create_namespace(&local, "orders").unwrap();
    // Where the folder would go stands a file.
    std::fs::write(dir.path().join("namespaces/.orders.deleted"), "").unwrap();
    let lines = Lines::default();
    let made = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_writer(move || made.clone())
        .finish();
    let refused = tracing::subscriber::with_default(subscriber, || {
        node.delete_namespace(&local, "orders").unwrap_err()
    });
    assert_eq!(refused, AppendError::Unknown);
    let text = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
    let [line] = &*text.lines().collect::<Vec<_>>() else { panic!("one line: {text}") };
    let line: Value = serde_json::from_str(line).unwrap();
    for (field, value) in [
        ("level", "ERROR"),
        ("name", "outcome_unknown"),
        ("operation", "delete_namespace"),
        ("namespace", "orders"),
        ("principal", "local"),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    let causes = line["causes"].as_str().unwrap();
    assert!(causes.contains("cannot be taken away"), "{causes}");
    let record = node.audit(&local, None, 10).unwrap();
    assert_eq!(record.last().unwrap().audited.outcome, "outcome_unknown");
}
