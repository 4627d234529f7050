//! Templates such as `permit-{case}`: text with the names of columns or fields in braces.
//!
//! `{{` and `}}` stand for one brace. A name is everything up to the next `}`, so it may hold
//! colons, dots, and blanks, but no brace.

use std::fmt;

use crate::problem::listed;

/// A template as it was given, and with which flag: text with the names of columns or fields in braces, as in
/// `permit-{case}`; `{{` and `}}` stand for one brace. Shown as on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    flag: &'static str,
    source: String,
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Itself.
    Text(String),
    /// The value of the column or field of this name.
    Name(String),
}

/// Why a text is not a template: says where, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {source_text:?}: {problem}")]
pub struct TemplateError {
    flag: &'static str,
    source_text: String,
    problem: TemplateProblem,
}

/// What is wrong with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum TemplateProblem {
    /// Nothing there.
    #[error("is empty: write text, a column name in braces, or both, as in 'order-{{id}}'")]
    Empty,
    /// A `{` without its `}`.
    #[error("the brace at character {0} is never closed: close it, or write {{{{ for a brace")]
    Unclosed(usize),
    /// A `}` without its `{`.
    #[error("the brace at character {0} closes nothing: write }}}} for a brace")]
    Unopened(usize),
    /// `{}`.
    #[error("the braces at character {0} are empty: name a column or field in them")]
    Nameless(usize),
    /// A tag without a `:` of its own.
    #[error("a tag is 'key:value': write the key and a colon first, as in 'group:{{group}}'")]
    NotKeyValue,
}

/// A template names a column that the input does not have: says which, and which there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {template:?} names column {column:?}, which is not there; there are: {there}")]
pub struct UnknownColumn {
    flag: &'static str,
    template: String,
    column: String,
    there: String,
}

impl Template {
    /// Reads the template that was given with `flag`, which messages repeat.
    ///
    /// # Errors
    /// When it is empty, a brace has no other, or nothing stands between them.
    pub fn parse(flag: &'static str, source: &str) -> Result<Self, TemplateError> {
        let parts = parse_parts(source).map_err(|problem| TemplateError {
            flag,
            source_text: source.to_owned(),
            problem,
        })?;
        Ok(Self { flag, source: source.to_owned(), parts })
    }

    /// Reads a template that makes tags: its key and colon are part of its text.
    ///
    /// # Errors
    /// As [`Template::parse`], and when it makes no `key:value`.
    pub fn parse_tag(flag: &'static str, source: &str) -> Result<Self, TemplateError> {
        let template = Self::parse(flag, source)?;
        let keyed = template.parts.iter().any(|p| matches!(p, Part::Text(t) if t.contains(':')));
        if !keyed {
            let problem = TemplateProblem::NotKeyValue;
            return Err(TemplateError { flag, source_text: source.to_owned(), problem });
        }
        Ok(template)
    }

    /// Its pieces, in order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Replaces its names by places in `columns`.
    ///
    /// # Errors
    /// Names the column that is not there, and those that are.
    pub(crate) fn bind(&self, columns: &[String]) -> Result<Bound, UnknownColumn> {
        let bind = |part: &Part| match part {
            Part::Text(text) => Ok(BoundPart::Text(text.clone())),
            Part::Name(name) => {
                columns.iter().position(|column| column == name).map(BoundPart::Column).ok_or_else(
                    || UnknownColumn {
                        flag: self.flag,
                        template: self.source.clone(),
                        column: name.clone(),
                        there: listed(columns),
                    },
                )
            }
        };
        let parts = self.parts.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Bound { template: self.clone(), parts })
    }
}

impl fmt::Display for Template {
    /// As on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}'", self.flag, self.source)
    }
}

/// A template that knows where its columns stand.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// What it was made from.
    pub(crate) template: Template,
    parts: Vec<BoundPart>,
}

#[derive(Clone, Debug)]
enum BoundPart {
    Text(String),
    Column(usize),
}

