//! As much of Markdown as the checks need: spans of code and targets of links, outside of fences.

/// What a document holds, each with its line, from 1.
#[derive(Debug, Default)]
pub(super) struct Markdown<'a> {
    /// Insides of `` `…` ``.
    pub(super) spans: Vec<(usize, &'a str)>,
    /// Targets of `[text](target)` and of `[label]: target`.
    pub(super) links: Vec<(usize, &'a str)>,
}

impl<'a> Markdown<'a> {
    /// Reads a document line by line; a span or link over two lines is not seen.
    pub(super) fn read(text: &'a str) -> Self {
        let mut document = Self::default();
        let mut fence: Option<&str> = None;
        for (index, line) in text.lines().enumerate() {
            let mark = fence_mark(line);
            match (fence, mark) {
                (None, Some(mark)) => fence = Some(mark),
                (Some(open), Some(mark)) if mark.starts_with(open) => fence = None,
                (Some(_), _) => {}
                (None, None) => document.read_line(index + 1, line),
            }
        }
        document
    }

    fn read_line(&mut self, number: usize, line: &'a str) {
        let mut rest = line;
        while let Some(at) = rest.find('`') {
            let (before, from) = rest.split_at(at);
            self.read_links(number, before);
            let ticks = from.bytes().take_while(|byte| *byte == b'`').count();
            let (mark, inside) = from.split_at(ticks);
            let Some(end) = inside.find(mark) else {
                rest = inside;
                continue;
            };
            let (span, after) = inside.split_at(end);
            self.spans.push((number, span.trim()));
            rest = after.split_at(ticks).1;
            // The text of a link may be code: `](` then stands behind the span.
            if let Some(target) = rest.strip_prefix("](").and_then(|from| from.split(')').next()) {
                self.links.push((number, target_of(target)));
            }
        }
        self.read_links(number, rest.strip_prefix("](").unwrap_or(rest));
        if let Some((label, target)) = line.split_once("]: ")
            && label.starts_with('[')
            && !label.starts_with("[^")
        {
            self.links.push((number, target_of(target)));
        }
    }

    fn read_links(&mut self, number: usize, text: &'a str) {
        for (at, mark) in text.match_indices("](") {
            let from = text.get(at + mark.len()..).unwrap_or_default();
            if let Some(target) = from.split(')').next() {
                self.links.push((number, target_of(target)));
            }
        }
    }
}

/// A target without its title and its angle brackets.
fn target_of(text: &str) -> &str {
    let first = text.split_whitespace().next().unwrap_or_default();
    first.trim_start_matches('<').trim_end_matches('>')
}

/// The run of marks that opens or closes a fenced block.
fn fence_mark(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|c| *c == '`' || *c == '~')?;
    let end = line.find(|c: char| c != mark).unwrap_or(line.len());
    // Back-ticks again on the line make it a span of code.
    let is_span = mark == '`' && line.get(end..).is_some_and(|rest| rest.contains('`'));
    line.get(..end).filter(|marks| marks.len() >= 3 && !is_span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(text: &str) -> Vec<&str> {
        Markdown::read(text).spans.into_iter().map(|(_, span)| span).collect()
    }

    fn links(text: &str) -> Vec<&str> {
        Markdown::read(text).links.into_iter().map(|(_, target)| target).collect()
    }

    #[test]
    fn spans_are_read_outside_of_fences() {
        assert_eq!(spans("a `b` and ``c`d`` e"), ["b", "c`d"]);
        assert_eq!(spans("```sh\n`a`\n```\n`b`\n~~~\n`c`\n~~~"), ["b"]);
        assert_eq!(spans("````\n```\n`a`\n```\n````\n`b`"), ["b"]);
        assert_eq!(spans("one ` alone"), Vec::<&str>::new());
        assert_eq!(Markdown::read("\n`a`").spans, [(2, "a")]);
    }

    #[test]
    fn links_are_read_outside_of_code() {
        assert_eq!(
            links("[a](b.md) ![c](<d.png> \"title\") [e](f.md#g)"),
            ["b.md", "d.png", "f.md#g"]
        );
        assert_eq!(links("[`a`](b.md) and [c](d.md)"), ["b.md", "d.md"]);
        assert_eq!(links("`[a](b.md)`"), Vec::<&str>::new());
        assert_eq!(links("[0.2.0]: docs/a.md\n[^1]: a note"), ["docs/a.md"]);
    }
}
