//! Logs of a server on standard error, and where traces and metrics are exported to.

mod metrics;
mod otlp;
mod sender;

use clap::ValueEnum;
use nexus_node::Node;
use nexus_node::telemetry::REQUEST_SPANS;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::exit::Failure;
use otlp::{Endpoint, Exporter};

/// What a server logs and exports.
#[derive(Debug, clap::Args)]
pub(crate) struct TelemetryArgs {
    /// How logs are written to standard error
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: LogFormat,
    /// What is logged: a level, or filters such as `info,nexus_engine=debug`
    #[arg(long, value_name = "FILTER", env = "NEXUS_LOG", default_value = "info", value_parser = filter)]
    log_level: String,
    /// Where traces and metrics are exported to, by OTLP over HTTP: http://127.0.0.1:4318
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    otlp_endpoint: Option<Endpoint>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

fn filter(text: &str) -> Result<String, String> {
    let parsed = EnvFilter::try_new(text);
    parsed.map(|_| text.to_owned()).map_err(|why| format!("{why}; use error, warn, info, or debug"))
}

/// What is told outside, from now until the end.
pub(crate) struct Telling(Option<Exporter>);

impl Telling {
    /// Starts to log.
    ///
    /// # Errors
    /// When there can be no exporter.
    pub(crate) fn start(args: &TelemetryArgs) -> Result<Self, Failure> {
        let exporter = args.otlp_endpoint.as_ref().map(Exporter::new).transpose()?;
        let traces = exporter.as_ref().map(|exporter| {
            let requests = Targets::new().with_target(REQUEST_SPANS, LevelFilter::DEBUG);
            tracing_opentelemetry::layer().with_tracer(exporter.tracer()).with_filter(requests)
        });
        let filter = EnvFilter::try_new(&args.log_level).expect("it was parsed before");
        let lines = lines(args.log_format).with_filter(filter);
        tracing_subscriber::registry().with(lines).with(traces).init();
        Ok(Self(exporter))
    }

    /// Exports the metrics of a node too, and lets its spans go on with the traces of requests.
    pub(crate) fn watch(&mut self, node: &Node) {
        if let Some(exporter) = &mut self.0 {
            node.telemetry().continue_traces_by(otlp::continues);
            exporter.watch(node.clone());
        }
    }

    /// Exports what is left.
    pub(crate) fn end(self) {
        if let Some(exporter) = self.0 {
            exporter.end();
        }
    }
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}
