//! The shape of a file: its opening, its length, its functions, its assertions.
//!
//! Limits are for what is read, so tests do not count: a long list of cases is not hard to read.

use super::{Findings, RustFile};
use crate::source::words;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Crates that are asserted densely, and how densely.
const ASSERTED: &[&str] = &["engine/src/", "replication/src/"];
const ASSERTIONS_PER_1000_LINES_RATCHET: usize = 13;
/// What is wanted.
const ASSERTIONS_PER_1000_LINES_MIN: usize = 15;
/// Below this many lines the density says nothing yet, and is only a warning.
const ASSERTED_LINES_MIN: usize = 500;

const ASSERTIONS: &[&str] = &[
    "assert!",
    "assert_eq!",
    "assert_ne!",
    "debug_assert!",
    "debug_assert_eq!",
    "debug_assert_ne!",
];

/// Macros that stand for work not done.
const UNFINISHED_MACROS: &[&str] = &["todo!", "unimplemented!"];
/// Comments that do; what is unfinished is an issue, where others can find it.
const UNFINISHED_WORDS: &[&str] = &["FIXME", "TODO", "XXX"];

/// Checks every file of Rust, then the density of assertions.
pub(super) fn check(files: &[RustFile<'_>], findings: &mut Findings) {
    for file in files {
        check_opening(file, findings);
        check_unfinished(file, findings);
        if !file.is_test_file() {
            check_lengths(file, findings);
        }
    }
    for folder in ASSERTED {
        check_density(folder, files, findings);
    }
}

fn check_opening(file: &RustFile<'_>, findings: &mut Findings) {
    if !file.file.text.starts_with("//!") {
        findings.error(file.path(), 1, "begins without `//!`: say what the file is, and is not");
    }
}

fn check_unfinished(file: &RustFile<'_>, findings: &mut Findings) {
    let source = &file.source;
    for (text, list) in [(&source.code, UNFINISHED_MACROS), (&source.comments, UNFINISHED_WORDS)] {
        for word in list {
            for offset in words(text, word) {
                let message = format!("`{word}`: what is unfinished is an issue, not a mark");
                findings.error(file.path(), source.line_of(offset), message);
            }
        }
    }
}

fn check_lengths(file: &RustFile<'_>, findings: &mut Findings) {
    let lines = file.source.lines_without_tests();
    if lines > FILE_LINES_MAX {
        let message =
            format!("{lines} lines without tests, {FILE_LINES_MAX} allowed: split by idea");
        findings.error(file.path(), 0, message);
    }
    for function in file.source.functions() {
        if function.lines > FUNCTION_LINES_MAX && !file.source.is_test(function.offset) {
            let message = format!(
                "fn {} has {} lines, {FUNCTION_LINES_MAX} allowed",
                function.name, function.lines
            );
            findings.error(file.path(), file.source.line_of(function.offset), message);
        }
    }
}

fn check_density(folder: &str, files: &[RustFile<'_>], findings: &mut Findings) {
    // The simulated disk is a fake for tests, and models for loom are tests: neither is the engine's.
    let judged = |file: &&RustFile<'_>| {
        let path = file.path();
        let fake = path.contains("/io/sim") || path.ends_with("/loom_models.rs");
        path.starts_with(folder) && !fake && !file.is_test_file()
    };
    let (mut lines, mut assertions) = (0, 0);
    for file in files.iter().filter(judged) {
        lines += file.source.lines_without_tests();
        assertions += count_assertions(file);
    }
    if assertions * 1000 >= lines * ASSERTIONS_PER_1000_LINES_MIN {
        return;
    }
    let wanted = (lines * ASSERTIONS_PER_1000_LINES_MIN).div_ceil(1000);
    let message = format!(
        "{assertions} assertions in {lines} lines without tests, {wanted} wanted \
         ({ASSERTIONS_PER_1000_LINES_MIN} per 1,000)"
    );
    let above_ratchet = assertions * 1000 >= lines * ASSERTIONS_PER_1000_LINES_RATCHET;
    if lines < ASSERTED_LINES_MIN || above_ratchet {
        findings.warn(folder, message);
    } else {
        findings.error(folder, 0, message);
    }
}

fn count_assertions(file: &RustFile<'_>) -> usize {
    let found = |name: &&str| {
        words(&file.source.code, name).filter(|offset| !file.source.is_test(*offset)).count()
    };
    ASSERTIONS.iter().map(found).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use crate::tidy::{findings_of, made_up};

    fn check_text(path: &str, text: &str) -> Vec<String> {
        let file = made_up(path, text);
        let rust = [RustFile { source: Source::scan(text), file: &file }];
        findings_of(|findings| check(&rust, findings))
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert!(check_text("cli/src/a.rs", "//! A.\n").is_empty());
        assert_eq!(check_text("cli/src/a.rs", "use b;\n").len(), 1);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_comments_only() {
        let text = "//! A.\n// FIX\u{4d}E later\nfn f() { to\u{64}o!() }\n";
        let found = check_text("cli/src/a.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(check_text("cli/src/a.rs", "//! A.\nconst A: &str = \"todo!\";\n").is_empty());
    }

    #[test]
    fn lengths_count_without_tests() {
        let long_file = |n: usize| format!("//! A.\n{}", "use a;\n".repeat(n));
        assert!(check_text("cli/src/a.rs", &long_file(499)).is_empty());
        assert_eq!(check_text("cli/src/a.rs", &long_file(500)).len(), 1);
        assert!(check_text("cli/src/a/tests.rs", &long_file(900)).is_empty());
        assert!(check_text("cli/tests/it/main.rs", &long_file(900)).is_empty());

        let function = |n: usize| format!("fn f() {{\n{}}}\n", "a();\n".repeat(n));
        assert!(check_text("cli/src/a.rs", &format!("//! A.\n{}", function(68))).is_empty());
        assert_eq!(check_text("cli/src/a.rs", &format!("//! A.\n{}", function(69))).len(), 1);
        let tested = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n", function(600));
        assert!(check_text("cli/src/a.rs", &tested).is_empty());
    }

    #[test]
    fn the_engine_is_asserted_densely() {
        let engine = |lines: usize, asserted: usize| {
            let body = "assert!(a);\n".repeat(asserted) + &"a();\n".repeat(lines - asserted);
            format!("//! A.\n{body}")
        };
        let found = |lines, asserted| check_text("engine/src/a.rs", &engine(lines, asserted));
        assert!(found(399, 6).is_empty());
        assert!(found(400, 6).iter().any(|line| line.contains("warning")));
        // From the smallest size on it is an error.
        let big = format!("//! A.\n{}", "a();\n".repeat(499));
        assert!(check_text("engine/src/a.rs", &big).iter().all(|line| !line.contains("warning")));
        let tested = "//! A.\na();\n#[cfg(test)]\nmod tests { fn f() { assert!(a); } }\n";
        assert_eq!(check_text("engine/src/a.rs", tested).len(), 1);
        // Models for loom are tests, and are asserted for themselves.
        assert!(check_text("engine/src/a/loom_models.rs", &engine(400, 0)).is_empty());
    }
}
