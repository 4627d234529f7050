//! `nexus schema register` and `nexus schema check`: a schema in a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nexus_protocol::json::{IncompatibilityJson, SchemaVersionJson};
use nexus_protocol::limits::SCHEMA_BYTES_MAX;
use nexus_protocol::schema::{
    Incompatibility, NewSchema, SchemaFormat, SchemaReference, SchemaState,
};
use serde::Serialize;

use super::against_log::{self, Failed};
use super::facts;
use crate::exit::Failure;
use crate::output::{Facts, Format, Output, Table, number, text};
use crate::store::Remote;

/// A schema, and what it is of.
#[derive(Debug, clap::Args)]
pub(crate) struct CandidateArgs {
    /// The file with the schema; - is standard input
    file: PathBuf,
    /// The subject: by default, the type of the events that have to follow it
    #[arg(long, value_name = "SUBJECT")]
    pub(super) subject: String,
    /// The language: json, avro, or protobuf; by default by the name of the file, where .avsc is Avro and .proto Protobuf
    #[arg(long, value_name = "FORMAT")]
    format: Option<SchemaFormat>,
    /// What the schema speaks of, by the name that it calls it; repeatable
    #[arg(long = "reference", value_name = "NAME=SUBJECT:VERSION", value_parser = reference)]
    references: Vec<SchemaReference>,
    /// The file with the operations that make data of the version before data of this one: a list, as JSON
    #[arg(long, value_name = "FILE")]
    up: Option<PathBuf>,
}

/// A schema to be registered.
#[derive(Debug, clap::Args)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    candidate: CandidateArgs,
    /// As a draft, which no event may follow until it is promoted
    #[arg(long)]
    draft: bool,
    /// Whom to ask about it
    #[arg(long, value_name = "WHO", default_value = "")]
    owner: String,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
}

/// A schema to be tried.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(super) candidate: CandidateArgs,
    /// On the events that are there, too: those that the subject is bound to
    #[arg(long)]
    pub(super) against_log: bool,
    /// On the newest so many of them
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "against_log")]
    pub(super) sample: u64,
    /// On all of them
    #[arg(long, requires = "against_log", conflicts_with = "sample")]
    pub(super) all: bool,
}

/// What became of a candidate.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    compatible: bool,
    incompatibilities: Vec<IncompatibilityJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<&'a [Failed]>,
}

fn reference(text: &str) -> Result<SchemaReference, String> {
    let wrong = || "write NAME=SUBJECT:VERSION, as in money.json=Money:2".to_owned();
    let (name, rest) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (subject, version) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let version = version.parse().map_err(|_| wrong())?;
    Ok(SchemaReference { name: name.to_owned(), subject: subject.to_owned(), version })
}

fn format_of(file: &Path) -> SchemaFormat {
    match file.extension().and_then(|it| it.to_str()) {
        Some("avsc") => SchemaFormat::Avro,
        Some("proto") => SchemaFormat::Protobuf,
        _ => SchemaFormat::Json,
    }
}

/// The text of a file, or of standard input.
pub(super) fn text_of(file: &Path) -> Result<String, Failure> {
    let name = file.display();
    let cannot =
        |why: &dyn std::fmt::Display| Failure::failed(format!("{name} cannot be read: {why}"));
    let mut bytes = Vec::new();
    let most = SCHEMA_BYTES_MAX as u64 + 1;
    let read = match file.as_os_str() == "-" {
        true => io::stdin().take(most).read_to_end(&mut bytes),
        false => {
            let opened = File::open(file).map_err(|error| cannot(&error))?;
            opened.take(most).read_to_end(&mut bytes)
        }
    };
    read.map_err(|error| cannot(&error))?;
    if bytes.len() > SCHEMA_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{name} is too large for a schema, which has {SCHEMA_BYTES_MAX} bytes at most: split it, and refer to the parts"
        )));
    }
    String::from_utf8(bytes).map_err(|why| cannot(&why))
}

impl CandidateArgs {
    pub(super) fn new_schema(&self) -> Result<NewSchema, Failure> {
        let text = text_of(&self.file)?;
        let format = self.format.unwrap_or_else(|| format_of(&self.file));
        let up = self.up.as_deref().map(text_of).transpose()?.unwrap_or_default();
        let references = self.references.clone();
        Ok(NewSchema { references, up, ..NewSchema::new(format, text) })
    }
}

/// What stands in the way, a line each.
pub(super) fn table_of(found: &[Incompatibility]) -> String {
    let value = |it: Option<&serde_json::Value>| it.map(ToString::to_string).unwrap_or_default();
    let columns = [number("VERSION"), text("RULE"), text("POINTER"), text("OLD"), text("NEW")];
    let mut table = Table::new(&columns);
    for it in found {
        let pointer = if it.pointer.is_empty() { "/" } else { &it.pointer };
        let (old, new) = (value(it.old.as_ref()), value(it.new.as_ref()));
        table.push(vec![it.version.to_string(), it.rule.to_string(), pointer.to_owned(), old, new]);
    }
    table.take()
}

/// Registers a schema.
pub(super) fn register(
    args: &RegisterArgs,
    remote: &Remote,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut new = args.candidate.new_schema()?;
    if args.draft {
        new.state = SchemaState::Draft;
    }
    (new.owner, new.description) = (args.owner.clone(), args.description.clone());
    let registered = remote.wait(remote.client.register_schema(&args.candidate.subject, &new));
    let (version, made) = registered.map_err(Failure::of_schema)?;
    let was = if made { "registered" } else { "there already" };
    output.one(&SchemaVersionJson::from(&version), &facts(&version).with("it was", was))
}

/// Tries a schema.
pub(super) fn check(args: &CheckArgs, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let new = args.candidate.new_schema()?;
    let found = remote.wait(remote.client.check_schema(&args.candidate.subject, &new));
    let found = found.map_err(Failure::of_schema)?;
    let log = match args.against_log {
        true => Some(against_log::run(args, &new, remote, output.format() == Format::Table)?),
        false => None,
    };
    let failed = log.as_ref().map_or(0, |it| it.failed);
    let checked = Checked {
        compatible: found.is_empty() && failed == 0,
        incompatibilities: found.iter().map(Into::into).collect(),
        checked: log.as_ref().map(|it| it.checked),
        failed: log.as_ref().map(|it| it.failed),
        failures: log.as_ref().map(|it| it.failures.as_slice()),
    };
    let mut shown = Facts::new().with("compatible", checked.compatible);
    if let Some(log) = &log {
        shown = shown.with("events checked", log.checked).with("events failed", log.failed);
    }
    let mut shown = shown.to_string();
    for table in [table_of(&found), log.as_ref().map(against_log::table_of).unwrap_or_default()] {
        if !table.is_empty() {
            shown.push('\n');
            shown.push_str(&table);
        }
    }
    output.one(&checked, &shown)?;
    match checked.compatible {
        true => Ok(()),
        false if failed > 0 => Err(Failure::failed(format!(
            "{failed} of {} events do not follow the schema",
            checked.checked.unwrap_or_default()
        ))),
        false => Err(Failure::failed(format!(
            "the schema is not compatible with version {}",
            found.first().map_or(0, |it| it.version)
        ))),
    }
}
