//! What a server logs, and what it exports: read from its standard error, and by a small collector.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nexus_protocol::{Append, EventData, TraceContext};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric;
use prost::Message;
use serde_json::Value;

use crate::nexus::{Folder, finish};
use crate::serve::Serving;

/// How long a collector waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A request that a collector took.
pub(crate) struct Sent {
    pub(crate) path: String,
    /// Lines of its head, in lower case.
    headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

/// Takes what is sent to it.
pub(crate) fn collector() -> (String, Receiver<Sent>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sent, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let sent = sent.clone();
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                while let Some(request) = take_request(&mut stream) {
                    if sent.send(request).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, received)
}

fn take_request(stream: &mut TcpStream) -> Option<Sent> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length, mut headers) = (String::new(), 0, Vec::new());
    reader.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
        headers.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    Some(Sent { path: first.split(' ').nth(1).unwrap().to_owned(), headers, body })
}

#[test]
fn spans_and_metrics_reach_a_collector() {
    let (url, received) = collector();
    let folder = Folder::new();
    let args = ["--dev", "--listen", "127.0.0.1:0", "--otlp-endpoint", &url];
    let set = [
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b"),
    ];
    let serving = Serving::start_with(&folder, &args, &set);
    let trace = TraceContext { trace_id: [0xab; 16], span_id: [0xcd; 8], flags: 1 };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = nexus_client::connect(&serving.pinned()).await.unwrap();
        let event = EventData::json("OrderPlaced", &1).unwrap().trace(trace);
        client.append(Append::to("order-1").event(event)).await.unwrap();
    });
    let (mut span, mut appends) = (None, 0);
    while span.is_none() || appends == 0 {
        let Sent { path, headers, body } = received.recv_timeout(PATIENCE).expect("both come");
        assert!(headers.iter().any(|line| line == "x-tenant: a b"), "{path}: {headers:?}");
        let attributes = match path.as_str() {
            "/v1/traces" => {
                ExportTraceServiceRequest::decode(&*body).unwrap().resource_spans.remove(0).resource
            }
            _ => {
                ExportMetricsServiceRequest::decode(&*body)
                    .unwrap()
                    .resource_metrics
                    .remove(0)
                    .resource
            }
        };
        let attributes = attributes.unwrap().attributes;
        for name in ["service.name", "deployment.environment", "telemetry.sdk.name"] {
            assert!(attributes.iter().any(|attribute| attribute.key == name), "{path}: {name}");
        }
        match path.as_str() {
            "/v1/traces" => span = span.or(append_span(&body)),
            "/v1/metrics" => appends = appends.max(append_count(&body)),
            other => panic!("nothing is sent to {other}"),
        }
    }
    let span = span.unwrap();
    assert_eq!((span.trace_id, span.parent_span_id), (vec![0xab; 16], vec![0xcd; 8]));
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    assert_eq!(appends, 1);
}

fn append_span(body: &[u8]) -> Option<opentelemetry_proto::tonic::trace::v1::Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).find(|span| span.name == "append")
}

/// How many appends the exported histogram has.
fn append_count(body: &[u8]) -> u64 {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    let mut metrics = scopes.flat_map(|scope| scope.metrics);
    let found = metrics.find(|metric| metric.name == "nexus_append_duration_seconds").unwrap();
    assert_eq!(found.unit, "s");
    let Some(metric::Data::Histogram(histogram)) = found.data else { panic!("a histogram") };
    let [point] = &*histogram.data_points else { panic!("one point") };
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
    point.count
}

#[test]
fn logs_are_json_where_that_is_asked_for() {
    let folder = Folder::new();
    let log = folder.path("log");
    let args = ["--dev", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level"];
    let args = [&args[..], &["nexus_node=debug,info"]].concat();
    let serving = Serving::start_logging(&folder, &args, std::fs::File::create(&log).unwrap());
    let mut append = serving.command();
    append.args(["append", "order-1", "--type", "T", "--data", "{\"secret\": 1}"]);
    let refused = finish(append.args(["--expected", "exists"]), b"");
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    // Lines are written before the answer is.
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().filter_map(|it| serde_json::from_str(it).ok()).collect();
    let conflicts: Vec<_> = lines.iter().filter(|line| line["code"] == "NX2001").collect();
    let [conflict] = &*conflicts else { panic!("it is logged once: {text}") };
    assert_eq!(conflict["operation"], "append");
    assert_eq!(conflict["stream"], "order-1");
    assert_eq!(conflict["principal"], "anonymous");
    assert!(!text.contains("secret"), "a payload is never logged");
}

#[test]
fn what_is_no_filter_and_no_collector_is_said() {
    let folder = Folder::new();
    for (flag, value, why) in [
        ("--log-level", "nexus_node=loud", "use error, warn, info, or debug"),
        ("--otlp-endpoint", "collector:4318", "http://HOST:4318"),
        ("--otlp-endpoint", "https://collector:4318", "OTEL_EXPORTER_OTLP_CERTIFICATE is not set"),
        ("--otlp-endpoint", "http://user:secret@collector:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
    ] {
        let wrong = finish(folder.command().args(["serve", flag, value]), b"");
        wrong.fails(2, &[why]);
        assert!(!wrong.stderr.contains("secret"), "{}", wrong.stderr);
    }
    for (name, value) in [
        ("NEXUS_LOG", "nexus_node=loud"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@collector:4318"),
    ] {
        let wrong = finish(folder.command().arg("serve").env(name, value), b"");
        wrong.fails(2, &[name]);
        assert!(!wrong.stderr.contains("secret"), "{}", wrong.stderr);
    }
}

#[test]
fn an_empty_variable_says_nothing() {
    let folder = Folder::new();
    let empty = [
        ("NEXUS_LOG", ""),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        ("OTEL_EXPORTER_OTLP_HEADERS", ""),
    ];
    let serving = Serving::start_with(&folder, &["--dev", "--listen", "127.0.0.1:0"], &empty);
    finish(serving.command().arg("stats"), b"").done();
}

#[test]
fn who_interrupts_again_does_not_wait_for_a_collector() {
    // It takes the last metrics, and never answers.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = Folder::new();
    let args = ["--dev", "--listen", "127.0.0.1:0", "--otlp-endpoint", &url];
    let mut serving = Serving::start(&folder, &args);
    serving.signal("TERM");
    let (_taken, _) = listener.accept().unwrap();
    let begun = Instant::now();
    serving.signal("TERM");
    assert_eq!(serving.wait(), Some(0), "what was asked for was done");
    // A collector has 10 s to answer.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(folder.json(&["stats"])["events"], 0, "it ended in order");
}
