//! [`Sources`]: where settings come from. Flags go before the environment, that before the file, and
//! that before the defaults.
//!
//! Each source is checked by itself, so that what is wrong in one is said even where another overrides
//! it, and all that is wrong is said at once. What is merged is then known to be right.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::Dict;
use figment::{Figment, Profile};
use serde::Serialize;

use super::ConfigError;
use super::keys::{KEYS, Key, variable_of};
use super::layer::{Layer, dict_of, source_of};
use super::settings::Settings;
use crate::jwt::Jwks;

/// File of a data directory with the settings of its server, where no other is named.
pub const SETTINGS_FILE: &str = "nexus.toml";

const BODY: &str = "http.body_bytes_max";
const ALL_BODIES: &str = "limits.request_bytes_max";

/// Settings that need another one, and what is wrong where that is missing: most would do nothing, and
/// somebody would wait for what they say.
const NEEDS: [(&str, &str, &str); 8] = [
    ("tls.certificate", "tls.key", "has no key"),
    ("tls.key", "tls.certificate", "has no certificate"),
    // Without it whoever has a token of the same issuer, for whatever service, would be let in.
    ("auth.jwks", "auth.audience", "has no audience"),
    ("auth.issuer", "auth.jwks", "has no keys"),
    ("auth.audience", "auth.jwks", "has no keys"),
    ("auth.role_claim", "auth.jwks", "has no keys"),
    ("auth.certificates", "tls.client_ca", "has no authority"),
    ("tls.client_ca", "auth.certificates", "lets nobody in"),
];

/// Where settings come from.
#[derive(Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    environment: HashMap<OsString, OsString>,
    flags: Dict,
}

/// Where a setting is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing sets it.
    Default,
    /// This file.
    File(PathBuf),
    /// The environment variable of this name.
    Variable(String),
    /// The flag of this name.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Something that is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting.
    pub key: String,
    /// Where it stands.
    pub source: Source,
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, source, wrong, right } = self;
        write!(f, "`{key}` ({source}) {wrong}: {right}")
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The file is not TOML.
    #[error("{} is not TOML, at line {line}: {why}", path.display())]
    NotToml {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Settings that cannot be; all of them.
    #[error("{}", listed(.0))]
    Wrong(Vec<Problem>),
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// A setting as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which one.
    pub key: &'static Key,
    /// Its value, as JSON would say it; null where nothing holds.
    pub value: serde_json::Value,
    /// Where it is from.
    pub source: Source,
}

/// Settings, and where each is from.
#[derive(Debug)]
pub struct Loaded {
    /// What holds.
    pub settings: Settings,
    /// Variables that look like settings and are none, so that nobody waits for what they say.
    pub strange_variables: Vec<String>,
    figment: Figment,
}

impl Sources {
    /// Nothing but the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// This file, which must be there.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// The file of a data directory, if it is there.
    #[must_use]
    pub fn file_of_data_dir(mut self, dir: &Path) -> Self {
        let path = dir.join(SETTINGS_FILE);
        // What is there and cannot be looked at is an error when it is read.
        if !matches!(path.try_exists(), Ok(false)) {
            self.file = Some(path);
        }
        self
    }

    /// These variables; an empty one says nothing.
    #[must_use]
    pub fn environment(mut self, all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.environment = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        self
    }

    /// These flags: something with fields like those of [`Settings`], of which what is not given is
    /// left out.
    ///
    /// # Panics
    /// When it is nothing with fields.
    #[must_use]
    pub fn flags(mut self, flags: &impl Serialize) -> Self {
        self.flags = dict_of(flags);
        self
    }

    /// Reads and checks all of them.
    ///
    /// # Errors
    /// When the file cannot be read, or something that is set cannot be: all of it is said at once.
    pub fn read(self) -> Result<Loaded, SettingsError> {
        let (loaded, mut problems, contradictions) = self.look_at()?;
        problems.extend(contradictions);
        match problems.is_empty() {
            true => Ok(loaded),
            false => Err(SettingsError::Wrong(problems)),
        }
    }

    /// Checks what they say where others may say more. Answers what does not go together, which another
    /// source may yet resolve: a variable that sets the missing one of two, say.
    ///
    /// # Errors
    /// When the file cannot be read, something that is set can never be, or a file that says whom to trust
    /// is not what it must be.
    pub fn check(self) -> Result<Vec<Problem>, SettingsError> {
        let (loaded, mut problems, contradictions) = self.look_at()?;
        problems.extend(loaded.wrong_files());
        match problems.is_empty() {
            true => Ok(contradictions),
            false => {
                problems.extend(contradictions);
                Err(SettingsError::Wrong(problems))
            }
        }
    }

    /// What they come to without what is wrong, that, and what does not go together.
    fn look_at(self) -> Result<(Loaded, Vec<Problem>, Vec<Problem>), SettingsError> {
        let mut layers = vec![Layer::defaults()];
        if let Some(path) = &self.file {
            layers.push(Layer::file(path)?);
        }
        layers.push(Layer::environment(&self.environment));
        layers.push(Layer::flags(self.flags));
        let mut problems = Vec::new();
        let mut figment = Figment::new();
        for layer in layers {
            let found = layer.problems();
            figment = figment.merge(layer.without(&found));
            problems.extend(found);
        }
        let settings = figment.extract().expect("what is checked fits the settings");
        let strange_variables = strange(&self.environment);
        let mut loaded = Loaded { settings, strange_variables, figment };
        loaded.lower_default();
        let contradictions = loaded.contradictions(&problems);
        Ok((loaded, problems, contradictions))
    }
}

