//! Cutting the end of the log off: a torn tail after a crash, or frames that Raft takes back.
//!
//! The cut is recorded in node-state first, so that a crash in the middle is finished before
//! anything else is read; then everything from there to the end of what was written is zeroed and
//! synced; then the record is cleared, and only then is anything written anew. Without the zeros a
//! frame of the old history could be taken for damage of the new one.

use std::sync::Arc;

use crate::error::LogError;
use crate::io::{ALIGNMENT, DiskFile};
use crate::log::prepare::write_zeros;
use crate::node_state::{Cut, NodeStateFile};
use crate::segment::window::Window;

/// A segment that may be cut: its number and its file.
pub(crate) type Cuttable = (u64, Arc<dyn DiskFile>);

/// How far zeros are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// To the end of what was written.
    Written,
    /// To the end of the file, whatever is read there.
    Whole,
}

/// Cuts the log; `files` are its open segments from that of the cut on. Answers the bytes zeroed.
pub(crate) fn cut(
    node_state: &mut NodeStateFile,
    files: &[Cuttable],
    whole: Cut,
    extent: Extent,
) -> Result<u64, LogError> {
    let at = whole.at;
    assert!(whole.until.is_none_or(|until| at <= until), "what is kept was durable");
    assert!(files.iter().any(|(number, _)| *number == at.segment), "the segment is open");
    if !crate::planted::is("cut-not-recorded") {
        node_state.update(|state| {
            state.cut = Some(whole);
            state.durable_end = state.durable_end.min(at);
        })?;
    }
    let mut zeroed = 0;
    for (number, file) in files {
        let Some(from) = whole.start_in(*number) else { continue };
        let end = match extent {
            Extent::Written => Window::new(Arc::clone(file))?.written_end(from)?,
            Extent::Whole => Some(file.len_bytes()?.next_multiple_of(ALIGNMENT as u64)),
        };
        if let Some(end) = end.filter(|end| *end > from) {
            if !crate::planted::is("cut-leaves-frames") {
                write_zeros(&**file, from, end)?;
            }
            file.sync()?;
            zeroed += end - from;
        }
    }
    node_state.update(|state| {
        state.cut = None;
        state.durable_end = state.durable_end.min(at);
    })?;
    assert!(node_state.state().durable_end <= at, "what was cut is not called durable");
    assert!(node_state.state().cut.is_none(), "a cut that is done is not done again");
    Ok(zeroed)
}
