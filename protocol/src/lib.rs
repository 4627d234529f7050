//! The words of Nexus.

mod time;
pub use time::{Timestamp, TimestampError};
