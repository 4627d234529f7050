//! JSON Web Tokens at every door: who they let in, what those may do, and when they have to go.

use hyper::Method;
use nexus_client::{Address, Client, ConnectError};
use nexus_node::{Engine, Jwks, JwtRules, Node, Principal};
use nexus_protocol::wire::{Operation, SubscribeHead};
use nexus_protocol::{
    Append, AppendError, EventData, EventStore as _, ReadError, Subscribe, SubscriptionItem,
};
use nexus_testing::Issuer;
use nexus_testing::executor::next;
use serde_json::{Value, json};

use crate::enemies;
use crate::http::Http;
use crate::http::client::Messages;
use crate::stores::Running;

/// A server that takes the tokens of somebody.
pub(crate) fn running() -> (Issuer, Running) {
    let issuer = Issuer::ed("key");
    let rules = JwtRules {
        audience: "nexus".to_owned(),
        issuer: None,
        role_claim: "nexus_role".to_owned(),
    };
    let jwks = Jwks::parse(issuer.jwks().as_bytes()).unwrap();
    let node = Node::over(Engine::in_memory()).unwrap().jwts(rules, jwks);
    (issuer, Running::of_node(node, |options| options))
}

/// A token of Alice, who has this role, that ends so many seconds from now, and the leeway of a minute.
pub(crate) fn token(issuer: &Issuer, role: &str, seconds: i64) -> String {
    let exp = Issuer::seconds_from_now(seconds);
    issuer.token(&json!({ "sub": "alice", "aud": "nexus", "nexus_role": role, "exp": exp }))
}

fn append() -> Append {
    Append::to("a").event(EventData::json("A", &1).unwrap())
}

async fn connect(running: &Running, token: &str) -> Result<Client, ConnectError> {
    let address: Address = running.url().parse().unwrap();
    Client::connect(address.token(token)).await
}

fn http(running: &Running, token: &str) -> Http {
    running.http().tls(running.certificate()).token(token)
}

#[test]
fn a_token_says_who_asks_and_what_they_may_over_both_doors() {
    let (issuer, running) = running();
    running.runtime.block_on(async {
        let writer = token(&issuer, "writer", 300);
        let client = connect(&running, &writer).await.unwrap();
        client.append(append()).await.unwrap();
        let error = client.tokens().await.unwrap_err();
        let ReadError::Denied { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains("\"alice\" may not manage tokens"), "{reason}");
        let event = json!([{ "type": "A" }]);
        let writes = http(&running, &writer).post("/v1/streams/a/events", &event);
        assert_eq!(writes.send().await.unwrap().status.as_u16(), 201);
        let reader = http(&running, &token(&issuer, "reader", 300));
        let writes = reader.post("/v1/streams/a/events", &event).send().await.unwrap();
        assert_eq!(writes.problem(), (403, "denied".to_owned()));
        let detail = writes.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("\"alice\" may not append"), "{detail}");
        // What an administrator does is on record under their name.
        let admin = http(&running, &token(&issuer, "admin", 300));
        let made = admin.ask(Method::PUT, "/v1/namespaces/orders").send().await.unwrap();
        assert_eq!(made.status.as_u16(), 201);
        let audit = admin.get("/v1/audit").send().await.unwrap().json();
        let entry = &audit["audit"][0];
        assert_eq!((&entry["by"], &entry["kind"]), (&json!("alice"), &json!("jwt")));
        assert_eq!((&entry["token"], &entry["door"]), (&Value::Null, &json!("http")));
    });
}

#[test]
fn who_is_refused_is_not_told_what_was_right_about_the_token() {
    let (issuer, running) = running();
    let expired = token(&issuer, "admin", -120);
    let elsewhere = json!({ "sub": "alice", "aud": "other", "exp": Issuer::seconds_from_now(60) });
    let forged = token(&Issuer::ed("key"), "admin", 300);
    let made =
        running.node().create_token(&Principal::local(), "ci", nexus_node::Role::Reader, None);
    let made = made.unwrap().token;
    running.runtime.block_on(async {
        for refused in [&expired, &issuer.token(&elsewhere), &forged, "x.y.z", "nx_00_00"] {
            let error = connect(&running, refused).await.unwrap_err();
            let ConnectError::Unauthenticated { reason } = &error else { panic!("{error}") };
            let answer = http(&running, refused).get("/v1/head").send().await.unwrap();
            assert_eq!(answer.problem(), (401, "unauthenticated".to_owned()));
            for told in [reason, answer.json()["detail"].as_str().unwrap()] {
                let plain = "the token is not known, is revoked, or has ended: ask for a new one";
                assert!(told.contains(plain), "{told}");
            }
        }
        // The server's own tokens go on being taken.
        assert!(connect(&running, &made).await.unwrap().head().await.is_ok());
    });
}

#[test]
fn who_takes_nothing_goes_as_well_when_the_token_ends() {
    let (issuer, running) = running();
    running.runtime.block_on(async {
        let ends = token(&issuer, "reader", -55);
        let (_endpoint, connection) = enemies::greeted_showing(&running, &ends).await;
        let head = SubscribeHead::new(&Subscribe::all(), 0);
        let subscribe = enemies::open(Operation::Subscribe(head));
        let packet = enemies::begin(&connection, &subscribe).await.unwrap();
        let reason = enemies::reason(&packet);
        assert!(reason.contains("refused"), "{reason}");
    });
}

#[test]
fn who_waits_for_what_comes_goes_when_the_token_ends() {
    let (issuer, running) = running();
    running.runtime.block_on(async {
        // A few seconds are left of the leeway.
        let ends = token(&issuer, "writer", -52);
        let client = connect(&running, &ends).await.unwrap();
        let http = http(&running, &ends);
        client.append(append()).await.unwrap();
        let mut subscription = client.subscribe(Subscribe::all());
        while !matches!(next(&mut subscription).await, Some(Ok(SubscriptionItem::CaughtUp { .. })))
        {
        }
        let ask = http.get("/v1/events").header("accept", "text/event-stream");
        let mut messages = Messages::new(ask.open().await.unwrap());
        while messages.expect().await.event != "caught_up" {}
        // Nothing is appended any more: what ends them is the token alone.
        let error = next(&mut subscription).await.unwrap().unwrap_err();
        assert!(matches!(error, ReadError::Unauthenticated { .. }), "{error}");
        let last = messages.expect().await;
        assert_eq!((&*last.event, &last.json()["name"]), ("error", &json!("unauthenticated")));
        assert_eq!(messages.next().await.unwrap(), None);
        // The connection is there, and nothing more is done for it.
        let error = client.append(append()).await.unwrap_err();
        assert!(matches!(error, AppendError::Unauthenticated { .. }), "{error}");
        assert_eq!(http.get("/v1/head").send().await.unwrap().status.as_u16(), 401);
    });
}
