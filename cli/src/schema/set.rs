//! `nexus schema set`.

use nexus_protocol::Invalid;
use nexus_protocol::json::SubjectInfoJson;
use nexus_protocol::schema::{Compatibility, Pattern, SettingsChange, SettingsOf, Validation};

use super::settings_facts;
use crate::exit::Failure;
use crate::output::Output;
use crate::store::Remote;

/// What is to hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The subject; without one, for those of the namespace that say nothing themselves
    subject: Option<String>,
    /// For the subjects of all namespaces that say nothing themselves
    #[arg(long, conflicts_with = "subject")]
    global: bool,
    /// Which versions have to understand each other: NONE, BACKWARD, FORWARD, FULL, or one of these with _TRANSITIVE;
    /// inherit: as the wider settings say
    #[arg(long, value_name = "MODE", value_parser = inherited::<Compatibility>)]
    compatibility: Option<Inherited<Compatibility>>,
    /// What is asked of events: required, optional, or off; inherit: as the wider settings say
    #[arg(long, value_name = "HOW", value_parser = inherited::<Validation>)]
    validation: Option<Inherited<Validation>>,
    /// The event types that the subject is bound to, with * for any characters; repeatable, and '' for none
    #[arg(long = "type", value_name = "PATTERN")]
    types: Option<Vec<String>>,
    /// The categories of streams that the subject is bound to; repeatable, and '' for none
    #[arg(long = "category", value_name = "PATTERN")]
    categories: Option<Vec<String>>,
    /// Whom to ask about it
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// A word, or that of the wider settings.
#[derive(Clone, Copy, Debug)]
struct Inherited<T>(Option<T>);

fn inherited<T: std::str::FromStr<Err = Invalid>>(text: &str) -> Result<Inherited<T>, Invalid> {
    match text {
        "inherit" => Ok(Inherited(None)),
        text => text.parse().map(|it| Inherited(Some(it))),
    }
}

fn patterns(texts: Option<&Vec<String>>) -> Result<Option<Vec<Pattern>>, Failure> {
    let Some(texts) = texts else { return Ok(None) };
    let all = texts.iter().filter(|text| !text.is_empty()).map(Pattern::new);
    let all: Result<Vec<_>, _> = all.collect();
    all.map(Some).map_err(|why| Failure::usage(why.to_string()))
}

/// Changes settings, and shows what holds; with no change only the latter.
pub(super) fn run(args: &Args, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let of = match &args.subject {
        Some(subject) => SettingsOf::Subject(subject.clone()),
        None if args.global => SettingsOf::Global,
        None => SettingsOf::Namespace,
    };
    let change = SettingsChange {
        compatibility: args.compatibility.map(|it| it.0),
        validation: args.validation.map(|it| it.0),
        types: patterns(args.types.as_ref())?,
        categories: patterns(args.categories.as_ref())?,
        owner: args.owner.clone(),
        description: args.description.clone(),
    };
    let info = if change == SettingsChange::default() {
        remote.wait(remote.client.schema_settings(&of))
    } else {
        remote.wait(remote.client.set_schema_settings(&of, &change))
    };
    let info = info.map_err(Failure::of_schema)?;
    output.one(&SubjectInfoJson::from(&info), &settings_facts(&of, &info))
}
