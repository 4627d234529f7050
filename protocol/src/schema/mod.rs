//! The words of schemas: what a payload has to look like, in which versions, and how strictly that is kept.
//!
//! A **subject** is a name that versions of one schema stand under; unless it is said otherwise it is an event type.
//! Each version has an id, which events carry, and which the log gives: see [`SCHEMAS_STREAM`]. A version never changes
//! but for its state.

mod as_schema;
mod problem;
mod settings;
mod version;

pub use self::as_schema::AsSchema;
pub use self::problem::{DataProblem, Incompatibility, SchemaProblem, pointer_step};
pub use self::settings::{
    Closeness, Compatibility, EffectiveSettings, Pattern, SchemaSettings, SettingsChange,
    SettingsOf, Validation, closest,
};
pub use self::version::{
    NewSchema, SchemaFormat, SchemaReference, SchemaState, SchemaVersion, SubjectInfo, VersionInfo,
    VersionPick,
};

use crate::limits::SUBJECT_BYTES_MAX;
use crate::names::{self, InvalidName};

/// The stream that keeps the schemas of a namespace. The id of a version is the revision of the event that registered it,
/// plus one.
pub const SCHEMAS_STREAM: &str = "$schemas";

/// Checks the name of a subject.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_subject(name: &str) -> Result<(), InvalidName> {
    names::check("subject", name, SUBJECT_BYTES_MAX)
}

/// A word of a fixed set: its name, its `Display`, and how it is read from a text.
macro_rules! words {
    ($(#[$doc:meta])* $kind:ident, $what:literal { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $kind {
            $($(#[$word_doc])* $word,)*
        }

        impl $kind {
            /// Every one, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// Its name, as requests and answers spell it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)*
                }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $kind {
            type Err = $crate::error::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().find(|it| it.as_str().eq_ignore_ascii_case(text));
                found.copied().ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|it| it.as_str()).collect();
                    let text: String = text.chars().take(64).collect();
                    $crate::error::Invalid::Request(
                        format!("{text:?} is no {}: it is one of {}", $what, all.join(", ")),
                    )
                })
            }
        }
    };
}

pub(crate) use words;
