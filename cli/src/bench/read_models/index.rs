//! How fast events become documents of an index, beside raw Tantivy.
//!
//! A turn folds all events of a log into a new index, as a build of a node does: a subscription of the engine, the
//! [`Runner`], a declarative definition, the [`SearchSink`]. A turn of the ceiling adds documents to a new index that
//! were made before, the same ones in the same order, and commits where the sink has.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Instant, SystemTime};

use nexus_delivery::projection::{
    Commit, Definition, Documents, Kept, Origin, Pace, Runner, Sink, SinkError,
};
use nexus_engine::{Engine, Namespace};
use nexus_protocol::{NamespaceName, Position, Timestamp};
use nexus_search::SearchSink;
use nexus_search::raw::{RawDocument, RawSchema, RawWriter};

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::{Latencies, Rounds, Turn};
use super::super::workload::{STREAM_EVENTS, UNDER_WAY};
use super::purchases::{by_stream, one_each, purchases};
use super::{definition_of, failed};
use crate::exit::Failure;

/// What the streams of purchases begin with.
pub(super) const CATEGORY: &str = "purchase";
/// How often an index is tried to be removed.
const REMOVALS: usize = 1_000;
/// Documents that a runner holds between commits, in bytes: as a node gives one build.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Writes purchases 0 to `count` to a log.
///
/// # Errors
/// The first append that was not acknowledged.
pub(super) fn fill(engine: &Engine, count: u64) -> Result<(), Failure> {
    let mut pending = VecDeque::with_capacity(UNDER_WAY);
    for append in purchases(count, CATEGORY) {
        pending.push_back(engine.append(append));
        if pending.len() == UNDER_WAY
            && let Some(oldest) = pending.pop_front()
        {
            oldest.wait()?;
        }
    }
    pending.into_iter().try_for_each(|append| append.wait().map(drop))?;
    Ok(())
}

/// The sink, and what it was given.
struct Watched {
    sink: SearchSink,
    /// Of whoever wants the documents.
    schema: Option<RawSchema>,
    given: Given,
}

/// What a sink was given.
#[derive(Clone, Default)]
struct Given {
    /// Documents of each commit.
    commits: Vec<usize>,
    /// All of them, as raw Tantivy takes them, where they are wanted.
    documents: Vec<RawDocument>,
}

impl Sink for Watched {
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SinkError> {
        self.sink.checkpoint()
    }

    fn get(&self, key: &str) -> Result<Option<Kept>, SinkError> {
        self.sink.get(key)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError> {
        self.given.commits.push(commit.changed.len());
        if let Some(schema) = &self.schema {
            let documents = commit.changed.iter().filter_map(|changed| schema.document(changed));
            self.given.documents.extend(documents);
        }
        self.sink.commit(commit)
    }

    fn pace(&self) -> Pace {
        self.sink.pace()
    }

    fn documents(&self) -> Arc<dyn Documents> {
        self.sink.documents()
    }
}

/// Whether a runner wants to go on.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(0).saturating_add(since)
}

/// What is folded, and where to.
struct Folding {
    namespace: Namespace,
    definition: Definition,
    /// A folder of each turn, gone after it.
    dir: PathBuf,
    events: u64,
    documents: u64,
}

impl Folding {
    /// Folds the whole log into a new index; gives what its sink was given.
    fn fold(&self, schema: Option<RawSchema>) -> Result<(Turn, Given), Failure> {
        let head = self.namespace.head();
        let origin = Origin {
            log_id: self.namespace.log_id(),
            lineage: head.lineage,
            fingerprint: self.definition.fingerprint(),
            end: head.position.map_or(Position::ZERO, Position::next),
        };
        let (store, definition) = (self.namespace.clone(), self.definition.clone());
        let begun = Instant::now();
        let sink = SearchSink::open(&self.dir, &definition).map_err(failed)?;
        let sink = Watched { sink, schema, given: Given::default() };
        let made = Runner::new(store, definition, sink, &origin, BTreeMap::new(), CACHE_BYTES);
        let mut runner = made.map_err(failed)?;
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            woken.0.store(false, Ordering::SeqCst);
            match runner.poll(&mut Context::from_waker(&waker), wall_clock()) {
                Poll::Ready(ended) => return Err(failed(ended)),
                Poll::Pending if woken.0.load(Ordering::SeqCst) => {}
                // Nothing comes any more: nobody appends.
                Poll::Pending => break,
            }
        }
        runner.finish(wall_clock()).map_err(failed)?;
        let elapsed = begun.elapsed();
        let done = runner.progress().committed;
        if (done.events, done.documents) != (self.events, self.documents) {
            return Err(failed(format!(
                "{} events became {} documents, and not {} of {}",
                done.events, done.documents, self.documents, self.events
            )));
        }
        let given = runner.sink().given.clone();
        drop(runner);
        remove(&self.dir)?;
        Ok((Turn { events: self.events, elapsed, latencies: Latencies::default() }, given))
    }
}

