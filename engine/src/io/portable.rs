//! The portable disk: one write at a time, on the caller's thread, by ordinary system calls.
//!
//! It needs nothing but a POSIX file system (buffered), or one with `O_DIRECT` (direct), and is
//! what every other backend is measured against and falls back to. No `unsafe`.
//!
//! Its writer has depth 1: `submit` does the write and keeps the outcome for `complete`.

use std::io::{self, IoSlice};

use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::files::{Backing, HostDisk, HostFile, LogAccess, retry, whole_blocks};
use super::{DiskFile, DiskOperation, DiskResult, LogWrite, LogWriter};

/// The host's file system, with log files written by system calls on the caller's thread.
pub type PortableDisk = HostDisk<Portable>;

/// How a [`PortableDisk`] writes log files.
#[derive(Clone, Copy, Debug)]
pub struct Portable {
    access: LogAccess,
}

impl PortableDisk {
    /// Log files through the page cache: pwrite, then fdatasync. Works on every file system.
    pub const fn buffered() -> Self {
        Self { backing: Portable { access: LogAccess::Buffered } }
    }

    /// Log files past the page cache: `O_DIRECT`, and `RWF_DSYNC` with every write, so that write
    /// and flush are one call. Opening a log file answers `Unsupported` where the file system
    /// cannot do it.
    pub const fn direct() -> Self {
        Self { backing: Portable { access: LogAccess::Direct } }
    }
}

impl Backing for Portable {
    fn access(&self) -> LogAccess {
        self.access
    }

    fn name(&self) -> &'static str {
        match self.access {
            LogAccess::Buffered => "portable-buffered",
            LogAccess::Direct => "portable-direct",
        }
    }

    fn log_writer(&self) -> DiskResult<Box<dyn LogWriter>> {
        Ok(Box::new(PortableWriter { access: self.access, outcome: None }))
    }
}

/// Writes where it is asked to, one at a time.
#[derive(Debug)]
struct PortableWriter {
    access: LogAccess,
    /// Of the one write submitted and not yet completed.
    outcome: Option<DiskResult<()>>,
}

impl LogWriter for PortableWriter {
    fn depth(&self) -> usize {
        1
    }

    fn submit(&mut self, write: LogWrite) {
        assert!(self.outcome.is_none(), "one write is in flight already, and the depth is 1");
        let file = HostFile::of(&write, self.access);
        self.outcome = Some(match self.access {
            LogAccess::Buffered => write_then_sync(file, &write.bytes, write.offset_bytes),
            LogAccess::Direct => write_durably(file, &write.bytes, write.offset_bytes),
        });
    }

    fn complete(&mut self) -> DiskResult<()> {
        self.outcome.take().expect("complete is called for a write in flight")
    }
}

fn write_then_sync(file: &HostFile, bytes: &[u8], offset_bytes: u64) -> DiskResult<()> {
    super::write_all_at(file, bytes, offset_bytes)?;
    file.sync()
}

/// Every call makes durable what it wrote, so a short one is simply followed by one for the rest.
fn write_durably(file: &HostFile, bytes: &[u8], offset_bytes: u64) -> DiskResult<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = [IoSlice::new(&bytes[done..])];
        let offset = offset_bytes + done as u64;
        let wrote = retry(|| Ok(pwritev2(file, &rest, offset, ReadWriteFlags::DSYNC)?))
            .map_err(|error| file.error(DiskOperation::Write, refused(error)))?;
        assert!(wrote <= bytes.len() - done, "the kernel wrote more than it was given");
        // Part of a block is written again as a whole: the rest must start aligned.
        match whole_blocks(wrote) {
            0 => return Err(file.error(DiskOperation::Write, io::ErrorKind::WriteZero)),
            whole => done += whole,
        }
    }
    Ok(())
}

/// Says what is missing where the kernel knows no `RWF_DSYNC` (before 4.7), or the file system
/// takes `O_DIRECT` at open and refuses it at the first write.
pub(super) fn refused(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::OPNOTSUPP | Errno::INVAL) => io::Error::new(
            io::ErrorKind::Unsupported,
            format!("direct synchronous writes are not supported here ({error})"),
        ),
        _ => error,
    }
}
