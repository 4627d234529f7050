//! [`Asking`]: what is asked for, in the query language or as a tree, as a query of Tantivy.
//!
//! A tree has the shape that many know of Elasticsearch: `{"bool": {"must": […]}}`, `match`, `match_phrase`, `term`, `terms`,
//! `range`, `prefix`, `fuzzy`, `regexp`, `exists`, `match_all`; a text in it is in the query language. What is asked is
//! never trusted: its size, its depth, and its parts are bounded, and a field that whoever asks may not see is one that is
//! not there.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Bound;

use nexus_delivery::projection::FieldType;
use nexus_protocol::Timestamp;
use nexus_protocol::limits::{
    SEARCH_CLAUSES_MAX, SEARCH_DEPTH_MAX, SEARCH_FUZZY_CHARS_MAX, SEARCH_PATTERN_CLAUSES,
    SEARCH_TEXT_BYTES_MAX,
};
use serde_json::{Map, Value};
use tantivy::query::{
    AllQuery, BooleanQuery, ExistsQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, QueryParser,
    RangeQuery, RegexQuery, TermQuery, TermSetQuery,
};
use tantivy::query_grammar::{UserInputAst, UserInputLeaf, parse_query};
use tantivy::schema::{Facet, Field, IndexRecordOption};
use tantivy::{Index, Term};

use super::aggregations::shortened;
use super::check::{check_range, check_regex, check_text, words_of};
use super::mapping::{Mapped, Mapping, date, float, ip};

/// The farthest that a word may be from another that it is found by.
const FUZZINESS_MAX: u64 = 2;
/// The farthest that the words of a phrase may be from their places.
const SLOP_MAX: u32 = 64;
/// The most that a part counts for in the score.
const BOOST_MAX: f64 = 1e6;

/// What is asked of an index, by somebody.
pub(crate) struct Asking<'a> {
    mapping: &'a Mapping,
    index: &'a Index,
    /// Fields that whoever asks may not see.
    hidden: &'a BTreeSet<String>,
    clauses: Cell<usize>,
}

type Asked = Result<Box<dyn Query>, String>;

impl<'a> Asking<'a> {
    pub(crate) fn new(
        mapping: &'a Mapping,
        index: &'a Index,
        hidden: &'a BTreeSet<String>,
    ) -> Self {
        Self { mapping, index, hidden, clauses: Cell::new(0) }
    }

    /// A field that may be asked for.
    pub(crate) fn field(&self, name: &str) -> Result<Mapped, String> {
        let found = self.mapping.fields.get(name).filter(|_| !self.hidden.contains(name));
        found.copied().ok_or_else(|| format!("there is no field {:?}", shortened(name)))
    }

    /// The same, or the JSON field that a path leads into.
    pub(crate) fn field_or_path(&self, name: &str) -> Result<Mapped, String> {
        if name.contains(char::is_control) {
            return Err("names of fields have no control characters".to_owned());
        }
        let found = self.field(name);
        let into = name.split('.').next().and_then(|first| self.field(first).ok());
        found.or_else(|why| into.filter(|it| it.field_type == FieldType::Json).ok_or(why))
    }

    /// A query, as a text or a tree.
    pub(crate) fn query(&self, asked: &Value) -> Asked {
        self.tree(asked, 0)
    }

    fn count(&self, clauses: usize) -> Result<(), String> {
        self.clauses.set(self.clauses.get() + clauses);
        match self.clauses.get() > SEARCH_CLAUSES_MAX {
            true => Err(format!("it has more than {SEARCH_CLAUSES_MAX} parts")),
            false => Ok(()),
        }
    }

