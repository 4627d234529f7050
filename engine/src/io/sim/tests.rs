//! The simulated disk: what it keeps, loses, and damages.

use super::*;
use crate::io::{
    ALIGNMENT, AlignedBuffer, LogWrite, read_file, read_full_at, replace_file, write_all_at,
};
use proptest::prelude::*;

const A: &str = "/a";

fn aligned(len: usize, byte: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(len);
    buffer.as_mut_slice().fill(byte);
    buffer
}

fn path(path: &str) -> &Path {
    Path::new(path)
}

fn create(disk: &SimDisk, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.open(path(name), OpenMode::Create, FileKind::Plain).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file
}

/// A disk with one durable file.
fn disk_with(bytes: &[u8]) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::default();
    let file = create(&disk, A, bytes);
    file.sync().unwrap();
    disk.sync_dir(path("/")).unwrap();
    (disk, file)
}

/// A disk with one durable log file of zeros, and a writer.
fn log_disk(depth: usize, blocks: usize) -> (SimDisk, Arc<dyn DiskFile>, Box<dyn LogWriter>) {
    let disk = SimDisk::builder().depth(depth).build();
    let file = disk.open(path(A), OpenMode::Create, FileKind::Log).unwrap();
    write_all_at(&*file, aligned(blocks * ALIGNMENT, 0).as_slice(), 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(path("/")).unwrap();
    let writer = disk.log_writer().unwrap();
    (disk, file, writer)
}

fn log_write(file: &Arc<dyn DiskFile>, block: u64, byte: u8) -> LogWrite {
    let bytes = aligned(ALIGNMENT, byte).into_bytes();
    LogWrite { file: Arc::clone(file), offset_bytes: block * ALIGNMENT as u64, bytes }
}

fn names(disk: &SimDisk, dir: &str) -> Vec<String> {
    disk.list(path(dir)).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn is_eio<T: fmt::Debug>(result: DiskResult<T>) -> bool {
    result.unwrap_err().source.raw_os_error() == Some(5)
}

#[test]
fn bytes_are_durable_only_after_sync() {
    let (disk, file) = disk_with(b"old");
    write_all_at(&*file, b"new", 0).unwrap();
    assert_eq!(disk.read_back(A), b"new");
    assert_eq!(disk.durable_image().read_back(A), b"old");
    assert_eq!(disk.image().read_back(A), b"new");
    file.sync().unwrap();
    assert_eq!(disk.durable_image().read_back(A), b"new");
    for seed in 0..50 {
        assert_eq!(disk.crash(seed).read_back(A), b"new", "what was synced survives");
    }
}

#[test]
fn names_are_durable_only_after_sync_of_their_folder() {
    let disk = SimDisk::default();
    create(&disk, A, b"x").sync().unwrap();
    assert!(names(&disk.durable_image(), "/").is_empty());
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(names(&disk.durable_image(), "/"), ["a"]);

    disk.create_dir(path("/d")).unwrap();
    create(&disk, "/d/b", b"y").sync().unwrap();
    disk.sync_dir(path("/d")).unwrap();
    assert_eq!(names(&disk.durable_image(), "/"), ["a"], "the folder itself has no durable name");
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(names(&disk.durable_image(), "/d"), ["b"]);

    disk.remove(path("/d/b")).unwrap();
    assert!(names(&disk, "/d").is_empty());
    assert_eq!(disk.durable_image().read_back("/d/b"), b"y", "a removal is lost too");
    disk.sync_dir(path("/d")).unwrap();
    assert!(names(&disk.durable_image(), "/d").is_empty());
}

#[test]
fn rename_is_whole_and_needs_what_it_renames() {
    let (disk, _) = disk_with(b"old");
    replace_file(&disk, path(A), b"new").unwrap();
    assert_eq!(disk.durable_image().read_back(A), b"new");

    let file = create(&disk, "/b", b"newer");
    file.sync().unwrap();
    disk.rename(path("/b"), path(A)).unwrap();
    let mut found = BTreeSet::new();
    for seed in 0..100 {
        let crashed = disk.crash(seed);
        let rest = names(&crashed, "/");
        found.insert((rest.join(" "), String::from_utf8(crashed.read_back(A)).unwrap()));
    }
    let expected = [("a", "new"), ("a", "newer"), ("a b", "new")];
    let expected = expected.map(|(names, a)| (names.to_owned(), a.to_owned()));
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn rename_between_folders_is_one_change() {
    let (disk, _) = disk_with(b"x");
    disk.create_dir(path("/d")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    disk.rename(path(A), path("/d/a")).unwrap();
    for seed in 0..50 {
        let crashed = disk.crash(seed);
        let found = names(&crashed, "/").len() + names(&crashed, "/d").len();
        assert_eq!(found, 2, "the folder, and the file once");
    }
    disk.sync_dir(path("/d")).unwrap();
    assert_eq!(names(&disk.durable_image(), "/"), ["d"]);
    assert_eq!(disk.durable_image().read_back("/d/a"), b"x");
}

#[test]
fn file_renamed_twice_has_one_name_after_every_crash() {
    let (disk, _) = disk_with(b"x");
    disk.start_trace();
    disk.rename(path(A), path("/b")).unwrap();
    disk.rename(path("/b"), path("/c")).unwrap();
    let trace = disk.trace();
    let found = CrashPoints::new(&trace, CrashOptions::default());
    let found: BTreeSet<_> =
        found.map(|state| (state.after_op(), names(&state.disk(), "/").join(" "))).collect();
    let expected = [(0, "a"), (1, "a"), (1, "b"), (2, "a"), (2, "b"), (2, "c")];
    assert_eq!(found, BTreeSet::from(expected.map(|(op, names)| (op, names.to_owned()))));
}

#[test]
fn later_sync_keeps_the_length_but_not_what_an_earlier_one_failed_to_write() {
    let (disk, file) = disk_with(b"old");
    write_all_at(&*file, b"newer", 0).unwrap();
    disk.schedule(Fault::sync(1));
    assert!(is_eio(file.sync()));
    assert_eq!(disk.durable_image().read_back(A), b"old");
    file.sync().unwrap();
    assert_eq!(disk.durable_image().read_back(A), b"old\0\0");
}

#[test]
fn log_writes_are_in_flight_until_completed() {
    let (disk, file, mut writer) = log_disk(2, 3);
    writer.submit(log_write(&file, 0, 1));
    writer.submit(log_write(&file, 1, 2));
    assert_eq!(disk.read_back(A), vec![0; 3 * ALIGNMENT]);
    let blocks = |disk: &SimDisk| {
        let bytes = disk.read_back(A);
        assert_eq!(bytes.len(), 3 * ALIGNMENT);
        (bytes[0], bytes[ALIGNMENT])
    };
    let outcomes =
        |disk: &SimDisk| (0..200).map(|seed| blocks(&disk.crash(seed))).collect::<BTreeSet<_>>();
    assert_eq!(outcomes(&disk), BTreeSet::from([(0, 0), (0, 2), (1, 0), (1, 2)]));
    writer.complete().unwrap();
    assert_eq!(blocks(&disk), (1, 0));
    assert_eq!(outcomes(&disk), BTreeSet::from([(1, 0), (1, 2)]));
    writer.complete().unwrap();
    assert_eq!(blocks(&disk.durable_image()), (1, 2));
    let torn = |seed| {
        writer.submit(log_write(&file, 2, 3));
        let bytes = disk.crash(seed).read_back(A)[2 * ALIGNMENT..].to_vec();
        writer.complete().unwrap();
        writer.submit(log_write(&file, 2, 0));
        writer.complete().unwrap();
        bytes.contains(&0) && bytes.contains(&3)
    };
    assert!((0..50).any(torn));
}

#[test]
#[should_panic(expected = "2 writes are in flight already")]
fn log_writer_refuses_more_than_its_depth() {
    let (_disk, file, mut writer) = log_disk(2, 3);
    (0..3).for_each(|block| writer.submit(log_write(&file, block, 1)));
}

#[test]
fn completed_log_write_is_not_undone_by_an_older_plain_write() {
    let (disk, file, mut writer) = log_disk(1, 3);
    write_all_at(&*file, aligned(3 * ALIGNMENT, 7).as_slice(), 0).unwrap();
    writer.submit(log_write(&file, 1, 9));
    writer.complete().unwrap();
    let mut outer = BTreeSet::new();
    for seed in 0..200 {
        let bytes = disk.crash(seed).read_back(A);
        assert!(bytes[ALIGNMENT..2 * ALIGNMENT].iter().all(|&byte| byte == 9));
        outer.insert((bytes[0], bytes[2 * ALIGNMENT]));
    }
    assert_eq!(outer.len(), 4, "the rest of the plain write is still pending");
}

#[test]
fn failed_operations_fail_once_at_the_scheduled_one() {
    let (disk, file) = disk_with(b"old");
    disk.schedule(Fault::write(2));
    assert_eq!(file.write_at(b"1", 0).unwrap(), 1);
    assert!(is_eio(file.write_at(b"2", 0)));
    assert_eq!(file.write_at(b"3", 1).unwrap(), 1);
    assert_eq!(disk.read_back(A), b"13d");

    disk.schedule(Fault::read(1).at(A));
    assert!(is_eio(read_file(&disk, path(A), 10)));
    assert_eq!(read_file(&disk, path(A), 10).unwrap(), b"13d");

    disk.schedule(Fault::names(1).on(|path| path.ends_with("b")));
    disk.create_dir(path("/c")).unwrap();
    assert!(is_eio(disk.rename(path(A), path("/c/x")).and(disk.remove(path("/b")))));
    disk.schedule(Fault::sync_dir(1));
    assert!(is_eio(disk.sync_dir(path("/"))));
    assert_eq!(disk.faults_struck(), 4);

    disk.schedule(Fault::names(1).full().repeating());
    for name in ["/x", "/y"] {
        let created = disk.open(path(name), OpenMode::Create, FileKind::Plain);
        assert!(created.unwrap_err().is_full());
    }
    disk.clear_faults();
    create(&disk, "/x", b"");
}

#[test]
fn failed_sync_loses_for_good() {
    let check = |fault: Fault, visible: &[u8], survives: bool| {
        let (disk, file) = disk_with(b"old");
        write_all_at(&*file, b"new", 0).unwrap();
        disk.schedule(fault);
        assert!(is_eio(file.sync()));
        assert_eq!(disk.read_back(A), visible);
        file.sync().unwrap();
        assert_eq!(disk.durable_image().read_back(A), b"old");
        let landed = (0..50).any(|seed| disk.crash(seed).read_back(A) == b"new");
        assert_eq!(landed, survives);
        write_all_at(&*file, b"N", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(disk.durable_image().read_back(A), b"Nld");
    };
    check(Fault::sync(1).dropping(), b"old", false);
    check(Fault::sync(1), b"new", true);
}

#[test]
fn failed_log_write_may_have_landed() {
    let check = |fault: Fault, operation: DiskOperation, full: bool, visible: u8| {
        let (disk, file, mut writer) = log_disk(2, 2);
        disk.schedule(fault);
        writer.submit(log_write(&file, 0, 1));
        writer.submit(log_write(&file, 1, 2));
        let error = writer.complete().unwrap_err();
        assert_eq!((error.operation, error.is_full()), (operation, full));
        writer.complete().unwrap();
        assert_eq!(disk.read_back(A)[0], visible);
        file.sync().unwrap();
        assert_eq!(disk.durable_image().read_back(A)[0], 0, "no later sync brings it there");
        let first = |seed| disk.crash(seed).read_back(A)[0];
        assert_eq!((0..50).map(first).collect::<BTreeSet<_>>(), BTreeSet::from([0, 1]));
    };
    check(Fault::write(1), DiskOperation::Write, false, 0);
    check(Fault::write(1).full(), DiskOperation::Write, true, 0);
    check(Fault::sync(1).dropping(), DiskOperation::Sync, false, 0);
    check(Fault::sync(1), DiskOperation::Sync, false, 1);
}

#[test]
fn bad_range_fails_reads_that_touch_it() {
    let (disk, file) = disk_with(&[1; 100]);
    disk.fail_reads(A, 50..60);
    let mut buffer = [0; 20];
    assert_eq!(file.read_at(&mut buffer, 30).unwrap(), 20);
    assert!(is_eio(file.read_at(&mut buffer, 31)));
    assert_eq!(file.read_at(&mut buffer, 60).unwrap(), 20);
    disk.rename(path(A), path("/b")).unwrap();
    assert!(is_eio(file.read_at(&mut buffer, 59)), "the medium is bad, not the name");
    disk.clear_faults();
    assert_eq!(file.read_at(&mut buffer, 59).unwrap(), 20);
}

#[test]
fn full_disk_takes_what_fits_and_recovers() {
    let disk = SimDisk::builder().capacity_bytes(3 * 4096).build();
    let file = create(&disk, A, &[1; 4096]);
    assert_eq!(disk.free_bytes(path("/")).unwrap(), 2 * 4096);
    assert_eq!(file.write_at(&[2; 3 * 4096], 4096).unwrap(), 2 * 4096);
    assert!(file.write_at(&[3], 3 * 4096).unwrap_err().is_full());
    assert_eq!(file.write_at(&[3], 0).unwrap(), 1, "what is there can be overwritten");
    disk.set_capacity(Some(4 * 4096));
    assert_eq!(file.write_at(&[3; 5000], 3 * 4096).unwrap(), 4096);
    create(&disk, "/b", b"");
    disk.remove(path(A)).unwrap();
    assert_eq!(disk.free_bytes(path("/")).unwrap(), 4 * 4096);
    disk.set_capacity(None);
    assert!(disk.free_bytes(path("/")).unwrap() > 1 << 60);
}

#[test]
fn short_operations_take_less_and_log_files_whole_blocks() {
    let (disk, file) = disk_with(&[1; 100]);
    disk.schedule(Fault::write(1).short(7));
    disk.schedule(Fault::read(1).short(3));
    assert_eq!(file.write_at(&[2; 50], 0).unwrap(), 7);
    assert_eq!(file.read_at(&mut [0; 50], 0).unwrap(), 3);

    let disk = SimDisk::builder().seed(3).short_writes_one_in(2).short_reads_one_in(2).build();
    let file = disk.open(path("/log"), OpenMode::Create, FileKind::Log).unwrap();
    for _ in 0..20 {
        write_all_at(&*file, aligned(8 * ALIGNMENT, 5).as_slice(), 0).unwrap();
        let mut buffer = aligned(8 * ALIGNMENT, 0);
        assert_eq!(read_full_at(&*file, buffer.as_mut_slice(), 0).unwrap(), 8 * ALIGNMENT);
        assert!(buffer.as_slice().iter().all(|&byte| byte == 5));
    }
    let writes = disk.trace().ops().len();
    assert!(writes > 25, "{writes} writes: none was short");
}

#[test]
fn damage_is_seen_and_survives() {
    let (disk, file) = disk_with(&[0; 10]);
    let check = |expected: &[u8]| {
        for disk in [&disk, &disk.durable_image(), &disk.crash(1), &disk.image()] {
            assert_eq!(disk.read_back(A), expected);
        }
    };
    disk.flip_bit(A, 9, 7);
    check(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 128]);
    disk.corrupt(A, 1, &[1, 2, 3]);
    check(&[0, 1, 2, 3, 0, 0, 0, 0, 0, 128]);
    disk.truncate_file(A, 3);
    check(&[0, 1, 2]);
    let other = create(&disk, "/b", b"b");
    other.sync().unwrap();
    disk.sync_dir(path("/")).unwrap();
    disk.swap_files(A, "/b");
    check(b"b");
    assert_eq!(file.len_bytes().unwrap(), 1);
    disk.remove_file(A);
    assert_eq!(names(&disk, "/"), ["b"]);
    assert_eq!(names(&disk.durable_image(), "/"), ["b"]);
}

#[test]
fn misdirected_write_lands_elsewhere_and_reports_success() {
    let (disk, file, mut writer) = log_disk(1, 3);
    disk.schedule(Fault::write(1).misdirected_to(8192));
    writer.submit(log_write(&file, 0, 5));
    writer.complete().unwrap();
    let bytes = disk.durable_image().read_back(A);
    assert_eq!((bytes[0], bytes[4096], bytes[8192]), (0, 0, 5));
}

#[test]
fn clocks_move_only_when_moved() {
    let disk = SimDisk::default();
    let (now, boot) = (disk.now(), disk.boot_time());
    let hour = Duration::from_secs(3600);
    disk.advance(hour);
    assert_eq!((disk.now(), disk.boot_time()), (now.saturating_add(hour), boot + hour));
    disk.set_wall_only(now);
    assert_eq!((disk.now(), disk.boot_time()), (now, boot + hour));
    disk.set_now(now.saturating_add(hour));
    assert_eq!(disk.boot_time(), boot + hour * 2);
    let crashed = disk.crash(1);
    assert_eq!((crashed.now(), crashed.boot_time()), (disk.now(), START_SINCE_BOOT));
    assert_eq!(disk.image().boot_time(), disk.boot_time());
}

#[test]
fn lock_is_held_once_and_not_over_a_crash() {
    let disk = SimDisk::default();
    let held = disk.lock(path("/LOCK")).unwrap();
    let again = disk.lock(path("/LOCK")).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::WouldBlock);
    disk.durable_image().lock(path("/LOCK")).unwrap();
    drop(held);
    disk.lock(path("/LOCK")).unwrap();
}

/// A workload that depends on nothing but its seed.
fn workload(disk: &SimDisk, seed: u64) {
    let mut random = Random::new(seed);
    let mut below = |bound| usize::try_from(random.below(bound)).unwrap();
    disk.create_dir(path("/d")).unwrap();
    let mut files = vec![create(disk, "/d/0", b"first")];
    for step in 1..60 {
        let file = &files[below(files.len() as u64)];
        match below(10) {
            0..5 => {
                let bytes = vec![u8::try_from(step).unwrap(); below(3000) + 1];
                write_all_at(&**file, &bytes, below(5000) as u64).unwrap();
            }
            5 | 6 => file.sync().unwrap(),
            7 => files.push(create(disk, &format!("/d/{step}"), b"new")),
            8 => disk.sync_dir(path("/d")).unwrap(),
            _ => {
                let entries = disk.list(path("/d")).unwrap();
                let name = format!("/d/{}", entries[below(entries.len() as u64)].name);
                disk.rename(path(&name), path(&format!("/d/r{step}"))).unwrap();
            }
        }
    }
}

#[test]
fn same_seed_gives_the_same_disk() {
    let run = |seed| {
        let disk = SimDisk::builder().seed(seed).short_writes_one_in(3).build();
        workload(&disk, 5);
        let crashes: Vec<u64> = (0..20).map(|seed| disk.crash(seed).fingerprint()).collect();
        let ops: Vec<String> = disk.trace().ops().iter().map(ToString::to_string).collect();
        (disk.fingerprint(), crashes, ops)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).2, run(2).2, "the seed decides which writes are short");
}

#[test]
fn crashed_disk_works_and_crashes_again() {
    let (disk, file) = disk_with(b"old");
    write_all_at(&*file, b"new", 0).unwrap();
    let second = disk.durable_image();
    assert_eq!(second.op_count(), 0);
    let file = second.open(path(A), OpenMode::ReadWrite, FileKind::Plain).unwrap();
    write_all_at(&*file, b"2nd", 0).unwrap();
    let other = create(&second, "/b", b"b");
    other.sync().unwrap();
    let third = second.durable_image();
    assert_eq!((third.read_back(A), names(&third, "/")), (b"old".to_vec(), vec!["a".to_owned()]));
    assert_eq!(disk.read_back(A), b"new", "the first disk is untouched");
    assert_eq!(second.trace().ops().len(), second.op_count());
}

proptest! {
    /// The contract, byte by byte: after a crash each byte is the durable one or that of a pending
    /// write, and a byte that no pending write touches is the durable one.
    #[test]
    fn crash_keeps_every_durable_byte(
        steps in prop::collection::vec((0_usize..3000, 1_usize..2000, any::<bool>()), 1..12),
        seed in any::<u64>(),
    ) {
        let (disk, file) = disk_with(&[0; 16]);
        let mut possible = vec![BTreeSet::from([0_u8]); 5000];
        for (n, (offset, len, sync)) in steps.into_iter().enumerate() {
            let byte = u8::try_from(n + 1).unwrap();
            write_all_at(&*file, &vec![byte; len], offset as u64).unwrap();
            possible[offset..offset + len].iter_mut().for_each(|it| { it.insert(byte); });
            if sync {
                file.sync().unwrap();
                let visible = disk.read_back(A);
                for (at, byte) in visible.iter().enumerate() {
                    possible[at] = BTreeSet::from([*byte]);
                }
            }
        }
        let durable_len = disk.durable_image().read_back(A).len();
        let crashed = disk.crash(seed).read_back(A);
        prop_assert!(crashed.len() >= durable_len);
        for (at, byte) in crashed.iter().enumerate() {
            prop_assert!(possible[at].contains(byte), "byte {} is {}", at, byte);
        }
    }
}
