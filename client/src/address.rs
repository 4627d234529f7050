//! [`Address`]: what a connection string says.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nexus_protocol::NamespaceName;
use nexus_protocol::limits::ID_WINDOW_US;

use crate::error::ConnectError;
use crate::identity::Identity;

const SCHEME: &str = "nexus://";
const FILE: &str = "file:";
const MEMORY: &str = "memory:";
const HOW: &str = "write nexus://HOST:PORT[,HOST:PORT…][/NAMESPACE][?fingerprint=sha256:…|?ca=FILE]\
                   [&certificate=FILE&key=FILE][&timeout_ms=N][&connections=N], file:///DIRECTORY[?namespace=NAME], or \
                   memory:[?namespace=NAME]";
const HOW_FILE: &str =
    "write file:///DIRECTORY[?namespace=NAME], with three slashes and the whole path";
/// How long an answer is waited for unless the string says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Connections unless the string says otherwise: one for appends, one for what may take long.
const CONNECTIONS: usize = 2;
/// Longest wait for an answer: half of the time in which a server knows an append again, so that none is sent
/// again, or told refused, after that.
const TIMEOUT_MS_MAX: u64 = ID_WINDOW_US.unsigned_abs() / 1000 / 2;
const _: () = assert!(TIMEOUT_MS_MAX == 300_000, "guides say so");
/// Most connections of one client (I8).
const CONNECTIONS_MAX: usize = 64;

/// Whom a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The certificate with this SHA-256.
    Pinned([u8; 32]),
    /// Whoever a certificate in this PEM file vouches for.
    Ca(PathBuf),
    /// Anybody, on a loopback address only: the certificate of a development server. No token is sent.
    Development,
}

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum At {
    /// Behind a server.
    Servers(Servers),
    /// In a data directory of this machine, which this process opens.
    Directory(PathBuf),
    /// In the memory of this process.
    Memory,
}

/// Which servers, and how they are talked to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Servers {
    /// `host:port`, in the order to try.
    pub(crate) hosts: Vec<String>,
    pub(crate) token: Option<String>,
    pub(crate) trust: Trust,
    pub(crate) identity: Identity,
    pub(crate) timeout: Duration,
    /// How many connections at most; at least 1.
    pub(crate) connections: usize,
}

/// What a connection string says: where the store is, which namespace, whom to trust.
///
/// | string | store |
/// |---|---|
/// | `nexus://HOST:PORT[,HOST:PORT…][/NAMESPACE]` | behind the first of these servers that answers |
/// | `file:///DIRECTORY[?namespace=NAME]` | in a data directory, opened by this process; made if it is not there |
/// | `memory:[?namespace=NAME]` | in memory, gone with its last client |
///
/// A directory's path is the whole path, with `%20` for a space, and so on. The last two need the
/// feature `embedded`. Without a namespace it is `default`.
///
/// | parameter of `nexus://` | means | unless given |
/// |---|---|---|
/// | `fingerprint=sha256:…` | trust the certificate with this SHA-256 | on a loopback address, any |
/// | `ca=FILE` | trust whom a certificate in this PEM file vouches for | |
/// | `certificate=FILE&key=FILE` | say who asks by this certificate and its key, both PEM; a token that is given goes before it | |
/// | `timeout_ms=N` | wait so long for an answer, 1 to 300,000 | 30,000 |
/// | `connections=N` | make at most so many, 1 to 64; from 2 on, appends never wait for reads | 2 |
///
/// ```
/// use nexus_client::Address;
/// let address: Address = "nexus://127.0.0.1:7420/orders?timeout_ms=5000".parse()?;
/// assert_eq!(address.namespace(), "orders");
/// assert_eq!(address.to_string(), "nexus://127.0.0.1:7420/orders");
/// let address: Address = "file:///var/lib/nexus?namespace=orders".parse()?;
/// assert!(address.is_embedded());
/// # Ok::<(), nexus_client::ConnectError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) at: At,
    pub(crate) namespace: String,
}

impl Address {
    /// A data directory of this machine, opened by this process; made if it is not there. Needs the feature `embedded`.
    pub fn directory(dir: impl Into<PathBuf>) -> Self {
        let namespace = NamespaceName::DEFAULT.to_owned();
        Self { at: At::Directory(dir.into()), namespace }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether the store runs in this process: a directory, or memory.
    pub fn is_embedded(&self) -> bool {
        !matches!(self.at, At::Servers(_))
    }

    /// With another namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: &NamespaceName) -> Self {
        namespace.as_str().clone_into(&mut self.namespace);
        self
    }

    /// With this token, which says who asks. It is sent to a server that is known by certificate only;
    /// a store in this process asks for none.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        if let At::Servers(servers) = &mut self.at {
            servers.token = Some(token.into());
        }
        self
    }

    /// With at most so many connections to a server, at least 1 and at most 64.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        if let At::Servers(servers) = &mut self.at {
            servers.connections = connections.clamp(1, CONNECTIONS_MAX);
        }
        self
    }
}

