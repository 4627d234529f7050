//! Behaviour of sinks, through their public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs, clippy::cast_possible_truncation)]

mod commits;
mod directories;
mod disk;
mod door;
mod facets;
mod faults;
mod files;
mod flips;
mod hostile;
mod index;
mod kill;
mod model;
mod patience;
mod random;
mod readers;
mod troubles;
