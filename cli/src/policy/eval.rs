//! `nexus policy eval`.

use std::io::Read;
use std::path::PathBuf;

use nexus_policies::{AskError, Decision, ask_both};
use serde_json::{Value, json};

use super::files;
use crate::exit::Failure;
use crate::output::Output;

/// Bytes of an input.
const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Which bundle, and what it is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory with its files
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// The file with the input, as JSON; - is standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
}

/// Asks a bundle.
pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let bundle = files::read(&args.bundle)?;
    let input = read(&args.input)?;
    let decision = ask_both(&bundle, &input).map_err(|error| match error {
        AskError::Input(_) => Failure::usage(error.to_string()),
        _ => Failure::failed(error.to_string()),
    })?;
    let shown = json(&decision);
    let text = serde_json::to_string_pretty(&shown).unwrap_or_default();
    output.one(&shown, &format!("{text}\n"))
}

fn read(path: &PathBuf) -> Result<Value, Failure> {
    let failed =
        |error: std::io::Error| Failure::failed(format!("cannot read {}: {error}", path.display()));
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().take(INPUT_BYTES_MAX + 1).read_to_string(&mut text),
        false => {
            let file = std::fs::File::open(path).map_err(failed)?;
            file.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text)
        }
    };
    read.map_err(failed)?;
    if text.len() as u64 > INPUT_BYTES_MAX {
        let why = format!("{}: an input has at most {INPUT_BYTES_MAX} bytes", path.display());
        return Err(Failure::usage(why));
    }
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is no JSON: {error}", path.display())))
}

fn json(decision: &Decision) -> Value {
    let obligations = &decision.obligations;
    json!({
        "allow": decision.allow,
        "reasons": decision.reasons,
        "obligations": {
            "tags_all": obligations.tags_all,
            "types_any": obligations.types_any,
            "mask": obligations.mask,
            "log": obligations.log,
        },
    })
}
