//! The disk fails while it is used: nothing acknowledged is lost, nothing is acknowledged that is
//! not durable, and readers see what is durable and no more.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nexus_engine::io::SimDisk;
use nexus_engine::io::sim::{CrashOptions, CrashPoints, Fault};
use nexus_engine::{Engine, OpenError, PendingAppend};
use nexus_protocol::{Append, AppendError, Clause, Position, Read, ReadError, Unavailable};

use crate::history::{Line, numbered};
use crate::stores::{SHAPE, Store, one, read_around, segment, store_of_segments};
use crate::workload::{DIR, Slow};

fn positions(engine: &Engine) -> Vec<u64> {
    let all = engine.read(Read::all().system());
    all.into_iter().map(|event| event.unwrap().position().get()).collect()
}

/// The store on this disk holds exactly what `line` says was acknowledged, or what was submitted.
fn check_reopened(disk: &SimDisk, line: &mut Line) {
    let engine = SHAPE.open(disk);
    let count = engine.head().position.map_or(0, |position| position.get() + 1);
    line.allows(count, usize::MAX - 1).unwrap();
    line.check_content(&engine, count).unwrap();
    engine.append(Append::to("more").event(numbered(1 << 40, 10))).wait().unwrap();
}

/// Four appends in flight, the second of which fails as `fault` says.
fn poison(fault: Fault) -> (Store, Vec<Result<u64, AppendError>>) {
    let mut store = Store::on(SimDisk::builder().depth(4).build());
    store.fill(5, 300);
    let before = store.line.end();
    store.disk.schedule(fault);
    let pending: Vec<PendingAppend> = (0..4)
        .map(|n| {
            let append = one(before + n);
            store.line.submitted(&append, store.disk.op_count(), false);
            store.engine.append(append)
        })
        .collect();
    let answers: Vec<_> = pending
        .into_iter()
        .map(|it| it.wait().map(|answer| answer.first().unwrap().get()))
        .collect();
    assert_eq!(store.disk.faults_struck(), 1);
    for (n, answer) in answers.iter().enumerate().filter(|(_, answer)| answer.is_ok()) {
        assert_eq!(*answer, Ok(before + n as u64));
        store.line.batches[usize::try_from(before).unwrap() + n].acknowledged = Some(0);
    }
    (store, answers)
}

#[test]
fn a_failed_write_or_sync_poisons_the_log_for_good() {
    for fault in
        [Fault::write(2), Fault::sync(2), Fault::sync(2).dropping(), Fault::write(2).full()]
    {
        let (mut store, answers) = poison(fault.clone());
        let poisoned = |answer: &Result<u64, AppendError>| match answer {
            Err(AppendError::Poisoned { at }) => *at == Some(Position::new(5)),
            _ => false,
        };
        assert_eq!(answers[0], Ok(5), "{fault:?}");
        assert!(answers[1..].iter().all(poisoned), "{fault:?}: {answers:?}");
        // Nothing is retried, not even where the disk is well again.
        for n in 0..3 {
            let later = store.engine.append(one(100 + n)).wait().map(|_| 0);
            assert!(poisoned(&later), "{later:?}");
        }
        // Readers see what is durable, and nothing of what failed.
        assert_eq!(positions(&store.engine), (0..=5).collect::<Vec<_>>());
        assert_eq!(store.engine.head().position, Some(Position::new(5)));
        drop(store.engine.maintain());
        drop(store.engine);
        for disk in [store.disk.image(), store.disk.durable_image()] {
            check_reopened(&disk, &mut store.line);
        }
        (0..50).for_each(|seed| check_reopened(&store.disk.crash(seed), &mut store.line));
    }
}

