//! Directories: made, opened again, found to be something else, and removed.

use std::fs;
use std::path::Path;

use nexus_delivery::projection::{Commit, Kept, Sink, SinkError};
use nexus_protocol::Position;
use nexus_search::KvSink;
use redb::{Database, TableDefinition};

use crate::model::changed;

type Bytes = &'static [u8];
const META: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("meta");

fn refused(dir: &Path) -> SinkError {
    KvSink::open(dir).map(drop).unwrap_err()
}

fn file(dir: &Path) -> std::path::PathBuf {
    dir.join("documents.redb")
}

#[track_caller]
fn check_damaged(dir: &Path, says: &str) {
    match refused(dir) {
        SinkError::Damaged(said) => assert!(said.contains(says), "{said}"),
        other => panic!("{other:?}"),
    }
    // What the caller does about it.
    nexus_search::remove(dir).unwrap();
    assert_eq!(KvSink::open(dir).unwrap().checkpoint().unwrap(), None);
}

#[test]
fn a_directory_is_made_with_all_it_is_in() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("a/b/c");
    drop(KvSink::open(&dir).unwrap());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    nexus_search::remove(&dir).unwrap();
    assert!(!dir.exists());
    nexus_search::remove(&dir).unwrap();
}

#[test]
fn what_was_begun_and_has_no_name_yet_is_begun_anew() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("documents.redb.new"), "half a file").unwrap();
    drop(KvSink::open(place.path()).unwrap());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    KvSink::open(place.path()).unwrap();
}

#[test]
fn a_file_is_open_once() {
    let place = tempfile::tempdir().unwrap();
    let _sink = KvSink::open(place.path()).unwrap();
    let refused = refused(place.path());
    assert!(matches!(refused, SinkError::Unavailable(_)), "{refused:?}");
}

#[test]
fn a_file_in_the_place_of_the_directory_is_no_damage() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("a");
    fs::write(&dir, "").unwrap();
    let refused = refused(&dir);
    assert!(matches!(refused, SinkError::Unavailable(_)), "{refused:?}");
}

#[test]
fn files_of_others_are_damaged() {
    for bytes in
        [&b""[..], b"x", b"not a file of documents, and longer than its name", &[0; 80_000]]
    {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a");
        fs::create_dir(&dir).unwrap();
        fs::write(file(&dir), bytes).unwrap();
        check_damaged(&dir, "documents.redb");
    }
}

#[test]
fn a_file_of_redb_with_nothing_in_it_is_damaged() {
    let place = tempfile::tempdir().unwrap();
    drop(Database::create(file(place.path())).unwrap());
    let refused = refused(place.path());
    assert!(matches!(refused, SinkError::Damaged(_)), "{refused:?}");
}

#[test]
fn another_format_is_damaged() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("a");
    let rewrite = |bytes: &[u8]| {
        drop(KvSink::open(&dir).unwrap());
        let database = Database::create(file(&dir)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(&b"format"[..], bytes).unwrap();
        transaction.commit().unwrap();
    };
    let crc = crc32fast::hash(b"format\x02\0\0\0").to_le_bytes();
    rewrite(&[&crc[..], b"\x02\0\0\0"].concat());
    check_damaged(&dir, "its format is 2, not 1");
    rewrite(b"crc?\x02\0\0\0");
    check_damaged(&dir, "wrong checksum");
}

#[test]
fn files_are_small() {
    let place = tempfile::tempdir().unwrap();
    let bytes = |dir: &Path| fs::metadata(file(dir)).unwrap().len();
    let mut sink = KvSink::open(place.path()).unwrap();
    assert!(bytes(place.path()) <= 80 * 1024, "{}", bytes(place.path()));
    let documents: Vec<_> = (0..10_000)
        .map(|key| {
            let kept = Kept { position: Position::new(key), bytes: vec![7; 200] };
            changed(&format!("order-{key}"), Some(kept))
        })
        .collect();
    let next = Position::new(10_000);
    sink.commit(&Commit { next, checkpoint: b"", changed: &documents, durable: true }).unwrap();
    drop(sink);
    assert!(bytes(place.path()) <= 4 * 1024 * 1024, "{}", bytes(place.path()));
}
