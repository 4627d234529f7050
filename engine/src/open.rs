//! Opening a namespace: create it or recover it, load its index, put its parts together.

use std::path::Path;
use std::sync::Arc;

use nexus_protocol::{
    Corruption, CorruptionKind, Lineage, LogId, NamespaceName, Position, RecordedEvent,
};
use uuid::Uuid;

use crate::commit::{Committer, Settings, Signals};
use crate::error::LogError;
use crate::frame::{
    ChainDigest, EntryId, FrameError, FrameHeader, FrameKind, HEADER_BYTES, LocalHeader, LogOffset,
    Proposal,
};
use crate::index::Index;
use crate::index::file::{self, INDEX_DIR, IndexBuilder};
use crate::io::{Disk, FileKind, LogWrite, OpenMode};
use crate::log::follow::Follow;
use crate::log::recover::{Recovery, open_file, open_segments, recover, split};
use crate::log::{Catalog, Log, Writer};
use crate::manifest::{MANIFEST_FILE, Manifest, SegmentEntry, SegmentLayout};
use crate::node_state::{NODE_STATE_FILE, NodeState, NodeStateFile, Vote};
use crate::options::Options;
use crate::segment::window::Window;
use crate::segment::{
    Content, FrameTable, HEADER_BLOCK_BYTES, SEGMENTS_DIR, Segment, SegmentFiles, SegmentHeader,
    blocks,
};

/// Folder of the namespaces in a data directory.
pub(crate) const NAMESPACES_DIR: &str = "namespaces";
/// What the name of a folder ends with while its namespace is made: `.NAME.new`.
pub(crate) const NEW_SUFFIX: &str = ".new";
/// The same once its namespace is deleted: `.NAME.deleted`.
pub(crate) const DELETED_SUFFIX: &str = ".deleted";

/// Creates the folder of a namespace, whole or not at all: everything is made durable beside it and
/// then renamed.
pub(crate) fn create(
    disk: &dyn Disk,
    data_dir: &Path,
    name: &NamespaceName,
    options: &Options,
) -> Result<(), LogError> {
    let namespaces = data_dir.join(NAMESPACES_DIR);
    disk.create_dir(&namespaces)?;
    disk.sync_dir(data_dir)?;
    let dir = namespaces.join(format!(".{name}{NEW_SUFFIX}"));
    remove_folder(disk, &dir)?;
    for folder in [dir.clone(), dir.join(SEGMENTS_DIR), dir.join(INDEX_DIR)] {
        disk.create_dir(&folder)?;
    }
    let log_id = LogId::from_uuid(Uuid::new_v4());
    let node_id = Uuid::new_v4().as_u64_pair().0;
    let entry = crate::log::new_entry(disk, log_id, 1, Lineage::FIRST, options.segment_bytes_first);
    let ready = options.segment_bytes_first.min(crate::log::STRIDE_BYTES);
    let segment = crate::log::create_segment(disk, &dir, log_id, entry, ready)?;
    let end = write_first_frame(disk, &segment, node_id)?;
    let state = NodeState {
        log_id,
        sequence: 0,
        node_id,
        vote: Vote { term: 1, voted_for: Some(node_id), committed: true },
        committed: EntryId { term: 1, index: 0 },
        durable_end: end,
        cut: None,
        raft_floor: EntryId::default(),
    };
    NodeStateFile::create(disk, &dir, state)?;
    let manifest = Manifest {
        log_id,
        namespace: name.as_str().to_owned(),
        lineages: vec![(Lineage::FIRST, Position::ZERO)],
        segments: vec![entry],
        floor: Position::ZERO,
        floor_digest: ChainDigest::START,
    };
    manifest.save(disk, &dir)?;
    disk.sync_dir(&dir)?;
    disk.rename(&dir, &namespaces.join(name.as_str()))?;
    disk.sync_dir(&namespaces)?;
    Ok(())
}

