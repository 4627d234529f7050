//! Who asks, and what they may.

use hyper::{Method, StatusCode};
use nexus_node::{Engine, Node, Principal, Role};
use nexus_protocol::{Append, AppendError, EventData};
use serde_json::{Value, json};

use super::client::Http;
use crate::stores::Running;

/// A server that lets nobody in without a token, and a client for each role.
pub(super) fn guarded() -> (Running, Vec<(Role, Http)>) {
    let engine = Engine::in_memory();
    let node = Node::over(engine.clone()).unwrap();
    let local = Principal::local();
    let tokens: Vec<_> = Role::ALL
        .into_iter()
        // Of which nothing is refused, and all is on record.
        .filter(|role| *role != Role::BreakGlass)
        .map(|role| (role, node.create_token(&local, role.as_str(), role, None).unwrap().token))
        .collect();
    let running = Running::guarded(engine);
    let http = |token: &str| running.http().tls(running.certificate()).token(token);
    let clients = tokens.iter().map(|(role, token)| (*role, http(token))).collect();
    (running, clients)
}

#[test]
fn nobody_gets_in_without_a_token_that_holds() {
    let (running, _) = guarded();
    running.runtime.block_on(async {
        let http = running.http().tls(running.certificate());
        for header in [
            None,
            Some("Bearer nx_00_00"),
            Some("Bearer "),
            Some("Bearer"),
            Some("Basic YWRtaW46YWRtaW4="),
            Some("nx_00_00"),
            Some("Bearer \u{e9}"),
            Some(""),
        ] {
            for path in ["/v1/head", "/v1/events", "/v1/tokens", "/v1/streams/a"] {
                let mut ask = http.get(path);
                if let Some(header) = header {
                    ask = ask.header("authorization", header);
                }
                let answer = ask.send().await.unwrap();
                assert_eq!(answer.problem(), (401, "unauthenticated".to_owned()), "{header:?}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
        }
        // A token stands in no address, and nothing of a request is looked at before it is known who asks.
        let query = http.get("/v1/head?token=nx_00_00").send().await.unwrap();
        assert_eq!(query.problem().0, 401);
        let body =
            http.ask(Method::POST, "/v1/append").body("text/plain", super::client::full("{"));
        assert_eq!(body.send().await.unwrap().problem().0, 401);
        for path in ["/healthz", "/readyz", "/openapi.json", "/", "/errors/NX1005"] {
            let answer = http.get(path).header("authorization", "Bearer x").send().await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{path} is open");
        }
    });
}

#[test]
fn metrics_are_shown_to_everybody_where_that_is_set() {
    for open in [true, false] {
        let running = Running::with(Engine::in_memory(), |options| options.metrics_open(open));
        running.runtime.block_on(async {
            let http = running.http().tls(running.certificate());
            let answer = http.get("/metrics").send().await.unwrap();
            assert_eq!(answer.status, if open { 200 } else { 401 });
            if open {
                let text = String::from_utf8(answer.body.to_vec()).unwrap();
                assert!(text.contains("nexus_build_info"), "{text}");
            }
            // Nothing else is.
            for path in ["/v1/head", "/v1/stats", "/v1/namespaces"] {
                assert_eq!(http.get(path).send().await.unwrap().status, 401, "{path}");
            }
        });
    }
}

#[test]
fn what_administrators_ask_for_is_listed_page_by_page() {
    let (running, clients) = guarded();
    running.runtime.block_on(async {
        let (admin, operator) = (&clients[0].1, &clients[1].1);
        let limits = json!({ "max_count": 5 });
        let change = operator.ask(Method::PATCH, "/v1/streams/a").json(&limits);
        assert_eq!(change.send().await.unwrap().status, StatusCode::OK);
        // What the tokens of `guarded` left on record comes before.
        let first = admin.get("/v1/audit?limit=5").send().await.unwrap().json();
        assert_eq!(first["audit"].as_array().unwrap().len(), 5);
        let next = format!("/v1/audit?after={}&limit=5", first["next"]);
        let rest = admin.get(&next).send().await.unwrap().json();
        let [change] = &**rest["audit"].as_array().unwrap() else { panic!("{rest}") };
        for (key, value) in [
            ("operation", json!("set_stream")),
            ("by", json!("operator")),
            ("door", json!("http")),
            ("namespace", json!("default")),
            ("what", json!("a")),
            ("details", limits.clone()),
            ("outcome", json!("done")),
        ] {
            assert_eq!(change[key], value, "{key} of {change}");
        }
        assert_eq!(rest["next"], Value::Null);
    });
}

#[test]
fn each_role_may_do_what_is_its_own() {
    let (running, clients) = guarded();
    let event = json!([{ "type": "T" }]);
    let limits = json!({ "max_count": 5 });
    let token = json!({ "name": "new", "role": "reader", "ttl_s": 60 });
    let snapshot = json!({ "state": 1 });
    // Admin, operator, writer, reader, monitor.
    let table: [(Method, &str, Option<&Value>, [u16; 5]); 14] = [
        (Method::POST, "/v1/streams/a/events", Some(&event), [201, 403, 201, 403, 403]),
        (Method::PUT, "/v1/streams/a/snapshots/0", Some(&snapshot), [201, 403, 201, 403, 403]),
        (Method::GET, "/v1/streams/a/events", None, [200, 200, 200, 200, 403]),
        (Method::GET, "/v1/events", None, [200, 200, 200, 200, 403]),
        (Method::GET, "/v1/streams/a/snapshots/latest", None, [200, 200, 200, 200, 403]),
        (Method::GET, "/v1/streams", None, [200, 200, 200, 200, 403]),
        (Method::PATCH, "/v1/streams/a", Some(&limits), [200, 200, 403, 403, 403]),
        (Method::DELETE, "/v1/streams/gone", None, [412, 412, 403, 403, 403]),
        (Method::PUT, "/v1/namespaces/orders", None, [201, 200, 403, 403, 403]),
        (Method::GET, "/v1/stats", None, [200; 5]),
        (Method::GET, "/v1/namespaces", None, [200; 5]),
        (Method::GET, "/v1/tokens", None, [200, 403, 403, 403, 403]),
        (Method::POST, "/v1/tokens", Some(&token), [201, 403, 403, 403, 403]),
        (Method::GET, "/v1/audit", None, [200, 403, 403, 403, 403]),
    ];
    running.runtime.block_on(async {
        for (method, path, body, statuses) in table {
            for ((role, http), status) in clients.iter().zip(statuses) {
                let mut ask = http.ask(method.clone(), path);
                if let Some(body) = body {
                    ask = ask.json(body);
                }
                let answer = ask.send().await.unwrap();
                assert_eq!(answer.status, status, "{role} {method} {path}: {answer:?}");
                if status == 403 {
                    assert_eq!(answer.problem().1, "denied");
                    // Who may not append is told before what it sends is looked at.
                    let nonsense = http.ask(method.clone(), path).json(&json!("nonsense"));
                    assert_eq!(
                        nonsense.send().await.unwrap().status,
                        403,
                        "{role} {method} {path}"
                    );
                }
            }
        }
        // A key is each principal's own: what another appended is no repeat.
        let writers = [&clients[0].1, &clients[2].1];
        for http in writers {
            let ask = http.post("/v1/streams/keyed/events", &event).header("idempotency-key", "k");
            assert_eq!(ask.send().await.unwrap().status, StatusCode::CREATED);
        }
        let made = clients[0].1.post("/v1/tokens", &token).send().await.unwrap().json();
        let reader = running.http().tls(running.certificate());
        let reader = reader.token(made["token"].as_str().unwrap());
        assert_eq!(reader.get("/v1/events").send().await.unwrap().status, StatusCode::OK);
        let listed = clients[0].1.get("/v1/tokens").send().await.unwrap();
        assert!(
            !std::str::from_utf8(&listed.body).unwrap().contains(made["token"].as_str().unwrap())
        );
        for bad in [
            json!({ "name": "x", "role": "king" }),
            json!({ "name": "", "role": "reader" }),
            json!({ "name": "x", "role": "reader", "ttl": 1 }),
        ] {
            let answer = clients[0].1.post("/v1/tokens", &bad).send().await.unwrap();
            assert_eq!(answer.problem(), (400, "invalid".to_owned()), "{bad}");
        }
    });
}

#[test]
fn who_does_more_than_the_quota_is_told_when_to_come_again() {
    let quota = nexus_node::Quota { events_per_s: 5, reads_per_s: 5, ..Default::default() };
    let running = Running::with_quota(Engine::in_memory(), quota);
    let client = running.client();
    running.runtime.block_on(async {
        let http = running.http();
        let events = json!([{ "type": "T" }, { "type": "T" }, { "type": "T" }]);
        let mut refused = None;
        for _ in 0..10 {
            let answer = http.post("/v1/streams/a/events", &events).send().await.unwrap();
            if answer.status.as_u16() != 201 {
                refused = Some(answer);
                break;
            }
        }
        let refused = refused.expect("30 events are more than a second's worth twice");
        assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&wait), "{wait}");
        // The same over QUIC: a principal has one account, whichever door it comes by.
        let append = Append::to("b").event(EventData::json("T", &1).unwrap());
        let error = client.append(append).await.unwrap_err();
        assert!(matches!(error, AppendError::RateLimited { .. }), "{error}");
        // Another namespace is another account.
        http.ask(Method::PUT, "/v1/namespaces/other").send().await.unwrap();
        let there = "/v1/streams/a/events?namespace=other";
        assert_eq!(http.post(there, &events).send().await.unwrap().status.as_u16(), 201);
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(http.get("/v1/head").send().await.unwrap().status.as_u16());
        }
        assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    });
}

