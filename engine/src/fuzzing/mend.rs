//! Checksums that hold: what is behind them is to be reached.

use nexus_protocol::record::record_length;

/// The `u32` at `at`; zero behind the end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

/// The `u64` at `at`; zero behind the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Writes at `at`, unless it would be behind the end.
pub(super) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(target) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..field.len())) {
        target.copy_from_slice(field);
    }
}

/// As many of `bytes` as fit `length`, with zeros up to it, and a checksum at the end.
pub(super) fn sealed(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(length.max(4), 0);
    let end = out.len() - 4;
    let crc = crc32fast::hash(&out[..end]);
    put(&mut out, end, &crc.to_le_bytes());
    out
}

/// Mends the record that begins `bytes`, if one can.
pub(super) fn record(bytes: &mut [u8]) {
    let Some(record) = record_length(bytes).ok().and_then(|length| bytes.get_mut(..length)) else {
        return;
    };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..4]);
    hasher.update(&record[8..]);
    put(record, 4, &hasher.finalize().to_le_bytes());
}

/// Mends the records of `bytes` whose offsets are the last `count` numbers of it.
pub(super) fn records(bytes: &mut [u8], count: usize) {
    let count = count.min(bytes.len() / 4);
    let table = bytes.len() - 4 * count;
    for index in 0..count {
        let offset = u32_at(bytes, table + 4 * index) as usize;
        if let Some(rest) = bytes.get_mut(offset..table) {
            record(rest);
        }
    }
}
