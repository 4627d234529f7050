//! Offline verification: every byte that a reader could be served, checked against its checksums and
//! against the chain.
//!
//! Nothing is changed. Damage does not stop it: it goes on behind, so that one run names all of it.
//! A torn tail is no damage: it is what a crash leaves, and the next start cuts it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexus_protocol::{Corruption, CorruptionKind, LogId, NamespaceName};

use crate::engine::take_lock;
use crate::error::{LogError, OpenError, corruption};
use crate::frame::{FrameError, LogOffset, digest};
use crate::io::{self, ALIGNMENT, Disk, DiskFile, FileKind, OpenMode};
use crate::log::follow::{Follow, Scanned, durable_end_behind, resync, scan};
use crate::log::recover::{STALE_CUT, open_file, split, went_on_in};
use crate::manifest::{MANIFEST_FILE, Manifest, SegmentEntry, SegmentLayout};
use crate::node_state::{Cut, NODE_STATE_FILE, NodeStateFile};
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
        if entry.is_dir && NamespaceName::is_folder(&entry.name) {
            let namespace = root.join(&entry.name);
            match check.namespace(disk, &namespace) {
                Ok(()) => {}
                Err(newer @ LogError::NewerFormat { .. }) => {
                    return Err(OpenError::from_log(newer, dir));
                }
                // Of the manifest, without which nothing can be said of the others.
                Err(damage) => {
                    let path = namespace.join(MANIFEST_FILE);
                    check.report.errors.push(damage.into_corruption(&path, 0));
                }
            }
        }
    }
    check.report.ok = check.report.errors.is_empty();
    Ok(check.report)
}

/// A segment that is not sealed.
type OpenWindow<'e> = (Window, PathBuf, &'e SegmentEntry);

struct Check<'a> {
    report: VerifyReport,
    total: u64,
    progress: &'a mut dyn FnMut(VerifyProgress),
}

