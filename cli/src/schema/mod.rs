//! `nexus schema`: what payloads have to look like.

mod against_log;
mod candidate;
mod diff;
mod infer;
mod migrate;
mod set;

pub(crate) use against_log::look_at;

use nexus_protocol::json::{SchemaVersionJson, SubjectInfoJson};
use nexus_protocol::limits::SUBJECTS_PAGE_MAX;
use nexus_protocol::schema::{SchemaState, SchemaVersion, SettingsOf, SubjectInfo, VersionPick};

use crate::exit::Failure;
use crate::group::connect;
use crate::output::{Facts, Output, number, text};
use crate::store::{Place, Remote, Store};

/// Registers, tries, and shows schemas
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Guesses a JSON Schema from events that are there, and writes it to standard output
    #[command(
        after_help = "Example:\n  nexus --data ./data schema infer --type OrderPlaced > order-placed.json"
    )]
    Infer(infer::Args),
    /// Registers a schema as the next version of a subject
    #[command(after_help = "\
Examples:
  nexus --data ./data schema register order-placed.json --subject OrderPlaced
  nexus --data ./data schema register order.json --subject Order --reference money.json=Money:2 --draft
  nexus --data ./data schema register order-2.json --subject OrderPlaced --up order-2.up.json")]
    Register(candidate::RegisterArgs),
    /// Says whether a schema could be registered, and with --against-log, whether the events that are there follow it
    #[command(after_help = "\
Examples:
  nexus --data ./data schema check order-placed.json --subject OrderPlaced
  nexus --data ./data schema check order-placed.json --subject OrderPlaced --against-log --all --output json

The exit code is 0 where it could, and 1 where it could not.")]
    Check(candidate::CheckArgs),
    /// Lists subjects of schemas, with their versions
    #[command(after_help = "Example:\n  nexus --data ./data schema list")]
    List,
    /// Shows a version of a subject
    #[command(after_help = "\
Examples:
  nexus --data ./data schema show OrderPlaced
  nexus --data ./data schema show OrderPlaced --version 1 --text > order-placed.json")]
    Show(ShowArgs),
    /// Shows what is different between two versions of a subject, and which of them reads the other
    #[command(
        after_help = "Example:\n  nexus --data ./data schema diff OrderPlaced --from 1 --to 2"
    )]
    Diff(diff::Args),
    /// Sets how far a version has come: a draft is made active
    #[command(after_help = "\
Examples:
  nexus --data ./data schema promote OrderPlaced --version 2
  nexus --data ./data schema promote OrderPlaced --version 1 --to deprecated")]
    Promote(PromoteArgs),
    /// Tries whether what was written in older versions can be read in a newer one, by its operations and those before
    #[command(after_help = "\
Examples:
  nexus --data ./data schema migrate OrderPlaced --dry-run --all
  nexus --data ./data schema migrate OrderPlaced --dry-run --candidate order-3.json --up order-3.up.json

Nothing is changed: events are never rewritten. What is tried are events of the log, and what the versions give as
`examples`. The exit code is 0 where all can be read, and 1 where some cannot.")]
    Migrate(migrate::Args),
    /// Says how strictly schemas are kept: of a subject, of the namespace, or of all namespaces
    #[command(after_help = "\
Examples:
  nexus --data ./data schema set OrderPlaced --compatibility FULL
  nexus --data ./data schema set order --type 'Order*' --category order
  nexus --data ./data schema set --validation optional")]
    Set(set::Args),
}

/// One version.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The subject
    subject: String,
    /// The version: 1, 2, …, or latest, the newest that is active
    #[arg(long, value_name = "N|latest", default_value = "latest")]
    version: VersionPick,
    /// Write the text of the schema, as it was registered, and nothing else
    #[arg(long)]
    text: bool,
}

/// How far a version is to come.
#[derive(Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    /// The subject
    subject: String,
    /// The version; the newest unless given
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// How far: active, deprecated, or retired
    #[arg(long, value_name = "STATE", default_value = "active")]
    to: SchemaState,
}

/// Runs a command of the noun.
///
/// # Errors
/// When the store refuses it.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let makes = matches!(command, Command::Register(_) | Command::Set(_));
    if makes && place.server.is_none() {
        // Schemas may come before the first event.
        Store::open(place)?.close()?;
    }
    let remote = connect(place)?;
    let done = match command {
        Command::Infer(args) => infer::run(args, &remote, output),
        Command::Register(args) => candidate::register(args, &remote, output),
        Command::Check(args) => candidate::check(args, &remote, output),
        Command::List => list(&remote, output),
        Command::Show(args) => show(args, &remote, output),
        Command::Diff(args) => diff::run(args, &remote, output),
        Command::Promote(args) => promote(args, &remote, output),
        Command::Migrate(args) => migrate::run(args, &remote, output),
        Command::Set(args) => set::run(args, &remote, output),
    };
    done?;
    remote.close()
}

