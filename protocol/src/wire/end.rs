//! The end of a read on the wire.

use rkyv::{Archive, Deserialize, Serialize};

use crate::read::Explain;

/// How a read went about it: what its `End` says.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct EndHead {
    /// See [`Explain::index`].
    pub index: String,
    /// See [`Explain::segments_read`].
    pub segments_read: u64,
    /// See [`Explain::postings_read`].
    pub postings_read: u64,
}

impl From<&Explain> for EndHead {
    fn from(explain: &Explain) -> Self {
        Self {
            index: explain.index.clone().into_owned(),
            segments_read: explain.segments_read,
            postings_read: explain.postings_read,
        }
    }
}

impl From<EndHead> for Explain {
    fn from(head: EndHead) -> Self {
        Self {
            index: head.index.into(),
            segments_read: head.segments_read,
            postings_read: head.postings_read,
        }
    }
}
