//! Events are folded in the version of their schema that a definition names.

use nexus_node::{Engine, Node};
use nexus_protocol::group::ParkedList;
use nexus_protocol::schema::{NewSchema, SchemaFormat};
use nexus_protocol::{AppendError, EventData};
use serde_json::{Value, json};

use super::{append, find, local};

fn schema(properties: &Value, up: &str) -> NewSchema {
    let schema = json!({ "type": "object", "properties": properties });
    NewSchema { up: up.to_owned(), ..NewSchema::new(SchemaFormat::Json, schema.to_string()) }
}

fn moves(name: &str, as_schema: &Value, from: &str) -> Value {
    json!({ "name": name, "sink": "kv", "key": "/stream", "filter": { "types": ["Moved"] }, "as_schema": as_schema,
            "fields": { "all": { "type": "u64", "fold": "append", "from": from, "max": 10 } } })
}

#[test]
fn each_event_is_folded_in_the_version_that_is_named() {
    let node = Node::over(Engine::in_memory()).unwrap();
    let access = local(&node);
    let number = json!({ "type": "integer" });
    access.register_schema("Moved", &schema(&json!({ "from": number }), "")).unwrap();
    append(&access, "a", EventData::json("Moved", &json!({ "from": 7 })).unwrap());
    let renamed = r#"[{"op": "rename", "path": "/from", "to": "to"}]"#;
    access.register_schema("Moved", &schema(&json!({ "to": number }), renamed)).unwrap();
    let last = append(&access, "a", EventData::json("Moved", &json!({ "to": 8 })).unwrap());
    for (name, as_schema, from, all) in [
        ("up", json!({ "Moved": 2 }), "/data/to", json!([7, 8])),
        ("down", json!({ "Moved": 1 }), "/data/from", json!([7, 8])),
        ("raw", json!({}), "/data/to", json!([8])),
    ] {
        access.set_projection(name, &moves(name, &as_schema, from)).unwrap();
        assert_eq!(find(&access, name, "a", last), Some(json!({ "all": all })), "{name}");
        let parked = access.parked_of_projection(name, &ParkedList::default()).unwrap();
        assert!(parked.entries.is_empty(), "{name}");
    }
    for (as_schema, why) in [
        (json!({ "Moved": 3 }), "no version 3"),
        (json!({ "Gone": 1 }), "no version 1 of subject \"Gone\""),
        (json!({ "Moved": 0 }), "versions, from 1"),
    ] {
        let refused = access.set_projection("no", &moves("no", &as_schema, "/data/to"));
        let refused = refused.unwrap_err();
        assert!(matches!(refused, AppendError::Invalid(_)), "{refused}");
        assert!(refused.to_string().contains(why), "{refused}");
    }
}
