//! Directories of sinks: made and removed so that a crash of the machine leaves them made, or removed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nexus_delivery::projection::SinkError;

use crate::error::of_io;

/// Removes what a sink has kept, for good. What is not there is removed already.
///
/// The sink must not be open: its file would take room until it is closed.
///
/// # Errors
/// [`SinkError::Unavailable`] where the file system refuses: some of it may be there still, to be removed later.
pub fn remove(dir: &Path) -> Result<(), SinkError> {
    let removed = match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        // Also where it was gone: whoever removed it may have died before the next line.
        _ => sync(parent(dir)),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(of_io(format_args!("removing {}", dir.display()), &error))
        }
        _ => Ok(()),
    }
}

/// Removes all that is in a directory, but for these: what sinks have kept that nobody knows of any more.
///
/// What the file system refuses to remove stays, and takes room until the next time.
pub fn remove_others(dir: &Path, kept: &BTreeSet<PathBuf>) {
    let Ok(found) = fs::read_dir(dir) else { return };
    let others = found.flatten().map(|it| it.path()).filter(|path| !kept.contains(path));
    others.for_each(|path| drop(fs::remove_dir_all(path)));
}

/// Bytes of the files in a directory, and in those within it. What cannot be read counts nothing.
pub fn bytes_in(dir: &Path) -> u64 {
    let Ok(found) = fs::read_dir(dir) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(it) if it.is_dir() => bytes_in(&entry.path()),
        Ok(it) => it.len(),
        Err(_) => 0,
    };
    found.flatten().map(of).sum()
}

/// Makes a directory and those it is in, each with a name that outlives a crash.
pub(crate) fn make(dir: &Path) -> Result<(), SinkError> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.is_dir();
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    if let Some(made_before) = dir.ancestors().nth(missing.len()) {
        // Whoever made it may have died before its name was durable. Where we may not look, it was not us.
        let _ = sync(parent(made_before));
    }
    for folder in missing.into_iter().rev() {
        let made = match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => sync(parent(folder)),
        };
        made.map_err(|error| of_io(format_args!("making {}", folder.display()), &error))?;
    }
    Ok(())
}

/// Removes files that were not finished when the process ended: what is written at once has such a name until it is.
pub(crate) fn remove_unfinished(dir: &Path) {
    let Ok(found) = fs::read_dir(dir) else { return };
    let is_unfinished = |it: &fs::DirEntry| it.file_name().as_encoded_bytes().starts_with(b".tmp");
    found.flatten().filter(is_unfinished).for_each(|it| drop(fs::remove_file(it.path())));
}

/// Gives a finished file its name, for good.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), SinkError> {
    fs::rename(from, to).map_err(|error| of_io(format_args!("making {}", to.display()), &error))?;
    keep_name(to)
}

/// Makes the name of a file durable, which whoever gave it may have died before.
pub(crate) fn keep_name(file: &Path) -> Result<(), SinkError> {
    sync(parent(file)).map_err(|error| of_io(format_args!("keeping {}", file.display()), &error))
}

/// What a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Makes the names in a directory durable.
fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_with_all_they_are_in() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a/b/c");
        make(&dir).unwrap();
        make(&dir).unwrap();
        assert!(dir.is_dir());
    }

    #[test]
    fn a_file_in_the_way_is_said() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a"), "").unwrap();
        let refused = make(&place.path().join("a/b"));
        assert!(matches!(refused, Err(SinkError::Unavailable(_))), "{refused:?}");
    }

    #[test]
    fn what_is_removed_can_be_removed_again() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a/b");
        make(&dir).unwrap();
        fs::write(dir.join("file"), "bytes").unwrap();
        for _ in 0..2 {
            remove(&dir).unwrap();
            assert!(!dir.exists());
        }
        remove(&place.path().join("never/there")).unwrap();
        assert!(place.path().join("a").is_dir());
    }

    #[test]
    fn what_nobody_knows_of_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let of = |name: &str| place.path().join(name);
        for name in ["a", "b", "c"] {
            make(&of(name).join("inner")).unwrap();
        }
        remove_others(place.path(), &BTreeSet::from([of("b"), of("d")]));
        assert!(!of("a").exists() && of("b").join("inner").is_dir() && !of("c").exists());
        remove_others(&of("never"), &BTreeSet::new());
    }

    #[test]
    fn relative_paths_have_parents() {
        assert_eq!(parent(Path::new("a")), Path::new("."));
        assert_eq!(parent(Path::new("a/b")), Path::new("a"));
        assert_eq!(parent(Path::new("/")), Path::new("/"));
    }
}
