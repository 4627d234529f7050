//! One run of bytes, compressed alone: how blocks and pieces of the frame directory are stored. A client
//! unpacks blocks too: what takes them apart is `nexus_protocol::block`.

use std::io::Cursor;

pub(super) use nexus_protocol::block::{Stored, unpack};
use zstd::bulk::Compressor;

/// Level of compression.
const LEVEL: i32 = 1;

/// Compresses runs of bytes.
pub(super) struct Encoder {
    compressor: Compressor<'static>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        let compressor = Compressor::new(LEVEL).expect("the level is one that there is");
        Self { compressor }
    }

    /// Appends `raw` to `out`, compressed where that makes it smaller.
    pub(super) fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Stored {
        assert!(!raw.is_empty(), "nothing is not stored");
        let start = out.len();
        out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let mut target = Cursor::new(&mut *out);
        target.set_position(start as u64);
        let packed = self.compressor.compress_to_buffer(raw, &mut target);
        let plain = packed.is_err() || out.len() - start >= raw.len();
        if plain {
            out.truncate(start);
            out.extend_from_slice(raw);
        }
        let length = |n: usize| u32::try_from(n).expect("blocks are below 4 GiB");
        Stored {
            raw_length: length(raw.len()),
            stored_length: length(out.len() - start),
            crc: crc32fast::hash(&out[start..]),
            plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_run_reads_back(
            runs in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 1..2000), 1_usize..20),
                1..5,
            ),
        ) {
            let mut encoder = Encoder::new();
            let (mut file, mut made, mut want) = (vec![7; 3], Vec::new(), vec![9; 5]);
            for (piece, times) in &runs {
                let raw = piece.repeat(*times);
                let start = file.len();
                let stored = encoder.encode(&raw, &mut file);
                prop_assert!(stored.is_possible(raw.len()));
                made.push((stored, start));
                want.extend_from_slice(&raw);
            }
            let mut out = vec![9; 5];
            for (stored, start) in &made {
                let end = start + stored.stored_length as usize;
                unpack(stored, &file[*start..end], &mut out).unwrap();
            }
            prop_assert_eq!(out, want);
        }

        #[test]
        fn hostile_bytes_with_a_right_checksum_stay_within_their_length(
            bytes in proptest::collection::vec(any::<u8>(), 1..300),
            raw_length in 1_u32..100_000,
            real in any::<bool>(),
        ) {
            let mut packed = Vec::new();
            if real {
                Encoder::new().encode(&bytes.repeat(50), &mut packed);
            } else {
                packed = bytes;
            }
            let stored = Stored {
                raw_length,
                stored_length: u32::try_from(packed.len()).unwrap(),
                crc: crc32fast::hash(&packed),
                plain: false,
            };
            let mut out = vec![1, 2];
            match unpack(&stored, &packed, &mut out) {
                Ok(()) => prop_assert_eq!(out.len(), 2 + raw_length as usize),
                Err(_) => prop_assert_eq!(out, [1, 2]),
            }
        }
    }
}
