//! What documents of purchases are searched for: five kinds of questions, the same in every run.

use nexus_protocol::search::SearchRequest;
use serde_json::json;

use super::super::workload::Seeded;
use super::purchases::{Purchase, word_of};

/// Questions of a kind; each turn asks all of them.
const QUESTIONS: u64 = 32;
/// How far a range of cents reaches.
const RANGE_CENTS: i64 = 10_000;
/// A status that is left out.
const LEFT_OUT: &str = "OrderPaid";
/// What documents are put in order by where not by how well they match.
pub(super) const SORTED_BY: &str = "total_cents";

/// A kind of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word of the note.
    Term,
    /// Two words of the note, side by side.
    Phrase,
    /// A range of cents.
    Range,
    /// A word, a country, and not a status.
    Bool,
    /// A country, the highest total first.
    Sorted,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Term, Self::Phrase, Self::Range, Self::Bool, Self::Sorted];

    /// As in the names of scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "term",
            Self::Phrase => "phrase",
            Self::Range => "range",
            Self::Bool => "bool",
            Self::Sorted => "sorted",
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Notes with this word, the best first.
    Term(String),
    /// Notes with these two words side by side, the best first.
    Phrase([String; 2]),
    /// Totals from one to another, with both.
    Range(i64, i64),
    /// Notes with this word, of a country, and not with a status; the best first.
    Bool {
        /// The word.
        word: String,
        /// The country.
        country: &'static str,
        /// The status.
        not: &'static str,
    },
    /// All of a country, the highest total first.
    Sorted(&'static str),
}

impl Question {
    /// All of a kind, where there are so many documents.
    pub fn of(kind: Kind, documents: u64) -> Vec<Self> {
        let mut seeded = Seeded::new(20_261_128);
        (0..QUESTIONS).map(|number| Self::one(kind, number, documents, &mut seeded)).collect()
    }

    fn one(kind: Kind, number: u64, documents: u64, seeded: &mut Seeded) -> Self {
        // Words and values that are there.
        let purchase = Purchase::numbered(seeded.below(documents.max(1)));
        match kind {
            Kind::Term => Self::Term(word_of(2 + number % 8, seeded)),
            Kind::Phrase => {
                let mut words = purchase.note.split(' ').map(str::to_owned);
                Self::Phrase([words.next().unwrap_or_default(), words.next().unwrap_or_default()])
            }
            Kind::Range => Self::Range(purchase.total_cents, purchase.total_cents + RANGE_CENTS),
            Kind::Bool => Self::Bool {
                word: word_of(1 + number % 6, seeded),
                country: purchase.country,
                not: LEFT_OUT,
            },
            Kind::Sorted => Self::Sorted(purchase.country),
        }
    }

    /// What kind it is of.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Term(_) => Kind::Term,
            Self::Phrase(_) => Kind::Phrase,
            Self::Range(..) => Kind::Range,
            Self::Bool { .. } => Kind::Bool,
            Self::Sorted(_) => Kind::Sorted,
        }
    }

    /// As it is asked.
    pub fn request(&self) -> SearchRequest {
        let query = match self {
            Self::Term(word) => json!({"term": {"note": word}}),
            Self::Phrase([first, second]) => {
                json!({"match_phrase": {"note": format!("{first} {second}")}})
            }
            Self::Range(from, to) => json!({"range": {"total_cents": {"gte": from, "lte": to}}}),
            Self::Bool { word, country, not } => json!({"bool": {
                "must": [{"term": {"note": word}}, {"term": {"country": country}}],
                "must_not": [{"term": {"status": not}}],
            }}),
            Self::Sorted(country) => json!({"term": {"country": country}}),
        };
        let sort = match self {
            Self::Sorted(_) => vec![json!({SORTED_BY: "desc"})],
            _ => Vec::new(),
        };
        SearchRequest { query: Some(query), sort, ..SearchRequest::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_the_same_in_every_run_and_not_all_one() {
        for kind in Kind::ALL {
            let questions = Question::of(kind, 1_000);
            assert_eq!(questions, Question::of(kind, 1_000));
            assert!(questions.iter().any(|it| *it != questions[0]), "{questions:?}");
            assert!(questions.iter().all(|it| it.kind() == kind));
            assert_eq!(questions[0].request().sort.is_empty(), kind != Kind::Sorted);
        }
    }
}
