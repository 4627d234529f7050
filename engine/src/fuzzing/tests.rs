//! The checks hold for real encodings, and for these with any one byte changed.

use super::seeds::seeds;
use super::*;

fn check_of(target: &str) -> Option<fn(&[u8])> {
    Some(match target {
        "frame" => frame,
        "manifest" => manifest,
        "node_state" => node_state,
        "segment_header" => segment_header,
        "index_file" => index_file,
        "blocks" => blocks,
        _ => return None,
    })
}

#[test]
fn every_check_holds_for_what_a_log_wrote_and_for_its_mutations() {
    let seeds = seeds();
    for target in ["frame", "manifest", "node_state", "segment_header", "index_file", "blocks"] {
        assert!(seeds.iter().any(|seed| seed.target == target), "{target} has a seed");
    }
    for seed in seeds {
        let Some(check) = check_of(seed.target) else { continue };
        check(&seed.bytes);
        check(&[]);
        let stride = 1 + seed.bytes.len() / 100;
        for at in (0..seed.bytes.len()).step_by(stride) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = seed.bytes.clone();
                bytes[at] = value;
                check(&bytes);
            }
            check(&seed.bytes[..at]);
        }
    }
}

/// Writes what `fuzz/corpus/` holds of it, where `NEXUS_FUZZ_SEEDS` says; see `fuzz/README.md`.
#[test]
#[expect(clippy::disallowed_methods, reason = "seeds go where no log is")]
fn seeds_are_small_and_are_written_where_asked() {
    let seeds = seeds();
    assert!(seeds.iter().map(|seed| seed.bytes.len()).sum::<usize>() < 100_000);
    let Some(folder) = std::env::var_os("NEXUS_FUZZ_SEEDS") else { return };
    for seed in seeds {
        let folder = Path::new(&folder).join(seed.target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(seed.name), seed.bytes).unwrap();
    }
}

/// Opens a log whose last record was changed so, with every checksum mended.
fn reopened(change: fn(&mut [u8])) -> Result<crate::Engine, crate::OpenError> {
    let disk = MemoryDisk::new();
    let open = || {
        let options = crate::Engine::options().disk(Arc::new(disk.clone())).threads(false);
        options.open("/data")
    };
    let engine = open().unwrap();
    for _ in 0..3 {
        let event = nexus_protocol::EventData::new("Tested", "", vec![7; 8].into());
        engine.append(nexus_protocol::Append::to("stream-1").event(event)).wait().unwrap();
    }
    engine.close().unwrap();
    let path = Path::new("/data/namespaces/default/segments/0000000001.seg");
    let bytes = crate::io::read_file(&disk, path, 1 << 30).unwrap();
    let last = seeds::frames(&bytes).pop().unwrap();
    let at = bytes.windows(last.len()).position(|window| window == last).unwrap();
    // The record stands behind the headers of frame and batch, and before the offset table.
    let (mut changed, end) = (last.clone(), last.len() - 4);
    change(&mut changed[104 + 16..end]);
    let file = disk.open(path, OpenMode::ReadWrite, FileKind::Plain).unwrap();
    write_all_at(&*file, &super::frames::mended(&changed), at as u64).unwrap();
    open()
}

#[test]
fn a_log_whose_records_check_and_do_not_join_is_refused() {
    assert!(reopened(|_| ()).is_ok());
    let revision = |record: &mut [u8]| {
        let at = record.len() - 16;
        record[at] = 7;
    };
    let error = reopened(revision).unwrap_err().to_string();
    assert!(error.contains("revision of an event"), "{error}");
    let name = |record: &mut [u8]| {
        let at = record.windows(8).position(|window| window == b"stream-1").unwrap();
        record[at] = b'\n';
    };
    let error = reopened(name).unwrap_err().to_string();
    assert!(error.contains("name of a stream"), "{error}");
}
