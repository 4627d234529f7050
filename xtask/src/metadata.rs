//! What `cargo metadata` says, cut down to what the checks need.

use std::path::Path;

use serde_json::Value;

use crate::process::{Failure, capture, cargo};

/// The manifest of the crate that stands outside of the workspace, and has a lock file of its own.
pub(crate) const FUZZ_MANIFEST: &str = "fuzz/Cargo.toml";

/// One dependency as a manifest states it.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    /// The package's name, whatever it is renamed to.
    pub(crate) name: String,
    /// Whether it is only there for tests.
    pub(crate) dev: bool,
}

/// One package.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Its licence expression, where it states one.
    pub(crate) license: Option<String>,
    /// Where it comes from; nothing for a package of this workspace.
    pub(crate) source: Option<String>,
    /// Its folder.
    pub(crate) folder: String,
    /// What it depends on.
    pub(crate) dependencies: Vec<Dependency>,
    /// Names of its targets, by kind: `lib`, `bin`, `test`, ….
    pub(crate) targets: Vec<(String, String)>,
}

impl Package {
    /// Whether it has something that documentation tests could be in.
    pub(crate) fn has_library(&self) -> bool {
        self.targets.iter().any(|(kind, _)| kind == "lib" || kind == "proc-macro")
    }
}

/// The packages of the workspace at `manifest_folder`, without what they depend on.
pub(crate) fn members(manifest_folder: &Path) -> Result<Vec<Package>, Failure> {
    read(manifest_folder, &["--no-deps"])
}

/// Every package of the resolved graph, and whether the graph was cut down to `platform`.
///
/// Offline: a package for another platform may never have been fetched, and then only the
/// platform's own part of the graph can be read.
pub(crate) fn graph(root: &Path, platform: &str) -> Result<(Vec<Package>, bool), Failure> {
    match read(root, &["--locked"]) {
        Ok(packages) => Ok((packages, false)),
        Err(_) => Ok((read(root, &["--locked", "--filter-platform", platform])?, true)),
    }
}

fn read(folder: &Path, options: &[&str]) -> Result<Vec<Package>, Failure> {
    let mut command = cargo();
    command.current_dir(folder).args(["metadata", "--format-version", "1", "--offline"]);
    let text = capture(command.args(options))?;
    let json: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("cargo metadata is not JSON: {error}")))?;
    let packages = json["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(packages.iter().map(package).collect())
}

fn package(json: &Value) -> Package {
    let text = |key: &str| json[key].as_str().map(str::to_owned);
    let list = |key: &str| json[key].as_array().cloned().unwrap_or_default();
    let manifest = text("manifest_path").unwrap_or_default().replace('\\', "/");
    Package {
        name: text("name").unwrap_or_default(),
        version: text("version").unwrap_or_default(),
        license: text("license"),
        source: text("source"),
        folder: manifest.strip_suffix("/Cargo.toml").unwrap_or(&manifest).to_owned(),
        dependencies: list("dependencies").iter().map(dependency).collect(),
        targets: list("targets").iter().flat_map(target).collect(),
    }
}

fn dependency(json: &Value) -> Dependency {
    Dependency {
        name: json["name"].as_str().unwrap_or_default().to_owned(),
        dev: json["kind"].as_str() == Some("dev"),
    }
}

fn target(json: &Value) -> Vec<(String, String)> {
    let name = json["name"].as_str().unwrap_or_default();
    let kinds = json["kind"].as_array().map(Vec::as_slice).unwrap_or_default();
    kinds.iter().filter_map(|k| Some((k.as_str()?.to_owned(), name.to_owned()))).collect()
}
