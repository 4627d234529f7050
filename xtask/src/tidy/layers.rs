//! Which crate may import which: the table that the design of the workspace rests on.
//!
//! Only what a crate ships with is judged (normal and build dependencies). Tests may use any crate,
//! above all `testing/`. The table is the whole design, so crates that do not exist yet are in it.

use std::path::Path;

use super::Findings;
use crate::metadata::Package;
use crate::tree::TreeFile;

/// What a crate may import.
enum May {
    /// These folders.
    Import(&'static [&'static str]),
    /// Every library: all of the table but the leaves, `testing/`, and the binaries.
    ImportAnyLibrary,
}

/// One line of the table.
struct Layer {
    folder: &'static str,
    may: May,
    /// Whether it is part of what others may import by [`May::ImportAnyLibrary`].
    is_library: bool,
}

const fn library(folder: &'static str, imports: &'static [&'static str]) -> Layer {
    Layer { folder, may: May::Import(imports), is_library: true }
}

const fn leaf(folder: &'static str) -> Layer {
    Layer { folder, may: May::ImportAnyLibrary, is_library: false }
}

const LAYERS: &[Layer] = &[
    library("protocol", &[]),
    library("engine", &["protocol"]),
    library("schemas", &["protocol"]),
    library("policies", &["protocol"]),
    library("delivery", &["protocol"]),
    library("rows", &["protocol"]),
    library("domain", &["protocol", "delivery"]),
    library("replication", &["protocol", "engine"]),
    library("search", &["protocol", "delivery"]),
    library(
        "node",
        &["protocol", "engine", "schemas", "policies", "delivery", "replication", "search"],
    ),
    library("client", &["protocol", "schemas", "node"]),
    library("server", &["protocol", "node"]),
    Layer {
        folder: "cli",
        may: May::Import(&[
            "protocol",
            "engine",
            "policies",
            "delivery",
            "rows",
            // For its raw loops, which `nexus bench` measures beside; documents are reached through `node`.
            "search",
            "node",
            "client",
            "server",
            "domain",
            "examples/orders",
        ]),
        is_library: false,
    },
    library_of_tests("testing"),
    leaf("benches"),
    // Its report is `nexus bench`'s, which is the command's own.
    Layer {
        folder: "benches/compare",
        may: May::Import(&["protocol", "engine", "client", "cli"]),
        is_library: false,
    },
    Layer {
        folder: "fuzz",
        may: May::Import(&["protocol", "engine", "schemas", "policies", "delivery", "rows"]),
        is_library: false,
    },
    leaf("examples/orders"),
    leaf("xtask"),
];

/// `testing/` sees everything, and the leaves may use it.
const fn library_of_tests(folder: &'static str) -> Layer {
    Layer { folder, may: May::ImportAnyLibrary, is_library: true }
}

/// A library that only these crates may import, so that each heavy dependency has one home.
struct Heavy {
    package: &'static str,
    homes: &'static [&'static str],
}

const HEAVY: &[Heavy] = &[
    Heavy { package: "io-uring", homes: &["engine"] },
    Heavy { package: "tokio-uring", homes: &["engine"] },
    Heavy { package: "memmap2", homes: &["engine"] },
    Heavy { package: "openraft", homes: &["replication"] },
    Heavy { package: "redb", homes: &["search"] },
    Heavy { package: "tantivy", homes: &["search"] },
    Heavy { package: "regorus", homes: &["policies"] },
    Heavy { package: "jsonschema", homes: &["schemas"] },
    Heavy { package: "apache-avro", homes: &["schemas"] },
    Heavy { package: "prost-reflect", homes: &["schemas"] },
    Heavy { package: "protox", homes: &["schemas"] },
    Heavy { package: "redis", homes: &["benches/compare"] },
    Heavy { package: "async-nats", homes: &["benches/compare"] },
    Heavy { package: "tokio-postgres", homes: &["benches/compare"] },
    Heavy { package: "quinn", homes: &["server", "client", "replication"] },
];

/// Checks every member against the table, and that no crate hides outside the workspace.
pub(super) fn check(root: &Path, files: &[TreeFile], members: &[Package], findings: &mut Findings) {
    let root = root.to_string_lossy().replace('\\', "/");
    let mut crates: Vec<(String, &Package)> = Vec::new();
    for package in members {
        let folder = package.folder.strip_prefix(&root).unwrap_or(&package.folder);
        crates.push((folder.trim_start_matches('/').to_owned(), package));
    }
    for (folder, package) in &crates {
        check_crate(folder, package, &crates, findings);
    }
    for file in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let folder = file.path.trim_end_matches("/Cargo.toml");
        if layer(folder).is_none() {
            findings.error(&file.path, 0, unknown(folder));
        }
    }
}

