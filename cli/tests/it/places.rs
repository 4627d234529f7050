//! The same commands over a server and on a directory.

use serde_json::Value;

use crate::nexus::{Folder, Ran, finish};
use crate::serve::Serving;

/// Runs commands at a store, wherever that is.
pub(crate) type Ask<'a> = &'a dyn Fn(&[&str]) -> Ran;

/// What a command prints as JSON.
pub(crate) fn parsed(ask: Ask<'_>, args: &[&str]) -> Value {
    serde_json::from_str(&ask(&[args, &["--output", "json"]].concat()).done()).unwrap()
}

/// Over a server, and then on a directory, which is prepared first.
pub(crate) fn at_both(prepare: impl Fn(&Folder), run: impl Fn(Ask<'_>)) {
    let folder = Folder::new();
    let serving = Serving::dev(&folder);
    run(&|args| finish(serving.command().args(args), b""));
    let folder = Folder::new();
    prepare(&folder);
    run(&|args| finish(folder.command().args(args), b""));
}
