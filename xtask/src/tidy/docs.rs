//! Docs name what exists, and what must be found in the docs is there.
//!
//! A span of code in a document is read as a path when it looks like one of this tree: it ends with
//! `/`, or it has a `/` and either ends like a source file or begins with a folder of the tree. Paths
//! inside a data directory are therefore written `DIR/…`. Records of decisions and the change log
//! are history: they may name what is gone, and only their links are checked.

mod markdown;

use std::collections::BTreeSet;

use self::markdown::Markdown;
use super::Findings;
use crate::metadata::Package;
use crate::source::{Source, words};
use crate::tree::TreeFile;

/// Names that begin like a crate of this workspace and are something else.
const NOT_CRATES: &[&str] = &["nexus-peer", "nexus-watch"];

/// Endings that make a span with a `/` a path wherever it begins.
const PATH_ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".rego", ".sh"];

const ARCHITECTURE: &str = "docs/architecture.md";
const LIMITS_SOURCE: &str = "protocol/src/limits.rs";
const LIMITS_DOC: &str = "docs/reference/limits.md";
const CODES_SOURCE: &str = "protocol/src/error_code.rs";
const METRICS_SOURCES: &str = "node/src/";
/// Names in code that begin like those of metrics: claims of tokens.
const NOT_METRICS: &[&str] = &["nexus_role"];
const METRICS_DOC: &str = "docs/reference/metrics.md";
const CODES_FOLDER: &str = "docs/errors/";

/// The tree as documents see it.
struct Tree<'a> {
    files: &'a [TreeFile],
    /// Every file, and every folder with its `/`.
    paths: BTreeSet<&'a str>,
}

impl<'a> Tree<'a> {
    fn new(files: &'a [TreeFile]) -> Self {
        let mut paths = BTreeSet::new();
        for file in files {
            paths.insert(file.path.as_str());
            let folders = file.path.match_indices('/').filter_map(|(at, _)| file.path.get(..=at));
            paths.extend(folders);
        }
        Self { files, paths }
    }

    fn has(&self, path: &str) -> bool {
        let path = path.trim_start_matches("./");
        path.is_empty()
            || self.paths.contains(path)
            || self.paths.contains(format!("{path}/").as_str())
    }

    fn file(&self, path: &str) -> Option<&'a TreeFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Checks every document, then the lists that documents must keep complete.
pub(super) fn check(files: &[TreeFile], members: &[Package], findings: &mut Findings) {
    let tree = Tree::new(files);
    let crates: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    let codes = tree.file(CODES_SOURCE).map(|file| error_codes(&file.text));
    for file in files.iter().filter(|file| file.has_extension("md")) {
        let document = Markdown::read(&file.text);
        check_links(file, &document, &tree, findings);
        if is_history(&file.path) {
            continue;
        }
        check_paths(file, &document, &tree, findings);
        check_names(file, &crates, codes.as_ref(), findings);
    }
    check_architecture(&tree, findings);
    check_limits(&tree, findings);
    check_metrics(&tree, findings);
    check_codes(&tree, codes.as_ref(), findings);
}

fn is_history(path: &str) -> bool {
    path == "CHANGELOG.md" || path.starts_with("docs/decisions/")
}

fn check_links(file: &TreeFile, document: &Markdown<'_>, tree: &Tree<'_>, findings: &mut Findings) {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (line, target) in &document.links {
        let path = target.split('#').next().unwrap_or_default();
        if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let resolved = resolve(folder, path);
        if !resolved.is_some_and(|resolved| tree.has(resolved.trim_end_matches('/'))) {
            findings.error(&file.path, *line, format!("links to {target}, which does not exist"));
        }
    }
}

/// The path from the root that `target` means in a document of `folder`; none above the root.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn check_paths(file: &TreeFile, document: &Markdown<'_>, tree: &Tree<'_>, findings: &mut Findings) {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (line, span) in &document.spans {
        let Some(path) = as_path(span, tree) else { continue };
        let beside = resolve(folder, path).is_some_and(|path| tree.has(&path));
        if !tree.has(path) && !tree.has(path.trim_end_matches('/')) && !beside {
            findings.error(&file.path, *line, format!("names `{path}`, which does not exist"));
        }
    }
}