    fn tree(&self, asked: &Value, depth: usize) -> Asked {
        if depth > SEARCH_DEPTH_MAX {
            return Err(format!("it is nested deeper than {SEARCH_DEPTH_MAX}"));
        }
        self.count(1)?;
        let (kind, of) = match asked {
            Value::String(text) => return self.text(text),
            Value::Object(members) if members.len() == 1 => members.iter().next(),
            _ => None,
        }
        .ok_or(
            "a part is a text, or an object with one member, as {\"term\": {\"status\": \"open\"}}",
        )?;
        let kind = &shortened(kind);
        let Value::Object(of) = of else { return Err(format!("`{kind}` is an object")) };
        match kind.as_str() {
            "match_all" => Ok(Box::new(AllQuery)),
            "query_string" => {
                let text = of.get("query").and_then(Value::as_str);
                self.text(text.ok_or("`query_string` needs `query`, a text")?)
            }
            "bool" => self.bool(of, depth),
            "exists" => {
                let name =
                    of.get("field").and_then(Value::as_str).ok_or("`exists` needs `field`")?;
                self.exists(name)
            }
            "match" | "match_phrase" | "term" | "terms" | "range" | "prefix" | "fuzzy"
            | "regexp" => {
                let mut members = of.iter();
                let (Some((name, of)), None) = (members.next(), members.next()) else {
                    return Err(format!("`{kind}` names one field"));
                };
                self.of_field(kind, name, of)
            }
            other => Err(format!(
                "there is no `{other}`: match, match_phrase, term, terms, range, prefix, fuzzy, regexp, exists, bool, \
                 match_all, query_string"
            )),
        }
    }

    fn bool(&self, of: &Map<String, Value>, depth: usize) -> Asked {
        let mut parts: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        let (mut required, mut optional) = (0, 0);
        for (kind, all) in of {
            let occur = match kind.as_str() {
                "must" | "filter" => Occur::Must,
                "should" => Occur::Should,
                "must_not" => Occur::MustNot,
                other => {
                    return Err(format!(
                        "`bool` has must, should, must_not, filter, and no {:?}",
                        shortened(other)
                    ));
                }
            };
            let one = std::slice::from_ref(all);
            let all = all.as_array().map_or(one, Vec::as_slice);
            for part in all {
                let query = self.tree(part, depth + 1)?;
                let query = match kind.as_str() {
                    // It lets through, and does not say how well.
                    "filter" => Box::new(tantivy::query::ConstScoreQuery::new(query, 0.0)),
                    _ => query,
                };
                match occur {
                    Occur::Must => required += 1,
                    Occur::Should => optional += 1,
                    Occur::MustNot => {}
                }
                parts.push((occur, query));
            }
        }
        // What only leaves out needs something to leave it out of.
        if required + optional == 0 {
            parts.push((Occur::Must, Box::new(AllQuery)));
        }
        Ok(Box::new(BooleanQuery::new(parts)))
    }

    fn of_field(&self, kind: &str, name: &str, of: &Value) -> Asked {
        let mapped = self.field(name)?;
        if mapped.field_type == FieldType::Json {
            return Err(format!(
                "field {name:?} is json: ask for what is in it in the query language, as {name}.path:value"
            ));
        }
        let option = |option: &str| match of {
            Value::Object(members) => members.get(option),
            value => (option == "query" || option == "value").then_some(value),
        };
        let value = option("query").or(option("value"));
        let text = || {
            let text = value.and_then(Value::as_str);
            text.ok_or_else(|| format!("`{kind}` of {name:?} needs a text"))
        };
        match kind {
            "match" if mapped.field_type == FieldType::Text => {
                let all = option("operator").and_then(Value::as_str) == Some("and");
                let occur = if all { Occur::Must } else { Occur::Should };
                let terms = self.words(mapped, text()?)?;
                let terms = terms.into_iter().map(|(_, term)| (occur, scored(term)));
                Ok(Box::new(BooleanQuery::new(terms.collect())))
            }
            "match_phrase" if mapped.field_type == FieldType::Text => {
                let slop = option("slop").and_then(Value::as_u64).unwrap_or(0);
                let mut terms = self.words(mapped, text()?)?;
                match terms.len() {
                    0 => Err(format!("`match_phrase` of {name:?} has no words")),
                    1 => Ok(scored(terms.remove(0).1)),
                    _ => {
                        let slop = u32::try_from(slop).unwrap_or(SLOP_MAX).min(SLOP_MAX);
                        Ok(Box::new(PhraseQuery::new_with_offset_and_slop(terms, slop)))
                    }
                }
            }
            "match" | "match_phrase" | "term" => {
                let value = value.ok_or_else(|| format!("`{kind}` of {name:?} needs a value"))?;
                self.value(mapped, name, value)
            }
            "terms" => {
                let all =
                    of.as_array().ok_or_else(|| format!("`terms` of {name:?} needs an array"))?;
                self.count(all.len())?;
                if matches!(mapped.field_type, FieldType::Text | FieldType::Date) {
                    let each = all.iter().map(|value| {
                        self.value(mapped, name, value).map(|query| (Occur::Should, query))
                    });
                    return Ok(Box::new(BooleanQuery::new(each.collect::<Result<_, _>>()?)));
                }
                let terms = all.iter().map(|value| term_of(mapped, name, value));
                Ok(Box::new(TermSetQuery::new(terms.collect::<Result<Vec<_>, _>>()?)))
            }
            "range" => self.range(mapped, name, of),
            _ if !matches!(mapped.field_type, FieldType::Text | FieldType::Keyword) => Err(
                format!("`{kind}` is for text and keyword, and {name:?} is {}", mapped.field_type),
            ),
            _ => self.of_a_word(kind, mapped, text()?, option("fuzziness")),
        }
    }

