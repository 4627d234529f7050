//! `nexus serve`: the engine as a service.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use nexus_node::config::{Auth, CertificateFiles, ConfigError, Fingerprint, Loaded, Tls};
use nexus_node::{FirstTokenError, Node, NodeError, Principal};
use nexus_server::{Options, Server, StartError, notify};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Flags;
use crate::exit::Failure;
use crate::output::{Facts, Output, notice, terminal_is_gone};
use crate::store::Place;
use crate::telemetry::{TelemetryArgs, Telling};

/// Serves a data directory over QUIC and HTTP, until it is interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus --data ./data serve --dev
  nexus --data ./data serve --listen 0.0.0.0:7420
  nexus --data ./data serve --dev --listen 127.0.0.1:0 --output json
  nexus --data ./data serve --config /etc/nexus.toml

With --dev whoever reaches it may do everything, and it listens on loopback only. Without, a token is
needed: the first start makes one for the administrator, in DIR/admin-token. Clients pin the
fingerprint that it prints: nexus://HOST:PORT?fingerprint=sha256:…

Flags go before NEXUS_… variables, those before the settings file, that before the defaults:
`nexus config show` says what holds. SIGHUP reads the files of the certificate, of the
authorities of client certificates, and of the keys of JWTs again.

The first interruption lets what was asked for be answered; the second ends it at once. What was
acknowledged is on disk either way.")]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// What is printed once it is ready.
#[derive(Serialize)]
struct Ready<'a> {
    quic: String,
    http: String,
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
    // Of what failed before it served: no signal is listened to yet, and any ends the process.
    telling.take_end()();
    served
}

fn serve(
    args: &Args,
    place: &Place,
    output: &mut Output,
    telling: &mut Telling,
) -> Result<(), Failure> {
    let dir = place.dir()?;
    let loaded = args.flags.read(Some(dir))?;
    let settings = &loaded.settings;
    let mut node = Node::open(dir)?.quota(settings.quota).projection_room(settings.projections);
    if let Some((rules, keys)) = settings.auth.jwts().map_err(|error| bad_jwks(&loaded, &error))? {
        node = node.jwts(rules, keys);
    }
    telling.watch(&node);
    if !settings.dev && node.has_no_tokens() {
        make_first_token(&node, dir)?;
    }
    node = node.certificates(settings.auth.certificate_roles());
    let authorities = settings.tls.client_authorities().map_err(|error| {
        Failure::usage(described(&error))
            .at(format_args!("`tls.client_ca` ({})", loaded.source("tls.client_ca")))
    })?;
    let files = Files {
        certificate: CertificateFiles::of(&settings.tls, dir)?,
        tls: settings.tls.clone(),
        auth: settings.auth.clone(),
        node: node.clone(),
    };
    let certificate = files.certificate.load().map_err(|error| bad_certificate(&loaded, &error))?;
    let fingerprint = certificate.fingerprint();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::failed(format!("no threads are left: {error}")))?;
    let grace = Duration::from_secs(settings.grace_s);
    let options = Options::new(certificate)
        .client_authorities(authorities)
        .listen(settings.listen)
        .dev(settings.dev)
        .limits(&settings.limits)
        .http(&settings.http)
        .metrics_open(settings.metrics.open);
    let groups = node.clone();
    let served = runtime.block_on(async {
        let mut interruptions = Interruptions::new()?;
        let serving = async {
            let server = Server::start(node, options).map_err(|error| match error {
                StartError::Certificate(error) => bad_certificate(&loaded, &error),
                error => error.into(),
            })?;
            groups.open_all();
            // In dev mode HTTP is plain.
            let scheme = if settings.dev { "http" } else { "https" };
            announce(&server, dir, scheme, fingerprint, output)?;
            notify::ready();
            until_interrupted(server, &files, grace, &mut interruptions).await
        };
        let served = serving.await;
        // A collector may be slow, and what was asked for is done: whoever interrupts now need not wait.
        let ended = tokio::task::spawn_blocking(telling.take_end());
        tokio::select! {
            _ = ended => {}
            () = interruptions.next(|| ()) => {}
        }
        served
    });
    // What still exports goes with the process.
    runtime.shutdown_background();
    served
}

