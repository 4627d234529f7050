//! Every host disk keeps the contract of the `Disk` trait, on a real file system.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::io::{
    AlignedBuffer, PortableDisk, UringDisk, read_exact_at, read_full_at, replace_file, write_all_at,
};

const BLOCK: usize = ALIGNMENT;

fn folder() -> TempDir {
    TempDir::with_prefix("nexus-disk-").unwrap()
}

/// Runs `test` on every disk that this file system and kernel support.
fn on_every_disk(test: impl Fn(&dyn Disk, &Path)) {
    let disks: [Box<dyn Disk>; 6] = [
        Box::new(PortableDisk::buffered()),
        Box::new(PortableDisk::direct()),
        Box::new(UringDisk::linked()),
        Box::new(UringDisk::direct(1)),
        Box::new(UringDisk::direct(4)),
        Box::new(UringDisk::direct(8)),
    ];
    for disk in disks {
        let dir = folder();
        let opened = disk.open(&dir.path().join("probe"), OpenMode::Create, FileKind::Log);
        if let Err(error) = opened.map(drop).and_then(|()| disk.log_writer().map(drop)) {
            println!("skipped {}: {error}: {}", disk.name(), error.source);
            continue;
        }
        test(&*disk, dir.path());
    }
}

fn block(fill: u8, blocks: usize) -> Bytes {
    let mut buffer = AlignedBuffer::zeroed(blocks * BLOCK);
    buffer.as_mut_slice().fill(fill);
    buffer.into_bytes()
}

/// A log file of `blocks` zero blocks.
fn log_file(disk: &dyn Disk, path: &Path, blocks: usize) -> Arc<dyn DiskFile> {
    let file = disk.open(path, OpenMode::Create, FileKind::Log).unwrap();
    write_all_at(&*file, &block(0, blocks), 0).unwrap();
    file.sync().unwrap();
    file
}

fn write(file: &Arc<dyn DiskFile>, at_block: usize, bytes: Bytes) -> LogWrite {
    LogWrite { file: Arc::clone(file), offset_bytes: (at_block * BLOCK) as u64, bytes }
}

/// The first byte of every block.
fn fills(file: &dyn DiskFile) -> Vec<u8> {
    let mut buffer = AlignedBuffer::zeroed(usize::try_from(file.len_bytes().unwrap()).unwrap());
    read_exact_at(file, buffer.as_mut_slice(), 0).unwrap();
    buffer.as_slice().iter().step_by(BLOCK).copied().collect()
}

#[test]
fn log_writes_are_read_back_on_every_disk() {
    on_every_disk(|disk, dir| {
        let file = log_file(disk, &dir.join("log"), 8);
        let mut writer = disk.log_writer().unwrap();
        for at in 0..3 {
            writer.submit(write(&file, 2 * at, block(7 + u8::try_from(at).unwrap(), 2)));
            writer.complete().unwrap();
        }
        assert_eq!(fills(&*file), [7, 7, 8, 8, 9, 9, 0, 0], "{}", disk.name());
        let again = disk.open(&dir.join("log"), OpenMode::Read, FileKind::Plain).unwrap();
        let mut odd = [0; 5000];
        read_exact_at(&*again, &mut odd, 2 * BLOCK as u64 - 100).unwrap();
        assert_eq!((odd[0], odd[99], odd[100]), (7, 7, 8));
    });
}

#[test]
fn writes_in_flight_are_answered_in_order_of_submission() {
    on_every_disk(|disk, dir| {
        let file = log_file(disk, &dir.join("log"), 64);
        // The third file cannot be written: its write fails, and only its.
        let closed = disk.open(&dir.join("log"), OpenMode::Read, FileKind::Log).unwrap();
        let mut writer = disk.log_writer().unwrap();
        let depth = writer.depth();
        let (mut submitted, mut completed) = (0, 0);
        while completed < 32 {
            while submitted < 32 && submitted - completed < depth {
                let target = if submitted % 8 == 2 { &closed } else { &file };
                // Large first, so that later ones may overtake.
                let blocks = if submitted % 2 == 0 { 2 } else { 1 };
                writer.submit(write(target, 2 * submitted, block(1, blocks)));
                submitted += 1;
            }
            let outcome = writer.complete();
            assert_eq!(outcome.is_err(), completed % 8 == 2, "{} {completed}", disk.name());
            if let Err(error) = outcome {
                assert_eq!(error.operation, DiskOperation::Write);
                assert_eq!(error.path, dir.join("log"));
            }
            completed += 1;
        }
        let fills = fills(&*file);
        for (at, pair) in fills.chunks(2).enumerate() {
            let expected = match (at % 8, at % 2) {
                (2, _) => [0, 0],
                (_, 0) => [1, 1],
                _ => [1, 0],
            };
            assert_eq!(pair, expected, "{} {at}", disk.name());
        }
    });
}

