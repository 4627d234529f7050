//! Export of traces and metrics by OTLP, protobuf over HTTP: the one protocol of collectors that needs no
//! library of its own for the way there.
//!
//! Spans go through the SDK, in batches, on its thread. Metrics do not: the node has its own numbers, in
//! counters that cost nothing where nobody looks, and they are sent as they are at regular times.

use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

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

/// Where a collector is: the part of the address that all its paths begin with.
#[derive(Clone, Debug)]
pub(super) struct Endpoint(String);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.trim_end_matches('/');
        let known = bare.starts_with("http://") || bare.starts_with("https://");
        match bare.parse::<http::Uri>() {
            Ok(uri) if known && uri.host().is_some_and(|host| !host.is_empty()) => {
                Ok(Self(bare.to_owned()))
            }
            _ => Err("it is no address of a collector: http://HOST:4318, or https://".to_owned()),
        }
    }
}

impl Endpoint {
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Whether the way there is by TLS.
    fn is_secret(&self) -> bool {
        self.0.starts_with("https://")
    }
}

/// Exports until it is ended.
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    sender: Sender,
    metrics: Endpoint,
    watching: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Exporter {
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, Failure> {
        let sender = Sender::new(endpoint.is_secret())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(sender.clone())
            .with_endpoint(endpoint.path("/v1/traces"))
            .build()
            .map_err(|why| Failure::usage(format!("cannot export traces: {why}")))?;
        let resource = Resource::builder().with_service_name(SERVICE).build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        Ok(Self { provider, sender, metrics: endpoint.clone(), watching: None })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer(SERVICE)
    }

    /// Sends the metrics of a node at regular times, on a thread of its own.
    pub(super) fn watch(&mut self, node: Node) {
        let (end, ended) = sync_channel(1);
        let (sender, url) = (self.sender.clone(), self.metrics.path("/v1/metrics"));
        let interval = std::env::var(INTERVAL).ok().and_then(|ms| ms.parse().ok());
        let interval = Duration::from_millis(interval.unwrap_or(INTERVAL_MS).max(1));
        let started = SystemTime::now();
        let watch = move || {
            let mut reached = true;
            loop {
                let over = ended.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
                reached = export(&node, &sender, &url, started, reached);
                if over {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(watch);
        match thread {
            Ok(thread) => self.watching = Some((end, thread)),
            Err(error) => tracing::warn!(%error, "no thread is left: metrics are not exported"),
        }
    }

    /// Sends what is left. A collector that is gone does not hold it up for longer than its time.
    pub(super) fn end(self) {
        if let Some((end, thread)) = self.watching {
            drop(end);
            let _ = thread.join();
        }
        if let Err(why) = self.provider.shutdown_with_timeout(SEND_TIME_MAX) {
            tracing::warn!(%why, "the last traces were not exported");
        }
    }
}

/// Sends the metrics once; says so where that begins to fail, or to succeed. Answers whether it did.
fn export(node: &Node, sender: &Sender, url: &str, started: SystemTime, reached: bool) -> bool {
    let families = match node.metrics(&Principal::local()) {
        Ok(families) => families,
        Err(_) => return reached,
    };
    let body = metrics::encode(&families, started, SystemTime::now());
    let request = Request::post(url).header("content-type", "application/x-protobuf");
    let sent = request.body(body.into()).map_err(|why| why.to_string());
    let sent = sent.and_then(|request| sender.send(request).map_err(|why| why.to_string()));
    let refused = match sent {
        Ok(answer) if answer.status().is_success() => None,
        Ok(answer) => Some(format!("the collector answers {}", answer.status())),
        Err(why) => Some(why),
    };
    match &refused {
        Some(why) if reached => tracing::warn!(url, why, "metrics cannot be exported"),
        None if !reached => tracing::info!(url, "metrics are exported again"),
        _ => {}
    }
    refused.is_none()
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
    }
}
