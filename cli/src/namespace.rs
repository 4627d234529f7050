//! `nexus namespace`: the logs of a data directory.

use nexus_engine::Engine;
use nexus_protocol::{InvalidName, NamespaceName, ReadError};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output, number, text};
use crate::store::{Place, Remote, Store};

/// Lists and creates namespaces
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists namespaces by name
    #[command(after_help = "Example:\n  nexus --data ./data namespace list")]
    List,
    /// Creates a namespace: a log of its own in the same directory
    #[command(after_help = "\
Examples:
  nexus --data ./data namespace create audit
  nexus --data ./data --namespace audit stats

One that is there already is left as it is.")]
    Create(CreateArgs),
}

/// Which namespace to create.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Its name: a-z, 0-9, and `-`, at most 63, a letter or digit first
    #[arg(value_parser = name)]
    name: NamespaceName,
}

/// A namespace's name.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn name(name: &str) -> Result<NamespaceName, InvalidName> {
    NamespaceName::new(name)
}

/// A namespace as JSON.
#[derive(Debug, Serialize)]
struct NamespaceJson<'a> {
    namespace: &'a str,
    events: u64,
    streams: u64,
}

/// What a creation did.
#[derive(Debug, Serialize)]
struct Created<'a> {
    namespace: &'a str,
    created: bool,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the directory cannot be opened, or the namespace not created.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    if let Some(remote) = Store::connect(place)? {
        return match command {
            Command::List => list_there(&remote, output),
            Command::Create(args) => create_there(&args.name, &remote, output),
        };
    }
    place.check_namespace()?;
    match command {
        Command::List => list(place, output),
        Command::Create(args) => create(&args.name, place, output),
    }
}

/// Those of a server; each is asked by itself.
fn list_there(remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let columns = [text("NAMESPACE"), number("EVENTS"), number("STREAMS")];
    let mut listing = output.list("namespaces", &columns);
    for name in remote.wait(remote.client.namespaces())? {
        let there =
            remote.client.in_namespace(&NamespaceName::new(&name).map_err(ReadError::from)?);
        let stats = remote.wait(there.stats())?;
        let (events, streams) = (stats.events, stats.streams);
        let json = NamespaceJson { namespace: &name, events, streams };
        listing.push(&json, || vec![name.clone(), events.to_string(), streams.to_string()])?;
    }
    listing.end(None::<u64>)
}

fn create_there(name: &NamespaceName, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let there = remote.wait(remote.client.namespaces())?;
    let created = !there.iter().any(|there| there == name.as_str());
    remote.wait(remote.client.in_namespace(name).create_namespace())?;
    print_created(name, created, output)
}

fn print_created(name: &NamespaceName, created: bool, output: &mut Output) -> Result<(), Failure> {
    let facts = Facts::new()
        .with("namespace", name)
        .with("created", if created { "yes" } else { "no, it was there" });
    output.one(&Created { namespace: name.as_str(), created }, &facts)
}

fn list(place: &Place, output: &mut Output) -> Result<(), Failure> {
    let engine = Engine::options().create(false).read_only(true).open(place.dir()?)?;
    let columns = [text("NAMESPACE"), number("EVENTS"), number("STREAMS")];
    let mut listing = output.list("namespaces", &columns);
    for name in engine.namespaces() {
        let stats = engine.namespace(&name)?.stats();
        let (events, streams) = (stats.events, stats.streams);
        let json = NamespaceJson { namespace: &name, events, streams };
        listing.push(&json, || vec![name.clone(), events.to_string(), streams.to_string()])?;
    }
    listing.end(None::<u64>)?;
    engine.close().map_err(|error| Failure::failed(error.to_string()))
}

fn create(name: &NamespaceName, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let engine = Engine::open(place.dir()?)?;
    let created = !engine.namespaces().iter().any(|there| there == name.as_str());
    engine.create_namespace(name.as_str())?;
    print_created(name, created, output)?;
    engine.close().map_err(|error| Failure::failed(error.to_string()))
}
