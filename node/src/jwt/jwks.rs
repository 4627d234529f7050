//! [`Jwks`]: the public keys of those whose tokens are taken (RFC 7517).
//!
//! Invariants: each key has one algorithm; no two keys have the same name and algorithm; no secret is in it.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::{BadJwt, shown};

/// Most keys of a set (I8).
const KEYS_MAX: usize = 100;
/// Bits of the shortest and of the longest key of RSA.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A set of public keys, each with the one algorithm that it verifies with.
#[derive(Clone)]
pub struct Jwks {
    keys: Vec<Key>,
}

/// A public key.
#[derive(Clone)]
pub(super) struct Key {
    name: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Why a set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJwks {
    /// It is not JSON, or not of this form.
    #[error("is no JWKS, an object with a list `keys`: {0}")]
    NotJwks(String),
    /// There are more keys than are looked at.
    #[error("has {0} keys, and {KEYS_MAX} are the most: leave out those that nobody signs with")]
    TooMany(usize),
    /// A key that is not public.
    #[error("holds a secret in key {0}, counted from 0: put public keys alone in it")]
    Secret(usize),
    /// A key that cannot be one.
    #[error("has in place {at}, counted from 0, no key that can be used: {why}")]
    Key {
        /// Which one.
        at: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// Nobody could say which of two keys is meant.
    #[error("has two keys of the name {0} for the same algorithm: give each a `kid` of its own")]
    Twice(String),
    /// There is no key left to verify with.
    #[error(
        "has no key to verify EdDSA, ES256, ES384, RS256 to RS512, or PS256 to PS512 with: add one"
    )]
    Empty,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Jwks {
    /// A set from its JSON. Keys for what is not done here (to encrypt, other curves) are passed over, as the
    /// standard says.
    ///
    /// # Errors
    /// When it is no set, a key is broken or secret, or none can be used.
    pub fn parse(json: &[u8]) -> Result<Self, BadJwks> {
        let set: Set =
            serde_json::from_slice(json).map_err(|why| BadJwks::NotJwks(why.to_string()))?;
        if set.keys.len() > KEYS_MAX {
            return Err(BadJwks::TooMany(set.keys.len()));
        }
        let mut keys: Vec<Key> = Vec::new();
        for (at, value) in set.keys.into_iter().enumerate() {
            if ["d", "k"].iter().any(|secret| value.get(secret).is_some()) {
                return Err(BadJwks::Secret(at));
            }
            let Some(key) = Key::of(value).map_err(|why| BadJwks::Key { at, why })? else {
                continue;
            };
            if keys.iter().any(|it| it.name == key.name && it.algorithm == key.algorithm) {
                return Err(BadJwks::Twice(shown(key.name.as_deref().unwrap_or_default())));
            }
            keys.push(key);
        }
        match keys.is_empty() {
            true => Err(BadJwks::Empty),
            false => Ok(Self { keys }),
        }
    }

    /// What its keys are called and used with: `ops-1 (EdDSA)`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.keys.iter().map(|key| {
            let name = key.name.as_deref().map_or_else(|| "unnamed".to_owned(), shown);
            format!("{name} ({:?})", key.algorithm)
        })
    }

    /// The key that a token means. Its algorithm is the key's, or there is none.
    pub(super) fn find(&self, name: Option<&str>, given: Algorithm) -> Result<&Key, BadJwt> {
        let is_meant = |key: &&Key| name.is_none() || key.name.as_deref() == name;
        let named: Vec<&Key> = self.keys.iter().filter(is_meant).collect();
        match (name, &*named) {
            (Some(name), []) => Err(BadJwt::UnknownKey(shown(name))),
            (None, [] | [_, _, ..]) => Err(BadJwt::NoKeyNamed),
            (_, [first, ..]) => {
                let found = named.iter().find(|key| key.algorithm == given).copied();
                found.ok_or(BadJwt::WrongAlgorithm { given, wanted: first.algorithm })
            }
        }
    }
}

impl Key {
    /// A key; `None`: it is for something else.
    fn of(value: Value) -> Result<Option<Self>, &'static str> {
        let kind = value.get("kty").and_then(Value::as_str).unwrap_or_default().to_owned();
        let curve = value.get("crv").and_then(Value::as_str).unwrap_or_default().to_owned();
        let jwk: Jwk = serde_json::from_value(value).map_err(|_| "it is no JWK")?;
        let common = &jwk.common;
        let is_to_verify = common
            .public_key_use
            .as_ref()
            .is_none_or(|it| *it == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|it| it.contains(&KeyOperations::Verify));
        if !is_to_verify {
            return Ok(None);
        }
        let possible: &[Algorithm] = match (&jwk.algorithm, &*kind, &*curve) {
            (AlgorithmParameters::EllipticCurve(key), ..) => match key.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return Ok(None),
            },
            (AlgorithmParameters::OctetKeyPair(key), ..) => match key.curve {
                EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
                _ => return Ok(None),
            },
            (AlgorithmParameters::RSA(_), ..) => AlgorithmFamily::Rsa.algorithms(),
            (_, "RSA", _) => return Err("it lacks `n` or `e`"),
            (_, "EC", "P-256" | "P-384") => return Err("it lacks `x` or `y`"),
            (_, "OKP", "Ed25519") => return Err("it lacks `x`"),
            (_, "", _) => return Err("it lacks `kty`"),
            _ => return Ok(None),
        };
        // One that says nothing verifies with one algorithm all the same: of RSA the usual one.
        let algorithm = match common.key_algorithm {
            None => *possible.iter().find(|it| **it == Algorithm::RS256).unwrap_or(&possible[0]),
            Some(named) => match Algorithm::try_from(named) {
                Ok(named) if possible.contains(&named) => named,
                Ok(_) => return Err("its `alg` is that of another kind of key"),
                Err(_) => return Ok(None),
            },
        };
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| "a part of it is not base64url")?;
        let key = checked(key, algorithm)?;
        Ok(Some(Self { name: jwk.common.key_id, algorithm, key }))
    }
}

/// A key whose parts have the length that they must have.
fn checked(key: DecodingKey, algorithm: Algorithm) -> Result<DecodingKey, &'static str> {
    match key.kind() {
        DecodingKeyKind::SecretOrDer(point) => {
            let bytes = match algorithm {
                Algorithm::ES256 => 65,
                Algorithm::ES384 => 97,
                _ => 32,
            };
            match point.len() == bytes {
                true => Ok(key),
                false => Err("its point has not the length of its curve"),
            }
        }
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            // Some write a zero before it, as DER has it.
            let without = |number: &[u8]| -> Vec<u8> {
                number.iter().copied().skip_while(|byte| *byte == 0).collect()
            };
            let (n, e) = (without(n), without(e));
            let unused = n.first().map_or(0, |first| first.leading_zeros() as usize);
            match RSA_BITS.contains(&(n.len() * 8 - unused)) {
                true => Ok(DecodingKey::from_rsa_raw_components(&n, &e)),
                false => Err("a key of RSA has 2048 to 8192 bits"),
            }
        }
    }
}
