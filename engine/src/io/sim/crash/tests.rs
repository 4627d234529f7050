//! Crash states of small traces, counted by hand.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::io::{
    ALIGNMENT, AlignedBuffer, Disk, FileKind, LogWrite, OpenMode, replace_file, write_all_at,
};

fn options() -> CrashOptions {
    CrashOptions { random_states: 0, ..CrashOptions::default() }
}

/// How many states there are after each operation.
fn counts(trace: &Trace, options: CrashOptions) -> Vec<usize> {
    let mut counts = vec![0; trace.ops().len() + 1];
    CrashPoints::new(trace, options).for_each(|state| counts[state.after_op()] += 1);
    counts
}

fn disk_with(len: usize, depth: usize) -> SimDisk {
    let disk = SimDisk::builder().depth(depth).build();
    let file = disk.open(Path::new("/a"), OpenMode::Create, FileKind::Plain).unwrap();
    write_all_at(&*file, &vec![1; len], 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.start_trace();
    disk
}

fn plain_write(len: usize) -> SimDisk {
    let disk = disk_with(len, 1);
    let file = disk.open(Path::new("/a"), OpenMode::ReadWrite, FileKind::Plain).unwrap();
    write_all_at(&*file, &vec![2; len], 0).unwrap();
    file.sync().unwrap();
    disk
}

fn two_in_flight() -> SimDisk {
    let disk = disk_with(2 * ALIGNMENT, 2);
    let file = disk.open(Path::new("/a"), OpenMode::ReadWrite, FileKind::Log).unwrap();
    let mut writer = disk.log_writer().unwrap();
    for block in 0..2 {
        let mut bytes = AlignedBuffer::zeroed(ALIGNMENT);
        bytes.as_mut_slice().fill(2);
        let offset_bytes = block * ALIGNMENT as u64;
        let file = Arc::clone(&file);
        writer.submit(LogWrite { file, offset_bytes, bytes: bytes.into_bytes() });
    }
    writer.complete().unwrap();
    writer.complete().unwrap();
    disk
}

#[test]
fn plain_write_is_lost_whole_or_torn_from_either_side() {
    let trace = plain_write(1024).trace();
    // Before: one state. Pending: old, new, and torn at 512 with head or tail. After the sync: one.
    assert_eq!(counts(&trace, options()), [1, 4, 1]);
    let halves = |disk: SimDisk| {
        let bytes = disk.read_back("/a");
        (bytes[0], bytes[1023])
    };
    let found: Vec<_> = CrashPoints::new(&trace, options()).map(|it| halves(it.disk())).collect();
    assert_eq!(found[0], (1, 1));
    assert_eq!(
        BTreeSet::from_iter(found[1..5].iter().copied()),
        BTreeSet::from([(1, 1), (2, 2), (2, 1), (1, 2)])
    );
    assert_eq!(found[5], (2, 2));
}

#[test]
fn writes_in_flight_survive_in_any_combination() {
    let trace = two_in_flight().trace();
    // One in flight: lost, whole, and 7 boundaries from both sides. Two: four combinations, and the
    // newer torn in 14 ways with and without the older.
    assert_eq!(counts(&trace, options()), [1, 16, 32, 16, 1]);
    let each = CrashOptions { tear_each: true, ..options() };
    assert_eq!(counts(&trace, each), [1, 16, 32 + 28, 16, 1]);
    let one = CrashOptions { singles_max: 1, tears_max: 2, ..options() };
    // Only the newer is kept or lost alone, which is all four still; torn at the ends of its range.
    let mut points = CrashPoints::new(&trace, one.clone());
    assert_eq!(points.by_ref().count(), 1 + 6 + 12 + 6 + 1);
    assert_eq!(points.thinned_steps(), 3);
}

#[test]
fn chosen_step_is_torn_at_every_byte() {
    let trace = plain_write(1024).trace();
    let fine = |tear_bytes| CrashOptions {
        fine_tears: vec![FineTear { after_op: 1, tear_bytes }],
        ..options()
    };
    assert_eq!(counts(&trace, fine(1)), [1, 2 + 2 * 1023, 1]);
    assert_eq!(counts(&trace, fine(64)), [1, 2 + 2 * 15, 1]);
}

#[test]
fn replaced_file_is_old_or_new_at_every_step() {
    let disk = disk_with(3, 1);
    replace_file(&disk, Path::new("/a"), b"new").unwrap();
    let trace = disk.trace();
    let ops: Vec<String> = trace.ops().iter().map(ToString::to_string).collect();
    assert_eq!(
        ops,
        [
            "create /a.new",
            "write /a.new 0+3",
            "sync /a.new: Succeeded",
            "rename /a.new to /a",
            "sync folder /"
        ]
    );
    // Created: the name is there or not. Written: no name; or empty, zeros, or whole. Synced: name
    // or not. Renamed: neither, created only, both. Folder synced: one.
    assert_eq!(counts(&trace, options()), [1, 2, 4, 2, 3, 1]);
    for state in CrashPoints::new(&trace, CrashOptions::default()) {
        let content = state.disk().read_back("/a");
        let old_or_new = content == [1; 3] || content == b"new";
        assert!(old_or_new, "{}: {content:?}", state.label());
        assert!(state.after_op() < 5 || content == b"new", "{}", state.label());
    }
}

#[test]
fn states_of_a_range_of_steps_are_those_of_the_whole() {
    let trace = two_in_flight().trace();
    let all = CrashOptions::default();
    let labels = |options| {
        CrashPoints::new(&trace, options).map(|it| (it.label(), it.fingerprint())).collect()
    };
    let whole: Vec<_> = labels(all.clone());
    let mut parts: Vec<_> = labels(CrashOptions { steps: 0..2, ..all.clone() });
    parts.extend(labels(CrashOptions { steps: 2..usize::MAX, ..all }));
    assert_eq!(parts, whole);
}

#[test]
fn trace_of_damage_and_faults_replays() {
    let disk = disk_with(5000, 1);
    let file = disk.open(Path::new("/a"), OpenMode::ReadWrite, FileKind::Plain).unwrap();
    disk.schedule(super::super::Fault::sync(1));
    write_all_at(&*file, &[3; 700], 100).unwrap();
    assert!(file.sync().is_err());
    disk.flip_bit("/a", 0, 1);
    disk.truncate_file("/a", 400);
    let trace = disk.trace();
    let last = CrashPoints::new(&trace, CrashOptions { steps: 4..5, ..options() });
    let found: Vec<_> = last.map(|it| it.disk()).collect();
    assert!(found.iter().any(|it| it.same_content(&disk.durable_image())));
    assert!(found.iter().any(|it| it.same_content(&disk.image())));
}
