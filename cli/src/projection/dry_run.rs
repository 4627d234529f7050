//! `nexus projection dry-run`: what documents a definition makes of events that are there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nexus_client::schemas::Registry;
use nexus_delivery::projection::{
    Definition, Document, DocumentsDigest, EventsDigest, FoldFailed, Lift, Lifting, Projection,
};
use nexus_protocol::group;
use nexus_protocol::schema::SCHEMAS_STREAM;
use nexus_protocol::{Looked, Read, RecordedEvent};
use serde::Serialize;
use serde_json::{Map, Value};

use super::file;
use crate::exit::Failure;
use crate::output::{Format, Output, Table, notice, number, shortened, text};
use crate::store::{Place, Store};

/// Events that are looked at where nothing is said.
const EVENTS_DEFAULT: u64 = 1_000;
/// Events whose failure is named; all are counted.
const NAMED_MAX: usize = 100;
/// Characters of a document that a table shows.
const DOCUMENT_WIDTH: usize = 120;
/// Characters of a key that a table shows.
const KEY_WIDTH: usize = 48;

/// What is tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file with the definition, JSON or TOML; - is standard input, and @events the one over events that comes with Nexus
    file: PathBuf,
    /// The first so many events that its filter takes
    #[arg(long, value_name = "N", default_value_t = EVENTS_DEFAULT, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    limit: u64,
}

/// A document as it is printed.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    key: &'a str,
    document: Map<String, Value>,
    events: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<&'a str>,
}

/// An event that could not be folded.
#[derive(Debug, Serialize)]
struct Failed {
    position: u64,
    key: Option<String>,
    error: String,
}

/// What came of all of it.
#[derive(Debug, Default, Serialize)]
struct Summary {
    events: u64,
    /// What was folded, and what came of it: the same where both are.
    events_digest: String,
    documents_digest: String,
    /// Events that no document is of: they say nothing of what the key is made of.
    without_key: u64,
    failed: u64,
    failures: Vec<Failed>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    documents: Vec<Shown<'a>>,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// Documents, and what came of the events.
struct Trial<'a> {
    definition: &'a Definition,
    /// What folds: the definition, behind what lifts events.
    folding: Lifting<Lifts>,
    documents: BTreeMap<String, Option<Document>>,
    folded: EventsDigest,
    summary: Summary,
}

impl Trial<'_> {
    fn fold(&mut self, event: &RecordedEvent) {
        self.summary.events += 1;
        self.folded = self.folded.with(event);
        let looked = Looked::new(event);
        let key = match self.folding.key(&looked) {
            Ok(Some(key)) => key,
            Ok(None) => {
                self.summary.without_key += 1;
                return;
            }
            Err(error) => return self.failed(event, None, error.failure.message),
        };
        let document = self.documents.entry(key.clone()).or_default();
        if let Err(error) = self.folding.fold(document, &looked) {
            self.failed(event, Some(key), error.failure.message);
        }
    }

    fn failed(&mut self, event: &RecordedEvent, key: Option<String>, error: String) {
        self.summary.failed += 1;
        if self.summary.failures.len() < NAMED_MAX {
            self.summary.failures.push(Failed { position: event.position().get(), key, error });
        }
    }

    /// Says what came of it.
    fn end(&mut self) {
        let mut digest = DocumentsDigest::default();
        for (key, document) in &self.documents {
            document.iter().for_each(|it| digest.put(key, &it.encode()));
        }
        self.summary.events_digest = self.folded.to_string();
        self.summary.documents_digest = digest.to_string();
    }

    fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        let there = self.documents.iter().filter_map(|(key, it)| it.as_ref().map(|it| (key, it)));
        there.map(|(key, document)| Shown {
            key,
            document: self.definition.shown(document),
            events: document.events(),
            tags: document.tags().collect(),
        })
    }
}

/// What lifts events, by the schemas that there are now.
struct Lifts {
    registry: Registry,
    versions: BTreeMap<String, u32>,
}

impl Lift for Lifts {
    fn lift(&self, event: &RecordedEvent) -> Result<Vec<RecordedEvent>, FoldFailed> {
        let lifted = self.registry.show_in(event, &self.versions);
        lifted.map_err(|why| FoldFailed {
            failure: group::Failure::new(why.to_string()),
            passes: false,
        })
    }
}

fn folding(definition: &Definition, store: &Store) -> Result<Lifting<Lifts>, Failure> {
    let versions = definition.file().as_schema.clone();
    let mut registry = Registry::new();
    if !versions.is_empty() {
        for event in store.read(Read::stream(SCHEMAS_STREAM)) {
            registry.apply(&event?).map_err(|why| Failure::failed(why.to_string()))?;
        }
    }
    Ok(Lifting::new(definition.clone(), || Lifts { registry, versions }))
}

/// Tries it.
pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let definition = file::read(&args.file)?;
    let store = Store::open_to_read(place)?;
    let mut trial = Trial {
        definition: &definition,
        folding: folding(&definition, &store)?,
        documents: BTreeMap::new(),
        folded: EventsDigest::default(),
        summary: Summary::default(),
    };
    let read = Read::all().filter(definition.filter().clone()).limit(args.limit);
    for event in store.read(read) {
        trial.fold(&event?);
    }
    trial.end();
    print(&trial, output)?;
    store.close()?;
    match trial.summary.failed {
        0 => Ok(()),
        failed => Err(Failure::failed(format!("{failed} events could not be folded"))),
    }
}

fn print(trial: &Trial<'_>, output: &mut Output) -> Result<(), Failure> {
    let summary = &trial.summary;
    match output.format() {
        Format::Json => {
            output.json_line(&Report { documents: trial.shown().collect(), summary })?
        }
        Format::Ndjson => {
            trial.shown().try_for_each(|shown| output.json_line(&shown))?;
            output.json_line(summary)?;
        }
        Format::Table => {
            let columns = [text("KEY"), number("EVENTS"), text("DOCUMENT")];
            let mut table = Table::new(&columns);
            for shown in trial.shown() {
                let document = Value::Object(shown.document).to_string();
                table.push(vec![
                    shortened(shown.key, KEY_WIDTH),
                    shown.events.to_string(),
                    shortened(&document, DOCUMENT_WIDTH),
                ]);
            }
            output.text(&table.take())?;
            let Summary { events, without_key, failures, .. } = summary;
            let documents = trial.documents.values().flatten().count();
            output.text(&format!(
                "{documents} documents of {events} events; {without_key} events have no key\n"
            ))?;
            for Failed { position, key, error } in failures {
                let key = key.as_deref().map(|key| format!(" of {key:?}")).unwrap_or_default();
                notice(format_args!("event at position {position}{key}: {error}"));
            }
        }
    }
    output.flush()
}
