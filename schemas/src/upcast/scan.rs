//! The text of a JSON value, walked over without being read into values.
//!
//! Everything here is handed text that was found to be JSON before, so that only ends are looked for and nothing is
//! checked again. On other text the answers are of no use, but nothing ends the process.

use std::borrow::Cow;

/// What a text is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number, however it is spelled.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// What the text of a value is.
pub(super) fn kind(text: &str) -> Kind {
    match text.as_bytes().first() {
        Some(b'"') => Kind::String,
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// The value that a whole text is, without the space around it; an error says why it is none.
///
/// It does not matter how deep the value is: nothing here is called for each level.
pub(super) fn checked(data: &[u8]) -> Result<&str, serde_json::Error> {
    serde_json::from_slice::<&serde_json::value::RawValue>(data).map(|it| it.get())
}

/// What a string says. `None`: half of a surrogate pair stands alone, which is no text.
pub(super) fn decoded(quoted: &str) -> Option<Cow<'_, str>> {
    let inner = quoted.get(1..quoted.len().checked_sub(1)?)?;
    if inner.as_bytes().contains(&b'\\') {
        serde_json::from_str::<String>(quoted).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// A text as a string of JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A place in a text.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes over the space that stands here, and tells what is behind it.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                other => return Some(other),
            }
        }
    }

    /// Goes over this byte and the space before it, if that is what stands here.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    /// The string that stands here, with its quotation marks, and whether anything is escaped in it.
    pub(super) fn string(&mut self) -> Option<(&'a str, bool)> {
        self.peek()?;
        let start = self.at;
        let escaped = self.skip_string()?;
        Some((self.text.get(start..self.at)?, escaped))
    }

    fn skip_string(&mut self) -> Option<bool> {
        let mut escaped = false;
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let next = rest.iter().position(|it| matches!(it, b'"' | b'\\'))?;
            self.at += next;
            if rest.get(next) == Some(&b'"') {
                self.at += 1;
                return Some(escaped);
            }
            escaped = true;
            self.at += 2;
        }
    }

    /// The value that stands here, whatever it is.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => _ = self.skip_string()?,
            b'{' | b'[' => self.skip_nested()?,
            _ => self.skip_scalar(),
        }
        self.text.get(start..self.at)
    }

    fn skip_scalar(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let ends = |it: &u8| matches!(it, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.byte()? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// A member as it is spelled.
pub(super) struct RawMember<'a> {
    /// Its name, with quotation marks.
    pub(super) key: &'a str,
    /// Whether anything is escaped in its name.
    pub(super) escaped: bool,
    /// Its value.
    pub(super) value: &'a str,
}

/// The members of an object, as they stand; none, of anything else.
pub(super) fn members(text: &str) -> impl Iterator<Item = RawMember<'_>> {
    let mut cursor = Cursor::new(text);
    let mut goes_on = cursor.eat(b'{') && cursor.peek() != Some(b'}');
    std::iter::from_fn(move || {
        if !goes_on {
            return None;
        }
        let (key, escaped) = cursor.string()?;
        cursor.eat(b':');
        let value = cursor.value()?;
        goes_on = cursor.eat(b',');
        Some(RawMember { key, escaped, value })
    })
}

/// The elements of an array; none, of anything else.
pub(super) fn elements(text: &str) -> impl Iterator<Item = &str> {
    let mut cursor = Cursor::new(text);
    let mut goes_on = cursor.eat(b'[') && cursor.peek() != Some(b']');
    std::iter::from_fn(move || {
        if !goes_on {
            return None;
        }
        let value = cursor.value()?;
        goes_on = cursor.eat(b',');
        Some(value)
    })
}

/// The same value without the space between its parts. What is spelled stays as it is spelled.
pub(super) fn compact(text: &str) -> String {
    let mut cursor = Cursor::new(text);
    let mut out = String::with_capacity(text.len());
    while let Some(byte) = cursor.peek() {
        let part = match byte {
            b'"' => cursor.string().map(|(text, _)| text),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => {
                cursor.at += 1;
                text.get(cursor.at - 1..cursor.at)
            }
            _ => cursor.value(),
        };
        // Text of JSON always has a part here.
        let Some(part) = part.filter(|it| !it.is_empty()) else { break };
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_as_they_are_spelled() {
        let text = r#" { "a" : 1.50 , "b\"\u0041":[1,{"x":"}"} ] ,"":{"q":[]},"z":"\\" } "#;
        let all: Vec<_> = members(text).map(|it| (it.key, it.escaped, it.value)).collect();
        let expected = [
            (r#""a""#, false, "1.50"),
            (r#""b\"\u0041""#, true, r#"[1,{"x":"}"} ]"#),
            (r#""""#, false, r#"{"q":[]}"#),
            (r#""z""#, false, r#""\\""#),
        ];
        assert_eq!(all, expected);
        for none in ["{}", "{ }", "[1]", "5", "\"{\"", ""] {
            assert_eq!(members(none).count(), 0, "{none}");
        }
    }

    #[test]
    fn elements_are_told_as_they_are_spelled() {
        let all: Vec<_> = elements(r#"[ 1e2, "a,]" ,[[],{}], null,true ]"#).collect();
        assert_eq!(all, ["1e2", r#""a,]""#, "[[],{}]", "null", "true"]);
        for none in ["[]", "[ ]", "{}", "5", ""] {
            assert_eq!(elements(none).count(), 0, "{none}");
        }
    }

    #[test]
    fn compact_text_has_no_space_but_in_strings() {
        let text = "{ \"a b\" : [ 1.50 ,\n\t-2e+7, \"c \\\" d\" ] , \"e\" : { } }";
        assert_eq!(compact(text), r#"{"a b":[1.50,-2e+7,"c \" d"],"e":{}}"#);
        assert_eq!(compact(" 7 "), "7");
    }

    #[test]
    fn broken_text_ends_nothing() {
        for text in ["{", "{\"", "{\"a", "{\"a\":", "[", "[1,", "[\"\\", "{\"a\":[", "}", "]", ":"]
        {
            _ = members(text).count() + elements(text).count() + compact(text).len();
        }
    }

    #[test]
    fn depth_does_not_matter() {
        let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(checked(deep.as_bytes()).unwrap(), deep);
        assert_eq!(elements(&deep).next().map(str::len), Some(deep.len() - 2));
    }
}
