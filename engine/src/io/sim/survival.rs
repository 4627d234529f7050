//! What a crash leaves: which pending writes and names survive, and the image that makes.
//!
//! A write survives whole, not at all, or in sectors of 512 bytes, in any combination: that is what
//! the contract of [`crate::io::Disk`] leaves open. A change of names survives or does not, but
//! never without an earlier pending change of the same name; changes of different names come in any
//! order.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::content::Content;
use super::image::{FileState, Image, PendingWrite, with_needed};
use super::random::Random;
use super::trace::WriteId;

/// What a disk writes whole, counted from the start of the file.
pub(super) const SECTOR_BYTES: usize = 512;

/// Which side of a torn write landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    Head,
    Tail,
}

/// Which pending writes survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    None,
    /// No bytes, but the files are as long as if all had: lengths are kept apart from content.
    Lengths,
    All,
    Only(WriteId),
    Without(WriteId),
    /// One is cut at an offset of its file; the others survive or do not.
    Torn {
        write: WriteId,
        at: usize,
        landed: Landed,
        others: bool,
    },
    Random {
        seed: u64,
    },
}

/// Which pending changes of names survive, by their place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NameChanges {
    None,
    All,
    Only(usize),
    Without(usize),
    Random { seed: u64 },
}

/// One outcome of a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Survival {
    pub(super) writes: Writes,
    pub(super) names: NameChanges,
}

/// What became of one write.
enum Fate {
    Lost,
    Length,
    Whole,
    Parts(Vec<Range<usize>>),
}

impl Survival {
    /// The disk that is found after a crash of `image`; everything on it is durable.
    pub(super) fn apply(&self, image: &Image) -> Image {
        let mut names = image.durable_names.clone();
        for (change, survives) in image.pending_names.iter().zip(self.surviving_names(image)) {
            if survives {
                change.changes.iter().for_each(|change| {
                    names.apply(change);
                });
            }
        }
        let named = names.reachable().into_iter().map(|(_, _, target)| target);
        let nodes: Vec<_> = named.filter(|target| !target.is_dir).map(|it| it.node).collect();
        let content = |node| (node, FileState::clean(self.surviving_content(image.file(node))));
        let files: BTreeMap<_, _> = nodes.into_iter().map(content).collect();
        Image::clean(names, files, image)
    }

    fn surviving_names(&self, image: &Image) -> Vec<bool> {
        let pending = &image.pending_names;
        let all = 0..pending.len();
        match self.names {
            NameChanges::None => vec![false; pending.len()],
            NameChanges::All => vec![true; pending.len()],
            NameChanges::Only(kept) => with_needed(pending, all.map(|i| i == kept).collect()),
            NameChanges::Without(lost) => {
                let mut survives = vec![true; pending.len()];
                survives[lost] = false;
                for later in lost + 1..pending.len() {
                    let needs = |earlier: usize| pending[later].needs(&pending[earlier]);
                    survives[later] = (lost..later).all(|it| survives[it] || !needs(it));
                }
                survives
            }
            NameChanges::Random { seed } => {
                let mut random = Random::new(seed);
                with_needed(pending, all.map(|_| random.one_in(2)).collect())
            }
        }
    }

    fn surviving_content(&self, file: &FileState) -> Content {
        let mut content = file.durable.clone();
        for write in &file.pending {
            match self.fate(write) {
                Fate::Lost => {}
                Fate::Length => content.extend(write.end()),
                Fate::Whole => content.write(write.offset, &write.bytes),
                Fate::Parts(parts) => {
                    for part in parts.into_iter().filter(|part| !part.is_empty()) {
                        let bytes =
                            &write.bytes[part.start - write.offset..part.end - write.offset];
                        content.write(part.start, bytes);
                    }
                }
            }
        }
        content
    }

    fn fate(&self, write: &PendingWrite) -> Fate {
        let whole_if = |survives| if survives { Fate::Whole } else { Fate::Lost };
        match self.writes {
            Writes::None => Fate::Lost,
            Writes::Lengths => Fate::Length,
            Writes::All => Fate::Whole,
            Writes::Only(kept) => whole_if(write.id == kept),
            Writes::Without(lost) => whole_if(write.id != lost),
            Writes::Torn { write: torn, others, .. } if write.id != torn => whole_if(others),
            Writes::Torn { at, landed, .. } => {
                let at = at.clamp(write.offset, write.end());
                Fate::Parts(vec![match landed {
                    Landed::Head => write.offset..at,
                    Landed::Tail => at..write.end(),
                }])
            }
            Writes::Random { seed } => random_fate(seed, write),
        }
    }
}

/// A third of the writes survive whole, a third are lost, and of the others each sector survives
/// with a chance of 1/2, 1/8, or 7/8.
fn random_fate(seed: u64, write: &PendingWrite) -> Fate {
    let mut random = Random::new(seed ^ write.id.0.rotate_left(32) ^ write.offset as u64);
    // The seeds of neighbours differ in few bits; the first number mixes them.
    random.next();
    match random.below(3) {
        0 => Fate::Lost,
        1 => Fate::Whole,
        _ => {
            let eighths = [1, 4, 7][usize::try_from(random.below(3)).expect("below three")];
            let survives = |_: &Range<usize>| random.below(8) < eighths;
            Fate::Parts(sectors(write).filter(survives).collect())
        }
    }
}

/// A write cut at every boundary of a sector.
fn sectors(write: &PendingWrite) -> impl Iterator<Item = Range<usize>> {
    let (from, end) = (write.offset, write.end());
    let first = from / SECTOR_BYTES;
    (first..end.div_ceil(SECTOR_BYTES)).map(move |sector| {
        (sector * SECTOR_BYTES).max(from)..((sector + 1) * SECTOR_BYTES).min(end)
    })
}

impl fmt::Display for Survival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.writes {
            Writes::None => f.write_str("no pending write")?,
            Writes::Lengths => f.write_str("only lengths of pending writes")?,
            Writes::All => f.write_str("all pending writes")?,
            Writes::Only(write) => write!(f, "only write #{}", write.0)?,
            Writes::Without(write) => write!(f, "all but write #{}", write.0)?,
            Writes::Torn { write, at, landed, others } => {
                let others = if *others { "all" } else { "none" };
                write!(f, "{landed:?} of write #{} torn at {at}, {others} of the others", write.0)?;
            }
            Writes::Random { seed } => write!(f, "random sectors (seed {seed})")?,
        }
        match &self.names {
            NameChanges::None => f.write_str("; no pending name"),
            NameChanges::All => f.write_str("; all pending names"),
            NameChanges::Only(change) => write!(f, "; only change of names {change}"),
            NameChanges::Without(change) => write!(f, "; all but change of names {change}"),
            NameChanges::Random { seed } => write!(f, "; random names (seed {seed})"),
        }
    }
}