#[test]
fn a_request_counts_once_however_many_questions_its_answer_takes() {
    let quota = nexus_node::Quota { reads_per_s: 1, ..Default::default() };
    let running = Running::with_quota(Engine::in_memory(), quota);
    running.runtime.block_on(async {
        let http = running.http();
        let forms = [
            ("/v1/streams/a/events", "application/json"),
            ("/v1/streams/a/events", "application/x-ndjson"),
            ("/v1/streams/a/events", "text/event-stream"),
            ("/v1/events", "application/json"),
            ("/v1/events", "application/x-ndjson"),
            ("/v1/events", "text/event-stream"),
            ("/v1/events?from_position=1&wait_ms=1", "application/json"),
            ("/v1/streams/a", "application/json"),
            ("/v1/head", "application/json"),
        ];
        for (number, (path, accept)) in forms.iter().enumerate() {
            // A namespace of its own is an account of its own.
            let namespace = format!("n{number}");
            let made = http.ask(Method::PUT, format!("/v1/namespaces/{namespace}"));
            assert_eq!(made.send().await.unwrap().status, StatusCode::CREATED);
            let there = format!("/v1/streams/a/events?namespace={namespace}");
            let appended = http.post(there, &json!([{ "type": "T" }])).send().await.unwrap();
            assert_eq!(appended.status, StatusCode::CREATED);
            let joined = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{joined}namespace={namespace}");
            // A second's worth may be saved up, and so two are let in at once.
            for _ in 0..2 {
                let answer = http.get(&path).header("accept", accept).open().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK, "{path} as {accept}");
            }
        }
    });
}
