//! The engine ends: by closing, by poison, in the middle of work. Whoever waits is answered, and once
//! the directory's lock is given back nothing writes there any more.

use std::collections::BTreeSet;

use nexus_engine::io::SimDisk;
use nexus_engine::io::sim::{Fault, TraceOp};
use nexus_engine::{EntryId, PendingAppend};
use nexus_protocol::{Append, AppendError, EventData};

use crate::stores::files;
use crate::workload::{SECOND, Shape};

fn one(n: u64) -> Append {
    Append::to("s-1").event(EventData::json("Tested", &n).unwrap())
}

#[test]
fn no_write_is_in_flight_once_the_lock_is_given_back() {
    let disk = SimDisk::builder().depth(4).build();
    let engine = Shape::PLAIN.open(&disk);
    engine.append(one(0)).wait().unwrap();
    disk.schedule(Fault::sync(1));
    let pending: Vec<PendingAppend> = (1..5).map(|n| engine.append(one(n))).collect();
    for answer in pending.into_iter().map(PendingAppend::wait) {
        assert!(matches!(answer, Err(AppendError::Poisoned { .. })), "{answer:?}");
    }
    assert_eq!(disk.faults_struck(), 1);
    drop(engine.close());
    let trace = disk.trace();
    let mut in_flight = BTreeSet::new();
    for op in trace.ops() {
        match op {
            TraceOp::LogSubmit { write, .. } => assert!(in_flight.insert(*write)),
            TraceOp::LogComplete { write, .. } => assert!(in_flight.remove(write)),
            _ => {}
        }
    }
    assert!(in_flight.is_empty(), "{in_flight:?}");
}

#[test]
fn what_is_left_of_a_closed_engine_writes_nothing() {
    let disk = SimDisk::default();
    let engine = Shape::PLAIN.open(&disk);
    for n in 0..60 {
        engine.append(one(n)).wait().unwrap();
    }
    let (left, seams) = (engine.clone(), engine.seams());
    let (first, frames) = (EntryId { term: 1, index: 0 }, seams.frames_after(seams.last_entry()));
    let other = Shape::PLAIN.open(&SimDisk::default());
    other.append(one(0)).wait().unwrap();
    let foreign = other.seams().frames_after(first).unwrap();
    engine.close().unwrap();
    let before = (disk.op_count(), files(&disk));
    assert!(frames.unwrap().is_empty() && !foreign.is_empty());
    let refused = [
        left.maintain().map_err(|error| error.to_string()),
        left.create_namespace(SECOND).map(drop).map_err(|error| error.to_string()),
        seams.append_frames(&foreign, |_| ()).map_err(|error| error.to_string()),
        seams.truncate_tail(first).map_err(|error| error.to_string()),
        left.append(one(100)).wait().map(drop).map_err(|error| error.to_string()),
    ];
    for refused in refused {
        let said = refused.unwrap_err();
        assert!(said.contains("closed"), "{said}");
    }
    assert!((disk.op_count(), files(&disk)) == before, "nothing was written");
}
