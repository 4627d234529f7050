//! Conditions on the command line: `PATH OP VALUE`.

use nexus_protocol::route::{Condition, Operator};
use serde_json::Value;

/// What is to be written.
const FORM: &str = "write a path, an operator, and a value: '/data/amount ge 100'";

/// A condition: the value is JSON, or a string where it is none. A path may have blanks: it ends before the first word
/// that is an operator.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Condition, String> {
    let text = text.trim();
    let (path, op, value) = match parts(text) {
        Some(parts) => parts,
        None => {
            // The second word was meant as one.
            let word = text.split_whitespace().nth(1).ok_or(FORM)?;
            return Err(word
                .parse::<Operator>()
                .map_or_else(|why| why.to_string(), |_| FORM.into()));
        }
    };
    let value = match (value, op) {
        ("", Operator::Exists) => Value::Bool(true),
        ("", _) => return Err(format!("write a value behind `{op}`")),
        (value, _) => {
            serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
        }
    };
    Condition::new(path, op, value).map_err(|why| why.to_string())
}

/// The path, the operator, and what stands behind it.
fn parts(text: &str) -> Option<(&str, Operator, &str)> {
    let blanks = text.char_indices().filter(|(_, c)| c.is_whitespace());
    blanks.map(|(at, _)| text.split_at(at)).find_map(|(path, rest)| {
        let rest = rest.trim_start();
        let (word, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Some((path.trim_end(), word.parse().ok()?, value.trim()))
    })
}

/// As it is written.
pub(super) fn shown(condition: &Condition) -> String {
    format!("{} {} {}", condition.path(), condition.op(), condition.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_written_in_three_parts() {
        for (text, read) in [
            ("/data/amount ge 100", "/data/amount ge 100"),
            ("/data/name eq Anna Bee", r#"/data/name eq "Anna Bee""#),
            (r#"/type in ["A","B"]"#, r#"/type in ["A","B"]"#),
            ("/data/x exists", "/data/x exists true"),
            ("/data/x exists false", "/data/x exists false"),
            ("/data/x eq null", "/data/x eq null"),
            ("/data/x  eq \t 1 ", "/data/x eq 1"),
            ("/data/list price ge 100", "/data/list price ge 100"),
            ("/data/x eq a lt b", r#"/data/x eq "a lt b""#),
            (r#"/data/x eq """#, r#"/data/x eq """#),
        ] {
            assert_eq!(shown(&parse(text).unwrap()), read);
        }
        for (text, part) in [
            ("/data/x", "a path, an operator, and a value"),
            ("/data/x eq", "a value behind `eq`"),
            ("/data/x like 1", "is none of eq"),
            ("data/x eq 1", "begin it with `/`"),
            ("/data/x in 1", "a list"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
