//! A sync fails, the process ends, and the next one opens the log on the same running machine: what it
//! reads may stand in the page cache alone, which takes it for written. Whatever that process then
//! calls durable must survive the machine.

use std::task::{Context, Waker};

use nexus_engine::Engine;
use nexus_engine::io::SimDisk;
use nexus_engine::io::sim::{CrashOptions, CrashPoints, Fault};
use nexus_protocol::Read;

use crate::history::Line;
use crate::stores::{SHAPE, Store, corruption, one, segment};
use crate::workload::{DIR, SECOND, Slow};

const BLOCK: u64 = 4096;

fn count_of(engine: &Engine) -> u64 {
    engine.head().position.map_or(0, |position| position.get() + 1)
}

fn options() -> CrashOptions {
    CrashOptions { tear_bytes: 2048, tears_max: 4, random_states: 2, ..CrashOptions::default() }
}

/// Opens the log again on the same machine, goes on with it, and then stops the machine after each
/// operation since. Answers how many states there were.
fn go_on_and_crash(disk: &SimDisk, mut before: Vec<Line>, what: &str) -> usize {
    disk.clear_faults();
    let opening = disk.op_count();
    let engine = SHAPE.open(disk);
    let opened = disk.op_count();
    let count = count_of(&engine);
    let allowed = before.iter_mut().position(|line| {
        line.allows(count, opening).and_then(|()| line.check_content(&engine, count)).is_ok()
    });
    let allowed = allowed.unwrap_or_else(|| panic!("{what}: {count} events"));
    // Readers have seen them.
    let mut after = before[allowed].settled(count);
    for _ in 0..2 {
        let append = one(after.end() + (1 << 30));
        let batch = after.submitted(&append, disk.op_count(), false);
        let answer = engine.append(append).wait().unwrap();
        after.acknowledged(batch, &answer, disk.op_count());
    }
    engine.maintain().unwrap();
    engine.close().unwrap();
    let trace = disk.trace();
    let mut states = 0;
    for state in CrashPoints::new(&trace, CrashOptions { steps: opening..usize::MAX, ..options() })
    {
        states += 1;
        let disk = state.disk();
        let checked = (|| {
            let opened_again = SHAPE.options(&disk).open(DIR);
            let engine = opened_again.map_err(|error| format!("open: {error}"))?;
            let count = count_of(&engine);
            if state.after_op() >= opened {
                after.allows(count, state.after_op())?;
                return after.check_content(&engine, count);
            }
            let allows = |line: &Line| line.allows(count, opening);
            let refusals: Vec<_> = before.iter().filter_map(|line| allows(line).err()).collect();
            if refusals.len() < before.len() { Ok(()) } else { Err(refusals.join("; ")) }
        })();
        if let Err(why) = checked {
            panic!("{what}: opened by {opened}: {}: {why}", state.label());
        }
    }
    states
}

