//! Tables of operations: what is given, and what comes out, to the byte.

mod bounds;
mod operations;
mod parsing;
mod way_back;

use std::sync::Arc;

use super::{Chain, Lifted, Step, Transform, UpcastError};

fn transform(text: &str) -> Transform {
    Transform::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn chain(texts: &[&str]) -> Chain {
    Chain::new(texts.iter().map(|it| Step::Transform(Arc::new(transform(it)))))
}

fn applied(transform: &Transform, data: &str) -> Result<Vec<Lifted>, UpcastError> {
    Chain::new([Step::Transform(Arc::new(transform.clone()))]).apply("A", data.as_bytes())
}

/// The texts of all that comes out.
fn texts(operations: &str, data: &str) -> Vec<String> {
    let all = applied(&transform(operations), data).unwrap();
    all.into_iter().map(|it| String::from_utf8(it.data).unwrap()).collect()
}

/// One operation, and what becomes of documents.
fn check(operation: &str, table: &[(&str, &str)]) {
    for (given, expected) in table {
        assert_eq!(texts(&format!("[{operation}]"), given), [*expected], "{operation} on {given}");
    }
}
