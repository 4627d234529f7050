//! A node-state that is older than the log, and records a cut: obeying it would zero what was
//! acknowledged since.

use std::path::Path;
use std::sync::Arc;

use nexus_engine::io::sim::Fault;
use nexus_engine::io::{Disk, SimDisk};
use nexus_engine::{OpenError, VerifyReport, verify_on};
use nexus_protocol::Append;

use crate::history::{Line, numbered};
use crate::stores::{SHAPE, Store, files, path_of, read_around, segment, store_of_segments};
use crate::workload::{DIR, Slow};

const SLOT_BYTES: usize = 4096;

/// Records a cut in both slots. `until`: in the segment of the cut, what was durable by then; 0: as a
/// version did that did not say it.
fn record_cut(disk: &SimDisk, segment: u64, offset_bytes: u64, until: u64) {
    let mut slots = disk.read_back(path_of("node-state"));
    assert_eq!(slots.len(), 2 * SLOT_BYTES);
    for slot in slots.chunks_mut(SLOT_BYTES) {
        let (durable, cut) = ([(88, segment), (96, offset_bytes)], [(104, 1), (112, segment)]);
        let known = [(144, if until == 0 { 0 } else { segment }), (152, until)];
        let cut = cut.into_iter().chain([(120, offset_bytes)]).chain(known);
        for (at, value) in durable.into_iter().chain(cut) {
            slot[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
        let crc = crc32fast::hash(&slot[..SLOT_BYTES - 4]);
        slot[SLOT_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    disk.corrupt(path_of("node-state"), 0, &slots);
}

fn verified(disk: &SimDisk) -> VerifyReport {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    verify_on(&disk, Path::new(DIR), |_| ()).unwrap()
}

/// It is refused in words that help, nothing is changed, and what is there can be read, and gone on
/// with when that is asked by name.
fn check_refused(disk: &SimDisk, line: &Line, what: &str) {
    let before = files(disk);
    let report = verified(disk);
    let named = report.errors.iter().any(|it| it.file == path_of("node-state"));
    assert!(named && report.errors.len() == 1, "{what}: {report:?}");
    assert_eq!((report.events, report.torn_bytes), (line.end(), 0), "{what}");
    for read_only in [false, true] {
        match SHAPE.options(disk).read_only(read_only).open(DIR).map(drop) {
            Err(error @ OpenError::NodeState { .. }) => {
                let said = error.to_string();
                assert!(said.contains("cut") && said.contains("reset_node_state"), "{said}");
            }
            other => panic!("{what}, read only: {read_only}: {other:?}"),
        }
        assert!(files(disk) == before, "{what}: nothing was changed");
    }
    let damaged = SHAPE.options(disk).damaged(true).open(DIR).unwrap();
    assert_eq!(read_around(&damaged, line).unwrap(), [], "{what}");
    drop(damaged);
    for reset in [true, false] {
        let engine = SHAPE.options(disk).reset_node_state(reset).open(DIR).unwrap();
        assert_eq!(read_around(&engine, line).unwrap(), [], "{what}");
        engine.close().unwrap();
    }
}

#[test]
fn a_cut_that_the_log_went_on_behind_is_refused() {
    for (number, offset_bytes) in [(4, 8192), (3, 8192), (1, 4096)] {
        let mut store = store_of_segments();
        store.fill(3, 300);
        let (disk, line) = store.closed();
        record_cut(&disk, number, offset_bytes, offset_bytes);
        check_refused(&disk, &line, &format!("cut of segment {number} at {offset_bytes}"));
    }
}

#[test]
fn a_cut_that_does_not_say_what_was_durable_is_finished() {
    let mut store = Store::new();
    store.fill(6, 300);
    let (disk, line) = store.closed();
    // The frames behind it say that more was durable, as those do that a replicator takes back.
    record_cut(&disk, 1, 5 * 4096, 0);
    let report = verified(&disk);
    assert!(report.ok && report.events == 3 && report.torn_bytes == 3 * 4096, "{report:?}");
    let reader = SHAPE.options(&disk).read_only(true).open(DIR).unwrap();
    assert_eq!(read_around(&reader, &line.up_to(3)).unwrap(), []);
    assert_eq!(reader.head().position.unwrap().get(), 2);
    drop(reader);
    let engine = SHAPE.options(&disk).open(DIR).unwrap();
    assert_eq!(engine.head().position.unwrap().get(), 2);
    engine.close().unwrap();
    let rest = disk.read_back(segment(1)).split_off(5 * 4096);
    assert!(rest.iter().all(|byte| *byte == 0), "the cut was finished");
}

#[test]
fn what_cannot_be_read_behind_a_cut_is_read_around() {
    let mut store = Store::new();
    store.fill(6, 300);
    let (disk, line) = store.closed();
    record_cut(&disk, 1, 5 * 4096, 5 * 4096);
    disk.fail_reads(segment(1), 6 * 4096..7 * 4096);
    assert!(SHAPE.options(&disk).read_only(true).open(DIR).is_err());
    let damaged = SHAPE.options(&disk).damaged(true).open(DIR).unwrap();
    // The log went on behind it, as the frames say that can be read.
    assert_eq!(read_around(&damaged, &line).unwrap(), [4..5]);
}

#[test]
fn a_cut_that_was_done_long_ago_is_refused() {
    let mut store = Store::new();
    store.fill(4, 300);
    let seams = store.engine.seams();
    let kept = seams.last_entry();
    seams.set_replicator(Box::new(Slow));
    for n in 4..8 {
        let append = Append::to("s-1").event(numbered(n, 300));
        let mut future = Box::pin(store.engine.append(append));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    store.disk.schedule(Fault::sync(1).at(segment(1)));
    seams.truncate_tail(kept).unwrap_err();
    drop(store.engine.close());
    let recorded = store.disk.read_back(path_of("node-state"));
    // The next start finishes it, and the log goes on.
    store.engine = SHAPE.open(&store.disk);
    store.fill(12, 300);
    let (disk, line) = store.closed();
    disk.corrupt(path_of("node-state"), 0, &recorded);
    check_refused(&disk, &line, "put back");
}
