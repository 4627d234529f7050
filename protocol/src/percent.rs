//! Percent-encoding (RFC 3986, 2.1), as queries, paths, and lists of headers have it.

/// Takes it off; `None`: a `%` has not two hex digits behind it.
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_off_and_what_is_not_is_refused() {
        for (text, bytes) in [("", &b""[..]), ("a+b", b"a+b"), ("%20%ffA%2f", b" \xffA/")] {
            assert_eq!(decoded(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["%", "a%2", "%zz", "%+1", "%\u{e9}"] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
