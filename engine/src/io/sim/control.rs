//! What a test does to a simulated disk, beside the engine: time, faults, damage, and crashes.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use nexus_protocol::Timestamp;

use super::faults::Fault;
use super::image::{FileState, Image, Progress, kept};
use super::survival::{NameChanges, Survival, Writes};
use super::trace::{Damage, Trace, TraceOp};
use super::{Disk, SimDisk};

/// Time.
impl SimDisk {
    /// Moves the wall clock to `now`, and the boot clock by as much.
    ///
    /// # Panics
    /// When that would move time back; see [`SimDisk::set_wall_only`].
    pub fn set_now(&self, now: Timestamp) {
        let passed = now.since(self.now());
        assert!(now >= self.now(), "time moves on; only a wall clock is set back");
        self.advance(passed);
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.settings.now = state.settings.now.saturating_add(by);
        state.since_boot += by;
    }

    /// Sets the wall clock, forward or back, as an operator or a time server does.
    pub fn set_wall_only(&self, now: Timestamp) {
        self.state().settings.now = now;
    }
}

/// Faults.
impl SimDisk {
    /// Schedules a failure. It counts from the next operation on.
    pub fn schedule(&self, fault: Fault) {
        self.state().faults.schedule(fault);
    }

    /// Forgets all failures that have not struck, and makes every range readable again.
    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.unreadable.clear();
    }

    /// How many operations scheduled failures have struck.
    pub fn faults_struck(&self) -> u64 {
        self.state().faults.struck
    }

    /// Makes every read that touches a range of the file at `path` fail with EIO, whatever the file
    /// is called later.
    ///
    /// # Panics
    /// When no file stands there.
    pub fn fail_reads(&self, path: impl AsRef<Path>, range: Range<u64>) {
        let mut state = self.state();
        let file = state.image.find_file(path.as_ref()).expect("a file to fail reads of");
        state.unreadable.push((file, range));
    }

    /// Sets how much fits on the disk; `None`: unbounded. What is there already stays.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.state().settings.capacity_bytes = capacity_bytes;
    }
}

/// Damage to the medium: durable, and visible at once. Each panics when the file is not there.
impl SimDisk {
    /// Turns one bit of a byte, `bit` 0 to 7.
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset_bytes: u64, bit: u32) {
        let path = path.as_ref();
        let at = usize::try_from(offset_bytes).expect("an offset in memory");
        let byte = *self.read_back(path).get(at).expect("the bit is inside the file");
        assert!(bit < u8::BITS, "a byte has eight bits");
        self.corrupt(path, offset_bytes, &[byte ^ (1 << bit)]);
    }

    /// Replaces bytes inside the file.
    pub fn corrupt(&self, path: impl AsRef<Path>, offset_bytes: u64, bytes: &[u8]) {
        let path = kept(path.as_ref());
        self.damage(Damage::Overwrite { path, offset_bytes, bytes: Bytes::copy_from_slice(bytes) });
    }

    /// Cuts off the end of a file. Nothing happens when it is shorter.
    pub fn truncate_file(&self, path: impl AsRef<Path>, len_bytes: u64) {
        self.damage(Damage::Truncate { path: kept(path.as_ref()), len_bytes });
    }

    /// Makes a file vanish, as no crash could. [`Disk::remove`] is what the engine does.
    pub fn remove_file(&self, path: impl AsRef<Path>) {
        self.damage(Damage::Remove { path: kept(path.as_ref()) });
    }

    /// Gives two files each other's content.
    pub fn swap_files(&self, one: impl AsRef<Path>, other: impl AsRef<Path>) {
        let (one, other) = (kept(one.as_ref()), kept(other.as_ref()));
        self.damage(Damage::Swap { one, other });
    }

    /// What programs see in a file, past all faults, and not counted as a read.
    pub fn read_back(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let state = self.state();
        let file = state.image.find_file(path.as_ref()).expect("a file to read back");
        state.image.file(file).visible.to_vec()
    }

    fn damage(&self, damage: Damage) {
        let mut state = self.state();
        state.image.damage(&damage).expect("a file to damage");
        state.record(TraceOp::Damage(damage));
    }
}

/// Recording and crashing.
impl SimDisk {
    /// How many operations there were since the disk was made or [`SimDisk::start_trace`]. An
    /// append acknowledged now must be found in every crash state after so many operations or more.
    pub fn op_count(&self) -> usize {
        self.state().op_count
    }

    /// Forgets the operations so far: what they left is where the trace begins.
    pub fn start_trace(&self) {
        let mut state = self.state();
        state.baseline = state.image.clone();
        state.ops.clear();
        state.op_count = 0;
        state.read_count = 0;
    }

    /// The operations so far.
    ///
    /// # Panics
    /// When the disk does not record.
    pub fn trace(&self) -> Trace {
        let state = self.state();
        assert!(state.settings.recording, "the disk was built not to record");
        assert_eq!(state.ops.len(), state.op_count, "every operation is recorded");
        Trace {
            baseline: state.baseline.clone(),
            ops: state.ops.clone(),
            read_count: state.read_count,
            settings: state.settings.clone(),
        }
    }

    /// The disk that is found if the machine stops now: pending writes and names survive, or not,
    /// or in part, as `seed` says. This disk is not changed.
    pub fn crash(&self, seed: u64) -> Self {
        let names = NameChanges::Random { seed };
        self.survivor(&Survival { writes: Writes::Random { seed }, names }, seed)
    }

    /// The disk if the machine stops now and nothing pending survives.
    pub fn durable_image(&self) -> Self {
        let none = Survival { writes: Writes::None, names: NameChanges::None };
        self.survivor(&none, 1)
    }

    /// The disk if only the process stops, or all was shut down in order: all that was written and
    /// not dropped, writes in flight too, is there, and is durable.
    pub fn image(&self) -> Self {
        let state = self.state();
        let content = |file: &FileState| {
            let mut content = file.visible.clone();
            for write in file.pending.iter().filter(|it| it.progress == Progress::InFlight) {
                content.write(write.offset, &write.bytes);
            }
            FileState::clean(content)
        };
        let files = state.image.files.iter().map(|(node, file)| (*node, content(file))).collect();
        let image = Image::clean(state.image.names.clone(), files, &state.image);
        let disk = Self::rebooted(image, &state.settings, 1);
        disk.state().since_boot = state.since_boot;
        drop(state);
        disk
    }

    /// Whether two disks show the same names and bytes.
    pub fn same_content(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }

    /// A number that disks with the same names and bytes share, and others practically never do,
    /// if both come from the same disk by crashes or repetition.
    pub fn fingerprint(&self) -> u64 {
        self.state().image.fingerprint()
    }

    fn survivor(&self, survival: &Survival, seed: u64) -> Self {
        let state = self.state();
        Self::rebooted(survival.apply(&state.image), &state.settings, seed)
    }
}
