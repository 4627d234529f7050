//! What is on a simulated disk: what is durable, what programs see, and what lies between.
//!
//! Pure: no clock, no faults, no chance. [`super::SimDisk`] decides how an operation ends and has
//! it done here; a [`super::CrashPoints`] does recorded operations again on a copy.
//!
//! Between durable and visible stand two lists, in order: writes of each file, and changes of
//! names. A crash keeps any part of them; see [`super::survival`].

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::quality::FixedState;

use super::content::Content;
use super::trace::{Damage, FileId, SyncOutcome, TraceOp, WriteId};
use crate::io::OpenMode;
use crate::io::memory::in_memory;
use crate::io::names::{Change, Names, NodeId, Target};

/// How far a write has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Visible; the next sync of the file makes it durable.
    Written,
    /// Submitted to a log writer and not completed: neither visible nor promised.
    InFlight,
    /// Its write or sync failed: it may have landed, and nothing will ever make it durable.
    Stray,
}

/// A write that a crash may keep, lose, or tear.
#[derive(Clone, Debug)]
pub(super) struct PendingWrite {
    pub(super) id: WriteId,
    pub(super) offset: usize,
    pub(super) bytes: Bytes,
    pub(super) progress: Progress,
}

impl PendingWrite {
    pub(super) fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }
}

/// Changes of names that a crash keeps or loses together: one creation, removal, or rename.
#[derive(Clone, Debug)]
pub(super) struct PendingNames {
    pub(super) changes: Vec<Change>,
}

impl PendingNames {
    /// Whether this came after `earlier` and is about a name of it: it cannot survive alone.
    pub(super) fn needs(&self, earlier: &Self) -> bool {
        let same =
            |one: &Change, other: &Change| one.folder == other.folder && one.name == other.name;
        self.changes.iter().any(|one| earlier.changes.iter().any(|other| same(one, other)))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    pub(super) durable: Content,
    pub(super) visible: Content,
    pub(super) pending: Vec<PendingWrite>,
    /// Visible bytes exist that no sync will make durable.
    diverged: bool,
}

impl FileState {
    pub(super) fn clean(content: Content) -> Self {
        let visible = content.clone();
        Self { durable: content, visible, pending: Vec::new(), diverged: false }
    }

    /// Makes one pending write durable. Older ones can no longer land where it did.
    fn settle(&mut self, write: &PendingWrite) {
        self.durable.write(write.offset, &write.bytes);
        if self.pending.iter().all(|older| older.id > write.id) {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        for older in pending {
            let apart = older.end() <= write.offset || write.end() <= older.offset;
            if apart || older.id > write.id {
                self.pending.push(older);
                continue;
            }
            let head = write.offset.saturating_sub(older.offset);
            let tail = older.end().saturating_sub(write.end());
            for (from, to) in [(0, head), (older.bytes.len() - tail, older.bytes.len())] {
                if from < to {
                    let (offset, bytes) = (older.offset + from, older.bytes.slice(from..to));
                    self.pending.push(PendingWrite { offset, bytes, ..older.clone() });
                }
            }
        }
    }

    fn sync(&mut self, outcome: SyncOutcome) {
        let (written, rest) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<_>, _>(|write| write.progress == Progress::Written);
        self.pending = rest;
        match outcome {
            SyncOutcome::Succeeded if !self.diverged && self.pending.is_empty() => {
                self.durable = self.visible.clone();
            }
            SyncOutcome::Succeeded => {
                written.iter().for_each(|write| self.settle(write));
                self.durable.extend(self.visible.len());
            }
            SyncOutcome::Dropped => {
                let len = self.visible.len();
                self.visible = self.durable.clone();
                self.visible.extend(len);
                self.diverged = false;
            }
            SyncOutcome::Abandoned => {
                let stray = |write| PendingWrite { progress: Progress::Stray, ..write };
                self.pending.extend(written.into_iter().map(stray));
                self.pending.sort_by_key(|write| write.id);
                self.diverged = true;
            }
        }
    }
}

/// All that is on a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) names: Names,
    pub(super) durable_names: Names,
    pub(super) pending_names: Vec<PendingNames>,
    pub(super) files: BTreeMap<NodeId, FileState>,
    next_write: u64,
}

impl Image {
    /// A disk on which everything is durable.
    pub(super) fn clean(names: Names, files: BTreeMap<NodeId, FileState>, after: &Self) -> Self {
        let mut names = names;
        names.continue_after(&after.names);
        let durable_names = names.clone();
        Self { names, durable_names, files, ..Self::default() }
    }

