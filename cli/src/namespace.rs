//! `nexus namespace`: the logs of a data directory.

use std::io::{self, BufRead, IsTerminal, Write};

use nexus_engine::{DeleteNamespaceError, Engine};
use nexus_protocol::{AppendError, InvalidName, NamespaceName, ReadError};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output, number, text};
use crate::store::{Place, Remote, Store};

/// Lists, creates, and deletes namespaces
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
    /// Deletes a namespace for good, with all its events
    #[command(after_help = "\
Examples:
  nexus --data ./data namespace delete audit
  nexus --data ./data namespace delete audit --yes

On a terminal its name has to be typed once more; elsewhere --yes is needed. One that is created by that
name later is empty. `default` cannot be deleted.")]
    Delete(DeleteArgs),
}

/// Which namespace to create.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Its name: a-z, 0-9, and `-`, at most 63, a letter or digit first
    #[arg(value_parser = name)]
    name: NamespaceName,
}

/// Which namespace to delete.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Its name
    #[arg(value_parser = name)]
    name: NamespaceName,
    /// Deletes it without asking
    #[arg(long)]
    yes: bool,
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

/// What a deletion did.
#[derive(Debug, Serialize)]
struct Deleted<'a> {
    namespace: &'a str,
    deleted: bool,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the directory cannot be opened, or the namespace not created or deleted.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    if let Some(remote) = Store::connect(place)? {
        return match command {
            Command::List => list_there(&remote, output),
            Command::Create(args) => create_there(&args.name, &remote, output),
            Command::Delete(args) => delete_there(args, &remote, output),
        };
    }
    place.check_namespace()?;
    match command {
        Command::List => list(place, output),
        Command::Create(args) => create(&args.name, place, output),
        Command::Delete(args) => delete(args, place, output),
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

fn delete(args: &DeleteArgs, place: &Place, output: &mut Output) -> Result<(), Failure> {
    check_can_ask(args)?;
    let engine = Engine::options().create(false).open(place.dir()?)?;
    if !engine.namespaces().iter().any(|there| there == args.name.as_str()) {
        let name = args.name.as_str().to_owned();
        return Err(DeleteNamespaceError::Missing { name }.into());
    }
    ask(args)?;
    engine.delete_namespace(args.name.as_str())?;
    print_deleted(&args.name, output)?;
    engine.close().map_err(|error| Failure::failed(error.to_string()))
}

fn delete_there(args: &DeleteArgs, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    check_can_ask(args)?;
    ask(args)?;
    let there = remote.client.in_namespace(&args.name);
    remote.wait(there.delete_namespace()).map_err(|error| match error {
        AppendError::NotFound { .. } => {
            DeleteNamespaceError::Missing { name: args.name.as_str().to_owned() }.into()
        }
        AppendError::Unknown => Failure::failed(format!(
            "whether namespace {:?} is deleted is not known: `nexus namespace list` says it",
            args.name.as_str()
        )),
        other => other.into(),
    })?;
    print_deleted(&args.name, output)
}

fn print_deleted(name: &NamespaceName, output: &mut Output) -> Result<(), Failure> {
    let facts = Facts::new().with("namespace", name).with("deleted", "yes");
    output.one(&Deleted { namespace: name.as_str(), deleted: true }, &facts)
}

/// What cannot be asked has to be said.
fn check_can_ask(args: &DeleteArgs) -> Result<(), Failure> {
    if args.yes || (io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "this would delete namespace {:?} for good, with all its events: pass --yes to do it",
        args.name.as_str()
    )))
}

fn ask(args: &DeleteArgs) -> Result<(), Failure> {
    match args.yes {
        true => Ok(()),
        false => confirm(&args.name, &mut io::stdin().lock(), &mut io::stderr()),
    }
}

/// Whoever deletes types the name once more.
fn confirm(
    name: &NamespaceName,
    answers: &mut impl BufRead,
    questions: &mut impl Write,
) -> Result<(), Failure> {
    let question = format!(
        "this deletes namespace {name} for good, with all its events; type its name to go on: "
    );
    let asked = questions.write_all(question.as_bytes()).and_then(|()| questions.flush());
    let mut answer = String::new();
    let answered = asked.and_then(|()| answers.read_line(&mut answer));
    if answered.is_ok() && answer.trim() == name.as_str() {
        return Ok(());
    }
    Err(Failure::failed(format!("nothing was deleted: {:?} was not typed", name.as_str())))
}

impl From<DeleteNamespaceError> for Failure {
    fn from(error: DeleteNamespaceError) -> Self {
        match error {
            DeleteNamespaceError::Needed { .. } | DeleteNamespaceError::Name(_) => {
                Self::usage(error.to_string())
            }
            _ => Self::failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_itself_confirms() {
        let name = NamespaceName::new("audit").unwrap();
        let check = |typed: &str, wanted: bool| {
            let mut asked = Vec::new();
            let confirmed = confirm(&name, &mut typed.as_bytes(), &mut asked);
            assert_eq!(confirmed.is_ok(), wanted, "{typed:?}");
            assert!(String::from_utf8(asked).unwrap().contains("namespace audit for good"));
        };
        check("audit\n", true);
        check(" audit \r\n", true);
        for typed in ["", "\n", "y\n", "yes\n", "Audit\n", "audit2\n", "audi\n"] {
            check(typed, false);
        }
    }
}
