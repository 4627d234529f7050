//! [`Settings`]: what can be set of a server, and what holds where nothing is.
//!
//! A new setting is a field here, a line of [`KEYS`](super::KEYS), and a row of
//! `docs/reference/configuration.md`; a test holds the three together. Files, variables, the two
//! `nexus config` commands, and messages follow from them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Authorities, ConfigError};
use crate::jwt::{Jwks, JwtRules};
use crate::principal::Role;
use crate::projections::ProjectionRoom;
use crate::quota::Quota;

/// What can be set of a server. [`Settings::default`] holds where nothing is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Lets everybody in, on loopback only.
    pub dev: bool,
    /// How long requests may take to end when the server is told to stop, in seconds.
    pub grace_s: u64,
    /// What it shows to prove who it is.
    pub tls: Tls,
    /// Whom it lets in besides those with a token of its own.
    pub auth: Auth,
    /// What it takes.
    pub limits: Limits,
    /// What each principal may do in each namespace in a second.
    pub quota: Quota,
    /// What it takes over HTTP besides.
    pub http: Http,
    /// Who sees its metrics.
    pub metrics: Metrics,
    /// What projections may take of the disk.
    pub projections: ProjectionRoom,
}

/// What a server shows to prove who it is: both files, or the one of the data directory; and whom it believes
/// when clients do the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the chain, the server's own certificate first.
    pub certificate: Option<PathBuf>,
    /// PEM file with the key of the first certificate.
    pub key: Option<PathBuf>,
    /// PEM file with the authorities whose client certificates are taken; without it none is asked for.
    pub client_ca: Option<PathBuf>,
}

impl Tls {
    /// The authorities whose client certificates are taken; `None`: none is asked for.
    ///
    /// # Errors
    /// When their file cannot be read, or is none.
    pub fn client_authorities(&self) -> Result<Option<Authorities>, ConfigError> {
        self.client_ca.as_deref().map(Authorities::load).transpose()
    }
}

/// Whom a server lets in besides those with a token of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// File with the public keys of those whose JWTs are taken; without it none is.
    pub jwks: Option<PathBuf>,
    /// Who must have issued a JWT.
    pub issuer: Option<String>,
    /// For whom a JWT must have been issued.
    pub audience: Option<String>,
    /// The claim of a JWT that names its roles.
    pub role_claim: String,
    /// Names of client certificates, each with a role.
    pub certificates: BTreeMap<String, String>,
}

impl Auth {
    /// What JWTs must say, and the keys that verify them; `None`: no JWT is taken.
    ///
    /// # Errors
    /// When the file of the keys cannot be read, or is none.
    pub fn jwts(&self) -> Result<Option<(JwtRules, Jwks)>, ConfigError> {
        let (Some(jwks), Some(audience)) = (&self.jwks, &self.audience) else { return Ok(None) };
        let (audience, issuer) = (audience.clone(), self.issuer.clone());
        let rules = JwtRules { audience, issuer, role_claim: self.role_claim.clone() };
        Ok(Some((rules, Jwks::load(jwks)?)))
    }
}

impl Auth {
    /// Which role each client certificate has.
    pub fn certificate_roles(&self) -> BTreeMap<String, Role> {
        let roles = self.certificates.iter();
        // What names no role is refused before it is a setting.
        roles.filter_map(|(name, role)| Some((name.clone(), role.parse().ok()?))).collect()
    }
}

impl Default for Auth {
    fn default() -> Self {
        let role_claim = "nexus_role".to_owned();
        let certificates = BTreeMap::new();
        Self { jwks: None, issuer: None, audience: None, role_claim, certificates }
    }
}

/// What a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time; whoever comes after is refused.
    pub connections_max: usize,
    /// Appends of one session that may be unanswered.
    pub appends_in_flight_max: u32,
    /// Bytes of requests that are being received or answered, of all connections together.
    pub request_bytes_max: usize,
}

/// What a server takes over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Largest body of a request, and line of a body of lines, in bytes.
    pub body_bytes_max: usize,
    /// A request that is not answered after so long is told so, in seconds.
    pub request_time_s: u64,
    /// Pages of these origins may ask.
    pub cors_origins: Vec<String>,
}

/// Who sees the metrics of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Whoever reaches it, without a token.
    pub open: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 7420).into(),
            dev: false,
            grace_s: 10,
            tls: Tls::default(),
            auth: Auth::default(),
            limits: Limits::default(),
            quota: Quota::default(),
            http: Http::default(),
            metrics: Metrics::default(),
            projections: ProjectionRoom::default(),
        }
    }
}

impl Default for Http {
    /// 48 MiB, in which the largest append fits as base64, and half a minute.
    fn default() -> Self {
        Self { body_bytes_max: 48 * 1024 * 1024, request_time_s: 30, cors_origins: Vec::new() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            appends_in_flight_max: 1024,
            request_bytes_max: 256 * 1024 * 1024,
        }
    }
}
