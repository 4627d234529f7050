//! `nexus projection list` and `status`.

use nexus_protocol::AppendError;
use nexus_protocol::projection::{BuildInfo, ProjectionInfo};

use crate::exit::Failure;
use crate::output::{Facts, Output, Table, number, text};
use crate::store::Remote;

/// Lists projections.
pub(super) fn list(remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let columns = [
        text("PROJECTION"),
        number("VERSION"),
        text("STATE"),
        number("POSITION"),
        number("LAG"),
        number("DOCUMENTS"),
        number("PARKED"),
    ];
    let names = remote.wait(remote.client.projections())?;
    let mut listing = output.list("projections", &columns);
    for name in names {
        let info = match remote.wait(remote.client.projection(&name)) {
            // It was deleted since.
            Err(AppendError::NotFound { .. }) => continue,
            info => info?,
        };
        listing.push(&info, || {
            vec![
                info.name.clone(),
                info.version.to_string(),
                info.state.as_str().to_owned(),
                info.position.map(|position| position.to_string()).unwrap_or_default(),
                info.lag_events.to_string(),
                info.documents.to_string(),
                info.parked.to_string(),
            ]
        })?;
    }
    listing.end(None::<String>)
}

/// Prints how a projection is.
pub(super) fn status(
    remote: &Remote,
    projection: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let info = remote.wait(remote.client.projection(projection))?;
    one(&info, output)
}

/// Prints it.
pub(super) fn one(info: &ProjectionInfo, output: &mut Output) -> Result<(), Failure> {
    let facts = facts(info);
    match info.builds.len() {
        0 | 1 => output.one(info, &facts),
        _ => output.one(info, &format_args!("{facts}\n{}", table_of(&info.builds))),
    }
}

fn facts(info: &ProjectionInfo) -> Facts {
    Facts::new()
        .with("projection", &info.name)
        .with("version", info.version)
        .with("state", info.state.as_str())
        .with_some("error", info.error.as_ref())
        .with_some("position", info.position)
        .with("lag (events)", info.lag_events)
        .with("documents", info.documents)
        .with("events", info.events)
        .with("events digest", &info.events_digest)
        .with("documents digest", &info.documents_digest)
        .with("parked", info.parked)
}

/// All that is folded.
fn table_of(builds: &[BuildInfo]) -> String {
    let mut table = Table::new(&[
        number("VERSION"),
        number("GENERATION"),
        text("ANSWERS"),
        text("STATE"),
        number("POSITION"),
        number("LAG"),
        number("DOCUMENTS"),
        number("PARKED"),
        text("ERROR"),
    ]);
    for build in builds {
        table.push(vec![
            build.version.to_string(),
            build.generation.to_string(),
            if build.active { "yes" } else { "no" }.to_owned(),
            build.state.as_str().to_owned(),
            build.position.map(|position| position.to_string()).unwrap_or_default(),
            build.lag_events.to_string(),
            build.documents.to_string(),
            build.parked.to_string(),
            build.error.clone().unwrap_or_default(),
        ]);
    }
    table.take()
}
