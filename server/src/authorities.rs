//! [`ClientAuthorities`]: whom the server believes when clients show certificates. They can be replaced while
//! the server runs: handshakes that begin after that are held against the new ones.
//!
//! A client need not show a certificate: it may have a token. One that it does show must be right.

use std::sync::{Arc, PoisonError, RwLock};

use nexus_node::config::Authorities;
use nexus_node::telemetry::{Context, Operation, Telemetry};
use nexus_protocol::ReadError;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::tls::BadCertificate;

/// The authorities that are believed now; one for all doors of a server.
#[derive(Debug)]
pub(crate) struct ClientAuthorities {
    current: RwLock<Arc<dyn ClientCertVerifier>>,
    telemetry: Arc<Telemetry>,
}

impl ClientAuthorities {
    /// Believes these.
    pub(crate) fn new(
        authorities: &Authorities,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Arc<Self>, BadCertificate> {
        let current = RwLock::new(verifier_of(authorities)?);
        Ok(Arc::new(Self { current, telemetry: Arc::clone(telemetry) }))
    }

    /// Believes these from now on; where they cannot be used, those before stay.
    pub(crate) fn replace(&self, authorities: &Authorities) -> Result<(), BadCertificate> {
        let new = verifier_of(authorities)?;
        // A whole value is written at once: there is nothing that a panic could leave half done.
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn now(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn verifier_of(authorities: &Authorities) -> Result<Arc<dyn ClientCertVerifier>, BadCertificate> {
    let bad = |why: &dyn std::fmt::Display| BadCertificate::of_authority(why);
    let mut roots = RootCertStore::empty();
    for certificate in &authorities.certificates {
        roots.add(certificate.clone()).map_err(|why| bad(&why))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.allow_unauthenticated().build().map_err(|why| bad(&why))?;
    Ok(verifier)
}

impl ClientCertVerifier for ClientAuthorities {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: they may change, and who asks need not know whom the server believes.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.now().verify_client_cert(certificate, intermediates, now);
        verified.inspect_err(|why| {
            let reason = format!("a client certificate is refused: {why}");
            let context = Context::new(Operation::Connect, "", "");
            self.telemetry.log_error(&context, &ReadError::Unauthenticated { reason });
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now().supported_verify_schemes()
    }
}
