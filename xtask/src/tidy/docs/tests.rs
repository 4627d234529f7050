//! Behaviour of the checks of documents, over small trees made up here.

use super::*;
use crate::tidy::{findings_of, made_up};

fn check_tree(tree: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<TreeFile> = tree.iter().map(|(path, text)| made_up(path, text)).collect();
    let member = |name: &str| Package {
        name: name.to_owned(),
        version: String::new(),
        license: None,
        source: None,
        folder: String::new(),
        dependencies: Vec::new(),
        targets: Vec::new(),
    };
    let members = [member("nexus-engine"), member("nexus-protocol")];
    findings_of(|findings| check(&files, &members, findings))
}

/// Findings about one document in a tree that has some files of the engine.
fn check_document(text: &str) -> Vec<String> {
    check_tree(&[
        ("docs/guide.md", text),
        ("docs/other.md", ""),
        ("README.md", ""),
        ("engine/src/io/mod.rs", ""),
        ("engine/src/commit.rs", ""),
    ])
}

#[test]
fn paths_that_docs_name_exist() {
    for fine in [
        "`engine/src/commit.rs` `engine/src/commit.rs:12` `engine/src/io/` `engine/` `other.md`",
        "`./README.md` `engine/src/io`",
        "`application/json` `nexus/1` `DIR/namespaces/default/` `/v1/streams` `a b/c.rs` `x/*.rs`",
        "`events/s` `std::io` `https://example.invalid/a.md`",
        "```\nnode/src/lib.rs `node/`\n```",
    ] {
        assert_eq!(check_document(fine), Vec::<String>::new(), "{fine}");
    }
    for stale in ["`engine/src/gone.rs`", "`node/`", "`engine/gone`", "`node/src/lib.rs`"] {
        let found = check_document(stale);
        assert_eq!(found.len(), 1, "{stale}: {found:?}");
    }
}

#[test]
fn crates_and_commands_that_docs_name_exist() {
    for fine in [
        "nexus-engine, `nexus-protocol`'s, `nexus-peer/1`, Nexus-Position, nexus-<folder>",
        "https://example.invalid/nexus-other, nexus-watch.js, my-nexus-thing",
        "run `cargo xtask tidy`, or cargo xtask NAME",
    ] {
        assert_eq!(check_document(fine), Vec::<String>::new(), "{fine}");
    }
    assert_eq!(
        check_document("nexus-gone\n\n`cargo xtask gone --now`"),
        [
            "docs/guide.md:1: names crate nexus-gone, which does not exist",
            "docs/guide.md:3: names `cargo xtask gone`, which does not exist",
        ]
    );
}

#[test]
fn links_resolve() {
    let fine = "[a](other.md) [b](../README.md#x) [c](#here) [d](https://example.invalid/) [e](./)";
    assert_eq!(check_document(fine), Vec::<String>::new());
    assert_eq!(check_document("[a](gone.md)").len(), 1);
    assert_eq!(check_document("[a](../../README.md)").len(), 1);
}

#[test]
fn history_may_name_what_is_gone() {
    let text = "`engine/src/gone.rs` nexus-gone";
    assert_eq!(
        check_tree(&[("docs/decisions/2025-01-01-a.md", text), ("CHANGELOG.md", text)]),
        Vec::<String>::new()
    );
    assert_eq!(check_tree(&[("CHANGELOG.md", "[a](gone.md)")]).len(), 1);
}

#[test]
fn the_architecture_names_every_crate() {
    let tree = |text| check_tree(&[("docs/architecture.md", text), ("engine/Cargo.toml", "")]);
    assert_eq!(tree("The log is in `engine/`."), Vec::<String>::new());
    assert_eq!(tree("The log is somewhere.").len(), 1);
    assert_eq!(check_tree(&[("engine/Cargo.toml", "")]), Vec::<String>::new());
}

#[test]
fn limits_and_their_page_agree() {
    let source = "/// A.\npub const TAGS_MAX: usize = 32;\nconst PRIVATE_ONE: u8 = 1;\n\
                  pub const fn f() {}\n#[cfg(test)]\nmod tests { pub const OF_TESTS: u8 = 1; }\n";
    let tree = |text| {
        check_tree(&[("docs/reference/limits.md", text), ("protocol/src/limits.rs", source)])
    };
    assert_eq!(tree("| `TAGS_MAX` | 32 | `HTTP` |"), Vec::<String>::new());
    assert_eq!(
        tree("| `TAGS_MIN` |"),
        [
            "docs/reference/limits.md: does not name `TAGS_MAX` of protocol/src/limits.rs",
            "docs/reference/limits.md:1: names `TAGS_MIN`, which protocol/src/limits.rs lacks",
        ]
    );
}

#[test]
fn metrics_and_their_page_agree() {
    let source = "//! `nexus_said_total`\nconst A: &str = \"nexus_made_total\";\n\
                  const B: &str = \"nexus::request\";\n\
                  #[cfg(test)]\nmod tests { const OF_TESTS: &str = \"nexus_tested\"; }\n";
    let tree = |text| {
        check_tree(&[("docs/reference/metrics.md", text), ("node/src/telemetry/a.rs", source)])
    };
    assert_eq!(tree("| `nexus_made_total` | `operation` | nexus_other |"), Vec::<String>::new());
    assert_eq!(
        tree("| `nexus_gone_total` |"),
        [
            "docs/reference/metrics.md: does not name `nexus_made_total` of node/src/",
            "docs/reference/metrics.md:1: names `nexus_gone_total`, which node/src/ lacks",
        ]
    );
    assert_eq!(check_tree(&[("docs/reference/metrics.md", "")]), Vec::<String>::new());
    assert_eq!(
        check_tree(&[("node/src/telemetry/a.rs", source)]),
        ["docs/reference/metrics.md: does not exist, and node/src/ has metrics"]
    );
}

#[test]
fn error_codes_and_their_pages_agree() {
    let source = ("protocol/src/error_code.rs", "/// NX1001 and NX12345.\nNX1002");
    let page = |path| (path, "");
    assert_eq!(
        check_tree(&[source, page("docs/errors/NX1001.md"), page("docs/errors/NX1002.md")]),
        Vec::<String>::new()
    );
    assert_eq!(check_tree(&[source]), Vec::<String>::new());
    assert_eq!(
        check_tree(&[source, page("docs/errors/NX1001.md"), page("docs/errors/NX1003.md")]),
        [
            "docs/errors/NX1003.md: NX1003 is not in protocol/src/error_code.rs",
            "protocol/src/error_code.rs: NX1002 has no docs/errors/NX1002.md",
        ]
    );
    assert_eq!(check_tree(&[source, ("docs/a.md", "see NX1002, NX9999, NXnnnn")]).len(), 1);
}
