//! Deleting a namespace, for good: its log ends, then its folder goes.
//!
//! The folder is renamed first, and that is made durable, so that a crash leaves the whole namespace or
//! none of it. What is left of the renamed folder is removed by the next open, or by the next deletion
//! of a namespace of that name.

use std::path::PathBuf;
use std::sync::Arc;

use nexus_protocol::{InvalidName, NamespaceName};

use super::{Engine, Shared};
use crate::commit::Committer;
use crate::error::{LogError, describe};
use crate::open::{self, NAMESPACES_DIR};

/// Why a namespace was not deleted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteNamespaceError {
    /// An engine stands for its namespace `default`, and a node for its own.
    #[error("namespace {name:?} is one that there must be: delete its streams instead")]
    Needed {
        /// Its name.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no namespace {name:?}: `nexus namespace list` names those there are")]
    Missing {
        /// What was asked for.
        name: String,
    },
    /// It is not a name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The engine was opened to be read.
    #[error("the data directory is open for reading only: open it for writing")]
    ReadOnly,
    /// The engine was closed, and nothing deleted.
    #[error("the engine was closed: open the directory again")]
    Closed,
    /// The disk said no. The namespace is there as it was, or is not there until the next start: handles
    /// that were held before are of no use in either case.
    #[error("the folder {} cannot be taken away: {why}: look for it after the next start", dir.display())]
    Disk {
        /// The namespace's folder.
        dir: PathBuf,
        /// What the disk said.
        why: String,
    },
}

impl Engine {
    /// Deletes a namespace for good, with all its events. Blocks until that is durable. Appends and reads
    /// that are still tried through a handle of it are answered that the store was closed; subscriptions
    /// end with that, and reads under way may end. A namespace that is created by that name later is
    /// empty, and has another log id.
    ///
    /// # Errors
    /// As [`DeleteNamespaceError`] says: of `default` and those of the node itself, where there is none of
    /// that name, or when the disk says no.
    pub fn delete_namespace(&self, name: &str) -> Result<(), DeleteNamespaceError> {
        let parts = &self.shared.parts;
        if name == NamespaceName::DEFAULT || name == NamespaceName::SYSTEM {
            return Err(DeleteNamespaceError::Needed { name: name.to_owned() });
        }
        let name = NamespaceName::new(name)?;
        if parts.options.read_only {
            return Err(DeleteNamespaceError::ReadOnly);
        }
        let claimed = parts.while_open(|| self.shared.claim(&name));
        let claimed = claimed.unwrap_or(Err(DeleteNamespaceError::Closed))?;
        // Whoever writes beside the commit path ends; who comes later finds that the log has ended.
        parts.wait_for_writing();
        assert!(claimed.log.is_ended(), "who claims a log ends it");
        claimed.queue.close();
        // Foreign code runs here, those who are woken: no lock is held.
        claimed.end();
        let taken_away = parts.while_open(|| self.shared.take_away(&name));
        taken_away.unwrap_or(Err(DeleteNamespaceError::Closed))
    }
}

impl Shared {
    /// Ends a log for one who deletes it, and who is the only one.
    fn claim(&self, name: &NamespaceName) -> Result<Arc<Committer>, DeleteNamespaceError> {
        let _one = self.parts.creating.lock().expect("no panic while a namespace is created");
        let committer = self.parts.read_namespaces().get(name.as_str()).cloned();
        let claimed = committer.filter(|committer| committer.log.claim());
        claimed.ok_or_else(|| DeleteNamespaceError::Missing { name: name.as_str().to_owned() })
    }

    /// Removes the folder of a namespace whose log has ended. Where it could not be renamed it is opened
    /// again as it is.
    fn take_away(&self, name: &NamespaceName) -> Result<(), DeleteNamespaceError> {
        let parts = &self.parts;
        let _one = parts.creating.lock().expect("no panic while a namespace is created");
        let dir = parts.dir.join(NAMESPACES_DIR).join(name.as_str());
        let deleted = open::delete(&*parts.disk, &parts.dir, name);
        let failed = |error: &LogError| DeleteNamespaceError::Disk {
            dir: dir.clone(),
            why: describe(error),
        };
        let stays = deleted.is_err() && matches!(parts.disk.metadata(&dir), Ok(Some(_)));
        let again = stays.then(|| open::open(&parts.disk, &dir, &parts.options, &parts.signals));
        let mut namespaces = parts.namespaces.write().expect("no panic while one is removed");
        let ended = match again {
            Some(Ok(opened)) => {
                namespaces.insert(name.as_str().to_owned(), Arc::new(opened.committer))
            }
            Some(Err(_)) | None => namespaces.remove(name.as_str()),
        };
        assert!(ended.is_some_and(|ended| ended.log.is_ended()), "it was claimed first");
        drop(namespaces);
        deleted.map_err(|error| failed(&error))
    }
}
