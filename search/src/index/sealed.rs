//! [`Sealed`]: a directory whose small files have checksums as well.
//!
//! Tantivy puts a checksum at the end of each file of a segment, and none to the two that say which files there are:
//! `meta.json` and `.managed.json`. A bit that flips in there can hide the deletions of a segment, and then a document is shown as
//! it once was. So each is kept as: text ‖ CRC-32 of path and text as eight hexadecimal digits ‖ line end.
//!
//! Merges go on behind a writer that is gone, and behind a commit that has failed. What they would write then is not written: once
//! a directory is closed it changes nothing any more.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, FileSlice, Lock, WatchCallback, WatchHandle, WritePtr,
};

/// Digits and line end.
const SEAL_BYTES: usize = 9;

/// A directory that seals what is written at once.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    inner: Box<dyn Directory>,
    is_closed: Arc<AtomicBool>,
    /// What has failed first, where something has.
    failed: Arc<OnceLock<(io::ErrorKind, String)>>,
}

impl Sealed {
    pub(super) fn new(directory: impl Directory, is_closed: Arc<AtomicBool>) -> Self {
        Self { inner: Box::new(directory), is_closed, failed: Arc::default() }
    }

    /// What a commit that fails would have made stands in the memory of the writer, and a merge that ends behind it would write
    /// that down: the documents of one commit under the checkpoint of another. So what fails once is the last that is done.
    fn or_close<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &done {
            self.failed.get_or_init(|| (error.kind(), error.to_string()));
            self.is_closed.store(true, Ordering::SeqCst);
        }
        done
    }

    fn check_open(&self) -> io::Result<()> {
        match (self.is_closed.load(Ordering::SeqCst), self.failed.get()) {
            // It may be behind a commit that went through that something failed: the next one says of what.
            (true, Some((kind, why))) => Err(io::Error::new(*kind, why.as_str())),
            (true, None) => Err(io::Error::other("the index was closed meanwhile")),
            (false, _) => Ok(()),
        }
    }
}

fn seal_of(path: &Path, text: &[u8]) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(path.as_os_str().as_encoded_bytes());
    hasher.update(text);
    format!("{:08x}\n", hasher.finalize()).into_bytes()
}

impl Directory for Sealed {
    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let mut bytes = self.inner.atomic_read(path)?;
        let text_bytes = bytes.len().saturating_sub(SEAL_BYTES);
        let (text, seal) = bytes.split_at(text_bytes);
        if seal_of(path, text) != seal {
            let why = io::Error::new(io::ErrorKind::InvalidData, "its checksum is of other bytes");
            return Err(OpenReadError::wrap_io_error(why, path.to_path_buf()));
        }
        bytes.truncate(text_bytes);
        Ok(bytes)
    }

    fn atomic_write(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        self.check_open()?;
        self.or_close(self.inner.atomic_write(path, &[text, &seal_of(path, text)].concat()))
    }

    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.inner.get_file_handle(path)
    }

    fn open_read(&self, path: &Path) -> Result<FileSlice, OpenReadError> {
        self.inner.open_read(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let wrap = |error| DeleteError::IoError {
            io_error: Arc::new(error),
            filepath: path.to_path_buf(),
        };
        self.check_open().map_err(wrap)?;
        self.inner.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.inner.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let wrap = |error| OpenWriteError::wrap_io_error(error, path.to_path_buf());
        self.check_open().map_err(wrap)?;
        self.inner.open_write(path)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.or_close(self.inner.sync_directory())
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.inner.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.inner.watch(callback)
    }
}

#[cfg(test)]
mod tests {
    use tantivy::directory::RamDirectory;

    use super::*;

    #[test]
    fn every_bit_counts() {
        let kept = RamDirectory::create();
        let is_closed = Arc::new(AtomicBool::new(false));
        let sealed = Sealed::new(kept.clone(), Arc::clone(&is_closed));
        let (path, other) = (Path::new("meta.json"), Path::new("other.json"));
        sealed.atomic_write(path, b"{\"n\":1}").unwrap();
        assert_eq!(sealed.atomic_read(path).unwrap(), b"{\"n\":1}");
        let bytes = kept.atomic_read(path).unwrap();
        assert_eq!(bytes, b"{\"n\":1}dc36a05b\n");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            kept.atomic_write(path, &flipped).unwrap();
            sealed.atomic_read(path).unwrap_err();
        }
        for len in 0..bytes.len() {
            kept.atomic_write(path, &bytes[..len]).unwrap();
            sealed.atomic_read(path).unwrap_err();
        }
        kept.atomic_write(other, &bytes).unwrap();
        sealed.atomic_read(other).unwrap_err();
        is_closed.store(true, Ordering::SeqCst);
        sealed.atomic_write(path, b"{}").unwrap_err();
        assert!(sealed.open_write(Path::new("new")).is_err());
        sealed.delete(path).unwrap_err();
        assert_eq!(kept.atomic_read(path).unwrap(), bytes[..bytes.len() - 1]);
    }
}
