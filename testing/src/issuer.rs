//! [`Issuer`]: somebody who signs JSON Web Tokens, and publishes the keys.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use serde_json::{Value, json};

/// Somebody who signs tokens with one key and one algorithm.
#[derive(Debug)]
pub struct Issuer {
    name: String,
    algorithm: &'static str,
    key: Key,
}

#[derive(Debug)]
enum Key {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// Base64 as tokens have it.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    /// With a new key of this name for EdDSA.
    ///
    /// # Panics
    /// When the system has no random bytes.
    pub fn ed(name: &str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("there is chance");
        let key = Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("it was just made");
        Self { name: name.to_owned(), algorithm: "EdDSA", key: Key::Ed(key) }
    }

    /// With a new key of this name for ES256, or for ES384.
    ///
    /// # Panics
    /// When it is another algorithm, or the system has no random bytes.
    pub fn ec(name: &str, algorithm: &'static str) -> Self {
        let signing = match algorithm {
            "ES256" => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            "ES384" => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            other => panic!("no algorithm of a curve: {other}"),
        };
        let chance = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(signing, &chance).expect("there is chance");
        let key = EcdsaKeyPair::from_pkcs8(signing, made.as_ref(), &chance);
        let key = Key::Ec(key.expect("it was just made"));
        Self { name: name.to_owned(), algorithm, key }
    }

    /// With this key of RSA, in PKCS #8, for an algorithm such as RS256.
    ///
    /// # Panics
    /// When it is no key.
    pub fn rsa(name: &str, algorithm: &'static str, pkcs8: &[u8]) -> Self {
        let key = RsaKeyPair::from_pkcs8(pkcs8).expect("a key of RSA in PKCS #8");
        Self { name: name.to_owned(), algorithm, key: Key::Rsa(key) }
    }

    /// Its public key as a JWK.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Ed(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_key()) })
            }
            Key::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if self.algorithm == "ES256" { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
            }
            Key::Rsa(key) => {
                let parts: PublicKeyComponents<Vec<u8>> = key.public().into();
                json!({ "kty": "RSA", "n": base64url(parts.n), "e": base64url(parts.e) })
            }
        };
        jwk["kid"] = self.name.as_str().into();
        jwk["alg"] = self.algorithm.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// Its public key as a JWKS.
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    /// A token that says this.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm, "kid": self.name, "typ": "JWT" });
        self.token_with(&header, claims)
    }

    /// A token with this header, whatever it says, signed with the key that there is.
    ///
    /// # Panics
    /// When the system has no random bytes.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message =
            format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let signed = self.sign(message.as_bytes());
        format!("{message}.{}", base64url(signed))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let chance = SystemRandom::new();
        match &self.key {
            Key::Ed(key) => key.sign(message).as_ref().to_vec(),
            Key::Ec(key) => key.sign(&chance, message).expect("there is chance").as_ref().to_vec(),
            Key::Rsa(key) => {
                let by: &dyn signature::RsaEncoding = match self.algorithm {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => panic!("no algorithm of RSA: {other}"),
                };
                let mut signed = vec![0; key.public().modulus_len()];
                key.sign(by, &chance, message, &mut signed).expect("there is chance");
                signed
            }
        }
    }

    /// A time so many seconds from now, as tokens have it.
    pub fn seconds_from_now(seconds: i64) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or(Duration::ZERO).as_secs();
        now.saturating_add_signed(seconds)
    }
}
