//! `nexus config`, and the settings of `nexus serve`: flags, environment, file, defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nexus_node::config::{Loaded, SettingsError, Sources};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output, notice, text};
use crate::store::Place;

/// Shows and checks the settings of a server
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Prints every setting, and where it is from: default, file, variable, or flag
    #[command(after_help = "\
Examples:
  nexus --data ./data config show
  nexus config show --config /etc/nexus.toml --listen 0.0.0.0:7420 --output json

It takes the flags of `nexus serve`, and shows what that would do with them.")]
    Show(Flags),
    /// Says what is wrong with a settings file; exits with 2 if something is
    #[command(after_help = "Example:\n  nexus config check ./data/nexus.toml")]
    Check(CheckArgs),
}

/// What file to check.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The file
    file: PathBuf,
}

// The settings that flags can say, by the names that the settings have: those flags go before all else.
// This is no `///`: help would say it of the command.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Flags {
    /// The settings file; DIR/nexus.toml unless given, if it is there
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Let everybody in, on loopback only
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<bool>,
    /// Where to listen; port 0 takes a free one. 127.0.0.1:7420 unless something says otherwise
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// How long requests may take to end when it is interrupted, in seconds; 10 unless something says
    /// otherwise
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_s: Option<u64>,
}

impl Flags {
    /// The settings of a server over this directory.
    ///
    /// # Errors
    /// When a setting cannot be what it is set to.
    pub(crate) fn read(&self, dir: Option<&Path>) -> Result<Loaded, Failure> {
        let sources = Sources::new().environment(std::env::vars_os()).flags(self);
        let sources = match (&self.config, dir) {
            (Some(file), _) => sources.file(file),
            (None, Some(dir)) => sources.file_of_data_dir(dir),
            (None, None) => sources,
        };
        let loaded = sources.read()?;
        for name in &loaded.strange_variables {
            notice(format_args!(
                "{name} is set, and is no setting: `nexus config show` names those there are"
            ));
        }
        Ok(loaded)
    }
}

/// A setting as JSON.
#[derive(Serialize)]
struct SettingJson {
    key: &'static str,
    value: serde_json::Value,
    source: String,
}

#[derive(Serialize)]
struct Checked<'a> {
    file: &'a str,
    ok: bool,
}

/// Runs a command of the noun.
///
/// # Errors
/// When a setting cannot be what it is set to.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Show(flags) => show(&flags.read(place.dir.as_deref())?, output),
        Command::Check(args) => check(&args.file, output),
    }
}

fn show(loaded: &Loaded, output: &mut Output) -> Result<(), Failure> {
    let mut listing = output.list("settings", &[text("SETTING"), text("VALUE"), text("FROM")]);
    for setting in loaded.all() {
        let (key, source) = (setting.key.path, setting.source.to_string());
        let json = SettingJson { key, value: setting.value, source };
        listing.push(&json, || {
            let value = match &json.value {
                serde_json::Value::Null => "none".to_owned(),
                serde_json::Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            vec![key.to_owned(), value, json.source.clone()]
        })?;
    }
    listing.end(None::<u64>)
}

fn check(file: &Path, output: &mut Output) -> Result<(), Failure> {
    for contradiction in Sources::new().file(file).check()? {
        notice(format_args!("unless a flag or a variable says otherwise: {contradiction}"));
    }
    let file = file.to_string_lossy();
    output.one(&Checked { file: &file, ok: true }, &Facts::new().with("sound", &file))
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::usage(crate::serve::described(&error))
    }
}
