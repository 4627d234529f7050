//! Behaviour of the log of errors: what a line has, how loud it is, and that there are not too many.

use std::sync::{Arc, Mutex};

use nexus_protocol::{Conflict, Corruption, CorruptionKind, ExpectedRevision, StreamState};
use serde_json::{Value, json};

use super::*;

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

/// What is logged from this level on, each line with its fields.
fn logged(level: Level, work: impl FnOnce()) -> Vec<Value> {
    let lines = Lines::default();
    let made = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(level)
        .with_writer(move || made.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn poisoned() -> AppendError {
    AppendError::Poisoned { at: Some(Position::new(7)) }
}

fn damaged() -> ReadError {
    let corruption = Corruption {
        file: "a.seg".to_owned(),
        offset_bytes: 4096,
        kind: CorruptionKind::Truncated,
    };
    let (position, resume_at) = (Position::new(5), None);
    ReadError::Corruption { position, resume_at, corruption: Box::new(corruption) }
}

#[test]
fn a_line_has_what_it_takes_to_find_out_more() {
    let telemetry = Telemetry::new();
    let clause = Clause::Stream {
        stream: "order-1".to_owned(),
        expected: ExpectedRevision::NoStream,
        found: StreamState::Tombstoned,
    };
    let conflict = Conflict { clause, positions: vec![Position::new(41), Position::new(3)] };
    let error = AppendError::Conflict(Box::new(conflict));
    let context = Context {
        stream: Some("another"),
        correlation_id: Some(CorrelationId::from_bytes([1; 16])),
        trace: Some(TraceContext { trace_id: [0xab; 16], span_id: [1; 8], flags: 1 }),
        attempt: Some(2),
        ..Context::new(Operation::Append, "default", "ci")
    };
    let lines = logged(Level::DEBUG, || telemetry.log_error(&context, &error));
    let [line] = &*lines else { panic!("one error is one line: {lines:?}") };
    for (field, value) in [
        ("code", json!("NX2001")),
        ("name", json!("conflict")),
        ("operation", json!("append")),
        ("namespace", json!("default")),
        ("stream", json!("order-1")),
        ("position", json!(41)),
        ("principal", json!("ci")),
        ("correlation_id", json!("01010101-0101-0101-0101-010101010101")),
        ("trace_id", json!("ab".repeat(16))),
        ("attempt", json!(2)),
        ("level", json!("DEBUG")),
        ("message", json!(error.to_string())),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    let least = Context::new(Operation::Read, "default", "");
    let lines = logged(Level::DEBUG, || telemetry.log_error(&least, &damaged()));
    assert_eq!((&lines[0]["position"], &lines[0]["trace_id"]), (&json!(5), &Value::Null));
}

#[test]
fn what_is_behind_an_error_is_told() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] AppendError);

    impl Coded for Outer {
        fn error_code(&self) -> ErrorCode {
            self.0.code()
        }
        fn position(&self) -> Option<Position> {
            None
        }
        fn stream(&self) -> Option<&str> {
            None
        }
        fn is_closed(&self) -> bool {
            false
        }
    }

    let telemetry = Telemetry::new();
    let context = Context::new(Operation::Append, "default", "ci");
    let lines = logged(Level::ERROR, || telemetry.log_error(&context, &Outer(poisoned())));
    assert_eq!(lines[0]["message"], "outer");
    assert_eq!(lines[0]["causes"], poisoned().to_string());
    // Whoever asks makes up names, and they may be as long as a request.
    let long = "ä".repeat(100_000);
    let context = Context { stream: Some(&long), ..context };
    let denied = Outer(AppendError::Denied { reason: long.clone(), denial: None });
    let lines = logged(Level::INFO, || telemetry.log_error(&context, &denied));
    for field in ["stream", "causes"] {
        let text = lines[0][field].as_str().unwrap();
        assert!(text.len() < 1100 && text.ends_with('…'), "{field} is cut: {} bytes", text.len());
    }
}

#[test]
fn the_louder_the_more_it_is_the_nodes_own_fault() {
    let telemetry = Telemetry::new();
    let context = Context::new(Operation::Append, "default", "ci");
    let log = |error: &dyn Coded| telemetry.log_error(&context, error);
    let denied = AppendError::Denied { reason: "no".to_owned(), denial: None };
    let closed = AppendError::Unavailable(Unavailable::Closed);
    let full = AppendError::Unavailable(Unavailable::DiskFull);
    let lines = logged(Level::INFO, || {
        log(&poisoned());
        log(&damaged());
        log(&full);
        log(&AppendError::Unknown);
        log(&denied);
        log(&closed);
        log(&ReadError::Closed);
        log(&AppendError::Deleted { stream: "s".to_owned() });
    });
    let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["ERROR", "ERROR", "ERROR", "WARN", "INFO", "INFO", "INFO"]);
}

#[test]
fn a_flood_is_counted_and_hides_nothing_else() {
    let telemetry = Telemetry::new();
    let context = Context::new(Operation::Append, "default", "mallory");
    let denied = AppendError::Denied { reason: "no".to_owned(), denial: None };
    let lines = logged(Level::INFO, || {
        for _ in 0..1000 {
            telemetry.log_error(&context, &denied);
        }
        telemetry.log_error(&context, &poisoned());
    });
    let written = lines.iter().filter(|line| line["name"] == "denied").count();
    // The test may run into a second or two more than one.
    assert!((20..=200).contains(&written), "{written}");
    assert_eq!(lines.last().unwrap()["name"], "poisoned", "callers' faults never hide the node's");
    let suppressed = relaxed::get(&telemetry.metrics.errors_suppressed);
    assert_eq!(suppressed, 1000 - written as u64);
    let counted: u64 = telemetry.metrics.errors.iter().map(relaxed::get).sum();
    assert_eq!(counted, 1001, "all are counted, logged or not");
}

#[test]
fn what_nobody_listens_to_costs_no_allowance() {
    let telemetry = Telemetry::new();
    let context = Context::new(Operation::Append, "default", "ci");
    let gone = AppendError::Deleted { stream: "s".to_owned() };
    let denied = AppendError::Denied { reason: "x".repeat(5000), denial: None };
    let lines = logged(Level::INFO, || {
        (0..1000).for_each(|_| telemetry.log_error(&context, &gone));
        telemetry.log_error(&context, &denied);
    });
    assert_eq!(lines.len(), 1);
    assert!(lines[0]["message"].as_str().unwrap().len() < 1100, "a text is cut");
    assert_eq!(relaxed::get(&telemetry.metrics.errors_suppressed), 0);
}