/// What people read of a version.
fn facts(version: &SchemaVersion) -> Facts {
    let references: Vec<_> = version
        .references
        .iter()
        .map(|it| format!("{}={}:{}", it.name, it.subject, it.version))
        .collect();
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Facts::new()
        .with("subject", &version.subject)
        .with("version", version.version)
        .with("id", version.id.get())
        .with("format", version.format)
        .with("state", version.state)
        .with("fingerprint", &version.fingerprint)
        .with_some("references", (!references.is_empty()).then(|| references.join(", ")))
        .with_some("up", given(&version.up))
        .with_some("owner", given(&version.owner))
        .with_some("description", given(&version.description))
        .with("registered at", version.registered_at)
}

fn show(args: &ShowArgs, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let version = remote.wait(remote.client.schema(&args.subject, args.version))?;
    if args.text {
        output.text(&version.schema)?;
        return output.flush();
    }
    let shown = format!("{}\n{}\n", facts(&version), version.schema.trim_end());
    output.one(&SchemaVersionJson::from(&version), &shown)
}

fn promote(args: &PromoteArgs, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let client = &remote.client;
    let number = match args.version {
        Some(number) => number,
        None => {
            let info = remote.wait(client.subject(&args.subject))?;
            let newest = info.versions.last().map(|it| it.version);
            let none = || Failure::failed(format!("subject {:?} has no version", args.subject));
            newest.ok_or_else(none)?
        }
    };
    let version = remote.wait(client.set_schema_state(&args.subject, number, args.to));
    let version = version.map_err(Failure::of_schema)?;
    output.one(&SchemaVersionJson::from(&version), &facts(&version))
}

fn list(remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let columns = [
        text("SUBJECT"),
        text("FORMAT"),
        number("VERSIONS"),
        text("LATEST"),
        text("COMPATIBILITY"),
        text("VALIDATION"),
    ];
    let mut listing = output.list("schemas", &columns);
    for info in all_subjects(remote)? {
        listing.push(&SubjectInfoJson::from(&info), || cells(&info))?;
    }
    listing.end(None::<String>)
}

/// All subjects, by name.
fn all_subjects(remote: &Remote) -> Result<Vec<SubjectInfo>, Failure> {
    let mut all = Vec::<SubjectInfo>::new();
    loop {
        let after = all.last().map(|it| it.subject.clone());
        let page = remote.client.subjects(after.as_deref(), SUBJECTS_PAGE_MAX);
        let page = remote.wait(page)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn cells(info: &SubjectInfo) -> Vec<String> {
    let active = info.versions.iter().rev().find(|it| it.state == SchemaState::Active);
    let latest = active.or(info.versions.last());
    let latest = latest.map(|it| format!("{} ({}, id {})", it.version, it.state, it.id.get()));
    vec![
        info.subject.clone(),
        info.format.map(|it| it.to_string()).unwrap_or_default(),
        info.versions.len().to_string(),
        latest.unwrap_or_default(),
        info.effective.compatibility.to_string(),
        info.effective.validation.to_string(),
    ]
}

/// What people read of settings.
fn settings_facts(of: &SettingsOf, info: &SubjectInfo) -> Facts {
    let patterns = |all: &[nexus_protocol::schema::Pattern]| -> Option<String> {
        let texts: Vec<_> = all.iter().map(nexus_protocol::schema::Pattern::as_str).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    };
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let whose = match of {
        SettingsOf::Subject(subject) => subject.clone(),
        SettingsOf::Namespace => "those of the namespace".to_owned(),
        SettingsOf::Global => "those of all namespaces".to_owned(),
    };
    let set = |is_set: bool| if is_set { "" } else { " (not set here)" };
    let (settings, effective) = (&info.settings, &info.effective);
    let compatibility =
        format!("{}{}", effective.compatibility, set(settings.compatibility.is_some()));
    let validation = format!("{}{}", effective.validation, set(settings.validation.is_some()));
    Facts::new()
        .with("subject", whose)
        .with("compatibility", compatibility)
        .with("validation", validation)
        .with_some("types", patterns(&settings.types))
        .with_some("categories", patterns(&settings.categories))
        .with_some("owner", given(&settings.owner))
        .with_some("description", given(&settings.description))
}
