//! How the door is spoken to: versions of HTTP, TLS, compression, and which pages may ask.

use std::io::Read as _;

use hyper::{Method, StatusCode};
use nexus_node::{Engine, Node, Principal, Role};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stores::Running;

#[test]
fn tls_is_spoken_with_the_certificate_that_clients_pin_and_nothing_else_is() {
    let engine = Engine::in_memory();
    let node = Node::over(engine.clone()).unwrap();
    let token = node.create_token(&Principal::local(), "w", Role::Writer, None).unwrap().token;
    let running = Running::guarded(engine);
    running.runtime.block_on(async {
        for http in [running.http(), running.http().http2()] {
            let http = http.tls(running.certificate()).token(&token);
            http.append("a", &json!({ "type": "T" })).await;
            let open = http.get("/healthz").send().await.unwrap();
            assert_eq!((open.status, &open.json()["status"]), (StatusCode::OK, &json!("ok")));
        }
        // Another certificate is not the one that was pinned.
        let other = nexus_node::config::Certificate::temporary().unwrap().chain.remove(0);
        let error = running.http().tls(other).get("/healthz").send().await.unwrap_err();
        assert!(error.0.contains("certificate"), "{error:?}");
        // Who speaks in the clear gets no HTTP back.
        let mut plain = TcpStream::connect(running.http_address()).await.unwrap();
        plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    });
}

#[test]
fn both_versions_are_spoken_on_one_port() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let (one, two) = (running.http(), running.http().http2());
        one.append("a", &json!({ "type": "T" })).await;
        two.append("a", &json!({ "type": "T" })).await;
        let head = one.get("/v1/head").send().await.unwrap();
        assert_eq!(two.get("/v1/head").send().await.unwrap().body, head.body);
        // Many requests of one connection are answered side by side.
        let asks: Vec<_> = (0..200).map(|_| tokio::spawn(two.get("/v1/events").send())).collect();
        for ask in asks {
            assert_eq!(ask.await.unwrap().unwrap().status, StatusCode::OK);
        }
    });
}

#[test]
fn answers_are_compressed_for_who_can_read_that() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        for _ in 0..20 {
            http.append("a", &json!({ "type": "T", "data": "x".repeat(500) })).await;
        }
        let plain = http.get("/v1/events").send().await.unwrap();
        assert_eq!(plain.header("content-encoding"), None);
        let ask = http.get("/v1/events").header("accept-encoding", "gzip");
        let packed = ask.send().await.unwrap();
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert!(packed.body.len() < plain.body.len() / 4);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*packed.body).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body);
        // What comes line by line, or as it happens, is not held back to be packed.
        for accept in ["application/x-ndjson", "text/event-stream"] {
            let ask = http.get("/v1/events").header("accept-encoding", "gzip");
            let answer = ask.header("accept", accept).open().await.unwrap();
            assert_eq!(answer.headers().get("content-encoding"), None, "{accept}");
        }
    });
}

#[test]
fn a_server_that_lets_everybody_in_is_asked_from_this_machine_only() {
    let running = Running::with(Engine::in_memory(), |options| {
        let mut options = options.dev(true);
        options.http.cors_origins = vec!["https://console.example.org".to_owned()];
        options
    });
    let port = running.http_address().port();
    running.runtime.block_on(async {
        for http in [running.http(), running.http().http2()] {
            for (name, value, status) in [
                ("host", "localhost".to_owned(), 200),
                ("host", format!("127.0.0.1:{port}"), 200),
                ("host", format!("[::1]:{port}"), 200),
                ("host", "evil.example.org".to_owned(), 403),
                ("host", format!("127.0.0.1.evil.example.org:{port}"), 403),
                ("host", "10.0.0.1".to_owned(), 403),
                ("origin", "http://localhost:3000".to_owned(), 200),
                ("origin", "https://evil.example.org".to_owned(), 403),
                ("origin", "null".to_owned(), 403),
                ("origin", "https://console.example.org".to_owned(), 200),
                ("origin", "https://console.example.org.evil.org".to_owned(), 403),
            ] {
                let answer = http.get("/v1/head").header(name, &value).send().await.unwrap();
                assert_eq!(answer.status, status, "{name}: {value}");
                if status == 403 {
                    assert_eq!(answer.problem().1, "denied");
                }
            }
        }
        // Without a host it is nobody's name.
        let mut bare = TcpStream::connect(running.http_address()).await.unwrap();
        bare.write_all(b"GET /v1/head HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        bare.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 403"), "{answer}");
    });
}

#[test]
fn pages_of_elsewhere_may_ask_where_that_is_configured_only() {
    let origin = "https://console.example.org";
    let quiet = Running::in_memory();
    let open = Running::with(Engine::in_memory(), |options| {
        let mut options = options.dev(true);
        options.http.cors_origins = vec![origin.to_owned()];
        options
    });
    let preflight = |running: &Running, from: &str, method: &str| {
        let ask = running.http().ask(Method::OPTIONS, "/v1/append").header("origin", from);
        let ask = ask.header("access-control-request-method", method);
        let ask = ask.header("access-control-request-headers", "authorization,if-match");
        running.runtime.block_on(ask.send()).unwrap()
    };
    let allow = "access-control-allow-origin";
    let local = "http://localhost:3000";
    assert_eq!(preflight(&quiet, local, "POST").header(allow), None, "none by default");
    let allowed = preflight(&open, origin, "POST");
    assert_eq!((allowed.status, allowed.header(allow)), (StatusCode::OK, Some(origin)));
    let headers = allowed.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("authorization") && headers.contains("if-match"), "{headers}");
    assert!(allowed.header("access-control-allow-credentials").is_none());
    assert_eq!(preflight(&open, local, "POST").header(allow), None);
    let ask = open.http().get("/v1/head").header("origin", origin);
    let answer = open.runtime.block_on(ask.send()).unwrap();
    assert_eq!((answer.status, answer.header(allow)), (StatusCode::OK, Some(origin)));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("etag"));
    for bad in ["console.example.org", "https://console.example.org/", "*", "https://a.b/c"] {
        let certificate = nexus_node::config::Certificate::temporary().unwrap();
        let mut options = nexus_server::Options::new(certificate).dev(true);
        options.http.cors_origins = vec![bad.to_owned()];
        let node = Node::over(Engine::in_memory()).unwrap();
        let _entered = open.runtime.enter();
        let error = nexus_server::Server::start(node, options).unwrap_err();
        assert!(error.to_string().contains("is no origin"), "{error}");
    }
}

#[test]
fn pages_for_people_are_there_and_load_nothing_from_elsewhere() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        for path in ["/", "/reference"] {
            let page = http.get(path).send().await.unwrap();
            assert_eq!(page.status, StatusCode::OK);
            assert!(page.header("content-type").unwrap().starts_with("text/html"), "{path}");
            assert!(page.header("content-security-policy").unwrap().contains("default-src 'self'"));
            let text = std::str::from_utf8(&page.body).unwrap();
            assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
        }
        let reference = http.get("/reference").send().await.unwrap();
        assert!(std::str::from_utf8(&reference.body).unwrap().contains("appendToStream"));
        let explained = http.get("/errors/NX2001").send().await.unwrap();
        assert!(explained.header("content-type").unwrap().starts_with("text/markdown"));
        assert_eq!(http.get("/errors/NX9999").send().await.unwrap().problem().0, 404);
    });
}
