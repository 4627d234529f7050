//! How long a search takes, beside the same query of raw Tantivy over the same index.
//!
//! The index is made by a node, as that of any projection, and then opened again, so that nothing writes or merges. Nexus
//! answers through the handler that every door calls: it knows who asks, takes the request apart, puts documents in order
//! with the key behind, reads and shows ten of them, and counts. Raw Tantivy has its queries made ready, and gives ten
//! addresses and the count; beside that it is measured with what is stored of those ten.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nexus_engine::Engine;
use nexus_node::{Access, Node, Principal};
use nexus_protocol::limits::LOOKUP_WAIT_MS_MAX;
use nexus_protocol::projection::Lookup;
use nexus_protocol::search::{SEARCH_LIMIT_DEFAULT, SearchRequest};
use nexus_protocol::{NamespaceName, ReadError};
use nexus_search::raw::{RawQuery, RawReady, RawSchema, RawSearcher};

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::{Rounds, Turn};
use super::index::{CATEGORY, fill};
use super::purchases::one_each;
use super::questions::{Kind, Question, SORTED_BY};
use super::{definition_of, failed};
use crate::exit::Failure;

const NAME: &str = "purchases";
/// The file that every index of Tantivy has.
const META_FILE: &str = "meta.json";

/// A node with an index, and the same index as Tantivy has it.
struct Index {
    node: Node,
    here: Access,
    raw: RawSearcher,
}

/// A question, as both are asked.
struct Asked {
    request: SearchRequest,
    ready: RawReady,
}

/// The folder below this one that holds an index.
fn index_below(dir: &Path) -> Option<PathBuf> {
    if dir.join(META_FILE).is_file() {
        return Some(dir.to_owned());
    }
    let entries = std::fs::read_dir(dir).ok()?;
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|it| it.is_dir());
    folders.filter_map(|folder| index_below(&folder)).next()
}

impl Index {
    fn open(bench: &Bench, dir: &Path) -> Result<(Node, Access), Failure> {
        let engine = Engine::options().backend(bench.backend).open(dir)?;
        let node = Node::over(engine).map_err(failed)?;
        let here = node.access(Principal::local(), NamespaceName::DEFAULT).map_err(failed)?;
        Ok((node, here))
    }

    /// Makes so many documents, and opens what came of it.
    fn make(bench: &Bench, dir: &Path, documents: u64) -> Result<Self, Failure> {
        let engine = Engine::options().backend(bench.backend).open(dir)?;
        fill(&engine, documents)?;
        engine.close().map_err(failed)?;
        let (node, here) = Self::open(bench, dir)?;
        let json = one_each(NAME, CATEGORY);
        here.set_projection(NAME, &json)?;
        caught_up(&here)?;
        node.close().map_err(failed)?;
        let (node, here) = Self::open(bench, dir)?;
        caught_up(&here)?;
        let found = here.projection(NAME)?.documents;
        if found != documents {
            return Err(failed(format!("there are {found} documents, and not {documents}")));
        }
        let index = index_below(&dir.join("projections")).ok_or_else(|| failed("no index"))?;
        let schema = RawSchema::new(&definition_of(json)?);
        let raw = RawSearcher::open(&index, &schema).map_err(failed)?;
        Ok(Self { node, here, raw })
    }

    /// A question that both answer with the same count.
    fn asked(&self, question: &Question) -> Result<Asked, Failure> {
        let phrase: Vec<&str>;
        let term = |field, text: &'static str| RawQuery::Term(field, text);
        let (query, by) = match question {
            Question::Term(word) => (RawQuery::Term("note", word), None),
            Question::Phrase(words) => {
                phrase = words.iter().map(String::as_str).collect();
                (RawQuery::Phrase("note", &phrase), None)
            }
            Question::Range(from, to) => (RawQuery::Range("total_cents", *from, *to), None),
            Question::Bool { word, country, not } => {
                let all = vec![RawQuery::Term("note", word), term("country", country)];
                (RawQuery::Bool(all, vec![term("status", not)]), None)
            }
            Question::Sorted(country) => (term("country", country), Some(SORTED_BY)),
        };
        let asked = Asked {
            request: question.request(),
            ready: self.raw.ready(&query, by).map_err(failed)?,
        };
        let answer = self.here.search(NAME, &asked.request)?;
        let found = self.raw.search(&asked.ready, SEARCH_LIMIT_DEFAULT).map_err(failed)?;
        match answer.total == found.total {
            true => Ok(asked),
            false => Err(failed(format!(
                "{question:?} matches {} documents, and {} by raw Tantivy",
                answer.total, found.total
            ))),
        }
    }