    /// What has a value.
    fn value(&self, mapped: Mapped, name: &str, value: &Value) -> Asked {
        match (mapped.field_type, value) {
            // As it stands in the index: without accents.
            (FieldType::Text, Value::String(text)) => Ok(scored(self.one_word(mapped, text)?)),
            // Terms of dates are of whole seconds.
            (FieldType::Date, value) => {
                let term = term_of(mapped, name, value)?;
                let bound = Bound::Included(term);
                Ok(Box::new(RangeQuery::new(bound.clone(), bound)))
            }
            (_, value) => Ok(scored(term_of(mapped, name, value)?)),
        }
    }

    /// What is asked about the words of a field, each by itself.
    fn of_a_word(
        &self,
        kind: &str,
        mapped: Mapped,
        text: &str,
        fuzziness: Option<&Value>,
    ) -> Asked {
        self.count(SEARCH_PATTERN_CLAUSES - 1)?;
        match kind {
            "prefix" => {
                let term = self.one_word(mapped, text)?;
                Ok(Box::new(FuzzyTermQuery::new_prefix(term, 0, true)))
            }
            "fuzzy" => {
                let far = fuzziness.and_then(Value::as_u64).unwrap_or(1).min(FUZZINESS_MAX);
                let far = u8::try_from(far).unwrap_or_default();
                if text.chars().count() > SEARCH_FUZZY_CHARS_MAX {
                    return Err(format!(
                        "`fuzzy` is for words of at most {SEARCH_FUZZY_CHARS_MAX} letters"
                    ));
                }
                let term = self.one_word(mapped, text)?;
                Ok(Box::new(FuzzyTermQuery::new(term, far, true)))
            }
            "regexp" => {
                check_regex(text)?;
                let query = RegexQuery::from_pattern(text, mapped.field);
                Ok(Box::new(query.map_err(|why| format!("{text:?}: {why}"))?))
            }
            other => Err(format!("there is no `{other}`")),
        }
    }

    fn range(&self, mapped: Mapped, name: &str, of: &Value) -> Asked {
        if matches!(mapped.field_type, FieldType::Text | FieldType::Facet) {
            return Err(format!("`range` is not for {}: {name:?}", mapped.field_type));
        }
        let of = of.as_object().filter(|of| !of.is_empty());
        let of = of.ok_or_else(|| format!("`range` of {name:?} needs gt, gte, lt, or lte"))?;
        let (mut lower, mut upper) = (Bound::Unbounded, Bound::Unbounded);
        for (kind, value) in of {
            let term = term_of(mapped, name, value)?;
            let beyond_it_is_nothing = matches!(kind.as_str(), "gt" | "lt")
                && value.as_str().and_then(|it| it.parse().ok())
                    == Some(IpAddr::from(end_of(kind)));
            if mapped.field_type == FieldType::Ip && beyond_it_is_nothing {
                return Err(format!("`{kind}` of {value} has nothing in it"));
            }
            match kind.as_str() {
                "gt" => lower = Bound::Excluded(term),
                "gte" => lower = Bound::Included(term),
                "lt" => upper = Bound::Excluded(term),
                "lte" => upper = Bound::Included(term),
                other => return Err(format!("`range` has gt, gte, lt, lte, and no {other:?}")),
            }
        }
        Ok(Box::new(RangeQuery::new(lower, upper)))
    }

