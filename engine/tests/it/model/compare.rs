//! Holds what the engine says against what the model says.

use nexus_engine::{Engine, StreamList};
use nexus_protocol::{
    AppendError, Appended, EventId, FoldIdentity, Position, Read, ReadError, Revision, SnapshotAt,
    StreamState,
};

use super::naive::{Answer, Naive};

/// Which answer it was.
pub(crate) fn kind_of(answer: &Answer) -> &'static str {
    match answer {
        Ok(Appended { replayed: true, .. }) => "replayed",
        Ok(Appended { positions: None, .. }) => "condition held",
        Ok(_) => "written",
        Err(AppendError::Conflict(conflict)) => match conflict.clause {
            nexus_protocol::Clause::Stream { .. } => "conflict of a stream",
            nexus_protocol::Clause::Boundary => "conflict of a boundary",
            nexus_protocol::Clause::Absent => "conflict of an absence",
            nexus_protocol::Clause::Ids { .. } => "conflict of ids",
        },
        Err(AppendError::IdReused { .. }) => "id reused",
        Err(AppendError::BelowRetention { .. }) => "below retention",
        Err(AppendError::Deleted { .. }) => "stream deleted",
        Err(AppendError::Invalid(_)) => "invalid",
        Err(_) => "other",
    }
}

/// Whether two answers to an append are the same. Words may differ, and nothing else.
pub(crate) fn same_answer(engine: &Answer, model: &Answer) {
    match (engine, model) {
        (Err(AppendError::BelowRetention { .. }), Err(AppendError::BelowRetention { .. }))
        | (Err(AppendError::Invalid(_)), Err(AppendError::Invalid(_))) => {}
        _ => assert_eq!(engine, model, "engine: {engine:?}, model: {model:?}"),
    }
}

/// Reads from both; answers how many events there were.
pub(crate) fn read(engine: &Engine, naive: &mut Naive, read: &Read) -> usize {
    let wanted = naive.read(read);
    let mut found = engine.read(read.clone()).into_iter();
    let positions = match wanted {
        Ok(positions) => positions,
        Err(wanted) => {
            match (found.next(), &wanted) {
                (Some(Err(ReadError::Invalid(_))), ReadError::Invalid(_)) => {}
                (Some(Err(error)), _) => assert_eq!(error, wanted),
                (other, _) => panic!("engine: {other:?}, model: {wanted:?}"),
            }
            assert!(found.next().is_none(), "nothing follows an error");
            return 0;
        }
    };
    for position in &positions {
        match found.next() {
            Some(Ok(event)) => naive.check(*position, &event),
            other => panic!("position {position} is {other:?}"),
        }
    }
    let more = found.next();
    assert!(more.is_none(), "after {:?} comes {more:?}", positions.last());
    positions.len()
}

/// Everything that is visible, and every stream.
pub(crate) fn everything(engine: &Engine, naive: &mut Naive) {
    assert_eq!(head(engine), naive.next(), "the end of the log");
    read(engine, naive, &Read::all().system());
    read(engine, naive, &Read::all().system().backwards());
    streams(
        engine,
        naive,
        &StreamList { limit: usize::MAX, system: true, deleted: true, ..StreamList::default() },
    );
    let stats = engine.stats();
    let system =
        |system: bool| naive.log.iter().filter(|it| it.stream.starts_with('$') == system).count();
    assert_eq!(stats.events, system(false) as u64, "events of users");
    assert_eq!(stats.system_events, system(true) as u64, "events of the system");
    let visible =
        naive.streams().into_iter().filter(|name| naive.now(name).floor < naive.now(name).count);
    let (of_system, of_users): (Vec<_>, Vec<_>) = visible.partition(|name| name.starts_with('$'));
    assert_eq!(stats.streams, of_users.len() as u64);
    assert_eq!(stats.system_streams, of_system.len() as u64);
}

/// The next position.
pub(crate) fn head(engine: &Engine) -> u64 {
    engine.head().position.map_or(0, |last| last.get() + 1)
}

pub(crate) fn by_id(engine: &Engine, naive: &mut Naive, id: EventId) -> bool {
    let found = engine.event_by_id(id).unwrap();
    let position = naive.by_id(id);
    assert_eq!(found.as_ref().map(|event| event.position().get()), position.map(|p| p as u64));
    if let (Some(found), Some(position)) = (&found, position) {
        naive.check(position, found);
    }
    found.is_some()
}

pub(crate) fn stream_info(engine: &Engine, naive: &Naive, stream: &str) {
    let info = engine.stream_info(stream).unwrap();
    let now = naive.now(stream);
    assert_eq!(info.stream.as_str(), stream);
    assert_eq!(info.state, now.state, "{stream}");
    assert_eq!(info.floor.get(), now.floor, "{stream}");
    assert_eq!(info.limits, naive.limits(stream), "{stream}");
    assert_eq!(info.last_position, naive.last_position(stream), "{stream}");
    assert_eq!(info.meta_revision, naive.meta_revision(stream), "{stream}");
}

/// Lists streams from both; answers how many there were.
pub(crate) fn streams(engine: &Engine, naive: &Naive, list: &StreamList) -> usize {
    let found = engine.streams(list).unwrap();
    let wanted = naive.streams().into_iter().filter(|name| {
        name.starts_with(&list.prefix)
            && list.category.as_ref().is_none_or(|it| name.split('-').next() == Some(it))
            && list.after.as_ref().is_none_or(|after| name > after)
            && (list.system || !name.starts_with('$'))
            && (list.deleted || matches!(naive.now(name).state, StreamState::At(_)))
    });
    let wanted: Vec<String> = wanted.take(list.limit).collect();
    assert!(
        found.iter().map(|info| info.stream.as_str()).eq(wanted.iter()),
        "{list:?}: {found:?} {wanted:?}"
    );
    for (info, name) in found.iter().zip(&wanted) {
        assert_eq!(info.state, naive.now(name).state);
        assert_eq!(info.floor.get(), naive.now(name).floor);
    }
    found.len()
}

/// Lists and loads snapshots; answers whether one was there.
pub(crate) fn snapshots(
    engine: &Engine,
    naive: &Naive,
    stream: &str,
    at: SnapshotAt,
    fold: FoldIdentity,
) -> bool {
    let listed = engine.list_snapshots(stream).unwrap();
    let listed = listed.into_iter().map(|it| (it.revision, it.position, it.fold));
    let wanted = naive.snapshots(stream).into_iter();
    let wanted = wanted.map(|(revision, position, fold)| {
        (Revision::new(revision), Position::new(position as u64), fold)
    });
    assert!(
        listed.clone().eq(wanted.clone()),
        "{:?} {:?}",
        listed.collect::<Vec<_>>(),
        wanted.collect::<Vec<_>>()
    );
    let loaded = engine.load_snapshot(stream, at, fold).unwrap();
    let position = naive.snapshot(stream, at, fold);
    assert_eq!(loaded.is_some(), position.is_some(), "{stream} {at:?}");
    let (Some(loaded), Some(position)) = (&loaded, position) else { return false };
    let event = &naive.log[position].event;
    assert_eq!(loaded.state, event.data);
    assert_eq!(loaded.content_type, event.content_type);
    assert_eq!((loaded.stream.as_str(), loaded.fold), (stream, fold));
    true
}
