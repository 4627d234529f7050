//! Schemas over HTTP: registered, tried, shown, and what appends are held to.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Answer, Http};
use crate::stores::Running;

async fn send(http: &Http, method: Method, path: &str, body: &Value) -> Answer {
    http.ask(method, path.to_owned()).json(body).send().await.unwrap()
}

async fn get(http: &Http, path: &str) -> Answer {
    http.get(path.to_owned()).send().await.unwrap()
}

async fn register(http: &Http, subject: &str, schema: &Value) -> Answer {
    let path = format!("/v1/schemas/{subject}/versions");
    send(http, Method::POST, &path, &json!({ "format": "json", "schema": schema })).await
}

async fn append(http: &Http, stream: &str, events: &Value) -> Answer {
    send(http, Method::POST, &format!("/v1/streams/{stream}/events"), events).await
}

fn order(required: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": {
            "total_cents": { "type": "integer", "minimum": 0 },
            "coupon": { "type": "string" },
        },
        "required": required,
    })
}

#[test]
fn a_schema_is_registered_shown_and_listed() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        assert_eq!(get(&http, "/v1/schemas").await.json(), json!({ "schemas": [], "next": null }));
        let made = register(&http, "OrderPlaced", &order(&["total_cents"])).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let version = made.json();
        assert_eq!(
            (&version["id"], &version["subject"], &version["version"], &version["state"]),
            (&json!(1), &json!("OrderPlaced"), &json!(1), &json!("active"))
        );
        assert_eq!(version["fingerprint"].as_str().unwrap().len(), 64);
        let spaced = r#"{"schema":{ "type" : "object","maximum":1.50}}"#;
        let made = http
            .ask(Method::POST, "/v1/schemas/Spaced/versions")
            .body("application/json", super::client::full(spaced))
            .send()
            .await
            .unwrap();
        assert_eq!(made.json()["schema"], r#"{ "type" : "object","maximum":1.50}"#, "as sent");
        // The same again, as a text and in another order.
        let text = r#"{"required":["total_cents"],"type":"object","properties":{
            "coupon":{"type":"string"},"total_cents":{"minimum":0,"type":"integer"}}}"#;
        let again = register(&http, "OrderPlaced", &json!(text)).await;
        assert_eq!((again.status, &again.json()["id"]), (StatusCode::OK, &json!(1)));
        for path in [
            "/v1/schemas/OrderPlaced/versions/1",
            "/v1/schemas/OrderPlaced/versions/latest",
            "/v1/schema-ids/1",
        ] {
            assert_eq!(get(&http, path).await.json(), version, "{path}");
        }
        for path in [
            "/v1/schemas/OrderPlaced/versions/2",
            "/v1/schemas/Other",
            "/v1/schemas/Other/versions/latest",
            "/v1/schema-ids/9",
            "/v1/schemas/Other/settings",
        ] {
            let missing = get(&http, path).await;
            assert_eq!(missing.status, StatusCode::NOT_FOUND, "{path} {missing:?}");
        }
        register(&http, "a%2Fb", &json!({ "type": "object" })).await;
        let page = get(&http, "/v1/schemas?limit=1").await.json();
        assert_eq!(page["schemas"][0]["subject"], "OrderPlaced");
        assert_eq!(
            page["schemas"][0]["versions"],
            json!([{ "version": 1, "id": 1, "state": "active" }])
        );
        assert_eq!(page["next"], "OrderPlaced");
        let page = get(&http, "/v1/schemas?after=Spaced").await.json();
        assert_eq!((&page["schemas"][0]["subject"], &page["next"]), (&json!("a/b"), &Value::Null));
        assert_eq!(get(&http, "/v1/schemas/a%2Fb").await.json()["subject"], "a/b");
        // Kept as events, which can be read as all others can.
        let events = get(&http, "/v1/streams/$schemas/events").await.json();
        assert_eq!(events["events"][0]["type"], "$SchemaRegistered", "{events}");
    });
}

