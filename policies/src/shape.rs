//! The shape of a text, which is looked at before rules are read from it.
//!
//! The reader of rules tries again and again where brackets are nested: what it takes doubles with each of them. And it
//! goes as deep as a text does, so that one that goes deep enough would end the process. So neither is left to it.

use crate::bundle::{BadBundle, BundleFile};
use crate::reads::without_comments_and_texts;

/// Most brackets in brackets.
const NESTING_MAX: usize = 16;

/// Most operators of one expression.
const OPERATORS_MAX: usize = 512;

/// Most steps of one path.
const STEPS_MAX: usize = 64;

/// Most readings of brackets in a file: some seconds.
const READINGS_MAX: u64 = 250_000;

/// What stands between two brackets.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Whether it is read twice: collections are, bodies of rules are not.
    twice: bool,
    /// Operators since an expression began, or later.
    operators: usize,
    /// Steps since a path began.
    steps: usize,
}

/// What stands before a bracket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The end of a value, or a word that a body follows: what comes is a body.
    End,
    /// Anything else: what comes is a value.
    Symbol,
}

/// Whether a value comes behind a word.
fn is_before_value(word: &str) -> bool {
    matches!(word, "in" | "as" | "contains" | "not" | "some" | "return")
}

/// How far a file was looked at.
struct Shape {
    levels: Vec<Level>,
    nesting: usize,
    readings: u64,
    line: u32,
}

/// Looks whether rules can be read from a file within bounds.
///
/// # Errors
/// Where that is not so.
pub(crate) fn check(file: &BundleFile<'_>) -> Result<(), BadBundle> {
    let mut shape = Shape { levels: vec![Level::default()], nesting: 0, readings: 0, line: 1 };
    let too_much = |shape: &Shape, what: &str| {
        BadBundle::TooComplex(format!("{}:{}: {what}", file.name, shape.line))
    };
    if let Some(at) = file.text.find('\0') {
        shape.line = (1..).zip(file.text[..=at].lines()).last().map_or(1, |(line, _)| line);
        // The reader of rules takes it for the end, and what people read behind it would not hold.
        return Err(too_much(&shape, "there is a character NUL"));
    }
    let code = without_comments_and_texts(file.text);
    let (mut word, mut before) = (String::new(), Before::Symbol);
    for c in code.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            shape.word(&word);
            before = if is_before_value(&word) { Before::Symbol } else { Before::End };
            word.clear();
        }
        shape.symbol(c, before).map_err(|what| too_much(&shape, &what))?;
        if !c.is_whitespace() {
            let ends = matches!(c, ']' | '}' | ')' | '"');
            before = if ends { Before::End } else { Before::Symbol };
        }
    }
    Ok(())
}

impl Shape {
    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn word(&mut self, word: &str) {
        match word {
            "if" | "else" | "with" | "default" => self.level().operators = 0,
            "in" => self.level().operators += 1,
            _ => {}
        }
    }

    fn symbol(&mut self, c: char, before: Before) -> Result<(), String> {
        match c {
            '\n' => {
                self.line += 1;
                self.level().steps = 0;
            }
            '[' | '{' => self.open(c == '[' || before == Before::Symbol)?,
            '(' => self.levels.push(Level::default()),
            ']' | '}' | ')' => {
                self.levels.pop();
                self.nesting = self.nesting.saturating_sub(usize::from(c != ')'));
            }
            ',' | ';' | ':' => {
                let level = self.level();
                (level.operators, level.steps) = (0, 0);
            }
            '.' => self.level().steps += 1,
            // A text, of which nothing else is left.
            '"' => {}
            c if c.is_whitespace() => self.level().steps = 0,
            _ => {
                let level = self.level();
                level.operators += 1;
                level.steps = 0;
            }
        }
        let Level { operators, steps, .. } = *self.level();
        match (operators > OPERATORS_MAX, steps > STEPS_MAX) {
            (true, _) => Err(format!("an expression has more than {OPERATORS_MAX} operators")),
            (_, true) => Err(format!("a path has more than {STEPS_MAX} steps")),
            _ => Ok(()),
        }
    }

    fn open(&mut self, twice: bool) -> Result<(), String> {
        self.level().steps += 1;
        self.levels.push(Level { twice, ..Level::default() });
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(format!("more than {NESTING_MAX} brackets are nested"));
        }
        if twice {
            let doublings = self.levels.iter().filter(|level| level.twice).count();
            self.readings += 1 << doublings.min(NESTING_MAX);
        }
        match self.readings > READINGS_MAX {
            true => {
                Err("too many brackets are nested: put what stands in them into rules".to_owned())
            }
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = super::check(&BundleFile { name: "a.rego", text });
        let found = found.map_err(|error| error.to_string());
        match (&found, expected) {
            (Ok(()), None) => {}
            (Err(said), Some(part)) if said.contains(part) => {}
            _ => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn what_would_be_read_for_ever_or_too_deep_is_refused() {
        let nested = |n: usize| format!("x := {}1{}", "[".repeat(n), "]".repeat(n));
        check(&nested(8), None);
        check(&nested(17), Some("a.rego:1: more than 16 brackets"));
        check(&format!("a if {}1", "{ every x in y".repeat(20)), Some("more than 16 brackets"));
        check(&format!("{}\n", nested(12)).repeat(200), Some("too many brackets"));
        check(&"[\n".repeat(1000), Some("a.rego:17"));
        check(&format!("x := 1{}", " +\n1".repeat(600)), Some("operators"));
        check(&format!("x := a{}", " in b".repeat(600)), Some("operators"));
        check(&format!("x := a{}", ".b".repeat(100)), Some("steps"));
        check(&format!("x := a{}", "[0]".repeat(100)), Some("steps"));
        check("# a\nx := 1\n# \0\ny := 2", Some("a.rego:3: there is a character NUL"));
    }

    #[test]
    fn what_people_write_is_not() {
        let rule = "allow if {\n  \"a\" in input.subject.roles # [[[[[[[[[[[[[[[[[[[[[[[[\n  x := \"[[[[[[[[[[[[[[[[[[[[\"\n}\n";
        check(&rule.repeat(2000), None);
        let decision = "decision := {\"allow\": true, \"reasons\": [{\"code\": \"a\", \"msg\": \"b\"}]} if a == b\n";
        check(&decision.repeat(4000), None);
        check(&"x := a.b.c + d.e[f] * 2 == 7\n".repeat(4000), None);
        check(&"ids contains \"u1\"\n".repeat(4000), None);
        check("a ] } ) ]", None);
    }
}
