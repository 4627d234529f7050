//! Policies at every door: what a clerk sees of building permits, who is told what, and what ends when they change.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hyper::{Method, StatusCode};
use nexus_client::{Address, Client};
use nexus_protocol::group::{GroupConfig, GroupStart};
use nexus_protocol::{
    Append, AppendError, EventData, EventStore as _, Filter, Read, ReadError, RecordedEvent,
    Subscribe, SubscriptionItem,
};
use nexus_testing::Issuer;
use nexus_testing::executor::next;
use serde_json::{Value, json};

use crate::http::Http;
use crate::http::client::{Ask, Messages};
use crate::jwt::running;
use crate::sockets::Socket;
use crate::stores::Running;

const SECOND: &str = "group:Group 2";

/// The files of a bundle that comes with Nexus.
fn files_of(name: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/rego").join(name);
    let mut files = BTreeMap::new();
    for prefix in ["", "nexus/"] {
        for entry in std::fs::read_dir(root.join(prefix)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                files.insert(name, std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    files
}

fn token(issuer: &Issuer, who: &str, claims: &Value) -> String {
    let mut all = json!({ "sub": who, "aud": "nexus", "exp": Issuer::seconds_from_now(600) });
    let more = claims.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    issuer.token(&all)
}

/// A store with nine permits of three groups, and who works with it.
struct Office {
    running: Running,
    admin: String,
    clerk: String,
}

impl Office {
    fn new() -> Self {
        let (issuer, running) = running();
        let admin = token(&issuer, "chief", &json!({ "nexus_role": "admin" }));
        let clerk = token(&issuer, "ada", &json!({ "nexus_role": "reader", "role": "clerk" }));
        Self { running, admin, clerk }
    }

    async fn client(&self, token: &str) -> Client {
        let address: Address = self.running.url().parse().unwrap();
        Client::connect(address.token(token)).await.unwrap()
    }

    fn http(&self, token: &str) -> Http {
        self.running.http().tls(self.running.certificate()).token(token)
    }

    /// Appends the permits, makes groups, and has the bundle decide.
    async fn open(&self) -> Client {
        let chief = self.client(&self.admin).await;
        for number in 0..9_u64 {
            let permit = EventData::json("PermitFiled", &json!({ "number": number })).unwrap();
            let permit = permit.tag(format!("group:Group {}", number % 3));
            chief.append(Append::to(format!("permit-{number}")).event(permit)).await.unwrap();
        }
        for (group, filter) in [("all", Filter::all()), ("second", Filter::tag(SECOND))] {
            let start = GroupStart::Beginning;
            chief
                .set_group(group, &GroupConfig { filter, start, ..GroupConfig::default() })
                .await
                .unwrap();
        }
        chief.activate_policies(&files_of("permits"), false).await.unwrap();
        chief
    }
}

fn number(event: &RecordedEvent) -> u64 {
    event.json::<Value>().unwrap()["number"].as_u64().unwrap()
}

#[test]
fn a_clerk_sees_one_group_of_permits_over_quic() {
    let office = Office::new();
    office.running.runtime.block_on(async {
        let chief = office.open().await;
        let clerk = office.client(&office.clerk).await;
        let mut events = clerk.read(Read::all());
        let mut seen = Vec::new();
        while let Some(event) = next(&mut events).await {
            seen.push(number(&event.unwrap()));
        }
        assert_eq!(seen, [2, 5, 8]);
        let mut events = chief.read(Read::stream("permit-1"));
        let first = next(&mut events).await.unwrap().unwrap();
        assert_eq!(clerk.event_by_id(first.id()).await.unwrap(), None);
        let mut subscription = clerk.subscribe(Subscribe::all());
        let mut came = Vec::new();
        while came.len() < 3 {
            if let SubscriptionItem::Event(event) = next(&mut subscription).await.unwrap().unwrap()
            {
                came.push(number(&event));
            }
        }
        assert_eq!(came, [2, 5, 8]);
        let of_all =
            clerk.consumer("all", "ada").receive(10, Duration::from_secs(20)).await.unwrap_err();
        assert!(of_all.to_string().contains("delivers what you may not see"), "{of_all}");
        let consumer = clerk.consumer("second", "ada");
        let deliveries = consumer.receive(10, Duration::from_secs(20)).await.unwrap();
        assert!(!deliveries.is_empty() && deliveries.iter().all(|it| it.event.has_tag(SECOND)));
        let refused = clerk.append(Append::to("a").event(EventData::json("A", &1).unwrap())).await;
        let AppendError::Denied { denial: Some(denial), .. } = refused.unwrap_err() else {
            panic!("it is denied, by a decision")
        };
        assert_eq!(denial.policy_revision.unwrap().get(), 0);
        assert_eq!(denial.reasons[0].code, "not_allowed");
        // What changes counts for what goes on.
        let closed = BTreeMap::from([(
            "a.rego".to_owned(),
            "package nexus.policy\ndecision := {\"allow\": \"admin\" in input.subject.roles}"
                .to_owned(),
        )]);
        chief.activate_policies(&closed, false).await.unwrap();
        let ended = loop {
            match next(&mut subscription).await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        let ReadError::Denied { denial: Some(denial), .. } = &ended else { panic!("{ended}") };
        assert_eq!(denial.reasons[0].code, "no_rule");
        assert!(clerk.head().await.is_err());
        chief.rollback_policies(None).await.unwrap();
        assert!(clerk.head().await.is_ok());
        assert_eq!(chief.policies().await.unwrap().active.unwrap().revision, 2);
    });
}

#[test]
fn a_clerk_sees_one_group_of_permits_over_http() {
    let office = Office::new();
    office.running.runtime.block_on(async {
        office.open().await;
        let (clerk, chief) = (office.http(&office.clerk), office.http(&office.admin));
        let numbers = |page: &Value| -> Vec<u64> {
            let events = page["events"].as_array().unwrap();
            events.iter().map(|it| it["data"]["number"].as_u64().unwrap()).collect()
        };
        let page = clerk.get("/v1/events").send().await.unwrap().json();
        assert_eq!(numbers(&page), [2, 5, 8]);
        let page = clerk.get("/v1/streams/permit-1/events").send().await.unwrap().json();
        assert_eq!(numbers(&page), [0_u64; 0]);
        let page = clerk.get("/v1/events?as_of=position:4").send().await.unwrap().json();
        assert_eq!(numbers(&page), [2]);
        let events = clerk.get("/v1/events").header("accept", "text/event-stream");
        let mut messages = Messages::new(events.open().await.unwrap());
        let mut came = Vec::new();
        while came.len() < 3 {
            let message = messages.expect().await;
            if message.event.is_empty() {
                came.push(message.json()["data"]["number"].as_u64().unwrap());
            }
        }
        assert_eq!(came, [2, 5, 8]);
        let receive = json!({ "consumer": "ada", "max": 10 });
        let of_all = clerk.post("/v1/groups/all/receive", &receive).send().await.unwrap();
        assert_eq!(of_all.problem(), (403, "denied".to_owned()));
        let refused = clerk.post("/v1/streams/a/events", &json!([{ "type": "A" }])).send().await;
        let refused = refused.unwrap();
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let problem = refused.json();
        assert!(problem["decision_id"].is_string(), "{problem}");
        assert_eq!(problem["policy_revision"], json!(0));
        assert_eq!(problem["reasons"][0]["code"], json!("not_allowed"));
        // Who may see what decides is said by it too.
        assert_eq!(clerk.get("/v1/policies").send().await.unwrap().problem().0, 403);
        let shown = chief.get("/v1/policies").send().await.unwrap().json();
        assert_eq!(shown["active"]["revision"], json!(0));
        assert_eq!(shown["changes"][0]["what"], json!("activated"));
        let broken = json!({ "files": { "a.rego": "package nexus.read\ndecision := {" } });
        let broken = chief.post("/v1/policies", &broken).send().await.unwrap();
        assert_eq!(broken.problem(), (400, "invalid".to_owned()));
        let back = chief.ask(Method::POST, "/v1/policies/rollback").json(&json!({})).send().await;
        assert_eq!(back.unwrap().json(), json!({ "revision": 1 }));
        assert_eq!(numbers(&clerk.get("/v1/events").send().await.unwrap().json()).len(), 9);
        messages.next().await.unwrap();
    });
}

#[test]
fn a_clerk_sees_one_group_of_permits_over_the_websocket() {
    let office = Office::new();
    office.running.runtime.block_on(async {
        let chief = office.open().await;
        let bearer = format!("Bearer {}", office.clerk);
        let headers = [("sec-websocket-protocol", "nexus.v1"), ("authorization", bearer.as_str())];
        let mut socket = Socket::try_open(&office.running, &headers).await.unwrap();
        let open = |id: &str, channel: Value| json!({ "op": "open", "id": id, "channel": channel });
        socket.say(open("all", json!({ "kind": "filter" }))).await;
        for number in [2, 5, 8] {
            assert_eq!(socket.hear_of("event").await["event"]["data"]["number"], number);
        }
        assert_eq!(socket.hear_of("caught_up").await["id"], "all");
        socket.say(open("other", json!({ "kind": "stream", "stream": "permit-1" }))).await;
        let frame = socket.hear().await.unwrap();
        assert_eq!(
            (&frame["id"], &frame["frame"]),
            (&json!("other"), &json!("caught_up")),
            "{frame}"
        );
        let group = |name: &str| json!({ "kind": "group", "group": name, "consumer": "ada" });
        socket.say(open("none", group("all"))).await;
        let refused = socket.hear().await.unwrap();
        assert_eq!((&refused["id"], &refused["frame"]), (&json!("none"), &json!("revoked")));
        assert_eq!(refused["problem"]["name"], "denied", "{refused}");
        assert!(refused.to_string().contains("delivers what you may not see"), "{refused}");
        socket.say(open("second", group("second"))).await;
        let mut tokens = Vec::new();
        for _ in 0..3 {
            let frame = socket.hear_of("event").await;
            assert_eq!(frame["event"]["tags"], json!([SECOND]), "{frame}");
            tokens.push(frame["token"].clone());
        }
        let error = json!({ "class": "a", "message": "b" });
        let parks = json!({ "op": "nack", "id": "second", "tokens": [tokens.pop()],
                            "action": "retry", "delay_ms": 0, "error": error });
        socket.say(parks).await;
        assert_eq!(socket.hear_of("answered").await["done"], 1);
        let appends = json!({ "appends": [{ "stream": "a", "events": [{ "type": "A" }] }] });
        let ack = json!({ "op": "ack", "id": "second", "tokens": [tokens[0]], "append": appends });
        socket.say(ack).await;
        let refused = loop {
            let frame = socket.hear().await.unwrap();
            if frame["frame"] == "error" {
                break frame;
            }
        };
        assert_eq!(refused["problem"]["name"], "denied", "{refused}");
        // What changes counts for channels that are open.
        let closed = BTreeMap::from([(
            "a.rego".to_owned(),
            "package nexus.policy\ndecision := {\"allow\": \"admin\" in input.subject.roles}"
                .to_owned(),
        )]);
        chief.activate_policies(&closed, false).await.unwrap();
        let mut ended = Vec::new();
        while ended.len() < 3 {
            let frame = socket.hear().await.unwrap();
            if frame["frame"] == "revoked" {
                assert_eq!(frame["problem"]["name"], "denied", "{frame}");
                ended.push(frame["id"].as_str().unwrap().to_owned());
            }
        }
        ended.sort_unstable();
        assert_eq!(ended, ["all", "other", "second"]);
    });
}

/// Operations that belong to no namespace, and those that anybody may ask for.
const NOT_OF_A_NAMESPACE: [&str; 12] = [
    "/v1/namespaces",
    "/v1/tokens",
    "/v1/audit",
    "/v1/policies",
    "/v1/session",
    "/openapi.json",
    "/metrics",
    "/health",
    "/errors",
    "/live",
    // It has a test of its own.
    "/v1/ws",
    "/ready",
];

#[test]
fn every_operation_on_a_namespace_asks_its_policies() {
    let office = Office::new();
    office.running.runtime.block_on(async {
        let chief = office.http(&office.admin);
        let document = chief.get("/openapi.json").send().await.unwrap().json();
        let rule = "package nexus.policy\ndecision := {\"allow\": true}".to_owned();
        let files = json!({ "files": { "a.rego": rule } });
        assert_eq!(chief.post("/v1/policies", &files).send().await.unwrap().status, StatusCode::OK);
        let (mut asked, mut others) = (0, Vec::new());
        for (path, methods) in document["paths"].as_object().unwrap() {
            if NOT_OF_A_NAMESPACE.iter().any(|it| path.starts_with(it)) || !path.starts_with("/v1/")
            {
                continue;
            }
            for method in methods.as_object().unwrap().keys().filter(|it| *it != "parameters") {
                let mut filled = String::new();
                for part in path.split('/').skip(1) {
                    let part = match part {
                        "{id}" if filled == "/v1/events" => "0199aaaa-0000-7000-8000-000000000000",
                        "{revision}" | "{id}" | "{position}" | "{version}" => "1",
                        "{event_id}" => "0199aaaa-0000-7000-8000-000000000000",
                        part if part.starts_with('{') => "a",
                        part => part,
                    };
                    filled.push('/');
                    filled.push_str(part);
                }
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                if filled == "/v1/parked" {
                    filled.push_str("?source=group:a");
                }
                let answer = body_of(chief.ask(method.clone(), filled.clone()), &method, path);
                let answer = answer.send().await.unwrap();
                let is_denied = answer.status == StatusCode::FORBIDDEN
                    && answer.json()["decision_id"].is_string();
                if !is_denied {
                    others.push(format!("{method} {filled}: {answer:?}"));
                }
                asked += 1;
            }
        }
        println!("count: operations_that_ask {asked}");
        assert!(others.is_empty(), "{others:#?}");
        assert!(asked > 30, "{asked}");
    });
}

/// A request with something in it where it may have that: policies are asked before most of it is looked at.
fn body_of(ask: Ask, method: &Method, path: &str) -> Ask {
    match (method, path) {
        (&Method::GET | &Method::DELETE | &Method::HEAD, _) => ask,
        (_, "/v1/routes/{name}/dry-run" | "/v1/routes/{route}/dry-run") => {
            ask.json(&json!({ "to": "stream:b", "filter": { "types": ["T"] } }))
        }
        (_, "/v1/schemas/{subject}/check") => ask.json(&json!({ "schema": {} })),
        _ => ask.json(&json!({})),
    }
}
