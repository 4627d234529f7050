//! The files of the workspace as git sees them: tracked, or new and not ignored.
//!
//! Asking git keeps build output and editors' files out, and checks a new file before it is
//! committed. Paths are relative to the root and written with `/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failure, capture};

/// One file of the tree. Files that are not UTF-8 have no text here and are nobody's to check.
#[derive(Debug)]
pub(crate) struct TreeFile {
    /// Where it is, from the root.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

impl TreeFile {
    /// Whether the file's name ends with `.extension`.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }
}

/// The folder above the current one that holds this tool.
pub(crate) fn workspace_root() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(format!("no current directory: {error}")))?;
    here.ancestors()
        .find(|folder| folder.join("xtask/Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .ok_or_else(|| Failure::usage("run this inside the workspace"))
}

/// Every text file of the tree, sorted by path.
pub(crate) fn files(root: &Path) -> Result<Vec<TreeFile>, Failure> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = capture(&mut git)?;
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        // A file may be tracked and deleted, or a link to nowhere.
        let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(TreeFile { path: path.to_owned(), text });
        }
    }
    Ok(files)
}
