//! Files that say whom a node trusts: the keys of those who issue tokens, and the authorities that sign client
//! certificates.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::ConfigError;
use super::files::read_at_most;
use crate::jwt::Jwks;

/// Most bytes of a file that says whom to trust (I8).
const BYTES_MAX: u64 = 1 << 20;

impl Jwks {
    /// The keys of a file, of at most 1 MiB.
    ///
    /// # Errors
    /// When it cannot be read, or is no JWKS that can be used.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_at_most(path, BYTES_MAX)?;
        let bad = |why| ConfigError::Jwks { path: path.to_owned(), why };
        Self::parse(&bytes).map_err(bad)
    }
}

/// Authorities whose client certificates are taken.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// Their own certificates: at least one.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Those of a PEM file, of at most 1 MiB.
    ///
    /// # Errors
    /// When it cannot be read, is not PEM, or holds a certificate of somebody who is no authority.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_at_most(path, BYTES_MAX)?;
        let bad = |why: String| ConfigError::NotPem {
            path: path.to_owned(),
            wanted: "certificates of authorities",
            why,
        };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let certificates = certificates.map_err(|why| bad(why.to_string()))?;
        if certificates.is_empty() {
            return Err(bad("there is none in it".to_owned()));
        }
        for (at, certificate) in certificates.iter().enumerate() {
            let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| {
                bad(format!("what stands in place {at}, counted from 0, is no certificate"))
            })?;
            if !parsed.is_ca() {
                let who: String = parsed.subject().to_string().chars().take(128).collect();
                return Err(bad(format!("the certificate of {who:?} is not one of an authority")));
            }
        }
        Ok(Self { certificates })
    }
}
