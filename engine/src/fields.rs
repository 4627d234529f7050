//! Little-endian fields of the hand-specified files (segment header, manifest, node-state): written
//! by one, read by the other, and never past the end.

/// Writes fields one after the other.
#[derive(Debug, Default)]
pub(crate) struct FieldWriter {
    bytes: Vec<u8>,
}

impl FieldWriter {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// What was written, with zeros up to `length`, then the CRC-32 of all of it.
    pub(crate) fn sealed(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        assert!(bytes.len() + 4 <= length, "the fields fit their block");
        bytes.resize(length - 4, 0);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written so far, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Fields could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldError {
    /// The checksum at the end does not hold.
    Checksum,
    /// The fields end too early, or state something impossible.
    Malformed(&'static str),
}

/// The version that a block states behind its eight first bytes, where it has them and its checksum
/// holds, and it is above `known`: a later Nexus wrote it.
pub(crate) fn newer_version(block: &[u8], magic: &[u8; 8], known: u32) -> Option<u32> {
    let mut fields = FieldReader::checked(block).ok()?;
    let (first, version) = (fields.array::<8>().ok()?, fields.u32().ok()?);
    (first == *magic && version > known).then_some(version)
}

/// Reads fields one after the other.
#[derive(Debug)]
pub(crate) struct FieldReader<'a> {
    bytes: &'a [u8],
}

impl<'a> FieldReader<'a> {
    /// The fields of a block that [`FieldWriter::sealed`] made, once its checksum held.
    pub(crate) fn checked(block: &'a [u8]) -> Result<Self, FieldError> {
        let (bytes, crc) = block.split_last_chunk::<4>().ok_or(FieldError::Malformed("length"))?;
        if crc32fast::hash(bytes) != u32::from_le_bytes(*crc) {
            return Err(FieldError::Checksum);
        }
        Ok(Self { bytes })
    }

    /// Fields whose checksum stands elsewhere, and held.
    pub(crate) fn over(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FieldError> {
        let (field, rest) =
            self.bytes.split_first_chunk().ok_or(FieldError::Malformed("length"))?;
        self.bytes = rest;
        Ok(*field)
    }

    pub(crate) fn slice(&mut self, length: usize) -> Result<&'a [u8], FieldError> {
        let field = self.bytes.get(..length).ok_or(FieldError::Malformed("length"))?;
        self.bytes = self.bytes.get(length..).unwrap_or_default();
        Ok(field)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FieldError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FieldError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FieldError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes that are left.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }
}
