//! `nexus schema migrate --dry-run`: whether what was written in older versions can be read in a newer one.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use nexus_client::schemas::{Registry, Tried};
use nexus_protocol::record::{PreparedRecord, Recipe, place};
use nexus_protocol::schema::{
    DataProblem, NewSchema, SCHEMAS_STREAM, SchemaFormat, SettingsOf, VersionPick,
};
use nexus_protocol::{
    EventData, EventId, Position, Read, RecordedEvent, Revision, SchemaId, Timestamp,
};
use serde::Serialize;

use super::against_log::{filter_of, progress};
use super::candidate::text_of;
use crate::exit::Failure;
use crate::output::{Facts, Format, Output, Table, number, text};
use crate::store::Remote;

/// Failures that are named; all are counted.
const NAMED_MAX: usize = 100;

/// What is tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The subject
    subject: String,
    /// Say that it is only tried: events are never rewritten
    #[arg(long, required = true)]
    dry_run: bool,
    /// The version that they are read in; the newest unless given
    #[arg(long, value_name = "N", conflicts_with = "candidate")]
    to: Option<u32>,
    /// A file with a schema that is not registered, as the version that they are read in
    #[arg(long, value_name = "FILE")]
    candidate: Option<PathBuf>,
    /// The file with its operations
    #[arg(long, value_name = "FILE", requires = "candidate")]
    up: Option<PathBuf>,
    /// The newest so many events of the log
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    sample: u64,
    /// All events of the log
    #[arg(long, conflicts_with = "sample")]
    all: bool,
}

/// What is wrong with an event, or with an example that a schema gives.
#[derive(Debug, Serialize)]
struct Failed {
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<u64>,
    version: u32,
    pointer: String,
    rule: String,
    message: String,
}

/// What became of the events that were written in a version.
#[derive(Debug, Default, Serialize)]
struct OfVersion {
    version: u32,
    events: u64,
    examples: u64,
    parts: u64,
    failed: u64,
    /// Those whose way back is none, or does not follow the version.
    without_way_back: u64,
}

/// What became of all.
#[derive(Debug, Serialize)]
struct Report {
    subject: String,
    to: u32,
    checked: u64,
    failed: u64,
    versions: Vec<OfVersion>,
    failures: Vec<Failed>,
}

/// Tries it.
pub(super) fn run(args: &Args, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let (registry, to) = target(args, remote)?;
    let mut trial = Trial { registry: &registry, to, versions: BTreeMap::new(), failures: vec![] };
    trial.examples(&args.subject)?;
    let of = SettingsOf::Subject(args.subject.clone());
    let info = remote.wait(remote.client.schema_settings(&of))?;
    // An event may name the schema though its type is not bound to it: all are looked at.
    let read = if args.all {
        Read::all()
    } else {
        Read::all().filter(filter_of(Some(&info), &args.subject)).backwards()
    };
    let mut left = if args.all { u64::MAX } else { args.sample };
    let mut events = remote.client.read(read);
    let for_people = output.format() == Format::Table && std::io::stderr().is_terminal();
    let bar = for_people.then(progress);
    while left > 0
        && let Some(event) = remote.next(&mut events)
    {
        let event = event?;
        let name = registry.taken_for(&event);
        let Some((_, version)) = name.filter(|(subject, _)| *subject == args.subject) else {
            continue;
        };
        left -= 1;
        trial.hold(&event, version, None);
        if let Some(bar) = &bar {
            bar.set_message(format!("{} events tried", trial.checked()));
        }
    }
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    report(trial, &args.subject, output)
}

/// The schemas, with the candidate, and the version that is meant.
fn target(args: &Args, remote: &Remote) -> Result<(Registry, u32), Failure> {
    let mut registry = Registry::new();
    let mut events = remote.client.read(Read::stream(SCHEMAS_STREAM));
    while let Some(event) = remote.next(&mut events) {
        registry.apply(&event?).map_err(|why| Failure::failed(why.to_string()))?;
    }
    if let Some(file) = &args.candidate {
        let up = args.up.as_deref().map(text_of).transpose()?.unwrap_or_default();
        let new = NewSchema { up, ..NewSchema::new(SchemaFormat::Json, text_of(file)?) };
        let tried = registry.with_candidate(&args.subject, &new);
        return tried.map_err(|why| Failure::failed(why.to_string()));
    }
    let pick = args.to.map_or(VersionPick::Latest, VersionPick::Number);
    let found = registry.version(&args.subject, pick).map(|it| it.version);
    let none = || {
        let subject = &args.subject;
        Failure::failed(match args.to {
            Some(number) => format!("there is no version {number} of subject {subject:?}"),
            None => format!(
                "there is no subject {subject:?}: `nexus schema list` names those there are"
            ),
        })
    };
    let to = found.ok_or_else(none)?;
    Ok((registry, to))
}

