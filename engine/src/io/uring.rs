//! The io_uring disk: log writes through a ring of the kernel, up to 8 of them in flight.
//!
//! Two ways: *linked*, a write to the page cache with an fdatasync linked behind it, in one system
//! call; and *direct*, `O_DIRECT` writes with `RWF_DSYNC`, several at once. Everything but log
//! writes is the portable disk's.
//!
//! Invariants:
//! - what the kernel was given (file and bytes) is kept until it has answered, also when the writer
//!   is dropped; if the ring itself fails so that no answer can come, it is leaked, not freed;
//! - `complete` answers in the order of `submit`, whatever the order of the kernel's answers;
//! - success means that the write was whole **and** its sync ran and succeeded. A sync that failed
//!   is never repeated (I7); one that never ran, because its write was short or was cancelled, is
//!   run after the write was done again;
//! - no ring option that binds the ring to one thread: an idle log commits on its callers' threads.
#![expect(unsafe_code, reason = "the kernel reads memory that the ring was only told about")]

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};
use rustix::io::{Errno, ReadWriteFlags};

use super::files::{Backing, HostDisk, HostFile, LogAccess, whole_blocks};
use super::portable::refused;
use super::{DiskError, DiskOperation, DiskResult, LogWrite, LogWriter};

/// The most writes that a disk has in flight; [`LogWriter::depth`] promises it.
pub const DEPTH_MAX: usize = 8;

/// The most bytes of one operation, so that its length and its result fit what the ring has for
/// them. A frame is far below; a longer write goes out in parts.
const OPERATION_BYTES_MAX: usize = 1 << 30;

/// How often an operation that did nothing (interrupted, or cancelled because the thread that
/// submitted it ended) is tried again, and how often a busy ring is entered again.
const ATTEMPTS_MAX: u32 = 16;

/// The host's file system, with log files written through io_uring.
pub type UringDisk = HostDisk<Uring>;

/// How a [`UringDisk`] writes log files.
#[derive(Clone, Copy, Debug)]
pub struct Uring {
    access: LogAccess,
    depth: usize,
}

impl UringDisk {
    /// Log files through the page cache: a write, linked to an fdatasync. Depth 1.
    pub const fn linked() -> Self {
        Self { backing: Uring { access: LogAccess::Buffered, depth: 1 } }
    }

    /// Log files past the page cache (`O_DIRECT`, `RWF_DSYNC`), with up to `depth` writes in
    /// flight. Opening a log file answers `Unsupported` where the file system cannot do it.
    ///
    /// # Panics
    /// When `depth` is not 1 to [`DEPTH_MAX`].
    pub const fn direct(depth: usize) -> Self {
        assert!(depth >= 1 && depth <= DEPTH_MAX, "the depth is 1 to 8");
        Self { backing: Uring { access: LogAccess::Direct, depth } }
    }
}

impl Backing for Uring {
    fn access(&self) -> LogAccess {
        self.access
    }

    fn name(&self) -> &'static str {
        const DIRECT: [&str; DEPTH_MAX] = [
            "uring-direct:1",
            "uring-direct:2",
            "uring-direct:3",
            "uring-direct:4",
            "uring-direct:5",
            "uring-direct:6",
            "uring-direct:7",
            "uring-direct:8",
        ];
        match self.access {
            LogAccess::Buffered => "uring-linked",
            LogAccess::Direct => DIRECT[self.depth - 1],
        }
    }

    fn log_writer(&self) -> DiskResult<Box<dyn LogWriter>> {
        // Two operations a write at most, so the queue always has room.
        let entries = u32::try_from(2 * self.depth).expect("the depth is at most 8");
        let ring = IoUring::new(entries.next_power_of_two()).map_err(setup_error)?;
        Ok(Box::new(UringWriter {
            ring,
            access: self.access,
            depth: self.depth,
            in_flight: VecDeque::with_capacity(self.depth),
            oldest: 0,
            broken: None,
            closing: false,
        }))
    }
}

