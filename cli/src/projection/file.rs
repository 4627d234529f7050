//! A definition of a projection in a file.

use std::io::Read;
use std::path::Path;

use nexus_delivery::projection::{Definition, DefinitionError, DefinitionFile};
use serde_json::Value;

use crate::exit::Failure;

/// A definition has at most so many bytes.
const DEFINITION_BYTES_MAX: u64 = 1024 * 1024;

/// The one over events that comes with Nexus.
const EVENTS: &str = "@events";

/// Reads a definition: the one over events where it is `@events`; in TOML where the name of the file ends so, else in JSON; `-` is standard input.
///
/// # Errors
/// Says what is wrong with it, and where.
pub(super) fn read(path: &Path) -> Result<Definition, Failure> {
    read_with_json(path).map(|(definition, _)| definition)
}

/// The same, with what is written there as JSON.
///
/// # Errors
/// As [`read`].
pub(super) fn read_with_json(path: &Path) -> Result<(Definition, Value), Failure> {
    let shown = path.display();
    if path == Path::new(EVENTS) {
        let file = DefinitionFile::of_events();
        let json = serde_json::to_value(&file).map_err(|why| Failure::failed(why.to_string()))?;
        let definition = Definition::new(file).map_err(|why| Failure::failed(why.to_string()))?;
        return Ok((definition, json));
    }
    let mut text = String::new();
    let limit = DEFINITION_BYTES_MAX + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::failed(format!("{shown} cannot be read: {error}")))?;
    if text.len() as u64 > DEFINITION_BYTES_MAX {
        let why = format!("{shown} has more than {DEFINITION_BYTES_MAX} bytes");
        return Err(Failure::usage(why));
    }
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let json: Result<Value, String> = if is_toml {
        toml::from_str(&text).map_err(|error| error.to_string())
    } else {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    };
    let json = json.map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    let definition = DefinitionFile::from_json(json.clone()).and_then(Definition::new);
    definition
        .map(|definition| (definition, json))
        .map_err(|error: DefinitionError| Failure::usage(format!("{shown}: {error}")))
}