#[test]
fn dropping_a_writer_waits_for_what_is_in_flight() {
    on_every_disk(|disk, dir| {
        for round in 1..20 {
            let path = dir.join(format!("log-{round}"));
            let file = log_file(disk, &path, 8);
            let mut writer = disk.log_writer().unwrap();
            let depth = writer.depth();
            for at in 0..depth {
                writer.submit(write(&file, at, block(round, 1)));
            }
            assert!(Arc::strong_count(&file) <= 1 + depth);
            drop(writer);
            assert_eq!(Arc::strong_count(&file), 1, "nothing keeps the file");
            assert_eq!(fills(&*file)[..depth], vec![round; depth], "{}", disk.name());
        }
    });
}

#[test]
fn writes_survive_the_thread_that_submitted_them() {
    on_every_disk(|disk, dir| {
        let file = log_file(disk, &dir.join("log"), 64);
        for round in 1..40 {
            let mut writer = disk.log_writer().unwrap();
            let depth = writer.depth();
            let (send, receive) = mpsc::channel();
            let target = Arc::clone(&file);
            std::thread::spawn(move || {
                for at in 0..depth {
                    writer.submit(write(&target, at * 8, block(round, 8)));
                }
                send.send(writer).unwrap();
            });
            let mut writer = receive.recv().unwrap();
            for _ in 0..depth {
                writer.complete().unwrap();
            }
            assert_eq!(fills(&*file)[..depth * 8], vec![round; depth * 8], "{}", disk.name());
        }
    });
}

#[test]
fn misuse_of_a_log_file_panics_on_every_disk() {
    on_every_disk(|disk, dir| {
        let file = log_file(disk, &dir.join("log"), 4);
        let plain = disk.open(&dir.join("log"), OpenMode::ReadWrite, FileKind::Plain).unwrap();
        let refused = |name: &str, act: &dyn Fn()| {
            assert!(catch_unwind(AssertUnwindSafe(act)).is_err(), "{}: {name}", disk.name());
        };
        let submit = |write: LogWrite| disk.log_writer().unwrap().submit(write);
        refused("offset", &|| {
            submit(LogWrite { file: Arc::clone(&file), offset_bytes: 512, bytes: block(1, 1) });
        });
        refused("length", &|| submit(write(&file, 0, block(1, 1).slice(..100))));
        refused("address", &|| submit(write(&file, 0, block(1, 2).slice(512..512 + BLOCK))));
        refused("empty", &|| submit(write(&file, 0, Bytes::new())));
        refused("plain file", &|| submit(write(&plain, 0, block(1, 1))));
        refused("nothing in flight", &|| {
            let _ = disk.log_writer().unwrap().complete();
        });
        refused("too many", &|| {
            let mut writer = disk.log_writer().unwrap();
            for _ in 0..=writer.depth() {
                writer.submit(write(&file, 0, block(1, 1)));
            }
        });
        refused("read", &|| {
            let _ = file.read_at(AlignedBuffer::zeroed(BLOCK).as_mut_slice(), 100);
        });
    });
}

