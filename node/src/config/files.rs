//! Reading and writing the files of the configuration.

use std::io::{Read, Write};
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

/// All bytes of a file that has at most so many.
pub(super) fn read_at_most(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ConfigError> {
    let failed = |source| ConfigError::File { action: "read", path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(ConfigError::TooLarge { path: path.to_owned(), bytes_max }),
        false => Ok(bytes),
    }
}

/// Whether a file is there. What cannot be looked at is an error, and not a file that is missing.
pub(super) fn is_there(path: &Path) -> Result<bool, ConfigError> {
    let failed = |source| ConfigError::File { action: "look for", path: path.to_owned(), source };
    path.try_exists().map_err(failed)
}

/// Makes a folder, durably, where there is none.
pub(super) fn make_folder(dir: &Path) -> Result<(), ConfigError> {
    let failed =
        |source| ConfigError::File { action: "create the folder", path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).and_then(|()| sync_folder_of(dir)).map_err(failed)
}

/// Writes a file that only its owner may read: whole and durably, or not at all.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
    write_draft(path, bytes)?;
    put_draft(path)
}

/// Writes what a file will be beside it, durably: [`put_draft`] puts it in its place.
pub(super) fn write_draft(path: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
    let failed = |source| ConfigError::File { action: "write", path: path.to_owned(), source };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(draft(path)).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

/// Puts a draft in the place of its file. That is durable when it is answered: what rests on the file,
/// such as a token that its reader is to have, may be made durable after it.
pub(super) fn put_draft(path: &Path) -> Result<(), ConfigError> {
    let failed = |source| ConfigError::File { action: "write", path: path.to_owned(), source };
    std::fs::rename(draft(path), path).and_then(|()| sync_folder_of(path)).map_err(failed)
}

/// Where the draft of a file is.
pub(super) fn draft(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Makes the name of a file, or of a folder, durable.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
