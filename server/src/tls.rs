//! [`ShownCertificate`]: what every door shows to prove who the server is. It can be replaced while the
//! server runs: handshakes that begin after that see the new one, connections that are there go on.

use std::sync::{Arc, PoisonError, RwLock};

use nexus_node::config::{Certificate, Fingerprint};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::authorities::ClientAuthorities;

/// The certificate that is shown now; one for all doors of a server.
#[derive(Debug)]
pub(crate) struct ShownCertificate {
    current: RwLock<Current>,
}

#[derive(Clone, Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

/// Why a certificate cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the certificate: {0}")]
pub struct BadCertificate(String);

impl BadCertificate {
    /// Of one that should be an authority's.
    pub(crate) fn of_authority(why: &dyn std::fmt::Display) -> Self {
        Self(format!("as an authority of clients: {why}"))
    }
}

impl ShownCertificate {
    /// Shows this one.
    pub(crate) fn new(certificate: Certificate) -> Result<Arc<Self>, BadCertificate> {
        Ok(Arc::new(Self { current: RwLock::new(Current::of(certificate)?) }))
    }

    /// Shows this one from now on; where it cannot be used, the one before stays.
    pub(crate) fn replace(&self, certificate: Certificate) -> Result<Fingerprint, BadCertificate> {
        let new = Current::of(certificate)?;
        let fingerprint = new.fingerprint;
        // A whole value is written at once: there is nothing that a panic could leave half done.
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(fingerprint)
    }

    /// What a client pins now.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.now().fingerprint
    }

    fn now(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configuration of TLS 1.3 for a door that speaks these protocols, and asks clients for certificates
    /// where there are authorities that they can be of.
    ///
    /// Sessions are not resumed: a client that resumes one is not shown a certificate, and would not
    /// find out that it was replaced. A signature is all that saves.
    pub(crate) fn config(
        self: &Arc<Self>,
        protocols: &[&[u8]],
        authorities: Option<&Arc<ClientAuthorities>>,
    ) -> Result<rustls::ServerConfig, BadCertificate> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|why| BadCertificate(why.to_string()))?;
        let mut config = match authorities {
            Some(authorities) => {
                builder.with_client_cert_verifier(Arc::<ClientAuthorities>::clone(authorities))
            }
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl Current {
    fn of(certificate: Certificate) -> Result<Self, BadCertificate> {
        let fingerprint = certificate.fingerprint();
        let provider = rustls::crypto::ring::default_provider();
        // Refuses a key that is not the certificate's.
        let key = CertifiedKey::from_der(certificate.chain, certificate.key, &provider);
        let key = key.map_err(|why| match why {
            rustls::Error::InconsistentKeys(_) => BadCertificate(
                "the key is not the one of the first certificate of the chain: give both files of \
                 one certificate, the server's own first"
                    .to_owned(),
            ),
            why => BadCertificate(why.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), fingerprint })
    }
}

impl ResolvesServerCert for ShownCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now().key)
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{
        ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection,
    };

    use super::*;

    /// A whole handshake, and what a server says after it.
    fn shake_hands(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<(), Error> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut there).unwrap();
            }
            let mut there = there.as_slice();
            while !there.is_empty() {
                server.read_tls(&mut there).unwrap();
                server.process_new_packets()?;
            }
            while server.wants_write() {
                server.write_tls(&mut back).unwrap();
            }
            let mut back = back.as_slice();
            while !back.is_empty() {
                client.read_tls(&mut back).unwrap();
                client.process_new_packets()?;
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok(())
    }

    #[test]
    fn a_client_that_comes_again_sees_the_new_certificate() {
        let first = Certificate::temporary().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(first.chain[0].clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider);
        let client = client.with_safe_default_protocol_versions().unwrap();
        // It would resume its session if it could.
        let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
        let shown = ShownCertificate::new(first).unwrap();
        let server = Arc::new(shown.config(&[], None).unwrap());
        shake_hands(&server, &client).unwrap();
        shake_hands(&server, &client).unwrap();
        shown.replace(Certificate::temporary().unwrap()).unwrap();
        let refused = shake_hands(&server, &client).unwrap_err();
        assert!(matches!(refused, Error::InvalidCertificate(_)), "{refused}");
    }

    #[test]
    fn a_certificate_that_cannot_be_used_replaces_none() {
        let first = Certificate::temporary().unwrap();
        let expected = first.fingerprint();
        let shown = ShownCertificate::new(first).unwrap();
        let other = Certificate::temporary().unwrap();
        let mixed = Certificate { chain: other.chain, key: Certificate::temporary().unwrap().key };
        let error = shown.replace(mixed).unwrap_err().to_string();
        assert!(error.contains("give both files of one certificate"), "{error}");
        assert_eq!(shown.fingerprint(), expected);
        let next = Certificate::temporary().unwrap();
        let expected = next.fingerprint();
        assert_eq!(shown.replace(next), Ok(expected));
        assert_eq!(shown.fingerprint(), expected);
    }
}
