//! `nexus ctx`: servers by name, with who asks them.

mod file;

use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use file::{Context, Contexts, Token};

use crate::exit::Failure;
use crate::output::{Facts, Output, notice, text};
use crate::store::{Given, Place, before_contexts, current_context, server_address};
use crate::variable;

/// Bytes of a token: more than any server makes, and less than it listens to.
const TOKEN_BYTES_MAX: u64 = 8192;
/// Bytes of a context's name.
const NAME_BYTES_MAX: usize = 64;

/// Keeps servers by name, with who asks them
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the contexts; the current one has a star
    #[command(after_help = "Example:\n  nexus ctx list")]
    List,
    /// Shows a context: the one that holds now, unless one is named
    #[command(after_help = "Examples:\n  nexus ctx show\n  nexus ctx show prod --output json")]
    Show(ShowArgs),
    /// Makes a context the one that holds where nothing else is said
    #[command(after_help = "Example:\n  nexus ctx use prod")]
    Use(NameArgs),
    /// Keeps a server under a name; --server says which, --namespace its namespace
    #[command(after_help = "\
Examples:
  nexus ctx add dev --server nexus://127.0.0.1:7420
  nexus ctx add prod --server 'nexus://HOST:7420?fingerprint=sha256:…' --token-file ./admin-token
  pass nexus/prod | nexus ctx add prod --server 'nexus://HOST:7420?ca=/etc/ca.pem' --token-stdin

Contexts are kept in $XDG_CONFIG_HOME/nexus/contexts.toml (~/.config unless that is set), which only its
owner may read. A token is never printed, and goes to no other server than the context's.")]
    Add(AddArgs),
    /// Forgets a context, and its token
    #[command(after_help = "Example:\n  nexus ctx remove prod")]
    Remove(NameArgs),
}

/// Which context to show.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Its name
    name: Option<String>,
}

/// Which context.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// Its name
    name: String,
}

/// What to keep.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// Its name: letters, digits, `.`, `_`, and `-`
    name: String,
    /// A file with the token that says who asks
    #[arg(long, value_name = "FILE", conflicts_with = "token_stdin")]
    token_file: Option<PathBuf>,
    /// Read the token from standard input, its first line
    #[arg(long)]
    token_stdin: bool,
}

/// A context as JSON: without its token.
#[derive(Debug, Serialize)]
struct ContextJson<'a> {
    name: &'a str,
    server: &'a str,
    namespace: Option<&'a str>,
    has_token: bool,
    current: bool,
}

#[derive(Debug, Serialize)]
struct Used<'a> {
    current: &'a str,
}

#[derive(Debug, Serialize)]
struct Removed<'a> {
    name: &'a str,
    removed: bool,
}

impl<'a> ContextJson<'a> {
    fn of(name: &'a str, context: &'a Context, current: Option<&str>) -> Self {
        Self {
            name,
            server: context.shown_server(),
            namespace: context.namespace.as_deref(),
            has_token: context.token.is_some(),
            current: current == Some(name),
        }
    }

    fn print(&self, output: &mut Output) -> Result<(), Failure> {
        let facts = Facts::new()
            .with("name", self.name)
            .with("server", self.server)
            .with_some("namespace", self.namespace)
            .with("token", if self.has_token { "kept" } else { "none" })
            .with("current", if self.current { "yes" } else { "no" });
        output.one(self, &facts)
    }
}

/// The context that NEXUS_CONTEXT names.
pub(crate) fn of_environment() -> Option<String> {
    variable("NEXUS_CONTEXT")
}

/// Runs a command of the noun.
///
/// # Errors
/// When there is no such context, or the file cannot be read or written.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let given = &place.given;
    match command {
        Command::List => list(&Contexts::load()?, given, output),
        Command::Show(args) => show(args, &Contexts::load()?, given, output),
        Command::Use(args) => {
            Contexts::change(|contexts| {
                contexts.find(&args.name)?;
                contexts.current = Some(args.name.clone());
                Ok(())
            })?;
            if let Some(variable) = before_contexts() {
                notice(format_args!("commands go where {variable} says for as long as it is set"));
            }
            let facts = Facts::new().with("current", &args.name);
            output.one(&Used { current: &args.name }, &facts)
        }
        Command::Add(args) => add(args, given, output),
        Command::Remove(args) => {
            Contexts::change(|contexts| {
                contexts.find(&args.name)?;
                contexts.contexts.remove(&args.name);
                if contexts.current.as_ref() == Some(&args.name) {
                    contexts.current = None;
                    notice(format_args!("no context is current now"));
                }
                Ok(())
            })?;
            let facts = Facts::new().with("removed", &args.name);
            output.one(&Removed { name: &args.name, removed: true }, &facts)
        }
    }
}

