//! [`Contexts`]: the file that contexts are kept in. It holds tokens: only its owner may read it, it is
//! replaced as a whole, and no message repeats what is in it. Who changes it holds a lock from reading it
//! until it is replaced, so that of two changes at once neither is lost.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nexus_client::Address;
use nexus_protocol::NamespaceName;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::output::notice;

/// All contexts, and which of them holds where nothing else is said.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// A server, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Token>,
}

/// A token, which is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Token(pub(crate) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the contexts of this user are, if there is such a place: `$XDG_CONFIG_HOME/nexus/contexts.toml`.
fn path() -> Option<PathBuf> {
    let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = of("XDG_CONFIG_HOME").or_else(|| Some(of("HOME")?.join(".config")))?;
    Some(folder.join("nexus").join("contexts.toml"))
}

/// Takes the lock of the file, which is beside it since the file itself is replaced; it is given back when
/// this is dropped.
fn lock(path: &Path) -> io::Result<std::fs::File> {
    make_folder_of(path)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path.with_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

fn make_folder_of(path: &Path) -> io::Result<&Path> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    Ok(folder)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Contexts {
    /// Those of this user; none where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or is not as it should be.
    pub(crate) fn load() -> Result<Self, Failure> {
        path().map_or_else(|| Ok(Self::default()), |path| Self::load_from(&path))
    }

    fn load_from(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            // A service whose home is no folder has none.
            Err(error) if is_missing(&error) => return Ok(Self::default()),
            Err(error) => return Err(Failure::failed(format!("cannot read {shown}: {error}"))),
        };
        // What toml says of a value may repeat it, and it may be a token: only the line is said.
        let contexts: Self = toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
            Failure::usage(format!(
                "{shown} is not a file of contexts, at line {line}: there are `current`, and tables \
                 [contexts.NAME] with `server`, `namespace`, and `token`, all of them text; mend it, or \
                 remove it and add contexts anew"
            ))
        })?;
        let readable = std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 != 0);
        if readable && contexts.contexts.values().any(|context| context.token.is_some()) {
            notice(format_args!("{shown} holds tokens, and others may read it: chmod 600 it"));
        }
        Ok(contexts)
    }

    /// Changes them, and keeps what they are then. Waits while another process does the same.
    ///
    /// # Errors
    /// When the change is refused, or the file cannot be read or written.
    pub(crate) fn change(
        change: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let path = path().ok_or_else(|| {
            Failure::failed("neither XDG_CONFIG_HOME nor HOME is set: set one of them to a folder")
        })?;
        let failed = |error| Failure::failed(format!("cannot write {}: {error}", path.display()));
        let _lock = lock(&path).map_err(failed)?;
        let mut contexts = Self::load_from(&path)?;
        change(&mut contexts)?;
        contexts.save_to(&path).map_err(failed)?;
        Ok(contexts)
    }

    fn save_to(&self, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let folder = make_folder_of(path)?;
        // A name of this process alone, where somebody else's file system knows no locks.
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&draft, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&draft);
        }
        written?;
        std::fs::File::open(folder)?.sync_all()
    }

    /// Refuses a name that is a context's already.
    ///
    /// # Errors
    /// When it is.
    pub(crate) fn refuse_taken(&self, name: &str) -> Result<(), Failure> {
        match self.contexts.contains_key(name) {
            false => Ok(()),
            true => Err(Failure::usage(format!(
                "there is a context {name:?} already: `nexus ctx remove {name}` forgets it, or choose \
                 another name"
            ))),
        }
    }

    /// The context of this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| self.no_context(name))
    }

    fn no_context(&self, name: &str) -> Failure {
        let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        let there = match names.is_empty() {
            true => "there is none yet".to_owned(),
            false => format!("name one of those there are ({})", names.join(", ")),
        };
        Failure::usage(format!(
            "there is no context {name:?}: {there}, or make it with `nexus ctx add {name} --server URL`"
        ))
    }
}

impl Context {
    /// Where it leads, without who asks.
    ///
    /// # Errors
    /// When what is kept cannot be right.
    pub(crate) fn address(&self) -> Result<Address, Failure> {
        let address: Address = self.server.parse()?;
        let own = self.namespace.as_deref().map(NamespaceName::new).transpose();
        let own = own.map_err(|why| Failure::usage(format!("its namespace: {why}")))?;
        Ok(match own {
            Some(namespace) => address.with_namespace(&namespace),
            None => address,
        })
    }

    /// Its server, for people: one that somebody wrote a token into is not repeated.
    pub(crate) fn shown_server(&self) -> &str {
        if self.server.parse::<Address>().is_ok() { &self.server } else { "not an address" }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn some() -> Contexts {
        let context = Context {
            server: "nexus://127.0.0.1:7420".to_owned(),
            namespace: Some("orders".to_owned()),
            token: Some(Token("nx_secret".to_owned())),
        };
        let contexts = BTreeMap::from([("a.b".to_owned(), context)]);
        Contexts { current: Some("a.b".to_owned()), contexts }
    }

    #[test]
    fn what_is_saved_is_its_owners_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nexus/contexts.toml");
        assert_eq!(Contexts::load_from(&path), Ok(Contexts::default()));
        Contexts::default().save_to(&path).unwrap();
        some().save_to(&path).unwrap();
        assert_eq!(Contexts::load_from(&path), Ok(some()));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn no_message_repeats_a_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contexts.toml");
        for (text, line) in [
            ("current = 'a'\n[contexts]\na = 'nx_secret'", 3),
            ("[contexts.a]\nserver = 'x'\ntokn = 'nx_secret'", 3),
            ("[contexts.a]\nserver = 'x'\ntoken = 'nx_secret", 3),
        ] {
            std::fs::write(&path, text).unwrap();
            let failure = format!("{:?}", Contexts::load_from(&path).unwrap_err());
            assert!(failure.contains(&format!("at line {line}")), "{text}: {failure}");
            assert!(!failure.contains("secret"), "{failure}");
        }
        assert!(!format!("{:?}", some()).contains("secret"));
        let failure = format!("{:?}", some().find("other").unwrap_err());
        assert!(failure.contains("those there are (a.b)"), "{failure}");
    }

    #[test]
    fn what_is_kept_is_an_address() {
        let context = some().contexts.remove("a.b").unwrap();
        assert_eq!(context.address().unwrap().namespace(), "orders");
        let none = Context { namespace: None, ..context.clone() };
        assert_eq!(none.address().unwrap().namespace(), "default");
        let wrong = Context { namespace: Some("A B".to_owned()), ..context.clone() };
        assert!(format!("{:?}", wrong.address().unwrap_err()).contains("its namespace"));
        let wrong = Context { server: "nexus://nx_secret@a:1".to_owned(), ..context };
        assert_eq!(wrong.shown_server(), "not an address");
        assert!(!format!("{:?}", wrong.address().unwrap_err()).contains("secret"));
    }
}