impl Bound {
    /// The text for a row; a cell that is not there counts as empty.
    pub(crate) fn render<'c>(&self, cell: impl Fn(usize) -> Option<&'c str>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                BoundPart::Text(text) => out.push_str(text),
                BoundPart::Column(index) => out.push_str(cell(*index).unwrap_or_default()),
            }
        }
        out
    }

    /// The column it is, if it is one column and nothing else.
    pub(crate) fn only_column(&self) -> Option<usize> {
        match self.parts.as_slice() {
            [BoundPart::Column(index)] => Some(*index),
            _ => None,
        }
    }
}

/// Whether a rendered tag has a value; one without is left out.
pub(crate) fn tag_has_value(tag: &str) -> bool {
    !tag.split_once(':').is_some_and(|(_, value)| value.is_empty())
}

fn parse_parts(source: &str) -> Result<Vec<Part>, TemplateProblem> {
    if source.is_empty() {
        return Err(TemplateProblem::Empty);
    }
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut characters = source.chars().enumerate().peekable();
    while let Some((at, character)) = characters.next() {
        let place = at + 1;
        let doubled = characters.peek().is_some_and(|&(_, next)| next == character);
        match character {
            '{' | '}' if doubled => {
                characters.next();
                text.push(character);
            }
            '}' => return Err(TemplateProblem::Unopened(place)),
            '{' => {
                let mut name = String::new();
                loop {
                    match characters.next() {
                        Some((_, '}')) => break,
                        None | Some((_, '{')) => return Err(TemplateProblem::Unclosed(place)),
                        Some((_, character)) => name.push(character),
                    }
                }
                if name.is_empty() {
                    return Err(TemplateProblem::Nameless(place));
                }
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Name(name));
            }
            _ => text.push(character),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn name(name: &str) -> Part {
        Part::Name(name.to_owned())
    }

    #[test]
    fn braces_name_columns_and_doubled_braces_are_braces() {
        let check = |source: &str, expected: &[Part]| {
            assert_eq!(Template::parse("--stream", source).unwrap().parts(), expected, "{source}");
        };
        check("permit-{case:concept:name}", &[text("permit-"), name("case:concept:name")]);
        check("{a}{b c}", &[name("a"), name("b c")]);
        check("{{{a}}}", &[text("{"), name("a"), text("}")]);
        check("{{a}}", &[text("{a}")]);
        check("über-{größe}", &[text("über-"), name("größe")]);
        check("plain", &[text("plain")]);
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_place() {
        let check = |source: &str, part: &str| {
            let error = Template::parse("--type", source).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--type {source:?}")), "{error}");
            assert!(error.contains(part), "{error}");
        };
        check("", "empty");
        check("a-{b", "character 3 is never closed: close it, or write {{ for a brace");
        check("{a{b}", "character 1 is never closed");
        check("a}", "character 2 closes nothing: write }} for a brace");
        check("{}", "character 1 are empty");
    }

    #[test]
    fn a_tag_has_its_colon_in_its_text() {
        assert!(Template::parse_tag("--tag", "group:{org:group}").is_ok());
        let error = Template::parse_tag("--tag", "{org:group}").unwrap_err().to_string();
        assert!(error.contains("'group:{group}'"), "{error}");
    }

    #[test]
    fn an_unknown_column_is_named_with_the_template_and_what_is_there() {
        let columns = ["id".to_owned(), "at".to_owned()];
        let error = Template::parse("--stream", "o-{nr}").unwrap().bind(&columns).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--stream \"o-{nr}\" names column \"nr\", which is not there; there are: id, at"
        );
    }

    #[test]
    fn rendering_puts_cells_where_their_names_stand() {
        let columns = ["id".to_owned(), "at".to_owned()];
        let bound = Template::parse("--stream", "o-{id}/{id}").unwrap().bind(&columns).unwrap();
        assert_eq!(bound.render(|index| ["7", ""].get(index).copied()), "o-7/7");
        assert_eq!(bound.only_column(), None);
    }

    #[test]
    fn a_tag_without_a_value_is_known() {
        for (tag, has) in [("group:", false), ("group:a", true), ("a:b:", true), ("x", true)] {
            assert_eq!(tag_has_value(tag), has, "{tag}");
        }
    }
}