impl Loaded {
    /// Every setting, with where it is from.
    pub fn all(&self) -> impl Iterator<Item = Setting> {
        KEYS.iter().map(|key| {
            let value = self.figment.find_value(key.path).expect("every key has a value");
            let value = serde_json::to_value(&value).expect("a setting can be written as JSON");
            Setting { key, value, source: self.source(key.path) }
        })
    }

    /// Where a setting is from, by its path.
    ///
    /// # Panics
    /// When it is no setting.
    pub fn source(&self, path: &str) -> Source {
        let metadata = self.figment.find_metadata(path).expect("every value is of a layer");
        let keys: Vec<&str> = path.split('.').collect();
        source_of(&metadata.name, metadata.interpolate(&Profile::Default, &keys))
    }

    /// Settings that are right alone, and not together. What is wrong by itself is meant to be something
    /// else, so that nothing follows from it.
    fn contradictions(&self, wrong: &[Problem]) -> Vec<Problem> {
        let are_right = |keys: [&str; 2]| !wrong.iter().any(|it| keys.contains(&&*it.key));
        let mut problems = Vec::new();
        let mut add = |key: &str, wrong: String, right: String| {
            let (key, source) = (key.to_owned(), self.source(key));
            problems.push(Problem { key, source, wrong, right });
        };
        let Settings { listen, dev, limits, http, .. } = &self.settings;
        if *dev && !listen.ip().is_loopback() && are_right(["dev", "listen"]) {
            let source = self.source("listen");
            let wrong = format!(
                "lets everybody in, and `listen` ({source}) is {listen}, no loopback address"
            );
            add("dev", wrong, "leave it out, or listen on 127.0.0.1".to_owned());
        }
        for (key, needed, wrong) in NEEDS {
            if self.is_set(key) && !self.is_set(needed) && are_right([key, needed]) {
                add(key, wrong.to_owned(), format!("set `{needed}` too"));
            }
        }
        let (body, all) = (http.body_bytes_max, limits.request_bytes_max);
        if body > all && are_right([BODY, ALL_BODIES]) {
            let source = self.source(ALL_BODIES);
            let wrong = format!(
                "is {body}, and `{ALL_BODIES}` ({source}), for all requests together, only {all}"
            );
            add(BODY, wrong, format!("lower it, or raise `{ALL_BODIES}`"));
        }
        problems
    }

    /// Whether something sets it. A table without names sets nothing.
    fn is_set(&self, key: &str) -> bool {
        let value = self.figment.find_value(key).expect("every key has a value");
        self.source(key) != Source::Default && value.as_dict().is_none_or(|it| !it.is_empty())
    }

    /// Keeps the default for one body within what is set for all: who lowers that need not know of the
    /// other.
    fn lower_default(&mut self) {
        let all = self.settings.limits.request_bytes_max;
        if self.source(BODY) == Source::Default && self.settings.http.body_bytes_max > all {
            self.settings.http.body_bytes_max = all;
            self.figment = self.figment.clone().merge(Layer::default_of(BODY, all));
        }
    }

    /// Files that say whom to trust, and are not what they must be.
    fn wrong_files(&self) -> Vec<Problem> {
        let jwks = self.settings.auth.jwks.as_ref().and_then(|path| Jwks::load(path).err());
        let authorities = self.settings.tls.client_authorities().err();
        let wrong = [
            ("tls.client_ca", authorities, "name a PEM file with the certificates of authorities"),
            ("auth.jwks", jwks, "name a JWKS of public keys, as the issuer publishes it"),
        ]
        .into_iter();
        wrong
            .filter_map(|(key, error, right)| {
                let (key, source) = (key.to_owned(), self.source(key));
                Some(Problem { key, source, wrong: described(&error?), right: right.to_owned() })
            })
            .collect()
    }
}

/// An error with what the system said.
fn described(error: &ConfigError) -> String {
    match error {
        ConfigError::File { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}

/// Variables that begin like those of a table, and are none of them. They are no error: others may set
/// variables of such names for reasons of their own.
fn strange(environment: &HashMap<OsString, OsString>) -> Vec<String> {
    let tables = || KEYS.iter().filter_map(|key| Some(key.path.split_once('.')?.0));
    let known = |name: &str| KEYS.iter().any(|key| key.variable() == name);
    let like = |name: &str| {
        tables().any(|table| {
            name.strip_prefix(&variable_of(table)).is_some_and(|rest| rest.starts_with('_'))
        })
    };
    let names = environment.keys().filter_map(|name| name.to_str());
    let mut strange: Vec<String> =
        names.filter(|name| like(name) && !known(name)).map(str::to_owned).collect();
    strange.sort();
    strange
}

#[cfg(test)]
mod tests;
