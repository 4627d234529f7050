//! Offline verification: every byte that a reader could be served, checked against its checksums and
//! against the chain.
//!
//! Nothing is changed. Damage does not stop it: it goes on behind, so that one run names all of it.
//! A torn tail is no damage: it is what a crash leaves, and the next start cuts it.

use std::path::Path;
use std::sync::Arc;

use nexus_protocol::{Corruption, CorruptionKind, LogId, NamespaceName};

use crate::engine::take_lock;
use crate::error::{LogError, OpenError, corruption};
use crate::frame::{FrameError, LogOffset, digest};
use crate::io::{self, ALIGNMENT, Disk, DiskFile, FileKind, OpenMode};
use crate::log::follow::{Follow, Scanned, durable_end_behind, resync, scan};
use crate::log::recover::{open_file, split};
use crate::manifest::{Manifest, SegmentEntry, SegmentLayout};
use crate::node_state::NodeStateFile;
use crate::open::NAMESPACES_DIR;
use crate::segment::frames::kind_of;
use crate::segment::window::Window;
use crate::segment::{HEADER_BLOCK_BYTES, SEGMENTS_DIR, SegmentHeader, blocks};

/// How far a verification is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Segments that were checked.
    pub segments: u64,
    /// Segments there are.
    pub segments_total: u64,
    /// Events that were checked.
    pub events: u64,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// Whether nothing is damaged.
    pub ok: bool,
    /// Segments that were checked.
    pub segments: u64,
    /// Events that are whole.
    pub events: u64,
    /// Bytes of a tail that a crash tore: never acknowledged, cut at the next start.
    pub torn_bytes: u64,
    /// All damage.
    pub errors: Vec<Corruption>,
}

/// Verifies a data directory that no engine has open. `progress` is told after each segment.
///
/// # Errors
/// When there is no data directory, it is open elsewhere, or a newer Nexus wrote it.
pub fn verify(
    dir: impl AsRef<Path>,
    progress: impl FnMut(VerifyProgress),
) -> Result<VerifyReport, OpenError> {
    verify_on(&io::open_disk(io::Backend::PortableBuffered)?, dir.as_ref(), progress)
}

/// The same on a given disk.
///
/// # Errors
/// As [`verify`].
pub fn verify_on(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    mut progress: impl FnMut(VerifyProgress),
) -> Result<VerifyReport, OpenError> {
    let root = dir.join(NAMESPACES_DIR);
    match disk.metadata(dir)? {
        Some(found) if !found.is_dir => {
            return Err(OpenError::NotADirectory { dir: dir.to_owned() });
        }
        _ if disk.metadata(&root)?.is_none() => {
            return Err(OpenError::NotFound { dir: dir.to_owned() });
        }
        _ => {}
    }
    let _lock = take_lock(&**disk, dir, true)?;
    let mut check = Check {
        report: VerifyReport {
            ok: true,
            segments: 0,
            events: 0,
            torn_bytes: 0,
            errors: Vec::new(),
        },
        total: 0,
        progress: &mut progress,
    };
    for entry in disk.list(&root)? {
        if entry.is_dir && NamespaceName::new(&entry.name).is_ok() {
            let namespace = root.join(&entry.name);
            match check.namespace(disk, &namespace) {
                Ok(()) => {}
                Err(LogError::Corrupt(damage)) => check.report.errors.push(*damage),
                Err(error) => return Err(OpenError::from_log(error, dir)),
            }
        }
    }
    check.report.ok = check.report.errors.is_empty();
    Ok(check.report)
}

struct Check<'a> {
    report: VerifyReport,
    total: u64,
    progress: &'a mut dyn FnMut(VerifyProgress),
}

