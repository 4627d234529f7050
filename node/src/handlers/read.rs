//! To read, once or as it comes.

use nexus_engine::{Events, Subscription};
use nexus_protocol::{Read, ReadError, Subscribe};

use super::Access;
use crate::guard::Action;

impl Access {
    /// Reads events. Sees everything that was acknowledged before.
    ///
    /// # Errors
    /// When the principal may not read.
    pub fn read(&self, read: Read) -> Result<Events, ReadError> {
        Ok(self.guard(Action::Read)?.read(read))
    }

    /// Delivers what is there and what comes.
    ///
    /// # Errors
    /// When the principal may not read.
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, ReadError> {
        Ok(self.guard(Action::Read)?.subscribe(subscribe))
    }
}
