//! The data directory itself: chosen, made, checked, and locked before a log in it is touched.

use std::path::Path;
use std::sync::Arc;

use nexus_protocol::NamespaceName;

use crate::error::OpenError;
use crate::io::{self, DirEntry, Disk, DiskLock, LockHolder};
use crate::open::{self, NAMESPACES_DIR};
use crate::options::Options;

/// Name of the lock file in a data directory.
const LOCK_FILE: &str = "lock";

/// Chooses the disk, and makes sure that a directory stands there.
pub(super) fn prepare(dir: &Path, options: &Options) -> Result<Arc<dyn Disk>, OpenError> {
    let plain: Arc<dyn Disk> = match &options.disk {
        Some(disk) => Arc::clone(disk),
        None => io::open_disk(io::Backend::PortableBuffered)?,
    };
    match plain.metadata(dir)? {
        Some(found) if !found.is_dir => {
            return Err(OpenError::NotADirectory { dir: dir.to_owned() });
        }
        Some(_) if options.create && !options.read_only => refuse_foreign(&*plain, dir)?,
        Some(_) => {}
        None if options.create && !options.read_only => create_dirs(&*plain, dir)?,
        None => return Err(OpenError::NotFound { dir: dir.to_owned() }),
    }
    match (&options.disk, options.backend) {
        (Some(_), _) => Ok(plain),
        (None, Some(backend)) => Ok(io::open_disk(backend)?),
        (None, None) if options.read_only => Ok(plain),
        (None, None) => Ok(io::auto_disk(dir)?.0),
    }
}

/// A folder that holds other things is not made a data directory: a mistyped path would mix a log with
/// somebody's files.
fn refuse_foreign(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    match foreign_on(disk, dir)? {
        Some(holds) => Err(OpenError::NotEmpty { dir: dir.to_owned(), holds }),
        None => Ok(()),
    }
}

/// What a directory without a log holds that is not Nexus's own, if anything: the name of one such
/// thing. Nothing is to be written there. `None` also where the directory is a log's already.
///
/// # Errors
/// When the directory is not there, or cannot be looked at.
pub fn foreign_entry(dir: impl AsRef<Path>) -> Result<Option<String>, OpenError> {
    foreign_on(&*io::open_disk(io::Backend::PortableBuffered)?, dir.as_ref())
}

fn foreign_on(disk: &dyn Disk, dir: &Path) -> Result<Option<String>, OpenError> {
    const MADE_BY_FILE_SYSTEMS: &str = "lost+found";
    let namespaces = dir.join(NAMESPACES_DIR);
    if disk.metadata(&namespaces)?.is_some_and(|found| found.is_dir) {
        let entries = disk.list(&namespaces)?;
        let is_ours = |entry: &DirEntry| {
            entry.name == MADE_BY_FILE_SYSTEMS || (entry.is_dir && is_leftover(&entry.name))
        };
        // Before its first namespace was made, what stands there is nothing or a leftover of that.
        let foreign = match entries.iter().any(is_namespace) {
            true => None,
            false => entries.iter().find(|entry| !is_ours(entry)),
        };
        return Ok(foreign.map(|entry| format!("{NAMESPACES_DIR}/{}", entry.name)));
    }
    // What an opening that was interrupted leaves, and what is put there before a server starts for the
    // first time: its settings, its certificate.
    let is_ours = |name: &str| {
        name == LOCK_FILE
            || [MADE_BY_FILE_SYSTEMS, "nexus.toml", "tls"].contains(&name)
            || name.starts_with(io::DISK_FILE)
            || (name.starts_with("measure-") && name.ends_with(".tmp"))
    };
    let foreign = disk.list(dir)?.into_iter().find(|entry| !is_ours(&entry.name));
    Ok(foreign.map(|entry| entry.name))
}

fn is_namespace(entry: &DirEntry) -> bool {
    entry.is_dir && NamespaceName::is_folder(&entry.name)
}

/// Whether this is the name of a folder that the making or the deletion of a namespace left.
fn is_leftover(name: &str) -> bool {
    let of = |suffix| name.strip_prefix('.').and_then(|name| name.strip_suffix(suffix));
    let of = of(open::NEW_SUFFIX).or_else(|| of(open::DELETED_SUFFIX));
    of.is_some_and(NamespaceName::is_folder)
}

/// The names of all namespaces of a data directory, sorted.
pub(super) fn namespaces(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, OpenError> {
    let root = dir.join(NAMESPACES_DIR);
    if disk.metadata(&root)?.is_none() {
        return Ok(Vec::new());
    }
    let found = disk.list(&root)?.into_iter().filter(is_namespace);
    Ok(found.map(|entry| entry.name).collect())
}

/// Removes what the making or the deletion of a namespace left. That something stays takes space, and is
/// no reason not to open.
pub(super) fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let root = dir.join(NAMESPACES_DIR);
    for entry in disk.list(&root)? {
        if entry.is_dir && is_leftover(&entry.name) {
            let path = root.join(&entry.name);
            if let Err(error) = open::remove_folder(disk, &path) {
                let error = crate::error::describe(&error);
                tracing::warn!(error, "what is left of a namespace stays for now");
            }
        }
    }
    Ok(())
}

fn create_dirs(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    if let Some(parent) = dir.parent()
        && !parent.as_os_str().is_empty()
        && disk.metadata(parent)?.is_none()
    {
        create_dirs(disk, parent)?;
    }
    disk.create_dir(dir)?;
    Ok(())
}

/// Makes the name of the data directory durable: without it a crash of the machine takes all that
/// was acknowledged inside. An earlier process may have created the directory and got no further.
pub(super) fn sync_names(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    if crate::planted::is("data-directory-not-synced") {
        return Ok(());
    }
    for parent in dir.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match disk.sync_dir(parent) {
            // A folder that may not be opened was not created here.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => break,
            synced => synced?,
        }
    }
    Ok(())
}

/// The lock of a directory; only one that is read, and was never open, has none to take.
pub(crate) fn take_lock(
    disk: &dyn Disk,
    dir: &Path,
    read_only: bool,
) -> Result<Option<Box<dyn DiskLock>>, OpenError> {
    let path = dir.join(LOCK_FILE);
    let locked = match read_only {
        true => disk.lock_to_read(&path),
        false => disk.lock(&path).map(Some),
    };
    match locked {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            let holder = error.source.get_ref().and_then(|why| why.downcast_ref());
            let owner = match holder {
                Some(LockHolder::Us) => format!(" (process {}, this one)", std::process::id()),
                Some(LockHolder::Process(pid)) => format!(" (process {pid})"),
                Some(LockHolder::Unknown) | None => String::new(),
            };
            Err(OpenError::Locked { dir: dir.to_owned(), owner })
        }
        locked => Ok(locked?),
    }
}
