//! [`Identity`]: the certificate by which a client says who it is, and its key.

use std::path::PathBuf;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The two files of a client's certificate, both PEM. They are read when the client is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The chain, the client's own certificate first.
    pub(crate) certificate: Option<PathBuf>,
    /// The key of the first certificate.
    pub(crate) key: Option<PathBuf>,
}

/// A certificate's chain, and the key of its first.
pub(crate) type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Identity {
    /// Whether both files are named, or neither is.
    pub(crate) fn check(&self) -> Result<(), String> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => Err("certificate=FILE needs key=FILE too".to_owned()),
            (None, Some(_)) => Err("key=FILE needs certificate=FILE too".to_owned()),
            _ => Ok(()),
        }
    }

    /// Reads them; `None`: the client has none.
    pub(crate) fn load(&self) -> Result<Option<Shown>, String> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            return Ok(None);
        };
        let bad = |why: String| format!("certificate={}: {why}", certificate.display());
        let chain =
            CertificateDer::pem_file_iter(certificate).map_err(|why| bad(why.to_string()))?;
        let chain: Result<Vec<_>, _> = chain.collect();
        let chain = chain.map_err(|why| bad(why.to_string()))?;
        if chain.is_empty() {
            return Err(bad("there is no certificate in it".to_owned()));
        }
        let secret = PrivateKeyDer::from_pem_file(key);
        let secret = secret.map_err(|why| format!("key={}: {why}", key.display()))?;
        Ok(Some((chain, secret)))
    }
}

/// Why the server did not take the certificate, and what to do; `None`: that was not what failed. The code is
/// the TLS alert that it sent, as QUIC numbers it.
pub(crate) fn why_refused(code: u64) -> Option<&'static str> {
    let alert = u8::try_from(code.checked_sub(0x100)?).ok()?;
    Some(match rustls::AlertDescription::from(alert) {
        rustls::AlertDescription::CertificateExpired => {
            "the server says that this client's certificate has expired, or does not hold yet: renew it, or \
             look at the clocks"
        }
        rustls::AlertDescription::UnknownCA | rustls::AlertDescription::DecryptError => {
            "the server says that no authority it trusts signed this client's certificate: show one of an \
             authority in its `tls.client_ca`"
        }
        rustls::AlertDescription::BadCertificate
        | rustls::AlertDescription::UnsupportedCertificate
        | rustls::AlertDescription::CertificateRevoked
        | rustls::AlertDescription::CertificateUnknown => {
            "the server does not take this client's certificate: show one that is for clients"
        }
        _ => return None,
    })
}
