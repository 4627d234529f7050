//! `nexus schema diff`.

use nexus_client::schemas::Compiled;
use nexus_protocol::schema::{SchemaFormat, SchemaVersion, VersionPick};
use serde::Serialize;
use serde_json::Value;

use super::against_log::compile;
use super::candidate::table_of;
use crate::exit::Failure;
use crate::output::{Output, Table, text};
use crate::store::Remote;
use nexus_protocol::json::IncompatibilityJson;
use nexus_protocol::schema::pointer_step;

/// Which versions.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The subject
    subject: String,
    /// The older version
    #[arg(long, value_name = "N")]
    from: u32,
    /// The newer version; the newest that is active unless given
    #[arg(long, value_name = "N", default_value = "latest")]
    to: VersionPick,
}

/// A place that is not the same in both.
#[derive(Debug, PartialEq, Serialize)]
struct Changed {
    pointer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Diff<'a> {
    subject: &'a str,
    from: u32,
    to: u32,
    changes: &'a [Changed],
    /// Why the newer one does not read what follows the older one; empty: it does.
    backward: Vec<IncompatibilityJson<'a>>,
    /// Why the older one does not read what follows the newer one; empty: it does.
    forward: Vec<IncompatibilityJson<'a>>,
}

/// Shows what is different.
pub(super) fn run(args: &Args, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let version = |pick| remote.wait(remote.client.schema(&args.subject, pick));
    let (old, new) = (version(VersionPick::Number(args.from))?, version(args.to)?);
    let ready = |it: &SchemaVersion| compile(it.format, &it.schema, &it.references, remote);
    let (old_ready, new_ready) = (ready(&old)?, ready(&new)?);
    let changes = changes_of(&old, &new);
    let as_old = |writer: &Compiled, reader: &Compiled, is_backward: bool| -> Vec<_> {
        let found = writer.differences(reader).into_iter();
        found.map(|it| it.told(is_backward, old.version)).collect()
    };
    let backward = as_old(&old_ready, &new_ready, true);
    let forward = as_old(&new_ready, &old_ready, false);
    let diff = Diff {
        subject: &args.subject,
        from: old.version,
        to: new.version,
        changes: &changes,
        backward: backward.iter().map(Into::into).collect(),
        forward: forward.iter().map(Into::into).collect(),
    };
    let mut shown = changed_table(&changes);
    for (reads, found) in [
        (format!("version {} reads version {}", new.version, old.version), &backward),
        (format!("version {} reads version {}", old.version, new.version), &forward),
    ] {
        let verdict = if found.is_empty() { "yes" } else { "no" };
        shown.push_str(&format!("\n{reads}: {verdict}\n{}", table_of(found)));
    }
    output.one(&diff, &shown)
}

fn changed_table(changes: &[Changed]) -> String {
    let mut table = Table::new(&[text("WHERE"), text("OLD"), text("NEW")]);
    let value = |it: Option<&Value>| it.map(ToString::to_string).unwrap_or_default();
    for it in changes {
        table.push(vec![it.pointer.clone(), value(it.old.as_ref()), value(it.new.as_ref())]);
    }
    table.take()
}

/// Where two versions differ: by JSON pointers, or, in Protobuf, by lines.
fn changes_of(old: &SchemaVersion, new: &SchemaVersion) -> Vec<Changed> {
    let mut changes = Vec::new();
    let json = |it: &SchemaVersion| serde_json::from_str::<Value>(&it.schema).ok();
    match (json(old), json(new)) {
        (Some(old), Some(new)) if old != new => walk(&old, &new, "", &mut changes),
        (Some(_), Some(_)) => {}
        _ if old.format == SchemaFormat::Protobuf => lines(&old.schema, &new.schema, &mut changes),
        _ => changes.push(Changed { pointer: String::new(), old: None, new: None }),
    }
    changes
}

fn walk(old: &Value, new: &Value, pointer: &str, changes: &mut Vec<Changed>) {
    if let (Value::Object(was), Value::Object(is)) = (old, new) {
        let names: std::collections::BTreeSet<_> = was.keys().chain(is.keys()).collect();
        for name in names {
            let pointer = format!("{pointer}/{}", pointer_step(name));
            match (was.get(name), is.get(name)) {
                (Some(old), Some(new)) => walk(old, new, &pointer, changes),
                (old, new) => {
                    changes.push(Changed { pointer, old: old.cloned(), new: new.cloned() });
                }
            }
        }
    } else if old != new {
        let (old, new) = (Some(old.clone()), Some(new.clone()));
        changes.push(Changed { pointer: pointer.to_owned(), old, new });
    }
}

/// The lines that only one of two texts has.
fn lines(old: &str, new: &str, changes: &mut Vec<Changed>) {
    let of = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    let (was, is) = (of(old), of(new));
    for line in was.iter().filter(|line| !is.contains(line)) {
        let old = Some(Value::from(line.as_str()));
        changes.push(Changed { pointer: String::new(), old, new: None });
    }
    for line in is.iter().filter(|line| !was.contains(line)) {
        let new = Some(Value::from(line.as_str()));
        changes.push(Changed { pointer: String::new(), old: None, new });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_named_by_where_it_is() {
        let mut changes = Vec::new();
        let old = json!({ "a": { "b/c": 1, "d": [1] }, "e": true });
        let new = json!({ "a": { "b/c": 2, "d": [1], "f": null } });
        walk(&old, &new, "", &mut changes);
        let named: Vec<_> = changes.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(named, ["/a/b~1c", "/a/f", "/e"]);
        assert_eq!((&changes[1].old, &changes[1].new), (&None, &Some(Value::Null)));
        let mut changes = Vec::new();
        lines("a;\nb;\n", "a;\n  c;\n", &mut changes);
        assert_eq!(changes.len(), 2);
    }
}
