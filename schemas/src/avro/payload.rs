//! What is wrong with a payload in Avro's binary form.
//!
//! It is walked without a value being built, so it takes no memory to speak of, whatever lengths and counts it claims.
//! Nor does it take much time: each step uses up a byte, or one of a number of [steps that use none](EMPTY_MAX).

use nexus_protocol::schema::DataProblem;

use super::graph::{Graph, Logical, Type, TypeId};
use nexus_protocol::schema::pointer_step;

/// How deep values may lie in each other.
const DEPTH_MAX: usize = 512;
/// Values that take no byte, as the nulls of an array, beyond one for each byte of the payload.
const EMPTY_MAX: usize = 64 * 1024;
/// How deep a pointer is told.
const POINTER_STEPS_MAX: usize = 64;

/// Checks one datum that takes up all of the data.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(graph: &Graph, data: &[u8]) -> Result<(), DataProblem> {
    let empty = EMPTY_MAX.saturating_add(data.len());
    let mut walk = Walk { graph, rest: data, path: Vec::new(), depth: 0, empty };
    let found = walk.value(graph.root).and_then(|()| match walk.rest.len() {
        0 => Ok(()),
        left => Err(Wrong::new("trailing", format!("{left} bytes are left behind the datum"))),
    });
    found.map_err(|wrong| DataProblem {
        pointer: walk.pointer(),
        rule: wrong.rule.into(),
        message: wrong.message,
    })
}

/// What is wrong at the place that was reached.
struct Wrong {
    rule: &'static str,
    message: String,
}

impl Wrong {
    fn new(rule: &'static str, message: impl Into<String>) -> Self {
        Self { rule, message: message.into() }
    }
}

/// One step down into a datum.
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

struct Walk<'a> {
    graph: &'a Graph,
    rest: &'a [u8],
    /// Where it is. Who leaves a value takes back what it has put here; who finds something wrong leaves it.
    path: Vec<Step<'a>>,
    depth: usize,
    /// Values without a byte that may still come.
    empty: usize,
}

