//! [`KEYS`]: every setting by its name, and what it may be. Messages, variables, and the reference page
//! follow from this list.

use std::net::SocketAddr;

use figment::value::{Dict, Value};

use crate::principal::Role;

/// A setting: `listen`, or `limits.connections_max` for a key of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, with that of its table and a dot before it.
    pub path: &'static str,
    /// What it may be.
    pub kind: Kind,
}

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number within bounds, both inclusive.
    Number {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
        /// What it counts.
        unit: &'static str,
    },
    /// `ADDRESS:PORT` of this machine.
    Address,
    /// The path of a file; in a settings file it is seen from that file's folder.
    File,
    /// A text that is held against another.
    Text,
    /// A table of names, each with a role. In a variable they stand between commas, as NAME=ROLE.
    Roles,
    /// A list of origins of pages: `https://HOST`, with a port where it is another than usual. In a
    /// variable they stand between commas.
    Origins,
}

const fn number(path: &'static str, least: u64, most: u64, unit: &'static str) -> Key {
    Key { path, kind: Kind::Number { least, most, unit } }
}

/// Every setting, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    Key { path: "listen", kind: Kind::Address },
    Key { path: "dev", kind: Kind::Switch },
    number("grace_s", 0, 3600, "seconds"),
    Key { path: "tls.certificate", kind: Kind::File },
    Key { path: "tls.key", kind: Kind::File },
    Key { path: "tls.client_ca", kind: Kind::File },
    Key { path: "auth.jwks", kind: Kind::File },
    Key { path: "auth.issuer", kind: Kind::Text },
    Key { path: "auth.audience", kind: Kind::Text },
    Key { path: "auth.role_claim", kind: Kind::Text },
    Key { path: "auth.certificates", kind: Kind::Roles },
    number("limits.connections_max", 1, 1_000_000, "connections"),
    number("limits.appends_in_flight_max", 1, 65_536, "appends"),
    // The most is what the server can count, in KiB.
    number("limits.request_bytes_max", 1 << 20, 1 << 38, "bytes"),
    number("quota.events_per_s", 0, 1 << 40, "events, 0 for no limit"),
    number("quota.bytes_per_s", 0, 1 << 40, "bytes, 0 for no limit"),
    number("quota.reads_per_s", 0, 1 << 40, "reads, 0 for no limit"),
    number("http.body_bytes_max", 1 << 10, 1 << 30, "bytes"),
    number("http.request_time_s", 1, 3600, "seconds"),
    Key { path: "http.cors_origins", kind: Kind::Origins },
    Key { path: "metrics.open", kind: Kind::Switch },
    number("projections.disk_bytes_max", 0, 1 << 50, "bytes, 0 for no limit"),
    number("projections.disk_free_bytes_min", 0, 1 << 50, "bytes"),
];

impl Key {
    /// The key of this path, if it is one.
    pub(super) fn of(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }

    /// Whether there are keys in a table of this path.
    pub(super) fn is_table(path: &str) -> bool {
        KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The variable that sets it: `NEXUS_LIMITS_CONNECTIONS_MAX`.
    pub fn variable(&self) -> String {
        variable_of(self.path)
    }
}

/// Whether a text is an origin, as a browser sends it.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    // A host, of a name or in brackets, and a port.
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    host.is_some_and(|host| host.starts_with(|c| c != ':' && fits(c)) && host.chars().all(fits))
}

/// The variable of a path.
pub(super) fn variable_of(path: &str) -> String {
    format!("NEXUS_{}", path.to_ascii_uppercase().replace('.', "_"))
}

/// The flag of a path, for those that have one: `--grace-s`.
pub(super) fn flag_of(path: &str) -> String {
    format!("--{}", path.replace(['.', '_'], "-"))
}

impl Kind {
    /// What to write, said to people.
    pub fn wanted(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Number { least, most, unit } => {
                format!("a whole number of {unit} from {least} to {most}")
            }
            Self::Address => {
                "ADDRESS:PORT of this machine, as in \"127.0.0.1:7420\" or \"[::]:7420\"".to_owned()
            }
            Self::File => "the path of a file".to_owned(),
            Self::Text => "a text that is not empty".to_owned(),
            Self::Roles => {
                "a table of names and roles, as in \"ci.example\" = \"writer\"; a role is admin, operator, \
                 writer, reader, or monitor"
                    .to_owned()
            }
            Self::Origins => {
                "a list of origins, as in [\"https://console.example.org\"], without a path"
                    .to_owned()
            }
        }
    }

    /// Whether a value is such a one.
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Switch => value.to_bool().is_some(),
            Self::Number { least, most, .. } => {
                let number = value.to_u128().or_else(|| value.to_i128()?.try_into().ok());
                number.is_some_and(|number| (least.into()..=most.into()).contains(&number))
            }
            Self::Address => value.as_str().is_some_and(|text| text.parse::<SocketAddr>().is_ok()),
            Self::File | Self::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::Roles => value.as_dict().is_some_and(|all| {
                let is_role =
                    |role: &Value| role.as_str().is_some_and(|it| it.parse::<Role>().is_ok());
                all.iter().all(|(name, role)| !name.is_empty() && is_role(role))
            }),
            Self::Origins => value
                .as_array()
                .is_some_and(|all| all.iter().all(|origin| origin.as_str().is_some_and(is_origin))),
        }
    }

    /// The value that a text of the environment stands for; text that stands for none stays what it is,
    /// and is refused like the same in a file.
    pub(super) fn read(self, text: &str) -> Value {
        let text = text.trim();
        match self {
            Self::Switch => text.parse::<bool>().ok().map(Value::from),
            Self::Number { .. } => text.parse::<u64>().ok().map(Value::from),
            Self::Roles => {
                let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
                let pairs = pairs.map(|pair| pair.rsplit_once('=').unwrap_or((pair, "")));
                let roles: Dict = pairs
                    .map(|(name, role)| (name.trim().to_owned(), Value::from(role.trim())))
                    .collect();
                Some(roles.into())
            }
            Self::Origins => {
                let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
                Some(origins.map(Value::from).collect::<Vec<_>>().into())
            }
            Self::Address | Self::File | Self::Text => None,
        }
        .unwrap_or_else(|| Value::from(text))
    }
}