struct Trial<'a> {
    registry: &'a Registry,
    to: u32,
    versions: BTreeMap<u32, OfVersion>,
    failures: Vec<Failed>,
}

impl Trial<'_> {
    fn checked(&self) -> u64 {
        self.versions.values().map(|it| it.events + it.examples).sum()
    }

    /// Tries what the versions give as `examples` themselves.
    fn examples(&mut self, subject: &str) -> Result<(), Failure> {
        for number in 1..=self.to {
            let version = self.registry.version(subject, VersionPick::Number(number));
            let Some(version) = version.filter(|it| it.id != SchemaId::new(u32::MAX)) else {
                break;
            };
            let schema: serde_json::Value =
                serde_json::from_str(&version.schema).unwrap_or_default();
            let examples = schema.get("examples").and_then(|it| it.as_array());
            for (index, example) in (0..).zip(examples.into_iter().flatten()) {
                let event = EventData::json(subject, example);
                let mut event = event.map_err(|why| Failure::failed(why.to_string()))?;
                event.schema = version.id;
                self.hold(&recorded(&event)?, number, Some(index));
            }
        }
        Ok(())
    }

    fn hold(&mut self, event: &RecordedEvent, version: u32, example: Option<u64>) {
        let Tried { parts, problems, way_back } = self.registry.try_on(event, self.to);
        let of = self.versions.entry(version).or_default();
        of.version = version;
        match example {
            Some(_) => of.examples += 1,
            None => of.events += 1,
        }
        of.parts += parts as u64;
        let invented = |it: &DataProblem| it.rule == "not_contained";
        of.without_way_back += u64::from(way_back.iter().any(|it| !invented(it)));
        let wrong = problems.into_iter().chain(way_back.into_iter().filter(invented));
        let mut wrong = wrong.peekable();
        of.failed += u64::from(wrong.peek().is_some());
        let position = example.is_none().then(|| event.position().get());
        let room = NAMED_MAX.saturating_sub(self.failures.len());
        self.failures.extend(wrong.take(room).map(|it| Failed {
            position,
            example,
            version,
            pointer: it.pointer,
            rule: it.rule.into_owned(),
            message: it.message,
        }));
    }
}

/// An event that is in no log, behind all that is.
fn recorded(event: &EventData) -> Result<RecordedEvent, Failure> {
    let id = EventId::from_bytes([0; 16]);
    let recipe = Recipe { stream: "example", id, event, tags: &[] };
    let mut bytes = Vec::new();
    let prepared = PreparedRecord::encode(&recipe, &mut bytes);
    let at = Timestamp::from_micros(0);
    place(&mut bytes, &prepared, Position::new(u64::MAX - 1), Revision::ZERO, at);
    RecordedEvent::decode(bytes.into()).map_err(|why| Failure::failed(why.to_string()))
}

fn report(trial: Trial<'_>, subject: &str, output: &mut Output) -> Result<(), Failure> {
    let checked = trial.checked();
    let versions: Vec<_> = trial.versions.into_values().collect();
    let failed = versions.iter().map(|it| it.failed).sum();
    let (to, failures) = (trial.to, trial.failures);
    let report = Report { subject: subject.to_owned(), to, checked, failed, versions, failures };
    let facts = Facts::new()
        .with("subject", subject)
        .with("read as version", to)
        .with("tried", checked)
        .with("failed", failed);
    let columns = [
        number("VERSION"),
        number("EVENTS"),
        number("EXAMPLES"),
        number("PARTS"),
        number("FAILED"),
        number("WITHOUT WAY BACK"),
    ];
    let mut table = Table::new(&columns);
    for it in &report.versions {
        let counts = [it.events, it.examples, it.parts, it.failed, it.without_way_back];
        let counts = counts.iter().map(ToString::to_string);
        table.push(std::iter::once(it.version.to_string()).chain(counts).collect());
    }
    let mut shown = format!("{facts}\n{}", table.take());
    if failed > 0 {
        let columns = [
            text("EVENT"),
            number("VERSION"),
            text("RULE"),
            text("POINTER"),
            text("WHAT IS WRONG"),
        ];
        let mut table = Table::new(&columns);
        for it in &report.failures {
            let event = match (it.position, it.example) {
                (Some(position), _) => format!("position {position}"),
                (None, example) => format!("example {}", example.unwrap_or_default()),
            };
            let pointer = if it.pointer.is_empty() { "/" } else { &it.pointer };
            let cells = [event, it.version.to_string(), it.rule.clone(), pointer.to_owned()];
            table.push(cells.into_iter().chain([it.message.clone()]).collect());
        }
        shown.push('\n');
        shown.push_str(&table.take());
    }
    output.one(&report, &shown)?;
    match failed {
        0 => Ok(()),
        _ => Err(Failure::failed(format!("{failed} of {checked} cannot be read as version {to}"))),
    }
}
