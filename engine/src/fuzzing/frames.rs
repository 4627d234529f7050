//! Frames: header, body, every record, and the digest.

use bytes::Bytes;

use super::mend;
use crate::frame::{BodyView, ChainDigest, FrameHeader, FrameKind, HEADER_BYTES, digest};
use crate::segment::frames::of_frame;

/// Bytes of a batch's header.
const BATCH_HEADER_BYTES: usize = 16;

/// A frame that decodes encodes to the same bytes, and holds just the events that its header says.
pub fn frame(bytes: &[u8]) {
    check(bytes);
    check(&mended(bytes));
}

pub(super) fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    let Some((header, body)) = frame.split_at_mut_checked(HEADER_BYTES) else { return frame };
    mend::records(body, mend::u32_at(header, 24) as usize);
    let length = u32::try_from(body.len()).expect("inputs are small");
    mend::put(header, 8, &length.to_le_bytes());
    mend::put(header, 12, &crc32fast::hash(body).to_le_bytes());
    mend::put(header, 64, &(length + 104).to_le_bytes());
    let crc = crc32fast::hash(&header[..96]);
    mend::put(header, 96, &crc.to_le_bytes());
    frame
}

fn check(bytes: &[u8]) {
    let salt = FrameHeader::salt_of(bytes);
    let Ok(header) = FrameHeader::decode(bytes) else { return };
    assert_eq!(salt, Some(header.local.salt));
    let mut known = bytes[..HEADER_BYTES].to_vec();
    [28, 68].into_iter().for_each(|reserved| mend::put(&mut known, reserved, &[0; 4]));
    let crc = crc32fast::hash(&known[..96]);
    mend::put(&mut known, 96, &crc.to_le_bytes());
    assert_eq!(header.encode().as_slice(), known, "what decodes encodes to the same bytes");
    assert!(header.padded_bytes() >= u64::from(header.local.stored_length));
    let rest = &bytes[HEADER_BYTES..];
    let Some(body) = rest.get(..header.replicated.raw_length as usize) else { return };
    if header.check_body(body).is_ok() {
        check_body(&header, &Bytes::copy_from_slice(body));
    }
}

fn check_body(header: &FrameHeader, body: &Bytes) {
    let replicated = &header.replicated;
    let mut records = Vec::new();
    let walked = digest(header, body, |record| records.push(record.clone()));
    assert!(records.len() <= replicated.count as usize, "no more events than the header says");
    let positions = records.iter().map(|record| record.position().get());
    assert!(positions.eq((replicated.first_position..).take(records.len())));
    if replicated.kind != FrameKind::Events {
        assert!(replicated.kind == FrameKind::Membership || body.is_empty(), "blank is empty");
        return;
    }
    check_chunk(header, body);
    let Ok(input) = walked else { return };
    assert_eq!(records.len(), replicated.count as usize, "no fewer either");
    assert_eq!(replicated.next_position(), replicated.first_position + records.len() as u64);
    let (mut again, mut known) = (Vec::new(), body.to_vec());
    let mut left = records.iter();
    let view = BodyView::new(header, body.clone()).expect("the length was compared");
    let add = |batch: crate::frame::BatchView<'_>| {
        assert!(batch.count > 0, "an append has an event");
        let start = again.len();
        let padding = batch.extensions.len().next_multiple_of(8) - batch.extensions.len();
        again.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
        again.extend_from_slice(batch.extensions);
        // What is reserved, or padding, has no meaning.
        mend::put(&mut known, start + 12, &[0; 4]);
        mend::put(&mut known, again.len(), &vec![0; padding]);
        again.resize(again.len() + padding, 0);
        for record in left.by_ref().take(batch.count as usize) {
            again.extend_from_slice(record.as_bytes());
        }
        let length = |n: usize| u32::try_from(n).expect("inputs are small").to_le_bytes();
        let batch_length = again.len() - start;
        mend::put(&mut again, start, &length(batch_length));
        mend::put(&mut again, start + 4, &batch.count.to_le_bytes());
        mend::put(&mut again, start + 8, &length(batch.extensions.len()));
    };
    view.batches(add).expect("all of it was walked");
    assert!(left.next().is_none(), "every record is in a batch");
    let table = body.len() - 4 * records.len();
    again.extend_from_slice(&body[table..]);
    assert_eq!(again, known, "what decodes encodes to the same bytes");
    let chain = ChainDigest::START.extend(replicated, &input);
    assert_ne!(chain, ChainDigest::START);
}

/// Readers of the newest frames take the same records out, or none.
fn check_chunk(header: &FrameHeader, body: &Bytes) {
    let frame = Bytes::from([&header.encode(), &body[..]].concat());
    let Some(chunk) = of_frame(&frame) else { return };
    assert_eq!(chunk.len(), header.replicated.count as usize);
    for index in 0..chunk.len() {
        if let Ok(record) = chunk.record(index) {
            assert_eq!(record.position().get(), chunk.position(index));
        }
    }
}