/// Serves until it is interrupted, and then ends in order, unless it is interrupted again.
async fn until_interrupted(
    server: Server,
    files: &Files,
    grace: Duration,
    interruptions: &mut Interruptions,
) -> Result<(), Failure> {
    interruptions.next(|| reload(&server, files)).await;
    notify::stopping();
    notice(format_args!("ending: what was asked for is answered first (again: at once)"));
    tokio::select! {
        closed = server.shut_down(grace) => {
            closed.map_err(|error| Failure::failed(error.to_string()))
        }
        () = interruptions.next(|| ()) => {
            // What was acknowledged is on disk; the next start recovers.
            std::process::exit(1)
        }
    }
}

fn announce(
    server: &Server,
    dir: &Path,
    scheme: &str,
    fingerprint: Fingerprint,
    output: &mut Output,
) -> Result<(), Failure> {
    let ready = Ready {
        quic: server.quic_address().to_string(),
        http: server.http_address().to_string(),
        data: &dir.to_string_lossy(),
        pid: std::process::id(),
        fingerprint: fingerprint.to_string(),
    };
    let facts = Facts::new()
        .with("quic", &*ready.quic)
        .with("http", &*ready.http)
        .with("data", ready.data)
        .with("process", u64::from(ready.pid))
        .with("fingerprint", &*ready.fingerprint)
        .with("connect", format!("nexus://{}?fingerprint={fingerprint}", ready.quic))
        .with("look at", format!("{scheme}://{}/", ready.http));
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

/// What is read again when the server is told to.
struct Files {
    certificate: CertificateFiles,
    tls: Tls,
    auth: Auth,
    node: Node,
}

/// Takes what the files hold now; of what one holds that cannot be used, what was before stays.
fn reload(server: &Server, files: &Files) {
    let loaded = files.certificate.load().map_err(|error| described(&error));
    let shown = loaded.and_then(|certificate| {
        server.reload_certificate(certificate).map_err(|error| described(&error))
    });
    match shown {
        Ok(fingerprint) => notice(format_args!("shows the certificate {fingerprint} from now on")),
        Err(why) => tracing::error!("the certificate stays the one it was: {why}"),
    }
    let authorities = files.tls.client_authorities().map_err(|error| described(&error));
    let believed = authorities.and_then(|all| {
        let Some(all) = all else { return Ok(None) };
        server.reload_client_authorities(&all).map_err(|error| described(&error))?;
        Ok(Some(all.certificates.len()))
    });
    match believed {
        Ok(None) => {}
        Ok(Some(count)) => {
            notice(format_args!("believes client certificates of {count} authorities from now on"));
        }
        Err(why) => {
            tracing::error!("the authorities of client certificates stay those they were: {why}");
        }
    }
    match files.auth.jwts() {
        Ok(None) => {}
        Ok(Some((_, keys))) => {
            notice(format_args!("takes JWTs of the keys {keys:?} from now on"));
            files.node.replace_jwks(&Principal::local(), keys);
        }
        Err(why) => {
            tracing::error!("the keys of JWTs stay those they were: {}", described(&why));
        }
    }
}

/// A file of keys that is set and cannot be used is a wrong setting, and says where it is set.
fn bad_jwks(loaded: &Loaded, error: &ConfigError) -> Failure {
    Failure::usage(described(error))
        .at(format_args!("`auth.jwks` ({})", loaded.source("auth.jwks")))
}

/// A certificate that is set and cannot be used is a wrong setting, and says where it is set.
fn bad_certificate(loaded: &Loaded, error: &dyn std::error::Error) -> Failure {
    if loaded.settings.tls.certificate.is_none() {
        return Failure::failed(described(error));
    }
    let (certificate, key) = (loaded.source("tls.certificate"), loaded.source("tls.key"));
    Failure::usage(described(error))
        .at(format_args!("`tls.certificate` ({certificate}) and `tls.key` ({key})"))
}

/// Signals that ask the process to end, or to read its certificate again.
struct Interruptions {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Whether it was started on a terminal: it ends with that.
    on_terminal: bool,
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
            hang_up: of(SignalKind::hangup())?,
            on_terminal: std::io::stderr().is_terminal(),
        })
    }

    /// Waits until it shall end; meanwhile reloads as often as it is asked to.
    async fn next(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => match self.on_terminal && terminal_is_gone() {
                    true => return,
                    false => reload(),
                },
            }
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
pub(crate) fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
