//! What a node is told from outside: its settings, the certificate it shows, and the first token.
//!
//! [`Settings`] is what can be set, [`KEYS`] says what each key may be, and [`Sources`] reads them from a
//! file, the environment, and flags. Is not: the log's files, nor what a client is told.
//!
//! No setting is a secret: what is secret is in a file of its own, which a setting names.

mod certificate;
mod files;
mod keys;
mod layer;
mod settings;
mod sources;
mod trust;

use std::path::PathBuf;

use crate::jwt::BadJwks;

pub use certificate::{Certificate, CertificateFiles, Fingerprint, TLS_DIR};
pub use files::ADMIN_TOKEN_FILE;
pub(crate) use files::write_admin_token;
pub use keys::{KEYS, Key, Kind};
pub use settings::{Auth, Http, Limits, Metrics, Settings, Tls};
pub use sources::{Loaded, Problem, SETTINGS_FILE, Setting, SettingsError, Source, Sources};
pub use trust::Authorities;

/// Why a file of the configuration cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds no certificate, or no key.
    #[error("{} is not a PEM file with {wanted}: {why}", path.display())]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A file has more bytes than are read.
    #[error("{} has more than {bytes_max} bytes, the most", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The most.
        bytes_max: u64,
    },
    /// A file of public keys cannot be used.
    #[error("{} {why}", path.display())]
    Jwks {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: BadJwks,
    },
    /// Of a certificate and its key one is there, and is not this node's to replace.
    #[error(
        "{} is not there, and {} is: put the missing file beside it, or take that one away, and both are \
         made anew",
        missing.display(),
        there.display()
    )]
    Half {
        /// The file that is missing.
        missing: PathBuf,
        /// The file that is there.
        there: PathBuf,
    },
    /// None could be made.
    #[error("cannot make a certificate: {0}")]
    Make(String),
}
