//! An error is logged once, with what is behind it.

use std::sync::{Arc, Mutex};

use nexus_node::{Engine, Node, Principal};
use nexus_protocol::{Append, AppendError, EventData, Revision, TraceContext};
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

/// Does something, and gives what was logged meanwhile, debug messages too.
fn logged<T>(work: impl FnOnce() -> T) -> (T, Vec<Value>) {
    let lines = Lines::default();
    let made = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(move || made.clone())
        .finish();
    let done = tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
    (done, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn a_namespace_that_a_disk_keeps_is_logged_once_with_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).unwrap();
    let local = Principal::local();
    node.create_namespace(&local, "orders").unwrap();
    // Where the folder would go stands a file.
    std::fs::write(dir.path().join("namespaces/.orders.deleted"), "").unwrap();
    let (refused, lines) = logged(|| node.delete_namespace(&local, "orders").unwrap_err());
    assert_eq!(refused, AppendError::Unknown);
    let [line] = &*lines else { panic!("one line: {lines:?}") };
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
    let record = node.audit(&local, None, 10).unwrap().entries;
    assert_eq!(record.last().unwrap().audited.outcome, "outcome_unknown");
}

#[test]
fn an_error_says_which_try_it_was_and_of_which_trace() {
    let node = Node::over(Engine::in_memory()).unwrap();
    let access = node.access(Arc::new(Principal::local()), "default").unwrap();
    let trace = TraceContext { trace_id: [9; 16], span_id: [8; 8], flags: 1 };
    let again = access.clone().attempt(Some(3)).traced(Some(trace));
    let append = || {
        let event = EventData::json("Placed", &1).unwrap();
        Append::to("order-1").at(Revision::new(7)).event(event)
    };
    let (_, lines) = logged(|| {
        again.append(append()).unwrap().wait().unwrap_err();
        access.append(append()).unwrap().wait().unwrap_err();
    });
    let said: Vec<_> = lines.iter().map(|line| (&line["attempt"], &line["trace_id"])).collect();
    let trace = Value::from("09".repeat(16));
    assert_eq!(said, [(&Value::from(3), &trace), (&Value::Null, &Value::Null)], "{lines:?}");
}