/// Deletes the folder of a namespace, whole or not at all, whatever crashes: it is renamed, that is made
/// durable, and only then its files are removed. Nothing writes to them any more.
///
/// # Errors
/// The disk says no before that is durable.
pub(crate) fn delete(
    disk: &dyn Disk,
    data_dir: &Path,
    name: &NamespaceName,
) -> Result<(), LogError> {
    assert_ne!(name.as_str(), NamespaceName::DEFAULT, "an engine stands for it");
    let namespaces = data_dir.join(NAMESPACES_DIR);
    let dir = namespaces.join(format!(".{name}{DELETED_SUFFIX}"));
    remove_folder(disk, &dir)?;
    disk.rename(&namespaces.join(name.as_str()), &dir)?;
    if !crate::planted::is("deletion-not-synced") {
        disk.sync_dir(&namespaces)?;
    }
    if let Err(error) = remove_folder(disk, &dir) {
        let error = crate::error::describe(&error);
        tracing::warn!(error, "what is left of a namespace stays until the next start");
    }
    Ok(())
}

/// Removes the folder of a namespace that was not made, or is deleted, with all it holds.
pub(crate) fn remove_folder(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    if disk.metadata(dir)?.is_none() {
        return Ok(());
    }
    for entry in disk.list(dir)? {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            for inner in disk.list(&path)? {
                disk.remove(&path.join(inner.name))?;
            }
            disk.remove_dir(&path)?;
        } else {
            disk.remove(&path)?;
        }
    }
    Ok(disk.remove_dir(dir)?)
}

/// Frame 0: the membership of this node alone, term 1, index 0, no position.
fn write_first_frame(
    disk: &dyn Disk,
    segment: &crate::log::Prepared,
    node_id: u64,
) -> Result<LogOffset, LogError> {
    let body = node_id.to_le_bytes();
    let proposal = Proposal::without_events(FrameKind::Membership, &body, 0, disk.now(), true);
    let mut replicated = proposal.header;
    replicated.entry = EntryId { term: 1, index: 0 };
    let padded = proposal.padded_bytes();
    let stored = HEADER_BYTES + body.len();
    let header = FrameHeader {
        replicated,
        local: LocalHeader {
            salt: segment.entry.salt,
            stored_length: u32::try_from(stored).expect("a small frame"),
            durable_end: LogOffset { segment: 1, offset_bytes: HEADER_BLOCK_BYTES },
            previous_digest: ChainDigest::START.prefix(),
        },
    };
    let mut buffer = proposal.buffer;
    buffer.as_mut_slice()[..HEADER_BYTES].copy_from_slice(&header.encode());
    let mut writer = disk.log_writer()?;
    writer.submit(LogWrite {
        file: Arc::clone(segment.file()),
        offset_bytes: HEADER_BLOCK_BYTES,
        bytes: buffer.into_bytes().slice(..padded),
    });
    writer.complete()?;
    Ok(LogOffset { segment: 1, offset_bytes: HEADER_BLOCK_BYTES + padded as u64 })
}

/// A namespace that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) committer: Committer,
    /// Bytes of a torn tail that were cut.
    pub(crate) cut_bytes: u64,
}

fn mode_of(options: &Options) -> Recovery {
    match (options.damaged, options.read_only) {
        (true, _) => Recovery::Damaged,
        (false, true) => Recovery::Read,
        (false, false) => Recovery::Write,
    }
}

