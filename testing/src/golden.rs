//! Data directories of released versions, as they are kept beside the tests that open them.
//!
//! A directory is kept as `NAME.zst`: its files one after the other (length of the name, name, length, bytes; lengths as
//! u32 LE), compressed. Beside it `NAME.txt` says what is in it.

use std::path::{Path, PathBuf};

/// Bytes that a kept directory has, at most.
const BYTES_MAX: usize = 200 * 1024;
/// Bytes of its files, at most.
const UNPACKED_MAX: usize = 64 << 20;

/// Keeps a directory, and what is in it.
///
/// # Panics
/// When it is too large, or cannot be read or written.
pub fn keep(folder: &Path, name: &str, dir: &Path, text: &str) {
    let mut packed = Vec::new();
    pack(dir, dir, &mut packed);
    let packed = zstd::bulk::compress(&packed, 19).expect("it was just read");
    assert!(packed.len() <= BYTES_MAX, "{} bytes", packed.len());
    std::fs::create_dir_all(folder).expect("a folder of the tests");
    assert!(
        !folder.join(format!("{name}.zst")).exists(),
        "{name} was released, and stays as it is"
    );
    std::fs::write(folder.join(format!("{name}.zst")), packed).expect("a folder of the tests");
    std::fs::write(folder.join(format!("{name}.txt")), text).expect("a folder of the tests");
}

/// Puts each kept directory of a folder where a test can use it: the test gets its name, where it is, and what is in it.
///
/// # Panics
/// When there is none, or one that was not kept by [`keep`].
pub fn each(folder: &Path, mut test: impl FnMut(&str, &Path, &str)) {
    let entries = std::fs::read_dir(folder).expect("a folder of the tests");
    let mut kept: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    kept.retain(|path| path.extension().is_some_and(|extension| extension == "zst"));
    kept.sort();
    assert!(!kept.is_empty(), "{}: there is no directory of a released version", folder.display());
    for path in &kept {
        let packed = std::fs::read(path).expect("a file of the tests");
        assert!(packed.len() <= BYTES_MAX, "{}: {} bytes", path.display(), packed.len());
        let text = std::fs::read_to_string(path.with_extension("txt")).expect("what is in it");
        let dir = tempfile::tempdir().expect("a folder for a while");
        unpack(&zstd::bulk::decompress(&packed, UNPACKED_MAX).expect("kept"), dir.path());
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name of a version");
        test(name, dir.path(), &text);
    }
    println!("count: golden_directories {}", kept.len());
}

fn pack(dir: &Path, below: &Path, out: &mut Vec<u8>) {
    let entries = std::fs::read_dir(dir).expect("a folder that a test made");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            pack(&path, below, out);
            continue;
        }
        let name = path.strip_prefix(below).ok().and_then(Path::to_str).expect("a name of ours");
        for bytes in [name.as_bytes(), &std::fs::read(&path).expect("a file that a test made")] {
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

fn unpack(mut packed: &[u8], dir: &Path) {
    let mut next = || {
        let (length, rest) = packed.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        packed = rest;
        Some(bytes)
    };
    while let (Some(name), Some(bytes)) = (next(), next()) {
        let path = dir.join(std::str::from_utf8(name).expect("a name of ours"));
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("for a while");
        std::fs::write(path, bytes).expect("for a while");
    }
}
