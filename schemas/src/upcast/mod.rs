//! What lifts an event that was written with an older version of its schema to a newer one.
//!
//! A version's lift is a [`Transform`], which is data: a list of small operations that never fail on any document but
//! for bounds, and of which many have a way back. What no operation can say is an [`Upcaster`], written in Rust. Steps
//! from one version to another make a [`Chain`], which lifts one payload after the other.
//!
//! Payloads are JSON, and what no operation touches keeps its bytes: digits of numbers, order of members, escapes. So a
//! payload is never read into values as a whole; `node` opens it only where a path leads.

mod cast;
mod chain;
mod datum;
mod expression;
mod inverse;
mod node;
mod parse;
mod path;
mod run;
mod scan;
mod show;
mod store;
mod transform;
mod upcasters;

use std::fmt;
use std::sync::Arc;

pub use chain::{Chain, Lifted};
pub use store::{Shown, Upcasting};
pub use transform::Transform;
pub use upcasters::Upcasters;

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaRef {
    /// The subject's name.
    pub subject: String,
    /// The version's number, from 1.
    pub version: u32,
}

impl fmt::Display for SchemaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.subject, self.version)
    }
}

/// A lift written in Rust, for what no transform can say.
pub trait Upcaster: Send + Sync + 'static {
    /// The version whose payloads it takes.
    fn from(&self) -> SchemaRef;

    /// The version that it lifts them to: of the same subject, a higher one.
    fn to(&self) -> SchemaRef;

    /// Raised by its author when [`lift`](Self::lift) gives something else than before: it is part of the hash that
    /// snapshots carry.
    fn revision(&self) -> u32 {
        0
    }

    /// Lifts one payload to any number of them. The same payload always gives the same. It is read into a value and written
    /// again: digits beyond a 64-bit float, and the order of members, are lost in all of it.
    ///
    /// # Errors
    /// The payload cannot be lifted, most often [`UpcastError::Failed`].
    fn lift(&self, value: serde_json::Value) -> Result<Vec<serde_json::Value>, UpcastError>;
}

/// One lift of a chain.
#[derive(Clone)]
pub enum Step {
    /// By operations.
    Transform(Arc<Transform>),
    /// By a program.
    Upcaster(Arc<dyn Upcaster>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transform(transform) => f.debug_tuple("Transform").field(transform).finish(),
            Self::Upcaster(it) => write!(f, "Upcaster({} to {})", it.from(), it.to()),
        }
    }
}

/// Why a payload was not lifted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpcastError {
    /// The payload is not JSON, or for an upcaster nested too deep.
    #[error("payload is not JSON that can be lifted: {why}")]
    NotJson {
        /// What is wrong, and where.
        why: String,
    },
    /// It would become too many events.
    #[error("payload is lifted to {parts} events, of which there may be {max}")]
    TooManyParts {
        /// How many there would be, at the step where there were too many.
        parts: usize,
        /// How many there may be.
        max: usize,
    },
    /// It would become too large, on its way or at its end.
    #[error("payload is lifted to {bytes} bytes, of which there may be {max}")]
    TooLarge {
        /// How many there were when it was given up.
        bytes: usize,
        /// How many there may be.
        max: usize,
    },
    /// An upcaster did not take it.
    #[error("upcaster failed: {0}")]
    Failed(String),
}

#[cfg(test)]
mod tests;
