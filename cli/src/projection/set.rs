//! `nexus projection create` and `rebuild`.

use std::path::PathBuf;

use nexus_protocol::projection::ProjectionChange;

use super::wait::{Target, until};
use super::{file, show};
use crate::exit::Failure;
use crate::output::{Output, notice};
use crate::store::Remote;

/// What is made.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// The file with the definition, JSON or TOML; - is standard input, and @events the one over events that comes with Nexus
    file: PathBuf,
    /// Waits until it has folded all events that are there, and shows how far it is
    #[arg(long)]
    wait: bool,
}

/// What is folded again.
#[derive(Debug, clap::Args)]
pub(crate) struct RebuildArgs {
    /// The projection
    projection: String,
    /// Waits until the new documents answer, and shows how far they are
    #[arg(long)]
    wait: bool,
}

/// Makes a projection, or a version of one.
pub(super) fn create(
    args: &CreateArgs,
    remote: &Remote,
    output: &mut Output,
) -> Result<(), Failure> {
    let (definition, json) = file::read_with_json(&args.file)?;
    let (name, version) = (&definition.file().name, definition.file().version);
    let made = remote.wait(remote.client.set_projection(name, &json))?;
    if !made {
        notice(format_args!("version {version} of projection {name} was there"));
    }
    if args.wait {
        until(remote, name, Target::Version(version))?;
    }
    let info = remote.wait(remote.client.projection(name))?;
    if info.version != version {
        notice(format_args!(
            "version {} answers; `nexus projection switch {name} {version}` lets this one answer",
            info.version
        ));
    }
    show::one(&info, output)
}

/// Lets a projection be folded again.
pub(super) fn rebuild(
    args: &RebuildArgs,
    remote: &Remote,
    output: &mut Output,
) -> Result<(), Failure> {
    let name = &args.projection;
    remote.wait(remote.client.change_projection(name, ProjectionChange::Rebuild))?;
    if args.wait {
        let info = remote.wait(remote.client.projection(name))?;
        let of_version = info.builds.iter().filter(|build| build.version == info.version);
        // One that is there already was as fast.
        let newest = of_version.map(|build| build.generation).max().unwrap_or_default();
        until(remote, name, Target::Rebuilt { version: info.version, generation: newest })?;
    }
    show::status(remote, name, output)
}