impl Check<'_> {
    fn namespace(&mut self, disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), LogError> {
        let manifest = Manifest::load(&**disk, dir)?;
        let node_state = NodeStateFile::open(&**disk, dir, OpenMode::Read, manifest.log_id, None)
            .map(|file| *file.state());
        let (durable, cut) = match node_state {
            Ok(state) => (state.durable_end, state.cut),
            Err(newer @ LogError::NewerFormat { .. }) => return Err(newer),
            Err(damage) => {
                let path = dir.join(NODE_STATE_FILE);
                self.report.errors.push(damage.into_corruption(&path, 0));
                (LogOffset::default(), None)
            }
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
        let mut windows = self.open_windows(disk, dir, manifest.log_id, open)?;
        if let Some(cut) = cut {
            self.apply_cut(dir, open, &mut windows, cut)?;
        }
        self.open_segments(&mut windows, follow, durable)
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
        let mut window = Window::around_damage(Arc::clone(file))?;
        if let Ok((first, _)) = window.frame(HEADER_BLOCK_BYTES)? {
            follow.last_entry.index = first.replicated.entry.index.saturating_sub(1);
        }
        let events = &mut self.report.events;
        let mut count = |scanned: Scanned<'_>| *events += scanned.events.len() as u64;
        let (at, why) = scan(&mut window, salt, HEADER_BLOCK_BYTES, follow, &mut count)?;
        if at < end_bytes {
            self.bad_frame(&mut window, path, at, kind_of(why))?;
            self.behind(&mut window, path, salt, at, follow.next_position, end_bytes)?;
        }
        Ok(())
    }

    /// Names what is wrong at `at`: that the disk cannot read it, or else `kind`.
    fn bad_frame(
        &mut self,
        window: &mut Window,
        path: &Path,
        at: u64,
        kind: CorruptionKind,
    ) -> Result<(), LogError> {
        let unreadable = window.unreadable_in_frame(at)?;
        self.report.errors.push(unreadable.unwrap_or_else(|| corruption(path, at, kind)));
        Ok(())
    }

    /// Goes on behind a bad frame at `bad`, up to `end_bytes`. Each frame is checked alone: the chain
    /// is lost.
    fn behind(
        &mut self,
        window: &mut Window,
        path: &Path,
        salt: u64,
        mut bad: u64,
        mut next_position: u64,
        end_bytes: u64,
    ) -> Result<(), LogError> {
        while let Some((mut at, _, _)) =
            resync(window, salt, bad + ALIGNMENT as u64, next_position)?
        {
            let why = loop {
                if at >= end_bytes {
                    return Ok(());
                }
                let (header, body) = match window.frame(at)? {
                    Ok((header, _)) if header.local.salt != salt => break FrameError::Header,
                    Ok(frame) => frame,
                    Err(FrameError::Unknown(unknown)) if window.salt_at(at)? == Some(salt) => {
                        return Err(window.newer(at, unknown));
                    }
                    Err(why) => break why,
                };
                next_position = header.replicated.next_position();
                let mut whole = 0;
                let records = digest(&header, &body, |_| whole += 1);
                self.report.events += whole;
                if let Err(why) = records {
                    break why;
                }
                at += header.padded_bytes();
            };
            assert!(at > bad, "what is behind damage is behind it");
            self.bad_frame(window, path, at, kind_of(why))?;
            bad = at;
        }
        Ok(())
    }

    /// Opens the segments that are not sealed, those that can be.
    fn open_windows<'e>(
        &mut self,
        disk: &Arc<dyn Disk>,
        dir: &Path,
        log_id: LogId,
        open: &'e [SegmentEntry],
    ) -> Result<Vec<OpenWindow<'e>>, LogError> {
        let mut windows = Vec::with_capacity(open.len());
        for entry in open {
            let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
            self.step();
            let opened =
                open_file(&**disk, &path, OpenMode::Read, FileKind::Log).and_then(|file| {
                    SegmentHeader::check(&*file, entry, log_id)?;
                    Ok(Window::around_damage(file)?)
                });
            match opened {
                Ok(window) => windows.push((window, path, entry)),
                Err(newer @ LogError::NewerFormat { .. }) => return Err(newer),
                Err(damage) => self.damaged(dir, entry, damage),
            }
        }
        Ok(windows)
    }

    /// What a cut that was interrupted leaves is all that there is, and the rest is cut at the next start;
    /// unless the log went on behind it, which recovery refuses.
    fn apply_cut(
        &mut self,
        dir: &Path,
        open: &[SegmentEntry],
        windows: &mut Vec<OpenWindow<'_>>,
        cut: Cut,
    ) -> Result<(), LogError> {
        let mut stale = open.iter().all(|entry| entry.number != cut.at.segment);
        for (window, _, entry) in windows.iter_mut() {
            stale = stale || went_on_in(window, entry, cut)?;
        }
        if stale {
            let kind = CorruptionKind::Malformed(STALE_CUT.into());
            self.report.errors.push(corruption(&dir.join(NODE_STATE_FILE), 0, kind));
            return Ok(());
        }
        for (window, _, entry) in windows.iter_mut() {
            let Some(from) = cut.start_in(entry.number) else { continue };
            self.report.torn_bytes += window.written_end(from)?.map_or(0, |written| written - from);
            window.end_at(from);
        }
        windows.retain(|(_, _, entry)| entry.number <= cut.at.segment);
        Ok(())
    }

    /// The segments that are not sealed, as recovery would follow them.
    fn open_segments(
        &mut self,
        windows: &mut [OpenWindow<'_>],
        mut follow: Follow,
        mut durable: LogOffset,
    ) -> Result<(), LogError> {
        let mut end: Option<(LogOffset, usize, FrameError)> = None;
        let mut torn = 0;
        for (index, (window, _, entry)) in windows.iter_mut().enumerate() {
            let events = &mut self.report.events;
            let mut count = |scanned: Scanned<'_>| *events += scanned.events.len() as u64;
            let from = HEADER_BLOCK_BYTES;
            let (at, why) = scan(window, entry.salt, from, &mut follow, &mut count)?;
            if at > HEADER_BLOCK_BYTES || end.is_none() {
                let here = LogOffset { segment: entry.number, offset_bytes: at };
                end = Some((here, index, why));
                torn = 0;
            }
            durable = durable.max(durable_end_behind(window, entry.salt, at)?);
            torn += window.written_end(at)?.map_or(0, |written| written - at);
        }
        let Some((end, active, why)) = end else { return Ok(()) };
        let rest = windows.get_mut(active..).unwrap_or_default();
        if durable > end {
            return self.damaged_end(rest, (end, durable), why, follow.next_position);
        }
        self.report.torn_bytes += torn;
        // Whether something was acknowledged there cannot be known.
        if let Some((window, _, _)) = rest.first_mut() {
            self.report.errors.extend(window.unreadable_in_frame(end.offset_bytes)?);
        }
        Ok(())
    }

    /// More was durable than ends at `end`, in the first of these segments: goes on behind, there and
    /// in the others, which nothing leads to any more.
    fn damaged_end(
        &mut self,
        rest: &mut [OpenWindow<'_>],
        (end, durable): (LogOffset, LogOffset),
        why: FrameError,
        next_position: u64,
    ) -> Result<(), LogError> {
        let kind = match why {
            FrameError::Header | FrameError::Body => kind_of(why),
            _ => CorruptionKind::Acknowledged {
                segment: durable.segment,
                durable_end: durable.offset_bytes,
            },
        };
        let mut first = Some((end.offset_bytes, kind));
        for (window, path, entry) in rest {
            let bad = match first.take() {
                Some((at, kind)) => {
                    self.bad_frame(window, path, at, kind)?;
                    at
                }
                // As if the header were the bad frame: what is behind it is looked at.
                None => HEADER_BLOCK_BYTES - ALIGNMENT as u64,
            };
            let headers = window.headers_from(bad + ALIGNMENT as u64, entry.salt)?;
            if let Some((at, header)) = headers.last() {
                let end_bytes = at + header.padded_bytes();
                self.behind(window, path, entry.salt, bad, next_position, end_bytes)?;
            }
        }
        Ok(())
    }
}
