//! What operations do to one document.
//!
//! An operation makes at most a fixed amount for each place that it works at, but it may work at millions, and later ones
//! may double what earlier ones made. So everything that is made, or compared, is counted, and there is an end to it.

use nexus_protocol::limits::LIFT_WORK_BYTES_MAX;

use super::UpcastError;
use super::cast::{self, Cast, Type};
use super::datum::Datum;
use super::expression::{self, Expression};
use super::node::Node;
use super::path::Path;
use super::scan::{self, Kind};
use super::transform::{Action, Literal, Operation};

/// What a member costs besides its text, in bytes: there is no end to members that are small.
const MEMBER_BYTES: usize = 16;

/// What it costs to look whether there is something to do, in bytes: for each operation, and for each member looked at.
const LOOK_BYTES: usize = 8;

/// What was made of one event up to now, or compared, in bytes.
#[derive(Default)]
pub(super) struct Work {
    made: usize,
}

impl Work {
    /// So much more is made, or compared.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), UpcastError> {
        self.made = self.made.saturating_add(bytes);
        if self.made > LIFT_WORK_BYTES_MAX {
            return Err(UpcastError::TooLarge { bytes: self.made, max: LIFT_WORK_BYTES_MAX });
        }
        Ok(())
    }

    fn member(&mut self, path: &Path, bytes: usize) -> Result<(), UpcastError> {
        self.spend(path.text.len() + bytes + MEMBER_BYTES)
    }
}

/// Does it to a document, or to an element so many levels inside of one. What is about the whole event is done by the
/// chain.
pub(super) fn run<'a>(
    operation: &'a Operation,
    root: &mut Node<'a>,
    levels: usize,
    work: &mut Work,
) -> Result<(), UpcastError> {
    work.spend(LOOK_BYTES + root.breadth())?;
    match &operation.action {
        Action::Rename { path, to } => {
            if root.rename(path, to) {
                work.spend(to.quoted.len())?;
            }
        }
        Action::Move { from, to, prune } => {
            moved(root, from, to, levels, work)?;
            if *prune {
                root.prune(from);
            }
        }
        Action::Default { path, value } => {
            if root.is_free(path) {
                put(root, path, value, work)?;
            }
        }
        Action::Drop { path, value, prune } => {
            dropped(root, path, value.as_ref(), work)?;
            if *prune {
                root.prune(path);
            }
        }
        Action::Cast { path, to, from, or } => {
            cast(root, path, (*from, *to), or.as_ref(), levels, work)?;
        }
        Action::Map { path, values, or } => {
            let Some(found) = root.get(path) else { return Ok(()) };
            work.spend(found.size())?;
            let to = Datum::new(&found.to_text()).and_then(|it| values.get(&it));
            if let Some(to) = to.or(or.as_ref()) {
                put(root, path, to, work)?;
            }
        }
        Action::Split { path, by, to } => split(root, path, by, to, work)?,
        Action::Join { from, by, to, prune } => {
            join(root, from, by, to, work)?;
            if *prune {
                from.iter().for_each(|it| root.prune(it));
            }
        }
        Action::Compute { path, value } => compute(root, path, value, levels, work)?,
        Action::Each { path, operations } => {
            let elements = root.get(path).and_then(Node::elements);
            let inside = levels + path.steps.len() + 1;
            for element in elements.into_iter().flatten() {
                if element.kind() == Kind::Object {
                    for operation in operations {
                        run(operation, element, inside, work)?;
                    }
                }
            }
        }
        Action::Retype { .. } | Action::FanOut { .. } => {}
    }
    Ok(())
}

fn put<'a>(
    root: &mut Node<'a>,
    path: &'a Path,
    value: &'a Literal,
    work: &mut Work,
) -> Result<(), UpcastError> {
    work.member(path, value.text.len())?;
    root.place(path, Node::Raw(&value.text));
    Ok(())
}

fn moved<'a>(
    root: &mut Node<'a>,
    from: &Path,
    to: &'a Path,
    levels: usize,
    work: &mut Work,
) -> Result<(), UpcastError> {
    if let Some(name) = to.steps.last().filter(|_| from.is_beside(to)) {
        // It keeps its place.
        if root.rename(from, name) {
            work.spend(name.quoted.len())?;
        }
        return Ok(());
    }
    match root.take(from) {
        Some(value) => place(root, to, value, levels, work),
        None => {
            root.take(to);
            Ok(())
        }
    }
}

