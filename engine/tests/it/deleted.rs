//! A namespace is deleted: it is there whole or not at all, whatever happens on the way, nothing of it
//! comes back, and nobody waits for it for ever.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nexus_engine::io::sim::{CrashOptions, CrashPoints, Fault};
use nexus_engine::io::{Disk, SimDisk};
use nexus_engine::{DeleteNamespaceError, Engine, Namespace, OpenError};
use nexus_protocol::{
    Append, AppendError, EventStore, ExpectedRevision, Read, ReadError, StreamChange, StreamList,
    Subscribe, SubscriptionItem, Unavailable,
};

use crate::history::numbered;
use crate::stores::{SHAPE, Store, files, one};
use crate::workload::{DIR, SECOND, Shape};

const NAMESPACES: &str = "/data/namespaces";
/// Longer than anything here takes; only a test that fails waits so long.
const LONG: Duration = Duration::from_secs(5);

/// A store with a second namespace of so many events, some of them in segments that are sealed.
fn with_second(events: u64) -> (Store, Namespace) {
    let mut store = Store::new();
    store.fill(3, 300);
    let second = store.engine.create_namespace(SECOND).unwrap();
    for number in 0..events {
        second.append(one(number)).wait().unwrap();
        if number % 10 == 9 {
            store.engine.maintain().unwrap();
        }
    }
    (store, second)
}

