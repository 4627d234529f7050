//! A scanner for Rust source: what is code, what is comment, what is text, and what is only test.
//!
//! Not a parser. It knows strings, raw strings, characters, lifetimes, and nested comments well
//! enough that a brace in a string never counts, and it matches braces from there. Where the
//! language is stranger than that (a brace inside the generics of a signature), it errs towards a
//! longer function, which a reader then looks at. All offsets are bytes, and the blanked copies
//! are as long as the text, so that an offset means the same in each.

use std::ops::Range;

/// A scanned file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The text with comments and the insides of strings and characters replaced by spaces.
    pub(crate) code: String,
    /// The text with all but comments replaced by spaces.
    pub(crate) comments: String,
    /// Where the insides of strings are.
    pub(crate) strings: Vec<Range<usize>>,
    /// Where code stands that only tests compile, attribute included.
    tests: Vec<Range<usize>>,
    line_starts: Vec<usize>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// What it is called.
    pub(crate) name: String,
    /// Where it starts, in bytes.
    pub(crate) offset: usize,
    /// Lines from `fn` to its closing brace.
    pub(crate) lines: usize,
}

impl Source {
    /// Scans `text`.
    pub(crate) fn scan(text: &str) -> Self {
        let mut lexer = Lexer::new(text);
        lexer.run();
        let code = lexer.copy_of(Class::Code);
        let comments = lexer.copy_of(Class::Comment);
        let strings = lexer.strings;
        let starts =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(starts).collect();
        let tests = test_regions(&code);
        Self { code, comments, strings, tests, line_starts }
    }

    /// The line, from 1, that byte `offset` stands in.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Whether byte `offset` stands in code that only tests compile.
    pub(crate) fn is_test(&self, offset: usize) -> bool {
        self.tests.iter().any(|region| region.contains(&offset))
    }

    /// Lines of the file that are not part of its tests.
    pub(crate) fn lines_without_tests(&self) -> usize {
        let total = self.line_of(self.code.len().saturating_sub(1));
        let lines = |region: &Range<usize>| {
            self.line_of(region.end.saturating_sub(1)) + 1 - self.line_of(region.start)
        };
        total.saturating_sub(self.tests.iter().map(lines).sum())
    }

    /// Functions that have a body, nested ones too.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let code = self.code.as_str();
        let mut functions = Vec::new();
        for offset in words(code, "fn") {
            let name = identifier(code, skip_space(code, offset + 2));
            if name.is_empty() {
                continue; // The type of a function, not a function.
            }
            let Some(open) = body(code, offset) else { continue };
            let close = closing(code, open);
            functions.push(Function {
                name: name.to_owned(),
                offset,
                lines: self.line_of(close) + 1 - self.line_of(offset),
            });
        }
        functions
    }
}

/// Offsets at which `word` stands in `code` as a whole word. A word may hold `::` and `!`.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).and_then(|i| bytes.get(i)).copied();
        let after = bytes.get(at + word.len()).copied();
        let ends_open = word.ends_with(['!', ':', '(']);
        !before.is_some_and(is_word_byte) && (ends_open || !after.is_some_and(is_word_byte))
    })
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn skip_space(code: &str, from: usize) -> usize {
    let rest = code.get(from..).unwrap_or_default();
    from + (rest.len() - rest.trim_start().len())
}

fn identifier(code: &str, from: usize) -> &str {
    let rest = code.get(from..).unwrap_or_default();
    let end = rest.bytes().position(|byte| !is_word_byte(byte)).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

/// The brace that opens the body of the item at `from`, or nothing where `;` comes first.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The byte that closes the bracket at `open`; the end of the text where nothing does.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len().saturating_sub(1)
}

/// Items behind `#[cfg(test)]` or `#[cfg(all(test, …))]`; the whole file behind `#![cfg(test)]`.
fn test_regions(code: &str) -> Vec<Range<usize>> {
    let mut regions: Vec<Range<usize>> = Vec::new();
    for (start, _) in code.match_indices('#') {
        if regions.last().is_some_and(|region| region.contains(&start)) {
            continue;
        }
        let whole_file = code.get(start + 1..).is_some_and(|rest| rest.starts_with('!'));
        let open = start + 1 + usize::from(whole_file);
        if code.as_bytes().get(open) != Some(&b'[') {
            continue;
        }
        let close = closing(code, open);
        if !is_test_condition(code.get(open + 1..close).unwrap_or_default()) {
            continue;
        }
        let end = if whole_file { code.len() } else { item_end(code, close + 1) };
        regions.push(start..end);
    }
    regions
}

fn is_test_condition(attribute: &str) -> bool {
    let dense: String = attribute.chars().filter(|c| !c.is_whitespace()).collect();
    let all = dense.strip_prefix("cfg(all(").and_then(|rest| rest.strip_suffix("))"));
    dense == "cfg(test)" || all.is_some_and(|list| list.split(',').any(|one| one == "test"))
}