impl fmt::Display for Address {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = &self.namespace;
        match &self.at {
            At::Servers(servers) => write!(f, "{SCHEME}{}/{namespace}", servers.hosts.join(",")),
            At::Directory(dir) => {
                f.write_str("file://")?;
                for byte in dir.as_os_str().as_bytes() {
                    match byte {
                        b'/' | b'-' | b'.' | b'_' | b'~' => write!(f, "{}", char::from(*byte))?,
                        _ if byte.is_ascii_alphanumeric() => write!(f, "{}", char::from(*byte))?,
                        _ => write!(f, "%{byte:02X}")?,
                    }
                }
                write!(f, "?namespace={namespace}")
            }
            At::Memory => write!(f, "{MEMORY}?namespace={namespace}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = ConnectError;

    fn from_str(text: &str) -> Result<Self, ConnectError> {
        let bad = |why: String| ConnectError::Address { given: without_secrets(text), why };
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs: Vec<_> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        let (at, namespace) = if let Some(rest) = place.strip_prefix(SCHEME) {
            let (hosts, namespace) = rest.split_once('/').unwrap_or((rest, ""));
            (At::Servers(Servers::parse(hosts, &pairs).map_err(bad)?), namespace)
        } else if let Some(rest) = place.strip_prefix(FILE) {
            let dir = directory_of(rest).map_err(bad)?;
            (At::Directory(dir), namespace_of(&pairs, HOW_FILE).map_err(bad)?)
        } else if place == MEMORY {
            (At::Memory, namespace_of(&pairs, "write memory:[?namespace=NAME]").map_err(bad)?)
        } else {
            return Err(bad(HOW.to_owned()));
        };
        let namespace = if namespace.is_empty() { NamespaceName::DEFAULT } else { namespace };
        NamespaceName::new(namespace).map_err(|why| bad(why.to_string()))?;
        Ok(Self { at, namespace: namespace.to_owned() })
    }
}

impl fmt::Debug for Servers {
    /// A token is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Servers {
    fn parse(hosts: &str, pairs: &[(&str, &str)]) -> Result<Self, String> {
        if hosts.contains('@') {
            return Err("a token has no place in it: set NEXUS_TOKEN, or give it apart".to_owned());
        }
        let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        for host in &hosts {
            let port = host.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(port, Some((host, Ok(_))) if !host.is_empty()) {
                return Err(format!("{host:?} is not HOST:PORT; {HOW}"));
            }
        }
        let mut servers = Self {
            hosts,
            token: None,
            trust: Trust::Development,
            identity: Identity::default(),
            timeout: TIMEOUT,
            connections: CONNECTIONS,
        };
        for (key, value) in pairs {
            servers.set(key, value)?;
        }
        servers.identity.check()?;
        match servers.hosts.iter().find(|host| !is_loopback(host)) {
            Some(far) if servers.trust == Trust::Development => Err(format!(
                "{far} is not this machine: say ?fingerprint=sha256:… (the server prints it when it \
                 starts) or ?ca=FILE"
            )),
            _ => Ok(servers),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "fingerprint" => {
                let digest = value.strip_prefix("sha256:").and_then(digest_of);
                let digest = digest.ok_or_else(|| {
                    format!("fingerprint {value:?} is not sha256: and 64 hex digits")
                })?;
                self.trust = Trust::Pinned(digest);
            }
            "ca" => self.trust = Trust::Ca(value.into()),
            "certificate" => self.identity.certificate = Some(value.into()),
            "key" => self.identity.key = Some(value.into()),
            "timeout_ms" => {
                let ms = value.parse().ok().filter(|ms| (1..=TIMEOUT_MS_MAX).contains(ms));
                let ms = ms.ok_or_else(|| format!("timeout_ms={value}: 1 to {TIMEOUT_MS_MAX}"))?;
                self.timeout = Duration::from_millis(ms);
            }
            "connections" => {
                let count =
                    value.parse().ok().filter(|count| (1..=CONNECTIONS_MAX).contains(count));
                self.connections =
                    count.ok_or_else(|| format!("connections={value}: 1 to {CONNECTIONS_MAX}"))?;
            }
            "namespace" => {
                return Err(
                    "the namespace of a server is a path: write nexus://HOST:PORT/NAME".to_owned()
                );
            }
            _ => return Err(format!("{key:?} is not known; {HOW}")),
        }
        Ok(())
    }
}

/// The namespace that a store of this process is asked for; there is no other parameter.
fn namespace_of<'a>(pairs: &[(&str, &'a str)], how: &str) -> Result<&'a str, String> {
    let mut found = "";
    for (key, value) in pairs {
        match *key {
            "namespace" => found = value,
            _ => return Err(format!("{key:?} is not known here; {how}")),
        }
    }
    Ok(found)
}

/// The directory of a `file:` URL, of which this is what follows the colon (RFC 8089).
fn directory_of(rest: &str) -> Result<PathBuf, String> {
    let path = rest.strip_prefix("//").filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| HOW_FILE.to_owned())?;
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.as_bytes();
    while let Some((first, rest)) = left.split_first() {
        left = rest;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let pair =
            left.split_at_checked(2).filter(|(pair, _)| pair.iter().all(u8::is_ascii_hexdigit));
        let byte = pair.and_then(|(pair, rest)| {
            left = rest;
            u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
        });
        match byte {
            Some(0) | None => {
                return Err(
                    "a % is not followed by the two hex digits of a byte: write %25 for the \
                            sign itself"
                        .to_owned(),
                );
            }
            Some(byte) => bytes.push(byte),
        }
    }
    Ok(OsString::from_vec(bytes).into())
}

