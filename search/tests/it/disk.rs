//! A disk in memory that forgets and tears what was not synced, is full, fails syncs, and has its bits flipped.
//!
//! It assumes as little as redb says it does: single bytes are written whole or not at all, bytes beside a write stay as they
//! were, and what was synced is kept. Whatever was written since the last sync is kept, or not, or in part, in any mixture.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use nexus_search::StorageBackend;

use crate::random::Random;

/// How full a disk is counted in.
const BLOCK_BYTES: u64 = 4096;

/// What was done since the last sync.
#[derive(Debug)]
enum Operation {
    Length(usize),
    Write { offset: usize, bytes: Vec<u8> },
}

impl Operation {
    fn bytes(&self) -> usize {
        match self {
            Self::Length(_) => 0,
            Self::Write { bytes, .. } => bytes.len(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// What is read: all that was written.
    shown: Vec<u8>,
    /// What is kept whatever happens.
    synced: Vec<u8>,
    /// What is not yet, in order.
    unsynced: Vec<Operation>,
    /// Of the process that has it open; those before it are dead.
    life: u64,
    /// Operations until the process dies.
    dies_in: Option<u64>,
    /// Blocks that there is room for, and those that are taken.
    blocks_max: Option<usize>,
    blocks: BTreeSet<u64>,
    /// The next sync fails; whether the kernel then forgets what it could not write.
    sync_fails: Option<Forgets>,
    syncs: u64,
}

/// What becomes of what a failed sync has not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgets {
    /// The next sync writes it.
    Nothing,
    /// It is read as if it were there, and is never written: what Linux does.
    All,
}

/// How a process ends that does not end by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kill {
    /// The kernel goes on with what it was given, and has not written it either.
    Process,
    /// So does the machine.
    Machine,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What a process that begins now sees. What one had open before is dead.
    pub(crate) fn open(&self) -> Open {
        let mut state = self.state();
        state.life += 1;
        Open { disk: self.clone(), life: state.life }
    }

    /// Its process dies in the midst of an operation, so many from now.
    pub(crate) fn die_in(&self, operations: u64) {
        self.state().dies_in = Some(operations);
    }

    /// Whether it has.
    pub(crate) fn has_died(&self) -> bool {
        self.state().dies_in == Some(0)
    }

    /// Ends whatever has it open.
    pub(crate) fn kill(&self, how: Kill, random: &mut Random) {
        let mut state = self.state();
        state.life += 1;
        state.dies_in = None;
        if matches!(how, Kill::Machine) {
            let unsynced = std::mem::take(&mut state.unsynced);
            survive(&mut state.synced, &unsynced, random);
            state.shown = state.synced.clone();
        }
    }

    /// There is no room beyond so many blocks; `None`: there is enough.
    pub(crate) fn limit(&self, blocks_max: Option<usize>) {
        self.state().blocks_max = blocks_max;
    }

    pub(crate) fn blocks(&self) -> usize {
        self.state().blocks.len()
    }

    pub(crate) fn fail_sync(&self, forgets: Forgets) {
        self.state().sync_fails = Some(forgets);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// What is on it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state().shown.clone()
    }

    /// Flips so many bits of it, also under who has it open.
    pub(crate) fn flip(&self, bits: usize, random: &mut Random) {
        let mut state = self.state();
        for _ in 0..bits {
            let at = random.index(state.shown.len());
            state.shown[at] ^= 1 << random.below(8);
        }
    }

    /// A disk with these bytes on it.
    pub(crate) fn with(bytes: Vec<u8>) -> Self {
        let state = State { shown: bytes.clone(), synced: bytes, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }
}

/// What is there after the machine was switched off: what was synced, and something of the rest.
fn survive(kept: &mut Vec<u8>, unsynced: &[Operation], random: &mut Random) {
    // All, none, or each by chance: the first two are what mostly happens, and the third all that may.
    let odds = [1, u64::MAX, 2, 8][random.index(4)];
    let is_length = |operation: &&Operation| matches!(operation, Operation::Length(_));
    let mut lengths = unsynced.iter().filter(is_length).count();
    if odds > 1 {
        lengths = random.index(lengths + 1);
    }
    let mut length = kept.len();
    for operation in unsynced {
        match operation {
            Operation::Length(bytes) if lengths > 0 => {
                (length, lengths) = (*bytes, lengths - 1);
                apply(kept, operation, 0..0);
            }
            Operation::Length(_) => {}
            Operation::Write { bytes, .. } if random.one_in(odds) => {
                let from = random.index(bytes.len() + 1);
                let is_torn = random.one_in(8) && odds > 1;
                let part = from..from + random.index(bytes.len() - from + 1);
                apply(kept, operation, if is_torn { part } else { 0..bytes.len() });
            }
            Operation::Write { .. } => {}
        }
    }
    kept.resize(length, 0);
}

/// Does an operation, or a part of one.
fn apply(to: &mut Vec<u8>, operation: &Operation, part: Range<usize>) {
    match operation {
        Operation::Length(length) => to.resize(*length, 0),
        Operation::Write { offset, bytes } => {
            to.resize(to.len().max(offset + part.end), 0);
            to[offset + part.start..offset + part.end].copy_from_slice(&bytes[part]);
        }
    }
}

/// A disk as one process has it open.
#[derive(Debug)]
pub(crate) struct Open {
    disk: Disk,
    life: u64,
}

impl Open {
    fn alive(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        let is_dead = self.life != state.life || state.dies_in == Some(0);
        if is_dead { Err(Error::other("the process was killed")) } else { Ok(state) }
    }

    /// Whether the process dies with this operation, which is done in part then.
    fn dies(state: &mut State) -> Result<()> {
        match &mut state.dies_in {
            None => Ok(()),
            Some(operations) => {
                *operations -= 1;
                if *operations == 0 { Err(Error::other("the process was killed")) } else { Ok(()) }
            }
        }
    }
}

impl StorageBackend for Open {
    fn len(&self) -> Result<u64> {
        Ok(self.alive()?.shown.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let state = self.alive()?;
        let from = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let to = from.checked_add(out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(state.shown.get(from..to).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.alive()?;
        let length = usize::try_from(len).map_err(|_| ErrorKind::FileTooLarge)?;
        if length > 1 << 30 {
            return Err(ErrorKind::FileTooLarge.into());
        }
        state.shown.resize(length, 0);
        state.unsynced.push(Operation::Length(length));
        state.blocks.retain(|block| *block < len.div_ceil(BLOCK_BYTES));
        Self::dies(&mut state)
    }

    fn sync_data(&self) -> Result<()> {
        let mut state = self.alive()?;
        Self::dies(&mut state)?;
        state.syncs += 1;
        match state.sync_fails.take() {
            None => {
                for operation in std::mem::take(&mut state.unsynced) {
                    let whole = operation.bytes();
                    apply(&mut state.synced, &operation, 0..whole);
                }
                Ok(())
            }
            Some(forgets) => {
                if forgets == Forgets::All {
                    // Lengths are the file system's own, and not among what it forgets.
                    state.unsynced.retain(|operation| matches!(operation, Operation::Length(_)));
                }
                Err(Error::other("the disk does not answer"))
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut state = self.alive()?;
        let blocks = offset / BLOCK_BYTES..(offset + data.len() as u64).div_ceil(BLOCK_BYTES);
        for block in blocks {
            let taken = state.blocks.len();
            if !state.blocks.contains(&block) && state.blocks_max.is_some_and(|max| taken >= max) {
                return Err(ErrorKind::StorageFull.into());
            }
            state.blocks.insert(block);
        }
        let offset = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        let end = offset + data.len();
        let length = state.shown.len().max(end);
        state.shown.resize(length, 0);
        state.shown[offset..end].copy_from_slice(data);
        let operation = Operation::Write { offset, bytes: data.to_vec() };
        state.unsynced.push(operation);
        Self::dies(&mut state)
    }
}
