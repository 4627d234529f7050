//! `nexus serve`: the engine as a service.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nexus_node::config::{Certificate, ConfigError, Fingerprint};
use nexus_node::{FirstTokenError, Node, NodeError, Principal};
use nexus_server::{Options, Server, StartError, notify};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;
use crate::output::{Facts, Output, notice};
use crate::store::Place;
use crate::telemetry::{TelemetryArgs, Telling};

/// Serves a data directory over QUIC, until it is interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus --data ./data serve --dev
  nexus --data ./data serve --listen 0.0.0.0:7420
  nexus --data ./data serve --dev --listen 127.0.0.1:0 --output json

With --dev whoever reaches it may do everything, and it listens on loopback only. Without, a token is
needed: the first start makes one for the administrator, in DIR/admin-token. Clients pin the
fingerprint that it prints: nexus://HOST:PORT?fingerprint=sha256:…

The first interruption lets what was asked for be answered; the second ends it at once. What was
acknowledged is on disk either way.")]
pub(crate) struct Args {
    /// Let everybody in, on loopback only
    #[arg(long)]
    dev: bool,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7420")]
    listen: SocketAddr,
    /// How long requests may take to end when it is interrupted, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    grace_s: u64,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// What is printed once it is ready.
#[derive(Serialize)]
struct Ready<'a> {
    quic: String,
    data: &'a str,
    pid: u32,
    fingerprint: String,
}

/// Runs the command.
///
/// # Errors
/// When the directory cannot be opened, or the address cannot be had.
pub(crate) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let mut telling = Telling::start(&args.telemetry)?;
    let served = serve(args, place, output, &mut telling);
    telling.end();
    served
}

fn serve(
    args: &Args,
    place: &Place,
    output: &mut Output,
    telling: &mut Telling,
) -> Result<(), Failure> {
    let dir = place.dir()?;
    let node = Node::open(dir)?;
    telling.watch(&node);
    if !args.dev && node.has_no_tokens() {
        make_first_token(&node, dir)?;
    }
    let certificate = Certificate::of_data_dir(dir)?;
    let fingerprint = certificate.fingerprint();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::failed(format!("no threads are left: {error}")))?;
    let grace = Duration::from_secs(args.grace_s);
    runtime.block_on(async {
        let mut interruptions = Interruptions::new()?;
        let server =
            Server::start(node, Options::new(certificate).listen(args.listen).dev(args.dev))?;
        announce(&server, dir, fingerprint, output)?;
        notify::ready();
        interruptions.next().await;
        notify::stopping();
        notice(format_args!("ending: what was asked for is answered first (again: at once)"));
        tokio::select! {
            closed = server.shut_down(grace) => {
                closed.map_err(|error| Failure::failed(error.to_string()))
            }
            () = interruptions.next() => {
                // What was acknowledged is on disk; the next start recovers.
                std::process::exit(1)
            }
        }
    })
}

fn announce(
    server: &Server,
    dir: &Path,
    fingerprint: Fingerprint,
    output: &mut Output,
) -> Result<(), Failure> {
    let ready = Ready {
        quic: server.quic_address().to_string(),
        data: &dir.to_string_lossy(),
        pid: std::process::id(),
        fingerprint: fingerprint.to_string(),
    };
    let facts = Facts::new()
        .with("quic", &*ready.quic)
        .with("data", ready.data)
        .with("process", u64::from(ready.pid))
        .with("fingerprint", &*ready.fingerprint)
        .with("connect", format!("nexus://{}?fingerprint={fingerprint}", ready.quic));
    output.one(&ready, &facts)
}

/// The administrator's token: made once, kept where only the owner of the directory can read it.
fn make_first_token(node: &Node, dir: &Path) -> Result<(), Failure> {
    let path = node.make_admin_token(&Principal::local(), dir)?;
    notice(format_args!(
        "made a token for the administrator: it is in {}, and shown nowhere else",
        path.display()
    ));
    Ok(())
}

/// Signals that ask the process to end.
struct Interruptions {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruptions {
    fn new() -> Result<Self, Failure> {
        let of = |kind| {
            signal(kind)
                .map_err(|error| Failure::failed(format!("no signal can be heard: {error}")))
        };
        Ok(Self {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Engine(error) => error.into(),
            error => Self::failed(described(&error)),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::failed(described(&error))
    }
}

impl From<FirstTokenError> for Failure {
    fn from(error: FirstTokenError) -> Self {
        Self::failed(described(&error))
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::DevNotOnLoopback { .. } => Self::usage(error.to_string()),
            _ => Self::failed(described(&error)),
        }
    }
}

/// An error with what is behind it.
fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