/// Opens a namespace's folder.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &Options,
    signals: &Signals,
) -> Result<Opened, LogError> {
    let mode = mode_of(options);
    let manifest = Manifest::load(&**disk, dir)?;
    let mut node_state = open_node_state(&**disk, dir, &manifest, mode, options)?;
    if mode == Recovery::Write {
        restore_index_dir(&**disk, dir)?;
        refuse_older_manifest(&**disk, dir, &manifest)?;
    }
    let (sealed, open) = split(&manifest);
    let index = Index::new();
    let mut segments = Vec::with_capacity(manifest.segments.len());
    for entry in sealed {
        segments.push(Arc::new(open_sealed(disk, dir, manifest.log_id, entry, &index, mode)?));
    }
    let open = open_segments(&**disk, dir, manifest.log_id, open, mode)?;
    if open.is_empty() {
        let kind = CorruptionKind::Malformed("list of segments".into());
        return Err(LogError::corrupt(&dir.join(MANIFEST_FILE), 0, kind));
    }
    let follow = sealed.last().and_then(|e| e.sealed.as_ref()).map_or(Follow::START, Follow::after);
    let mut joined = Ok(());
    let mut apply = |events: &[RecordedEvent]| {
        joined = joined.and_then(|()| apply_tail(&index, events, mode));
    };
    let recovered = recover(&**disk, dir, &mut node_state, &open, follow, mode, &mut apply)?;
    let path = &recovered.start.active.path;
    joined.map_err(|why| LogError::corrupt(path, 0, CorruptionKind::Malformed(why.into())))?;
    if mode == Recovery::Write {
        remove_leftovers(&**disk, dir, &manifest, &segments)?;
    }
    segments.extend(recovered.left.iter().map(|(segment, _)| Arc::clone(segment)));
    segments.push(Arc::clone(&recovered.start.active));
    let durable = recovered.start.next_position;
    let end = LogOffset {
        segment: recovered.start.active.entry.number,
        offset_bytes: recovered.start.offset_bytes,
    };
    if mode == Recovery::Write {
        node_state.update(|state| {
            state.durable_end = state.durable_end.max(end);
            state.committed = recovered.start.last_entry;
        })?;
    }
    let active = recovered.start.active.entry.number;
    assert!(recovered.prepared.iter().all(|it| it.entry.number > active), "what is prepared comes");
    let segment_bytes_max = options.segment_bytes_max;
    let catalog = Catalog { manifest, node_state, segment_bytes_max };
    let mut log = Log::new(
        Arc::clone(disk),
        dir.to_owned(),
        catalog,
        Arc::new(segments),
        durable,
        recovered.prepared,
        recovered.left,
        signals,
    );
    log.lost_end = recovered.lost_end;
    let log = Arc::new(log);
    let writer = Writer::new(Arc::clone(&log), disk.log_writer()?, recovered.start);
    let signal = Arc::clone(&signals.commit);
    let committer = Committer::new(log, Arc::new(index), writer, signal, settings_of(options));
    Ok(Opened { committer, cut_bytes: recovered.cut_bytes })
}

/// What of the options is the commit path's.
fn settings_of(options: &Options) -> Settings {
    Settings {
        frame_bytes: options.frame_bytes,
        queue_appends_max: options.queue_appends_max,
        read_only: options.read_only,
    }
}

/// Events of the tail enter the index. Around damage revisions have holes: of what does not join,
/// what can be known is.
fn apply_tail(index: &Index, events: &[RecordedEvent], mode: Recovery) -> Result<(), &'static str> {
    for event in events {
        match mode {
            Recovery::Damaged => index.apply_around_damage(event),
            Recovery::Write | Recovery::Read => index.apply_event(event)?,
        }
    }
    Ok(())
}

fn open_node_state(
    disk: &dyn Disk,
    dir: &Path,
    manifest: &Manifest,
    mode: Recovery,
    options: &Options,
) -> Result<NodeStateFile, LogError> {
    let rebuilt = (options.reset_node_state || mode == Recovery::Damaged).then(|| NodeState {
        log_id: manifest.log_id,
        sequence: 0,
        node_id: Uuid::new_v4().as_u64_pair().0,
        vote: Vote { term: 1, voted_for: None, committed: false },
        committed: EntryId::default(),
        durable_end: LogOffset::default(),
        cut: None,
        raft_floor: EntryId::default(),
    });
    let open_mode = if mode == Recovery::Write { OpenMode::ReadWrite } else { OpenMode::Read };
    NodeStateFile::open(disk, dir, open_mode, manifest.log_id, rebuilt)
}

