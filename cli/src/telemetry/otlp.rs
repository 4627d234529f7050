//! Export of traces and metrics by OTLP, protobuf over HTTP: the one protocol of collectors that needs no
//! library of its own for the way there.
//!
//! Spans go through the SDK, in batches, on its thread. Metrics do not: the node has its own numbers, in
//! counters that cost nothing where nobody looks, and they are sent as they are at regular times.

use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use nexus_node::{Node, Principal};
use nexus_protocol::TraceContext;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_http::Request;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::metrics;
use super::sender::Sender;
use crate::exit::Failure;

/// The name that a server goes by in traces and metrics.
pub(super) const SERVICE: &str = "nexus";
/// A collector has so long to take a batch.
pub(super) const SEND_TIME_MAX: Duration = Duration::from_secs(10);
/// Metrics are sent so often, unless the variable says otherwise, in milliseconds.
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const INTERVAL_MS: u64 = 60_000;

/// Where a collector is.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Scheme, host, and port: what is logged of it.
    origin: String,
    /// What all its paths begin with.
    folder: String,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let no_address = "it is no address of a collector: http://HOST:4318, or https://";
        let uri = text.trim().parse::<http::Uri>().map_err(|_| no_address)?;
        let known = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let (Some(scheme), Some(authority)) = (known, uri.authority()) else {
            return Err(no_address.to_owned());
        };
        if authority.host().is_empty() {
            return Err(no_address.to_owned());
        }
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(
                "an address is shown in logs: leave out who sends and what stands behind `?`, \
                        and say it in OTEL_EXPORTER_OTLP_HEADERS, as in Authorization=Basic%20…"
                    .to_owned(),
            );
        }
        let origin = format!("{scheme}://{authority}");
        Ok(Self { origin, folder: uri.path().trim_end_matches('/').to_owned() })
    }
}

impl Endpoint {
    fn path(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.folder)
    }

    /// Whether the way there is by TLS.
    fn is_secret(&self) -> bool {
        self.origin.starts_with("https://")
    }
}

/// Exports until it is ended.
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    sender: Sender,
    endpoint: Endpoint,
    resource: Resource,
    watching: Option<Watching>,
}

/// The thread that sends metrics.
struct Watching {
    /// Tells it to send the last, by this time, and to end.
    end: SyncSender<Instant>,
    /// Closed once it has ended.
    ended: Receiver<()>,
}

impl Exporter {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, Failure> {
        let sender = Sender::new(endpoint.is_secret())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(sender.clone())
            .with_endpoint(endpoint.path("/v1/traces"))
            .build()
            .map_err(|why| Failure::usage(format!("cannot export traces: {why}")))?;
        let resource = Resource::builder().with_service_name(SERVICE).build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(exporter)
            .build();
        Ok(Self { provider, sender, endpoint, resource, watching: None })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer(SERVICE)
    }

