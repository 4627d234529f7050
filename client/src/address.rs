//! [`Address`]: what a connection string says.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nexus_protocol::NamespaceName;

use crate::error::ConnectError;

const SCHEME: &str = "nexus://";
const HOW: &str = "write nexus://HOST:PORT[,HOST:PORT…][/NAMESPACE][?fingerprint=sha256:…|?ca=FILE]\
                   [&timeout_ms=N]";
/// How long an answer is waited for unless the string says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

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

/// What a connection string says: servers, namespace, whom to trust.
///
/// ```
/// use nexus_client::Address;
/// let address: Address = "nexus://127.0.0.1:7420/orders?timeout_ms=5000".parse()?;
/// assert_eq!(address.namespace(), "orders");
/// assert_eq!(address.to_string(), "nexus://127.0.0.1:7420/orders");
/// # Ok::<(), nexus_client::ConnectError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// `host:port`, in the order to try.
    pub(crate) servers: Vec<String>,
    pub(crate) namespace: String,
    pub(crate) token: Option<String>,
    pub(crate) trust: Trust,
    pub(crate) timeout: Duration,
}

impl Address {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// With another namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: &NamespaceName) -> Self {
        namespace.as_str().clone_into(&mut self.namespace);
        self
    }

    /// With this token, which says who asks. It is sent to a server that is known by certificate only.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }
}

impl fmt::Display for Address {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.servers.join(","), self.namespace)
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
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| bad(HOW.to_owned()))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, namespace) = place.split_once('/').unwrap_or((place, ""));
        if hosts.contains('@') {
            return Err(bad(
                "a token has no place in it: set NEXUS_TOKEN, or give it apart".to_owned()
            ));
        }
        let servers: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        for server in &servers {
            let port = server.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(port, Some((host, Ok(_))) if !host.is_empty()) {
                return Err(bad(format!("{server:?} is not HOST:PORT; {HOW}")));
            }
        }
        let namespace = if namespace.is_empty() { NamespaceName::DEFAULT } else { namespace };
        NamespaceName::new(namespace).map_err(|why| bad(why.to_string()))?;
        let mut address = Self {
            trust: Trust::Development,
            servers,
            namespace: namespace.to_owned(),
            token: None,
            timeout: TIMEOUT,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "fingerprint" => {
                    let digest = value.strip_prefix("sha256:").and_then(digest_of);
                    let digest = digest.ok_or_else(|| {
                        bad(format!("fingerprint {value:?} is not sha256: and 64 hex digits"))
                    })?;
                    address.trust = Trust::Pinned(digest);
                }
                "ca" => address.trust = Trust::Ca(value.into()),
                "timeout_ms" => {
                    let ms = value.parse().ok().filter(|ms| (1..=3_600_000).contains(ms));
                    let ms = ms.ok_or_else(|| bad(format!("timeout_ms={value}: 1 to 3600000")))?;
                    address.timeout = Duration::from_millis(ms);
                }
                _ => return Err(bad(format!("{key:?} is not known; {HOW}"))),
            }
        }
        if address.trust == Trust::Development
            && let Some(far) = address.servers.iter().find(|server| !is_loopback(server))
        {
            return Err(bad(format!(
                "{far} is not this machine: say ?fingerprint=sha256:… (the server prints it when it \
                 starts) or ?ca=FILE"
            )));
        }
        Ok(address)
    }
}

/// A connection string as it may be shown: no token that somebody put into it.
fn without_secrets(text: &str) -> String {
    let place = text.split('?').next().unwrap_or_default();
    let shown = match place.rsplit_once('@') {
        Some((_, hosts)) => format!("{SCHEME}…@{hosts}"),
        None => place.to_owned(),
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
    if bytes.len() != 64 {
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

    #[test]
    fn a_string_says_where_and_whom_to_trust() {
        let address: Address = "nexus://127.0.0.1:1".parse().unwrap();
        assert_eq!(address.namespace(), "default");
        assert_eq!(address.trust, Trust::Development);
        let hex = "0f".repeat(32);
        let text = format!("nexus://a:1,b:2/ns?fingerprint=sha256:{hex}&timeout_ms=7");
        let address: Address = text.parse().unwrap();
        assert_eq!(address.trust, Trust::Pinned([15; 32]));
        assert_eq!(address.servers, ["a:1", "b:2"]);
        assert_eq!(address.timeout, Duration::from_millis(7));
        assert_eq!(host_of("[::1]:7420"), "::1");
        assert!("nexus://[::1]:7420".parse::<Address>().is_ok());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("http://a:1", "write nexus://"),
            ("nexus://a", "is not HOST:PORT"),
            ("nexus://a:99999", "is not HOST:PORT"),
            ("nexus://:1", "is not HOST:PORT"),
            ("nexus://secret@a:1", "a token has no place in it"),
            ("nexus://a:1?token=secret", "\"token\" is not known"),
            ("nexus://127.0.0.1:1/a%20b", "namespace"),
            ("nexus://127.0.0.1:1?x=1", "\"x\" is not known"),
            ("nexus://127.0.0.1:1?fingerprint=sha256:ab", "64 hex digits"),
            ("nexus://127.0.0.1:1?timeout_ms=0", "1 to 3600000"),
            ("nexus://10.0.0.1:1", "not this machine"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
