//! Steps from one version to another, as one.
//!
//! Transforms that follow each other work on one tree: the payload is looked over once, opened where their paths lead, and
//! written once. Only an upcaster has it written and read again.

use std::borrow::Cow;
use std::sync::Arc;

use nexus_protocol::limits::{LIFTED_BYTES_MAX, PARTS_MAX};
use serde_json::Value;

use super::node::Node;
use super::path::Path;
use super::run::{self, Work};
use super::scan;
use super::transform::{Action, Transform};
use super::{Step, UpcastError, Upcaster};

/// Steps from one version to another.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    stages: Vec<Stage>,
}

/// What is done without writing in between.
#[derive(Clone)]
enum Stage {
    Transforms(Vec<Arc<Transform>>),
    Upcaster(Arc<dyn Upcaster>),
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transforms(all) => f.debug_list().entries(all).finish(),
            Self::Upcaster(it) => Step::Upcaster(Arc::clone(it)).fmt(f),
        }
    }
}

/// An event that another was lifted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// Its type.
    pub event_type: String,
    /// Its data.
    pub data: Vec<u8>,
}

/// A document on its way.
struct Part<'a> {
    event_type: Cow<'a, str>,
    root: Node<'a>,
}

impl Chain {
    /// Of steps in their order. That each begins where the one before ends is not looked at.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut stages: Vec<Stage> = Vec::new();
        for step in steps {
            match (step, stages.last_mut()) {
                // What does nothing is no reason to look at a payload.
                (Step::Transform(it), _) if it.is_empty() => {}
                (Step::Transform(it), Some(Stage::Transforms(all))) => all.push(it),
                (Step::Transform(it), _) => stages.push(Stage::Transforms(vec![it])),
                (Step::Upcaster(it), _) => stages.push(Stage::Upcaster(it)),
            }
        }
        Self { stages }
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Lifts one payload: to one event, or where a step fans out to none or many. A chain without steps gives back what it
    /// was given, whatever that is.
    ///
    /// # Errors
    /// The payload is not JSON, too much would come of it, or an upcaster failed.
    pub fn apply(&self, event_type: &str, data: &[u8]) -> Result<Vec<Lifted>, UpcastError> {
        let Some((first, rest)) = self.stages.split_first() else {
            return Ok(vec![Lifted { event_type: event_type.to_owned(), data: data.to_vec() }]);
        };
        let mut work = Work::default();
        let mut out = Out::default();
        first.apply(event_type, data, &mut work, &mut out)?;
        for stage in rest {
            let parts = std::mem::take(&mut out).all;
            for part in parts {
                stage.apply(&part.event_type, &part.data, &mut work, &mut out)?;
            }
        }
        Ok(out.all)
    }
}

/// What comes out of a stage.
#[derive(Default)]
struct Out {
    all: Vec<Lifted>,
    bytes: usize,
}

impl Out {
    fn push(&mut self, event_type: String, data: String) -> Result<(), UpcastError> {
        self.bytes = self.bytes.saturating_add(data.len());
        if self.bytes > LIFTED_BYTES_MAX {
            return Err(UpcastError::TooLarge { bytes: self.bytes, max: LIFTED_BYTES_MAX });
        }
        check_parts(self.all.len() + 1)?;
        self.all.push(Lifted { event_type, data: data.into_bytes() });
        Ok(())
    }
}

fn check_parts(parts: usize) -> Result<(), UpcastError> {
    if parts > PARTS_MAX {
        return Err(UpcastError::TooManyParts { parts, max: PARTS_MAX });
    }
    Ok(())
}

fn not_json(why: serde_json::Error) -> UpcastError {
    UpcastError::NotJson { why: why.to_string() }
}

impl Stage {
    fn apply(
        &self,
        event_type: &str,
        data: &[u8],
        work: &mut Work,
        out: &mut Out,
    ) -> Result<(), UpcastError> {
        match self {
            Self::Transforms(all) => transformed(all, event_type, data, work, out),
            Self::Upcaster(it) => {
                let value: Value = serde_json::from_slice(data).map_err(not_json)?;
                let values = it.lift(value)?;
                check_parts(values.len())?;
                for value in values {
                    let text = value.to_string();
                    work.spend(text.len())?;
                    out.push(event_type.to_owned(), text)?;
                }
                Ok(())
            }
        }
    }
}

fn transformed(
    all: &[Arc<Transform>],
    event_type: &str,
    data: &[u8],
    work: &mut Work,
    out: &mut Out,
) -> Result<(), UpcastError> {
    let text = scan::checked(data).map_err(not_json)?;
    let mut parts = vec![Part { event_type: event_type.into(), root: Node::Raw(text) }];
    for operation in all.iter().flat_map(|it| &it.operations) {
        match &operation.action {
            Action::Retype { from, to } => {
                for part in parts.iter_mut().filter(|it| it.event_type == from.as_str()) {
                    part.event_type = Cow::Borrowed(to);
                }
            }
            Action::FanOut { path, part } => parts = fanned_out(parts, path, part, work)?,
            _ => {
                for part in &mut parts {
                    run::run(operation, &mut part.root, 0, work)?;
                }
            }
        }
    }
    for part in parts {
        let mut text = String::with_capacity(data.len() + 64);
        part.root.write(&mut text);
        out.push(part.event_type.into_owned(), text)?;
    }
    Ok(())
}

/// One document for each element of an array: the rest of the document, and the element in it.
fn fanned_out<'a>(
    parts: Vec<Part<'a>>,
    path: &Path,
    to: &'a Path,
    work: &mut Work,
) -> Result<Vec<Part<'a>>, UpcastError> {
    let mut fanned = Vec::with_capacity(parts.len());
    for mut part in parts {
        let elements = part.root.get(path).and_then(Node::elements).map(std::mem::take);
        let Some(elements) = elements else {
            fanned.push(part);
            check_parts(fanned.len())?;
            continue;
        };
        check_parts(fanned.len() + elements.len())?;
        part.root.take(path);
        // Each has the rest to itself once something in it is opened.
        let weight = part.root.weight().max(part.root.size());
        for element in elements {
            work.spend(weight)?;
            let mut root = part.root.clone();
            run::place(&mut root, to, element, 0, work)?;
            fanned.push(Part { event_type: part.event_type.clone(), root });
        }
    }
    Ok(fanned)
}
