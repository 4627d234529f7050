//! What of documents comes of values that somebody may not see.

use std::collections::BTreeSet;

use nexus_delivery::projection::Definition;
use nexus_protocol::EventPointer;

/// The fields of documents that come of values that are masked, and whether keys do. Masks are JSON pointers into data, in
/// which `*` stands for each element or member.
pub(crate) fn hidden_fields<'a>(
    definition: &'a Definition,
    masks: &BTreeSet<String>,
) -> (BTreeSet<&'a str>, bool) {
    definition.hidden(|pointer| masks.iter().any(|mask| overlaps(pointer, mask)))
}

/// Whether what a pointer leads to is masked, or has something in it that is.
fn overlaps(pointer: &EventPointer, mask: &str) -> bool {
    let Some(path) = pointer.as_str().strip_prefix("/data") else { return false };
    if !path.is_empty() && !path.starts_with('/') {
        return false;
    }
    let decoded = |token: &str| token.replace("~1", "/").replace("~0", "~");
    let path = path.split('/').skip(1).map(decoded);
    let mask = mask.split('/').skip(1).map(decoded);
    // The shorter one leads to something that has the other in it.
    path.zip(mask).all(|(step, masked)| masked == "*" || step == masked)
}

#[cfg(test)]
mod tests {
    use nexus_delivery::projection::DefinitionFile;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_comes_of_masked_values_is_hidden_with_all_that_is_computed_of_it() {
        let file = DefinitionFile::from_json(json!({
            "name": "people", "sink": "kv", "key": "/data/id",
            "fields": {
                "street": { "type": "keyword", "fold": "set", "from": "/data/address/street" },
                "address": { "type": "json", "fold": "set", "from": "/data/address" },
                "first": { "type": "keyword", "fold": "last", "from": "/data/name", "by": "/data/born" },
                "lines": { "type": "keyword", "fold": "append", "from": "/data/lines/0/text" },
                "kind": { "type": "keyword", "fold": "set", "from": "/type" },
                "data": { "type": "keyword", "fold": "set", "from": "/metadata/data" },
                "shown": { "type": "text", "compute": { "concat": [{ "field": "street" }, { "field": "kind" }] } },
                "twice": { "type": "text", "compute": { "concat": [{ "field": "shown" }, { "value": "!" }] } },
            },
        }));
        let definition = Definition::new(file.unwrap()).unwrap();
        let hidden = |masks: &[&str]| {
            let masks = masks.iter().map(|it| (*it).to_owned()).collect();
            let (fields, key) = hidden_fields(&definition, &masks);
            (fields.into_iter().map(str::to_owned).collect::<Vec<_>>(), key)
        };
        let names = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(hidden(&[]), (names(&[]), false));
        assert_eq!(
            hidden(&["/address/street"]),
            (names(&["address", "shown", "street", "twice"]), false)
        );
        assert_eq!(hidden(&["/born"]), (names(&["first"]), false));
        assert_eq!(hidden(&["/lines/*/text"]), (names(&["lines"]), false));
        assert_eq!(hidden(&["/lines/*/number"]), (names(&[]), false));
        assert_eq!(hidden(&["/id"]), (names(&[]), true));
        let all = hidden(&[""]);
        assert_eq!((all.0.len(), all.1), (6, true));
    }
}