/// The name of the context that a command with these flags goes to, if it goes to one.
fn current(contexts: &Contexts, given: &Given) -> Result<Option<String>, Failure> {
    current_context(given, || Ok(contexts.current.clone()))
}

fn show(
    args: &ShowArgs,
    contexts: &Contexts,
    given: &Given,
    output: &mut Output,
) -> Result<(), Failure> {
    let current = current(contexts, given)?;
    let name = args.name.clone().or_else(|| current.clone()).ok_or_else(|| {
        let why = "no context is current: choose one with `nexus ctx use NAME`";
        match before_contexts() {
            Some(variable) => {
                Failure::usage(format!("{why}, and unset {variable}, which goes first"))
            }
            None => Failure::usage(why),
        }
    })?;
    let context = contexts.find(&name)?;
    ContextJson::of(&name, context, current.as_deref()).print(output)
}

fn list(contexts: &Contexts, given: &Given, output: &mut Output) -> Result<(), Failure> {
    let current = current(contexts, given)?;
    let columns = [text(""), text("CONTEXT"), text("SERVER"), text("NAMESPACE"), text("TOKEN")];
    let mut listing = output.list("contexts", &columns);
    for (name, context) in &contexts.contexts {
        let json = ContextJson::of(name, context, current.as_deref());
        listing.push(&json, || {
            let star = if json.current { "*" } else { "" };
            let token = if json.has_token { "kept" } else { "none" };
            let namespace = json.namespace.unwrap_or_default();
            [star, json.name, json.server, namespace, token].map(str::to_owned).to_vec()
        })?;
    }
    listing.end(None::<u64>)
}

fn add(args: &AddArgs, given: &Given, output: &mut Output) -> Result<(), Failure> {
    let name = &args.name;
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(fits) {
        return Err(Failure::usage(format!(
            "{name:?} is no name of a context: use letters, digits, `.`, `_`, and `-`, at most \
             {NAME_BYTES_MAX}"
        )));
    }
    // Before a token is asked for; and again once nobody else changes them.
    Contexts::load()?.refuse_taken(name)?;
    let server = given.server.as_deref().ok_or_else(|| {
        Failure::usage(format!(
            "no server is named: say which, as in `nexus ctx add {name} --server nexus://HOST:PORT`"
        ))
    })?;
    server_address(server)?;
    refuse_relative_files(server)?;
    let context = Context {
        server: server.to_owned(),
        namespace: given.namespace.as_ref().map(|namespace| namespace.as_str().to_owned()),
        token: token(args)?,
    };
    let contexts = Contexts::change(|contexts| {
        contexts.refuse_taken(name)?;
        contexts.contexts.insert(name.clone(), context);
        Ok(())
    })?;
    // Of other commands, which do not name the server.
    let current = current(&contexts, &Given::default())?;
    if current.as_deref() != Some(name) {
        notice(format_args!("`nexus ctx use {name}` makes it the current one"));
    }
    ContextJson::of(name, contexts.find(name)?, current.as_deref()).print(output)
}

/// A context is used from any folder, so its files are named from the root.
fn refuse_relative_files(server: &str) -> Result<(), Failure> {
    let query = server.split_once('?').map_or("", |(_, query)| query);
    let files = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut files = files.filter(|(name, _)| ["ca", "certificate", "key"].contains(name));
    match files.find(|(_, file)| !Path::new(file).is_absolute()) {
        Some((name, file)) => Err(Failure::usage(format!(
            "{name}={file} is seen from this folder, and a context is used from any: name the file from \
             the root, as in {name}=/etc/nexus/{name}.pem"
        ))),
        None => Ok(()),
    }
}

/// The token that is given, if one is.
fn token(args: &AddArgs) -> Result<Option<Token>, Failure> {
    let failed = |from: &dyn std::fmt::Display, error: io::Error| {
        Failure::failed(format!("cannot read the token from {from}: {error}"))
    };
    let mut text = String::new();
    let from = if let Some(path) = &args.token_file {
        let from = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|error| failed(&from, error))?;
        file.take(TOKEN_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|error| failed(&from, error))?;
        from
    } else if args.token_stdin {
        let from = "standard input".to_owned();
        if io::stdin().is_terminal() {
            notice(format_args!("type the token, and end the line"));
        }
        let mut input = io::stdin().lock().take(TOKEN_BYTES_MAX + 1);
        input.read_line(&mut text).map_err(|error| failed(&from, error))?;
        from
    } else {
        return Ok(None);
    };
    let token = text.trim();
    let fits = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_empty() || text.len() as u64 > TOKEN_BYTES_MAX || !fits {
        return Err(Failure::usage(format!(
            "there is no token in {from}: it is one word, as `nexus token create` prints it"
        )));
    }
    Ok(Some(Token(token.to_owned())))
}