/// The path that a span names, without `:line`; none where it is not a path of this tree.
fn as_path<'a>(span: &'a str, tree: &Tree<'_>) -> Option<&'a str> {
    let path = match span.rsplit_once(':') {
        Some((path, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => path,
        _ => span,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let starts = path.starts_with(|c: char| c.is_ascii_lowercase() || c == '.');
    if !path.contains('/') || !starts || !path.chars().all(plain) || path.contains("//") {
        return None;
    }
    let first = path.split('/').next().unwrap_or_default();
    let of_tree = tree.paths.contains(format!("{first}/").as_str());
    let ends = path.ends_with('/') || PATH_ENDINGS.iter().any(|ending| path.ends_with(ending));
    (of_tree || ends).then_some(path)
}

fn check_names(
    file: &TreeFile,
    crates: &BTreeSet<&str>,
    codes: Option<&BTreeSet<String>>,
    findings: &mut Findings,
) {
    for (index, line) in file.text.lines().enumerate() {
        for name in crate_names(line) {
            if !crates.contains(name) && !NOT_CRATES.contains(&name) {
                findings.error(
                    &file.path,
                    index + 1,
                    format!("names crate {name}, which does not exist"),
                );
            }
        }
        for name in xtask_names(line) {
            if name != "help" && crate::find(name).is_none() {
                let message = format!("names `cargo xtask {name}`, which does not exist");
                findings.error(&file.path, index + 1, message);
            }
        }
        let unknown = |code: &&String| codes.is_some_and(|codes| !codes.contains(*code));
        for code in error_codes(line).iter().filter(unknown) {
            findings.error(
                &file.path,
                index + 1,
                format!("names {code}, which {CODES_SOURCE} lacks"),
            );
        }
    }
}

/// Names of crates in a line; part of an address, a file's name, or a protocol's is none.
fn crate_names(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("nexus-").filter_map(|(at, _)| {
        let rest = line.get(at..)?;
        let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let end = rest.find(|c: char| !part(c)).unwrap_or(rest.len());
        let (name, after) = (rest.get(..end)?, rest.get(end..)?);
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        let mut following = after.chars();
        let is_other = match (following.next(), following.next()) {
            (Some('.'), Some(c)) => c.is_ascii_alphanumeric(),
            (Some(c), _) => c == '/' || c == '_' || c.is_ascii_uppercase(),
            (None, _) => false,
        };
        let inside = before.is_some_and(|c| "/-.$_".contains(c) || c.is_alphanumeric());
        (!inside && !is_other && !name.ends_with('-')).then_some(name)
    })
}

fn xtask_names(line: &str) -> impl Iterator<Item = &str> {
    const CALL: &str = "cargo xtask ";
    line.match_indices(CALL).filter_map(|(at, _)| {
        let rest = line.get(at + CALL.len()..)?;
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
        rest.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
    })
}

fn check_architecture(tree: &Tree<'_>, findings: &mut Findings) {
    let Some(document) = tree.file(ARCHITECTURE) else { return };
    for file in tree.files {
        let Some(folder) = file.path.strip_suffix("Cargo.toml") else { continue };
        if !folder.is_empty() && !document.text.contains(&format!("`{folder}`")) {
            findings.error(ARCHITECTURE, 0, format!("does not name the crate `{folder}`"));
        }
    }
}

fn check_limits(tree: &Tree<'_>, findings: &mut Findings) {
    let (Some(source), Some(document)) = (tree.file(LIMITS_SOURCE), tree.file(LIMITS_DOC)) else {
        return;
    };
    let defined = public_constants(&source.text);
    let markdown = Markdown::read(&document.text);
    let mut named = BTreeSet::new();
    for (line, span) in &markdown.spans {
        if is_constant(span) {
            named.insert(*span);
            if !defined.contains(*span) {
                findings.error(
                    LIMITS_DOC,
                    *line,
                    format!("names `{span}`, which {LIMITS_SOURCE} lacks"),
                );
            }
        }
    }
    for name in defined.iter().filter(|name| !named.contains(name.as_str())) {
        findings.error(LIMITS_DOC, 0, format!("does not name `{name}` of {LIMITS_SOURCE}"));
    }
}

/// Each metric that is recorded is described, and each that is described is recorded.
fn check_metrics(tree: &Tree<'_>, findings: &mut Findings) {
    let is_source = |file: &&TreeFile| {
        let path = &file.path;
        path.starts_with(METRICS_SOURCES) && path.ends_with(".rs") && !path.ends_with("/tests.rs")
    };
    let sources = tree.files.iter().filter(is_source);
    let defined: BTreeSet<&str> = sources.flat_map(|file| metrics(&file.text)).collect();
    if defined.is_empty() {
        return;
    }
    let Some(document) = tree.file(METRICS_DOC) else {
        let message = format!("does not exist, and {METRICS_SOURCES} has metrics");
        return findings.error(METRICS_DOC, 0, message);
    };
    let markdown = Markdown::read(&document.text);
    let mut named = BTreeSet::new();
    for (line, span) in markdown.spans.iter().filter(|(_, span)| is_metric(span)) {
        named.insert(*span);
        if !defined.contains(span) {
            let message = format!("names `{span}`, which {METRICS_SOURCES} lacks");
            findings.error(METRICS_DOC, *line, message);
        }
    }
    for name in defined.difference(&named) {
        findings.error(METRICS_DOC, 0, format!("does not name `{name}` of {METRICS_SOURCES}"));
    }
}

/// Names of metrics that stand as texts in code, but for tests.
fn metrics(text: &str) -> Vec<&str> {
    let source = Source::scan(text);
    let texts = text.match_indices("\"nexus_").filter(|(at, _)| !source.is_test(*at));
    let names = texts.filter_map(|(at, _)| text.get(at + 1..)?.split('"').next());
    names.filter(|name| is_metric(name) && !NOT_METRICS.contains(name)).collect()
}

fn is_metric(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.strip_prefix("nexus_").is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain))
}

fn is_constant(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    span.contains('_')
        && span.starts_with(|c: char| c.is_ascii_uppercase())
        && span.chars().all(plain)
}

fn public_constants(text: &str) -> BTreeSet<String> {
    let source = Source::scan(text);
    let names = words(&source.code, "pub const").filter(|at| !source.is_test(*at)).map(|at| {
        let rest = source.code.get(at + "pub const".len()..).unwrap_or_default().trim_start();
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
    });
    names
        .filter(|name| is_constant(name) || !name.contains(char::is_lowercase))
        .map(str::to_owned)
        .collect()
}

fn check_codes(tree: &Tree<'_>, codes: Option<&BTreeSet<String>>, findings: &mut Findings) {
    let Some(codes) = codes else { return };
    if !tree.paths.contains(CODES_FOLDER) {
        return;
    }
    for code in codes {
        let path = format!("{CODES_FOLDER}{code}.md");
        if !tree.has(&path) {
            findings.error(CODES_SOURCE, 0, format!("{code} has no {path}"));
        }
    }
    for file in tree.files {
        let name = file.path.strip_prefix(CODES_FOLDER).and_then(|name| name.strip_suffix(".md"));
        let is_code = |name: &&str| error_codes(name).contains(*name);
        if let Some(name) = name.filter(is_code).filter(|name| !codes.contains(*name)) {
            findings.error(&file.path, 0, format!("{name} is not in {CODES_SOURCE}"));
        }
    }
}

/// Every `NX` with four digits.
fn error_codes(text: &str) -> BTreeSet<String> {
    let code = |at: usize| {
        let code = text.get(at..at + 6)?;
        let digits = code.bytes().skip(2).all(|byte| byte.is_ascii_digit());
        let longer = text.as_bytes().get(at + 6).is_some_and(u8::is_ascii_digit);
        (digits && !longer).then(|| code.to_owned())
    };
    text.match_indices("NX").filter_map(|(at, _)| code(at)).collect()
}

#[cfg(test)]
mod tests;