#[test]
fn an_append_that_breaks_a_schema_is_refused_and_says_where() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let event = |data: Value| json!({ "type": "OrderPlaced", "data": data });
        let before = append(&http, "order-0", &json!([event(json!("no object"))])).await;
        assert_eq!(before.status, StatusCode::CREATED, "nothing is asked of it yet");
        register(&http, "OrderPlaced", &order(&["total_cents"])).await;
        let both = json!([
            event(json!({ "total_cents": 1 })),
            event(json!({ "total_cents": "x", "cupon": "" }))
        ]);
        let refused = append(&http, "order-1", &both).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
        let problem = refused.json();
        assert_eq!(
            (&problem["name"], &problem["code"]),
            (&json!("schema_invalid"), &json!("NX1009"))
        );
        let mut told: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                assert!(!it["message"].as_str().unwrap().is_empty());
                (
                    it["event"].as_u64().unwrap(),
                    it["pointer"].as_str().unwrap(),
                    it["rule"].as_str().unwrap(),
                )
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, [(1, "", "additionalProperties"), (1, "/total_cents", "type")]);
        let none = get(&http, "/v1/streams/order-1/events").await;
        assert_eq!(none.status, StatusCode::NOT_FOUND, "none of it is stored");
        let stored = append(&http, "order-1", &json!([event(json!({ "total_cents": 1 }))])).await;
        assert_eq!(stored.status, StatusCode::CREATED);
        let events = get(&http, "/v1/streams/order-1/events").await.json();
        let schema = json!({ "id": 1, "subject": "OrderPlaced", "version": 1 });
        assert_eq!(events["events"][0]["schema"], schema, "what it was found to follow is noted");
        assert_eq!(events["events"][0]["data"], json!({ "total_cents": 1 }), "as it was sent");
        // By the door for many streams, and one that names a schema.
        let named = |id: u32, data: Value| {
            json!({ "appends": [{ "stream": "order-2", "expected": "any", "events": [
                { "type": "OrderPlaced", "schema": id, "data": data }] }] })
        };
        for (id, data, rule) in [
            (9, json!({ "total_cents": 1 }), "schema"),
            (1, json!({}), "required"),
            (1, json!(7), "type"),
        ] {
            let refused = send(&http, Method::POST, "/v1/append", &named(id, data)).await;
            assert_eq!(refused.json()["errors"][0]["rule"], rule, "{refused:?}");
        }
        let stored =
            send(&http, Method::POST, "/v1/append", &named(1, json!({ "total_cents": 2 }))).await;
        assert_eq!(stored.status, StatusCode::CREATED, "{stored:?}");
    });
}

#[test]
fn a_schema_that_does_not_read_the_old_is_refused_with_reasons() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        register(&http, "OrderPlaced", &order(&["total_cents"])).await;
        let harsher = json!({ "schema": order(&["total_cents", "coupon"]) });
        let check = send(&http, Method::POST, "/v1/schemas/OrderPlaced/check", &harsher).await;
        assert_eq!((check.status, &check.json()["compatible"]), (StatusCode::OK, &json!(false)));
        let refused = send(&http, Method::POST, "/v1/schemas/OrderPlaced/versions", &harsher).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
        let problem = refused.json();
        assert_eq!(
            (&problem["name"], &problem["code"]),
            (&json!("incompatible"), &json!("NX2006"))
        );
        assert_eq!(problem["incompatibilities"], check.json()["incompatibilities"]);
        let why = &problem["incompatibilities"][0];
        assert_eq!((&why["rule"], &why["version"]), (&json!("required"), &json!(1)), "{why}");
        // It may be as soon as nobody has to read the old.
        let none = json!({ "compatibility": "NONE" });
        let set = send(&http, Method::PUT, "/v1/schemas/OrderPlaced/settings", &none).await;
        assert_eq!(set.json()["effective"]["compatibility"], "NONE", "{set:?}");
        let made = send(&http, Method::POST, "/v1/schemas/OrderPlaced/versions", &harsher).await;
        assert_eq!((made.status, &made.json()["version"]), (StatusCode::CREATED, &json!(2)));
    });
}

