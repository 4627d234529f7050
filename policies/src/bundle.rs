//! [`Bundle`]: the files of a policy, as they are kept, compared, and sent.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Most files of a bundle; the compiler of rules takes no more sources.
pub const BUNDLE_FILES_MAX: usize = 128;

/// Most bytes of all files of a bundle, so that it fits into one event with what JSON adds.
pub const BUNDLE_BYTES_MAX: usize = 384 * 1024;

/// Longest name of a file, in bytes.
pub const FILE_NAME_BYTES_MAX: usize = 200;

/// The file with what rules find under `data`.
const DATA: &str = "data.json";

/// Why some files are no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBundle {
    /// A name that is none of a file in a folder.
    #[error(
        "file name {0:?}: use at most {FILE_NAME_BYTES_MAX} bytes of letters, digits, `.`, `_`, `-`, and `/` between \
         folders"
    )]
    Name(String),
    /// A file of another kind.
    #[error("file {0:?} is neither Rego (`.rego`) nor `{DATA}`: a bundle has nothing else")]
    Kind(String),
    /// Too much of it.
    #[error(
        "the bundle has {bytes} bytes in {files} files: at most {BUNDLE_BYTES_MAX} in {BUNDLE_FILES_MAX} are taken"
    )]
    TooLarge {
        /// Bytes of all files.
        bytes: usize,
        /// How many files there are.
        files: usize,
    },
    /// No file of rules.
    #[error(
        "the bundle has no rules: put files that end with `.rego` into it, besides tests (`_test.rego`)"
    )]
    Empty,
    /// `data.json` is no JSON object.
    #[error("`{DATA}` is no JSON object: {0}")]
    Data(String),
    /// A file that no rules can be read from.
    #[error("{0}")]
    Rego(String),
    /// Rules that would take too long to read, or go too deep to be run.
    #[error("{0}")]
    TooComplex(String),
    /// A rule calls what it may not.
    #[error(
        "{file}:{line}: `{function}` is not to be called by a policy: a decision must follow from the input alone, and \
         what it takes must be bounded (the time is `input.env.now`)"
    )]
    Function {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u32,
        /// What is called.
        function: String,
    },
    /// Nothing decides.
    #[error(
        "no rule decides about any action: write at least one of `data.nexus.ACTION.decision`, such as package \
         `nexus.read` with a rule `decision`"
    )]
    NoRule,
    /// A rule of a name that no action has.
    #[error("package `nexus.{0}` has a rule `decision`, but there is no such action: {known}", known = known())]
    UnknownAction(String),
}

fn known() -> String {
    let names: Vec<_> = crate::Action::ALL.iter().map(|action| action.as_str()).collect();
    names.join(", ")
}

/// BLAKE3 of a bundle's files: bundles with the same one say the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A file of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleFile<'a> {
    /// Its name, with folders before it.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

impl BundleFile<'_> {
    /// Whether it has tests, which take no part in decisions.
    pub fn is_test(&self) -> bool {
        self.name.ends_with("_test.rego")
    }

    /// Whether it has rules or tests.
    pub fn is_rego(&self) -> bool {
        self.name.ends_with(".rego")
    }
}

/// The files of a policy: rules (`*.rego`), their tests (`*_test.rego`), and, where there is one, `data.json`.
///
/// As JSON it is an object of file names and texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Bundle {
    files: BTreeMap<String, String>,
}

impl Bundle {
    /// A bundle of these files, each with its name.
    ///
    /// # Errors
    /// When it has none with rules, too many, too much, or one of another kind or with a name that is none. Whether the
    /// rules are any is looked at by [`Policies::compile`](crate::Policies::compile).
    pub fn new(files: impl IntoIterator<Item = (String, String)>) -> Result<Self, BadBundle> {
        let files: BTreeMap<String, String> = files.into_iter().collect();
        let bytes = files.iter().map(|(name, text)| name.len() + text.len()).sum();
        if files.len() > BUNDLE_FILES_MAX || bytes > BUNDLE_BYTES_MAX {
            return Err(BadBundle::TooLarge { bytes, files: files.len() });
        }
        for name in files.keys() {
            check_name(name)?;
        }
        let bundle = Self { files };
        if !bundle.files().any(|file| file.is_rego() && !file.is_test()) {
            return Err(BadBundle::Empty);
        }
        bundle.data()?;
        Ok(bundle)
    }

    /// Its files, by name.
    pub fn files(&self) -> impl Iterator<Item = BundleFile<'_>> {
        self.files.iter().map(|(name, text)| BundleFile { name, text })
    }

    /// What rules find under `data`.
    pub(crate) fn data(&self) -> Result<Option<serde_json::Value>, BadBundle> {
        let Some(text) = self.files.get(DATA) else { return Ok(None) };
        match serde_json::from_str(text) {
            Ok(data @ serde_json::Value::Object(_)) => Ok(Some(data)),
            Ok(_) => Err(BadBundle::Data("it is another value".to_owned())),
            Err(error) => Err(BadBundle::Data(error.to_string())),
        }
    }

    /// What tells it from every other bundle.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        for part in self.files.iter().flat_map(|(name, text)| [name, text]) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Fingerprint(*hasher.finalize().as_bytes())
    }
}

impl TryFrom<BTreeMap<String, String>> for Bundle {
    type Error = BadBundle;

    fn try_from(files: BTreeMap<String, String>) -> Result<Self, BadBundle> {
        Self::new(files)
    }
}

impl From<Bundle> for BTreeMap<String, String> {
    fn from(bundle: Bundle) -> Self {
        bundle.files
    }
}

fn check_name(name: &str) -> Result<(), BadBundle> {
    let fits = |part: &str| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(is_word)
    };
    if name.len() > FILE_NAME_BYTES_MAX || !name.split('/').all(fits) {
        return Err(BadBundle::Name(name.chars().take(FILE_NAME_BYTES_MAX).collect()));
    }
    match name.ends_with(".rego") || name == DATA {
        true => Ok(()),
        false => Err(BadBundle::Kind(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Result<Bundle, BadBundle> {
        Bundle::new(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
    }

    #[test]
    fn files_of_other_kinds_and_names_are_refused() {
        for name in ["/a.rego", "../a.rego", "a//b.rego", ".a.rego", "a b.rego", "ä.rego", ""] {
            assert_eq!(of(&[(name, "")]), Err(BadBundle::Name(name.to_owned())));
        }
        assert_eq!(of(&[("a.txt", "")]), Err(BadBundle::Kind("a.txt".to_owned())));
        assert_eq!(of(&[("a/data.json", "{}")]), Err(BadBundle::Kind("a/data.json".to_owned())));
        assert_eq!(of(&[("a_test.rego", "")]), Err(BadBundle::Empty));
        assert!(matches!(of(&[("a.rego", ""), ("data.json", "[]")]), Err(BadBundle::Data(_))));
        let large = "x".repeat(BUNDLE_BYTES_MAX);
        assert!(matches!(of(&[("a.rego", &large)]), Err(BadBundle::TooLarge { .. })));
    }

    #[test]
    fn a_fingerprint_is_of_what_stands_in_which_file() {
        let one = of(&[("a.rego", "x"), ("b.rego", "y")]).unwrap();
        let same = of(&[("b.rego", "y"), ("a.rego", "x")]).unwrap();
        let other = of(&[("a.rego", "xb.rego"), ("y.rego", "")]).unwrap();
        assert_eq!(one.fingerprint(), same.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Bundle>(&json).unwrap(), one);
        assert!(serde_json::from_str::<Bundle>("{}").is_err());
    }
}
