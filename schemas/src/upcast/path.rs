//! Where an operation works: a JSON pointer that leads through objects only.

use nexus_protocol::limits::{TRANSFORM_PATH_BYTES_MAX, TRANSFORM_PATH_STEPS_MAX};

use super::scan;

/// The name of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) name: String,
    /// The same with quotation marks, as it is written.
    pub(super) quoted: String,
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), quoted: scan::quoted(name) }
    }
}

/// A pointer of at least one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) text: String,
    pub(super) steps: Vec<Name>,
}

impl Path {
    /// Reads a pointer; an error says what is wrong, and what would be right.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a path is a JSON pointer of at least one step, as in \"/a/b\"".to_owned());
        };
        if text.len() > TRANSFORM_PATH_BYTES_MAX {
            return Err(format!("a path has at most {TRANSFORM_PATH_BYTES_MAX} bytes"));
        }
        if rest.bytes().filter(|it| *it == b'/').count() >= TRANSFORM_PATH_STEPS_MAX {
            return Err(format!("a path has at most {TRANSFORM_PATH_STEPS_MAX} steps"));
        }
        let steps: Option<Vec<_>> =
            rest.split('/').map(|step| unescaped(step).map(|it| Name::new(&it))).collect();
        let why = "in a path \"~\" is written \"~0\", and \"/\" in a name \"~1\"";
        Ok(Self { text: text.to_owned(), steps: steps.ok_or(why)? })
    }

    /// The pointer to the member of another name in the same object.
    pub(super) fn sibling(&self, name: &Name) -> Result<Self, String> {
        let parent = self.text.rsplit_once('/').map_or("", |(parent, _)| parent);
        let step = name.name.replace('~', "~0").replace('/', "~1");
        Self::new(&format!("{parent}/{step}"))
    }

    /// Whether this is the other or leads there.
    pub(super) fn leads_to(&self, other: &Self) -> bool {
        other.steps.starts_with(&self.steps)
    }

    /// Whether both name members of the same object.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let parents = (self.steps.split_last(), other.steps.split_last());
        matches!(parents, (Some((_, own)), Some((_, theirs))) if own == theirs)
    }
}

/// A step as the name that it means. `None`: a tilde stands there that escapes nothing.
fn unescaped(step: &str) -> Option<String> {
    let mut name = String::with_capacity(step.len());
    let mut parts = step.split('~');
    name.push_str(parts.next()?);
    for part in parts {
        let (escaped, rest) = (part.get(..1)?, part.get(1..)?);
        name.push(match escaped {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        name.push_str(rest);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_names() {
        let names = |text| -> Vec<String> {
            Path::new(text).unwrap().steps.into_iter().map(|it| it.name).collect()
        };
        assert_eq!(names("/a/b"), ["a", "b"]);
        assert_eq!(names("/"), [""]);
        assert_eq!(names("/0/~01/~1~0/ü\""), ["0", "~1", "/~", "ü\""]);
        for wrong in ["", "a", "a/b", "/~", "/~2", "/a~/b", "/~ü"] {
            assert!(Path::new(wrong).is_err(), "{wrong}");
        }
        assert!(Path::new(&"/a".repeat(TRANSFORM_PATH_STEPS_MAX)).is_ok());
        assert!(Path::new(&"/a".repeat(TRANSFORM_PATH_STEPS_MAX + 1)).is_err());
        assert!(Path::new(&format!("/{}", "a".repeat(TRANSFORM_PATH_BYTES_MAX))).is_err());
    }

    #[test]
    fn siblings_are_in_the_same_object() {
        let path = Path::new("/a/b").unwrap();
        let sibling = path.sibling(&Name::new("c/~")).unwrap();
        assert_eq!(sibling.text, "/a/c~1~0");
        assert!(path.is_beside(&sibling));
        assert!(!path.is_beside(&Path::new("/b").unwrap()));
        assert!(Path::new("/a").unwrap().leads_to(&path));
        assert!(!Path::new("/a/b/c").unwrap().leads_to(&path));
    }
}