#[test]
fn who_may_not_manage_schemas_is_told_so_before_anything_is_looked_at() {
    let (running, clients) = super::tokens::guarded();
    running.runtime.block_on(async {
        for (role, http) in &clients {
            let may = matches!(role.as_str(), "admin" | "operator");
            for (method, path) in [
                (Method::POST, "/v1/schemas/A/versions"),
                (Method::PUT, "/v1/schemas/A/settings"),
                (Method::PATCH, "/v1/schemas/A/versions/1"),
                (Method::PUT, "/v1/schema-settings?level=global"),
            ] {
                let answer = send(http, method.clone(), path, &json!({ "nonsense": 1 })).await;
                let status = if may { StatusCode::BAD_REQUEST } else { StatusCode::FORBIDDEN };
                assert_eq!(answer.status, status, "{role} {method} {path}: {answer:?}");
            }
            let reads = matches!(role.as_str(), "admin" | "operator" | "writer" | "reader");
            let listed = get(http, "/v1/schemas").await;
            assert_eq!(listed.status == StatusCode::OK, reads, "{role}: {listed:?}");
        }
    });
}

#[test]
fn a_draft_is_promoted_and_a_version_retired() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let draft = json!({ "schema": { "type": "object" }, "state": "draft", "owner": "shop" });
        let made = send(&http, Method::POST, "/v1/schemas/A/versions", &draft).await;
        assert_eq!(
            (&made.json()["state"], &made.json()["owner"]),
            (&json!("draft"), &json!("shop"))
        );
        let event = json!([{ "type": "A", "data": {} }]);
        let any = json!([{ "type": "A", "data": "anything" }]);
        let taken = append(&http, "a-1", &any).await;
        assert_eq!(taken.status, StatusCode::CREATED, "a draft stands in nobody's way: {taken:?}");
        let named = json!([{ "type": "A", "schema": 1, "data": {} }]);
        let refused = append(&http, "a-1", &named).await;
        assert_eq!(
            refused.json()["errors"][0]["rule"],
            "schema",
            "nor follows anybody it: {refused:?}"
        );
        let to = |state: &str| json!({ "state": state });
        let path = "/v1/schemas/A/versions/1";
        let active = send(&http, Method::PATCH, path, &to("active")).await;
        assert_eq!(active.json()["state"], "active", "{active:?}");
        assert_eq!(append(&http, "a-1", &event).await.status, StatusCode::CREATED);
        assert_eq!(append(&http, "a-1", &any).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        for state in ["deprecated", "retired"] {
            assert_eq!(send(&http, Method::PATCH, path, &to(state)).await.json()["state"], state);
        }
        let back = send(&http, Method::PATCH, path, &to("active")).await;
        assert_eq!(back.status, StatusCode::BAD_REQUEST, "{back:?}");
    });
}