    fn exists(&self, name: &str) -> Asked {
        let mapped = self.field_or_path(name)?;
        match mapped.field_type {
            FieldType::Text | FieldType::Facet => Err(format!(
                "`exists` is not for {}: {name:?}; have the same as keyword beside it",
                mapped.field_type
            )),
            field_type => {
                Ok(Box::new(ExistsQuery::new(name.to_owned(), field_type == FieldType::Json)))
            }
        }
    }

    /// The words of a text, as they stand in a field.
    fn words(&self, mapped: Mapped, text: &str) -> Result<Vec<(usize, Term)>, String> {
        let analyzer = self.index.tokenizer_for_field(mapped.field);
        let mut analyzer = analyzer.map_err(|why| why.to_string())?;
        let mut words = Vec::new();
        let mut stream = analyzer.token_stream(text);
        stream.process(&mut |token| {
            words.push((token.position, Term::from_field_text(mapped.field, &token.text)));
        });
        self.count(words.len())?;
        Ok(words)
    }

    fn one_word(&self, mapped: Mapped, text: &str) -> Result<Term, String> {
        let mut words = self.words(mapped, text)?;
        match (words.pop(), words.is_empty()) {
            (Some((_, term)), true) => Ok(term),
            _ => Err(format!("{:?} is not one word: `match` takes several", shortened(text))),
        }
    }

    /// A query in the query language.
    fn text(&self, text: &str) -> Asked {
        if text.len() > SEARCH_TEXT_BYTES_MAX {
            return Err(format!(
                "a text in the query language has at most {SEARCH_TEXT_BYTES_MAX} bytes: say it as a tree, \
                 where `terms` takes a list"
            ));
        }
        check_text(text)?;
        if text.trim().is_empty() {
            return Ok(Box::new(AllQuery));
        }
        let tree = parse_query(text).map_err(|_| {
            let text = shortened(text);
            format!("{text:?} is no query: quote what has special signs, as name:\"a: b\"")
        })?;
        let regexes = self.check(&tree, 0)?;
        let fields = self.by_default().collect();
        let mut parser =
            QueryParser::new(self.mapping.schema.clone(), fields, self.index.tokenizers().clone());
        parser.set_conjunction_by_default();
        if regexes {
            parser.allow_regexes();
        }
        parser.build_query_from_user_input_ast(with_all(tree)).map_err(|why| why.to_string())
    }

    /// Where it is looked for what names no field.
    fn by_default(&self) -> impl Iterator<Item = Field> {
        let texts = self.mapping.fields.iter().filter(|(name, it)| {
            matches!(it.field_type, FieldType::Text | FieldType::Keyword)
                && !self.hidden.contains(*name)
        });
        texts.map(|(_, it)| it.field)
    }

