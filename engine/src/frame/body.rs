//! Reading the body of a frame: batches of records, then the offset of each record.

use bytes::Bytes;
use nexus_protocol::record::{check_extensions, record_length};
use nexus_protocol::{RecordError, RecordedEvent};

use super::chain::ChainInput;
use super::header::{FrameError, FrameHeader, FrameKind, Unknown};

/// Bytes of a batch's header: length, count, length of its extensions, zero.
pub(crate) const BATCH_HEADER_BYTES: usize = 16;
/// Extension of a batch: the idempotency key its ids were made from.
pub(crate) const EXTENSION_IDEMPOTENCY_KEY: u16 = 1;
/// Extension of a batch: who appended it.
pub(crate) const EXTENSION_PRINCIPAL: u16 = 2;
/// Extension of a batch: revision of the policy that admitted it.
pub(crate) const EXTENSION_POLICY_REVISION: u16 = 3;
const EXTENSIONS_KNOWN: [u16; 3] =
    [EXTENSION_IDEMPOTENCY_KEY, EXTENSION_PRINCIPAL, EXTENSION_POLICY_REVISION];

/// The body of a frame of events. Its checksum was checked, or each record's will be.
#[derive(Clone, Debug)]
pub(crate) struct BodyView {
    body: Bytes,
    first_position: u64,
    count: usize,
}

/// One batch: the events of one append.
#[derive(Debug)]
pub(crate) struct BatchView<'a> {
    /// Number of its records.
    pub(crate) count: u32,
    /// Its encoded extensions.
    pub(crate) extensions: &'a [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, FrameError> {
    let field = bytes.get(at..).and_then(|b| b.first_chunk());
    field.map(|b| u32::from_le_bytes(*b)).ok_or(FrameError::Malformed("batch"))
}

impl BodyView {
    /// The body that belongs to `header`.
    pub(crate) fn new(header: &FrameHeader, body: Bytes) -> Result<Self, FrameError> {
        if body.len() != header.replicated.raw_length as usize {
            return Err(FrameError::Malformed("length"));
        }
        let table = 4 * header.replicated.count as usize;
        assert!(table <= body.len(), "a header that was decoded has room for its table");
        Ok(Self {
            body,
            first_position: header.replicated.first_position,
            count: header.replicated.count as usize,
        })
    }

    /// Offset of record `index` in the body, and its length, bounds checked.
    pub(crate) fn record_range(&self, index: usize) -> Result<std::ops::Range<usize>, FrameError> {
        let table = self.body.len() - 4 * self.count;
        let start = u32_at(&self.body, table + 4 * index)? as usize;
        let rest = self.body.get(start..table).ok_or(FrameError::Malformed("record offset"))?;
        let length = record_length(rest).map_err(|_| FrameError::Malformed("record length"))?;
        if length > rest.len() {
            return Err(FrameError::Malformed("record length"));
        }
        Ok(start..start + length)
    }

    /// Record `index`, checked, and checked to stand where it says.
    pub(crate) fn record(&self, index: usize) -> Result<RecordedEvent, FrameError> {
        assert!(index < self.count, "the caller knows the count");
        let range = self.record_range(index)?;
        let record =
            RecordedEvent::decode(self.body.slice(range)).map_err(|error| match error {
                RecordError::Version(version) if version > 1 => {
                    FrameError::Unknown(Unknown::RecordVersion(version))
                }
                RecordError::UnknownExtension(kind) => {
                    FrameError::Unknown(Unknown::RecordExtension(kind))
                }
                _ => FrameError::Body,
            })?;
        if record.position().get() != self.first_position + index as u64 {
            return Err(FrameError::Malformed("position of a record"));
        }
        Ok(record)
    }

    /// All batches, in order, records unseen.
    pub(crate) fn batches(
        &self,
        mut on_batch: impl FnMut(BatchView<'_>),
    ) -> Result<(), FrameError> {
        let table = self.body.len() - 4 * self.count;
        let mut at = 0;
        while at < table {
            let (batch, end) = self.batch_at(at, table)?;
            on_batch(batch);
            at = end;
        }
        Ok(())
    }

    /// The batch at `at`, and where it ends: not behind `table`.
    fn batch_at(&self, at: usize, table: usize) -> Result<(BatchView<'_>, usize), FrameError> {
        let length = u32_at(&self.body, at)? as usize;
        let count = u32_at(&self.body, at + 4)?;
        let extensions_length = u32_at(&self.body, at + 8)? as usize;
        let end = at.checked_add(length).filter(|end| *end <= table);
        let end = end.ok_or(FrameError::Malformed("batch length"))?;
        if length < BATCH_HEADER_BYTES {
            return Err(FrameError::Malformed("batch length"));
        }
        if count == 0 {
            return Err(FrameError::Malformed("batch count"));
        }
        let extensions = self
            .body
            .get(at + BATCH_HEADER_BYTES..at + BATCH_HEADER_BYTES + extensions_length)
            .ok_or(FrameError::Malformed("batch extensions"))?;
        Ok((BatchView { count, extensions }, end))
    }

    /// All batches and records, in order, each record decoded and checked.
    pub(crate) fn walk(
        &self,
        mut on_batch: impl FnMut(BatchView<'_>),
        mut on_record: impl FnMut(&RecordedEvent),
    ) -> Result<(), FrameError> {
        let table = self.body.len() - 4 * self.count;
        let (mut at, mut index) = (0, 0);
        while at < table {
            let (BatchView { count, extensions }, end) = self.batch_at(at, table)?;
            let extensions_length = extensions.len();
            check_extensions(extensions, &EXTENSIONS_KNOWN).map_err(|error| match error {
                RecordError::UnknownExtension(kind) => {
                    FrameError::Unknown(Unknown::BatchExtension(kind))
                }
                _ => FrameError::Malformed("batch extensions"),
            })?;
            on_batch(BatchView { count, extensions });
            let mut record_at = at + BATCH_HEADER_BYTES + extensions_length.next_multiple_of(8);
            for _ in 0..count {
                if index == self.count || self.record_range(index)?.start != record_at {
                    return Err(FrameError::Malformed("record offset"));
                }
                let record = self.record(index)?;
                record_at += record.as_bytes().len();
                index += 1;
                on_record(&record);
            }
            if record_at != end {
                return Err(FrameError::Malformed("batch length"));
            }
            at = end;
        }
        if index == self.count { Ok(()) } else { Err(FrameError::Malformed("count")) }
    }
}

/// What the chain covers of a frame that was read, and its records.
pub(crate) fn digest(
    header: &FrameHeader,
    body: &Bytes,
    mut on_record: impl FnMut(&RecordedEvent),
) -> Result<ChainInput, FrameError> {
    let input =
        std::cell::RefCell::new(ChainInput::with_capacity(header.replicated.count as usize));
    if header.replicated.kind == FrameKind::Events {
        BodyView::new(header, body.clone())?.walk(
            |batch| input.borrow_mut().batch(batch.count, batch.extensions),
            |record| {
                let digest = blake3::hash(record.content());
                input.borrow_mut().record(digest.as_bytes(), record.revision());
                on_record(record);
            },
        )?;
    } else {
        input.borrow_mut().opaque(body);
    }
    Ok(input.into_inner())
}