#[test]
fn settings_hold_for_a_subject_a_namespace_and_all_namespaces() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let wide = "/v1/schema-settings?level=global";
        let set = send(&http, Method::PUT, wide, &json!({ "validation": "off" })).await;
        assert_eq!(set.status, StatusCode::OK, "{set:?}");
        register(&http, "A", &json!({ "type": "object" })).await;
        let wrong = json!([{ "type": "A", "data": 1 }]);
        assert_eq!(append(&http, "a-1", &wrong).await.status, StatusCode::CREATED);
        // A namespace of its own has the same: they are for all of them.
        http.ask(Method::PUT, "/v1/namespaces/other").send().await.unwrap();
        let other = get(&http, "/v1/schema-settings?namespace=other").await.json();
        assert_eq!(other["effective"]["validation"], "off", "{other}");
        assert_eq!(other["settings"]["validation"], Value::Null, "{other}");
        send(&http, Method::PUT, "/v1/schema-settings", &json!({ "validation": "required" })).await;
        assert_eq!(append(&http, "a-1", &wrong).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        let bound = json!({ "types": ["B*"], "validation": null });
        let of_subject = send(&http, Method::PUT, "/v1/schemas/A/settings", &bound).await.json();
        assert_eq!(of_subject["settings"]["types"], json!(["B*"]), "{of_subject}");
        assert_eq!(append(&http, "a-1", &wrong).await.status, StatusCode::CREATED, "not bound");
        let wrong = json!([{ "type": "Bad", "data": 1 }]);
        assert_eq!(append(&http, "a-1", &wrong).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        for (path, body) in [
            ("/v1/schemas/A/settings", json!({ "compatibility": "SOMEWHAT" })),
            ("/v1/schemas/A/settings", json!({ "types": [""] })),
            ("/v1/schemas/A/settings", json!({ "typos": [] })),
            ("/v1/schema-settings", json!({ "types": ["A"] })),
        ] {
            let refused = send(&http, Method::PUT, path, &body).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body} {refused:?}");
        }
    });
}

#[test]
fn what_is_no_schema_is_refused_and_nothing_is_kept() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let deep = (0..200).fold(json!({}), |inner, _| json!({ "not": inner }));
        let bad = |format: &str, schema: Value| json!({ "format": format, "schema": schema });
        for (body, status) in [
            (bad("json", json!({ "type": "objekt" })), 400),
            (bad("json", json!("{")), 400),
            (bad("json", json!({ "$ref": "https://example.com/elsewhere.json" })), 400),
            (bad("json", json!({ "$ref": "#" })), 400),
            (bad("json", json!({ "pattern": "(?=a)" })), 400),
            (bad("json", deep), 400),
            (bad("json", json!({ "description": "x".repeat(600_000) })), 413),
            (bad("avro", json!({ "type": "record" })), 400),
            (bad("protobuf", json!("message {")), 400),
            (bad("protobuf", json!({})), 400),
            (bad("xml", json!("<a/>")), 400),
            (json!({ "schema": {}, "state": "retired" }), 400),
            (json!({ "schema": {}, "references": [{ "name": "a", "subject": "B", "version": 1 }] }), 400),
            (json!({}), 400),
        ] {
            for path in ["/v1/schemas/A/versions", "/v1/schemas/A/check"] {
                let refused = send(&http, Method::POST, path, &body).await;
                assert_eq!(refused.status.as_u16(), status, "{path} {refused:?}");
            }
        }
        let huge = json!({ "schema": { "description": "x".repeat(5_000_000) } });
        let refused = send(&http, Method::POST, "/v1/schemas/A/versions", &huge).await;
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{refused:?}");
        assert_eq!(get(&http, "/v1/schemas").await.json()["schemas"], json!([]));
        assert_eq!(get(&http, "/v1/streams/$schemas/events").await.status, StatusCode::NOT_FOUND);
    });
}

#[test]
fn a_timer_holds_its_event_to_its_schema() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        register(&http, "Due", &json!({ "type": "object", "required": ["n"] })).await;
        let timer = |data: Value| {
            json!({ "due_at": "2016-01-01T00:00:00Z", "stream": "due-1",
                    "event": { "type": "Due", "data": data } })
        };
        send(&http, Method::PUT, "/v1/timers/good", &timer(json!({ "n": 1 }))).await;
        let page = get(&http, "/v1/events?category=due&wait_ms=20000").await.json();
        assert_eq!(page["events"][0]["schema"]["id"], 1, "{page}");
        let refused = send(&http, Method::PUT, "/v1/timers/bad", &timer(json!({}))).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
        assert_eq!(refused.json()["errors"][0]["rule"], "required", "{refused:?}");
    });
}