    /// Whether what a query in the query language names is there, and bounded; whether it has regular expressions.
    fn check(&self, tree: &UserInputAst, depth: usize) -> Result<bool, String> {
        if depth > 4 * SEARCH_DEPTH_MAX {
            return Err(format!("it is nested deeper than {SEARCH_DEPTH_MAX}"));
        }
        match tree {
            UserInputAst::Clause(parts) => {
                let mut regexes = false;
                for (_, part) in parts {
                    regexes |= self.check(part, depth + 1)?;
                }
                Ok(regexes)
            }
            UserInputAst::Boost(inner, by) => match (0.0..=BOOST_MAX).contains(&by.into_inner()) {
                true => self.check(inner, depth + 1),
                false => Err(format!("a part counts for 0 to {BOOST_MAX} times as much")),
            },
            UserInputAst::Leaf(leaf) => {
                self.count(1)?;
                match &**leaf {
                    UserInputLeaf::All => Ok(false),
                    UserInputLeaf::Literal(literal) => {
                        let field = literal.field_name.as_deref();
                        if literal.slop > SLOP_MAX {
                            return Err(format!("words of a phrase are at most {SLOP_MAX} apart"));
                        }
                        let fields = field.map_or_else(|| self.by_default().count(), |_| 1);
                        self.count(words_of(&literal.phrase) * fields)?;
                        self.named(field).map(|()| false)
                    }
                    UserInputLeaf::Range { field, lower, upper } => {
                        let of = field.as_deref().map(|it| self.field_or_path(it)).transpose()?;
                        let is_json = of.is_some_and(|it| it.field_type == FieldType::Json);
                        check_range(lower, upper, is_json).map(|()| false)
                    }
                    UserInputLeaf::Set { field, elements } => {
                        self.count(elements.len())?;
                        self.named(field.as_deref()).map(|()| false)
                    }
                    UserInputLeaf::Exists { field } => {
                        self.named(Some(field))?;
                        self.exists(field).map(|_| false)
                    }
                    UserInputLeaf::Regex { field, pattern } => {
                        self.named(field.as_deref())?;
                        self.count(SEARCH_PATTERN_CLAUSES - 1)?;
                        check_regex(pattern).map(|()| true)
                    }
                }
            }
        }
    }

    /// Whether a field that a query names may be asked for, or a path into one.
    fn named(&self, name: Option<&str>) -> Result<(), String> {
        name.map_or(Ok(()), |name| self.field_or_path(name).map(|_| ()))
    }
}

/// What only leaves out needs something to leave it out of: all.
fn with_all(tree: UserInputAst) -> UserInputAst {
    match tree {
        UserInputAst::Clause(parts) => {
            let only_leaves_out = parts.iter().all(|(occur, _)| *occur == Some(Occur::MustNot));
            let all = UserInputAst::Leaf(Box::new(UserInputLeaf::All));
            let all = (only_leaves_out && !parts.is_empty()).then_some((Some(Occur::Must), all));
            let parts = parts.into_iter().map(|(occur, part)| (occur, with_all(part)));
            UserInputAst::Clause(parts.chain(all).collect())
        }
        UserInputAst::Boost(inner, by) => UserInputAst::Boost(Box::new(with_all(*inner)), by),
        leaf => leaf,
    }
}

fn scored(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
}

/// The address that nothing is beyond on one side.
fn end_of(kind: &str) -> [u8; 16] {
    match kind {
        "lt" => [0; 16],
        _ => [255; 16],
    }
}

/// A value of a field as it stands in the index.
fn term_of(
    Mapped { field, field_type }: Mapped,
    name: &str,
    value: &Value,
) -> Result<Term, String> {
    let text = value.as_str();
    let term = match field_type {
        FieldType::Text | FieldType::Keyword => text.map(|it| Term::from_field_text(field, it)),
        FieldType::U64 => value.as_u64().map(|it| Term::from_field_u64(field, it)),
        FieldType::I64 => value.as_i64().map(|it| Term::from_field_i64(field, it)),
        FieldType::F64 => value.as_f64().map(|it| Term::from_field_f64(field, float(it))),
        FieldType::Bool => value.as_bool().map(|it| Term::from_field_bool(field, it)),
        FieldType::Date => {
            let at = text.and_then(|it| it.parse::<Timestamp>().ok());
            at.map(|it| Term::from_field_date(field, date(it)))
        }
        FieldType::Ip => {
            let address = text.and_then(|it| it.parse::<IpAddr>().ok());
            address.map(|it| Term::from_field_ip_addr(field, ip(it)))
        }
        FieldType::Facet => {
            let facet = text.and_then(|it| Facet::from_text(it).ok());
            facet.map(|it| Term::from_facet(field, &it))
        }
        FieldType::Json => None,
    };
    term.ok_or_else(|| {
        let shown: String = value.to_string().chars().take(64).collect();
        format!("{shown} is no {field_type}, which field {name:?} is")
    })
}
