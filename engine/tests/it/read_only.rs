//! A disk that may not be written, whoever asks: a log there is refused for writing, is read all the
//! same, and stays as it is.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nexus_engine::io::{
    DirEntry, Disk, DiskError, DiskFile, DiskLock, DiskOperation, DiskResult, FileKind, LogWriter,
    OpenMode, SimDisk,
};
use nexus_engine::{Engine, OpenError, verify_on};
use nexus_protocol::{Append, AppendError, Timestamp, Unavailable};

use crate::history::numbered;
use crate::stores::{SHAPE, files, read_around, store_of_segments};
use crate::workload::DIR;

/// The disk of another, as the system shows it to those who may only read.
#[derive(Clone, Debug)]
struct ReadOnlyDisk {
    inner: SimDisk,
    says: io::ErrorKind,
}

impl ReadOnlyDisk {
    fn refuse<T>(&self, operation: DiskOperation, path: &Path) -> DiskResult<T> {
        Err(DiskError::new(operation, path, self.says.into()))
    }
}

impl Disk for ReadOnlyDisk {
    fn open(&self, path: &Path, mode: OpenMode, kind: FileKind) -> DiskResult<Arc<dyn DiskFile>> {
        match mode {
            OpenMode::Read => self.inner.open(path, mode, kind),
            OpenMode::ReadWrite | OpenMode::Create => self.refuse(DiskOperation::Open, path),
        }
    }
    fn metadata(&self, path: &Path) -> DiskResult<Option<DirEntry>> {
        self.inner.metadata(path)
    }
    fn list(&self, dir: &Path) -> DiskResult<Vec<DirEntry>> {
        self.inner.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        self.refuse(DiskOperation::CreateDir, dir)
    }
    fn rename(&self, from: &Path, _: &Path) -> DiskResult<()> {
        self.refuse(DiskOperation::Rename, from)
    }
    fn remove(&self, path: &Path) -> DiskResult<()> {
        self.refuse(DiskOperation::Remove, path)
    }
    fn remove_dir(&self, dir: &Path) -> DiskResult<()> {
        self.refuse(DiskOperation::Remove, dir)
    }
    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        self.inner.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> DiskResult<Box<dyn DiskLock>> {
        self.refuse(DiskOperation::Lock, path)
    }
    fn lock_to_read(&self, path: &Path) -> DiskResult<Option<Box<dyn DiskLock>>> {
        self.inner.lock_to_read(path)
    }
    fn free_bytes(&self, path: &Path) -> DiskResult<u64> {
        self.inner.free_bytes(path)
    }
    fn log_writer(&self) -> DiskResult<Box<dyn LogWriter>> {
        self.inner.log_writer()
    }
    fn now(&self) -> Timestamp {
        self.inner.now()
    }
    fn boot_time(&self) -> Duration {
        self.inner.boot_time()
    }
    fn name(&self) -> &'static str {
        "read-only"
    }
}

fn open(disk: &Arc<dyn Disk>, read_only: bool) -> Result<Engine, OpenError> {
    Engine::options().threads(false).read_only(read_only).disk(Arc::clone(disk)).open(DIR)
}

#[test]
fn a_disk_that_may_not_be_written_is_refused_for_writing_and_can_be_read() {
    for (says, advice) in [
        (io::ErrorKind::ReadOnlyFilesystem, "open it with `read_only`, or mount it for writing"),
        (io::ErrorKind::PermissionDenied, "check the owner and mode of the directory"),
    ] {
        let (inner, line) = store_of_segments().closed();
        let before = files(&inner);
        let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk { inner: inner.clone(), says });
        let error = open(&disk, false).unwrap_err();
        assert!(matches!(&error, OpenError::Disk(it) if it.kind() == says), "{error}");
        let error = error.to_string();
        assert!(error.contains(DIR) && error.ends_with(advice), "{error}");

        let engine = open(&disk, true).unwrap();
        assert_eq!(read_around(&engine, &line).unwrap(), []);
        let refused = engine.append(Append::to("s-1").event(numbered(1, 1))).wait();
        let reason = AppendError::Unavailable(Unavailable::ReadOnly);
        assert_eq!(refused.unwrap_err(), reason);
        engine.close().unwrap();
        let report = verify_on(&disk, Path::new(DIR), |_| ()).unwrap();
        assert!(report.ok && report.events == line.end(), "{report:?}");
        assert!(files(&inner) == before, "nothing was changed");
    }
}

#[test]
fn a_torn_tail_of_a_disk_that_may_not_be_written_is_passed_over() {
    let mut store = crate::stores::Store::new();
    store.fill(4, 24);
    let (inner, line) = store.killed();
    let torn = crate::stores::segment(1);
    inner.flip_bit(&torn, 4096 * 5 + 20, 1);
    let before = files(&inner);
    let says = io::ErrorKind::ReadOnlyFilesystem;
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk { inner: inner.clone(), says });
    let engine = open(&disk, true).unwrap();
    assert_eq!(read_around(&engine, &line.up_to(3)).unwrap(), [], "{}", SHAPE.depth);
    assert!(files(&inner) == before, "a reader cuts nothing");
}