/// Appends until the fault has struck and the log is poisoned, or some time later.
fn fail_while_appending(fault: &Fault) -> Option<usize> {
    let mut store = Store::on(SimDisk::builder().depth(2).build());
    store.fill(3, 300);
    store.disk.schedule(fault.clone());
    let mut later = 0;
    store.append_until_poisoned(|disk| {
        later += u64::from(disk.faults_struck() > 0);
        later > 4
    });
    drop(store.engine.close());
    let struck = store.disk.faults_struck() > 0;
    struck.then(|| go_on_and_crash(&store.disk, vec![store.line], &format!("{fault:?}")))
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_written_before_it_counts() {
    let step = if std::env::var_os("NEXUS_PLANTED").is_some() { 5 } else { 1 };
    let mut states = 0;
    for nth in (1..).step_by(step) {
        match fail_while_appending(&Fault::sync(nth)) {
            Some(more) => states += more,
            None => break,
        }
    }
    println!("count: crash_states_after_faults {states}");
    assert!(states > 100, "{states}");
}

/// Frames are taken back, and a sync of the cut fails.
fn fail_while_cutting(fault: &Fault) -> Option<usize> {
    let mut store = Store::new();
    store.fill(20, 300);
    let seams = store.engine.seams();
    let (kept, end) = (seams.last_entry(), store.line.end());
    seams.set_replicator(Box::new(Slow));
    for _ in 0..6 {
        let append = one(store.line.end());
        store.line.submitted(&append, store.disk.op_count(), false);
        let mut future = Box::pin(store.engine.append(append));
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    store.disk.schedule(fault.clone());
    let cut = seams.truncate_tail(kept);
    if store.disk.faults_struck() == 0 {
        cut.unwrap();
        return None;
    }
    drop(seams);
    drop(store.engine.close());
    let cut = store.line.up_to(end);
    Some(go_on_and_crash(&store.disk, vec![cut, store.line], &format!("cut, {fault:?}")))
}

#[test]
fn a_cut_whose_sync_failed_is_done_again_from_the_beginning() {
    let states: usize = (1..).map_while(|nth| fail_while_cutting(&Fault::sync(nth))).sum();
    println!("count: crash_states_after_faults {states}");
    assert!(states > 20, "{states}");
}

#[test]
fn a_namespace_whose_name_was_not_made_durable_is_so_once_it_is_opened() {
    let mut rounds = 0;
    for nth in 1.. {
        let mut store = Store::new();
        store.fill(1, 300);
        store.disk.schedule(Fault::sync_dir(nth));
        let created = store.engine.create_namespace(SECOND).map(drop);
        if store.disk.faults_struck() == 0 {
            break;
        }
        rounds += 1;
        assert!(created.is_err(), "{nth}");
        store.engine.close().unwrap();
        let engine = SHAPE.open(&store.disk);
        let namespace = engine.create_namespace(SECOND).unwrap();
        namespace.append(one(0)).wait().unwrap();
        let crashed = SHAPE.open(&store.disk.durable_image());
        let found = crashed.namespace(SECOND).map(|namespace| namespace.read(Read::all()));
        assert_eq!(found.unwrap().into_iter().map(Result::unwrap).count(), 1, "{nth}");
    }
    // Of the data directory, of the new folder, and of the folder it is renamed in.
    assert!(rounds >= 3, "{rounds} syncs mattered");
}

/// Opens what a killed process left, while the `nth` read of the segment gives one wrong bit; the last
/// frame, of which that is, is vouched for by nothing. Answers whether that was refused.
fn misread(nth: u64, at: u64) -> Option<bool> {
    let mut store = Store::new();
    store.fill(6, 300);
    let (disk, _) = store.killed();
    let whole = disk.read_back(segment(1));
    disk.schedule(Fault::read(nth).at(segment(1)).flipping(at));
    let refused = match SHAPE.options(&disk).open(DIR) {
        Ok(_) => false,
        Err(error) => {
            let corruption = corruption(&error).unwrap_or_else(|| panic!("{error}"));
            assert_eq!((&*corruption.file, corruption.offset_bytes), (&*segment(1), 7 * BLOCK));
            true
        }
    };
    let left = disk.read_back(segment(1));
    let start = usize::try_from(7 * BLOCK).unwrap();
    assert_eq!(left[..start], whole[..start], "read {nth}, byte {at}");
    // Misread at first it is as a frame that a crash tore, which is cut.
    let is_cut = left[start..].iter().all(|byte| *byte == 0);
    assert!(left[start..] == whole[start..] || (is_cut && !refused), "read {nth}, byte {at}");
    (disk.faults_struck() > 0).then_some(refused)
}

#[test]
fn what_is_misread_is_not_written_over_what_was_acknowledged() {
    // The position in the header, the record, and the padding, which is zeros whatever is read.
    for (byte, wanted) in [(20, 1), (300, 1), (4000, 0)] {
        let at = 7 * BLOCK + byte;
        let refused = (1..).map_while(|nth| misread(nth, at)).filter(|refused| *refused).count();
        assert_eq!(refused, wanted, "byte {byte}");
    }
}
