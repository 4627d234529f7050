//! The functions that rules may call, each with a bound on what it takes and makes.
//!
//! A rule is bounded by how many instructions it runs, but a function is one instruction, whatever it does. So only these
//! may be called: their answer follows from what they are given alone (no clock, no chance, no network), and none of them
//! makes more than about the product of the sizes of what it is given, which is bounded before it is called. Values share
//! their parts, so that a few lines of rules can make one that is huge when it is written out: sizes are those of what is
//! written out.

use std::cell::Cell;
use std::sync::OnceLock;

use regorus::unstable::{BUILTINS, Expr, Ref, Span};
use regorus::{LimitError, Value};

/// Values in all arguments of a call, counted where they stand.
const NODES_MAX: usize = 2_000_000;

/// Bytes of text in all arguments of a call.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// The product of the sizes of the arguments of a function that multiplies them.
const PRODUCT_MAX: usize = 4 * 1024 * 1024;

/// Bytes that all functions together make in one evaluation, about.
const MADE_MAX: usize = 64 * 1024 * 1024;

/// Bytes that an element of a collection takes, about.
const ELEMENT_BYTES: usize = 32;

thread_local! {
    /// What functions have made in the evaluation that runs on this thread.
    static MADE: Cell<usize> = const { Cell::new(0) };
}

/// An evaluation begins on this thread: functions have made nothing in it.
pub(crate) fn begin() {
    MADE.set(0);
}

/// Counts what a function made. Parts that it was given are shared, and count where they were made.
fn made(value: Value, args: &[Value], name: &str) -> anyhow::Result<Value> {
    let bytes = match (&value, args.first()) {
        // All of it is new.
        (_, Some(Value::String(text))) if name == "json.unmarshal" => text.len() * ELEMENT_BYTES,
        (Value::String(text), _) => text.len(),
        (Value::Array(array), _) => array.len() * ELEMENT_BYTES,
        (Value::Set(set), _) => set.len() * ELEMENT_BYTES,
        (Value::Object(object), _) => object.len() * ELEMENT_BYTES,
        _ => 0,
    };
    let made = MADE.get().saturating_add(bytes);
    MADE.set(made);
    match made > MADE_MAX {
        true => Err(too_much(made, MADE_MAX)),
        false => Ok(value),
    }
}

/// Bytes of all factors of a product of numbers.
const PRODUCT_BYTES_MAX: usize = 8 * 1024;

/// Digits of a width in a format.
const WIDTH_DIGITS_MAX: usize = 3;

/// Numbers in a range.
const RANGE_MAX: i64 = 100_000;

/// A function of the interpreter's own.
pub(crate) type Function = fn(&Span, &[Ref<Expr>], &[Value], bool) -> anyhow::Result<Value>;

/// What a function makes of what it is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Makes {
    /// Not much more than that.
    Parts,
    /// As much as the product of their sizes.
    Product,
    /// A number with all digits of the numbers in a collection.
    Digits,
    /// A text as wide as a format says.
    Format,
    /// All numbers between two.
    Range,
}

macro_rules! functions {
    ($($makes:ident: $($name:literal)*;)*) => {
        /// Their names.
        pub const FUNCTIONS: &[&str] = &[$($($name,)*)*];

        /// A function by its name, with bounds; `None`: it may not be called.
        pub(crate) fn bounded(name: &str) -> Option<Function> {
            match name {
                $($($name => {
                    fn call(
                        span: &Span,
                        exprs: &[Ref<Expr>],
                        args: &[Value],
                        strict: bool,
                    ) -> anyhow::Result<Value> {
                        static INNER: OnceLock<Option<Function>> = OnceLock::new();
                        check(args, Makes::$makes)?;
                        match INNER.get_or_init(|| BUILTINS.get($name).map(|it| it.0)) {
                            Some(inner) => made(inner(span, exprs, args, strict)?, args, $name),
                            None => Ok(Value::Undefined),
                        }
                    }
                    Some(call)
                })*)*
                _ => None,
            }
        }
    };
}