#[test]
fn an_answer_waits_for_what_it_was_computed_from() {
    let mut store = Store::on(SimDisk::builder().depth(4).build());
    store.fill(5, 300);
    store.disk.schedule(Fault::sync(1).dropping());
    let original = one(5);
    let pending = store.engine.append(original.clone());
    let conflict = store.engine.append(one(6).no_stream().stream("s-9").no_stream());
    let stale = store.engine.append(Append::to("s-9").exists());
    let replay = store.engine.append(original);
    // The conflict with what is in flight is no answer when that fails.
    for answer in [pending, conflict, stale, replay].map(PendingAppend::wait) {
        assert!(matches!(answer, Err(AppendError::Poisoned { .. })), "{answer:?}");
    }
    let (disk, line) = store.killed();
    let engine = SHAPE.open(&disk);
    assert_eq!(read_around(&engine, &line).unwrap(), []);
    let answer = engine.append(Append::to("s-1").no_stream().event(numbered(9, 1))).wait();
    assert!(
        matches!(&answer, Err(AppendError::Conflict(it)) if matches!(it.clause, Clause::Stream { .. })),
        "{answer:?}"
    );
}

#[test]
fn a_sealed_segment_that_cannot_be_read_does_not_take_others_along() {
    let (disk, line) = store_of_segments().closed();
    let engine = SHAPE.open(&disk);
    disk.fail_reads(segment(2), 4096 * 5..4096 * 6);
    let holes = read_around(&engine, &line).unwrap();
    assert!(
        !holes.is_empty() && holes.iter().all(|it| it.start >= 14 && it.end <= 29),
        "{holes:?}"
    );
    let read = |from: u64| Read::all().from_position(Position::new(from)).limit(1);
    let first = |from: u64| engine.read(read(from)).into_iter().next().unwrap();
    assert!(matches!(first(18), Err(ReadError::Corruption { .. })), "{:?}", first(18));
    assert_eq!(first(40).unwrap().position().get(), 40);
    disk.clear_faults();
    assert_eq!(read_around(&engine, &line).unwrap(), []);
    disk.fail_reads(segment(2), 0..1 << 20);
    engine.append(one(1_000)).wait().unwrap();
}

#[test]
fn a_disk_that_cannot_be_read_at_the_start_is_not_a_torn_tail() {
    let (disk, line) = store_of_segments().closed();
    let mut refused = 0;
    for nth in 1..200 {
        for short in [false, true] {
            let disk = disk.image();
            let fault = if short { Fault::read(nth).short(1) } else { Fault::read(nth) };
            disk.schedule(fault);
            let before = disk.read_back(segment(4));
            match SHAPE.options(&disk).open(DIR) {
                Ok(engine) => {
                    disk.clear_faults();
                    assert_eq!(read_around(&engine, &line).unwrap(), [], "read {nth}");
                    assert_eq!(engine.head().position, Some(Position::new(line.end() - 1)));
                }
                Err(OpenError::Disk(_)) if !short => refused += 1,
                Err(other) => panic!("read {nth}, short: {short}: {other}"),
            }
            assert!(disk.read_back(segment(4)) == before, "nothing is cut");
            disk.clear_faults();
            assert_eq!(read_around(&SHAPE.open(&disk), &line).unwrap(), []);
        }
    }
    assert!(refused > 3, "{refused} reads mattered");
}

