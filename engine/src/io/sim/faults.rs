//! Failures that a test schedules: the n-th write, sync, read, or change of names goes wrong.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The operations that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Write,
    Sync,
    Read,
    SyncDir,
    Names,
}

/// How a struck operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// EIO.
    Fail,
    /// No space.
    Full,
    /// EIO of a sync, and what was written is gone.
    Drop,
    /// It succeeds for so many bytes only.
    Short(usize),
    /// It is reported to succeed, and lands there.
    Misdirect(u64),
    /// It is reported to succeed, and the lowest bit of the byte there is wrong.
    Flip(u64),
}

type Matches = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// A failure to come: of the n-th operation of its kind from the moment it is scheduled. A log
/// write counts as a write when it is submitted, and as a sync when it is completed; that fails
/// where either is struck. Without more said the operation fails with EIO, once, whatever its path.
#[derive(Clone)]
pub struct Fault {
    class: Class,
    /// Operations to come until it strikes, the struck one included.
    remaining: u64,
    repeats: bool,
    matches: Option<Matches>,
    effect: Effect,
}

impl Fault {
    /// The `nth` write from now, the next one being 1.
    pub fn write(nth: u64) -> Self {
        Self::new(Class::Write, nth)
    }

    /// The `nth` sync of a file from now. Unless [`Fault::dropping`] it is as most file systems of
    /// Linux have it: the page cache takes what it failed to write for clean, so that reads go on to
    /// show it, also to the next process, and a later sync succeeds without writing it. Only bytes
    /// that are written again become durable.
    pub fn sync(nth: u64) -> Self {
        Self::new(Class::Sync, nth)
    }

    /// The `nth` read from now.
    pub fn read(nth: u64) -> Self {
        Self::new(Class::Read, nth)
    }

    /// The `nth` sync of a folder from now.
    pub fn sync_dir(nth: u64) -> Self {
        Self::new(Class::SyncDir, nth)
    }

    /// The `nth` creation, rename, or removal of a name from now.
    pub fn names(nth: u64) -> Self {
        Self::new(Class::Names, nth)
    }

    fn new(class: Class, nth: u64) -> Self {
        assert!(nth > 0, "the next operation is number 1");
        Self { class, remaining: nth, repeats: false, matches: None, effect: Effect::Fail }
    }

    /// Counts only operations on paths of which `matches` says yes.
    #[must_use]
    pub fn on(mut self, matches: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        self.matches = Some(Arc::new(matches));
        self
    }

    /// Counts only operations on one path.
    #[must_use]
    pub fn at(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.on(move |it| it == path)
    }

    /// Strikes every operation from the n-th on, until [`super::SimDisk::clear_faults`].
    #[must_use]
    pub fn repeating(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// Space runs out, instead of EIO.
    #[must_use]
    pub fn full(self) -> Self {
        assert!(matches!(self.class, Class::Write | Class::Names), "only writing takes space");
        self.with(Effect::Full)
    }

    /// The failed sync loses what was written: reads show the old content, and a later successful
    /// sync does not bring it back.
    #[must_use]
    pub fn dropping(self) -> Self {
        assert_eq!(self.class, Class::Sync, "only a failed sync drops what was written");
        self.with(Effect::Drop)
    }

    /// Succeeds for `len` bytes only; of a log file whole blocks are taken, and at least one. A log
    /// write is not affected: a writer completes it inside.
    #[must_use]
    pub fn short(self, len: usize) -> Self {
        assert!(
            matches!(self.class, Class::Write | Class::Read),
            "only reads and writes are short"
        );
        self.with(Effect::Short(len.max(1)))
    }

    /// Is reported as written, but lands at `offset_bytes` of the same file.
    #[must_use]
    pub fn misdirected_to(self, offset_bytes: u64) -> Self {
        assert_eq!(self.class, Class::Write, "only writes are misdirected");
        self.with(Effect::Misdirect(offset_bytes))
    }

    /// Is reported to succeed, and gives the byte at `offset_bytes` of the file with its lowest bit
    /// turned, where it reaches that far; what is on the disk is whole.
    #[must_use]
    pub fn flipping(self, offset_bytes: u64) -> Self {
        assert_eq!(self.class, Class::Read, "only what is read is wrong once");
        self.with(Effect::Flip(offset_bytes))
    }

    fn with(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("class", &self.class)
            .field("remaining", &self.remaining)
            .field("repeats", &self.repeats)
            .field("effect", &self.effect)
            .finish_non_exhaustive()
    }
}

/// The failures to come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    scheduled: Vec<Fault>,
    pub(super) struck: u64,
}

impl Faults {
    pub(super) fn schedule(&mut self, fault: Fault) {
        self.scheduled.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.scheduled.clear();
    }

    /// Counts an operation; answers how it goes wrong, if it does.
    pub(super) fn strike(&mut self, class: Class, path: &Path) -> Option<Effect> {
        let mut effect = None;
        self.scheduled.retain_mut(|fault| {
            let counts = fault.class == class && fault.matches.as_ref().is_none_or(|it| it(path));
            if !counts {
                return true;
            }
            fault.remaining = fault.remaining.saturating_sub(1);
            if fault.remaining > 0 {
                return true;
            }
            effect.get_or_insert(fault.effect);
            fault.repeats
        });
        self.struck += u64::from(effect.is_some());
        effect
    }
}

/// What the system says of a bad medium.
pub(super) fn input_output_error() -> io::Error {
    const EIO: i32 = 5;
    io::Error::from_raw_os_error(EIO)
}