functions! {
    Parts:
        "__builtin_sets.intersection" "__builtin_sets.union"
        "abs" "array.concat" "array.reverse" "array.slice"
        "base64.decode" "base64.encode" "base64.is_valid"
        "base64url.decode" "base64url.encode" "base64url.encode_no_pad"
        "bits.and" "bits.negate" "bits.or" "bits.rsh" "bits.xor"
        "ceil" "contains" "count" "endswith" "floor" "format_int"
        "glob.match" "glob.quote_meta" "hex.decode" "hex.encode"
        "indexof" "indexof_n" "intersection"
        "is_array" "is_boolean" "is_null" "is_number" "is_object" "is_set" "is_string"
        "json.is_valid" "json.marshal" "json.unmarshal" "lower" "max" "min"
        "net.cidr_contains" "net.cidr_is_valid"
        "object.filter" "object.get" "object.keys" "object.remove" "object.subset" "object.union" "object.union_n"
        "regex.find_n" "regex.is_valid" "regex.match" "regex.split"
        "round" "semver.compare" "semver.is_valid" "sort" "split" "startswith"
        "strings.any_prefix_match" "strings.any_suffix_match" "strings.count" "strings.reverse"
        "substring" "sum"
        "time.add_date" "time.clock" "time.date" "time.diff" "time.format"
        "time.parse_duration_ns" "time.parse_ns" "time.parse_rfc3339_ns" "time.weekday"
        "to_number" "trim" "trim_left" "trim_prefix" "trim_right" "trim_space" "trim_suffix"
        "type_name" "union" "units.parse" "units.parse_bytes" "upper";
    Product:
        "concat" "regex.replace" "replace" "strings.replace_n";
    Digits:
        "product";
    Format:
        "sprintf";
    Range:
        "numbers.range";
}

/// Whether a value is small enough to be given to a function, or to be written out.
pub(crate) fn is_bounded(value: &Value) -> bool {
    Size::default().add(value).is_ok()
}

/// The product of two numbers; undefined of anything else.
pub(crate) fn multiply(
    _: &Span,
    _: &[Ref<Expr>],
    args: &[Value],
    _: bool,
) -> anyhow::Result<Value> {
    check_product(args.iter())?;
    match args {
        [Value::Number(left), Value::Number(right)] => Ok(Value::from(left.mul(right)?)),
        _ => Ok(Value::Undefined),
    }
}

/// Looks at how long a product is.
fn check_product<'a>(factors: impl Iterator<Item = &'a Value>) -> anyhow::Result<()> {
    let bits = |factor: &Value| match factor {
        Value::Number(number) if number.as_f64().is_none() => {
            number.as_big().map_or(u64::from(u64::BITS), |big| big.bits())
        }
        _ => u64::from(u64::BITS),
    };
    let bits = factors.fold(0_u64, |sum, factor| sum.saturating_add(bits(factor)));
    let bytes = usize::try_from(bits / 8).unwrap_or(usize::MAX);
    match bytes > PRODUCT_BYTES_MAX {
        true => Err(too_much(bytes, PRODUCT_BYTES_MAX)),
        false => Ok(()),
    }
}

/// What is too much.
fn too_much(usage: usize, limit: usize) -> anyhow::Error {
    LimitError::MemoryLimitExceeded { usage: usage as u64, limit: limit as u64 }.into()
}

/// Looks at what a function is given, before it is called.
fn check(args: &[Value], makes: Makes) -> anyhow::Result<()> {
    let mut size = Size::default();
    let mut product = 1_usize;
    for arg in args {
        let before = size.total();
        size.add(arg)?;
        product = product.saturating_mul((size.total() - before).max(1));
    }
    match makes {
        Makes::Parts => Ok(()),
        Makes::Product if product > PRODUCT_MAX => Err(too_much(product, PRODUCT_MAX)),
        Makes::Product => Ok(()),
        Makes::Digits => match args.first() {
            Some(Value::Array(factors)) => check_product(factors.iter()),
            Some(Value::Set(factors)) => check_product(factors.iter()),
            _ => Ok(()),
        },
        Makes::Format => check_format(args.first()),
        Makes::Range => check_range(args),
    }
}

