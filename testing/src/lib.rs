//! Placeholder docs, replaced within the hour.
