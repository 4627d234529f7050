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
use crate::variable;
use otlp::{Endpoint, Exporter};

/// What a server logs and exports.
#[derive(Debug, clap::Args)]
pub(crate) struct TelemetryArgs {
    /// How logs are written to standard error
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: LogFormat,
    // Neither variable is read by the parser of the command line: an empty one says nothing, and one that
    // cannot be must not be repeated, since there may be a password in it.
    /// What is logged: a level, or filters such as `info,nexus_engine=debug`; NEXUS_LOG, or else `info`,
    /// unless given
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    log_level: Option<String>,
    /// Where traces and metrics are exported to, by OTLP over HTTP: http://127.0.0.1:4318;
    /// OTEL_EXPORTER_OTLP_ENDPOINT unless given
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
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

impl TelemetryArgs {
    fn filter(&self) -> Result<EnvFilter, Failure> {
        const VARIABLE: &str = "NEXUS_LOG";
        let said = match (&self.log_level, variable(VARIABLE)) {
            (Some(level), _) => level.clone(),
            (None, Some(text)) => {
                filter(&text).map_err(|why| Failure::usage(format!("{VARIABLE}: {why}")))?
            }
            (None, None) => "info".to_owned(),
        };
        Ok(EnvFilter::try_new(said).expect("it was parsed before"))
    }

    fn endpoint(&self) -> Result<Option<Endpoint>, Failure> {
        const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let (source, text) = match (&self.otlp_endpoint, variable(VARIABLE)) {
            (Some(text), _) => ("--otlp-endpoint", text.clone()),
            (None, Some(text)) => (VARIABLE, text),
            (None, None) => return Ok(None),
        };
        let parsed = text.parse();
        parsed.map(Some).map_err(|why: String| Failure::usage(format!("{source}: {why}")))
    }
}

/// What is told outside, from now until the end.
pub(crate) struct Telling(Option<Exporter>);

impl Telling {
    /// Starts to log.
    ///
    /// # Errors
    /// When there can be no exporter.
    pub(crate) fn start(args: &TelemetryArgs) -> Result<Self, Failure> {
        let filter = args.filter()?;
        let exporter = args.endpoint()?.map(Exporter::new).transpose()?;
        let traces = exporter.as_ref().map(|exporter| {
            let requests = Targets::new().with_target(REQUEST_SPANS, LevelFilter::DEBUG);
            tracing_opentelemetry::layer().with_tracer(exporter.tracer()).with_filter(requests)
        });
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

    /// What ends it, in whichever thread: it exports what is left, and may wait for the collector as long
    /// as that has time. Once that was taken there is nothing left to end.
    pub(crate) fn take_end(&mut self) -> impl FnOnce() + Send + use<> {
        let exporter = self.0.take();
        move || {
            if let Some(exporter) = exporter {
                exporter.end();
            }
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