/// Opens a sealed segment, and adds it to the index: from its index file, or from itself.
fn open_sealed(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    log_id: LogId,
    entry: &SegmentEntry,
    index: &Index,
    mode: Recovery,
) -> Result<Segment, LogError> {
    let sealed = entry.sealed.as_ref().expect("the caller passes sealed segments");
    let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
    let opened = open_file(&**disk, &path, OpenMode::Read, FileKind::Plain).and_then(|file| {
        SegmentHeader::check(&*file, entry, log_id)?;
        if file.len_bytes()? < sealed.end_bytes {
            return Err(LogError::corrupt(&path, file.len_bytes()?, CorruptionKind::Truncated));
        }
        let blocks = match entry.layout {
            SegmentLayout::Frames => None,
            SegmentLayout::Blocks => Some(blocks::BlockTable::load(&*file, sealed)?),
        };
        Ok((file, blocks))
    });
    let (file, blocks) = match opened {
        Ok(opened) => opened,
        Err(LogError::Corrupt(corruption)) => {
            return fence(disk, dir, log_id, entry, index, (corruption, mode));
        }
        Err(error @ LogError::Disk(_)) if mode == Recovery::Damaged => {
            let corruption = Box::new(error.into_corruption(&path, 0));
            return fence(disk, dir, log_id, entry, index, (corruption, mode));
        }
        Err(error) => return Err(error),
    };
    let loaded = file::load(&**disk, dir, log_id, entry);
    let usable = loaded.filter(|loaded| match loaded.add_to(index, sealed) {
        Ok(()) => true,
        // The file is whole: what it does not join is what was lost before it.
        Err(_) if mode == Recovery::Damaged => {
            loaded.add_around_damage(index, sealed);
            true
        }
        Err(why) => {
            tracing::warn!(segment = entry.number, why, "an index file is made again");
            false
        }
    });
    let frames = match usable {
        Some(loaded) => loaded.frame_table(sealed),
        None if mode == Recovery::Damaged => {
            let mut add = |event: &RecordedEvent| index.apply_around_damage(event);
            crate::log::maintain::read_around_damage(entry, &file, &mut add)?
        }
        None => rebuild(disk, dir, log_id, entry, &file, index, mode)?,
    };
    let content = match blocks {
        None => Content::Frames(frames.into()),
        Some(table) => Content::Blocks(table),
    };
    Ok(Segment::new(
        dir,
        *entry,
        sealed.first_position,
        SegmentFiles::sealed(file),
        Arc::default(),
        content,
    ))
}

/// Makes the index of a sealed segment from the segment.
fn rebuild(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    log_id: LogId,
    entry: &SegmentEntry,
    file: &Arc<dyn crate::io::DiskFile>,
    index: &Index,
    mode: Recovery,
) -> Result<FrameTable, LogError> {
    let sealed = entry.sealed.as_ref().expect("the caller passes sealed segments");
    let (builder, frames) = crate::log::maintain::index_segment(dir, entry, file)?;
    let made = IndexBuilder::finish(builder, &frames);
    if let Err(why) = made.add_to(index, sealed) {
        let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
        return Err(LogError::corrupt(&path, 0, CorruptionKind::Malformed(why.into())));
    }
    if mode == Recovery::Write
        && let Err(error) = file::save(&**disk, dir, log_id, entry, &made)
    {
        tracing::warn!(%error, segment = entry.number, "an index file could not be written");
    }
    Ok(made.frame_table(sealed))
}

/// A sealed segment that cannot be read is known by its index, and read not at all.
///
/// The others go on without it: the manifest says which positions and digests it spans, and its index
/// file which revisions, ids, and keys, so that nothing is decided on a guess. Without the index file
/// that is not so, and the log is only opened where damage is to be read around.
fn fence(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    log_id: LogId,
    entry: &SegmentEntry,
    index: &Index,
    (corruption, mode): (Box<Corruption>, Recovery),
) -> Result<Segment, LogError> {
    let sealed = entry.sealed.as_ref().expect("the caller passes sealed segments");
    let loaded = file::load(&**disk, dir, log_id, entry);
    let joins = loaded.is_some_and(|loaded| match loaded.add_to(index, sealed) {
        Err(_) if mode == Recovery::Damaged => {
            loaded.add_around_damage(index, sealed);
            true
        }
        added => added.is_ok(),
    });
    if !joins && mode != Recovery::Damaged {
        return Err(LogError::Corrupt(corruption));
    }
    tracing::warn!(%corruption, segment = entry.number, "a segment is fenced");
    let manifest = disk.open(&dir.join(MANIFEST_FILE), OpenMode::Read, FileKind::Plain)?;
    let content = Content::Fenced(corruption);
    Ok(Segment::new(
        dir,
        *entry,
        sealed.first_position,
        SegmentFiles::sealed(manifest),
        Arc::default(),
        content,
    ))
}

