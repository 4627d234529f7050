//! [`Principal`]: who asks.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use nexus_protocol::Timestamp;

use crate::telemetry::Door;

/// What a principal may do, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Everything.
    Admin,
    /// All but to say who may do what: reads, streams, namespaces, counts.
    Operator,
    /// Appends and reads.
    Writer,
    /// Reads.
    Reader,
    /// Counts and metrics, no event.
    Monitor,
    /// Everything, whatever policies say: for the day on which they lock everybody out. All that is done with it is on
    /// record.
    BreakGlass,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::Operator, Self::Writer, Self::Reader, Self::Monitor, Self::BreakGlass];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Monitor => "monitor",
            Self::BreakGlass => "break_glass",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: use admin, operator, writer, reader, monitor, or break_glass")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == name);
        role.ok_or_else(|| UnknownRole(name.chars().take(64).collect()))
    }
}

/// How it is known who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// This process itself: the embedded API.
    Local,
    /// Nobody said who they are; only dev mode lets them in.
    Anonymous,
    /// An API token.
    Token,
    /// A JSON Web Token that a trusted issuer signed.
    Jwt,
    /// A client certificate that a trusted authority signed.
    Certificate,
}

impl PrincipalKind {
    /// Its name, for the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Anonymous => "anonymous",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::Certificate => "certificate",
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its name, for logs and the audit stream.
    pub id: String,
    /// How that is known.
    pub kind: PrincipalKind,
    /// What it may do.
    pub roles: Vec<Role>,
    /// The token that it was let in with, by its id; it may be revoked at any time.
    pub token: Option<String>,
    /// The door that it came by; `None`: by none, or nobody said.
    pub door: Option<Door>,
    /// Who says that it is: the issuer of a JWT, empty where that names none.
    pub issuer: Option<String>,
    /// The claims of its JWT, whose signature was verified; empty without one.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// From then on it is refused, since what it came with ends by itself; `None`: it does not.
    pub ends_at: Option<Timestamp>,
}

impl Principal {
    /// Somebody, with what is known of everybody.
    pub fn new(id: impl Into<String>, kind: PrincipalKind, roles: Vec<Role>) -> Self {
        let id = id.into();
        let claims = serde_json::Map::new();
        Self { id, kind, roles, token: None, door: None, issuer: None, claims, ends_at: None }
    }

    /// This process itself: may do everything.
    pub fn local() -> Self {
        Self::new("local", PrincipalKind::Local, vec![Role::Admin])
    }

    /// Whoever reaches a server in dev mode: may do everything.
    pub fn anonymous_admin() -> Self {
        Self::unnamed("anonymous", vec![Role::Admin])
    }

    /// Whoever fetches the metrics of a server that shows them to everybody: may do nothing else.
    pub fn anonymous_monitor() -> Self {
        Self::unnamed("anonymous", vec![Role::Monitor])
    }

    /// Whoever asks for what is answered to everybody: may do nothing else.
    pub fn nobody() -> Self {
        Self::unnamed("nobody", Vec::new())
    }

    fn unnamed(id: &str, roles: Vec<Role>) -> Self {
        Self::new(id, PrincipalKind::Anonymous, roles)
    }

    /// The same, who came by this door.
    #[must_use]
    pub fn by_door(mut self, door: Door) -> Self {
        self.door = Some(door);
        self
    }

    /// Whose idempotency keys its keys are: those of this process itself, and of whoever comes without a
    /// name, are the nameless ones. No name has a control character, so that the keys of a subject or
    /// of a certificate are never those of a token of the same name, or of another issuer's subject.
    pub(crate) fn keys(&self) -> Cow<'_, str> {
        match self.kind {
            PrincipalKind::Local | PrincipalKind::Anonymous => "".into(),
            PrincipalKind::Token => (&*self.id).into(),
            PrincipalKind::Jwt => {
                let issuer = self.issuer.as_deref().unwrap_or_default();
                format!("jwt\0{issuer}\0{}", self.id).into()
            }
            PrincipalKind::Certificate => format!("certificate\0{}", self.id).into(),
        }
    }

    /// Whose use is counted together: that of a token, or of a name.
    pub(crate) fn account(&self) -> Cow<'_, str> {
        match (self.kind, &self.token) {
            (_, Some(token)) => token.into(),
            (PrincipalKind::Jwt | PrincipalKind::Certificate, None) => self.keys(),
            (_, None) => (&*self.id).into(),
        }
    }

    /// Whether what it came with has ended by itself.
    pub(crate) fn is_over(&self) -> bool {
        self.ends_at.is_some_and(|at| at <= now())
    }

    /// How long what it came with still holds; `None`: it does not end by itself.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let micros = self.ends_at?.as_micros().saturating_sub(now().as_micros());
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }

    /// Who it is, as rules are told.
    pub(crate) fn subject(&self) -> nexus_policies::Subject {
        let roles: Vec<_> = self.roles.iter().map(|role| role.as_str()).collect();
        let (kind, issuer) = (self.kind.as_str(), self.issuer.as_deref());
        nexus_policies::Subject::new(&self.id, kind, issuer, &roles, &self.claims)
    }

    /// Whether it has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// The time of the clock on the wall, by which tokens end.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_parse_what_they_print() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        let error = "root".parse::<Role>().unwrap_err().to_string();
        assert!(error.contains("\"root\"") && error.contains("use admin"), "{error}");
    }
}
