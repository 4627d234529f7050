//! The way back of operations.
//!
//! What the way back of an operation makes of a document is part of what the operation was given, also when only a part
//! of what it gave is handed back. Then the same holds for operations one after the other, since each way back may have
//! lost something. That is why the ways back take out parents that are left empty whoever emptied them, and why a default
//! value is dropped also where only a part of it is left.

use super::transform::{Action, Operation};

/// The inverses in reverse order. `None`: one has none.
pub(super) fn of(operations: &[Operation]) -> Option<Vec<Operation>> {
    let mut back = Vec::with_capacity(operations.len());
    for operation in operations.iter().rev() {
        match &operation.down {
            Some(down) => back.extend(down.iter().cloned()),
            None => back
                .extend(derived(&operation.action)?.map(|action| Operation { action, down: None })),
        }
    }
    Some(back)
}

/// Whether an operation has a way back.
pub(super) fn exists(operation: &Operation) -> bool {
    operation.down.is_some() || derived(&operation.action).is_some()
}

/// What undoes an action. `Some(None)`: there is nothing to do.
fn derived(action: &Action) -> Option<Option<Action>> {
    let back = match action {
        Action::Rename { path, to } => {
            let name = path.steps.last()?.clone();
            // That the other name fits into a path was looked at when it was read.
            Action::Rename { path: path.sibling(to).ok()?, to: name }
        }
        Action::Move { from, to, prune: _ } => {
            Action::Move { from: to.clone(), to: from.clone(), prune: true }
        }
        Action::Default { path, value } => {
            Action::Drop { path: path.clone(), value: Some(value.clone()), prune: true }
        }
        // What is gone is gone.
        Action::Drop { .. } => return Some(None),
        Action::Cast { path, to, from: Some(from), or: None } => {
            Action::Cast { path: path.clone(), to: *from, from: Some(*to), or: None }
        }
        Action::Map { path, values, or: None } => {
            Action::Map { path: path.clone(), values: values.backwards()?, or: None }
        }
        Action::Split { path, by, to } => {
            Action::Join { from: to.clone(), by: by.clone(), to: path.clone(), prune: true }
        }
        Action::Compute { path, value: _ } => {
            Action::Drop { path: path.clone(), value: None, prune: true }
        }
        Action::Retype { from, to } => Action::Retype { from: to.clone(), to: from.clone() },
        Action::Each { path, operations } => {
            let operations = of(operations)?;
            if operations.is_empty() {
                return Some(None);
            }
            Action::Each { path: path.clone(), operations }
        }
        Action::Cast { .. } | Action::Map { .. } | Action::Join { .. } | Action::FanOut { .. } => {
            return None;
        }
    };
    Some(Some(back))
}
