//! [`Checkpoint`]: how far the documents of a projection have come, of which log, and what is needed to go on.
//!
//! It is kept in the same commit as the documents. It is JSON: small, and read by people who look into a sink.

use nexus_protocol::{Lineage, LogId, Position};
use serde::{Deserialize, Serialize};

use super::digest::{DocumentsDigest, EventsDigest};
use super::lanes::Lanes;

/// The version of what is written.
const FORMAT: u32 = 1;

/// How far documents have come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    format: u32,
    log_id: LogId,
    lineage: Lineage,
    fingerprint: String,
    /// The first position that they know nothing of.
    pub next: Position,
    /// Events that were taken, those that wait included.
    pub events: u64,
    /// Documents that there are.
    pub documents: u64,
    /// What was taken.
    pub events_digest: EventsDigest,
    /// What came of it.
    pub documents_digest: DocumentsDigest,
    pub(super) lanes: Lanes,
}

/// Of what documents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The log.
    pub log_id: LogId,
    /// Its lineage.
    pub lineage: Lineage,
    /// What folds: [`Projection::fingerprint`](super::Projection::fingerprint).
    pub fingerprint: [u8; 32],
    /// The first position that the log does not have.
    pub end: Position,
}

/// Why documents that are there cannot be gone on with: they are folded again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMine {
    /// The checkpoint is none.
    #[error("their checkpoint cannot be read: {0}")]
    Unreadable(String),
    /// They are of another log, or of what the log was before it was restored.
    #[error("they are of another log, or of an earlier lineage of it")]
    OtherLog,
    /// They were folded by something else.
    #[error("they were folded by another definition")]
    OtherFold,
    /// They know of more than the log has.
    #[error("they know of position {next}, and the log ends before {end}")]
    Ahead {
        /// The first position that they know nothing of.
        next: Position,
        /// The first that the log does not have.
        end: Position,
    },
}

impl Checkpoint {
    /// Of no documents.
    pub fn new(origin: &Origin) -> Self {
        Self {
            format: FORMAT,
            log_id: origin.log_id,
            lineage: origin.lineage,
            fingerprint: hex(&origin.fingerprint),
            next: Position::ZERO,
            events: 0,
            documents: 0,
            events_digest: EventsDigest::default(),
            documents_digest: DocumentsDigest::default(),
            lanes: Lanes::default(),
        }
    }

    /// The bytes that it is kept as.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has a JSON form")
    }

    /// The one that was kept as these bytes, if it can be gone on with.
    ///
    /// # Errors
    /// As [`NotMine`] says: all is folded again.
    pub fn decode(bytes: &[u8], origin: &Origin) -> Result<Self, NotMine> {
        let read: Self =
            serde_json::from_slice(bytes).map_err(|why| NotMine::Unreadable(why.to_string()))?;
        if read.format != FORMAT {
            return Err(NotMine::Unreadable(format!("it has format {}", read.format)));
        }
        if read.log_id != origin.log_id || read.lineage != origin.lineage {
            return Err(NotMine::OtherLog);
        }
        if read.fingerprint != hex(&origin.fingerprint) {
            return Err(NotMine::OtherFold);
        }
        if read.next > origin.end {
            return Err(NotMine::Ahead { next: read.next, end: origin.end });
        }
        Ok(read)
    }

    /// Keys whose events wait.
    pub fn parked(&self) -> usize {
        self.lanes.len()
    }

    /// Whether the events of a key wait.
    pub fn is_parked(&self, key: &str) -> bool {
        self.lanes.has_key(key)
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes all");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_folded_by_the_same_of_the_same_log_is_gone_on_with() {
        let log_id: LogId =
            serde_json::from_str("\"018f2c3e-0000-7000-8000-000000000001\"").unwrap();
        let other: LogId =
            serde_json::from_str("\"018f2c3e-0000-7000-8000-000000000002\"").unwrap();
        let origin = Origin {
            log_id,
            lineage: Lineage::FIRST,
            fingerprint: [7; 32],
            end: Position::new(10),
        };
        let checkpoint = Checkpoint { next: Position::new(10), ..Checkpoint::new(&origin) };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes, &origin), Ok(checkpoint));
        let with = |origin: Origin| Checkpoint::decode(&bytes, &origin).unwrap_err();
        assert_eq!(with(Origin { log_id: other, ..origin }), NotMine::OtherLog);
        assert_eq!(with(Origin { lineage: Lineage::new(2), ..origin }), NotMine::OtherLog);
        assert_eq!(with(Origin { fingerprint: [8; 32], ..origin }), NotMine::OtherFold);
        let end = Position::new(9);
        assert_eq!(with(Origin { end, ..origin }), NotMine::Ahead { next: Position::new(10), end });
        for end in 0..bytes.len() {
            let cut = Checkpoint::decode(&bytes[..end], &origin);
            assert!(matches!(cut, Err(NotMine::Unreadable(_))), "{end}");
        }
        let newer =
            String::from_utf8(bytes.clone()).unwrap().replace("\"format\":1", "\"format\":2");
        let newer = Checkpoint::decode(newer.as_bytes(), &origin);
        assert!(matches!(newer, Err(NotMine::Unreadable(_))));
    }
}
