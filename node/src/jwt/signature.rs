//! Signatures of tokens, verified by ring, which TLS uses too. Nothing is signed here.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature as by;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: verifier,
    // Only what makes keys of other keys needs these.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring what verifies, for the whole process. Where a program that embeds a node chose another before,
/// that stays, and verifies the same.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

/// A public key, and the one algorithm it is asked with.
struct RingVerifier {
    algorithm: Algorithm,
    by: By,
    key: DecodingKey,
}

#[derive(Clone, Copy)]
enum By {
    Point(&'static dyn by::VerificationAlgorithm),
    Rsa(&'static by::RsaParameters),
}

fn by(algorithm: Algorithm) -> Option<By> {
    Some(match algorithm {
        Algorithm::EdDSA => By::Point(&by::ED25519),
        Algorithm::ES256 => By::Point(&by::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => By::Point(&by::ECDSA_P384_SHA384_FIXED),
        Algorithm::RS256 => By::Rsa(&by::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => By::Rsa(&by::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => By::Rsa(&by::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => By::Rsa(&by::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => By::Rsa(&by::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => By::Rsa(&by::RSA_PSS_2048_8192_SHA512),
        _ => return None,
    })
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let by = by(*algorithm).ok_or_else(|| new_error(ErrorKind::UnsupportedAlgorithm))?;
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidKeyFormat));
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, by, key: key.clone() }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (self.by, self.key.kind()) {
            (By::Point(by), DecodingKeyKind::SecretOrDer(point)) => {
                by::UnparsedPublicKey::new(by, point).verify(message, signature)
            }
            (By::Rsa(by), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                by::RsaPublicKeyComponents { n, e }.verify(by, message, signature)
            }
            _ => return Err(signature::Error::new()),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
