//! The files of a bundle, read from a directory.

use std::fs;
use std::path::{Path, PathBuf};

use nexus_policies::{BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, Bundle};

use crate::exit::Failure;

/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 8;

/// Entries of a directory that are looked at: one with more is no bundle.
const ENTRIES_MAX: usize = 10_000;

/// What is found while a directory is walked.
#[derive(Default)]
struct Found {
    files: Vec<(String, String)>,
    bytes: usize,
    entries: usize,
}

/// Reads a bundle: the files that end with `.rego`, also in folders, and `data.json`. What else is there is no part of it,
/// and what has a name that begins with a dot is not looked at.
///
/// # Errors
/// When the directory cannot be read, or what is in it is no bundle.
pub(super) fn read(dir: &Path) -> Result<Bundle, Failure> {
    let mut found = Found::default();
    found.walk(dir, "", 0)?;
    Bundle::new(found.files).map_err(|why| Failure::failed(format!("{}: {why}", dir.display())))
}

impl Found {
    fn walk(&mut self, dir: &Path, prefix: &str, depth: usize) -> Result<(), Failure> {
        let entries = fs::read_dir(dir).map_err(|error| unreadable(dir, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(dir, &error))?;
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                let why =
                    "there are too many files for a bundle: name the directory of the rules alone";
                return Err(Failure::usage(format!("{}: {why}", dir.display())));
            }
            let name = entry.file_name();
            // Nothing of a bundle is called so: what cannot be named here is another file.
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let (path, name) = (entry.path(), format!("{prefix}{name}"));
            // A link is not followed: it may lead out of the directory, or round in it.
            let kind = entry.file_type().map_err(|error| unreadable(&path, &error))?;
            if kind.is_dir() && depth < DEPTH_MAX {
                self.walk(&path, &format!("{name}/"), depth + 1)?;
            } else if kind.is_file() && (name.ends_with(".rego") || name == "data.json") {
                self.take(&path, name)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &PathBuf, name: String) -> Result<(), Failure> {
        let size = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
        self.bytes = self.bytes.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        if self.bytes > BUNDLE_BYTES_MAX || self.files.len() >= BUNDLE_FILES_MAX {
            let why = format!(
                "with it the bundle is too large: at most {BUNDLE_BYTES_MAX} bytes in {BUNDLE_FILES_MAX} files are taken"
            );
            return Err(Failure::usage(format!("{}: {why}", path.display())));
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        self.files.push((name, text));
        Ok(())
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot read {}: {error}", path.display()))
}
