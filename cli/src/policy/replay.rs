//! `nexus policy replay`: what another bundle would have decided.

use std::path::PathBuf;

use nexus_policies::{Decision, Policies};
use nexus_protocol::policy::{DECISION_MADE, DECISIONS_STREAM, Reason};
use nexus_protocol::{Filter, FilterItem, Position, Read, RecordedEvent};
use serde::{Deserialize, Serialize};

use super::files;
use crate::exit::Failure;
use crate::output::{Format, Output};
use crate::store::Remote;

/// From where, and by which bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The position in the log from which on decisions are looked at
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    from: u64,
    /// The directory of the bundle
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
}

/// What stands on record of a decision, as far as it is looked at here.
#[derive(Debug, Deserialize)]
struct OnRecord {
    action: String,
    allow: bool,
    #[serde(default)]
    reasons: Vec<Reason>,
    input: serde_json::Value,
}

/// The code of a denial that no bundle said: what it demanded could not be kept.
const NOT_KEPT: &str = "obligation_not_kept";

/// A decision that would not be the same.
#[derive(Debug, Serialize)]
struct Flip {
    position: u64,
    action: String,
    before: &'static str,
    after: &'static str,
    reasons: Vec<Reason>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Summary {
    checked: u64,
    flipped: u64,
    /// Those that a bundle cannot be asked about again, since not all of their input is on record, or no rule denied them.
    skipped: u64,
}

fn word(allow: bool) -> &'static str {
    if allow { "allow" } else { "deny" }
}

/// Looks at the decisions on record.
pub(super) fn run(args: &Args, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let bundle = files::read(&args.bundle)?;
    let policies = Policies::compile(&bundle).map_err(|why| Failure::failed(why.to_string()))?;
    let only = FilterItem {
        streams: vec![DECISIONS_STREAM.to_owned()],
        types: vec![DECISION_MADE.to_owned()],
        ..FilterItem::default()
    };
    let read = Read::all().from_position(Position::new(args.from)).filter(Filter::any([only]));
    let mut events = remote.client.read(read);
    let mut summary = Summary::default();
    while let Some(event) = remote.next(&mut events) {
        match again(&policies, &event?) {
            None => summary.skipped += 1,
            Some((before, after)) => {
                summary.checked += 1;
                if let Some(flip) = flip(before, after) {
                    summary.flipped += 1;
                    tell(&flip, output)?;
                }
            }
        }
    }
    end(&summary, output)?;
    match summary.flipped {
        0 => Ok(()),
        flipped => Err(Failure::failed(format!(
            "{flipped} of {} decisions would not be the same",
            summary.checked
        ))),
    }
}

/// What was decided, and what is decided now; `None`: nobody can say.
fn again(policies: &Policies, event: &RecordedEvent) -> Option<((u64, OnRecord), Decision)> {
    let on_record: OnRecord = event.json().ok()?;
    let is_not_kept = on_record.reasons.first().is_some_and(|it| it.code == NOT_KEPT);
    if is_not_kept || on_record.input.get("without_data").is_some() {
        return None;
    }
    let decision = policies.evaluate_json(&on_record.input).ok()?;
    Some(((event.position().get(), on_record), decision))
}

fn flip((position, before): (u64, OnRecord), after: Decision) -> Option<Flip> {
    (before.allow != after.allow).then(|| Flip {
        position,
        action: before.action,
        before: word(before.allow),
        after: word(after.allow),
        reasons: after.reasons,
    })
}

fn tell(flip: &Flip, output: &mut Output) -> Result<(), Failure> {
    if output.format() != Format::Table {
        return output.json_line(flip);
    }
    let said: Vec<_> = flip.reasons.iter().map(|it| format!("{}: {}", it.code, it.msg)).collect();
    let Flip { position, action, before, after, .. } = flip;
    output.text(&format!("{position}  {action}  {before} -> {after}  {}\n", said.join("; ")))
}

fn end(summary: &Summary, output: &mut Output) -> Result<(), Failure> {
    if output.format() != Format::Table {
        output.json_line(summary)?;
        return output.flush();
    }
    let Summary { checked, flipped, skipped } = summary;
    output.text(&format!("checked {checked}, flipped {flipped}, skipped {skipped}\n"))?;
    output.flush()
}
