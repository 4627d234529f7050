//! Values as they are compared: what they say, not how they are spelled.
//!
//! Numbers are compared as decimals, digit by digit. A double would take two long numbers for one.

use super::scan::{self, Cursor};

/// How deep a value may be that is compared. Deeper ones equal nothing; text of transforms is never that deep.
const DEPTH_MAX: usize = 128;

/// A value that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Datum {
    Null,
    Boolean(bool),
    Number(Decimal),
    String(String),
    Array(Vec<Datum>),
    /// By name, each once: of a name that stands twice the last counts.
    Object(Vec<(String, Datum)>),
}

impl Datum {
    /// What a text says. `None`: it is too deep, or has a string that is no text.
    pub(super) fn new(text: &str) -> Option<Self> {
        Self::at(&mut Cursor::new(text), DEPTH_MAX)
    }

    fn at(cursor: &mut Cursor<'_>, depth: usize) -> Option<Self> {
        let deeper = || depth.checked_sub(1);
        Some(match cursor.peek()? {
            b'"' => Self::String(scan::decoded(cursor.string()?.0)?.into_owned()),
            b'[' => {
                let (depth, mut all) = (deeper()?, Vec::new());
                cursor.eat(b'[');
                while !cursor.eat(b']') {
                    all.push(Self::at(cursor, depth)?);
                    cursor.eat(b',');
                }
                Self::Array(all)
            }
            b'{' => {
                let (depth, mut all) = (deeper()?, Vec::new());
                cursor.eat(b'{');
                while !cursor.eat(b'}') {
                    let name = scan::decoded(cursor.string()?.0)?.into_owned();
                    cursor.eat(b':');
                    all.push((name, Self::at(cursor, depth)?));
                    cursor.eat(b',');
                }
                // The sort keeps equals in their order, and of equals the first is kept.
                all.reverse();
                all.sort_by(|(a, _), (b, _)| a.cmp(b));
                all.dedup_by(|(a, _), (b, _)| a == b);
                Self::Object(all)
            }
            _ => match cursor.value()? {
                "null" => Self::Null,
                "true" => Self::Boolean(true),
                "false" => Self::Boolean(false),
                number => Self::Number(Decimal::new(number)?),
            },
        })
    }

    /// Whether this is that value or a part of it: objects may lack members, arrays are of the same length.
    pub(super) fn is_part_of(&self, whole: &Self) -> bool {
        match (self, whole) {
            (Self::Array(part), Self::Array(whole)) => {
                part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| a.is_part_of(b))
            }
            (Self::Object(part), Self::Object(whole)) => part.iter().all(|(name, it)| {
                let found = whole.binary_search_by(|(other, _)| other.cmp(name)).ok();
                found.and_then(|at| whole.get(at)).is_some_and(|(_, other)| it.is_part_of(other))
            }),
            (part, whole) => part == whole,
        }
    }
}

/// A number as it counts: `1.50`, `1.5`, and `15e-1` are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Decimal {
    negative: bool,
    /// Without zeros at either end; empty: the number is zero.
    digits: String,
    /// The power of ten that the digits are multiplied by.
    exponent: i64,
}

impl Decimal {
    /// Reads what is spelled as JSON spells numbers, and also zeros that lead, and a plus. `None`: it is no number, or
    /// its exponent is out of all bounds.
    pub(super) fn new(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let all = [whole, fraction].concat();
        let kept = all.trim_end_matches('0');
        let digits = kept.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        let dropped = i64::try_from(all.len() - kept.len()).ok()?;
        let behind = i64::try_from(fraction.len()).ok()?;
        let exponent = exponent.checked_add(dropped)?.checked_sub(behind)?;
        Some(Self { negative, digits, exponent })
    }

    /// Its digits, if it has no fraction and these are not made longer by more than `zeros_max`.
    pub(super) fn integer(&self, zeros_max: usize) -> Option<String> {
        if self.digits.is_empty() {
            return Some("0".to_owned());
        }
        let zeros = usize::try_from(self.exponent).ok().filter(|it| *it <= zeros_max)?;
        let sign = if self.negative { "-" } else { "" };
        Some([sign, &self.digits, &"0".repeat(zeros)].concat())
    }

    /// Whether it has no fraction.
    pub(super) fn is_integer(&self) -> bool {
        self.exponent >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        Datum::new(a).unwrap() == Datum::new(b).unwrap()
    }

    #[test]
    fn values_are_the_same_however_they_are_spelled() {
        for (a, b) in [
            ("1.50", "15e-1"),
            ("0", "-0.00e7"),
            ("100", "1E+2"),
            (r#"{"a":1,"b":[ 2.0 ]}"#, r#"{ "b":[2],"a":1 }"#),
            (r#"{"a":1,"a":2}"#, r#"{"\u0061":2}"#),
            (r#""\u00e9\n""#, "\"é\\n\""),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("12345678901234567890123", "12345678901234567890124"),
            ("1", "-1"),
            ("1", "\"1\""),
            ("0", "false"),
            ("null", "\"null\""),
            ("[1,2]", "[2,1]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
        assert_eq!(Datum::new(r#""\ud800""#), None);
        assert_eq!(Datum::new("1e99999999999999999999"), None);
        let deep = |levels| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Datum::new(&deep(DEPTH_MAX)).is_some());
        assert!(Datum::new(&deep(DEPTH_MAX + 1)).is_none());
    }

    #[test]
    fn parts_lack_members_and_nothing_else() {
        let part = |a: &str, b: &str| Datum::new(a).unwrap().is_part_of(&Datum::new(b).unwrap());
        assert!(part(r#"[{"b":{"c":1.0}}]"#, r#"[{"a":1,"b":{"c":1,"d":2}}]"#));
        assert!(part("{}", r#"{"a":1}"#));
        assert!(!part("[]", "[1]"));
        assert!(!part("{}", "5"));
        assert!(!part(r#"{"a":null}"#, r#"{"b":1}"#));
    }

    #[test]
    fn integers_are_told_with_their_digits() {
        let told = |text: &str| Decimal::new(text).and_then(|it| it.integer(4));
        for (text, expected) in [
            ("007", "7"),
            ("+5", "5"),
            ("-3.00", "-3"),
            ("1.2e1", "12"),
            ("-0", "0"),
            ("2e4", "20000"),
        ] {
            assert_eq!(told(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["1.5", "1e5", "", "-", "1.", ".5", "e1", "0x1", "1e", " 1", "1_0"] {
            assert_eq!(told(text), None, "{text}");
        }
    }
}
