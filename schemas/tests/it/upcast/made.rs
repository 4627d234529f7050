//! Random documents and transforms, over a few names so that they meet.

use nexus_schemas::Transform;
use serde_json::Value;

use crate::seeded::Seeded;

const NAMES: &[&str] = &["a", "b", "c", "d"];
/// Spelled in all ways, and such that a double holds what they say.
const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "1",
    "1.50",
    "-0",
    "15e-1",
    "2.0",
    "-7",
    "1E+2",
    "\"\"",
    "\"x\"",
    "\"x y z\"",
    "\"\\u0078\"",
    "\"42\"",
    "\"007\"",
    "\"1.50\"",
    "\"true\"",
    "\"ß\\n\"",
    "9223372036854775807",
];
const SPACES: &[&str] = &[" ", "\n", "\t ", "  "];
const TYPES: &[&str] = &["string", "integer", "number", "boolean", "array"];

pub(crate) struct Maker {
    pub(crate) random: Seeded,
    /// Names for parts of texts that were given out.
    parts: usize,
}

impl Maker {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Seeded::new(seed), parts: 0 }
    }

    fn space(&mut self) -> &'static str {
        if self.random.one_in(5) { self.random.pick::<&str>(SPACES) } else { "" }
    }

    /// A document, most often an object.
    pub(crate) fn document(&mut self) -> String {
        let text = if self.random.one_in(20) { self.value(3) } else { self.object_with(&[]) };
        format!("{}{text}{}", self.space(), self.space())
    }

    fn scalar(&mut self) -> String {
        (*self.random.pick(SCALARS)).to_owned()
    }

    fn value(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.scalar();
        }
        match self.random.below(5) {
            0 | 1 => self.scalar(),
            2 => {
                let count = self.random.below(4);
                let all: Vec<_> = (0..count).map(|_| self.value(depth - 1)).collect();
                self.closed('[', &all, ']')
            }
            _ => {
                let members = self.members(depth - 1);
                self.closed('{', &members, '}')
            }
        }
    }

    fn closed(&mut self, open: char, all: &[String], close: char) -> String {
        let all: Vec<_> =
            all.iter().map(|it| format!("{}{it}{}", self.space(), self.space())).collect();
        format!("{open}{}{close}", all.join(","))
    }

    /// Members, of which one may stand twice.
    fn members(&mut self, depth: usize) -> Vec<String> {
        let count = self.random.below(5);
        (0..count)
            .map(|_| {
                let name = *self.random.pick(NAMES);
                let key = match self.random.one_in(8) {
                    true => format!("\"\\u00{:02x}\"", name.as_bytes()[0]),
                    false => format!("\"{name}\""),
                };
                format!("{key}{}:{}{}", self.space(), self.space(), self.value(depth))
            })
            .collect()
    }

    /// An object that has these members as well.
    pub(crate) fn object(&mut self, with: &[(&str, &str)]) -> String {
        let with: Vec<_> = with.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        self.object_with(&with)
    }

    /// The same with members as they are spelled, which stay in their order.
    pub(crate) fn object_with(&mut self, with: &[String]) -> String {
        let mut all = self.members(3);
        let mut from = 0;
        for it in with {
            from += self.random.below(all.len() - from + 1);
            all.insert(from, it.clone());
            from += 1;
        }
        self.closed('{', &all, '}')
    }

    fn path(&mut self) -> String {
        let steps = 1 + self.random.below(3);
        (0..steps).map(|_| format!("/{}", self.random.pick(NAMES))).collect()
    }

    /// Such as it is in a transform: no name stands twice there.
    fn literal(&mut self) -> Value {
        serde_json::from_str(&self.value(2)).unwrap()
    }

    fn is_read(operation: &str) -> bool {
        Transform::parse(&format!("[{operation}]")).is_ok()
    }

    pub(crate) fn transform(&mut self) -> Transform {
        let count = self.random.below(5);
        let mut all = Vec::new();
        let mut fans = 0;
        while all.len() < count {
            let it = self.operation(0, false);
            fans += usize::from(it.contains("fan_out"));
            if Self::is_read(&it) && (fans < 2 || !it.contains("fan_out")) {
                all.push(it);
            }
        }
        Transform::parse(&format!("[{}]", all.join(","))).unwrap()
    }

    /// An operation of any kind, inside of so many `each`.
    fn operation(&mut self, depth: usize, in_down: bool) -> String {
        let text = match self.random.below(12) {
            0 => {
                let fields = [", \"prune\":true", ""];
                let or = *self.random.pick(&[",\"or\":7", ",\"or\":[ ]", ""]);
                let from = *self.random.pick(TYPES);
                let from = match self.random.below(2) {
                    0 => String::new(),
                    _ => format!(",\"from\":\"{from}\""),
                };
                match self.random.below(2) {
                    0 => format!(
                        r#"{{"op":"cast","path":"{}","to":"{}"{from}{or}}}"#,
                        self.path(),
                        self.random.pick(TYPES)
                    ),
                    _ => format!(
                        r#"{{"op":"join","from":["{}","{}"],"by":"-","to":"{}"{}}}"#,
                        self.path(),
                        self.path(),
                        self.path(),
                        self.random.pick(&fields)
                    ),
                }
            }
            1 => {
                let or = *self.random.pick(&[",\"or\":\"other\"", ""]);
                format!(
                    r#"{{"op":"map","path":"{}","values":[[{},{}],["x",1],[null,{{"a":2}}]]{or}}}"#,
                    self.path(),
                    self.literal(),
                    self.literal()
                )
            }
            2 => {
                let to: Vec<_> =
                    (0..1 + self.random.below(3)).map(|_| format!("\"{}\"", self.path())).collect();
                let by = *self.random.pick(&[" ", "x", "\\n"]);
                format!(
                    r#"{{"op":"split","path":"{}","by":"{by}","to":[{}]}}"#,
                    self.path(),
                    to.join(",")
                )
            }
            3 if depth == 0 && !in_down => {
                format!(r#"{{"op":"fan_out","path":"{}","as":"{}"}}"#, self.path(), self.path())
            }
            4 if depth < 2 => {
                let count = self.random.below(3);
                let all: Vec<_> = (0..count).map(|_| self.operation(depth + 1, in_down)).collect();
                format!(r#"{{"op":"each","path":"{}","do":[{}]}}"#, self.path(), all.join(","))
            }
            _ => self.sound_operation(depth),
        };
        if !in_down && self.random.one_in(6) && !text.contains("fan_out") {
            let count = self.random.below(3);
            let down: Vec<_> = (0..count).map(|_| self.operation(depth, true)).collect();
            return text.strip_suffix('}').unwrap().to_owned()
                + &format!(",\"down\":[{}]}}", down.join(","));
        }
        text
    }

    pub(crate) fn sound_transform(&mut self) -> Transform {
        Transform::parse(&format!("[{}]", self.sound_operations().join(","))).unwrap()
    }

    /// Operations whose derived way back invents nothing.
    pub(crate) fn sound_operations(&mut self) -> Vec<String> {
        let count = 1 + self.random.below(6);
        let mut all = Vec::new();
        while all.len() < count {
            let it = self.sound_operation(0);
            if Self::is_read(&it) {
                all.push(it);
            }
        }
        all
    }

    fn sound_operation(&mut self, depth: usize) -> String {
        let path = self.path();
        let prune = *self.random.pick(&[",\"prune\":true", ""]);
        match self.random.below(9) {
            0 | 1 => {
                format!(r#"{{"op":"rename","path":"{path}","to":"{}"}}"#, self.random.pick(NAMES))
            }
            2 => format!(r#"{{"op":"move","from":"{path}","to":"{}"{prune}}}"#, self.path()),
            3 => format!(r#"{{"op":"default","path":"{path}","value":{}}}"#, self.literal()),
            4 => {
                let value = match self.random.below(3) {
                    0 => format!(",\"value\":{}", self.literal()),
                    _ => String::new(),
                };
                format!(r#"{{"op":"drop","path":"{path}"{value}{prune}}}"#)
            }
            5 => {
                // No other operation leads to a part alone.
                let parent = if self.random.one_in(2) { self.path() } else { String::new() };
                let to: Vec<_> = (0..1 + self.random.below(3))
                    .map(|at| format!("\"{parent}/part{}-{at}\"", self.parts))
                    .collect();
                self.parts += 1;
                let by = *self.random.pick(&[" ", "x", "1"]);
                format!(r#"{{"op":"split","path":"{path}","by":"{by}","to":[{}]}}"#, to.join(","))
            }
            6 => format!(r#"{{"op":"compute","path":"{path}","value":{}}}"#, self.expression(3)),
            7 if depth == 0 => {
                format!(r#"{{"op":"retype","from":"A","to":"{}"}}"#, self.random.pick(&["B", "C"]))
            }
            _ if depth < 2 => {
                let count = self.random.below(4);
                let mut all = Vec::new();
                while all.len() < count {
                    let it = self.sound_operation(depth + 1);
                    if Self::is_read(&it) {
                        all.push(it);
                    }
                }
                format!(r#"{{"op":"each","path":"{path}","do":[{}]}}"#, all.join(","))
            }
            _ => format!(r#"{{"op":"drop","path":"{path}"}}"#),
        }
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.one_in(3) {
            return match self.random.below(3) {
                0 => format!(r#"{{"value":{}}}"#, self.literal()),
                _ => format!(r#"{{"path":"{}"}}"#, self.path()),
            };
        }
        match self.random.below(4) {
            0 => {
                let word = *self.random.pick(&["length", "lower", "upper"]);
                format!("{{\"{word}\":{}}}", self.expression(depth - 1))
            }
            1 => {
                let [a, b, c] = [(); 3].map(|()| self.expression(depth - 1));
                format!("{{\"if\":[{{\"equal\":[{a},{a}]}},{b},{c}]}}")
            }
            _ => {
                let words =
                    ["add", "subtract", "multiply", "divide", "concat", "first_of", "equal"];
                let word = *self.random.pick(&words);
                let [a, b] = [(); 2].map(|()| self.expression(depth - 1));
                format!("{{\"{word}\":[{a},{b}]}}")
            }
        }
    }
}