/// Says in words why there is no ring, so that whoever chose this backend knows what to change.
fn setup_error(error: io::Error) -> DiskError {
    let explained = match Errno::from_io_error(&error) {
        Some(Errno::NOSYS) => {
            Some((io::ErrorKind::Unsupported, "this kernel has no io_uring, or a filter hides it"))
        }
        Some(Errno::PERM | Errno::ACCESS) => {
            Some((io::ErrorKind::PermissionDenied, "io_uring is forbidden to this process"))
        }
        Some(Errno::NOMEM) => Some((
            io::ErrorKind::OutOfMemory,
            "no memory may be locked for a ring (RLIMIT_MEMLOCK)",
        )),
        _ => None,
    };
    let source = match explained {
        Some((kind, why)) => io::Error::new(kind, format!("{why} ({error}); use portable-direct")),
        None => error,
    };
    DiskError::new(DiskOperation::Setup, Path::new("io_uring"), source)
}

/// Which of the two operations of a write a completion belongs to: the lowest bit of its
/// `user_data`. The other bits are the write's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Write = 0,
    Sync = 1,
}

/// One write between `submit` and `complete`.
#[derive(Debug)]
struct InFlight {
    write: LogWrite,
    /// Bytes written so far, by earlier rounds.
    done_bytes: usize,
    /// Bytes that this round's operation was to write.
    asked_bytes: usize,
    /// Operations that the kernel has been given and has not answered.
    pending: u32,
    /// This round's results: bytes written or 0 for a sync, or a negated error number.
    wrote: i32,
    synced: i32,
    /// Rounds that did nothing.
    idle_rounds: u32,
    outcome: Option<DiskResult<()>>,
}

/// What to do after a round of one write.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// All of it is written and durable.
    Durable,
    /// So many more bytes are written; go on with the rest.
    Short(usize),
    /// Nothing was done: the same again.
    Idle,
    /// For good.
    Failed(DiskOperation, Errno),
    /// The disk takes nothing.
    Full,
}

/// Decides what one round of a write came to. Pure, since a test cannot make a kernel cut short.
///
/// `synced` is `None` where the write is durable by itself. `rest_bytes` are all that is left of
/// the write, of which `asked_bytes` were asked for in this round.
fn judge(wrote: i32, synced: Option<i32>, asked_bytes: usize, rest_bytes: usize) -> Round {
    let Ok(wrote_bytes) = usize::try_from(wrote) else {
        return match Errno::from_raw_os_error(-wrote) {
            Errno::INTR | Errno::AGAIN | Errno::CANCELED => Round::Idle,
            errno => Round::Failed(DiskOperation::Write, errno),
        };
    };
    assert!(wrote_bytes <= asked_bytes, "the kernel wrote more than it was given");
    let ran = match synced {
        None | Some(0) => true,
        // The ring gives this to an operation that it never started; no file system does.
        Some(errno) if Errno::from_raw_os_error(-errno) == Errno::CANCELED => false,
        Some(errno) => {
            return Round::Failed(DiskOperation::Sync, Errno::from_raw_os_error(-errno));
        }
    };
    if wrote_bytes == rest_bytes {
        return if ran { Round::Durable } else { Round::Idle };
    }
    // Part of a block is written again as a whole: the rest must start aligned. The sync of the
    // last round covers the whole file, so one that did not run in between is made good by it.
    match whole_blocks(wrote_bytes) {
        0 => Round::Full,
        whole => Round::Short(whole),
    }
}

/// Writes through a ring. Any thread may call it, and a different one each time; when the thread
/// that submitted a write ends before it completes, the kernel may cancel it, and it is done again.
struct UringWriter {
    ring: IoUring,
    access: LogAccess,
    depth: usize,
    /// Oldest first.
    in_flight: VecDeque<InFlight>,
    /// The number of the oldest write in flight, or of the next one.
    oldest: u64,
    /// Why the ring can no longer be entered. Then nothing more will ever complete.
    broken: Option<Errno>,
    /// Being dropped: nothing is started again.
    closing: bool,
}

impl fmt::Debug for UringWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringWriter")
            .field("access", &self.access)
            .field("depth", &self.depth)
            .field("in_flight", &self.in_flight.len())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl LogWriter for UringWriter {
    fn depth(&self) -> usize {
        self.depth
    }

    fn submit(&mut self, write: LogWrite) {
        assert!(self.in_flight.len() < self.depth, "as many writes as the depth are in flight");
        // Checks that the file is ours and everything aligned, on the caller's stack.
        HostFile::of(&write, self.access);
        self.in_flight.push_back(InFlight {
            write,
            done_bytes: 0,
            asked_bytes: 0,
            pending: 0,
            wrote: 0,
            synced: 0,
            idle_rounds: 0,
            outcome: None,
        });
        if self.broken.is_none() {
            self.start(self.in_flight.len() - 1);
            self.enter(0);
        }
    }

    fn complete(&mut self) -> DiskResult<()> {
        assert!(!self.in_flight.is_empty(), "complete is called for a write in flight");
        loop {
            self.reap();
            if self.in_flight[0].outcome.is_some() || self.broken.is_some() {
                break;
            }
            self.enter(1);
        }
        let oldest = self.in_flight.pop_front().expect("checked above");
        self.oldest += 1;
        self.settle(oldest)
    }
}

