//! Conditions on the command line: `PATH OP VALUE`.

use nexus_protocol::route::{Condition, Operator};
use serde_json::Value;

/// A condition: the value is JSON, or a string where it is none.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Condition, String> {
    let mut parts = text.trim().splitn(3, ' ');
    let (Some(path), Some(op)) = (parts.next(), parts.next()) else {
        return Err("write a path, an operator, and a value: '/data/amount ge 100'".to_owned());
    };
    let op: Operator = op.parse().map_err(|why: nexus_protocol::Invalid| why.to_string())?;
    let value = match (parts.next().map(str::trim), op) {
        (Some(value), _) => {
            serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
        }
        (None, Operator::Exists) => Value::Bool(true),
        (None, _) => return Err(format!("write a value behind `{op}`")),
    };
    Condition::new(path, op, value).map_err(|why| why.to_string())
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