impl<'a> Walk<'a> {
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in self.path.iter().take(POINTER_STEPS_MAX) {
            pointer.push('/');
            match step {
                Step::Index(index) => pointer.push_str(&index.to_string()),
                Step::Field(name) | Step::Key(name) => {
                    let short: String = name.chars().take(256).collect();
                    pointer.push_str(&pointer_step(&short));
                }
            }
        }
        pointer
    }

    fn value(&mut self, id: TypeId) -> Result<(), Wrong> {
        if self.depth == DEPTH_MAX {
            let why = format!("values lie in each other deeper than {DEPTH_MAX} levels");
            return Err(Wrong::new("depth", why));
        }
        self.depth += 1;
        self.of(self.graph.get(id))?;
        self.depth -= 1;
        Ok(())
    }

    fn of(&mut self, kind: &'a Type) -> Result<(), Wrong> {
        match kind {
            Type::Null => self.nothing()?,
            Type::Boolean => match self.take(1)? {
                [0 | 1] => {}
                _ => return Err(Wrong::new("type", "a boolean is the byte 0 or 1")),
            },
            Type::Int(_) => {
                self.int()?;
            }
            Type::Long(_) => {
                self.long()?;
            }
            Type::Float => {
                self.take(4)?;
            }
            Type::Double => {
                self.take(8)?;
            }
            Type::Bytes(logical) => {
                let bytes = self.prefixed()?;
                check_bytes(bytes, logical)?;
            }
            Type::String(logical) => {
                let text = self.text()?;
                if *logical == Logical::Is("uuid") && !is_uuid(text) {
                    return Err(Wrong::new("type", "the string is no UUID"));
                }
            }
            Type::Fixed { size: 0, .. } => self.nothing()?,
            Type::Fixed { size, .. } => {
                self.take(*size)?;
            }
            Type::Enum { symbols, .. } => {
                let index = self.int()?;
                if usize::try_from(index).ok().is_none_or(|index| index >= symbols.len()) {
                    let why = format!("{index} is none of the enum's {} symbols", symbols.len());
                    return Err(Wrong::new("enum", why));
                }
            }
            Type::Union(branches) => self.branch(branches)?,
            Type::Record { fields, .. } if fields.is_empty() => self.nothing()?,
            Type::Record { fields, .. } => {
                for field in fields {
                    self.path.push(Step::Field(&field.name));
                    self.value(field.id)?;
                    self.path.pop();
                }
            }
            Type::Array(items) => self.blocks(|walk, index| {
                walk.path.push(Step::Index(index));
                walk.value(*items)
            })?,
            Type::Map(values) => self.blocks(|walk, index| {
                walk.path.push(Step::Index(index));
                let key = walk.text()?;
                walk.path.pop();
                walk.path.push(Step::Key(key));
                walk.value(*values)
            })?,
            Type::Unknown => return Err(Wrong::new("avro", "the type is not known")),
        }
        Ok(())
    }

    fn branch(&mut self, branches: &[TypeId]) -> Result<(), Wrong> {
        let index = self.long()?;
        let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
        let branch = branch.ok_or_else(|| {
            let why = format!("{index} is none of the union's {} branches", branches.len());
            Wrong::new("union", why)
        })?;
        self.value(*branch)
    }

    /// Items of an array or a map, in blocks. A block's count is followed, where it is negative, by its length.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        let mut index = 0;
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            let claimed = if count < 0 { Some(self.length()?) } else { None };
            let before = self.rest.len();
            // A count that lies ends where the bytes end, or the values that take none.
            for _ in 0..count.unsigned_abs() {
                item(self, index)?;
                self.path.pop();
                index += 1;
            }
            let took = before - self.rest.len();
            if claimed.is_some_and(|claimed| claimed != took) {
                let why = format!("a block takes {took} bytes, and not as many as it says");
                return Err(Wrong::new("length", why));
            }
        }
    }

    fn nothing(&mut self) -> Result<(), Wrong> {
        let few = || Wrong::new("length", "there are too many values that take no byte");
        self.empty = self.empty.checked_sub(1).ok_or_else(few)?;
        Ok(())
    }

    fn take(&mut self, size: u64) -> Result<&'a [u8], Wrong> {
        let split = usize::try_from(size).ok().and_then(|size| self.rest.split_at_checked(size));
        let (taken, rest) = split.ok_or_else(|| {
            let why = format!("{size} bytes are to follow, and {} do", self.rest.len());
            Wrong::new("length", why)
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn length(&mut self) -> Result<usize, Wrong> {
        let length = self.long()?;
        let wrong = || Wrong::new("length", format!("{length} is no length"));
        usize::try_from(length).map_err(|_| wrong())
    }

    fn prefixed(&mut self) -> Result<&'a [u8], Wrong> {
        let length = self.length()?;
        self.take(length as u64)
    }

    fn text(&mut self) -> Result<&'a str, Wrong> {
        let bytes = self.prefixed()?;
        std::str::from_utf8(bytes).map_err(|why| Wrong::new("utf8", format!("string: {why}")))
    }

    fn int(&mut self) -> Result<i32, Wrong> {
        let long = self.long()?;
        let wrong = || Wrong::new("type", format!("{long} is no 32-bit number"));
        i32::try_from(long).map_err(|_| wrong())
    }

    fn long(&mut self) -> Result<i64, Wrong> {
        let (number, rest) = long(self.rest)?;
        self.rest = rest;
        Ok(number)
    }
}

/// A zigzag number, and what follows it.
fn long(data: &[u8]) -> Result<(i64, &[u8]), Wrong> {
    let mut bits = 0_u64;
    let mut rest = data;
    for shift in (0..64).step_by(7) {
        let Some((byte, after)) = rest.split_first() else {
            return Err(Wrong::new("length", "a number is cut off"));
        };
        rest = after;
        // Of the tenth byte one bit is left.
        if shift == 63 && *byte > 1 {
            break;
        }
        bits |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed(), rest));
        }
    }
    Err(Wrong::new("avro", "a number takes more than 64 bits"))
}

/// Bytes that stand for something.
fn check_bytes(bytes: &[u8], logical: &Logical) -> Result<(), Wrong> {
    match logical {
        Logical::Is("uuid") if bytes.len() != 16 => {
            Err(Wrong::new("length", format!("a UUID takes 16 bytes, and not {}", bytes.len())))
        }
        // Its digits as bytes, and its scale.
        Logical::Is("big-decimal") => {
            let (length, rest) = long(bytes)?;
            let rest = usize::try_from(length).ok().and_then(|length| rest.get(length..));
            let rest = rest.ok_or_else(|| Wrong::new("length", "a big decimal is cut off"))?;
            match long(rest)? {
                (_, []) => Ok(()),
                _ => Err(Wrong::new("trailing", "bytes are left behind a big decimal")),
            }
        }
        _ => Ok(()),
    }
}

/// Whether a text is a UUID as RFC 4122 writes it.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
