//! The bytes of a file, in pages that clones share until one of them is written.
//!
//! A crash harness builds tens of thousands of disks that differ in a few sectors: a clone here is
//! one reference, a write copies the list of pages and the pages it touches, and a page of zeros is
//! not kept at all.

use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use foldhash::quality::FixedState;

pub(super) const PAGE_BYTES: usize = 4096;

#[derive(Clone, Debug)]
struct Page {
    bytes: [u8; PAGE_BYTES],
    /// Computed when first asked for, forgotten when written.
    fingerprint: OnceLock<u64>,
}

/// The bytes of a file. Behind its length every byte of its pages is zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: usize,
    /// `None`: zeros.
    pages: Arc<Vec<Option<Arc<Page>>>>,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Makes the file at least `len` long; what is added reads as zeros.
    pub(super) fn extend(&mut self, len: usize) {
        if len > self.len {
            self.len = len;
            Arc::make_mut(&mut self.pages).resize(len.div_ceil(PAGE_BYTES), None);
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        let end = (len.div_ceil(PAGE_BYTES) * PAGE_BYTES).min(self.len);
        self.write(len, &vec![0; end - len]);
        Arc::make_mut(&mut self.pages).truncate(len.div_ceil(PAGE_BYTES));
        self.len = len;
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.extend(offset + bytes.len());
        let pages = Arc::make_mut(&mut self.pages);
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let within = at % PAGE_BYTES;
            let (now, later) = rest.split_at(rest.len().min(PAGE_BYTES - within));
            write_page(&mut pages[at / PAGE_BYTES], within, now);
            (rest, at) = (later, at + now.len());
        }
    }

    /// Fills `buffer` from `offset` on, up to the end; answers how much that was.
    pub(super) fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let wanted = buffer.len().min(self.len.saturating_sub(offset));
        let mut done = 0;
        while done < wanted {
            let (index, within) = ((offset + done) / PAGE_BYTES, (offset + done) % PAGE_BYTES);
            let part = &mut buffer[done..wanted.min(done + PAGE_BYTES - within)];
            match &self.pages[index] {
                Some(page) => part.copy_from_slice(&page.bytes[within..within + part.len()]),
                None => part.fill(0),
            }
            done += part.len();
        }
        wanted
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }

    /// A number that equal contents share, and different ones practically never do.
    pub(super) fn fingerprint(&self) -> u64 {
        let state = FixedState::with_seed(self.len as u64);
        state.hash_one(self.pages.iter().map(fingerprint_of_page).collect::<Vec<u64>>())
    }
}

fn write_page(page: &mut Option<Arc<Page>>, within: usize, bytes: &[u8]) {
    let zeros = bytes.iter().all(|&byte| byte == 0);
    if zeros && (page.is_none() || bytes.len() == PAGE_BYTES) {
        *page = None;
        return;
    }
    let fresh = || Arc::new(Page { bytes: [0; PAGE_BYTES], fingerprint: OnceLock::new() });
    let page = Arc::make_mut(page.get_or_insert_with(fresh));
    page.bytes[within..within + bytes.len()].copy_from_slice(bytes);
    page.fingerprint = OnceLock::new();
}

/// 0 for zeros, whether or not they are kept as a page.
fn fingerprint_of_page(page: &Option<Arc<Page>>) -> u64 {
    page.as_ref().map_or(0, |page| {
        *page.fingerprint.get_or_init(|| {
            if page.bytes.iter().all(|&byte| byte == 0) {
                0
            } else {
                FixedState::with_seed(1).hash_one(page.bytes)
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn content_reads_as_a_plain_vector(
            steps in prop::collection::vec((0_usize..20_000, 0_usize..9_000, 0_u8..3), 1..12),
        ) {
            let (mut content, mut model) = (Content::default(), Vec::<u8>::new());
            for (offset, len, byte) in steps {
                let before = content.clone();
                let bytes_before = model.clone();
                if byte == 2 {
                    content.truncate(offset);
                    model.truncate(offset);
                } else if len > 0 {
                    content.write(offset, &vec![byte; len]);
                    model.resize(model.len().max(offset + len), 0);
                    model[offset..offset + len].fill(byte);
                }
                prop_assert_eq!(content.to_vec(), model.clone());
                prop_assert_eq!(before.to_vec(), bytes_before, "a clone does not change");
                let mut fresh = Content::default();
                fresh.extend(model.len());
                fresh.write(0, &model);
                prop_assert_eq!(fresh.fingerprint(), content.fingerprint());
            }
        }
    }

    #[test]
    fn fingerprint_sees_one_bit_and_the_length() {
        let mut content = Content::default();
        content.write(0, &[1; 9000]);
        let before = content.fingerprint();
        content.write(8191, &[0]);
        assert_ne!(content.fingerprint(), before);
        content.write(8191, &[1]);
        assert_eq!(content.fingerprint(), before);
        content.extend(9001);
        assert_ne!(content.fingerprint(), before);
    }
}
