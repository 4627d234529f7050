//! Files that say whom a node trusts: the keys of those who issue tokens.

use std::path::Path;

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