/// A connection string as it may be shown: no token that somebody put into it.
fn without_secrets(text: &str) -> String {
    let place = text.split('?').next().unwrap_or_default();
    let shown = match place.rsplit_once('@') {
        Some((_, hosts)) if !place.starts_with(FILE) => format!("{SCHEME}…@{hosts}"),
        _ => place.to_owned(),
    };
    let query = if text.contains('?') { "?…" } else { "" };
    shown.chars().take(200).chain(query.chars()).collect()
}

/// The host of `host:port`, without the brackets of IPv6.
pub(crate) fn host_of(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(server: &str) -> bool {
    let host = host_of(server);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let bytes = hex.as_bytes();
    if bytes.len() != 64 || !bytes.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (out, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *out = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Servers {
        match text.parse::<Address>().unwrap().at {
            At::Servers(servers) => servers,
            _ => panic!("{text} names a server"),
        }
    }

    #[test]
    fn a_string_says_where_and_whom_to_trust() {
        let address: Address = "nexus://127.0.0.1:1".parse().unwrap();
        assert_eq!(address.namespace(), "default");
        let plain = servers("nexus://127.0.0.1:1");
        assert_eq!((plain.trust, plain.connections), (Trust::Development, CONNECTIONS));
        let hex = "0f".repeat(32);
        let text =
            format!("nexus://a:1,b:2/ns?fingerprint=sha256:{hex}&timeout_ms=7&connections=5");
        let pinned = servers(&text);
        assert_eq!(pinned.trust, Trust::Pinned([15; 32]));
        assert_eq!(pinned.hosts, ["a:1", "b:2"]);
        assert_eq!((pinned.timeout, pinned.connections), (Duration::from_millis(7), 5));
        assert_eq!(host_of("[::1]:7420"), "::1");
        assert!("nexus://[::1]:7420".parse::<Address>().is_ok());
    }

    #[test]
    fn a_store_of_this_process_is_a_directory_or_memory() {
        for (text, at, namespace, shown) in [
            ("memory:", At::Memory, "default", "memory:?namespace=default"),
            ("memory:?namespace=a", At::Memory, "a", "memory:?namespace=a"),
            (
                "file:///d/e",
                At::Directory("/d/e".into()),
                "default",
                "file:///d/e?namespace=default",
            ),
            (
                "file:///a%20b/%C3%A4%3f?namespace=n",
                At::Directory("/a b/ä?".into()),
                "n",
                "file:///a%20b/%C3%A4%3F?namespace=n",
            ),
        ] {
            let address: Address = text.parse().unwrap();
            assert!(address.at == at && address.is_embedded(), "{text}");
            assert_eq!((address.namespace(), &*address.to_string()), (namespace, shown));
        }
        let named: Address = "memory:".parse::<Address>().unwrap().token("t").connections(9);
        assert!(named.at == At::Memory);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let signed = format!("nexus://127.0.0.1:1?fingerprint=sha256:{}", "+f".repeat(32));
        for (text, part) in [
            ("http://a:1", "write nexus://"),
            ("", "write nexus://"),
            ("nexus://a", "is not HOST:PORT"),
            ("nexus://a:99999", "is not HOST:PORT"),
            ("nexus://:1", "is not HOST:PORT"),
            ("nexus://secret@a:1", "a token has no place in it"),
            ("nexus://a:1?token=secret", "\"token\" is not known"),
            ("nexus://127.0.0.1:1/a%20b", "namespace"),
            ("nexus://127.0.0.1:1?x=1", "\"x\" is not known"),
            ("nexus://127.0.0.1:1?namespace=a", "write nexus://HOST:PORT/NAME"),
            ("nexus://127.0.0.1:1?fingerprint=sha256:ab", "64 hex digits"),
            // What numbers may be written with, but digits are not.
            (&*signed, "64 hex digits"),
            ("nexus://127.0.0.1:1?timeout_ms=0", "1 to 300000"),
            ("nexus://127.0.0.1:1?connections=0", "1 to 64"),
            ("nexus://127.0.0.1:1?connections=65", "1 to 64"),
            ("nexus://10.0.0.1:1", "not this machine"),
            ("file:data", "file:///DIRECTORY"),
            ("file://data", "file:///DIRECTORY"),
            ("file:///d?timeout_ms=1", "\"timeout_ms\" is not known here; write file:///"),
            ("file:///d%2", "write %25"),
            ("file:///d%zz", "write %25"),
            ("file:///d%00", "write %25"),
            ("file:///d?namespace=$system", "namespace"),
            ("memory:a", "memory:[?namespace=NAME]"),
            ("memory:?x=1", "\"x\" is not known here; write memory:"),
            ("memory", "memory:[?namespace=NAME]"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