impl UringWriter {
    /// Queues the operations of the rest of a write; `enter` tells the kernel.
    fn start(&mut self, index: usize) {
        let number = self.oldest + index as u64;
        let flight = &mut self.in_flight[index];
        assert_eq!(flight.pending, 0, "a round starts after the one before has ended");
        let file = HostFile::of(&flight.write, self.access);
        let fd = Fd(file.as_fd().as_raw_fd());
        let rest = &flight.write.bytes[flight.done_bytes..];
        let asked = &rest[..rest.len().min(OPERATION_BYTES_MAX)];
        let len = u32::try_from(asked.len()).expect("bounded by OPERATION_BYTES_MAX");
        let write = opcode::Write::new(fd, asked.as_ptr(), len)
            .offset(flight.write.offset_bytes + flight.done_bytes as u64);
        let queue = &mut self.ring.submission();
        match self.access {
            LogAccess::Direct => {
                let durable = ReadWriteFlags::DSYNC.bits().cast_signed();
                let write = write.rw_flags(durable).build().user_data(tag(number, Part::Write));
                // SAFETY: the memory and the open file belong to `flight.write`, which stays in
                // `in_flight` until `pending` is 0 again; a `Bytes` neither moves nor changes what
                // it points to. Where no answer can come any more, `settle` and `drop` leak it.
                unsafe { queue.push(&write) }.expect("the queue has room for every write");
                flight.pending = 1;
            }
            LogAccess::Buffered => {
                let sync = opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build();
                let operations = [
                    write.build().flags(squeue::Flags::IO_LINK).user_data(tag(number, Part::Write)),
                    sync.user_data(tag(number, Part::Sync)),
                ];
                // SAFETY: as above; the sync refers to no memory. Both are queued or neither, so a
                // write is never linked to what some later call queues.
                unsafe { queue.push_multiple(&operations) }
                    .expect("the queue has room for every write");
                flight.pending = 2;
            }
        }
        flight.asked_bytes = asked.len();
    }

    /// Takes the kernel's answers, and goes on with writes that were cut short.
    fn reap(&mut self) {
        let mut ended = [0; DEPTH_MAX];
        let mut ended_len = 0;
        for answer in self.ring.completion() {
            let index = usize::try_from((answer.user_data() >> 1) - self.oldest)
                .expect("the kernel answers for a write in flight");
            let flight = &mut self.in_flight[index];
            assert!(flight.pending > 0, "the kernel answers once for an operation");
            if answer.user_data() & 1 == Part::Sync as u64 {
                flight.synced = answer.result();
            } else {
                flight.wrote = answer.result();
            }
            flight.pending -= 1;
            if flight.pending == 0 {
                ended[ended_len] = index;
                ended_len += 1;
            }
        }
        let mut started = false;
        for index in &ended[..ended_len] {
            if self.ends(*index) || self.closing {
                continue;
            }
            self.start(*index);
            started = true;
        }
        if started {
            self.enter(0);
        }
    }

    /// Judges the round of a write; whether it was the last.
    fn ends(&mut self, index: usize) -> bool {
        let flight = &mut self.in_flight[index];
        let synced = (self.access == LogAccess::Buffered).then_some(flight.synced);
        let rest_bytes = flight.write.bytes.len() - flight.done_bytes;
        let failed = |flight: &InFlight, operation, error: io::Error| {
            Some(Err(DiskError::new(operation, flight.write.file.path(), error)))
        };
        flight.outcome = match judge(flight.wrote, synced, flight.asked_bytes, rest_bytes) {
            Round::Durable => Some(Ok(())),
            Round::Short(bytes) => {
                flight.done_bytes += bytes;
                assert!(flight.done_bytes < flight.write.bytes.len(), "a short write has a rest");
                None
            }
            Round::Idle if flight.idle_rounds < ATTEMPTS_MAX => {
                flight.idle_rounds += 1;
                None
            }
            Round::Idle => failed(flight, DiskOperation::Write, Errno::CANCELED.into()),
            Round::Failed(DiskOperation::Write, errno) => {
                failed(flight, DiskOperation::Write, refused(errno.into()))
            }
            Round::Failed(operation, errno) => failed(flight, operation, errno.into()),
            Round::Full => failed(flight, DiskOperation::Write, io::ErrorKind::WriteZero.into()),
        };
        flight.outcome.is_some()
    }

