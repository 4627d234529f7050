//! Rewritten segments: records in independent compressed blocks.
//!
//! `docs/format.md` ("Rewritten segments") specifies the bytes. A sealed segment of frames is
//! written anew, into another file, as blocks of records in canonical form, the records of system
//! streams in blocks of their own; then the *frame directory*, which keeps what the blocks do not
//! say of the frames (so that the chain can be checked and the frames made again); then the table
//! of the blocks and a footer. Positions and the chain stay what they were.
//!
//! What is not here: when to rewrite, and the manifest that names the outcome (`log::maintain`).
//!
//! Invariants: the old file is not touched (I4), nothing names the new one before it was read back
//! and its chain held, and nothing of a block is used before its checksum held (I5).

mod codec;
mod directory;
mod read;
mod table;
mod verify;
mod walk;
mod write;

pub(crate) use read::{load, stored};
pub(crate) use table::BlockTable;
pub(crate) use verify::verify;
pub(crate) use walk::{for_each_event, for_each_readable};
pub(crate) use write::rewrite;
