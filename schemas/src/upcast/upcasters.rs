//! [`Upcasters`]: the lifts in Rust that a program has.

use std::fmt;
use std::sync::Arc;

use nexus_protocol::Invalid;

use super::{SchemaRef, Upcaster};

/// The lifts in Rust that a program has, at most one from each version. Where one leads on, it goes before the transforms that
/// lead to the same version.
#[derive(Clone, Default)]
pub struct Upcasters(Vec<Arc<dyn Upcaster>>);

impl fmt::Debug for Upcasters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ways = self.0.iter().map(|it| format!("{} to {}", it.from(), it.to()));
        f.debug_list().entries(ways).finish()
    }
}

impl Upcasters {
    /// One more.
    ///
    /// # Errors
    /// When it does not lead to a later version of the same subject, or another leads on from the same version.
    pub fn add(&mut self, upcaster: Arc<dyn Upcaster>) -> Result<(), Invalid> {
        let (from, to) = (upcaster.from(), upcaster.to());
        if from.subject != to.subject || from.version == 0 || from.version >= to.version {
            let why = format!(
                "an upcaster from {from} to {to}: it leads to a later version of the same subject"
            );
            return Err(Invalid::Request(why));
        }
        if self.0.iter().any(|it| it.from() == from) {
            return Err(Invalid::Request(format!("another upcaster leads on from {from}")));
        }
        self.0.push(upcaster);
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that leads on from a version, if it leads no further than to another; and where it leads.
    pub(crate) fn lift(
        &self,
        subject: &str,
        from: u32,
        to_at_most: u32,
    ) -> Option<(&Arc<dyn Upcaster>, u32)> {
        let is_from = |it: &SchemaRef| it.subject == subject && it.version == from;
        let found = self.0.iter().find(|it| is_from(&it.from()))?;
        let to = found.to().version;
        (to <= to_at_most).then_some((found, to))
    }

    /// Whether one passes over, or leads to, a version from the one before.
    pub(crate) fn leads_to(&self, subject: &str, version: u32) -> bool {
        self.0.iter().any(|it| {
            let (from, to) = (it.from(), it.to());
            from.subject == subject && from.version < version && version <= to.version
        })
    }

    /// Those of a subject that lead no further than to a version, as bytes that are others when what they do is.
    pub(crate) fn of_subject(&self, subject: &str, to_at_most: u32) -> Vec<[u8; 12]> {
        let of = |it: &Arc<dyn Upcaster>| {
            let mut bytes = [0; 12];
            let numbers = [it.from().version, it.to().version, it.revision()];
            for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
                place.copy_from_slice(&number.to_le_bytes());
            }
            bytes
        };
        let leads = |it: SchemaRef| it.subject == subject && it.version <= to_at_most;
        let own = self.0.iter().filter(|it| leads(it.to()));
        let mut found: Vec<_> = own.map(of).collect();
        found.sort_unstable();
        found
    }
}
