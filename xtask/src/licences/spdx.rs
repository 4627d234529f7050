//! SPDX licence expressions: read, and held against a list.
//!
//! `AND` binds tighter than `OR`, as the specification says; `/` is the old spelling of `OR`.

/// An expression.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// One licence, with its exception where it has one: `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    /// All of them hold.
    All(Vec<Expression>),
    /// One of them may be chosen.
    Any(Vec<Expression>),
}

impl Expression {
    /// Reads an expression, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut parser = Parser { words: spaced.split_whitespace().collect(), at: 0 };
        let expression = parser.any()?;
        match parser.peek() {
            None => Ok(expression),
            Some(word) => Err(format!("unexpected {word:?}")),
        }
    }

    /// Whether what is asked can be met with licences from `allowed` only.
    pub(super) fn is_met_by(&self, allowed: &[&str]) -> bool {
        match self {
            Self::Licence(name) => allowed.contains(&name.as_str()),
            Self::All(parts) => parts.iter().all(|part| part.is_met_by(allowed)),
            Self::Any(parts) => parts.iter().any(|part| part.is_met_by(allowed)),
        }
    }
}

struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all()?];
        while self.take("OR") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.one()?];
        while self.take("AND") {
            parts.push(self.one()?);
        }
        Ok(one_or(parts, Expression::All))
    }

    fn one(&mut self) -> Result<Expression, String> {
        if self.take("(") {
            let inner = self.any()?;
            return if self.take(")") { Ok(inner) } else { Err("a `(` is not closed".to_owned()) };
        }
        let name = self.name()?;
        if self.take("WITH") {
            let exception = self.name()?;
            return Ok(Expression::Licence(format!("{name} WITH {exception}")));
        }
        Ok(Expression::Licence(name))
    }

    fn name(&mut self) -> Result<String, String> {
        let word = self.peek().ok_or("a licence is missing at the end")?;
        if matches!(word, "OR" | "AND" | "WITH" | "(" | ")") {
            return Err(format!("{word:?} stands where a licence belongs"));
        }
        self.at += 1;
        Ok(word.to_owned())
    }
}

fn one_or(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_what_may_be_chosen() {
        let check = |text: &str, expected: bool| {
            let expression = Expression::parse(text).unwrap();
            assert_eq!(expression.is_met_by(&["MIT", "ISC", "A WITH B"]), expected, "{text}");
        };
        check("MIT", true);
        check("GPL-3.0", false);
        check("GPL-3.0 OR MIT", true);
        check("GPL-3.0/MIT", true);
        check("GPL-3.0 AND MIT", false);
        check("MIT AND ISC", true);
        check("GPL-3.0 OR MIT AND ISC", true);
        check("(GPL-3.0 OR MIT) AND ISC", true);
        check("(GPL-3.0 OR MIT) AND Zlib", false);
        check("MIT OR GPL-3.0 AND Zlib", true);
        check("((MIT))", true);
        check("A WITH B", true);
        check("A", false);
        check("A WITH C OR ISC", true);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT ISC", "MIT WITH", "AND", "()"] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }
}
