//! The certificate that a node shows to prove who it is.
//!
//! A node without a configured certificate makes one at its first start, in `DIR/tls/`, signed by
//! itself. Clients trust it by its fingerprint, the SHA-256 of its DER form. It is made only where neither
//! file is there: one that stands alone is an operator's, and is never overwritten.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::ConfigError;
use super::files::{draft, is_there, make_folder, put_draft, read, write_draft};
use super::settings::Tls;

/// Folder of a data directory that holds the certificate.
pub const TLS_DIR: &str = "tls";
const CERTIFICATE_FILE: &str = "certificate.pem";
const KEY_FILE: &str = "key.pem";

/// What a server shows to prove who it is.
#[derive(Debug)]
pub struct Certificate {
    /// The chain, the server's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: PrivateKeyDer<'static>,
}

/// SHA-256 of a certificate: what a client pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The two files of a certificate. They are read when the server starts, and again when it is told to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// PEM: the key of the first certificate.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Those that the settings name, or else those in the data directory, which are made when there are
    /// none.
    ///
    /// # Errors
    /// When none can be made.
    pub fn of(tls: &Tls, dir: &Path) -> Result<Self, ConfigError> {
        match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => {
                Ok(Self { certificate: certificate.clone(), key: key.clone() })
            }
            _ => Self::of_data_dir(dir),
        }
    }

    /// Those in a data directory; made when there are none.
    ///
    /// # Errors
    /// When they cannot be written, or one of them is there and the other is not.
    pub fn of_data_dir(dir: &Path) -> Result<Self, ConfigError> {
        let dir = dir.join(TLS_DIR);
        let files = Self { certificate: dir.join(CERTIFICATE_FILE), key: dir.join(KEY_FILE) };
        let half = |missing: &PathBuf, there: &PathBuf| ConfigError::Half {
            missing: missing.clone(),
            there: there.clone(),
        };
        match (is_there(&files.certificate)?, is_there(&files.key)?) {
            (true, true) => {}
            (false, false) => make(&dir, &files)?,
            // A making was interrupted between its last two steps: this is the key of that certificate.
            (true, false) if is_there(&draft(&files.key))? => put_draft(&files.key)?,
            (true, false) => return Err(half(&files.key, &files.certificate)),
            (false, true) => return Err(half(&files.certificate, &files.key)),
        }
        Ok(files)
    }

    /// Reads them.
    ///
    /// # Errors
    /// When they cannot be read, or are not PEM.
    pub fn load(&self) -> Result<Certificate, ConfigError> {
        Certificate::load(&self.certificate, &self.key)
    }
}

impl Certificate {
    /// The certificate in a data directory; made when there is none.
    ///
    /// # Errors
    /// When the files cannot be read or written, or are not PEM.
    pub fn of_data_dir(dir: &Path) -> Result<Self, ConfigError> {
        CertificateFiles::of_data_dir(dir)?.load()
    }

    /// One that lives as long as the process: for servers over memory.
    ///
    /// # Errors
    /// When none can be made.
    pub fn temporary() -> Result<Self, ConfigError> {
        let made = self_signed()?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let key = key.map_err(|why| ConfigError::Make(why.to_owned()))?;
        Ok(Self { chain: vec![made.cert.der().clone()], key })
    }

    /// A certificate from PEM files: the chain, and the key of its first.
    ///
    /// # Errors
    /// When they cannot be read, or are not PEM.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, ConfigError> {
        let bytes = read(chain)?;
        let not_pem = |path: &Path, wanted, why: String| ConfigError::NotPem {
            path: path.to_owned(),
            wanted,
            why,
        };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let certificates =
            certificates.map_err(|why| not_pem(chain, "certificates", why.to_string()))?;
        if certificates.is_empty() {
            return Err(not_pem(chain, "certificates", "there is none in it".to_owned()));
        }
        let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|why| not_pem(key, "a private key", why.to_string()))?;
        Ok(Self { chain: certificates, key: secret })
    }

    /// What a client pins.
    pub fn fingerprint(&self) -> Fingerprint {
        let first = self.chain.first().expect("a chain has a first certificate");
        let digest = ring::digest::digest(&ring::digest::SHA256, first);
        Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

fn self_signed() -> Result<rcgen::CertifiedKey<rcgen::KeyPair>, ConfigError> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    rcgen::generate_simple_self_signed(names).map_err(|why| ConfigError::Make(why.to_string()))
}

/// Makes a certificate. Drafts of both files are durable before either is put in its place, the key last,
/// so that the next start can tell, and finish, what a crash interrupted.
fn make(dir: &Path, files: &CertificateFiles) -> Result<(), ConfigError> {
    let made = self_signed()?;
    make_folder(dir)?;
    write_draft(&files.key, made.signing_key.serialize_pem().as_bytes())?;
    write_draft(&files.certificate, made.cert.pem().as_bytes())?;
    put_draft(&files.certificate)?;
    put_draft(&files.key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let first = Certificate::of_data_dir(dir.path()).unwrap();
        let again = Certificate::of_data_dir(dir.path()).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_ne!(first.fingerprint(), Certificate::temporary().unwrap().fingerprint());
        let key = dir.path().join(TLS_DIR).join(KEY_FILE);
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&key, "no key").unwrap();
        let error = Certificate::of_data_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains("key.pem") && error.contains("a private key"), "{error}");
    }

    #[test]
    fn a_file_of_an_operator_is_never_overwritten() {
        for (there, missing) in [(KEY_FILE, CERTIFICATE_FILE), (CERTIFICATE_FILE, KEY_FILE)] {
            let dir = tempfile::tempdir().unwrap();
            let tls = dir.path().join(TLS_DIR);
            std::fs::create_dir(&tls).unwrap();
            std::fs::write(tls.join(there), "an operator's").unwrap();
            let error = Certificate::of_data_dir(dir.path()).unwrap_err().to_string();
            let begin = format!("{} is not there", tls.join(missing).display());
            assert!(error.starts_with(&begin), "{error}");
            assert_eq!(std::fs::read_to_string(tls.join(there)).unwrap(), "an operator's");
            assert!(!tls.join(missing).exists());
        }
    }

    #[test]
    fn a_making_that_a_crash_interrupted_is_finished() {
        // What each step of the making leaves, by the names of the files.
        let (drafts, files) = (["key.new", "certificate.new"], [KEY_FILE, CERTIFICATE_FILE]);
        for (left, is_certificate_there) in [(&drafts[..1], false), (&drafts, false), (&[], true)] {
            let dir = tempfile::tempdir().unwrap();
            let tls = dir.path().join(TLS_DIR);
            let whole = Certificate::of_data_dir(dir.path()).unwrap().fingerprint();
            if is_certificate_there {
                std::fs::rename(tls.join(KEY_FILE), tls.join("key.new")).unwrap();
            } else {
                files.iter().for_each(|file| std::fs::remove_file(tls.join(file)).unwrap());
                left.iter().for_each(|file| std::fs::write(tls.join(file), "half").unwrap());
            }
            let found = Certificate::of_data_dir(dir.path()).unwrap();
            assert_eq!(found.fingerprint() == whole, is_certificate_there);
            let mut names: Vec<_> =
                std::fs::read_dir(&tls).unwrap().map(|file| file.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, [CERTIFICATE_FILE, KEY_FILE], "no draft is left");
        }
    }
}
