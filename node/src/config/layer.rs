//! [`Layer`]: what one source of settings says, checked by itself.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use serde::Serialize;

use super::files;
use super::keys::{KEYS, Key, Kind, flag_of, variable_of};
use super::settings::Settings;
use super::sources::{Problem, SettingsError, Source};

const FILE: &str = "file";
const VARIABLE: &str = "variable";
const FLAG: &str = "flag";

/// What one source says.
pub(super) struct Layer {
    kind: &'static str,
    /// Of a file its path, of all others nothing.
    path: PathBuf,
    values: Dict,
}

impl Layer {
    pub(super) fn defaults() -> Self {
        let values = dict_of(&Settings::default());
        Self { kind: "default", path: PathBuf::new(), values }
    }

    /// A default that follows from another setting.
    pub(super) fn default_of(path: &str, value: usize) -> Self {
        let mut values = Dict::new();
        set(&mut values, path, Value::from(value));
        Self { kind: "default", path: PathBuf::new(), values }
    }

    pub(super) fn flags(values: Dict) -> Self {
        Self { kind: FLAG, path: PathBuf::new(), values }
    }

    pub(super) fn environment(environment: &HashMap<OsString, OsString>) -> Self {
        let mut values = Dict::new();
        for key in KEYS {
            let Some(text) = environment.get(&OsString::from(key.variable())) else { continue };
            // What is not text is no number and no address; its form with marks says so.
            let value = key.kind.read(&text.to_string_lossy());
            set(&mut values, key.path, value);
        }
        Self { kind: VARIABLE, path: PathBuf::new(), values }
    }

    pub(super) fn file(path: &Path) -> Result<Self, SettingsError> {
        let bytes = files::read(path)?;
        let not_toml = |at: usize, why: &dyn fmt::Display| {
            let before = bytes.get(..at).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            SettingsError::NotToml { path: path.to_owned(), line, why: why.to_string() }
        };
        let text =
            std::str::from_utf8(&bytes).map_err(|why| not_toml(why.valid_up_to(), &"no UTF-8"))?;
        let table: toml::Table = toml::from_str(text).map_err(|why: toml::de::Error| {
            not_toml(why.span().map_or(0, |span| span.start), &why.message())
        })?;
        let mut layer = Self { kind: FILE, path: path.to_owned(), values: dict_of(&table) };
        layer.seen_from_its_folder();
        Ok(layer)
    }

    /// Files that a settings file names are beside it, wherever the server was started.
    fn seen_from_its_folder(&mut self) {
        let folder = self.path.parent().unwrap_or(Path::new("")).to_owned();
        for key in KEYS.iter().filter(|key| key.kind == Kind::File) {
            if let Some(value) = find(&mut self.values, key.path)
                && let Some(named) = value.as_str().filter(|named| !named.is_empty())
            {
                *value = Value::from(folder.join(named).to_string_lossy().into_owned());
            }
        }
    }

    fn source(&self, path: &str) -> Source {
        source_of(self.kind, name_of(self.kind, &self.path, path))
    }

    /// Takes out what would not fit the settings, so that the rest can be looked at together.
    pub(super) fn without(mut self, problems: &[Problem]) -> Self {
        for problem in problems {
            take_out(&mut self.values, &problem.key);
        }
        self
    }

    /// What is not a setting, or cannot be its value.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.look_at(&self.values, "", &mut problems);
        problems
    }

    fn look_at(&self, values: &Dict, table: &str, problems: &mut Vec<Problem>) {
        for (name, value) in values {
            let path = if table.is_empty() { name.clone() } else { format!("{table}.{name}") };
            let mut add = |wrong: String, right: String| {
                let (key, source) = (path.clone(), self.source(&path));
                problems.push(Problem { key, source, wrong, right });
            };
            // A quoted name with a dot is one name, and not that of a key in a table.
            match (Key::of(&path).filter(|_| !name.contains('.')), value) {
                // What nothing is set to stays as it is.
                (Some(_), Value::Empty(..)) => {}
                (Some(key), value) if key.kind.takes(value) => {}
                (Some(key), value) => {
                    add(format!("is {}", shown(value)), format!("write {}", key.kind.wanted()));
                }
                (None, Value::Dict(_, inner)) if Key::is_table(&path) => {
                    self.look_at(inner, &path, problems);
                }
                (None, value) if Key::is_table(&path) => {
                    let right = format!("write [{path}], and below it {}", names_in(&path));
                    add(format!("is {}", shown(value)), right);
                }
                (None, _) => {
                    let right = format!("there are {}", names_in(table));
                    add("is not a setting".to_owned(), right);
                }
            }
        }
    }
}

/// What a setting is called where it is set: the path of the file, a variable, or a flag.
fn name_of(kind: &str, file: &Path, path: &str) -> String {
    match kind {
        FILE => file.to_string_lossy().into_owned(),
        VARIABLE => variable_of(path),
        FLAG => flag_of(path),
        _ => String::new(),
    }
}

pub(super) fn source_of(kind: &str, name: String) -> Source {
    match kind {
        FILE => Source::File(name.into()),
        VARIABLE => Source::Variable(name),
        FLAG => Source::Flag(name),
        _ => Source::Default,
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let (kind, path) = (self.kind, self.path.clone());
        Metadata::named(kind)
            .interpolater(move |_: &Profile, keys: &[&str]| name_of(kind, &path, &keys.join(".")))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The fields of something.
pub(super) fn dict_of(thing: &impl Serialize) -> Dict {
    let value = Value::serialize(thing).expect("settings are numbers, texts, and tables of them");
    value.into_dict().expect("settings are a table")
}

/// Sets `limits.connections_max` and the like.
fn set(values: &mut Dict, path: &str, value: Value) {
    let nested = figment::util::nest(path, value);
    let dict = nested.into_dict().expect("a path makes a table");
    for (name, value) in dict {
        match (values.get_mut(&name), value) {
            (Some(Value::Dict(_, there)), Value::Dict(_, more)) => there.extend(more),
            (_, value) => drop(values.insert(name, value)),
        }
    }
}

fn find<'v>(values: &'v mut Dict, path: &str) -> Option<&'v mut Value> {
    match path.split_once('.') {
        None => values.get_mut(path),
        Some((table, rest)) => match values.get_mut(table) {
            Some(Value::Dict(_, inner)) => find(inner, rest),
            _ => None,
        },
    }
}

fn take_out(values: &mut Dict, path: &str) {
    // A quoted name may have a dot in it: then it is no path.
    if values.remove(path).is_none()
        && let Some((table, rest)) = path.split_once('.')
        && let Some(Value::Dict(_, inner)) = values.get_mut(table)
    {
        take_out(inner, rest);
    }
}

/// A value as a message repeats it.
fn shown(value: &Value) -> String {
    match value {
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(..) => format!("a list, {}", as_json(value)),
        value => as_json(value),
    }
}

fn as_json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default().chars().take(80).collect()
}

/// What stands in a table, or at the top: keys and tables.
fn names_in(table: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for key in KEYS {
        let inside = match table {
            "" => Some(key.path),
            table => key.path.strip_prefix(table).and_then(|rest| rest.strip_prefix('.')),
        };
        let name = inside.and_then(|inside| inside.split('.').next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names.join(", ")
}