    pub(super) fn file(&self, file: NodeId) -> &FileState {
        self.files.get(&file).expect("a file that was opened has a state")
    }

    fn file_mut(&mut self, file: NodeId) -> &mut FileState {
        self.files.get_mut(&file).expect("a file that was opened has a state")
    }

    /// The visible file at a path.
    pub(super) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        match self.names.find(path)? {
            Target { is_dir: true, .. } => Err(ErrorKind::IsADirectory.into()),
            Target { node, .. } => Ok(node),
        }
    }

    /// Visible bytes that take space.
    pub(super) fn used_bytes(&self) -> u64 {
        let named = self.names.reachable().into_iter().map(|(_, _, target)| target);
        let files: BTreeSet<_> = named.filter(|it| !it.is_dir).map(|it| it.node).collect();
        files.into_iter().map(|file| allocated_bytes(self.file(file).visible.len() as u64)).sum()
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<(NodeId, bool)> {
        let (file, change) = self.names.plan_open(path, mode)?;
        let created = change.is_some();
        if let Some(change) = change {
            self.files.insert(file, FileState::default());
            self.change_names(vec![change]);
        }
        Ok((file, created))
    }

    /// Answers whether it was created, and not there before.
    pub(super) fn create_dir(&mut self, dir: &Path) -> io::Result<bool> {
        let change = self.names.plan_create_dir(dir)?;
        let created = change.is_some();
        change.into_iter().for_each(|change| self.change_names(vec![change]));
        Ok(created)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let changes = self.names.plan_rename(from, to)?;
        if !changes.is_empty() {
            self.change_names(changes);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let change = self.names.plan_remove(path)?;
        self.change_names(vec![change]);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        let change = self.names.plan_remove_dir(dir)?;
        self.change_names(vec![change]);
        Ok(())
    }

    /// Creates the lock file where it is missing, durably.
    pub(super) fn lock(&mut self, path: &Path) -> io::Result<()> {
        let (file, change) = match self.names.plan_open(path, OpenMode::ReadWrite) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.names.plan_open(path, OpenMode::Create)
            }
            other => other,
        }?;
        if let Some(change) = change {
            self.names.apply(&change);
            self.durable_names.apply(&change);
        }
        let mut holder = Content::default();
        holder.write(0, b"1");
        self.files.insert(file, FileState::clean(holder));
        Ok(())
    }

    fn change_names(&mut self, changes: Vec<Change>) {
        for change in &changes {
            self.names.apply(change);
        }
        self.pending_names.push(PendingNames { changes });
    }

