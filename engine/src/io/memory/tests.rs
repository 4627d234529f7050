//! The disk in memory keeps what every disk promises.

use super::*;
use crate::io::{AlignedBuffer, read_exact_at, read_file, replace_file, write_all_at};
use proptest::prelude::*;

fn aligned(len: usize, byte: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(len);
    buffer.as_mut_slice().fill(byte);
    buffer
}

fn kind_of<T: std::fmt::Debug>(result: DiskResult<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn names_behave_as_on_a_real_disk() {
    let disk = MemoryDisk::new();
    let path = Path::new;
    let create = |name: &str| disk.open(path(name), OpenMode::Create, FileKind::Plain);
    assert_eq!(kind_of(create("/data/a")), ErrorKind::NotFound);
    disk.create_dir(path("/data")).unwrap();
    disk.create_dir(path("/data")).unwrap();
    let a = create("/data/a").unwrap();
    write_all_at(&*a, b"alpha", 0).unwrap();
    assert_eq!(kind_of(create("/data/a")), ErrorKind::AlreadyExists);
    assert_eq!(kind_of(disk.create_dir(path("/data/a"))), ErrorKind::AlreadyExists);
    assert_eq!(kind_of(disk.create_dir(path("/no/b"))), ErrorKind::NotFound);
    assert_eq!(kind_of(disk.list(path("/data/a"))), ErrorKind::NotADirectory);
    assert_eq!(kind_of(disk.list(path("/no"))), ErrorKind::NotFound);
    assert_eq!(kind_of(disk.remove(path("/data"))), ErrorKind::IsADirectory);
    assert_eq!(kind_of(disk.sync_dir(path("/no"))), ErrorKind::NotFound);
    let open_dir = disk.open(path("/data"), OpenMode::Read, FileKind::Plain);
    assert_eq!(kind_of(open_dir), ErrorKind::IsADirectory);

    let b = create("/data/b").unwrap();
    write_all_at(&*b, b"beta", 0).unwrap();
    disk.rename(path("/data/a"), path("/data/b")).unwrap();
    assert_eq!(read_file(&disk, path("data/b"), 100).unwrap(), b"alpha");
    let mut held = [0; 4];
    read_exact_at(&*b, &mut held, 0).unwrap();
    assert_eq!(&held, b"beta", "an open file outlives its name");
    let entry = DirEntry { name: "b".into(), is_dir: false, len_bytes: 5 };
    assert_eq!(disk.list(path("/data")).unwrap(), std::slice::from_ref(&entry));
    assert_eq!(disk.metadata(path("/data/b")).unwrap(), Some(entry));
    assert_eq!(disk.metadata(path("/data/a")).unwrap(), None);

    disk.rename(path("/data"), path("/moved")).unwrap();
    replace_file(&disk, path("/moved/b"), b"gamma").unwrap();
    assert_eq!(read_file(&disk, path("/moved/b"), 100).unwrap(), b"gamma");
    assert_eq!(disk.list(path("/moved")).unwrap().len(), 1);
    disk.remove(path("/moved/b")).unwrap();
    assert!(disk.list(path("/moved")).unwrap().is_empty());
    assert_eq!(kind_of(disk.rename(path("/moved"), path("/moved/x"))), ErrorKind::InvalidInput);
}

#[test]
fn second_lock_waits_for_the_first_to_be_dropped() {
    let disk = MemoryDisk::new();
    let path = Path::new("LOCK");
    let held = disk.lock(path).unwrap();
    assert_eq!(kind_of(disk.clone().lock(path)), ErrorKind::WouldBlock);
    drop(held);
    let _again = disk.lock(path).unwrap();
    let content = read_file(&disk, path, 100).unwrap();
    assert_eq!(content, std::process::id().to_string().as_bytes());
}

#[test]
fn log_writes_overwrite_in_place() {
    let disk = MemoryDisk::new();
    let file = disk.open(Path::new("log"), OpenMode::Create, FileKind::Log).unwrap();
    write_all_at(&*file, aligned(3 * ALIGNMENT, 0).as_slice(), 0).unwrap();
    let mut writer = disk.log_writer().unwrap();
    assert_eq!(writer.depth(), 1);
    let bytes = aligned(ALIGNMENT, 9).into_bytes();
    writer.submit(LogWrite { file: Arc::clone(&file), offset_bytes: 4096, bytes });
    writer.complete().unwrap();
    let mut read = aligned(3 * ALIGNMENT, 1);
    read_exact_at(&*file, read.as_mut_slice(), 0).unwrap();
    assert!(read.as_slice()[4096..8192].iter().all(|&b| b == 9));
    assert!(read.as_slice()[8192..].iter().all(|&b| b == 0));
}

#[test]
#[should_panic(expected = "offset 512 of a log file is not aligned")]
fn log_files_refuse_unaligned_offsets() {
    let disk = MemoryDisk::new();
    let file = disk.open(Path::new("log"), OpenMode::Create, FileKind::Log).unwrap();
    let _ = file.write_at(aligned(ALIGNMENT, 1).as_slice(), 512);
}

#[test]
#[should_panic(expected = "a log write ends at 4096, the file at 0")]
fn log_writes_stay_inside_the_file() {
    let disk = MemoryDisk::new();
    let file = disk.open(Path::new("log"), OpenMode::Create, FileKind::Log).unwrap();
    let bytes = aligned(ALIGNMENT, 9).into_bytes();
    disk.log_writer().unwrap().submit(LogWrite { file, offset_bytes: 0, bytes });
}

#[test]
fn clocks_run() {
    let disk = MemoryDisk::new();
    assert!(disk.now() > Timestamp::from_micros(1_700_000_000_000_000));
    let before = disk.boot_time();
    assert!(disk.boot_time() >= before && before > Duration::ZERO);
}

proptest! {
    #[test]
    fn content_reads_as_a_plain_vector(
        writes in prop::collection::vec((0_usize..200_000, 0_usize..90_000, 1_u8..), 1..8),
    ) {
        let (mut content, mut model) = (Content::default(), Vec::<u8>::new());
        for (offset, len, byte) in writes {
            content.write(&vec![byte; len], offset);
            if len > 0 && model.len() < offset + len {
                model.resize(offset + len, 0);
            }
            let end = (offset + len).min(model.len()).max(offset.min(model.len()));
            model[offset.min(end)..end].fill(byte);
            let mut read = vec![0xEE; model.len() + 10];
            prop_assert_eq!(content.read(&mut read, 0), model.len());
            prop_assert_eq!(&read[..model.len()], &model[..]);
            let from = model.len() / 3;
            prop_assert_eq!(content.read(&mut read[..100], from), 100.min(model.len() - from));
        }
    }
}