    fn search(&self, asked: &Asked) -> Result<(), Failure> {
        black_box(self.here.search(NAME, &asked.request)?);
        Ok(())
    }

    fn search_raw(&self, asked: &Asked, fetches: bool) -> Result<(), Failure> {
        let found = self.raw.search(&asked.ready, SEARCH_LIMIT_DEFAULT).map_err(failed)?;
        if fetches {
            black_box(self.raw.fetch(&found).map_err(failed)?);
        }
        black_box(found);
        Ok(())
    }
}

/// Waits until documents know all of the log.
fn caught_up(here: &Access) -> Result<(), Failure> {
    let min_position = here.head()?.position;
    let (key, timeout_ms) = ("nothing".to_owned(), Some(LOOKUP_WAIT_MS_MAX));
    let lookup = Lookup { key, min_position, timeout_ms };
    loop {
        match here.lookup(NAME, &lookup) {
            Ok(_) | Err(ReadError::NotFound { .. }) => return Ok(()),
            Err(ReadError::NotCaughtUp { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks all of them, one after the other.
fn each(asked: &[Asked], ask: impl Fn(&Asked) -> Result<(), Failure>) -> Result<Turn, Failure> {
    let (mut turn, begun) = (Turn::default(), Instant::now());
    for question in asked {
        let since = Instant::now();
        ask(question)?;
        turn.latencies.add(since.elapsed());
        turn.events += 1;
    }
    turn.elapsed = begun.elapsed();
    Ok(turn)
}

impl Bench {
    /// All kinds, together and each by itself.
    pub(super) fn queries(&mut self) -> Result<Vec<Scenario>, Failure> {
        let (dir, documents) = (self.dir.join("query"), self.effort.documents());
        let index = Index::make(self, &dir, documents)?;
        let asked = |kind| {
            let questions = Question::of(kind, documents);
            questions.iter().map(|it| index.asked(it)).collect::<Result<Vec<_>, Failure>>()
        };
        let mut kinds = Vec::with_capacity(Kind::ALL.len());
        for kind in Kind::ALL {
            kinds.push((format!("query/{}", kind.name()), asked(kind)?));
        }
        let mut mixed = Vec::new();
        for kind in Kind::ALL {
            mixed.extend(asked(kind)?);
        }
        kinds.insert(0, ("query".to_owned(), mixed));
        let scenarios = kinds.iter().map(|(name, asked)| self.queries_of(&index, name, asked));
        let mut scenarios = scenarios.collect::<Result<Vec<_>, Failure>>()?;
        if let Some(first) = scenarios.first_mut() {
            *first = first.clone().more(&format!(
                "{documents} documents in {} segments, opened again after they were made, page cache warm; one thread; \
                 through the handler of an embedded node, which gives 10 documents and the count; ceiling: a query that \
                 is ready, TopDocs of 10 and Count",
                index.raw.segments()
            ));
        }
        let Index { node, here, raw } = index;
        drop((here, raw));
        node.close().map_err(failed)?;
        std::fs::remove_dir_all(&dir).map_err(|e| failed(format!("{}: {e}", dir.display())))?;
        Ok(scenarios)
    }

    fn queries_of(&self, index: &Index, name: &str, asked: &[Asked]) -> Result<Scenario, Failure> {
        let rounds = Rounds::run(
            self.effort.rounds,
            &mut [&mut || each(asked, |it| index.search_raw(it, false)), &mut || {
                each(asked, |it| index.search_raw(it, true))
            }],
            || each(asked, |it| index.search(it)),
        )?;
        let goal = Scenario::new(name, "x raw Tantivy p50", Better::Lower, 1.2);
        let mut scenario = goal.latencies(&rounds.latencies).ratios(rounds.p50_ratios_to(0));
        let ratio = scenario.ratio.unwrap_or(f64::INFINITY);
        scenario = scenario.measured(ratio);
        scenario.ceiling_p50_us = Some(rounds.ceiling_p50_us(0));
        let fetched = super::super::rounds::median(rounds.p50_ratios_to(1));
        Ok(scenario.note(format!(
            "{} questions; {fetched:.2} x where raw Tantivy also reads what is stored of its 10 documents (p50 {:.0} us)",
            asked.len(),
            rounds.ceiling_p50_us(1)
        )))
    }
}
