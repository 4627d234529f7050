//! What must be refused, with an error that says what, where, and what to do; nothing changes.

use std::path::Path;

use crate::run::{fails, json, ok};

fn import(dir: &Path, name: &str, bytes: &[u8], code: i32) -> String {
    let file = dir.join(name);
    std::fs::write(&file, bytes).unwrap();
    let arguments = [
        "import",
        file.to_str().unwrap(),
        "--stream",
        "s-{case}",
        "--type",
        "{kind}",
        "--occurred-at",
        "{time}",
    ];
    fails(&dir.join("data"), &arguments, code)
}

#[test]
fn a_bad_csv_is_named_by_line_and_column_and_what_came_before_stays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let good = "case,kind,time\n1,A,2026-01-01T00:00:00Z\n";
    let error = import(dir, "missing.csv", b"case,time\n1,2026-01-01T00:00:00Z\n", 1);
    assert!(error.contains("kind"), "{error}");
    let error = import(dir, "time.csv", format!("{good}2,B,yesterday\n").as_bytes(), 1);
    assert!(error.contains("line 3") && error.contains("RFC 3339"), "{error}");
    let mut broken = good.as_bytes().to_vec();
    broken.extend_from_slice(b"2,\xff\xfe,2026-01-01T00:00:00Z\n");
    let error = import(dir, "utf8.csv", &broken, 1);
    assert!(error.contains("line 3") && error.contains("UTF-8"), "{error}");
    let huge = format!("{good}2,{},2026-01-01T00:00:00Z\n", "x".repeat(10 * 1024 * 1024));
    let error = import(dir, "huge.csv", huge.as_bytes(), 1);
    assert!(error.contains("line 3"), "{error}");
    assert_eq!(json(&dir.join("data"), &["stats"])["events"], 1);
}

#[test]
fn names_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (name, part) in [("", "empty"), ("-x", "category"), ("a\u{7}b", "control character")] {
        let arguments = ["append", "--type", "T", "--data", "1", "--", name];
        let error = fails(dir.path(), &arguments, 2);
        assert!(error.contains(part), "{error}");
    }
    let long = "x".repeat(513);
    let error = fails(dir.path(), &["append", &long, "--type", "T", "--data", "1"], 2);
    assert!(error.contains("512"), "{error}");
    let error = fails(dir.path(), &["append", "$meta-a", "--type", "T", "--data", "1"], 4);
    assert!(error.contains("reserved"), "{error}");
}

#[test]
fn a_directory_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let error = fails(&file, &["stats"], 2);
    assert!(error.contains("is a file"), "{error}");
    let error = fails(&dir.path().join("nowhere"), &["stats"], 1);
    assert!(error.contains("holds no Nexus data"), "{error}");
    ok(dir.path(), &["append", "a", "--type", "T", "--data", "1"]);
    let error = fails(dir.path(), &["read", "--as-of", "occurred:2026-01-01T00:00:00Z"], 2);
    assert!(error.contains("business time"), "{error}");
}