#[test]
fn reads_end_where_a_log_file_ends() {
    on_every_disk(|disk, dir| {
        let path = dir.join("log");
        drop(log_file(disk, &path, 3));
        let cut = OpenOptions::new().write(true).open(&path).unwrap();
        cut.set_len(2 * BLOCK as u64 + 100).unwrap();
        cut.sync_all().unwrap();
        let file = disk.open(&path, OpenMode::ReadWrite, FileKind::Log).unwrap();
        assert_eq!(file.len_bytes().unwrap(), 2 * BLOCK as u64 + 100);
        let mut buffer = AlignedBuffer::zeroed(4 * BLOCK);
        let got = read_full_at(&*file, buffer.as_mut_slice(), 0).unwrap();
        assert_eq!(got, 2 * BLOCK + 100, "{}", disk.name());
        let error = read_exact_at(&*file, buffer.as_mut_slice(), 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(file.read_at(buffer.as_mut_slice(), 4 * BLOCK as u64).unwrap(), 0);
        assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    });
}

#[test]
fn names_come_and_go() {
    on_every_disk(|disk, dir| {
        let (sub, file) = (dir.join("sub"), dir.join("sub/a"));
        disk.create_dir(&sub).unwrap();
        disk.create_dir(&sub).unwrap();
        assert_eq!(disk.metadata(&file).unwrap(), None);
        drop(disk.open(&file, OpenMode::Create, FileKind::Plain).unwrap());
        replace_file(disk, &file, b"one").unwrap();
        replace_file(disk, &file, b"other").unwrap();
        let entry = DirEntry { name: "a".to_owned(), is_dir: false, len_bytes: 5 };
        assert_eq!(disk.list(&sub).unwrap(), std::slice::from_ref(&entry));
        assert_eq!(disk.metadata(&file).unwrap(), Some(entry));
        let folder = DirEntry { name: "sub".to_owned(), is_dir: true, len_bytes: 0 };
        assert_eq!(disk.metadata(&sub).unwrap(), Some(folder));
        disk.rename(&file, &dir.join("b")).unwrap();
        disk.remove(&dir.join("b")).unwrap();
        disk.sync_dir(dir).unwrap();
        assert!(disk.list(&sub).unwrap().is_empty());
        assert!(disk.free_bytes(dir).unwrap() > 0);
    });
}

#[test]
fn errors_name_the_operation_the_path_and_the_kind() {
    use io::ErrorKind as Kind;
    on_every_disk(|disk, dir| {
        let (missing, file) = (dir.join("missing"), dir.join("file"));
        drop(log_file(disk, &file, 1));
        let check = |result: DiskResult<()>, operation, path: &Path, kind| {
            let error = result.unwrap_err();
            assert_eq!((error.operation, error.kind()), (operation, kind), "{}", disk.name());
            assert_eq!(error.path, path);
        };
        let open = |path: &Path, mode, kind| disk.open(path, mode, kind).map(drop);
        for kind in [FileKind::Plain, FileKind::Log] {
            let opened = open(&missing, OpenMode::ReadWrite, kind);
            check(opened, DiskOperation::Open, &missing, Kind::NotFound);
            let opened = open(&file, OpenMode::Create, kind);
            check(opened, DiskOperation::Open, &file, Kind::AlreadyExists);
        }
        let opened = open(dir, OpenMode::Read, FileKind::Plain);
        check(opened, DiskOperation::Open, dir, Kind::IsADirectory);
        check(disk.remove(&missing), DiskOperation::Remove, &missing, Kind::NotFound);
        check(disk.rename(&missing, &file), DiskOperation::Rename, &missing, Kind::NotFound);
        check(disk.list(&missing).map(drop), DiskOperation::Inspect, &missing, Kind::NotFound);
        check(disk.list(&file).map(drop), DiskOperation::Inspect, &file, Kind::NotADirectory);
        check(disk.create_dir(&file), DiskOperation::CreateDir, &file, Kind::AlreadyExists);
        let deep = missing.join("deep");
        check(disk.create_dir(&deep), DiskOperation::CreateDir, &deep, Kind::NotFound);
        let read_only = disk.open(&file, OpenMode::Read, FileKind::Log).unwrap();
        assert!(read_only.write_at(&block(1, 1), 0).is_err());
    });
}

#[test]
fn lock_refuses_a_second_holder_until_it_is_given_back() {
    on_every_disk(|disk, dir| {
        let path = dir.join("lock");
        fs::write(&path, "4294967290 of a process long gone").unwrap();
        let held = disk.lock(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
        let error = disk.lock(&path).unwrap_err();
        assert_eq!(
            (error.operation, error.kind()),
            (DiskOperation::Lock, io::ErrorKind::WouldBlock)
        );
        assert!(error.source.to_string().contains("already open in this process"), "{error:?}");
        // One backend refuses another: the lock is of the folder, not of the disk.
        assert!(PortableDisk::buffered().lock(&path).is_err());
        drop(held);
        drop(disk.lock(&path).unwrap());
    });
}

#[test]
fn readers_share_the_lock_keep_owners_out_and_write_nothing() {
    on_every_disk(|disk, dir| {
        let path = dir.join("lock");
        assert!(disk.lock_to_read(&path).unwrap().is_none(), "there is no lock to take");
        assert!(!path.exists());
        fs::write(&path, "7").unwrap();
        let readers = [disk.lock_to_read(&path).unwrap(), disk.lock_to_read(&path).unwrap()];
        assert_eq!(fs::read(&path).unwrap(), b"7");
        let error = disk.lock(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // The file names a process long gone; the kernel knows better.
        assert!(error.source.to_string().contains("already open in this process"), "{error:?}");
        drop(readers);
        let owner = disk.lock(&path).unwrap();
        let error = disk.lock_to_read(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(owner);
    });
}

#[test]
fn clocks_run() {
    let disk = PortableDisk::buffered();
    let (wall, boot) = (disk.now(), disk.boot_time());
    assert!(wall.as_micros() > 1_600_000_000_000_000);
    assert!(boot > Duration::ZERO && disk.boot_time() >= boot);
}
