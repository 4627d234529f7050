//! The log of Nexus on one machine.

pub mod io;
