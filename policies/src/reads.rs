//! [`Reads`]: what of its input a bundle looks at, so that it is known what a decision depends on.
//!
//! It is found by looking for the word `input` in the text of the rules, behind which a path of names must stand; whatever
//! else stands there counts as all of the input. So more may be found than is looked at, and never less.

use std::collections::BTreeSet;

/// What of its input a bundle looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// Paths, such as `resource.stream`; an empty one: all of it.
    paths: BTreeSet<String>,
}

impl Reads {
    /// Adds what the text of a module looks at.
    pub(crate) fn add(&mut self, rego: &str) {
        let code = without_comments_and_texts(rego);
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        for (at, _) in code.match_indices("input") {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| is_word(c) || c == '.') {
                continue;
            }
            let rest = &code[at + "input".len()..];
            if rest.starts_with(is_word) {
                continue;
            }
            self.paths.insert(path(rest));
        }
    }

    /// Whether it looks at this, at something in it, or at what it is in.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|read| is_in(read, path) || is_in(path, read))
    }

    /// Whether it looks at all of this at once, or at another part of it than these.
    pub(crate) fn has_beyond(&self, of: &str, parts: &[&str]) -> bool {
        self.paths.iter().any(|read| {
            is_in(of, read)
                || (is_in(read, of)
                    && !parts.iter().any(|part| {
                        let read = read.strip_prefix(of).and_then(|it| it.strip_prefix('.'));
                        read.is_some_and(|read| is_in(read, part))
                    }))
        })
    }
}

/// Whether a path is another one or leads into it.
fn is_in(path: &str, of: &str) -> bool {
    of.is_empty()
        || path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The names behind `input`: as many as stand there in dots.
fn path(mut rest: &str) -> String {
    let mut path = String::new();
    while let Some(behind) = rest.strip_prefix('.') {
        let end = behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let (name, after) = behind.split_at(end.unwrap_or(behind.len()));
        if name.is_empty() {
            break;
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        rest = after;
    }
    path
}

/// The text with nothing in comments, and with `""` for texts; each line is where it was.
pub(crate) fn without_comments_and_texts(rego: &str) -> String {
    let mut code = String::with_capacity(rego.len());
    let mut chars = rego.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' => {
                for c in chars.by_ref() {
                    if c == '\n' {
                        code.push('\n');
                        break;
                    }
                }
            }
            '"' | '`' => {
                code.push_str("\"\"");
                while let Some(inner) = chars.next() {
                    if inner == '\n' {
                        code.push('\n');
                    }
                    if inner == '\\' && c == '"' {
                        chars.next();
                    } else if inner == c {
                        break;
                    }
                }
            }
            c => code.push(c),
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rego: &str) -> Reads {
        let mut reads = Reads::default();
        reads.add(rego);
        reads
    }

    #[test]
    fn paths_are_found_and_comments_and_texts_are_not_looked_into() {
        let reads = of(
            "# input.events\nallow if input.subject.roles[_] == \"input.env\"\nx := `input.events`; my_input.a; inputs.b",
        );
        assert_eq!(reads.paths.iter().collect::<Vec<_>>(), ["subject.roles"]);
        assert!(reads.has("subject") && reads.has("subject.roles") && reads.has("subject.roles.x"));
        assert!(!reads.has("events") && !reads.has("subject.role") && !reads.has("env"));
    }

    #[test]
    fn what_is_no_path_counts_as_everything() {
        for all in [
            "x := input",
            "f(input)",
            "input[name]",
            "input [\"a\"]",
            "import input as i",
            "input .a",
        ] {
            let reads = of(all);
            assert!(reads.has("events") && reads.has("env.now"), "{all}");
            assert!(reads.has_beyond("resource", &["namespace"]), "{all}");
        }
        // The second quote of an escape ends no text.
        assert!(of(r#"x := "\"" ; y := input"#).has("events"));
    }

    #[test]
    fn parts_are_told_from_the_rest() {
        let known = &["namespace", "operation"];
        assert!(
            !of("input.resource.namespace; input.resource.operation").has_beyond("resource", known)
        );
        assert!(of("input.resource.stream").has_beyond("resource", known));
        assert!(of("x := input.resource").has_beyond("resource", known));
        assert!(of("input.resource[x]").has_beyond("resource", known));
        assert!(!of("input.resources").has_beyond("resource", known));
        assert!(!of("input.subject.id").has_beyond("resource", known));
    }
}
