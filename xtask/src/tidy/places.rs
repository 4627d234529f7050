//! What may be done only in certain places: unsafe code, files, clocks, and names of machines.
//!
//! The lints of clippy say the same where a call is spelled as a path; this check also sees the
//! forms that they do not, and says which places are meant. Test code may do all but `unsafe`.

use super::{Findings, RustFile};
use crate::source::words;
use crate::tree::TreeFile;

/// Words of code, and the only places where they may stand.
struct Place {
    what: &'static str,
    words: &'static [&'static str],
    /// Beginnings of paths.
    allowed: &'static [&'static str],
    /// Whether test code, wherever it is, may use them.
    in_tests: bool,
}

const PLACES: &[Place] = &[
    Place {
        what: "unsafe code",
        words: &["unsafe"],
        allowed: &["engine/src/io/"],
        in_tests: false,
    },
    Place {
        what: "files",
        words: &["fs::", "std::fs", "rustix::fs", "File::open", "File::create", "OpenOptions"],
        allowed: &[
            "engine/src/io/",
            "engine/src/backup",
            "search/src/",
            "node/src/config",
            "cli/",
            "xtask/",
            "testing/",
            "benches/",
            "examples/",
            "fuzz/",
        ],
        in_tests: true,
    },
    Place {
        what: "clocks",
        words: &["SystemTime::now", "Instant::now"],
        allowed: &[
            "engine/src/io/",
            "node/",
            "client/src/connection",
            "cli/",
            "xtask/",
            "testing/",
            "benches/",
            "examples/",
            "fuzz/",
        ],
        in_tests: true,
    },
];

/// Folders of one machine. Written in two halves, so that this file does not name them.
const MACHINE_FOLDERS: &[(&str, &str)] = &[("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/")];

/// Checks the code of every file of Rust, and the text of every file.
pub(super) fn check(files: &[TreeFile], rust: &[RustFile<'_>], findings: &mut Findings) {
    for file in rust {
        for place in PLACES {
            check_place(place, file, findings);
        }
    }
    for file in files {
        check_machine_folders(file, findings);
    }
}

fn check_place(place: &Place, file: &RustFile<'_>, findings: &mut Findings) {
    let path = file.path();
    if place.allowed.iter().any(|allowed| path.starts_with(allowed)) {
        return;
    }
    if place.in_tests && file.is_test_file() {
        return;
    }
    for word in place.words {
        for offset in words(&file.source.code, word) {
            if place.in_tests && file.source.is_test(offset) {
                continue;
            }
            let message = format!("{}: allowed only in {}", place.what, place.allowed.join(", "));
            findings.error(path, file.source.line_of(offset), message);
        }
    }
}

fn check_machine_folders(file: &TreeFile, findings: &mut Findings) {
    for (line, text) in file.text.lines().enumerate() {
        for (first, second) in MACHINE_FOLDERS {
            let folder = format!("{first}{second}");
            let stands = text.match_indices(&folder).any(|(at, _)| begins_path(text, at));
            if stands {
                findings.error(
                    &file.path,
                    line + 1,
                    format!("names a folder of one machine, {folder}"),
                );
            }
        }
    }
}

/// Whether the `/` at `at` is the first of its path, and not in the middle of a longer one.
fn begins_path(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|head| head.chars().next_back());
    !before.is_some_and(|c| c.is_alphanumeric() || "._-}>)*".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use crate::tidy::{findings_of, made_up};

    fn check_text(path: &str, text: &str) -> usize {
        let file = [made_up(path, text)];
        let rust = [RustFile { source: Source::scan(text), file: &file[0] }];
        findings_of(|findings| check(&file, &rust, findings)).len()
    }

    #[test]
    fn unsafe_code_lives_in_engine_io() {
        let text = "//! A.\nfn f() { unsafe { g() } }\n";
        assert_eq!(check_text("engine/src/io/uring.rs", text), 0);
        assert_eq!(check_text("engine/src/commit.rs", text), 1);
        assert_eq!(check_text("engine/src/commit/tests.rs", text), 1);
        assert_eq!(check_text("engine/src/commit.rs", "#![deny(unsafe_code)] // unsafe\n"), 0);
    }

    #[test]
    fn files_are_opened_in_their_places() {
        let text = "//! A.\nuse std::{fs, io};\nfn f() { fs::read(a); }\n";
        assert_eq!(check_text("engine/src/log.rs", text), 1);
        assert_eq!(check_text("engine/src/io/portable.rs", text), 0);
        assert_eq!(check_text("cli/src/import.rs", text), 0);
        assert_eq!(check_text("engine/tests/it/golden.rs", text), 0);
        let tested = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{text}}}\n");
        assert_eq!(check_text("engine/src/log.rs", &tested), 0);
        assert_eq!(check_text("engine/src/log.rs", "//! A.\n// std::fs::read\n"), 0);
    }

    #[test]
    fn clocks_are_read_in_their_places() {
        let text = "//! A.\nfn f() { std::time::Instant::now(); }\n";
        assert_eq!(check_text("protocol/src/time.rs", text), 1);
        assert_eq!(check_text("engine/src/io/clock.rs", text), 0);
        assert_eq!(check_text("testing/src/lib.rs", text), 0);
    }

    #[test]
    fn folders_of_a_machine_are_found_in_any_file() {
        let folder: String = MACHINE_FOLDERS[0].0.to_owned() + MACHINE_FOLDERS[0].1;
        assert_eq!(check_text("docs/a.md", &format!("see {folder}x")), 1);
        assert_eq!(check_text("docs/a.md", &format!("\"{folder}x\"")), 1);
        assert_eq!(check_text("docs/a.md", &format!("see team{folder}x")), 0);
    }
}
