//! [`AsSchema`]: which version of its schema the data of an event is shown in.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::error::Invalid;

/// Which version of its schema the data of an event is shown in.
///
/// An event is stored in the version that it was written in, and is never changed. Whoever reads may ask for another: the
/// transforms of the versions between are applied to what is handed out. Events that follow no schema, and those of the
/// system, are shown as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AsSchema {
    /// As it is stored.
    #[default]
    Raw,
    /// The newest version of its subject that is active; or else the newest that ever was.
    Latest,
    /// This version of its subject, from 1.
    Version(u32),
}

impl FromStr for AsSchema {
    type Err = Invalid;

    /// Parses `raw`, `latest`, or the number of a version.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "raw" => return Ok(Self::Raw),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        let number = text.parse().ok().filter(|number| *number > 0).map(Self::Version);
        number.ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            let why = format!("as-schema {shown:?}: write raw, latest, or a version: 1, 2, …");
            Invalid::Request(why)
        })
    }
}

impl<'de> Deserialize<'de> for AsSchema {
    /// From `"raw"`, `"latest"`, or a number.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u32),
            Text(String),
        }
        let text = match Form::deserialize(from) {
            Ok(Form::Number(number)) => number.to_string(),
            Ok(Form::Text(text)) => text,
            Err(_) => return Err(D::Error::custom("write \"raw\", \"latest\", or a version")),
        };
        text.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for AsSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Latest => f.write_str("latest"),
            Self::Version(number) => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_parses_what_it_prints_and_nothing_else() {
        for text in ["raw", "latest", "1", "4294967295"] {
            let parsed = text.parse::<AsSchema>().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(serde_json::from_value::<AsSchema>(text.into()).unwrap(), parsed);
        }
        assert_eq!(serde_json::from_str::<AsSchema>("7").unwrap(), AsSchema::Version(7));
        assert!(serde_json::from_str::<AsSchema>("0").is_err());
        assert!(serde_json::from_str::<AsSchema>("{}").is_err());
        for text in ["", "0", "-1", "v1", "newest", "4294967296"] {
            let error = text.parse::<AsSchema>().unwrap_err().to_string();
            assert!(error.contains("raw, latest, or a version"), "{error}");
        }
    }
}
