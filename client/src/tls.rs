//! Whom a client trusts, as TLS wants to know it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::address::Trust;
use crate::identity::Identity;

/// The configuration of TLS for what a connection string trusts, and for the certificate that it shows.
pub(crate) fn config(
    trust: &Trust,
    identity: &Identity,
    alpn: &[u8],
) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| why.to_string())?;
    let builder = match trust {
        Trust::Ca(file) => {
            let failed = |why: &dyn std::fmt::Display| format!("ca={}: {why}", file.display());
            let mut roots = RootCertStore::empty();
            let certificates = CertificateDer::pem_file_iter(file).map_err(|why| failed(&why))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|why| failed(&why))?;
                roots.add(certificate).map_err(|why| failed(&why))?;
            }
            if roots.is_empty() {
                return Err(failed(&"there is no certificate in it"));
            }
            builder.with_root_certificates(roots)
        }
        Trust::Pinned(_) | Trust::Development => {
            let digest = match trust {
                Trust::Pinned(digest) => Some(*digest),
                _ => None,
            };
            let verifier = Arc::new(OneCertificate { digest, provider });
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    let mut config = match identity.load()? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|why| format!("the client's certificate and key: {why}"))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

/// Why a server's certificate was not trusted, and what to do; `None`: that was not what failed. The
/// code is the TLS alert as QUIC numbers it (RFC 9001, 4.8), the reason what rustls says.
pub(crate) fn why_not_trusted(code: u64, reason: &str) -> Option<String> {
    let alert = u8::try_from(code.checked_sub(0x100)?).ok()?;
    let why = match AlertDescription::from(alert) {
        AlertDescription::CertificateExpired if reason.contains("not valid yet") => {
            "its certificate is not valid yet: look at the clocks of this machine and the server's"
                .to_owned()
        }
        AlertDescription::CertificateExpired => {
            "its certificate has expired: give the server a new one, which it reads on SIGHUP; if that \
             was done, look at the clock of this machine"
                .to_owned()
        }
        AlertDescription::BadCertificate if reason.contains("not valid for") => format!(
            "its certificate is for another host ({reason}): connect by a name that it is for, or give \
             the server a certificate for this one"
        ),
        AlertDescription::AccessDenied => "its certificate is not the one that was pinned: compare the \
                                           fingerprint with what the server printed when it started, \
                                           or logged when it read a new one"
            .to_owned(),
        AlertDescription::UnknownCA | AlertDescription::DecryptError => format!(
            "its certificate is not vouched for by the CA ({reason}): name the file of the CA that \
             signed it, as in ?ca=FILE"
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown => {
            format!("its certificate cannot be used ({reason}): give the server another one")
        }
        _ => return None,
    };
    Some(why)
}

/// Trusts one certificate by its digest; with none, whatever a loopback address shows. Either way the
/// server must hold its key.
#[derive(Debug)]
struct OneCertificate {
    digest: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneCertificate {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = ring::digest::digest(&ring::digest::SHA256, shown);
        match &self.digest {
            Some(pinned) if found.as_ref() != pinned => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
