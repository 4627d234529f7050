//! JSON Web Tokens: whoever brings one that a trusted issuer signed is let in.
//!
//! A token is a claim until its signature is verified, so the order is fixed (RFC 8725): its size, its
//! header, which key of the [`Jwks`] it names, whether its algorithm is that key's, the signature, and only
//! then what it says. A key verifies with one algorithm alone, which the key says and never the token: no
//! public key can be taken for a shared secret, and `none` and `HS…` are the algorithm of no key. What else
//! a header names to find a key by (`jwk`, `jku`, `x5u`, `x5c`) is not looked at.
//!
//! Is not: a client of an issuer. Keys are in a file, which is read at the start and when the node is told to.
//!
//! Why a token is refused goes to the log; whoever sent it is told no more than that it does not hold.

mod jwks;
mod signature;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use nexus_protocol::Timestamp;
use serde_json::Value;

pub use jwks::{BadJwks, Jwks};

use crate::principal::{Principal, PrincipalKind, Role};

/// Longest token that is looked at, in bytes (I8).
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest name of a subject and of an issuer, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Most roles that a token may name; those behind are not looked at (I8).
const ROLES_MAX: usize = 64;
/// How far the clock of an issuer may be off.
const LEEWAY: Duration = Duration::from_secs(60);
/// Media types of tokens that say who somebody is. Others of the same issuer are for something else.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRules {
    /// `aud` must name it: a token that was issued for another service lets nobody in here.
    pub audience: String,
    /// `iss` must be it; `None`: whoever has one of the keys.
    pub issuer: Option<String>,
    /// The claim that names a role, or a list of them.
    pub role_claim: String,
}

/// What tokens are held against.
#[derive(Debug)]
pub(crate) struct Jwts {
    rules: JwtRules,
    keys: RwLock<Arc<Jwks>>,
}

/// Why a token lets nobody in: for the log. It names what the token says of its key, and never the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadJwt {
    #[error("it has {0} bytes, and {TOKEN_BYTES_MAX} are the most")]
    TooLong(usize),
    #[error("it is no signed JWT, or of an algorithm that is not taken")]
    NotAJwt,
    #[error("its header asks that {0} be understood, which is not")]
    Critical(String),
    #[error("it is of type {0}, which is not one to say who somebody is")]
    WrongType(String),
    #[error("no key of the JWKS is named {0}: is the file of an earlier set of keys?")]
    UnknownKey(String),
    #[error("it names no key, and the JWKS has several")]
    NoKeyNamed,
    #[error("it is signed with {given:?}, and its key is for {wanted:?}")]
    WrongAlgorithm { given: Algorithm, wanted: Algorithm },
    #[error("its signature is not that of its key")]
    WrongSignature,
    #[error("it has expired")]
    Expired,
    #[error("it does not hold yet")]
    NotYet,
    #[error("its issuer is not `auth.issuer`")]
    WrongIssuer,
    #[error("its audience is not `auth.audience`")]
    WrongAudience,
    #[error("it lacks the claim `{0}`, or that is not what it must be")]
    BadClaim(String),
}

/// A text that somebody made up, as the log shows it.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(64).collect::<String>())
}

impl Jwts {
    pub(crate) fn new(rules: JwtRules, keys: Jwks) -> Self {
        signature::install();
        Self { rules, keys: RwLock::new(Arc::new(keys)) }
    }

    /// Takes these keys from now on.
    pub(crate) fn replace(&self, keys: Jwks) {
        // A whole value is written at once: there is nothing that a panic could leave half done.
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn keys(&self) -> Arc<Jwks> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who has this token.
    pub(crate) fn identify(&self, token: &str) -> Result<Principal, BadJwt> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(BadJwt::TooLong(token.len()));
        }
        let header = decode_header(token).map_err(|_| BadJwt::NotAJwt)?;
        check_header(&header)?;
        let keys = self.keys();
        let key = keys.find(header.kid.as_deref(), header.alg)?;
        let validation = self.validation(key.algorithm);
        let decoded = decode::<HashMap<String, Value>>(token, &key.key, &validation);
        let claims = decoded.map_err(|why| refusal(why.kind()))?.claims;
        self.principal(&claims)
    }

    /// What the library checks, which reads the clock.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_audience(&[&self.rules.audience]);
        // What is not required is checked only where it is there.
        let mut required = vec!["exp", "sub", "aud"];
        if let Some(issuer) = &self.rules.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    /// Who a token that was verified says.
    fn principal(&self, claims: &HashMap<String, Value>) -> Result<Principal, BadJwt> {
        let id = name_in(claims, "sub")?;
        let issuer = match claims.contains_key("iss") {
            true => name_in(claims, "iss")?,
            false => String::new(),
        };
        let roles = claims.get(&self.rules.role_claim).map(roles_of).unwrap_or_default();
        let ends_at = ends_at(claims).ok_or_else(|| BadJwt::BadClaim("exp".to_owned()))?;
        let mut principal = Principal::new(id, PrincipalKind::Jwt, roles);
        (principal.issuer, principal.ends_at) = (Some(issuer), Some(ends_at));
        principal.claims =
            claims.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        match principal.is_over() {
            true => Err(BadJwt::Expired),
            false => Ok(principal),
        }
    }
}

fn check_header(header: &Header) -> Result<(), BadJwt> {
    if let Some(critical) = &header.crit {
        return Err(BadJwt::Critical(shown(&critical.join(", "))));
    }
    match &header.typ {
        Some(typ) if !TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)) => {
            Err(BadJwt::WrongType(shown(typ)))
        }
        _ => Ok(()),
    }
}

/// What the library says, in our words: its own may quote the token.
fn refusal(kind: &ErrorKind) -> BadJwt {
    match kind {
        ErrorKind::InvalidSignature => BadJwt::WrongSignature,
        ErrorKind::ExpiredSignature => BadJwt::Expired,
        ErrorKind::ImmatureSignature => BadJwt::NotYet,
        ErrorKind::InvalidIssuer => BadJwt::WrongIssuer,
        ErrorKind::InvalidAudience => BadJwt::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            BadJwt::BadClaim(claim.clone())
        }
        _ => BadJwt::NotAJwt,
    }
}

/// A claim that names somebody.
fn name_in(claims: &HashMap<String, Value>, claim: &str) -> Result<String, BadJwt> {
    let name = claims.get(claim).and_then(Value::as_str).filter(|name| {
        (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
    });
    name.map(str::to_owned).ok_or_else(|| BadJwt::BadClaim(claim.to_owned()))
}

/// The roles that a claim names: one, or a list. What is no role is somebody else's.
fn roles_of(claim: &Value) -> Vec<Role> {
    let named = match claim {
        Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    let named = named.iter().take(ROLES_MAX).filter_map(Value::as_str);
    let mut roles: Vec<Role> = named.filter_map(|name| name.parse().ok()).collect();
    roles.sort_unstable();
    roles.dedup();
    roles
}

/// When a token ends, the leeway included; a time that no clock shows is as good as none that ends.
fn ends_at(claims: &HashMap<String, Value>) -> Option<Timestamp> {
    let claim = claims.get("exp")?;
    let seconds = claim.as_u64().map(Duration::from_secs);
    let seconds = seconds.or_else(|| Duration::try_from_secs_f64(claim.as_f64()?).ok())?;
    let micros = seconds.saturating_add(LEEWAY).as_micros();
    Some(Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX)))
}