/// What copies directories may leave out an empty one, and what is in this one can be made again.
fn restore_index_dir(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let folder = dir.join(INDEX_DIR);
    if disk.metadata(&folder)?.is_none() {
        disk.create_dir(&folder)?;
        disk.sync_dir(dir)?;
    }
    Ok(())
}

/// A manifest that is older than the files beside it must not decide what is left over: a segment
/// is named before it is written, and sealed before its index file is.
fn refuse_older_manifest(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<(), LogError> {
    let older = |what: &'static str| {
        let kind = CorruptionKind::Malformed(what.into());
        Err(LogError::corrupt(&dir.join(MANIFEST_FILE), 0, kind))
    };
    let sealed = split(manifest).0.last().map_or(0, |segment| segment.number);
    for entry in disk.list(&dir.join(INDEX_DIR))? {
        if file::number_of(&entry.name).is_some_and(|number| number > sealed) {
            return older("list of segments: an index file knows of more");
        }
    }
    let named = manifest.segments.last().map_or(0, |segment| segment.number);
    let segments = dir.join(SEGMENTS_DIR);
    for entry in disk.list(&segments)? {
        let number = entry.name.strip_suffix(".seg").and_then(|name| name.parse::<u64>().ok());
        if number.is_none_or(|number| number <= named) {
            continue;
        }
        let file = disk.open(&segments.join(&entry.name), OpenMode::Read, FileKind::Log)?;
        let first = Window::new(file)?.frame(HEADER_BLOCK_BYTES)?;
        if matches!(first, Ok(_) | Err(FrameError::Unknown(_))) {
            return older("list of segments: a file holds more of the log");
        }
    }
    Ok(())
}

/// Removes files of segments that the manifest does not name: a preparation or a rewriting that was
/// interrupted. Called once nothing was refused. Another generation of a segment that is fenced is
/// kept: it may be the only copy of its events that is whole.
fn remove_leftovers(
    disk: &dyn Disk,
    dir: &Path,
    manifest: &Manifest,
    opened: &[Arc<Segment>],
) -> Result<(), LogError> {
    let fenced: Vec<u64> =
        opened.iter().filter(|it| it.is_fenced()).map(|it| it.entry.number).collect();
    let (sealed, _) = split(manifest);
    let segments = dir.join(SEGMENTS_DIR);
    for entry in disk.list(&segments)? {
        let named = manifest.segments.iter().any(|segment| segment.file_name() == entry.name);
        let number = entry.name.split('.').next().and_then(|number| number.parse::<u64>().ok());
        if number.is_some_and(|number| fenced.contains(&number)) {
            continue;
        }
        if !named && (entry.name.ends_with(".seg") || entry.name.ends_with(".new")) {
            disk.remove(&segments.join(&entry.name))?;
        }
    }
    let folder = dir.join(INDEX_DIR);
    for entry in disk.list(&folder)? {
        let number = file::number_of(&entry.name);
        let unknown = number.is_some_and(|n| sealed.iter().all(|segment| segment.number != n));
        if unknown || entry.name.ends_with(".new") {
            disk.remove(&folder.join(&entry.name))?;
        }
    }
    let beside = crate::io::beside(&dir.join(MANIFEST_FILE));
    if disk.metadata(&beside)?.is_some() {
        disk.remove(&beside)?;
    }
    debug_assert!(disk.metadata(&dir.join(NODE_STATE_FILE))?.is_some(), "opened before");
    Ok(())
}
