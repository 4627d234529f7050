//! Values that nobody is shown: [`Mask`] puts `null` in their place, and leaves every other byte of the text as it is.

use std::collections::BTreeSet;

/// How deep values may lie in each other; data that are deeper are withheld as a whole.
const DEPTH_MAX: usize = 128;

/// Pointers to what nobody is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    pointers: Vec<Vec<String>>,
}

impl Mask {
    /// Of JSON pointers (RFC 6901), in which `*` stands for each element or member; an empty one is all of it.
    pub fn new(pointers: &BTreeSet<String>) -> Self {
        let decoded = |token: &str| token.replace("~1", "/").replace("~0", "~");
        let tokens = |pointer: &String| pointer.split('/').skip(1).map(decoded).collect();
        Self { pointers: pointers.iter().map(tokens).collect() }
    }

    /// The text with what nobody is shown masked; `None`: it is no JSON, and has to be withheld as a whole.
    pub fn apply(&self, json: &[u8]) -> Option<Vec<u8>> {
        let text = str::from_utf8(json).ok()?;
        let open: Vec<&[String]> = self.pointers.iter().map(Vec::as_slice).collect();
        let mut scan = Scan { text, at: 0, out: String::with_capacity(text.len()), copied: 0 };
        scan.space();
        scan.value(&open, 0)?;
        scan.space();
        if scan.at != text.len() {
            return None;
        }
        scan.out.push_str(&text[scan.copied..]);
        Some(scan.out.into_bytes())
    }
}

/// A walk over a text; what is behind `copied` is not in `out` yet.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    out: String,
    copied: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Passes over a value; `open` is what is left of the pointers that lead to it.
    fn value(&mut self, open: &[&[String]], depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        if open.iter().any(|left| left.is_empty()) {
            let start = self.at;
            self.value(&[], depth)?;
            self.out.push_str(&self.text[self.copied..start]);
            self.out.push_str("null");
            self.copied = self.at;
            return Some(());
        }
        match self.peek()? {
            b'{' => self.object(open, depth),
            b'[' => self.array(open, depth),
            b'"' => self.string().map(|_| ()),
            _ => self.scalar(),
        }
    }

    fn object(&mut self, open: &[&[String]], depth: usize) -> Option<()> {
        self.take(b'{')?;
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.space();
            let (start, end) = self.string()?;
            let inner = match open.is_empty() {
                true => Vec::new(),
                false => {
                    // A name may be written with escapes.
                    let name: String = serde_json::from_str(&self.text[start..end]).ok()?;
                    below(open, &name)
                }
            };
            self.space();
            self.take(b':')?;
            self.space();
            self.value(&inner, depth + 1)?;
            self.space();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, open: &[&[String]], depth: usize) -> Option<()> {
        self.take(b'[')?;
        self.space();
        if self.take(b']').is_some() {
            return Some(());
        }
        for index in 0_usize.. {
            self.space();
            let inner = match open.is_empty() {
                true => Vec::new(),
                false => below(open, &index.to_string()),
            };
            self.value(&inner, depth + 1)?;
            self.space();
            if self.take(b',').is_none() {
                break;
            }
        }
        self.take(b']')
    }

    /// Passes over a text: where it begins and ends, quotes included.
    fn string(&mut self) -> Option<(usize, usize)> {
        let start = self.at;
        self.take(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some((start, self.at))
    }

    /// Passes over a number or a word, which must be one.
    fn scalar(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it)) {
            self.at += 1;
        }
        let text = self.text.get(start..self.at)?;
        serde_json::from_str::<&serde_json::value::RawValue>(text).ok().map(|_| ())
    }
}

/// What is left of pointers behind a name.
fn below<'a>(open: &[&'a [String]], name: &str) -> Vec<&'a [String]> {
    let leads = |left: &&'a [String]| {
        let (first, rest) = left.split_first()?;
        (first == name || first == "*").then_some(rest)
    };
    open.iter().filter_map(leads).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn masked(json: &str, pointers: &[&str]) -> Option<String> {
        let pointers = pointers.iter().map(|it| (*it).to_owned()).collect();
        let masked = Mask::new(&pointers).apply(json.as_bytes())?;
        Some(String::from_utf8(masked).unwrap())
    }

    #[test]
    fn what_is_pointed_to_becomes_null_and_the_rest_stays_to_the_byte() {
        let json =
            r#" {"a" : 1.50, "b":{"c":[ {"d":"x\"y"}, {"d":2}, 3 ],"e~/f":true}, "a":[0] } "#;
        assert_eq!(
            masked(json, &["/a", "/b/c/*/d", "/b/e~0~1f", "/none"]).unwrap(),
            r#" {"a" : null, "b":{"c":[ {"d":null}, {"d":null}, 3 ],"e~/f":null}, "a":null } "#
        );
        assert_eq!(masked(json, &["/b/c/1"]).unwrap(), json.replace(r#"{"d":2}"#, "null"));
        assert_eq!(masked("{\"na\\u006de\":1}", &["/name"]).unwrap(), "{\"na\\u006de\":null}");
        assert_eq!(masked("[1]", &[""]).unwrap(), "null");
        assert_eq!(masked(json, &[]).unwrap(), json);
    }

    #[test]
    fn what_is_no_json_is_withheld() {
        for wrong in [
            "",
            "{",
            "{\"a\":}",
            "[1,]",
            "{a:1}",
            "tru",
            "1 2",
            "\"a",
            "\"a\\",
            "[01]",
            "{\"a\":1,}",
        ] {
            assert_eq!(masked(wrong, &["/a"]), None, "{wrong}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(masked(&deep, &["/a"]), None);
    }

    proptest! {
        #[test]
        fn the_same_is_left_as_if_values_were_set(seed in any::<u64>()) {
            let mut json = serde_json::json!({"a": {"b": [seed, {"c": "ä\n"}], "d": null}, "e": [[seed % 7]]});
            let text = json.to_string();
            let pointer = ["/a/b/0", "/a/b/1/c", "/a/b", "/e/0/0", "/a"][usize::try_from(seed % 5).unwrap()];
            let got: Value = serde_json::from_str(&masked(&text, &[pointer]).unwrap()).unwrap();
            *json.pointer_mut(pointer).unwrap() = Value::Null;
            prop_assert_eq!(got, json);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mask = Mask::new(&["/a/*".to_owned(), String::new()].into());
            if let Some(masked) = mask.apply(&bytes) {
                let text = String::from_utf8(masked).unwrap();
                prop_assert_eq!(text.trim(), "null");
            }
        }
    }
}
