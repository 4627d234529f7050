//! `nexus doctor`: measures the disk below the data directory, and keeps what is best.

use nexus_engine::io::{Effort, remeasure};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Output, number, text};
use crate::store::Place;

const EXAMPLES: &str = "\
Example:
  nexus --data ./data doctor --output json

Every way to write durably is measured in the directory, and the best is kept in `disk.json` there.";

/// Measures the disk, and keeps how it is written best
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Measured {
    backend: String,
    block_bytes: u64,
    p50_us: f64,
    p99_us: f64,
    writes_per_s: f64,
    chosen: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When nothing can be written there.
pub(crate) fn run(_: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let dir = place.dir()?;
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
    let choice = remeasure(dir, Effort::Long)
        .map_err(|error| Failure::failed(format!("{error}: {}", error.source)))?;
    let columns = [
        text("BACKEND"),
        number("BLOCK BYTES"),
        number("P50 US"),
        number("P99 US"),
        number("WRITES/S"),
        text("CHOSEN"),
    ];
    let mut listing = output.list("measurements", &columns);
    for found in &choice.measurements {
        let json = Measured {
            backend: found.backend.to_string(),
            block_bytes: found.block_bytes as u64,
            p50_us: found.p50_us,
            p99_us: found.p99_us,
            writes_per_s: found.writes_per_s,
            chosen: found.backend == choice.backend,
            error: found.error.clone(),
        };
        listing.push(&json, || {
            vec![
                json.backend.clone(),
                json.block_bytes.to_string(),
                format!("{:.0}", json.p50_us),
                format!("{:.0}", json.p99_us),
                format!("{:.0}", json.writes_per_s),
                json.error
                    .clone()
                    .unwrap_or_else(|| if json.chosen { "yes" } else { "" }.to_owned()),
            ]
        })?;
    }
    listing.end(None::<u64>)?;
    crate::output::notice(format_args!("{}", choice.reason));
    Ok(())
}
