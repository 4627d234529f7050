//! `nexus policy activate`, `rollback`, and `show`.

use std::path::PathBuf;

use nexus_protocol::Revision;
use nexus_protocol::policy::{PoliciesInfo, PolicyVersion};
use serde::Serialize;

use super::files;
use crate::exit::Failure;
use crate::output::{Facts, Output};
use crate::store::Remote;

/// Which bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct ActivateArgs {
    /// The directory with its files
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// Only ask it beside the one that decides: what it would decide otherwise comes on record in `$decisions`
    #[arg(long)]
    shadow: bool,
}

/// To which bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The revision that activated it, as `show` lists it; the one before the one that decides unless given, and where
    /// there was none, roles
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Changed {
    revision: u64,
}

fn changed(revision: Revision, what: &str, output: &mut Output) -> Result<(), Failure> {
    let shown = format!("{what} (revision {revision} of `$policies`)\n");
    output.one(&Changed { revision: revision.get() }, &shown)
}

/// Has a bundle decide.
pub(super) fn activate(
    args: &ActivateArgs,
    remote: &Remote,
    output: &mut Output,
) -> Result<(), Failure> {
    let bundle = files::read(&args.bundle)?;
    let client = &remote.client;
    let revision = remote.wait(client.activate_policies(&bundle.into(), args.shadow))?;
    let what = if args.shadow {
        "the bundle is asked from now on"
    } else {
        "the bundle decides from now on"
    };
    changed(revision, what, output)
}

/// Has an earlier bundle decide again.
pub(super) fn rollback(
    args: &RollbackArgs,
    remote: &Remote,
    output: &mut Output,
) -> Result<(), Failure> {
    let to = args.to.map(Revision::new);
    let revision = remote.wait(remote.client.rollback_policies(to))?;
    changed(revision, "an earlier state decides again", output)
}

/// Shows what decides.
pub(super) fn show(remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let info = remote.wait(remote.client.policies())?;
    let shown = in_words(&info);
    output.one(&info, &shown)
}

fn in_words(info: &PoliciesInfo) -> String {
    let of = |version: &Option<PolicyVersion>, none: &str| match version {
        Some(it) => format!("revision {}, {}", it.revision, shortened(&it.fingerprint)),
        None => none.to_owned(),
    };
    let mut facts = Facts::new()
        .with("active", of(&info.active, "none: roles decide"))
        .with("shadow", of(&info.shadow, "none"));
    if let Some(active) = &info.active {
        let files: Vec<_> = active.files.keys().map(String::as_str).collect();
        facts =
            facts.with("decides about", active.actions.join(", ")).with("files", files.join(", "));
    }
    let mut shown = facts.to_string();
    if !info.changes.is_empty() {
        shown.push_str("\nchanges:\n");
    }
    for change in &info.changes {
        let bundle = change.fingerprint.as_deref().map_or("roles", shortened);
        let (revision, at) = (change.revision, change.at());
        shown.push_str(&format!(
            "  {revision}  {at}  {}  {bundle}  by {}\n",
            change.what, change.by
        ));
    }
    shown
}

/// The beginning of a fingerprint.
fn shortened(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}
