//! [`Place`]: which log a command works on. Flags go before the environment, and that before the context
//! in use.

use std::path::{Path, PathBuf};

use nexus_client::Address;
use nexus_protocol::NamespaceName;

use crate::context::{Contexts, of_environment};
use crate::exit::Failure;
use crate::variable;

/// What the command line says of where the log is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// `--data`.
    pub(crate) dir: Option<PathBuf>,
    /// `--server`.
    pub(crate) server: Option<String>,
    /// `--context`.
    pub(crate) context: Option<String>,
    /// `--namespace`.
    pub(crate) namespace: Option<NamespaceName>,
}

/// Which log a command works on.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What the command line says of it.
    pub(crate) given: Given,
    /// The data directory, where one was named.
    pub(crate) dir: Option<PathBuf>,
    /// Whether the command line named it, and not the environment.
    pub(crate) named: bool,
    /// The server, where one was named and no directory; its namespace is this place's.
    pub(crate) server: Option<Address>,
    /// The context that the server is of.
    pub(super) context: Option<String>,
    /// The namespace.
    pub(crate) namespace: NamespaceName,
}

const SERVER: &str = "NEXUS_SERVER";
const DATA: &str = "NEXUS_DATA";

/// The directory that the environment names.
fn data_of_environment() -> Option<PathBuf> {
    std::env::var_os(DATA).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

impl Place {
    /// A server.
    pub(crate) fn of_server(server: Address, namespace: NamespaceName) -> Self {
        Self::at(Given::default(), Some(server), None, namespace)
    }

    fn at(
        given: Given,
        server: Option<Address>,
        context: Option<String>,
        namespace: NamespaceName,
    ) -> Self {
        let dir = given.dir.clone().or_else(data_of_environment);
        // A directory of the environment is none where the command line names a server.
        let is_elsewhere = given.server.is_some() || given.context.is_some();
        let named = given.dir.is_some() || is_elsewhere;
        Self { given, dir: dir.filter(|_| !is_elsewhere), named, server, context, namespace }
    }

    /// What the command line names, or else the environment, or else, for a command that may go to a
    /// server, the current context: a directory or a server.
    ///
    /// # Errors
    /// When the command line names two, or what it names cannot be.
    pub(crate) fn named(given: Given, may_go_to_a_server: bool) -> Result<Self, Failure> {
        let several = match (&given.dir, &given.server, &given.context) {
            (Some(_), Some(_), _) => Some("--data and --server"),
            (Some(_), None, Some(_)) => Some("--data and --context"),
            (None, Some(_), Some(_)) => Some("--server and --context"),
            _ => None,
        };
        if let Some(several) = several {
            return Err(Failure::usage(format!(
                "{several} are both given: name the directory, or the server"
            )));
        }
        let name = match &given.context {
            Some(name) => Some(name.clone()),
            None if may_go_to_a_server => {
                current_context(&given, || Ok(Contexts::load()?.current))?
            }
            None => None,
        };
        let mut address = match (server_of(&given), &name) {
            (Some(server), _) => match server_address(&server) {
                // A command that goes to no server does not mind what the environment says of one.
                Err(_) if given.server.is_none() && !may_go_to_a_server => None,
                address => Some(address?),
            },
            (None, Some(name)) => Some(address_of(name, given.context.is_some())?),
            (None, None) => None,
        };
        if let (Some(there), Some(namespace)) = (&mut address, &given.namespace) {
            *there = there.clone().with_namespace(namespace);
        }
        // A context's token is its server's alone: any other gets that of the environment.
        if let (Some(there), None, Some(token)) = (&mut address, &name, variable("NEXUS_TOKEN")) {
            *there = there.clone().token(token.trim());
        }
        let of_server = address.as_ref().map_or(NamespaceName::DEFAULT, Address::namespace);
        let namespace = match &given.namespace {
            Some(namespace) => namespace.clone(),
            None => NamespaceName::new(of_server).expect("an address has a namespace"),
        };
        Ok(Self::at(given, address, name, namespace))
    }

    /// For commands that look at all namespaces: one that is named has to be there all the same. The
    /// engine is not asked, since it may be what does not open.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn check_namespace(&self) -> Result<(), Failure> {
        let all = self.dir()?.join("namespaces");
        let is_default = self.namespace.as_str() == NamespaceName::DEFAULT;
        let Ok(entries) = std::fs::read_dir(&all) else { return Ok(()) };
        if is_default || all.join(self.namespace.as_str()).is_dir() {
            return Ok(());
        }
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let names: Vec<String> = names.filter(|name| NamespaceName::new(name).is_ok()).collect();
        Err(self.no_namespace(&names))
    }

    pub(super) fn no_namespace(&self, there: &[String]) -> Failure {
        let dir = self.dir.as_deref().unwrap_or(Path::new("")).display();
        Failure::usage(format!(
            "there is no namespace {:?} in {dir}: name one of those there are ({}), or create it with \
             `nexus namespace create {}`",
            self.namespace.as_str(),
            there.join(", "),
            self.namespace,
        ))
    }

    /// The directory, where the command line names it.
    pub(crate) fn named_dir(&self) -> Option<&PathBuf> {
        self.dir.as_ref().filter(|_| self.named)
    }

    /// The data directory.
    ///
    /// # Errors
    /// When none was named.
    pub(crate) fn dir(&self) -> Result<&PathBuf, Failure> {
        self.dir.as_ref().ok_or_else(|| match &self.server {
            Some(_) => Failure::usage(
                "this command works on a data directory, and not over a server: run it where the \
                 directory is, as in `nexus --data DIR …`",
            ),
            None => Failure::usage(
                "no data directory and no server is named: give one, as in `nexus --data DIR …` or \
                 `nexus --server nexus://HOST:PORT …`, set NEXUS_DATA or NEXUS_SERVER, or choose a \
                 context with `nexus ctx use NAME`",
            ),
        })
    }
}

