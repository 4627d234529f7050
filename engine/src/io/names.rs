//! The names of a file tree that is kept in memory: which name in which folder means which file.
//!
//! Not the content of files: each disk keeps that beside, by [`NodeId`], so that an open file
//! outlives its name as on a real disk. Every mutation is first planned as [`Change`]s, which say
//! what one name of one folder means from now on. The disk in memory applies them at once; the
//! simulated disk also keeps them, since until the folder is synced a crash may lose any of them.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Component, Path};
use std::sync::Arc;

use super::OpenMode;

/// A file or folder, whatever it is called now. Numbers are given in order and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(u64);

/// The folder everything is below. It has no name and always exists.
const ROOT: NodeId = NodeId(0);

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) node: NodeId,
    pub(super) is_dir: bool,
}

/// What one name of one folder means from now on; `None`: the name is gone.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) folder: NodeId,
    pub(super) name: Arc<str>,
    pub(super) target: Option<Target>,
}

type Folder = BTreeMap<Arc<str>, Target>;

/// A tree of names. A clone shares all folders until one of the two changes them.
#[derive(Clone, Debug)]
pub(super) struct Names {
    folders: BTreeMap<NodeId, Arc<Folder>>,
    next: u64,
}

impl Default for Names {
    fn default() -> Self {
        Self { folders: BTreeMap::from([(ROOT, Arc::default())]), next: ROOT.0 + 1 }
    }
}

impl Names {
    /// What stands at `path`. `NotFound` where nothing does, `NotADirectory` below a file.
    pub(super) fn find(&self, path: &Path) -> io::Result<Target> {
        let mut found = Target { node: ROOT, is_dir: true };
        for name in names_of(path) {
            if !found.is_dir {
                return Err(ErrorKind::NotADirectory.into());
            }
            found = *self.folder(found.node).get(name?).ok_or(ErrorKind::NotFound)?;
        }
        Ok(found)
    }

    /// The folder at `path`.
    pub(super) fn find_folder(&self, path: &Path) -> io::Result<NodeId> {
        let found = self.find(path)?;
        if found.is_dir { Ok(found.node) } else { Err(ErrorKind::NotADirectory.into()) }
    }

    /// What a folder holds, sorted by name.
    pub(super) fn entries(&self, folder: NodeId) -> impl Iterator<Item = (&Arc<str>, Target)> {
        self.folder(folder).iter().map(|(name, target)| (name, *target))
    }

    /// Everything that can be reached from the root, as (folder, name, target), always in the same
    /// order.
    #[cfg(feature = "testing")]
    pub(super) fn reachable(&self) -> Vec<(NodeId, &Arc<str>, Target)> {
        let mut found = Vec::new();
        let mut folders = vec![ROOT];
        while let Some(folder) = folders.pop() {
            for (name, target) in self.entries(folder) {
                found.push((folder, name, target));
                if target.is_dir {
                    folders.push(target.node);
                }
            }
        }
        found
    }

    /// Gives new nodes the numbers that `other` would give: none that `other` has given already.
    #[cfg(feature = "testing")]
    pub(super) fn continue_after(&mut self, other: &Self) {
        self.next = self.next.max(other.next);
    }

    /// The file to open, and the change that creates it where the mode asks for that.
    pub(super) fn plan_open(
        &mut self,
        path: &Path,
        mode: OpenMode,
    ) -> io::Result<(NodeId, Option<Change>)> {
        match (mode, self.find(path)) {
            (OpenMode::Create, Err(error)) if error.kind() == ErrorKind::NotFound => {
                let change = self.plan_new(path, false)?;
                let target = change.target.expect("a new name has a target");
                Ok((target.node, Some(change)))
            }
            (_, Err(error)) => Err(error),
            (OpenMode::Create, Ok(_)) => Err(ErrorKind::AlreadyExists.into()),
            (_, Ok(found)) if found.is_dir => Err(ErrorKind::IsADirectory.into()),
            (_, Ok(found)) => Ok((found.node, None)),
        }
    }