    /// Hands the kernel what is queued, and waits for `want` answers.
    fn enter(&mut self, want: usize) {
        let mut attempts = 0;
        let error = loop {
            match self.ring.submit_and_wait(want) {
                Ok(_) => return,
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::INTR) => {}
                    Some(Errno::AGAIN | Errno::BUSY) if attempts < ATTEMPTS_MAX => {
                        attempts += 1;
                        std::thread::yield_now();
                    }
                    errno => break errno.unwrap_or(Errno::IO),
                },
            }
        };
        self.broken = Some(error);
    }

    /// The outcome of a write that leaves `in_flight`.
    fn settle(&mut self, flight: InFlight) -> DiskResult<()> {
        let broken = self.broken.map(|errno| {
            DiskError::new(DiskOperation::Write, flight.write.file.path(), errno.into())
        });
        if flight.pending > 0 {
            // The ring broke: the kernel may still read the memory, and will never say that it
            // does not. The log is poisoned by this and opens anew after a restart.
            mem::forget(flight);
            return Err(broken.expect("only a broken ring leaves an operation without an answer"));
        }
        match (flight.outcome, broken) {
            (Some(outcome), _) => outcome,
            (None, Some(broken)) => Err(broken),
            (None, None) => unreachable!("a write without an outcome is not completed"),
        }
    }
}

impl Drop for UringWriter {
    /// Waits until the kernel has let go of every file and buffer.
    fn drop(&mut self) {
        self.closing = true;
        loop {
            self.reap();
            if self.broken.is_some() || self.in_flight.iter().all(|flight| flight.pending == 0) {
                break;
            }
            self.enter(1);
        }
        if self.broken.is_some() {
            mem::forget(mem::take(&mut self.in_flight));
        }
    }
}

fn tag(number: u64, part: Part) -> u64 {
    (number << 1) | part as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: i32 = -5; // EIO
    const CANCELLED: i32 = -125; // ECANCELED

    #[test]
    fn rounds_are_durable_only_when_whole_and_synced() {
        let check = |wrote, synced, expected| {
            assert_eq!(judge(wrote, synced, 8192, 8192), expected, "{wrote} {synced:?}");
        };
        let io = |operation| Round::Failed(operation, Errno::IO);
        check(8192, None, Round::Durable);
        check(8192, Some(0), Round::Durable);
        check(8192, Some(FAILED), io(DiskOperation::Sync));
        check(8192, Some(CANCELLED), Round::Idle);
        check(4096, None, Round::Short(4096));
        check(4096, Some(0), Round::Short(4096));
        check(4096, Some(CANCELLED), Round::Short(4096));
        check(4096, Some(FAILED), io(DiskOperation::Sync));
        check(4608, None, Round::Short(4096));
        check(512, None, Round::Full);
        check(0, Some(CANCELLED), Round::Full);
        check(FAILED, None, io(DiskOperation::Write));
        check(FAILED, Some(CANCELLED), io(DiskOperation::Write));
        check(CANCELLED, Some(CANCELLED), Round::Idle);
        check(-4, None, Round::Idle);
        // A part of a long write that was asked for alone is never taken for all of it.
        assert_eq!(judge(4096, Some(0), 4096, 8192), Round::Short(4096));
    }

    #[test]
    fn missing_rings_are_explained() {
        for (errno, kind) in [
            (Errno::NOSYS, io::ErrorKind::Unsupported),
            (Errno::PERM, io::ErrorKind::PermissionDenied),
        ] {
            let error = setup_error(errno.into());
            assert_eq!((error.operation, error.kind()), (DiskOperation::Setup, kind));
            assert!(error.source.to_string().contains("portable-direct"));
        }
    }
}