    /// Makes the changes of one folder durable. A rename out of it or into it is one change, as in
    /// every file system with a journal, so it becomes durable in both folders.
    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let folder = self.names.find_folder(dir)?;
        let ours = |names: &PendingNames| names.changes.iter().any(|it| it.folder == folder);
        let wanted = self.pending_names.iter().map(ours).collect();
        let mut kept = with_needed(&self.pending_names, wanted).into_iter();
        for names in std::mem::take(&mut self.pending_names) {
            if kept.next() == Some(true) {
                names.changes.iter().for_each(|change| {
                    self.durable_names.apply(change);
                });
            } else {
                self.pending_names.push(names);
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, file: NodeId, offset_bytes: u64, bytes: Bytes) {
        let offset = in_memory(offset_bytes);
        self.file_mut(file).visible.write(offset, &bytes);
        self.push(file, offset, bytes, Progress::Written);
    }

    pub(super) fn sync(&mut self, file: NodeId, outcome: SyncOutcome) {
        self.file_mut(file).sync(outcome);
    }

    pub(super) fn submit(&mut self, file: NodeId, offset_bytes: u64, bytes: Bytes) -> WriteId {
        self.push(file, in_memory(offset_bytes), bytes, Progress::InFlight)
    }

    pub(super) fn complete(&mut self, file: NodeId, id: WriteId, outcome: SyncOutcome) {
        let state = self.file_mut(file);
        let ours = |write: &PendingWrite| write.id == id;
        if outcome != SyncOutcome::Succeeded {
            for write in state.pending.iter_mut().filter(|write| ours(write)) {
                write.progress = Progress::Stray;
                if outcome == SyncOutcome::Abandoned {
                    // The page cache has it, and believes that the medium has it too.
                    state.visible.write(write.offset, &write.bytes);
                    state.diverged = true;
                }
            }
            return;
        }
        let (done, rest) =
            std::mem::take(&mut state.pending).into_iter().partition::<Vec<_>, _>(ours);
        state.pending = rest;
        for write in done {
            state.visible.write(write.offset, &write.bytes);
            state.settle(&write);
        }
    }

    fn push(&mut self, file: NodeId, offset: usize, bytes: Bytes, progress: Progress) -> WriteId {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.file_mut(file).pending.push(PendingWrite { id, offset, bytes, progress });
        id
    }

    pub(super) fn damage(&mut self, damage: &Damage) -> io::Result<()> {
        match damage {
            Damage::Overwrite { path, offset_bytes, bytes } => {
                let file = self.find_file(path)?;
                let offset = in_memory(*offset_bytes);
                let state = self.file_mut(file);
                for content in [&mut state.durable, &mut state.visible] {
                    let len = content.len().saturating_sub(offset).min(bytes.len());
                    content.write(offset, &bytes[..len]);
                }
            }
            Damage::Truncate { path, len_bytes } => {
                let file = self.find_file(path)?;
                let len = in_memory(*len_bytes);
                let state = self.file_mut(file);
                state.durable.truncate(len);
                state.visible.truncate(len);
                state.pending.retain_mut(|write| {
                    let kept = len.saturating_sub(write.offset).min(write.bytes.len());
                    write.bytes.truncate(kept);
                    kept > 0
                });
            }
            Damage::Remove { path } => {
                let gone = self.names.plan_remove(path)?;
                self.names.apply(&gone);
                self.durable_names.apply(&gone);
                for names in &mut self.pending_names {
                    names.changes.retain(|it| it.folder != gone.folder || it.name != gone.name);
                }
                self.pending_names.retain(|names| !names.changes.is_empty());
            }
            Damage::Swap { one, other } => {
                let (one, other) = (self.find_file(one)?, self.find_file(other)?);
                if one == other {
                    return Ok(());
                }
                let state = std::mem::take(self.file_mut(one));
                let state = std::mem::replace(self.file_mut(other), state);
                *self.file_mut(one) = state;
            }
        }
        Ok(())
    }

    /// Does a recorded operation again. It ended well when it was recorded, so it must now.
    pub(super) fn replay(&mut self, op: &TraceOp) {
        let done = match op {
            TraceOp::Create { path, file } => self.open(path, OpenMode::Create).map(|(node, _)| {
                assert_eq!(FileId(node), *file, "replay gives files the same numbers");
            }),
            TraceOp::CreateDir { path } => self.create_dir(path).map(drop),
            TraceOp::Lock { path } => self.lock(path),
            TraceOp::Write { file, offset_bytes, bytes, .. } => {
                self.write(file.0, *offset_bytes, bytes.clone());
                Ok(())
            }
            TraceOp::Sync { file, outcome, .. } => {
                self.sync(file.0, *outcome);
                Ok(())
            }
            TraceOp::LogSubmit { write, file, offset_bytes, bytes, .. } => {
                let id = self.submit(file.0, *offset_bytes, bytes.clone());
                assert_eq!(id, *write, "replay gives writes the same numbers");
                Ok(())
            }
            TraceOp::LogComplete { write, file, outcome, .. } => {
                self.complete(file.0, *write, *outcome);
                Ok(())
            }
            TraceOp::Rename { from, to } => self.rename(from, to),
            TraceOp::Remove { path } => self.remove(path),
            TraceOp::RemoveDir { path } => self.remove_dir(path),
            TraceOp::SyncDir { path } => self.sync_dir(path),
            TraceOp::Failed { .. } => Ok(()),
            TraceOp::Damage(damage) => self.damage(damage),
        };
        done.expect("a recorded operation succeeds again");
    }

    /// A number that disks with equal visible content share, and others practically never do.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = FixedState::with_seed(2).build_hasher();
        for (folder, name, target) in self.names.reachable() {
            (folder, name, target.is_dir).hash(&mut hasher);
            if target.is_dir {
                target.node.hash(&mut hasher);
            } else {
                self.file(target.node).visible.fingerprint().hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// `wanted`, and every earlier change of names that a wanted one needs.
pub(super) fn with_needed(pending: &[PendingNames], mut wanted: Vec<bool>) -> Vec<bool> {
    for later in (0..pending.len()).rev() {
        for earlier in 0..later {
            if wanted[later] && pending[later].needs(&pending[earlier]) {
                wanted[earlier] = true;
            }
        }
    }
    wanted
}

/// What a file of this length takes on the disk: whole blocks.
pub(super) fn allocated_bytes(len_bytes: u64) -> u64 {
    len_bytes.next_multiple_of(super::content::PAGE_BYTES as u64)
}

/// A path to keep.
pub(super) fn kept(path: &Path) -> Arc<Path> {
    Arc::from(path)
}