    /// The change that creates a folder; `None` where it exists.
    pub(super) fn plan_create_dir(&mut self, dir: &Path) -> io::Result<Option<Change>> {
        match self.find(dir) {
            Ok(found) if found.is_dir => Ok(None),
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => self.plan_new(dir, true).map(Some),
            Err(error) => Err(error),
        }
    }

    /// The change that removes a file.
    pub(super) fn plan_remove(&self, path: &Path) -> io::Result<Change> {
        if self.find(path)?.is_dir {
            return Err(ErrorKind::IsADirectory.into());
        }
        let (folder, name) = self.place(path)?;
        Ok(Change { folder, name, target: None })
    }

    /// The change that removes an empty folder.
    pub(super) fn plan_remove_dir(&self, path: &Path) -> io::Result<Change> {
        let found = self.find_folder(path)?;
        if !self.folder(found).is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (folder, name) = self.place(path)?;
        Ok(Change { folder, name, target: None })
    }

    /// The two changes of a rename, the old name first; none where both names are the same.
    pub(super) fn plan_rename(&self, from: &Path, to: &Path) -> io::Result<Vec<Change>> {
        let moved = self.find(from)?;
        let (old_folder, old_name) = self.place(from)?;
        let (new_folder, new_name) = self.place(to)?;
        if (old_folder, &old_name) == (new_folder, &new_name) {
            return Ok(Vec::new());
        }
        if moved.is_dir && to.starts_with(from) {
            return Err(ErrorKind::InvalidInput.into());
        }
        match self.folder(new_folder).get(&new_name) {
            Some(there) if there.is_dir && !moved.is_dir => {
                return Err(ErrorKind::IsADirectory.into());
            }
            Some(there) if there.is_dir && !self.folder(there.node).is_empty() => {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            Some(there) if moved.is_dir && !there.is_dir => {
                return Err(ErrorKind::NotADirectory.into());
            }
            _ => {}
        }
        Ok(vec![
            Change { folder: old_folder, name: old_name, target: None },
            Change { folder: new_folder, name: new_name, target: Some(moved) },
        ])
    }

    /// Makes a change; answers what the name meant before.
    pub(super) fn apply(&mut self, change: &Change) -> Option<Target> {
        if let Some(target) = change.target
            && target.is_dir
        {
            self.folders.entry(target.node).or_default();
        }
        let folder = Arc::make_mut(self.folders.entry(change.folder).or_default());
        match change.target {
            Some(target) => folder.insert(Arc::clone(&change.name), target),
            None => folder.remove(&change.name),
        }
    }

    fn plan_new(&mut self, path: &Path, is_dir: bool) -> io::Result<Change> {
        let (folder, name) = self.place(path)?;
        let node = NodeId(self.next);
        self.next += 1;
        Ok(Change { folder, name, target: Some(Target { node, is_dir }) })
    }

    /// The folder and the name of `path`, whether or not something stands there.
    fn place(&self, path: &Path) -> io::Result<(NodeId, Arc<str>)> {
        let name = names_of(path).last().ok_or(ErrorKind::InvalidInput)??;
        let parent = path.parent().ok_or(ErrorKind::InvalidInput)?;
        Ok((self.find_folder(parent)?, Arc::from(name)))
    }

    fn folder(&self, node: NodeId) -> &Folder {
        self.folders.get(&node).expect("every folder with a name is in the table")
    }
}

/// The names of a path below the root; absolute and relative paths are the same.
fn names_of(path: &Path) -> impl Iterator<Item = io::Result<&str>> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_str().ok_or(ErrorKind::InvalidInput.into())),
        Component::ParentDir => Some(Err(ErrorKind::InvalidInput.into())),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// The last name of a path, for a [`super::DirEntry`]; empty for the root.
pub(super) fn last_name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}