#[test]
fn short_writes_and_reads_are_gone_on_with() {
    let disk = SimDisk::builder().seed(5).short_writes_one_in(2).short_reads_one_in(2).build();
    let mut store = Store::on(disk);
    for _ in 0..6 {
        store.fill(10, 700);
        store.engine.maintain().unwrap();
    }
    let (disk, mut line) = store.closed();
    check_reopened(&disk, &mut line);
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room_again() {
    let mut store = Store::new();
    store.fill(8, 300);
    let free = |disk: &SimDisk, blocks: u64| {
        let free = nexus_engine::io::Disk::free_bytes(disk, std::path::Path::new(DIR)).unwrap();
        disk.set_capacity(Some((u64::MAX >> 1) - free + 4096 * blocks));
    };
    for blocks in 0..40 {
        free(&store.disk, blocks);
        let mut refused = None;
        for _ in 0..40 {
            let append = one(store.line.end());
            match store.engine.append(append.clone()).wait() {
                Ok(answer) => {
                    let batch = store.line.submitted(&append, 0, false);
                    store.line.acknowledged(batch, &answer, 0);
                }
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
            drop(store.engine.maintain());
        }
        if let Some(refused) = &refused {
            let full = matches!(refused, AppendError::Unavailable(Unavailable::DiskFull));
            assert!(full, "{blocks} blocks: {refused:?}");
        }
        assert!(refused.is_some() || blocks > 30, "40 appends do not fit into {blocks} blocks");
        assert_eq!(read_around(&store.engine, &store.line).unwrap(), []);
        let image = store.disk.durable_image();
        image.set_capacity(None);
        check_reopened(&image, &mut store.line.clone());
        store.disk.set_capacity(None);
        store.fill(1, 300);
    }
    let (disk, mut line) = store.closed();
    check_reopened(&disk, &mut line);
}

#[test]
fn a_write_that_went_astray_is_found_at_the_next_start() {
    // Where a frame should be is what was there before, and where it went something is gone.
    for to in [4096 * 2, 4096 * 9, 4096 * 12] {
        let mut store = Store::new();
        store.fill(5, 300);
        store.disk.schedule(Fault::write(1).at(segment(1)).misdirected_to(to));
        store.fill(1, 300);
        assert_eq!(store.disk.faults_struck(), 1);
        store.fill(3, 300);
        let (disk, line) = store.killed();
        match SHAPE.options(&disk).open(DIR) {
            Err(OpenError::Corrupt { corruption }) => assert_eq!(corruption.file, segment(1)),
            other => panic!("{to}: {other:?}"),
        }
        let engine = SHAPE.options(&disk).damaged(true).open(DIR).unwrap();
        let holes = read_around(&engine, &line).unwrap();
        assert!(holes.iter().any(|hole| hole.contains(&5)) || to == 4096 * 2, "{holes:?}");
    }
}

#[test]
fn a_clock_that_jumps_far_ahead_is_not_believed() {
    let mut store = Store::new();
    store.fill(3, 10);
    let hour = Duration::from_secs(3600);
    // Time that really passed is no jump, and neither is a clock that was set back.
    store.disk.advance(hour * 30);
    store.fill(1, 10);
    store.disk.set_wall_only(store.disk_now().saturating_sub(hour * 5));
    store.fill(1, 10);
    store.disk.set_wall_only(store.disk_now().saturating_add(hour * 5));
    store.fill(1, 10);
    let right = store.disk_now();
    store.disk.set_wall_only(right.saturating_add(hour + Duration::from_secs(2)));
    for _ in 0..2 {
        match store.engine.append(one(100)).wait() {
            Err(AppendError::Unavailable(Unavailable::ClockJump { jump_s })) => {
                assert_eq!(jump_s, 3602);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read_around(&store.engine, &store.line).unwrap(), []);
    store.disk.set_wall_only(right);
    store.fill(1, 10);
    let times: Vec<_> = store
        .engine
        .read(Read::all())
        .into_iter()
        .map(|event| event.unwrap().recorded_at())
        .collect();
    assert!(times.is_sorted(), "recorded times never decrease");
}

impl Store {
    fn disk_now(&self) -> nexus_protocol::Timestamp {
        nexus_engine::io::Disk::now(&self.disk)
    }
}

/// Appends and maintains, with one failure under way, until the log is poisoned or all is written;
/// then, after each later operation, the machine stops as well. Answers how many states there were.
fn fail_and_crash(fault: Fault) -> Option<usize> {
    let mut store = Store::on(SimDisk::builder().depth(2).build());
    store.fill(3, 300);
    store.disk.schedule(fault.clone());
    let mut first = usize::MAX;
    store.append_until_poisoned(|disk| {
        if disk.faults_struck() > 0 {
            first = first.min(disk.op_count());
        }
        disk.op_count() > first.saturating_add(45)
    });
    let closed = store.engine.close();
    if store.disk.faults_struck() == 0 {
        closed.unwrap();
        return None;
    }
    let trace = store.disk.trace();
    let steps = first.min(trace.ops().len()).saturating_sub(2)..usize::MAX;
    let options = CrashOptions {
        steps,
        tear_bytes: 2048,
        tears_max: 8,
        random_states: 2,
        ..CrashOptions::default()
    };
    let mut states = 0;
    for state in CrashPoints::new(&trace, options) {
        states += 1;
        let disk = state.disk();
        let checked = (|| {
            let opened = SHAPE.options(&disk).open(DIR);
            let engine = opened.map_err(|error| format!("open: {error}"))?;
            let count = engine.head().position.map_or(0, |position| position.get() + 1);
            store.line.allows(count, state.after_op())?;
            store.line.check_content(&engine, count)
        })();
        if let Err(why) = checked {
            panic!("{fault:?}: {}: {why}", state.label());
        }
    }
    Some(states)
}

/// Fails the n-th operation of a kind, for each n there is.
fn fail_each(fault: impl Fn(u64) -> Fault) {
    let step = if std::env::var_os("NEXUS_PLANTED").is_some() { 7 } else { 1 };
    let mut states = 0;
    for nth in (1..).step_by(step) {
        match fail_and_crash(fault(nth)) {
            Some(more) => states += more,
            None => break,
        }
    }
    println!("count: crash_states_after_faults {states}");
    assert!(states > 100, "{states}");
}

#[test]
fn every_write_fails_once() {
    fail_each(Fault::write);
}

#[test]
fn every_write_finds_the_disk_full_once() {
    fail_each(|nth| Fault::write(nth).full());
}

#[test]
fn every_sync_fails_once() {
    fail_each(Fault::sync);
}

#[test]
fn every_sync_drops_what_was_written_once() {
    fail_each(|nth| Fault::sync(nth).dropping());
}

#[test]
fn every_sync_of_a_folder_fails_once() {
    fail_each(Fault::sync_dir);
}

#[test]
fn every_change_of_names_fails_once() {
    fail_each(Fault::names);
}

/// Frames that are durable and not committed are taken back, and the cut fails on the way; then the
/// machine stops. What is left is the log before the cut or after it.
fn fail_a_cut(fault: Fault) -> Option<usize> {
    let mut store = Store::new();
    store.fill(20, 300);
    let seams = store.engine.seams();
    let (kept, end) = (seams.last_entry(), store.line.end());
    seams.set_replicator(Box::new(Slow));
    let mut pending = Vec::new();
    for _ in 0..20 {
        let append = one(store.line.end());
        let batch = store.line.submitted(&append, store.disk.op_count(), false);
        let mut future = Box::pin(store.engine.append(append));
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        store.line.batches[batch].acknowledged = Some(store.disk.op_count());
        pending.push(future);
    }
    let first = store.disk.op_count();
    let mut after = store.line.up_to(end);
    after.operations = first..usize::MAX;
    store.disk.schedule(fault.clone());
    let cut = seams.truncate_tail(kept);
    if store.disk.faults_struck() == 0 {
        cut.unwrap();
        return None;
    }
    assert!(cut.is_err(), "{fault:?}: a cut whose write failed is not done");
    let mut context = Context::from_waker(Waker::noop());
    for mut it in pending {
        assert!(matches!(it.as_mut().poll(&mut context), Poll::Ready(Err(AppendError::Unknown))));
    }
    let refused = store.engine.append(one(1_000)).wait();
    assert!(matches!(refused, Err(AppendError::Poisoned { .. })), "{refused:?}");
    assert_eq!(positions(&store.engine), (0..end).collect::<Vec<_>>());
    drop(store.engine.close());
    let trace = store.disk.trace();
    let options =
        CrashOptions { steps: first..usize::MAX, tears_max: 16, ..CrashOptions::default() };
    let mut states = 0;
    for state in CrashPoints::new(&trace, options) {
        states += 1;
        let disk = state.disk();
        let checked = (|| {
            let opened = SHAPE.options(&disk).open(DIR);
            let engine = opened.map_err(|error| format!("open: {error}"))?;
            let count = engine.head().position.map_or(0, |position| position.get() + 1);
            let before = store.line.allows(count, state.after_op());
            before.or_else(|_| after.allows(count, state.after_op()))?;
            store.line.check_content(&engine, count)
        })();
        if let Err(why) = checked {
            panic!("{fault:?}: {}: {why}", state.label());
        }
    }
    Some(states)
}

#[test]
fn every_step_of_a_cut_fails_once() {
    let mut states = 0;
    for make in [Fault::write, Fault::sync, |nth| Fault::sync(nth).dropping()] {
        states += (1..).map_while(|nth| fail_a_cut(make(nth))).sum::<usize>();
    }
    println!("count: crash_states_after_faults {states}");
    assert!(states > 100, "{states}");
}