/// Removes an index. A merge that a sink has left may still be about to see that it is of no use any more.
fn remove(dir: &Path) -> Result<(), Failure> {
    for _ in 0..REMOVALS {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => std::thread::yield_now(),
            Err(error) => return Err(failed(format!("{}: {error}", dir.display()))),
            Ok(()) => return Ok(()),
        }
    }
    Err(failed(format!("{}: something is written there again and again", dir.display())))
}

/// Adds documents to a new index, and commits behind so many each time.
fn raw(
    dir: &Path,
    schema: &RawSchema,
    documents: &[RawDocument],
    commits: &[usize],
) -> Result<Turn, Failure> {
    // Copied before the clock runs: raw Tantivy takes documents, and each turn needs them again.
    let ready = documents.to_vec();
    let begun = Instant::now();
    let mut ready = ready.into_iter();
    let mut writer = RawWriter::create(dir, schema).map_err(failed)?;
    for count in commits {
        for document in ready.by_ref().take(*count) {
            writer.add(document).map_err(failed)?;
        }
        writer.commit().map_err(failed)?;
    }
    let elapsed = begun.elapsed();
    if ready.next().is_some() {
        return Err(failed("raw Tantivy was not given all documents"));
    }
    writer.finish().map_err(failed)?;
    remove(dir)?;
    Ok(Turn { events: documents.len() as u64, elapsed, latencies: Latencies::default() })
}

impl Bench {
    /// Events that are a document each, beside raw Tantivy; and events that a hundred of are one.
    pub(super) fn indexing(&mut self) -> Result<Vec<Scenario>, Failure> {
        let events = self.effort.turn_documents();
        self.with_engine("index-log", self.backend, |engine| {
            fill(engine, events)?;
            let namespace = engine.namespace(NamespaceName::DEFAULT)?;
            let dir = self.dir.join("index-documents");
            let definition = definition_of(one_each("purchases", CATEGORY))?;
            let schema = RawSchema::new(&definition);
            let each =
                Folding { namespace: namespace.clone(), definition, dir, events, documents: events };
            let (_, Given { commits, documents }) = each.fold(Some(schema.clone()))?;
            // The raw loop commits where the last turn of the sink has.
            let commits = RefCell::new(commits);
            let raw_dir = self.dir.join("index-raw");
            let rounds = Rounds::run(
                self.effort.rounds,
                &mut [&mut || raw(&raw_dir, &schema, &documents, &commits.borrow())],
                || {
                    let (turn, given) = each.fold(None)?;
                    *commits.borrow_mut() = given.commits;
                    Ok(turn)
                },
            )?;
            let goal = Scenario::new("index", "x raw Tantivy", Better::Higher, 0.7);
            let mut index = goal.ratios(rounds.rate_ratios());
            let ratio = index.ratio.unwrap_or(0.0);
            index = index.measured(ratio).note(format!(
                "{events} events that are a document each, from a log on disk whose page cache is warm: read, folded by a \
                 definition, committed {} times; ceiling: the same documents, made before, added to a new index by as many \
                 threads, and committed as often",
                commits.borrow().len()
            ));
            index.events_per_s = Some(rounds.per_s());
            index.ceiling_per_s = Some(rounds.ceiling_per_s(0));
            let definition = definition_of(by_stream("customers", CATEGORY, "search"))?;
            let documents = events / STREAM_EVENTS;
            let folded = Folding { namespace, definition, documents, ..each };
            let rounds = Rounds::run(self.effort.rounds, &mut [], || Ok(folded.fold(None)?.0))?;
            let beside = Scenario::without_target("index/folded", "events/s", Better::Higher);
            let mut beside = beside.measured(rounds.per_s()).note(format!(
                "{events} events of {documents} documents, the events of each far apart in the log"
            ));
            beside.events_per_s = Some(rounds.per_s());
            Ok(vec![index, beside])
        })
    }
}
