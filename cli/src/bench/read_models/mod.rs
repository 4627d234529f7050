//! The set `read-models`: how fast events become documents, and documents are found.
//!
//! What Tantivy adds up to is measured beside: [`nexus_search::raw`] has the same schema and the same writer. `index` and
//! `query` run in this process, as an embedded node does; the others ask a server in a child process, as those of the set
//! `server` do.

mod fresh;
mod index;
mod lookup;
mod purchases;
mod queries;
mod questions;
mod rebuild;

use nexus_delivery::projection::{Definition, DefinitionFile};
use nexus_search::raw::{WRITER_BYTES, WRITER_THREADS};
use serde_json::Value;

use super::conditions::{Conditions, ReadModels};
use super::server::subject::Subject;
use super::workload::{STREAM_EVENTS, zstd_ratio};
use super::{Bench, Effort, Entry};
use crate::exit::Failure;

pub use purchases::{Purchase, one_each, purchases};
pub use questions::{Kind, Question};

/// Scenarios of read models.
pub(super) const ENTRIES: [Entry; 5] = [
    Entry {
        names: &["index", "index/folded"],
        goals: &[
            "events that are a document each, from the log into the index: at least 0.7 x raw Tantivy",
            "a hundred events a document: nothing asked, beside it",
        ],
        run: Bench::indexing,
    },
    Entry {
        names: &["searchable", "searchable/p99"],
        goals: &[
            "from the append to the answer of a search that finds it, 5,000 events/s: p50 at most 500,000 us",
            "the same: p99 at most 1,200,000 us",
        ],
        run: Bench::searchable,
    },
    Entry {
        names: &["lookup-own"],
        goals: &["by key, behind the position of the own append, over QUIC: p50 at most 5,000 us"],
        run: Bench::lookup_own,
    },
    Entry {
        names: &[
            "query",
            "query/term",
            "query/phrase",
            "query/range",
            "query/bool",
            "query/sorted",
        ],
        goals: &[
            "all kinds in turns, 1,000,000 documents: p50 at most 1.2 x raw Tantivy",
            "a word: at most 1.2 x",
            "two words side by side: at most 1.2 x",
            "a range of numbers: at most 1.2 x",
            "two that match and one that does not: at most 1.2 x",
            "in the order of a field: at most 1.2 x",
        ],
        run: Bench::queries,
    },
    Entry {
        names: &["rebuild", "rebuild/cores"],
        goals: &[
            "1,000,000 events folded again by a server: nothing asked, beside it",
            "the same: at least 1.5 cores busy",
        ],
        run: Bench::rebuild,
    },
];

impl Effort {
    /// Documents of the index that is searched, and events that are folded again.
    fn documents(&self) -> u64 {
        self.streams * STREAM_EVENTS
    }

    /// Documents that a turn of indexing makes.
    fn turn_documents(&self) -> u64 {
        if self.quick { 2_000 } else { 200_000 }
    }
}

/// Says beside the figures what is folded, and how it is indexed.
///
/// # Errors
/// When nothing can be compressed.
pub(super) fn describe(conditions: &mut Conditions, effort: &Effort) -> Result<(), Failure> {
    let data: Vec<u8> = (0..256).flat_map(|number| Purchase::numbered(number).data()).collect();
    conditions.zstd_ratio = zstd_ratio(&data)?;
    conditions.read_models = Some(ReadModels {
        documents: effort.documents(),
        turn_documents: effort.turn_documents(),
        writer_threads: WRITER_THREADS as u64,
        writer_mib: WRITER_BYTES as u64 / 1024 / 1024,
        commits: "the sink's: up to 50,000 documents or 1 s, each synced; raw Tantivy commits behind the same documents"
            .to_owned(),
    });
    Ok(())
}

/// A definition that is made here.
fn definition_of(json: Value) -> Result<Definition, Failure> {
    let made = DefinitionFile::from_json(json).and_then(Definition::new);
    made.map_err(|error| Failure::failed(format!("a definition of the run: {error}")))
}

/// A projection that no other run has, and the category that it is of: names begin with a letter.
fn name_of(subject: &Subject, scenario: &str) -> String {
    format!("run{}", subject.named(scenario).replace('-', ""))
}

/// Something went wrong that nobody can mend.
fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::failed(why.to_string())
}