/// The server that the command line names, or else, where it names nothing else, NEXUS_SERVER.
fn server_of(given: &Given) -> Option<String> {
    match (&given.dir, &given.context) {
        (None, None) => given.server.clone().or_else(|| variable(SERVER)),
        _ => given.server.clone(),
    }
}

/// The context that a command goes to: what the command line names; or else, where neither it nor
/// NEXUS_SERVER says where, what NEXUS_CONTEXT names; or else, where NEXUS_DATA names no directory, the
/// one in use.
///
/// # Errors
/// When it is not known which one is in use.
pub(crate) fn current_context(
    given: &Given,
    in_use: impl FnOnce() -> Result<Option<String>, Failure>,
) -> Result<Option<String>, Failure> {
    match &given.context {
        Some(name) => Ok(Some(name.clone())),
        None if given.dir.is_some() || server_of(given).is_some() => Ok(None),
        None => match of_environment() {
            Some(name) => Ok(Some(name)),
            None if data_of_environment().is_some() => Ok(None),
            None => in_use(),
        },
    }
}

/// The variable that goes before the context in use, if one does.
pub(crate) fn before_contexts() -> Option<&'static str> {
    let says = |name: &&str| variable(name).is_some();
    [SERVER, "NEXUS_CONTEXT", DATA].into_iter().find(says)
}

/// Where a context leads, and who asks. One that the command line names goes before NEXUS_TOKEN.
fn address_of(name: &str, is_named: bool) -> Result<Address, Failure> {
    let contexts = Contexts::load()?;
    let context = contexts.find(name)?;
    let address = context.address().map_err(|why| why.at(format_args!("context {name}")))?;
    let own = || context.token.as_ref().map(|token| token.0.clone());
    let token = match is_named {
        true => own().or_else(|| variable("NEXUS_TOKEN")),
        false => variable("NEXUS_TOKEN").or_else(own),
    };
    Ok(match token {
        Some(token) => address.token(token.trim()),
        None => address,
    })
}

/// An address of a server: a store in this process has no place there.
///
/// # Errors
/// When it is none.
pub(crate) fn server_address(text: &str) -> Result<Address, Failure> {
    let address = text.parse::<Address>()?;
    if address.is_embedded() {
        return Err(Failure::usage(format!(
            "{address} is no server: name a server as in --server nexus://HOST:PORT, or the \
             directory as in --data DIR"
        )));
    }
    Ok(address)
}
