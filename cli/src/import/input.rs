//! The file or standard input that rows are read from, and how much of it has been read.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use super::Format;
use crate::exit::Failure;

/// What is read ahead, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// An input whose format is known.
pub(crate) struct Input {
    name: String,
    format: Format,
    reader: BufReader<Box<dyn Read>>,
    len_bytes: Option<u64>,
    read_bytes: Rc<Cell<u64>>,
}

impl Input {
    /// Opens `file`, or standard input for `-`, and finds out what it is unless told.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn open(file: &Path, format: Option<Format>) -> Result<Self, Failure> {
        let (name, source, len_bytes): (_, Box<dyn Read>, _) = if file == Path::new("-") {
            ("standard input".to_owned(), Box::new(io::stdin()), None)
        } else {
            let name = file.display().to_string();
            let opened = File::open(file).map_err(|error| cannot_read(&name, &error))?;
            let metadata = opened.metadata().map_err(|error| cannot_read(&name, &error))?;
            if metadata.is_dir() {
                return Err(Failure::failed(format!("{name} is a folder: name a file in it")));
            }
            let len_bytes = metadata.is_file().then_some(metadata.len());
            (name, Box::new(opened), len_bytes)
        };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, source);
        let format = match format.or_else(|| format_of_name(file)) {
            Some(format) => format,
            None => {
                let start = reader.fill_buf().map_err(|error| cannot_read(&name, &error))?;
                format_of_start(start)
            }
        };
        Ok(Self { name, format, reader, len_bytes, read_bytes: Rc::default() })
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Its length, where that is known.
    pub(crate) fn len_bytes(&self) -> Option<u64> {
        self.len_bytes
    }

    /// How much of it has been taken, up to date while it is read.
    pub(crate) fn read_bytes(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.read_bytes)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read_bytes.set(self.read_bytes.get() + count as u64);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.read_bytes.set(self.read_bytes.get() + count as u64);
        self.reader.consume(count);
    }
}

fn cannot_read(name: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("{name} cannot be read: {error}"))
}

fn format_of_name(file: &Path) -> Option<Format> {
    match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" => Some(Format::Csv),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        _ => None,
    }
}

/// A line of JSON starts with a brace; a header of columns does not. Nothing at all is no line.
fn format_of_start(start: &[u8]) -> Format {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    match start.trim_ascii_start().first() {
        Some(b'{') | None => Format::Ndjson,
        _ => Format::Csv,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_found_from_name_or_start() {
        for (name, expected) in [
            ("a.csv", Some(Format::Csv)),
            ("a.CSV", Some(Format::Csv)),
            ("a.jsonl", Some(Format::Ndjson)),
            ("a.ndjson", Some(Format::Ndjson)),
            ("-", None),
            ("a.txt", None),
        ] {
            assert_eq!(format_of_name(Path::new(name)), expected, "{name}");
        }
        assert_eq!(format_of_start(b"\xef\xbb\xbf \n{\"a\":1}"), Format::Ndjson);
        assert_eq!(format_of_start(b"a,b\n"), Format::Csv);
        assert_eq!(format_of_start(b""), Format::Ndjson);
    }
}