/// Where the item after an attribute ends: behind its braces, its `;`, or, for a field, its `,`.
fn item_end(code: &str, from: usize) -> usize {
    const ITEMS: &[&str] = &[
        "async",
        "const",
        "enum",
        "extern",
        "fn",
        "impl",
        "let",
        "macro_rules",
        "mod",
        "pub",
        "static",
        "struct",
        "trait",
        "type",
        "union",
        "unsafe",
        "use",
    ];
    let mut start = skip_space(code, from);
    while code.get(start..).is_some_and(|rest| rest.starts_with("#[")) {
        start = skip_space(code, closing(code, start + 1) + 1);
    }
    let is_item = ITEMS.contains(&identifier(code, start));
    let mut is_use = false;
    let mut at = start;
    while let Some(byte) = code.as_bytes().get(at) {
        match byte {
            b';' => return at + 1,
            b',' if !is_item => return at + 1,
            b'}' | b')' | b']' => return at,
            b'(' | b'[' => at = closing(code, at),
            b'{' => {
                is_use = is_use
                    || words(code.get(start..at).unwrap_or_default(), "use").next().is_some();
                at = closing(code, at);
                if !is_use {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    code.len()
}

/// What a byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Code,
    Comment,
    Text,
}

struct Lexer<'a> {
    text: &'a str,
    class: Vec<Class>,
    strings: Vec<Range<usize>>,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, class: vec![Class::Code; text.len()], strings: Vec::new(), at: 0 }
    }

    fn run(&mut self) {
        while self.at < self.text.len() {
            let rest = self.rest();
            if rest.starts_with("//") {
                let end = rest.find('\n').unwrap_or(rest.len());
                self.mark(end, Class::Comment);
            } else if rest.starts_with("/*") {
                let end = block_comment_len(rest);
                self.mark(end, Class::Comment);
            } else if let Some(hashes) = self.raw_string_hashes() {
                self.raw_string(hashes);
            } else if rest.starts_with('"') {
                self.string();
            } else if rest.starts_with('\'') {
                self.character();
            } else {
                self.at += 1;
            }
        }
    }

    fn rest(&self) -> &'a str {
        // The lexer may stand inside a character of several bytes; no delimiter starts there.
        self.text.get(self.at..).unwrap_or_default()
    }

    fn mark(&mut self, len: usize, class: Class) {
        let end = (self.at + len).min(self.class.len());
        if let Some(bytes) = self.class.get_mut(self.at..end) {
            bytes.fill(class);
        }
        self.at = end.max(self.at + 1);
    }

    /// Number of `#` where a raw string begins here, and none where it does not.
    fn raw_string_hashes(&self) -> Option<usize> {
        let before = self.at.checked_sub(1).and_then(|i| self.text.as_bytes().get(i));
        if before.copied().is_some_and(is_word_byte) {
            return None;
        }
        let rest = self.rest();
        let after = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
        let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
        after.as_bytes().get(hashes).filter(|byte| **byte == b'"').map(|_| hashes)
    }

    fn raw_string(&mut self, hashes: usize) {
        let rest = self.rest();
        let open = rest.find('"').map_or(rest.len(), |at| at + 1);
        let end_mark = format!("\"{}", "#".repeat(hashes));
        let inside = rest.get(open..).unwrap_or_default();
        let len = inside.find(&end_mark).unwrap_or(inside.len());
        self.at += open;
        self.strings.push(self.at..self.at + len);
        if len > 0 {
            self.mark(len, Class::Text);
        }
        self.at += end_mark.len();
    }

    fn string(&mut self) {
        self.at += 1;
        let mut len = 0;
        let inside = self.rest().as_bytes();
        while let Some(byte) = inside.get(len) {
            match byte {
                b'"' => break,
                b'\\' => len += 2,
                _ => len += 1,
            }
        }
        self.strings.push(self.at..(self.at + len).min(self.text.len()));
        if len > 0 {
            self.mark(len, Class::Text);
        }
        self.at += 1;
    }

    /// A character, or the `'` of a lifetime.
    fn character(&mut self) {
        self.at += 1;
        let mut chars = self.rest().char_indices();
        let len = match chars.next() {
            // Behind the backslash stands at least one character, which may itself be a quote.
            Some((_, '\\')) => chars.skip(1).find(|(_, c)| *c == '\'').map(|(at, _)| at),
            Some(_) => chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at),
            None => None,
        };
        if let Some(len) = len {
            self.mark(len, Class::Text);
            self.at += 1;
        }
    }

    fn copy_of(&self, class: Class) -> String {
        let keep = |(byte, of): (u8, &Class)| {
            if *of == class || byte == b'\n' { byte } else { b' ' }
        };
        let bytes = self.text.bytes().zip(&self.class).map(keep).collect();
        String::from_utf8(bytes).expect("classes change only at ASCII bytes")
    }
}

fn block_comment_len(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => (at, depth) = (at + 2, depth + 1),
            (Some(b'*'), Some(b'/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests;