fn check_crate(
    folder: &str,
    package: &Package,
    crates: &[(String, &Package)],
    findings: &mut Findings,
) {
    let manifest = format!("{folder}/Cargo.toml");
    let Some(layer) = layer(folder) else {
        findings.error(&manifest, 0, unknown(folder));
        return;
    };
    let last = folder.rsplit('/').next().unwrap_or(folder);
    let names = [format!("nexus-{}", folder.replace('/', "-")), format!("nexus-{last}")];
    if !names.contains(&package.name) {
        let message =
            format!("the crate of {folder}/ is called {}, not {}", names[0], package.name);
        findings.error(&manifest, 0, message);
    }
    for dependency in package.dependencies.iter().filter(|dependency| !dependency.dev) {
        let name = dependency.name.as_str();
        if let Some((to, _)) = crates.iter().find(|(_, other)| other.name == name)
            && !may_import(layer, to)
        {
            let message = format!("{folder}/ may not import {to}/ (table of layers)");
            findings.error(&manifest, 0, message);
        }
        if let Some(heavy) = HEAVY.iter().find(|heavy| heavy.package == name)
            && !heavy.homes.contains(&folder)
        {
            let homes = heavy.homes.join(", ");
            findings.error(&manifest, 0, format!("{name} may only be used in {homes}"));
        }
    }
}

fn unknown(folder: &str) -> String {
    format!("{folder}/ is in no line of the table of layers (xtask/src/tidy/layers.rs)")
}

fn layer(folder: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.folder == folder)
}

fn may_import(from: &Layer, to: &str) -> bool {
    match from.may {
        May::Import(folders) => folders.contains(&to),
        May::ImportAnyLibrary => layer(to).is_some_and(|layer| layer.is_library),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;
    use crate::tidy::{findings_of, made_up};

    fn package(folder: &str, name: &str, imports: &[&str]) -> Package {
        let dependency = |name: &&str| Dependency {
            name: name.trim_start_matches("dev:").to_owned(),
            dev: name.starts_with("dev:"),
        };
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            license: None,
            source: None,
            folder: format!("/root-of-it/{folder}"),
            dependencies: imports.iter().map(dependency).collect(),
            targets: Vec::new(),
        }
    }

    fn check_members(members: &[Package]) -> Vec<String> {
        findings_of(|findings| check(Path::new("/root-of-it"), &[], members, findings))
    }

    #[test]
    fn arrows_point_up_the_table_only() {
        let members = [
            package("protocol", "nexus-protocol", &["nexus-engine", "bytes"]),
            package("engine", "nexus-engine", &["nexus-protocol", "dev:nexus-testing"]),
            package("testing", "nexus-testing", &["nexus-protocol", "nexus-engine"]),
            package("cli", "nexus-cli", &["nexus-engine", "nexus-testing"]),
        ];
        assert_eq!(
            check_members(&members),
            [
                "cli/Cargo.toml: cli/ may not import testing/ (table of layers)",
                "protocol/Cargo.toml: protocol/ may not import engine/ (table of layers)",
            ]
        );
    }

    #[test]
    fn a_folder_outside_the_table_is_refused() {
        let found = check_members(&[package("utils", "nexus-utils", &[])]);
        assert!(found[0].contains("utils/ is in no line"), "{found:?}");
        let hidden = [made_up("helpers/Cargo.toml", "[package]")];
        let found = findings_of(|findings| check(Path::new("/x"), &hidden, &[], findings));
        assert!(found[0].contains("helpers/ is in no line"), "{found:?}");
    }

    #[test]
    fn crates_are_named_after_their_folder() {
        let found = check_members(&[package("engine", "nexus-log", &[])]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(check_members(&[package("benches/compare", "nexus-compare", &[])]).is_empty());
    }

    #[test]
    fn heavy_libraries_have_one_home() {
        let found = check_members(&[package("cli", "nexus-cli", &["io-uring"])]);
        assert_eq!(found, ["cli/Cargo.toml: io-uring may only be used in engine"]);
        assert!(check_members(&[package("engine", "nexus-engine", &["io-uring"])]).is_empty());
    }

    #[test]
    fn the_table_names_only_itself() {
        for line in LAYERS {
            if let May::Import(folders) = line.may {
                assert!(folders.iter().all(|folder| layer(folder).is_some()), "{}", line.folder);
            }
        }
    }
}