fn names_in(disk: &SimDisk, folder: &str) -> Vec<String> {
    disk.list(Path::new(folder)).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn count(namespace: &Namespace) -> Result<usize, ReadError> {
    namespace.read(Read::all()).into_iter().try_fold(0, |count, event| event.map(|_| count + 1))
}

#[test]
fn a_deleted_namespace_is_gone_and_can_be_made_anew() {
    let (store, second) = with_second(30);
    let (engine, before) = (store.engine.clone(), second.log_id());
    assert!(names_in(&store.disk, &format!("{NAMESPACES}/{SECOND}/segments")).len() > 2);
    engine.delete_namespace(SECOND).unwrap();
    assert_eq!(engine.namespaces(), ["default"]);
    assert_eq!(names_in(&store.disk, NAMESPACES), ["default"]);
    let missing = engine.namespace(SECOND).unwrap_err();
    assert!(matches!(missing, OpenError::Invalid(_)), "{missing}");
    let again = engine.delete_namespace(SECOND).unwrap_err();
    assert!(matches!(again, DeleteNamespaceError::Missing { .. }), "{again}");
    let anew = engine.create_namespace(SECOND).unwrap();
    assert_ne!(anew.log_id(), before);
    assert_eq!(count(&anew), Ok(0));
    anew.append(one(7)).wait().unwrap();
    // What was held before is of the old one.
    assert_eq!(count(&second), Err(ReadError::Closed));
    engine.maintain().unwrap();
    engine.delete_namespace(SECOND).unwrap();
    let anew = engine.create_namespace(SECOND).unwrap();
    anew.append(one(8)).wait().unwrap();
    drop((engine, anew, second));
    let (disk, line) = store.closed();
    let engine = SHAPE.open(&disk);
    assert_eq!(count(&engine.namespace(SECOND).unwrap()), Ok(1));
    assert_eq!(crate::stores::read_around(&engine, &line).unwrap(), []);
}

#[test]
fn an_engine_in_memory_deletes_as_well() {
    let engine = Engine::in_memory();
    let second = engine.create_namespace(SECOND).unwrap();
    second.append(one(1)).wait().unwrap();
    engine.delete_namespace(SECOND).unwrap();
    assert_eq!(engine.namespaces(), ["default"]);
    assert_eq!(count(&engine.create_namespace(SECOND).unwrap()), Ok(0));
}

#[test]
fn what_must_be_there_is_not_deleted() {
    let (store, _) = with_second(1);
    let engine = &store.engine;
    engine.create_system().unwrap();
    let before = files(&store.disk);
    for name in ["default", "$system"] {
        let error = engine.delete_namespace(name).unwrap_err();
        assert!(matches!(error, DeleteNamespaceError::Needed { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    for name in ["", "..", "$other", "Second"] {
        let error = engine.delete_namespace(name).unwrap_err();
        assert!(matches!(error, DeleteNamespaceError::Name(_)), "{error}");
    }
    assert!(files(&store.disk) == before, "nothing was changed");
    let left = engine.clone();
    let disk = store.disk.clone();
    store.engine.close().unwrap();
    let closed = left.delete_namespace(SECOND).unwrap_err();
    assert!(matches!(closed, DeleteNamespaceError::Closed), "{closed}");
    drop(left);
    let reader = SHAPE.options(&disk).read_only(true).open(DIR).unwrap();
    let refused = reader.delete_namespace(SECOND).unwrap_err();
    assert!(matches!(refused, DeleteNamespaceError::ReadOnly), "{refused}");
    drop(reader);
    assert_eq!(count(&SHAPE.open(&disk).namespace(SECOND).unwrap()), Ok(1));
}

/// Whatever is asked of a handle that is left is refused as closed.
fn check_closed(left: &Namespace) {
    let closed = AppendError::Unavailable(Unavailable::Closed);
    let limits = StreamChange { max_count: Some(Some(1)), ..StreamChange::default() };
    let any = ExpectedRevision::Any;
    assert_eq!(left.append(one(9)).wait().unwrap_err(), closed);
    assert_eq!(left.set_stream("s-1", limits).unwrap_err(), closed);
    assert_eq!(left.delete_stream("s-1", any).unwrap_err(), closed);
    assert_eq!(left.tombstone_stream("s-1", any).unwrap_err(), closed);
    let id = nexus_protocol::EventId::from_bytes([1; 16]);
    let mut subscription = left.subscribe(Subscribe::all());
    let next = subscription.next_blocking(Some(LONG));
    let head = std::pin::pin!(EventStore::head(left))
        .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    let refusals = [
        count(left).err(),
        left.event_by_id(id).err(),
        left.stream_info("s-1").err(),
        left.streams(&StreamList::default()).err(),
        left.list_snapshots("s-1").err(),
        next.and_then(Result::err),
        match head {
            std::task::Poll::Ready(head) => head.err(),
            std::task::Poll::Pending => None,
        },
    ];
    for (n, refusal) in refusals.into_iter().enumerate() {
        assert_eq!(refusal, Some(ReadError::Closed), "{n}");
    }
}

#[test]
fn handles_that_are_left_answer_that_the_store_was_closed() {
    let (store, second) = with_second(3);
    let seams = second.seams();
    let (first, frames) = (nexus_engine::EntryId { term: 1, index: 0 }, seams.last_entry());
    let foreign = seams.frames_after(first).unwrap();
    assert!(frames > first && !foreign.is_empty());
    store.engine.delete_namespace(SECOND).unwrap();
    assert!(second.is_deleted() && !store.engine.is_deleted());
    let before = store.disk.op_count();
    check_closed(&second);
    seams.append_frames(&foreign, |_| ()).unwrap_err();
    seams.truncate_tail(first).unwrap_err();
    store.engine.maintain().unwrap();
    let written =
        store.disk.trace().ops()[before..].iter().any(|op| format!("{op:?}").contains(SECOND));
    assert!(!written, "nothing is written for what was deleted");
}

#[test]
fn subscribers_end_and_appends_in_flight_are_answered() {
    for threads in [true, false] {
        let disk = SimDisk::default();
        let engine = Shape::PLAIN.options(&disk).threads(threads).open(DIR).unwrap();
        let second = engine.create_namespace(SECOND).unwrap();
        second.append(one(0)).wait().unwrap();
        let mut waiting = second.subscribe(Subscribe::all());
        let blocked = std::thread::spawn(move || {
            loop {
                match waiting.next_blocking(Some(LONG)) {
                    Some(Ok(_)) => {}
                    ended => return ended,
                }
            }
        });
        // One that is behind ends as well, and is given nothing more.
        let mut behind = second.subscribe(Subscribe::all());
        let first = behind.try_next();
        assert!(matches!(first, Some(Ok(SubscriptionItem::Event(_)))), "{first:?}");
        let pending: Vec<_> = (1..4).map(|n| second.append(one(n))).collect();
        engine.delete_namespace(SECOND).unwrap();
        assert_eq!(blocked.join().unwrap(), Some(Err(ReadError::Closed)), "threads: {threads}");
        for answer in pending.into_iter().map(nexus_engine::PendingAppend::wait) {
            let closed = AppendError::Unavailable(Unavailable::Closed);
            assert!(answer.is_ok() || answer == Err(closed), "threads: {threads}");
        }
        let last = std::iter::from_fn(|| behind.next_blocking(Some(LONG))).last();
        assert_eq!(last, Some(Err(ReadError::Closed)), "threads: {threads}");
        engine.append(one(1)).wait().unwrap();
        engine.close().unwrap();
        assert_eq!(names_in(&disk, NAMESPACES), ["default"]);
    }
}

/// What a crash left: the namespace whole, or none, and the rest as it was. Answers which.
fn check_whole_or_none(disk: &SimDisk, events: usize) -> Result<bool, String> {
    let engine = SHAPE.options(disk).open(DIR).map_err(|error| format!("open: {error}"))?;
    let default = engine.namespace("default").unwrap();
    if count(&default) != Ok(3) {
        return Err(format!("{:?} events are left in the other", count(&default)));
    }
    let there = engine.namespaces().iter().any(|name| name == SECOND);
    if there {
        let found = count(&engine.namespace(SECOND).unwrap());
        if found != Ok(events) {
            return Err(format!("{found:?} events are left"));
        }
        engine.delete_namespace(SECOND).map_err(|error| error.to_string())?;
    }
    if names_in(disk, NAMESPACES) != ["default"] {
        return Err(format!("{:?} are left", names_in(disk, NAMESPACES)));
    }
    let anew = engine.create_namespace(SECOND).map_err(|error| error.to_string())?;
    match count(&anew) {
        Ok(0) => Ok(there),
        found => Err(format!("{found:?} events have come back")),
    }
}

#[test]
fn a_crash_leaves_the_whole_namespace_or_none() {
    let (store, second) = with_second(30);
    drop(second);
    store.disk.start_trace();
    store.engine.delete_namespace(SECOND).unwrap();
    let deleted = store.disk.op_count();
    let trace = store.disk.trace();
    let (mut states, mut whole) = (0, 0);
    let mut known = BTreeMap::new();
    let options = CrashOptions { tears_max: 4, random_states: 4, ..CrashOptions::default() };
    for state in CrashPoints::new(&trace, options) {
        let checked = known.entry(state.fingerprint()).or_insert_with(|| {
            states += 1;
            check_whole_or_none(&state.disk(), 30)
        });
        match checked {
            Ok(there) if !*there || state.after_op() < deleted => whole += u64::from(*there),
            Ok(_) => panic!("{}: what was deleted is there again", state.label()),
            Err(why) => panic!("{}: {why}", state.label()),
        }
    }
    println!("count: crash_states {states}");
    assert!(states > 20 && whole > 0, "{states} states, {whole} of them whole");
}

#[test]
fn a_deletion_that_the_disk_refuses_leaves_all_or_nothing() {
    let mut struck = [0; 2];
    let makes: [fn(u64) -> Fault; 2] = [Fault::names, Fault::sync_dir];
    for (make, struck) in makes.into_iter().zip(&mut struck) {
        for nth in 1.. {
            let (store, second) = with_second(12);
            store.disk.schedule(make(nth));
            let answer = store.engine.delete_namespace(SECOND);
            if store.disk.faults_struck() == 0 {
                answer.unwrap();
                break;
            }
            *struck += 1;
            store.disk.clear_faults();
            check_closed(&second);
            match &answer {
                Ok(()) => assert_eq!(store.engine.namespaces(), ["default"]),
                Err(error @ DeleteNamespaceError::Disk { .. }) => {
                    assert!(error.to_string().contains(SECOND), "{error}");
                    // Still there as it was: it is used through a new handle.
                    if let Ok(again) = store.engine.namespace(SECOND) {
                        assert_eq!(count(&again), Ok(12));
                        again.append(Append::to("more").event(numbered(99, 1))).wait().unwrap();
                    }
                }
                Err(error) => panic!("{nth}: {error}"),
            }
            store.engine.close().unwrap();
            let engine = SHAPE.open(&store.disk);
            let there = engine.namespaces().len() == 2;
            assert!(!there || answer.is_err(), "{nth}");
            let left = names_in(&store.disk, NAMESPACES);
            assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
        }
    }
    assert!(struck[0] > 5 && struck[1] == 1, "{struck:?}");
}

#[test]
fn what_a_deletion_or_a_creation_left_is_removed_by_the_next_start() {
    let (store, _) = with_second(1);
    let disk = store.closed().0;
    for left in [".second.deleted", ".third.new"] {
        let folder = format!("{NAMESPACES}/{left}");
        for folder in [folder.clone(), format!("{folder}/segments")] {
            disk.create_dir(Path::new(&folder)).unwrap();
        }
        let file = format!("{folder}/segments/0000000001.seg");
        let (path, mode) = (Path::new(&file), nexus_engine::io::OpenMode::Create);
        disk.open(path, mode, nexus_engine::io::FileKind::Plain).unwrap();
    }
    let before = files(&disk);
    drop(SHAPE.options(&disk).read_only(true).open(DIR).unwrap());
    assert!(files(&disk) == before, "a reader removes nothing");
    drop(SHAPE.open(&disk));
    assert_eq!(names_in(&disk, NAMESPACES), ["default", SECOND]);
}