/// Puts something at a path that may have been opened.
pub(super) fn place<'a>(
    root: &mut Node<'a>,
    path: &'a Path,
    value: Node<'a>,
    levels: usize,
    work: &mut Work,
) -> Result<(), UpcastError> {
    let was_open = value.text().is_none();
    let value = value.closed_below(levels + path.steps.len());
    let closed = value.text().filter(|_| was_open).map_or(0, str::len);
    work.member(path, closed)?;
    root.place(path, value);
    Ok(())
}

fn cast<'a>(
    root: &mut Node<'a>,
    path: &'a Path,
    (from, to): (Option<Type>, Type),
    or: Option<&'a Literal>,
    levels: usize,
    work: &mut Work,
) -> Result<(), UpcastError> {
    let Some(found) = root.get(path) else { return Ok(()) };
    match (cast::cast(found, from, to), or) {
        (Cast::To(text), _) => {
            work.member(path, text.len())?;
            *found = Node::Made(text);
        }
        (Cast::Wrapped, _) => wrap(found, path, levels, work)?,
        (Cast::Impossible, Some(or)) => put(root, path, or, work)?,
        (Cast::Same, _) | (Cast::Impossible, None) => {}
    }
    Ok(())
}

fn wrap(
    found: &mut Node<'_>,
    path: &Path,
    levels: usize,
    work: &mut Work,
) -> Result<(), UpcastError> {
    work.member(path, 0)?;
    let value = std::mem::replace(found, Node::Raw("null"));
    let value = value.closed_below(levels + path.steps.len() + 1);
    *found = Node::Array(vec![value]);
    Ok(())
}

fn dropped(
    root: &mut Node<'_>,
    path: &Path,
    value: Option<&Literal>,
    work: &mut Work,
) -> Result<(), UpcastError> {
    if let Some(value) = value {
        let Some(found) = root.get(path) else { return Ok(()) };
        work.spend(found.size())?;
        let datum = Datum::new(&found.to_text());
        if !datum.is_some_and(|it| it.is_part_of(&value.datum)) {
            return Ok(());
        }
    }
    root.take(path);
    Ok(())
}

fn split<'a>(
    root: &mut Node<'a>,
    path: &Path,
    by: &str,
    to: &'a [Path],
    work: &mut Work,
) -> Result<(), UpcastError> {
    let text = root.get(path).and_then(|it| it.string().map(|it| it.into_owned()));
    if text.is_some() {
        root.take(path);
    }
    for path in to {
        root.take(path);
    }
    let parts = text.iter().flat_map(|it| it.splitn(to.len(), by));
    for (path, part) in to.iter().zip(parts) {
        let part = scan::quoted(part);
        work.member(path, part.len())?;
        root.place(path, Node::Made(part));
    }
    Ok(())
}

fn join<'a>(
    root: &mut Node<'a>,
    from: &[Path],
    by: &str,
    to: &'a Path,
    work: &mut Work,
) -> Result<(), UpcastError> {
    let mut parts: Vec<String> = Vec::with_capacity(from.len());
    for path in from {
        let Some(found) = root.get(path) else { continue };
        let Some(text) = expression::spelled(found) else {
            // They stay as they are, also where `to` is an object around them.
            if !from.iter().any(|it| to.leads_to(it)) {
                root.take(to);
            }
            return Ok(());
        };
        work.spend(text.len() + by.len())?;
        parts.push(text.into_owned());
    }
    for path in from {
        root.take(path);
    }
    if parts.is_empty() {
        root.take(to);
        return Ok(());
    }
    let joined = scan::quoted(&parts.join(by));
    work.member(to, joined.len())?;
    root.place(to, Node::Made(joined));
    Ok(())
}

fn compute<'a>(
    root: &mut Node<'a>,
    path: &'a Path,
    value: &'a Expression,
    levels: usize,
    work: &mut Work,
) -> Result<(), UpcastError> {
    match value.value(root, work)? {
        Some(value) => {
            // It may be a copy of something that stands elsewhere, so that all of it counts.
            work.spend(value.size())?;
            place(root, path, value, levels, work)
        }
        None => {
            root.take(path);
            Ok(())
        }
    }
}