    /// Sends the metrics of a node at regular times, on a thread of its own.
    pub(super) fn watch(&mut self, node: Node) {
        let (end, told) = sync_channel::<Instant>(1);
        let (over, ended) = sync_channel(1);
        let metrics = Metrics {
            node,
            sender: self.sender.clone(),
            endpoint: self.endpoint.clone(),
            resource: self.resource.clone(),
            started: SystemTime::now(),
        };
        let interval = std::env::var(INTERVAL).ok().and_then(|ms| ms.parse().ok());
        let interval = Duration::from_millis(interval.unwrap_or(INTERVAL_MS).max(1));
        let watch = move || {
            // Closes with the thread, however that ends.
            let _over: SyncSender<()> = over;
            let mut went = true;
            loop {
                match told.recv_timeout(interval) {
                    Err(RecvTimeoutError::Timeout) => went = metrics.export(SEND_TIME_MAX, went),
                    Ok(deadline) => {
                        let left = deadline.saturating_duration_since(Instant::now());
                        metrics.export(left, went);
                        return;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(watch);
        match thread {
            Ok(_) => self.watching = Some(Watching { end, ended }),
            Err(error) => tracing::warn!(%error, "no thread is left: metrics are not exported"),
        }
    }

    /// Sends what is left. A collector that is slow does not hold it up for longer than it has for one
    /// batch, and one that was gone before not at all.
    pub(super) fn end(self) {
        self.end_within(SEND_TIME_MAX);
    }

    fn end_within(self, time: Duration) {
        let collector = &self.endpoint.origin;
        if !self.sender.is_reached() {
            tracing::warn!(
                collector,
                "what is left is not exported: the collector was not reached"
            );
            return;
        }
        let deadline = Instant::now() + time;
        // Metrics go on their own thread meanwhile: one time is enough for both.
        if let Some(watching) = &self.watching {
            let _ = watching.end.try_send(deadline);
        }
        if let Err(why) = self.provider.shutdown_with_timeout(time) {
            tracing::warn!(collector, %why, "the last traces were not exported");
        }
        if let Some(watching) = self.watching {
            let left = deadline.saturating_duration_since(Instant::now());
            if watching.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                tracing::warn!(collector, "the last metrics were not exported");
            }
        }
    }
}

/// Metrics of a node, and where they go.
struct Metrics {
    node: Node,
    sender: Sender,
    endpoint: Endpoint,
    resource: Resource,
    started: SystemTime,
}

impl Metrics {
    /// Sends them once; says so where that begins to fail, or to succeed again. Answers whether it did.
    fn export(&self, at_most: Duration, went: bool) -> bool {
        let families = match self.node.metrics(&Principal::local()) {
            Ok(families) => families,
            Err(_) => return went,
        };
        let body = metrics::encode(&families, &self.resource, self.started, SystemTime::now());
        let request = Request::post(self.endpoint.path("/v1/metrics"));
        let request = request.header("content-type", "application/x-protobuf").body(body.into());
        let sent = request
            .map_err(|why| why.to_string())
            .and_then(|request| self.sender.send(request, at_most).map_err(|why| why.to_string()));
        let refused = match sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answers {}", answer.status())),
            Err(why) => Some(why),
        };
        let collector = &self.endpoint.origin;
        match &refused {
            Some(why) if went => tracing::warn!(collector, why, "metrics cannot be exported"),
            None if !went => tracing::info!(collector, "metrics are exported again"),
            _ => {}
        }
        refused.is_none()
    }
}

/// Makes a span part of a trace of another process.
pub(super) fn continues(span: &tracing::Span, trace: TraceContext) {
    let parent = SpanContext::new(
        TraceId::from_bytes(trace.trace_id),
        SpanId::from_bytes(trace.span_id),
        TraceFlags::new(trace.flags),
        true,
        TraceState::default(),
    );
    let parent = opentelemetry::Context::new().with_remote_span_context(parent);
    // Nobody collects it: then it needs no parent either.
    let _ = span.set_parent(parent);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use opentelemetry::trace::Tracer;

    use super::*;

    #[test]
    fn an_endpoint_is_what_all_paths_begin_with() {
        for (given, path) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example/otlp/", "https://collector.example/otlp/v1/traces"),
        ] {
            assert_eq!(given.parse::<Endpoint>().unwrap().path("/v1/traces"), path);
        }
        for wrong in ["", "127.0.0.1:4318", "grpc://a:4317", "http://", "http://a b"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
        for secret in ["http://user:secret@a:4318", "https://secret@a", "http://a:4318/?key=secret"]
        {
            let why = secret.parse::<Endpoint>().unwrap_err();
            assert!(why.contains("OTEL_EXPORTER_OTLP_HEADERS") && !why.contains("secret"), "{why}");
        }
    }

    /// An exporter of metrics only at its end, to what listens there.
    fn exporter(listener: &TcpListener) -> Exporter {
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut exporter = Exporter::new(endpoint.parse().unwrap()).unwrap();
        exporter.watch(Node::over(nexus_engine::Engine::in_memory()).unwrap());
        exporter
    }

    #[test]
    fn a_collector_that_does_not_answer_gets_one_time_for_all_that_is_left() {
        // It takes connections, by its queue of them, and never answers.
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let exporter = exporter(&listener);
        // A span, so that there are traces too.
        let mut span = exporter.tracer().start("asked");
        opentelemetry::trace::Span::end(&mut span);
        let begun = Instant::now();
        exporter.end_within(Duration::from_millis(200));
        assert!(begun.elapsed() < SEND_TIME_MAX / 2, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_collector_that_was_not_reached_gets_nothing_more() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let exporter = exporter(&listener);
        let request = Request::post(exporter.endpoint.path("/v1/metrics"));
        let refused = std::thread::scope(|scope| {
            scope.spawn(|| drop(listener.accept().unwrap()));
            exporter.sender.send(request.body(Vec::new().into()).unwrap(), SEND_TIME_MAX)
        });
        assert!(refused.is_err() && !exporter.sender.is_reached());
        exporter.end();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
