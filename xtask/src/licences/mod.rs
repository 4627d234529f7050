//! `cargo xtask licences`: what is linked into Nexus may be linked into Nexus.
//!
//! Offline: everything is read from the lock file and the packages that cargo has fetched. Known
//! vulnerabilities need a database that is not part of the tree, so they are checked only where
//! one is installed, and the command says so where it is not.

mod spdx;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::spdx::Expression;
use crate::Command;
use crate::args::Args;
use crate::metadata::{self, FUZZ_MANIFEST, Package};
use crate::process::{Failure, capture, cargo, run as run_step, succeeds};

pub(crate) const COMMAND: Command = Command {
    name: "licences",
    about: "check licences and sources of every dependency, offline",
    help: HELP,
    run,
};

const HELP: &str = "
Usage: cargo xtask licences

Every package that the lock files of the workspace and of fuzz/ name must state an SPDX expression
that the list of allowed licences in xtask/src/licences/mod.rs meets, and must come from a registry or
this workspace. Packages that are there in several versions are listed. Advisories are checked only
where `cargo deny` and a database of advisories are installed.

Where packages for other platforms were never fetched, only those for this platform are checked,
and the command says so; `cargo fetch --locked` fetches the rest.

Examples:
  cargo xtask licences
  cargo fetch --locked && cargo xtask licences
";

/// Licences that ask for nothing but notices, or nothing at all.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "NCSA",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

fn run(root: &Path, words: &[String]) -> Result<(), Failure> {
    Args::new(words).finish()?;
    let platform = platform(root)?;
    let (mut packages, mut only_platform) = metadata::graph(root, &platform)?;
    if root.join(FUZZ_MANIFEST).is_file() {
        match metadata::graph(&root.join("fuzz"), &platform) {
            Ok((more, only)) => {
                packages.extend(more);
                only_platform |= only;
            }
            Err(_) => println!("warning: what fuzz/ needs is not fetched, so it is not checked"),
        }
    }
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    packages.dedup_by(|a, b| (&a.name, &a.version) == (&b.name, &b.version));
    if only_platform {
        println!("warning: only packages for {platform} are fetched, so only they are checked");
    }
    let refused = refusals(&packages, &root.to_string_lossy());
    for line in &refused {
        println!("{line}");
    }
    for (name, versions) in duplicates(&packages) {
        println!("warning: {name} is there in several versions: {}", versions.join(", "));
    }
    check_advisories(root)?;
    println!("licences: {} packages, {} refused", packages.len(), refused.len());
    if refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("licences: {} packages refused", refused.len())))
    }
}

/// The platform that cargo builds for here.
fn platform(root: &Path) -> Result<String, Failure> {
    let text = capture(cargo().current_dir(root).args(["--version", "--verbose"]))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("cargo does not name its platform"))
}

fn refusals(packages: &[Package], root: &str) -> Vec<String> {
    let line = |package: &Package| {
        let why = refused_licence(package).or_else(|| refused_source(package, root))?;
        Some(format!("{} {}: {why}", package.name, package.version))
    };
    packages.iter().filter_map(line).collect()
}

fn refused_licence(package: &Package) -> Option<String> {
    let Some(text) = &package.license else {
        return Some("states no licence expression".to_owned());
    };
    match Expression::parse(text) {
        Err(error) => Some(format!("licence {text:?} is no SPDX expression: {error}")),
        Ok(expression) if expression.is_met_by(ALLOWED) => None,
        Ok(_) => Some(format!("licence {text:?} is not allowed")),
    }
}

fn refused_source(package: &Package, root: &str) -> Option<String> {
    match &package.source {
        Some(source) if source.starts_with("registry+") || source.starts_with("sparse+") => None,
        Some(source) => Some(format!("comes from {source}, not from a registry")),
        None if Path::new(&package.folder).starts_with(root) => None,
        None => Some("comes from a folder outside the workspace".to_owned()),
    }
}

/// Packages that stand in the graph with several versions.
fn duplicates(packages: &[Package]) -> BTreeMap<&str, Vec<&str>> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, list| list.len() > 1);
    versions
}

fn check_advisories(root: &Path) -> Result<(), Failure> {
    let deny = succeeds(cargo().current_dir(root).args(["deny", "--version"]));
    if !deny || !has_advisory_database() {
        let missing = if deny { "no database of advisories" } else { "`cargo deny` is not" };
        println!("warning: advisories were NOT checked: {missing} installed");
        return Ok(());
    }
    let mut command = cargo();
    command.current_dir(root);
    run_step(command.args(["deny", "--offline", "check", "--disable-fetch", "advisories"]))
}

fn has_advisory_database() -> bool {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let user = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let filled =
        |folder: PathBuf| std::fs::read_dir(folder).is_ok_and(|mut list| list.next().is_some());
    home.or(user)
        .is_some_and(|home| filled(home.join("advisory-dbs")) || filled(home.join("advisory-db")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(licence: Option<&str>, source: Option<&str>) -> Package {
        Package {
            name: "some".to_owned(),
            version: "1.2.3".to_owned(),
            license: licence.map(str::to_owned),
            source: source.map(str::to_owned),
            folder: "/here/some".to_owned(),
            dependencies: Vec::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn a_package_needs_an_allowed_licence_and_a_registry() {
        let check = |licence: Option<&str>, source: Option<&str>, refused: bool| {
            let found = refusals(&[package(licence, source)], "/here");
            assert_eq!(!found.is_empty(), refused, "{licence:?} {source:?} {found:?}");
        };
        check(Some("MIT OR Apache-2.0"), Some("registry+index"), false);
        check(Some("MIT"), Some("sparse+index"), false);
        check(Some("MIT"), None, false);
        check(None, None, true);
        check(Some("GPL-3.0-only"), Some("registry+index"), true);
        check(Some("MIT OR"), Some("registry+index"), true);
        check(Some("MIT"), Some("git+somewhere"), true);
        assert!(!refusals(&[package(Some("MIT"), None)], "/elsewhere").is_empty());
    }

    #[test]
    fn several_versions_of_one_package_are_listed() {
        let mut second = package(Some("MIT"), None);
        second.version = "2.0.0".to_owned();
        let both = [package(Some("MIT"), None), second];
        assert_eq!(duplicates(&both).get("some"), Some(&vec!["1.2.3", "2.0.0"]));
        assert!(duplicates(&both[..1]).is_empty());
    }
}