fn check_format(format: Option<&Value>) -> anyhow::Result<()> {
    let Some(Value::String(format)) = format else { return Ok(()) };
    let mut digits = 0;
    for c in format.chars() {
        digits = if c.is_numeric() { digits + 1 } else { 0 };
        if digits > WIDTH_DIGITS_MAX && has_wide_verb(format) {
            return Err(too_much(digits, WIDTH_DIGITS_MAX));
        }
    }
    Ok(())
}

/// Whether a format has a verb with a width of many digits.
fn has_wide_verb(format: &str) -> bool {
    format.split('%').skip(1).any(|verb| {
        let width = verb.strip_prefix('.').unwrap_or(verb);
        width.chars().take_while(|c| c.is_numeric()).count() > WIDTH_DIGITS_MAX
    })
}

fn check_range(args: &[Value]) -> anyhow::Result<()> {
    let [from, to] = args else { return Ok(()) };
    // What is no number that fits is refused by the function itself, or is too much.
    let bounds = from.as_i64().ok().zip(to.as_i64().ok());
    let numbers = bounds.and_then(|(from, to)| to.checked_sub(from)?.checked_abs());
    match (numbers, from, to) {
        (Some(numbers), ..) if numbers < RANGE_MAX => Ok(()),
        (None, from, to) if from.as_number().is_err() || to.as_number().is_err() => Ok(()),
        _ => Err(too_much(usize::MAX, usize::try_from(RANGE_MAX).unwrap_or(usize::MAX))),
    }
}

/// How large some values are, written out.
#[derive(Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn total(&self) -> usize {
        self.nodes + self.bytes
    }

    fn add(&mut self, value: &Value) -> anyhow::Result<()> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(too_much(self.nodes, NODES_MAX));
        }
        match value {
            Value::String(text) => {
                self.bytes += text.len();
                if self.bytes > BYTES_MAX {
                    return Err(too_much(self.bytes, BYTES_MAX));
                }
                Ok(())
            }
            Value::Array(array) => array.iter().try_for_each(|it| self.add(it)),
            Value::Set(set) => set.iter().try_for_each(|it| self.add(it)),
            Value::Object(object) => object.iter().try_for_each(|(key, value)| {
                self.add(key)?;
                self.add(value)
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_there() {
        for name in FUNCTIONS {
            assert!(BUILTINS.contains_key(name), "{name}");
            assert!(bounded(name).is_some(), "{name}");
        }
        for refused in [
            "http.send",
            "rand.intn",
            "time.now_ns",
            "uuid.rfc4122",
            "opa.runtime",
            "walk",
            "trace",
        ] {
            assert!(bounded(refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn what_is_huge_when_it_is_written_out_is_refused_at_once() {
        let mut value = Value::from("x");
        for _ in 0..60 {
            value = Value::from(vec![value.clone(), value]);
        }
        let mut size = Size::default();
        assert!(size.add(&value).is_err());
        let text = Value::from("a".repeat(20_000));
        assert!(check(&[text.clone(), Value::from("a"), text.clone()], Makes::Product).is_err());
        assert!(check(&[text.clone(), Value::from("a"), text], Makes::Parts).is_ok());
    }

    #[test]
    fn widths_and_ranges_are_bounded() {
        let format = |of: &str| check(&[Value::from(of), Value::new_array()], Makes::Format);
        assert!(format("%1000d").is_err() && format("%.1000d").is_err());
        assert!(format("%999d 100000 %d").is_ok() && format("20261128 %s").is_ok());
        let range = |from: i64, to: i64| check(&[from.into(), to.into()], Makes::Range);
        assert!(range(0, 1000).is_ok() && range(5, 1).is_ok());
        assert!(range(0, 1_000_000_000).is_err() && range(i64::MIN, i64::MAX).is_err());
    }
}
