//! Reading and writing the files of the configuration.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// File of a data directory that holds the first token, until somebody takes it away.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";

/// Keeps the administrator's first token where only the owner of the directory can read it.
pub(crate) fn write_admin_token(dir: &Path, token: &str) -> Result<PathBuf, ConfigError> {
    let path = dir.join(ADMIN_TOKEN_FILE);
    write_secret(&path, format!("{token}\n").as_bytes())?;
    Ok(path)
}

/// All bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let failed = |source| ConfigError::File { action: "read", path: path.to_owned(), source };
    std::fs::read(path).map_err(failed)
}

/// Writes a file that only its owner may read: whole, or not at all.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
    let failed = |source| ConfigError::File { action: "write", path: path.to_owned(), source };
    let draft = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)
}
