//! Memory whose address is a multiple of the disk's block.

use bytes::Bytes;

/// Offsets, lengths, and addresses of log files are multiples of this, in bytes.
pub const ALIGNMENT: usize = 4096;

const _: () = assert!(ALIGNMENT.is_power_of_two());

/// `len` rounded up to a multiple of [`ALIGNMENT`].
pub const fn align_up(len: usize) -> usize {
    (len + ALIGNMENT - 1) & !(ALIGNMENT - 1)
}

/// Zeroed bytes that start at a multiple of [`ALIGNMENT`]. Its capacity is fixed.
///
/// The allocation is one block larger than asked, and the aligned part of it is used: this needs no
/// `unsafe`, and the surplus page is never touched.
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let memory = vec![0_u8; len + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        assert!(start < ALIGNMENT, "a byte pointer can always be aligned");
        Self { memory, start, len }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    /// The bytes, to be filled.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }

    /// The same memory as shared, immutable bytes; the address stays.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Whether an address, length, or offset is a multiple of [`ALIGNMENT`].
pub fn is_aligned(value: u64) -> bool {
    value.is_multiple_of(ALIGNMENT as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_aligned_and_keep_their_address_when_shared() {
        for len in [0, 1, 4096, 5000, 1 << 20] {
            let mut buffer = AlignedBuffer::zeroed(len);
            buffer.as_mut_slice().fill(7);
            let address = buffer.as_slice().as_ptr() as usize;
            assert_eq!(address % ALIGNMENT, 0);
            let bytes = buffer.into_bytes();
            assert_eq!((bytes.len(), bytes.as_ptr() as usize), (len, address));
        }
    }
}