impl Check<'_> {
    fn namespace(&mut self, disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), LogError> {
        let manifest = Manifest::load(&**disk, dir)?;
        let node_state = NodeStateFile::open(&**disk, dir, OpenMode::Read, manifest.log_id, None)
            .map(|file| file.state().durable_end);
        let durable = match node_state {
            Ok(durable) => durable,
            Err(LogError::Corrupt(damage)) => {
                self.report.errors.push(*damage);
                LogOffset::default()
            }
            Err(error) => return Err(error),
        };
        let (sealed, open) = split(&manifest);
        self.total += manifest.segments.len() as u64;
        for entry in sealed {
            match self.sealed(disk, dir, manifest.log_id, entry) {
                Ok(()) => {}
                Err(newer @ LogError::NewerFormat { .. }) => return Err(newer),
                Err(damage) => self.damaged(dir, entry, damage),
            }
            self.step();
        }
        let follow =
            sealed.last().and_then(|e| e.sealed.as_ref()).map_or(Follow::START, Follow::after);
        self.open_segments(disk, dir, manifest.log_id, open, (follow, durable))
    }

    fn damaged(&mut self, dir: &Path, entry: &SegmentEntry, error: LogError) {
        let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
        self.report.errors.push(error.into_corruption(&path, 0));
    }

    fn step(&mut self) {
        self.report.segments += 1;
        (self.progress)(VerifyProgress {
            segments: self.report.segments,
            segments_total: self.total,
            events: self.report.events,
        });
    }

    fn sealed(
        &mut self,
        disk: &Arc<dyn Disk>,
        dir: &Path,
        log_id: LogId,
        entry: &SegmentEntry,
    ) -> Result<(), LogError> {
        let sealed = entry.sealed.as_ref().expect("the caller passes sealed segments");
        let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
        let file = open_file(&**disk, &path, OpenMode::Read, FileKind::Plain)?;
        SegmentHeader::check(&*file, entry, log_id)?;
        if entry.layout == SegmentLayout::Blocks {
            let errors = &mut self.report.errors;
            self.report.events += blocks::verify(&*file, &path, entry, &mut |e| errors.push(e))?;
            return Ok(());
        }
        let mut follow = Follow {
            chain: sealed.first_digest,
            next_position: sealed.first_position,
            ..Follow::START
        };
        let before = self.report.errors.len();
        self.frames(&file, &path, entry.salt, &mut follow, sealed.end_bytes)?;
        if self.report.errors.len() > before {
            return Ok(());
        }
        if follow.next_position != sealed.next_position || follow.chain != sealed.last_digest {
            return Err(LogError::corrupt(&path, sealed.end_bytes, CorruptionKind::Chain));
        }
        Ok(())
    }

    /// Follows the frames of a file up to `end_bytes`, and goes on behind damage.
    fn frames(
        &mut self,
        file: &Arc<dyn DiskFile>,
        path: &Path,
        salt: u64,
        follow: &mut Follow,
        end_bytes: u64,
    ) -> Result<(), LogError> {
        let mut window = Window::new(Arc::clone(file))?;
        if let Ok((first, _)) = window.frame(HEADER_BLOCK_BYTES)? {
            follow.last_entry.index = first.replicated.entry.index.saturating_sub(1);
        }
        let mut events = 0;
        let mut count = |scanned: Scanned<'_>| events += scanned.events.len() as u64;
        let (mut at, mut why) = scan(&mut window, salt, HEADER_BLOCK_BYTES, follow, &mut count)?;
        while at < end_bytes {
            self.report.errors.push(corruption(path, at, kind_of(why)));
            let from = at + ALIGNMENT as u64;
            let Some((next, header, body)) = resync(&mut window, salt, from, follow.next_position)?
            else {
                break;
            };
            follow.next_position = header.replicated.next_position();
            let mut whole = 0;
            why = match digest(&header, &body, |_| whole += 1) {
                Ok(_) => FrameError::Header,
                Err(error) => error,
            };
            events += whole;
            at = next + header.padded_bytes();
            // Behind the first damage each frame is checked alone: its chain is lost.
            while at < end_bytes {
                let Ok((header, body)) = window.frame(at)? else { break };
                if header.local.salt != salt || digest(&header, &body, |_| events += 1).is_err() {
                    break;
                }
                follow.next_position = header.replicated.next_position();
                at += header.padded_bytes();
            }
        }
        self.report.events += events;
        Ok(())
    }

    /// The segments that are not sealed, as recovery would follow them.
    fn open_segments(
        &mut self,
        disk: &Arc<dyn Disk>,
        dir: &Path,
        log_id: LogId,
        open: &[SegmentEntry],
        (mut follow, mut durable): (Follow, LogOffset),
    ) -> Result<(), LogError> {
        let mut end: Option<(LogOffset, std::path::PathBuf, FrameError)> = None;
        let mut torn = 0;
        for entry in open {
            let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
            let file = open_file(&**disk, &path, OpenMode::Read, FileKind::Log)?;
            SegmentHeader::check(&*file, entry, log_id)?;
            let mut window = Window::new(Arc::clone(&file))?;
            let mut events = 0;
            let mut count = |scanned: Scanned<'_>| events += scanned.events.len() as u64;
            let from = HEADER_BLOCK_BYTES;
            let (at, why) = scan(&mut window, entry.salt, from, &mut follow, &mut count)?;
            self.report.events += events;
            if at > HEADER_BLOCK_BYTES || end.is_none() {
                let here = LogOffset { segment: entry.number, offset_bytes: at };
                end = Some((here, path, why));
                torn = 0;
            }
            durable = durable.max(durable_end_behind(&mut window, entry.salt, at)?);
            torn += window.written_end(at)?.map_or(0, |written| written - at);
            self.step();
        }
        let Some((end, path, why)) = end else { return Ok(()) };
        if durable > end {
            let kind = match why {
                FrameError::Header | FrameError::Body => kind_of(why),
                _ => CorruptionKind::Acknowledged {
                    segment: durable.segment,
                    durable_end: durable.offset_bytes,
                },
            };
            self.report.errors.push(corruption(&path, end.offset_bytes, kind));
        } else {
            self.report.torn_bytes += torn;
        }
        Ok(())
    }
}
